"""How far noise in the training stars moves a model's predictions: the sampling covariance of its coefficients.

On the support (non-zero and unpenalised columns) a small change of the training parallaxes moves the coefficients by
``H^-1 X' W mu (change)``, with H the Gauss-Newton curvature. The changes have three independent sources, so that the
covariance is a sum of three sandwiches ``H^-1 M H^-1``: Gaia's errors times their inflation k, the errors of the
features, and an intrinsic scatter s that is a share of the parallax. ``k`` and ``s`` stay free here.
"""

import numpy as np
from scipy.linalg import cho_factor, cho_solve

__all__ = ["CoefficientErrors"]

#: Rows taken together.
_BLOCK_ROWS = 1024
#: Relative to the scaled diagonal: keeps columns that are the same in all stars from ending the factorisation.
_RIDGE = 1e-10
#: A star that fixes more than this share of its own prediction has no error without it.
_MAX_LEVERAGE = 0.9


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
        self._training = training
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

    def held_out_terms(self, n_folds):
        """Variances of ln parallax of the training stars by models that did not see them.

        Parameters
        ----------
        n_folds : int
            K: such a model was trained on a share 1 - 1/K of the stars.

        Returns
        -------
        dict of float64 array, shape (n_rows,)
            Under ``"gaia"`` (times k^2), ``"features"`` and ``"intrinsic"`` (times s^2).
        """
        weights, rows = self._weights(), self._training.rows
        terms = {source: np.empty(rows.size) for source in self._noise}
        for block, part in self._blocks(rows):
            scaled = part / self._scale
            response = scaled @ self._inverse
            spread = np.einsum("ij,ij->i", response, scaled)
            # Without the star itself: Sherman and Morrison on H and on M.
            rest = np.maximum(1.0 - weights["curvature"][block] * spread, 1.0 - _MAX_LEVERAGE)
            for source, noise in self._noise.items():
                with_star = np.einsum("ij,ij->i", response @ noise, response)
                own = weights["noise"][source][block] * spread**2
                terms[source][block] = np.maximum(with_star - own, 0.0) / rest**2 * n_folds / (n_folds - 1)
        return terms

    def variance(self, rows, gaia_inflation, intrinsic_scatter):
        """Variance of ln parallax of stars that the model did not see (float64 array, shape (n_rows,)).

        Parameters
        ----------
        rows : bool mask or int array
        gaia_inflation, intrinsic_scatter : float
        """
        noise = gaia_inflation**2 * self._noise["gaia"] + self._noise["features"]
        noise = noise + intrinsic_scatter**2 * self._noise["intrinsic"]
        covariance = (self._inverse @ noise @ self._inverse) / np.outer(self._scale, self._scale)
        rows = np.flatnonzero(rows) if np.asarray(rows).dtype == bool else rows
        variance = np.empty(len(rows))
        for block, part in self._blocks(rows):
            variance[block] = np.einsum("ij,ij->i", part @ covariance, part)
        return np.maximum(variance, 0.0)

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


def _add_gram(gram, part, weights):
    weighted = part * np.sqrt(weights)[:, None]
    gram += weighted.T @ weighted
