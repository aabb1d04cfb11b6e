"""How much noise there is, of any pixels, and how alike it is."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from galvae.inference.background import sky
from galvae.windows import View

FIELD = 40


@pytest.mark.parametrize("scale", [0.01, 1.0, 300.0])
@pytest.mark.parametrize("radius", [100, 19, 16])
def test_noise_is_told_whatever_its_scale_and_behind_a_mask(scale, radius):
    """Of a field without noise at its border, as where a round mask is laid around a particle, too."""
    noise = scale * torch.randn(20, FIELD, FIELD, 1, generator=torch.Generator().manual_seed(0))
    y, x = torch.meshgrid(*[torch.arange(FIELD) - (FIELD - 1) / 2] * 2, indexing="ij")
    fields = torch.where((x**2 + y**2 < radius**2)[..., None], noise, 0.0)
    found = sky(View.central(fields, FIELD, display=False))
    assert found.noise.mean().item() == pytest.approx(scale, rel=0.15)
    middle = found.grain[:, 0, 10:-10, 10:-10]
    assert middle.median().item() == pytest.approx(scale, rel=0.2)


def test_display_values_of_an_even_border_have_that_of_rounding():
    fields = torch.full((2, FIELD, FIELD, 3), 7, dtype=torch.uint8)
    fields[:, 15:25, 15:25] = 200
    assert 1 <= sky(View.central(fields, FIELD)).noise.max().item() * 255 * 12**0.5 < 1.5


def alike(noise, leak):
    for dim in (1, 2):
        beside, beyond = (noise.roll(by, dim) + noise.roll(-by, dim) for by in (1, 2))
        noise = (noise + leak * beside + leak**4 * beyond) / (1 + 2 * leak**2 + 2 * leak**8) ** 0.5
    return noise


@pytest.mark.parametrize("leak", [0.0, 0.1, 0.25, 0.4, 0.55])
@pytest.mark.parametrize("stars", [False, True])
@pytest.mark.parametrize("shared", [0.0, 0.6, 1.0])
def test_how_alike_noise_is_in_pixels_and_channels_is_told_and_drawn(leak, stars, shared):
    """Whatever the sky's slope, and beside stars; rounded to whole grey levels."""
    generator = torch.Generator().manual_seed(0)
    noise = alike(torch.randn(40, 128, 128, 4, generator=generator), leak)
    noise = shared**0.5 * noise[..., 3:] + (1 - shared) ** 0.5 * noise[..., :3]
    slope = torch.linspace(0, 6, 128)[:, None]
    fields = 30 + slope + 4 * noise * torch.tensor([1.0, 1.5, 0.8])
    if stars:
        fields[:, 2:6, 20:24], fields[:, 60:64, 123:127] = 250, 200
    found = sky(View.central(fields.round().clamp(0, 255).to(torch.uint8), 64))
    told = (2 * leak + 2 * leak**5) / (1 + 2 * leak**2 + 2 * leak**8)
    assert found.alike.mean().item() == pytest.approx(told, abs=0.05)
    assert found.alike.std().item() < 0.05
    assert found.leak.mean().item() == pytest.approx(leak, abs=0.05)
    channels = (found.mixing @ found.mixing.mT).mean(0)
    assert channels.diagonal().tolist() == pytest.approx([1, 1, 1], abs=1e-5)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert channels[one, other].item() == pytest.approx(shared, abs=0.05)
    grey = (noise * torch.tensor([1.0, 1.5, 0.8])).mean(3).std() / noise[..., 0].std()
    assert (found.grey_noise / found.noise[:, 0]).mean().item() == pytest.approx(grey.item(), rel=0.05)
    whole = found._replace(left=torch.ones_like(found.left))
    drawn = torch.cat([whole.drawn(torch.randn(40, 3, 128, 128, generator=generator)) for _ in range(4)])
    assert (drawn / found.noise.repeat(4, 1)[:, :, None, None]).std().item() == pytest.approx(1, abs=0.01)
    drawn = drawn.mean(1, keepdim=True) / found.grey_noise.repeat(4)[:, None, None, None]
    assert drawn.std().item() == pytest.approx(1, abs=0.01)
    for dim in (2, 3):
        assert (drawn * drawn.roll(1, dim)).mean().item() == pytest.approx(found.alike.mean().item(), abs=0.02)
    # Of the means of many pixels.
    means = torch.nn.functional.avg_pool2d(drawn, 32)
    assert means.var().item() * 32**2 == pytest.approx(found.power.mean().item(), rel=0.1)


@pytest.mark.parametrize("sigma", [0.5, 0.7, 0.85])
@pytest.mark.parametrize("steep", [0.0, 0.1])
def test_the_power_of_noise_that_was_smoothed_is_told(sigma, steep):
    """By another's filter; a slope, in standard deviations a pixel, is no noise."""
    noise = np.random.default_rng(0).normal(size=(60, 128, 128))
    noise = gaussian_filter(noise, sigma, axes=(1, 2), mode="wrap")
    noise /= noise.std()
    means = noise.reshape(60, 4, 32, 4, 32).mean((2, 4))
    fields = 0.3 + 0.01 * (noise + steep * np.arange(128))
    found = sky(View.central(torch.from_numpy(fields[..., None]).float(), 64))
    assert found.power.mean().item() == pytest.approx(32**2 * means.var(), rel=0.15)


def test_noise_that_is_not_there_is_not_alike():
    fields = torch.zeros(2, FIELD, FIELD, 3)
    fields[:, 15:25, 15:25] = 0.5
    assert (sky(View.central(fields, FIELD)).alike == 0).all()
    assert (sky(View.central(fields, FIELD)).mixing == torch.eye(3)).all()
