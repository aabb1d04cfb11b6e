"""Flags: what is odd about a galaxy is said of it, and of no other."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from galvae.flags import Flag
from galvae.geometry import Pose, pixel_grid
from galvae.inference.infer import infer, rival
from galvae.inference.oddities import Typical, calibrate, explained, odd, what_is_typical
from galvae.training.checkpoint import load_model
from galvae.training.fit import fit
from galvae.windows import View

FIELD = 128


@pytest.fixture(autouse=True)
def double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def scene(knowing, *, sigma=0.1, centre=(0.0, 0.0), ratio=0.5, noise=0.0, ends=1):
    """A model of one galaxy that lies at `centre` of the window, grid units, along its diagonal; `ends` hypotheses."""
    theta = -np.pi / 4 + np.pi * torch.arange(ends)[None]
    content = torch.tensor([0.0, 0.0, 0.0, ratio]).expand(1, ends, 4)
    turn = torch.stack([torch.stack([theta.cos(), theta.sin()], -1), torch.stack([-theta.sin(), theta.cos()], -1)], -2)
    shift = -(torch.tensor(centre) @ turn)  # lies at -shift R^T
    vae = knowing(theta, shift, content, sigma=sigma, pedestal=0.05, weight=torch.full((1, ends), 1 / ends))
    grid = pixel_grid(FIELD) * ((FIELD - 1) / 63)
    image = vae.decode(Pose(theta[:, 0], shift[:, 0]), content[:, 0], grid=grid).view(1, FIELD, FIELD, 3)
    image = image + noise * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    return vae, View.central(image.clamp(0, 1), 64)


def flags(vae, view, typical=None):
    found = infer(vae, view)
    _, p_alt = rival(found.looks, found.pose.theta)
    return Flag(int(odd(found, explained(vae, found), p_alt.numpy(), typical)[0]))


def test_of_a_galaxy_in_the_middle_nothing_is_odd(knowing):
    assert flags(*scene(knowing)) == Flag(0)
    assert flags(*scene(knowing, centre=(0.05, -0.05))) == Flag(0)


def test_a_galaxy_that_the_middle_lies_outside_of_may_be_a_neighbour(knowing):
    """Along the major axis the galaxy reaches twice as far as across."""
    assert flags(*scene(knowing, centre=(0.12, 0.12))) == Flag(0)
    assert flags(*scene(knowing, centre=(0.12, -0.12))) == Flag.OFF_CENTRE
    assert flags(*scene(knowing, sigma=0.04, centre=(0.05, -0.05))) == Flag(0)  # however small it is
    # However large, as what runs into its neighbour: two standard deviations reach farther than that.
    assert flags(*scene(knowing, sigma=0.2, centre=(0.16, 0.16))) == Flag(0)
    assert flags(*scene(knowing, sigma=0.2, centre=(0.2, 0.2))) == Flag.OFF_CENTRE


@pytest.mark.parametrize("window", [16, 64])
def test_within_three_pixels_no_cutout_is_centred_badly(knowing, window):
    vae, view = scene(knowing)
    found = infer(vae, view)._replace(view=replace(view, window=window))
    for off, said in ((2.9, Flag(0)), (3.1, Flag.OFF_CENTRE if window == 16 else Flag(0))):
        placed = replace(found.placed, x=np.array([off]), y=np.array([0.0]), sigma=np.array([8.0]))
        there = found._replace(fitted=found.fitted._replace(placed=placed))
        assert Flag(int(odd(there, torch.ones(1), np.zeros(1), None)[0])) & Flag.OFF_CENTRE == said


def test_a_galaxy_that_reaches_beyond_the_window_is_at_its_edge(knowing):
    assert flags(*scene(knowing, centre=(0.75, 0.0))) == Flag.OFF_CENTRE
    assert flags(*scene(knowing, centre=(0.9, 0.0))) == Flag.AT_EDGE | Flag.OFF_CENTRE


def test_two_rivals_are_told(knowing):
    assert flags(*scene(knowing, ends=2)) == Flag.TWO_RIVALS


@pytest.mark.parametrize(("explained", "distance", "wanted"), [
    (0.9, 9.0, Flag(0)), (1.5, 9.0, Flag.POORLY_FITTED), (0.9, 0.1, Flag.UNUSUAL),
])  # fmt: skip
def test_what_is_unlike_the_galaxies_held_out_is_told(knowing, explained, distance, wanted):
    typical = Typical(
        galaxies=9, explained=explained, mean=[0.0] * 4, precision=np.eye(4).tolist(), distance=distance
    )  # fmt: skip
    assert flags(*scene(knowing), typical) == wanted


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.05])
def test_a_perfect_reconstruction_explains_everything_whatever_the_noise(knowing, noise):
    vae, view = scene(knowing, noise=noise)
    assert explained(vae, infer(vae, view)).item() == pytest.approx(1, abs=1e-3 + noise)
    _, view = scene(knowing, noise=noise)
    vae, _ = scene(knowing, ratio=0.9)
    assert explained(vae, infer(vae, view)).item() < 0.9


def test_nothing_is_explained_of_an_image_of_nothing(knowing):
    vae, view = scene(knowing)
    view.fields[:] = 0.05
    assert explained(vae, infer(vae, view)).item() == -1


@pytest.mark.parametrize("lost", [0, 1, 2])
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_a_channel_that_is_lost_is_not_explained(knowing, lost, level):
    """However well the others are."""
    vae, view = scene(knowing, noise=0.01)
    view.fields[..., lost] = level
    assert explained(vae, infer(vae, view)).item() < 0.1


@pytest.mark.parametrize(("latents", "held_out"), [(8, 135), (24, 560), (2, 150)])
def test_one_new_galaxy_in_a_hundred_is_unusual(latents, held_out):
    """Not more of them because the threshold was measured on few."""
    rng, shares = np.random.default_rng(0), []
    mixing = rng.normal(size=(latents, latents))
    for _ in range(30):
        typical = what_is_typical(np.ones(held_out), rng.normal(size=(held_out, latents)) @ mixing)
        off = rng.normal(size=(1000, latents)) @ mixing - typical.mean
        shares.append((np.sqrt(np.einsum("bi,ij,bj->b", off, typical.precision, off)) > typical.distance).mean())
    assert 0.005 < np.mean(shares) < 0.02


def test_of_few_galaxies_nothing_is_said():
    assert what_is_typical(np.ones(60), np.zeros((60, 4))) is None
    assert what_is_typical(np.ones(120), np.zeros((120, 50))) is None


def test_a_run_remembers_what_is_typical_of_galaxies_it_was_not_trained_on(store, tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("galvae.inference.oddities.ENOUGH", 5)
    torch.set_default_dtype(torch.float32)
    fit(store, tiny_recipe(), tmp_path / "run", device=torch.device("cpu"), quiet=True)
    calibrate(tmp_path / "run", store, quiet=True)
    _, description = load_model(tmp_path / "run")
    typical = Typical.model_validate(description["typical"])
    held_out = len(store) - len(description["trained_on"])
    assert typical.galaxies == held_out
    assert len(typical.mean) == len(typical.precision) == tiny_recipe().model.latents
    assert typical.distance > 0
    assert json.loads((tmp_path / "run" / "model.json").read_text())["finished"]


def test_a_window_that_goes_along_with_its_galaxy_ends_where_the_field_does(knowing):
    """Of windows twice as wide as the ordinary one, which is half as wide as the field."""
    vae, view = scene(knowing)
    found = infer(vae, view)

    def at_edge(view, sigma):
        placed = replace(found.placed, x=np.zeros(1), y=np.zeros(1), sigma=np.array([sigma]))
        there = found._replace(fitted=found.fitted._replace(placed=placed), view=view)
        return bool(Flag(int(odd(there, torch.ones(1), np.zeros(1), None)[0])) & Flag.AT_EDGE)

    close = replace(view, width=torch.full((1,), 2.0))
    assert [at_edge(view, sigma) for sigma in (15.0, 30.0, 50.0)] == [False, True, True]
    assert [at_edge(close, sigma / 2) for sigma in (15.0, 30.0, 50.0)] == [False, False, True]
