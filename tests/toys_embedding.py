"""Small embeddings that are worked by hand: three grey pictures of 4 x 6 patches, or two texts."""

from dataclasses import replace

import numpy as np

from ultra_kit.atlas import Embedding, PlacedInput
from ultra_kit.types import Layout

LAYOUT = Layout("image", 1, grid=(4, 6), size=(80, 120))


def image_embedding(names=("sky", "", "tree"), **changed):
    """Of every picture the patches 0, 2, 4 ... as tokens 1, 3, 5 ...; clusters 0, 1, 2 by thirds, every ninth noise.

    Points lie 1 apart on a lattice of 6 x 6. The map of every point is: the patch 23 at 1, the patch 0 at a half.
    """
    m = 36
    points = np.stack([np.arange(m) % 6, np.arange(m) // 6], axis=1).astype(np.float32)
    labels = np.where(np.arange(m) % 9 == 8, -1, np.arange(m) % 3).astype(np.int32)
    source = np.stack([np.arange(m) // 12, 1 + 2 * (np.arange(m) % 12)], axis=1).astype(np.int32)
    inputs = tuple(
        PlacedInput(LAYOUT, np.full((80, 120, 3), 60 * (i + 1), np.uint8), name=f"picture {i}.png")
        for i in range(3)
    )
    mapped = np.tile(np.int32([24, 1]), (m, 1)), np.tile(np.float32([1, 0.5]), (m, 1))
    return _made(points, labels, source, inputs, names=names, mapped=mapped, **{"layer": 7} | changed)


def beside(emb, seed=4):
    """Another atlas of the same tokens, by map: other places, vectors and clusters."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(len(emb), 5))
    changed = {"vectors": (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)}
    changed |= {"points": rng.permutation(emb.points) * np.float32([2, 3]) + np.float32(7)}
    changed |= {"labels": (np.arange(len(emb)) // 5 % 4 - 1).astype(np.int32), "names": ()}
    return replace(emb, by="map", mapped=None, **changed)


def text_embedding(texts=("The cat sat. The dog ran.", "A cat and a dog."), **changed):
    """Every word of texts, a token each; the cluster of a word is its length. The map is the first word alone."""
    inputs, source = [], []
    for number, text in enumerate(texts):
        pieces = ("<s>", *(" " + word for word in text.split(" ")))
        inputs.append(PlacedInput(Layout("text", 1, tokens=pieces), text=text, name=f"text {number}"))
        source += [(number, token) for token in range(1, len(pieces))]
    m = len(source)
    labels = np.array([min(len(texts[i].split(" ")[t - 1]), 4) - 1 for i, t in source], np.int32)
    points = np.stack([np.arange(m), np.arange(m) % 3], axis=1).astype(np.float32)
    mapped = np.ones((m, 1), np.int32), np.ones((m, 1), np.float32)
    return _made(points, labels, np.array(source, np.int32), tuple(inputs), mapped=mapped, **changed)


def many(m=10_000, per=100):
    """As many tokens as an atlas of a folder: noise, the worst to pack, in pictures that are smooth."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(m, 2)).astype(np.float32)
    source = np.stack([np.arange(m) // per, 1 + np.arange(m) % per], axis=1).astype(np.int32)
    layout = Layout("image", 1, grid=(16, 16), size=(224, 224))
    inputs = tuple(PlacedInput(layout, _smooth(rng), name=f"{i}.jpg") for i in range(m // per))
    mapped = rng.integers(1, 257, (m, 8)).astype(np.int32), rng.random((m, 8)).astype(np.float32)
    labels = rng.integers(-1, 40, m).astype(np.int32)
    return _made(points, labels, source, inputs, mapped=mapped)


def _smooth(rng):
    coarse = rng.integers(0, 255, (20, 20, 3)).astype(float)
    return np.kron(coarse, np.ones((8, 8, 1))).astype(np.uint8)


def _made(points, labels, source, inputs, **changed):
    fields = {"probabilities": np.ones(len(points), np.float32), "vectors": points.astype(np.float16)}
    return Embedding(points, labels, source=source, inputs=inputs, **fields | changed)
