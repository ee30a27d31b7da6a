"""Training stars with their weights, and how any part of them is fitted."""

from dataclasses import dataclass, field, replace

import numpy as np

from spfast.model.coordinates import CoordinateLayout
from spfast.model.fit import Fitter, fit
from spfast.model.fitted_model import FittedModel
from spfast.model.layout import FeatureLayout
from spfast.model.options import FitOptions
from spfast.model.robust import RobustSettings
from spfast.training.inputs import Inputs

__all__ = ["TrainingStars"]


@dataclass(frozen=True)
class TrainingStars:
    """Training stars of a survey, or of one fold of it; nothing here copies the design matrix.

    Attributes
    ----------
    features : float32 array, shape (n_stars, n_features)
        Of the whole survey.
    feature_errors : float16 or float32 array of the same shape, CoordinateErrors or None
        None where errors are unknown.
    layout : FeatureLayout, CoordinateLayout or None
    parallax : float64 array, shape (n_stars,) [mas]
        Without the zero point that a fit adds.
    gaia_error : float64 array, shape (n_stars,) [mas]
        As published.
    fit_error : float64 array, shape (n_stars,) [mas]
        One over the square root of the weights of a fit: ``gaia_error``, or more.
    rows : int64 array
        The training stars.
    options : FitOptions
        Of every fit.
    penalized : bool array, shape (n_features,), or None
        Columns under the penalty; the layout's by default.
    pixel_correlation : tuple of float
        Of every model: correlation of the errors of pixels 1, 2, ... apart.
    inlying : float64 array, shape (n_stars,), or None
        What a robust fit multiplies inverse variances by, below 1 for outliers; in ``fit_error`` already.
    """

    features: np.ndarray = field(repr=False)
    feature_errors: np.ndarray | None = field(repr=False)
    layout: FeatureLayout | None = field(repr=False)
    parallax: np.ndarray = field(repr=False)
    gaia_error: np.ndarray = field(repr=False)
    fit_error: np.ndarray = field(repr=False)
    rows: np.ndarray
    options: FitOptions = field(default_factory=FitOptions)
    penalized: np.ndarray | None = field(default=None, repr=False)
    pixel_correlation: tuple = ()
    inlying: np.ndarray | None = field(default=None, repr=False)

    @property
    def threads(self) -> int | None:
        """Of every pass; None for all processors."""
        return self.options.threads

    @property
    def raw_parallax(self) -> np.ndarray:
        """Of the training stars alone (float64 array, shape (n_rows,) [mas])."""
        return self.parallax[self.rows]

    def fit(
        self,
        penalty: float,
        zero_point: float,
        robust: RobustSettings | None = None,
        start: np.ndarray | None = None,
    ) -> FittedModel:
        """Fit all the training stars, by default from the start of the options; warns if the fit does not converge."""
        options = self.options if robust is None else replace(self.options, robust=robust)
        options = options if start is None else replace(options, start=start)
        model = fit(
            self.features,
            self.parallax,
            self.fit_error,
            penalty,
            penalized=self.penalized,
            rows=self.rows,
            layout=self.layout,
            zero_point=zero_point,
            options=options,
        )
        return replace(model, pixel_correlation=self.pixel_correlation)

    def fit_part(
        self, penalty: float, zero_point: float, rows: np.ndarray, start: np.ndarray | None = None
    ) -> FittedModel:
        """Fit a part of the training stars from coefficients nearby, without a warning: one of many fits.

        Parameters
        ----------
        penalty, zero_point : float [, mas]
        rows : int64 array
            The part.
        start : float64 array, shape (n_features,), optional
            By default the start of the options.
        """
        stars = {"penalized": self.penalized, "rows": rows, "layout": self.layout}
        with Fitter(self.features, self.parallax, self.fit_error, **stars, options=self.options) as fitter:
            model = fitter.fit(penalty, zero_point=zero_point, start=start)
        return replace(model, pixel_correlation=self.pixel_correlation)

    def fit_part_like(self, model: FittedModel, rows: np.ndarray) -> FittedModel:
        """Fit a part of the stars as a model was fitted to all of them: from its coefficients, with its zero point.

        The penalty is in proportion to the stars, for it stands against a sum over them. With all of it the part's
        model would be held back more than the model that it stands for, and its misfit would be larger.

        Parameters
        ----------
        model : FittedModel
            Fitted to all of these stars.
        rows : int64 array
            The part.
        """
        return self.fit_part(model.penalty * rows.size / self.rows.size, model.zero_point, rows, model.coef)

    def with_threads(self, threads: int | None) -> "TrainingStars":
        """The same stars, worked on by so many threads."""
        return replace(self, options=replace(self.options, threads=threads))

    def with_inputs(self, inputs: Inputs) -> "TrainingStars":
        """The same stars with other features."""
        return replace(self, features=inputs.features, feature_errors=inputs.errors, layout=inputs.layout)

    def with_columns(self, layout: CoordinateLayout, columns: np.ndarray) -> "TrainingStars":
        """The same stars with some of their features (int array), in a copy, and without errors."""
        features = np.ascontiguousarray(self.features[:, columns])
        return replace(self, features=features, feature_errors=None, layout=layout)

    def with_fit_error(self, fit_error: np.ndarray) -> "TrainingStars":
        """The same stars under other weights."""
        return replace(self, fit_error=fit_error, inlying=None)

    def with_added_parallax(self, added: np.ndarray) -> "TrainingStars":
        """The same stars, each with a number added to its parallax (float64 array, shape (n_rows,) [mas])."""
        parallax = self.parallax.copy()
        parallax[self.rows] += added
        return replace(self, parallax=parallax)

    def with_robust_weights(self, model: FittedModel) -> "TrainingStars":
        """The same stars under the weights that a robust model gave them in the end; no others for a plain model."""
        if model.robust is None:
            return self
        predicted = model.predict(self.features, self.rows, self.threads)
        residual = self.raw_parallax + model.zero_point - predicted
        inlying = np.ones(self.parallax.size)
        inlying[self.rows] = model.robust.mixture.weights(residual, self.fit_error[self.rows], predicted)
        return replace(self, fit_error=self.fit_error / np.sqrt(inlying), inlying=inlying)
