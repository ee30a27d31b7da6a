"""Everything that one model says of the stars of a survey: what catalog and predictions have in common."""

import json

import numpy as np

from spfast.data.zero_point import CONSTANT, added_to_parallax
from spfast.model.robust import Mixture
from spfast.products.columns import OUTLIER_SIGMA, prediction_values
from spfast.products.flags import extrapolates, position, spectral_unlikeness
from spfast.products.tables import float_column

__all__ = ["apply_model", "fitted_zero_point", "zero_point_rule"]

#: Columns that are finite but for stars that no model can know anything of.
_ALWAYS_KNOWN = (
    *("spec_parallax", "spec_parallax_err", "spec_parallax_err_total"),
    *("distance", "distance_16", "distance_84"),
)


@np.errstate(over="ignore", invalid="ignore")
def apply_model(model, survey, rows=None, threads=None):
    """Predict stars with one model, compare with Gaia, and mark those that it should not be trusted on.

    Parameters
    ----------
    model : FittedModel
        In the survey's layout.
    survey : Survey
    rows : bool mask or int array, optional
        All stars by default.
    threads : int, optional

    Returns
    -------
    values : dict of arrays, shape (n_rows,)
        Under the names of the catalog's columns; without total and combined errors if the model has no error budget.
    flags : dict of bool arrays, shape (n_rows,)
        Those of `spfast.products.columns.FLAGS` that depend on the model and can be told.
    """
    rows = np.arange(survey.n_stars) if rows is None else rows
    features, feature_errors = survey.features, survey.feature_errors
    ln_parallax = model.predict_ln(features, rows, threads)
    ln_error = model.predict_ln_error(feature_errors, rows, threads)
    where = position(model, features, rows, threads)
    total, offset, inflation = None, 0.0, 1.0
    if model.budget is not None:
        unlikeness = spectral_unlikeness(model, where)
        known = ln_parallax, ln_error
        total = model.predict_total_ln_error(features, feature_errors, unlikeness, rows, threads, known)
        offset = model.predict_offset(features, rows, threads, ln_parallax)
        inflation = model.budget.gaia_inflation
    values = prediction_values(ln_parallax - offset, ln_error, total)
    if total is not None:
        values["ln_offset"] = offset
    added, out_of_range = added_to_parallax(
        survey.stars, zero_point_rule(model), model.zero_point, model.metadata.get("zero_point_fit")
    )
    gaia = (float_column(survey.stars, "parallax") + added)[rows]
    gaia_error = float_column(survey.stars, "parallax_error")[rows]
    missing = ~(np.isfinite(gaia) & (gaia_error > 0))
    gaia[missing] = gaia_error[missing] = np.nan
    values |= {"Gaia_parallax": gaia, "Gaia_parallax_err": gaia_error, "Gaia_zero_point": added[rows]}
    flags = {"no_gaia_parallax": missing, "not_converged": np.full(missing.size, not model.result.converged)}
    if total is not None:
        spec, error, inflated = values["spec_parallax"], values["spec_parallax_err_total"], inflation * gaia_error
        flags["parallax_outlier"] = np.abs(spec - gaia) > OUTLIER_SIGMA * np.hypot(error, inflated)
        combined = _combine(spec, error, gaia, inflated)
        mixture = Mixture.of(model)
        if mixture is not None:
            variance = error**2 + inflated**2
            probability = mixture.outlier_probability(gaia - spec, variance)
            values["outlier_probability"] = probability
            wrong = _combine(spec, error, gaia, np.sqrt(mixture.outlier_width**2 * variance - error**2))
            combined = _average(combined, wrong, np.nan_to_num(probability))
        values["combined_parallax"], values["combined_parallax_err"] = combined
    outside = extrapolates(model, where)
    # Flagged, not warned of: nobody could tell which stars a warning means.
    overflown = ~np.all([np.isfinite(values[name]) for name in _ALWAYS_KNOWN if name in values], axis=0)
    if outside is not None or overflown.any():
        flags["extrapolation"] = overflown if outside is None else outside | overflown
    if out_of_range is not None:
        flags["zero_point_out_of_range"] = out_of_range[rows]
    return values, flags


def zero_point_rule(model):
    """The rule by which a model's training parallaxes had their zero point added (str)."""
    return model.metadata.get("zero_point_rule", CONSTANT)


def fitted_zero_point(model):
    """A fitted zero point's covariates, units, pivots, offsets [mas] and covariance as JSON, else "none" (str)."""
    fitted = model.metadata.get("zero_point_fit")
    if fitted is None:
        return "none"
    return json.dumps({key: fitted[key] for key in ("covariates", "units", "pivots", "offsets", "covariance")})


def _combine(spec, spec_error, gaia, gaia_error):
    """The inverse-variance mean of two independent parallaxes and its error, the first alone where Gaia has none."""
    with np.errstate(divide="ignore"):
        spec_weight, gaia_weight = 1.0 / spec_error**2, 1.0 / gaia_error**2
    mean = (spec_weight * spec + gaia_weight * gaia) / (spec_weight + gaia_weight)
    error = 1.0 / np.sqrt(spec_weight + gaia_weight)
    return np.where(np.isnan(gaia), spec, mean), np.where(np.isnan(gaia), spec_error, error)


def _average(right, wrong, probability):
    """Mean and standard deviation of a value that is the second of two, each with its error, by a probability."""
    (mean, error), (other, other_error) = right, wrong
    between = mean + probability * (other - mean)
    variance = (1.0 - probability) * (error**2 + (mean - between) ** 2)
    variance += probability * (other_error**2 + (other - between) ** 2)
    return between, np.sqrt(variance)
