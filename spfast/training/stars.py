"""The stars that a choice or a model may look at, and one way to fit any of them."""

import warnings
from dataclasses import dataclass, field, replace

import numpy as np

from spfast.errors import ConvergenceWarning
from spfast.model.fit import Fitter, fit
from spfast.model.layout import FeatureLayout
from spfast.model.robust import Mixture

__all__ = ["TrainingSet", "warn_of_unconverged"]


@dataclass(frozen=True)
class TrainingSet:
    """Training stars of a survey, or of one fold of it; nothing here copies the design matrix.

    Attributes
    ----------
    features, feature_errors : float32 array, shape (n_stars, n_features)
        Of the whole survey.
    layout : FeatureLayout
    parallax : float64 array, shape (n_stars,) [mas]
        Without the zero point that a fit adds.
    gaia_error : float64 array, shape (n_stars,) [mas]
        As published.
    fit_error : float64 array, shape (n_stars,) [mas]
        One over the square root of the weights of a fit: ``gaia_error``, or more.
    rows : int64 array
        The training stars.
    options : dict
        Further arguments of every fit: solver, tolerance, threads, ...
    pixel_correlation : tuple of float
        Of every model: correlation of the errors of pixels 1, 2, ... apart.
    inlying : float64 array, shape (n_stars,), or None
        What a robust fit multiplies inverse variances by, below 1 for outliers; in ``fit_error`` already.
    """

    features: np.ndarray = field(repr=False)
    feature_errors: np.ndarray = field(repr=False)
    layout: FeatureLayout = field(repr=False)
    parallax: np.ndarray = field(repr=False)
    gaia_error: np.ndarray = field(repr=False)
    fit_error: np.ndarray = field(repr=False)
    rows: np.ndarray
    options: dict
    pixel_correlation: tuple = ()
    inlying: np.ndarray | None = field(default=None, repr=False)

    @property
    def threads(self):
        return self.options.get("threads")

    def fit(self, penalty, zero_point, rows=None, start=None, metadata=None, robust=False):
        """Fit some of the training stars, all by default (FittedModel); ``start`` are coefficients nearby."""
        options = self.options if start is None else {**self.options, "start": start}
        model = fit(
            self.features,
            self.parallax,
            self.fit_error,
            penalty=penalty,
            rows=self.rows if rows is None else rows,
            zero_point=zero_point,
            layout=self.layout,
            metadata=metadata,
            robust=robust,
            **options,
        )
        return replace(model, pixel_correlation=self.pixel_correlation)

    def fit_silently(self, penalty, zero_point, rows, start):
        """As `fit`, without a warning if it does not converge: one of many, whose caller counts."""
        options = {name: value for name, value in self.options.items() if name != "start"}
        start = self.options.get("start", "photometric") if start is None else start
        with Fitter(self.features, self.parallax, self.fit_error, rows=rows, layout=self.layout, **options) as fitter:
            model = fitter.fit(penalty, zero_point, start)
        return replace(model, pixel_correlation=self.pixel_correlation)

    def fit_part(self, model, rows):
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
        penalty = model.penalty * rows.size / self.rows.size
        return self.fit_silently(penalty, model.zero_point, rows, model.coef)

    def with_fit_error(self, fit_error):
        """The same stars under other weights."""
        return replace(self, fit_error=fit_error, inlying=None)

    def with_weights_of(self, model):
        """The same stars under the weights that a robust model gave them in the end; no others for a plain model."""
        mixture = Mixture.of(model)
        if mixture is None:
            return self
        predicted = model.predict(self.features, self.rows, self.threads)
        residual = self.parallax[self.rows] + model.zero_point - predicted
        inlying = np.ones(self.parallax.size)
        inlying[self.rows] = mixture.weights(residual, self.fit_error[self.rows], predicted)
        return replace(self, fit_error=self.fit_error / np.sqrt(inlying), inlying=inlying)


def warn_of_unconverged(converged):
    """Warn once of all the fits to held-in folds that did not reach their tolerance.

    Parameters
    ----------
    converged : sequence of bool
        One for each fit.

    Warns
    -----
    ConvergenceWarning
        If any is False.
    """
    missed = sum(not done for done in converged)
    if missed:
        warnings.warn(f"{missed} of {len(converged)} fits for held-out stars did not converge", ConvergenceWarning, 3)
