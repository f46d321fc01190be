"""Every mode of torch that a caller may sit in, every state that a module may be in: the same result, or a sentence."""

import contextlib
import copy
import threading

import numpy as np
import pytest
import timm
import torch
import transformers
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint
from toys_models import IMAGE, OwnModule, own_model

import ultra_kit as uk

MODES = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "anomaly detection": lambda: torch.autograd.set_detect_anomaly(True, check_nan=False),
    "save_on_cpu": torch.autograd.graph.save_on_cpu,
}
LAYOUT = {"size": (16, 24), "grid": (2, 3), "n_prefix": 0}


def image_results(model):
    """What each verb says of an image, as arrays."""
    cap = uk.capture(model, IMAGE)
    few = {"layer": 2, "tokens": [1, 4]}
    maps = uk.explain(cap, layer=2)
    yield "capture", cap.tokens(-1)
    yield "explain", maps.values
    yield "explain, chunks", uk.explain(cap, layer=3, chunk_size=4).values
    yield "explain, towards", uk.explain(cap, **few, towards=np.ones(16)).values
    yield "plan", uk.plan(cap, **few).tokens
    yield "head_shares", uk.maps.head_shares(cap, **few)
    yield "medoids", uk.maps.medoids(cap, 0.5)
    for name in ("raw_attention", "rollout", "cosine", "gradient_x_input"):
        yield name, getattr(uk.baselines, name)(cap, **few).values
    yield "integrated_gradients", uk.baselines.integrated_gradients(cap, **few, n_steps=2).values
    yield "segment", uk.segment(maps, n_segments=2).labels
    yield "select", uk.select(cap, points=[(5, 5)], layer=2).mask
    found = uk.runs.perturb(cap, uk.explain(cap, **few), fractions=(0, 0.5, 1))
    yield "perturb", np.stack([found.deletion, found.insertion])
    yield "check", float(bool(uk.check(model)))
    yield "check", np.array(float(bool(uk.check(model))))
    yield "embed", uk.embed([cap], method="pca", layer=2, progress=False).points
    yield "diagnose", uk.diagnose(cap, progress=False).layers.to_numpy(float)
    yield "intervene", uk.intervene(cap, remove=[1, 2], token=4, layer=2).cosine


def text_results(lm):
    s = uk.summarize(lm, uk.data.brief(3).document, max_new_tokens=6)
    yield "summarize", np.array([s.capture.inputs["input_ids"][0].tolist()])
    yield "probabilities", np.array(s.word_log_probabilities)
    for how in ({"score": "norm"}, {"score": "logprob"}, {"method": "gradient_x_input", "score": "sum"}):
        yield f"evidence {how}", uk.evidence(s, layer=1, words=[0], **how).matrix
    yield "comprehensiveness", uk.comprehensiveness(s, uk.evidence(s, layer=1, words=[0])).curves.to_numpy()
    yield "sufficiency", uk.sufficiency(s, uk.evidence(s, layer=1, words=[0])).curves.to_numpy()


@pytest.fixture(scope="module")
def plain():
    """The results in no mode."""
    return {
        "image": dict(image_results(own_model())),
        "text": dict(text_results(uk.load("briefs"))),
    }


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("mode", MODES)
def test_images_in_every_mode(plain, mode):
    model = own_model()
    with MODES[mode]():
        for name, values in image_results(model):
            np.testing.assert_allclose(values, plain["image"][name], rtol=1e-5, atol=1e-7, err_msg=name)


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("mode", MODES)
def test_texts_in_every_mode(plain, mode):
    lm = uk.load("briefs")
    with MODES[mode]():
        for name, values in text_results(lm):
            np.testing.assert_allclose(values, plain["text"][name], rtol=1e-5, atol=1e-7, err_msg=name)


def state(module):
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules())
    needs = [(p.requires_grad, p.grad is None) for p in module.parameters()]
    return hooks, needs, [m.training for m in module.modules()]


def test_eight_threads_get_what_one_gets(plain):
    """On captures of their own, and all on the first one's graph, which `explain` hooks for a moment."""
    model = own_model()
    shared, before, faults = uk.capture(model, IMAGE), state(model.module), []

    def work(own):
        try:
            for _ in range(6):
                cap = uk.capture(model, IMAGE) if own else shared
                found = {
                    "explain": uk.explain(cap, layer=2).values,
                    "gradient_x_input": uk.baselines.gradient_x_input(cap, layer=2, tokens=[1, 4]).values,
                }
                for name, values in found.items():
                    np.testing.assert_allclose(values, plain["image"][name], rtol=1e-5, atol=1e-7)
        except Exception as e:
            faults.append(e)

    threads = [threading.Thread(target=work, args=(k % 2,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert faults == [] and state(model.module) == before


def built_in_inference_mode():
    with torch.inference_mode():
        return OwnModule()


class SavesMemory(OwnModule):
    """Checkpoints its blocks itself: no flag tells."""

    reentrant = False

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=self.reentrant)
        return x


class SavesMemoryByReentering(SavesMemory):
    reentrant = True


class Adapted(nn.Module):
    """As PEFT's wrapper looks from outside."""

    def __init__(self):
        super().__init__()
        self.base_model = nn.ModuleDict({"model": OwnModule()})

    def get_base_model(self):
        return self.base_model["model"]


def compiled_part():
    module = OwnModule()
    module.blocks[1].compile()
    return module


REFUSED = {
    "inference tensors": (built_in_inference_mode, "made under torch.inference_mode"),
    "checkpoint": (SavesMemory, "torch.utils.checkpoint itself"),
    "reentrant checkpoint": (SavesMemoryByReentering, "made in no_grad"),
    "DataParallel": (lambda: nn.DataParallel(OwnModule()), r"load the module inside: load\(module\.module\)"),
    "AveragedModel": (lambda: torch.optim.swa_utils.AveragedModel(OwnModule()), r"load\(module\.module\)"),
    "compiled": (lambda: torch.compile(OwnModule()), r"load\(module\._orig_mod\)"),
    "a compiled part": (compiled_part, r"its part 'blocks\.1' is one"),
    "adapters": (Adapted, r"load\(module\.get_base_model\(\)\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_words_and_left_as_it_was(case):
    build, words = REFUSED[case]
    module = build().train()
    before = state(module)
    for layout in (LAYOUT, {}) if "load" in words else (LAYOUT,):
        with pytest.raises((uk.UltraError, TypeError), match=words):
            uk.capture(uk.load(module, **layout), IMAGE)
    assert state(module) == before


def own(change=lambda module: None):
    torch.manual_seed(0)
    module = OwnModule()
    change(module)
    return module


def with_norms(module):
    for block in module.blocks:
        parametrizations.weight_norm(block.linear1)
        parametrizations.spectral_norm(block.linear2)


WORKING = {
    "frozen": lambda m: m.requires_grad_(False),
    "partly frozen, in training": lambda m: m.train().blocks[0].requires_grad_(False),
    "parametrised": with_norms,
    "with gradients": lambda m: m(torch.ones(1, 3, 16, 24)).sum().backward(),
}


@pytest.mark.parametrize("case", WORKING)
def test_other_states_work_and_stay(case, plain):
    module = own(WORKING[case])
    before, weights = state(module), {k: v.clone() for k, v in module.state_dict().items()}
    with contextlib.ExitStack() as stack:
        if case == "with gradients":
            grads = [p.grad.clone() for p in module.parameters()]
            stack.callback(
                lambda: [
                    torch.testing.assert_close(p.grad, g, rtol=0, atol=0)
                    for p, g in zip(module.parameters(), grads, strict=True)
                ]
            )
        values = uk.explain(uk.capture(uk.load(module, **LAYOUT), IMAGE), layer=2).values
    if case != "parametrised":  # which is another model
        np.testing.assert_allclose(values, plain["image"]["explain"], rtol=1e-5, atol=1e-7)
    assert np.isfinite(values).all() and state(module) == before
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, weights[name], rtol=0, atol=0)


@pytest.mark.parametrize("library", ["timm", "transformers"])
def test_checkpointing_by_a_flag_is_off_for_the_capture_alone(library):
    torch.manual_seed(0)
    if library == "timm":
        module = timm.create_model("test_vit", pretrained=False)
        module.set_grad_checkpointing(True)
        flags = [module]
    else:
        small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
        module = transformers.ViTModel(transformers.ViTConfig(image_size=32, patch_size=8, **small))
        module.gradient_checkpointing_enable()
        flags = [m for m in module.modules() if getattr(m, "gradient_checkpointing", False)]
    name = "grad_checkpointing" if library == "timm" else "gradient_checkpointing"
    plain = copy.deepcopy(module)
    for m in plain.modules():
        if hasattr(m, name):
            setattr(m, name, False)
    found, expected = (
        uk.explain(uk.capture(m.train(), IMAGE), layer=2, tokens=[3], progress=False).values
        for m in (module, plain)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    assert flags and all(getattr(m, name) for m in flags) and module.training


class EntersAutocast(OwnModule):
    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(x)


@pytest.mark.parametrize(
    ("module", "dtype"),
    [
        (OwnModule, "float32"),
        (EntersAutocast, "bfloat16"),
        (lambda: OwnModule().bfloat16(), "bfloat16"),
        (lambda: OwnModule().half(), "float16"),
    ],
)
def test_the_card_says_the_dtype_that_ran(module, dtype):
    model = uk.load(module(), **LAYOUT)
    with torch.autocast("cpu", torch.float16):  # the caller's own does not reach the model
        assert uk.capture(model, IMAGE).card["dtype"] == dtype
