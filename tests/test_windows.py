"""A window as wide as its galaxy asks for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from galvae.geometry import Pose, to_image
from galvae.model.polar import Polar
from galvae.moments import adaptive_moments, luminance
from galvae.windows import NARROWEST, TIMES, WIDEST, View

SIZE = 129


def galaxies(sigma, *, axis_ratio=0.6, angle=0.4, place=(0.0, 0.0), size=SIZE, sky=0.1):
    """Gaussian ones whose major axis has these standard deviations, in pixels of the field."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    found = []
    for one in np.atleast_1d(sigma):
        u, v = x - place[0], y - place[1]
        along, across = u * np.cos(angle) + v * np.sin(angle), v * np.cos(angle) - u * np.sin(angle)
        found.append(sky + 0.6 * np.exp(-0.5 * (along**2 + (across / axis_ratio) ** 2) / one**2))
    return torch.from_numpy(np.repeat(np.array(found)[..., None], 3, 3)).float()


def half_width(fields, **options):
    """Of the windows, pixels of the field."""
    view = View.central(fields, 33, **options).close_up()
    return view.widths() * 16 * view.oversample


@pytest.mark.parametrize("sigma", [6.0, 8.0, 12.0, 15.0])
@pytest.mark.parametrize("options", [{}, {"oversample": 2}])
def test_it_is_so_many_times_the_size(sigma, options):
    np.testing.assert_allclose(half_width(galaxies(sigma), **options), TIMES * sigma, rtol=0.02)


def test_a_field_magnified_gives_a_window_as_many_times_as_wide():
    sigmas = 6 * 1.25 ** np.arange(5)
    widths = half_width(galaxies(sigmas, axis_ratio=0.4))
    np.testing.assert_allclose(widths[1:] / widths[:-1], 1.25, rtol=0.01)


@pytest.mark.parametrize("angle", np.radians([10, 47, 90, 151]))
@pytest.mark.parametrize("place", [(0, 0), (3.3, -7.6), (-11, 5)])
def test_turned_and_moved_it_goes_along(angle, place):
    view = View.central(galaxies(7.0, angle=angle, place=place), 33).close_up()
    np.testing.assert_allclose(view.widths(), TIMES * 7 / 16, rtol=0.02)
    np.testing.assert_allclose(view.in_field(np.zeros((1, 2))), [place], atol=0.05)


def test_it_is_that_of_adaptive_moments():
    fields = galaxies([6.0, 9.0], axis_ratio=0.3, place=(2, 1))
    moments = adaptive_moments(luminance(fields.numpy()))
    np.testing.assert_allclose(half_width(fields), TIMES * moments.sigma, rtol=0.02)


@pytest.mark.parametrize("angle", [0.4, 1.3, 2.9])
def test_a_neighbour_does_not_widen_it(angle):
    """Half as bright, three of the galaxy's standard deviations away: what has no light opposite is left out."""
    alone = galaxies([7.0, 10.0])
    way = torch.tensor([np.cos(angle), np.sin(angle)])
    beside = [galaxies(5.0, axis_ratio=0.8, place=3 * size * way.numpy(), sky=0) for size in (7.0, 10.0)]
    assert np.abs(half_width(alone + 0.5 * torch.cat(beside)) / half_width(alone) - 1).max() < 0.08


@pytest.mark.parametrize("peak", [0.8, 0.17, 0.085])
def test_noise_makes_it_neither_wider_nor_narrower(peak):
    """In the mean: of two noisy pixels that lie opposite the brighter one is no neighbour."""
    rng = np.random.default_rng(0)
    clean = 0.1 + peak / 0.6 * galaxies(8.0, sky=0).expand(40, -1, -1, -1)
    noise = torch.from_numpy(rng.normal(0, 0.03 * 3**0.5, clean.shape)).float()
    widths = half_width(clean + noise, display=False)
    assert abs(np.median(widths) / (TIMES * 8) - 1) < 0.04


def test_it_is_neither_smaller_nor_larger_than_the_field_allows():
    np.testing.assert_allclose(half_width(galaxies([1.5, 40.0])) / ((SIZE - 1) / 2), [NARROWEST, WIDEST], rtol=1e-5)


def test_where_the_windows_were_counts_for_nothing():
    fields = galaxies([7.0, 12.0], place=(3, 4))
    one, other = (View.central(fields, 33), View.central(fields, 33))
    other = View(fields, 33, 1, torch.tensor([[9.0, -4.0], [0.0, 2.0]]), torch.zeros(2))
    assert torch.equal(one.close_up().width, other.close_up().width)
    assert torch.equal(one.close_up().offset, other.close_up().offset)


@pytest.mark.parametrize("field", [np.zeros((1, 65, 65, 3)), np.random.default_rng(0).random((1, 65, 65, 3))])
def test_of_nothing_it_is_something(field):
    view = View.central(torch.from_numpy(field).float(), 33).close_up()
    assert torch.isfinite(view.width).all()
    assert torch.isfinite(view.offset).all()
    assert torch.isfinite(view.images(torch.zeros(33 * 33, 2))).all()


def test_a_close_up_shows_what_lies_there():
    """The same galaxy twice as large looks the same, and places in it are those in the field."""
    small, large = (
        View.central(galaxies(size, place=place), 33).close_up() for size, place in ((7, (2, 4)), (14, (4, 8)))
    )
    grid = torch.stack(torch.meshgrid(torch.linspace(-1, 1, 33), torch.linspace(-1, 1, 33), indexing="xy"), -1)
    grid = grid.reshape(-1, 2)
    torch.testing.assert_close(small.images(grid), large.images(grid), atol=0.015, rtol=0)
    np.testing.assert_allclose(
        large.in_field(np.array([[3.0, -2.0]])), [[4 + 3 * 14 / 16 * TIMES, 8 - 2 * 14 / 16 * TIMES]], rtol=0.02
    )


@pytest.mark.parametrize("sigma", [6.0, 13.0])
def test_sums_over_its_pixels_are_as_noisy_as_it_says(sigma):
    """Of white noise in the field, whatever its pixels are of the field's."""
    generator = torch.Generator().manual_seed(0)
    fields = galaxies(np.full(400, sigma), axis_ratio=0.9)
    close = View.central(fields, 65).close_up()
    noise = torch.randn(fields.shape, generator=generator)
    grid = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, 65)] * 2, indexing="xy"), -1).reshape(1, -1, 2)
    points = grid.expand(400, -1, -1)
    weight = torch.exp(-0.5 * grid.square().sum(-1) / 0.3**2)
    sums = (weight * close.of(noise.permute(0, 3, 1, 2)).sample(points)[..., 0]).sum(1)
    said = (weight * close.averaging(points)).square().sum(1).sqrt()
    np.testing.assert_allclose(sums.std(), said.mean(), rtol=0.08)


def test_a_pose_carried_into_another_window_is_of_the_same_place_and_direction():
    rng = np.random.default_rng(0)
    fields = galaxies([6.0, 9.0, 12.0])
    offset, width = torch.tensor(rng.normal(size=(3, 2))).float(), torch.tensor([0.5, 1, 2])
    central = View.central(fields, 33)
    windows = [central.close_up(), replace(central, offset=offset, width=width)]
    pose = Pose(*(torch.tensor(rng.normal(size=shape)).float() for shape in ((3,), (3, 2))))
    carried = windows[1].carried(pose, windows[0])
    origins = [
        view.in_field(to_image(torch.zeros(1, 2), one)[:, 0].double().numpy() * 16)
        for view, one in zip(windows, (pose, carried), strict=True)
    ]
    np.testing.assert_allclose(origins[1], origins[0], atol=1e-4)
    assert torch.equal(carried.theta, pose.theta)
    assert central.carried(pose, central) is pose


def test_the_noise_of_each_channel_is_that_of_the_sky_however_the_field_is_turned():
    """Whatever lies in the middle, and however the window lies; rounding is noise, too."""
    sigma, random = torch.tensor([[0.01, 0.03, 0.06], [0.02, 0.02, 0.05]]), torch.Generator().manual_seed(0)
    fields = galaxies([7.0, 15.0], sky=0.5) + sigma[:, None, None] * torch.randn(2, SIZE, SIZE, 3, generator=random)
    view = View.central(fields.clamp(0, 1), 33)
    np.testing.assert_allclose(view.noise(), sigma, rtol=0.1)
    turned = View.central(torch.rot90(fields.clamp(0, 1), 1, (1, 2)), 33)
    np.testing.assert_allclose(turned.noise(), view.noise(), rtol=1e-6)
    np.testing.assert_allclose(view.close_up().noise(), view.noise())
    assert (View.central(galaxies([7.0]), 33).noise() == 1 / 255).all()


@pytest.mark.parametrize("window", [64, 33, 32, 5])
def test_the_centroid_is_the_mean_of_the_light_under_its_window(window):
    """Summed plainly, in double precision, over half as many pixels to a side; wherever the view looks."""
    random = np.random.default_rng(window)
    view = View.central(torch.from_numpy(random.random((6, 80, 80, 3))).float(), window, 1)
    view = replace(view, offset=torch.from_numpy(random.uniform(-4, 4, (6, 2))).float())
    size = window // 2
    y, x = (axis.ravel() for axis in np.meshgrid(*[np.linspace(-1, 1, size)] * 2, indexing="ij"))
    light = view.sample(torch.from_numpy(np.stack([x, y], 1)).float().expand(6, -1, -1)).mean(-1).double().numpy()
    light = np.maximum(light - np.sort(light, 1)[:, (size**2 - 1) // 2, None], 0)
    centre = np.zeros((6, 2))
    for width in (0.5, 0.3, 0.3):
        weight = light * np.exp(-0.5 * ((x - centre[:, :1]) ** 2 + (y - centre[:, 1:]) ** 2) / width**2)
        centre = np.stack([(weight * x).sum(1), (weight * y).sum(1)], 1) / weight.sum(1, keepdims=True)
        centre = centre.clip(-0.9, 0.9)
    assert view.centroid((0.5, 0.3, 0.3)).numpy() == pytest.approx(centre, abs=5e-6)


def blobs(*each, side=96):
    """A field of round Gaussians: (x, y) from its middle, standard deviation, peak."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    light = sum(peak * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * sigma**2)) for at, sigma, peak in each)
    return torch.from_numpy(np.broadcast_to(light[None, ..., None] + 0.02, (1, side, side, 3)).copy()).float()


@given(st.floats(0, 360), st.floats(0, 8), st.sampled_from([0.6, 1.0]))
def test_of_two_things_the_nearer_to_the_middle_is_meant(angle, off, peak):
    way = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    galaxy, star = (off * way, 5.0, peak), (-24 * way, 2.5, 8.0)
    view = View.central(blobs(galaxy, star), 64, display=False)
    far, near = (31.5 * view.centroid(nearest=nearest)[0].numpy() for nearest in (False, True))
    assert near == pytest.approx(galaxy[0], abs=2)
    assert np.hypot(*(far - galaxy[0])) > 4  # else there is nothing to tell


def test_what_is_faint_beside_the_other_is_not_meant():
    star, faint = ((-24.0, 0.0), 2.5, 8.0), ((3.0, 0.0), 4.0, 0.1)
    view = View.central(blobs(faint, star), 64, display=False)
    assert (view.centroid(nearest=True) == view.centroid()).all()
    narrow = View.central(blobs(faint, (star[0], 2.5, 0.01)), 64, display=False)
    assert 31.5 * narrow.centroid(nearest=True)[0].numpy() == pytest.approx(faint[0], abs=2)  # it would be found


def test_windows_of_galaxies_and_the_inference_network_look_at_the_one_that_is_meant():
    galaxy, star = ((3.0, -2.0), 5.0, 1.0), ((-17.0, 16.0), 2.5, 8.0)
    view = View.central(blobs(galaxy, star), 64, display=False)
    _, _, centre = Polar(2, channels=3).around_centre(view)
    assert 31.5 * centre[0].numpy() == pytest.approx(galaxy[0], abs=2)
    assert view.close_up().offset[0].numpy() == pytest.approx(galaxy[0], abs=2)


@pytest.mark.parametrize("off", [0, 10, 20])
def test_one_thing_alone_is_found_where_it_is_and_faint_ones_do_not_count(off):
    for others in ((), (((-3.0, 1.0), 2.0, 0.03),)):
        view = View.central(blobs(((off, 0.0), 5.0, 1.0), *others), 64, display=False)
        assert (view.centroid(nearest=True) == view.centroid()).all()
        assert 31.5 * view.centroid()[0].numpy() == pytest.approx([off, 0], abs=1)


def test_no_light_has_its_centroid_in_the_middle():
    assert View.central(torch.zeros(2, 40, 40, 3), 32, 1).centroid().abs().max() == 0
