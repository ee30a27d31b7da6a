"""Fit the zero point of mocks, one with a constant and one with a slope in G for each seed: the table in choices.

Usage: python docs/measure_zero_point.py [--seeds 101-120] [--stars 6000]
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

import spfast
from spfast.products.fitting import fit_stars
from spfast.simulate import simulate_survey

#: What Gaia's parallaxes are too small by at G = 14 [mas], and more per magnitude.
VALUE, SLOPE, PIVOT = 0.0483, 0.005, 14.0


def fitted(folder, n_stars, seed, slope, covariates):
    """Offsets, their errors, the errors from noise alone, and the truth at the fit's pivot."""
    survey = simulate_survey(folder, n_stars, seed, quiet=True, zero_point=(VALUE, slope))
    config = spfast.Config().replace(fit={"zero_point_rule": "fit", "zero_point_covariates": covariates})
    found = fit_stars(survey, config).metadata["zero_point_fit"]
    errors, noise = (np.sqrt(np.diag(found[name])) for name in ("covariance", "noise"))
    truth = [VALUE + slope * (pivot - PIVOT) for pivot in found["pivots"]] + [slope] if covariates else [VALUE]
    return np.array(found["offsets"]), errors, noise, np.array(truth)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="101-120")
    parser.add_argument("--stars", type=int, default=6000)
    args = parser.parse_args()
    first, last = (int(text) for text in args.seeds.split("-"))
    pulls = {"": [], "G": []}
    print("seed  covariates  offset [mas] (truth)  pull | slope in G [mas/mag] (truth)  pull")
    for seed in range(first, last + 1):
        for covariates, slope in (("", 0.0), ("G", SLOPE)):
            with tempfile.TemporaryDirectory() as folder:
                values = fitted(Path(folder) / "survey", args.stars, seed, slope, covariates)
            pull = (values[0] - values[3]) / values[1]
            pulls[covariates].append(pull)
            parts = [
                f"{offset:.4f} +- {error:.4f}, noise {noise:.4f} ({truth:.4f}) {p:+.2f}"
                for offset, error, noise, truth, p in zip(*values, pull, strict=True)
            ]
            print(f"{seed}  {covariates or 'none':4s}  {' | '.join(parts)}", flush=True)
    for covariates, all_pulls in pulls.items():
        within = (np.abs(all_pulls) < 2.0).sum(axis=0)
        print(f"{covariates or 'none'}: within 2 sigma {within} of {len(all_pulls)}")


if __name__ == "__main__":
    main()
