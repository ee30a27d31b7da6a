"""Gaia and WISE tables in any format, under Gaia's own names and units."""

import numpy as np
from astropy.table import Table

from spfast.data.columns import DR3_COLUMNS, STAR_COLUMNS, closest_names
from spfast.data.tables.read import read_table
from spfast.data.tables.values import check_plausible, column_values
from spfast.errors import BadInputError

__all__ = ["read_gaia", "read_wise", "tmass_key"]

#: Names of the 2MASS key, the first found wins; APOGEE_ID itself is accepted.
_KEY_NAMES = ("tmass_id", "original_ext_source_id", "apogee_id")
_BANDS = ("g", "bp", "rp")
_WISE = ("w1mpro", "w1mpro_error", "w2mpro", "w2mpro_error")
#: What AllWISE itself calls the errors.
_ALIASES = {"w1mpro_error": ("w1sigmpro",), "w2mpro_error": ("w2sigmpro",)}
_FLUXES = tuple(f"phot_{band}_mean_{kind}" for band in _BANDS for kind in ("flux", "flux_error"))

_REQUIRED = (
    "source_id",
    "parallax",
    "parallax_error",
    *(f"phot_{band}_mean_mag" for band in _BANDS),
    *_FLUXES,
    "visibility_periods_used",
    "astrometric_chi2_al",
    "astrometric_n_good_obs_al",
    "phot_variable_flag",
)
_OPTIONAL = ("ra", "dec", "pmra", "pmdec", "random_index", "angular_distance", *_WISE, *DR3_COLUMNS)


def read_gaia(path):
    """Read a Gaia table (joined with 2MASS's key, and with WISE or not).

    Parameters
    ----------
    path : path-like
        In a format of `spfast.data.tables.read.read_table`.

    Returns
    -------
    table : astropy Table
        ``key`` (the 2MASS designation without a prefix) and Gaia's columns; units converted to Gaia's where the file
        gives others; missing is NaN, -1 or an empty text; optional columns that the file lacks are not there.

    Raises
    ------
    BadInputError
        If it cannot be read, has no row, lacks a column, or a column has an impossible unit or type.
    """
    table = _read(path)
    result = Table({"key": _key(table, path)})
    for name in _REQUIRED:
        result[name] = _values(table, name, path)
    for name in _OPTIONAL:
        if _find(table, name) is not None:
            result[name] = _values(table, name, path)
    check_plausible(result, path)
    return result


def read_wise(path):
    """Read a WISE table of its own.

    Parameters
    ----------
    path : path-like
        As for `read_gaia`; it has the 2MASS key or Gaia's source_id.

    Returns
    -------
    table : astropy Table
        ``key`` or ``source_id``, then w1mpro, w1mpro_error, w2mpro, w2mpro_error [mag].

    Raises
    ------
    BadInputError
        As `read_gaia`.
    """
    table = _read(path)
    if any(_find(table, name) is not None for name in _KEY_NAMES):
        result = Table({"key": _key(table, path)})
    else:
        result = Table({"source_id": _values(table, "source_id", path)})
    for name in _WISE:
        result[name] = _values(table, name, path)
    check_plausible(result, path)
    return result


def _read(path):
    table = read_table(path)
    if not len(table):
        raise BadInputError(f"{path}: the table has no rows, expected one a star; make it again")
    return table


def tmass_key(names):
    """Return 2MASS designations without prefix: the form that APOGEE and Gaia's cross-match have in common.

    Parameters
    ----------
    names : array of str

    Returns
    -------
    keys : array of str

    Examples
    --------
    >>> from spfast.data.gaia import tmass_key
    >>> tmass_key(["2M19485057+5005279", "19485057+5005279 ", "2MASS J19485057+5005279"]).tolist()
    ['19485057+5005279', '19485057+5005279', '19485057+5005279']
    """
    names = np.char.strip(np.asarray(names, dtype="U"))
    for prefix in ("2MASS", "2M"):
        starts = np.char.startswith(names, prefix)
        names = np.where(starts, np.char.lstrip(_tail(names, len(prefix)), " J"), names)
    return names


def _tail(names, n):
    return np.array([name[n:] for name in names.ravel()], dtype="U").reshape(names.shape)


def _find(table, name):
    by_lower = {other.lower(): other for other in reversed(table.colnames)}
    return next((by_lower[other] for other in (name, *_ALIASES.get(name, ())) if other in by_lower), None)


def _key(table, path):
    for name in _KEY_NAMES:
        column = _find(table, name)
        if column is not None:
            return tmass_key(column_values(table[column], "U", f"{path}: column {column}"))
    raise BadInputError(
        f"{path}: no 2MASS key column (one of {', '.join(_KEY_NAMES)}); {closest_names('tmass_id', table.colnames)}"
    )


def _values(table, name, path):
    """Return one column as plain values of the survey's type, in the survey's unit, with its missing value."""
    found = _find(table, name)
    if found is None:
        raise BadInputError(f"{path}: no column {name}; {closest_names(name, table.colnames)}")
    column = {**STAR_COLUMNS, **DR3_COLUMNS}.get(name)
    kind, unit = (column.kind, column.unit) if column else ("f8", "")
    where, values = f"{path}: column {found}", table[found]
    if name == "source_id" and values.dtype.kind not in "iu":
        raise BadInputError(f"{where} is {values.dtype.name}, expected 64-bit integers; digits are lost")
    return column_values(values, kind, where, getattr(values, "unit", None), unit)
