"""The catalog: each star's spectrophotometric parallax by the model of the other fold, which never saw the star."""

import json

import numpy as np

from spfast import __version__
from spfast.data.survey import package_versions
from spfast.data.zero_point import CONSTANT, added_to_parallax
from spfast.products.columns import (
    OUTLIER_SIGMA,
    build_table,
    flag_cards,
    pack_flags,
    prediction_values,
    star_values,
)
from spfast.products.fitting import fit_folds, fit_stars, measure_budget, resolve_config, used_configs
from spfast.products.flags import extrapolates, spectral_unlikeness, star_flags
from spfast.products.tables import float_column
from spfast.selection.folds import FOLDS, fold_labels

__all__ = ["HEADER_COMMENTS", "fit_folds", "fit_stars", "make_catalog", "resolve_config"]

#: The fold whose model predicts a fold's stars.
_PREDICTED_BY = {"A": "B", "B": "A"}

_MODEL_CARDS = {
    "NTRAIN": "training stars of model {}",
    "PENALT": "L1 penalty of model {}",
    "ZEROPT": "[mas] added to all Gaia parallaxes for model {}",
    "ZPRULE": "zero point rule of model {}",
    "NNONZ": "coefficients of model {} that are not zero",
    "OBJECT": "objective of model {} at its solution",
    "KKTVIO": "KKT violation of model {} (as the penalty)",
    "CONVRG": "whether model {} reached its tolerance",
    "SCATTR": "intrinsic scatter s of ln parallax, model {}",
    "SCATGR": "s^2 grows as unlikeness to this, model {}",
    "INFLAT": "factor k on Gaia's errors, from model {}",
    "NHELD": "stars held out to measure them, model {}",
    "TUNED": "how model {}'s numbers were chosen",
}

#: Comments of the header's cards; model A is the one trained on fold A, which predicts the stars of fold B.
HEADER_COMMENTS = {
    "PRODUCT": "what this table is",
    "SPFVERS": "version of spfast",
    "PACKAGES": "versions below it",
    "SURVHASH": "survey: SHA-256 of its arrays and stars",
    "FOLDRULE": "how stars are split into A and B",
    "ERRCOL": "column of the error in logarithms and distances",
    "CONFIG": "configuration of fit, folds, tuning (JSON)",
    "SURVCONF": "configuration of the survey (JSON)",
    **{f"{key}_{fold}": text.format(fold) for fold in FOLDS for key, text in _MODEL_CARDS.items()},
}


def make_catalog(survey, penalty=None, zero_point=None, config=None, threads=None, models=None):
    """Fit one model to each fold's training stars and predict every star by the model that never saw it.

    Parameters
    ----------
    survey : Survey
        Features, their errors, and the stars with their Gaia parallaxes.
    penalty, zero_point : float or str, optional
        Instead of the configuration's; ``zero_point`` [mas] is added to every Gaia parallax, or is a rule's name:
        "lindegren2021" takes Gaia DR3's zero point of each star. "auto", for either: chosen for each model by inner
        folds of its own training stars, so that no star's parallax has a say in its own prediction.
    config : Config, optional
        Its ``fit``, ``folds`` and ``tune`` sections are used.
    threads : int, optional
        All processors by default.
    models : dict of FittedModel, optional
        What `fit_folds` returned for this survey and configuration, if it was called already.

    Returns
    -------
    astropy Table
        One row per star in the survey's order, columns as in `spfast.products.columns`; ``meta`` says how it was made.

    Raises
    ------
    BadInputError
        If a fold has no training star.
    """
    config = resolve_config(config, penalty, zero_point)
    if models is None:
        models = fit_folds(survey, config, threads)
    models = {fold: models[fold].for_layout(survey.layout) for fold in FOLDS}
    stars = survey.stars
    folds = fold_labels(stars, config.folds)
    budgets = {fold: measure_budget(survey, config, fold, models[fold], threads) for fold in FOLDS}
    predicted = prediction_values(*_predict_folds(survey, folds.labels, models, budgets, threads))
    spec, spec_error = predicted["spec_parallax"], predicted["spec_parallax_err_total"]

    added, zero_point_flags = _zero_points(stars, folds.labels, models)
    converged, inflation = np.empty(survey.n_stars, dtype=bool), np.empty(survey.n_stars)
    for fold, other in _PREDICTED_BY.items():
        converged[folds.labels == fold] = models[other].result.converged
        inflation[folds.labels == fold] = budgets[other].gaia_inflation
    gaia, gaia_error = float_column(stars, "parallax") + added, float_column(stars, "parallax_error")
    missing = ~(np.isfinite(gaia) & (gaia_error > 0))
    gaia[missing] = gaia_error[missing] = np.nan
    inflated = inflation * gaia_error
    combined, combined_error = _combine(spec, spec_error, gaia, inflated)
    flags = {
        "no_gaia_parallax": missing,
        "parallax_outlier": np.abs(spec - gaia) > OUTLIER_SIGMA * np.hypot(spec_error, inflated),
        "not_converged": ~converged,
        **star_flags(survey),
        **_extrapolating(survey, folds.labels, models, threads),
        **zero_point_flags,
    }
    values = {
        **star_values(stars),
        "Gaia_parallax": gaia,
        "Gaia_parallax_err": gaia_error,
        "training_set": np.asarray(stars["training_set"]),
        "sample": folds.labels,
        "Gaia_zero_point": added,
        **predicted,
        "combined_parallax": combined,
        "combined_parallax_err": combined_error,
        "flags": pack_flags(flags, survey.n_stars),
    }
    return build_table(values, {**_header(survey, config, folds, models, budgets), **flag_cards(flags)})


def _predict_folds(survey, labels, models, budgets, threads):
    """Each star's ln(parallax / mas), its error from the features and its total error, by the other fold's model."""
    ln_parallax, ln_error, total = (np.empty(survey.n_stars) for _ in range(3))
    for fold, other in _PREDICTED_BY.items():
        rows = labels == fold
        ln_parallax[rows] = models[other].predict_ln(survey.features, rows, threads)
        ln_error[rows] = models[other].predict_ln_error(survey.feature_errors, rows, threads)
        unlikeness = spectral_unlikeness(models[other], survey.features, rows, threads)
        total[rows] = budgets[other].ln_error(rows, ln_error[rows], unlikeness)
    return ln_parallax, ln_error, total


def _zero_points(stars, labels, models):
    """What each star's Gaia parallax has added [mas], by the rule of the model that predicts it, and flags of it."""
    added, outside = np.empty(len(stars)), None
    for fold, other in _PREDICTED_BY.items():
        model, rows = models[other], labels == fold
        values, out_of_range = added_to_parallax(stars, _zero_point_rule(model), model.zero_point)
        added[rows] = values[rows]
        if out_of_range is not None:
            outside = np.zeros(len(stars), dtype=bool) if outside is None else outside
            outside[rows] = out_of_range[rows]
    return added, {} if outside is None else {"zero_point_out_of_range": outside}


def _zero_point_rule(model):
    return model.metadata.get("zero_point_rule", CONSTANT)


def _extrapolating(survey, labels, models, threads):
    """The flag of stars unlike the training stars of the model that predicts them, if both models know theirs."""
    outside = np.zeros(survey.n_stars, dtype=bool)
    for fold, other in _PREDICTED_BY.items():
        rows = labels == fold
        answer = extrapolates(models[other], survey.features, rows, threads)
        if answer is None:
            return {}
        outside[rows] = answer
    return {"extrapolation": outside}


def _combine(spec, spec_error, gaia, gaia_error):
    """The inverse-variance mean of two independent parallaxes and its error, the first alone where Gaia has none."""
    with np.errstate(divide="ignore"):
        spec_weight, gaia_weight = 1.0 / spec_error**2, 1.0 / gaia_error**2
    mean = (spec_weight * spec + gaia_weight * gaia) / (spec_weight + gaia_weight)
    error = 1.0 / np.sqrt(spec_weight + gaia_weight)
    return np.where(np.isnan(gaia), spec, mean), np.where(np.isnan(gaia), spec_error, error)


def _header(survey, config, folds, models, budgets):
    # Neither a date nor a duration: the same input gives the same bytes.
    configs = used_configs(survey, config)
    header = {
        "PRODUCT": "spfast catalog",
        "SPFVERS": __version__,
        "PACKAGES": ", ".join(f"{name} {version}" for name, version in package_versions().items() if name != "spfast"),
        "SURVHASH": survey.survey_hash,
        "FOLDRULE": folds.rule,
        "ERRCOL": "spec_parallax_err_total",
        "CONFIG": json.dumps(configs["config"]),
        "SURVCONF": json.dumps(configs["survey_config"]),
    }
    for fold, model in models.items():
        numbers = {
            "NTRAIN": int(model.n_stars),
            "PENALT": float(model.penalty),
            "ZEROPT": float(model.zero_point),
            "ZPRULE": _zero_point_rule(model),
            "NNONZ": int(model.n_nonzero),
            "OBJECT": float(model.result.objective),
            "KKTVIO": float(model.result.kkt_violation),
            "CONVRG": bool(model.result.converged),
            "SCATTR": float(budgets[fold].intrinsic_scatter),
            "SCATGR": float(budgets[fold].growth),
            "INFLAT": float(budgets[fold].gaia_inflation),
            "NHELD": int(budgets[fold].n_held_out),
            "TUNED": model.metadata.get("tuning", {}).get("summary", "given"),
        }
        header |= {f"{key}_{fold}": value for key, value in numbers.items()}
    return header
