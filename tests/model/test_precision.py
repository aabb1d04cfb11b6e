"""Inner layers in bfloat16: nearly the same, while coordinates and parameters keep their precision."""

import pytest
import torch

from galvae.geometry import Pose
from galvae.model import generator, precision
from galvae.model.precision import Mixed, native_precision
from galvae.model.settings import ModelSettings
from galvae.model.thin import affine
from galvae.model.vae import SpatialVAE
from galvae.windows import View


@pytest.fixture
def vae():
    torch.manual_seed(0)
    return SpatialVAE(ModelSettings(latents=4, encoder="polar", generator_units=32, waves=8), window=64, channels=3)


def test_as_they_are_networks_compute_in_float32(vae):
    mixed = [module for module in vae.modules() if isinstance(module, Mixed)]
    assert len(mixed) == 2
    assert all(module.precision is None for module in mixed)


def test_bfloat16_is_nearly_the_same_and_leaves_float32_behind(vae, draw_commas):
    view = View.central(draw_commas([0.4], [(0.15, -0.1)], side=128, window=64), 64)
    plain = vae.encode(view)
    pose, content = plain.draw(plain.best())
    decoded = vae.decode(pose, content)
    vae.compute_in(torch.bfloat16)
    found = vae.encode(view)
    assert all(value.dtype == torch.float32 for value in found.parts.values())
    assert torch.allclose(found.log_weight, plain.log_weight, atol=0.05)
    assert not torch.equal(found.log_weight, plain.log_weight)
    again = vae.decode(pose, content)
    assert again.dtype == torch.float32
    assert torch.allclose(again, decoded, atol=0.02)
    again.square().mean().backward()
    assert all(value.grad is None or value.grad.dtype == torch.float32 for value in vae.parameters())


def test_what_comes_of_coordinates_keeps_its_precision(vae, monkeypatch):
    vae.compute_in(torch.bfloat16)
    seen = []

    def noted(*given):
        seen.extend([*given, affine(*given)])
        return seen[-1]

    monkeypatch.setattr(generator, "affine", noted)
    vae.decode(Pose(torch.zeros(1), torch.zeros(1, 2)), torch.zeros(1, 4))
    assert seen
    assert all(tensor.dtype == torch.float32 for tensor in seen)


def test_plane_waves_in_bfloat16_are_nearly_the_same_and_so_are_the_poses_gradients(vae, monkeypatch):
    """As on a GPU; on a processor their product keeps its precision."""
    pose = Pose(torch.randn(3).requires_grad_(), (torch.randn(3, 2) / 5).requires_grad_())
    content = torch.randn(3, 4)

    def decoded():
        found = vae.decode(pose, content)
        return found, *torch.autograd.grad(found.square().mean(), [pose.theta, pose.shift])

    wanted = decoded()
    vae.compute_in(torch.bfloat16)
    here = decoded()
    monkeypatch.setattr(Mixed, "mixed_on_a_gpu", Mixed.mixed)
    there = decoded()
    assert not torch.equal(here[0], there[0])
    for found, exact, most in zip(there, wanted, (0.005, 0.03, 0.03), strict=True):
        assert 0 < (found - exact).norm() < most * exact.norm()


@pytest.mark.parametrize(
    ("has", "faster", "chosen"), [(False, True, None), (True, False, None), (True, True, torch.bfloat16)]
)
def test_bfloat16_where_the_processor_has_it_and_it_is_faster(has, faster, chosen, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has, raising=False)
    monkeypatch.setattr(precision, "_is_faster", lambda: faster)
    assert native_precision(torch.device("cpu")) is chosen


def test_the_papers_network_in_bfloat16_is_nearly_the_same(draw_commas, monkeypatch):
    """On a processor it keeps its own precision."""
    torch.manual_seed(0)
    vae = SpatialVAE(ModelSettings(latents=4, encoder_units=64, generator_units=32), window=64, channels=3)
    view = View.central(draw_commas([0.4], [(0.15, -0.1)], side=64, window=64), 64)
    plain = vae.encode(view)
    vae.compute_in(torch.bfloat16)
    assert torch.equal(vae.encode(view).content, plain.content)
    monkeypatch.setattr(Mixed, "mixed_on_a_gpu", Mixed.mixed)
    found = vae.encode(view)
    for name, value in found.parts.items():
        assert value.dtype == torch.float32
        assert torch.allclose(value, getattr(plain, name), atol=0.01), name
    assert not torch.equal(found.content, plain.content)
    found.content.sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in vae.encoder.parameters())
