"""Power is found where it is: at a wave's frequency, at a ring's order."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galvae.spectra import CYCLES, ORDERS, azimuthal_power, radial_power


@pytest.mark.parametrize("number", range(len(CYCLES)))
@pytest.mark.parametrize("angle", [0.0, 0.6, math.pi / 2])
def test_power_is_found_at_the_wave_s_own_frequency(number, angle):
    n = 64
    y, x = np.mgrid[:n, :n] / n
    wave = np.sin(2 * math.pi * CYCLES[number] * (x * math.cos(angle) + y * math.sin(angle)))
    power = radial_power(np.stack([wave, 2 * wave], -1)[None])[0]
    assert power[0].argmax() == number
    assert power[0, number] > 50 * np.delete(power[0], number).max()
    assert power[1] == pytest.approx(4 * power[0])


def test_blurring_lowers_the_power_of_what_is_small():
    noise = np.random.default_rng(0).normal(size=(20, 64, 64, 1))
    blurred = sum(np.roll(noise, shift, axis=(1, 2)) for shift in [(0, 0), (0, 1), (1, 0), (1, 1)]) / 4
    ratio = radial_power(blurred).mean(0)[0] / radial_power(noise).mean(0)[0]
    assert ratio[0] > 0.9 > ratio[1] > ratio[2]


@given(order=st.integers(0, 8), phase=st.floats(0, 2 * math.pi), amplitude=st.floats(0.1, 3), turn=st.integers(0, 63))
def test_a_wave_around_is_found_at_its_order_however_it_is_turned(order, phase, amplitude, turn):
    """And has the power of its mean square, on rings of any amplitude."""
    radii = np.linspace(0.1, 1.5, 15)
    around = np.cos(order * np.arange(64) * 2 * math.pi / 64 + phase)
    rings = amplitude * np.exp(-radii)[:, None] * around
    power = azimuthal_power(np.roll(rings, turn, 1)[None], radii)[0]
    of = [first <= order <= last for first, last in ORDERS.values()].index(True)
    square = np.average((rings**2).mean(1), weights=radii)
    assert power[of] == pytest.approx(square, rel=1e-9, abs=1e-20)
    assert np.delete(power, of).max() < 1e-20 * amplitude**2
