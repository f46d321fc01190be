"""Explicit attention for one forward pass of any PyTorch model, which comes back exactly as it was.

Fused kernels never build the attention probabilities. While a model runs under `record`, every call of
`scaled_dot_product_attention` is worked out as softmax and product, every softmax over keys is seen, and the
children of the model's lists are watched, so that the block to which each map belongs is known.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..types import AttentionStep, UltraError

_SDPA = F.scaled_dot_product_attention
_SOFTMAX = (torch.softmax, F.softmax, Tensor.softmax, torch.special.softmax)
_SEES = "seen are F.scaled_dot_product_attention, softmax over keys, and nn.MultiheadAttention"


@dataclass(eq=False)
class _Map:
    """Attention probabilities, as they lie in the graph."""

    weights: Tensor
    shape: tuple[int, ...]
    version: int


@dataclass(eq=False)
class _Run:
    """One execution of a module that is a child of a list of modules."""

    name: str
    container: str
    module: nn.Module
    sources: list[Tensor]
    input: Tensor | None = None
    output: Tensor | None = None
    version: int = 0
    maps: list[_Map] = field(default_factory=list)
    children: list[_Run] = field(default_factory=list)


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
    recorder = _Recorder()
    with as_it_was(module), recorder.watching(module):
        # Grad mode is the caller's, who may well sit in torch.no_grad() or inference_mode().
        with torch.inference_mode(False), torch.enable_grad(), recorder:
            forward()
    blocks = _find_blocks(recorder)
    first, *_ = blocks
    latents = [first.input, *(b.output for b in blocks)]
    steps = [AttentionStep(b.maps[0].weights, k, name=b.name) for k, b in enumerate(blocks, 1)]
    return latents, steps  # type: ignore[return-value]


class _Reached(Exception):
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
        box, key, axis = _main_input(args, kwargs)
        box[key] = embeddings if axis == 0 else embeddings.transpose(0, 1)
        return (tuple(box), kwargs) if isinstance(key, int) else (args, box)

    def leave(m: nn.Module, args: tuple, out: Any) -> None:
        nonlocal count
        count += 1
        if count == layer:
            first = out[0] if isinstance(out, (tuple, list)) else out
            reached.append(first if first.shape[:2] == embeddings.shape[:2] else first.transpose(0, 1))
            raise _Reached

    handles = []
    try:
        for name in dict.fromkeys(blocks):
            handles.append(module.get_submodule(name).register_forward_hook(leave))
        handles.append(module.get_submodule(blocks[0]).register_forward_pre_hook(enter, with_kwargs=True))
        with as_it_was(module), contextlib.suppress(_Reached):
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


class _Recorder(TorchFunctionMode):
    """Sees attention and the runs of listed modules."""

    def __init__(self) -> None:
        super().__init__()
        self.maps: list[_Map] = []
        self.roots: list[_Run] = []
        self.open: list[_Run] = []
        self.runs: list[_Run] = []
        self.outer_graph = False

    # -- attention ------------------------------------------------------------------------------------
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is _SDPA:
            return self._attend(*args, **kwargs)
        if func in _SOFTMAX:
            return self._softmax(func, args, kwargs)
        if func is F.multi_head_attention_forward:
            return self._multi_head(func, args, kwargs)
        return func(*args, **kwargs)

    def _multi_head(self, func: Any, args: tuple, kwargs: dict) -> Any:
        """The function behind nn.MultiheadAttention: what it calls is out of the mode's sight, so its names change."""
        softmax = F.softmax
        try:
            F.scaled_dot_product_attention = self._attend
            F.softmax = lambda *a, **k: self._softmax(softmax, a, k)
            return func(*args, **kwargs)
        finally:
            F.scaled_dot_product_attention, F.softmax = _SDPA, softmax

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        if enable_gqa:
            times = query.shape[-3] // key.shape[-3]
            key, value = key.repeat_interleave(times, -3), value.repeat_interleave(times, -3)
        logits = (query * (query.shape[-1] ** -0.5 if scale is None else scale)) @ key.transpose(-2, -1)
        if is_causal:
            attn_mask = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril()
        if attn_mask is not None:
            if attn_mask.dtype == torch.bool:
                attn_mask = logits.new_zeros(attn_mask.shape).masked_fill(~attn_mask, -torch.inf)
            logits = logits + attn_mask
        blind = None
        if attn_mask is not None and (none := (logits == -torch.inf).all(-1, keepdim=True)).any():
            blind, logits = none, logits.masked_fill(none, 0)  # softmax over nothing has no gradient but NaN
        weights = logits.softmax(-1)
        if blind is not None:  # as the fused kernel does, a query that may look nowhere takes nothing
            weights = weights.masked_fill(blind, 0)
        weights = self._keep(weights)
        if dropout_p:
            weights = F.dropout(weights, dropout_p)
        return weights @ value

    def _softmax(self, func: Any, args: tuple, kwargs: dict) -> Tensor:
        out = func(*args, **kwargs)
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        return self._keep(out) if out.ndim >= 3 and dim in (-1, out.ndim - 1) else out

    def _keep(self, probabilities: Tensor) -> Tensor:
        """Note a map; what is returned must go on in the forward pass, so that gradients reach the map."""
        single = probabilities.ndim == 4 and probabilities.shape[0] == 1
        weights = probabilities.squeeze(0) if single else probabilities
        seen = _Map(weights, tuple(probabilities.shape), weights._version)
        self.maps.append(seen)
        for run in self.open:
            run.maps.append(seen)
        return weights.unsqueeze(0) if single else weights

    # -- blocks ---------------------------------------------------------------------------------------
    @contextlib.contextmanager
    def watching(self, module: nn.Module) -> Iterator[None]:
        """Hooks on the children of every list of modules, gone afterwards."""
        handles = []
        seen = set()
        try:
            for name, parent in module.named_modules():
                if not isinstance(parent, (nn.ModuleList, nn.Sequential)):
                    continue
                for key, child in parent.named_children():
                    if child in seen or isinstance(child, (nn.ModuleList, nn.ModuleDict)):
                        continue
                    seen.add(child)
                    where = f"{name}.{key}" if name else key
                    handles.append(
                        child.register_forward_pre_hook(
                            lambda m, a, k, where=where, name=name: self._enter(m, a, k, where, name),
                            with_kwargs=True,
                        )
                    )
                    handles.append(child.register_forward_hook(lambda m, a, out: self._leave(out)))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, module: nn.Module, args: tuple, kwargs: dict, name: str, container: str) -> Any:
        run = _Run(name, container, module, [t for t in _tensors((args, kwargs)) if t.requires_grad])
        (self.open[-1].children if self.open else self.roots).append(run)
        self.runs.append(run)
        self.open.append(run)
        box, key, axis = _main_input(args, kwargs)
        if axis is None:
            return None
        x = box[key].squeeze(axis)
        if run.sources:
            run.input = x
            box[key] = x.unsqueeze(axis)
        else:
            # The graph starts here: nothing before it asks for gradients. A copy, for what works in place.
            run.input = x.detach().requires_grad_()
            box[key] = run.input.unsqueeze(axis).clone()
        return (tuple(box), kwargs) if isinstance(key, int) else (args, box)

    def _leave(self, out: Any) -> Any:
        run = self.open.pop()
        first = out[0] if isinstance(out, (tuple, list)) and out else out
        if not _is_float(first) or (axis := _batch_axis(first)) is None:
            return None
        if not self.maps and not self.outer_graph:
            first = first.detach()  # still before the first attention: a stem, whose graph nobody needs
        run.output = first.squeeze(axis)
        run.version = run.output._version
        first = run.output.unsqueeze(axis)
        if not isinstance(out, (tuple, list)):
            return first
        return type(out)([first, *out[1:]]) if type(out) in (tuple, list) else None


def _tensors(x: Any) -> Iterator[Tensor]:
    if isinstance(x, Tensor):
        yield x
    elif isinstance(x, dict):
        for v in x.values():
            yield from _tensors(v)
    elif isinstance(x, (tuple, list)):
        for v in x:
            yield from _tensors(v)


def _main_input(args: tuple, kwargs: dict) -> tuple[Any, Any, int | None]:
    """A copy of args or kwargs, the place of the first float tensor in it, and the axis of its batch of one."""
    for box in (list(args), dict(kwargs)):
        for key, value in enumerate(box) if isinstance(box, list) else box.items():
            if _is_float(value):
                return box, key, _batch_axis(value)
    return None, None, None


def _is_float(x: Any) -> bool:
    return isinstance(x, Tensor) and x.is_floating_point()


def _batch_axis(x: Tensor) -> int | None:
    """The axis of the batch of one: the first, or the second where tokens come first."""
    if x.ndim >= 2 and x.shape[0] == 1:
        return 0
    return 1 if x.ndim == 3 and x.shape[1] == 1 else None


# -- which runs are the blocks, and are they what the method needs? -----------------------------------------
def _find_blocks(recorder: _Recorder) -> list[_Run]:
    if not recorder.maps:
        raise UltraError(f"no attention was seen in the forward pass; {_SEES}")
    blocks = _single(recorder.roots)
    while len(blocks) > 1 and _is_pooling(blocks[-1]):
        blocks.pop()
    if not blocks:
        raise UltraError(
            f"attention was seen ({_shapes(recorder.maps)}) but not inside the children of a ModuleList or "
            "Sequential, so the blocks are not known; keep the blocks in a ModuleList"
        )
    for number, block in enumerate(blocks, 1):
        _check_block(number, block, blocks)
    _check_count(recorder, blocks)
    return blocks


def _single(runs: list[_Run]) -> list[_Run]:
    """The outermost runs with one map each; one with several is opened if it lists modules itself."""
    out: list[_Run] = []
    for run in runs:
        if len(run.maps) > 1 and any(c.maps for c in run.children):
            out += _single(run.children)
        elif run.maps:
            out.append(run)
    return out


def _is_pooling(run: _Run) -> bool:
    return all(m.shape[-2] == 1 and m.shape[-1] > 1 for m in run.maps)


def _shapes(maps: list[_Map]) -> str:
    return ", ".join(dict.fromkeys(str(m.shape) for m in maps[:6])) + (", ..." if len(maps) > 6 else "")


def _check_block(number: int, block: _Run, blocks: list[_Run]) -> None:
    """Exactly one map of all tokens against all tokens, and one path through the block."""
    where = f"block {number} ({block.name}, {type(block.module).__name__})"
    need = "every block must have one global attention of shape (1, heads, N, N)"
    if block.input is None or block.output is None or block.output.ndim != 2 or block.input.ndim != 2:
        shape = "no batch of one" if block.output is None else tuple(block.output.shape)
        raise UltraError(
            f"{where} must take and give tokens (1, N, width), its output for one input is {shape} and its "
            f"attention {_shapes(block.maps)}"
        )
    if len(block.maps) != 1:
        raise UltraError(f"{need}; {where} made {len(block.maps)} maps: {_shapes(block.maps)}")
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
        raise UltraError(
            f"the attention of {where} is not in the graph: the model detaches it or runs in no_grad"
        )
    if seen.weights._version != seen.version or block.output._version != block.version:
        raise UltraError(f"{where} is changed in place after it was made, so its gradients can't be had")
    if number > 1:
        before: Any = blocks[number - 2].output
        if not block.sources or not all(_only_through(t, before) for t in block.sources):
            what = (
                "takes a shortcut from an earlier one" if block.sources else "is cut off from it (detached)"
            )
            raise UltraError(f"{where} must depend on earlier blocks only through the one before; it {what}")


def _only_through(x: Tensor, gate: Tensor) -> bool:
    """Whether every path from `x` back to a leaf of the graph passes `gate`."""
    todo, done = [x.grad_fn], {gate.grad_fn}
    while todo:
        node = todo.pop()
        if node in done:
            continue
        done.add(node)
        if node is None or type(node).__name__ == "AccumulateGrad":
            return False
        todo += [parent for parent, _ in node.next_functions if parent is not None]
    return True


def _check_count(recorder: _Recorder, blocks: list[_Run]) -> None:
    """No block without attention among the blocks, and no attention among them outside of a block."""
    start, stop = recorder.runs.index(blocks[0]), recorder.runs.index(blocks[-1])
    lists, kinds = {b.container for b in blocks}, {type(b.module) for b in blocks}
    for i, run in enumerate(recorder.runs):
        if run.container in lists and not run.maps and (start < i < stop or type(run.module) in kinds):
            raise UltraError(
                f"every block must have one global attention; {run.name} ({type(run.module).__name__}) stands among "
                f"{len(blocks)} blocks with attention and has none that can be seen ({_SEES})"
            )
    last = recorder.maps.index(blocks[-1].maps[0])
    inside = {id(b.maps[0]) for b in blocks}
    loose = [m for m in recorder.maps[:last] if id(m) not in inside]
    if loose:
        raise UltraError(f"attention was seen outside the blocks and before the last one: {_shapes(loose)}")
