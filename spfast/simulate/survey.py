"""`spfast simulate --survey`: a survey folder straight from the simulator, of any size, for benchmarks and tests."""

import itertools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy.table import Table

from spfast.config import LINDEGREN, Config
from spfast.data.cuts import training_set
from spfast.data.spectra.bad_pixels import N_SPECTRA, SpectrumFactors
from spfast.data.spectra.continuum import chip_pixels, find_continuum_pixels
from spfast.data.spectra.features import (
    PIXMASK_BAD,
    SpectrumFeatures,
    fill_features,
    magnitude_features,
    unmeasured_bits,
)
from spfast.data.survey import Survey
from spfast.data.write_survey import TRUTH, SurveyWriter, clear_partial
from spfast.errors import BadInputError
from spfast.kernels.team import Team
from spfast.lock import hold
from spfast.model.layout import FeatureLayout
from spfast.progress import Progress
from spfast.simulate.population import BANDS
from spfast.simulate.spectrograph import OBSERVED, Spectrograph
from spfast.simulate.stars import (
    ALLWISE,
    CHUNK,
    DR3_NAMES,
    MOCK_ZERO_POINT,
    draw_chunk,
    draw_cluster_stars,
    gaia_release_of,
    measured_labels,
    truth_table,
)

__all__ = ["simulate_survey"]

#: Reference spectra from which the continuum pixels are found.
_REFERENCE_STARS = 512
#: A pixel with a larger error, of a continuum near 1, is not measured.
_NOT_MEASURED = 1.0


def simulate_survey(
    out: str | os.PathLike,
    n_stars: int,
    seed: int = 0,
    config: Config | None = None,
    threads: int | None = None,
    quiet: bool = False,
    wrong_parallaxes: float = 0.0,
    zero_point: tuple[float, float] | str = MOCK_ZERO_POINT,
    clusters: Sequence[str] = (),
    noise: str = "real",
    wise: str = ALLWISE,
) -> Survey:
    """Write a survey folder of any size, without writing spectra as FITS first.

    The spectra are those of `simulate_download`, normalised by the kernel of `spfast ingest`. The same seed gives the
    same bytes, whatever the number of threads.

    Parameters
    ----------
    out : path-like
        The survey folder to make; it also holds ``truth.fits``.
    n_stars : int
        Number of stars in the Parent Sample.
    seed : int
    config : Config, optional
    threads : int, optional
        All processors by default.
    quiet : bool
    wrong_parallaxes : float
        Share of the stars whose parallax is wrong; ``truth.fits`` marks them.
    zero_point : tuple of two float [mas], [mas/mag], or "lindegren2021"
        What Gaia's parallaxes are too small by at G = 14, and by how much more for each magnitude of measured G; or
        by what they are in Gaia DR3, star by star (Lindegren et al. 2021).
    clusters : sequence of str
        Literature clusters whose members come first among the stars; ``truth.fits`` names the cluster of each.
    noise : str
        "real": lines, noise and faults as in the releases' files, and cluster members along their whole giant branch;
        "ideal": easier spectra with white noise of the size that the errors say.
    wise : str
        "allwise" or "unwise": whose W1 and W2.

    Returns
    -------
    Survey

    Raises
    ------
    BadInputError
        If the output exists, if another process is writing it, or if the number of stars is not positive.
    """
    if n_stars < 1:
        raise BadInputError(f"stars is {n_stars}, expected at least 1")
    config = Config() if config is None else config
    draw = {"wrong_parallaxes": wrong_parallaxes, "zero_point": zero_point, "clusters": clusters, "wise": wise}
    with hold(out):
        if Path(out).exists():  # before the stars are drawn; the writer checks again
            raise BadInputError(f"{out}: exists already; remove it or choose another output")
        clear_partial(out)
        return _simulate(out, n_stars, seed, config, threads, quiet, noise, draw)


def _simulate(out, n_stars, seed, config, threads, quiet, noise, draw):
    spectrograph = Spectrograph(noise)
    stars = _parent_sample(n_stars, seed, config, whole_branch=noise != "ideal", quiet=quiet, **draw)
    continuum = _continuum_pixels(stars, spectrograph, seed, config)
    pixels, factors = _usable_pixels(stars, spectrograph, continuum, seed, config)
    layout = FeatureLayout(pixels)
    table = _star_table(stars, config, with_dr3=draw["zero_point"] == LINDEGREN)
    table["n_bad_pixels"] = np.zeros(n_stars, np.int32)
    truth = truth_table(stars)
    # What spectra are made from; a million stars take much room.
    stars = {name: stars[name] for name in OBSERVED}
    n_blocks = -(-n_stars // CHUNK)
    provenance = {
        "simulated": {"seed": int(seed), **_told(noise, **draw)},
        "continuum": {"source": "found from the survey's spectra", "pixels": [int(p) for p in continuum]},
        "pixel_mask": {"n_pixels": layout.n_pixels, "n_dropped": int(chip_pixels().size - layout.n_pixels)},
        "bad_pixels": None if factors is None else factors.to_dict(),
        "n_training": int(np.sum(table["training_set"])),
        "gaia_release": gaia_release_of(draw["zero_point"]),
        "gaia_release_reason": "the mock's zero point is that of this release",
    }
    with (
        SurveyWriter(out, layout, n_stars) as writer,
        Team(threads) as team,
        Progress("make mock spectra", n_stars, quiet) as progress,
    ):
        truth.write(writer.partial / TRUTH, overwrite=True)
        del truth
        for first in range(0, n_blocks, 4 * team.threads):
            last = min(first + 4 * team.threads, n_blocks)
            features, errors = writer.features, writer.feature_errors

            def work(begin, end, first=first, features=features, errors=errors, unmeasured=writer.unmeasured):
                maker = SpectrumFeatures(continuum, config)
                for block in range(first + begin, first + end):
                    rows = slice(block * CHUNK, min((block + 1) * CHUNK, n_stars))
                    part = {name: values[rows] for name, values in stars.items()}
                    ln_flux, ln_error, n_bad, failures = _normalized(part, spectrograph, maker, [seed, 1, block])
                    assert not any(failures), failures
                    unmeasured[rows] = unmeasured_bits(layout, ln_error, config.features.flux_error_max)
                    if factors is not None:
                        factors.estimate(ln_flux, ln_error)
                    magnitudes = magnitude_features(table[rows], layout.magnitudes)
                    fill_features(layout, magnitudes, ln_flux, ln_error, features[rows], errors[rows])
                    table["n_bad_pixels"][rows] = n_bad - (chip_pixels().size - layout.n_pixels)

            team.run(work, last - first)
            progress.advance(min(last * CHUNK, n_stars) - first * CHUNK)
            writer.release()
        return writer.finish(
            table,
            cut_flow=[("simulated", n_stars)],
            config=config,
            provenance=provenance,
            threads=threads,
            quiet=quiet,
            factors=factors,
        )


def _told(noise, wise, wrong_parallaxes, zero_point, clusters):
    """Return what the survey says about its making; what is as in the first surveys is not said, for the same bytes."""
    told = {
        "wrong_parallaxes": float(wrong_parallaxes),
        "zero_point": zero_point if isinstance(zero_point, str) else list(zero_point),
        "clusters": list(clusters),
    }
    told |= {"noise": noise} if noise != "ideal" else {}
    return told | ({"wise": wise} if wise != ALLWISE else {})


def _parent_sample(n_stars, seed, config, clusters=(), whole_branch=False, quiet=True, **draw):
    """Draw cluster members, then chunks, until enough stars pass the Parent Sample's cuts; sort them by identifier."""
    kept, count = [], 0
    sample = config.sample
    chunks = (draw_chunk(seed, chunk, **draw) for chunk in itertools.count())
    members = []
    if clusters:
        shared = {name: value for name, value in draw.items() if name != "wrong_parallaxes"}
        members = [draw_cluster_stars(clusters, seed, whole_branch=whole_branch, **shared)]
    with Progress("draw stars", n_stars, quiet) as progress:
        for stars in itertools.chain(members, chunks):
            jk, bprp = stars["J"] - stars["K"], stars["BP"] - stars["RP"]
            logg = measured_labels(stars)[1]
            good = (logg > sample.logg_min) & (logg <= sample.logg_max)
            if sample.exclude_variable:
                good &= stars["phot_variable_flag"] != "VARIABLE"
            good &= (jk < sample.jk_offset + sample.jk_slope * bprp) & (stars["H"] - stars["W2"] > sample.hw2_min)
            kept.append({name: values[good] for name, values in stars.items()})
            n_good = min(int(good.sum()), n_stars - count)
            count += n_good
            progress.advance(n_good)
            if count == n_stars:
                break
    order = np.argsort(np.concatenate([part["APOGEE_ID"] for part in kept])[:n_stars], kind="stable")
    # Column by column, so that a million stars are in memory once.
    stars = {name: np.concatenate([part.pop(name) for part in kept])[:n_stars][order] for name in list(kept[0])}
    stars["random_index"] = np.random.default_rng([seed, 2]).permutation(n_stars).astype(np.int64)
    return stars


def _normalized(stars, spectrograph, maker, seed):
    rng = np.random.default_rng(seed)
    flux, error, mask, _ = spectrograph.observe(stars, rng)
    return maker.rows(flux, error, mask, normalized=True)


def _reference(stars, count):
    """Return stars spread evenly over the survey."""
    n = stars["teff"].size
    rows = np.linspace(0, n - 1, min(n, count)).astype(int)
    return {name: values[rows] for name, values in stars.items()}


def _continuum_pixels(stars, spectrograph, seed, config):
    """Find continuum pixels by the criterion of ingest, from other drawn stars if the survey has too few."""
    norm = config.normalization
    if stars["teff"].size < _REFERENCE_STARS:
        stars = _parent_sample(_REFERENCE_STARS, seed, config)
    stars = _reference(stars, _REFERENCE_STARS)
    rng = np.random.default_rng([seed, 3])
    flux, error, mask, _ = spectrograph.observe(stars, rng)
    flux = np.where((mask & PIXMASK_BAD) | (flux <= 0.0) | (error > _NOT_MEASURED), np.nan, flux)[:, chip_pixels()]
    labels = np.column_stack([stars["teff"], stars["logg"], stars["fe_h"]])
    return find_continuum_pixels(flux, labels, norm.chebyshev_degree, norm.continuum_share)


def _usable_pixels(stars, spectrograph, continuum, seed, config):
    """Find pixels that are good in at least one star of a sample, and the sample's factors; ingest asks all stars."""
    maker = SpectrumFeatures(continuum, config)
    ln_flux, ln_error, _, _ = _normalized(_reference(stars, N_SPECTRA), spectrograph, maker, [seed, 4])
    estimated = config.features.bad_pixels == "estimated"
    factors = SpectrumFactors.of(ln_flux, ln_error, config.features.flux_error_max) if estimated else None
    return chip_pixels()[maker.usable], factors


def _star_table(stars, config, with_dr3=False):
    """Return the survey's star table, made from the simulator's columns."""
    names = ("APOGEE_ID", "source_id", "ra", "dec", "glon", "glat", "FIELD", "pmra", "pmdec", "parallax")
    table = {name: stars[name] for name in names}
    teff, logg, fe_h = measured_labels(stars)
    n = teff.size
    table["TELESCOPE"] = stars["telescope"]
    table["SNR"], table["TEFF"], table["LOGG"], table["FE_H"] = stars["snr"], teff, logg, fe_h
    table["ALPHA_M"], table["VHELIO_AVG"] = stars["alpha_fe"], stars["radial_velocity"]
    table["STARFLAG"], table["ASPCAPFLAG"] = np.zeros(n, np.int64), np.zeros(n, np.int64)
    table["NVISITS"] = np.full(n, 3, np.int32)
    names = ("phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag", "J", "H", "K", "w1mpro", "w2mpro")
    errors = [f"{name}_ERR" if name in "JHK" else f"{name}_error" for name in names]
    for name, error, band in zip(names, errors, BANDS, strict=True):
        table[name], table[error] = stars[band], stars[f"{band}_error"]
    for name in (
        "parallax_error",
        "visibility_periods_used",
        "astrometric_chi2_al",
        "astrometric_n_good_obs_al",
        "phot_variable_flag",
        "random_index",
    ):
        table[name] = stars[name]
    for name, column in DR3_NAMES.items() if with_dr3 else ():
        table[name] = stars[column]
    table = Table(table, copy=False)
    table["training_set"] = training_set(table, config)
    return table
