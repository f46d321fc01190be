"""What lies beside the weights is read whole, or refused in words; weights are all there."""

import copy
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.numpy import load_file, save_file
from tokenizers import processors

import ultra_kit as uk
from ultra_kit.text.tokenizing import generate

SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
USUAL = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "size": {"height": 32, "width": 32},
    "resample": 3,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vit")
    config = transformers.ViTConfig(image_size=32, patch_size=8, **SMALL)
    transformers.ViTModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "vit")


CHANGES = {
    "usual": {},
    "no normalisation": {"do_normalize": False, "image_mean": [0.4] * 3, "image_std": [0.2] * 3},
    "another factor": {"rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [1.0] * 3},
    "no factor": {"do_rescale": False, "image_mean": [127.5] * 3, "image_std": [127.5] * 3},
    "neither": {"do_rescale": False, "do_normalize": False},
    "bilinear": {"resample": 2},
    "another size": {"size": {"height": 16, "width": 32}},
    "a size as one number": {"size": 16},
    "a crop": {
        "do_center_crop": True,
        "size": {"height": 32, "width": 32},
        "crop_size": {"height": 32, "width": 32},
    },
}


@pytest.mark.parametrize("case", CHANGES)
def test_pixels_are_those_of_the_processor(folder, case):
    (folder / "preprocessor_config.json").write_text(json.dumps(USUAL | CHANGES[case]))
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    theirs = transformers.AutoImageProcessor.from_pretrained(folder, use_fast=False)
    expected = theirs(Image.fromarray(image), return_tensors="np")["pixel_values"]
    found = uk.load(f"hf:{folder}").prepare(image)[0]["pixel_values"].numpy()
    assert np.abs(found - expected).max() < 0.03 * expected.std() + 1e-6


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"do_flip_channel_order": True},
            "asks for do_flip_channel_order, which is not done here; pass transform=",
        ),
        (
            {"do_pad": True, "pad_size": {"height": 64, "width": 64}},
            "asks for do_pad, which is not done here",
        ),
        ({"image_mean": [0.5]}, "three means and spreads"),
        ({"image_mean": [0.5, "grey", 0.5]}, "can't be loaded"),
        ({"rescale_factor": 0}, "and a factor"),
        ({"resample": 77}, "can't be loaded: 77 is not a valid Resampling"),
        ({"size": {"height": -4, "width": 32}}, "can't be loaded: size must be"),
        (None, "can't be loaded"),
    ],
)
def test_a_processor_that_is_not_understood_is_refused(folder, change, words):
    text = "{" if change is None else json.dumps(USUAL | change)
    (folder / "preprocessor_config.json").write_text(text)
    with pytest.raises(uk.UltraError, match=words):
        uk.load(f"hf:{folder}")


@pytest.mark.parametrize(
    ("change", "size"),
    [
        (
            {"size": {"shortest_edge": 24}},
            (24, 24),
        ),  # the whole image stays in view: the sides are those of a square
        ({"size": {"longest_edge": 24}}, (24, 24)),
        (
            {"do_center_crop": True, "size": {"shortest_edge": 32}, "crop_size": {"height": 16, "width": 24}},
            (16, 24),
        ),
        ({"do_resize": False, "size": {"height": 16, "width": 24}}, (32, 32)),  # the model's own
    ],
    ids=str,
)
def test_every_form_of_a_size(folder, change, size):
    (folder / "preprocessor_config.json").write_text(json.dumps(USUAL | change))
    assert (
        uk.load(f"hf:{folder}").prepare(np.zeros((48, 64, 3), np.uint8))[0]["pixel_values"].shape[2:] == size
    )


def changed_weights(folder, change):
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


def test_a_missing_weight_is_an_error_that_names_it(folder):
    name = "layers.0.attention.q_proj.weight"
    changed_weights(
        folder,
        lambda w: w.pop(next(k for k in w if k.endswith("query.weight") or k.endswith("q_proj.weight"))),
    )
    with pytest.raises(uk.UltraError, match=f"it lacks weights of a ViTModel: {name}"):
        uk.load(f"hf:{folder}")
    assert uk.load(f"hf:{folder}", pretrained=False)


def test_a_surplus_weight_is_said(folder):
    changed_weights(folder, lambda w: w.update(other=np.zeros(3, np.float32)))
    with pytest.warns(
        UserWarning, match=r"1 weights of .* are of no part of a ViTModel, such as other; they are left out"
    ):
        uk.load(f"hf:{folder}")


def test_a_weight_of_another_shape_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": 64}))
    with pytest.raises(uk.UltraError, match="can't be loaded"):
        uk.load(f"hf:{folder}")


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b[:40] + b"\xff" + b[41:], lambda b: b""]
)
def test_damaged_weights(folder, damage):
    path = folder / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(uk.UltraError, match="can't be loaded"):
        uk.load(f"hf:{folder}")


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    own = uk.load("briefs", pretrained=False).tokenizer
    transformers.BertModel(transformers.BertConfig(**SMALL, vocab_size=len(own))).save_pretrained(folder)
    own.save_pretrained(folder)
    assert uk.load(f"hf:{folder}").tokenizer is not None
    return folder


@pytest.mark.parametrize("content", ["half", "", "\xff\xfe\0", "[1]", "3", "null", "[" * 100_000])
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_damaged_settings_name_the_folder(name, content, text_folder, tmp_path):
    folder = shutil.copytree(text_folder, tmp_path / "bert")
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2] if content == "half" else content.encode("latin-1"))
    with pytest.raises(uk.UltraError, match=re.escape(str(folder))):
        uk.load(f"hf:{folder}")


def test_an_architecture_that_is_no_model_is_not_called(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["pipeline"]}))
    assert type(uk.load(f"hf:{folder}").module).__name__ == "ViTModel"


@pytest.fixture(scope="module")
def writer():
    """A model that writes, the tokens of a document, and what it writes in its own settings."""
    model = uk.load("briefs")
    ids = model.tokenizer(uk.data.brief(3).document)["input_ids"]
    return model, ids, generate(model, ids, 12, 1)


@pytest.mark.parametrize(
    "settings",
    [
        {"return_dict_in_generate": True},
        {"return_dict_in_generate": True, "output_scores": True},
        {"do_sample": True, "temperature": 5.0, "top_k": 3, "top_p": 0.5},
    ],
    ids=str,
)
def test_a_generation_config_of_its_own_changes_nothing(writer, settings, monkeypatch):
    model, ids, expected = writer
    for name, value in settings.items():
        monkeypatch.setattr(model.module.generation_config, name, value)
    assert generate(model, ids, 12, 1) == expected


def test_any_of_several_ends_is_an_end(writer, monkeypatch):
    model, ids, (new, _) = writer
    monkeypatch.setattr(model.module.generation_config, "eos_token_id", [0, new[4]])
    first = new.index(new[4])
    assert generate(model, ids, 12, 1) == (new[:first], False)


def test_a_forced_end_does_not_hide_a_cut(writer, monkeypatch):
    model, ids, (new, _) = writer
    monkeypatch.setattr(model.module.generation_config, "forced_eos_token_id", model.tokenizer.eos_token_id)
    assert generate(model, ids, 4, 1) == (new[:4], True)


def test_special_tokens_that_a_tokenizer_adds_at_the_ends_come_once(writer):
    """With a start and an end of its own; a causal model goes on after the document, so that end is left out."""
    model, *_ = writer
    own = copy.deepcopy(model.tokenizer)
    start, end = own.bos_token_id, own.eos_token_id
    own.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{own.bos_token} $A {own.eos_token}",
        special_tokens=[(own.bos_token, start), (own.eos_token, end)],
    )
    assert own("a")["input_ids"][-1] == end
    s = uk.summarize(replace(model, tokenizer=own), uk.data.brief(3).document, max_new_tokens=4)
    given = s.capture.inputs["input_ids"][0].tolist()
    assert (given[0], given.count(start), given.count(end)) == (start, 1, 0)


def test_no_limit_of_positions_may_be_written_as_minus_one():
    config = transformers.XLNetConfig(d_model=32, n_layer=2, n_head=4, d_inner=64, vocab_size=50)
    cap = uk.capture(uk.load(transformers.XLNetModel(config).eval()), {"input_ids": [5, 6, 7, 8]})
    assert cap.layout.n_tokens == 4 and torch.isfinite(cap.latents[-1]).all()
