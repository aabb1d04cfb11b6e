"""Angles and what lies between them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galvae.angles import difference, wrap

degrees = st.floats(-1000, 1000)


@given(degrees, degrees, st.sampled_from([180.0, 360.0, 2 * np.pi]))
def test_a_difference_leads_from_one_to_the_other_the_short_way(a, b, period):
    off = difference(a, b, period)
    assert -period / 2 <= off < period / 2
    there, wanted = np.exp(2j * np.pi * (b + off) / period), np.exp(2j * np.pi * a / period)
    assert abs(there - wanted) < 1e-6


@pytest.mark.parametrize(("a", "b", "off"), [(10, 350, 20), (350, 10, -20), (90, 270, -180), (5, 5, 0)])
def test_differences_of_directions(a, b, off):
    assert difference(a, b, 360) == off


@pytest.mark.parametrize("period", [180.0, 360.0, 2 * np.pi])
def test_hardly_beyond_half_a_turn_is_the_other_way(period):
    assert difference(np.nextafter(-period / 2, -np.inf), 0.0, period) < period / 2


def test_a_tiny_negative_angle_is_none():
    assert wrap(-1e-20, 360.0) == 0
