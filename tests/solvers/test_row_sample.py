"""Fits of many rows: samples of the rows stand in for all where that does not move the optimum."""

import numpy as np
import pytest
from problems import small_problem

import spfast
from spfast.model import start
from spfast.solvers import newton_state
from spfast.solvers.row_sample import weights_of_sample


def test_sample_has_nearly_the_gram_of_all_rows():
    rng = np.random.default_rng(0)
    columns, weights = rng.normal(size=(20_000, 20)), np.exp(2.0 * rng.normal(size=20_000))
    weights[::7] *= -0.1
    sample = weights_of_sample(weights, 0.3)
    assert np.count_nonzero(sample) == pytest.approx(6000, abs=2)
    whole, part = ((columns * w[:, None]).T @ columns for w in (weights, sample))
    assert np.linalg.norm(part - whole, 2) < 0.02 * np.linalg.norm(whole, 2)
    assert ((sample == 0.0) | (np.sign(sample) == np.sign(weights))).all()


def test_sample_keeps_the_sum_of_equal_weights():
    sample = weights_of_sample(np.r_[np.zeros(50), np.ones(1000)], 0.2)
    assert np.count_nonzero(sample) == pytest.approx(210, abs=1)
    assert sample.sum() == pytest.approx(1000.0, rel=0.01)


def test_few_rows_with_a_weight_are_all_taken():
    weights = np.r_[np.zeros(900), np.ones(100)]
    assert weights_of_sample(weights, 0.3) is weights


def many_rows_fit(monkeypatch, n_many, **options):
    monkeypatch.setattr(start, "MANY_STARS", n_many)
    monkeypatch.setattr(newton_state, "_MANY_ROWS", n_many)
    problem = small_problem(6000, 120)
    options = {"penalized": problem.penalized, "tolerance": 1e-4} | options
    return spfast.fit(*problem.arguments, 60.0, **options)


def test_fit_of_many_rows_has_the_optimum_of_one_without_samples(monkeypatch):
    many, few = many_rows_fit(monkeypatch, 1000), many_rows_fit(monkeypatch, 20_000)
    assert many.result.converged
    assert many.result.objective == pytest.approx(few.result.objective, rel=1e-9)
    np.testing.assert_array_equal(many.coef != 0.0, few.coef != 0.0)


def test_fit_of_many_rows_has_the_same_bits_with_one_thread_and_two(monkeypatch):
    one, two = (many_rows_fit(monkeypatch, 1000, threads=threads) for threads in (1, 2))
    assert one.coef.tobytes() == two.coef.tobytes()


def test_sample_that_cannot_be_fitted_is_not_the_start(monkeypatch):
    monkeypatch.setattr(start, "MANY_STARS", 1000)
    problem = small_problem(2000, 120)
    problem.parallax[5::10] = -1.0  # the tenth that is taken
    model = spfast.fit(*problem.arguments, 60.0, penalized=problem.penalized)
    assert model.result.converged
