"""Products of panels against numpy, in whole numbers, and the plain function that replaces them if not compiled."""

import numpy as np
import pytest

from spfast.kernels import panels


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sign", [1, -1])
def test_panel_products_cover_the_upper_triangle_once(dtype, sign):
    rng = np.random.default_rng(0)
    for n, old, depth in (
        (1, 0, 1),
        (panels.WIDTH, 0, 3),
        (panels.WIDTH + 1, 0, 7),
        (210, 0, 300),
        (210, 130, 40),
        (500, 499, 5),
    ):
        n_panels = -(-n // panels.WIDTH)
        block = np.zeros((n_panels, depth + 2, panels.WIDTH), dtype=dtype)
        matrix = rng.integers(-8, 9, (depth, n)).astype(dtype)  # small whole numbers: sums are exact in any order
        for j in range(n):
            block[j // panels.WIDTH, :depth, j % panels.WIDTH] = matrix[:, j]
        out = np.ones((n_panels * panels.WIDTH,) * 2, dtype=dtype)
        tiles = panels.panel_tiles(old, n)
        panels.add_panel_products(0, len(tiles), block, depth, tiles, dtype(sign), out)
        expected = 1 + sign * (matrix.T @ matrix)
        upper = np.triu_indices(n)
        new = upper[1] >= old
        np.testing.assert_array_equal(out[upper][new], expected[upper][new])


def test_panel_products_without_compilation_are_the_same():
    rng = np.random.default_rng(3)
    left, right = rng.normal(size=(9, 4)), rng.normal(size=(9, 24))
    expected = np.ones((4, 24)) - left.T @ right
    out = np.ones((4, 24))
    panels._add_product(left, right, -1.0, out)
    np.testing.assert_allclose(out, expected, rtol=1e-12)
