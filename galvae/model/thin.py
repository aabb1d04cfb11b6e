"""Linear layers of few inputs or few outputs, which cost memory traffic and hardly any arithmetic."""

from __future__ import annotations

import torch
from torch import Tensor, nn

FEW = 4


def thin(layer: nn.Linear, x: Tensor) -> Tensor:
    """What ``layer(x)`` is. Compiled it is a sum of products, which makes one kernel with what comes before and after.

    As a product of matrices a generator's first layer writes hidden units in float32, of which only their tanh in
    bfloat16 is wanted, and its last one reads them in float32: two thirds of the bytes that it moves for a pixel.

    Parameters
    ----------
    layer
        A linear layer.
    x
        Shape (..., inputs).
    """
    if not torch.compiler.is_compiling():
        return layer(x)
    outputs, inputs = layer.weight.shape
    if inputs <= FEW:
        products = (x[..., i : i + 1] * layer.weight[:, i] for i in range(inputs))
        return sum(products, layer.bias)
    if outputs <= FEW:
        return torch.stack([(x * layer.weight[k]).sum(-1) for k in range(outputs)], -1) + layer.bias
    return layer(x)
