"""APOGEE's allStar table, of any release, and SDSS-V's summaries: the columns that spfast uses, under its own names."""

import os
import re
import warnings
from collections.abc import Mapping

import numpy as np
from astropy import units
from astropy.table import Table

from spfast.archive.releases import GAIA
from spfast.data.columns import closest_names
from spfast.data.gaia import WISE_COLUMNS
from spfast.data.identifiers import sdss_ids, source_ids, tmass_key
from spfast.data.tables.names import no_column
from spfast.data.tables.read import read_columns_and_meta
from spfast.data.tables.values import check_plausible, star_column
from spfast.errors import BadInputError, SpfastWarning

__all__ = ["astra_version", "read_allstar", "refuse_boss", "with_prefix"]

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
    "TEFF": ("TEFF", "RV_TEFF"),
    "LOGG": ("LOGG", "RV_LOGG"),
    "FE_H": ("FE_H", "M_H", "M_H_ATM", "PARAM_M_H", "RV_FEH"),
    "ALPHA_M": ("ALPHA_M", "ALPHA_M_ATM", "PARAM_ALPHA_M"),
    "VHELIO_AVG": ("VHELIO_AVG", "V_RAD", "VRAD"),
    "STARFLAG": ("STARFLAG", "SPECTRUM_FLAGS"),
    "ASPCAPFLAG": ("ASPCAPFLAG", "RESULT_FLAGS"),
    "NVISITS": ("NVISITS", "N_VISITS"),
    "J": ("J", "J_MAG", "JMAG"),
    "J_ERR": ("J_ERR", "E_J_MAG", "JERR"),
    "H": ("H", "H_MAG", "HMAG"),
    "H_ERR": ("H_ERR", "E_H_MAG", "HERR"),
    "K": ("K", "K_MAG", "KMAG"),
    "K_ERR": ("K_ERR", "E_K_MAG", "KERR"),
}
#: Columns of SDSS-V's tables, which have their own match with Gaia DR3: astra's summaries, and the APOGEE pipeline's
#: allStar of one telescope. Without the first, columns of these names are something else.
_SDSS5 = {
    "sdss_id": ("SDSS_ID",),
    "release": ("RELEASE",),
    "source_id": ("GAIA_DR3_SOURCE_ID", "GAIA_SOURCEID"),
    "parallax": ("PLX", "GAIA_PLX"),
    "parallax_error": ("E_PLX", "GAIA_PLX_ERROR"),
    "pmra": ("PMRA", "GAIA_PMRA"),
    "pmdec": ("PMDE", "GAIA_PMDEC"),
    "phot_g_mean_mag": ("G_MAG", "GAIA_GMAG"),
    "phot_g_mean_mag_error": ("GAIA_GERR",),
    "phot_bp_mean_mag": ("BP_MAG", "GAIA_BPMAG"),
    "phot_bp_mean_mag_error": ("GAIA_BPERR",),
    "phot_rp_mean_mag": ("RP_MAG", "GAIA_RPMAG"),
    "phot_rp_mean_mag_error": ("GAIA_RPERR",),
    "w1mpro": ("W1_MAG",),
    "w1mpro_error": ("E_W1_MAG",),
    "w2mpro": ("W2_MAG",),
    "w2mpro_error": ("E_W2_MAG",),
}
#: And those that do not become columns of a survey: the names of a star, the versions of astra and of Gaia.
_SDSS5_TEXTS = {"sdss4_apogee_id": ("SDSS4_APOGEE_ID",), "obj": ("OBJ",), "v_astra": ("V_ASTRA",)}
_SDSS5_TEXTS |= {"gaia_release": ("GAIA_RELEASE",)}
#: The pipeline's allStar has these; its table of visits, whose log g are the same, has only the first.
_OF_PIPELINE = {"starver", "nvisits"}
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
        which DR19 and later have. A table of SDSS-V, which has ``sdss_id``, also has Gaia's columns, of the release
        ``meta["gaia_release"]``, and W1 and W2 of ``meta["wise"]``; ``meta["v_astra"]`` is the version of its summary.

    Raises
    ------
    BadInputError
        If it cannot be read, is truncated, has no row, or lacks a column that is needed.
    """
    if not os.path.exists(path):
        raise BadInputError(f"{path}: cannot be read (no such file); check the path")
    galactic = {name: (name,) for name in _GALACTIC.values()}
    columns, names, meta = read_columns_and_meta(path, {**_COLUMNS, **galactic, **_SDSS5, **_SDSS5_TEXTS})
    is_doppler = _keep_own_labels(columns, names)
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
    refuse_boss(meta, path)
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
    if "sdss_id" in columns:
        _add_sdss5(table, columns, path)
    if is_doppler:
        table.meta["labels"] = "Doppler"
        text = f"{path}: its log g are Doppler's, not ASPCAP's: the cut on log g takes somewhat other stars"
        warnings.warn(text, SpfastWarning, stacklevel=2)
    table["APOGEE_ID"] = with_prefix(table["APOGEE_ID"])
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


def refuse_boss(meta: Mapping, path: str | os.PathLike) -> None:
    """Refuse a summary's table of BOSS: its stars have APOGEE spectra too, with other labels and S/N.

    Parameters
    ----------
    meta : mapping
        Of the table, from its header.
    path : path-like
        For messages.

    Raises
    ------
    BadInputError
    """
    instrument = str(meta.get("INSTRMNT", "APOGEE")).strip().upper()
    if instrument != "APOGEE":
        raise BadInputError(
            f"{path}: the table with rows is of {instrument} spectra (INSTRMNT), expected APOGEE; give a summary of "
            "an APOGEE pipeline, such as astraAllStarASPCAP"
        )


def _keep_own_labels(columns, names):
    """Leave out the labels of Doppler, but for the pipeline's allStar, which has no others; whether it is that."""
    doppler = [ours for ours in ("TEFF", "LOGG", "FE_H") if ours in columns and columns[ours].name.upper()[:3] == "RV_"]
    is_pipeline = "sdss_id" in columns and {name.lower() for name in names} >= _OF_PIPELINE
    if "LOGG" in doppler and is_pipeline:
        return True
    for ours in doppler:
        del columns[ours]
    return False


def _add_sdss5(table, columns, path):
    """Add what tables of SDSS-V have besides: the star's names, its match with Gaia DR3, unWISE."""
    for ours in _SDSS5:
        if ours in columns:
            where = f"{path}: column {columns[ours].name}"
            read = {"source_id": source_ids, "sdss_id": sdss_ids}.get(ours)
            table[ours] = star_column(columns[ours], ours, where) if read is None else read(columns[ours], where)
    texts = {
        name: star_column(columns[name], name, f"{path}: column {columns[name].name}", "U")
        for name in _SDSS5_TEXTS
        if name in columns
    }
    if columns["APOGEE_ID"].name.upper() != "APOGEE_ID":
        # Stars of DR17 have its names; of the others the spectrum has one.
        first, other = (texts.get(name, np.full(len(table), "")) for name in ("sdss4_apogee_id", "obj"))
        table["APOGEE_ID"] = np.where(first != "", first, other)
    versions = set(texts.get("v_astra", ())) - {""}
    if len(versions) == 1:
        table.meta["v_astra"] = astra_version(str(versions.pop()))
    if set(WISE_COLUMNS) <= set(table.colnames):
        table.meta["wise"] = "unWISE"
    if "parallax" in table.colnames:
        releases = {text.lower().removeprefix("gaia").strip() for text in set(texts.get("gaia_release", ["dr3"]))}
        releases = {"dr3" if release == "edr3" else release for release in releases} - {""}
        if len(releases) > 1:
            raise BadInputError(
                f"{path}: gaia_release is {' and '.join(sorted(releases))}, whose parallaxes have different zero "
                "points; keep the stars of one"
            )
        table.meta["gaia_release"] = next(iter(releases & set(GAIA)), None)
        table.meta["gaia_release_reason"] = "tables of SDSS-V are matched with it"


def astra_version(text: str) -> str:
    """A version of astra, which tables since DR20 write as a number: 8001 is 0.8.1."""
    number = int(text) if text.isdecimal() else None
    return text if number is None else f"{number // 10**6}.{number // 10**3 % 1000}.{number % 1000}"


def with_prefix(names):
    """Return names with the 2M that APOGEE's files have, where a table leaves it out or writes 2MASS J.

    Parameters
    ----------
    names : str array

    Returns
    -------
    str array

    Examples
    --------
    >>> import numpy as np
    >>> from spfast.data.allstar import with_prefix
    >>> with_prefix(np.array(["2MASS J19485057+5005279", "VESTA"])).tolist()
    ['2M19485057+5005279', 'VESTA']
    """
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
    if not np.isfinite(apart).any():
        return
    if np.nanmedian(apart) < _APART_MAX:
        table.update(galactic)
    elif "sdss_id" in columns:  # there they are nothing else
        raise BadInputError(
            f"{path}: ra and dec are {np.nanmedian(apart):.3g} deg off the latitude b (median), expected below "
            f"{_APART_MAX:g}; is ra in hours, or was a column sorted without the others?"
        )


def _is_no_angle(column):
    """Whether a column has a unit that is known and no angle's."""
    unit = column.unit
    return not (unit is None or isinstance(unit, units.UnrecognizedUnit) or unit.is_equivalent(units.deg))
