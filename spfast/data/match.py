"""Matching allStar, Gaia and WISE by 2MASS key: which row of each table stands for a star, ties settled by rules."""

import warnings

import numpy as np

from spfast.data.columns import DR3_COLUMNS, STAR_COLUMNS, StarColumn, missing_column
from spfast.data.gaia import WISE_COLUMNS
from spfast.data.identifiers import tmass_key, unmatched
from spfast.data.sdss5 import observatory
from spfast.errors import BadInputError, SpfastWarning

__all__ = [
    *("POLICIES", "add_by_source", "best_allstar_rows", "best_gaia_rows", "best_rows", "check_places", "join_wise"),
    *("match_gaia", "row_of_each"),
]

#: Fluxes are in no survey, but errors of magnitudes follow from them.
_FLUX = StarColumn("f8", "", "")
#: The rules for ties, as every survey records them.
POLICIES = {
    "duplicates": "of the allStar rows of one APOGEE_ID with a spectrum file: the highest SNR, ties by all columns",
    "sdss5_rows": "of the rows of one sdss_id with a spectrum file: at each observatory the newest release, as mwmStar "
    "has no other; of these the highest SNR, ties by all columns; of several sdss_id of one name likewise",
    "several_gaia_sources": "smallest angular_distance if given, else brightest phot_g_mean_mag, ties by all columns",
}

#: Parallaxes of one source in two tables of one release differ by rounding to single precision: those of another
#: release differ by more than this [mas] in the median.
_PARALLAX_APART = 1e-3

#: How far apart [deg] the places of matched stars may be in the two tables: in the median, or for a star whose proper
#: motion is unknown.
_APART_MAX = 1 / 60
#: Where it is known: this far [deg], as Gaia's match with 2MASS reaches, and what a star moves in so many years.
_MATCH_RADIUS, _EPOCHS_APART = 10 / 3600, 25.0


def best_rows(keys, order, others=()):
    """Return for each distinct key the row of lowest ``order``; NaN comes last, ties are settled by the other columns.

    Parameters
    ----------
    keys : array of str or int, shape (n,)
    order : float array, shape (n,)
    others : sequence of array, shape (n,)
        Columns that settle ties, one after the other, so that the order of the rows in the file does not matter.

    Returns
    -------
    rows : int64 array
        Sorted by row.

    Examples
    --------
    >>> from spfast.data.match import best_rows
    >>> best_rows(["a", "b", "a", "a"], [3.0, 9.0, 1.0, 1.0]).tolist()
    [1, 2]
    """
    keys, order = np.asarray(keys), np.asarray(order, dtype=float)
    by_order = np.lexsort((*map(np.asarray, others[::-1]), order, keys))  # NaN sorts last
    first = np.ones(len(keys), bool)
    first[1:] = keys[by_order][1:] != keys[by_order][:-1]
    return np.sort(by_order[first])


def best_allstar_rows(stars):
    """Say which row of an allStar table stands for each star, by the rules of `POLICIES`.

    Parameters
    ----------
    stars : astropy Table
        From `spfast.data.allstar.read_allstar`, with a name in each row.

    Returns
    -------
    best : bool array, shape (n_rows,)
    """
    rows = np.arange(len(stars))
    if "sdss_id" in stars.colnames:
        sdss_id = np.where(np.asarray(stars["sdss_id"]) > 0, stars["sdss_id"], -1 - rows)
        if {"release", "TELESCOPE"} <= set(stars.colnames):
            rows = _newest(stars, sdss_id, rows)
        rows = rows[_by_snr(stars[rows], sdss_id[rows])]
    rows = rows[_by_snr(stars[rows], tmass_key(stars["APOGEE_ID"][rows]))]
    return np.isin(np.arange(len(stars)), rows)


def _by_snr(stars, keys):
    return best_rows(keys, -np.asarray(stars["SNR"], dtype=float), list(stars.itercols()))


def _newest(stars, sdss_id, rows):
    """Of the rows of each star and observatory those of the newest release, which comes last by its name."""
    sites = [observatory(str(telescope)) for telescope in stars["TELESCOPE"]]
    keys = np.char.add(sdss_id.astype("U20"), sites)
    _, release = np.unique(np.asarray(stars["release"]), return_inverse=True)
    newest = np.full(len(stars), -1)
    _, place = np.unique(keys, return_inverse=True)
    np.maximum.at(newest, place, release)
    return rows[release == newest[place]]


def best_gaia_rows(gaia):
    """Return one row of a Gaia table for each 2MASS key: the nearest source if it has distances, else the brightest.

    Parameters
    ----------
    gaia : astropy Table
        From `spfast.data.gaia.read_gaia`.

    Returns
    -------
    rows : int64 array
    """
    order = gaia["angular_distance"] if "angular_distance" in gaia.colnames else gaia["phot_g_mean_mag"]
    rows = best_rows(gaia["key"], order, list(gaia.itercols()))
    return rows[np.asarray(gaia["key"])[rows] != ""]


def match_gaia(apogee_id, gaia):
    """Find each star's row in a Gaia table.

    Parameters
    ----------
    apogee_id : array of str, shape (n_stars,)
    gaia : astropy Table

    Returns
    -------
    rows : int64 array, shape (n_stars,)
        -1 where there is none.
    """
    rows = best_gaia_rows(gaia)
    return row_of_each(tmass_key(apogee_id), tmass_key(gaia["key"][rows]), rows)


def check_places(stars, others, names=("allStar", "Gaia"), consequence="are rejected"):
    """Say which stars are at one place in two tables; refuse hours for degrees, and keys of other stars.

    Parameters
    ----------
    stars, others : astropy Table
        The same stars, row by row, named in the first column of ``stars``; ``ra`` and ``dec`` [deg] are compared if
        both tables have them. The ``pmra`` and ``pmdec`` [mas/yr] of either say how far a star may have moved between
        the tables' epochs.
    names : tuple of str
        What messages call the tables.
    consequence : str
        What the message says becomes of stars that are elsewhere.

    Returns
    -------
    same : bool array, shape (n_stars,)
        True where a place is missing.

    Raises
    ------
    BadInputError
        If half of the stars are more than a minute of arc apart; proper motion moves a star by seconds at most.
    """
    if any(name not in table.colnames for table in (stars, others) for name in ("ra", "dec")):
        return np.ones(len(stars), bool)
    ra, dec, other_ra, other_dec = (np.radians(table[name]) for table in (stars, others) for name in ("ra", "dec"))
    # The haversine formula: exact for small angles.
    cosines = np.cos(dec) * np.cos(other_dec)
    square = np.sin((dec - other_dec) / 2) ** 2 + cosines * np.sin((ra - other_ra) / 2) ** 2
    apart = np.degrees(2 * np.arcsin(np.sqrt(np.minimum(square, 1.0))))
    known = apart[np.isfinite(apart)]
    if known.size and np.median(known) > _APART_MAX:
        raise BadInputError(
            f"{names[0]} and {names[1]} table: the {known.size} matched stars are {np.median(known):.3g} deg apart "
            "(median), expected seconds of arc; is ra in hours, or are the 2MASS keys those of other stars?"
        )
    limit = np.full(len(stars), _APART_MAX)
    moving = next((table for table in (others, stars) if {"pmra", "pmdec"} <= set(table.colnames)), None)
    if moving is not None:
        moved = np.hypot(np.asarray(moving["pmra"], dtype=float), np.asarray(moving["pmdec"], dtype=float))  # [mas/yr]
        moved = _MATCH_RADIUS + _EPOCHS_APART * moved / 3.6e6
        limit = np.where(np.isfinite(moved), moved, limit)
    same = ~(apart > limit)
    if not same.all():
        first = int(np.flatnonzero(~same)[0])
        warnings.warn(
            f"{np.count_nonzero(~same):,} of {len(stars):,} matched stars {consequence}, their {names[1]} source is "
            f"elsewhere (the first: {stars[stars.colnames[0]][first]}, {apart[first]:.3g} deg away); are the 2MASS "
            "keys of some rows those of other stars?",
            SpfastWarning,
            stacklevel=3,
        )
    return same


def join_wise(gaia, wise):
    """Add the WISE columns of another table to a Gaia table in place, matched by 2MASS key or else by source_id.

    Where both tables have places, a WISE row that is elsewhere than the star is another's and left out.

    Parameters
    ----------
    gaia : astropy Table
    wise : astropy Table
        From `spfast.data.gaia.read_wise`; its values replace those that the Gaia table has.

    Raises
    ------
    BadInputError
        If no row matches; a row without a key or source_id matches none.
    """
    by = "key" if "key" in wise.colnames else "source_id"
    rows = best_rows(wise[by], wise["w1mpro"], list(wise.itercols()))
    rows = rows[_given(np.asarray(wise[by])[rows])]
    matched = np.where(
        _given(np.asarray(gaia[by])), row_of_each(np.asarray(gaia[by]), np.asarray(wise[by])[rows], rows), -1
    )
    if not np.any(matched >= 0):
        raise BadInputError(
            f"WISE table: none of its {len(wise)} rows matches a Gaia row by {by}; check both "
            f"({unmatched(wise[by], gaia[by])})"
        )
    rows = np.flatnonzero(matched >= 0)
    same = check_places(gaia[rows], wise[matched[rows]], ("Gaia", "WISE"), "have no WISE photometry")
    matched[rows[~same]] = -1
    for name in WISE_COLUMNS:
        gaia[name] = np.where(matched >= 0, np.asarray(wise[name])[matched], np.nan).astype(np.float32)


def add_by_source(stars, gaia, where):
    """Add to stars the columns of a Gaia table that they lack, matched by source_id, in place.

    Parameters
    ----------
    stars : astropy Table
        With ``source_id``; the parallaxes that they have stay.
    gaia : astropy Table
        From `spfast.data.gaia.read_gaia_by_source`.
    where : str
        The table's path, for messages.

    Returns
    -------
    n_matched : int

    Raises
    ------
    BadInputError
        If no row matches, or the table is of another release.
    """
    own, other = (table.meta.get("gaia_release") for table in (stars, gaia))
    if None not in (own, other) and own != other:
        raise BadInputError(
            f"{where}: is of Gaia {other.upper()} ({gaia.meta['gaia_release_reason']}), the summary's parallaxes of "
            f"{own.upper()}; give a table of the same release"
        )
    rows = best_rows(gaia["source_id"], np.zeros(len(gaia)), list(gaia.itercols()))
    rows = rows[_given(np.asarray(gaia["source_id"])[rows])]
    wanted = np.asarray(stars["source_id"])
    matched = np.where(_given(wanted), row_of_each(wanted, np.asarray(gaia["source_id"])[rows], rows), -1)
    found = np.flatnonzero(matched >= 0)
    if not found.size:
        raise BadInputError(
            f"{where}: none of its {len(gaia)} rows matches a star by source_id; check it "
            f"({unmatched(gaia['source_id'], wanted[wanted > 0])})"
        )
    same = check_places(stars[found], gaia[matched[found]], consequence="get nothing from the Gaia table")
    matched[found[~same]] = -1
    found = found[same]
    if "parallax" in gaia.colnames:
        apart = np.abs(np.asarray(stars["parallax"])[found] - np.asarray(gaia["parallax"])[matched[found]])
        apart = apart[np.isfinite(apart)]
        if apart.size and np.median(apart) > _PARALLAX_APART:
            raise BadInputError(
                f"{where}: its parallaxes are {np.median(apart):.3g} mas off those of the summary (median): another "
                f"release than {stars.meta.get('gaia_release')}; give a table of the same release"
            )
    for name in gaia.colnames:
        if name not in stars.colnames and name not in WISE_COLUMNS:
            column = {**STAR_COLUMNS, **DR3_COLUMNS}.get(name, _FLUX)
            values = missing_column(column, len(stars)).astype(gaia[name].dtype)
            values[matched >= 0] = np.asarray(gaia[name])[matched[matched >= 0]]
            stars[name] = values
    return int(np.count_nonzero(matched >= 0))


def _given(keys):
    """Whether each row has a key, or a source_id (bool array)."""
    return keys != "" if keys.dtype.kind == "U" else keys > 0


def row_of_each(wanted, keys, rows):
    """Return ``rows`` at the position of each wanted key among distinct ``keys``, -1 where it is absent."""
    if not len(keys):
        return np.full(len(wanted), -1)
    order = np.argsort(keys, kind="stable")
    place = np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)
    return np.where(keys[order][place] == wanted, rows[order][place], -1)
