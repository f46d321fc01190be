"""Train the bundled backbone `photos`: `python data/models/photos/train.py --images FOLDER ... --out RUN`.

Self-distillation on photographs, without labels, captions or masks. A student sees a crop, colours
jittered and blocks of patches masked, and a smaller and differently scaled crop out of its middle; a slowly
moving teacher sees the first crop as it is. Four terms:

1. masked tokens (iBOT, Zhou et al. 2022): for each masked patch the student names the prototype to which the
   teacher assigns it; the assignments are centred and balanced by Sinkhorn-Knopp;
2. multi-crop: so does every patch of the small crop, for the place where it lies in the large one;
3. look: the attention of every block but the first is drawn towards the near and like patches that a random
   walk reaches in a few steps, as the teacher finds them alike;
4. relevance: what the latents were made from, summed over all blocks, is drawn towards where that walk stands
   after many steps.

There is no norm after the last block, and logits are scalar products with the latent as it is: a token is
as long as it is sure.
"""

from __future__ import annotations

import argparse
import json
import runpy
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ultra_kit.models.loading import data_folder
from ultra_kit.models.photos_model import PATCH, SIZE, build_photos

_SCENES = runpy.run_path(str(Path(__file__).resolve().parents[1] / "scenes" / "train.py"))
build_2d_sincos, sinkhorn = _SCENES["build_2d_sincos"], _SCENES["sinkhorn"]
_CROPS = runpy.run_path(str(Path(__file__).with_name("crops.py")))
SMALL, Views, cut, open_photographs = (_CROPS[k] for k in ("SMALL", "Views", "cut", "open_photographs"))
block_masks, jitter, to_input = (_CROPS[k] for k in ("block_masks", "jitter", "to_input"))

SIDE = SIZE // PATCH
SHAPES = ((12, 12), (12, 18), (18, 12))
"""Grids of the large crops; every step takes one."""


class Student(nn.Module):
    """The vision model with a mask token and prototypes."""

    def __init__(self, width: int, depth: int, heads: int, n_prototypes: int) -> None:
        super().__init__()
        self.vision = build_photos(width, depth, heads)
        self.mask_token = nn.Parameter(torch.zeros(width))
        self.prototypes = nn.Parameter(F.normalize(torch.randn(n_prototypes, width), dim=-1))
        self.bias = nn.Parameter(torch.zeros(n_prototypes))
        with torch.no_grad():  # a start that knows the plane: rows and columns as sines and cosines
            self.vision.pos_embed[:, -SIDE * SIDE :] = build_2d_sincos(width, SIDE) * 0.3


def positions(v: nn.Module, grid: tuple[int, int], window: tuple[float, float, float, float]) -> Tensor:
    """The embedding of the positions of a grid that covers a window (y0, x0, y1, x1 in 0..1) of the plane."""
    plane = v.pos_embed[:, v.num_prefix_tokens :].transpose(1, 2).unflatten(2, (SIDE, SIDE))
    y = window[0] + (torch.arange(grid[0]) + 0.5) / grid[0] * (window[2] - window[0])
    x = window[1] + (torch.arange(grid[1]) + 0.5) / grid[1] * (window[3] - window[1])
    at = torch.stack(torch.meshgrid(x * 2 - 1, y * 2 - 1, indexing="xy"), -1)[None]
    found = F.grid_sample(plane, at, align_corners=False, padding_mode="border")
    return found.flatten(2).transpose(1, 2)


def random_window(grid: tuple[int, int], rng: np.random.Generator) -> tuple[float, float, float, float]:
    """A part of the plane, as large as the grid or larger."""
    high, wide = (rng.uniform(min(n / SIDE, 1), 1) for n in grid)
    y, x = rng.uniform(0, 1 - high), rng.uniform(0, 1 - wide)
    return y, x, y + high, x + wide


def forward(v: nn.Module, x: Tensor, where: Tensor, mask: Tensor | None, mask_token: Tensor | None):
    """Patch latents (B, n, D), and the attention of every block, (B, H, N, N), prefix included."""
    t = v.patch_embed(x).flatten(1, 2)
    if mask is not None:
        t = torch.where(mask[..., None], mask_token, t)
    p = v.num_prefix_tokens
    prefix = torch.cat([v.cls_token, v.reg_token], 1) + v.pos_embed[:, :p]
    t = torch.cat([prefix.expand(len(x), -1, -1), t + where], 1)
    attentions = []
    for block in v.blocks:
        y = block.norm1(t)
        q, k, value = block.attn.qkv(y).unflatten(-1, (3, block.attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
        attention = (q * block.attn.scale @ k.transpose(-2, -1)).softmax(-1)
        attentions.append(attention)
        t = t + block.attn.proj((attention @ value).transpose(1, 2).flatten(2))
        t = t + block.mlp(block.norm2(t))
    return t[:, p:], attentions


def shares(maps: Tensor, p: int) -> Tensor:
    """Rows over the patches, without the prefix and the own position, that sum to 1: (..., n, n)."""
    maps = maps[..., p:, p:] * (1 - torch.eye(maps.shape[-1] - p))
    return maps / maps.sum(-1, keepdim=True).clamp_min(1e-8)


def first_relevance(z: Tensor, attentions: list[Tensor]) -> Tensor:
    """What raises the lengths of the latents: the sum over blocks of mean_h relu(A * G), (B, N, N).

    G is the gradient of the summed lengths. A map of `ultra_kit.explain` is the product over blocks of these
    plus 1, with the gradient of one length alone; this is its first order, for all tokens in one pass.
    """
    gradients = torch.autograd.grad(z.norm(dim=-1).sum(), attentions, create_graph=True)
    return torch.stack([(a * g).relu().mean(1) for a, g in zip(attentions, gradients, strict=True)]).sum(0)


@torch.no_grad()
def walk(latents: Tensor, grid: tuple[int, int], sharpness: float, reach: float, squarings: int) -> Tensor:
    """Where a random walk from each patch stands after 2 ** squarings steps, itself left out: (B, n, n).

    A step goes to a patch that is near (Gaussian of `reach` patches) and alike (cosine of the latents, the
    image's mean taken out): like the pixels of a spectral segmentation.
    """
    unit = F.normalize(latents - latents.mean(1, keepdim=True), dim=-1)
    y, x = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    at = torch.stack([y.flatten(), x.flatten()], 1).float()
    near = torch.exp(-torch.cdist(at, at).square() / (2 * reach**2))
    p = near * torch.exp(sharpness * (unit @ unit.transpose(1, 2) - 1))
    p = p / p.sum(-1, keepdim=True)
    for _ in range(squarings):
        p = p @ p
    p = p * (1 - torch.eye(p.shape[1]))
    return p / p.sum(-1, keepdim=True).clamp_min(1e-8)


@dataclass
class Teacher:
    """The slowly moving copy, its prototypes, and the running mean of its latents."""

    vision: nn.Module
    prototypes: Tensor
    centre: Tensor

    def assign(self, latents: Tensor, temperature: float = 0.05) -> Tensor:
        """Balanced assignments (M, K) of latents (M, D) to the prototypes."""
        unit = F.normalize(latents - self.centre, dim=-1)
        return sinkhorn(unit @ F.normalize(self.prototypes, dim=-1).T / temperature)

    @torch.no_grad()
    def follow(self, student: Student, keep: float) -> None:
        """Move towards the student."""
        for q, k in zip(self.vision.parameters(), student.vision.parameters(), strict=True):
            q.lerp_(k, 1 - keep)
        for q, k in zip(self.vision.buffers(), student.vision.buffers(), strict=True):
            q.copy_(k)
        self.prototypes.lerp_(student.prototypes, 1 - keep)


@torch.no_grad()
def seed_prototypes(student: Student, images: list, rng: np.random.Generator) -> Tensor:
    """Make latents of random patches the prototypes, the mean latent taken out; the mean, (D,).

    Random directions, or those of another model, are all about equally far from every latent: balanced
    assignments to them are nearly even, and teach nothing.
    """
    views = cut(images, (12, 12), 64, rng)
    place = positions(student.vision, (12, 12), random_window((12, 12), rng))
    student.vision.eval()
    z = forward(student.vision, to_input(views.large), place, None, None)[0].flatten(0, 1)
    student.vision.train()
    pick = torch.from_numpy(rng.choice(len(z), len(student.prototypes), replace=False))
    student.prototypes.copy_(F.normalize(z[pick] - z.mean(0), dim=-1))
    student.bias.copy_(-student.prototypes @ z.mean(0))
    return z.mean(0)


def at_places(seen: Tensor, grid: tuple[int, int], where: Tensor) -> Tensor:
    """The teacher's latents (B, n, D) at the patches of the small crops: (B, SMALL * SMALL, D)."""
    steps = (torch.arange(SMALL) + 0.5) / SMALL
    x = where[:, :1] + steps * (where[:, 2:3] - where[:, :1])
    y = where[:, 1:2] + steps * (where[:, 3:4] - where[:, 1:2])
    at = torch.stack([x[:, None].expand(-1, SMALL, -1), y[:, :, None].expand(-1, -1, SMALL)], -1)
    plane = seen.transpose(1, 2).unflatten(2, grid)
    return F.grid_sample(plane, at * 2 - 1, align_corners=False, padding_mode="border").flatten(2).mT


def losses(student: Student, teacher: Teacher, views: Views, grid: tuple[int, int], rng, a) -> dict:
    """The terms of one step, and two numbers to watch: the entropy of the targets, the latents' length."""
    v = student.vision
    place = positions(v, grid, random_window(grid, rng))
    with torch.no_grad():
        seen, _ = forward(teacher.vision, to_input(views.large), place.detach(), None, None)
        teacher.centre.lerp_(seen.mean((0, 1)), 0.05)
    mask = block_masks(len(seen), grid, rng)
    z, attentions = forward(v, to_input(jitter(views.large, rng)), place, mask, student.mask_token)
    p = v.num_prefix_tokens
    look = shares(torch.stack([x.mean(1) for x in attentions[1:]]), p).mean(0)
    made_from = shares(first_relevance(z, attentions), p)
    small_place = positions(v, (SMALL, SMALL), random_window((SMALL, SMALL), rng))
    s, _ = forward(v, to_input(jitter(views.small, rng)), small_place, None, None)
    hidden = int(mask.sum())
    with torch.no_grad():
        told = torch.cat([seen[mask], at_places(seen, grid, views.where).flatten(0, 1)])
        target = teacher.assign(told)
        near = walk(seen, grid, a.alike, a.reach, 1)
        alike = walk(seen, grid, a.alike, a.reach, a.squarings)
    w = F.normalize(student.prototypes, dim=-1)
    logits = torch.cat([z[mask], s.flatten(0, 1)]) @ w.T + student.bias
    said = F.log_softmax(a.sharpness * logits, -1)
    cross = -(target * said).sum(-1)
    entropy = -(target * target.clamp_min(1e-9).log()).sum(-1)
    return {
        "masked": cross[:hidden].mean(),
        "crop": cross[hidden:].mean(),
        "look": -(near * look.clamp_min(1e-8).log()).sum(-1)[~mask].mean(),
        "relevance": -(alike * made_from.clamp_min(1e-6).log()).sum(-1)[~mask].mean(),
        "entropy": entropy.mean(),
        "norm": z.detach().norm(dim=-1).mean(),
    }


def publish(student: Student, vision: nn.Module, prototypes: Tensor, config: dict, folder: Path) -> None:
    """Write what `ultra_kit.load` reads, in float16: the teacher; and the student's mask token."""
    tensors = {f"vision.{k}": v for k, v in vision.state_dict().items()}
    tensors |= {"prototypes": prototypes, "training.mask_token": student.mask_token.detach()}
    half = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in tensors.items()}
    save_file(half, folder / "model.safetensors")
    keys = ("width", "depth", "heads", "sharpness", "seed", "step")
    (folder / "config.json").write_text(json.dumps({k: config[k] for k in keys}, indent=1) + "\n")


def start_from(folder: Path, student: Student) -> None:
    """Fill the student from published weights of `photos` or `scenes`, as far as the shapes fit; no prototypes."""
    state = load_file(folder / "model.safetensors")
    own = student.vision.state_dict()
    found = {k.removeprefix("vision."): v.float() for k, v in state.items() if k.startswith("vision.")}
    student.vision.load_state_dict(own | {k: v for k, v in found.items() if v.shape == own[k].shape})
    with torch.no_grad():
        student.mask_token.copy_(state["training.mask_token"])


def options() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--images", type=Path, nargs="+", required=True, help="folders of photographs")
    p.add_argument("--out", type=Path, required=True, help="a run cut off there is gone on with")
    p.add_argument("--start", type=Path, default=None, help="folder of published weights to start from")
    p.add_argument("--steps", type=int, default=1500)
    p.add_argument("--tokens", type=int, default=1728, help="patches of the large crops of one step")
    p.add_argument("--width", type=int, default=128)
    p.add_argument("--depth", type=int, default=5)
    p.add_argument("--heads", type=int, default=4)
    p.add_argument("--prototypes", type=int, default=256)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument(
        "--sharpness", type=float, default=4.0, help="logits are this times <latent, prototype> + bias"
    )
    p.add_argument("--crop", type=float, default=1.0, help="weight of the small crops")
    p.add_argument("--look", type=float, default=1.0, help="weight of the attention's term")
    p.add_argument("--relevance", type=float, default=1.0, help="weight of the term on relevance")
    p.add_argument("--alike", type=float, default=10.0)
    p.add_argument("--reach", type=float, default=2.0)
    p.add_argument("--squarings", type=int, default=4)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int, default=2)
    return p.parse_args()


@dataclass
class Run:
    """What a checkpoint holds."""

    student: Student
    teacher: Teacher
    opt: torch.optim.Optimizer
    step: int = 0

    def keep(self, a: argparse.Namespace) -> None:
        """Write the checkpoint, and the weights that `ultra_kit.load` reads."""
        parts = {
            "student": self.student.state_dict(),
            "vision": self.teacher.vision.state_dict(),
            "prototypes": self.teacher.prototypes,
            "centre": self.teacher.centre,
            "opt": self.opt.state_dict(),
            "step": self.step,
        }
        torch.save(parts, a.out / "state.tmp")
        (a.out / "state.tmp").replace(a.out / "state.pt")
        config = vars(a) | {"step": self.step}
        publish(self.student, self.teacher.vision, self.teacher.prototypes, config, a.out)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint."""
        state = torch.load(path, weights_only=True)
        self.student.load_state_dict(state["student"])
        self.teacher.vision.load_state_dict(state["vision"])
        self.teacher.prototypes, self.teacher.centre = state["prototypes"], state["centre"]
        self.opt.load_state_dict(state["opt"])
        self.step = state["step"]


def new_run(a: argparse.Namespace, images: list) -> Run:
    student = Student(a.width, a.depth, a.heads, a.prototypes)
    if a.start:
        start_from(a.start, student)
    centre = seed_prototypes(student, images, np.random.default_rng(a.seed))
    vision = build_photos(a.width, a.depth, a.heads)
    vision.load_state_dict(student.vision.state_dict())
    vision.requires_grad_(False).eval()
    groups = [
        {"params": [q for q in student.parameters() if q.ndim > 1], "weight_decay": 0.04},
        {"params": [q for q in student.parameters() if q.ndim <= 1], "weight_decay": 0.0},
    ]
    opt = torch.optim.AdamW(groups, lr=a.lr, betas=(0.9, 0.98))
    return Run(student, Teacher(vision, student.prototypes.detach().clone(), centre), opt)


def advance(run: Run, images: list, a: argparse.Namespace) -> dict[str, float]:
    """One step; its draws depend on the seed and on its number alone."""
    rng, done = np.random.default_rng([a.seed, run.step]), run.step / a.steps
    falling = 0.5 + 0.5 * np.cos(np.pi * done)
    for g in run.opt.param_groups:
        g["lr"] = float(a.lr * min(1.0, (run.step + 1) / 30) * max(0.01, falling))
    grid = SHAPES[rng.integers(len(SHAPES))]
    whole = bool(rng.random() < 0.25 + 0.5 * done)
    views = cut(images, grid, a.tokens // (grid[0] * grid[1]), rng, whole=whole)
    terms = losses(run.student, run.teacher, views, grid, rng, a)
    weighted = ("crop", "look", "relevance")
    loss = terms["masked"] + sum(getattr(a, name) * terms[name] for name in weighted)
    run.opt.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(run.student.parameters(), 3.0)
    run.opt.step()
    run.teacher.follow(run.student, 1 - 0.01 * falling - 1e-3)
    run.step += 1
    return {k: float(v.detach()) for k, v in terms.items()}


def main() -> None:
    a = options()
    a.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(a.seed)
    torch.set_num_threads(a.threads)
    images = open_photographs([*a.images, data_folder() / "images"])
    run = new_run(a, images)
    if (a.out / "state.pt").exists():
        run.resume(a.out / "state.pt")
    start, rows = time.time(), []
    with (a.out / "log.jsonl").open("a") as log:
        while run.step < a.steps:
            rows.append(advance(run, images, a))
            if run.step % 20 == 0:
                means = {k: round(float(np.mean([r[k] for r in rows])), 4) for k in rows[0]}
                line = json.dumps({"step": run.step, "s": round(time.time() - start), **means})
                print(line, flush=True)
                log.write(line + "\n")
                log.flush()
                rows = []
                run.keep(a)
    run.keep(a)


if __name__ == "__main__":
    main()
