"""Train the bundled backbone `scenes`: `python data/models/scenes/train.py --out RUN_FOLDER`.

Three label-free terms on images of `ultra_kit.data.scene` and their captions (never a mask):

1. masked-token self-distillation (iBOT style): the student sees a masked image and names, for each
   masked patch, the prototype to which a slowly moving teacher, who sees all, assigns that patch;
   the teacher's assignments are balanced by Sinkhorn-Knopp;
2. phrase-to-patch contrast: each noun phrase of a caption is compared with every patch, pooled over
   the patches, and must tell the images that it describes from the others of the batch (sigmoid),
   and its best patches must tell it from the same phrase with other shapes;
3. caption-to-image contrast (InfoNCE) on the class token.

There is no norm after the last block: a token is as long as it is sure, so that ||z||, which the
maps explain, means something.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from joblib import Parallel, delayed
from safetensors.torch import load_file, save_file
from torch import nn

from ultra_kit.data import BACKGROUNDS, COLOURS, SHAPES, TEXTURES, scene
from ultra_kit.models.scenes_model import TextTower, Vocabulary, build_vision

WORDS = ["a", "an", "and", "on", "ground", *COLOURS, *TEXTURES, *SHAPES, *BACKGROUNDS]

LEFT = ("mask_token", "scale", "bias")
"""Parameters of the student that only training needs."""


def make_pool(n: int, first_seed: int, jobs: int, **options: object) -> dict:
    """Scenes first_seed .. first_seed + n - 1 as arrays and phrases."""

    def some(seeds: range) -> list:
        made = [scene(s, **options) for s in seeds]
        return [(s.image, [*s.phrases, s.background], s.caption) for s in made]

    step = 250
    parts = Parallel(n_jobs=jobs)(
        delayed(some)(range(s, min(s + step, first_seed + n)))
        for s in range(first_seed, first_seed + n, step)
    )
    rows = [r for p in parts for r in p]
    images, phrases, captions = zip(*rows, strict=True)
    return {"images": np.stack(images), "phrases": phrases, "captions": captions}


def to_input(images: torch.Tensor) -> torch.Tensor:
    """uint8 (B, H, W, 3) to the model's input (B, 3, H, W)."""
    return images.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def random_masks(n: int, grid: int, rng: np.random.Generator, share: float, top: float) -> torch.Tensor:
    """Blocks of masked patches, (n, grid * grid) bool; `share` of the rows has any."""
    out = np.zeros((n, grid, grid), bool)
    for m in out[: int(n * share)]:
        want = rng.uniform(0.15, top) * grid * grid
        while m.sum() < want:
            h, w = rng.integers(2, 6, 2)
            y, x = rng.integers(0, grid - h + 1), rng.integers(0, grid - w + 1)
            m[y : y + h, x : x + w] = True
    return torch.from_numpy(out.reshape(n, -1)[rng.permutation(n)])


def content_words(phrase: str) -> list[str]:
    """The words of a phrase that say something: colours, textures, shapes, kinds of ground."""
    return [w for w in phrase.split() if w not in ("a", "an", "ground")]


def build_2d_sincos(width: int, grid: int) -> torch.Tensor:
    """Sine-cosine embedding of a grid's rows and columns: (1, grid * grid, width)."""
    f = torch.pi * 2 ** torch.linspace(0, np.log2(grid / 2), width // 4)
    at = (torch.arange(grid) + 0.5) / grid
    one = torch.cat([torch.sin(at[:, None] * f), torch.cos(at[:, None] * f)], 1)
    rows = one[:, None].expand(grid, grid, -1)
    return torch.cat([rows, rows.transpose(0, 1)], -1).reshape(1, grid * grid, width)


def rivals(phrase: str) -> list[str]:
    """The phrase with each of the other shapes in place of its own; of a ground, nothing."""
    start, _, last = phrase.rpartition(" ")
    return [f"{start} {shape}" for shape in SHAPES if shape != last] if last in SHAPES else []


class Kind:
    """One pool of images with the numbers of their phrases in the common table."""

    def __init__(self, pool: dict, table: dict[str, int], vocabulary: Vocabulary) -> None:
        self.images = torch.from_numpy(pool["images"])
        # A caption's noun phrases, and each of their content words alone: "a red striped star", "red", ...
        self.phrases = [
            sorted({table.setdefault(t, len(table)) for p in row for t in (p, *content_words(p))})
            for row in pool["phrases"]
        ]
        self.nouns = [sorted({table[p] for p in row}) for row in pool["phrases"]]
        self.captions = vocabulary.encode(list(pool["captions"]))


def turned(images: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """The batch turned by a multiple of 90 degrees, mirrored half of the time; no word changes by it."""
    if rng.random() < 0.5:
        images = images.flip(2)
    return torch.rot90(images, int(rng.integers(4)), (1, 2))


class Student(nn.Module):
    """The vision model with a mask token, prototypes and the text tower."""

    def __init__(self, vision: nn.Module, text: nn.Module, n_prototypes: int) -> None:
        super().__init__()
        self.vision, self.text = vision, text
        d = vision.embed_dim
        self.mask_token = nn.Parameter(torch.zeros(d))
        self.prototypes = nn.Parameter(torch.randn(n_prototypes, d))
        self.scale = nn.Parameter(torch.tensor([1.0]))
        self.bias = nn.Parameter(torch.tensor([-6.0]))

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents (B, N, D) of images of which the patches of `mask` (B, h * w) are hidden.

        Also how each patch shares out its attention among the other patches, mean over heads and
        over all blocks but the first: (B, h * w, h * w), rows sum to 1.
        """
        v = self.vision
        t = v.patch_embed(x)
        t = torch.where(mask[..., None], self.mask_token, t)
        t = v.norm_pre(v._pos_embed(t))
        n_prefix, looks = v.num_prefix_tokens, []
        for block in v.blocks:
            y = block.norm1(t)
            q, k, value = (
                block.attn.qkv(y).unflatten(-1, (3, block.attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
            )
            attention = (q * block.attn.scale @ k.transpose(-2, -1)).softmax(-1)
            looks.append(attention[:, :, n_prefix:, n_prefix:].mean(1))
            t = t + block.attn.proj((attention @ value).transpose(1, 2).flatten(2))
            t = t + block.mlp(block.norm2(t))
        others = 1 - torch.eye(mask.shape[1], device=x.device)
        look = torch.stack(looks[1:]) * others
        return v.norm(t), (look / look.sum(-1, keepdim=True).clamp_min(1e-8)).mean(0)


def publish(model: Student, config: dict, folder: Path) -> None:
    """Write what `ultra_kit.load` reads, and what `--start` needs beside it."""
    parts = {"vision": model.vision.state_dict(), "text": model.text.state_dict()}
    tensors = {f"{part}.{k}": v for part, state in parts.items() for k, v in state.items()}
    tensors |= {"prototypes": model.prototypes.detach()} | {
        f"training.{k}": getattr(model, k).detach() for k in LEFT
    }
    save_file({k: v.cpu().contiguous() for k, v in tensors.items()}, folder / "model.safetensors")
    keys = ("width", "depth", "heads", "final_norm", "sharpness", "best", "seed", "step")
    (folder / "config.json").write_text(
        json.dumps({k: config[k] for k in keys} | {"words": WORDS}, indent=1) + "\n"
    )


def start_from(folder: Path, model: Student) -> None:
    """Fill the student from published weights."""
    state = load_file(folder / "model.safetensors")
    for part, tower in (("vision.", model.vision), ("text.", model.text)):
        tower.load_state_dict({k[len(part) :]: v for k, v in state.items() if k.startswith(part)})
    with torch.no_grad():
        model.prototypes.copy_(state["prototypes"])
        for k in LEFT:
            getattr(model, k).copy_(state[f"training.{k}"])


@torch.no_grad()
def sinkhorn(logits: torch.Tensor, rounds: int = 3) -> torch.Tensor:
    """Balanced soft assignments of the rows to the columns; the rows sum to 1."""
    q = torch.exp(logits - logits.max())
    for _ in range(rounds):
        q = q / q.sum(0, keepdim=True).clamp_min(1e-12)
        q = q / q.sum(1, keepdim=True).clamp_min(1e-12)
    return q


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--out", required=True)
    p.add_argument("--start", type=Path, default=None, help="folder of published weights to start from")
    p.add_argument("--steps", type=int, default=4000)
    p.add_argument(
        "--minutes", type=float, default=None, help="end the schedule after this time, at the latest"
    )
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--pool", type=int, default=20000)
    p.add_argument("--width", type=int, default=128)
    p.add_argument("--depth", type=int, default=5)
    p.add_argument("--heads", type=int, default=4)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--ibot", type=float, default=1.0)
    p.add_argument("--phrase", type=float, default=1.0)
    p.add_argument("--sharpness", type=float, default=8.0, help="logits are this times <latent, text>")
    p.add_argument("--named", type=float, default=1.0)
    p.add_argument("--rivals", type=float, default=0.5)
    p.add_argument("--look", type=float, default=0.5)
    p.add_argument("--mosaic", type=float, default=0.6, help="share of the steps that take mosaics")
    p.add_argument("--caption", type=float, default=0.3)
    p.add_argument(
        "--best", type=int, default=5, help="patches that a phrase is pooled over; twice as many in a mosaic"
    )
    p.add_argument("--mask-share", type=float, default=0.6)
    p.add_argument("--mask-top", type=float, default=0.6)
    p.add_argument("--final-norm", action="store_true")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--resume", action="store_true")
    p.add_argument("--compile", action="store_true")
    p.add_argument("--cache", default=None, help="where to keep the rendered scenes between runs")
    a = p.parse_args()
    out = Path(a.out)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(a.seed)
    torch.set_num_threads(a.threads)
    rng = np.random.default_rng(a.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    cache = Path(a.cache) if a.cache else out / "pool.pt"
    if cache.exists():
        pool = torch.load(cache, weights_only=False)  # written by this script, two lines below
    else:
        pool = {
            "whole": make_pool(a.pool, 1_000_000, a.threads),
            "small": make_pool(a.pool, 1_500_000, a.threads, size=(48, 48), n_objects=1, radius=(0.28, 0.5)),
        }
        torch.save(pool, cache)
    vocabulary = Vocabulary(WORDS)
    table: dict[str, int] = {}
    kinds = {name: Kind(part, table, vocabulary) for name, part in pool.items()}
    others = {
        table[p]: [table.setdefault(r, len(table)) for r in rivals(p)]
        for p in list(table)
        if len(content_words(p)) == 3
    }
    tokens = vocabulary.encode(list(table))

    model = Student(
        build_vision(a.width, a.depth, a.heads, final_norm=a.final_norm),
        TextTower(len(vocabulary), a.width),
        256,
    )
    with torch.no_grad():  # a start that knows the plane: rows and columns as sines and cosines
        model.vision.pos_embed[:, -144:] = build_2d_sincos(a.width, 12) * 0.3
    if a.start:
        start_from(a.start, model)
    model.to(device)
    teacher = build_vision(a.width, a.depth, a.heads, final_norm=a.final_norm).to(device)
    teacher.load_state_dict(model.vision.state_dict())
    teacher.requires_grad_(False).eval()
    teacher_proto = model.prototypes.detach().clone()
    decay = [q for q in model.parameters() if q.ndim > 1]
    plain = [q for q in model.parameters() if q.ndim <= 1]
    opt = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.04}, {"params": plain, "weight_decay": 0.0}],
        lr=a.lr,
        betas=(0.9, 0.98),
    )
    step0 = 0
    if a.resume and (out / "state.pt").exists():
        state = torch.load(out / "state.pt", weights_only=True)
        model.load_state_dict(state["model"])
        teacher.load_state_dict(state["teacher"])
        teacher_proto = state["proto"]
        if "opt" in state:
            opt.load_state_dict(state["opt"])
        step0 = state["step"]
    run = torch.compile(model) if a.compile else model
    watch = torch.compile(teacher.forward_features) if a.compile else teacher.forward_features
    (out / "args.json").write_text(json.dumps(vars(a), indent=1, default=str))
    log = (out / "log.jsonl").open("a")
    grid = 12

    def keep(step: int) -> None:
        state = {
            "model": model.state_dict(),
            "teacher": teacher.state_dict(),
            "proto": teacher_proto,
            "opt": opt.state_dict(),
            "step": step,
        }
        torch.save(state, out / "state.tmp")
        (out / "state.tmp").replace(out / "state.pt")
        publish(model, vars(a) | {"step": step}, out)

    step = step0 - 1
    start = time.time()
    sums: dict[str, float] = {}
    for step in range(step0, a.steps):
        done = step / a.steps
        if a.minutes:
            done = max(done, (time.time() - start) / 60 / a.minutes)
            if done >= 1:
                break
        lr = a.lr * min(1.0, (step + 1 - step0) / 300) * max(0.01, 0.5 + 0.5 * np.cos(np.pi * done))
        for g in opt.param_groups:
            g["lr"] = float(lr)
        # Whole scenes, or mosaics of four small ones: a mosaic's captions belong to its quarters, so
        # that a patch has to speak for the place where it is.
        kind, parts = (kinds["small"], 4) if rng.random() < a.mosaic else (kinds["whole"], 1)
        pick = rng.integers(0, len(kind.images), a.batch * parts)
        x = turned(kind.images[pick], rng)
        if parts == 4:
            x = x.unflatten(0, (-1, 2, 2)).permute(0, 1, 3, 2, 4, 5).flatten(1, 2).flatten(2, 3)
        x = to_input(x).to(device)
        mask = random_masks(a.batch, grid, rng, a.mask_share, a.mask_top).to(device)

        z, look = run(x, mask)
        n_prefix = z.shape[1] - grid * grid
        patches = z[:, n_prefix:]
        regions = patches
        if parts == 4:
            half = grid // 2
            regions = (
                patches.unflatten(1, (2, half, 2, half))
                .transpose(2, 3)
                .reshape(-1, half * half, patches.shape[-1])
            )
        losses = {}
        with torch.no_grad():
            seen = watch(x)[:, n_prefix:]
        if a.ibot:
            with torch.no_grad():
                w = F.normalize(teacher_proto, dim=-1)
                target = sinkhorn(F.normalize(seen[mask], dim=-1) @ w.T / 0.06)
            logits = a.sharpness * patches[mask] @ F.normalize(model.prototypes, dim=-1).T
            losses["ibot"] = a.ibot * -(target * F.log_softmax(logits, -1)).sum(-1).mean()
        if a.phrase:
            used = sorted({k for i in pick for k in kind.phrases[i]})
            column = {k: j for j, k in enumerate(used)}
            y = torch.zeros(len(pick), len(used))
            for b, i in enumerate(pick):
                y[b, [column[k] for k in kind.phrases[i]]] = 1
            y = y.to(device)
            words = model.text(tokens[used].to(device))
            s = a.sharpness * torch.einsum("bnd,ud->bun", regions, words)
            # The best few patches, not the best one: all parts of an object have to know what it is.
            pooled = s.topk(a.best * 2 if parts == 4 else a.best, dim=-1).values.mean(-1)
            logit = model.scale * pooled + model.bias
            losses["phrase"] = (
                a.phrase * F.binary_cross_entropy_with_logits(logit, y, reduction="none").sum() / y.sum()
            )
            if a.rivals:
                # An object's patches tell its shape from three that the caption does not name.
                pairs = [(b, k) for b, i in enumerate(pick) for k in kind.nouns[i] if others.get(k)]
                absent = [[r for r in others[k] if r not in kind.nouns[pick[b]]] for b, k in pairs]
                named = torch.tensor(
                    [[k, *rng.choice(r, 3, replace=False)] for (_, k), r in zip(pairs, absent, strict=True)]
                )
                image = torch.tensor([b for b, _ in pairs], device=device)
                best = s[image, [column[k] for _, k in pairs]].topk(a.best, dim=-1).indices
                texts = model.text(tokens[named.flatten()].to(device)).unflatten(0, named.shape)
                told = (
                    a.sharpness * torch.einsum("pbd,prd->pr", regions[image[:, None], best], texts) / a.best
                )
                losses["rivals"] = a.rivals * F.cross_entropy(
                    told, torch.zeros(len(pairs), dtype=torch.long, device=device)
                )
            if a.named:
                # Self-distillation once more, with the batch's noun phrases as prototypes: the student
                # names what it cannot see, as the teacher does who sees it.
                nouns = sorted({column[k] for i in pick for k in kind.nouns[i]})
                with torch.no_grad():
                    told = torch.softmax(a.sharpness * (seen @ words[nouns].T)[mask] / 0.7, -1)
                said = F.log_softmax(a.sharpness * (patches @ words[nouns].T)[mask], -1)
                losses["named"] = a.named * -(told * said).sum(-1).mean()
            if a.look:
                # Tokens of one thing look at one another: where the teacher finds the same phrase and
                # a like latent, there the student's attention goes.
                with torch.no_grad():
                    told = torch.softmax(a.sharpness * seen @ words[nouns].T / 0.7, -1)
                    unit = F.normalize(seen, dim=-1)
                    alike = (told @ told.transpose(1, 2)).clamp_min(1e-6).sqrt() * torch.exp(
                        12 * (unit @ unit.transpose(1, 2) - 1)
                    )
                    alike = alike * (1 - torch.eye(grid * grid, device=device))
                    alike = alike / alike.sum(-1, keepdim=True)
                losses["look"] = a.look * -(alike * look.clamp_min(1e-8).log()).sum(-1)[~mask].mean()
        if a.caption and parts == 1:
            c = model.text(kind.captions[pick].to(device))
            sim = F.normalize(z[:, 0], dim=-1) @ c.T * 10
            here = torch.arange(a.batch, device=device)
            losses["caption"] = a.caption * 0.5 * (F.cross_entropy(sim, here) + F.cross_entropy(sim.T, here))
        loss = sum(losses.values())
        opt.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 3.0)
        opt.step()
        with torch.no_grad():
            m = 1 - (1 - 0.99) * (0.5 + 0.5 * np.cos(np.pi * done)) - 1e-3
            for q, k in zip(teacher.parameters(), model.vision.parameters(), strict=True):
                q.lerp_(k, 1 - m)
            for q, k in zip(teacher.buffers(), model.vision.buffers(), strict=True):
                q.copy_(k)
            teacher_proto.lerp_(model.prototypes, 1 - m)
        for k, v in losses.items():
            sums[k] = sums.get(k, 0) + float(v.detach())
        if (step + 1) % 50 == 0:
            row = {
                "step": step + 1,
                "s": round(time.time() - start),
                **{k: round(v / 50, 4) for k, v in sums.items()},
                "norm": round(float(patches.detach().norm(dim=-1).mean()), 2),
            }
            sums = {}
            print(row, flush=True)
            log.write(json.dumps(row) + "\n")
            log.flush()
        if (step + 1) % 250 == 0:
            keep(step + 1)
    keep(step + 1)


if __name__ == "__main__":
    main()
