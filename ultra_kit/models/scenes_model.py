"""The architecture of the bundled model `scenes`: a timm VisionTransformer and a small text tower."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from ..types import UltraError
from .aligned import TextImageBackbone
from .image_backbone import WholeImage


class Vocabulary:
    """The words of the captions; anything else is one unknown word.

    >>> Vocabulary(["a", "red", "star"]).encode(["a red star"]).tolist()
    [[2, 3, 4]]
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = ("<pad>", "<unk>", *words)
        self._index = {w: i for i, w in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, texts: list[str]) -> torch.Tensor:
        """Word ids, padded with 0: int64 of shape (len(texts), longest).

        Warns
        -----
        UserWarning
            If a text has a word that no caption had.
        """
        words = [re.findall(r"\w+", t.lower()) for t in texts]
        unknown = sorted({w for row in words for w in row} - self._index.keys())
        if unknown:
            warnings.warn(
                f"scenes knows the colours, textures, shapes and grounds of its captions, not {', '.join(unknown[:5])!r}: "
                "what is found says little; ask for something like 'a red striped star'",
                stacklevel=2,
            )
        rows = [[self._index.get(w, 1) for w in row] or [1] for row in words]
        out = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
        for i, r in enumerate(rows):
            out[i, : len(r)] = torch.tensor(r)
        return out


class TextTower(nn.Module):
    """Words to one unit vector in the space of the patches' latents."""

    def __init__(self, n_words: int, width: int, depth: int = 2, heads: int = 4, longest: int = 48) -> None:
        super().__init__()
        self.embed = nn.Embedding(n_words, width, padding_idx=0)
        self.position = nn.Parameter(torch.randn(longest, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.out = nn.Linear(width, width)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """(B, W) word ids to (B, D) unit vectors."""
        ids = ids[:, : len(self.position)]
        pad = ids == 0
        t = self.blocks(self.embed(ids) + self.position[: ids.shape[1]], src_key_padding_mask=pad)
        t = t.masked_fill(pad[..., None], 0).sum(1) / (~pad).sum(1, keepdim=True)
        return F.normalize(self.out(t), dim=-1)


def build_vision(
    width: int = 128,
    depth: int = 5,
    heads: int = 4,
    *,
    final_norm: bool = False,
    size: int = 96,
    any_size: bool = False,
) -> VisionTransformer:
    """The vision tower: patch 8, a class token and 3 registers.

    timm's VisionTransformer, but that three small convolutions of stride 2 embed the patches (Xiao et
    al., "Early Convolutions Help Transformers See Better", 2021): on little data they learn textures
    many times faster than one linear map does. A token's pixels reach 7 beyond its patch's border.

    Parameters
    ----------
    width : int
        D, the size of a token; a multiple of `heads`.
    depth : int
        L, the number of blocks.
    heads : int
        Attention heads of every block.
    final_norm : bool
        Whether the last block is followed by a layer norm.
    size : int
        Height and width of the images, in pixels.
    any_size : bool
        Take images of other sizes too (multiples of 8): the embedding of the positions is resampled.

    Returns
    -------
    VisionTransformer
        With random weights; 4 prefix tokens and, for 96 pixels, a grid of 12 x 12 patches.
    """
    vision = VisionTransformer(
        img_size=size,
        dynamic_img_size=any_size,
        patch_size=8,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        num_classes=0,
        reg_tokens=3,
        global_pool="token",
        final_norm=final_norm,
    )
    layers: list[nn.Module] = []
    for before, after in ((3, 24), (24, 48), (48, 96)):
        layers += [nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.GELU()]
    vision.patch_embed.proj = nn.Sequential(*layers, nn.Conv2d(96, width, 1))
    return vision


def load_scenes(folder: Path, *, pretrained: bool = True) -> TextImageBackbone:
    """The bundled model: vision tower, text tower and, where the weights hold them, prototypes.

    Parameters
    ----------
    folder : Path
        Holds ``config.json`` (width, depth, heads, final_norm, the words of the captions) and ``model.safetensors``, whose names start
        with ``vision.``, ``text.`` or are ``prototypes``.
    pretrained : bool
        False leaves the weights random: the control of every claim about the trained ones.

    Returns
    -------
    TextImageBackbone
        In eval mode, for 96 x 96 pixels. It has a head only if the weights hold prototypes.

    Raises
    ------
    UltraError
        If the weights are missing or don't fit.
    """
    config = json.loads((folder / "config.json").read_text()) if (folder / "config.json").is_file() else {}
    width, depth, heads = (config.get(k, d) for k, d in (("width", 128), ("depth", 6), ("heads", 4)))
    vision = build_vision(width, depth, heads, final_norm=config.get("final_norm", False))
    vocabulary = Vocabulary(config.pop("words", ()))
    text = TextTower(len(vocabulary), width)
    prototypes = None
    if pretrained:
        prototypes = fill(folder / "model.safetensors", {"vision": vision, "text": text})
    module = nn.ModuleDict({"vision": vision, "text": text})
    if prototypes is not None:
        module.register_buffer("prototypes", F.normalize(prototypes.float(), dim=-1))
    module.eval()

    def encode(texts: list[str]) -> torch.Tensor:
        return text(vocabulary.encode(texts).to(text.position.device))

    return TextImageBackbone(
        name="scenes",
        module=module,
        transform=WholeImage((96, 96)),
        grid=vision.patch_embed.dynamic_feat_size,
        n_prefix=vision.num_prefix_tokens,
        forward=vision.forward_features,
        reader=None if prototypes is None else lambda z: vision.norm(z) @ module.prototypes.T,
        facts=config | {"pretrained": pretrained},
        libraries=("timm",),
        text_encoder=encode,
        projection=vision.norm,
    )


def fill(path: Path, towers: dict[str, nn.Module]) -> torch.Tensor | None:
    """Fill the towers of a bundled model from its file.

    Parameters
    ----------
    path : Path
        Safetensors, whose names start with a tower's name and a dot or are ``prototypes``.
    towers : dict of str to nn.Module
        Name to tower.

    Returns
    -------
    torch.Tensor of shape (K, D) or None
        The prototypes, if the file has any.

    Raises
    ------
    UltraError
        If the weights are missing or don't fit.
    """
    if not path.is_file():
        raise UltraError(
            f"the bundled weights {path.name} are not in {path.parent}; reinstall ultra-kit, or pass pretrained=False"
        )
    state = load_file(path)
    try:
        for name, tower in towers.items():
            start = f"{name}."
            tower.load_state_dict({k[len(start) :]: t for k, t in state.items() if k.startswith(start)})
    except RuntimeError as e:
        raise UltraError(f"the weights in {path} don't fit config.json beside them: {e}") from e
    return state.get("prototypes")
