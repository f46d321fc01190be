"""Names of latent tokens, against captures of single sentences and against the model's own output."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as tf

import ultra_kit as uk
from ultra_kit.atlas import word_bank
from ultra_kit.atlas.naming import Name, Names
from ultra_kit.models.fetching import cache_folder
from ultra_kit.types import Layout

DATA = Path(uk.__file__).parents[1] / "data" / "words"
TEXTS = (
    "The fire reached Selby.",
    "On Monday the flood began.",
    "The storm damaged 12 boats in Zeal, not 7.",
)
TEXT = "After the fire, the mill in Selby was closed."
REAL = pytest.mark.skipif(
    not (cache_folder() / "smollm2-bcc81830d10c" / "card.json").is_file(),
    reason="smollm2 is not in the cache",
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch, request):
    if "smollm2" not in request.node.name:
        monkeypatch.setenv("ULTRA_KIT_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def briefs():
    return uk.load("briefs")


def by_hand(model, text, token, layer, texts):
    """Each word's largest cosine with a token, one capture a sentence; the words of `briefs` are single tokens."""
    entries = []
    for sentence in texts:
        cap = uk.capture(model, sentence)
        pieces, z = cap.layout.tokens, cap.tokens(layer).astype(np.float64)
        entries += [(p.strip().casefold(), z[i]) for i, p in enumerate(pieces) if i and p.strip().isalnum()]
    mean = np.mean([z for _, z in entries], axis=0)
    z = uk.capture(model, text).tokens(layer)[token].astype(np.float64) - mean
    found = {}
    for word, e in entries:
        e = e - mean
        found[word] = max(found.get(word, -1), float(e @ z / np.linalg.norm(e) / np.linalg.norm(z)))
    return sorted(found.items(), key=lambda pair: -pair[1])


@pytest.mark.parametrize("layer", [1, 3, -1])
def test_nearest_latents_are_those_of_single_captures(briefs, layer):
    cap = uk.capture(briefs, TEXT)
    tokens = [2, cap.layout.n_tokens - 2]
    names = uk.name(cap, layer=layer, tokens=tokens, among=TEXTS, k=4, progress=False)
    for token, found in zip(tokens, names.found, strict=True):
        true = by_hand(briefs, TEXT, token, layer, TEXTS)[:4]
        assert [n.text for n in found] == [word for word, _ in true]
        assert [n.likeness for n in found] == pytest.approx(
            [s for _, s in true], abs=2e-3
        )  # float16 in the cache
        assert all(n.text in n.sentence.casefold() and n.sentence in TEXTS for n in found)


def test_a_word_in_the_same_sentence_is_itself(briefs):
    cap = uk.capture(briefs, TEXTS[0])
    names = uk.name(cap, layer=2, tokens=[2], among=TEXTS, k=1, progress=False)
    assert names.of(2) == ("fire",) and names.found[0][0].likeness == pytest.approx(1, abs=1e-3)


def test_the_head_says_what_the_model_writes_next(briefs):
    cap = uk.capture(briefs, TEXT)
    names = uk.name(cap, by="head", k=3)
    p = briefs.logits(dict(cap.inputs))[0].softmax(-1)
    for token, found in zip(names.tokens, names.found, strict=True):
        order = [briefs.strings([int(i)])[0].strip() for i in p[token].argsort(descending=True)]
        words = list(dict.fromkeys(w.casefold() for w in order if any(map(str.isalnum, w))))
        assert [n.text.casefold() for n in found] == words[:3]
    best = names.found[-1][0]
    (number,) = (i for i in range(p.shape[-1]) if briefs.strings([i])[0].strip() == best.text)
    assert best.likeness == pytest.approx(float(p[-1, number]), abs=1e-6)


def test_the_nearest_phrase_of_a_patch():
    model, drawn = uk.load("scenes"), uk.data.scene(3)
    cap = uk.capture(model, drawn.image)
    phrases = ["a red star", "a blue ring", "a green square"]
    names = uk.name(cap, tokens=[20, 70], among=phrases, k=2)
    near = (
        torch.nn.functional.normalize(model.project(cap.latents[-1][[20, 70]]), dim=-1)
        @ model.encode_text(phrases).T
    )
    for found, row in zip(names.found, near.detach().numpy(), strict=True):
        assert [n.text for n in found] == [phrases[i] for i in np.argsort(-row)[:2]]
        assert found[0].likeness == pytest.approx(row.max(), abs=1e-5)


@pytest.mark.parametrize("embedded", [False, True])
def test_patches_of_other_images_name_a_patch(embedded):
    model = uk.load("photos", pretrained=False)
    caps = [uk.capture(model, uk.data.scene(seed).image) for seed in range(3)]
    among = uk.embed(caps, layer=2, method="pca") if embedded else caps
    names = uk.name(caps[0], tokens=[40, 70], among=among, layer=2, k=3)
    assert (names.by, names.layer) == ("patches", 2)
    for token, found in zip([40, 70], names.found, strict=True):
        like = uk.atlas.similar(caps[0], token, among=caps, layer=2, k=3)
        assert [name.likeness for name in found] == pytest.approx(like.likeness[1:].tolist())
        for name, placed, there in zip(found, like.inputs[1:], like.tokens[1:], strict=True):
            assert name.text.startswith(placed.layout.place_of(there))
            x, y = (int(v) for v in placed.box(int(there))[:2])
            assert (name.patch == placed.picture[y, x]).all(axis=2).any()  # it is cut from where it lies
    figure = uk.plots.show_names(names)
    assert [ax.get_title() for ax in figure.axes[::4]] == [caps[0].layout.place_of(t) for t in (40, 70)]
    assert [len(ax.images) for ax in figure.axes] == [1] * 8
    assert names.table.shape == (6, 6)


def test_latents_are_made_once_for_a_layer_and_a_corpus(briefs, tmp_path, monkeypatch):
    first = uk.name(uk.capture(briefs, TEXT), layer=2, among=TEXTS)
    (kept,) = (tmp_path / "words").iterdir()
    made = word_bank._latents
    monkeypatch.setattr(word_bank, "_latents", lambda *a: pytest.fail("the model ran again"))
    assert uk.name(uk.capture(briefs, TEXT), layer=2, among=TEXTS).table.equals(first.table)
    with pytest.raises(pytest.fail.Exception):
        uk.name(uk.capture(briefs, TEXT), layer=3, among=TEXTS)
    with pytest.raises(pytest.fail.Exception):
        uk.name(uk.capture(briefs, TEXT), layer=2, among=TEXTS[:2])
    with pytest.raises(pytest.fail.Exception):
        uk.name(uk.capture(uk.load("briefs", pretrained=False), TEXT), layer=2, among=TEXTS)
    kept.write_bytes(b"half a file")
    monkeypatch.setattr(word_bank, "_latents", made)
    assert uk.name(uk.capture(briefs, TEXT), layer=2, among=TEXTS).table.equals(first.table)


def test_a_cache_that_cannot_be_written_stops_nobody(briefs, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ULTRA_KIT_CACHE", str(tmp_path / "file"))
    assert uk.name(uk.capture(briefs, TEXT), layer=2, tokens=[2], among=TEXTS).of(2)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-30]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"PK\x03\x04" + b"\0" * 50),
        lambda path: np.savez(path, units=np.zeros((1, 128), np.float16), mean=np.zeros(128, np.float32)),
    ],
)
def test_a_damaged_cache_is_made_again(damage, briefs):
    cap = uk.capture(briefs, TEXT)
    named = [uk.name(cap, layer=2, tokens=[2], among=TEXTS).found]
    (path,) = (cache_folder() / "words").glob("*-2.npz")
    damage(path)
    named += [uk.name(cap, layer=2, tokens=[2], among=TEXTS).found for _ in range(2)]
    assert named[0] == named[1] == named[2]


def test_several_layers_come_from_one_pass(briefs, monkeypatch):
    single = {k: word_bank.word_banks(briefs, [k], TEXTS)[k].units for k in (1, 4)}
    monkeypatch.setenv("ULTRA_KIT_CACHE", str(cache_folder() / "other"))
    runs = []
    made = word_bank._latents
    monkeypatch.setattr(word_bank, "_latents", lambda *a: runs.append(a) or made(*a))
    both = word_bank.word_banks(briefs, [4, 1], TEXTS)
    assert len(runs) == 1 and all((both[k].units == single[k]).all() for k in (1, 4))


def test_an_encoder_reads_both_ways(briefs):
    torch.manual_seed(0)
    config = tf.BertConfig(
        vocab_size=len(briefs.tokenizer),
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=40,
    )
    model = uk.load(tf.BertForMaskedLM(config).eval(), transform=briefs.tokenizer)
    names = uk.name(uk.capture(model, TEXT), layer=2, tokens=[2], among=TEXTS, k=3)
    true = by_hand(model, TEXT, 2, 2, TEXTS)
    assert list(names.of(2)) == [word for word, _ in true[:3]]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"layer": 0}, ValueError, "layer must be at least 1 for by='latents'"),
        ({"layer": 9}, ValueError, "layer must be in"),
        ({"by": "phrases"}, ValueError, "by must be one of latents, head"),
        ({"k": 0}, ValueError, "k must be at least 1"),
        ({"among": "one text"}, TypeError, "among must be a list of texts"),
        ({"among": []}, ValueError, "among must hold at least one text with a word"),
        ({"among": ["!"]}, ValueError, "among must hold at least one text with a word"),
        ({}, uk.UltraError, "corpus of names is no text for this model .*pass among=sentences"),
    ],
)
def test_what_cannot_be_is_refused_in_words(briefs, options, error, said):
    with pytest.raises(error, match=said):
        uk.name(uk.capture(briefs, TEXT), **options)


def test_models_without_names_are_refused_in_words(briefs):
    image = uk.data.scene(0).image
    scenes = uk.capture(uk.load("scenes"), image)
    for none in (None, []):
        with pytest.raises(ValueError, match=re.escape(f"'a blue ring'], got {none}")):
            uk.name(scenes, among=none)
    with pytest.raises(ValueError, match="layer must be the last"):
        uk.name(scenes, layer=2, among=["a red star"])
    with pytest.raises(TypeError, match="among must be a list of captures of other images, got"):
        uk.name(scenes, by="patches", among=["a red star"])
    with pytest.raises(TypeError, match="among must be a list of texts"):
        uk.name(scenes, by="phrases", among=[scenes])
    with pytest.raises(uk.UltraError, match=r"no text tower.*among=captures of other images"):
        uk.name(uk.capture(uk.load("photos", pretrained=False), image), among=["a cat"])
    with pytest.raises(TypeError, match="name needs Capture, got str"):
        uk.name("a text")
    seq2seq = tf.BartConfig(
        vocab_size=60, d_model=24, encoder_layers=1, decoder_layers=1, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=40, decoder_ffn_dim=40, max_position_embeddings=64,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=2,
    )  # fmt: skip
    model = uk.load(tf.BartForConditionalGeneration(seq2seq).eval())
    with pytest.raises(uk.UltraError, match="is an encoder-decoder"):
        uk.name(uk.capture(model, {"input_ids": [1, 7, 9]}))
    gpt2 = uk.load(
        tf.GPT2LMHeadModel(
            tf.GPT2Config(vocab_size=60, n_positions=64, n_embd=24, n_layer=1, n_head=4)
        ).eval()
    )
    with pytest.raises(uk.UltraError, match="name needs a fast tokenizer"):
        uk.name(uk.capture(gpt2, {"input_ids": [1, 7, 9]}))
    few = tf.BertForTokenClassification(
        tf.BertConfig(vocab_size=len(briefs.tokenizer), hidden_size=24, num_hidden_layers=1, num_attention_heads=4,
                      intermediate_size=40, num_labels=5)
    ).eval()  # fmt: skip
    with pytest.raises(uk.UltraError, match="says 5 classes, no words"):
        uk.name(uk.capture(uk.load(few, transform=briefs.tokenizer), TEXT), by="head")


def test_table_repr_and_figure_of_names():
    found = ((Name("river", 0.9, "The river."), Name("lake", 0.5, "A lake.")), (Name("$x_1$ & <b>", 0.1),))
    names = Names(np.array([1, 2]), found, 3, "latents", Layout("text", 0, tokens=("A", " stream", "\n")))
    assert names.table.values.tolist() == [
        [1, "stream", 1, "river", 0.9, "The river."],
        [1, "stream", 2, "lake", 0.5, "A lake."],
        [2, "'\\n'", 1, "$x_1$ & <b>", 0.1, ""],
    ]
    assert repr(names) == r"Names(2 tokens, layer 3, by latents; stream: river, lake; '\n': $x_1$ & <b>)"
    assert "&lt;b&gt;" in names._repr_html_()
    written = [t.get_text() for t in uk.plots.show_names(names, columns=20).axes[0].texts]
    assert written == ["stream", "river", "lake", "'\\n'", "$x_1$ & <b>"]
    with pytest.raises(ValueError, match=r"token must be one of the named, \[1, 2\], got 0"):
        names.of(0)


def test_the_corpus_is_what_its_script_writes(tmp_path):
    script = tmp_path / "write.py"
    script.write_text((DATA / "write.py").read_text("utf-8"), "utf-8")
    runpy.run_path(str(script), run_name="__main__")
    assert (tmp_path / "sentences.txt").read_bytes() == (DATA / "sentences.txt").read_bytes()
    assert len(uk.atlas.sentences()) == 901


@REAL
def test_smollm2_tells_two_banks_apart():
    texts = [
        "The water of the river reached the shore of the lake.",
        "They rowed along the stream to the beach.",
        "In finance the loan depends on the money and the credit.",
        "The company paid the debt with the profit.",
    ]
    lm = uk.load("smollm2")
    for text, first in (
        ("We sat on the grassy bank", "shore"),
        ("She opened an account at the bank", "loan"),
    ):
        cap = uk.capture(lm, text)
        last = cap.layout.n_tokens - 1
        assert uk.name(cap, tokens=[last], among=texts, k=1).of(last) == (first,)
