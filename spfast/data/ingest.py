"""`spfast ingest`: allStar, spectra, Gaia and WISE tables in; a survey folder out."""

import hashlib
import json
import os
import shutil
import warnings
from contextlib import nullcontext, suppress
from pathlib import Path

import numpy as np

from spfast.blas import one_blas_thread
from spfast.config import Config
from spfast.data.apogee import SpectrumFiles, fits_library, read_allstar, spectrum_reader
from spfast.data.columns import DR3_COLUMNS, STAR_COLUMNS
from spfast.data.cuts import CutFlow, cut_apogee, cut_photometry, training_set
from spfast.data.gaia import read_gaia, read_wise
from spfast.data.match import POLICIES, best_rows, check_places, join_wise, match_gaia
from spfast.data.spectra.bad_pixels import N_SPECTRA, SpectrumFactors
from spfast.data.spectra.continuum import (
    check_continuum_pixels,
    chip_pixels,
    find_continuum_pixels,
    read_continuum_file,
    rough_normalize,
)
from spfast.data.spectra.features import PIXMASK_BAD, fill_rows
from spfast.data.spectra.workers import Journal, build_rows, read_rows
from spfast.data.survey import WORK, SurveyWriter, clear_partial, clear_work, open_survey, partial_path
from spfast.errors import BadInputError, SpfastWarning
from spfast.files import file_sha256, writing
from spfast.kernels.team import resolve_threads
from spfast.lock import hold
from spfast.model.layout import FeatureLayout
from spfast.progress import Progress

__all__ = ["ingest"]

#: The sections of the configuration that a survey depends on.
_SECTIONS = ("sample", "training", "normalization", "features")
#: Stars copied at a time when the survey's arrays are written.
_BLOCK = 256


@one_blas_thread()
def ingest(allstar, spectra, gaia, out, wise=None, config=None, threads=None, quiet=False, like=None):
    """Build a survey from an APOGEE download and a Gaia table.

    An interrupted build leaves ``<out>.partial`` and goes on from there when it is called again with the same input.

    Parameters
    ----------
    allstar : path-like
        allStar FITS table.
    spectra : path-like
        Folder with apStar, asStar or aspcapStar files, anywhere below it.
    gaia : path-like
        Gaia table with a 2MASS key, see `spfast.data.gaia.read_gaia`.
    out : path-like
        The survey folder to make.
    wise : path-like, optional
        WISE table, if the Gaia table has no WISE columns.
    config : Config, optional
    threads : int, optional
        Processes to use; all processors by default.
    quiet : bool
        Print neither progress nor the cut-flow.
    like : path-like, optional
        A survey whose features these are to be like, so that its models fit: its pixels, continuum pixels, settings of
        ``normalization`` and ``features``, and how its spectra vary, by which bad pixels are estimated. For stars to be
        predicted, be they few.

    Returns
    -------
    survey : Survey

    Raises
    ------
    BadInputError
        If an input cannot be used or changes while it is read, no star is left, ``out`` exists and is not this very
        survey, or another process is building it.
    """
    config = Config() if config is None else config
    threads = resolve_threads(threads)
    out = Path(out)
    # A survey that is there is whole, and only read.
    with nullcontext() if out.exists() else hold(out):
        return _ingest(allstar, spectra, gaia, out, wise, config, threads, quiet, like)


def _ingest(allstar, spectra, gaia, out, wise, config, threads, quiet, like):
    model_survey = continuum = None
    if like is not None:
        model_survey, continuum, config = _take_after(like, config)
    norm = config.normalization
    inputs = {"allstar": allstar, "gaia": gaia, **({} if wise is None else {"wise": wise})}
    if norm.continuum_file:
        inputs["continuum"] = norm.continuum_file
    before = {path: _state(path) for path in inputs.values()}
    if norm.continuum_file:
        continuum = read_continuum_file(norm.continuum_file, norm.chebyshev_degree)
    stars, flow = _parent_sample(allstar, spectra, gaia, wise, config)
    inputs = {role: {"path": str(path), "sha256": file_sha256(path)} for role, path in inputs.items()}
    for path, state in before.items():
        if _state(path) != state:
            raise BadInputError(f"{path}: changed while it was read; run again when it is whole")
    if model_survey is not None:
        inputs["like"] = {"path": str(like), "sha256": model_survey.survey_hash}
    fingerprint = _fingerprint(inputs, config, stars, spectra)
    if out.exists():
        return _existing(out, fingerprint, quiet)
    work = partial_path(out) / WORK
    journal = Journal(work)
    head = _resume(journal, fingerprint, out, quiet)
    if head is None:
        if continuum is None:
            continuum = _find_continuum(stars, spectra, config)
        head = {"fingerprint": fingerprint, "continuum": [int(pixel) for pixel in continuum]}
        try:
            with writing(out):
                journal.begin(head, len(stars))
        except BadInputError:
            shutil.rmtree(partial_path(out), ignore_errors=True)
            raise
    job = {
        "root": os.path.realpath(spectra),
        "work": str(work),
        "continuum_pixels": head["continuum"],
        "config": {name: config.to_dict()[name] for name in ("normalization", "features")},
        "library": fits_library(),
    }
    results = build_rows(job, list(stars["FILE"]), journal, threads, quiet)
    if _fingerprint(inputs, config, stars, spectra) != fingerprint:
        # Which rows were made of what is not known any more: nothing may go on from them.
        shutil.rmtree(partial_path(out))
        raise BadInputError(f"{spectra}: spectra changed while they were read; run again when they are all there")
    provenance = {
        "fingerprint": fingerprint,
        "inputs": {**inputs, "spectra": {"path": str(spectra), "fits_library": fits_library()}},
        "policies": POLICIES,
        "continuum": {
            "source": str(like) if like is not None else norm.continuum_file or "found from the survey's spectra",
            "pixels": head["continuum"],
        },
    }
    survey = _write(out, stars, flow, results, config, provenance, quiet, model_survey)
    if not quiet:
        _print_cut_flow(survey)
    return survey


def _parent_sample(allstar, spectra, gaia, wise, config):
    """Read, match and cut; return the candidates, sorted by APOGEE_ID, and the cut-flow so far."""
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
    found = [
        files.find(str(star), str(file), tuple(str(place) for place in where))
        for star, file, *where in zip(stars["APOGEE_ID"], named, *(stars[name] for name in places), strict=True)
    ]
    stars["FILE"] = np.array(found, dtype="U")
    stars.remove_columns([name for name in ("LOCATION_ID",) if name in places])
    stars = stars[flow.apply("spectrum file", stars["FILE"] != "", lambda i: f"none under {spectra}")]
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
        raise BadInputError(f"no star is left after the cut {emptied!r} ({counts}); check the tables and the cuts")
    order = np.argsort(stars["APOGEE_ID"], kind="stable")
    flow.rows = flow.rows[order]
    stars = stars[order]
    stars["training_set"] = training_set(stars, config)
    return stars, flow


def _with_gaia(stars, gaia, config):
    """Return the stars with Gaia's columns and the errors of its magnitudes."""
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


def _state(path):
    """Size and time of a file; None if it cannot be told, for its reader to say why."""
    with suppress(OSError):
        status = os.stat(path)
        return status.st_size, status.st_mtime_ns


def _fingerprint(inputs, config, stars, spectra):
    """Identify a build: what goes in, down to each spectrum's size and time, and the configuration."""
    digest = hashlib.sha256()
    settings = {name: value for name, value in config.to_dict().items() if name in _SECTIONS}
    digest.update(json.dumps([[i["sha256"] for i in inputs.values()], settings], sort_keys=True).encode())
    for star, file in zip(stars["APOGEE_ID"], stars["FILE"], strict=True):
        status = os.stat(os.path.join(spectra, file))
        digest.update(f"{star} {file} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _existing(out, fingerprint, quiet):
    survey = open_survey(out)
    if survey.info.get("fingerprint") != fingerprint:
        raise BadInputError(f"{out}: exists and was built from other inputs; remove it or choose another output")
    clear_work(out)
    if not quiet:
        print(f"{out}: already whole, {survey.n_stars} stars; nothing to do")
    return survey


def _resume(journal, fingerprint, out, quiet):
    """Return the journal's head if it is of this very build; clear away one of another build."""
    head, records = journal.read()
    if head is not None and head.get("fingerprint") == fingerprint:
        if not quiet:
            print(f"{out}: going on after {sum(record['n'] for record in records)} spectra")
        return head
    if clear_partial(out) and not quiet:
        print(f"{out}: an interrupted build was of other inputs; starting again")
    return None


def _find_continuum(stars, spectra, config):
    """Find the continuum pixels from reference stars: the better half by SNR, spread evenly over log g."""
    norm = config.normalization
    labels = np.column_stack([np.asarray(stars[name], dtype=float) for name in ("TEFF", "LOGG", "FE_H")])
    rows = np.flatnonzero(np.isfinite(labels).all(axis=1))
    snr = np.nan_to_num(np.asarray(stars["SNR"], dtype=float))
    rows = rows[np.argsort(-snr[rows], kind="stable")][: max(len(rows) // 2, norm.continuum_stars)]
    rows = rows[np.argsort(labels[rows, 1], kind="stable")]
    rows = rows[np.linspace(0, len(rows) - 1, min(norm.continuum_stars, len(rows))).astype(int)]
    read, flux, kept = spectrum_reader(), np.empty((len(rows), chip_pixels().size), np.float32), []
    for row in rows:
        try:
            spectrum = read(Path(spectra, stars["FILE"][row]))
        except BadInputError:
            continue  # it is rejected with its reason when its row is made
        mask = spectrum.pixel_mask if norm.use_pixel_mask else None
        flux[len(kept)] = rough_normalize(spectrum.flux, spectrum.flux_error, mask, spectrum.normalized, PIXMASK_BAD)
        kept.append(row)
    return find_continuum_pixels(flux[: len(kept)], labels[kept], norm.chebyshev_degree, norm.continuum_share)


def _write(out, stars, flow, results, config, provenance, quiet, model_survey):
    """Copy the good rows, without the pixels that are bad in every star, into the survey's arrays."""
    keep = np.ones(len(stars), bool)
    keep[list(results.failures)] = False
    whole = np.flatnonzero(keep)
    partial = partial_path(out)
    if not whole.size:
        shutil.rmtree(partial)
        raise BadInputError(
            f"{out}: none of the {len(stars)} spectra can be used (row 0: {results.failures[0]}); check --spectra"
        )
    if 0 < results.n_unnormalized < whole.size:
        warnings.warn(
            f"{results.n_unnormalized} of {whole.size} spectra are apStar, the others aspcapStar: their continua "
            "differ; keep files of one kind under --spectra",
            SpfastWarning,
            stacklevel=3,
        )
    flow.apply("spectrum readable", keep, lambda i: results.failures[i])
    layout = FeatureLayout(chip_pixels()[results.usable]) if model_survey is None else model_survey.layout
    n_dropped = chip_pixels().size - layout.n_pixels
    stars["n_bad_pixels"] = np.maximum(results.n_bad - n_dropped, 0)
    stars = stars[whole]
    factors = _spectrum_factors(partial / WORK, whole, config, model_survey)
    with SurveyWriter(out, layout, len(stars)) as writer, Progress("write", len(stars), quiet) as progress:
        for start in range(0, len(stars), _BLOCK):
            block = slice(start, start + _BLOCK)
            rows = whole[block]
            ln_flux, ln_flux_error = (raw[rows - rows[0]] for raw in read_rows(partial / WORK, rows[0], rows[-1] + 1))
            if factors is not None:
                factors.estimate(ln_flux, ln_flux_error)
            features, errors = writer.features[block], writer.feature_errors[block]
            fill_rows(layout, stars[block], ln_flux, ln_flux_error, features, errors)
            del features, errors
            writer.release()
            progress.advance(len(rows))
        provenance["pixel_mask"] = {"n_pixels": layout.n_pixels, "n_dropped": n_dropped}
        provenance["bad_pixels"] = None if factors is None else factors.to_dict()
        provenance["n_training"] = int(np.sum(stars["training_set"]))
        return writer.finish(stars, flow.rejected(), flow.counts, config, provenance)


def _take_after(path, config):
    """A survey to be like, its continuum pixels, and the configuration with its settings of features."""
    survey = open_survey(path)
    try:
        built, pixels = survey.info["config"], survey.info["continuum"]["pixels"]
        config = config.replace(**{name: built[name] for name in ("normalization", "features")})
        pixels = check_continuum_pixels(pixels, config.normalization.chebyshev_degree, f"{path}: survey.json")
    except BadInputError:
        raise
    except (KeyError, TypeError, ValueError):
        text = f"{path}: does not say how its features were made; give a survey that `spfast ingest` made"
        raise BadInputError(text) from None
    # What was read from a file of continuum pixels is in the survey.
    return survey, pixels, config.replace(normalization={"continuum_file": ""})


def _spectrum_factors(work, whole, config, model_survey):
    """Find how spectra vary, from some spread evenly over the rows of a survey; None if nothing is estimated."""
    if config.features.bad_pixels != "estimated":
        return None
    if model_survey is None:
        rows = whole[_spread(len(whole))]
        ln_flux, ln_flux_error = map(np.concatenate, zip(*(read_rows(work, row, row + 1) for row in rows), strict=True))
    else:
        rows, layout = _spread(model_survey.n_stars), model_survey.layout
        columns = np.searchsorted(chip_pixels(), layout.pixels)
        ln_flux = np.zeros((rows.size, chip_pixels().size), np.float32)
        ln_flux_error = np.full_like(ln_flux, np.inf)
        ln_flux[:, columns] = model_survey.features[rows, layout.n_unpenalized :]
        ln_flux_error[:, columns] = model_survey.feature_errors[rows, layout.n_unpenalized :]
    return SpectrumFactors.of(ln_flux, ln_flux_error, config.features.flux_error_max)


def _spread(n_rows):
    return np.linspace(0, n_rows - 1, min(N_SPECTRA, n_rows)).astype(int)


def _print_cut_flow(survey):
    for cut, n_left in survey.info["cut_flow"]:
        print(f"{n_left:>10,}  {cut}")
    print(f"{survey.info['n_training']:>10,}  of them in the Training Set; {survey.n_features:,} features")
