"""The error budget of a model: what held-out residuals say of Gaia's errors and of the scatter that no error explains.

For a star that the model did not see::

    parallax_gaia - parallax_spec ~ N(0, (k sigma_gaia)^2 + parallax_spec^2 (sigma_features^2 + sigma_coef^2 + s^2))

with errors of ln parallax from features (Hogg, Eilers & Rix 2019, Eq. 5) and from coefficients. k and s are found by
maximum likelihood on the training stars, each predicted by a model of inner folds that did not see it.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from spfast.selection.coefficients import CoefficientErrors
from spfast.selection.training import warn_of_unconverged

__all__ = ["ErrorBudget", "fit_scatter", "held_out_predictions", "measure_errors"]

#: Residuals of the outlier component have this many times the others' standard deviation.
_OUTLIER_WIDTH = 5.0
#: Where the search for (k, s, share of outliers) begins, and what they may be.
_START = (1.0, 0.08, 0.005)
_LOG_BOUNDS = ((-1.0, 1.5), (-9.0, 0.5), (-12.0, -1.5))


@dataclass(frozen=True)
class ErrorBudget:
    """What makes up the error of a prediction.

    Attributes
    ----------
    intrinsic_scatter : float
        s, of ln parallax.
    gaia_inflation : float
        k.
    outlier_share : float
        Share of the held-out stars in a component five times as wide.
    n_held_out : int
        Stars it was measured on.
    coefficients : CoefficientErrors
    """

    intrinsic_scatter: float
    gaia_inflation: float
    outlier_share: float
    n_held_out: int
    coefficients: CoefficientErrors

    def ln_error(self, rows, features_ln_error):
        """Total error of ln parallax of stars that the model did not see.

        Parameters
        ----------
        rows : bool mask or int array
        features_ln_error : float64 array, shape (n_rows,)
            `FittedModel.predict_ln_error` of these rows.

        Returns
        -------
        float64 array, shape (n_rows,)
        """
        coefficients = self.coefficients.variance(rows, self.gaia_inflation, self.intrinsic_scatter)
        return np.sqrt(features_ln_error**2 + coefficients + self.intrinsic_scatter**2)

    def to_dict(self):
        """The numbers alone, for a model's metadata (dict)."""
        names = ("intrinsic_scatter", "gaia_inflation", "outlier_share", "n_held_out")
        return {name: getattr(self, name) for name in names}


def measure_errors(model, training, splits, held_out=None):
    """Measure a model's error budget on its own training stars, each predicted without itself.

    Parameters
    ----------
    model : FittedModel
    training : TrainingSet
        What it was fitted to.
    splits : sequence of Split
        Inner folds.
    held_out : tuple, optional
        What `held_out_predictions` returned, if it was called already.

    Returns
    -------
    ErrorBudget
    """
    ln_parallax, ln_error = held_out_predictions(model, training, splits) if held_out is None else held_out
    coefficients = CoefficientErrors(model, training)
    terms = coefficients.held_out_terms(len(splits))
    predicted = np.exp(ln_parallax)
    gaia = training.gaia_error[training.rows]
    k, s, outliers = fit_scatter(
        training.parallax[training.rows] + model.zero_point - predicted,
        per_inflation=gaia**2 + predicted**2 * terms["gaia"],
        known=predicted**2 * (ln_error**2 + terms["features"]),
        per_scatter=predicted**2 * (1.0 + terms["intrinsic"]),
    )
    return ErrorBudget(s, k, outliers, int(training.rows.size), coefficients)


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


def fit_scatter(residual, per_inflation, known, per_scatter):
    """Find k and s of residuals whose variance is ``k^2 per_inflation + known + s^2 per_scatter``.

    Maximum likelihood under a Gaussian, a small share of outliers in a second one five times as wide.

    Parameters
    ----------
    residual : float64 array, shape (n,)
    per_inflation, known, per_scatter : float64 array, shape (n,)
        In the square of the residual's unit.

    Returns
    -------
    k, s, outlier_share : float

    Examples
    --------
    >>> import numpy as np
    >>> from spfast.selection.errors import fit_scatter
    >>> rng = np.random.default_rng(0)
    >>> sigma, value = rng.uniform(0.02, 0.1, 20000), rng.uniform(0.1, 2.0, 20000)
    >>> residual = 1.2 * sigma * rng.normal(size=20000) + 0.1 * value * rng.normal(size=20000)
    >>> k, s, _ = fit_scatter(residual, sigma**2, np.zeros(20000), value**2)
    >>> round(k, 1), round(s, 2)
    (1.2, 0.1)
    """

    def minus_ln_likelihood(parameters):
        k, s = np.exp(parameters[:2])
        share = expit(parameters[2])
        variance = k**2 * per_inflation + known + s**2 * per_scatter
        z2 = residual**2 / variance
        wide = _OUTLIER_WIDTH**2
        ordinary = np.log1p(-share) - 0.5 * z2
        outlying = np.log(share / _OUTLIER_WIDTH) - 0.5 * z2 / wide
        return float(np.sum(0.5 * np.log(variance) - np.logaddexp(ordinary, outlying)))

    k, s, share = _START
    start = np.array([np.log(k), np.log(s), np.log(share / (1.0 - share))])
    # Not relying on gradients: s may go to zero, where the likelihood is flat in ln s.
    options = {"xatol": 1e-4, "fatol": 1e-4, "maxiter": 2000, "maxfev": 4000}
    found = minimize(minus_ln_likelihood, start, method="Nelder-Mead", bounds=_LOG_BOUNDS, options=options)
    return float(np.exp(found.x[0])), float(np.exp(found.x[1])), float(expit(found.x[2]))
