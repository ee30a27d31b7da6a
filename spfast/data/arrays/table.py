"""The star table of any survey: a user's table, and Gaia's matched to it by source_id, under a survey's own names."""

import math
import os

import numpy as np
from astropy.table import Table

from spfast.config import AUTO
from spfast.data.columns import DR3_COLUMNS, STAR_COLUMNS, closest_names
from spfast.data.gaia import variability_words
from spfast.data.gaia_release import TELLING_COLUMNS, find_release
from spfast.data.identifiers import source_ids, tmass_key, unmatched
from spfast.data.match import best_rows, row_of_each
from spfast.data.spectra.features import MAGNITUDE_COLUMNS, magnitude_columns
from spfast.data.tables.names import find_name
from spfast.data.tables.read import read_table
from spfast.data.tables.values import check_magnitudes, check_plausible, column_values, star_column
from spfast.errors import BadInputError

__all__ = ["own_ids", "star_table"]

#: Names that surveys give these columns, in any case; our own name is always one. None means something else elsewhere.
_ALIASES = {
    "source_id": (
        *("gaia_dr3_source_id", "gaiadr3_source_id", "gaia_source_id", "dr3_source_id", "gaiaedr3_source_id"),
        *("gaia_sourceid", "gaia_dr2_source_id", "dr2_source_id"),
    ),
    "SNR": ("snrg", "snr_px_ccd3", "sn_r"),
    "FE_H": ("feh", "m_h", "m_h_atm"),
    "ALPHA_M": ("alpha_m_atm",),
    "VHELIO_AVG": ("v_rad", "vrad", "rv", "radial_velocity"),
    "J": ("j_mag", "j_m", "jmag"),
    "H": ("h_mag", "h_m", "hmag"),
    "K": ("k_mag", "ks_m", "k_m", "kmag", "ksmag"),
    "J_ERR": ("e_j_mag", "j_msigcom", "j_error", "e_jmag"),
    "H_ERR": ("e_h_mag", "h_msigcom", "h_error", "e_hmag"),
    "K_ERR": ("e_k_mag", "ks_msigcom", "k_msigcom", "k_error", "e_kmag", "e_ksmag"),
    "phot_g_mean_mag": ("g_mag",),
    "phot_bp_mean_mag": ("bp_mag",),
    "phot_rp_mean_mag": ("rp_mag",),
    "phot_g_mean_mag_error": ("e_g_mag",),
    "phot_bp_mean_mag_error": ("e_bp_mag",),
    "phot_rp_mean_mag_error": ("e_rp_mag",),
    "w1mpro": ("w1_mag", "w1mag"),
    "w2mpro": ("w2_mag", "w2mag"),
    "w1mpro_error": ("w1sigmpro", "e_w1_mag", "e_w1mag"),
    "w2mpro_error": ("w2sigmpro", "e_w2_mag", "e_w2mag"),
    "parallax": ("plx",),
    "parallax_error": ("e_plx",),
}
#: Columns that surveys name stars by, the best first.
_IDS = ("sobject_id", "obsid", "targetid", "sdss_id", "APOGEE_ID", "star_id", "object_id", "id", "name", "source_id")
#: What a Gaia table says better than any copy of it.
_GAIAS = (
    *("parallax", "parallax_error", "pmra", "pmdec", "visibility_periods_used", "astrometric_chi2_al"),
    *("astrometric_n_good_obs_al", "phot_variable_flag", "random_index", *DR3_COLUMNS),
    *(name for band in ("g", "bp", "rp") for name in (f"phot_{band}_mean_mag", f"phot_{band}_mean_mag_error")),
)
#: Error of a magnitude over the relative error of its flux.
_FACTOR = 2.5 / math.log(10.0)
#: Not the user's: `spfast.data.arrays.survey` makes them.
_OURS = ("APOGEE_ID", "FILE", "training_set", "n_bad_pixels")


def star_table(table, id=None, source_id=None, magnitudes=None, gaia=None, factor=_FACTOR, release=AUTO):
    """Bring a table of stars to a survey's columns.

    Parameters
    ----------
    table : astropy Table, path-like, dict of arrays, structured array or pandas DataFrame
        One row a star, under our names, Gaia's or those of `_ALIASES`, in any case.
    id : str, optional
        The column that names the stars, integers or text; by default the first of `_IDS` that there is.
    source_id : str, optional
        The column of Gaia's source_id.
    magnitudes : sequence of str, or dict, optional
        Bands to use. A dict gives for each band its column, or its column and that of its error, or a number for the
        error [mag]. By default those of the usual eight that the tables have.
    gaia : the same as ``table``, optional
        A Gaia table, matched by source_id; its values win over those of ``table``.
    factor : float
        Error of a magnitude over the relative error of its flux.
    release : str
        Of Gaia, or "auto": by what the table of the parallaxes holds.

    Returns
    -------
    stars : astropy Table
        ``APOGEE_ID`` (text) is the id, which is there under its own name and in its own type as well.
    id : str
        Name of the column.
    magnitudes : tuple of str

    Raises
    ------
    BadInputError
        If ids are missing or there twice, a column is missing, or no source_id is in the Gaia table.
    """
    where, table = _named(table, "table")
    if not len(table):
        raise BadInputError(f"{where}: has no rows, expected one for each star")
    id = _id_column(table, id, where)
    stars = Table()
    stars["APOGEE_ID"] = _ids(table[id], f"{where}: column {id}")
    _take(stars, table, where, {} if source_id is None else {"source_id": (source_id,)}, factor)
    of_parallax = where, table
    if gaia is not None:
        of_parallax = _named(gaia, "Gaia table")
        _match(stars, *of_parallax, where, factor)
    _add_release(stars, *of_parallax, release)
    bands = _bands(stars, table, magnitudes, where)
    check_plausible(stars, where)
    ours = {name.lower() for name in (*STAR_COLUMNS, *stars.colnames)}
    for name in table.colnames:
        kind = getattr(getattr(table[name], "dtype", None), "kind", "")  # Time and SkyCoord have none
        if name.lower() not in ours and kind in tuple("biufSU") and table[name].ndim == 1:
            stars[name] = table[name]
    return stars, id, bands


def own_ids(table, id):
    """Return the ids that the table beside arrays has under the name ``id`` (str array), or None."""
    where, table = _named(table, "table beside the arrays")
    found = find_name(table.colnames, (id,), where)
    return None if found is None else _ids(table[found], f"{where}: column {found}")


def _named(table, what):
    """The name of a table for messages, and the table."""
    if isinstance(table, str | os.PathLike):
        return str(table), read_table(table)
    if type(table).__module__.partition(".")[0] == "pandas":
        return what, Table.from_pandas(table, index=any(name is not None for name in table.index.names))
    try:
        return what, table if isinstance(table, Table) else Table(table)
    except (TypeError, ValueError) as error:
        raise BadInputError(f"{what}: {error}; give a path, a Table or a dict of columns of one length") from None


def _id_column(table, id, where):
    found = find_name(table.colnames, _IDS if id is None else (id,), where)
    if found is None:
        names = ", ".join(_IDS) if id is None else id
        raise BadInputError(
            f"{where}: no column {names}; {closest_names(names.partition(',')[0], table.colnames)}; "
            "say with id which column names the stars"
        )
    return found


def _ids(column, where):
    """Ids as text; none is missing or there twice."""
    if column.dtype.kind in "iu":
        ids = np.where(np.ma.getmaskarray(column), "", np.asarray(np.ma.filled(column, 0)).astype("U"))
    elif column.dtype.kind in "SUO":
        ids = column_values(column, "U", where)
    else:
        raise BadInputError(f"{where} is {column.dtype}, expected integers or text, which name stars exactly")
    keys = tmass_key(ids)
    if np.any(keys == ""):
        row = int(np.flatnonzero(keys == "")[0])
        raise BadInputError(f"{where} is {str(ids[row])!a} in row {row}, which names no star; leave such rows out")
    distinct, counts = np.unique(keys, return_counts=True)
    if distinct.size < keys.size:
        twice = distinct[counts > 1]
        raise BadInputError(
            f"{where}: {twice.size:,} ids stand in several rows (the first: {twice[0]}, {counts[counts > 1][0]} rows); "
            "choose one row a star"
        )
    return ids


def _take(stars, table, where, own=(), factor=1.0):
    """Add the columns that a table has, with their types, units and missing values."""
    own = dict(own)
    for name in {**STAR_COLUMNS, **DR3_COLUMNS}:
        if name in _OURS:
            continue
        aliases = own.get(name, (name, *_ALIASES.get(name, ())))
        found = find_name(table.colnames, aliases, where)
        if found is None:
            if name in own:
                raise BadInputError(f"{where}: no column {aliases[0]}; {closest_names(aliases[0], table.colnames)}")
            continue
        text = f"{where}: column {found}"
        stars[name] = source_ids(table[found], text) if name == "source_id" else star_column(table[found], name, text)
    if "phot_variable_flag" in stars.colnames:
        stars["phot_variable_flag"] = variability_words(stars["phot_variable_flag"])
    for band in ("g", "bp", "rp"):
        ours = f"phot_{band}_mean_mag_error"
        relative = _relative_error(table, f"phot_{band}_mean_flux", where)
        if ours not in stars.colnames and relative is not None:
            stars[ours] = (factor * relative).astype(np.float32)


def _relative_error(table, flux, where):
    """Relative error of a flux of Gaia's, if the table has it in any of its ways."""
    columns = {}
    for name in (flux, f"{flux}_error", f"{flux}_over_error"):
        found = find_name(table.colnames, (name,), where)
        if found is not None:
            columns[name] = star_column(table[found], name, f"{where}: column {found}").astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        if f"{flux}_over_error" in columns:
            return 1.0 / columns[f"{flux}_over_error"]
        if len(columns) == 2:
            return columns[f"{flux}_error"] / columns[flux]
    return None


def _add_release(stars, where, table, release):
    """Add the release of Gaia that the table of the parallaxes is of."""
    own = {name: find_name(table.colnames, (name,), where) for name in TELLING_COLUMNS}
    columns = {name: table[found] for name, found in own.items() if found is not None}
    found = find_release(columns, table.colnames, table.meta, where, release)
    stars.meta |= {"gaia_release": found.name, "gaia_release_reason": found.reason}


def _match(stars, where, gaia, of_table, factor):
    """Add Gaia's columns, each star's by its source_id."""
    theirs = Table()
    _take(theirs, gaia, where, factor=factor)
    for name, text in ((where, theirs), (of_table, stars)):
        if "source_id" not in text.colnames:
            raise BadInputError(f"{name}: no column source_id, by which the two tables are matched; add it")
    ids = np.asarray(theirs["source_id"])
    rows = best_rows(ids, np.asarray(theirs["phot_g_mean_mag"]) if "phot_g_mean_mag" in theirs.colnames else ids)
    rows = rows[ids[rows] > 0]
    ours = np.asarray(stars["source_id"])
    matched = np.where(ours > 0, row_of_each(ours, ids[rows], rows), -1)
    if not np.any(matched >= 0):
        raise BadInputError(
            f"{where}: none of its {len(gaia):,} source_id is in {of_table}; are both of one release of Gaia? "
            f"({unmatched(ours, ids)})"
        )
    for name in theirs.colnames:
        if name != "source_id" and (name in _GAIAS or name not in stars.colnames):
            column = {**STAR_COLUMNS, **DR3_COLUMNS}[name]
            none = {"U": "", "i": -1, "f": np.nan}[column.kind[0]]
            stars[name] = np.where(matched >= 0, np.asarray(theirs[name])[matched], none).astype(theirs[name].dtype)


def _bands(stars, table, magnitudes, where):
    """The bands to use, each with a column of its own and one of its errors."""
    if magnitudes is None:
        has = [name for name, (value, _) in MAGNITUDE_COLUMNS.items() if value in stars.colnames]
        magnitudes = [name for name in has if np.isfinite(stars[MAGNITUDE_COLUMNS[name][0]]).any()]
        if not magnitudes:
            raise BadInputError(
                f"{where}: no column of a magnitude ({', '.join(MAGNITUDE_COLUMNS)}: phot_g_mean_mag, ..., w2mpro); "
                "the brightness of a star is in its magnitudes: add some, or a Gaia table"
            )
    magnitudes = (magnitudes,) if isinstance(magnitudes, str) else magnitudes
    given = magnitudes if isinstance(magnitudes, dict) else dict.fromkeys(magnitudes)
    if not given:
        raise BadInputError("magnitudes: none, expected a band at least; the brightness of a star is in its magnitudes")
    for band, source in given.items():
        names = magnitude_columns(band)
        source = () if source is None else (source,) if isinstance(source, str) else tuple(source)
        for name, one in zip(names, source, strict=False):
            if isinstance(one, str):
                found = find_name(table.colnames, (one,), where)
                of_gaia = find_name(stars.colnames, (one,), where) if found is None else None
                if of_gaia is not None:
                    stars[name] = stars[of_gaia]
                    continue
                if found is None:
                    raise BadInputError(f"{where}: no column {one}; {closest_names(one, table.colnames)}")
                stars[name] = star_column(table[found], name, f"{where}: column {found}", "f4", "mag")
            else:
                stars[name] = np.full(len(stars), float(one), np.float32)
        for name in names:
            if name not in stars.colnames and find_name(table.colnames, (name,), where) is not None:
                found = find_name(table.colnames, (name,), where)
                stars[name] = star_column(table[found], name, f"{where}: column {found}", "f4", "mag")
            if name not in stars.colnames:
                what = "error of the magnitude" if name == names[1] else "magnitude"
                raise BadInputError(
                    f"{where}: no {what} {band}, column {name}; {closest_names(name, table.colnames)}; name it, or "
                    f"give an error as a number: magnitudes={{{band!r}: ({names[0]!r}, 0.01)}}"
                )
        value, error = (np.asarray(stars[name], dtype=np.float32) for name in names)
        check_magnitudes(value, f"{where}: magnitude {band}, column {names[0]}")
        good = np.isfinite(value) & np.isfinite(error) & (error > 0)
        stars[names[0]], stars[names[1]] = (np.where(good, x, np.float32(np.nan)) for x in (value, error))
    return tuple(given)
