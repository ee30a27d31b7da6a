"""Half chi-squared and its gradient on whole problems: against the reference, finite differences, and one thread."""

import numpy as np
import pytest
import reference
from problems import small_problem

from spfast.kernels.team import Team
from spfast.model.objective import Objective
from spfast.solvers.gram import WorkingGram


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_stars", [1, 7, 8, 9, 300, 601])
def test_value_and_gradient_match_the_reference(n_stars, dtype):
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


def test_full_width_float32_gradient_matches_the_reference():
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


def test_only_selected_rows_take_part():
    problem = small_problem(200, 20)
    rows = np.array([3, 5, 8, 13, 21, 34, 55, 89, 144], dtype=np.int64)
    ivar = problem.error**-2.0
    subset = Objective(problem.design, rows, problem.parallax[rows], ivar[rows], np.ones(29), Team(1))
    eta, gradient = np.empty(rows.size), np.empty(29)
    value = subset.smooth(problem.truth, eta, gradient)
    expected = reference.half_chi_squared(problem.design[rows], problem.truth, problem.parallax[rows], ivar[rows])
    np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_star_of_zero_weight_is_ignored_even_if_its_parallax_is_nan():
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


def test_overflow_gives_an_infinite_value_and_no_nan_in_the_gradient():
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
