"""Products and factors in blocks: the numbers of the library's own calls, and no call that a signal waits for."""

import threading

import numpy as np
import pytest
from scipy.linalg import cho_factor, cho_solve

from spfast.kernels.stop import Stopped, obey
from spfast.model import in_blocks

RNG = np.random.default_rng(0)


def positive(n):
    part = RNG.normal(size=(2 * n + 5, n))
    return part.T @ part


@pytest.fixture(params=[False, True], ids=["one block", "many blocks"])
def _blocks(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(in_blocks, "_MOST", 7 * 40)
        monkeypatch.setattr(in_blocks, "_STEP", 6)


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("n", [0, 1, 5, 6, 7, 40])
def test_blocks_give_what_the_whole_gives(n):
    left, right, matrix = RNG.normal(size=(n, 40)), RNG.normal(size=(40, 2 * n)), positive(n)
    np.testing.assert_allclose(in_blocks.product(left, right), left @ right, rtol=1e-12, atol=1e-12)
    gram = matrix.copy()
    part = left.T.copy()
    in_blocks.add_gram(gram, part)
    np.testing.assert_allclose(gram, matrix + part.T @ part, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(gram, gram.T)
    if n:
        factor = in_blocks.cholesky(matrix)
        np.testing.assert_allclose(factor, np.linalg.cholesky(matrix), rtol=1e-10, atol=1e-10)
        assert not np.triu(factor, 1).any()
        np.testing.assert_allclose(in_blocks.inverse(matrix), np.linalg.inv(matrix), rtol=1e-8, atol=1e-12)


def test_small_matrices_have_the_bits_of_one_call():
    matrix = positive(200)
    np.testing.assert_array_equal(in_blocks.product(matrix, matrix), matrix @ matrix)
    np.testing.assert_array_equal(in_blocks.cholesky(matrix), np.linalg.cholesky(matrix))
    np.testing.assert_array_equal(in_blocks.inverse(matrix), cho_solve(cho_factor(matrix), np.eye(200)))


@pytest.mark.usefixtures("_blocks")
def test_matrix_that_is_not_positive_definite_is_an_error():
    matrix = np.diag([1.0] * 19 + [-1.0])
    for function in (in_blocks.cholesky, in_blocks.inverse):
        with pytest.raises(np.linalg.LinAlgError):
            function(matrix)
    with pytest.raises(ValueError, match="infs or NaNs"):
        in_blocks.inverse(np.diag([1.0] * 19 + [np.nan]))


@pytest.mark.parametrize(
    "work",
    [
        lambda matrix: in_blocks.product(matrix, matrix),
        lambda matrix: in_blocks.add_gram(matrix.copy(), matrix),
        in_blocks.cholesky,
        in_blocks.inverse,
    ],
    ids=["product", "gram", "factor", "inverse"],
)
def test_flag_is_looked_at_between_blocks(work, monkeypatch):
    monkeypatch.setattr(in_blocks, "_MOST", 1000)
    monkeypatch.setattr(in_blocks, "_STEP", 5)
    looks, flag = [], threading.Event()

    def look():
        looks.append(1)
        if len(looks) == 3:
            flag.set()
        if flag.is_set():
            raise Stopped

    monkeypatch.setattr(in_blocks, "raise_if_stopped", look)
    try:
        obey(flag)
        with pytest.raises(Stopped):
            work(positive(30))
    finally:
        obey(None)
    assert len(looks) == 3


def test_no_call_has_more_than_a_tenth_of_a_seconds_work():
    """For 14,000 stars and 4,000 columns, as for all 7,414."""
    for n in (4000, 7414):
        for inner in (1024, n):
            side = max(tile.stop - tile.start for tile in in_blocks._tiles(n, inner))
            assert side * side * inner <= in_blocks._MOST
            assert side > 350  # else packing takes longer than multiplying
