"""What reconstructions keep: arms are lost where they are not decoded, and an inclined disk has none."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from galvae.geometry import Pose, pixel_grid, to_object
from galvae.inference.background import Sky
from galvae.model.posterior import Posterior
from galvae.verify.kept import Kept, compare, what_is_kept
from galvae.verify.page import most_lost
from galvae.windows import View

WINDOW, SIGMA, RATIO = 64, 0.35, 0.5


def galaxy(points, arms, *, order=2):
    """Light of an inclined disk with arms, at points of its own frame (..., 2), major axis along x."""
    x, y = points[..., 0], points[..., 1] / RATIO
    radius, angle = torch.hypot(x, y), torch.atan2(y, x)
    return torch.exp(-0.5 * (radius / SIGMA) ** 2) * (1 + arms * torch.cos(order * angle + 5 * radius))


def kept(arms, decoded, *, theta=0.7, shift=(0.05, -0.1), noise=0.0, order=2, seed=0):
    """Figures of a galaxy of which `decoded` of the arms are decoded."""
    pose = Pose(torch.tensor([theta]), torch.tensor([shift]))
    grid, side = pixel_grid(WINDOW), 3 * (WINDOW - 1) + 1
    light = 0.1 + 0.5 * galaxy(to_object(pixel_grid(side), pose), arms, order=order)
    white = torch.from_numpy(np.random.default_rng(seed).normal(size=(2, 1, side, side))).float()
    fields = light.view(1, side, side, 1) + noise * white[:1].permute(0, 2, 3, 1)
    fine = pixel_grid(160)
    canonical = 0.1 + 0.5 * galaxy(fine, decoded * arms, order=order).view(1, 160, 160, 1)
    half = (WINDOW - 1) / 2
    middle = (
        -torch.tensor(shift) @ torch.tensor([[math.cos(theta), math.sin(theta)], [-math.sin(theta), math.cos(theta)]]).T
    )
    one = np.ones(1)
    placed = SimpleNamespace(
        x=float(middle[0]) * half * one, y=float(middle[1]) * half * one, orientation=-theta * one,
        axis_ratio=RATIO * one, sigma=SIGMA * half * one, ok=one > 0,
    )  # fmt: skip
    posterior = Posterior(*(torch.zeros(1, *rest) for rest in ((1,), (1, 3), (1, 3), (1,), (1,), (1, 2), (1, 2))))
    posterior.content_std.fill_(1)
    posterior.content[..., 1] = 2
    found = SimpleNamespace(
        pose=pose, placed=placed, posterior=posterior, fitted=SimpleNamespace(canonical=canonical),
        sky=Sky(*torch.tensor([[[0.1]], [[noise]]]), torch.ones(1, 1, side, side), torch.zeros(1), torch.eye(1)[None]),
        view=View.central(fields, WINDOW, 3, display=False),
    )  # fmt: skip
    vae = SimpleNamespace(window=WINDOW, grid=grid)
    return compare(vae, found, white[1:])


@pytest.mark.parametrize(("theta", "order", "name"), [(0.7, 2, "2"), (-2.0, 2, "2"), (0.7, 1, "1"), (1.1, 4, "3-4")])
def test_arms_that_are_not_decoded_are_lost_and_nothing_else(theta, order, name):
    """Their amplitude is a cosine's, however the galaxy lies and inclined as it is."""
    found = what_is_kept(kept(0.2, 0.0, theta=theta, order=order))["around"]
    assert found[name]["amplitude"] == pytest.approx(0.2 / math.sqrt(2), rel=0.04)
    assert found[name]["kept"] == pytest.approx(0, abs=0.02)
    assert found[name]["decoded"] == pytest.approx(0, abs=0.02)
    assert found["0"]["kept"] == pytest.approx(1, abs=0.01)
    others = [value["amplitude"] for key, value in found.items() if key not in ("0", name)]
    assert max(others) < 0.02


@pytest.mark.parametrize(("decoded", "share"), [(1, 1), (0.5, 0.75), (2, 0), (-1, -3)])
def test_what_is_kept_is_the_power_less_that_of_what_is_left_over(decoded, share):
    """Of half the amplitude three quarters; arms that are twice as strong, or where there are none, do no good."""
    found = what_is_kept(kept(0.2, decoded))["around"]["2"]
    assert found["kept"] == pytest.approx(share, abs=0.06)
    assert found["decoded"] == pytest.approx(decoded**2, rel=0.1)


def test_noise_is_neither_kept_nor_lost():
    """Its power is a good part of the arms', and is left over whole."""
    many = [kept(0.2, 0.5, noise=0.2, seed=seed) for seed in range(40)]
    power = Kept(*(np.concatenate(values) for values in zip(*many, strict=True)))
    assert what_is_kept(power)["around"]["2"]["kept"] == pytest.approx(0.75, abs=0.06)
    power.around[:, 3] = 0
    assert what_is_kept(power)["around"]["2"]["kept"] < 0.6


def test_what_shows_nothing_above_noise_has_no_share():
    power = kept(0.2, 0.0)
    power.around[:, 3] = 2 * power.around[:, 0]
    assert set(what_is_kept(power)["around"].values()) == {None}


def test_nats_are_those_of_each_latent_largest_first():
    nats = what_is_kept(kept(0.2, 0.5))["nats"]
    assert nats["latents"] == pytest.approx([2, 0, 0])
    assert nats["sum"] == pytest.approx(2)


def test_the_galaxies_that_lost_most_are_not_the_noisiest():
    """A faint galaxy without arms is no candidate; one whose arms were not decoded comes before one whose were."""
    parts = [kept(0.0, 0.0, noise=0.3), kept(0.3, 0.9, noise=0.01), kept(0.3, 0.0, noise=0.01)]
    power = Kept(*(np.concatenate(values) for values in zip(*parts, strict=True)))
    titles = [panel.get_title() for panel in most_lost(power, np.array(["noisy", "decoded", "lost"])).axes]
    assert [title.partition(":")[0] for title in titles] == ["lost", "decoded"]
