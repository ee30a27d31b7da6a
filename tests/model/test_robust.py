"""The robust likelihood: planted wrong parallaxes are found and do no harm, right ones cost nothing, folds hold."""

from dataclasses import replace

import numpy as np
import pytest
from problems import small_problem
from tiny import RAW, tiny_survey

import spfast
from spfast.catalog.make import make_catalog
from spfast.cli import main
from spfast.data.tables.read import read_table
from spfast.errors import BadInputError, ConvergenceWarning
from spfast.model import robust
from spfast.model.mixture import Mixture, fit_mixture
from spfast.model.robust import RobustSettings
from spfast.training.tune import tune

PENALTY = 20.0
ROBUST = RAW.replace(fit={"robust": True, "penalty": PENALTY}, tune={"penalties": [100.0, 20.0], "inner_folds": 3})


def fit(problem, parallax=None, **options):
    parallax = problem.parallax if parallax is None else parallax
    arguments = {"penalty": PENALTY, "penalized": problem.penalized, "threads": 1, **options}
    return spfast.fit(problem.design, parallax, problem.error, **arguments)


def probabilities(model, problem, parallax):
    """Of the training stars, from what the model keeps."""
    mixture = model.robust.mixture
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
    assert np.sum(outlying > 0.5) == model.robust.n_outliers <= 3
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
    assert model.robust.outlier_share == pytest.approx(wrong.mean(), abs=0.02)
    assert error_of(fit(problem, parallax), problem) > 2 * error_of(plain, problem)
    assert error_of(model, problem) < 1.1 * error_of(plain, problem)


def test_clean_data_give_back_the_plain_fit(problem, plain):
    model = fit(problem, robust=True)
    assert model.robust.outlier_share < 0.03
    assert error_of(model, problem) < 1.05 * error_of(plain, problem)
    np.testing.assert_allclose(model.predict_ln(problem.design), plain.predict_ln(problem.design), atol=0.03)
    none = fit(problem, robust=RobustSettings(outlier_share=0.0))
    np.testing.assert_allclose(none.predict_ln(problem.design), plain.predict_ln(problem.design), atol=1e-4)
    assert none.robust.n_outliers == 0


def test_scatter_keeps_nearby_stars_from_being_outliers():
    problem = small_problem(n_stars=1500, seed=4)
    rng = np.random.default_rng(2)
    true = np.exp(problem.design.astype(float) @ problem.truth)
    problem.error[:] = 0.02
    parallax = true * (1 + 0.1 * rng.normal(size=true.size)) + problem.error * rng.normal(size=true.size)
    near = true > np.quantile(true, 0.8)
    model = fit(problem, parallax, robust=True)
    assert model.robust.intrinsic_scatter == pytest.approx(0.1, rel=0.15)
    assert np.mean(probabilities(model, problem, parallax)[near] > 0.5) < 0.02
    without = fit(problem, parallax, robust=RobustSettings(intrinsic_scatter=0.0))
    assert np.mean(probabilities(without, problem, parallax)[near] > 0.5) > 0.2


def test_settings_hold_numbers_fixed(problem):
    settings = RobustSettings(outlier_share=0.02, outlier_width=12.0, intrinsic_scatter=0.05)
    assert fit(problem, robust=settings).robust.mixture == Mixture(0.02, 12.0, 0.05)
    residual = np.random.default_rng(3).normal(size=3000)
    found = fit_mixture(residual, np.ones(3000), np.zeros(3000), {"outlier_width": 4.0})
    assert found.outlier_width == 4.0
    assert found.outlier_share < 0.01


def test_stars_without_weight_and_without_free_columns(problem):
    error = problem.error.copy()
    error[:30] = np.inf
    parallax = problem.parallax.copy()
    parallax[:30] = 99.0
    model = spfast.fit(problem.design, parallax, error, PENALTY, penalized=problem.penalized, robust=True, threads=1)
    assert np.isfinite(model.coef).all()
    assert model.robust.n_outliers < 5
    rng = np.random.default_rng(5)
    x = rng.normal(size=(400, 6))
    y = np.exp(x @ [0.3, -0.2, 0, 0, 0, 0]) + 0.05 * rng.normal(size=400)
    y[7] += 5.0
    model = spfast.fit(x, y, np.full(400, 0.05), penalty=10.0, robust=True, threads=1)
    assert model.robust.n_outliers == 1


def test_threads_and_solvers_agree(problem):
    one, two = fit(problem, robust=True), fit(problem, robust=True, threads=2)
    np.testing.assert_array_equal(one.coef, two.coef)
    other = fit(problem, robust=True, solver="owlqn", tolerance=1e-4)
    np.testing.assert_allclose(other.predict_ln(problem.design), one.predict_ln(problem.design), atol=2e-3)


def test_a_saved_model_keeps_the_mixture(problem, tmp_path):
    model = fit(problem, robust=True, metadata={"mine": 1})
    model.save(tmp_path / "model.npz")
    again = spfast.load_model(tmp_path / "model.npz")
    assert (again.robust, again.metadata) == (model.robust, {"mine": 1})
    assert fit(problem).robust is None
    with pytest.raises(BadInputError, match=r"robust.outlier_width is 'x', expected a number larger than 1"):
        replace(model, robust=replace(model.robust, outlier_width="x")).save(tmp_path / "damaged.npz")
    assert model.robust.converged is True


def test_rounds_that_do_not_settle_warn(problem, monkeypatch):
    monkeypatch.setattr(robust, "_MAX_ROUNDS", 1)
    with pytest.warns(ConvergenceWarning, match="rounds of the robust likelihood have not settled"):
        model = fit(problem, robust=True)
    assert model.result.converged is False
    assert model.robust.converged is False


@pytest.mark.parametrize(
    "settings", [{"outlier_share": 1.0}, {"outlier_share": -0.1}, {"outlier_width": 1.0}, {"intrinsic_scatter": np.nan}]
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(BadInputError, match=f"{next(iter(settings))} is .*, expected .*; None to have it fitted"):
        RobustSettings(**settings)


def test_a_word_for_robust_is_refused(problem):
    with pytest.raises(BadInputError, match="robust is 'yes', expected True, False or RobustSettings"):
        fit(problem, robust="yes")


def spoil(stars):
    """Every twentieth star has a parallax that is wrong by 15 to 40 errors."""
    rng = np.random.default_rng(6)
    wrong = rng.choice(len(stars), len(stars) // 20, replace=False)
    errors = rng.choice([-1, 1], wrong.size) * rng.uniform(15, 40, wrong.size)
    stars["parallax"][wrong] += errors * stars["parallax_error"][wrong]
    stars["parallax"][0] = stars["parallax_error"][0] = np.nan
    stars["training_set"][0] = False


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    return tiny_survey(tmp_path_factory.mktemp("robust") / "survey", n_stars=600, edit=spoil)


@pytest.fixture(scope="module")
def catalog(survey):
    return make_catalog(survey[0], config=ROBUST, threads=1)


def test_catalog_of_a_survey_with_wrong_parallaxes(survey, catalog):
    stars, true = survey[0].stars, np.asarray(survey[1]["true_parallax"])
    off = np.abs(stars["parallax"] + 0.0483 - true) / stars["parallax_error"]
    wrong = np.asarray(off > 8)
    outlying = np.asarray(catalog["outlier_probability"])
    assert np.isnan(outlying[0])
    assert catalog["outlier_probability"].unit is None
    np.testing.assert_array_equal(outlying[1:] > 0.5, wrong[1:])
    plain = make_catalog(survey[0], config=ROBUST.replace(fit={"robust": False}), threads=1)
    assert "outlier_probability" not in plain.colnames

    def scatter(table):
        return np.std(np.log(table["spec_parallax"] / true))

    assert scatter(catalog) < 0.6 * scatter(plain)
    for fold in "AB":
        assert catalog.meta[f"ROBSHR_{fold}"] == pytest.approx(0.05, abs=0.03)
        assert catalog.meta[f"ROBWID_{fold}"] > 5
        assert 0 < catalog.meta[f"ROBSCA_{fold}"] < 0.05
        assert catalog.meta[f"ROBRND_{fold}"] >= 2
        assert catalog.meta[f"CONVRG_{fold}"] is True
        assert f"ROBSHR_{fold}" not in plain.meta
        # The outliers do not pass for larger errors of the others.
        assert catalog.meta[f"INFLAT_{fold}"] == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"pixels": "low-rank"},
        {"penalty_rule": "auto", "intrinsic_scatter": True},
        {"penalty_rule": "auto", "intrinsic_scatter": True, "pixels": "low-rank"},
    ],
)
def test_a_poisoned_parallax_does_not_touch_its_own_prediction(survey, catalog, tmp_path, more):
    config = ROBUST.replace(fit=more)
    before = make_catalog(survey[0], config=config, threads=1) if more else catalog
    star = int(np.flatnonzero(before["training_set"] == 1)[7])

    def poison(stars):
        spoil(stars)
        stars["parallax"][star] += 5.0

    after = make_catalog(tiny_survey(tmp_path / "survey", n_stars=600, edit=poison)[0], config=config, threads=1)
    same_fold = np.asarray(before["sample"] == before["sample"][star])
    for name in ("spec_parallax", "spec_parallax_err", "spec_parallax_err_total", "distance", "distance_16"):
        np.testing.assert_array_equal(after[name][same_fold], before[name][same_fold])
    assert np.all(after["spec_parallax"][~same_fold] != before["spec_parallax"][~same_fold])
    # Its own probability is about its parallax, which has changed; its neighbours' are as they were.
    others = same_fold & (np.arange(same_fold.size) != star)
    np.testing.assert_array_equal(after["outlier_probability"][others], before["outlier_probability"][others])
    assert after["outlier_probability"][star] > 0.99 > before["outlier_probability"][star]


def test_command(survey, tmp_path, capsys):
    model, settings = tmp_path / "model.npz", tmp_path / "robust.toml"
    assert main(["fit", str(survey[0].path), "-o", str(model), "--fold", "A", "--penalty", "20", "--robust"]) == 0
    assert "    robust: " in capsys.readouterr().out
    assert spfast.load_model(model).robust.n_outliers > 0
    settings.write_text("[fit]\nrobust = true\noutlier_width = 30.0\noutlier_share = 0.1\n")
    out = tmp_path / "catalog.ecsv"
    assert main(["catalog", str(survey[0].path), "-o", str(out), "--penalty", "20", "--config", str(settings)]) == 0
    table = read_table(out)
    assert table.meta["ROBWID_A"] == 30.0
    assert table.meta["ROBSHR_B"] == 0.1
    assert "wrong" in table["outlier_probability"].description


def test_tune_lets_wrong_parallaxes_decide_nothing(survey, tmp_path):
    arguments = {"penalties": [200.0, 50.0, 12.0], "zero_points": [0.0483], "threads": 1}
    robust, table = tune(survey[0], config=ROBUST, resume=tmp_path / "points", **arguments)
    plain, other = tune(survey[0], config=ROBUST.replace(fit={"robust": False}), **arguments)
    # Chi-squared of stars held out is that of the right parallaxes.
    assert min(robust.means.values()) < 0.2 * min(plain.means.values())
    assert table.meta["ROBOUT"] == pytest.approx(600 * 0.05, rel=0.3)
    assert table.meta["ROBCNV"] is True
    assert "ROBOUT" not in other.meta
    likely, _ = tune(survey[0], config=ROBUST, score="likelihood", **arguments)
    unlikely, _ = tune(survey[0], config=ROBUST.replace(fit={"robust": False}), score="likelihood", **arguments)
    assert min(likely.means.values()) < min(unlikely.means.values()) - 0.3

    again, _ = tune(survey[0], config=ROBUST, resume=tmp_path / "points", **arguments)
    assert again.points == robust.points
    said = []
    other = ROBUST.replace(fit={"penalty": 3.0})  # of the fit that sets the weights
    tune(survey[0], config=other, resume=tmp_path / "points", say=said.append, **arguments)
    assert not any("going on" in line for line in said)


def test_a_wrong_parallax_has_little_weight_in_the_combination(survey, catalog):
    true = np.asarray(survey[1]["true_parallax"])
    plain = make_catalog(survey[0], config=ROBUST.replace(fit={"robust": False}), threads=1)
    wrong = np.nan_to_num(catalog["outlier_probability"]) > 0.5

    def off(table, which):
        return np.sqrt(np.mean(((table["combined_parallax"] - true)[which] / true[which]) ** 2))

    assert wrong.sum() > 20
    assert off(catalog, wrong) < 0.3 * off(plain, wrong)
    spec, error = catalog["spec_parallax"], catalog["spec_parallax_err_total"]
    np.testing.assert_allclose(catalog["combined_parallax"][wrong], spec[wrong], atol=float(np.max(error[wrong])))
    # Where there is no Gaia parallax, and where it is right, it is what it always was.
    assert catalog["combined_parallax"][0] == spec[0]
    assert catalog["combined_parallax_err"][0] == error[0]
    right = np.nan_to_num(catalog["outlier_probability"], nan=1.0) < 1e-3
    assert np.all(catalog["combined_parallax_err"][right] < 1.05 * error[right])
