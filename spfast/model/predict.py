"""Predictions of a linear predictor and their errors, by passes over the rows; never a copy of the matrix."""

import numpy as np

from spfast.errors import BadInputError
from spfast.kernels import exp_linear
from spfast.kernels.team import Team
from spfast.kernels.uncertainty import ln_error_rows

__all__ = ["check_design", "linear_predictor", "ln_error", "resolve_rows"]


def check_design(design, name="features"):
    """Return a read-only C-ordered view of a design matrix, the one kind of array that kernels get.

    Raises
    ------
    BadInputError
        If it is not a 2-D float32 or float64 array in C order and native byte order.
    """
    array = np.asarray(design)
    if array.ndim != 2 or array.dtype not in (np.float32, np.float64):
        raise BadInputError(
            f"{name}: got shape {array.shape} of {array.dtype}, expected a 2-D array of float32 or float64 "
            "(n_stars, n_features); convert it with np.asarray(..., dtype='float32')"
        )
    if not array.flags.c_contiguous:
        raise BadInputError(f"{name}: rows are not contiguous in memory; pass np.ascontiguousarray(...)")
    view = array.view(np.ndarray)
    view.flags.writeable = False
    return view


def resolve_rows(rows, n_stars):
    """Return row indices (int64 array) from None, a boolean mask or indices.

    Raises
    ------
    BadInputError
        For a mask of another length, an index outside the matrix, or no row at all.
    """
    if rows is None:
        return np.arange(n_stars, dtype=np.int64)
    rows = np.asarray(rows)
    if rows.dtype == bool:
        if rows.shape != (n_stars,):
            raise BadInputError(f"rows: the mask has shape {rows.shape}, expected ({n_stars},)")
        rows = np.flatnonzero(rows)
    if rows.ndim != 1 or not (rows.size == 0 or np.issubdtype(rows.dtype, np.integer)):
        raise BadInputError(f"rows: got {rows.dtype} of shape {rows.shape}, expected a boolean mask or 1-D indices")
    if rows.size and (rows.min() < 0 or rows.max() >= n_stars):
        raise BadInputError(f"rows: indices go from {rows.min()} to {rows.max()}, expected 0 to {n_stars - 1}")
    return np.ascontiguousarray(rows, dtype=np.int64)


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
    design = check_design(design)
    if design.shape[1] != coef.size:
        raise BadInputError(
            f"features: {design.shape[1]} columns, the model has {coef.size}; use the model's own layout"
        )
    rows = resolve_rows(rows, design.shape[0])
    eta = np.empty(rows.size)
    bounds = exp_linear.segment_bounds(rows.size, exp_linear.N_SEGMENTS)
    with Team(threads) as team:
        team.run(
            exp_linear.linear_predictor_segments,
            exp_linear.N_SEGMENTS,
            design,
            rows,
            bounds,
            np.ascontiguousarray(coef, dtype=np.float64),
            eta,
        )
    return eta


def ln_error(design_errors, coef, rows=None, threads=None):
    """Return the standard deviation of ln parallax from independent feature errors (Eq. 5 without its leading factor).

    Parameters
    ----------
    design_errors : float32 or float64 array, shape (n_stars, n_features)
        In the features' units.
    coef : float64 array, shape (n_features,)
    rows : bool mask or int array, optional
    threads : int, optional

    Returns
    -------
    error : float64 array, shape (n_rows,) [ln mas]
    """
    errors = check_design(design_errors, "feature errors")
    if errors.shape[1] != coef.size:
        raise BadInputError(f"feature errors: {errors.shape[1]} columns, the model has {coef.size}")
    rows = resolve_rows(rows, errors.shape[0])
    columns = np.flatnonzero(coef)
    out = np.empty(rows.size)
    with Team(threads) as team:
        team.run(ln_error_rows, -(-rows.size // 256), errors, rows, columns, coef[columns] ** 2, out)
    return out
