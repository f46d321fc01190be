"""A capture leaves the model exactly as it was, whatever happens."""

import numpy as np
import pytest
import torch
from toys_models import IMAGE, own_model

import ultra_kit as uk


def _state(module):
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), m.training) for m in module.modules()]
    needs = [(p.requires_grad, None if p.grad is None else p.grad.clone()) for p in module.parameters()]
    return hooks, needs, torch.nn.functional.scaled_dot_product_attention, torch.nn.functional.softmax


@pytest.mark.parametrize("end", ["ok", "bad input", "raises"])
@pytest.mark.parametrize("training", [False, True])
def test_the_model_comes_back_as_it_was(end, training):
    model = own_model("raises" if end == "raises" else "")
    module = model.module.train(training)
    first, second, *_ = module.parameters()
    first.requires_grad_(False)
    second.grad = torch.ones_like(second)
    before = _state(module)
    x = np.zeros((4, 4, 3)) if end == "bad input" else IMAGE
    if end == "ok":
        uk.capture(model, x)
    else:
        with pytest.raises((ValueError, RuntimeError)):
            uk.capture(model, x)
    after = _state(module)
    assert before[0] == after[0] and before[2:] == after[2:]
    for (need, grad), (need_after, grad_after) in zip(before[1], after[1], strict=True):
        assert need == need_after and (grad is None) == (grad_after is None)
        assert grad is None or torch.equal(grad, grad_after)


def test_shapes_and_card():
    cap = uk.capture(own_model(), IMAGE)
    assert cap.tokens(0).shape == (6, 16) and cap.attention(-1).shape == (2, 6, 6)
    assert cap.layout.size == (40, 56) and cap.layout.grid == (2, 3)
    assert cap.card["dtype"] == "float32" and len(cap.card["model"]["weights_sha256"]) == 64
    other = uk.capture(own_model(), IMAGE + np.uint8(1))
    assert other.card["input_sha256"] != cap.card["input_sha256"]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_gradients_whatever_the_callers_mode(mode):
    model = own_model()
    with mode():
        cap = uk.capture(model, IMAGE)
    grads = torch.autograd.grad(cap.latents[-1][0].norm(), [cap.latents[0], *(s.weights for s in cap.steps)])
    assert all(g.isfinite().all() and g.abs().max() > 0 for g in grads)


def test_a_wrong_grid_is_refused():
    model = uk.load(own_model().module, size=(16, 24), grid=(3, 3), n_prefix=0)
    with pytest.raises(uk.UltraError, match="3 x 3"):
        uk.capture(model, IMAGE)


def test_a_large_capture_gives_back_what_was_freed(monkeypatch):
    """Above a size the C library is asked for it, and one that can't is no error."""
    asked = []

    class Library:
        def __init__(self, name):
            asked.append(name)
            if len(asked) > 1:
                self.malloc_trim = lambda pad: asked.append(pad)

    monkeypatch.setattr("ctypes.CDLL", Library)
    before = uk.capture(own_model(), IMAGE)
    assert asked == []
    monkeypatch.setattr("ultra_kit.maps.forward_pass.LARGE", 3 * 2 * 6 * 6 * 4 - 1)
    for expected in ([None], [None, None, 0]):
        assert torch.equal(uk.capture(own_model(), IMAGE).latents[-1], before.latents[-1])
        assert asked == expected
