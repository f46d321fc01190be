"""The maps straight from the equations: slow, one token at a time, and of no code of the package.

Two things stand here on their own: explicit forward passes of the timm families (every attention
matrix written out as ``softmax(q k^T)``), and the explanation map as a product of full N x N
matrices with one gradient call for every block.
"""

import torch
from timm.layers import apply_rot_embed_cat


def forward(model, image):
    """Explicit forward pass of a timm VisionTransformer or Eva on (1, 3, H, W).

    Returns the latents of layers 0..L, (N, D) each, and the attention of blocks 1..L, (H, N, N) each,
    all in one autograd graph that holds nothing else.
    """
    x = model.patch_embed(image)
    x = model._pos_embed(x)
    x, rope = x if isinstance(x, tuple) else (x, None)
    x = model.norm_pre(x).detach().requires_grad_()
    return run_blocks(model, x, rope)


def run_blocks(model, x, rope=None):
    latents, attentions = [x[0]], []
    for number, block in enumerate(model.blocks):
        turn = rope[number] if getattr(model, "rope_mixed", False) else rope
        y, attention = attend(block.attn, block.norm1(x), turn)
        x = x + scale(block, 1) * y
        x = x + scale(block, 2) * block.mlp(block.norm2(x))
        latents.append(x[0])
        attentions.append(attention)
    return latents, attentions


def scale(block, which):
    """The factor in front of a branch: LayerScale of either spelling, or 1."""
    gamma = getattr(block, f"gamma_{which}", None)
    if gamma is None:
        gamma = getattr(getattr(block, f"ls{which}", None), "gamma", None)
    return 1.0 if gamma is None else gamma


def attend(attn, x, rope):
    _, n, _ = x.shape
    heads = attn.num_heads
    if getattr(attn, "qkv", None) is not None:
        qkv = x @ attn.qkv.weight.T
        if attn.qkv.bias is not None:
            qkv = qkv + attn.qkv.bias
        if getattr(attn, "q_bias", None) is not None:
            qkv = qkv + torch.cat([attn.q_bias, attn.k_bias, attn.v_bias])
        q, k, v = qkv.chunk(3, dim=-1)
    else:
        q, k, v = attn.q_proj(x), attn.k_proj(x), attn.v_proj(x)
    q, k, v = (t.reshape(n, heads, -1).transpose(0, 1) for t in (q, k, v))
    q, k = attn.q_norm(q), attn.k_norm(k)
    if rope is not None:
        p = attn.num_prefix_tokens
        half = getattr(attn, "rotate_half", False)
        q, k = (
            torch.cat([t[:, :p], apply_rot_embed_cat(t[None, :, p:], rope, half=half)[0]], dim=1)
            for t in (q, k)
        )
    attention = torch.softmax(q @ k.transpose(1, 2) / q.shape[-1] ** 0.5, dim=-1)
    mixed = (attention @ v).transpose(0, 1).reshape(1, n, -1)
    return attn.proj(attn.norm(mixed)), attention


def explanation_map(latents, attentions, layer, token, score="norm", rule="positive", since=0):
    """Row `token` of C_k ... C_(since + 1): R <- C_b R from the first to the last, then the row; (N,).

    `score` is "norm", "sum", "energy" or a function of one latent (D,). For a list of tokens, a group, the scores
    are summed, and so are their rows of the product.
    """
    n = len(latents[0])
    members = [token] if not hasattr(token, "__len__") else token
    product = torch.eye(n, dtype=latents[0].dtype)
    for block in range(since + 1, layer + 1):
        f = 0
        for member in members:
            z = latents[layer][member]
            if score == "norm":
                f = f + (z * z).sum().sqrt()
            elif score == "sum":
                f = f + (z / (z * z).sum().sqrt().detach()).sum()
            elif score == "energy":
                f = f + (z * z).sum() / 2
            else:
                f = f + score(z)
        a = attentions[block - 1]
        (g,) = torch.autograd.grad(f, a, retain_graph=True)
        signed = a.detach() * g
        if rule == "positive":
            signed = torch.where(signed > 0, signed, 0.0)
        elif rule == "negative":
            signed = torch.where(signed < 0, -signed, 0.0)
        else:
            signed = torch.where(signed < 0, -signed, signed)
        c = torch.eye(n, dtype=a.dtype) + sum(signed[h] for h in range(len(signed))) / len(signed)
        product = c @ product
    return sum(product[member] for member in members).detach()


def explanation_maps(latents, attentions, layer, tokens, score="norm", rule="positive", since=0):
    """Stack `explanation_map` over tokens (or groups): (T, N)."""
    return torch.stack([explanation_map(latents, attentions, layer, t, score, rule, since) for t in tokens])


def rollout(attentions, token):
    """Attention rollout as a product of full matrices; row `token`, (N,)."""
    n = attentions[0].shape[-1]
    product = torch.eye(n, dtype=attentions[0].dtype)
    for a in attentions:
        product = (0.5 * torch.eye(n, dtype=a.dtype) + 0.5 * a.detach().mean(0)) @ product
    return product[token]
