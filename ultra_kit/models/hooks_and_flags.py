"""Hooks and flags of a model for the time of a with block; on any way out all are put back, whatever one of them raises."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import nn

from ..types import UltraError

Hooks = Iterable[tuple[nn.Module, Callable[..., Any]]]
_RECOMPUTED = (
    "the module calls torch.utils.checkpoint itself: on the way back its attention would be made again, out of sight; "
    "switch checkpointing off in it before explaining"
)
_ONE_AT_A_TIME = threading.RLock()
"""Two threads with one model would see each other's hooks and put back each other's flags."""


@contextlib.contextmanager
def hooked(before: Hooks = (), after: Hooks = ()) -> Iterator[None]:
    """Forward hooks inside: ``before(module, args, kwargs)`` and ``after(module, args, output)`` of each module."""
    with contextlib.ExitStack() as undo:
        for module, hook in before:
            undo.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)
        for module, hook in after:
            undo.callback(module.register_forward_hook(hook).remove)
        yield


@contextlib.contextmanager
def interrupts_wait() -> Iterator[list[Any]]:
    """Ctrl-C acts when the block ends, and a second one at once; inside, the list holds the one that waits.

    An exception between any two instructions, also of torch's own clean-up, would leave hooks, flags and modes behind.
    """
    waiting: list[Any] = []
    act = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(act):
        yield waiting  # no other thread is interrupted
        return

    def wait(*received: Any) -> None:
        if waiting:
            act(*received)
        waiting.append(received)

    signal.signal(signal.SIGINT, wait)
    try:
        yield waiting
    finally:
        signal.signal(signal.SIGINT, act)
        if waiting:
            act(*waiting[0])


@contextlib.contextmanager
def as_it_was(module: nn.Module) -> Iterator[list[Any]]:
    """Eval mode, no gradients for parameters and no checkpointing inside, for one thread at a time; as before after it.

    Ctrl-C waits for its end (`interrupts_wait`, whose list it gives), so that what lies inside is put back too.
    An UltraError if the model or a part of it is compiled or scripted, or was made under inference_mode.
    """
    for name, m in module.named_modules():
        if isinstance(m, torch.jit.ScriptModule) or hasattr(m, "_orig_mod") or m._compiled_call_impl:
            part = f"its part {name!r}" if name else f"this {type(m).__name__}"
            raise UltraError(
                f"a compiled or scripted model hides its attention, and {part} is one; pass the plain module, which "
                "torch.compile keeps as ._orig_mod"
            )
    if any(p.is_inference() for p in module.parameters()):
        raise UltraError(
            "a module made under torch.inference_mode() has no gradients; make it outside, or copy.deepcopy it there"
        )
    with _ONE_AT_A_TIME, interrupts_wait() as waiting, contextlib.ExitStack() as undo:
        for m in module.modules():
            undo.callback(setattr, m, "training", m.training)
            for name in {"grad_checkpointing", "gradient_checkpointing"} & m.__dict__.keys():
                undo.callback(setattr, m, name, getattr(m, name))
                setattr(m, name, False)
        for p in module.parameters():
            undo.callback(p.requires_grad_, p.requires_grad)
            p.requires_grad_(False)
        module.eval()
        yield waiting


@contextlib.contextmanager
def nothing_recomputed() -> Iterator[None]:
    """An UltraError if what runs inside makes its activations again on the way back, as torch.utils.checkpoint does."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(RuntimeError):  # hooks that the caller set, such as save_on_cpu, stay
            stack.enter_context(torch.autograd.graph.disable_saved_tensors_hooks(_RECOMPUTED))
        try:
            yield
        except RuntimeError as error:
            if str(error) != _RECOMPUTED:
                raise
            raise UltraError(_RECOMPUTED) from None
