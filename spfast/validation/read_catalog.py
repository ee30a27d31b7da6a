"""The paper's Table 1, and the truth, read from any table that has their columns: arrays, folds and samples."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy.table import Table

from spfast.config import BEST_SNR, ZERO_POINT
from spfast.data.tables.stored import UNREAD
from spfast.data.tables.values import column_values, float_column
from spfast.errors import BadInputError, MismatchWarning
from spfast.validation.star_names import star_names

__all__ = ["TABLE_1", "CatalogArrays", "find_column", "read_catalog", "total_error_column", "true_parallaxes"]

#: The columns of the paper's Table 1, and all that a catalog needs to be validated.
TABLE_1 = (
    "2MASS_ID",
    "Gaia_parallax",
    "Gaia_parallax_err",
    "spec_parallax",
    "spec_parallax_err",
    "training_set",
    "sample",
)
#: The column of a spectrophotometric parallax's total error, which a catalog may lack.
_TOTAL_ERROR = "spec_parallax_err_total"

#: The column of the zero point in each star's Gaia_parallax, which our catalogs have.
_ZERO_POINT = "Gaia_zero_point"

#: Other spellings in use, each without case, blanks, hyphens and underscores.
_SPELLINGS = {
    "2MASS_ID": ("2massid", "apogeeid", "tmassid"),
    "Gaia_parallax": ("gaiaparallax",),
    "Gaia_parallax_err": ("gaiaparallaxerr", "gaiaparallaxerror"),
    "spec_parallax": ("specparallax",),
    "spec_parallax_err": ("specparallaxerr", "specparallaxerror"),
    "training_set": ("trainingset",),
    "sample": ("sample", "fold"),
    "true_parallax": ("trueparallax",),
    _TOTAL_ERROR: ("specparallaxerrtotal",),
    _ZERO_POINT: ("gaiazeropoint",),
}

#: Beyond these [mas] a number is no parallax, or no error of one: ten times the nearest star's, far below any measured.
_PARALLAX_MAX, _ERROR_MIN = 1e4, 1e-9
#: How tables write "yes", in lower case.
_TRUE = ("1", "1.0", "true", "t")


@dataclass(frozen=True)
class CatalogArrays:
    """Columns of a catalog as plain arrays, shape (n_stars,).

    Attributes
    ----------
    names : list of str
        2MASS names without blanks.
    gaia, gaia_error, spec, spec_error : float64 array [mas]
    total_error : float64 array [mas]
        ``spec_parallax_err_total`` where the catalog has it, else ``spec_error``.
    total_error_name : str
        Which of the two that is.
    gaia_inflation : float64 array
        The factor by which the catalog's header says that Gaia's errors are too small; else 1.
    fold : str array
    training, best : bool array
        In the training set; and there with a raw Gaia parallax of at least `spfast.config.BEST_SNR` times its error.
    has_gaia, has_spec : bool array
        Whether value and error can be used.
    """

    names: list[str]
    gaia: np.ndarray
    gaia_error: np.ndarray
    spec: np.ndarray
    spec_error: np.ndarray
    total_error: np.ndarray
    total_error_name: str
    gaia_inflation: np.ndarray
    fold: np.ndarray
    training: np.ndarray
    best: np.ndarray
    has_gaia: np.ndarray
    has_spec: np.ndarray


def read_catalog(catalog: Table, zero_point: float | None = None) -> CatalogArrays:
    """Read the columns of Table 1 from a catalog.

    Parameters
    ----------
    catalog : astropy Table
        The seven columns of Table 1, in any case, with hyphens, blanks or underscores; parallaxes in mas.
    zero_point : float, optional
        The zero point that ``Gaia_parallax`` contains [mas]; by default the catalog's own, of each star or fold, else
        the paper's, `spfast.config.ZERO_POINT`.

    Returns
    -------
    CatalogArrays

    Raises
    ------
    BadInputError
        If a column is missing.

    Warns
    -----
    MismatchWarning
        If the catalog is ours and has no header.
    """
    columns = {name: find_column(catalog, name, "the catalog") for name in TABLE_1}
    gaia, gaia_error, spec, spec_error = (float_column(catalog, columns[name], "mas") for name in TABLE_1[1:5])
    total = _find(catalog, _TOTAL_ERROR, "the catalog")
    if total and not catalog.meta:
        warnings.warn(
            "the catalog has lost its header, as CSV has none, and with it the factor on Gaia's errors, which counts "
            "as 1; give it as FITS, ECSV, VOTable or Parquet",
            MismatchWarning,
            stacklevel=2,
        )
    has_gaia = _measured(gaia) & _measured(gaia_error) & (gaia_error > _ERROR_MIN)
    training = np.isin(np.char.lower(_text(catalog, columns["training_set"])), _TRUE)
    fold = _text(catalog, columns["sample"])
    raw = gaia - _zero_points(catalog, fold, zero_point)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        best = training & has_gaia & (raw / gaia_error >= BEST_SNR)
    return CatalogArrays(
        names=star_names(_text(catalog, columns["2MASS_ID"])),
        gaia=gaia,
        gaia_error=gaia_error,
        spec=spec,
        spec_error=spec_error,
        total_error=float_column(catalog, total, "mas") if total else spec_error,
        total_error_name=_TOTAL_ERROR if total else "spec_parallax_err",
        gaia_inflation=_by_fold(catalog, fold, "INFLAT", 1.0),
        fold=fold,
        training=training,
        best=best,
        has_gaia=has_gaia,
        has_spec=_measured(spec) & _measured(spec_error) & (spec_error >= 0),
    )


def total_error_column(catalog: Table) -> str:
    """Return the column of the spectrophotometric parallax's error: the total one where the catalog has it.

    Raises
    ------
    BadInputError
        If the catalog has neither.
    """
    total = _find(catalog, _TOTAL_ERROR, "the catalog")
    return total or find_column(catalog, "spec_parallax_err", "the catalog")


def find_column(table: Table, name: str, what: str) -> str:
    """Return a table's own spelling of a column.

    Parameters
    ----------
    table : astropy Table
    name : str
        As in `TABLE_1`, or ``"true_parallax"``.
    what : str
        What the message calls the table.

    Returns
    -------
    str

    Raises
    ------
    BadInputError
        If the table does not have the column, or cannot say which of two is meant.
    """
    own_name = _find(table, name, what)
    if own_name is not None:
        return own_name
    unread = table.meta.get(UNREAD, {})
    kind = next((kind for column, kind in unread.items() if _normalise_name(column) in _SPELLINGS[name]), None)
    if kind is not None:
        raise BadInputError(f"{what} has a column {name} {kind}, expected one number or text a row; convert it")
    raise BadInputError(f"{what} has no column {name}; it has {', '.join(table.colnames)}")


def _find(table, name, what):
    """A table's own spelling of a column, the exact one if there is, or None."""
    if name in table.colnames:
        return name
    own_names = {}
    for column in table.colnames:
        own_names.setdefault(_normalise_name(column), []).append(column)
    for spelling in _SPELLINGS[name]:
        alike = own_names.get(spelling, [])
        if len(alike) > 1:
            raise BadInputError(f"{what} has the columns {' and '.join(alike)}; name the one that is meant {name}")
        if alike:
            return alike[0]
    return None


def true_parallaxes(names: Sequence[str], truth: Table) -> np.ndarray:
    """Return the true parallax of each star.

    Parameters
    ----------
    names : list of str
        2MASS names.
    truth : astropy Table
        ``APOGEE_ID`` (or ``2MASS_ID``) and ``true_parallax`` [mas].

    Returns
    -------
    float64 array, shape (n_stars,) [mas]
        NaN where the truth does not have the star.

    Raises
    ------
    BadInputError
        If a column is missing, or no star is in the truth.
    """
    keys = star_names(_text(truth, find_column(truth, "2MASS_ID", "the truth table")))
    values = float_column(truth, find_column(truth, "true_parallax", "the truth table"), "mas")
    true = dict(zip(keys, values.tolist(), strict=True))
    matched = np.array([true.get(name, np.nan) for name in names])
    if not np.isfinite(matched).any():
        raise BadInputError("no star of the catalog is in the truth table; is it the truth of this survey?")
    return matched


def _measured(values):
    """Finite and no larger than any parallax could be: squares stay finite too."""
    return np.abs(values) < _PARALLAX_MAX  # False for NaN


def _text(table, name):
    return column_values(table[name], "U", f"column {name}")


def _normalise_name(name):
    return "".join(c for c in name.lower() if c not in "-_ ")


def _zero_points(catalog, fold, zero_point):
    """The zero point in each star's Gaia_parallax [mas] (float64 array): our catalogs have a column of it."""
    if zero_point is not None:
        return np.full(len(fold), float(zero_point))
    own_name = _find(catalog, _ZERO_POINT, "the catalog")
    if own_name is not None:
        return float_column(catalog, own_name, "mas")
    return _by_fold(catalog, fold, "ZEROPT", ZERO_POINT)


def _by_fold(catalog, fold, key, default):
    """A number of the header for each star (float64 array): that of the other fold's model, which predicts it."""
    values = np.full(len(fold), float(default))
    for own, other in (("A", "B"), ("B", "A")):
        values[fold == own] = float(catalog.meta.get(f"{key}_{other}", default))
    return values
