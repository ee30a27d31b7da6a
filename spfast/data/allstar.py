"""APOGEE's allStar table, of any release: the columns that spfast uses, under its own names."""

import os
import warnings

import numpy as np
from astropy.io import fits
from astropy.table import Table

from spfast.data.columns import STAR_COLUMNS, closest_names
from spfast.data.tables.values import check_plausible, column_values
from spfast.data.untrusted import check_file
from spfast.errors import BadInputError, SpfastWarning, reading

__all__ = ["read_allstar"]

#: Our name of each column, its type, and the names that releases give it. Case does not count; the first match wins.
_COLUMNS = {
    "APOGEE_ID": ("U", ("APOGEE_ID", "OBJ", "SDSS4_APOGEE_ID")),
    "FILE": ("U", ("FILE",)),
    "TELESCOPE": ("U", ("TELESCOPE",)),
    "FIELD": ("U", ("FIELD",)),
    "LOCATION_ID": ("i8", ("LOCATION_ID",)),
    "ra": ("f8", ("RA",)),
    "dec": ("f8", ("DEC",)),
    "glon": ("f8", ("GLON", "L")),
    "glat": ("f8", ("GLAT", "B")),
    "SNR": ("f4", ("SNR",)),
    "TEFF": ("f4", ("TEFF",)),
    "LOGG": ("f4", ("LOGG",)),
    "FE_H": ("f4", ("FE_H", "M_H", "M_H_ATM", "PARAM_M_H")),
    "ALPHA_M": ("f4", ("ALPHA_M", "ALPHA_M_ATM", "PARAM_ALPHA_M")),
    "VHELIO_AVG": ("f4", ("VHELIO_AVG", "V_RAD")),
    "STARFLAG": ("i8", ("STARFLAG", "SPECTRUM_FLAGS")),
    "ASPCAPFLAG": ("i8", ("ASPCAPFLAG", "RESULT_FLAGS")),
    "NVISITS": ("i4", ("NVISITS", "N_VISITS")),
    "J": ("f4", ("J", "J_MAG")),
    "J_ERR": ("f4", ("J_ERR", "E_J_MAG")),
    "H": ("f4", ("H", "H_MAG")),
    "H_ERR": ("f4", ("H_ERR", "E_H_MAG")),
    "K": ("f4", ("K", "K_MAG")),
    "K_ERR": ("f4", ("K_ERR", "E_K_MAG")),
}
_REQUIRED = ("APOGEE_ID", "SNR", "LOGG", "J", "J_ERR", "H", "H_ERR", "K", "K_ERR")

#: APOGEE writes -9999 (or -9999.99) for a missing number; some releases write 99 for a missing magnitude.
_MISSING_BELOW = -9000.0
_MISSING_MAGNITUDE = 90.0


def read_allstar(path: str | os.PathLike) -> Table:
    """Read the columns of an allStar table that spfast uses.

    Parameters
    ----------
    path : path-like
        FITS; the table is in HDU 1, or in HDU 2 as in the summary files since DR19.

    Returns
    -------
    table : astropy Table
        Under our names. Text has no padding, a missing float is NaN; optional columns that the file lacks are absent.
        ``meta["aspcapflag_bits"]`` is ``"result_flags"`` where ASPCAPFLAG holds those bits, which DR19 and later have.

    Raises
    ------
    BadInputError
        If it cannot be read, is truncated, has no row, or lacks a column that is needed.
    """
    check_file(path)
    with (
        reading(path, "cannot be read as an allStar table"),
        open(path, "rb") as file,
        fits.open(file, memmap=not str(path).endswith(".gz"), disable_image_compression=True) as hdus,
    ):
        hdu = _allstar_hdu(hdus, path)
        own_names = _find_columns(hdu.columns.names, path)
        if hdu.data is None or not len(hdu.data):
            raise BadInputError(f"{path}: the allStar table has no rows, expected one for each star; download it again")
        columns = {ours: (np.array(hdu.data[name]), hdu.columns[name].unit) for ours, name in own_names.items()}
    table = Table()
    if own_names.get("ASPCAPFLAG", "").upper() == "RESULT_FLAGS" and not _has_aspcap_results(own_names, columns, path):
        del columns["ASPCAPFLAG"]
    elif own_names.get("ASPCAPFLAG", "").upper() == "RESULT_FLAGS":
        table.meta["aspcapflag_bits"] = "result_flags"
    for ours, (values, unit) in columns.items():
        kind = _COLUMNS[ours][0]
        values = column_values(values, kind, f"{path}: column {own_names[ours]}", unit, _unit(ours))
        if kind.startswith("f"):
            values[values < _MISSING_BELOW] = np.nan
        if ours[0] in "JHK":
            values[(values > _MISSING_MAGNITUDE) & (values < 100.0)] = np.nan
        table[ours] = values
    check_plausible(table, path)
    return table


def _has_aspcap_results(own_names, columns, path):
    """Whether a summary file is ASPCAP's: each of SDSS-V's pipelines has result_flags of its own."""
    if own_names.get("ALPHA_M", "").upper() == "ALPHA_M_ATM" or not np.any(columns["ASPCAPFLAG"][0]):
        return True
    text = f"{path}: its result_flags are not those of ASPCAP (no column alpha_m_atm), so no star is flagged by them"
    warnings.warn(text, SpfastWarning, stacklevel=3)
    return False


def _unit(ours):
    return STAR_COLUMNS[ours].unit if ours in STAR_COLUMNS else ""


def _allstar_hdu(hdus, path):
    tables = [hdu for hdu in hdus[1:3] if isinstance(hdu, fits.BinTableHDU)]
    if not tables:
        raise BadInputError(f"{path}: no table in HDU 1 or 2; expected an APOGEE allStar file")
    for hdu in reversed(tables):
        names = {name.upper() for name in hdu.columns.names}
        if hdu.header["NAXIS2"] and "LOGG" in names and names & set(_COLUMNS["APOGEE_ID"][1]):
            return hdu
    # None is whole: the one with most of the columns that are needed says best what is missing.
    return max(tables, key=lambda hdu: len({name.upper() for name in hdu.columns.names} & set(_REQUIRED)))


def _find_columns(names, path):
    """Return our name of each column that the table has, and the table's own name of it (dict)."""
    by_upper = {name.upper(): name for name in reversed(names)}
    own_names = {}
    for ours, (_, aliases) in _COLUMNS.items():
        own = next((by_upper[alias] for alias in aliases if alias in by_upper), None)
        if own is not None:
            own_names[ours] = own
        elif ours in _REQUIRED:
            if ours == "LOGG":
                raise BadInputError(
                    f"{path}: no column LOGG, the surface gravity of ASPCAP that tells giants; give an allStar with "
                    f"ASPCAP's labels, not a table of reductions or visits ({closest_names(ours, names)})"
                )
            raise BadInputError(
                f"{path}: no column {ours} (or {', '.join(aliases[1:]) or 'another name of it'}); "
                f"{closest_names(ours, names)}"
            )
    return own_names
