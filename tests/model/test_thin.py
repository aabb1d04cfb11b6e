"""Thin linear layers, compiled, are what they are uncompiled."""

import pytest
import torch
from torch import nn

from galvae.model.thin import thin


@pytest.mark.filterwarnings("ignore")  # torch's to itself
@pytest.mark.parametrize(("inputs", "outputs"), [(2, 9), (9, 3), (2, 3), (9, 9)])
def test_a_thin_layer_is_the_layer(inputs, outputs):
    torch.manual_seed(0)
    layer, x = nn.Linear(inputs, outputs).double(), torch.randn(4, 5, inputs).double().requires_grad_()
    found = []
    for function in (thin, torch.compile(thin, backend="aot_eager", fullgraph=True)):
        layer.zero_grad(set_to_none=True)
        x.grad = None
        made = function(layer, x)
        made.square().sum().backward()
        found.append([made, x.grad, layer.weight.grad, layer.bias.grad])
    for plain, compiled in zip(*found, strict=True):
        assert torch.allclose(plain, compiled, rtol=1e-12)
    assert torch.equal(found[0][0], layer(x))
