"""The paper's Table 1, and the truth, read from any table that has their columns: arrays, folds and samples."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy.table import Table

from spfast.config import BEST_SNR, ZERO_POINT, zero_point_in_mas
from spfast.data.identifiers import match_names, one_of_each, star_names, unmatched
from spfast.data.tables.stored import refuse_unread
from spfast.data.tables.values import NO, YES, column_values, float_column, refuse_two_units
from spfast.errors import BadInputError, MismatchWarning

__all__ = [
    "TABLE_1",
    "CatalogArrays",
    "find_column",
    "read_catalog",
    "refuse_other_unit",
    "refuse_ratio",
    "total_error_column",
    "true_parallaxes",
]

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
#: Bounds of a column's median [mas]: beyond them it is in another unit, which its table does not state.
_PLAUSIBLE_PARALLAX, _PLAUSIBLE_GAIA_ERROR = (2e-3, 1e3), (2e-3, 50.0)
#: Two parallaxes of the same stars are in different units if their median ratio is beyond this, or below one over it;
#: asked of stars with a parallax of at least so many times its error, if there are a few.
_LARGEST_RATIO, _CLEAR, _FEW = 100.0, 5.0, 5
#: The median of spec_parallax_err over spec_parallax: beyond these the two are in different units.
_FRACTIONS = (1e-4, 30.0)
_FOLDS = ("A", "B")


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
        Whether value and error can be used: of a star's rows in one alone.
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

    @property
    def inflated_gaia_error(self) -> np.ndarray:
        """Gaia's errors times the factor of the catalog's header [mas]."""
        return self.gaia_inflation * self.gaia_error


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
        If a column is missing or in another unit than it can be, or ``training_set`` or ``sample`` holds what cannot
        be understood.

    Warns
    -----
    MismatchWarning
        If the catalog is ours and has no header, or has several rows of a star.
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
    training = _one_of(catalog, columns["training_set"], str.lower, (*YES, *NO), "yes or no (or 1 or 0)")
    training = np.isin(training, YES)
    fold = _one_of(catalog, columns["sample"], str.upper, _FOLDS, "A or B")
    refuse_other_unit("the catalog", columns["Gaia_parallax_err"], gaia_error, _PLAUSIBLE_GAIA_ERROR)
    refuse_other_unit("the catalog", columns["spec_parallax"], spec)
    clear = has_gaia & (gaia > _CLEAR * gaia_error) & (spec > 0)
    refuse_ratio(spec, gaia, clear, columns["spec_parallax"], columns["Gaia_parallax"])
    refuse_two_units(gaia[has_gaia], gaia_error[has_gaia], "the catalog")
    has_spec = _measured(spec) & _measured(spec_error) & (spec_error >= 0)
    positive = has_spec & (spec_error > 0) & (spec > 0)
    fractions = spec_error[positive] / spec[positive]
    if fractions.size and not _FRACTIONS[0] < np.median(fractions) < _FRACTIONS[1]:
        raise BadInputError(
            f"the catalog: {columns['spec_parallax_err']} is {np.median(fractions):.3g} times "
            f"{columns['spec_parallax']} in the median, expected near 0.1; are both in mas?"
        )
    names = star_names(_text(catalog, columns["2MASS_ID"]))
    once = np.isin(np.arange(len(names)), one_of_each(names, spec_error, spec))
    if not once.all():
        warnings.warn(
            f"the catalog has {np.count_nonzero(~once):,} more rows than stars (e.g. of {names[np.argmin(once)]}): of "
            f"each star the row of smallest {columns['spec_parallax_err']} counts",
            MismatchWarning,
            stacklevel=2,
        )
        has_gaia, has_spec = has_gaia & once, has_spec & once
    raw = gaia - _zero_points(catalog, fold, zero_point)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        best = training & has_gaia & (raw / gaia_error >= BEST_SNR)
    return CatalogArrays(
        names=names,
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
        has_spec=has_spec,
    )


def refuse_other_unit(
    what: str, name: str, values: np.ndarray, bounds: tuple[float, float] = _PLAUSIBLE_PARALLAX
) -> None:
    """Refuse a column whose median cannot be in mas.

    Parameters
    ----------
    what, name : str
        What the message calls the table and the column.
    values : float64 array [mas]
        Those that are not positive are left out.
    bounds : tuple of float [mas]

    Raises
    ------
    BadInputError
    """
    positive = values[values > 0]
    if positive.size and not bounds[0] < np.median(positive) < bounds[1]:
        raise BadInputError(
            f"{what}: column {name} has the median {np.median(positive):.3g}, expected {bounds[0]:g} to {bounds[1]:g} "
            "mas; is it in arcsec? Convert it or give it its unit"
        )


def refuse_ratio(values: np.ndarray, others: np.ndarray, chosen: np.ndarray, name: str, other_name: str) -> None:
    """Refuse two parallaxes of the same stars that are in different units.

    Parameters
    ----------
    values, others : float array, shape (n_stars,)
    chosen : bool array, shape (n_stars,)
        The stars to ask; of very few nothing is said.
    name, other_name : str
        What the message calls the two.

    Raises
    ------
    BadInputError
    """
    if np.count_nonzero(chosen) < _FEW:
        return
    ratio = np.median(values[chosen] / others[chosen])
    if not 1.0 / _LARGEST_RATIO < ratio < _LARGEST_RATIO:
        raise BadInputError(
            f"the catalog: {name} is {ratio:.3g} times {other_name} in the median, expected near 1; are both in mas?"
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
    refuse_unread(table, lambda column: _normalise_name(column) in _SPELLINGS[name], what)
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
    keys = _text(truth, find_column(truth, "2MASS_ID", "the truth table"))
    values = float_column(truth, find_column(truth, "true_parallax", "the truth table"), "mas")
    refuse_other_unit("the truth table", "true_parallax", values)
    lowest, highest = (_values_of(names, keys, values, one_of_each(keys, order)) for order in (values, -values))
    matched, twice = lowest, np.flatnonzero(lowest < highest)
    if twice.size:
        raise BadInputError(
            f"the truth table has different true_parallax for {names[twice[0]]}, expected one a star; correct it"
        )
    if not np.isfinite(matched).any():
        raise BadInputError(
            f"no star of the catalog is in the truth table ({unmatched(names, keys)}); is it the truth of this survey?"
        )
    return matched


def _values_of(names, keys, values, rows):
    """The values of named stars from some rows of a table, NaN where those do not have the star."""
    matched = match_names(names, keys[rows])
    return np.where(matched >= 0, np.append(values[rows], np.nan)[matched], np.nan)


def _measured(values):
    """Finite and no larger than any parallax could be: squares stay finite too."""
    return np.abs(values) < _PARALLAX_MAX  # False for NaN


def _text(table, name):
    return column_values(table[name], "U", f"column {name}")


def _one_of(table, name, case, known, expected):
    """A column of text in one case (str array); a value that is none of the known ones is refused."""
    texts = _text(table, name)
    values = np.array([case(str(value)) for value in texts], dtype="U")
    off = np.flatnonzero(~np.isin(values, known))
    if off.size:
        raise BadInputError(
            f"the catalog's column {name} has {str(texts[off[0]])[:30]!a} in row {off[0]}"
            f"{f' and {off.size - 1:,} others' if off.size > 1 else ''}, expected {expected}; correct it"
        )
    return values


def _normalise_name(name):
    return "".join(c for c in name.lower() if c not in "-_ ")


def _zero_points(catalog, fold, zero_point):
    """The zero point in each star's Gaia_parallax [mas] (float64 array): our catalogs have a column of it."""
    if zero_point is not None:
        return np.full(len(fold), zero_point_in_mas(zero_point))
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
