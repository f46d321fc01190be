"""Explicit attention of an encoder-decoder Transformer, its two token sequences in one: [encoder; decoder]."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..types import AttentionStep, UltraError
from ..types.graphs import only_through
from .attention import outputs_of
from .blocks import refuse_loose, shapes_in_words
from .hooks_and_flags import as_it_was, hooked, nothing_recomputed
from .recorder import Recorder, Run, with_tokens


def record_encoder_decoder(
    module: nn.Module, forward: Callable[[], Any]
) -> tuple[list[Tensor], list[AttentionStep]]:
    """As `attention.record`, in two passes: the first plain, to get both embeddings. Latents (N_enc + N_dec, D).

    The layers up to L_enc are the encoder's outputs beside the decoder's embeddings, the later ones the
    encoder's last output beside the decoder's outputs: this project's choice. A decoder block has two
    steps, first its attention to the decoder's tokens, then that to the encoder's.
    """
    with as_it_was(module), torch.inference_mode(False), torch.enable_grad():
        lists = find_lists(module, forward)
        embedded: list[Any] = [first.input for first in lists.values()]
        sizes = [len(x) for x in embedded]
        joint = torch.cat(embedded).detach().requires_grad_()
        recorder = Recorder()
        with _replaced(module, lists, joint[None], sizes[0]), recorder.watching(module), recorder:
            with nothing_recomputed():
                forward()
    encoder, decoder = (_blocks(module, recorder, name) for name in lists)
    _check(recorder, encoder, decoder, sizes)
    latents = [joint, *(torch.cat([b.output, joint[sizes[0] :]]) for b in encoder)]  # type: ignore[list-item]
    latents += [torch.cat([encoder[-1].output, b.output]) for b in decoder]  # type: ignore[list-item]
    steps = [AttentionStep(b.maps[0].weights, k, name=b.name) for k, b in enumerate(encoder, 1)]
    for k, b in enumerate(decoder, len(encoder) + 1):
        for seen, key_start, what in zip(b.maps, (sizes[0], 0), ("self", "cross"), strict=True):
            steps.append(AttentionStep(seen.weights, k, sizes[0], key_start, f"{b.name} ({what})"))
    return latents, steps


def run_from_encoder_decoder(
    module: nn.Module, forward: Callable[[], Any], n_encoder: int, embeddings: Tensor, layer: int
) -> Tensor:
    """`Backbone.run_from` for embeddings (B, N_enc + N_dec, D); layers 1..L_enc + L_dec."""
    with as_it_was(module):
        encoder, decoder = lists = find_lists(module, forward)
        depth = len(module.get_submodule(encoder))  # type: ignore[arg-type]
        wanted = [f"{encoder}.{min(layer, depth) - 1}"]
        if layer > depth:
            wanted.append(f"{decoder}.{layer - depth - 1}")
        with _replaced(module, lists, embeddings, n_encoder):
            reached = outputs_of(module, forward, wanted, len(wanted))
    return torch.cat([reached[0], reached[1] if layer > depth else embeddings[:, n_encoder:]], 1)


def find_lists(module: nn.Module, forward: Callable[[], Any]) -> dict[str, Run]:
    """The names of the lists that hold the blocks of encoder and decoder, each with its first run in a plain pass.

    An UltraError if the model does not run the children of two lists, one after the other.
    """
    seen = Recorder()
    with seen.watching(module), torch.no_grad():
        forward()
    runs = [run for run in seen.roots if isinstance(module.get_submodule(run.container), nn.ModuleList)]
    order = [run.container for run in runs]
    names = list(dict.fromkeys(order))
    if len(names) != 2 or order != sorted(order, key=names.index):
        raise UltraError(
            f"an encoder-decoder model must run the blocks of one ModuleList after those of another, got {names}"
        )
    return {name: runs[order.index(name)] for name in names}


def _replaced(
    module: nn.Module, lists: dict[str, Run], tokens: Tensor, n_encoder: int
) -> AbstractContextManager[None]:
    """Give the first blocks of both lists their part of other tokens (B, N_enc + N_dec, D)."""

    def enter(part: Tensor, m: nn.Module, args: tuple, kwargs: dict) -> Any:
        return with_tokens(args, kwargs, lambda x: part)

    parts = tokens[:, :n_encoder], tokens[:, n_encoder:]
    return hooked(
        (module.get_submodule(f"{name}.0"), partial(enter, part))
        for name, part in zip(lists, parts, strict=True)
    )


def _blocks(module: nn.Module, recorder: Recorder, name: str) -> list[Run]:
    runs = [run for run in recorder.runs if run.container == name]
    n = len(list(module.get_submodule(name).children()))
    if len(runs) != n:
        raise UltraError(f"every block must run once; {len(runs)} runs of the {n} blocks of {name}")
    return runs


def _check(recorder: Recorder, encoder: list[Run], decoder: list[Run], sizes: list[int]) -> None:
    """Square maps in the encoder; in the decoder the square of its own tokens, then the rectangle."""
    n_enc, n_dec = sizes
    for run, shapes in (
        *((b, [(n_enc, n_enc)]) for b in encoder),
        *((b, [(n_dec, n_dec), (n_dec, n_enc)]) for b in decoder),
    ):
        if [seen.shape[-2:] for seen in run.maps] != shapes:
            raise UltraError(
                f"{run.name} ({type(run.module).__name__}) must have attention of {shapes} for {n_enc} encoder and "
                f"{n_dec} decoder tokens, got {shapes_in_words(run.maps) or 'none that can be seen'}"
            )
        if run.output is None or not all(seen.weights.requires_grad for seen in run.maps):
            raise UltraError(f"the attention of {run.name} is not in the graph")
    for run in decoder:  # where both sequences are equally long, the shapes don't tell which came first
        if [only_through(seen.weights, run.input) for seen in run.maps] != [True, False]:  # type: ignore[arg-type]
            raise UltraError(f"{run.name} must attend to the decoder's tokens first, then to the encoder's")
    refuse_loose(recorder.maps, [*encoder, *decoder])
