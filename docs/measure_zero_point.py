"""Fit the zero point of mock surveys, as a constant and linear in G, seed by seed: the last table of
measurements.rst.

Usage: python docs/measure_zero_point.py [--seeds 161-180] [--stars 6000]
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from spfast import Config
from spfast.data.zero_point import zero_point_covariates
from spfast.simulate import simulate_survey
from spfast.training.fold import FoldTraining
from spfast.training.zero_point import fit_offsets

#: What Gaia's parallaxes are too small by at G = 14 [mas], and more per magnitude.
VALUE, SLOPE, PIVOT = 0.0483, 0.005, 14.0


def fits(folder, n_stars, seed):
    """Yield offsets, errors, errors from noise alone and truth: of the mock with a slope, then of the same without."""
    survey = simulate_survey(folder, n_stars, seed, quiet=True, zero_point=(VALUE, SLOPE))
    config = Config().replace(fit={"zero_point_rule": "fit"})
    training = FoldTraining(survey, config)
    stars, splits = training.stars, training.splits
    g, pivots, _ = zero_point_covariates(survey.stars, ["G"], rows=stars.rows)
    level = replace(stars, parallax=stars.parallax + SLOPE * (g[:, 0] + pivots[0] - PIVOT))
    truth = [VALUE + SLOPE * (pivots[0] - PIVOT), SLOPE]
    for zero_point, true in (
        (fit_offsets(stars, splits, config.fit.penalty, covariates=g), truth),
        (fit_offsets(level, splits, config.fit.penalty), [VALUE]),
    ):
        errors = (np.sqrt(np.diag(matrix)) for matrix in (zero_point.covariance, zero_point.noise))
        yield zero_point.offsets, *errors, np.array(true)


def main():
    """Print a row for each fit, and how many lie within two sigma."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="161-180")
    parser.add_argument("--stars", type=int, default=6000)
    args = parser.parse_args()
    first, last = (int(text) for text in args.seeds.split("-"))
    pulls = {"G": [], "none": []}
    for seed in range(first, last + 1):
        with tempfile.TemporaryDirectory() as folder:
            for name, values in zip(pulls, fits(Path(folder) / "survey", args.stars, seed), strict=True):
                pull = (values[0] - values[3]) / values[1]
                pulls[name].append(pull)
                parts = [
                    f"{offset:.4f} +- {error:.4f} (noise {noise:.4f}, truth {truth:.4f}) pull {p:+.2f}"
                    for offset, error, noise, truth, p in zip(*values, pull, strict=True)
                ]
                print(f"{seed} {name:4s}  {' | '.join(parts)}", flush=True)
    for name, values in pulls.items():
        print(f"{name}: within 2 sigma {(np.abs(values) < 2.0).sum(axis=0)} of {len(values)}")


if __name__ == "__main__":
    main()
