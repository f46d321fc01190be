"""The runs of a forward pass that are the blocks, and whether they are what the method needs."""

from __future__ import annotations

from typing import Any

from ..types import UltraError
from ..types.graphs import only_through
from .recorder import Map, Recorder, Run

SEES = "seen are F.scaled_dot_product_attention, softmax over keys, and nn.MultiheadAttention"


def find_blocks(recorder: Recorder) -> list[Run]:
    """The blocks among the runs of a forward pass, in its order, each with one map (heads, N, N).

    An UltraError says what was seen where a block has no global attention.
    """
    if not recorder.maps:
        raise UltraError(f"no attention was seen in the forward pass; {SEES}")
    blocks = _single(recorder.roots)
    while len(blocks) > 1 and all(m.shape[-2] == 1 and m.shape[-1] > 1 for m in blocks[-1].maps):
        blocks.pop()  # attention pooling
    if not blocks:
        raise UltraError(
            f"attention was seen ({shapes_in_words(recorder.maps)}) but not inside the children of a ModuleList or "
            "Sequential, so the blocks are not known; keep the blocks in a ModuleList"
        )
    for number, block in enumerate(blocks, 1):
        _check_block(number, block, blocks)
    _check_count(recorder, blocks)
    return blocks


def _single(runs: list[Run]) -> list[Run]:
    """The outermost runs with one map each; one with several is opened if it lists modules itself."""
    out: list[Run] = []
    for run in runs:
        if len(run.maps) > 1 and any(c.maps for c in run.children):
            out += _single(run.children)
        elif run.maps:
            out.append(run)
    return out


def shapes_in_words(maps: list[Map]) -> str:
    """The shapes of the first maps, each once, such as "(64, 3, 49, 49)"; empty without maps."""
    return ", ".join(dict.fromkeys(str(m.shape) for m in maps[:6])) + (", ..." if len(maps) > 6 else "")


def _check_block(number: int, block: Run, blocks: list[Run]) -> None:
    """Exactly one map of all tokens against all tokens, and one path through the block."""
    where = f"block {number} ({block.name}, {type(block.module).__name__})"
    need = "every block must have one global attention of shape (1, heads, N, N)"
    if block.input is None or block.output is None or block.output.ndim != 2 or block.input.ndim != 2:
        shape = "no batch of one" if block.output is None else tuple(block.output.shape)
        raise UltraError(
            f"{where} must take and give tokens (1, N, width), its output for one input is {shape} and its "
            f"attention {shapes_in_words(block.maps)}"
        )
    if len(block.maps) != 1:
        raise UltraError(f"{need}; {where} made {len(block.maps)} maps: {shapes_in_words(block.maps)}")
    seen, n = block.maps[0], len(block.output)
    if seen.weights.ndim != 3 or seen.shape[-2:] != (n, n):
        raise UltraError(
            f"{need}; {where} has N = {n} tokens and attention {seen.shape}: windowed, pooled or over channels"
        )
    if len(blocks[0].output) != n or len(block.input) != n:  # type: ignore[arg-type]
        raise UltraError(
            f"the number of tokens must stay the same; it is {len(blocks[0].input)} at first and {n} after {where}"  # type: ignore[arg-type]
        )
    if not seen.weights.requires_grad:
        raise UltraError(f"the attention of {where} is not in the graph: it is detached or made in no_grad")
    if block.lost:
        raise UltraError(
            f"every part of a block must pass gradients on; {block.lost} in {where} is detached, made in no_grad, or of "
            "an operation without a gradient, such as a quantised layer's: a map would leave out what went through it"
        )
    if seen.weights._version != seen.version or block.output._version != block.version:
        raise UltraError(f"{where} is changed in place after it was made, so its gradients can't be had")
    if number > 1:
        before: Any = blocks[number - 2].output
        if not block.sources or not all(only_through(t, before) for t in block.sources):
            what = "takes a shortcut from an earlier one" if block.sources else "is detached from it"
            raise UltraError(f"{where} must depend on earlier blocks only through the one before; it {what}")


def _check_count(recorder: Recorder, blocks: list[Run]) -> None:
    """No block without attention among the blocks, and no attention among them outside of a block."""
    start, stop = recorder.runs.index(blocks[0]), recorder.runs.index(blocks[-1])
    lists, kinds = {b.container for b in blocks}, {type(b.module) for b in blocks}
    for i, run in enumerate(recorder.runs):
        if run.container in lists and not run.maps and (start < i < stop or type(run.module) in kinds):
            raise UltraError(
                f"every block must have one global attention; {run.name} ({type(run.module).__name__}) stands among "
                f"{len(blocks)} blocks with attention and has none that can be seen ({SEES})"
            )
    last = recorder.maps.index(blocks[-1].maps[0])
    refuse_loose(recorder.maps[:last], blocks)


def refuse_loose(maps: list[Map], blocks: list[Run]) -> None:
    """No attention outside of the blocks."""
    known = {id(seen) for block in blocks for seen in block.maps}
    if loose := [seen for seen in maps if id(seen) not in known]:
        raise UltraError(f"attention was seen outside the blocks: {shapes_in_words(loose)}")
