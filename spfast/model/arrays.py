"""What a caller may hand in: design matrices, rows and values of stars, checked once and brought to one kind."""

import warnings

import numpy as np
from astropy import units

from spfast.config import MISSING_NUMBERS
from spfast.errors import BadInputError, SpfastWarning
from spfast.reads.reader import read_values

__all__ = [
    "check_columns",
    "check_design",
    "parallaxes_and_errors",
    "penalized_mask",
    "refuse_features",
    "refuse_stars",
    "resolve_rows",
    "star_values",
    "warn_of_scales",
]

#: A feature beyond this is none: magnitudes and ln fluxes are below 100. Rounding decides a fit to such numbers.
_LARGEST_FEATURE = 1e10
#: Scatters of penalised columns that are near enough to 1 for one penalty, in the median and from the 10th to the 90th
#: percentile; and rows that tell them.
_SCALE_LEAST, _SCALE_MOST, _SCALE_RANGE, _SCALE_ROWS = 1e-3, 30.0, 1e3, 512
#: Rows that are looked at together.
_ROWS_A_PIECE = 1024


def check_design(design: np.ndarray, name: str = "features", also: type = np.float32) -> np.ndarray:
    """Return a read-only C-ordered view of a design matrix, the one kind of array that kernels get.

    Masked numbers become NaN, in a copy. ``also`` is a further type that it may have: errors in a survey are float16.

    Raises
    ------
    BadInputError
        If it is not a 2-D float32 or float64 array in C order and native byte order, or has a unit.
    """
    unit = _unit(design)
    if unit is not None and unit != units.dimensionless_unscaled:
        raise BadInputError(f"{name}: unit {unit}, expected numbers without a unit; pass the numbers alone (.value)")
    array = _array(design, name)
    if array.dtype.names:
        raise BadInputError(
            f"{name}: got a table of {len(array.dtype.names)} columns, expected a 2-D array of float32 or float64; "
            "put its columns side by side with np.column_stack"
        )
    if array.ndim != 2 or array.dtype not in (np.float32, np.float64, also):
        raise BadInputError(
            f"{name}: got shape {array.shape} of {array.dtype}, expected a 2-D array of float32 or float64 "
            "(n_stars, n_features); convert it with np.ascontiguousarray(..., dtype='float32')"
        )
    if not array.flags.c_contiguous:
        raise BadInputError(f"{name}: rows are not contiguous in memory; pass np.ascontiguousarray(...)")
    mask = _mask(design)
    if mask is not None and mask.any():
        array = np.where(mask, array.dtype.type(np.nan), array)
    view = array.view(np.ndarray)
    view.flags.writeable = False
    return view


def check_columns(design: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> None:
    """Refuse numbers in some columns of a design matrix that are not finite or far too large, naming the first.

    Parameters
    ----------
    design : float32 or float64 array, shape (n_stars, n_features)
    rows, columns : int64 array
        The stars that take part, and where to look.

    Raises
    ------
    BadInputError
    """
    for first in range(0, rows.size, _ROWS_A_PIECE):
        piece = rows[first : first + _ROWS_A_PIECE]
        is_bad = ~(np.abs(read_values(design, piece, columns)) <= _LARGEST_FEATURE)  # NaN compares as False
        if is_bad.any():
            i, j = np.argwhere(is_bad)[0]
            row, column = piece[i], columns[j]
            raise BadInputError(
                f"features: row {row}, column {column} is {design[row, column]}, expected finite numbers "
                f"(up to {_LARGEST_FEATURE:g}); clean the row, leave it out with rows=, or rescale the column"
            )


def refuse_features(design: np.ndarray, rows: np.ndarray) -> None:
    """Refuse a design matrix from which no fit can be made, if a number in any column is why, as `check_columns`."""
    check_columns(design, rows, np.arange(design.shape[1]))


def resolve_rows(rows: np.ndarray | None, n_stars: int) -> np.ndarray:
    """Return row indices (int64 array) from None, a mask or indices.

    A mask is of bools, or of integers 0 and 1, one for each star; indices 0 and 1 again and again are none.

    Raises
    ------
    BadInputError
        For a mask of another length or with masked values, an index outside the matrix, or no row at all.
    """
    if rows is None:
        return np.arange(n_stars, dtype=np.int64)
    mask, rows = _mask(rows), _array(rows, "rows")
    if mask is not None and mask.any():
        raise BadInputError(f"rows: {mask.sum()} values are masked, expected none; fill them, e.g. rows.filled(False)")
    if rows.dtype == bool or _is_mask_of_integers(rows):
        if rows.shape != (n_stars,):
            raise BadInputError(f"rows: the mask has shape {rows.shape}, expected ({n_stars},)")
        rows = np.flatnonzero(rows)
    if rows.ndim != 1 or not (rows.size == 0 or np.issubdtype(rows.dtype, np.integer)):
        raise BadInputError(f"rows: got {rows.dtype} of shape {rows.shape}, expected a boolean mask or 1-D indices")
    if rows.size and (rows.min() < 0 or rows.max() >= n_stars):
        raise BadInputError(f"rows: indices go from {rows.min()} to {rows.max()}, expected 0 to {n_stars - 1}")
    return np.ascontiguousarray(rows, dtype=np.int64)


def _is_mask_of_integers(rows):
    """Whether integers are 0 and 1 alone, one of them more than once: indices name few stars twice."""
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        return False
    n_zeros, n_ones = np.count_nonzero(rows == 0), np.count_nonzero(rows == 1)
    return n_zeros + n_ones == rows.size and max(n_zeros, n_ones) > 1


def parallaxes_and_errors(parallax, parallax_error, n_stars: int) -> tuple[np.ndarray, np.ndarray]:
    """Return parallaxes and their errors (two float64 arrays, shape (n_stars,) [mas]), each as `star_values`.

    Numbers that surveys write for "no value" become NaN.

    Raises
    ------
    BadInputError
        As `star_values`; or if one has a unit other than mas and the other none.
    """
    given = {"parallax": _unit(parallax), "parallax_error": _unit(parallax_error)}
    values, errors = (
        star_values(each, name, n_stars) for each, name in zip((parallax, parallax_error), given, strict=True)
    )
    for name, other in zip(given, reversed(given), strict=True):
        if given[other] is None and given[name] not in (None, units.mas):
            raise BadInputError(f"{name}: unit {given[name]}, and {other} has none; give both their units, or none")
    return np.where(np.isin(values, MISSING_NUMBERS), np.nan, values), errors


def star_values(values, name: str, n_stars: int) -> np.ndarray:
    """Return one number a star (float64 array, shape (n_stars,) [mas]), masked ones as NaN.

    The unit of a Quantity or of a table's column is honoured; numbers without one are in mas.

    Raises
    ------
    BadInputError
        For another shape or unit, or if they are not numbers.
    """
    unit, mask = _unit(values), _mask(values)
    numbers = _array(values, name)
    if numbers.shape != (n_stars,):
        raise BadInputError(
            f"{name}: shape {numbers.shape}, expected one value for each of the {n_stars} rows of features"
        )
    if numbers.dtype.kind not in "iufOSU":
        raise BadInputError(f"{name}: got {numbers.dtype}, expected numbers in mas")
    try:
        numbers = numbers.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise BadInputError(f"{name}: not all are numbers ({error}); expected numbers in mas, NaN for none") from None
    if unit is not None:
        try:
            numbers = units.Quantity(numbers, unit).to_value(units.mas)
        except (units.UnitsError, TypeError, ValueError):  # ValueError: a unit that astropy does not know
            raise BadInputError(f"{name}: unit {unit}, expected an angle such as mas") from None
    return numbers if mask is None else np.where(mask, np.nan, numbers)


def _array(values, name):
    """The values as a plain array, without unit and mask."""
    try:
        return np.asarray(getattr(values, "unmasked", values))  # astropy's masked arrays keep theirs otherwise
    except (TypeError, ValueError, RuntimeError):
        raise BadInputError(f"{name}: cannot be made an array; expected numbers, as many in each row") from None


def _unit(values):
    """The unit of a Quantity or of a table's column; None for anything else."""
    unit = getattr(values, "unit", None)
    if isinstance(unit, str):
        return units.Unit(unit, parse_strict="silent")
    return unit if isinstance(unit, units.UnitBase | units.function.FunctionUnitBase) else None


def _mask(values):
    """Which values are masked (bool array), if the array has a mask: numpy's, or astropy's."""
    mask = getattr(values, "mask", None)
    return mask if isinstance(mask, np.ndarray) and mask.dtype == bool else None


def penalized_mask(penalized, layout, n_features: int) -> np.ndarray:
    """Return which columns are under the penalty (bool array): as given, else the layout's, else all.

    Raises
    ------
    BadInputError
        If it is no mask of the columns.
    """
    if penalized is None:
        return np.ones(n_features, dtype=bool) if layout is None else layout.penalized
    mask, penalized = _mask(penalized), _array(penalized, "penalized")
    if mask is not None and mask.any():
        raise BadInputError(f"penalized: {mask.sum()} values are masked, expected none; fill them")
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


def warn_of_scales(design: np.ndarray, rows: np.ndarray, penalized: np.ndarray) -> None:
    """Warn of penalised columns whose scatters are far from 1, or far apart: one penalty does not suit them.

    Parameters
    ----------
    design : float32 or float64 array, shape (n_stars, n_features)
    rows : int array
        Of the stars that take part.
    penalized : bool array, shape (n_features,)

    Warns
    -----
    SpfastWarning
    """
    some = rows[np.linspace(0, rows.size - 1, min(_SCALE_ROWS, rows.size)).astype(int)]
    with np.errstate(over="ignore", invalid="ignore"):
        scatter = design[some][:, penalized].std(axis=0, dtype=np.float64)
    scatter = scatter[np.isfinite(scatter) & (scatter > 0)]
    if not scatter.size:
        return
    low, middle, high = np.percentile(scatter, [10.0, 50.0, 90.0])
    if not (_SCALE_LEAST <= middle <= _SCALE_MOST and high <= _SCALE_RANGE * low):
        warnings.warn(
            f"features: the penalised columns scatter by {low:.2g} to {high:.2g} (10 to 90%); lambda acts on "
            "coefficients as they are, so it says little of columns of other scales than 1: divide each by its scatter",
            SpfastWarning,
            stacklevel=3,
        )
