"""Propagation of feature errors on a handful of numbers, pieces and neighbouring pixels included."""

import numpy as np
import pytest

from spfast.kernels.uncertainty import ROWS_A_PIECE, noise_variance_rows


@pytest.mark.parametrize("n_rows", [1, 255, 256, 257, 600])
def test_variance(n_rows):
    rng = np.random.default_rng(0)
    errors = rng.uniform(0.01, 1, (n_rows + 3, 6)).astype(np.float32)
    rows, columns = rng.permutation(n_rows + 3)[:n_rows], np.array([0, 2, 5])
    weights = np.array([4.0, 0.25, 1.0])
    pairs, pair_weights = np.array([[0, 1], [1, 2]]), np.array([0.5, -0.125])
    e = errors[rows][:, columns].astype(float)
    plain = e**2 @ weights
    expected = plain + 0.5 * e[:, 0] * e[:, 1] - 0.125 * e[:, 1] * e[:, 2]
    out = np.full(n_rows, np.nan)
    arguments = (errors, rows, columns, weights)
    noise_variance_rows(0, 1, *arguments, pairs, pair_weights, out)
    np.testing.assert_allclose(out[:ROWS_A_PIECE], expected[:ROWS_A_PIECE], rtol=1e-13)
    assert np.isnan(out[ROWS_A_PIECE:]).all()
    noise_variance_rows(1, -(-n_rows // ROWS_A_PIECE), *arguments, pairs, pair_weights, out)
    np.testing.assert_allclose(out, expected, rtol=1e-13)
    noise_variance_rows(0, 3, *arguments, pairs[:0], pair_weights[:0], out)
    np.testing.assert_allclose(out, plain, rtol=1e-13)


def test_pieces_of_256_rows():
    assert ROWS_A_PIECE == 256
