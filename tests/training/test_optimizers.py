"""Adam, and Muon for the matrices between layers."""

import pytest
import torch

from galvae.model.settings import ModelSettings
from galvae.model.vae import SpatialVAE
from galvae.training.optimizers import _ENDS, Muon, optimizers
from galvae.training.settings import TrainSettings

VANILLA = {"generator": "vanilla", "generator_layers": 3, "infer_rotation": False, "infer_translation": False}
BUILDS = [{"encoder": "mlp"}, {"encoder": "polar", "waves": 4}, VANILLA]


def build(**changes):
    torch.manual_seed(0)
    return SpatialVAE(ModelSettings(latents=3, generator_units=16, **changes), window=8, channels=3)


def take_step(vae, name, rate):
    parts = optimizers(vae, TrainSettings(optimizer=name, learning_rate=rate))
    for part in parts:
        part.step()
    return parts


@pytest.mark.parametrize("changes", BUILDS)
@pytest.mark.parametrize("name", ["adam", "muon"])
def test_each_parameter_is_fitted_by_one(changes, name):
    vae = build(**changes)
    before = [parameter.detach().clone() for parameter in vae.parameters()]
    for parameter in vae.parameters():
        parameter.grad = torch.randn_like(parameter)
    parts = take_step(vae, name, 1e-2)
    places = [group["params"] for part in parts for group in part.param_groups]
    assert sum(map(len, places)) == len(before)
    for old, parameter in zip(before, vae.parameters(), strict=True):
        assert not torch.equal(old, parameter)


@pytest.mark.parametrize("changes", BUILDS)
def test_a_step_turns_all_directions_of_a_matrix_alike(changes):
    # Singular values of a gradient differ by orders of magnitude, those of Muon's step by its five iterations.
    vae, rate = build(**changes), 1e-2
    inner = {name: p for name, p in vae.named_parameters() if "hidden" in name and p.ndim > 1}
    inner |= {name: p for name, p in vae.named_parameters() if "convolve" in name and p.ndim > 1}
    before = {name: parameter.detach().clone() for name, parameter in inner.items()}
    for parameter in vae.parameters():
        matrix = parameter.detach().flatten(1) if parameter.ndim > 1 else None
        if matrix is None:
            continue
        u, _, v = torch.linalg.svd(torch.randn_like(matrix), full_matrices=False)
        sizes = torch.logspace(0, -1, u.shape[1])
        parameter.grad = (u * sizes @ v).view_as(parameter)
    take_step(vae, "muon", rate)
    assert len(inner) >= 1
    for name, parameter in inner.items():
        step = (parameter.detach() - before[name]).flatten(1) / rate
        sizes = torch.linalg.svdvals(step) / (0.2 * max(step.shape) ** 0.5)
        assert 0.5 < sizes.min() <= sizes.max() < 1.4, name
        assert (step * vae.get_parameter(name).grad.flatten(1)).sum() < 0


@pytest.mark.parametrize("end", _ENDS)
def test_the_ends_are_left_to_adam(end):
    vae = build(encoder="polar", waves=4)
    for parameter in vae.parameters():
        parameter.grad = torch.ones_like(parameter)
    weight = vae.get_parameter(f"{end}.weight")
    before = weight.detach().clone()
    take_step(vae, "muon", 1e-2)
    torch.testing.assert_close(weight.detach(), before - 1e-2)


def test_a_parameter_without_gradient_stays():
    """Also one that had a gradient in the step before."""
    vae = build(encoder="polar")
    parts = optimizers(vae, TrainSettings(optimizer="muon", learning_rate=1e-2))
    for kept in (False, True):
        before = [parameter.detach().clone() for parameter in vae.parameters()]
        vae.zero_grad()
        if not kept:
            for parameter in vae.parameters():
                parameter.grad = torch.ones_like(parameter)
        for part in parts:
            part.step()
        same = [torch.equal(a, b) for a, b in zip(before, vae.parameters(), strict=True)]
        assert all(same) if kept else not any(same)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (8, 3, 2, 2)])
def test_muon_is_torchs(shape):
    """To the bit in its precision; the same but for rounding in another."""
    torch.manual_seed(0)
    found = {}
    for name in ("torch", torch.bfloat16, torch.float32):
        generator = torch.Generator().manual_seed(1)
        parameter = torch.nn.Parameter(torch.zeros(shape))
        matrix = parameter.detach().view(len(parameter), -1)
        muon = (
            torch.optim.Muon([matrix], 1e-2, weight_decay=0, adjust_lr_fn="match_rms_adamw")
            if name == "torch"
            else Muon([parameter], 1e-2, precision=name)
        )
        for _ in range(3):
            parameter.grad = torch.randn(shape, generator=generator)
            matrix.grad = parameter.grad.view_as(matrix)
            muon.step()
        found[name] = parameter.detach()
    assert torch.equal(found["torch"], found[torch.bfloat16])
    assert not torch.equal(found["torch"], found[torch.float32])
    torch.testing.assert_close(found["torch"], found[torch.float32], rtol=0.1, atol=1e-3)


def test_without_instructions_for_it_nothing_is_computed_in_bfloat16(monkeypatch):
    monkeypatch.setattr("galvae.training.optimizers.native_precision", lambda device: None)
    muon, _ = optimizers(build(encoder="polar"), TrainSettings(optimizer="muon"))
    assert muon.precision == torch.float32
