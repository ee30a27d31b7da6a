"""How far noise in the training stars moves a model's predictions: the sampling covariance of its coefficients.

On the support (non-zero and unpenalised columns) a small change of the training parallaxes moves the coefficients by
``H^-1 X' W mu (change)``, with H the Gauss-Newton curvature. The changes have three independent sources, so that the
covariance is a sum of three sandwiches ``H^-1 M H^-1``: Gaia's errors times their inflation k, the errors of the
features, and an intrinsic scatter s that is a share of the parallax. ``k`` and ``s`` stay free here. The formula knows
nothing of the penalty, which holds coefficients back: they move by less than it says. By how much less is seen where
inner folds give every star several predictions. The alternative needs no formula but many fits: how far coefficients
spread when a part of the stars is left out.
"""

from functools import cached_property

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import chdtri

from spfast.model.budget import quadratic_form
from spfast.training.stars import warn_of_unconverged

__all__ = ["CoefficientErrors", "SplitErrors"]

#: Rows taken together.
_BLOCK_ROWS = 1024
#: Relative to the scaled diagonal: keeps columns that are the same in all stars from ending the factorisation.
_RIDGE = 1e-10


class CoefficientErrors:
    """Sandwich covariances of a model's coefficients on their support.

    Parameters
    ----------
    model : FittedModel
    training : TrainingSet
        What it was fitted to.

    Attributes
    ----------
    columns : int64 array
        The support, unpenalised columns included.
    """

    def __init__(self, model, training):
        self._training, self._neighbours = training, model.neighbours
        self.columns = np.flatnonzero((model.coef != 0.0) | ~model.penalized)
        self._ln_parallax = model.predict_ln(training.features, training.rows, training.threads)
        self._ln_error = model.predict_ln_error(training.feature_errors, training.rows, training.threads)
        weights = self._weights()
        n = self.columns.size
        curvature = np.zeros((n, n))
        self._noise = {source: np.zeros((n, n)) for source in weights["noise"]}
        for block, part in self._blocks(training.rows):
            _add_gram(curvature, part, weights["curvature"][block])
            for source, values in weights["noise"].items():
                _add_gram(self._noise[source], part, values[block])
        diagonal = np.diag(curvature)
        self._scale = np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
        curvature /= np.outer(self._scale, self._scale)
        curvature[np.diag_indices(n)] += _RIDGE
        factor = cho_factor(curvature, overwrite_a=True)
        self._inverse = cho_solve(factor, np.eye(n))
        for source, noise in self._noise.items():
            self._noise[source] = noise / np.outer(self._scale, self._scale)

    def terms(self, rows, noise_off=True):
        """Variances of ln parallax of stars that the model did not see, by the source of the noise.

        Parameters
        ----------
        rows : int64 array
        noise_off : bool
            Whether what the noise of the star's own features adds is taken off, so that one or the other may be below
            0.

        Returns
        -------
        dict of float64 array, shape (n_rows,)
            Under ``"gaia"`` (times k^2), ``"features"`` and ``"intrinsic"`` (times s^2).
        """
        training, unscaled = self._training, self._inverse / self._scale[:, None]
        return {
            source: quadratic_form(
                unscaled @ noise,
                unscaled,
                self.columns,
                training.features,
                training.feature_errors if noise_off else None,
                rows,
                training.threads,
                self._neighbours,
            )
            for source, noise in self._noise.items()
        }

    def moved_share(self, jackknife, n_folds, gaia_inflation, intrinsic_scatter):
        """How much of these covariances is left with the penalty (float, 1 at most).

        Parameters
        ----------
        jackknife : float64 array, shape (n_rows,)
            Variance of the predictions of the training stars, from models that each leave out one of the folds.
        n_folds : int
        gaia_inflation, intrinsic_scatter : float
        """
        terms = self._of_training
        variance = gaia_inflation**2 * terms["gaia"] + terms["features"] + intrinsic_scatter**2 * terms["intrinsic"]
        # The median of chi-squared in units of its mean: a jackknife of K folds has K - 1 degrees of freedom.
        median = chdtri(n_folds - 1, 0.5) / (n_folds - 1)
        return min(1.0, float(np.median(jackknife / variance)) / median)

    @cached_property
    def _of_training(self):
        return self.terms(self._training.rows, noise_off=False)

    def factor(self, gaia_inflation, intrinsic_scatter):
        """F, with F F' the covariance of the coefficients in ``columns`` (float64 array, shape (n_columns, n_columns)).

        Parameters
        ----------
        gaia_inflation, intrinsic_scatter : float
        """
        noise = gaia_inflation**2 * self._noise["gaia"] + self._noise["features"]
        noise = noise + intrinsic_scatter**2 * self._noise["intrinsic"]
        noise[np.diag_indices_from(noise)] *= 1.0 + _RIDGE
        return (self._inverse @ np.linalg.cholesky(noise)) / self._scale[:, None]

    def _weights(self):
        """Of every training star in H and in each M (float64 arrays)."""
        training = self._training
        ivar = training.fit_error[training.rows] ** -2.0
        curvature = ivar * np.exp(2.0 * self._ln_parallax)
        noise = {
            "gaia": curvature * ivar * training.gaia_error[training.rows] ** 2,
            "features": (curvature * self._ln_error) ** 2,
            "intrinsic": curvature**2,
        }
        return {"curvature": curvature, "noise": noise}

    def _blocks(self, rows):
        features = self._training.features
        for start in range(0, len(rows), _BLOCK_ROWS):
            block = slice(start, min(start + _BLOCK_ROWS, len(rows)))
            yield block, features[rows[block]][:, self.columns].astype(np.float64)


class SplitErrors:
    """The spread of coefficients over repeated inner folds, as a jackknife that leaves out a fold at a time.

    Unlike the sandwich it knows of the penalty, of pixels that come and go, and of misfit that stars have in common; it
    has no more directions than models were fitted.

    Parameters
    ----------
    model : FittedModel
        Fitted to all the training stars.
    training : TrainingSet
    repeats : sequence of sequence of Split
        Folds that hold out every training star once, several times.

    Attributes
    ----------
    columns : int64 array
        Features that any of the models uses, unpenalised columns included.

    Warns
    -----
    ConvergenceWarning
        If fits did not converge.
    """

    def __init__(self, model, training, repeats):
        self._training, self._neighbours = training, model.neighbours
        spread, converged = [], []
        for splits in repeats:
            fits = [training.fit_part(model, split.train) for split in splits]
            converged += [fit.result.converged for fit in fits]
            coefs = np.array([fit.coef for fit in fits])
            spread.append((coefs - coefs.mean(axis=0)) * np.sqrt((1.0 - 1.0 / len(fits)) / len(repeats)))
        warn_of_unconverged(converged)
        spread = np.concatenate(spread)
        self.columns = np.flatnonzero(spread.any(axis=0) | ~model.penalized)
        self._factor = np.ascontiguousarray(spread[:, self.columns].T)

    def held_out_terms(self, n_folds):
        """As `CoefficientErrors.terms`, of the training stars by models that were trained on a share 1 - 1/K of them.

        All of it is under ``"features"``, for it knows no k and s.

        Parameters
        ----------
        n_folds : int
            K.
        """
        training = self._training
        variance = quadratic_form(
            self._factor,
            self._factor,
            self.columns,
            training.features,
            training.feature_errors,
            training.rows,
            training.threads,
            self._neighbours,
        )
        none = np.zeros(variance.size)
        return {"gaia": none, "features": variance * n_folds / (n_folds - 1), "intrinsic": none}

    def factor(self, gaia_inflation, intrinsic_scatter):
        """F, with F F' the covariance of the coefficients in ``columns`` (float64 array, shape (n_columns, n_models)).

        Parameters
        ----------
        gaia_inflation, intrinsic_scatter : float
            Not used: all noise is in the spread.
        """
        return self._factor


def _add_gram(gram, part, weights):
    weighted = part * np.sqrt(weights)[:, None]
    gram += weighted.T @ weighted
