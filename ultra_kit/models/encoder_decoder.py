"""Explicit attention of an encoder-decoder Transformer, its two token sequences in one: [encoder; decoder]."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..types import AttentionStep, UltraError
from .attention import Reached, as_it_was
from .blocks import only_through, shapes_in_words
from .recorder import Recorder, Run, main_input


def record_encoder_decoder(
    module: nn.Module, forward: Callable[[], Any]
) -> tuple[list[Tensor], list[AttentionStep]]:
    """Run an encoder-decoder model with explicit attention, twice: once plainly, to get both embeddings.

    The layers up to L_enc are the encoder's outputs beside the decoder's embeddings, the later ones the
    encoder's last output beside the decoder's outputs: this project's choice. A decoder block has two
    steps, first its attention to the decoder's tokens, then that to the encoder's.

    Parameters
    ----------
    module, forward
        As for `ultra_kit.models.attention.record`.

    Returns
    -------
    latents : list of torch.Tensor
        L_enc + L_dec + 1 tensors (N_enc + N_dec, D) that depend on the first, a leaf of the graph.
    steps : list of AttentionStep
        Rectangles in the common token space.

    Raises
    ------
    UltraError
        If an encoder block has not one map, or a decoder block not two, one to each sequence.
    """
    with as_it_was(module), torch.inference_mode(False), torch.enable_grad():
        lists = find_lists(module, forward)
        embedded: list[Tensor] = []
        with torch.no_grad(), _first_inputs(module, lists, embedded.append):
            forward()
        sizes = [len(x) for x in embedded]
        joint = torch.cat(embedded).detach().clone().requires_grad_()
        recorder = Recorder()
        with _replaced(module, lists, joint[None], sizes[0]), recorder.watching(module), recorder:
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
    """Run the blocks from other layer-0 tokens (B, N_enc + N_dec, D); the latents of a layer, of the same shape.

    Parameters
    ----------
    module, forward
        As for `record_encoder_decoder`.
    n_encoder : int
        N_enc.
    embeddings : torch.Tensor of shape (B, N_enc + N_dec, D)
    layer : int
        1..L_enc + L_dec.

    Returns
    -------
    torch.Tensor of shape (B, N_enc + N_dec, D)
    """
    with as_it_was(module):
        encoder, decoder = lists = find_lists(module, forward)
        depth = len(module.get_submodule(encoder))  # type: ignore[arg-type]
        wanted = [f"{encoder}.{min(layer, depth) - 1}"]
        if layer > depth:
            wanted.append(f"{decoder}.{layer - depth - 1}")
        reached: list[Tensor] = []

        def leave(m: nn.Module, args: tuple, out: Any) -> None:
            reached.append(out[0] if isinstance(out, (tuple, list)) else out)
            if len(reached) == len(wanted):
                raise Reached

        handles = [module.get_submodule(name).register_forward_hook(leave) for name in wanted]
        try:
            with _replaced(module, lists, embeddings, n_encoder), contextlib.suppress(Reached):
                forward()
        finally:
            for handle in handles:
                handle.remove()
    return torch.cat([reached[0], reached[1] if layer > depth else embeddings[:, n_encoder:]], 1)


def find_lists(module: nn.Module, forward: Callable[[], Any]) -> tuple[str, str]:
    """The names of the lists that hold the blocks of the encoder and of the decoder.

    Parameters
    ----------
    module, forward
        As for `record_encoder_decoder`.

    Returns
    -------
    tuple of str

    Raises
    ------
    UltraError
        If the model does not run the children of two lists, one after the other.
    """
    order: list[str] = []
    inside = 0
    handles = []

    def enter(m: nn.Module, args: tuple, name: str) -> None:
        nonlocal inside
        if not inside:
            order.append(name)
        inside += 1

    def leave(m: nn.Module, args: tuple, out: Any) -> None:
        nonlocal inside
        inside -= 1

    try:
        for name, parent in module.named_modules():
            if isinstance(parent, nn.ModuleList):
                for child in parent:
                    handles.append(child.register_forward_pre_hook(lambda m, a, name=name: enter(m, a, name)))
                    handles.append(child.register_forward_hook(leave))
        with torch.no_grad():
            forward()
    finally:
        for handle in handles:
            handle.remove()
    lists = list(dict.fromkeys(order))
    if len(lists) != 2 or order != sorted(order, key=lists.index):
        raise UltraError(
            f"an encoder-decoder model must run the blocks of one ModuleList after those of another, got {lists}"
        )
    return lists[0], lists[1]


@contextlib.contextmanager
def _first_inputs(
    module: nn.Module, lists: tuple[str, str], keep: Callable[[Tensor], None]
) -> Iterator[None]:
    """See the input (N, D) of the first block of each list."""

    def enter(m: nn.Module, args: tuple, kwargs: dict) -> None:
        box, key, _ = main_input(args, kwargs)
        keep(box[key][0])

    handles = [
        module.get_submodule(f"{name}.0").register_forward_pre_hook(enter, with_kwargs=True) for name in lists
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def _replaced(module: nn.Module, lists: tuple[str, str], tokens: Tensor, n_encoder: int) -> Iterator[None]:
    """Give the first blocks of both lists their part of other tokens (B, N_enc + N_dec, D)."""
    handles = []
    try:
        for name, part in zip(lists, (tokens[:, :n_encoder], tokens[:, n_encoder:]), strict=True):

            def enter(m: nn.Module, args: tuple, kwargs: dict, part: Tensor = part) -> Any:
                box, key, _ = main_input(args, kwargs)
                box[key] = part
                return (tuple(box), kwargs) if isinstance(key, int) else (args, box)

            first = module.get_submodule(f"{name}.0")
            handles.append(first.register_forward_pre_hook(enter, with_kwargs=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _blocks(module: nn.Module, recorder: Recorder, name: str) -> list[Run]:
    runs = [run for run in recorder.runs if run.container == name]
    if len(runs) != len(module.get_submodule(name)):  # type: ignore[arg-type]
        raise UltraError(
            f"every block must run once; {len(runs)} runs of the {len(module.get_submodule(name))} blocks of {name}"  # type: ignore[arg-type]
        )
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
    known = {id(seen) for b in (*encoder, *decoder) for seen in b.maps}
    if loose := [seen for seen in recorder.maps if id(seen) not in known]:
        raise UltraError(f"attention was seen outside the blocks: {shapes_in_words(loose)}")
