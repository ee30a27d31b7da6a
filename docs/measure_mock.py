"""Measure on fresh mocks what `docs/mock.rst` compares with real files: python docs/measure_mock.py [ideal]."""

import sys
import tempfile
from pathlib import Path

import numpy as np

from spfast.data.spectra.continuum import chip_pixels
from spfast.simulate import simulate_survey
from spfast.simulate.spectra import DETECTORS
from spfast.simulate.spectrograph import Spectrograph
from spfast.simulate.stars import draw_chunk, draw_cluster_stars

ON = np.concatenate([np.arange(first, last + 1) for first, last in DETECTORS])
SKY_LINE, BAD = 1 << 12, 16639
CLUSTERS = ("M107", "M13", "M92")


def unusable(flux, error):
    """Pixels of aspcapStar with flux 0 or an error above 0.05 and five medians."""
    good = (flux > 0.0) & (error > 0.0)
    median = np.array([np.median(e[g]) if g.any() else 1.0 for e, g in zip(error[:, ON], good[:, ON], strict=True)])
    return ~good | (error > np.maximum(0.05, 5.0 * median)[:, None])


def run_lengths(pattern):
    """Lengths of the runs of True on the chips of one star [pixels]."""
    chips = np.zeros(pattern.size + 2, int)
    pixels = chip_pixels()
    chips[pixels + 1] = pattern[pixels]
    edges = np.flatnonzero(np.diff(chips))
    return edges[1::2] - edges[::2]


def overlaps(patterns):
    """Share of the smaller of two stars' patterns that the other has, for each pair."""
    inside = patterns[:, ON].astype(float)
    both, size = inside @ inside.T, inside.sum(axis=1)
    first, second = np.triu_indices(len(inside), 1)
    return both[first, second] / np.maximum(np.minimum(size[first], size[second]), 1.0)


def high_pass(residuals, width=81):
    """Residuals less their running mean, along the last axis."""
    total = np.cumsum(np.pad(residuals, ((0, 0), (width // 2 + 1, width // 2)), mode="edge"), axis=1, dtype=float)
    return residuals - (total[:, width:] - total[:, :-width]) / width


def width(values):
    """Half of what lies between the 16th and 84th percentiles."""
    return float(np.subtract(*np.nanpercentile(values, [84, 16])) / 2.0)


def _nanmedian(rows):
    return np.array([np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else np.nan for row in rows])


def observe(noise, kind, seed=1, spectrograph=None, near=False):
    """Return 256 fresh stars and their flux, error, mask and truth; of near stars' velocities if so asked."""
    stars = draw_chunk(seed, 0)
    stars["telescope"] = np.full(stars["snr"].size, "apo25m")  # the southern one's pattern is measured by itself
    if near:  # as the 25 stars, whose sky lines lie 10 pixels (rms) from each other's
        stars["radial_velocity"] = 35.0 * np.random.default_rng(seed).standard_normal(stars["snr"].size)
    return stars, *(spectrograph or Spectrograph(noise)).observe(stars, np.random.default_rng([seed, 1]), kind)


def measure_patterns(stars, flux, error, snr_low=60.0, snr_high=140.0):
    """Shares, runs and overlaps of unusable pixels."""
    patterns, snr = unusable(flux, error), stars["snr"]
    share = patterns[:, ON].mean(axis=1)
    high, low = (snr > snr_high) & (snr < 250.0), snr < snr_low
    runs = np.concatenate([run_lengths(p) for p in patterns[high]])
    return {
        f"unusable, S/N > {snr_high:.0f}": np.percentile(share[high], [16, 84]),
        f"unusable, S/N < {snr_low:.0f}": np.percentile(share[low], [16, 84]),
        "runs a star": np.array([runs.size / high.sum()]),
        "run length, 25, 50, 75, 90%": np.percentile(runs, [25, 50, 75, 90]),
        "overlap of two stars, 25, 50, 75%": np.percentile(overlaps(patterns[high]), [25, 50, 75]),
    }


def measure_noise(flux, error, mask, truth, snr):
    """Size, correlation and tails of the noise, from one kind of file."""
    faint = snr < 100.0  # where noise hides the waves
    relative = (flux / truth - 1.0)[:, ON]
    relative_error, sky, bad = (error / truth)[:, ON], mask[:, ON] & SKY_LINE != 0, error[:, ON] > 1e3
    clean = ~sky & ~bad & (error[:, ON] > 0.0051) & (error[:, ON] < 5.0 / snr[:, None])
    pulls = high_pass(np.where(clean, relative, 0.0)) / relative_error
    good = np.where(clean, pulls, np.nan)[faint]
    good[np.abs(good) > 6.0] = np.nan
    variance = np.nanmean(good**2)
    return {
        "error > 0.05": np.percentile((error[:, ON] > 0.05)[(snr > 100) & (snr < 200)].mean(axis=1), [16, 84]),
        "noise over error, clean": np.array([width(good)]),
        "noise over error, sky": np.array([width(np.where(sky & ~bad, relative / relative_error, np.nan))]),
        "beyond 4 sigma, sky": np.array([np.mean(np.abs(relative / relative_error)[sky & ~bad] > 4.0)]),
        "correlation at 1, 2, 3 pixels": np.array(
            [np.nanmean(good[:, k:] * good[:, :-k]) / variance for k in (1, 2, 3)]
        ),
    }


def measure_floor(error):
    """Smallest error, and share of errors there."""
    measured = error[:, ON][error[:, ON] < 1.0]
    return {
        "smallest error": np.array([measured.min()]),
        "at the smallest": np.array([np.mean(measured < 1.001 * measured.min())]),
    }


def measure_waves(flux, truth, error, snr):
    """Rms of what the continuum leaves on scales above 40 pixels, and of the chips' offsets between two products."""
    rows = np.flatnonzero(snr > 200.0)
    smooth, offsets = [], []
    for i in rows:
        per_chip = []
        for first, last in DETECTORS:
            part = slice(first, last + 1)
            ratio = np.where(error[i, part] < 0.1, flux[i, part] / truth[i, part], np.nan)
            blocks = _nanmedian(ratio[: ratio.size // 40 * 40].reshape(-1, 40))
            per_chip.append(np.nanmedian(ratio))
            smooth.append(blocks / per_chip[-1] - 1.0)
        offsets.append(per_chip)
    return {
        "waves, rms": np.array([np.nanstd(np.concatenate(smooth))]),
        "chip offsets, rms": np.array([np.nanstd(offsets)]),
    }


def measure_south(noise, spectrograph, seed=1):
    """Median ratio of southern to northern spectra of the same stars."""
    stars = draw_chunk(seed, 0)
    medians = []
    for telescope in ("lco25m", "apo25m"):
        stars["telescope"] = np.full(stars["snr"].size, telescope)
        flux, error, _, truth = spectrograph.observe(stars, np.random.default_rng(3))
        medians.append(np.nanmedian(np.where(error < 0.1, flux / truth, np.nan)[:, ON], axis=0))
    difference = medians[0] - medians[1]
    z = difference - difference.mean()
    return {
        "south - north, 16, 84, 99% of pixels": np.percentile(difference, [16, 84, 99]),
        "its correlation at 3, 20, 80 pixels": np.array(
            [np.mean(z[k:] * z[:-k]) / max(np.mean(z * z), 1e-30) for k in (3, 20, 80)]
        ),
    }


def measure_lines(spectrograph):
    """Shares of pixels below 0.9 and 0.8 in giants of given labels, without noise."""
    result = {}
    for teff, logg, fe_h in ((3677.0, 0.5, 0.0), (4500.0, 2.0, 0.0), (4500.0, 2.0, -1.0), (4500.0, 2.0, -2.0)):
        star = {"teff": teff, "logg": logg, "fe_h": fe_h, "alpha_fe": 0.0, "c_n": -0.2, "a_v": 0.0}
        star = {name: np.full(16, value) for name, value in (star | {"radial_velocity": 0.0}).items()}
        flux = spectrograph.synthesis.flux(star, np.random.default_rng(0))[:, ON]
        result[f"below 0.9, 0.8: {teff:.0f} K, log g {logg:g}, [Fe/H] {fe_h:g}"] = np.array(
            [np.mean(flux < 0.9), np.mean(flux < 0.8)]
        )
    return result


def components(survey):
    """Share of the variance of ln fluxes, each pixel scaled to unit variance, in the first components [%]."""
    flux = np.array(survey.features[:, survey.layout.n_unpenalized :])
    flux -= flux.mean(axis=0)
    flux /= flux.std(axis=0) + 1e-6
    share = np.linalg.eigvalsh((flux @ flux.T).astype(float))[::-1]
    return 100.0 * share[:3] / share.sum()


def measure_components(noise, n_stars=3000, seed=3):
    """`components` of a fresh survey."""
    with tempfile.TemporaryDirectory() as work:
        survey = simulate_survey(Path(work) / "survey", n_stars, seed=seed, quiet=True, noise=noise)
        return {"variance of components 1, 2, 3 [%]": components(survey)}


def measure_clusters(noise, seed=1):
    """Giants in each metal-poor cluster within the survey's limit of log g, and their range of M_K."""
    stars = draw_cluster_stars(CLUSTERS, seed, whole_branch=noise != "ideal")
    result = {}
    for name in CLUSTERS:
        rows = (stars["cluster"] == name) & (stars["logg"] < 2.2) & (stars["logg"] > 0.0)
        magnitude = stars["absolute_K"][rows]
        result[f"{name}: giants, M_K from, to"] = np.array([rows.sum(), magnitude.min(), magnitude.max()])
    return result


def measure(noise, components=True):
    """Return every number of the table (dict of arrays)."""
    spectrograph = Spectrograph(noise)
    stars, flux, error, _, truth = observe(noise, "aspcapStar", spectrograph=spectrograph, near=True)
    result = measure_patterns(stars, flux, error) | measure_floor(error)
    result |= measure_waves(flux, truth, error, stars["snr"])
    stars, flux, error, mask, truth = observe(noise, "apStar", spectrograph=spectrograph)
    result |= measure_noise(flux, error, mask, truth, stars["snr"])
    result |= measure_south(noise, spectrograph) | measure_lines(spectrograph) | measure_clusters(noise)
    return result | (measure_components(noise) if components else {})


if __name__ == "__main__":
    for what, values in measure(sys.argv[1] if len(sys.argv) > 1 else "real").items():
        print(f"{what:48}", " ".join(f"{value:.4g}" for value in values))
