"""Seeing one forward pass: every softmax over keys, and every run of a module that is a child of a list."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_SDPA = F.scaled_dot_product_attention
_SOFTMAX = (torch.softmax, F.softmax, Tensor.softmax, torch.special.softmax)


@dataclass(eq=False)
class Map:
    """Attention probabilities, as they lie in the graph.

    Attributes
    ----------
    weights : torch.Tensor
        (H, Nq, Nk) for a batch of one, else of the shape that was seen.
    shape : tuple of int
        What was seen.
    version : int
        Tells whether they were changed in place afterwards.
    context : torch.Tensor or None
        Their product with the values, if it was seen.
    """

    weights: Tensor
    shape: tuple[int, ...]
    version: int
    context: Tensor | None = None


@dataclass(eq=False)
class Run:
    """One execution of a module that is a child of a list of modules.

    Attributes
    ----------
    name, container : str
        The module and the list.
    module : nn.Module
    sources : list of torch.Tensor
        Its arguments that were in the graph.
    input, output : torch.Tensor or None
        (N, D), for a batch of one.
    version : int
        Of the output.
    maps : list of Map
        The attention seen while it ran.
    children : list of Run
        The runs inside it.
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


class Recorder(TorchFunctionMode):
    """Sees attention and the runs of listed modules.

    Attributes
    ----------
    maps : list of Map
        In the order of the pass.
    roots : list of Run
        The outermost runs.
    runs : list of Run
        All of them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.maps: list[Map] = []
        self.roots: list[Run] = []
        self.open: list[Run] = []
        self.runs: list[Run] = []
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
        self.maps[-1].context = context = weights @ value
        return context

    def _softmax(self, func: Any, args: tuple, kwargs: dict) -> Tensor:
        out = func(*args, **kwargs)
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        return self._keep(out) if out.ndim >= 3 and dim in (-1, out.ndim - 1) else out

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
    @contextlib.contextmanager
    def watching(self, module: nn.Module) -> Iterator[None]:
        """Hooks on the children of every list of modules, gone afterwards.

        Parameters
        ----------
        module : nn.Module
            The model.

        Yields
        ------
        None
        """
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
        run = Run(name, container, module, [t for t in _tensors((args, kwargs)) if t.requires_grad])
        (self.open[-1].children if self.open else self.roots).append(run)
        self.runs.append(run)
        self.open.append(run)
        box, key, axis = main_input(args, kwargs)
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


def main_input(args: tuple, kwargs: dict) -> tuple[Any, Any, int | None]:
    """The place of the tokens among the arguments of a module: the first float tensor.

    Parameters
    ----------
    args, kwargs : tuple, dict
        What the module was called with.

    Returns
    -------
    box : list, dict or None
        A copy of args or kwargs, whichever holds it; None if neither does.
    key : int, str or None
        Where in the box.
    axis : int or None
        The axis of its batch of one; None if it has none.
    """
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
