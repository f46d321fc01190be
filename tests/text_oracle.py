"""Explicit forward passes of GPT-2, BERT, BART and T5, every attention matrix written out as softmax(q k^T).

Norms, projections and MLPs are the model's own modules; attention, masks, residual paths and the explanation
map, as a product of full matrices over the common token space [encoder; decoder], stand here on their own.
"""

import torch


def heads(x, n):
    """(N, D) to (n, N, D / n)."""
    return x.reshape(len(x), n, -1).transpose(0, 1)


def attend(q, k, v, n, *, scale=None, bias=0.0, allowed=None):
    """Attention of n heads: mixed values (Nq, D) and probabilities (n, Nq, Nk)."""
    q, k, v = (heads(t, n) for t in (q, k, v))
    logits = q @ k.transpose(1, 2) * (q.shape[-1] ** -0.5 if scale is None else scale) + bias
    if allowed is not None:
        logits = torch.where(allowed, logits, torch.tensor(-1e9, dtype=logits.dtype))
    weights = torch.softmax(logits, -1)
    mixed = weights @ v
    return mixed.transpose(0, 1).reshape(mixed.shape[1], -1), weights


def looks_back(n, mask):
    """(N, N) bool: keys that are not later and not masked; a query without any looks at itself."""
    allowed = torch.ones(n, n, dtype=torch.bool).tril() & mask[None]
    return allowed | (torch.eye(n, dtype=torch.bool) & ~allowed.any(1, keepdim=True))


def gpt2(model, ids, mask):
    t = model.transformer
    n = len(ids)
    x = (t.wte(ids) + t.wpe(torch.arange(n))).detach().requires_grad_()
    latents, steps = [x], []
    for number, block in enumerate(t.h, 1):
        q, k, v = block.attn.c_attn(block.ln_1(x)[None])[0].chunk(3, -1)
        y, a = attend(q, k, v, block.attn.num_heads, allowed=looks_back(n, mask))
        x = x + block.attn.c_proj(y[None])[0]
        x = x + block.mlp(block.ln_2(x)[None])[0]
        latents.append(x)
        steps.append((number, a, 0, 0))
    return latents, steps


def bert(model, ids, mask):
    e = model.embeddings
    x = (
        e.word_embeddings(ids)
        + e.position_embeddings(torch.arange(len(ids)))
        + e.token_type_embeddings.weight[0]
    )
    x = e.LayerNorm(x).detach().requires_grad_()
    latents, steps = [x], []
    for number, block in enumerate(model.encoder.layer, 1):
        own = block.attention.self
        y, a = attend(own.query(x), own.key(x), own.value(x), own.num_attention_heads, allowed=mask[None])
        x = block.attention.output.LayerNorm(block.attention.output.dense(y) + x)
        x = block.output.LayerNorm(
            block.output.dense(torch.nn.functional.gelu(block.intermediate.dense(x))) + x
        )
        latents.append(x)
        steps.append((number, a, 0, 0))
    return latents, steps


def bart(model, ids, mask, decoder_ids):
    n_enc, n_dec = len(ids), len(decoder_ids)
    enc, dec = model.model.encoder, model.model.decoder

    def embed(side, tokens):
        x = side.embed_tokens(tokens) + side.embed_positions.weight[torch.arange(len(tokens)) + 2]
        return side.layernorm_embedding(x).detach()

    joint = torch.cat([embed(enc, ids), embed(dec, decoder_ids)]).requires_grad_()
    x, y0 = joint[:n_enc], joint[n_enc:]
    latents, steps = [joint], []

    def mix(attn, queries, keys, allowed):
        q, k, v = attn.q_proj(queries), attn.k_proj(keys), attn.v_proj(keys)
        out, a = attend(q, k, v, attn.num_heads, allowed=allowed)
        return attn.out_proj(out), a

    def mlp(block, x):
        return block.final_layer_norm(x + block.fc2(block.activation_fn(block.fc1(x))))

    for number, block in enumerate(enc.layers, 1):
        out, a = mix(block.self_attn, x, x, mask[None])
        x = mlp(block, block.self_attn_layer_norm(x + out))
        latents.append(torch.cat([x, y0]))
        steps.append((number, a, 0, 0))
    y = y0
    every = torch.ones(n_dec, dtype=torch.bool)
    for number, block in enumerate(dec.layers, len(enc.layers) + 1):
        out, a = mix(block.self_attn, y, y, looks_back(n_dec, every))
        y = block.self_attn_layer_norm(y + out)
        out, cross = mix(block.encoder_attn, y, x, mask[None])
        y = mlp(block, block.encoder_attn_layer_norm(y + out))
        latents.append(torch.cat([x, y]))
        steps += [(number, a, n_enc, n_enc), (number, cross, n_enc, 0)]
    return latents, steps


def t5(model, ids, mask, decoder_ids):
    n_enc, n_dec = len(ids), len(decoder_ids)
    joint = torch.cat([model.shared(ids), model.shared(decoder_ids)]).detach().requires_grad_()
    x, y0 = joint[:n_enc], joint[n_enc:]
    latents, steps = [joint], []

    def mix(attn, queries, keys, bias, allowed):
        q, k, v = attn.q(queries), attn.k(keys), attn.v(keys)
        out, a = attend(q, k, v, attn.n_heads, scale=1.0, bias=bias, allowed=allowed)
        return attn.o(out), a

    def bias_of(stack, n):
        return stack.block[0].layer[0].SelfAttention.compute_bias(n, n)[0].detach()

    bias = bias_of(model.encoder, n_enc)
    for number, block in enumerate(model.encoder.block, 1):
        attention, mlp = block.layer
        out, a = mix(attention.SelfAttention, *[attention.layer_norm(x)] * 2, bias, mask[None])
        x = mlp((x + out)[None])[0]
        latents.append(torch.cat([x, y0]))
        steps.append((number, a, 0, 0))
    memory, y = model.encoder.final_layer_norm(x), y0
    bias, every = bias_of(model.decoder, n_dec), torch.ones(n_dec, dtype=torch.bool)
    for number, block in enumerate(model.decoder.block, len(model.encoder.block) + 1):
        own, other, mlp = block.layer
        out, a = mix(own.SelfAttention, *[own.layer_norm(y)] * 2, bias, looks_back(n_dec, every))
        y = y + out
        out, cross = mix(other.EncDecAttention, other.layer_norm(y), memory, 0.0, mask[None])
        y = mlp((y + out)[None])[0]
        latents.append(torch.cat([x, y]))
        steps += [(number, a, n_enc, n_enc), (number, cross, n_enc, 0)]
    return latents, steps


def explanation_map(latents, steps, layer, token, direction=None, since=0):
    """Row `token` of the product of I + mean_h relu(A * df/dA), last step leftmost; f is ||z|| or <z, direction>."""
    n = len(latents[0])
    product = torch.eye(n, dtype=latents[0].dtype)
    z = latents[layer][token]
    f = (z * z).sum().sqrt() if direction is None else (z * direction).sum()
    for block, a, query, key in steps:
        if not since < block <= layer:
            continue
        (g,) = torch.autograd.grad(f, a, retain_graph=True, allow_unused=True)
        kept = (a.detach() * (torch.zeros_like(a) if g is None else g)).clamp(min=0).mean(0)
        c = torch.eye(n, dtype=a.dtype)
        c[query : query + a.shape[1], key : key + a.shape[2]] += kept
        product = c @ product
    return product[token]
