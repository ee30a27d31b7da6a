"""Every numerical kernel against its slow reference."""

import numpy as np
import pytest
import reference
from problems import small_problem

from spfast.kernels import cholesky, exp_linear, panels, uncertainty
from spfast.kernels.coordinate_descent import descend, exact_step, multiply
from spfast.kernels.l1 import align, kkt_violations, l1_norm, orthant_step, pseudo_gradient, soft_threshold
from spfast.kernels.lbfgs import two_loop
from spfast.kernels.team import Team
from spfast.model.objective import Objective
from spfast.model.predict import Neighbours
from spfast.solvers.gram import WorkingGram


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_stars", [1, 7, 8, 9, 300, 601])
def test_value_gradient_matches_reference(n_stars, dtype):
    problem = small_problem(n_stars, 30, dtype=dtype)
    objective = problem.objective(1.0)
    eta, gradient = np.empty(n_stars), np.empty(39)
    value = objective.smooth(problem.truth, eta, gradient)
    ivar = problem.error**-2.0
    tolerance = 1e-6 if dtype == np.float32 else 1e-13
    np.testing.assert_allclose(eta, reference.linear_predictor(problem.design, problem.truth), atol=10 * tolerance)
    expected = reference.half_chi_squared(problem.design, problem.truth, problem.parallax, ivar)
    np.testing.assert_allclose(value, expected, rtol=100 * tolerance)
    expected = reference.gradient(problem.design, problem.truth, problem.parallax, ivar)
    np.testing.assert_allclose(gradient, expected, atol=30 * tolerance * np.abs(expected).max())
    assert objective.n_passes == 1


def test_gradient_is_the_derivative_of_the_value():
    problem = small_problem(500, 60, dtype=np.float64)
    objective = problem.objective(1.0)
    rng = np.random.default_rng(3)
    eta, gradient, scratch = np.empty(500), np.empty(69), np.empty(69)
    coef = problem.truth + 0.01 * rng.normal(size=69)
    objective.smooth(coef, eta, gradient)
    for _ in range(5):
        direction = rng.normal(size=69) * np.where(problem.penalized, 1.0, 0.01)
        h = 1e-5
        difference = (
            objective.smooth(coef + h * direction, eta, scratch) - objective.smooth(coef - h * direction, eta, scratch)
        ) / (2 * h)
        np.testing.assert_allclose(gradient @ direction, difference, rtol=1e-6)


def test_full_width_gradient_in_float32():
    rng = np.random.default_rng(0)
    design = (0.1 * rng.normal(size=(400, 7414))).astype(np.float32)
    design[:, 0] = 1.0
    coef = np.where(rng.random(7414) < 0.2, 0.02 * rng.normal(size=7414), 0.0)
    parallax, ivar = rng.normal(1.0, 0.3, size=400), np.full(400, 100.0)
    objective = Objective(design, np.arange(400), parallax, ivar, np.r_[0.0, np.ones(7413)], Team(2))
    eta, gradient = np.empty(400), np.empty(7414)
    value = objective.smooth(coef, eta, gradient)
    np.testing.assert_allclose(value, reference.half_chi_squared(design, coef, parallax, ivar), rtol=1e-6)
    expected = reference.gradient(design, coef, parallax, ivar)
    np.testing.assert_allclose(gradient, expected, atol=2e-6 * np.abs(expected).max())


def test_only_chosen_rows_take_part():
    problem = small_problem(200, 20)
    rows = np.array([3, 5, 8, 13, 21, 34, 55, 89, 144], dtype=np.int64)
    ivar = problem.error**-2.0
    subset = Objective(problem.design, rows, problem.parallax[rows], ivar[rows], np.ones(29), Team(1))
    eta, gradient = np.empty(rows.size), np.empty(29)
    value = subset.smooth(problem.truth, eta, gradient)
    expected = reference.half_chi_squared(problem.design[rows], problem.truth, problem.parallax[rows], ivar[rows])
    np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_zero_weight_switches_a_star_off_whatever_it_holds():
    problem = small_problem(64, 10)
    ivar = problem.error**-2.0
    ivar[10] = 0.0
    problem.parallax[10] = np.nan
    objective = Objective(problem.design, np.arange(64), problem.parallax, ivar, np.ones(19), Team(1))
    gradient = np.empty(19)
    value = objective.smooth(problem.truth, np.empty(64), gradient)
    keep = np.arange(64) != 10
    expected = reference.half_chi_squared(problem.design[keep], problem.truth, problem.parallax[keep], ivar[keep])
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    assert np.isfinite(gradient).all()


def test_overflow_is_infinite_and_never_nan():
    problem = small_problem(32, 10)
    objective = problem.objective(1.0)
    coef = problem.truth.copy()
    coef[0] = 1000.0
    gradient = np.empty(19)
    assert objective.smooth(coef, np.empty(32), gradient) == np.inf
    assert not np.isnan(gradient).any()
    assert objective.chi_squared_half(np.full(32, 1000.0)) == np.inf


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_same_bits_for_any_number_of_threads_and_any_kind_of_array(tmp_path, threads):
    problem = small_problem(999, 50)
    np.save(tmp_path / "x.npy", problem.design)
    one, many = problem.objective(1.0), problem.objective(1.0, threads)
    many.design = np.load(tmp_path / "x.npy", mmap_mode="r").view(np.ndarray)
    out = [(np.empty(999), np.empty(59)) for _ in range(2)]
    values = [o.smooth(problem.truth, *pair) for o, pair in zip((one, many), out, strict=True)]
    assert values[0] == values[1]
    assert out[0][0].tobytes() == out[1][0].tobytes()
    assert out[0][1].tobytes() == out[1][1].tobytes()
    grams = []
    for objective in (one, many):
        working = WorkingGram(objective, objective.wide)
        working.reset(objective.curvature(out[0][0]), np.arange(9, 40))
        working.append(np.arange(40, 59))
        grams.append(np.array(working.matrix))
    assert grams[0].tobytes() == grams[1].tobytes()


def test_segment_bounds_cover_all_rows_in_blocks_of_eight():
    for n in (0, 1, 8, 255, 256, 14113):
        bounds = exp_linear.segment_bounds(n, 32)
        assert bounds[0] == 0
        assert bounds[-1] == n
        assert (np.diff(bounds) >= 0).all()
        assert (bounds[:-1] % 8 == 0).all() or n < 8


@pytest.mark.parametrize("sizes", [(40, 0), (40, 33), (1, 70), (255, 2)])
def test_working_gram_is_the_schur_complement(sizes):
    problem = small_problem(700, 300)
    objective = problem.objective(1.0, 2)
    eta = np.empty(700)
    objective.smooth(problem.truth, eta, np.empty(309))
    weights = objective.curvature(eta)
    columns = np.random.default_rng(0).permutation(np.arange(9, 309))
    first, second = columns[: sizes[0]], columns[sizes[0] : sum(sizes)]
    working = WorkingGram(objective, objective.wide)
    working.reset(weights, first)
    working.append(second)
    expected = reference.schur_gram(problem.design, columns[: sum(sizes)], np.arange(9), weights)
    np.testing.assert_allclose(working.matrix, expected, atol=3e-6 * np.diag(expected).max())
    assert (working.matrix == working.matrix.T).all()
    keep = np.arange(sum(sizes)) % 3 != 0
    working.keep(keep)
    np.testing.assert_allclose(working.matrix, expected[np.ix_(keep, keep)], atol=3e-6 * np.diag(expected).max())
    assert (working.columns == columns[: sum(sizes)][keep]).all()


def test_reduced_newton_step_is_the_full_one():
    problem = small_problem(500, 25, dtype=np.float64)
    objective = problem.objective(1.0)
    eta, gradient = np.empty(500), np.empty(34)
    objective.smooth(problem.truth, eta, gradient)
    weights = objective.curvature(eta)
    working = WorkingGram(objective, objective.wide)
    working.reset(weights, np.arange(9, 34))
    step = np.linalg.solve(working.matrix, -working.reduced_gradient(gradient))
    full = np.linalg.solve((problem.design * weights[:, None]).T @ problem.design, -gradient)
    np.testing.assert_allclose(step, full[9:], rtol=1e-6)
    np.testing.assert_allclose(working.unpenalized_step(gradient, step), full[:9], rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sign", [1, -1])
def test_panel_products_cover_the_upper_triangle_once(dtype, sign):
    rng = np.random.default_rng(0)
    for n, old, depth in ((1, 0, 1), (24, 0, 3), (25, 0, 7), (210, 0, 300), (210, 130, 40), (500, 499, 5)):
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


@pytest.mark.parametrize("n", [1, 5, 64, 65, 200])
def test_cholesky_solves(n):
    from spfast.solvers.quadratic import factor_support, new_scratch

    rng = np.random.default_rng(n)
    root = rng.normal(size=(n, 2 * n + 3))
    matrix = root @ root.T
    store = np.zeros((n + 3, n + 3))
    store[:n, :n] = matrix
    scratch = new_scratch()
    factor = factor_support(store, np.arange(n), scratch, Team(2))
    vector = rng.normal(size=n)
    solved = vector.copy()
    cholesky.solve_factored(factor, n, solved)
    np.testing.assert_allclose(matrix @ solved, vector, atol=1e-4 * np.abs(vector).max())
    store[0, 0] = -1.0
    assert factor_support(store, np.arange(n), scratch, Team(1)) is None


def test_coordinate_descent_reaches_the_optimality_conditions():
    rng = np.random.default_rng(5)
    root = rng.normal(size=(30, 50))
    matrix, q = root @ root.T, 20 * rng.normal(size=30)
    penalties = np.full(30, 5.0)
    penalties[:3] = 0.0
    coef, gradient = np.zeros(30), q.copy()
    sweeps = descend(matrix, gradient, coef, penalties, np.arange(30), 10_000, 1e-9)
    assert sweeps < 10_000
    exact = q + matrix @ coef
    np.testing.assert_allclose(gradient, exact, atol=1e-8)
    assert reference.kkt_violations(coef, exact, penalties).max() < 1e-8
    assert (coef == 0).any()
    best = reference.quadratic(matrix, q, np.zeros(30), penalties, coef)
    for _ in range(20):
        other = coef + 0.1 * rng.normal(size=30)
        assert reference.quadratic(matrix, q, np.zeros(30), penalties, other) > best


def test_multiply_gathers_columns():
    rng = np.random.default_rng(6)
    matrix, columns, vector = rng.normal(size=(150, 150)), np.array([3, 77, 149]), rng.normal(size=3)
    out = np.empty(140)
    multiply(0, 3, matrix, columns, vector, out)
    np.testing.assert_allclose(out, (matrix[:, columns] @ vector)[:140])


def test_exact_step_beats_a_fine_grid():
    rng = np.random.default_rng(7)
    for _ in range(20):
        coef, direction, penalties = rng.normal(size=12), rng.normal(size=12), rng.uniform(0, 1, size=12)
        slope, curvature = -rng.uniform(0, 5), rng.uniform(0.1, 5)

        def along(t, coef=coef, direction=direction, penalties=penalties, slope=slope, curvature=curvature):
            return slope * t + 0.5 * curvature * t * t + penalties @ np.abs(coef + t * direction)

        step = exact_step(coef, direction, penalties, slope, curvature)
        grid = np.linspace(0, 1, 2001)
        assert 0.0 <= step <= 1.0
        assert along(step) <= min(along(t) for t in grid) + 1e-9


def test_l1_algebra():
    rng = np.random.default_rng(8)
    coef = np.where(rng.random(40) < 0.5, rng.normal(size=40), 0.0)
    gradient, penalties = rng.normal(size=40), np.where(np.arange(40) < 4, 0.0, 0.7)
    out = np.empty(40)
    worst = kkt_violations(coef, gradient, penalties, out)
    np.testing.assert_allclose(out, reference.kkt_violations(coef, gradient, penalties))
    assert worst == out.max()
    np.testing.assert_allclose(l1_norm(coef, penalties), np.sum(penalties * np.abs(coef)))
    assert [soft_threshold(v, 1.0) for v in (-3.0, -0.5, 0.0, 0.5, 3.0)] == [-2.0, 0.0, 0.0, 0.0, 2.0]
    pseudo = np.empty(40)
    pseudo_gradient(coef, gradient, penalties, pseudo)
    np.testing.assert_allclose(np.abs(pseudo), out)
    direction = rng.normal(size=40)
    align(direction, pseudo)
    assert (direction * pseudo <= 0).all()
    moved = np.empty(40)
    orthant_step(coef, direction, 10.0, pseudo, penalties, moved)
    crossed = (np.sign(moved) * np.sign(coef) < 0) & (penalties > 0)
    assert not crossed.any()
    assert (moved[penalties == 0] == (coef + 10.0 * direction)[penalties == 0]).all()


def test_nan_gradient_is_a_violation():
    violations = np.empty(2)
    assert np.isnan(kkt_violations(np.zeros(2), np.array([np.nan, 0.0]), np.ones(2), violations))


def test_two_loop_is_the_dense_update():
    rng = np.random.default_rng(9)
    n, memory = 7, 4
    root = rng.normal(size=(n, n))
    hessian = root @ root.T + np.eye(n)
    ring_steps, ring_changes, products = np.zeros((memory, n)), np.zeros((memory, n)), np.ones(memory)
    pairs = []
    scale = rng.uniform(0.5, 2.0, size=n)
    gradient, direction = rng.normal(size=n), np.empty(n)
    for k in range(6):
        step = rng.normal(size=n)
        change = hessian @ step
        ring_steps[k % memory], ring_changes[k % memory], products[k % memory] = step, change, step @ change
        pairs = [*pairs, (step, change)][-memory:]
        two_loop(gradient, ring_steps, ring_changes, products, k % memory, len(pairs), scale, direction)
        expected = reference.inverse_hessian_product(gradient, *zip(*pairs, strict=True), scale)
        np.testing.assert_allclose(direction, expected, rtol=1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_noise_variance_matches_reference(dtype):
    rng = np.random.default_rng(10)
    errors = rng.uniform(0, 0.05, size=(300, 40)).astype(dtype)
    coef = np.where(rng.random(40) < 0.6, rng.normal(size=40), 0.0)
    grid = np.concatenate([[-1, -1, -1], 500 + np.arange(20), 700 + np.arange(17)])
    columns, rows, out = np.flatnonzero(coef), rng.permutation(300), np.empty(300)
    for correlation in ((), (0.4,), (0.5, 0.2)):
        pairs, rho = Neighbours(grid, correlation).pairs(columns)
        used = coef[columns]
        products = 2.0 * rho * used[pairs[:, 0]] * used[pairs[:, 1]]
        uncertainty.noise_variance_rows(0, 2, errors, rows, columns, used**2, pairs, products, out)
        expected = reference.correlated_ln_error(errors[rows], coef, grid, correlation)
        np.testing.assert_allclose(np.sqrt(out), expected, rtol=1e-12)
    uncertainty.noise_variance_rows(0, 2, errors, rows, columns, used**2, pairs[:0], rho[:0], out)
    np.testing.assert_allclose(np.sqrt(out), reference.ln_error(errors[rows], coef))
