"""scikit-learn's door: all of its own checks, and what its users do with an estimator."""

import pickle

import numba
import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from joblib.parallel import ParallelBackendBase
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import spfast


@parametrize_with_checks([spfast.ExpLinearRegressor()])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def stars():
    """(X, y, weights): noisy values, a third of them negative."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(300, 12))
    error = rng.uniform(0.2, 0.6, size=300)
    y = np.exp(-1.0 + 0.6 * X[:, 0] - 0.4 * X[:, 3]) + error * rng.normal(size=300)
    assert 30 < (y < 0).sum() < 150
    return X, y, error**-2


def test_coefficients_are_those_of_fit_with_a_constant_in_front(stars):
    X, y, weights = stars
    penalized = np.arange(12) != 3
    model = spfast.ExpLinearRegressor(alpha=50.0, penalized=penalized).fit(X, y, sample_weight=weights)
    design = np.column_stack([np.ones(300), X])
    expected = spfast.fit(design, y, weights**-0.5, 50.0, penalized=np.append(False, penalized))
    np.testing.assert_allclose(np.append(model.intercept_, model.coef_), expected.coef, rtol=1e-12)
    np.testing.assert_allclose(model.predict(X), expected.predict(design), rtol=1e-12)
    assert model.coef_[3] != 0.0
    assert np.count_nonzero(model.coef_) < 12
    own = spfast.ExpLinearRegressor(alpha=50.0, fit_intercept=False, penalized=np.append(False, penalized))
    np.testing.assert_allclose(own.fit(design, y, sample_weight=weights).coef_, expected.coef, rtol=1e-12)
    assert own.intercept_ == 0.0


def test_whole_weights_are_repeated_rows_and_alpha_is_not_divided_by_their_number(stars):
    X, y, _ = stars
    counts = np.random.default_rng(6).integers(0, 4, size=300)
    model = spfast.ExpLinearRegressor(alpha=20.0, tol=1e-8)
    weighted = clone(model).fit(X, y, sample_weight=counts)
    repeated = clone(model).fit(np.repeat(X, counts, axis=0), np.repeat(y, counts))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-6, atol=1e-9)
    twice = clone(model).set_params(alpha=40.0).fit(X, y, sample_weight=2 * counts)
    np.testing.assert_allclose(twice.coef_, weighted.coef_, rtol=1e-6, atol=1e-9)


def test_a_search_over_a_pipeline_finds_the_penalty_and_threads_change_nothing(stars):
    X, y, weights = stars
    frame = pd.DataFrame(1e4 * X, columns=[f"line_{j}" for j in range(12)])
    pipeline = make_pipeline(StandardScaler().set_output(transform="pandas"), spfast.ExpLinearRegressor(n_jobs=-1))
    grid = {"explinearregressor__alpha": [1.0, 30.0, 1000.0]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(frame, y, explinearregressor__sample_weight=weights)
    best = search.best_estimator_[-1]
    assert best.alpha == 30.0
    assert list(best.feature_names_in_) == list(frame)
    again = pickle.loads(pickle.dumps(search)).predict(frame)
    assert (again == search.predict(frame)).all()
    alone = clone(search.best_estimator_).set_params(explinearregressor__n_jobs=1)
    assert (alone.fit(frame, y, explinearregressor__sample_weight=weights).predict(frame) == again).all()
    with parallel_config("threading"):
        held_out = cross_val_predict(pipeline, frame, y, cv=3, n_jobs=2)
    assert (held_out == cross_val_predict(pipeline, frame, y, cv=3)).all()


def test_one_thread_unless_asked_and_in_a_worker_no_more_than_joblib_leaves_it(monkeypatch):
    def threads(n_jobs):
        return spfast.ExpLinearRegressor(n_jobs=n_jobs)._threads()

    assert threads(None) == 1
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 3)
    monkeypatch.setattr("spfast.model.estimator.effective_n_jobs", lambda n_jobs: 8)
    assert threads(-1) == 3
    assert "NUMBA_NUM_THREADS" in ParallelBackendBase.MAX_NUM_THREADS_VARS  # what joblib sets for its workers


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (20, 1), (15, 60)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_few_samples_and_few_features_give_finite_predictions(shape, dtype):
    rng = np.random.default_rng(7)
    X = rng.normal(size=shape).astype(dtype)
    model = spfast.ExpLinearRegressor().fit(X, np.exp(0.3 * X[:, 0]))
    assert np.isfinite(model.predict(X)).all()
    assert model.n_features_in_ == shape[1]


def test_what_cannot_be_fitted_is_refused_in_one_line(stars):
    X, y, weights = stars
    model = spfast.ExpLinearRegressor()
    with pytest.raises(TypeError, match="Sparse data"):
        model.fit(sparse.csr_array(X), y)
    for wrong in (-weights, 0.0 * weights, weights[1:]):
        with pytest.raises(spfast.BadInputError, match="sample_weight"):
            model.fit(X, y, sample_weight=wrong)
    with pytest.raises(spfast.BadInputError, match="expected positive"):
        model.fit(X, -y)
    with pytest.raises(spfast.BadInputError, match="penalized"):
        clone(model).set_params(penalized=np.ones(11, dtype=bool)).fit(X, y)
