"""The object that holds an atlas."""

import numpy as np
import pytest

from ultra_kit.atlas import Embedding, PlacedInput
from ultra_kit.types import Layout


def made(**changed):
    """Three tokens of a picture of 2 x 4 patches behind one prefix token."""
    picture = PlacedInput(Layout("image", 1, grid=(2, 4), size=(20, 80)), np.zeros((10, 40, 3), np.uint8))
    fields = {
        "points": np.zeros((3, 2), np.float32),
        "labels": np.array([0, -1, 1], np.int32),
        "probabilities": np.array([1, 0, 0.5], np.float32),
        "source": np.array([[0, 1], [0, 2], [0, 8]], np.int32),
        "vectors": np.zeros((3, 5), np.float16),
        "inputs": (picture,),
    }
    return Embedding(**fields | changed)


def test_what_it_says_of_itself():
    assert repr(made()) == ("Embedding(3 tokens of 1 input, layer -1 by latent, umap, 2 clusters, 33% noise)")


def test_what_is_said_of_tokens_does_not_change_and_the_arrays_given_stay_free():
    labels = np.array([0, -1, 1], np.int32)
    emb = made(labels=labels)
    for name in ("points", "labels", "probabilities", "source", "layers"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(emb, name)[0] = 0
    labels[0] = 0  # the caller's own


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"labels": np.zeros(2, np.int32)}, "labels must have the shape"),
        ({"vectors": np.zeros((2, 5))}, r"vectors must have the shape \(3, 5\), got \(2, 5\)"),
        ({"by": "maps"}, "by must be one of latent, map"),
        ({"layer": (1, 2)}, "layers must have the shape"),
        ({"layer": (1, 2), "layers": np.int32([1, 2, 3])}, r"layers must be among \(1, 2\), got \[1 2 3\]"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changed, said):
    with pytest.raises(ValueError, match=said):
        made(**changed)


def test_the_box_of_a_patch_in_its_picture():
    placed = made().inputs[0]
    assert placed.box(1) == (0, 0, 10, 5)
    assert placed.box(8) == (30, 5, 40, 10)
    with pytest.raises(ValueError, match=r"token must be a patch in 1\.\.8"):
        placed.box(0)


def test_each_token_of_a_text_has_a_word():
    text = "Fires  burned, fires."
    pieces = ("<s>", "F", "ires", "  ", "burn", "ed", ",", " fires", ".")
    placed = PlacedInput(Layout("text", 1, tokens=pieces), text=text)
    assert [placed.word(t) for t in range(9)] == [
        "<s>", "Fires", "Fires", "  ", "burned", "burned", ",", "fires", ".",
    ]  # fmt: skip
    assert [w.tokens for w in placed.words] == [(1, 2), (4, 5), (6,), (7,), (8,)]


def test_exemplars_come_from_every_input_before_any_gives_a_second():
    vectors = np.float16(
        [[1, 0], [1, 0.1], [1, 0.2], [1, 0.9], [0, 0]]
    )  # the mean of the first four is at 0.3
    emb = made(
        points=np.zeros((5, 2), np.float32),
        labels=np.int32([0, 0, 0, 0, -1]),
        probabilities=np.ones(5, np.float32),
        source=np.int32([[0, 1], [0, 2], [0, 3], [1, 1], [1, 2]]),
        vectors=vectors,
        inputs=made().inputs * 2,
    )
    assert emb.exemplars(0).tolist() == [2, 3, 1, 0]  # distances 0.1 (input 0), 0.6 (input 1), 0.2, 0.3
    assert emb.exemplars(0, 2).tolist() == [2, 3] and emb.exemplars(-1).tolist() == [4]
    with pytest.raises(ValueError, match=r"cluster must be in -1\.\.0"):
        emb.exemplars(1)


def test_a_token_of_several_layers_stands_for_a_cluster_once():
    emb = made(
        points=np.zeros((4, 2), np.float32),
        labels=np.zeros(4, np.int32),
        probabilities=np.ones(4, np.float32),
        source=np.int32([[0, 1], [0, 2], [0, 1], [0, 2]]),
        layer=(3, 6),
        layers=np.int32([3, 3, 6, 6]),
        vectors=np.float16([[1, 0], [1, 0.4], [1, 0.5], [1, 0.7]]),  # their mean is at 0.4
    )
    assert emb.exemplars(0).tolist() == [1, 2]


def test_a_patch_is_cut_with_its_surroundings_and_inside_the_picture():
    rows, columns = np.mgrid[:10, :40]
    picture = np.stack([rows, columns, 0 * rows], axis=-1).astype(np.uint8)
    placed = PlacedInput(Layout("image", 1, grid=(2, 4), size=(20, 80)), picture)
    emb = made(inputs=(placed,))
    corner = emb.patch(0, around=0)  # token 1: rows 0 to 4, columns 0 to 9
    assert corner[..., 0].max() == 4 and corner[..., 1].max() == 9 and corner.shape == (5, 10, 3)
    last = emb.patch(2)  # token 8, at the border: as large as any, both rows and columns 10 to 39
    assert last.shape == (10, 30, 3) and last[..., 1].min() == 10
    assert made(inputs=(PlacedInput(Layout("text", 1, tokens=("a",) * 9), text="a a"),)).patch(0) is None
