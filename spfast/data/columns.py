"""The columns of a survey's tables: name, type, unit and meaning, in one list for all who write or read them."""

from difflib import get_close_matches
from typing import NamedTuple

import numpy as np
from astropy.table import Column, Table

from spfast.errors import BadInputError

__all__ = [
    "DR3_COLUMNS",
    "SDSS5_COLUMNS",
    "STAR_COLUMNS",
    "StarColumn",
    "VARIABLE_FLAGS",
    "closest_names",
    "conform_rejected",
    "conform_stars",
    "missing_column",
]

#: Gaia's words for variability, in the order of the numbers that copies in databases have in their place.
VARIABLE_FLAGS = ("NOT_AVAILABLE", "CONSTANT", "VARIABLE")


class StarColumn(NamedTuple):
    """One column: numpy kind (``U`` text, ``f8``, ``f4``, ``i8``, ``i4``, ``?``), unit and description."""

    kind: str
    unit: str
    description: str


def _magnitude(band, source, name):
    return StarColumn("f4", "mag", f"{band} magnitude ({source} {name})")


def _magnitude_error(band):
    return StarColumn("f4", "mag", f"Error of the {band} magnitude")


#: Every survey has these, in this order. Missing is NaN, -1 for integers, an empty text.
STAR_COLUMNS = {
    "APOGEE_ID": StarColumn("U", "", "2MASS-style identifier of the star"),
    "source_id": StarColumn("i8", "", "Gaia source identifier, -1 if none"),
    "ra": StarColumn("f8", "deg", "Right ascension"),
    "dec": StarColumn("f8", "deg", "Declination"),
    "glon": StarColumn("f8", "deg", "Galactic longitude"),
    "glat": StarColumn("f8", "deg", "Galactic latitude"),
    "TELESCOPE": StarColumn("U", "", "APOGEE telescope"),
    "FIELD": StarColumn("U", "", "APOGEE field"),
    "FILE": StarColumn("U", "", "Spectrum file, relative to the folder of spectra"),
    "SNR": StarColumn("f4", "", "Signal-to-noise ratio per pixel of the combined spectrum"),
    "TEFF": StarColumn("f4", "K", "Effective temperature (ASPCAP)"),
    "LOGG": StarColumn("f4", "", "Surface gravity (ASPCAP), log10 of cm s-2 [dex]"),
    "FE_H": StarColumn("f4", "", "Iron abundance [Fe/H] (ASPCAP) [dex]"),
    "ALPHA_M": StarColumn("f4", "", "Alpha-element abundance [alpha/M] (ASPCAP) [dex]"),
    "VHELIO_AVG": StarColumn("f4", "km/s", "Heliocentric radial velocity"),
    "STARFLAG": StarColumn("i8", "", "APOGEE_STARFLAG bits"),
    "ASPCAPFLAG": StarColumn("i8", "", "APOGEE_ASPCAPFLAG bits"),
    "NVISITS": StarColumn("i4", "", "Number of combined visits"),
    "phot_g_mean_mag": _magnitude("G", "Gaia", "phot_g_mean_mag"),
    "phot_g_mean_mag_error": _magnitude_error("G"),
    "phot_bp_mean_mag": _magnitude("BP", "Gaia", "phot_bp_mean_mag"),
    "phot_bp_mean_mag_error": _magnitude_error("BP"),
    "phot_rp_mean_mag": _magnitude("RP", "Gaia", "phot_rp_mean_mag"),
    "phot_rp_mean_mag_error": _magnitude_error("RP"),
    "J": _magnitude("J", "2MASS", "J"),
    "J_ERR": _magnitude_error("J"),
    "H": _magnitude("H", "2MASS", "H"),
    "H_ERR": _magnitude_error("H"),
    "K": _magnitude("K", "2MASS", "Ks"),
    "K_ERR": _magnitude_error("K"),
    "w1mpro": _magnitude("W1", "AllWISE or unWISE, as survey.json says,", "w1mpro"),
    "w1mpro_error": _magnitude_error("W1"),
    "w2mpro": _magnitude("W2", "AllWISE or unWISE, as survey.json says,", "w2mpro"),
    "w2mpro_error": _magnitude_error("W2"),
    "parallax": StarColumn("f8", "mas", "Gaia parallax as published, no zero point added"),
    "parallax_error": StarColumn("f8", "mas", "Error of the Gaia parallax as published"),
    "pmra": StarColumn("f8", "mas/yr", "Proper motion in right ascension times cos(dec)"),
    "pmdec": StarColumn("f8", "mas/yr", "Proper motion in declination"),
    "visibility_periods_used": StarColumn("i4", "", "Gaia visibility periods used, -1 if none"),
    "astrometric_chi2_al": StarColumn("f4", "", "Gaia along-scan chi-squared of the astrometry"),
    "astrometric_n_good_obs_al": StarColumn("i4", "", "Gaia good along-scan observations, -1 if none"),
    "phot_variable_flag": StarColumn("U", "", "Gaia variability flag"),
    "random_index": StarColumn("i8", "", "Gaia random index, -1 if none"),
    "training_set": StarColumn("?", "", "Passes the quality cuts of the Training Set"),
    "n_bad_pixels": StarColumn("i4", "", "Bad pixels among the survey's pixels"),
}

#: Columns that Gaia has since DR3: a survey has them if its input does.
DR3_COLUMNS = {
    "nu_eff_used_in_astrometry": StarColumn("f4", "um-1", "Effective wavenumber used in the astrometry"),
    "pseudocolour": StarColumn("f4", "um-1", "Astrometrically estimated effective wavenumber"),
    "ecl_lat": StarColumn("f8", "deg", "Ecliptic latitude"),
    "astrometric_params_solved": StarColumn("i4", "", "Which astrometric parameters were solved for, -1 if none"),
    "ruwe": StarColumn("f4", "", "Renormalised unit weight error"),
}

#: Columns of SDSS-V's tables, likewise.
SDSS5_COLUMNS = {
    "sdss_id": StarColumn("i8", "", "SDSS-V identifier of the star, -1 if none"),
    "release": StarColumn("U", "", "Release that the combined spectrum is of"),
}

_MISSING = {"U": "", "f8": np.nan, "f4": np.nan, "i8": -1, "i4": -1, "?": False}


def missing_column(column, n_rows):
    """Return ``n_rows`` missing values of a column's type."""
    return np.full(n_rows, _MISSING[column.kind], dtype=None if column.kind == "U" else column.kind)


def conform_stars(stars):
    """Return a star table with the columns of a survey in their order, with their types, units and descriptions.

    Parameters
    ----------
    stars : astropy Table
        A column of `STAR_COLUMNS` that it lacks becomes one of missing values, one of `DR3_COLUMNS` or `SDSS5_COLUMNS`
        stays absent. Any other column follows them as it is.

    Returns
    -------
    table : astropy Table
        Columns that have their type already share their memory with the given ones.

    Raises
    ------
    BadInputError
        If a column's values cannot be converted to its type.
    """
    columns = {}
    for name, column in {**STAR_COLUMNS, **DR3_COLUMNS, **SDSS5_COLUMNS}.items():
        if name in stars.colnames:
            values = stars[name]
            if hasattr(values, "filled"):
                values = values.filled(_MISSING[column.kind])
            try:
                values = np.asarray(values).astype("U" if column.kind == "U" else column.kind, copy=False)
            except (ValueError, TypeError) as error:
                raise BadInputError(f"column {name}: cannot be stored as {column.kind} ({error})") from None
        elif name in STAR_COLUMNS:
            values = missing_column(column, len(stars))
        else:
            continue
        columns[name] = Column(values, unit=column.unit or None, description=column.description, copy=False)
    columns |= {name: stars[name] for name in stars.colnames if name not in columns}
    return Table(columns, copy=False)


def conform_rejected(rejected=None):
    """Return a table of rejected stars whose four columns have types and descriptions; empty if no star was rejected.

    Parameters
    ----------
    rejected : astropy Table, optional
        Columns APOGEE_ID, row, reason, detail.

    Returns
    -------
    table : astropy Table
    """
    columns = {
        "APOGEE_ID": ("U18", "2MASS-style identifier of the star"),
        "row": (np.int64, "Row in allStar, from 0; -1 if none"),
        "reason": ("U1", "The first cut or fault that stopped it"),
        "detail": ("U1", "The value or message behind the reason"),
    }
    table = Table()
    for name, (kind, description) in columns.items():
        values = np.zeros(0, kind) if rejected is None or not len(rejected) else np.asarray(rejected[name])
        table[name] = Column(values, description=description)
    return table


def closest_names(name, names):
    """Return a phrase that names the columns of a table that resemble the one that it lacks.

    Parameters
    ----------
    name : str
    names : list of str

    Returns
    -------
    phrase : str

    Examples
    --------
    >>> from spfast.data.columns import closest_names
    >>> closest_names("parallax_error", ["ra", "parallax_err", "parallax"])
    'its closest columns are parallax_err, parallax'
    """
    by_lower = {other.lower(): other for other in names}
    close = [by_lower[lower] for lower in get_close_matches(name.lower(), list(by_lower), n=3, cutoff=0.5)]
    return "its closest columns are " + ", ".join(close) if close else f"it has {', '.join(list(names)[:8]) or 'none'}"
