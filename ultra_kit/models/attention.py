"""Explicit attention for one forward pass of any PyTorch model, which comes back exactly as it was.

Fused kernels never build the attention probabilities. While a model runs under `record`, every call of
`scaled_dot_product_attention` is worked out as softmax and product, every softmax over keys is seen, and the
children of the model's lists are watched, so that the block to which each map belongs is known.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..types import AttentionStep, UltraError
from .blocks import find_blocks
from .recorder import Recorder, main_input


def record(module: nn.Module, forward: Callable[[], Any]) -> tuple[list[Tensor], list[AttentionStep]]:
    """Run a model once with explicit attention.

    Parameters
    ----------
    module : nn.Module
        The model. Its parameters need no gradients during the pass, it is in eval mode, and both are put back
        afterwards, also if it raises.
    forward : callable
        Runs the model on a batch of one.

    Returns
    -------
    latents : list of torch.Tensor
        L + 1 tensors (N, D), the input of the first block and the raw output of every block. They and the
        maps lie on the path of one graph: latent k + 1 depends on the earlier ones only through latent k.
    steps : list of AttentionStep
        One for every block.

    Raises
    ------
    UltraError
        If the model has not exactly one global N x N attention in every block; says what was seen.
    """
    recorder = Recorder()
    with as_it_was(module), recorder.watching(module):
        # Grad mode is the caller's, who may well sit in torch.no_grad() or inference_mode().
        with torch.inference_mode(False), torch.enable_grad(), recorder:
            forward()
    blocks = find_blocks(recorder)
    first, *_ = blocks
    latents = [first.input, *(b.output for b in blocks)]
    steps = [
        AttentionStep(b.maps[0].weights, k, name=b.name, context=b.maps[0].context)
        for k, b in enumerate(blocks, 1)
    ]
    return latents, steps  # type: ignore[return-value]


class Reached(Exception):
    """Ends a forward pass at the wanted block."""


def run_from(
    module: nn.Module, forward: Callable[[], Any], blocks: list[str], embeddings: Tensor, layer: int
) -> Tensor:
    """Run the blocks of a model from other layer-0 tokens, with the attention the model has of its own.

    Parameters
    ----------
    module, forward
        As for `record`.
    blocks : list of str
        The names of the blocks in the order of their runs, as `record` found them.
    embeddings : torch.Tensor of shape (B, N, D)
        Takes the place of the first block's input.
    layer : int
        1..L.

    Returns
    -------
    torch.Tensor of shape (B, N, D)
        The raw output of block `layer`, in the graph of `embeddings`.
    """
    reached: list[Tensor] = []
    count = 0

    def enter(m: nn.Module, args: tuple, kwargs: dict) -> Any:
        if count:
            return None
        box, key, axis = main_input(args, kwargs)
        box[key] = embeddings if axis == 0 else embeddings.transpose(0, 1)
        return (tuple(box), kwargs) if isinstance(key, int) else (args, box)

    def leave(m: nn.Module, args: tuple, out: Any) -> None:
        nonlocal count
        count += 1
        if count == layer:
            first = out[0] if isinstance(out, (tuple, list)) else out
            reached.append(first if first.shape[:2] == embeddings.shape[:2] else first.transpose(0, 1))
            raise Reached

    handles = []
    try:
        for name in dict.fromkeys(blocks):
            handles.append(module.get_submodule(name).register_forward_hook(leave))
        handles.append(module.get_submodule(blocks[0]).register_forward_pre_hook(enter, with_kwargs=True))
        with as_it_was(module), contextlib.suppress(Reached):
            forward()
    finally:
        for handle in handles:
            handle.remove()
    return reached[0]


@contextlib.contextmanager
def as_it_was(module: nn.Module) -> Iterator[None]:
    """Eval mode, no gradients for parameters and no checkpointing inside; everything as before after it.

    Parameters
    ----------
    module : nn.Module
        The plain model.

    Yields
    ------
    None

    Raises
    ------
    UltraError
        If the model or a part of it is compiled or scripted.
    """
    for m in module.modules():
        if (
            isinstance(m, torch.jit.ScriptModule)
            or hasattr(m, "_orig_mod")
            or m._compiled_call_impl is not None
        ):
            raise UltraError(
                "the model is compiled or scripted, so its attention can't be seen; pass the plain module"
            )
    modes = [(m, m.training) for m in module.modules()]
    needs = [(p, p.requires_grad) for p in module.parameters()]
    names = ("grad_checkpointing", "gradient_checkpointing")
    flags = [(m, n, m.__dict__[n]) for m in module.modules() for n in names if n in m.__dict__]
    try:
        module.eval()
        for p, _ in needs:
            p.requires_grad_(False)
        for m, n, _ in flags:
            setattr(m, n, False)
        yield
    finally:
        for m, n, flag in flags:
            setattr(m, n, flag)
        for p, need in needs:
            p.requires_grad_(need)
        for m, training in modes:
            m.training = training
