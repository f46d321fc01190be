"""Matrix products whose backward pass is in half precision, and whose forward pass is the model's own."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_PRODUCTS = (torch.matmul, torch.bmm, torch.mm, Tensor.matmul, Tensor.bmm, Tensor.mm, Tensor.__matmul__)
_SUMS = (torch.addmm, torch.baddbmm, Tensor.addmm, Tensor.baddbmm)


class HalfBackward(TorchFunctionMode):
    """Inside, every product of two matrices gets a backward pass in `dtype`.

    Forward it is what it was: latents and attention are exact, and so is what a gradient is multiplied by.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.linear:
            return self._linear(*args, **(kwargs or {}))
        if not kwargs and func in _PRODUCTS and args[0].ndim > 1 < args[1].ndim:
            return _Product.apply(*args, self.dtype)
        if not kwargs and func in _SUMS:
            return args[0] + _Product.apply(*args[1:], self.dtype)
        return func(*args, **(kwargs or {}))

    def _linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        product = _Product.apply(input, weight.mT, self.dtype)
        return product if bias is None else product + bias


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, dtype: torch.dtype) -> Tensor:
        first, second, _ = ctx.needs_input_grad
        ctx.dtype = dtype
        ctx.save_for_backward(a.to(dtype) if second else None, b.to(dtype) if first else None)
        return a @ b

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (a, b), half = ctx.saved_tensors, gradient.to(ctx.dtype)
        down = None if b is None else (half @ b.mT).to(gradient.dtype)
        return down, None if a is None else (a.mT @ half).to(gradient.dtype), None
