"""The centre of the light is where the light is, whatever the decoded galaxy says, and as well known as it says."""

import math
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from galvae.geometry import Pose, pixel_grid, to_image
from galvae.inference import light
from galvae.inference.background import sky
from galvae.inference.canonical import Placement, canonical_moments, decode_canonical, decode_images, place
from galvae.inference.light import measure_light
from galvae.model.settings import ModelSettings
from galvae.model.vae import SpatialVAE
from galvae.moments import adaptive_moments, luminance
from galvae.windows import View

FIELD, LEVEL = 112, 0.1


def ellipses(centre, *, angle=0.6, ratio=0.5, sigma=6.0, peak=0.5):
    """Fields of elliptical Gaussians at centres (N, 2) from the middle, pixels."""
    y, x = np.mgrid[:FIELD, :FIELD] - (FIELD - 1) / 2
    u, v = (c[None] - np.asarray(centre)[:, k, None, None] for k, c in enumerate((x, y)))
    along, across = u * math.cos(angle) + v * math.sin(angle), v * math.cos(angle) - u * math.sin(angle)
    light = LEVEL + peak * np.exp(-0.5 * (along**2 + (across / ratio) ** 2) / sigma**2)
    return torch.from_numpy(np.repeat(light[..., None], 3, -1)).float()


def believed(centre, *, angle=0.6, ratio=0.5, sigma=6.0):
    """What a decoded galaxy says of them."""
    count = len(centre)
    full = lambda value: np.full(count, float(value))  # noqa: E731
    x, y = np.asarray(centre, float).T
    return Placement(x, y, full(angle), full(ratio), full(sigma), np.ones(count, bool), full(0), torch.zeros(count, 2))


def measured(fields, placed, decoded=None, *, pose=None, window=64, oversample=1):
    """With nothing decoded, or fields that are: at a pose, else as they lie."""
    view = View.central(fields, window, oversample)
    pose = pose or Pose(torch.zeros(len(fields)), torch.zeros(len(fields), 2))
    canonical = torch.zeros(len(fields), window, window, 3)
    if decoded is not None:
        at = to_image(pixel_grid(window), pose)
        canonical = View.central(decoded, window).sample(at).unflatten(1, (window, window))
    return measure_light(view, canonical, pose, placed, sky(view))


def by_the_cut(*args, **options):
    """What the cut does to axis and axis ratio."""
    found = measured(*args, **options)
    with patch.object(light, "SHARE", math.inf):
        whole = measured(*args, **options)
    return np.array([found.orientation - whole.orientation, found.axis_ratio - whole.axis_ratio])


@pytest.mark.parametrize("wrong", [0.0, 0.4, 1.5])
@pytest.mark.parametrize("seen", [{}, {"angle": 0.8, "ratio": 0.6, "sigma": 5.0}])
def test_a_decoder_that_is_wrong_does_not_move_the_centre(wrong, seen):
    true = np.array([[0.3, -0.2], [7.45, 3.1], [-11.6, 12.2]])
    found = measured(ellipses(true), believed(true + np.array([wrong, -wrong]), **seen))
    assert np.abs(found.x - true[:, 0]).max() < 2e-3
    assert np.abs(found.y - true[:, 1]).max() < 2e-3
    assert found.orientation == pytest.approx([0.6] * 3, abs=5e-3)
    assert found.axis_ratio == pytest.approx([0.5] * 3, abs=5e-3)
    assert found.sigma == pytest.approx([6.0] * 3, rel=5e-3)


PROFILES = {
    "disc": lambda r: np.exp(-r / 3.5),
    "peaked": lambda r: np.exp(-4 * (r / 12) ** 0.5),
    "ring": lambda r: np.exp(-r / 2) + 0.3 * np.exp(-0.5 * (r - 9) ** 2),
}


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
@pytest.mark.parametrize("believes", [0.5, 0.75, 1.0, 1.4, 2.0])
def test_size_and_axis_ratio_are_those_of_adaptive_moments_whatever_is_believed(profile, believes):
    """Of profiles that are no Gaussians, seen through an atmosphere."""
    y, x = np.mgrid[:FIELD, :FIELD] - (FIELD - 1) / 2
    light = gaussian_filter(profile(np.hypot(x, y / 0.6)), 1.5)
    fields = torch.from_numpy(np.repeat(LEVEL + 0.5 * (light / light.max())[None, ..., None], 3, -1)).float()
    moments = adaptive_moments(luminance(fields.numpy()))
    found = measured(fields, believed([(0.0, 0.0)], angle=0.0, ratio=0.6, sigma=believes * moments.sigma[0]))
    assert found.sigma == pytest.approx(moments.sigma, rel=0.01)
    assert found.axis_ratio == pytest.approx(moments.axis_ratio, abs=0.01)


def test_a_galaxy_swells_with_the_sky_as_it_says():
    """Where the sky is wrong by so much; it says so of galaxies, which swell a quarter more than Gaussians."""
    fields, off = ellipses([(0.0, 0.0)]), 0.002
    view, placed = View.central(fields, 64), believed([(0.0, 0.0)])
    args = torch.zeros(1, 64, 64, 3), Pose(torch.zeros(1), torch.zeros(1, 2)), placed
    around = sky(view)
    right, wrong = (measure_light(view, *args, around._replace(level=around.level - low)) for low in (0, off))
    assert np.log(wrong.sigma / right.sigma) == pytest.approx(off * right.swelling / 1.25, rel=0.05)


@pytest.mark.parametrize("noise", [0, 0.02])
def test_without_errors_it_says_the_same_in_single_precision(noise):
    """Of galaxies with noise and neighbours, too, which are cut out."""
    rng = np.random.default_rng(0)
    true = rng.uniform(-5, 5, (40, 2))
    fields = ellipses(true) + ellipses(true + np.array([9, 8]), sigma=2.5, ratio=0.8) - LEVEL
    view, placed = View.central(fields + noise * torch.randn(fields.shape), 64), believed(true + 0.4)
    args = view, torch.zeros(40, 64, 64, 3), Pose(torch.zeros(40), torch.zeros(40, 2)), placed, sky(view)
    with_errors, found = measure_light(*args), measure_light(*args, errors=False)
    assert np.isfinite(found.x).all()
    for name in ("x", "y", "orientation", "axis_ratio"):
        assert getattr(found, name) == pytest.approx(getattr(with_errors, name), abs=1e-5)
    for name in ("sigma", "swelling", "spread"):
        assert getattr(found, name) == pytest.approx(getattr(with_errors, name), rel=1e-3, abs=1e-4)
    assert np.isnan(found.covariance).all()


def test_quarter_turns_and_whole_pixel_moves_are_exact():
    fields = ellipses([[0.3, -0.2]])
    first = measured(fields, believed([[0.5, 0.1]]))
    turned = measured(torch.rot90(fields, -1, (1, 2)), believed([[-0.1, 0.5]], angle=0.6 + math.pi / 2))
    assert (turned.x, turned.y) == (pytest.approx(-first.y, abs=1e-6), pytest.approx(first.x, abs=1e-6))
    moved = measured(torch.roll(fields, (5, -3), (1, 2)), believed([[-2.5, 5.1]]))
    assert (moved.x, moved.y) == (pytest.approx(first.x - 3, abs=1e-6), pytest.approx(first.y + 5, abs=1e-6))


def star(place, *, peak, sigma=1.5):
    return ellipses([place], ratio=1, sigma=sigma, peak=peak) - LEVEL


@pytest.mark.parametrize("place", [[-5.0, 9.0], [10.0, -7.0], [14.0, 12.0]])
@pytest.mark.parametrize("oversample", [1, 2])
def test_a_neighbour_is_cut_out(place, oversample):
    """A galaxy decoded without it, or not at all; one that is decoded with it keeps it."""
    centre = np.array([[0.3, -0.2]])
    alone, scale = ellipses(centre), {"window": 64 // oversample, "oversample": oversample}
    seen = alone + star(place, peak=0.2)
    said = believed(centre / oversample, sigma=6 / oversample)
    first = measured(alone, said, **scale)
    assert not by_the_cut(alone, said, **scale).any()
    for decoded in (None, 0.9 * alone):
        found = measured(seen, said, decoded if oversample == 1 else None, **scale)
        assert found.orientation == pytest.approx(first.orientation, abs=0.006)
        assert found.axis_ratio == pytest.approx(first.axis_ratio, abs=0.02)
    if oversample == 1:
        kept = measured(seen, said, seen)
        assert not by_the_cut(seen, said, seen).any()
        assert abs(kept.orientation - 0.6) > 10 * abs(found.orientation - 0.6)


def test_a_bright_star_does_not_hide_a_neighbour():
    """What is much brighter is so for the galaxy, whatever else is seen."""
    centre = [[0.3, -0.2]]
    seen = ellipses(centre, peak=0.3) + star([-5.0, 9.0], peak=0.08) + star([-20.0, -11.0], peak=0.6)
    found = measured(seen, believed(centre))
    assert found.orientation == pytest.approx([0.6], abs=0.01)


def test_a_lopsided_galaxy_that_is_decoded_is_not_cut():
    """However it lies: the decoded image, not quite as bright and not quite as sharp, is carried to it."""
    centre = [[0.0, 0.0]]
    lopsided = ellipses(centre) + ellipses([[3.0, 6.0]], angle=0, ratio=0.8, sigma=4, peak=0.25) - LEVEL
    blurred = ellipses(centre, sigma=6.2) + ellipses([[3.0, 6.0]], angle=0, ratio=0.8, sigma=4.1, peak=0.25) - LEVEL
    decoded = LEVEL + 0.93 * (blurred - LEVEL)
    assert np.abs(by_the_cut(lopsided, believed(centre))).max() > 0.02
    for theta, shift in ((0.0, [0.0, 0.0]), (0.7, [0.1, -0.05]), (-2.1, [-0.12, 0.2])):
        pose = Pose(torch.tensor([theta]), torch.tensor([shift]))
        assert not by_the_cut(lopsided, believed(centre), decoded, pose=pose).any()


def test_a_sharp_core_is_not_cut():
    centre = np.random.default_rng(0).uniform(-0.5, 0.5, (20, 2))
    seen = torch.cat([ellipses([one]) + ellipses([one], ratio=1, sigma=0.7, peak=0.3) - LEVEL for one in centre])
    assert not by_the_cut(seen, believed(centre)).any()


@pytest.mark.parametrize("oversample", [1, 2])
def test_a_centre_scatters_as_its_covariance_says(oversample):
    """Where window pixels lie between those of the field, noise is averaged."""
    count = 600
    generator = torch.Generator().manual_seed(1)
    sigma = 6.0 * oversample
    fields = ellipses(np.zeros((1, 2)), sigma=sigma) + 0.03 * torch.randn(count, FIELD, FIELD, 3, generator=generator)
    found = measured(fields, believed(np.zeros((count, 2))), window=64 // oversample, oversample=oversample)
    scatter = np.cov(np.stack([found.x, found.y]))
    assert scatter == pytest.approx(found.covariance.mean(0), rel=0.2)
    assert scatter[0, 1] > 0.2 * scatter[1, 1]  # along the galaxy it is less well known


@pytest.mark.parametrize("level", [0.1, 0.0])
def test_the_sky_is_known_also_where_it_is_clipped_at_black(level):
    generator = torch.Generator().manual_seed(0)
    noise = torch.tensor([0.01, 0.02, 0.03])
    fields = (level + noise * torch.randn(4, FIELD, FIELD, 3, generator=generator)).clamp(0, 1)
    fields[:, 40:70, 40:70] = 0.9
    found = sky(View.central(fields, 64))
    assert found.level.numpy() == pytest.approx(np.full((4, 3), level), abs=2e-3)
    assert found.noise.numpy() == pytest.approx(noise.expand(4, 3).numpy(), rel=0.08)


def test_what_is_not_there_has_no_centre():
    """Nothing, a hole, a galaxy elsewhere, and one of which the decoder says nothing."""
    fields = torch.cat([
        torch.full((1, FIELD, FIELD, 3), LEVEL), ellipses([[0, 0]], peak=-0.05), ellipses([[25, 0]]), ellipses([[0, 0]])
    ])  # fmt: skip
    placed = believed(np.zeros((4, 2)))
    placed = replace(placed, ok=np.array([True, True, True, False]), x=np.array([0, 0, 0, np.nan]))
    found = measured(fields, placed)
    for values in found:
        assert np.isnan(values).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_what_a_field_was_padded_with_is_no_sky(dtype):
    generator = torch.Generator().manual_seed(0)
    fields = 0.3 + 0.03 * torch.randn(3, FIELD, FIELD, 3, generator=generator)
    plain = sky(View.central(fields, 64))
    fields[1, :20], fields[1, -20:], fields[2, :, :9] = 0.3, 0.3, 0.3
    if dtype == torch.uint8:
        fields = (255 * fields).round().to(dtype)
    found = sky(View.central(fields, 64))
    assert found.noise.numpy() == pytest.approx(plain.noise.numpy(), rel=0.15)
    assert found.level.numpy() == pytest.approx(plain.level.numpy(), abs=3e-3)
    assert found.left[:, 0, 40:60, 40:60].mean((1, 2)).numpy() == pytest.approx([1, 1, 1], abs=0.06)


def test_noise_is_never_less_than_rounding():
    found = sky(View.central(torch.zeros(2, FIELD, FIELD, 3, dtype=torch.uint8), 64))
    rounding = 1 / 255 / math.sqrt(12)
    assert (found.noise >= rounding).all()
    assert (found.noise < 1.5 * rounding).all()


@pytest.mark.parametrize("noise", [1.0, 1.4, 3.3])
def test_noise_is_known_between_whole_numbers(noise):
    generator = torch.Generator().manual_seed(0)
    fields = (20 + noise * torch.randn(4, FIELD, FIELD, 3, generator=generator)).round().to(torch.uint8)
    found = sky(View.central(fields, 64))
    assert 255 * found.noise.mean().item() == pytest.approx(math.sqrt(noise**2 + 1 / 12), rel=0.08)


def stretched(count, *, sigma=12.0, channels=3):
    """Exposures of a large galaxy, with a quarter of the sky's noise at the peak."""
    generator = torch.Generator().manual_seed(1)
    light = ellipses(np.zeros((1, 2)), sigma=sigma, ratio=0.7)
    noise = 0.03 * (1 - 1.5 * (light - LEVEL))
    return light, light + noise * torch.randn(count, FIELD, FIELD, channels, generator=generator)


def test_a_stretch_leaves_less_noise_where_it_is_bright():
    found = sky(View.central(stretched(20)[1], 64))
    assert 0.25 < found.left[:, 0, 54:58, 54:58].mean().item() < 0.4  # rather too much than too little
    assert found.left[:, 0, :, 10:20].mean().item() > 0.96
    assert found.grain.shape == (20, 3, FIELD, FIELD)


def test_what_is_rough_by_itself_has_the_skys_noise():
    """Of a galaxy's own structure nothing is known to be noise; where there is no noise at all none is missing."""
    generator = torch.Generator().manual_seed(0)
    rough = ellipses([[0, 0]], sigma=1.0) + 0.01 * torch.randn(1, FIELD, FIELD, 3, generator=generator)
    assert (sky(View.central(rough, 64)).left[:, 0, 54:58, 54:58] == 1).all()
    assert (sky(View.central(ellipses([[0, 0]], peak=0), 64)).left > 0.999).all()


@pytest.mark.parametrize("channels", [3, 1])
def test_a_centre_is_as_well_known_as_the_stretch_leaves_it(channels):
    """Whether each channel has noise of its own or not."""
    light, fields = stretched(400, channels=channels)
    placed = {"sigma": 12.0, "ratio": 0.7}
    found = measured(fields, believed(np.zeros((400, 2)), **placed))
    scatter = np.cov(np.stack([found.x, found.y]))
    said = np.diagonal(found.covariance.mean(0)) / np.diagonal(scatter)
    assert (said > 0.95).all()  # a neighbourhood is as rough as its roughest part: rather too much
    assert (said < 1.5).all()
    generator = torch.Generator().manual_seed(1)
    everywhere = light + 0.03 * torch.randn(20, FIELD, FIELD, channels, generator=generator)
    alike = measured(everywhere, believed(np.zeros((20, 2)), **placed)).covariance.mean(0)
    assert np.trace(scatter) < 0.4 * np.trace(alike)


def test_the_decoded_galaxy_is_carried_by_its_pose(knowing):
    """Moments of canonical images of any size give places in window pixels."""
    theta, shift, content = (torch.tensor(value).double() for value in ([0.7], [[0.1, -0.2]], [[0.3, 0.05, 0.02, 0.5]]))
    vae, pose = knowing(theta, shift, content).float(), Pose(theta, shift)
    for size in (48, 64, 80):
        images = decode_canonical(vae, content.float(), size=size)
        placed = place(canonical_moments(images), pose, size=size, window=64)
        wanted = to_image(torch.tensor([[0.05, 0.02]]).double(), pose)[0, 0].numpy() * 31.5
        assert (placed.x[0], placed.y[0]) == pytest.approx(tuple(wanted), abs=1e-3)
        assert placed.sigma[0] == pytest.approx(0.2 * 31.5, rel=1e-3)
        assert placed.orientation[0] == pytest.approx((0.3 - 0.7) % math.pi, abs=1e-4)


def spirals(count, *, angle=0.6, ratio=0.5, scale=6.0, contrast=0.5, pitch=math.radians(20)):
    """Inclined exponential disks with two arms that wind, each with another phase: the axis is the disk's."""
    y, x = np.mgrid[:FIELD, :FIELD] - (FIELD - 1) / 2
    u, v = x * math.cos(angle) + y * math.sin(angle), (y * math.cos(angle) - x * math.sin(angle)) / ratio
    radius, phase = np.hypot(u, v) + 1e-3, np.linspace(0, 2 * np.pi, count, endpoint=False)[:, None, None]
    arms = 1 + contrast * np.cos(2 * np.arctan2(v, u) - 2 * np.log(radius) / math.tan(pitch) - phase)
    light = LEVEL + 0.6 * np.exp(-radius / scale) * arms
    return torch.from_numpy(np.repeat(light[..., None], 3, -1)).float()


def test_what_winding_arms_do_to_the_axis_cancels_in_good_part_and_shows():
    count, true = 12, 0.6
    fields = spirals(count)
    moments = adaptive_moments(luminance(fields[:, 24:-24, 24:-24].numpy()))
    found = measured(fields, believed(np.zeros((count, 2)), sigma=8.0))
    off, rival = (np.abs((axis - true + np.pi / 2) % np.pi - np.pi / 2) for axis in (found.orientation, moments.angle))
    assert off.mean() < 0.6 * rival.mean()
    assert (off < 2 * found.spread[0]).mean() > 0.8
    smooth = measured(spirals(1, contrast=0), believed(np.zeros((1, 2)), sigma=8.0))
    assert smooth.spread[0, 0] < 0.1 * found.spread[0].mean()
    assert smooth.orientation[0] == pytest.approx(true, abs=2e-3)


def test_coordinates_are_decoded_once_for_all():
    """As if each galaxy had its own."""
    vae = SpatialVAE(ModelSettings(latents=3, generator_units=16, waves=4), window=16, channels=3).eval()
    content = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        each = decode_images(vae, Pose(torch.zeros(5), torch.zeros(5, 2)), content, size=20)
        assert torch.allclose(decode_canonical(vae, content, size=20), each, atol=1e-6)
    going_back = decode_canonical(vae, content, size=20)
    assert torch.allclose(going_back, each, atol=1e-6)
