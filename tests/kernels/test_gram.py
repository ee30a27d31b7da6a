"""The Gram matrix's kernels: sizes of a block, its rows, and the columns of the Schur complement, each on its own.

The whole Gram matrix, as the solver keeps it: `tests/solvers/test_working_gram.py`.
"""

import numpy as np
import pytest

from spfast.kernels import gram
from spfast.kernels.panels import WIDTH


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_block_has_half_a_million_numbers_and_256_to_2048_rows(dtype):
    # Half a million numbers at most, between 256 and 2048 rows, and never more rows than there are.
    for n_columns, n_rows, depth in (
        (1, 10, 10),
        (WIDTH, 9000, 2048),
        (WIDTH + 1, 9000, 2048),
        (480, 9000, 1092),
        (7400, 9000, 256),
        (7400, 255, 255),
        (30, 0, 1),
    ):
        block = gram.new_block(n_columns, n_rows, dtype)
        assert (block.shape, block.dtype) == ((-(-n_columns // WIDTH), depth, WIDTH), dtype)
        assert not block.any()


@pytest.mark.parametrize("n_directions", [0, 1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("n_columns", [1, 20, 24, 30])
def test_gathered_rows_lack_what_the_unpenalised_columns_explain(n_directions, n_columns):
    rng = np.random.default_rng(n_directions)
    design = rng.normal(size=(9, 50))
    rows, weights = np.array([8, 2, 5, 0]), np.array([4.0, 0.25, 1.0, 9.0])
    unpenalized, columns = np.array([3, 0]), 5 + rng.permutation(40)[:n_columns]
    whiten = rng.normal(size=(2, n_directions))
    explained = rng.normal(size=(n_directions, n_columns))
    n = n_directions + n_columns
    block = np.full((-(-n // WIDTH), 5, WIDTH), 7.0)
    gram.gather_rows(1, 3, design, rows, weights, unpenalized, whiten, columns, explained, block)
    assert (block[:, [0, 3, 4]] == 7.0).all()
    gram.gather_rows(0, 1, design, rows, weights, unpenalized, whiten, columns, explained, block)
    gram.gather_rows(3, 4, design, rows, weights, unpenalized, whiten, columns, explained, block)
    directions = design[rows][:, unpenalized] @ whiten
    part = design[rows][:, columns] - directions @ explained
    expected = np.sqrt(weights)[:, None] * np.column_stack([directions, part])
    found = block[:, :4].transpose(1, 0, 2).reshape(4, -1)
    np.testing.assert_allclose(found[:, :n], expected, rtol=1e-11, atol=1e-12)
    assert (found[:, n:] == 7.0).all()
    assert (block[:, 4] == 7.0).all()


@pytest.mark.parametrize("n_directions", [0, 1, 3])
@pytest.mark.parametrize(("old", "n"), [(0, 1), (0, 5), (0, 64), (0, 65), (3, 70), (31, 33), (40, 140), (64, 128)])
def test_columns_of_the_schur_complement_64_a_piece(n_directions, old, n):
    rng = np.random.default_rng(n)
    raw = rng.normal(size=(n_directions + n + 2,) * 2)
    remainder = rng.normal(size=(n_directions, n))
    upper = np.triu(raw[n_directions : n_directions + n, n_directions : n_directions + n])
    upper -= np.triu(remainder.T @ remainder)
    expected = upper + np.triu(upper, 1).T
    store = np.full((n + 1, n + 1), 7.0)
    pieces = -(-(n - old) // gram.COMPLEMENT_COLUMNS)
    for piece in reversed(range(pieces)):
        gram.complement_columns(piece, piece + 1, raw, n_directions, remainder, old, n, store)
        if piece:
            assert (store[:, : old + 64 * piece][: old + 64 * piece] == 7.0).all()
            assert (store[: old + 64 * piece, old + 64 * piece] != 7.0).all()
    new = np.zeros((n + 1, n + 1), bool)
    new[:n, :n] = True
    new[:old, :old] = False
    np.testing.assert_allclose(store[new], expected[new[:n, :n]], rtol=1e-12, atol=1e-12)
    assert (store[~new] == 7.0).all()
    whole = np.full((n + 1, n + 1), 7.0)
    gram.complement_columns(0, pieces, raw, n_directions, remainder, old, n, whole)
    np.testing.assert_array_equal(whole, store)
