"""Gaia and WISE tables in any format, read under Gaia's own names and in its units."""

import os

import numpy as np
from astropy import units
from astropy.table import Table

from spfast.config import AUTO
from spfast.data.columns import DR3_COLUMNS, VARIABLE_FLAGS, closest_names
from spfast.data.gaia_release import TELLING_COLUMNS, find_release
from spfast.data.identifiers import source_ids, tmass_key
from spfast.data.tables.names import no_column
from spfast.data.tables.read import read_columns_and_meta
from spfast.data.tables.values import check_plausible, column_values, star_column
from spfast.errors import BadInputError

__all__ = ["GAIA_FLUXES", "WISE_COLUMNS", "read_gaia", "read_gaia_by_source", "read_wise", "variability_words"]

#: Names that the column of 2MASS keys may have; the first match wins.
_KEY_NAMES = ("tmass_id", "original_ext_source_id", "apogee_id")
_BANDS = ("g", "bp", "rp")
#: WISE's columns, in a table of its own or in Gaia's.
WISE_COLUMNS = ("w1mpro", "w1mpro_error", "w2mpro", "w2mpro_error")
#: AllWISE's own names of the errors.
_ALIASES = {"w1mpro_error": ("w1sigmpro",), "w2mpro_error": ("w2sigmpro",), "source_id": ("gaia_dr3_source_id",)}
#: Fluxes and their errors, from which the errors of Gaia's magnitudes follow.
GAIA_FLUXES = tuple(f"phot_{band}_mean_{kind}" for band in _BANDS for kind in ("flux", "flux_error"))

_REQUIRED = (
    "source_id",
    "parallax",
    "parallax_error",
    *(f"phot_{band}_mean_mag" for band in _BANDS),
    *GAIA_FLUXES,
    "visibility_periods_used",
    "astrometric_chi2_al",
    "astrometric_n_good_obs_al",
    "phot_variable_flag",
)
_OPTIONAL = ("ra", "dec", "pmra", "pmdec", "random_index", "angular_distance", *WISE_COLUMNS, *DR3_COLUMNS)


def read_gaia(path: str | os.PathLike, release: str = AUTO) -> Table:
    """Read a Gaia table that has 2MASS keys, with or without WISE photometry.

    Parameters
    ----------
    path : path-like
        In any format that `spfast.data.tables.read.read_table` reads.
    release : str
        Of Gaia (``"dr2"``, ...), or "auto": by what the table holds.

    Returns
    -------
    table : astropy Table
        ``key`` (the 2MASS designation without its prefix) and Gaia's columns, converted to Gaia's units where the file
        gives others. A missing value is NaN, -1 or an empty text; optional columns that the file lacks are absent.
        ``meta["gaia_release"]`` is the release or None, ``meta["gaia_release_reason"]`` what tells it.

    Raises
    ------
    BadInputError
        If it cannot be read, has no row, lacks a column, or a column has a unit or type that cannot be converted.
    """
    columns, names, meta = _read(path, *_REQUIRED, *_OPTIONAL, *TELLING_COLUMNS)
    result = Table({"key": _key(columns, names, path)})
    for name in (*_REQUIRED, *_OPTIONAL):
        if name in _REQUIRED or name in columns:
            result[name] = _values(columns, name, names, path)
    _convert_flux_errors(result, columns, path)
    check_plausible(result, path)
    found = find_release(columns, names, meta, str(path), release)
    result.meta |= {"gaia_release": found.name, "gaia_release_reason": found.reason}
    return result


def _convert_flux_errors(table, columns, path):
    """Bring the errors of fluxes to the fluxes' units: only their ratio is used, so any unit will do that both have."""
    for band in _BANDS:
        flux, error = (columns.get(f"phot_{band}_mean_{kind}") for kind in ("flux", "flux_error"))
        if flux is None or error is None:
            continue
        if not any(isinstance(column.unit, units.UnrecognizedUnit | None) for column in (flux, error)):
            where = f"{path}: column {error.name}"
            table[f"phot_{band}_mean_flux_error"] = column_values(error, "f8", where, error.unit, flux.unit)


def read_gaia_by_source(path: str | os.PathLike, release: str = AUTO) -> Table:
    """Read a Gaia table that goes with stars whose source_id is known: any of Gaia's columns.

    Parameters
    ----------
    path : path-like
        As for `read_gaia`; it has ``source_id`` or ``gaia_dr3_source_id``.
    release : str
        As for `read_gaia`.

    Returns
    -------
    table : astropy Table
        ``source_id`` and those of the columns of `read_gaia` that the file has; its release as in `read_gaia`.

    Raises
    ------
    BadInputError
        As `read_gaia`.
    """
    columns, names, meta = _read(path, *_REQUIRED, *_OPTIONAL, *TELLING_COLUMNS)
    wanted = [name for name in (*_REQUIRED, *_OPTIONAL) if name in columns or name == "source_id"]
    if wanted == ["source_id"] and "source_id" in columns:
        raise BadInputError(
            f"{path}: has {columns['source_id'].name} and no other column under Gaia's names (such as "
            f"visibility_periods_used, ruwe); it has {', '.join(names[:8])}"
        )
    result = Table({name: _values(columns, name, names, path) for name in wanted})
    _convert_flux_errors(result, columns, path)
    check_plausible(result, path)
    found = find_release(columns, names, meta, str(path), release)
    result.meta |= {"gaia_release": found.name, "gaia_release_reason": found.reason}
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
        ``key`` or ``source_id``, then w1mpro, w1mpro_error, w2mpro, w2mpro_error [mag], and ``ra`` and ``dec`` if the
        file has them.

    Raises
    ------
    BadInputError
        As `read_gaia`.
    """
    columns, names, _ = _read(path, "source_id", *WISE_COLUMNS, "ra", "dec")
    if "key" in columns:
        result = Table({"key": _key(columns, names, path)})
    else:
        result = Table({"source_id": _values(columns, "source_id", names, path)})
    for name in (*WISE_COLUMNS, "ra", "dec"):
        if name in WISE_COLUMNS or name in columns:
            result[name] = _values(columns, name, names, path)
    check_plausible(result, path)
    return result


def _read(path, *names):
    """Return the columns that a table has (dict), the names of all (list), and its metadata (dict)."""
    aliases = {"key": _KEY_NAMES, **{name: (name, *_ALIASES.get(name, ())) for name in names}}
    columns, names, meta = read_columns_and_meta(path, aliases)
    if columns and not len(next(iter(columns.values()))):
        raise BadInputError(f"{path}: the table has no rows, expected one for each star; make it again")
    return columns, names, meta


def _key(columns, names, path):
    if "key" not in columns:
        closest = closest_names("tmass_id", names)
        raise BadInputError(f"{path}: no 2MASS key column (one of {', '.join(_KEY_NAMES)}); {closest}")
    column = columns["key"]
    return tmass_key(column_values(column, "U", f"{path}: column {column.name}"))


def _values(columns, name, names, path):
    """Return one column with the type, the unit and the missing value that it has in a survey."""
    if name not in columns:
        raise no_column(path, name, _ALIASES.get(name, ()), names)
    column = columns[name]
    where = f"{path}: column {column.name}"
    if name == "source_id":
        return source_ids(column, where)
    values = star_column(column, name, where)
    return variability_words(values) if name == "phot_variable_flag" else values


def variability_words(flags):
    """Return Gaia's words for variability, for which databases write their numbers (array of str)."""
    for code, word in enumerate(VARIABLE_FLAGS):
        flags = np.where(flags == str(code), word, flags)
    return flags
