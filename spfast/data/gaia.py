"""Gaia and WISE tables in any format, read under Gaia's own names and in its units."""

import os

from astropy.table import Table

from spfast.data.columns import DR3_COLUMNS, STAR_COLUMNS, closest_names
from spfast.data.identifiers import source_ids, tmass_key
from spfast.data.tables.read import read_table
from spfast.data.tables.values import check_plausible, column_values
from spfast.errors import BadInputError

__all__ = ["read_gaia", "read_wise"]

#: Names that the column of 2MASS keys may have; the first match wins.
_KEY_NAMES = ("tmass_id", "original_ext_source_id", "apogee_id")
_BANDS = ("g", "bp", "rp")
_WISE = ("w1mpro", "w1mpro_error", "w2mpro", "w2mpro_error")
#: AllWISE's own names of the errors.
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


def read_gaia(path: str | os.PathLike) -> Table:
    """Read a Gaia table that has 2MASS keys, with or without WISE photometry.

    Parameters
    ----------
    path : path-like
        In any format that `spfast.data.tables.read.read_table` reads.

    Returns
    -------
    table : astropy Table
        ``key`` (the 2MASS designation without its prefix) and Gaia's columns, converted to Gaia's units where the file
        gives others. A missing value is NaN, -1 or an empty text; optional columns that the file lacks are absent.

    Raises
    ------
    BadInputError
        If it cannot be read, has no row, lacks a column, or a column has a unit or type that cannot be converted.
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


def read_wise(path: str | os.PathLike) -> Table:
    """Read a table of WISE photometry, for a Gaia table that has none.

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
        raise BadInputError(f"{path}: the table has no rows, expected one for each star; make it again")
    return table


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
    """Return one column with the type, the unit and the missing value that it has in a survey."""
    own_name = _find(table, name)
    if own_name is None:
        raise BadInputError(f"{path}: no column {name}; {closest_names(name, table.colnames)}")
    column = {**STAR_COLUMNS, **DR3_COLUMNS}.get(name)
    kind, unit = (column.kind, column.unit) if column else ("f8", "")
    where, values = f"{path}: column {own_name}", table[own_name]
    if name == "source_id":
        return source_ids(values, where)
    return column_values(values, kind, where, getattr(values, "unit", None), unit)
