"""A line of light that crosses a field is found however it lies and in whatever channel; a galaxy is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from galvae.trails import crossed
from galvae.windows import View

SIDE = 96


def coordinates(side=SIDE):
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return x, y


def ellipse(size, ratio=1.0, angle=0.0, peak=150.0, x0=0.0, y0=0.0):
    x, y = coordinates()
    x, y = x - x0, y - y0
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return peak * np.exp(-np.hypot(u, v / ratio) / size)


def line(angle, offset=0.0, peak=20.0, width=1.5):
    x, y = coordinates()
    return peak * np.exp(-0.5 * ((x * np.sin(angle) - y * np.cos(angle) - offset) / width) ** 2)


def field(*lights, channels=(1, 1, 1), noise=4.0, sky=12.0, seed=0):
    """Display values of light of which the last is in some of the channels only."""
    random = np.random.default_rng(seed)
    *others, last = lights
    light = sum(others, np.zeros((SIDE, SIDE)))[..., None] + last[..., None] * np.array(channels)
    return np.clip(np.rint(light + sky + random.normal(0, noise, (SIDE, SIDE, 3))), 0, 255).astype(np.uint8)


def found(*fields):
    pixels = torch.from_numpy(np.stack(fields))
    return crossed(View.central(pixels, 64, display=pixels.dtype == torch.uint8)).tolist()


@given(
    angle=st.floats(0, np.pi), offset=st.floats(-20, 20), channel=st.integers(0, 3), seed=st.integers(0, 9),
    size=st.floats(2, 8), ratio=st.floats(0.2, 1),
)  # fmt: skip
def test_a_line_is_found_however_it_lies_in_whatever_channel(angle, offset, channel, seed, size, ratio):
    """Through a galaxy that is no brighter, or past it."""
    channels = [1, 1, 1] if channel == 3 else np.eye(3)[channel]
    galaxy, trail = ellipse(size, ratio, peak=60), line(angle, offset, peak=60)
    assert found(field(galaxy, trail, channels=channels, seed=seed)) == [True]
    assert found(field(line(angle, offset), channels=channels, seed=seed)) == [True]


@given(
    angle=st.sampled_from([0, np.pi / 2]) | st.floats(0, np.pi), size=st.floats(2, 12), ratio=st.floats(0.1, 1),
    x=st.floats(-40, 40), y=st.floats(-40, 40), noise=st.floats(0, 8), seed=st.integers(0, 9), peak=st.floats(10, 250),
)  # fmt: skip
def test_a_galaxy_is_no_line(angle, size, ratio, x, y, noise, seed, peak):
    """However thin and bright: it fades before it leaves its field. Nor is noise, nor nothing."""
    assert found(field(ellipse(size, ratio, angle, peak, x, y), noise=noise, seed=seed)) == [False]
    assert found(ellipse(size, ratio, angle, peak, x, y).astype(np.float32)[..., None]) == [False]


def test_an_edge_a_slope_a_halo_and_half_a_line_are_none():
    x, y = coordinates()
    edge, slope = np.where(x > 5, 60.0, 0), 0.5 * (x + 48)
    halo = 4000 / (1 + np.hypot(x - 60, y) ** 2 / 20)
    half = np.where(x > 0, line(0.3), 0)
    nothing = [np.full((SIDE, SIDE, 3), value, np.uint8) for value in (0, 255)]
    assert not any(found(field(edge), field(slope), field(halo), field(half), *nothing))


@pytest.mark.parametrize("peak", [0.0, 12.0])
def test_it_is_the_same_when_turned_and_whoever_is_beside_it(peak):
    fields = [field(ellipse(4, 0.5), line(0.4 + seed, peak=peak), seed=seed) for seed in range(6)]
    turned = [np.rot90(each, turns).copy() for turns, each in enumerate(fields)]
    assert found(*fields) == found(*turned) == [answer for each in fields for answer in found(each)] == [peak > 0] * 6


def test_noise_is_none_where_what_lies_around_it_has_been_filled():
    """As of a picture that was turned: its border says nothing of noise."""
    corners = np.abs(coordinates()).sum(0) > 60
    filled = [field(np.zeros((SIDE, SIDE)), noise=8, sky=20, seed=seed) for seed in range(60)]
    for each in filled:
        each[corners] = 20
    assert not any(found(*filled))


@pytest.mark.parametrize("unit", [1e-9, 1e6])
@pytest.mark.parametrize("peak", [0.0, 20.0])
def test_flux_has_no_unit(unit, peak):
    flux = (line(0.7, peak=peak) + np.random.default_rng(0).normal(0, 4, (SIDE, SIDE))).astype(np.float32)[..., None]
    assert found(unit * flux) == [peak > 0]


@pytest.mark.parametrize("side", [8, 28, 63, 64, 65, 200])
def test_of_whatever_size_a_field_is(side):
    """A line as wide as a pixel of 64 x 64, or of the field where that has fewer."""
    x, y = coordinates(side)
    light = 200 * np.exp(-0.5 * ((x - 0.2 * y) / (0.6 * max(1, side / 64))) ** 2)
    noise = np.random.default_rng(0).normal(12, 4, (side, side))
    crossing = [np.clip(np.rint(peak * light + noise), 0, 255).astype(np.uint8)[..., None] for peak in (0, 1)]
    assert found(*crossing) == [False, side > 8]


@pytest.mark.parametrize("side", [16, 63, 64])
def test_one_row_or_column_is_enough_wherever_it_is_but_at_the_border(side):
    """As a column that bleeds."""
    beside = 4  # what it is compared with
    for place in range(side):
        column = np.full((side, side, 1), 10, np.uint8)
        column[:, place] = 255
        assert found(column, column.swapaxes(0, 1).copy()) == [beside <= place < side - beside] * 2, place
