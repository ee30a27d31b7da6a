"""The error budget of a model: what held-out residuals say of Gaia's errors and of the misfit that no error explains.

For a star that the model did not see::

    parallax_gaia - parallax_spec exp(-offset) ~ N(0, (k sigma_gaia)^2 + (parallax_spec sigma_ln)^2)

with sigma_ln the error of ln parallax from features, coefficients and an intrinsic scatter (`spfast.model.budget`).
Part of the scatter is what no spectrum tells, the same for all stars; what a model that is linear in the features
leaves out grows with the squared distance from the stars that it was fitted to, and with the weakness of lines; the
variance with the squares of these.
The offset is a parabola in the colour H - W2 and another in the predicted ln parallax. k, s, the two growths and the
parabolas are found by maximum likelihood on the training stars, each predicted by a model of inner folds that did not
see it. The errors of such a model's coefficients are its own, so that these stars are treated as any star will be.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from spfast.model.budget import ErrorBudget, dust_colour, offset_basis
from spfast.model.predict import linear_predictors
from spfast.model.robust import Mixture
from spfast.training.coefficient_errors import CoefficientErrors
from spfast.training.stars import warn_of_unconverged

__all__ = ["HeldOut", "Misfit", "fit_misfit", "held_out_predictions", "measure_errors"]

#: Residuals of the outlier component have this many times the others' standard deviation; as a robust fit says, if any.
_OUTLIER_WIDTH = 5.0
#: Where the search begins, and what may be found: ln k, logit of the share of outliers, ln of the three parts of s^2,
#: and the four coefficients of the offset.
_START = (0.0, logit(0.005), *[np.log(0.08**2 / 3.0)] * 3, 0.0, 0.0, 0.0, 0.0)
_BOUNDS = ((-1.0, 1.5), (-12.0, -1.5), *[(-16.0, 1.0)] * 3, *[(-0.5, 0.5)] * 4)
#: k and s with which the share of the coefficients' errors is first looked up, and how often both are found in turn.
_FIRST, _ROUNDS = (1.0, 0.1), 2
#: Training stars between these quantiles tell where an offset is followed to.
_FOLLOWED = (0.005, 0.995)


class HeldOut(NamedTuple):
    """Training stars as models that did not see them predict them.

    Attributes
    ----------
    ln_parallax, ln_error : float64 array, shape (n_rows,)
        The error is that from the features.
    terms : dict of float64 array, shape (n_rows,)
        Variances from errors of these models' coefficients: `CoefficientErrors.terms`.
    jackknife : float64 array, shape (n_rows,)
        Variance of the prediction, from how far those of all these models are apart.
    """

    ln_parallax: np.ndarray
    ln_error: np.ndarray
    terms: dict
    jackknife: np.ndarray


class Misfit(NamedTuple):
    """What residuals say beyond what is known of their errors.

    Attributes
    ----------
    gaia_inflation : float
        k.
    variance : float64 array, shape (3,)
        Of ln parallax: the part that is the same for all stars, and those proportional to u and to w.
    outlier_share : float
    offset : float64 array, shape (4,)
        Of ln parallax, for each column of the basis.
    """

    gaia_inflation: float
    variance: np.ndarray
    outlier_share: float
    offset: np.ndarray


def measure_errors(model, training, splits, unlikeness=None, held_out=None, coefficients=None, subtracted=True):
    """Measure a model's error budget on its own training stars, each predicted without itself.

    Parameters
    ----------
    model : FittedModel
    training : TrainingSet
        What it was fitted to.
    splits : sequence of Split
        Inner folds.
    unlikeness : float64 array, shape (n_rows, 2), optional
        u and w of the training stars, in the order of ``training.rows``; 1 by default, so that the scatter is the same
        for all.
    held_out : HeldOut, optional
        What `held_out_predictions` returned, if it was called already.
    coefficients : SplitErrors, optional
        Instead of sandwich covariances.
    subtracted : bool
        Whether the offset of stars held out is subtracted from predictions, not counted as an error.

    Returns
    -------
    ErrorBudget
    """
    sandwich = coefficients is None
    held_out = held_out_predictions(model, training, splits, sandwich) if held_out is None else held_out
    if sandwich:
        coefficients = CoefficientErrors(model, training)
    else:
        held_out = held_out._replace(terms=coefficients.held_out_terms(len(splits)))
    rows = training.rows
    unlikeness = np.ones((rows.size, 2)) if unlikeness is None else unlikeness
    colour = dust_colour(training.layout, training.features, rows)
    followed = [_followed(x) for x in (colour, held_out.ln_parallax)]
    basis = np.hstack(
        [offset_basis(x, *where) for x, where in zip((colour, held_out.ln_parallax), followed, strict=True)]
    )
    mixture = Mixture.of(model)
    k, s, share = *_FIRST, 1.0
    for _ in range(_ROUNDS):
        if sandwich:
            share = coefficients.moved_share(held_out.jackknife, len(splits), k, s)
        found = fit_misfit(
            training.parallax[rows] + model.zero_point,
            training.gaia_error[rows],
            held_out._replace(terms={source: share * variance for source, variance in held_out.terms.items()}),
            unlikeness,
            basis,
            _OUTLIER_WIDTH if mixture is None else mixture.outlier_width,
        )
        k, s = found.gaia_inflation, float(np.sqrt(found.variance.sum()))
    _, growth, weak_line_growth = (float(part) / s**2 for part in found.variance)
    return ErrorBudget(
        s,
        growth,
        weak_line_growth,
        k,
        found.outlier_share,
        int(rows.size),
        coefficients.columns,
        np.sqrt(share) * coefficients.factor(k, s),
        np.hstack([followed, found.offset.reshape(2, 2)]),
        subtracted,
    )


def held_out_predictions(model, training, splits, sandwich=True):
    """Predict every training star by a fit that did not see it.

    Parameters
    ----------
    model : FittedModel
        Fitted to all the training stars.
    training : TrainingSet
    splits : sequence of Split
        Folds that hold out every training star once.
    sandwich : bool
        Whether the variances from errors of these models' coefficients are wanted; ``terms`` is empty otherwise.

    Returns
    -------
    HeldOut
        In the order of ``training.rows``.

    Warns
    -----
    ConvergenceWarning
        If fits did not converge.
    """
    position = np.full(training.parallax.size, -1, dtype=np.int64)
    position[training.rows] = np.arange(training.rows.size)
    ln_parallax, ln_error = np.empty(training.rows.size), np.empty(training.rows.size)
    inner, terms = [training.fit_part(model, split.train) for split in splits], {}
    warn_of_unconverged([one.result.converged for one in inner])
    everywhere = linear_predictors(training.features, [one.coef for one in inner], training.rows, training.threads)
    for split, one, predicted in zip(splits, inner, everywhere, strict=True):
        at = position[split.test]
        ln_parallax[at] = predicted[at]
        ln_error[at] = one.predict_ln_error(training.feature_errors, split.test, training.threads)
        if sandwich:
            errors = CoefficientErrors(one, replace(training, rows=split.train))
            for source, variance in errors.terms(split.test).items():
                terms.setdefault(source, np.empty(training.rows.size))[at] = variance
    jackknife = (len(splits) - 1) * np.var(everywhere, axis=0)
    return HeldOut(ln_parallax, ln_error, terms, jackknife)


def fit_misfit(parallax, gaia_error, held_out, unlikeness, basis, outlier_width=_OUTLIER_WIDTH):
    """Find k, the intrinsic scatter, its growth and the offset of held-out predictions by maximum likelihood.

    The likelihood is a Gaussian, with a small share of outliers in a second one that is wider.

    Parameters
    ----------
    parallax, gaia_error : float64 array, shape (n,) [mas]
        Measured, with the zero point added.
    held_out : HeldOut
    unlikeness : float64 array, shape (n, 2)
        u and w.
    basis : float64 array, shape (n, 4)
        What the offset of ln parallax is a sum of.
    outlier_width : float
        Standard deviation of the outliers, in units of the others'.

    Returns
    -------
    Misfit

    Examples
    --------
    >>> import numpy as np
    >>> from spfast.training.error_budget import HeldOut, fit_misfit
    >>> rng = np.random.default_rng(0)
    >>> sigma, predicted, none = rng.uniform(0.02, 0.1, 20000), rng.uniform(0.1, 2.0, 20000), np.zeros(20000)
    >>> parallax = predicted + 1.2 * sigma * rng.normal(size=20000) + 0.1 * predicted * rng.normal(size=20000)
    >>> held_out = HeldOut(np.log(predicted), none, {"gaia": none, "features": none, "intrinsic": none}, none)
    >>> found = fit_misfit(parallax, sigma, held_out, np.ones((20000, 2)), np.zeros((20000, 4)))
    >>> round(found.gaia_inflation, 1), round(float(found.variance.sum() ** 0.5), 2)
    (1.2, 0.1)
    """
    u, w = unlikeness.T
    terms, known = held_out.terms, held_out.ln_error**2

    def minus_ln_likelihood(parameters):
        k2, share = np.exp(2.0 * parameters[0]), expit(parameters[1])
        same, with_u, with_w = np.exp(parameters[2:5])
        predicted = np.exp(held_out.ln_parallax - basis @ parameters[5:])
        coefficients = k2 * terms["gaia"] + terms["features"] + (same + with_u + with_w) * terms["intrinsic"]
        of_ln = known + np.maximum(coefficients, 0.0) + same + with_u * u + with_w * w
        variance = k2 * gaia_error**2 + predicted**2 * of_ln
        z2 = (parallax - predicted) ** 2 / variance
        ordinary = np.log1p(-share) - 0.5 * z2
        outlying = np.log(share / outlier_width) - 0.5 * z2 / outlier_width**2
        return float(np.sum(0.5 * np.log(variance) - np.logaddexp(ordinary, outlying)))

    found = minimize(minus_ln_likelihood, _START, method="L-BFGS-B", bounds=_BOUNDS, options={"maxiter": 500}).x
    return Misfit(float(np.exp(found[0])), np.exp(found[2:5]), float(expit(found[1])), found[5:])


def _followed(x):
    """Where training stars begin and end, their mean and spread in between: the arguments of `offset_basis`."""
    low, high = np.quantile(x, _FOLLOWED)
    x = np.clip(x, low, high)
    return low, high, x.mean(), x.std() or 1.0
