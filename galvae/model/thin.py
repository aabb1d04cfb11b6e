"""Layers of few inputs or few outputs, and what is between layers: memory traffic and hardly any arithmetic.

As they are written here a compiler makes one kernel of each with what comes before and after it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

FEW = 4


def affine(x: Tensor, weight: Tensor, offset: Tensor) -> Tensor:
    """``x @ weight + offset`` with weights of each image.

    Parameters
    ----------
    x
        Of few columns, shape (P, inputs) or (B, P, inputs).
    weight, offset
        Shapes (B, inputs, outputs) and (B, outputs); either may be one for all.

    Returns
    -------
    Tensor
        Shape (B, P, outputs).
    """
    if torch.compiler.is_compiling():
        products = (x[..., i : i + 1] * weight[:, i : i + 1] for i in range(x.shape[-1]))
        return sum(products, offset[:, None])
    images = max(len(weight), len(offset))
    all_of_them = torch.cat([weight.expand(images, -1, -1), offset[:, None].expand(images, -1, -1)], 1)
    return functional.pad(x, (0, 1), value=1.0) @ all_of_them


def thin(layer: nn.Linear, x: Tensor) -> Tensor:
    """What ``layer(x)`` is. Compiled, and of few outputs, it is a sum of products.

    As a product of matrices a generator's last layer reads hidden units in float32, of which there are bfloat16.

    Parameters
    ----------
    layer
        A linear layer.
    x
        Shape (..., inputs).
    """
    if torch.compiler.is_compiling() and layer.out_features <= FEW:
        return torch.stack([(x * row).sum(-1) for row in layer.weight], -1) + layer.bias
    return layer(x)


class _Tanh(torch.autograd.Function):
    """Of bfloat16 by one exponential: what a compiler makes of tanh is good to float32, and slower than the memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = (2 * torch.sigmoid(2 * x.float()) - 1).to(x.dtype)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return (gradient * (1 - y.float().square())).to(gradient.dtype)


def tanh(x: Tensor) -> Tensor:
    """What ``torch.tanh(x)`` is; where nothing goes back it takes its place.

    Compiled it is good to 1e-7, or to the last digit of a bfloat16 where that is coarser.
    """
    if torch.compiler.is_compiling() and x.dtype == torch.bfloat16:
        return _Tanh.apply(x)
    return torch.tanh(x) if torch.is_grad_enabled() else torch.tanh_(x)


def tanh_layers(x: Tensor, layers: Iterable[nn.Linear]) -> Tensor:
    """The tanh of x, and of what each layer makes of that before it.

    Where nothing goes back, a processor's single precision is left to oneDNN, if torch has it: on an AMD processor a
    layer of 128 units then takes a quarter, one of 1,000 half of the time (`benchmarks/layers.py`).

    Parameters
    ----------
    x
        Shape (..., P, inputs); where nothing goes back it may be overwritten.
    layers
        Each followed by a tanh.
    """
    if torch.compiler.is_compiling() or torch.is_grad_enabled() or not _of_onednn(x):
        hidden = tanh(x)
        for layer in layers:
            hidden = tanh(layer(hidden))
        return hidden
    hidden = x.flatten(0, -2).to_mkldnn().tanh_()
    for layer in layers:
        hidden = torch.ops.aten.mkldnn_linear(hidden, layer.weight, layer.bias).tanh_()
    return hidden.to_dense().unflatten(0, x.shape[:-1])


def _of_onednn(x: Tensor) -> bool:
    known = torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled
    return known and x.device.type == "cpu" and x.dtype == torch.float32
