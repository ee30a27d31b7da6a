"""What the choices cost: the table of choices.rst, measured on mock surveys.

    python docs/make_choices.py /tmp/choices --seeds 1 2 3               # the table, twenty minutes on one core
    python docs/make_choices.py /tmp/choices --seeds 11 12 13 --settings default auto --quintiles

Surveys, and the numbers of every star under every setting, stay in the folder: a second run goes on where one stopped.
"""

import argparse
from pathlib import Path

import numpy as np
from astropy.table import Table

from spfast.config import load_config
from spfast.data.survey import open_survey
from spfast.products.catalog import make_catalog
from spfast.products.fitting import fit_folds
from spfast.simulate import simulate_survey

STARS = 6000
AUTO = {"fit": {"penalty_rule": "auto"}}

#: Row of the table: preset, then what is changed from it.
SETTINGS = {
    "default": ("default", {}),
    "hogg2019": ("hogg2019", {}),
    "auto": ("default", AUTO),
    "one-standard-error": ("default", AUTO | {"tune": {"choice": "one-standard-error"}}),
    "likelihood": ("default", AUTO | {"tune": {"score": "likelihood"}}),
    "intrinsic_scatter": ("default", {"fit": AUTO["fit"] | {"intrinsic_scatter": True}}),
    "exact-distance-modulus": ("default", {"fit": AUTO["fit"] | {"exact_distance_modulus": True}}),
    "zero-point fit": ("default", {"fit": AUTO["fit"] | {"zero_point_rule": "fit"}}),
    "pixel_correlation": ("default", {"errors": {"pixel_correlation": [0.4, 0.1]}}),
    "splits": ("default", {"errors": {"coefficients": "splits"}}),
}
_COLUMNS = ("ln_spec_parallax", "ln_spec_parallax_err", "spec_parallax_err", "true", "G", "H-W2", "S/N", "fold_penalty")


def measure(folder, name, seed):
    """Every star's prediction, errors, truth and covariates under one setting (dict of float64 arrays)."""
    path = folder / f"{name.replace(' ', '-')}_{seed}.npz"
    if not path.exists():
        preset, changes = SETTINGS[name]
        config = load_config(preset=preset, overrides=changes)
        survey_path = folder / f"survey_{preset}_{seed}"
        if not survey_path.exists():
            simulate_survey(survey_path, STARS, seed=seed, config=config, quiet=True)
        survey = open_survey(survey_path)
        catalog = make_catalog(survey, config=config, models=fit_folds(survey, config))
        truth, stars = Table.read(survey_path / "truth.fits"), survey.stars
        penalty = np.where(catalog["sample"] == "A", catalog.meta["PENALT_B"], catalog.meta["PENALT_A"])
        values = [np.asarray(catalog[column], dtype=float) for column in _COLUMNS[:3]]
        values += [np.log(truth["true_parallax"]), stars["phot_g_mean_mag"], stars["H"] - stars["w2mpro"], stars["SNR"]]
        np.savez(path, **dict(zip(_COLUMNS, [*values, penalty], strict=True)))
    with np.load(path) as found:
        return dict(found)


def shares(z):
    """Pull, and the shares [%] within one and within 1.96 errors."""
    low, high = np.percentile(z, [16.0, 84.0])
    return (high - low) / 2, 100 * np.mean(np.abs(z) < 1.0), 100 * np.mean(np.abs(z) < 1.96)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--quintiles", action="store_true", help="pull, 68% and 95% in fifths as well")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for name in args.settings:
        found = [measure(args.folder, name, seed) for seed in args.seeds]
        scatter = [shares(one["ln_spec_parallax"] - one["true"])[0] for one in found]
        both = {column: np.concatenate([one[column] for one in found]) for column in _COLUMNS}
        z = (both["ln_spec_parallax"] - both["true"]) / both["ln_spec_parallax_err"]
        pull, within_68, within_95 = shares(z)
        penalties = "-".join(f"{p:g}" for p in dict.fromkeys((both["fold_penalty"].min(), both["fold_penalty"].max())))
        of_features = both["spec_parallax_err"] / np.exp(both["ln_spec_parallax"])
        text = ", ".join(f"{value:.3f}" for value in scatter)
        print(
            f"{name:24} {text:24} {penalties:9} {pull:.3f}  {within_68:.1f}   {within_95:.1f}   "
            f"{np.median(of_features):.4f} {np.median(both['ln_spec_parallax_err']):.4f}",
            flush=True,
        )
        for column in ("G", "H-W2", "ln_spec_parallax", "S/N") if args.quintiles else ():
            part = np.searchsorted(np.quantile(both[column], (0.2, 0.4, 0.6, 0.8)), both[column])
            fifths = ["{:.2f} {:.1f} {:.1f}".format(*shares(z[part == fifth])) for fifth in range(5)]
            print(f"    {column:18}", " | ".join(fifths), flush=True)


if __name__ == "__main__":
    main()
