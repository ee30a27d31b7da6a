"""A sample of the training stars, and of it the columns that models use: gathered once, and small."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from spfast.model.budget import ErrorBudget
from spfast.model.coordinates import CoordinateErrors
from spfast.model.extent import TrainingExtent
from spfast.model.fitted_model import FittedModel
from spfast.model.layout import FeatureLayout
from spfast.reads.reader import read_values
from spfast.selection.splits import Split
from spfast.training.stars import TrainingStars

__all__ = ["Sample"]


@dataclass(frozen=True)
class Sample:
    """Training stars with their own small arrays, in the order of ``rows``.

    Attributes
    ----------
    stars : TrainingStars
        All of its stars are training stars.
    rows : int64 array, shape (n_stars,)
        Where they are in the survey.
    columns : int64 array
        Which of the survey's features theirs are: those that some model uses, and the unpenalised ones. All of a
        low-rank model's, or of a design matrix without a layout.
    """

    stars: TrainingStars
    rows: np.ndarray
    columns: np.ndarray

    @classmethod
    def of(cls, stars: TrainingStars, rows: np.ndarray, models: Sequence[FittedModel]) -> "Sample":
        """Gather some of the training stars.

        Parameters
        ----------
        stars : TrainingStars
        rows : int64 array
            Some of ``stars.rows``.
        models : sequence of FittedModel
            What will be asked of these stars.
        """
        layout, errors = stars.layout, stars.feature_errors
        columns = np.arange(stars.features.shape[1])
        if isinstance(layout, FeatureLayout):
            used = np.any([(model.coef != 0.0) | ~model.penalized for model in models], axis=0)
            used[: layout.n_unpenalized] = True
            columns, layout = np.flatnonzero(used), layout.kept(used[layout.n_unpenalized :])
        if isinstance(errors, CoordinateErrors):
            errors = errors.of(rows)
        elif errors is not None:
            errors = read_values(errors, rows, columns)
        own = replace(
            stars,
            features=read_values(stars.features, rows, columns),
            feature_errors=errors,
            layout=layout,
            parallax=stars.parallax[rows],
            gaia_error=stars.gaia_error[rows],
            fit_error=stars.fit_error[rows],
            rows=np.arange(rows.size),
            penalized=None if stars.penalized is None else stars.penalized[columns],
            inlying=None if stars.inlying is None else stars.inlying[rows],
        )
        return cls(own, rows, columns)

    def model(self, model: FittedModel) -> FittedModel:
        """A model in the sample's columns."""
        return model if model.layout is None else model.for_layout(self.stars.layout)

    def splits(self, splits: Sequence[Split]) -> list[Split]:
        """What of each fold is in the sample; rows are the sample's."""
        parts = ((np.flatnonzero(np.isin(self.rows, side)) for side in (one.train, one.test)) for one in splits)
        return [Split(one.repeat, one.held_out, *part) for one, part in zip(splits, parts, strict=True)]

    def budget(self, budget: ErrorBudget) -> ErrorBudget:
        """A budget that was measured in the sample's columns, in the survey's."""
        return replace(budget, columns=self.columns[budget.columns])

    def extent(self, model: FittedModel) -> TrainingExtent:
        """Where the stars lie in a model's own features."""
        stars = self.stars
        own = self.model(model)
        in_fit = own.predict(stars.features, threads=stars.threads) / stars.fit_error
        misfit = stars.feature_errors.coordinates.misfit if isinstance(stars.feature_errors, CoordinateErrors) else None
        return TrainingExtent.of(own.position(stars.features, threads=stars.threads), in_fit**2, misfit)
