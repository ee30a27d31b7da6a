"""What a caller may hand in: design matrices, rows and values of stars, checked once and brought to one kind."""

import numpy as np
from astropy import units

from spfast.errors import BadInputError

__all__ = ["check_design", "in_mas", "penalized_mask", "refuse_stars", "resolve_rows", "star_values"]


def check_design(design: np.ndarray, name: str = "features") -> np.ndarray:
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


def resolve_rows(rows: np.ndarray | None, n_stars: int) -> np.ndarray:
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


def in_mas(value, name: str):
    """Return a number or array in mas; one without a unit is taken to be.

    Raises
    ------
    BadInputError
        If its unit is not that of an angle.
    """
    if isinstance(value, units.Quantity):
        try:
            return value.to_value(units.mas)
        except units.UnitConversionError:
            raise BadInputError(f"{name}: unit {value.unit}, expected an angle such as mas") from None
    return value


def star_values(values, name: str, n_stars: int) -> np.ndarray:
    """Return one number a star (float64 array, shape (n_stars,) [mas]), masked ones as NaN.

    Raises
    ------
    BadInputError
        For another shape or unit.
    """
    values = np.ma.filled(np.ma.asarray(in_mas(values, name)), np.nan)
    if values.shape != (n_stars,):
        raise BadInputError(
            f"{name}: shape {values.shape}, expected one value for each of the {n_stars} rows of features"
        )
    return values.astype(np.float64)


def penalized_mask(penalized, layout, n_features: int) -> np.ndarray:
    """Return which columns are under the penalty (bool array): as given, else the layout's, else all.

    Raises
    ------
    BadInputError
        If it is no mask of the columns.
    """
    if penalized is None:
        return np.ones(n_features, dtype=bool) if layout is None else layout.penalized
    penalized = np.asarray(penalized)
    if penalized.dtype != bool or penalized.shape != (n_features,):
        raise BadInputError(
            f"penalized: {penalized.dtype} of shape {penalized.shape}, expected a boolean mask of {n_features} columns"
        )
    return penalized.copy()


def refuse_stars(name: str, bad: np.ndarray, rows: np.ndarray, expected: str) -> None:
    """Refuse training stars without a value, naming the first."""
    if bad.any():
        raise BadInputError(
            f"{name}: {bad.sum()} of the {rows.size} training stars have none (first: row {rows[np.argmax(bad)]}), "
            f"expected {expected}; leave them out with rows="
        )
