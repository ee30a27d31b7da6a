"""`spfast ingest`: builds a survey folder from an allStar table, spectra, and Gaia and WISE tables."""

import hashlib
import json
import os
import shutil
import warnings
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import numpy as np

import spfast
from spfast.blas import one_blas_thread
from spfast.config import Config
from spfast.data.apogee import fits_library
from spfast.data.cuts import example_of_training
from spfast.data.estimates import spectrum_factors
from spfast.data.gaia_release import survey_release
from spfast.data.match import POLICIES
from spfast.data.parent_sample import parent_sample
from spfast.data.recipe import check_new_stars, config_like, read_recipe
from spfast.data.row_files import RowFiles
from spfast.data.sdss5 import spectra_to_read
from spfast.data.spectra.continuum import check_continuum_pixels, chip_pixels, read_continuum_file
from spfast.data.spectra.features import magnitude_features
from spfast.data.spectra.workers import Journal, row_job, write_rows
from spfast.data.survey import Survey, open_survey, spectrum_kinds
from spfast.data.survey_sample import SurveySample, find_continuum, sample_spectra
from spfast.data.write_survey import WORK, SurveyWriter, clear_partial, clear_work, partial_path
from spfast.errors import BadInputError, SpfastWarning
from spfast.files import file_sha256, watch, writing
from spfast.kernels.team import resolve_threads
from spfast.lock import hold
from spfast.progress import say, shown

__all__ = ["ingest"]

#: The sections of the configuration that a survey depends on.
_SECTIONS = ("sample", "training", "normalization", "features")
#: What the reading of the tables found out, and survey.json keeps: see `spfast.data.allstar.read_allstar`.
_NOTES = ("aspcapflag_bits", "gaia_release", "gaia_release_reason", "wise", "labels")
#: Fewer stars than these are hardly meant to train a model.
_ENOUGH_TO_TRAIN = 10


@one_blas_thread()
def ingest(
    allstar: str | os.PathLike,
    spectra: str | os.PathLike,
    gaia: str | os.PathLike | None,
    out: str | os.PathLike,
    wise: str | os.PathLike | None = None,
    config: Config | None = None,
    threads: int | None = None,
    quiet: bool = False,
    like: str | os.PathLike | None = None,
) -> Survey:
    """Build a survey from an APOGEE download and a Gaia table, or from SDSS-V's summary and spectra alone.

    An interrupted build leaves ``<out>.partial`` and goes on from there when it is called again with the same input.

    Parameters
    ----------
    allstar : path-like
        allStar table, or a summary of SDSS-V such as astraAllStarASPCAP.
    spectra : path-like
        Folder with apStar, asStar or aspcapStar files, or with mwmStar files, anywhere below it.
    gaia : path-like or None
        Gaia table with 2MASS keys, see `spfast.data.gaia.read_gaia`. SDSS-V's tables need none; one with source_id adds
        what they lack, see `spfast.data.gaia.read_gaia_by_source`.
    out : path-like
        The survey folder to make.
    wise : path-like, optional
        WISE table, if the Gaia table has no WISE columns; for SDSS-V's tables AllWISE in place of unWISE.
    config : Config, optional
    threads : int, optional
        Processes to use; all processors by default.
    quiet : bool
        Print neither progress nor the cut-flow.
    like : path-like, optional
        A survey, or a model file, from which to take pixels, continuum pixels, the configuration's ``normalization``
        and ``features``, and what bad pixels and missing magnitudes are estimated from. That model, or models of that
        survey, then predict these stars, however few they are.

    Returns
    -------
    survey : Survey

    Raises
    ------
    BadInputError
        If an input cannot be used or changes while it is read, if no star is left, if ``out`` exists and was built
        from other inputs, if another process is building it, or if spectra or Gaia's magnitudes are of another kind
        or release than those of ``like``.
    """
    config = Config() if config is None else config
    threads = resolve_threads(threads)
    out = Path(out)
    # A survey that exists is whole and will only be read.
    with nullcontext() if out.exists() else hold(out):
        return _ingest(allstar, spectra, gaia, out, wise, config, threads, quiet, like)


def _ingest(allstar, spectra, gaia, out, wise, config, threads, quiet, like):
    """Build the survey in seven steps.

    1. Take continuum pixels and sections of the configuration from the survey or model to take after, if there is one.
    2. Read, match and cut the tables. Refuse a table that changed meanwhile.
    3. Identify the build. A survey that exists is returned if it is of the same build, and refused if not.
    4. Go on from the journal of an interrupted build, or choose the continuum pixels and begin a journal with them.
    5. Find which pixels are in use, and what bad ones are estimated from, by a sample of the spectra.
    6. Write the rows of the spectra that are not in the journal. Refuse spectra that changed meanwhile.
    7. Write what else belongs to the survey.
    """
    # 1.
    recipe = continuum = None
    if like is not None:
        recipe, like_hash = read_recipe(like)
        continuum, config = list(recipe.continuum), config_like(recipe, config)
    norm = config.normalization
    # 2.
    inputs = {"allstar": allstar, "gaia": gaia, "wise": wise}
    inputs = {role: path for role, path in inputs.items() if path is not None}
    if norm.continuum_file:
        inputs["continuum"] = norm.continuum_file
    check_unchanged = watch(inputs.values())
    if norm.continuum_file:
        continuum = read_continuum_file(norm.continuum_file, norm.chebyshev_degree)
    can_estimate = recipe is not None and recipe.bands is not None
    stars, flow = parent_sample(allstar, spectra, gaia, wise, config, can_estimate, quiet)
    products = sorted({kind.partition(" ")[0] for kind in spectrum_kinds(stars)})
    if len(products) > 1:
        raise _mixture(spectra, products)
    if recipe is not None:
        check_new_stars(recipe, stars, f"{like}: made of", str(allstar))
    if like is None and len(stars) >= _ENOUGH_TO_TRAIN and not np.any(stars["training_set"]):
        warnings.warn(
            f"none of the {len(stars):,} stars passes the cuts of the Training Set (e.g. "
            f"{example_of_training(stars)}); check the Gaia table and [training]",
            SpfastWarning,
            stacklevel=3,
        )
    inputs = {
        role: {"path": str(path), "sha256": file_sha256(path)}
        for role, path in shown(inputs.items(), "hash the tables", quiet)
    }
    check_unchanged()
    # 3.
    if recipe is not None:
        inputs["like"] = {"path": str(like), "sha256": like_hash}
    fingerprint = _fingerprint(inputs, config, stars, spectra, quiet)
    if out.exists():
        return _existing(out, fingerprint, quiet)
    # 4.
    work = partial_path(out) / WORK
    journal = Journal(work)
    head = _resume(journal, fingerprint, continuum, norm.chebyshev_degree, out, quiet)
    if head is None:
        if continuum is None:
            continuum = find_continuum(stars, spectra, config, quiet)
        head = {"fingerprint": fingerprint, "continuum": [int(pixel) for pixel in continuum]}
        with _cleared_on_failure(out), writing(out):
            journal.begin(head, len(stars))
    # 5.
    with nullcontext() if journal.records else _cleared_on_failure(out):
        if recipe is None:
            sample = sample_spectra(stars, spectra, head["continuum"], config, quiet)
        else:
            error_max = config.features.flux_error_max
            factors = spectrum_factors(recipe.pixel_factors, recipe.layout, error_max)
            sample = SurveySample(recipe.layout, factors)
        rows = RowFiles(partial_path(out), sample.layout, len(stars))
    # 6.
    job = row_job(spectra, head["continuum"], config, *sample)
    magnitudes = magnitude_features(stars, sample.layout.magnitudes)
    with rows:
        counts = write_rows(job, spectra_to_read(stars), magnitudes, journal, rows, threads, quiet)
        rows.finish()
    if _fingerprint(inputs, config, stars, spectra, quiet) != fingerprint:
        # Nobody can tell any more which spectra were read before the change: nothing may go on from them.
        shutil.rmtree(partial_path(out))
        raise BadInputError(f"{spectra}: spectra changed while they were read; run again when they are all there")
    # 7.
    provenance = {
        "fingerprint": fingerprint,
        "inputs": {**inputs, "spectra": {"path": str(spectra), "fits_library": fits_library()}},
        "policies": POLICIES,
        "continuum": {
            "source": str(like) if like is not None else norm.continuum_file or "found from the survey's spectra",
            "pixels": head["continuum"],
        },
    }
    provenance |= {name: stars.meta[name] for name in _NOTES if stars.meta.get(name) is not None}
    survey = _write(out, stars, flow, counts, sample, config, provenance, threads, quiet, recipe)
    _say_training(survey, quiet)
    return survey


@contextmanager
def _cleared_on_failure(out):
    """Remove a build that has hardly begun if bad input or a full disk ends it."""
    try:
        yield
    except BadInputError:
        shutil.rmtree(partial_path(out), ignore_errors=True)
        raise


def _mixture(spectra, products):
    """The error that the stars' spectra are of several products."""
    return BadInputError(
        f"{spectra}: the stars' spectra are {' and '.join(products)} files, whose continua and noise differ; keep "
        "those of one product there, or give --spectra its folder"
    )


def _fingerprint(inputs, config, stars, spectra, quiet):
    """Identify a build: spfast's version, the inputs, down to each spectrum's size and time, and the configuration."""
    digest = hashlib.sha256()
    sections = {name: value for name, value in config.to_dict().items() if name in _SECTIONS}
    made_by = [spfast.__version__, [i["sha256"] for i in inputs.values()], sections]
    digest.update(json.dumps(made_by, sort_keys=True).encode())
    files = list(zip(stars["APOGEE_ID"].tolist(), stars["FILE"].tolist(), strict=True))
    for star, file in shown(files, "look at the spectra's sizes and times", quiet):
        status = os.stat(os.path.join(spectra, file))
        digest.update(f"{star} {file} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _existing(out, fingerprint, quiet):
    survey = open_survey(out)
    if survey.info.get("fingerprint") != fingerprint:
        version = survey.info["versions"].get("spfast")
        how = "from other inputs" if version == spfast.__version__ else f"by spfast {version}, not {spfast.__version__}"
        raise BadInputError(f"{out}: exists and was built {how}; remove it or choose another output")
    clear_work(out)
    say(f"{out}: already whole, {survey.n_stars:,} stars; nothing to do", quiet)
    return survey


def _resume(journal, fingerprint, continuum, degree, out, quiet):
    """Return the journal's first record if it is of this build; clear away an interrupted build of other inputs."""
    head, records = journal.read()
    if head is not None and head["fingerprint"] == fingerprint and _has_continuum(head, continuum, degree):
        say(f"{out}: going on after {sum(record['n'] for record in records):,} spectra", quiet)
        return head
    if clear_partial(out):
        say(f"{out}: an interrupted build was of other inputs; starting again", quiet)
    return None


def _has_continuum(head, continuum, degree):
    """Whether a journal's first record holds continuum pixels of use: those given, or any that were found."""
    pixels = head.get("continuum", [])
    with suppress(BadInputError):
        return np.array_equal(pixels, check_continuum_pixels(pixels, degree, "") if continuum is None else continuum)
    return False


def _write(out, stars, flow, counts, sample, config, provenance, threads, quiet, recipe):
    """Write the rest of the survey, whose rows are there."""
    keep = np.ones(len(stars), bool)
    keep[list(counts.failures)] = False
    n_good = np.count_nonzero(keep)
    if not n_good:
        shutil.rmtree(partial_path(out))
        raise BadInputError(
            f"{out}: none of the {len(stars)} spectra can be used (e.g. {stars['FILE'][0]}: {counts.failures[0]}); "
            "check --spectra"
        )
    if 0 < counts.n_unnormalized < n_good:
        shutil.rmtree(partial_path(out))
        n_apstar = f"apStar ({counts.n_unnormalized:,} of {n_good:,})"
        raise _mixture(provenance["inputs"]["spectra"]["path"], [n_apstar, "aspcapStar"])
    flow.apply("spectrum readable", keep, lambda i: counts.failures[i])
    stars["n_bad_pixels"] = counts.n_bad
    stars = stars[keep]
    layout, factors = sample
    provenance["pixel_mask"] = {"n_pixels": layout.n_pixels, "n_dropped": chip_pixels().size - layout.n_pixels}
    provenance["bad_pixels"] = None if factors is None else factors.to_dict()
    provenance["n_training"] = int(np.sum(stars["training_set"]))
    with SurveyWriter(out, layout, len(stars), has_rows=True) as writer:
        return writer.finish(stars, flow.rejected(), flow.counts, config, provenance, recipe, threads, quiet, factors)


def _say_training(survey, quiet):
    say(f"{survey.info['n_training']:>10,}  of them in the Training Set; {survey.n_features:,} features", quiet)
    release = survey_release(survey)
    say(f"parallaxes of {release.title}: {release.reason}", quiet)
