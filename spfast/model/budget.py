"""The error budget of a model, as it travels with the model: what the error of any prediction is made of.

The error of ln parallax of a star that the model did not see has four parts::

    f^2 sigma_features^2 + sigma_coef^2 + s^2 (1 + growth (u - 1) + weak_line_growth (w - 1)) [+ offset^2]

with the errors of the features propagated (Hogg, Eilers & Rix 2019, Eq. 5), the sampling error of the coefficients, an
intrinsic scatter s that grows with u, how unlike the training stars a star's spectrum is, and with w, how weak its
lines are (each 1 in the training stars' mean), and an offset that held-out stars of this colour and this predicted
parallax have in common. That is what a model that is linear in its features leaves where there is much dust, or where
a small value was predicted. It is subtracted from the prediction, or counts as an error of one that stays as it is.

The noise of the star's own features is in the first part already, multiplied by the coefficients as they are, their
errors included. What the coefficients' covariance C adds is ``x' C x`` of the *noise-free* features; the measured
ones give more than that by ``tr(C N)`` in the mean, with N the covariance of their noise, so this much is taken off.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from spfast.kernels.stop import raise_if_stopped
from spfast.model import kinds
from spfast.model.arrays import check_design, resolve_rows
from spfast.model.coordinates import CoordinateErrors
from spfast.model.in_blocks import product
from spfast.model.kinds import LARGEST, entry
from spfast.model.predict import NO_NEIGHBOURS, noise_variance
from spfast.reads.rows import map_rows

__all__ = [
    "ErrorBudget",
    "coefficient_variance",
    "dust_colour",
    "noise_of_covariance",
    "offset_basis",
    "quadratic_forms",
]

#: Rows taken together.
_BLOCK_ROWS = 1024
#: The magnitudes whose difference says how much dust there is: nearly the same for all giants without dust
#: (Majewski, Zasowski & Nidever 2011, Eq. 1).
_DUST_COLOUR = ("H", "W2")


@dataclass(frozen=True)
class ErrorBudget:
    """What makes up the error of a prediction.

    Attributes
    ----------
    intrinsic_scatter : float
        s, of ln parallax, for a star as unlike the others as training stars are in the mean.
    growth : float
        Share of the scatter's square, at u = w = 1, that is proportional to u.
    weak_line_growth : float
        Share of it that is proportional to w; the rest is the same for all stars.
    gaia_inflation : float
        k: by what Gaia's errors are too small.
    outlier_share : float
        Share of the held-out stars in a component five times as wide.
    n_held_out : int
        Stars it was measured on: the training stars, or a sample of them.
    columns : int64 array, shape (n_columns,)
        Features that have a coefficient.
    factor : float64 array, shape (n_columns, rank)
        F, with F F' the covariance of their coefficients.
    offset : float64 array, shape (2, 6)
        Of the colour (`dust_colour`) and of the predicted ln parallax: where training stars begin and end, mean and
        spread (`offset_basis`), and what one and what the square of a standardised unit adds to ln parallax.
    subtracted : bool
        Whether the offset is subtracted from predictions; else its square is part of their variance.
    feature_inflation : float
        By what the errors from the features are too small.
    zero_point_error : float [mas] or None
        Of the zero point that the model was fitted with, which is in ``factor`` then; None for one that was given.
    """

    intrinsic_scatter: float = entry(kinds.NOT_NEGATIVE)
    growth: float = entry(kinds.SHARE)
    weak_line_growth: float = entry(kinds.SHARE)
    gaia_inflation: float = entry(kinds.POSITIVE)
    outlier_share: float = entry(kinds.SHARE)
    n_held_out: int = entry(kinds.COUNT)
    columns: np.ndarray = field(repr=False)
    factor: np.ndarray = field(repr=False)
    offset: np.ndarray = field(repr=False)
    subtracted: bool = entry(kinds.TRUTH)
    feature_inflation: float = entry(kinds.POSITIVE, default=1.0)
    zero_point_error: float | None = entry(kinds.NOT_NEGATIVE, default=None)

    #: The arrays among the attributes.
    ARRAYS = ("columns", "factor", "offset")

    def check(self, n_features):
        """Raise ValueError if the arrays, as read from a file, do not fit together and with a model."""
        columns, factor = self.columns, self.factor
        if columns.dtype != np.int64 or columns.ndim != 1 or np.any((columns < 0) | (columns >= n_features)):
            raise ValueError("its error budget does not fit its coefficients")
        if factor.dtype != np.float64 or factor.ndim != 2 or len(factor) != columns.size or not _sane(factor):
            raise ValueError("the covariance of its coefficients is damaged")
        offset = self.offset
        if offset.dtype != np.float64 or offset.shape != (2, 6) or not _sane(offset):
            raise ValueError("the offset of its error budget is damaged")
        if np.any(offset[:, 3] < 1 / LARGEST):  # spreads, by which it is divided
            raise ValueError("the offset of its error budget is damaged")

    def with_zero_point_error(self, error: float, shift: np.ndarray) -> "ErrorBudget":
        """Add the error of the zero point to the covariance of the coefficients.

        Parameters
        ----------
        error : float [mas]
        shift : float64 array, shape (n_features,)
            What the coefficients would change by if the zero point were larger by its error.

        Returns
        -------
        ErrorBudget
        """
        columns = np.union1d(self.columns, np.flatnonzero(shift)).astype(np.int64)
        factor = np.zeros((columns.size, self.factor.shape[1] + 1))
        factor[np.searchsorted(columns, self.columns), :-1] = self.factor
        factor[:, -1] = shift[columns]
        return replace(self, columns=columns, factor=factor, zero_point_error=error)

    def ln_offset(self, colour, ln_parallax):
        """What held-out stars of a colour and a predicted ln parallax are off by, in the mean.

        Parameters
        ----------
        colour, ln_parallax : float64 array, shape (n_rows,)

        Returns
        -------
        float64 array, shape (n_rows,)
            Prediction less truth, in ln parallax.
        """
        of_colour, of_parallax = (
            offset_basis(x, *row[:4]) @ row[4:] for x, row in zip((colour, ln_parallax), self.offset, strict=True)
        )
        return of_colour + of_parallax

    def ln_error(self, model, features, feature_errors, unlikeness, rows=None, threads=None, predicted=None):
        """Total error of ln parallax of stars that the model did not see.

        Parameters
        ----------
        model : FittedModel
            Whose budget this is.
        features : float32 or float64 array, C order, shape (n_stars, n_features)
        feature_errors : float16, float32 or float64 array of the same shape
        unlikeness : float64 array, shape (n_rows, 2)
            u and w of these rows.
        rows : bool mask or int array, optional
        threads : int, optional
        predicted : tuple of two float64 array, shape (n_rows,), optional
            The model's ln parallax, nothing subtracted, and its error from the features, if the caller has them.

        Returns
        -------
        float64 array, shape (n_rows,)
        """
        if predicted is None:
            predicted = (
                model.linear_predictor(features, rows, threads),
                model.propagate_ln_error(feature_errors, rows, threads),
            )
        ln_parallax, from_features = predicted
        coefficients = coefficient_variance(
            self.factor, self.columns, features, feature_errors, rows, threads, model.neighbours
        )
        u, w = unlikeness.T
        scatter = self.intrinsic_scatter**2 * (1.0 + self.growth * (u - 1.0) + self.weak_line_growth * (w - 1.0))
        variance = (self.feature_inflation * from_features) ** 2 + coefficients + scatter
        if not self.subtracted:
            variance += self.ln_offset(dust_colour(model.layout, features, rows), ln_parallax) ** 2
        return np.sqrt(variance)


def _sane(array):
    return np.all(np.abs(array) <= LARGEST)


def dust_colour(layout, features, rows=None):
    """H - W2 of stars, or 0 for all if these are no features (float64 array, shape (n_rows,) [mag]).

    Parameters
    ----------
    layout : FeatureLayout or None
    features : float32 or float64 array, shape (n_stars, n_features)
    rows : bool mask or int array, optional
    """
    rows = resolve_rows(rows, features.shape[0])
    if layout is None or not set(_DUST_COLOUR) <= set(layout.magnitudes):
        return np.zeros(rows.size)
    blue, red = (features[rows, 1 + layout.magnitudes.index(name)].astype(np.float64) for name in _DUST_COLOUR)
    return blue - red


def offset_basis(x, low, high, mean, spread):
    """Return a standardised unit of x, not followed beyond the training stars, and its square less 1.

    Parameters
    ----------
    x : float64 array, shape (n_rows,)
    low, high, mean, spread : float

    Returns
    -------
    float64 array, shape (n_rows, 2)
    """
    z = (np.clip(x, low, high) - mean) / spread
    return np.column_stack([z, z**2 - 1.0])


def coefficient_variance(factor, columns, features, feature_errors, rows=None, threads=None, neighbours=None):
    """Variance of ln parallax from errors of the coefficients: `quadratic_forms` of ``C = F F'``, at least 0.

    Parameters
    ----------
    factor : float64 array, shape (n_columns, rank)
        F.
    columns, features, feature_errors, rows, threads, neighbours
        As in `quadratic_forms`.

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
    (form,) = quadratic_forms([factor], factor, columns, features, feature_errors, rows, threads, neighbours)
    return np.maximum(form, 0.0)


def quadratic_forms(lefts, right, columns, features, feature_errors, rows=None, threads=None, neighbours=None):
    """Return ``x' C x`` of each star, for each ``C = left right'``, less what the noise of x adds to it in the mean.

    Parameters
    ----------
    lefts : sequence of float64 array, shape (n_columns, rank)
    right : float64 array, shape (n_columns, rank)
    columns : int64 array, shape (n_columns,)
    features : float32 or float64 array, C order, shape (n_stars, n_features)
    feature_errors : float16, float32 or float64 array of the same shape
        Nothing is taken off without errors (None).
    rows : bool mask or int array, optional
    threads : int, optional
    neighbours : Neighbours, optional

    Returns
    -------
    list of float64 array, shape (n_rows,)
        Noise can make them negative.
    """
    features = check_design(features)
    rows = resolve_rows(rows, features.shape[0])
    forms = map_rows(_forms_of_rows, features, rows, tuple(lefts), right, columns, threads=threads).T
    if feature_errors is not None:
        for form, left in zip(forms, lefts, strict=True):
            form -= noise_of_covariance(left, right, columns, feature_errors, rows, threads, neighbours)
    return list(forms)


def _forms_of_rows(features, rows, team, lefts, right, columns):
    """`quadratic_forms` of some rows, nothing taken off (float64 array, shape (n_rows, n_lefts))."""
    forms = np.empty((rows.size, len(lefts)))

    def of_blocks(first, last):
        for start in range(first * _BLOCK_ROWS, min(last * _BLOCK_ROWS, rows.size), _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            part = features[rows[block]][:, columns].astype(np.float64)
            projected = product(part, right)
            for at, left in enumerate(lefts):
                raise_if_stopped()
                forms[block, at] = np.sum((projected if left is right else product(part, left)) * projected, axis=1)

    team.run(of_blocks, -(-rows.size // _BLOCK_ROWS))
    return forms


def noise_of_covariance(left, right, columns, feature_errors, rows, threads=None, neighbours=None):
    """Return ``tr(C N)`` of each star, with ``C = left right'`` and N the covariance of its features' errors.

    Parameters
    ----------
    left, right : float64 array, shape (n_columns, rank)
    columns : int64 array, shape (n_columns,)
    feature_errors : float16, float32 or float64 array, C order, shape (n_stars, n_features)
    rows : int array
    threads : int, optional
    neighbours : Neighbours, optional

    Returns
    -------
    float64 array, shape (n_rows,)
    """
    diagonal = np.einsum("kr,kr->k", left, right)
    if isinstance(feature_errors, CoordinateErrors):
        return feature_errors.noise_of(diagonal, columns, rows)
    pairs, correlation = NO_NEIGHBOURS if neighbours is None else neighbours.pairs(columns)
    # Twice the symmetric part of C, at each pair.
    beside = np.empty(len(pairs))
    for start in range(0, len(pairs), _BLOCK_ROWS):
        raise_if_stopped()
        a, b = pairs[start : start + _BLOCK_ROWS].T
        beside[start : start + _BLOCK_ROWS] = np.einsum("pr,pr->p", left[a], right[b])
        beside[start : start + _BLOCK_ROWS] += np.einsum("pr,pr->p", left[b], right[a])
    return noise_variance(feature_errors, columns, diagonal, pairs, correlation * beside, rows, threads)
