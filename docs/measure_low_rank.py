"""Measure raw pixels against the low-rank model on fresh mock surveys: the tables of docs/choices.rst.

python docs/measure_low_rank.py --stars 1920 38500 --seeds 901 902 903 --noise real ideal [--out FILE.json]

Stars: 1,920 give 700 training stars a fold, 38,500 give 14,000. Each line is one way of fitting one survey.
"""

import argparse
import itertools
import json
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from astropy.table import Table

import spfast
from spfast.config import load_config
from spfast.errors import SpfastWarning
from spfast.simulate import simulate_survey
from spfast.training.fold import fit_folds

#: Ways of fitting: preset and what else the configuration has. Ways that differ in the features have their own surveys.
WAYS = {
    "hogg2019": ("hogg2019", {}),
    "raw": ("default", {"fit": {"pixels": "raw"}}),
    "raw, penalty auto": ("default", {"fit": {"pixels": "raw", "penalty_rule": "auto"}}),
    "low rank": ("default", {"fit": {"products": 0}}),
    "low rank + products": ("default", {}),
    "the same, penalty auto": ("default", {"fit": {"penalty_rule": "auto"}}),
}
#: What the choices cost, one by one.
CHOICES = {
    "raw, bad pixels one": ("default", {"fit": {"pixels": "raw"}, "features": {"bad_pixels": "one"}}),
    "raw, pixel correlation": (
        "default",
        {"fit": {"pixels": "raw"}, "errors": {"pixel_correlation": [0.43, -0.04]}},
    ),
    "bad pixels one": ("default", {"features": {"bad_pixels": "one"}}),
    "offset counted": ("default", {"errors": {"offset": "counted"}}),
    "exact distance modulus": ("default", {"fit": {"exact_distance_modulus": True}}),
    "robust": ("default", {"fit": {"robust": True}}),
}
CLUSTERS = ("M92", "M15", "M13", "M3", "M5", "M107")
#: Bounds of [Fe/H] between which slopes with M_K are measured.
FE_H = (-9.0, -1.9, -1.3, -0.7, 1.0)


def half_width(values):
    """Half the width from the 16th to the 84th percentile."""
    low, high = np.percentile(values, (16.0, 84.0))
    return float(high - low) / 2.0


def judge(catalog, stars, truth):
    """Scatter, slopes, pulls and coverage of a catalog against the truth (dict)."""
    left = np.log(np.asarray(catalog["spec_parallax"])) - np.log(np.asarray(truth["true_parallax"]))
    error = np.asarray(catalog["spec_parallax_err_total"]) / np.asarray(catalog["spec_parallax"])
    pull = left / error
    of_features = np.asarray(catalog["spec_parallax_err"]) / np.asarray(catalog["spec_parallax"])
    snr, fe_h = np.asarray(stars["SNR"]), np.asarray(truth["fe_h"])
    m_k, h_w2 = np.asarray(truth["absolute_K"]), np.asarray(stars["H"] - stars["w2mpro"])
    kinds = {
        "all": np.ones(left.size, bool),
        "best": np.asarray(stars["parallax"] / stars["parallax_error"]) >= 20.0,
        "noisiest third": snr <= np.quantile(snr, 1 / 3),
        "[Fe/H] < -1.3": fe_h < -1.3,
    }
    found = {"n": int(left.size), "n_training": int(np.sum(stars["training_set"]))}
    found["scatter"] = {name: half_width(left[rows]) for name, rows in kinds.items()}
    found["slope"] = {
        f"{low:g}..{high:g}": float(np.polyfit(m_k[rows], left[rows], 1)[0])
        for low, high in itertools.pairwise(FE_H)
        if (rows := (fe_h > low) & (fe_h <= high)).sum() > 20
    }
    cells = dict(kinds)
    for name, values in (("G", stars["phot_g_mean_mag"]), ("SNR", snr), ("fe_h", fe_h), ("H-W2", h_w2)):
        bounds = np.quantile(np.asarray(values), np.linspace(0.0, 1.0, 6))
        for i in range(5):
            cells[f"{name} {i + 1}/5"] = (values >= bounds[i]) & (values <= bounds[i + 1])
    found["pull, 68%, 95%"] = {
        name: [half_width(pull[rows]), float(np.mean(abs(pull[rows]) < 1)), float(np.mean(abs(pull[rows]) < 1.96))]
        for name, rows in cells.items()
    }
    found["total error"] = float(np.median(error))
    found["error from features"] = float(np.median(of_features))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stars", type=int, nargs="+", default=[1920])
    parser.add_argument("--seeds", type=int, nargs="+", default=[901, 902, 903])
    parser.add_argument("--noise", nargs="+", default=["real", "ideal"])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=[*WAYS, *CHOICES])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore", SpfastWarning)
    results = []
    for noise in args.noise:
        for n_stars in args.stars:
            for seed in args.seeds:
                with tempfile.TemporaryDirectory() as folder:
                    surveys = {}
                    for way in args.ways:
                        preset, overrides = (WAYS | CHOICES)[way]
                        config = load_config(preset=preset, overrides=overrides)
                        if config.features not in surveys:
                            start = time.monotonic()
                            place = Path(folder) / f"survey{len(surveys)}"
                            surveys[config.features] = simulate_survey(
                                place, n_stars, seed, config, None, True, clusters=CLUSTERS, noise=noise
                            )
                            built = time.monotonic() - start
                        survey = surveys[config.features]
                        start = time.monotonic()
                        models = fit_folds(survey, config)
                        fitted = time.monotonic() - start
                        catalog = spfast.make_catalog(survey, config=config, models=models)
                        truth = Table.read(survey.path / "truth.fits")
                        record = {"noise": noise, "stars": n_stars, "seed": seed, "way": way}
                        record |= judge(catalog, survey.stars, truth)
                        record |= {"seconds to build": built, "seconds to fit": fitted}
                        record["seconds"] = time.monotonic() - start
                        low_rank = survey.low_rank
                        record["reads to learn"] = None if low_rank is None else low_rank[0].n_reads
                        record["tuned"] = {fold: model.tuned and model.tuned.summary for fold, model in models.items()}
                        record["uses"] = {fold: model.columns_used for fold, model in models.items()}
                        record["passes"] = {fold: model.result.n_passes for fold, model in models.items()}
                        results.append(record)
                        scatter = " ".join(f"{value:.4f}" for value in record["scatter"].values())
                        slope = " ".join(f"{value:+.3f}" for value in record["slope"].values())
                        pull, one, two = record["pull, 68%, 95%"]["all"]
                        print(
                            f"{noise:5} {n_stars:6} {seed} {way:24} scatter {scatter} slope {slope} "
                            f"pull {pull:.3f} {one:.1%} {two:.1%} {record['seconds']:.0f} s",
                            flush=True,
                        )
                        if args.out:
                            args.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
