"""Columns that a catalog has on request: magnitudes and labels of its survey, places in the Galaxy, HEALPix cells."""

import importlib.util
import json
from collections.abc import Collection

import numpy as np
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.table import Table

from spfast.catalog.columns import ColumnSpec
from spfast.catalog.galaxy import galactocentric_frame
from spfast.config import GalaxyConfig
from spfast.data.columns import STAR_COLUMNS
from spfast.errors import BadInputError

__all__ = ["EXTRA_COLUMNS", "EXTRA_COMMENTS", "HEALPIX", "LABELS", "check_extra_columns", "extra_cards", "extra_values"]

#: What can be asked for.
LABELS, HEALPIX = "labels", "healpix"

#: UCDs of the columns that are taken over from the survey.
_FROM_SURVEY = {
    "phot_g_mean_mag": "phot.mag;em.opt",
    "phot_bp_mean_mag": "phot.mag;em.opt.B",
    "phot_rp_mean_mag": "phot.mag;em.opt.R",
    "J": "phot.mag;em.IR.J",
    "H": "phot.mag;em.IR.H",
    "K": "phot.mag;em.IR.K",
    "w1mpro": "phot.mag;em.IR.3-4um",
    "w2mpro": "phot.mag;em.IR.4-8um",
    "TEFF": "phys.temperature.effective",
    "LOGG": "phys.gravity",
    "FE_H": "phys.abund.Fe",
    "ALPHA_M": "phys.abund",
    "SNR": "stat.snr",
}


def _place(axis, towards):
    ucd = f"pos.cartesian.{axis};pos.galactocentric"
    return {
        axis: ColumnSpec("f8", "kpc", ucd, f"Galactocentric {axis}, {towards}, at the star's distance (GALCEN)"),
        f"{axis}_16": ColumnSpec("f8", "kpc", f"{ucd};stat.min", f"16th percentile of {axis}, by the distance's error"),
        f"{axis}_84": ColumnSpec("f8", "kpc", f"{ucd};stat.max", f"84th percentile of {axis}, by the distance's error"),
    }


#: The columns in order; of these a catalog gets those of which its survey has a value.
EXTRA_COLUMNS = {
    **{
        name: ColumnSpec(STAR_COLUMNS[name].kind, STAR_COLUMNS[name].unit, ucd, STAR_COLUMNS[name].description)
        for name, ucd in _FROM_SURVEY.items()
    },
    "bp_rp": ColumnSpec("f4", "mag", "phot.color;em.opt.B;em.opt.R", "phot_bp_mean_mag - phot_rp_mean_mag"),
    "A_K": ColumnSpec("f4", "mag", "phys.absorption;em.IR.K", "Extinction in the K band, as the survey has it"),
    **_place("x", "the Sun at negative x"),
    **_place("y", "along the Galaxy's rotation"),
    **_place("z", "towards the north Galactic pole"),
    "_healpix_29": ColumnSpec("i8", "", "pos.healpix", "HEALPix cell of order 29, nested, of ra and dec", -1),
}

#: Comments of the header's cards of `extra_cards`.
EXTRA_COMMENTS = {"EXTRACOL": "columns beyond the usual ones", "GALCEN": "frame of x, y, z: kpc, deg (JSON)"}


def check_extra_columns(wanted: Collection[str]) -> None:
    """Refuse what cannot be had, before any work is done.

    Raises
    ------
    BadInputError
        If it is neither "labels" nor "healpix", or the latter lacks astropy-healpix.
    """
    unknown = set(wanted) - {LABELS, HEALPIX}
    if isinstance(wanted, str) or unknown:
        raise BadInputError(f"extra_columns: got {wanted!a:.60}, expected a list with some of {LABELS}, {HEALPIX}")
    if HEALPIX in wanted and importlib.util.find_spec("astropy_healpix") is None:
        raise BadInputError("_healpix_29 needs astropy-healpix; install it (pip install 'spfast[healpix]')")


def extra_cards(wanted: Collection[str], config: GalaxyConfig) -> dict:
    """Header cards that say what was asked for, and where the Sun is taken to be (dict of str)."""
    cards = {"EXTRACOL": " ".join(name for name in (LABELS, HEALPIX) if name in wanted)} if wanted else {}
    if LABELS in wanted:
        names = ("sun_distance", "sun_height", "center_ra", "center_dec")
        cards["GALCEN"] = json.dumps({name: getattr(config, name) for name in names})
    return cards


def extra_values(wanted: Collection[str], stars: Table, values: dict, config: GalaxyConfig) -> dict:
    """The columns of `EXTRA_COLUMNS` of which there is a value (dict of arrays, shape (n_stars,)).

    Parameters
    ----------
    wanted : collection of str
        `LABELS`: magnitudes, colour, stellar labels, and places in the Galaxy. `HEALPIX`: the cell that HATS and LSDB
        partition by.
    stars : astropy Table
        Of a survey.
    values : dict of arrays
        With ``distance``, ``distance_16`` and ``distance_84`` [kpc] of the same stars.
    config : GalaxyConfig
        Where the Sun is.
    """
    found = {}
    if LABELS in wanted:
        names = [name for name in (*_FROM_SURVEY, "A_K") if name in stars.colnames]
        found = {name: np.ma.filled(np.ma.asarray(stars[name], np.float32), np.nan) for name in names}
        if {"phot_bp_mean_mag", "phot_rp_mean_mag"} <= set(found):
            found["bp_rp"] = found["phot_bp_mean_mag"] - found["phot_rp_mean_mag"]
        found |= _places(stars, values, config)
        found = {name: column for name, column in found.items() if np.isfinite(column).any()}
    if HEALPIX in wanted:
        found |= {"_healpix_29": _cells(stars)}
    return found


def _places(stars, values, config):
    """x, y, z and their percentiles [kpc]: they are linear in the distance, so its percentiles give theirs."""
    frame = galactocentric_frame(config)
    at = {}
    for name in ("distance", "distance_16", "distance_84"):
        columns = np.stack([np.asarray(column, float) for column in (stars["ra"], stars["dec"], values[name])])
        known = np.isfinite(columns).all(axis=0)
        ra, dec, distance = columns[:, known]
        place = SkyCoord(ra * units.deg, dec * units.deg, distance * units.kpc).transform_to(frame)
        at[name] = {axis: np.full(known.size, np.nan) for axis in "xyz"}
        for axis in "xyz":
            at[name][axis][known] = getattr(place, axis).to_value(units.kpc)
    found = {}
    for axis in "xyz":
        near, far = at["distance_16"][axis], at["distance_84"][axis]
        found |= {axis: at["distance"][axis]}
        found |= {f"{axis}_16": np.minimum(near, far), f"{axis}_84": np.maximum(near, far)}
    return found


def _cells(stars):
    from astropy_healpix import lonlat_to_healpix

    ra, dec = (np.asarray(stars[name], float) for name in ("ra", "dec"))
    known = np.isfinite(ra) & np.isfinite(dec)
    cells = np.full(known.size, EXTRA_COLUMNS["_healpix_29"].missing, np.int64)
    cells[known] = lonlat_to_healpix(ra[known] * units.deg, dec[known] * units.deg, nside=2**29, order="nested")
    return cells
