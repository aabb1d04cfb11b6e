"""Errors are what further exposures of a galaxy show, by galaxy, whatever the batch; a rival is another matter."""

import math
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
import torch

from galvae.geometry import Pose, pixel_grid
from galvae.inference.infer import infer
from galvae.inference.light import measure_light
from galvae.inference.looks import _errors as of_looks
from galvae.inference.looks import look_again
from galvae.inference.settings import CatalogSettings
from galvae.windows import View

FIELD = 112
CONTENT = [0.4, 0.03, -0.02, 0.5]


@pytest.fixture(autouse=True)
def double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def scene(knowing, count, *, noise=0.02, alike=0.0, shared=False, ratio=0.5, seed=0, **options):
    """A network that knows one galaxy, and so many exposures of it."""
    theta, shift = torch.full((count,), 0.7), torch.tensor([0.05, -0.1]).expand(count, 2)
    content = torch.tensor([*CONTENT[:3], ratio]).expand(count, 4)
    vae = knowing(theta, shift, content, pedestal=0.05, **options)
    grid = pixel_grid(FIELD) * ((FIELD - 1) / 63)
    image = vae.decode(Pose(theta[:1], shift[:1]), content[:1], grid=grid).view(1, FIELD, FIELD, 3)
    generator = torch.Generator().manual_seed(seed)
    grain = torch.randn(count, FIELD, FIELD, 3, generator=generator)
    grain = grain[..., :1].expand(-1, -1, -1, 3) if shared else grain
    if alike:
        leak = (1 - math.sqrt(1 - 2 * alike**2)) / (2 * alike)
        for dim in (1, 2):
            grain = (grain + leak * (grain.roll(1, dim) + grain.roll(-1, dim))) / math.sqrt(1 + 2 * leak**2)
    fields = image + noise * grain
    return vae, View.central(fields.clamp(0, 1), 64)


def test_neither_zero_nor_full_scale_of_floats_matters(knowing):
    """What is no display value is not cut: a sky below zero, light beyond one."""
    vae, view = scene(knowing, 3)
    found, first = errors(vae, replace(view, display=False))
    other, _ = scene(knowing, 3)
    other.generator.pedestal -= 3
    moved = View.central(view.fields - 3, 64, display=False)
    found_moved, second = errors(other, moved)
    np.testing.assert_allclose(found_moved.placed.orientation, found.placed.orientation, atol=1e-6)
    for one, another in zip(first, second, strict=True):
        np.testing.assert_allclose(another, one, atol=1e-5)
    third, _ = scene(knowing, 3)
    third.generator.pedestal -= 3
    cut = errors(third, View.central(view.fields - 3, 64))[1]
    assert not np.allclose(cut.centre, first.centre, rtol=0.1, equal_nan=True)


def errors(vae, view, *, count=4, keys=None, **options):
    found = infer(vae, view, **options)
    keys = torch.arange(len(view)) if keys is None else keys
    return found, look_again(vae, found, keys, CatalogSettings(looks=count))


@pytest.mark.parametrize(("alike", "shared"), [(0.0, False), (0.3, False), (0.5, False), (0.5, True)])
def test_theta_and_centre_scatter_between_exposures_as_they_say(alike, shared, knowing):
    """Also where the noise of neighbouring pixels is alike, as in JPEGs and in images that were made smaller.

    And where all channels have the same.
    """
    found, said = errors(*scene(knowing, 200, alike=alike, shared=shared))
    theta = found.pose.theta.numpy()
    assert math.sqrt((said.theta**2).mean()) == pytest.approx(theta.std(), rel=0.2)
    scatter = np.cov(np.stack([found.placed.x, found.placed.y]))
    centre = said.centre.mean(0)
    assert np.diagonal(centre) == pytest.approx(np.diagonal(scatter), rel=0.35)
    assert centre[0, 1] < 0.3 * scatter[0, 1] < 0  # the axis lies downwards to the right
    # Beside what the noise does, the sky is not known better than to a fortieth of it.
    size = math.hypot(np.log(found.placed.sigma).std(), 0.025 * 0.02 * found.fitted.light.swelling.mean())
    assert math.sqrt((said.sigma**2).mean()) == pytest.approx(size, rel=0.2)


def test_errors_grow_with_the_noise(knowing):
    faint, bright = (errors(*scene(knowing, 20, noise=noise))[1] for noise in (0.04, 0.01))
    assert np.median(faint.theta) > 2 * np.median(bright.theta)
    assert np.median(faint.centre[:, 0, 0]) > 4 * np.median(bright.centre[:, 0, 0])


def test_where_a_stretch_leaves_less_noise_errors_are_smaller(knowing):
    vae, view = scene(knowing, 20)
    found, keys = infer(vae, view), torch.arange(20)
    less = found._replace(sky=found.sky._replace(left=0.25 * found.sky.left))
    plain, bright = (look_again(vae, one, keys, CatalogSettings(looks=4)) for one in (found, less))
    assert np.median(bright.orientation) < 0.6 * np.median(plain.orientation)
    vae, _ = scene(knowing, 20)
    told, kept = infer(vae, view, around=less.sky).fitted, found.fitted
    assert torch.allclose(told.covariance, kept.covariance / 16)
    assert np.allclose(told.light.covariance, kept.light.covariance / 16)


def test_so_many_times_what_the_noise_alone_would_do_counts_as_a_look_more(knowing):
    vae, view = scene(knowing, 5)
    found = infer(vae, view)
    turned = [found.fitted._replace(pose=replace(found.pose, theta=found.pose.theta + angle)) for angle in (0.1, -0.2)]
    off = np.array([[0.03, 0.0], [0.0, -0.04]])[:, None] * np.ones((5, 1))
    theta, centre, _, _ = of_looks(found, turned, off, CatalogSettings(looks=2, of_noise=3), least=np.zeros(5))
    of_theta = found.fitted.covariance[:, 0, 0].double().numpy()
    assert np.allclose(theta**2, (9 * of_theta + 0.1**2 + 0.2**2) / 3, rtol=1e-6)
    squares = np.diag([0.03**2, 0.04**2])
    assert np.allclose(centre, (9 * found.fitted.light.covariance + squares) / 3, rtol=1e-6)
    unlit = found._replace(
        fitted=found.fitted._replace(light=found.fitted.light._replace(covariance=np.full((5, 2, 2), np.nan)))
    )
    _, centre, _, _ = of_looks(unlit, turned, off, CatalogSettings(looks=2), least=np.zeros(5))
    assert np.allclose(centre, squares / 2)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(("part", "counts"), [("decoded", 0.3), ("spread", 0.6)])
def test_each_sign_of_doubt_about_a_shape_adds_to_its_own_error(part, counts, number, knowing):
    """In quadrature; what could not be measured counts as an axis or an axis ratio of which nothing is known."""
    vae, view = scene(knowing, 5)
    found, name = infer(vae, view), ("orientation", "axis_ratio")[number]
    settings = CatalogSettings(looks=2, of_decoded=0.3, of_width=0.6)

    def variance(off):
        fitted = found.fitted
        decoded = {key: np.array(getattr(fitted.placed, key)) for key in ("orientation", "axis_ratio")}
        spread = np.zeros((2, 5))
        if part == "decoded":
            decoded[name] = decoded[name] + off
        else:
            spread[number] += off
        light = fitted.light._replace(spread=spread)
        fitted = fitted._replace(decoded=replace(fitted.decoded, **decoded), light=light)
        said = look_again(vae, found._replace(fitted=fitted), torch.arange(5), settings)
        return np.stack([said.orientation, said.axis_ratio]) ** 2

    added = variance(0.3) - variance(0.0)
    assert added[number] == pytest.approx((counts * 0.3) ** 2)
    assert added[1 - number] == pytest.approx(0)
    if part != "decoded":
        assert (variance(np.nan) - variance(0.0))[number] == pytest.approx((math.pi / 4, 0.5)[number] ** 2)


def test_a_look_looks_again_about_what_it_inferred(knowing):
    """What an inference network gets wrong of a galaxy that lies otherwise is no scatter between exposures."""
    vae, view = scene(knowing, 20)
    told = vae.encoder

    def turned_a_little(seen):
        off = torch.remainder(seen.angle - 0.7 + math.pi, 2 * math.pi) - math.pi
        answer = told(seen)
        content = answer.content.clone()
        content[..., 0] += 0.1 * off[:, None]
        return replace(answer, content=content, theta=answer.theta + 0.1 * off[:, None])

    vae.encoder = Swayed(turned_a_little)
    _, said = errors(vae, view)
    assert (said.theta < 0.06).all()


def test_a_galaxys_errors_do_not_depend_on_its_company(knowing):
    vae, view = scene(knowing, 6)
    keys = torch.arange(6) * 1000 + 5
    _, together = errors(vae, view, keys=keys)
    some = [4, 1]
    vae, _ = scene(knowing, 6)
    _, alone = errors(vae, View.central(view.fields[some], 64), keys=keys[some])
    for a, b in zip(together, alone, strict=True):
        assert np.allclose(a[some], b, rtol=1e-6, equal_nan=True)


def test_a_rival_on_the_other_side_is_no_error_of_theta(knowing):
    """Only noise decides between the two, and another look may take the other."""
    theta = torch.tensor([[0.7, 0.7 + math.pi]])
    content = torch.tensor([CONTENT]).expand(1, 2, 4)
    vae = knowing(theta, torch.zeros(1, 2, 2), content, weight=[[0.5, 0.5]], pedestal=0.05)
    _, view = scene(knowing, 1)
    _, said = errors(vae, view)
    assert said.theta[0] < math.radians(3)
    assert said.p_alt[0] == pytest.approx(0.5)
    assert math.cos(said.theta_alt[0] - 0.7) == pytest.approx(-1)


def test_a_rival_that_another_exposure_would_take_is_probable_however_sure_this_one_is(knowing):
    """Noise in one pixel says which end it is, and is believed."""
    theta = torch.tensor([[0.7, 0.7 + math.pi]])
    count = 40
    vae = knowing(
        theta.expand(count, 2), torch.zeros(count, 2, 2), torch.tensor(CONTENT).expand(count, 2, 4), pedestal=0.05
    )
    _, view = scene(knowing, count)
    told = vae.encoder

    def swayed(seen):
        end = (seen.values[:, 0, 3, 3] > 0.05).long()
        weight = torch.where(torch.arange(2) == end[:, None], 0.99, 0.01)
        return replace(told(seen), log_weight=weight.log())

    vae.encoder = Swayed(swayed)
    found, said = errors(vae, view)
    assert torch.equal(torch.cos(found.pose.theta - 0.7) < 0, view.values[:, 0, 3, 3] > 0.05)
    # Twice as much noise changes its sign in a quarter of the looks, which are five of six that count: 0.21, give or
    # take 0.03, the scatter of two hundred such signs of forty galaxies.
    assert said.p_alt.mean() == pytest.approx(0.98 * 5 / 24 + 0.01, abs=0.09)
    assert (said.p_alt > 0.1).mean() > 0.4


class Swayed(torch.nn.Module):
    def __init__(self, says):
        super().__init__()
        self.forward = says


def test_a_light_that_no_weight_matches_has_the_decoded_galaxys_shape_and_says_that_nothing_is_known(knowing):
    vae, view = scene(knowing, 4)

    def unmatched(*args, **options):
        light = measure_light(*args, **options)
        return light._replace(axis_ratio=light.axis_ratio * np.nan, sigma=light.sigma * np.nan)

    with patch("galvae.inference.infer.measure_light", unmatched):
        found = infer(vae, view)
    for name in ("axis_ratio", "sigma"):
        assert np.array_equal(getattr(found.placed, name), getattr(found.fitted.decoded, name))
    assert np.array_equal(found.placed.orientation, found.fitted.light.orientation)
    said = look_again(vae, found, torch.arange(4), CatalogSettings(looks=2))
    assert (said.axis_ratio >= 0.5).all()
    assert (said.orientation < 0.1).all()


@pytest.mark.parametrize("refine", [True, False])
def test_where_there_is_nothing_to_measure_there_is_no_error(knowing, refine):
    vae = knowing([0.1], torch.zeros(1, 2), [CONTENT], sigma=1e-4, pedestal=0.1)
    _, said = errors(vae, View.central(torch.full((1, FIELD, FIELD, 3), 0.2), 64), refine=refine)
    assert np.isfinite(said.theta).all()
    for values in (said.centre, said.orientation, said.axis_ratio, said.sigma):
        assert np.isnan(values).all()


def test_the_axis_of_a_rounder_galaxy_is_less_well_known(knowing):
    said = [np.median(errors(*scene(knowing, 20, ratio=ratio))[1].orientation) for ratio in (0.3, 0.7, 0.95)]
    assert said[0] < 0.5 * said[1] < 0.25 * said[2]


def test_no_axis_is_less_well_known_than_not_at_all(knowing):
    _, said = errors(*scene(knowing, 5, ratio=0.999))
    assert (said.orientation <= math.pi / 2).all()
