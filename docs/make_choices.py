"""Measure what the options do on mock surveys: the tables of measurements.rst, but for the zero point.

    python docs/make_choices.py /tmp/choices --seeds 1 2 3   # options, wrong parallaxes; twenty minutes on one core
    python docs/make_choices.py /tmp/choices --seeds 211 212 --settings default auto --quintiles

The folder keeps the surveys and every star's numbers under every setting, so that a second run goes on where the first
stopped.
"""

import argparse
from pathlib import Path

import numpy as np
from astropy.table import Table

from spfast.catalog.make import make_catalog
from spfast.config import load_config
from spfast.data.survey import open_survey
from spfast.simulate import simulate_survey
from spfast.training.fold import fit_folds

STARS = 6000
AUTO = {"fit": {"penalty_rule": "auto"}}
#: Of the table of wrong parallaxes: their share. Best are the stars with a true parallax above this many errors.
WRONG, WRONG_SHARE, BEST = "3% wrong", 0.03, 20.0

#: Rows of the tables: a preset, and what is changed from it.
SETTINGS = {
    "default": ("default", {}),
    "hogg2019": ("hogg2019", {}),
    "auto": ("default", AUTO),
    "one-standard-error": ("default", AUTO | {"tune": {"choice": "one-standard-error"}}),
    "likelihood": ("default", AUTO | {"tune": {"score": "likelihood"}}),
    "intrinsic_scatter": ("default", {"fit": AUTO["fit"] | {"intrinsic_scatter": True}}),
    "exact-distance-modulus": ("default", {"fit": AUTO["fit"] | {"exact_distance_modulus": True}}),
    "zero-point fit": ("default", {"fit": AUTO["fit"] | {"zero_point_rule": "fit"}}),
    "pixel_correlation": ("default", {"fit": {"pixels": "raw"}, "errors": {"pixel_correlation": [0.4, 0.1]}}),
    "splits": ("default", {"errors": {"coefficients": "splits"}}),
    "robust": ("default", {"fit": {"robust": True}}),
    f"{WRONG} default": ("default", {}),
    f"{WRONG} robust": ("default", {"fit": {"robust": True}}),
}
_COLUMNS = ("ln_spec_parallax", "ln_spec_parallax_err", "spec_parallax_err", "true", "G", "H-W2", "S/N", "gaia_error")
_OF_MODEL = ("PENALT", "INFLAT")


def measure(folder, name, seed):
    """Return every star's prediction, errors, truth and covariates under one setting (dict of float64 arrays)."""
    path = folder / f"{name.replace(' ', '-').replace('%', '')}_{seed}.npz"
    if not path.exists():
        preset, changes = SETTINGS[name]
        config = load_config(preset=preset, overrides=changes)
        share = WRONG_SHARE if name.startswith(WRONG) else 0.0
        survey_path = folder / (f"survey_{preset}_{seed}" + ("_wrong" if share else ""))
        if not survey_path.exists():
            simulate_survey(survey_path, STARS, seed=seed, config=config, quiet=True, wrong_parallaxes=share)
        survey = open_survey(survey_path)
        catalog = make_catalog(survey, config=config, models=fit_folds(survey, config))
        truth, stars = Table.read(survey_path / "truth.fits"), survey.stars
        values = [np.asarray(catalog[column], dtype=float) for column in _COLUMNS[:3]]
        values += [np.log(truth["true_parallax"]), stars["phot_g_mean_mag"], stars["H"] - stars["w2mpro"], stars["SNR"]]
        of_star = dict(zip(_COLUMNS, [*values, stars["parallax_error"]], strict=True))
        of_model = {key: [catalog.meta[f"{key}_A"], catalog.meta[f"{key}_B"]] for key in _OF_MODEL}
        np.savez(path, **of_star, **of_model)
    with np.load(path) as stored:
        return dict(stored)


def shares(z):
    """Return the pull, and the shares [%] within one and within 1.96 errors."""
    low, high = np.percentile(z, [16.0, 84.0])
    return (high - low) / 2, 100 * np.mean(np.abs(z) < 1.0), 100 * np.mean(np.abs(z) < 1.96)


def span(values, form):
    """Format the smallest and the largest value; only one if both look the same."""
    return "-".join(dict.fromkeys(format(value, form) for value in (min(values), max(values))))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--quintiles", action="store_true", help="pull, 68%% and 95%% in fifths as well")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for name in args.settings:
        surveys = [measure(args.folder, name, seed) for seed in args.seeds]
        scatter, best = [], []
        for one in surveys:
            residual, is_best = one["ln_spec_parallax"] - one["true"], np.exp(one["true"]) > BEST * one["gaia_error"]
            scatter.append(f"{shares(residual)[0]:.3f}")
            best.append(f"{shares(residual[is_best])[0]:.3f}")
        both = {column: np.concatenate([one[column] for one in surveys]) for column in _COLUMNS}
        z = (both["ln_spec_parallax"] - both["true"]) / both["ln_spec_parallax_err"]
        pull, within_68, within_95 = shares(z)
        penalties, inflation = (np.concatenate([one[key] for one in surveys]) for key in _OF_MODEL)
        of_features = np.median(both["spec_parallax_err"] / np.exp(both["ln_spec_parallax"]))
        print(
            f"{name:24} {', '.join(scatter):24} {span(penalties, 'g'):9} "
            f"{pull:.3f}  {within_68:.1f}   {within_95:.1f}   "
            f"{of_features:.4f} {np.median(both['ln_spec_parallax_err']):.4f}   "
            f"best {', '.join(best)}, k {span(inflation, '.2f')}",
            flush=True,
        )
        for column in ("G", "H-W2", "ln_spec_parallax", "S/N") if args.quintiles else ():
            part = np.searchsorted(np.quantile(both[column], (0.2, 0.4, 0.6, 0.8)), both[column])
            fifths = ["{:.2f} {:.1f} {:.1f}".format(*shares(z[part == fifth])) for fifth in range(5)]
            print(f"    {column:18}", " | ".join(fifths), flush=True)


if __name__ == "__main__":
    main()
