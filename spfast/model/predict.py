"""Predictions of a linear predictor and their errors, by passes over the rows; never a copy of the matrix."""

from typing import NamedTuple

import numpy as np

from spfast.errors import BadInputError
from spfast.kernels import exp_linear
from spfast.kernels.uncertainty import noise_variance_rows
from spfast.model.arrays import check_design, resolve_rows
from spfast.model.coordinates import CoordinateErrors
from spfast.reads.rows import map_rows

__all__ = [
    "NO_NEIGHBOURS",
    "Neighbours",
    "StarPredictions",
    "check_correlation",
    "linear_predictor",
    "linear_predictors",
    "ln_error",
    "noise_variance",
]

#: Pairs and correlation coefficients of independent errors.
NO_NEIGHBOURS = np.empty((0, 2), dtype=np.int64), np.empty(0)
#: Rows whose errors are taken together.
_ROWS_A_PIECE = 256
#: Scales at which the power of correlated noise is looked at.
_PHASES = 513


class StarPredictions(NamedTuple):
    """What a model says of stars.

    Attributes
    ----------
    ln_parallax : float64 array, shape (n_rows,) [ln mas]
        Without the offset taken off.
    ln_offset : float64 array, shape (n_rows,)
        To be subtracted from it (`FittedModel.predict_offset`).
    ln_error : float64 array, shape (n_rows,)
        From the errors of the features alone (Hogg, Eilers & Rix 2019, Eq. 5).
    total_ln_error : float64 array, shape (n_rows,), or None
        By the error budget; None without one.
    outside : bool array, shape (n_rows,), or None
        Stars farther out than the training stars; None if the model does not know where these lie.
    """

    ln_parallax: np.ndarray
    ln_offset: np.ndarray
    ln_error: np.ndarray
    total_ln_error: np.ndarray | None
    outside: np.ndarray | None


def linear_predictor(design, coef, rows=None, threads=None):
    """Return ``x . coef``, ln of the predicted parallax (Hogg, Eilers & Rix 2019, Eq. 4).

    Parameters
    ----------
    design : float32 or float64 array, shape (n_stars, n_features)
    coef : float64 array, shape (n_features,)
    rows : bool mask or int array, optional
    threads : int, optional

    Returns
    -------
    eta : float64 array, shape (n_rows,) [ln mas]
    """
    return linear_predictors(design, coef[None], rows, threads)[0]


def linear_predictors(design, coefs, rows=None, threads=None):
    """As `linear_predictor`, for several vectors of coefficients in one pass over the features.

    Parameters
    ----------
    design, rows, threads
        As in `linear_predictor`.
    coefs : float64 array, shape (n_vectors, n_features)

    Returns
    -------
    eta : float64 array, shape (n_vectors, n_rows) [ln mas]
    """
    design, coefs = check_design(design), np.ascontiguousarray(coefs, dtype=np.float64)
    if design.shape[1] != coefs.shape[1]:
        raise BadInputError(
            f"features: {design.shape[1]} columns, the model has {coefs.shape[1]}; use the model's own layout"
        )
    rows = resolve_rows(rows, design.shape[0])
    return np.ascontiguousarray(map_rows(predictors_of_rows, design, rows, coefs, threads=threads).T)


def predictors_of_rows(design, rows, team, coefs):
    """`linear_predictors` of some rows (float64 array, shape (n_rows, n_vectors))."""
    eta = np.empty((len(coefs), rows.size))
    bounds = exp_linear.segment_bounds(rows.size, exp_linear.N_SEGMENTS)
    team.run(exp_linear.linear_predictor_segments, exp_linear.N_SEGMENTS, design, rows, bounds, coefs, eta)
    return eta.T


def ln_error(design_errors, coef, rows=None, threads=None, neighbours=None):
    """Return the standard deviation of ln parallax from feature errors (Eq. 5 without its leading factor).

    Parameters
    ----------
    design_errors : float16, float32 or float64 array, shape (n_stars, n_features), or CoordinateErrors
        In the features' units.
    coef : float64 array, shape (n_features,)
    rows : bool mask or int array, optional
    threads : int, optional
    neighbours : Neighbours, optional
        Which features' errors are correlated; none by default.

    Returns
    -------
    error : float64 array, shape (n_rows,) [ln mas]
    """
    if isinstance(design_errors, CoordinateErrors):
        return np.sqrt(design_errors.variance(coef, rows))
    columns = np.flatnonzero(coef)
    pairs, correlation = NO_NEIGHBOURS if neighbours is None else neighbours.pairs(columns)
    used = coef[columns]
    products = 2.0 * correlation * used[pairs[:, 0]] * used[pairs[:, 1]]
    if design_errors.shape[1] != coef.size:
        raise BadInputError(f"feature errors: {design_errors.shape[1]} columns, the model has {coef.size}")
    return np.sqrt(noise_variance(design_errors, columns, used**2, pairs, products, rows, threads))


def noise_variance(design_errors, columns, weights, pairs, pair_weights, rows=None, threads=None):
    """Return ``sum_k weights_k e_k^2 + sum_p pair_weights_p e_a e_b``, e the errors of a row in ``columns``.

    Parameters
    ----------
    design_errors : float16, float32 or float64 array, shape (n_stars, n_features)
    columns : int array, shape (n_columns,)
    weights : float64 array, shape (n_columns,)
    pairs : int64 array, shape (n_pairs, 2)
        Positions in ``columns``.
    pair_weights : float64 array, shape (n_pairs,)
    rows : bool mask or int array, optional
    threads : int, optional

    Returns
    -------
    variance : float64 array, shape (n_rows,)
        Never negative.
    """
    errors = check_design(design_errors, "feature errors", also=np.float16)
    rows = resolve_rows(rows, errors.shape[0])
    of_sum = columns, weights, pairs, pair_weights
    return np.maximum(map_rows(_noise_of_rows, errors, rows, *of_sum, threads=threads), 0.0)


def _noise_of_rows(errors, rows, team, columns, weights, pairs, pair_weights):
    """`noise_variance` of some rows."""
    out = np.empty(rows.size)
    # Kernels know no float16.
    dtype = np.promote_types(errors.dtype, np.float32)

    def of_pieces(first, last):
        for piece in range(first, last):
            block = slice(_ROWS_A_PIECE * piece, _ROWS_A_PIECE * (piece + 1))
            part = errors[rows[block, None], columns].astype(dtype, copy=False)
            noise_variance_rows(part, weights, pairs, pair_weights, out[block])

    team.run(of_pieces, -(-rows.size // _ROWS_A_PIECE))
    return out


class Neighbours:
    """Errors of pixels correlate with those of their neighbours: resampling to a grid shares out each detector pixel.

    Parameters
    ----------
    grid : int array, shape (n_features,)
        Each feature's place on the pixel grid, negative for features without one.
    correlation : sequence of float
        Coefficients for pixels 1, 2, ... apart.

    Raises
    ------
    BadInputError
        If no noise can be correlated like that.

    Examples
    --------
    >>> import numpy as np
    >>> from spfast.model.predict import Neighbours
    >>> pairs, correlation = Neighbours([-1, 7, 8, 9], (0.4, 0.1)).pairs(np.array([0, 1, 3]))
    >>> pairs.tolist(), correlation.tolist()
    ([[1, 2]], [0.1])
    """

    def __init__(self, grid, correlation):
        self._grid, self._correlation = np.asarray(grid), np.asarray(correlation, dtype=np.float64)
        check_correlation(correlation)

    def pairs(self, columns):
        """The correlated pairs among some features.

        Parameters
        ----------
        columns : int array, increasing

        Returns
        -------
        pairs : int64 array, shape (n_pairs, 2)
            Positions in ``columns``.
        correlation : float64 array, shape (n_pairs,)
        """
        place = self._grid[columns]
        order = np.argsort(place, kind="stable")
        place = place[order]
        found = [NO_NEIGHBOURS]
        for lag, rho in enumerate(self._correlation, start=1):
            at = np.minimum(np.searchsorted(place, place + lag), max(place.size - 1, 0))
            both = np.flatnonzero((place >= 0) & (place[at] == place + lag))
            found.append((np.column_stack([order[both], order[at[both]]]), np.full(both.size, rho)))
        pairs, correlation = (np.concatenate(part) for part in zip(*found, strict=True))
        return np.ascontiguousarray(pairs, dtype=np.int64), correlation


def check_correlation(correlation):
    """Refuse correlation coefficients that no stationary noise can have: its power spectrum would be negative."""
    lags = np.arange(1, len(correlation) + 1)
    phase = np.linspace(0.0, np.pi, _PHASES)
    power = 1.0 + 2.0 * np.cos(np.outer(phase, lags)) @ np.asarray(correlation, dtype=np.float64)
    if not power.min() >= 0.0:
        raise BadInputError(
            f"pixel_correlation is {list(correlation)}: no noise has such correlations (its power would be negative at "
            "some scale); expected coefficients for pixels 1, 2, ... apart such as 0.4, 0.1"
        )
