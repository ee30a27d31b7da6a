"""The parallax zero point fitted with the coefficients: from stars held out, by instrumental variables.

For given coefficients of the pixels the offsets solve, together with a correction ``b_n . change`` to ln parallax, the
moments ::

    sum_n w_n z_n (parallax_n + c_n . offsets - exp(eta_n + b_n . change)) = 0        z_n = [c_n, exp(eta_n) b_n]

and for given offsets the coefficients are a fit like any other: the two take turns until the offsets stay. What this
has over minimising one objective in both:

* ``eta`` is predicted by inner folds that did not see the star: an overfitted pixel cannot pay for an offset;
* ``b`` are a constant, the colours, and the luminosity that the spectrum implies, with its square: this corrects for
  the stars held out what a penalty has shrunk or noise has spread, and what is left over does not depend on the
  implied luminosity;
* the weights are ``w = 1/(error^2 + (s^2 + noise^2) guide^2)``, s being the scatter held out, ``noise`` what the errors
  of the features make of a typical prediction, and ``guide`` the parallax that the unpenalised columns alone suggest:
  a few nearby stars with tiny errors do not decide, and neither a measured parallax nor the noise of a prediction
  sets a star's weight. With ``robust`` an outlier's falls to almost none.

With a layout the magnitudes' coefficients sum to -0.2 ln 10, without which an offset and that sum do each other's work.
But at a given magnitude a star brighter than its spectrum implies is farther away than predicted, so that the sum that
predicts best is smaller: the offset comes out too small. By how much is simulated (SIMEX: Cook & Stefanski 1994, JASA
89, 1314): as much scatter as its own prediction has, s and noise, is added to all magnitudes of a star, and to a
covariate that is one of them, and what that moves the offsets by is taken back.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np

from spfast.blas import one_blas_thread
from spfast.config import COVARIATES, FITTED, ZERO_POINT, split_names, zero_point_in_mas
from spfast.data.survey import Survey
from spfast.data.zero_point import added_to_parallax, zero_point_covariates
from spfast.errors import BadInputError, SpfastWarning
from spfast.model.arrays import check_design, parallaxes_and_errors, resolve_rows
from spfast.model.fitted_model import FittedModel
from spfast.model.layout import FeatureLayout
from spfast.model.options import FitOptions
from spfast.model.parts import FittedZeroPoint
from spfast.model.robust import RobustSettings
from spfast.selection.splits import Split
from spfast.training.held_out import fit_without, predict_held_out
from spfast.training.moments import Moments, moments_design, refuse_parallaxes_alike
from spfast.training.stars import TrainingStars

__all__ = ["ZeroPointFit", "fit_offsets", "fit_survey_zero_point", "fit_zero_point", "with_fitted_zero_point"]

_MAX_STEPS = 12
#: The offsets have converged when a step moves none by this share of its error.
_SMALL_STEP = 0.05


@dataclass(frozen=True)
class ZeroPointFit:
    """Offsets that were fitted with a model.

    Attributes
    ----------
    model : FittedModel
        Its ``zero_point`` is the mean offset of the training stars [mas].
    offsets : float64 array, shape (1 + n_covariates,) [mas, mas per unit of the covariate]
        Added to a star's parallax: ``offsets[0] + covariates . offsets[1:]``.
    covariance : float64 array, shape (1 + n_covariates, 1 + n_covariates)
        Noise, and what a misfit of the model may do.
    noise : float64 array, shape (1 + n_covariates, 1 + n_covariates)
        The first of the two alone, a sandwich.
    correction : float64 array, shape (1 + n_covariates,)
        What has been added to ``offsets`` for scatter in the magnitudes.
    scatter : float
        s.
    n_steps : int
    converged : bool
    """

    model: FittedModel
    offsets: np.ndarray
    covariance: np.ndarray
    noise: np.ndarray
    correction: np.ndarray
    scatter: float
    n_steps: int
    converged: bool


@one_blas_thread()
def fit_zero_point(
    features: np.ndarray,
    parallax: np.ndarray,
    parallax_error: np.ndarray,
    penalty: float,
    *,
    covariates: np.ndarray | None = None,
    penalized: np.ndarray | None = None,
    rows: np.ndarray | None = None,
    layout: FeatureLayout | None = None,
    first: float = ZERO_POINT,
    n_folds: int = 5,
    options: FitOptions | None = None,
    **named: Any,
) -> ZeroPointFit:
    """Fit coefficients and zero point together.

    Parameters
    ----------
    features, parallax, parallax_error, penalty, penalized, rows, layout, options, **named
        As in `spfast.fit`. With a layout the distance modulus is exact. ``robust`` gives wrong parallaxes, found among
        the stars held out, as little weight as a robust fit does.
    covariates : float array, shape (n_stars, n_covariates), optional
        What the offset is linear in besides a constant, for each row of ``features``. Centre them, so that the
        constant is the offset of a typical star.
    first : float or Quantity [mas]
        Where the constant begins; the answer does not depend on it.
    n_folds : int
        Inner folds, by row.

    Returns
    -------
    ZeroPointFit

    Raises
    ------
    BadInputError
        If the input cannot be used.

    Examples
    --------
    >>> import numpy as np, spfast
    >>> rng = np.random.default_rng(1)
    >>> x = np.column_stack([np.ones(3000), rng.normal(size=(3000, 20))])
    >>> parallax = np.exp(-1.0 + 0.8 * x[:, 1]) - 0.05 + 0.02 * rng.normal(size=3000)
    >>> result = spfast.fit_zero_point(x, parallax, np.full(3000, 0.02), 2000.0, penalized=np.arange(21) > 1)
    >>> bool(abs(result.offsets[0] - 0.05) < 3 * result.covariance[0, 0] ** 0.5)
    True
    """
    options = FitOptions.of(options, **named)
    features = check_design(features)
    rows = resolve_rows(rows, len(features))
    if isinstance(n_folds, bool) or not isinstance(n_folds, Integral) or not 2 <= n_folds <= rows.size:
        raise BadInputError(f"n_folds is {n_folds!r}, expected a whole number from 2 to the {rows.size} training stars")
    label = np.arange(rows.size) % n_folds
    splits = [Split(0, str(k), rows[label != k], rows[label == k]) for k in range(n_folds)]
    exact = layout is not None and bool(layout.magnitudes)
    parallax, error = parallaxes_and_errors(parallax, parallax_error, len(features))
    of_each = replace(options, robust=None, exact_distance_modulus=exact)
    stars = TrainingStars(features, None, layout, parallax, error, error, rows, of_each, penalized)
    return fit_offsets(stars, splits, penalty, covariates=covariates, first=first, robust=options.robust)


def fit_offsets(
    stars: TrainingStars,
    splits: Sequence[Split],
    penalty: float,
    *,
    covariates: np.ndarray | None = None,
    first: float = ZERO_POINT,
    robust: RobustSettings | None = None,
) -> ZeroPointFit:
    """Fit coefficients and zero point of training stars together.

    Parameters
    ----------
    stars : TrainingStars
    splits : sequence of Split
        Inner folds that hold out every training star once.
    penalty, covariates, first
        As in `fit_zero_point`.
    robust : RobustSettings, optional
        Give wrong parallaxes, found among the stars held out, as little weight as a robust fit does.

    Returns
    -------
    ZeroPointFit

    Raises
    ------
    BadInputError
        For covariates of another shape or not finite, or if the unpenalised columns or the parallaxes do not tell near
        from far.
    """
    refuse_parallaxes_alike(stars)
    design = moments_design(stars, covariates)
    moments = Moments(stars, design, robust)
    offsets = np.zeros(design.shape[1])
    offsets[0] = zero_point_in_mas(first, "first")
    starts, converged = {}, False
    for n_steps in range(1, _MAX_STEPS + 1):  # noqa: B007 - its last value is in the result
        held_out = _hold_out(stars.with_added_parallax(design @ offsets), splits, penalty, starts)
        starts = {split.held_out: model.coef for split, model in zip(splits, held_out.models, strict=True)}
        moments.look(held_out.ln_parallax, held_out.ln_error, offsets)
        found, noise, covariance, correction = moments.solve()
        move, offsets = found - offsets, found
        if np.all(np.abs(move) <= _SMALL_STEP * np.sqrt(np.diag(covariance))):
            converged = True
            break
    added = design @ offsets
    mean = float(added.mean())
    model = stars.with_added_parallax(added - mean).fit(penalty, mean)
    return ZeroPointFit(model, offsets, covariance, noise, correction, moments.scatter, n_steps, converged)


def _hold_out(stars, splits, penalty, starts):
    def fit(split, threads):
        return stars.with_threads(threads).fit_part(penalty, 0.0, split.train, starts.get(split.held_out))

    return predict_held_out(stars, splits, fit_without(stars, splits, fit))


def fit_survey_zero_point(
    survey: Survey,
    stars: TrainingStars,
    splits: Sequence[Split],
    covariates: str,
    penalty: float,
    first: float,
    robust: RobustSettings | None = None,
) -> tuple[FittedModel, str]:
    """Fit coefficients and zero point of a survey's training stars together.

    Parameters
    ----------
    survey : Survey
    stars, splits, penalty, first, robust
        As in `fit_offsets`.
    covariates : str
        Names of `spfast.config.COVARIATES` with commas between them.

    Returns
    -------
    model : FittedModel
        With its ``fitted_zero_point``.
    summary : str
        The zero point in one line.

    Warns
    -----
    SpfastWarning
        If training stars lack a covariate.
    """
    names = split_names(covariates)
    values, pivots, missing = zero_point_covariates(survey.stars, names, rows=stars.rows)
    n_missing = int(missing[stars.rows].sum())
    if n_missing:
        text = f"{n_missing} training stars lack {' or '.join(names)}: taken to lie at the pivot of the zero point"
        warnings.warn(text, SpfastWarning, 2)
    found = fit_offsets(stars, splits, penalty, covariates=values, first=first, robust=robust)
    pivots, about = _independent_pivots(found.covariance, values[stars.rows], pivots)
    offsets, covariance = about @ found.offsets, about @ found.covariance @ about.T
    fitted = FittedZeroPoint(
        covariates=names,
        units=[COVARIATES[name] for name in names],
        pivots=pivots,
        offsets=offsets.tolist(),
        covariance=covariance.tolist(),
        noise=(about @ found.noise @ about.T).tolist(),
        correction=(about @ found.correction).tolist(),
        scatter=found.scatter,
        converged=found.converged,
    )
    return replace(found.model, fitted_zero_point=fitted), _summary(fitted)


def with_fitted_zero_point(survey: Survey, stars: TrainingStars, model: FittedModel) -> TrainingStars:
    """The training stars with what a fitted zero point adds to each, less the mean that the model adds itself."""
    added, _ = added_to_parallax(survey.stars, FITTED, fitted=model.fitted_zero_point)
    return replace(stars, parallax=stars.parallax + added - model.zero_point)


def _summary(fitted):
    names, offsets, pivots = fitted.covariates, fitted.offsets, fitted.pivots
    errors = np.sqrt(np.diag(fitted.covariance))
    summary = f"zero point {offsets[0]:.4f} +- {errors[0]:.4f} mas"
    if names:
        summary += " at " + ", ".join(f"{name} {pivot:g}" for name, pivot in zip(names, pivots, strict=True))
    for name, slope, error in zip(names, offsets[1:], errors[1:], strict=True):
        summary += f", {slope:+.4f} +- {error:.4f} mas/{COVARIATES[name]} in {name}"
    summary += ", fitted with the coefficients" if fitted.converged else ", fitted with the coefficients: NOT converged"
    return summary


def _independent_pivots(covariance, values, pivots):
    """Pivots at which the constant's error has nothing to do with the slopes', among the stars, and the way there."""
    about = np.eye(len(covariance))
    if not pivots:
        return [], about
    moved = np.clip(-np.linalg.solve(covariance[1:, 1:], covariance[1:, 0]), values.min(axis=0), values.max(axis=0))
    found = [float(f"{pivot + move:.4g}") for pivot, move in zip(pivots, moved, strict=True)]
    about[0, 1:] = np.array(found) - pivots
    return found, about
