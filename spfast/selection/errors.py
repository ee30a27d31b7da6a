"""The error budget of a model: what held-out residuals say of Gaia's errors and of the scatter that no error explains.

For a star that the model did not see::

    parallax_gaia - parallax_spec ~ N(0, (k sigma_gaia)^2 + (parallax_spec sigma_ln)^2)

with sigma_ln the total error of ln parallax (`spfast.model.budget`): from features, coefficients and an intrinsic
scatter s^2 (1 + growth (u - 1)), u how unlike the training stars a star is (1 in their mean). Part of the scatter is
what no spectrum tells, the same for all stars; what a model that is linear in the features leaves out is proportional
to the squared distance from the stars that it was fitted to. k, s and the growth are found by maximum likelihood on the
training stars, each predicted by a model of inner folds that did not see it.
"""

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from spfast.model.budget import ErrorBudget
from spfast.model.robust import Mixture
from spfast.selection.coefficients import CoefficientErrors
from spfast.selection.training import warn_of_unconverged

__all__ = ["fit_scatter", "held_out_predictions", "measure_errors"]

#: Residuals of the outlier component have this many times the others' standard deviation; as a robust fit says, if any.
_OUTLIER_WIDTH = 5.0
#: Where the search for (k, s, share of outliers, growth) begins; what (ln k, ln s, logit of the share, growth) may be.
_START = (1.0, 0.08, 0.005, 0.5)
_BOUNDS = ((-1.0, 1.5), (-9.0, 0.5), (-12.0, -1.5), (0.0, 1.0))


def measure_errors(model, training, splits, unlikeness=None, held_out=None, coefficients=None):
    """Measure a model's error budget on its own training stars, each predicted without itself.

    Parameters
    ----------
    model : FittedModel
    training : TrainingSet
        What it was fitted to.
    splits : sequence of Split
        Inner folds.
    unlikeness : float64 array, shape (n_rows,), optional
        u of the training stars, in the order of ``training.rows``; 1 by default, so that the scatter is the same for
        all.
    held_out : tuple, optional
        What `held_out_predictions` returned, if it was called already.
    coefficients : CoefficientErrors or SplitErrors, optional
        The first by default.

    Returns
    -------
    ErrorBudget
    """
    ln_parallax, ln_error = held_out_predictions(model, training, splits) if held_out is None else held_out
    coefficients = CoefficientErrors(model, training) if coefficients is None else coefficients
    terms = coefficients.held_out_terms(len(splits))
    predicted = np.exp(ln_parallax)
    gaia = training.gaia_error[training.rows]
    unlikeness = np.ones(training.rows.size) if unlikeness is None else unlikeness
    mixture = Mixture.of(model)
    k, s, growth, outliers = fit_scatter(
        training.parallax[training.rows] + model.zero_point - predicted,
        per_inflation=gaia**2 + predicted**2 * terms["gaia"],
        known=predicted**2 * (ln_error**2 + terms["features"]),
        per_scatter=predicted**2,
        per_coefficients=predicted**2 * terms["intrinsic"],
        unlikeness=unlikeness,
        outlier_width=_OUTLIER_WIDTH if mixture is None else mixture.outlier_width,
    )
    factor = coefficients.factor(k, s)
    return ErrorBudget(s, growth, k, outliers, int(training.rows.size), coefficients.columns, factor)


def held_out_predictions(model, training, splits):
    """Predict every training star by a fit that did not see it.

    Parameters
    ----------
    model : FittedModel
        Gives the penalty, the zero point and a start.
    training : TrainingSet
    splits : sequence of Split
        Folds that hold out every training star once.

    Returns
    -------
    ln_parallax, ln_error : float64 array, shape (n_rows,)
        In the order of ``training.rows``; the error is that from the features.

    Warns
    -----
    ConvergenceWarning
        If fits did not converge.
    """
    position = np.full(training.parallax.size, -1, dtype=np.int64)
    position[training.rows] = np.arange(training.rows.size)
    ln_parallax, ln_error = np.empty(training.rows.size), np.empty(training.rows.size)
    converged = []
    for split in splits:
        inner = training.fit_silently(model.penalty, model.zero_point, split.train, model.coef)
        converged.append(inner.result.converged)
        at = position[split.test]
        ln_parallax[at] = inner.predict_ln(training.features, split.test, training.threads)
        ln_error[at] = inner.predict_ln_error(training.feature_errors, split.test, training.threads)
    warn_of_unconverged(converged)
    return ln_parallax, ln_error


def fit_scatter(
    residual, per_inflation, known, per_scatter, per_coefficients, unlikeness, outlier_width=_OUTLIER_WIDTH
):
    """Find k, s and the growth of residuals by maximum likelihood.

    Their variance is ``k^2 per_inflation + known + s^2 (per_scatter (1 + growth (u - 1)) + per_coefficients)``.

    The likelihood is a Gaussian, with a small share of outliers in a second one that is wider.

    Parameters
    ----------
    residual : float64 array, shape (n,)
    per_inflation, known, per_scatter, per_coefficients : float64 array, shape (n,)
        In the square of the residual's unit.
    unlikeness : float64 array, shape (n,)
        u; the growth stays at its start if it is 1 for all.
    outlier_width : float
        Standard deviation of the outliers, in units of the others'.

    Returns
    -------
    k, s, growth, outlier_share : float

    Examples
    --------
    >>> import numpy as np
    >>> from spfast.selection.errors import fit_scatter
    >>> rng = np.random.default_rng(0)
    >>> sigma, value, none = rng.uniform(0.02, 0.1, 20000), rng.uniform(0.1, 2.0, 20000), np.zeros(20000)
    >>> residual = 1.2 * sigma * rng.normal(size=20000) + 0.1 * value * rng.normal(size=20000)
    >>> k, s, _, _ = fit_scatter(residual, sigma**2, none, value**2, none, none + 1.0)
    >>> round(k, 1), round(s, 2)
    (1.2, 0.1)
    """

    def minus_ln_likelihood(parameters):
        k, s = np.exp(parameters[:2])
        share = expit(parameters[2])
        scatter = s**2 * (per_scatter * (1.0 + parameters[3] * (unlikeness - 1.0)) + per_coefficients)
        variance = k**2 * per_inflation + known + scatter
        z2 = residual**2 / variance
        ordinary = np.log1p(-share) - 0.5 * z2
        outlying = np.log(share / outlier_width) - 0.5 * z2 / outlier_width**2
        return float(np.sum(0.5 * np.log(variance) - np.logaddexp(ordinary, outlying)))

    k, s, share, growth = _START
    start = np.array([np.log(k), np.log(s), np.log(share / (1.0 - share)), growth])
    # Not relying on gradients: s may go to zero, where the likelihood is flat in ln s.
    options = {"xatol": 1e-4, "fatol": 1e-4, "maxiter": 4000, "maxfev": 8000}
    found = minimize(minus_ln_likelihood, start, method="Nelder-Mead", bounds=_BOUNDS, options=options).x
    return float(np.exp(found[0])), float(np.exp(found[1])), float(found[3]), float(expit(found[2]))
