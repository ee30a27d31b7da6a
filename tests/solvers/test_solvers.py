"""Both solvers: optimality, agreement with each other and with an independent optimiser, and the hard cases."""

import warnings

import numpy as np
import pytest
import reference
from problems import small_problem
from scipy.optimize import minimize

import spfast
from spfast.errors import BadInputError, ConvergenceWarning, SpfastWarning
from spfast.solvers import OWLQN, SOLVERS, ProxNewton


def fit(problem, penalty, **options):
    return spfast.fit(*problem.arguments, penalty, penalized=problem.penalized, **options)


def true_violation(problem, model):
    gradient = reference.gradient(problem.design, model.coef, problem.parallax + model.zero_point, problem.error**-2.0)
    penalties = np.where(problem.penalized, model.penalty, 0.0)
    return reference.kkt_violations(model.coef, gradient, penalties).max()


@pytest.mark.parametrize("solver", SOLVERS)
def test_optimality_is_what_an_independent_gradient_says(solver):
    problem = small_problem(dtype=np.float64)
    model = fit(problem, 5.0, solver=solver)
    assert model.result.converged
    assert 0 < model.n_nonzero < 80
    assert true_violation(problem, model) <= 1.01 * model.result.tolerance
    penalties = np.where(problem.penalized, 5.0, 0.0)
    expected = reference.objective(problem.design, model.coef, problem.parallax, problem.error**-2.0, penalties)
    np.testing.assert_allclose(model.result.objective, expected, rtol=1e-12)


def test_both_solvers_reach_the_same_optimum():
    problem = small_problem(dtype=np.float64)
    newton = fit(problem, 5.0, tolerance=1e-7)
    quasi = fit(problem, 5.0, tolerance=1e-7, solver="owlqn", max_iterations=100_000)
    assert newton.result.converged
    assert quasi.result.converged
    np.testing.assert_allclose(newton.result.objective, quasi.result.objective, rtol=1e-8)
    np.testing.assert_allclose(newton.predict(problem.design), quasi.predict(problem.design), rtol=1e-5)
    assert ((newton.coef != 0) == (quasi.coef != 0)).all()


@pytest.mark.parametrize("solver", [ProxNewton(1e-6), OWLQN(1e-6)], ids=lambda solver: solver.name)
def test_a_solver_alone_reaches_its_tolerance_times_the_unit(solver):
    problem = small_problem(dtype=np.float64)
    start = spfast.fit(*problem.arguments, 1e6, penalized=problem.penalized).coef
    result = solver.minimize(problem.objective(5.0), start, unit=20.0, state=solver.new_state(problem.objective(5.0)))
    assert result.converged
    assert result.tolerance == 1e-6 * 20.0
    gradient = reference.gradient(problem.design, result.coef, problem.parallax, problem.error**-2.0)
    worst = reference.kkt_violations(result.coef, gradient, np.where(problem.penalized, 5.0, 0.0)).max()
    assert worst <= 1.01 * result.tolerance
    assert result.objective == pytest.approx(fit(problem, 5.0, tolerance=1e-7).result.objective, rel=1e-8)


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("tolerance", value) for value in (-1e-3, 1.5, np.nan, np.inf, "tight", True, None)),
        *(("max_iterations", value) for value in (0, -1, 2.5, True, "many", None)),
    ],
)
def test_an_option_outside_its_range_is_refused(name, option, value):
    with pytest.raises(BadInputError, match=f"^{name}: {option} is .*, expected a .*number") as refused:
        SOLVERS[name](**{option: value})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("max_iterations", [None, 0])
def test_no_limit_given_is_the_solvers_own(max_iterations):
    problem = small_problem(100, 10)
    with spfast.Fitter(*problem.arguments, penalized=problem.penalized, max_iterations=max_iterations) as fitter:
        assert fitter.options.solver == ProxNewton(1e-3, 100)


def test_scipy_on_the_split_form_agrees():
    problem = small_problem(400, 30, dtype=np.float64)
    model = fit(problem, 8.0, tolerance=1e-6)
    ivar, n_free = problem.error**-2.0, 9
    # coef = free part and (up - down) with up, down >= 0: the penalty is linear there, the problem smooth and bounded.
    # Whitened unpenalised columns: as they are, L-BFGS-B does not get anywhere near.
    free, weights = problem.design[:, :n_free], ivar * np.exp(2 * problem.design @ model.coef)
    whiten = np.linalg.inv(np.linalg.cholesky((free * weights[:, None]).T @ free)).T

    def value_gradient(split):
        inner, up, down = split[:n_free], split[n_free : n_free + 30], split[n_free + 30 :]
        coef = np.concatenate([whiten @ inner, up - down])
        value = reference.half_chi_squared(problem.design, coef, problem.parallax, ivar) + 8.0 * (up + down).sum()
        gradient = reference.gradient(problem.design, coef, problem.parallax, ivar)
        return value, np.concatenate([whiten.T @ gradient[:n_free], gradient[n_free:] + 8.0, 8.0 - gradient[n_free:]])

    start = np.concatenate([np.linalg.solve(whiten, [4.0, *[-0.46 / 8] * 8]), np.zeros(60)])
    bounds = [(None, None)] * n_free + [(0, None)] * 60
    options = {"maxiter": 20_000, "maxfun": 50_000, "ftol": 1e-15, "gtol": 1e-6, "maxcor": 30}
    best = minimize(value_gradient, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    for _ in range(10):  # its line search gives up now and then: go on from there
        best = minimize(value_gradient, best.x, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    np.testing.assert_allclose(model.result.objective, best.fun, rtol=1e-8)
    coef = np.concatenate([whiten @ best.x[:n_free], best.x[n_free : n_free + 30] - best.x[n_free + 30 :]])
    np.testing.assert_allclose(model.predict(problem.design), np.exp(problem.design @ coef), rtol=1e-5)


def test_adding_to_the_constant_multiplies_every_parallax():
    problem = small_problem()
    model = fit(problem, 20.0)
    before = model.predict(problem.design)
    model.coef[0] += 0.3
    np.testing.assert_allclose(model.predict(problem.design), before * np.exp(0.3), rtol=1e-12)


def test_scaling_all_parallaxes_moves_the_constant_alone():
    problem = small_problem(dtype=np.float64)
    model = fit(problem, 20.0, tolerance=1e-7)
    scaled = spfast.fit(
        problem.design, 10 * problem.parallax, 10 * problem.error, 20.0, penalized=problem.penalized, tolerance=1e-7
    )
    np.testing.assert_allclose(scaled.predict(problem.design), 10 * model.predict(problem.design), rtol=1e-6)


def test_integer_weights_are_repeated_rows():
    problem = small_problem(300, 20, dtype=np.float64)
    repeats = np.random.default_rng(0).integers(1, 4, size=300)
    rows = np.repeat(np.arange(300), repeats)
    weighted = spfast.fit(
        problem.design,
        problem.parallax,
        problem.error / np.sqrt(repeats),
        10.0,
        penalized=problem.penalized,
        tolerance=1e-7,
    )
    repeated = spfast.fit(*problem.arguments, 10.0, penalized=problem.penalized, rows=rows, tolerance=1e-7)
    np.testing.assert_allclose(weighted.result.objective, repeated.result.objective, rtol=1e-9)
    np.testing.assert_allclose(weighted.coef, repeated.coef, atol=1e-5)


@pytest.mark.parametrize("solver", SOLVERS)
def test_same_bits_with_one_thread_and_two_array_and_memmap(tmp_path, solver):
    problem = small_problem(500, 300)
    np.save(tmp_path / "x.npy", problem.design)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        models = [
            spfast.fit(
                x, problem.parallax, problem.error, 5.0, penalized=problem.penalized, solver=solver, threads=threads
            )
            for x, threads in ((problem.design, 1), (problem.design, 2), (mapped, 2))
        ]
    assert models[0].coef.tobytes() == models[1].coef.tobytes() == models[2].coef.tobytes()
    predictions = [
        m.predict(x, threads=t).tobytes()
        for m, x, t in zip(models, (problem.design, mapped, mapped), (1, 2, 1), strict=True)
    ]
    assert len(set(predictions)) == 1


def test_simulated_truth_comes_back():
    problem = small_problem(4000, 40, dtype=np.float64)
    model = fit(problem, 1.0)
    pulls = (problem.parallax - model.predict(problem.design)) / problem.error
    assert abs(pulls.std() - 1.0) < 0.05
    truth = np.exp(problem.design @ problem.truth)
    assert np.std(model.predict(problem.design) / truth - 1) < 0.05


# Hard cases: converged with a true violation, or one clear error.


def test_duplicate_columns():
    problem = small_problem(400, 20, dtype=np.float64)
    problem.design = np.ascontiguousarray(
        np.column_stack([problem.design, problem.design[:, 9:], problem.design[:, 3]])
    )
    problem.penalized = np.r_[problem.penalized, np.ones(20, bool), False]  # pixels twice, and one magnitude twice
    model = fit(problem, 10.0)
    assert model.result.converged
    assert true_violation(problem, model) <= 1.01 * model.result.tolerance


def test_constant_penalised_column_and_a_pixel_masked_for_most():
    problem = small_problem(400, 20, dtype=np.float64)
    problem.design[:, 12] = 0.7
    problem.design[:390, 15] = 0.0
    problem.design[:, 17] = 0.0
    model = fit(problem, 5.0)
    assert model.result.converged
    assert model.coef[12] == 0.0
    assert model.coef[17] == 0.0
    assert true_violation(problem, model) <= 1.01 * model.result.tolerance


def test_one_star_with_a_million_times_the_weight():
    problem = small_problem(400, 20, dtype=np.float64)
    problem.error[7] = problem.error[7] / 1000.0
    model = fit(problem, 5.0)
    assert model.result.converged
    assert true_violation(problem, model) <= 1.01 * model.result.tolerance
    assert abs(model.predict(problem.design)[7] - problem.parallax[7]) < 0.01


def test_all_parallaxes_negative_is_refused():
    problem = small_problem(200, 10)
    with pytest.raises(BadInputError, match="inverse-variance mean parallax is -"):
        spfast.fit(problem.design, -np.abs(problem.parallax), problem.error, 5.0, penalized=problem.penalized)


def test_no_penalty():
    problem = small_problem(400, 20, dtype=np.float64)
    model = fit(problem, 0.0)
    assert model.result.converged
    assert model.n_nonzero == 20
    gradient = reference.gradient(problem.design, model.coef, problem.parallax, problem.error**-2.0)
    assert np.abs(gradient).max() <= 1.01 * model.result.tolerance


@pytest.mark.parametrize("solver", SOLVERS)
def test_penalty_above_the_largest_leaves_no_pixel(solver):
    problem = small_problem(dtype=np.float64)
    largest = spfast.penalty_max(*problem.arguments, penalized=problem.penalized)
    assert fit(problem, 1.001 * largest, solver=solver).n_nonzero == 0
    assert fit(problem, 0.99 * largest, solver=solver).n_nonzero > 0


@pytest.mark.parametrize("n_stars", [1, 3, 8])
def test_fewer_stars_than_magnitudes(n_stars):
    problem = small_problem(n_stars, 12, dtype=np.float64)
    problem.parallax = np.abs(problem.parallax) + 0.1
    model = fit(problem, 5.0)
    assert model.result.converged
    assert np.isfinite(model.predict(problem.design)).all()


def test_stars_of_no_weight_do_not_matter():
    problem = small_problem(300, 20, dtype=np.float64)
    rows = np.arange(0, 300, 2)
    error = problem.error.copy()
    error[1::2] = np.inf
    all_rows = spfast.fit(problem.design, problem.parallax, error, 5.0, penalized=problem.penalized, tolerance=1e-8)
    half = spfast.fit(*problem.arguments, 5.0, penalized=problem.penalized, rows=rows, tolerance=1e-8)
    np.testing.assert_allclose(all_rows.coef, half.coef, atol=1e-6)
    with pytest.raises(BadInputError, match="weights"):
        spfast.fit(problem.design, problem.parallax, np.full(300, np.inf), 5.0, penalized=problem.penalized)


@pytest.mark.parametrize(("constant", "how"), [(-200.0, "underflow"), (60.0, "overflow"), (8.0, "")])
def test_start_in_the_flat_or_beyond(constant, how):
    problem = small_problem(300, 20, dtype=np.float64)
    start = np.zeros(29)
    start[0] = constant
    good = fit(problem, 5.0)
    if how:
        with pytest.warns(SpfastWarning, match=how):
            model = fit(problem, 5.0, start=start)
        assert model.coef.tobytes() == good.coef.tobytes()
    else:
        model = fit(problem, 5.0, start=start)
        assert model.result.converged
        np.testing.assert_allclose(model.result.objective, good.result.objective, rtol=1e-6)


def test_paper_start_fails_where_ours_does_not():
    """With three bright stars the paper's burn-in drives all other predictions to zero or beyond."""
    problem = small_problem(600, 40, seed=2, dtype=np.float64)
    order = np.argsort(-problem.parallax)
    problem.error = np.maximum(problem.error, problem.parallax / 15.0)
    problem.error[order[:3]] = problem.parallax[order[:3]] / 25.0
    assert fit(problem, 5.0).result.converged
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = fit(problem, 5.0, start="burn-in")
    assert model.result.converged
    assert len(caught) <= 1


def test_burn_in_without_bright_stars_is_refused():
    problem = small_problem(100, 10)
    problem.error[:] = 10.0
    with pytest.raises(BadInputError, match="burn-in"):
        fit(problem, 5.0, start="burn-in")


def test_not_converging_is_said():
    problem = small_problem(dtype=np.float64)
    with pytest.warns(ConvergenceWarning, match="violation"):
        model = fit(problem, 2.0, max_iterations=1)
    assert not model.result.converged
    assert model.result.kkt_violation > model.result.tolerance


def test_history_tells_the_whole_story():
    problem = small_problem(dtype=np.float64)
    result = fit(problem, 2.0).result
    history = result.history
    assert len(history) == result.n_iterations
    assert history["objective"][-1] == result.objective
    assert history["kkt_violation"][-1] == result.kkt_violation
    assert (np.diff(history["objective"]) <= 1e-9 * result.objective).all()
    assert (np.diff(history["n_passes"]) > 0).all()
    assert (np.diff(history["seconds"]) > 0).all()


@pytest.mark.parametrize("solver", SOLVERS)
def test_exact_distance_modulus(solver):
    problem = small_problem(500, 40, dtype=np.float64)
    layout = spfast.model.layout.FeatureLayout(tuple(range(250, 290)))
    options = {"layout": layout, "tolerance": 1e-6, "solver": solver}
    free = spfast.fit(*problem.arguments, 5.0, **options)
    exact = spfast.fit(*problem.arguments, 5.0, exact_distance_modulus=True, **options)
    assert exact.result.converged
    assert abs(exact.coef[1:9].sum() + 0.2 * np.log(10)) < 1e-12
    assert exact.result.objective > free.result.objective
    shifted = problem.design.copy()
    shifted[:, 1:9] += 1.7
    np.testing.assert_allclose(exact.predict(shifted), 10 ** (-0.2 * 1.7) * exact.predict(problem.design), rtol=1e-10)
    # Optimal on the plane: no way along it is downhill.
    gradient = reference.gradient(problem.design, exact.coef, problem.parallax, problem.error**-2.0)
    along = gradient[:9] - np.r_[0.0, np.full(8, gradient[1:9].mean())]
    assert np.abs(along).max() <= 1.01 * exact.result.tolerance
    with pytest.raises(BadInputError, match="needs a layout"):
        spfast.fit(*problem.arguments, 5.0, exact_distance_modulus=True)


@pytest.mark.parametrize("seed", [1, 3])
def test_few_stars_with_nearly_all_the_weight(seed):
    problem = small_problem(200, 400, seed=seed)
    rng = np.random.default_rng(seed)
    error = 10.0 ** rng.uniform(-3.5, 0.0, 200)  # weights over seven decades, a tenth of scatter that they do not know
    scattered = np.exp(problem.design.astype(float) @ problem.truth) * np.exp(0.1 * rng.normal(size=200))
    parallax = scattered + error * rng.normal(size=200)
    result = spfast.fit(problem.design, parallax, error, 3.0, penalized=problem.penalized).result
    assert result.converged
    assert result.kkt_violation <= 3e-3
