"""Covariances of a point: laws of what is measured from draws, and of linear maps."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from galvae.covariance import carried, robust_covariance, widths

numbers = st.floats(-10, 10, allow_subnormal=False)
matrices = arrays(float, (3, 2, 2), elements=numbers)


def spread(values):
    return np.std(values, axis=0)


@given(matrices, st.floats(-1, 1))
def test_widths_of_what_is_carried_are_widths_along_its_rows(linear, correlation):
    covariance = np.array([[4.0, 2 * correlation], [2 * correlation, 1.0]])
    wanted = np.sqrt(np.maximum(np.einsum("bij,jk,bik->bi", linear, covariance, linear), 0))
    np.testing.assert_allclose(widths(carried(covariance, linear)), wanted, atol=1e-6)


@pytest.mark.parametrize("covariance", [[[1, 0], [0, 9]], [[4, -1.8], [-1.8, 1]], [[1, 1], [1, 1]]])
def test_by_standard_deviations_it_is_the_covariance(covariance):
    x, y = np.random.default_rng(0).multivariate_normal([3, -5], covariance, (100, 7), check_valid="ignore").T
    found = robust_covariance(x.T, y.T, spread)
    for number in range(7):
        np.testing.assert_allclose(found[number], np.cov(x[number], y[number], ddof=0), rtol=1e-9, atol=1e-9)


@given(arrays(float, (2, 9, 4), elements=numbers))
@example(np.arange(72.0).reshape(2, 9, 4) * np.array([1e-307, 1]).reshape(2, 1, 1))
@example(np.arange(72.0).reshape(2, 9, 4) * 1e-307)
def test_the_correlation_never_exceeds_one(draws):
    quartiles = robust_covariance(*draws, lambda values: np.subtract(*np.percentile(values, [75, 25], axis=0)))
    assert (quartiles[:, 0, 1] ** 2 <= quartiles[:, 0, 0] * quartiles[:, 1, 1] * (1 + 1e-9) + 1e-300).all()
    assert np.isfinite(quartiles).all()


def test_draws_that_do_not_vary_have_none_and_absent_ones_are_nan():
    x = np.random.default_rng(0).normal(size=(9, 2))
    y = np.zeros((9, 2))
    y[:, 1] = np.nan
    found = robust_covariance(x, y, spread)
    assert found[0].ravel() == pytest.approx([x[:, 0].var(), 0, 0, 0])
    assert np.isnan(found[1, 1, 1])
    assert np.isnan(found[1, 0, 1])
