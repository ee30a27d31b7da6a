"""At full width, three stars above S/N 20: the paper's start ends with every prediction zero, ours does not."""

import numpy as np
import pytest
from scipy.optimize import minimize

import spfast
from spfast.config import load_config
from spfast.model.start import paper_start
from spfast.simulate import simulate_survey

PENALTY, ZERO_POINT = 30.0, 0.0483
PIXELS = load_config(overrides={"features": {"rank": 0}})  # no low-rank model is needed


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    """A mock survey whose parallaxes have S/N below 15, but for three stars."""
    survey = simulate_survey(tmp_path_factory.mktemp("mock") / "survey", 450, seed=5, config=PIXELS, quiet=True)
    parallax = np.array(survey.stars["parallax"], dtype=float)
    error = np.array(survey.stars["parallax_error"], dtype=float)
    rows = np.flatnonzero(survey.stars["training_set"])
    brightest = rows[np.argsort(-parallax[rows] / error[rows])[:3]]
    error = np.maximum(error, parallax / 15.0)
    error[brightest] = parallax[brightest] / 25.0
    assert ((parallax / error)[rows] > 20).sum() == 3
    return survey, parallax, error, rows


def paper_way(survey, parallax, error, rows, start):
    """L-BFGS-B on the objective with lambda sign(coef) as the penalty's gradient, in float64."""
    design, penalized = survey.features[rows].astype(float), survey.layout.penalized
    target, ivar = parallax[rows] + ZERO_POINT, error[rows] ** -2.0

    def value_gradient(coef):
        mu = np.exp(design @ coef)
        residual = mu - target
        value = 0.5 * np.sum(ivar * residual**2) + PENALTY * np.abs(coef[penalized]).sum()
        return value, design.T @ (ivar * residual * mu) + np.where(penalized, PENALTY * np.sign(coef), 0.0)

    options = {"maxiter": 150, "maxfun": 200}
    return minimize(value_gradient, start, jac=True, method="L-BFGS-B", options=options).x


def test_paper_start_underflows_and_ours_does_not(training):
    survey, parallax, error, rows = training
    bright = rows[(parallax / error)[rows] > 20]
    first = paper_way(survey, parallax, error, bright, paper_start(survey.n_features))
    second = paper_way(survey, parallax, error, rows, first)
    design = survey.features[rows].astype(float)
    zero = 0.5 * np.sum(((parallax[rows] + ZERO_POINT) / error[rows]) ** 2)
    assert np.exp(design @ second).max() < 1e-6  # no star is predicted anything but zero
    for start in ("photometric", "burn-in"):
        model = spfast.fit(
            survey.features,
            parallax,
            error,
            PENALTY,
            rows=rows,
            zero_point=ZERO_POINT,
            layout=survey.layout,
            start=start,
        )
        assert model.result.converged
        assert model.result.objective < 0.1 * zero
        predicted = model.predict(survey.features, rows=rows)
        assert np.median(np.abs(predicted - parallax[rows] - ZERO_POINT) / error[rows]) < 1.5
    with pytest.warns(spfast.SpfastWarning, match="underflow"):
        model = spfast.fit(
            survey.features,
            parallax,
            error,
            PENALTY,
            rows=rows,
            zero_point=ZERO_POINT,
            layout=survey.layout,
            start=second,
        )
    assert model.result.objective < 0.1 * zero
