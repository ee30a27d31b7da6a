"""The Parent Sample: allStar, Gaia and WISE tables read, matched star by star and cut, each cut counted."""

import os
import posixpath
import warnings

import numpy as np

from spfast.data.allstar import read_allstar
from spfast.data.columns import DR3_COLUMNS, STAR_COLUMNS
from spfast.data.cuts import CutFlow, cut_apogee, cut_photometry, training_set
from spfast.data.gaia import read_gaia, read_wise
from spfast.data.identifiers import tmass_key, unmatched
from spfast.data.match import best_rows, check_places, join_wise, match_gaia
from spfast.data.spectra.choose import release_of, rows_with_own_file
from spfast.data.spectra.find import SpectrumFiles
from spfast.errors import BadInputError, SpfastWarning

__all__ = ["parent_sample"]


def parent_sample(allstar, spectra, gaia, wise, config, can_estimate=False):
    """Read the tables, find each star's spectrum file, match the tables and apply the paper's cuts.

    Parameters
    ----------
    allstar, gaia : path-like
    spectra : path-like
        Folder of the spectra, whose files are found and not read.
    wise : path-like or None
        WISE table, if the Gaia table has no WISE columns.
    config : Config
    can_estimate : bool
        Missing magnitudes can be estimated however few of these stars have them all: by what other stars told.

    Returns
    -------
    stars : astropy Table
        The stars that are left, sorted by APOGEE_ID, with the columns of a survey.
    flow : CutFlow
        The cuts so far.

    Raises
    ------
    BadInputError
        If a table or the folder cannot be used, or no star is left.
    """
    stars = read_allstar(allstar)
    files = SpectrumFiles(spectra)
    gaia_table = read_gaia(gaia)
    if wise is not None:
        join_wise(gaia_table, read_wise(wise))
    for name in ("w1mpro", "w1mpro_error", "w2mpro", "w2mpro_error"):
        if name not in gaia_table.colnames:
            raise BadInputError(f"{gaia}: no column {name}; join WISE to it, or give a WISE table with --wise")

    allstar_ids = stars["APOGEE_ID"]
    flow = CutFlow(allstar_ids)
    places = [name for name in ("TELESCOPE", "FIELD", "LOCATION_ID") if name in stars.colnames]
    named = stars["FILE"] if "FILE" in stars.colnames else np.full(len(stars), "")
    rows = zip(stars["APOGEE_ID"], named, *(stars[name] for name in places), strict=True)
    rows = [(str(star), str(file), tuple(map(str, where))) for star, file, *where in rows]
    paths = [files.find(star, file, where) for star, file, where in rows]
    own = rows_with_own_file(paths, [where for _, _, where in rows])
    _warn_of_releases(rows, np.where(own, paths, ""))
    stars["FILE"] = np.where(own, paths, "").astype("U")
    stars.remove_columns([name for name in ("LOCATION_ID",) if name in places])
    found = flow.apply("spectrum file", stars["FILE"] != "", _why_no_file(spectra, files, stars["APOGEE_ID"], named))
    _check_some_found(found, spectra, files)
    stars = stars[found]
    keys = tmass_key(stars["APOGEE_ID"])
    if not np.all(keys != ""):
        stars = stars[flow.apply("name", keys != "", lambda i: "it has no APOGEE_ID")]
        keys = keys[keys != ""]
    best = np.zeros(len(stars), bool)
    best[best_rows(keys, -np.asarray(stars["SNR"], dtype=float), list(stars.itercols()))] = True
    snr = np.asarray(stars["SNR"])
    stars = stars[flow.apply("one row a star", best, lambda i: f"SNR = {snr[i]:.1f}: another row has more")]
    stars = cut_apogee(stars, flow, config)
    rows = match_gaia(stars["APOGEE_ID"], gaia_table)
    stars = stars[flow.apply("Gaia source", rows >= 0, lambda i: "its 2MASS key is not in the Gaia table")]
    one_key = unmatched(allstar_ids, gaia_table["key"])
    gaia_table = gaia_table[rows[rows >= 0]]
    same = check_places(stars, gaia_table)
    if not same.all():
        stars = stars[flow.apply("place", same, lambda i: "its Gaia source is elsewhere on the sky: another star's")]
        gaia_table = gaia_table[same]
    stars = cut_photometry(_with_gaia(stars, gaia_table, config), flow, config, can_estimate)
    emptied = flow.emptied_by()
    if emptied is not None:
        counts = ", ".join(f"{name}: {left}" for name, left in flow.counts)
        example = flow.example(emptied)
        seen = f" (of their 2MASS keys {one_key})" if emptied == "Gaia source" else ""
        raise BadInputError(
            f"no star is left after the cut {emptied!r}{example} ({counts}); check the tables and the cuts{seen}"
        )
    order = np.argsort(stars["APOGEE_ID"], kind="stable")
    flow.rows = flow.rows[order]
    stars = stars[order]
    stars["training_set"] = training_set(stars, config)
    return stars, flow


def _why_no_file(spectra, files, apogee_id, named):
    """Return a function that says why one star has no spectrum file."""

    def detail(i):
        reason = files.unread.of_star(str(apogee_id[i]), str(named[i]))
        return f"none under {spectra}{'' if reason is None else f': {reason}'}"

    return detail


def _check_some_found(found, spectra, files):
    """Refuse a folder in which no star has a file, and warn where some have none but others' files were passed over."""
    n_without = np.count_nonzero(~found)
    if n_without == len(found):
        raise BadInputError(
            f"no star is left after the cut 'spectrum file': none of allStar's {len(found):,} stars has one under "
            f"{spectra}, which holds {files.describe()}; check --spectra"
        )
    if n_without and files.unread.passed_over():
        warnings.warn(
            f"{n_without:,} of allStar's {len(found):,} stars have no spectrum file under {spectra}, which also holds "
            f"{files.unread}",
            SpfastWarning,
            stacklevel=5,
        )


def _warn_of_releases(rows, paths):
    """Warn of spectra of another release than the one that allStar names."""
    pairs = [(file, path) for (_, file, _), path in zip(rows, paths, strict=True) if path and file]
    releases = [
        (release_of(posixpath.basename(file)), release_of(os.path.basename(path)), path) for file, path in pairs
    ]
    other = [(named, found, path) for named, found, path in releases if named and found and named != found]
    if other:
        named, found, path = other[0]
        warnings.warn(
            f"{len(other):,} of {len(pairs):,} spectra are not of the release that allStar's FILE names (the first: "
            f"{path} is of {found}, allStar of {named}); give the allStar table and the spectra of one release",
            SpfastWarning,
            stacklevel=3,
        )


def _with_gaia(stars, gaia, config):
    """Return the stars with Gaia's columns and the errors of Gaia's magnitudes, which follow from its fluxes."""
    for name in {**STAR_COLUMNS, **DR3_COLUMNS}:
        if name in gaia.colnames and name not in ("ra", "dec"):
            stars[name] = gaia[name]
    for name in ("ra", "dec"):
        if name not in stars.colnames and name in gaia.colnames:
            stars[name] = gaia[name]
    for band in ("g", "bp", "rp"):
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            relative = np.asarray(gaia[f"phot_{band}_mean_flux_error"]) / np.asarray(gaia[f"phot_{band}_mean_flux"])
        stars[f"phot_{band}_mean_mag_error"] = (config.features.magnitude_error_factor * relative).astype(np.float32)
    return stars
