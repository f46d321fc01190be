"""What is put back: hooks, modes and flags, also where putting back one of them fails; the library, by any thread."""

import signal
import subprocess
import sys
import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import ultra_kit as uk
from ultra_kit.models.attention import record
from ultra_kit.models.hooks_and_flags import as_it_was, hooked
from ultra_kit.models.recorder import Recorder
from ultra_kit.text.tokenizing import generate


class Stubborn(nn.Linear):
    """Refuses to be set to training once it is armed."""

    armed = False

    def __setattr__(self, name, value):
        if self.armed and name == "training" and value:
            raise RuntimeError("stubborn")
        super().__setattr__(name, value)


def hooks_of(module):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules())


def test_one_fault_in_putting_back_keeps_no_other():
    module = nn.Sequential(nn.Linear(2, 2), Stubborn(2, 2), nn.Dropout(), nn.Linear(2, 2))
    module[0].weight.requires_grad_(False)
    module[3].eval()
    module[3].gradient_checkpointing = True
    modes = [m.training for m in module]
    needs = [p.requires_grad for p in module.parameters()]
    with pytest.raises(RuntimeError, match="stubborn"), as_it_was(module):
        assert not any(m.training for m in module.modules()) and not module[3].gradient_checkpointing
        assert not any(p.requires_grad for p in module.parameters())
        module[1].armed = True
    assert module.training and module[3].gradient_checkpointing
    assert [m.training for m in module] == [modes[0], False, *modes[2:]]  # the stubborn one alone stays
    assert [p.requires_grad for p in module.parameters()] == needs


@pytest.mark.parametrize("fault", [KeyboardInterrupt, RuntimeError])
def test_hooks_go_on_any_way_out(fault):
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    seen = []
    before = [(module[0], lambda m, args, kwargs: seen.append("before"))]
    after = [(module[1], lambda m, args, out: seen.append("after"))]
    with pytest.raises(fault), hooked(before, after):
        module(torch.ones(1, 2))
        raise fault
    assert seen == ["before", "after"] and hooks_of(module) == 0


def test_hooks_go_where_one_cannot_be_registered():
    module = nn.Linear(2, 2)
    with pytest.raises(AttributeError), hooked([(module, print), (None, print)]):
        pytest.fail("entered")
    assert hooks_of(module) == 0


class Pressed(nn.Linear):
    """Ctrl-C comes when its mode is set, once it is armed; and in its forward pass, as often as it is told."""

    armed, times = False, 0

    def __setattr__(self, name, value):
        if self.armed and name == "training":
            signal.raise_signal(signal.SIGINT)
        super().__setattr__(name, value)

    def forward(self, x):
        for _ in range(self.times):
            signal.raise_signal(signal.SIGINT)
        return super().forward(x)


def test_ctrl_c_while_things_are_put_back_waits_for_the_last_of_them():
    module = nn.Sequential(nn.Linear(2, 2), Pressed(2, 2), nn.Linear(2, 2))
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), as_it_was(module):
        module[1].armed = True
    assert [m.training for m in module] == [True] * 3 and all(p.requires_grad for p in module.parameters())
    assert signal.getsignal(signal.SIGINT) is handler


def test_ctrl_c_waits_for_the_end_of_the_pass_and_a_second_one_does_not():
    module, reached = nn.Sequential(Pressed(2, 2), nn.Linear(2, 2)), []
    after = [(module[1], lambda m, args, out: reached.append("end"))]
    for times, ends in ((1, ["end"]), (2, [])):
        module[0].times, reached[:] = times, []
        with pytest.raises(KeyboardInterrupt), as_it_was(module), hooked(after=after):
            module(torch.ones(1, 2))
        assert reached == ends and hooks_of(module) == 0 and module.training


def test_ctrl_c_in_a_summary_does_not_wait_for_its_last_token():
    backbone, passes = uk.load("briefs", pretrained=False), []

    def press(m, args):
        passes.append(1)
        if len(passes) == 2:
            signal.raise_signal(signal.SIGINT)

    handle = backbone.module.model.layers[0].register_forward_pre_hook(press)
    try:
        with pytest.raises(KeyboardInterrupt):
            generate(backbone, [5, 6, 7], 40, 1)
    finally:
        handle.remove()
    assert len(passes) == 2


def encoder():
    return nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 8, 0.1, batch_first=True) for _ in range(2))


def recorded_shapes(module, n):
    _, steps = record(module, lambda: module[1](module[0](torch.ones(1, n, 8))))
    return [tuple(s.weights.shape) for s in steps]


def test_the_library_stays_as_it_is_also_during_the_pass(monkeypatch):
    """Multi-head attention looks its functions up in the library, which other threads use meanwhile."""
    originals, seen, keep = (F.softmax, F.scaled_dot_product_attention), [], Recorder._keep

    def watched(self, probabilities):
        seen.append((F.softmax, F.scaled_dot_product_attention))
        return keep(self, probabilities)

    monkeypatch.setattr(Recorder, "_keep", watched)
    assert recorded_shapes(encoder(), 3) == [(2, 3, 3)] * 2
    assert seen == [originals] * 2


def test_two_threads_share_a_model():
    module, seen, faults, pause = encoder(), [], [], sys.getswitchinterval()

    def work(n):
        try:
            for _ in range(20):
                seen.append(recorded_shapes(module, n) == [(2, n, n)] * 2)
        except Exception as e:
            faults.append(e)

    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(n,)) for n in (3, 5)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    finally:
        sys.setswitchinterval(pause)
    assert faults == [] and seen == [True] * 40 and hooks_of(module) == 0
    assert all(m.training for m in module.modules()) and all(p.requires_grad for p in module.parameters())


def test_writing_leaves_mixed_modes_and_frozen_weights():
    backbone = uk.load("briefs", pretrained=False)
    module = backbone.module.train()
    module.model.layers[1].eval()
    module.lm_head.requires_grad_(False)
    state = [m.training for m in module.modules()], [p.requires_grad for p in module.parameters()]
    assert len(generate(backbone, [5, 6, 7], 2, 1)) <= 2
    assert state == ([m.training for m in module.modules()], [p.requires_grad for p in module.parameters()])


def test_the_room_is_light():
    """Neither of the two libraries of models is imported before one of its models is asked for."""
    code = "import sys, ultra_kit.models; print({'timm', 'transformers'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
