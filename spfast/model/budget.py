"""The error budget of a model, as it travels with the model: what the error of any prediction is made of.

The error of ln parallax of a star that the model did not see has three parts::

    sigma_features^2 + sigma_coef^2 + s^2 (1 + growth (u - 1))

with the errors of the features propagated (Hogg, Eilers & Rix 2019, Eq. 5), the sampling error of the coefficients, and
an intrinsic scatter s that grows with u, how unlike the training stars a star is (1 in their mean).

The noise of the star's own features is in the first part already, multiplied by the coefficients as they are, their
errors included. What the coefficients' covariance C adds is ``x' C x`` of the *noise-free* features; the measured
ones give more than that by ``tr(C N)`` in the mean, with N the covariance of their noise, so this much is taken off.
"""

from dataclasses import dataclass, field

import numpy as np

from spfast.model.predict import NO_NEIGHBOURS, check_design, noise_variance, resolve_rows

__all__ = ["ErrorBudget", "coefficient_variance", "noise_of_covariance"]

#: Rows taken together.
_BLOCK_ROWS = 1024


@dataclass(frozen=True)
class ErrorBudget:
    """What makes up the error of a prediction.

    Attributes
    ----------
    intrinsic_scatter : float
        s, of ln parallax, for a star as unlike the others as training stars are in the mean.
    growth : float
        Share of the scatter's square, at u = 1, that is proportional to u; the rest is the same for all stars.
    gaia_inflation : float
        k: by what Gaia's errors are too small.
    outlier_share : float
        Share of the held-out stars in a component five times as wide.
    n_held_out : int
        Stars it was measured on.
    columns : int64 array, shape (n_columns,)
        Features that have a coefficient.
    factor : float64 array, shape (n_columns, rank)
        F, with F F' the covariance of their coefficients.
    """

    intrinsic_scatter: float
    growth: float
    gaia_inflation: float
    outlier_share: float
    n_held_out: int
    columns: np.ndarray = field(repr=False)
    factor: np.ndarray = field(repr=False)

    #: The numbers among the attributes.
    NUMBERS = ("intrinsic_scatter", "growth", "gaia_inflation", "outlier_share", "n_held_out")

    def to_dict(self):
        """The numbers alone, for a model's header (dict)."""
        return {name: getattr(self, name) for name in self.NUMBERS}

    def check(self, n_features):
        """Raise ValueError if the parts, as read from a file, do not fit together and with a model."""
        numbers = [getattr(self, name) for name in self.NUMBERS]
        if not all(isinstance(number, int | float) and np.isfinite(number) for number in numbers):
            raise ValueError("the numbers of its error budget are not finite")
        columns, factor = self.columns, self.factor
        if columns.dtype != np.int64 or columns.ndim != 1 or np.any((columns < 0) | (columns >= n_features)):
            raise ValueError("its error budget does not fit its coefficients")
        if factor.dtype != np.float64 or factor.shape[:1] != columns.shape or not np.isfinite(factor).all():
            raise ValueError("the covariance of its coefficients is damaged")

    def ln_error(
        self, features, feature_errors, features_ln_error, unlikeness, rows=None, threads=None, neighbours=None
    ):
        """Total error of ln parallax of stars that the model did not see.

        Parameters
        ----------
        features, feature_errors : float32 or float64 array, C order, shape (n_stars, n_features)
        features_ln_error : float64 array, shape (n_rows,)
            `FittedModel.predict_ln_error` of these rows.
        unlikeness : float64 array, shape (n_rows,)
            u of these rows.
        rows : bool mask or int array, optional
        threads : int, optional
        neighbours : Neighbours, optional
            As in `features_ln_error`.

        Returns
        -------
        float64 array, shape (n_rows,)
        """
        coefficients = coefficient_variance(
            self.factor, self.columns, features, feature_errors, rows, threads, neighbours
        )
        scatter = self.intrinsic_scatter**2 * (1.0 + self.growth * (unlikeness - 1.0))
        return np.sqrt(features_ln_error**2 + coefficients + scatter)


def coefficient_variance(factor, columns, features, feature_errors, rows=None, threads=None, neighbours=None):
    """Variance of ln parallax from errors of the coefficients: ``x' F F' x`` less what the noise of x adds to it.

    Parameters
    ----------
    factor : float64 array, shape (n_columns, rank)
        F.
    columns : int64 array, shape (n_columns,)
    features, feature_errors : float32 or float64 array, C order, shape (n_stars, n_features)
    rows : bool mask or int array, optional
    threads : int, optional
    neighbours : Neighbours, optional

    Returns
    -------
    float64 array, shape (n_rows,)

    Examples
    --------
    >>> import numpy as np
    >>> from spfast.model.budget import coefficient_variance
    >>> x = np.array([[1.0, 2.0], [1.0, -1.0]])
    >>> coefficient_variance(np.diag([0.1, 0.2]), np.arange(2), x, np.array([[0.0, 0.5], [0.0, 0.5]])).round(3).tolist()
    [0.16, 0.04]
    """
    features = check_design(features)
    rows = resolve_rows(rows, features.shape[0])
    variance = np.empty(rows.size)
    for start in range(0, rows.size, _BLOCK_ROWS):
        part = features[rows[start : start + _BLOCK_ROWS]][:, columns].astype(np.float64)
        variance[start : start + _BLOCK_ROWS] = np.sum((part @ factor) ** 2, axis=1)
    noise = noise_of_covariance(factor, factor, columns, feature_errors, rows, threads, neighbours)
    return np.maximum(variance - noise, 0.0)


def noise_of_covariance(left, right, columns, feature_errors, rows, threads=None, neighbours=None):
    """Return ``tr(C N)`` of each star, with ``C = left right'`` and N the covariance of its features' errors.

    Parameters
    ----------
    left, right : float64 array, shape (n_columns, rank)
    columns : int64 array, shape (n_columns,)
    feature_errors : float32 or float64 array, C order, shape (n_stars, n_features)
    rows : int array
    threads : int, optional
    neighbours : Neighbours, optional

    Returns
    -------
    float64 array, shape (n_rows,)
    """
    pairs, correlation = NO_NEIGHBOURS if neighbours is None else neighbours.pairs(columns)
    diagonal = np.einsum("kr,kr->k", left, right)
    # Twice the symmetric part of C, at each pair.
    beside = np.einsum("pr,pr->p", left[pairs[:, 0]], right[pairs[:, 1]])
    beside += np.einsum("pr,pr->p", left[pairs[:, 1]], right[pairs[:, 0]])
    return noise_variance(feature_errors, columns, diagonal, pairs, correlation * beside, rows, threads)
