"""The error budget of a model: what held-out residuals say of Gaia's errors and of the misfit that no error explains.

For a star that the model did not see::

    parallax_gaia - parallax_spec exp(-offset) ~ N(0, (k sigma_gaia)^2 + (parallax_spec sigma_ln)^2)

with sigma_ln the error of ln parallax from features, coefficients and an intrinsic scatter (`spfast.model.budget`).
Part of the scatter is what no spectrum tells, the same for all stars; what a model that is linear in the features
leaves out grows with the squared distance from the stars that it was fitted to, and with the weakness of lines; the
variance with the squares of these.
The offset is a parabola in the colour H - W2 and another in the predicted ln parallax. k, s, the two growths and the
parabolas are found by maximum likelihood on the training stars, each predicted by a model of inner folds that did not
see it. Each of these models has its own errors of the coefficients, so that its stars are treated as any star will be.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from spfast.kernels.stop import raise_if_stopped
from spfast.kernels.team import side_by_side
from spfast.model.budget import ErrorBudget, dust_colour, offset_basis
from spfast.model.fitted_model import FittedModel
from spfast.model.mixture import Mixture
from spfast.selection.splits import Split
from spfast.training.coefficient_errors import CoefficientErrors, SplitErrors
from spfast.training.held_out import HeldOut, fit_without, predict_held_out
from spfast.training.stars import TrainingStars

__all__ = ["Misfit", "coefficient_terms", "fit_misfit", "fit_without_like", "hold_out_like", "measure_errors"]

#: Residuals of the outlier component have this many times the others' standard deviation; as a robust fit says, if any.
_OUTLIER_WIDTH = 5.0
#: Where the search begins, and what may be found: ln k, logit of the share of outliers, ln of the three parts of s^2,
#: the four coefficients of the offset, and ln of the features' inflation.
_START = (0.0, logit(0.005), *[np.log(0.08**2 / 3.0)] * 3, 0.0, 0.0, 0.0, 0.0, 0.0)
_BOUNDS = ((-1.0, 1.5), (-12.0, -1.5), *[(-16.0, 1.0)] * 3, *[(-0.5, 0.5)] * 4, (-0.7, 1.0))
#: Relative decrease of minus ln likelihood at which the search ends: with more, rounding decides the last per cent.
_SMALL_DECREASE = 1e-13
#: k and s with which the share of the coefficients' errors is first looked up, and how often both are found in turn.
_FIRST, _ROUNDS = (1.0, 0.1), 2
#: Training stars between these quantiles tell where an offset is followed to.
_FOLLOWED = (0.005, 0.995)


class Misfit(NamedTuple):
    """Scatter and offset of residuals beyond their errors.

    Attributes
    ----------
    gaia_inflation : float
        k.
    variance : float64 array, shape (3,)
        Of ln parallax: the part that is the same for all stars, and those proportional to u and to w.
    outlier_share : float
    offset : float64 array, shape (4,)
        Of ln parallax, for each column of the basis.
    feature_inflation : float
        By what the errors from the features are too small.
    """

    gaia_inflation: float
    variance: np.ndarray
    outlier_share: float
    offset: np.ndarray
    feature_inflation: float


def measure_errors(
    model: FittedModel,
    stars: TrainingStars,
    splits: Sequence[Split],
    held_out: HeldOut | None = None,
    split_errors: SplitErrors | None = None,
    subtracted: bool = True,
    zero_point_error: float | None = None,
) -> ErrorBudget:
    """Measure a model's error budget on its own training stars, each predicted without itself.

    Parameters
    ----------
    model : FittedModel
        Without an extent the scatter is the same for all stars.
    stars : TrainingStars
        What it was fitted to, or a sample of that.
    splits : sequence of Split
        Inner folds of these stars.
    held_out : HeldOut, optional
        These stars by models without their fold; by default as `hold_out_like` finds it.
    split_errors : SplitErrors, optional
        Errors of the coefficients from repeated inner folds; by default those of sandwich covariances.
    subtracted : bool
        Whether the offset of stars held out is subtracted from predictions, not counted as an error.
    zero_point_error : float [mas], optional
        Of the zero point that the model was fitted with.

    Returns
    -------
    ErrorBudget
    """
    held_out = hold_out_like(model, stars, splits) if held_out is None else held_out
    sandwich, rows, unlikeness = CoefficientErrors(model, stars), stars.rows, np.ones((stars.rows.size, 2))
    if split_errors is None:
        coefficients, terms = sandwich, coefficient_terms(held_out, stars, splits)
    else:
        coefficients, terms = split_errors, split_errors.held_out_terms(len(splits))
    if model.extent is not None:
        unlikeness = model.extent.unlikeness(model.position(stars.features, rows, stars.threads))
    colour = dust_colour(stars.layout, stars.features, rows)
    quantities = (colour, held_out.ln_parallax)
    followed = [_followed(x) for x in quantities]
    basis = np.hstack([offset_basis(x, *where) for x, where in zip(quantities, followed, strict=True)])
    k, s, share = *_FIRST, 1.0
    for _ in range(_ROUNDS):
        if split_errors is None:
            share = coefficients.moved_share(held_out.jackknife, len(splits), k, s)
        found = fit_misfit(
            stars.raw_parallax + model.zero_point,
            stars.gaia_error[rows],
            held_out.ln_parallax,
            held_out.ln_error,
            {source: share * variance for source, variance in terms.items()},
            unlikeness,
            basis,
            _OUTLIER_WIDTH if model.robust is None else float(model.robust.outlier_width),
        )
        k, s = found.gaia_inflation, float(np.sqrt(found.variance.sum()))
    _, growth, weak_line_growth = (float(part) / s**2 for part in found.variance)
    budget = ErrorBudget(
        intrinsic_scatter=s,
        growth=growth,
        weak_line_growth=weak_line_growth,
        gaia_inflation=k,
        feature_inflation=found.feature_inflation,
        outlier_share=found.outlier_share,
        n_held_out=int(rows.size),
        columns=coefficients.columns,
        factor=np.sqrt(share) * coefficients.factor(k, s),
        offset=np.hstack([followed, found.offset.reshape(2, 2)]),
        subtracted=subtracted,
    )
    if zero_point_error is None:
        return budget
    return budget.with_zero_point_error(zero_point_error, sandwich.moved_by(zero_point_error))


def fit_without_like(
    model: FittedModel, stars: TrainingStars, splits: Sequence[Split], done: Callable[[], None] = lambda: None
) -> list[FittedModel]:
    """Fit without the stars of each fold as a model was fitted with all of them; ``done`` is called after each fit.

    Warns
    -----
    ConvergenceWarning
        If fits did not converge.
    """

    def fit(split, threads):
        return stars.with_threads(threads).fit_part_like(model, split.train)

    return fit_without(stars, splits, fit, done)


def hold_out_like(model: FittedModel, stars: TrainingStars, splits: Sequence[Split]) -> HeldOut:
    """Predict every training star by a fit without it, made as a model was made with all of them."""
    return predict_held_out(stars, splits, fit_without_like(model, stars, splits))


def coefficient_terms(held_out: HeldOut, stars: TrainingStars, splits: Sequence[Split]) -> dict:
    """Variances from errors of the coefficients, of each star by the model that did not see it.

    Returns
    -------
    dict of float64 array, shape (n_rows,)
        As `CoefficientErrors.terms`, in the order of the training stars.
    """

    def terms_of(model, split, threads):
        part = replace(stars, rows=split.train).with_threads(threads)
        return CoefficientErrors(model, part).terms(split.test)

    of_folds = side_by_side(
        [partial(terms_of, *of_fold) for of_fold in zip(held_out.models, splits, strict=True)], stars.threads
    )
    terms = {}
    for at, of_fold in zip(held_out.places, of_folds, strict=True):
        for source, variance in of_fold.items():
            terms.setdefault(source, np.empty(stars.rows.size))[at] = variance
    return terms


def fit_misfit(
    parallax: np.ndarray,
    gaia_error: np.ndarray,
    ln_parallax: np.ndarray,
    ln_error: np.ndarray,
    terms: dict,
    unlikeness: np.ndarray,
    basis: np.ndarray,
    outlier_width: float = _OUTLIER_WIDTH,
) -> Misfit:
    """Find k, the intrinsic scatter, its growth and the offset of held-out predictions by maximum likelihood.

    The likelihood is that of `spfast.model.mixture.Mixture`, with a variance of more parts.

    Parameters
    ----------
    parallax, gaia_error : float64 array, shape (n,) [mas]
        Measured, with the zero point added.
    ln_parallax, ln_error : float64 array, shape (n,)
        Predicted, and the error from the features.
    terms : dict of float64 array, shape (n,)
        Variances from errors of the coefficients, as `CoefficientErrors.terms`.
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
    >>> from spfast.training.error_budget import fit_misfit
    >>> rng = np.random.default_rng(0)
    >>> sigma, predicted, none = rng.uniform(0.02, 0.1, 20000), rng.uniform(0.1, 2.0, 20000), np.zeros(20000)
    >>> parallax = predicted + 1.2 * sigma * rng.normal(size=20000) + 0.1 * predicted * rng.normal(size=20000)
    >>> terms = {"gaia": none, "features": none, "intrinsic": none}
    >>> ones, no_offset = np.ones((20000, 2)), np.zeros((20000, 4))
    >>> found = fit_misfit(parallax, sigma, np.log(predicted), none, terms, ones, no_offset)
    >>> round(found.gaia_inflation, 1), round(float(found.variance.sum() ** 0.5), 2)
    (1.2, 0.1)
    """
    growing, from_features = np.vstack([np.ones(len(unlikeness)), unlikeness.T]), ln_error**2

    def minus_ln_likelihood(parameters):
        """The sum over stars and its gradient."""
        raise_if_stopped()
        k2, mixture = np.exp(2.0 * parameters[0]), Mixture(expit(parameters[1]), outlier_width, 0.0)
        parts, features = np.exp(parameters[2:5]), np.exp(2.0 * parameters[9]) * from_features
        predicted = np.exp(ln_parallax - basis @ parameters[5:9])
        coefficients = k2 * terms["gaia"] + terms["features"] + parts.sum() * terms["intrinsic"]
        counts = coefficients > 0.0  # the noise of features, taken off, can make it negative
        of_ln = features + np.where(counts, coefficients, 0.0) + parts @ growing
        residual, variance = parallax - predicted, k2 * gaia_error**2 + predicted**2 * of_ln
        by_residual, by_variance, by_share = mixture.slopes(residual, variance)
        by_of_ln = by_variance * predicted**2
        of_coefficients = np.where(counts, by_of_ln, 0.0)
        gradient = np.concatenate(
            [
                [2.0 * k2 * (by_variance @ gaia_error**2 + of_coefficients @ terms["gaia"]), by_share.sum()],
                parts * (growing @ by_of_ln + of_coefficients @ terms["intrinsic"]),
                (by_residual * predicted - 2.0 * by_of_ln * of_ln) @ basis,
                [2.0 * by_of_ln @ features],
            ]
        )
        return mixture.minus_ln_likelihood(residual, variance), gradient

    options = {"maxiter": 500, "ftol": _SMALL_DECREASE}
    found = minimize(minus_ln_likelihood, _START, jac=True, method="L-BFGS-B", bounds=_BOUNDS, options=options).x
    return Misfit(
        float(np.exp(found[0])), np.exp(found[2:5]), float(expit(found[1])), found[5:9], float(np.exp(found[9]))
    )


def _followed(x):
    """Where training stars begin and end, their mean and spread in between: the arguments of `offset_basis`."""
    low, high = np.quantile(x, _FOLLOWED)
    x = np.clip(x, low, high)
    return low, high, x.mean(), x.std() or 1.0
