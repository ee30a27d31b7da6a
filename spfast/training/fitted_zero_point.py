"""A zero point fitted with the coefficients, from a survey's own columns, and what a model keeps of it."""

import warnings
from dataclasses import replace

import numpy as np

from spfast.config import COVARIATES, FITTED
from spfast.data.zero_point import added_to_parallax, zero_point_covariates
from spfast.errors import SpfastWarning
from spfast.training.zero_point import fit_offsets

__all__ = ["fit_with_zero_point", "with_fitted_offsets"]


def fit_with_zero_point(survey, training, splits, config, penalty, first, metadata, robust=False):
    """Coefficients and zero point together; what was found goes into the metadata."""
    names = [name.strip() for name in config.fit.zero_point_covariates.split(",")]
    names = list(dict.fromkeys(name for name in names if name))
    values, pivots, missing = zero_point_covariates(survey.stars, names, rows=training.rows)
    n_missing = int(missing[training.rows].sum())
    if n_missing:
        text = f"{n_missing} training stars lack {' or '.join(names)}: taken to lie at the pivot of the zero point"
        warnings.warn(text, SpfastWarning, 2)
    found = fit_offsets(training, splits, penalty, values, first, metadata, robust)
    pivots, about = _independent_pivots(found.covariance, values[training.rows], pivots)
    offsets, correction, covariance, noise = (
        about @ found.offsets,
        about @ found.correction,
        about @ found.covariance @ about.T,
        about @ found.noise @ about.T,
    )
    errors = np.sqrt(np.diag(covariance))
    summary = f"zero point {offsets[0]:.4f} +- {errors[0]:.4f} mas"
    if names:
        summary += " at " + ", ".join(f"{name} {pivot:g}" for name, pivot in zip(names, pivots, strict=True))
    for name, slope, error in zip(names, offsets[1:], errors[1:], strict=True):
        summary += f", {slope:+.4f} +- {error:.4f} mas/{COVARIATES[name]} in {name}"
    summary += ", fitted with the coefficients" if found.converged else ", fitted with the coefficients: NOT converged"
    fitted = {
        "covariates": names,
        "units": [COVARIATES[name] for name in names],
        "pivots": pivots,
        "offsets": offsets.tolist(),
        "covariance": covariance.tolist(),
        "noise": noise.tolist(),
        "correction": correction.tolist(),
        "scatter": found.scatter,
        "converged": found.converged,
    }
    tuning = dict((metadata or {}).get("tuning", {}))
    tuning["summary"] = f"{tuning['summary']}; {summary}" if tuning else summary
    metadata = {**found.model.metadata, "tuning": tuning, "zero_point_fit": fitted}
    return replace(found.model, metadata=metadata)


def _independent_pivots(covariance, values, pivots):
    """Pivots at which the constant's error has nothing to do with the slopes', among the stars, and the way there."""
    about = np.eye(len(covariance))
    if not pivots:
        return [], about
    moved = np.clip(-np.linalg.solve(covariance[1:, 1:], covariance[1:, 0]), values.min(axis=0), values.max(axis=0))
    found = [float(f"{pivot + move:.4g}") for pivot, move in zip(pivots, moved, strict=True)]
    about[0, 1:] = np.array(found) - pivots
    return found, about


def with_fitted_offsets(survey, training, model):
    """The training set with what a fitted zero point adds to its stars, less the mean that the model adds itself."""
    added, _ = added_to_parallax(survey.stars, FITTED, fitted=model.metadata["zero_point_fit"])
    return replace(training, parallax=training.parallax + added - model.zero_point)
