"""The robust likelihood: planted wrong parallaxes are found and do no harm, right ones cost nothing, folds hold."""

import numpy as np
import pytest
from problems import small_problem

import spfast
from spfast.errors import BadInputError, ConvergenceWarning
from spfast.model import robust
from spfast.model.robust import Mixture, RobustSettings, fit_mixture

PENALTY = 20.0


def fit(problem, parallax=None, **options):
    parallax = problem.parallax if parallax is None else parallax
    arguments = {"penalty": PENALTY, "penalized": problem.penalized, "threads": 1, **options}
    return spfast.fit(problem.design, parallax, problem.error, **arguments)


def probabilities(model, problem, parallax):
    """Of the training stars, from what the model keeps."""
    noted = model.metadata["robust"]
    mixture = Mixture(*(noted[name] for name in ("outlier_share", "outlier_width", "intrinsic_scatter")))
    predicted = model.predict(problem.design)
    variance = mixture.variance(problem.error, predicted)
    return mixture.outlier_probability(parallax - predicted, variance)


def error_of(model, problem):
    """Root mean square of ln parallax against the truth."""
    return np.sqrt(np.mean((model.predict_ln(problem.design) - problem.design.astype(float) @ problem.truth) ** 2))


@pytest.fixture(scope="module")
def problem():
    return small_problem()


@pytest.fixture(scope="module")
def plain(problem):
    return fit(problem)


def test_weights_are_the_slope_of_the_mixture():
    mixture = Mixture(outlier_share=0.05, outlier_width=8.0, intrinsic_scatter=0.1)
    rng = np.random.default_rng(0)
    mu, error = rng.uniform(0.2, 2.0, 50), rng.uniform(0.02, 0.1, 50)
    residual = np.sqrt(mixture.variance(error, mu)) * rng.normal(size=50) * rng.choice([1.0, 6.0], 50)
    variance, step = mixture.variance(error, mu), 1e-6
    slope = np.array(
        [
            mixture.minus_ln_likelihood(residual[i : i + 1] + step, variance[i : i + 1])
            - mixture.minus_ln_likelihood(residual[i : i + 1] - step, variance[i : i + 1])
            for i in range(50)
        ]
    ) / (2 * step)
    weights = mixture.weights(residual, error, mu)
    np.testing.assert_allclose(slope, weights * residual / variance, rtol=1e-5)
    assert np.all((weights >= 8.0**-2) & (weights <= 1.0))


def test_one_planted_outlier_is_found(problem, plain):
    parallax = problem.parallax.copy()
    star = int(np.argsort(parallax / problem.error)[-20])  # one with much power over the fit, not alone in it
    parallax[star] += 40 * problem.error[star]
    damaged, model = fit(problem, parallax), fit(problem, parallax, robust=True)
    outlying = probabilities(model, problem, parallax)
    assert outlying[star] > 0.999
    assert np.sum(outlying > 0.5) == model.metadata["robust"]["n_outliers"] <= 3
    assert model.result.converged
    assert error_of(damaged, problem) > 1.5 * error_of(plain, problem)
    assert error_of(model, problem) < 1.05 * error_of(plain, problem)


def test_many_wrong_parallaxes_cost_little(problem, plain):
    rng = np.random.default_rng(1)
    wrong = rng.random(problem.parallax.size) < 0.05
    parallax = (
        problem.parallax + wrong * rng.choice([-1, 1], wrong.size) * rng.uniform(15, 50, wrong.size) * problem.error
    )
    model = fit(problem, parallax, robust=True)
    outlying = probabilities(model, problem, parallax) > 0.5
    assert outlying[wrong].mean() > 0.9
    assert wrong[outlying].mean() > 0.9
    assert model.metadata["robust"]["outlier_share"] == pytest.approx(wrong.mean(), abs=0.02)
    assert error_of(fit(problem, parallax), problem) > 2 * error_of(plain, problem)
    assert error_of(model, problem) < 1.1 * error_of(plain, problem)


def test_clean_data_give_back_the_plain_fit(problem, plain):
    model = fit(problem, robust=True)
    assert model.metadata["robust"]["outlier_share"] < 0.03
    assert error_of(model, problem) < 1.05 * error_of(plain, problem)
    np.testing.assert_allclose(model.predict_ln(problem.design), plain.predict_ln(problem.design), atol=0.03)
    none = fit(problem, robust=RobustSettings(outlier_share=0.0))
    np.testing.assert_allclose(none.predict_ln(problem.design), plain.predict_ln(problem.design), atol=1e-4)
    assert none.metadata["robust"]["n_outliers"] == 0


def test_scatter_keeps_nearby_stars_from_being_outliers():
    problem = small_problem(n_stars=1500, seed=4)
    rng = np.random.default_rng(2)
    true = np.exp(problem.design.astype(float) @ problem.truth)
    problem.error[:] = 0.02
    parallax = true * (1 + 0.1 * rng.normal(size=true.size)) + problem.error * rng.normal(size=true.size)
    near = true > np.quantile(true, 0.8)
    model = fit(problem, parallax, robust=True)
    assert model.metadata["robust"]["intrinsic_scatter"] == pytest.approx(0.1, rel=0.15)
    assert np.mean(probabilities(model, problem, parallax)[near] > 0.5) < 0.02
    without = fit(problem, parallax, robust=RobustSettings(intrinsic_scatter=0.0))
    assert np.mean(probabilities(without, problem, parallax)[near] > 0.5) > 0.2


def test_settings_hold_numbers_fixed(problem):
    settings = RobustSettings(outlier_share=0.02, outlier_width=12.0, intrinsic_scatter=0.05)
    noted = fit(problem, robust=settings).metadata["robust"]
    assert (noted["outlier_share"], noted["outlier_width"], noted["intrinsic_scatter"]) == (0.02, 12.0, 0.05)
    residual = np.random.default_rng(3).normal(size=3000)
    found = fit_mixture(residual, np.ones(3000), np.zeros(3000), RobustSettings(outlier_width=4.0))
    assert found.outlier_width == 4.0
    assert found.outlier_share < 0.01


def test_stars_without_weight_and_without_free_columns(problem):
    error = problem.error.copy()
    error[:30] = np.inf
    parallax = problem.parallax.copy()
    parallax[:30] = 99.0
    model = spfast.fit(problem.design, parallax, error, PENALTY, problem.penalized, robust=True, threads=1)
    assert np.isfinite(model.coef).all()
    assert model.metadata["robust"]["n_outliers"] < 5
    rng = np.random.default_rng(5)
    x = rng.normal(size=(400, 6))
    y = np.exp(x @ [0.3, -0.2, 0, 0, 0, 0]) + 0.05 * rng.normal(size=400)
    y[7] += 5.0
    model = spfast.fit(x, y, np.full(400, 0.05), penalty=10.0, robust=True, threads=1)
    assert model.metadata["robust"]["n_outliers"] == 1


def test_threads_and_solvers_agree(problem):
    one, two = fit(problem, robust=True), fit(problem, robust=True, threads=2)
    np.testing.assert_array_equal(one.coef, two.coef)
    other = fit(problem, robust=True, solver="owlqn", tolerance=1e-4)
    np.testing.assert_allclose(other.predict_ln(problem.design), one.predict_ln(problem.design), atol=2e-3)


def test_a_saved_model_keeps_the_mixture(problem, tmp_path):
    model = fit(problem, robust=True, metadata={"mine": 1})
    model.save(tmp_path / "model.npz")
    assert spfast.load_model(tmp_path / "model.npz").metadata == model.metadata
    assert model.metadata["mine"] == 1
    assert model.metadata["robust"]["converged"] is True


def test_rounds_that_do_not_settle_warn(problem, monkeypatch):
    monkeypatch.setattr(robust, "_MAX_ROUNDS", 1)
    with pytest.warns(ConvergenceWarning, match="rounds of the robust likelihood have not settled"):
        model = fit(problem, robust=True)
    assert model.result.converged is False
    assert model.metadata["robust"]["converged"] is False


@pytest.mark.parametrize(
    "settings", [{"outlier_share": 1.0}, {"outlier_share": -0.1}, {"outlier_width": 1.0}, {"intrinsic_scatter": np.nan}]
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(BadInputError, match=f"{next(iter(settings))} is .*, expected .*; None to have it fitted"):
        RobustSettings(**settings)


def test_a_word_for_robust_is_refused(problem):
    with pytest.raises(BadInputError, match="robust is 'yes', expected True, False or RobustSettings"):
        fit(problem, robust="yes")
