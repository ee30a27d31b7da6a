"""Stars held out: each predicted by a fit that did not see it. The one loop over folds that training has."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from spfast.errors import ConvergenceWarning
from spfast.model.fitted_model import FittedModel
from spfast.model.predict import linear_predictors
from spfast.reads.reader import side_by_side
from spfast.selection.splits import Split
from spfast.training.stars import TrainingStars

__all__ = ["HeldOut", "fit_without", "predict_held_out", "warn_of_unconverged"]


class HeldOut(NamedTuple):
    """Training stars as models that did not see them predict them.

    Attributes
    ----------
    ln_parallax, ln_error : float64 array, shape (n_rows,)
        In the order of the training stars. The error is that from the features, 0 where theirs are unknown.
    models : list of FittedModel
        One a fold.
    places : list of int64 array
        Where among the training stars those of each fold are.
    by_model : float64 array, shape (n_folds, n_rows)
        ln parallax of all the training stars by each model.
    """

    ln_parallax: np.ndarray
    ln_error: np.ndarray
    models: list
    places: list
    by_model: np.ndarray

    @property
    def jackknife(self) -> np.ndarray:
        """Variance of the predictions, from how far those of all the models are apart (float64 array)."""
        return (len(self.models) - 1) * np.var(self.by_model, axis=0)


def fit_without(
    stars: TrainingStars,
    splits: Sequence[Split],
    fit: Callable[[Split, int], FittedModel],
    done: Callable[[], None] = lambda: None,
) -> list[FittedModel]:
    """Fit once for each fold, without its stars; the fits are made side by side.

    Parameters
    ----------
    stars : TrainingStars
    splits : sequence of Split
    fit : callable
        Fits the stars of a split that are not held out, with a number of threads.
    done : callable, optional
        Called after each fit.

    Warns
    -----
    ConvergenceWarning
        If fits did not converge.
    """

    def fit_one(split, threads):
        model = fit(split, threads)
        done()
        return model

    models = side_by_side([partial(fit_one, split) for split in splits], stars.features, stars.threads)
    warn_of_unconverged([model.result.converged for model in models])
    return models


def predict_held_out(stars: TrainingStars, splits: Sequence[Split], models: Sequence[FittedModel]) -> HeldOut:
    """Predict every training star by the fit that did not see it.

    Parameters
    ----------
    stars : TrainingStars
    splits : sequence of Split
        Folds that hold out every training star once.
    models : sequence of FittedModel
        Fitted without one of the folds each.

    Returns
    -------
    HeldOut
    """
    place = np.full(stars.parallax.size, -1, dtype=np.int64)
    place[stars.rows] = np.arange(stars.rows.size)
    places = [place[split.test] for split in splits]
    by_model = linear_predictors(stars.features, [model.coef for model in models], stars.rows, stars.threads)
    ln_parallax, ln_error = np.empty(stars.rows.size), np.zeros(stars.rows.size)
    for split, model, at, predicted in zip(splits, models, places, by_model, strict=True):
        ln_parallax[at] = predicted[at]
        if stars.feature_errors is not None:
            ln_error[at] = model.propagate_ln_error(stars.feature_errors, split.test, stars.threads)
    return HeldOut(ln_parallax, ln_error, list(models), places, by_model)


def warn_of_unconverged(converged: Sequence[bool]) -> None:
    """Warn once of all the fits to held-in folds that did not reach their tolerance.

    Warns
    -----
    ConvergenceWarning
        If any is False.
    """
    missed = sum(not done for done in converged)
    if missed:
        warnings.warn(f"{missed} of {len(converged)} fits for held-out stars did not converge", ConvergenceWarning, 3)
