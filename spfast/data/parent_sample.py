"""The Parent Sample: allStar, Gaia and WISE tables read, matched star by star and cut, each cut counted."""

import os
import posixpath
import warnings

import numpy as np
from astropy.table import Table

from spfast.data.allstar import read_allstar
from spfast.data.columns import DR3_COLUMNS, STAR_COLUMNS, missing_column
from spfast.data.cuts import CutFlow, cut_apogee, cut_photometry, training_set, unknown_astrometry
from spfast.data.gaia import GAIA_FLUXES, WISE_COLUMNS, read_gaia, read_gaia_by_source, read_wise
from spfast.data.gaia_release import Release, given_or_found
from spfast.data.identifiers import tmass_key, unmatched
from spfast.data.match import add_by_source, best_allstar_rows, check_places, join_wise, match_gaia
from spfast.data.spectra.choose import release_of, rows_with_own_file
from spfast.data.spectra.find import SpectrumFiles
from spfast.errors import BadInputError, SpfastWarning
from spfast.progress import Progress, shown

__all__ = ["ALLWISE", "parent_sample"]

#: The survey of W1 and W2 that tables with AllWISE's names of columns are of.
ALLWISE = "AllWISE"
_BANDS = ("g", "bp", "rp")
#: Columns of a survey that come later, with the spectra.
_LATER = ("training_set", "n_bad_pixels")


def parent_sample(allstar, spectra, gaia, wise, config, can_estimate=False, quiet=True):
    """Read the tables, find each star's spectrum file, match the tables and apply the paper's cuts.

    Parameters
    ----------
    allstar : path-like
        A table of SDSS-V brings its match with Gaia DR3 along.
    gaia : path-like or None
        Gaia table; None, or one that adds to a table of SDSS-V by source_id.
    spectra : path-like
        Folder of the spectra, whose files are found and not read.
    wise : path-like or None
        WISE table, if the Gaia table has no WISE columns.
    config : Config
    can_estimate : bool
        Missing magnitudes can be estimated however few of these stars have them all: by what other stars told.
    quiet : bool
        No progress bars.

    Returns
    -------
    stars : astropy Table
        The stars that are left, sorted by APOGEE_ID, with the columns of a survey. Its ``meta`` has ``spectra``, the
        product, where a file may hold spectra of several telescopes; ``wise``; ``gaia_release``, of the parallaxes, or
        None, and ``gaia_release_reason``.
    flow : CutFlow
        The cuts so far.

    Raises
    ------
    BadInputError
        If a table or the folder cannot be used, or no star is left.
    """
    with Progress("read allStar", quiet=quiet):
        stars = read_allstar(allstar)
    has_gaia = "parallax" in stars.colnames
    if gaia is None and not has_gaia:
        raise BadInputError(
            f"{allstar}: has no Gaia parallaxes, as the tables of SDSS-V have (plx beside sdss_id); give a Gaia table "
            "with --gaia"
        )
    with Progress("list spectra", quiet=quiet):
        files = SpectrumFiles(spectra)
    gaia_table = None
    if not has_gaia:
        with Progress("read Gaia", quiet=quiet):
            gaia_table = _read_gaia(gaia, wise, config)
    if has_gaia:
        release = Release(stars.meta["gaia_release"], stars.meta["gaia_release_reason"])
        release = given_or_found(release, config.sample.gaia_release, str(allstar))
        stars.meta |= {"gaia_release": release.name, "gaia_release_reason": release.reason}
    allstar_ids = stars["APOGEE_ID"]
    flow = CutFlow(allstar_ids, quiet=quiet)
    if "sdss_id" in stars.colnames and files.mwm:
        stars = _find_by_sdss_id(stars, flow, spectra, files)
    else:
        stars = _find_by_name(stars, flow, spectra, files, quiet)
    del files  # names of all files: of a million stars 200 MB
    with Progress("match and cut", quiet=quiet):
        stars = cut_apogee(_one_row_a_star(stars, flow), flow, config)
        if has_gaia:
            stars = _with_own_gaia(stars, flow, allstar, gaia, wise, config)
            one_key = ""
        else:
            one_key = unmatched(allstar_ids, gaia_table["key"])
            stars = _match_gaia(stars, flow, gaia_table, config)
            del gaia_table
        stars = cut_photometry(stars, flow, config, can_estimate)
    emptied = flow.emptied_by()
    if emptied is not None:
        counts = ", ".join(f"{name}: {left}" for name, left in flow.counts)
        example = flow.example(emptied)
        seen = f" (of their 2MASS keys {one_key})" if emptied == "Gaia source" and one_key else ""
        raise BadInputError(
            f"no star is left after the cut {emptied!r}{example} ({counts}); check the tables and the cuts{seen}"
        )
    order = np.argsort(stars["APOGEE_ID"], kind="stable")
    flow.rows = flow.rows[order]
    stars = stars[order]
    stars["training_set"] = training_set(stars, config)
    unknown = unknown_astrometry(stars)
    if unknown:
        flow.note(f"Training Set without {' and '.join(unknown)}: no star has their columns")
    return stars, flow


def _read_gaia(gaia, wise, config):
    """Read a Gaia table that goes with allStar by 2MASS key, with AllWISE."""
    table = read_gaia(gaia, config.sample.gaia_release)
    if wise is not None:
        join_wise(table, read_wise(wise))
    for name in WISE_COLUMNS:
        if name not in table.colnames:
            raise BadInputError(f"{gaia}: no column {name}; join WISE to it, or give a WISE table with --wise")
    return table


def _find_by_name(stars, flow, spectra, files, quiet):
    """Keep the rows that have a spectrum file, found by the name in allStar's FILE or by the star's."""
    places = [name for name in ("TELESCOPE", "FIELD", "LOCATION_ID") if name in stars.colnames]
    named = stars["FILE"] if "FILE" in stars.colnames else np.full(len(stars), "")
    # A million rows have few places: each is kept once. Their other texts are made when they are needed.
    kept = {}
    where = [kept.setdefault(own, own) for own in _texts(stars, places)]
    rows = shown(range(len(stars)), "find spectra", quiet)
    paths = [files.find(str(stars["APOGEE_ID"][row]), str(named[row]), where[row]) for row in rows]
    own = rows_with_own_file(paths, where)
    paths = np.where(own, paths, "").astype("U")
    _warn_of_releases(named, paths)
    stars["FILE"] = paths
    stars.remove_columns([name for name in ("LOCATION_ID",) if name in places])
    found = flow.apply("spectrum file", stars["FILE"] != "", _why_no_file(spectra, files, stars["APOGEE_ID"], named))
    _check_some_found(found, spectra, files)
    return stars[found]


def _texts(stars, names):
    """Yield columns of each row as texts (tuple of str)."""
    columns = [stars[name] for name in names]
    for row in range(len(stars)):
        yield tuple(str(column[row]) for column in columns)


def _find_by_sdss_id(stars, flow, spectra, files):
    """Keep the rows that have an mwmStar file, whose path follows from sdss_id."""
    other = files.example_of_apogee()
    if other:
        raise BadInputError(
            f"{spectra}: holds mwmStar files and others of APOGEE ({other}), whose continua and noise differ; give "
            "--spectra the folder of one product"
        )
    for name in ("TELESCOPE", "release"):
        if name not in stars.colnames:
            raise BadInputError(
                f"the table has sdss_id and no column {name.lower()}, which tells a star's spectra apart"
            )
    version, own = files.mwm.version(stars.meta.get("v_astra")), stars.meta.get("v_astra")
    if own and own.split(".")[:2] != version.split(".")[:2]:
        text = f"the spectra under {spectra} are of version {version}, the summary of {own}; give those of one release"
        warnings.warn(text, SpfastWarning, stacklevel=4)
    sdss_id = np.asarray(stars["sdss_id"])
    numbers, place = np.unique(sdss_id, return_inverse=True)
    paths = np.array([files.mwm.find(version, number) if number > 0 else "" for number in numbers.tolist()], dtype="U")
    stars["FILE"] = paths[place]
    stars.meta["spectra"] = "mwmStar"
    found = flow.apply(
        "spectrum file",
        stars["FILE"] != "",
        lambda i: f"no mwmStar-{version}-{sdss_id[i]}.fits under {spectra}" if sdss_id[i] > 0 else "it has no sdss_id",
    )
    if not found.any():
        raise BadInputError(
            f"no star is left after the cut 'spectrum file': none of the table's {len(found):,} rows has an mwmStar "
            f"file under {spectra}{flow.example('spectrum file')}, which holds {files.describe()}; check --spectra"
        )
    return stars[found]


def _one_row_a_star(stars, flow):
    """Keep one row of each star."""
    keys = tmass_key(stars["APOGEE_ID"])
    if not np.all(keys != ""):
        stars = stars[flow.apply("name", keys != "", lambda i: "it has no APOGEE_ID")]
        keys = keys[keys != ""]
    snr = np.asarray(stars["SNR"], dtype=float)
    best = best_allstar_rows(stars)
    return stars[flow.apply("one row a star", best, lambda i: f"SNR = {snr[i]:.1f}: another row {_better(stars)}")]


def _better(stars):
    return "is of a newer release, or has more" if "release" in stars.colnames else "has more"


def _match_gaia(stars, flow, gaia, config):
    """Keep the stars that a Gaia table has by their 2MASS key, with its columns."""
    rows = match_gaia(stars["APOGEE_ID"], gaia)
    stars = stars[flow.apply("Gaia source", rows >= 0, lambda i: "its 2MASS key is not in the Gaia table")]
    gaia = gaia[rows[rows >= 0]]
    same = check_places(stars, gaia)
    if not same.all():
        stars = stars[flow.apply("place", same, lambda i: "its Gaia source is elsewhere on the sky: another star's")]
        gaia = gaia[same]
    stars.meta |= {"wise": ALLWISE} | {name: gaia.meta[name] for name in ("gaia_release", "gaia_release_reason")}
    return _with_gaia(stars, gaia, config)


def _with_own_gaia(stars, flow, allstar, gaia, wise, config):
    """Keep the stars that have a Gaia source in a table of SDSS-V, and complete what it has from other tables."""
    if "source_id" not in stars.colnames:
        raise BadInputError(f"{allstar}: has plx and no gaia_dr3_source_id; give the table as it was published")
    stars = stars[flow.apply("Gaia source", np.asarray(stars["source_id"]) > 0, lambda i: "its table names none")]
    side = None
    if gaia is not None and len(stars):
        side = read_gaia_by_source(gaia, config.sample.gaia_release)
        n_matched = add_by_source(stars, side, gaia)
        flow.note(f"of them in the Gaia table: {n_matched:,}")
    _take_wise(stars, allstar, gaia, side, wise)
    for band in _BANDS:
        if f"phot_{band}_mean_mag" not in stars.colnames:
            raise BadInputError(
                f"{allstar}: has no {band}_mag, as astra's summaries have; give a Gaia table with source_id with --gaia"
            )
    n_floors = _add_magnitude_errors(stars, config)
    if n_floors:
        errors = ", ".join(f"{getattr(config.features, f'{band}_error'):g}" for band in _BANDS)
        flow.note(f"of them with errors of G, BP, RP set to {errors} mag: {n_floors:,}")
    stars.remove_columns([name for name in GAIA_FLUXES if name in stars.colnames])
    for name, column in STAR_COLUMNS.items():
        if name not in stars.colnames and name not in _LATER:
            stars[name] = missing_column(column, len(stars))
    return stars


def _take_wise(stars, allstar, gaia, side, wise):
    """Choose one survey for W1 and W2 of all stars: never some of AllWISE and some of unWISE."""
    own = stars.meta.get("wise")
    side_has = side is not None and set(WISE_COLUMNS) <= set(side.colnames)
    if wise is not None:
        names = ("source_id", "ra", "dec", "pmra", "pmdec")
        table = Table({"key": tmass_key(stars["APOGEE_ID"])} | {n: stars[n] for n in names if n in stars.colnames})
        join_wise(table, read_wise(wise))
    elif own is not None:
        if side_has:
            text = f"{gaia}: its AllWISE columns are left aside, the summary has {own}; to take AllWISE for all, give "
            warnings.warn(f"{text}it with --wise too", SpfastWarning, stacklevel=5)
        return
    elif side_has:
        table = Table({"source_id": stars["source_id"]})
        join_wise(table, side)
    else:
        raise BadInputError(
            f"{allstar}: has no w1_mag and w2_mag with their errors, as astra's summaries have; give a WISE table with "
            "--wise"
        )
    for name in WISE_COLUMNS:
        stars[name] = table[name]
    stars.meta["wise"] = ALLWISE


def _add_magnitude_errors(stars, config):
    """Add the errors of Gaia's magnitudes: of the fluxes, of the table itself, or else the configuration's.

    Return how many stars have one of the last kind.
    """
    from_config = np.zeros(len(stars), bool)
    for band in _BANDS:
        name = f"phot_{band}_mean_mag"
        error = np.asarray(stars[f"{name}_error"] if f"{name}_error" in stars.colnames else np.full(len(stars), np.nan))
        error = np.where(error > 0, error, np.nan)
        if {f"phot_{band}_mean_flux", f"phot_{band}_mean_flux_error"} <= set(stars.colnames):
            of_flux = _flux_error_in_mag(stars, band, config)
            error = np.where(of_flux > 0, of_flux, error)
        lacking = np.isfinite(stars[name]) & ~np.isfinite(error)
        from_config |= lacking
        stars[f"{name}_error"] = np.where(lacking, getattr(config.features, f"{band}_error"), error).astype(np.float32)
    return int(np.count_nonzero(from_config))


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


def _warn_of_releases(named, paths):
    """Warn of spectra of another release than the one that allStar names."""
    n_named, other = 0, []
    for file, path in zip(named, paths, strict=True):
        if path and file:
            n_named += 1
            told, found = release_of(posixpath.basename(str(file))), release_of(os.path.basename(path))
            if told and found and told != found:
                other.append((told, found, path))
    if other:
        told, found, path = other[0]
        warnings.warn(
            f"{len(other):,} of {n_named:,} spectra are not of the release that allStar's FILE names (the first: "
            f"{path} is of {found}, allStar of {told}); give the allStar table and the spectra of one release",
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
    for band in _BANDS:
        stars[f"phot_{band}_mean_mag_error"] = _flux_error_in_mag(gaia, band, config)
    return stars


def _flux_error_in_mag(gaia, band, config):
    """The error of a magnitude [mag] from its flux and the flux's error (float32 array)."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        relative = np.asarray(gaia[f"phot_{band}_mean_flux_error"]) / np.asarray(gaia[f"phot_{band}_mean_flux"])
    return (config.features.magnitude_error_factor * relative).astype(np.float32)
