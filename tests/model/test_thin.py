"""What is written for a compiler is what it stands for."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from galvae.model.thin import affine, tanh, tanh_layers, thin

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's to itself


@pytest.mark.parametrize(("inputs", "outputs"), [(9, 3), (2, 3)])
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


@pytest.mark.parametrize("weights", [3, 1])
@pytest.mark.parametrize("offsets", [3, 1])
@pytest.mark.parametrize("shape", [(7, 2), (3, 7, 2)])
def test_an_affine_map_is_a_product_and_an_offset(shape, weights, offsets):
    """Of three images; one weight or one offset serves them all, if not both do."""
    if weights == offsets == 1:
        shape = (3, 7, 2)
    torch.manual_seed(0)
    x, weight, offset = (torch.randn(*s, dtype=torch.float64) for s in (shape, (weights, 2, 5), (offsets, 5)))
    wanted = x @ weight + offset[:, None]
    assert wanted.shape == (3, 7, 5)
    assert torch.allclose(affine(x, weight, offset), wanted, rtol=1e-12)
    assert torch.allclose(
        torch.compile(affine, backend="aot_eager", fullgraph=True)(x, weight, offset), wanted, rtol=1e-12
    )


def test_a_compiled_tanh_is_as_good_as_its_kind_and_so_is_its_gradient():
    """To 1e-7 near zero, where a difference of numbers near one has no more digits."""
    values = torch.cat([-torch.logspace(-6, 2, 200), torch.zeros(1), torch.logspace(-6, 2, 200)])
    x = values.bfloat16().requires_grad_()
    exact = x.detach().double().tanh()
    found = torch.compile(tanh, backend="aot_eager", fullgraph=True)(x)
    assert found.dtype == torch.bfloat16
    assert torch.allclose(found.double(), exact, rtol=2**-8, atol=2e-7)
    (gradient,) = torch.autograd.grad(found.sum(), x)
    assert torch.allclose(gradient.double(), 1 - exact.square(), rtol=2**-7, atol=2**-7)


def test_where_nothing_goes_back_a_tanh_takes_its_place():
    x = torch.randn(5)
    with torch.no_grad():
        assert tanh(x).data_ptr() == x.data_ptr()
    assert tanh(x).data_ptr() != x.data_ptr()


@pytest.mark.parametrize("shape", [(6, 9), (2, 3, 9), (1, 9)])
@pytest.mark.parametrize("widths", [(9,), (9, 9), (9, 4, 7)])
def test_layers_are_the_same_whether_anything_goes_back_or_not(shape, widths):
    torch.manual_seed(0)
    layers, x = [nn.Linear(a, b) for a, b in pairwise(widths)], torch.randn(shape)
    wanted = x.double().tanh()
    for layer in layers:
        wanted = (wanted @ layer.weight.double().T + layer.bias.double()).tanh()
    found = tanh_layers(x, layers)
    assert found.requires_grad == bool(layers)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode(), torch.profiler.profile() as seen:
            again = tanh_layers(x.clone(), layers)
        assert again.shape == wanted.shape
        ours = torch.backends.mkldnn.is_available() and bool(layers)
        assert ("aten::mkldnn_linear" in {event.name for event in seen.events()}) == ours
        for each in (found, again):
            assert torch.allclose(each.double(), wanted, rtol=0, atol=1e-6)
