"""Explicit attention for one forward pass of any PyTorch model, which comes back exactly as it was.

Fused kernels never build the attention probabilities. While a model runs under `record`, every call of
`scaled_dot_product_attention` is worked out as softmax and product, every softmax over keys is seen, and the
children of the model's lists are watched, so that the block to which each map belongs is known.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..types import AttentionStep, UltraError
from .blocks import find_blocks
from .hooks_and_flags import as_it_was, hooked, nothing_recomputed
from .recorder import Recorder, first_of, with_tokens


def record(module: nn.Module, forward: Callable[[], Any]) -> tuple[list[Tensor], list[AttentionStep]]:
    """Run a model once, by `forward` on a batch of one: L + 1 latents (N, D), and one step for every block.

    Latents and maps lie on the path of one graph: latent k + 1 depends on the earlier ones only through latent k.
    An UltraError says what was seen if not every block has exactly one global N x N attention.
    """
    recorder = Recorder()
    with as_it_was(module), recorder.watching(module):
        # Grad mode is the caller's, who may well sit in torch.no_grad() or inference_mode().
        with torch.inference_mode(False), torch.enable_grad(), nothing_recomputed(), recorder:
            forward()
    blocks = find_blocks(recorder)
    latents = [blocks[0].input, *(b.output for b in blocks)]
    steps = [
        AttentionStep(seen.weights, k, name=b.name, context=seen.context, values=seen.values)
        for k, b in enumerate(blocks, 1)
        for seen in b.maps
    ]
    return latents, steps  # type: ignore[return-value]


def record_batch(
    module: nn.Module, forward: Callable[[], Any], names: Sequence[str], shape: tuple[int, int]
) -> tuple[list[Tensor], list[Tensor]]:
    """As `record`, without a graph, for a batch of the `shape` (B, N): latents (B, N, D) and a map (B, H, N, N) for each block.

    B is to differ from N. The blocks `names`, in the order of their runs, are known to be what the method needs.
    """
    recorder, latents, maps = Recorder(), list[Tensor](), list[Tensor]()

    def keep(x: Tensor) -> Tensor:
        latents.append(x.clone())  # for what works in place
        return x

    def enter(m: nn.Module, args: tuple, kwargs: dict) -> Any:
        return None if latents else with_tokens(args, kwargs, keep)

    def leave(m: nn.Module, args: tuple, out: Any) -> None:
        latents.append(first_of(out))
        maps.append(recorder.maps.pop().weights)

    blocks = [module.get_submodule(name) for name in dict.fromkeys(names)]
    with as_it_was(module), hooked([(blocks[0], enter)], [(b, leave) for b in blocks]):
        with torch.no_grad(), recorder:
            forward()
    # Some models have the batch second.
    latents = [z.transpose(0, 1) if z.shape[:2] == shape[::-1] else z for z in latents]
    if any(z.shape[:2] != shape for z in latents):
        raise UltraError(
            f"the model does not take a batch: {shape[0]} inputs of {shape[1]} tokens came out of it as "
            f"{tuple(latents[-1].shape)}; capture one after another"
        )
    return latents, [a.reshape(shape[0], -1, *a.shape[-2:]) for a in maps]


class _Reached(Exception):
    """Ends a forward pass at the last block that is needed."""


def outputs_of(module: nn.Module, forward: Callable[[], Any], names: Sequence[str], n: int) -> list[Tensor]:
    """What the first `n` runs of the named blocks give; the forward pass ends there."""
    found: list[Tensor] = []

    def leave(m: nn.Module, args: tuple, out: Any) -> None:
        found.append(first_of(out))
        if len(found) == n:
            raise _Reached

    after = [(module.get_submodule(name), leave) for name in dict.fromkeys(names)]
    with as_it_was(module), hooked(after=after), contextlib.suppress(_Reached):
        forward()
    return found


def run_from(
    module: nn.Module, forward: Callable[[], Any], blocks: Sequence[str], embeddings: Tensor, layer: int
) -> Tensor:
    """`Backbone.run_from` with the attention the model has of its own; `blocks` in the order of their runs."""
    waiting = [embeddings]  # for the first run only: a model may run one block several times

    def replace(x: Tensor) -> Tensor:
        tokens = waiting.pop()
        return tokens if len(x) == 1 else tokens.transpose(0, 1)  # some models have the batch second

    def enter(m: nn.Module, args: tuple, kwargs: dict) -> Any:
        return with_tokens(args, kwargs, replace) if waiting else None

    with as_it_was(module), hooked(before=[(module.get_submodule(blocks[0]), enter)]):
        reached = outputs_of(module, forward, blocks, layer)[-1]
    return reached if reached.shape[:2] == embeddings.shape[:2] else reached.transpose(0, 1)
