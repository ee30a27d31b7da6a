"""The Parent Sample: allStar, Gaia and WISE tables read, matched star by star and cut, each cut counted."""

import warnings

import numpy as np

from spfast.data.allstar import read_allstar
from spfast.data.columns import DR3_COLUMNS, STAR_COLUMNS
from spfast.data.cuts import CutFlow, cut_apogee, cut_photometry, training_set
from spfast.data.gaia import read_gaia, read_wise
from spfast.data.match import best_rows, check_places, join_wise, match_gaia
from spfast.data.spectra.find import SpectrumFiles
from spfast.errors import BadInputError, SpfastWarning

__all__ = ["parent_sample"]


def parent_sample(allstar, spectra, gaia, wise, config):
    """Read the tables, find each star's spectrum file, match the tables and apply the paper's cuts.

    Parameters
    ----------
    allstar, gaia : path-like
    spectra : path-like
        Folder of the spectra, whose files are found and not read.
    wise : path-like or None
        WISE table, if the Gaia table has no WISE columns.
    config : Config

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

    flow = CutFlow(stars["APOGEE_ID"])
    places = [name for name in ("TELESCOPE", "FIELD", "LOCATION_ID") if name in stars.colnames]
    named = stars["FILE"] if "FILE" in stars.colnames else np.full(len(stars), "")
    paths = [
        files.find(str(star), str(file), tuple(str(place) for place in where))
        for star, file, *where in zip(stars["APOGEE_ID"], named, *(stars[name] for name in places), strict=True)
    ]
    stars["FILE"] = np.array(paths, dtype="U")
    stars.remove_columns([name for name in ("LOCATION_ID",) if name in places])
    found = flow.apply("spectrum file", stars["FILE"] != "", _why_no_file(spectra, files, stars["APOGEE_ID"], named))
    _check_some_found(found, spectra, files)
    stars = stars[found]
    best = np.zeros(len(stars), bool)
    best[best_rows(stars["APOGEE_ID"], -np.asarray(stars["SNR"], dtype=float), list(stars.itercols()))] = True
    snr = np.asarray(stars["SNR"])
    stars = stars[flow.apply("one row a star", best, lambda i: f"SNR = {snr[i]:.1f}: another row has more")]
    stars = cut_apogee(stars, flow, config)
    rows = match_gaia(stars["APOGEE_ID"], gaia_table)
    stars = stars[flow.apply("Gaia source", rows >= 0, lambda i: "its 2MASS key is not in the Gaia table")]
    gaia_table = gaia_table[rows[rows >= 0]]
    check_places(stars, gaia_table)
    stars = cut_photometry(_with_gaia(stars, gaia_table, config), flow, config)
    emptied = flow.emptied_by()
    if emptied is not None:
        counts = ", ".join(f"{name}: {left}" for name, left in flow.counts)
        example = flow.example(emptied)
        raise BadInputError(
            f"no star is left after the cut {emptied!r}{example} ({counts}); check the tables and the cuts"
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
