"""Covariances of a point through linear maps."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from galvae.covariance import carried, widths

numbers = st.floats(-10, 10, allow_subnormal=False)
matrices = arrays(float, (3, 2, 2), elements=numbers)


@given(matrices, st.floats(-1, 1))
def test_widths_of_what_is_carried_are_widths_along_its_rows(linear, correlation):
    covariance = np.array([[4.0, 2 * correlation], [2 * correlation, 1.0]])
    wanted = np.sqrt(np.maximum(np.einsum("bij,jk,bik->bi", linear, covariance, linear), 0))
    np.testing.assert_allclose(widths(carried(covariance, linear)), wanted, atol=1e-6)
