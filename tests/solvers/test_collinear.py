"""Fits to columns that nearly depend on each other, as pixels of a low-rank model of the spectra do, converge."""

import numpy as np
import pytest
import reference
from problems import Problem
from test_solvers import fit, true_violation

import spfast
from spfast.solvers import ProxNewton, active_set


def low_rank_problem(n_stars=640, n_pixels=1500, rank=48, noise=0.0, seed=0, dtype=np.float32):
    """Pixels that are smooth spectra times coordinates, the first with 100 times the spread of the last."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n_stars, rank))
    window = np.exp(-0.5 * (np.arange(-15, 16) / 5.0) ** 2)
    basis = np.array([np.convolve(row, window, mode="valid") for row in rng.normal(size=(rank, n_pixels + 30))])
    spread = 0.03 * 100.0 ** (-np.arange(rank) / (rank - 1))
    pixels = (
        -0.1 * rng.uniform(size=n_pixels) + (latent * spread) @ basis + noise * rng.normal(size=(n_stars, n_pixels))
    )
    distance_modulus = rng.normal(12.0, 1.5, size=n_stars)
    absolute = -2.0 + latent[:, [0, 1, 5, rank // 2, rank - 1]] @ [0.8, 0.3, 0.1, 0.1, 0.1]
    magnitudes = (distance_modulus + absolute)[:, None] + 0.3 * latent[:, :4] @ rng.normal(size=(4, 8))
    magnitudes += 0.02 * rng.normal(size=(n_stars, 8))
    design = np.column_stack([np.ones(n_stars), magnitudes, pixels]).astype(dtype)
    error = rng.uniform(0.02, 0.1, size=n_stars)
    parallax = 10.0 ** (2.0 - 0.2 * distance_modulus) + error * rng.normal(size=n_stars)
    return Problem(design, parallax, error, np.arange(9 + n_pixels) >= 9, np.zeros(9 + n_pixels))


def converges(problem, share, **options):
    """Fit at a share of the largest penalty; the fit has to converge, by an independent gradient too."""
    largest = spfast.penalty_max(*problem.arguments, penalized=problem.penalized)
    model = fit(problem, share * largest, **options)  # a ConvergenceWarning is an error
    assert model.result.converged
    assert true_violation(problem, model) <= 1.2 * model.result.tolerance  # float32 sums in the solver's gradient
    return model


@pytest.mark.parametrize("share", [1 / 3, 1 / 30, 1 / 100, 1 / 1000])
@pytest.mark.parametrize(("rank", "noise"), [(12, 0.0), (48, 0.0), (48, 1e-4), (48, 3e-3)])
def test_low_rank_pixels(rank, noise, share):
    model = converges(low_rank_problem(rank=rank, noise=noise), share)
    assert noise > 1e-4 or model.n_nonzero <= rank + 4
    assert model.result.n_iterations <= 40


def test_more_columns_than_stars():
    assert converges(low_rank_problem(n_stars=100), 1e-3).n_nonzero <= 52
    assert converges(low_rank_problem(n_stars=100, noise=1e-2), 1e-3).n_nonzero <= 100


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_columns_that_are_copies_or_sums_of_others(dtype):
    problem = low_rank_problem(n_pixels=600, dtype=dtype)
    pixels = problem.design[:, 9:]
    problem.design = np.ascontiguousarray(
        np.column_stack([problem.design, pixels, pixels + np.roll(pixels, 7, axis=1)])
    )
    problem.penalized = np.arange(problem.design.shape[1]) >= 9
    converges(problem, 1e-3)


def test_some_stars_with_a_thousand_times_the_weight():
    problem = low_rank_problem()
    problem.error[:5] /= 30.0
    converges(problem, 1e-3)


def test_objective_is_that_of_proximal_gradients():
    problem = low_rank_problem(n_stars=200, n_pixels=40, rank=6, dtype=np.float64)
    model = converges(problem, 0.01, tolerance=1e-7)
    ivar, penalties = problem.error**-2.0, np.where(problem.penalized, model.penalty, 0.0)
    # Coordinates in which the unpenalised columns are orthonormal, the others free of them and of one scale.
    weights = reference.gauss_newton_weights(problem.design, model.coef, ivar)
    root = np.sqrt(weights)[:, None]
    whiten = np.linalg.inv(np.linalg.cholesky((root * problem.design[:, :9]).T @ (root * problem.design[:, :9]))).T
    change = np.eye(49)
    change[:9, :9] = whiten
    change[:9, 9:] = -np.linalg.lstsq(root * problem.design[:, :9], root * problem.design[:, 9:])[0]
    design = problem.design @ change
    scale = np.r_[np.ones(9), np.full(40, np.linalg.norm(root * design[:, 9:], 2))]
    start = fit(problem, 10.0 * model.penalty).coef
    point = ahead = np.linalg.solve(change, start)
    momentum, step = 1.0, 0.3 / scale**2

    def value(x):
        return reference.objective(design, x, problem.parallax, ivar, penalties)

    for _ in range(20_000):
        moved = ahead - step * reference.gradient(design, ahead, problem.parallax, ivar)
        new = np.sign(moved) * np.maximum(np.abs(moved) - step * penalties, 0.0)
        if value(new) > value(point):  # start the momentum again
            ahead, momentum = point, 1.0
            continue
        next_momentum = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * momentum**2))
        ahead = new + (momentum - 1.0) / next_momentum * (new - point)
        point, momentum = new, next_momentum
    assert model.result.objective == pytest.approx(value(point), rel=1e-7)


def test_same_bits_with_one_thread_and_two():
    problem = low_rank_problem(n_pixels=800)
    one, two = (converges(problem, 1e-3, threads=threads).coef for threads in (1, 2))
    assert one.tobytes() == two.tobytes()


def test_path_reaches_the_optima_of_single_fits():
    problem = low_rank_problem(n_pixels=800)
    largest = spfast.penalty_max(*problem.arguments, penalized=problem.penalized)
    path = spfast.fit_path(*problem.arguments, largest * np.array([0.1, 0.01, 0.001]), penalized=problem.penalized)
    for model in path:
        assert model.result.converged
        assert model.result.objective == pytest.approx(fit(problem, model.penalty).result.objective, rel=1e-5)


def test_support_too_large_for_the_active_set_is_left_to_coordinate_descent(monkeypatch):
    monkeypatch.setattr(active_set, "MOST_ACTIVE", 5)
    problem = low_rank_problem(n_pixels=800)
    objective = problem.objective(0.5)
    state = ProxNewton().new_state(objective)
    start = spfast.fit(*problem.arguments, 1e6, penalized=problem.penalized).coef
    result = ProxNewton(max_iterations=10).minimize(objective, start, unit=0.5, state=state)
    assert (state.is_collinear, state.most_active) == (False, 0)
    assert result.n_iterations == 11
    assert (np.diff(result.history["objective"]) < 0.0).all()
