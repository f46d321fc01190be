from dataclasses import replace

import numpy as np
import pytest

import ultra_kit as uk


@pytest.fixture(scope="module")
def maps():
    cap = uk.capture(uk.load("scenes"), uk.data.scene(3).image)
    return uk.explain(cap, tokens=[40, 41, 90, 100], layer=3, rule="negative")


def test_stored_results_are_made_again(maps, tmp_path):
    found = uk.verify(uk.save(maps, tmp_path / "maps.npz"))
    assert found and found.difference <= 1e-5, found.message
    found = uk.verify(uk.save(uk.segment(maps, n_segments=2), tmp_path / "seg.npz"))
    assert found and found.difference == 0, found.message


def test_a_changed_number_is_found(maps, tmp_path):
    values = maps.values.copy()
    values[1, 7] += 0.5 * values.max()
    found = uk.verify(uk.save(replace(maps, values=values), tmp_path / "maps.npz"))
    assert not found
    # 0.5 of the old maximum, over the largest value now stored.
    np.testing.assert_allclose(found.difference, 0.5 * maps.values.max() / values.max(), rtol=1e-4)
    assert "NOT the same" in found.message


def test_changed_segments_are_found(maps, tmp_path):
    seg = uk.segment(maps, n_segments=2)
    found = uk.verify(uk.save(replace(seg, labels=1 - seg.labels), tmp_path / "seg.npz"))
    assert not found and found.difference == 1


def test_another_model_is_named(maps, tmp_path):
    other = uk.load("scenes", pretrained=False)
    found = uk.verify(uk.save(maps, tmp_path / "maps.npz"), model=other)
    assert not found
    assert "the model's weights_sha256 is another" in found.message


def test_what_cannot_be_made_again_is_refused(maps, tmp_path):
    def path(**changes):
        return uk.save(replace(maps, **changes), tmp_path / "maps.npz")

    card = dict(maps.card)
    with pytest.raises(uk.UltraError, match="input is not in the file"):
        uk.verify(path(input=None))
    with pytest.raises(uk.UltraError, match="its model None is not loaded"):
        uk.verify(path(card={}))
    with pytest.raises(uk.UltraError, match=r"not loaded because a file names it.*pass it as model="):
        uk.verify(path(card={**card, "model": {"name": "MyViT"}}))
    with pytest.raises(uk.UltraError, match="made with towards not in the file"):
        uk.verify(path(card={**card, "explanation": {**card["explanation"], "towards": "ab12"}}))
    with pytest.raises(uk.UltraError, match="method 'rollout'"):
        uk.verify(path(card={**card, "explanation": {**card["explanation"], "method": "rollout"}}))


def test_evidence_is_made_again(tmp_path):
    """Whatever made it, also of a summary whose tokens are not those of its text, and of a contrast."""
    model = uk.load("briefs")
    s = uk.summarize(model, uk.data.brief(1).document, max_new_tokens=6)
    words = [1, 2]
    made = [uk.evidence(s, words=words, method=m) for m in ("string_search", "random_map", "cosine")]
    made += [uk.evidence(s, words=words, method="random_map", seed=7)]
    made += [uk.evidence(s, words=words, since=-1), uk.evidence(s, words=[1], contrast="storm")]
    for ev in made:
        found = uk.verify(uk.save(ev, tmp_path / "ev.npz"))
        assert found and found.difference <= 1e-5, (ev, found.message)
    matrix = made[-1].matrix.copy()
    matrix[0, 3] += matrix.max()
    assert not uk.verify(uk.save(replace(made[-1], matrix=matrix), tmp_path / "ev.npz"))
    old = {**made[0].card, "summary": {"at": "emits", "contrast": None, "written_by": "model"}}
    with pytest.raises(uk.UltraError, match="older version"):
        uk.verify(uk.save(replace(made[0], card=old), tmp_path / "ev.npz"))


def test_an_atlas_is_placed_again(tmp_path):
    scenes = [uk.data.scene(seed).image for seed in range(2)]
    emb = uk.embed(scenes, model="scenes", method="pca", tokens=0.5)
    found = uk.verify(uk.save(emb, tmp_path / "atlas.npz"))
    assert found and found.difference == 0, found.message
    moved = np.where(np.arange(len(emb))[:, None] == 3, emb.points + np.float32(0.5), emb.points)
    assert not uk.verify(uk.save(replace(emb, points=moved), tmp_path / "atlas.npz"))
    labels = np.where(np.arange(len(emb)) < 10, np.int32(-1), emb.labels)
    assert not uk.verify(uk.save(replace(emb, labels=labels), tmp_path / "atlas.npz"))


def test_a_model_that_cannot_be_it_is_refused_in_words(maps, tmp_path):
    path = uk.save(maps, tmp_path / "maps.npz")
    assert uk.verify(path, model="scenes")
    with pytest.raises(TypeError, match=r"load needs a name, an nn.Module or a Backbone, got int"):
        uk.verify(path, model=3)
    with pytest.raises(
        uk.UltraError, match="its input is of the kind 'image', and 'briefs' takes the kind 'text'"
    ):
        uk.verify(path, model=uk.load("briefs", pretrained=False))
    with pytest.raises(TypeError, match=r"a stored file is needed, got ExplanationMaps: save"):
        uk.verify(maps)


def test_maps_of_a_pair_of_tokens_are_made_again(maps, tmp_path):
    cap = uk.capture(uk.load("scenes"), uk.data.scene(3).image)
    assert uk.verify(uk.save(uk.explain(cap, tokens=[[40, 41]], layer=2), tmp_path / "pair.npz"))
