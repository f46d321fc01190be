"""Seeing one forward pass: every softmax over keys, and every run of a module that is a child of a list."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from types import FunctionType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .hooks_and_flags import hooked

_SDPA = F.scaled_dot_product_attention
_SOFTMAX = (torch.softmax, F.softmax, Tensor.softmax, torch.special.softmax)


@dataclass(eq=False)
class Map:
    """Attention probabilities as they lie in the graph: (H, Nq, Nk) for a batch of one, else of the shape seen.

    `version` tells whether they were changed in place afterwards; `context` is their product with `values`, if seen.
    """

    weights: Tensor
    shape: tuple[int, ...]
    version: int
    context: Tensor | None = None
    values: Tensor | None = None


@dataclass(eq=False)
class Run:
    """One execution of a module that is a child of the list `container`; input and output are (N, D).

    `sources` are its arguments that were in the graph, `maps` the attention seen while it ran, `children` the runs inside,
    `lost` a module inside that was given something in the graph and gave something that is not.
    """

    name: str
    container: str
    module: nn.Module
    sources: list[Tensor]
    input: Tensor | None = None
    output: Tensor | None = None
    version: int = 0
    maps: list[Map] = field(default_factory=list)
    children: list[Run] = field(default_factory=list)
    lost: str = ""


class _Softmax(torch.autograd.Function):
    """Softmax over the last axis with a gradient that is the same, bit for bit, for one thread and for several.

    torch's own kernel for it is compiled twice, for one thread and for several, and the two round otherwise.
    """

    @staticmethod
    def forward(logits: Tensor) -> Tensor:
        return logits.softmax(-1)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        (output,) = ctx.saved_tensors
        if not output.is_cpu:  # threads are the processor's; a GPU would wait for many small blocks
            return torch.ops.aten._softmax_backward_data(upstream, output, -1, output.dtype)
        found = torch.empty_like(upstream)
        for first in range(
            0, output.shape[-2], 16
        ):  # as many rows at a time as stay in the processor's cache
            rows = (..., slice(first, first + 16), slice(None))
            product = upstream[rows] * output[rows]
            found[rows] = product - output[rows] * product.sum(-1, keepdim=True)
        return found


class Recorder(TorchFunctionMode):
    """Sees attention (`maps`, in the order of the pass) and the runs of listed modules (`runs`; the outermost: `roots`)."""

    def __init__(self) -> None:
        super().__init__()
        self.maps: list[Map] = []
        self.roots: list[Run] = []
        self.open: list[Run] = []
        self.runs: list[Run] = []

    # -- attention ------------------------------------------------------------------------------------
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is _SDPA:
            return self._attend(*args, **kwargs)
        if func in _SOFTMAX:
            return self._softmax(func, *args, **kwargs)
        if func is F.multi_head_attention_forward:
            return self._multi_head(func, args, kwargs)
        return func(*args, **kwargs)

    def _multi_head(self, func: Any, args: tuple, kwargs: dict) -> Any:
        """The function behind nn.MultiheadAttention, which calls out of the mode's sight: a copy of it with other names.

        The library itself stays untouched, so that other threads may use it meanwhile.
        """
        names = {"scaled_dot_product_attention": self._attend, "softmax": partial(self._softmax, F.softmax)}
        names["has_torch_function"] = lambda *tensors: False  # another mode would run the library's own
        copy = FunctionType(func.__code__, func.__globals__ | names, argdefs=func.__defaults__)
        return copy(*args, **kwargs)

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
        weights = _Softmax.apply(logits)
        if blind is not None:  # as the fused kernel does, a query that may look nowhere takes nothing
            weights = weights.masked_fill(blind, 0)
        weights = self._keep(weights)
        if dropout_p:
            weights = F.dropout(weights, dropout_p)
        else:  # what is dropped stands between the map and the values
            self.maps[-1].values = value
        self.maps[-1].context = context = weights @ value
        return context

    def _softmax(self, func: Any, *args: Any, **kwargs: Any) -> Tensor:
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        logits: Tensor = args[0] if args else kwargs["input"]
        if logits.ndim < 3 or dim not in (-1, logits.ndim - 1):
            return func(*args, **kwargs)
        return self._keep(_Softmax.apply(logits.to(kwargs.get("dtype") or logits.dtype)))

    def _keep(self, probabilities: Tensor) -> Tensor:
        """Note a map; what is returned must go on in the forward pass, so that gradients reach the map."""
        single = probabilities.ndim == 4 and probabilities.shape[0] == 1
        weights = probabilities.squeeze(0) if single else probabilities
        seen = Map(weights, tuple(probabilities.shape), weights._version)
        self.maps.append(seen)
        for run in self.open:
            run.maps.append(seen)
        return weights.unsqueeze(0) if single else weights

    # -- blocks ---------------------------------------------------------------------------------------
    def watching(self, module: nn.Module) -> AbstractContextManager[None]:
        """Hooks on the children of every list of modules, and on what lies in them; gone afterwards."""
        children: dict[nn.Module, tuple[str, str]] = {}
        for name, parent in module.named_modules():
            if isinstance(parent, (nn.ModuleList, nn.Sequential)):
                for key, child in parent.named_children():
                    if not isinstance(child, (nn.ModuleList, nn.ModuleDict)):
                        children.setdefault(child, (f"{name}.{key}" if name else key, name))
        return hooked(
            before=[(child, partial(self._enter, *names)) for child, names in children.items()],
            after=[
                *((m, partial(self._look, name)) for name, m in module.named_modules() if m not in children),
                *((child, self._leave) for child in children),
            ],
        )

    def _look(self, name: str, module: nn.Module, args: tuple, out: Any) -> None:
        """Note a module that takes what is in the graph and gives nothing that is; angles of positions never are."""
        made = list(filter(_is_float, _tensors(out)))
        if not made or any(t.requires_grad for t in made):
            return
        if any(t.requires_grad for t in _tensors(args)):
            if not re.search("rotary|rope|position", type(module).__name__, re.IGNORECASE):
                for run in self.open:
                    run.lost = run.lost or f"{name} ({type(module).__name__})"

    def _enter(self, name: str, container: str, module: nn.Module, args: tuple, kwargs: dict) -> Any:
        run = Run(name, container, module, [t for t in _tensors((args, kwargs)) if t.requires_grad])
        (self.open[-1].children if self.open else self.roots).append(run)
        self.runs.append(run)
        self.open.append(run)

        def keep(x: Tensor) -> Tensor:
            axis = _batch_axis(x)
            if axis is None:
                return x
            run.input = x.squeeze(axis)
            if run.sources:
                return run.input.unsqueeze(axis)
            # The graph starts here: nothing before it asks for gradients. A copy, for what works in place.
            run.input = run.input.detach().requires_grad_()
            return run.input.unsqueeze(axis).clone()

        return with_tokens(args, kwargs, keep)

    def _leave(self, module: nn.Module, args: tuple, out: Any) -> Any:
        run, first = self.open.pop(), first_of(out)
        if not _is_float(first) or (axis := _batch_axis(first)) is None:
            return None
        if not self.maps:
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


def with_tokens(args: tuple, kwargs: dict, change: Callable[[Tensor], Tensor]) -> tuple[tuple, dict] | None:
    """The arguments of a module, the first float tensor (its tokens) put through `change`; None without one."""
    for box in (list(args), dict(kwargs)):
        for key, value in enumerate(box) if isinstance(box, list) else box.items():
            if _is_float(value):
                box[key] = change(value)
                return (tuple(box), kwargs) if isinstance(box, list) else (args, box)
    return None


def first_of(out: Any) -> Any:
    """The tokens among what a block gives."""
    return out[0] if isinstance(out, (tuple, list)) and out else out


def _is_float(x: Any) -> bool:
    return isinstance(x, Tensor) and x.is_floating_point()


def _batch_axis(x: Tensor) -> int | None:
    """The axis of the batch of one: the first, or the second where tokens come first."""
    if x.ndim >= 2 and x.shape[0] == 1:
        return 0
    return 1 if x.ndim == 3 and x.shape[1] == 1 else None
