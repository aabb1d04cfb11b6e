"""What is measured of a run is what it is called."""

import math

import numpy as np
import pytest
from astropy.stats import circcorrcoef
from hypothesis import given
from hypothesis import strategies as st

from galvae.paper.measure import entropy_of, mean_of, pearson, uniform_correlation


def jammalamadaka_sengupta(a, b):
    """Their definition, by complex numbers (Topics in Circular Statistics, 2001, eq. 8.2.2)."""
    a, b = (np.angle(np.exp(1j * (x - np.angle(np.exp(1j * x).mean())))) for x in (a, b))
    return (np.sin(a) * np.sin(b)).sum() / np.sqrt((np.sin(a) ** 2).sum() * (np.sin(b) ** 2).sum())


@given(st.floats(-3, 3), st.floats(0.01, 2.0), st.sampled_from([1, -1]), st.integers(0, 99))
def test_the_circular_correlation_is_that_of_the_paper(offset, noise, sign, seed):
    """And does not mind where zero is, nor full turns; a mirrored angle has the other sign."""
    rng = np.random.default_rng(seed)
    a = rng.uniform(0, 2 * math.pi, 200)
    b = sign * a + offset + noise * rng.normal(size=200)
    assert circcorrcoef(a, b) == pytest.approx(jammalamadaka_sengupta(a, b), abs=1e-9)
    turns = 2 * math.pi * rng.integers(-3, 4, 200)
    assert circcorrcoef(a, b + turns) == pytest.approx(circcorrcoef(a, b), abs=1e-9)
    exact = circcorrcoef(a, sign * a + offset)
    assert exact == pytest.approx(sign, abs=1e-9)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("offset", [0.0, 1.0, 3.0])
def test_of_uniform_angles_the_correlation_is_what_their_scatter_leaves(sign, offset):
    """And where a few are turned by half, which moves the mean directions of samples, no more than those take."""
    rng = np.random.default_rng(0)
    a = rng.uniform(0, 2 * math.pi, 4000)
    b = sign * a + offset + 0.3 * rng.normal(size=4000)
    assert uniform_correlation(a, b) == pytest.approx(sign * math.exp(-(0.3**2) / 2), abs=0.02)
    b[:80] += math.pi
    assert uniform_correlation(a, b) == pytest.approx(sign * 0.96 * math.exp(-(0.3**2) / 2), abs=0.02)
    half = b + math.pi * rng.integers(0, 2, 4000)
    assert abs(uniform_correlation(a, half)) < 0.04
    assert uniform_correlation(2 * a, 2 * half) == pytest.approx(sign * math.exp(-(0.6**2) / 2), abs=0.03)
    assert abs(uniform_correlation(a, rng.uniform(0, 6, 4000))) < 0.04


@given(st.floats(-5, 5), st.floats(0.1, 5), st.integers(0, 99))
def test_pearson_is_blind_to_scale_sign_and_offset(offset, scale, seed):
    a = np.random.default_rng(seed).normal(size=50)
    assert pearson(a, offset - scale * a) == pytest.approx(1)
    assert pearson(a, np.full(50, offset)) == 0


def test_a_mean_has_its_standard_error():
    found = mean_of(np.array([1.0, 2.0, 3.0, 4.0]))
    assert found == (2.5, pytest.approx(math.sqrt(5 / 3) / 2))


def test_entropy_is_none_where_a_pixel_is_black_or_white():
    assert entropy_of(np.array([0, 255], np.uint8) / np.float32(255)).tolist() == [0, 0]
    assert entropy_of(np.float32([0.5])) == pytest.approx(math.log(2))
