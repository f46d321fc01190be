"""Train the bundled language model `briefs`: `python data/models/briefs/train.py --out RUN_FOLDER`.

A LlamaForCausalLM that reads a report of `ultra_kit.data.brief`, a separator, and writes its
summary. Every word of a report is one token. Reports of seeds below `HELD_OUT` are never trained on.

From the easy to the hard: reports begin without a sentence about other events, and get all of them
over the first `--ramp` steps. The weights of the blocks learn by Muon (Jordan et al., 2024), the
rest by AdamW.

The run folder holds config, tokenizer and weights as `ultra_kit.load("briefs")` reads them (copy
them here), `log.jsonl`, and `checkpoint.pt`, from which the same command goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import string
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch.utils.data import DataLoader, Dataset
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ultra_kit.data.drawn_reports import brief, facts_right, vocabulary

HELD_OUT = 1_000_000
PAD, BOS, EOS, UNK, SEP = "<pad>", "<s>", "</s>", "<unk>", "<sep>"
IGNORED = -100
GROUP = 8
"""Batches whose reports are made together and sorted by length."""


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Whole words of the reports' language; everything else in letters, digits and signs."""
    pieces = [PAD, BOS, EOS, UNK, SEP, *vocabulary()]
    letters = string.ascii_letters + string.digits
    pieces += [*letters, *string.punctuation] + [f"##{c}" for c in letters]
    index = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    own = Tokenizer(models.WordPiece(index, unk_token=UNK, max_input_chars_per_word=60))
    own.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    own.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    own.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {SEP} $B", special_tokens=[(BOS, index[BOS]), (SEP, index[SEP])]
    )
    out = PreTrainedTokenizerFast(
        tokenizer_object=own, pad_token=PAD, bos_token=BOS, eos_token=EOS, unk_token=UNK, sep_token=SEP
    )
    out.padding_side = "right"
    return out


class Reports(Dataset):
    """Groups of batches of token ids (report, separator, summary, end), made when asked for."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, batch: int, ramp: int) -> None:
        self.tokenizer, self.batch, self.ramp = tokenizer, batch, ramp

    def __len__(self) -> int:
        return 2**31

    def __getitem__(self, group: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The batches of steps GROUP * group and on; reports of like length go together."""
        first, n = GROUP * self.batch * group, GROUP * self.batch
        rng = np.random.default_rng(group)
        hardest = min(1.0, GROUP * (group + 1) / self.ramp)
        # More easy reports than hard ones at first; four in five with all their sentences in the end.
        share = np.where(rng.random(n) < 0.8 * hardest, hardest, hardest * rng.random(n) ** 2)
        briefs = [brief(HELD_OUT + first + i, others=float(share[i])) for i in range(n)]
        texts = self.tokenizer([b.document for b in briefs], [b.summary for b in briefs])["input_ids"]
        rows = sorted(([*row, self.tokenizer.eos_token_id] for row in texts), key=len)
        return [self.padded(rows[k * self.batch : (k + 1) * self.batch]) for k in rng.permutation(GROUP)]

    def padded(self, rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids of equal length, and where the summary (with the separator before it) begins.

        Lengths are multiples of 16, so that a compiled model meets few of them.
        """
        length = -(-max(map(len, rows)) // 16) * 16
        ids = torch.full((len(rows), length), self.tokenizer.pad_token_id)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
        return ids, torch.tensor([row.index(self.tokenizer.sep_token_id) for row in rows])


class Muon(torch.optim.Optimizer):
    """Momentum whose step is the nearest orthogonal matrix to it (Jordan et al., 2024), in float32.

    `torch.optim.Muon` works in bfloat16, which processors without it make slow.
    """

    def __init__(self, params: list[torch.Tensor], lr: float, decay: float = 0.01) -> None:
        super().__init__(params, {"lr": lr, "decay": decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # noqa: D102
        for group in self.param_groups:
            for p in group["params"]:
                momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
                momentum.lerp_(p.grad, 0.05)
                step = orthogonal(torch.lerp(p.grad, momentum, 0.95))
                p.mul_(1 - group["lr"] * group["decay"])
                p.sub_(step, alpha=group["lr"] * max(1, p.shape[0] / p.shape[1]) ** 0.5)


def orthogonal(x: torch.Tensor) -> torch.Tensor:
    """Singular values to about 1, by five Newton-Schulz steps."""
    tall = x.shape[0] > x.shape[1]
    x = (x.T if tall else x) / (x.norm() + 1e-7)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.T if tall else x


def losses(
    logits: torch.Tensor, ids: torch.Tensor, starts: torch.Tensor, pad: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean loss of the summaries' tokens and of the documents'."""
    targets = ids[:, 1:].masked_fill(ids[:, 1:] == pad, IGNORED)
    each = F.cross_entropy(
        logits[:, :-1].float().transpose(1, 2), targets, ignore_index=IGNORED, reduction="none"
    )
    real = targets != IGNORED
    summary = real & (torch.arange(each.shape[1], device=ids.device)[None] >= starts[:, None])
    document = real & ~summary
    return each[summary].mean(), each[document].mean()


@torch.no_grad()
def evaluate(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, n: int, batch: int = 100
) -> dict[str, float]:
    """Share of facts right in greedy summaries of the held-out reports 0 .. n - 1."""
    model.eval()
    right: dict[str, int] = {}
    every = 0
    tokenizer.padding_side = "left"
    for first in range(0, n, batch):
        briefs = [brief(s) for s in range(first, min(first + batch, n))]
        texts = [b.document + SEP for b in briefs]
        inputs = tokenizer(texts, padding=True, return_tensors="pt").to(model.device)
        inputs.pop("token_type_ids", None)
        out = model.generate(**inputs, max_new_tokens=60, do_sample=False)
        said = tokenizer.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        for b, text in zip(briefs, said, strict=True):
            found = facts_right(text, b.facts)
            every += all(found.values())
            for name, ok in found.items():
                right[name] = right.get(name, 0) + ok
    tokenizer.padding_side = "right"
    model.train()
    shares = {name: count / n for name, count in right.items()}
    return {"facts": sum(shares.values()) / len(shares), "whole": every / n, **shares}


def rate(step: int, share: float, warmup: int) -> float:
    """Of the learning rate: linear warm-up over steps, even, and down to 0 over the last half of the run."""
    return min(1.0, (step + 1) / warmup, 2 * (1 - share))


def endless(
    tokenizer: PreTrainedTokenizerFast, step: int, batch: int, ramp: int, workers: int
) -> Iterator[Any]:
    """The batches from a step on."""
    reports = Reports(tokenizer, batch, ramp)
    loader = DataLoader(
        reports,
        batch_size=None,
        sampler=range(step // GROUP, len(reports)),
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        prefetch_factor=4 if workers else None,
    )
    for group in loader:
        yield from group


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Config, tokenizer and weights, in float16: half of the size, and read back as float32."""
    tokenizer.backend_tokenizer.no_padding()  # left over from the last evaluation
    tokenizer.save_pretrained(out)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(out)
    state = {k: v.detach().half().cpu().contiguous() for k, v in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    save_file(state, out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)


def parse() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--out", required=True, type=Path)
    p.add_argument("--steps", type=int, default=13000)
    p.add_argument(
        "--minutes", type=float, default=None, help="end the schedule after this time, at the latest"
    )
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--width", type=int, default=128)
    p.add_argument("--depth", type=int, default=5)
    p.add_argument("--heads", type=int, default=4)
    p.add_argument("--lr", type=float, default=0.005, help="of the blocks' matrices")
    p.add_argument("--lr-rest", type=float, default=1e-3, help="of embedding and norms")
    p.add_argument("--warmup", type=int, default=100)
    p.add_argument("--ramp", type=int, default=1500, help="steps until reports have all their sentences")
    p.add_argument("--document-loss", type=float, default=0.1, help="weight of the loss on the documents")
    p.add_argument("--workers", type=int, default=1, help="processes that write reports")
    p.add_argument("--compile", action="store_true", help="1.4 times as many tokens a second on a processor")
    p.add_argument("--eval-every", type=int, default=500)
    p.add_argument("--eval-reports", type=int, default=200)
    p.add_argument("--seed", type=int, default=0)
    return p.parse_args()


def main() -> None:
    a = parse()
    a.out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(a.seed)
    torch.set_float32_matmul_precision("high")
    tokenizer = make_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=a.width,
        intermediate_size=-(-a.width * 8 // 3 // 32) * 32,
        num_hidden_layers=a.depth,
        num_attention_heads=a.heads,
        num_key_value_heads=a.heads,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config).to(device)
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "layers" in name]
    rest = [p for name, p in model.named_parameters() if not (p.ndim == 2 and "layers" in name)]
    optimizers = {
        "muon": Muon(matrices, lr=a.lr),
        "adamw": torch.optim.AdamW(rest, lr=a.lr_rest, betas=(0.9, 0.98), weight_decay=0.0),
    }
    step, spent = 0, 0.0
    if (a.out / "checkpoint.pt").is_file():
        kept = torch.load(a.out / "checkpoint.pt", map_location=device, weights_only=True)
        model.load_state_dict(kept["model"])
        for name, optimizer in optimizers.items():
            optimizer.load_state_dict(kept[name])
        step, spent = kept["step"], kept["seconds"]
    log = (a.out / "log.jsonl").open("a")

    def note(**facts: Any) -> None:
        print(json.dumps(facts), file=log, flush=True)
        print(facts, flush=True)

    def keep() -> None:
        save(model, tokenizer, a.out)
        state = {"model": model.state_dict(), "step": step, "seconds": spent + time.monotonic() - start}
        state |= {name: optimizer.state_dict() for name, optimizer in optimizers.items()}
        torch.save(state, a.out / "checkpoint.new")
        (a.out / "checkpoint.new").replace(a.out / "checkpoint.pt")

    note(
        parameters=sum(p.numel() for p in model.parameters()),
        vocabulary=len(tokenizer),
        device=str(device),
        resumed_at=step,
        **{k: str(v) if k == "out" else v for k, v in vars(a).items()},
    )
    forward = model
    if a.compile:
        torch._dynamo.config.recompile_limit = 32  # one program for each length
        forward = torch.compile(model, dynamic=False)
    half = torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else contextlib.nullcontext()
    start, tokens, since = time.monotonic(), 0, time.monotonic()
    model.train()
    for ids, starts in endless(tokenizer, step, a.batch, a.ramp, a.workers):
        seconds = spent + time.monotonic() - start
        share = max(step / a.steps, seconds / (60 * a.minutes) if a.minutes else 0.0)
        if share >= 1:
            break
        for optimizer, top in zip(optimizers.values(), (a.lr, a.lr_rest), strict=True):
            optimizer.param_groups[0]["lr"] = top * rate(step, share, a.warmup)
        ids, starts = ids.to(device, non_blocking=True), starts.to(device, non_blocking=True)
        with half:  # right padding and looking back only: no real token sees a pad, so no mask is needed
            logits = forward(input_ids=ids, use_cache=False).logits
        summary, document = losses(logits, ids, starts, tokenizer.pad_token_id)
        model.zero_grad(set_to_none=True)
        (summary + a.document_loss * document).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers.values():
            optimizer.step()
        step, tokens = step + 1, tokens + ids.numel()
        if step % 50 == 0 or step <= 3:
            note(
                step=step,
                seconds=round(seconds),
                summary=round(summary.item(), 4),
                document=round(document.item(), 4),
                lr=optimizers["muon"].param_groups[0]["lr"],
                tokens_a_second=round(tokens / (time.monotonic() - since)),
            )
            tokens, since = 0, time.monotonic()
        if step % a.eval_every == 0:
            note(step=step, **evaluate(model, tokenizer, a.eval_reports))
            keep()
            since = time.monotonic()
    keep()
    note(step=step, final=True, **evaluate(model, tokenizer, a.eval_reports))


if __name__ == "__main__":
    main()
