"""Hidden layers widened inside: the same outputs, the same gradients, and nothing of it to be saved."""

import pytest
import torch

from galvae.geometry import Pose
from galvae.model.settings import ModelSettings
from galvae.model.vae import SpatialVAE
from galvae.model.widths import wider

CPU = torch.device("cpu")


def build(dtype, **changes):
    torch.manual_seed(0)
    # As many latents as units, and as many units as outputs: widths must be told apart by what they are of.
    settings = ModelSettings(**{"latents": 9, "generator_units": 9, "encoder_units": 4, **changes})
    return SpatialVAE(settings, window=8, channels=3).to(dtype)


def log_likelihood(vae, *given):
    return vae.log_likelihood(*given)


def taken(vae, *, units, compiled=False):
    """Log likelihood, and the gradients of all that leads to it."""
    generator = torch.Generator().manual_seed(1)
    theta, shift, content, values = (
        torch.rand(5, *shape, generator=generator).to(vae.grid.dtype) for shape in ((), (2,), (9,), (64, 3))
    )
    inputs = [tensor.requires_grad_() for tensor in (theta, shift, content)]
    vae.units = units
    vae.zero_grad(set_to_none=True)
    function = torch.compile(log_likelihood, backend="aot_eager", fullgraph=True) if compiled else log_likelihood
    found = function(vae, Pose(theta, shift), content, values)
    found.sum().backward()
    gradients = {name: p.grad for name, p in vae.generator.named_parameters()}
    return found.detach(), [tensor.grad for tensor in inputs], gradients


@pytest.mark.parametrize("changes", [{}, {"waves": 3}, {"generator_layers": 1}, {"generator_layers": 3}])
def test_wider_layers_change_nothing(changes):
    vae = build(torch.float64, **changes)
    saved = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    found, inputs, gradients = taken(vae, units=None)
    wide, wide_inputs, wide_gradients = taken(vae, units=64)
    assert torch.allclose(wide, found, rtol=1e-12)
    for a, b in zip(wide_inputs, inputs, strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-12)
    for name, gradient in gradients.items():
        assert torch.allclose(wide_gradients[name], gradient, rtol=1e-10, atol=1e-12), name
    assert saved.keys() == vae.state_dict().keys()
    assert all(torch.equal(tensor, saved[name]) for name, tensor in vae.state_dict().items())


@pytest.mark.filterwarnings("ignore")  # torch's to itself
def test_wider_layers_are_compiled():
    vae = build(torch.float64, waves=3)
    found, inputs, gradients = taken(vae, units=None)
    wide, wide_inputs, wide_gradients = taken(vae, units=64, compiled=True)
    assert torch.allclose(wide, found, rtol=1e-12)
    assert all(torch.allclose(a, b, rtol=1e-10, atol=1e-12) for a, b in zip(wide_inputs, inputs, strict=True))
    assert all(torch.allclose(wide_gradients[name], g, rtol=1e-10, atol=1e-12) for name, g in gradients.items())


def test_wider_layers_in_bfloat16_are_nearly_the_same():
    vae = build(torch.float32)
    vae.compute_in(torch.bfloat16)
    found, _, gradients = taken(vae, units=None)
    wide, _, wide_gradients = taken(vae, units=64)
    assert torch.allclose(wide, found, rtol=1e-3)
    for name, gradient in gradients.items():
        assert (wide_gradients[name] - gradient).norm() <= 0.02 * gradient.norm(), name


def test_a_processor_gains_nothing_by_it():
    assert wider(500, device=CPU, precision=torch.bfloat16) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here to ask what is faster")
def test_a_gpu_is_asked_what_is_faster():
    device = torch.device("cuda")
    assert wider(500, device=device, precision=torch.bfloat16) in (None, 512)
    assert wider(512, device=device, precision=torch.bfloat16) is None
