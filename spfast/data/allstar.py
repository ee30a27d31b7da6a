"""APOGEE's allStar table, of any release: the columns that spfast uses, under its own names."""

import os
import re
import warnings

import numpy as np
from astropy import units
from astropy.table import Table

from spfast.data.columns import closest_names
from spfast.data.identifiers import tmass_key
from spfast.data.tables.names import no_column
from spfast.data.tables.read import read_columns
from spfast.data.tables.values import check_plausible, star_column
from spfast.errors import BadInputError, SpfastWarning

__all__ = ["read_allstar"]

#: Our name of each column, and the names that releases give it, in any case. None may mean something else elsewhere.
_COLUMNS = {
    "APOGEE_ID": ("APOGEE_ID", "OBJ", "SDSS4_APOGEE_ID"),
    "FILE": ("FILE",),
    "TELESCOPE": ("TELESCOPE",),
    "FIELD": ("FIELD",),
    "LOCATION_ID": ("LOCATION_ID",),
    "ra": ("RA",),
    "dec": ("DEC",),
    "glon": ("GLON",),
    "glat": ("GLAT",),
    "SNR": ("SNR",),
    "TEFF": ("TEFF",),
    "LOGG": ("LOGG",),
    "FE_H": ("FE_H", "M_H", "M_H_ATM", "PARAM_M_H"),
    "ALPHA_M": ("ALPHA_M", "ALPHA_M_ATM", "PARAM_ALPHA_M"),
    "VHELIO_AVG": ("VHELIO_AVG", "V_RAD"),
    "STARFLAG": ("STARFLAG", "SPECTRUM_FLAGS"),
    "ASPCAPFLAG": ("ASPCAPFLAG", "RESULT_FLAGS"),
    "NVISITS": ("NVISITS", "N_VISITS"),
    "J": ("J", "J_MAG"),
    "J_ERR": ("J_ERR", "E_J_MAG"),
    "H": ("H", "H_MAG"),
    "H_ERR": ("H_ERR", "E_H_MAG"),
    "K": ("K", "K_MAG"),
    "K_ERR": ("K_ERR", "E_K_MAG"),
}
#: What a 2MASS designation looks like.
_DESIGNATION = re.compile(r"\d{8}[-+]\d{7}$")
#: Bytes of the integers in which earlier releases keep flags.
_SIGNED_BYTES = 4
_REQUIRED = ("APOGEE_ID", "SNR", "LOGG", "J", "J_ERR", "H", "H_ERR", "K", "K_ERR")

#: Galactic coordinates as the summary files since DR19 name them: both or none, for B is a magnitude elsewhere.
_GALACTIC = {"glon": "l", "glat": "b"}
#: The north Galactic pole (ICRS) [deg], and how far [deg] two tables' latitudes may differ: far more than they do.
_POLE_RA, _POLE_DEC, _APART_MAX = 192.85948, 27.12825, 0.5


def read_allstar(path: str | os.PathLike) -> Table:
    """Read the columns of an allStar table that spfast uses.

    Parameters
    ----------
    path : path-like
        In any format that `spfast.data.tables.read.read_table` reads. Of several tables in a FITS file, that with the
        columns and with rows is read: HDU 1 in most releases, HDU 2 in the summary files since DR19.

    Returns
    -------
    table : astropy Table
        Under our names. Text has no padding, a missing float is NaN, a missing integer -1; optional columns that the
        file lacks are absent. ``meta["aspcapflag_bits"]`` is ``"result_flags"`` where ASPCAPFLAG holds those bits,
        which DR19 and later have.

    Raises
    ------
    BadInputError
        If it cannot be read, is truncated, has no row, or lacks a column that is needed.
    """
    if not os.path.exists(path):
        raise BadInputError(f"{path}: cannot be read (no such file); check the path")
    columns, names = read_columns(path, {**_COLUMNS, **{name: (name,) for name in _GALACTIC.values()}})
    for ours in _REQUIRED:
        if ours not in columns and ours == "LOGG":
            raise BadInputError(
                f"{path}: no column LOGG, the surface gravity of ASPCAP that tells giants; give an allStar with "
                f"ASPCAP's labels, not a table of reductions or visits ({closest_names(ours, names)})"
            )
        if ours not in columns:
            raise no_column(path, ours, _COLUMNS[ours], names)
    if not len(columns["APOGEE_ID"]):
        raise BadInputError(f"{path}: the allStar table has no rows, expected one for each star; download it again")
    table = Table()
    if "ASPCAPFLAG" in columns and columns["ASPCAPFLAG"].name.upper() == "RESULT_FLAGS":
        if _has_aspcap_results(columns, path):
            table.meta["aspcapflag_bits"] = "result_flags"
        else:
            del columns["ASPCAPFLAG"]
    for ours in _COLUMNS:
        if ours in columns:
            kind = "i8" if ours == "LOCATION_ID" else "f8"  # it is in no survey
            table[ours] = star_column(columns[ours], ours, f"{path}: column {columns[ours].name}", kind)
    table["APOGEE_ID"] = _with_prefix(table["APOGEE_ID"])
    for ours in ("STARFLAG", "ASPCAPFLAG"):
        if ours in columns and columns[ours].dtype.kind == "i" and columns[ours].dtype.itemsize == _SIGNED_BYTES:
            # Bit 31 is the sign there. -1 is "no such flag".
            table[ours] = np.where(table[ours] < -1, table[ours] + (1 << 8 * _SIGNED_BYTES), table[ours])
    unit = columns["LOGG"].unit
    if isinstance(unit, units.UnitBase) and unit.is_equivalent("m s-2"):
        raise BadInputError(f"{path}: column LOGG is in {unit}, expected its logarithm (dex); correct its unit or it")
    if not set(_GALACTIC) & set(table.colnames):
        _add_galactic(table, columns, path)
    check_plausible(table, path)
    return table


def _with_prefix(names):
    """Names with the 2M that APOGEE's files have, where a table leaves it out or writes 2MASS J."""
    keys = tmass_key(names)
    bare = [not name.upper().startswith("2M") or name.upper().startswith("2MASS") for name in names]
    is_tmass = [_DESIGNATION.match(key) is not None for key in keys]
    return np.where(np.array(bare, bool) & np.array(is_tmass, bool), np.char.add("2M", keys), names)


def _has_aspcap_results(columns, path):
    """Whether a summary file is ASPCAP's: each of SDSS-V's pipelines has result_flags of its own."""
    if "ALPHA_M" in columns and columns["ALPHA_M"].name.upper() == "ALPHA_M_ATM":
        return True
    if not np.any(np.ma.filled(columns["ASPCAPFLAG"], 0)):
        return True
    text = f"{path}: its result_flags are not those of ASPCAP (no column alpha_m_atm), so no star is flagged by them"
    warnings.warn(text, SpfastWarning, stacklevel=3)
    return False


def _add_galactic(table, columns, path):
    """Add Galactic coordinates from the columns l and b, if that is what they are."""
    if any(name not in columns or columns[name].name != name for name in _GALACTIC.values()):
        return
    if not {"ra", "dec"} <= set(table.colnames) or any(_is_no_angle(columns[name]) for name in _GALACTIC.values()):
        return
    galactic = {ours: star_column(columns[name], ours, f"{path}: column {name}") for ours, name in _GALACTIC.items()}
    ra, dec = np.radians(table["ra"] - _POLE_RA), np.radians(table["dec"])
    pole = np.radians(_POLE_DEC)
    latitude = np.degrees(np.arcsin(np.sin(dec) * np.sin(pole) + np.cos(dec) * np.cos(pole) * np.cos(ra)))
    apart = np.abs(latitude - galactic["glat"])
    if np.isfinite(apart).any() and np.nanmedian(apart) < _APART_MAX:
        table.update(galactic)


def _is_no_angle(column):
    """Whether a column has a unit that is known and no angle's."""
    unit = column.unit
    return not (unit is None or isinstance(unit, units.UnrecognizedUnit) or unit.is_equivalent(units.deg))
