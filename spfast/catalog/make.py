"""The catalog: each star's spectrophotometric parallax by the model of the other fold, which never saw the star."""

import json
from dataclasses import replace

import numpy as np

from spfast import __version__
from spfast.blas import one_blas_thread
from spfast.catalog.columns import build_table, flag_cards, pack_flags, star_values
from spfast.catalog.flags import star_flags
from spfast.catalog.predict import apply_model, fitted_zero_point, zero_point_rule
from spfast.config import resolve_config
from spfast.data.survey import package_versions
from spfast.selection.folds import FOLDS, fold_labels
from spfast.training.fold import fit_folds, measure_budget, used_configs

__all__ = ["HEADER_COMMENTS", "make_catalog"]

#: The fold whose model predicts a fold's stars.
_PREDICTED_BY = {"A": "B", "B": "A"}

_MODEL_CARDS = {
    "NTRAIN": "training stars of model {}",
    "PENALT": "L1 penalty of model {}",
    "ZEROPT": "[mas] added to all Gaia parallaxes for model {}",
    "ZPRULE": "zero point rule of model {}",
    "ZPFIT": "fitted zero point of model {}, mas (JSON)",
    "NNONZ": "coefficients of model {} that are not zero",
    "OBJECT": "objective of model {} at its solution",
    "KKTVIO": "KKT violation of model {} (as the penalty)",
    "CONVRG": "whether model {} reached its tolerance",
    "SCATTR": "intrinsic scatter s of ln parallax, model {}",
    "SCATGR": "share of s^2 that grows outward, model {}",
    "SCATWK": "share of s^2 from weak lines, model {}",
    "INFLAT": "factor k on Gaia's errors, from model {}",
    "NHELD": "stars held out to measure them, model {}",
    "TUNED": "how model {}'s numbers were chosen",
}

#: Only where the likelihood is robust.
_ROBUST_CARDS = {
    "ROBSHR": ("outlier_share", "share of outliers, model {}"),
    "ROBWID": ("outlier_width", "their width in units of the others', model {}"),
    "ROBSCA": ("intrinsic_scatter", "scatter of ln parallax in training, model {}"),
    "ROBOUT": ("n_outliers", "training stars more likely out than in, model {}"),
    "ROBRND": ("n_rounds", "rounds of the robust likelihood, model {}"),
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
    **{f"{key}_{fold}": text.format(fold) for fold in FOLDS for key, (_, text) in _ROBUST_CARDS.items()},
}


@one_blas_thread()
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
        One row per star in the survey's order, columns as in `spfast.catalog.columns`; ``meta`` says how it was made.

    Raises
    ------
    BadInputError
        If a fold has no training star.
    """
    config = resolve_config(config, penalty, zero_point)
    if models is None:
        models = fit_folds(survey, config, threads)
    models = {
        fold: _with_budget(models[fold].for_layout(survey.layout), survey, config, fold, threads) for fold in FOLDS
    }
    folds = fold_labels(survey.stars, config.folds)
    values, flags = _apply_to_other_fold(models, survey, folds.labels, threads)
    flags |= star_flags(survey)
    survey.check_length()
    values |= {
        **star_values(survey.stars),
        "training_set": np.asarray(survey.stars["training_set"]),
        "sample": folds.labels,
        "flags": pack_flags(flags, survey.n_stars),
    }
    return build_table(values, {**_header(survey, config, folds, models), **flag_cards(flags)})


def _with_budget(model, survey, config, fold, threads):
    """The model with its error budget, measured now if it was saved without one."""
    return model if model.budget else replace(model, budget=measure_budget(survey, config, fold, model, threads))


def _apply_to_other_fold(models, survey, labels, threads):
    """Values and flags of every star by the model of the other fold; only flags that both models can tell."""
    values, flags = {}, {}
    parts = {fold: apply_model(models[other], survey, labels == fold, threads) for fold, other in _PREDICTED_BY.items()}
    for whole, some in ((values, [part[0] for part in parts.values()]), (flags, [part[1] for part in parts.values()])):
        for name in set.intersection(*map(set, some)):
            whole[name] = np.empty(survey.n_stars, dtype=some[0][name].dtype)
            for fold, part in zip(parts, some, strict=True):
                whole[name][labels == fold] = part[name]
    return values, flags


def _header(survey, config, folds, models):
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
            "ZPRULE": zero_point_rule(model),
            "ZPFIT": fitted_zero_point(model),
            "NNONZ": int(model.n_nonzero),
            "OBJECT": float(model.result.objective),
            "KKTVIO": float(model.result.kkt_violation),
            "CONVRG": bool(model.result.converged),
            "SCATTR": float(model.budget.intrinsic_scatter),
            "SCATGR": float(model.budget.growth),
            "SCATWK": float(model.budget.weak_line_growth),
            "INFLAT": float(model.budget.gaia_inflation),
            "NHELD": int(model.budget.n_held_out),
            "TUNED": model.metadata.get("tuning", {}).get("summary", "given"),
        }
        if "robust" in model.metadata:
            numbers |= {key: model.metadata["robust"][name] for key, (name, _) in _ROBUST_CARDS.items()}
        header |= {f"{key}_{fold}": value for key, value in numbers.items()}
    return header
