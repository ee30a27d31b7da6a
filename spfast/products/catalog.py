"""The catalog: each star's spectrophotometric parallax by the model of the other fold, which never saw the star."""

import json

import numpy as np
from astropy import units

from spfast import __version__
from spfast.config import Config
from spfast.data.zero_point import CONSTANT, ZERO_POINT_RULES, added_to_parallax
from spfast.errors import BadInputError
from spfast.model.fit import fit
from spfast.products.columns import (
    OUTLIER_SIGMA,
    build_table,
    flag_cards,
    pack_flags,
    prediction_values,
    star_values,
)
from spfast.products.flags import extrapolates, star_flags, with_training_extent
from spfast.products.tables import float_column
from spfast.selection.folds import FOLDS, fold_labels
from spfast.selection.seen import encode_stars

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
}

#: Comments of the header's cards; model A is the one trained on fold A, which predicts the stars of fold B.
HEADER_COMMENTS = {
    "PRODUCT": "what this table is",
    "SPFVERS": "version of spfast",
    "SURVHASH": "survey: SHA-256 of its arrays and stars",
    "FOLDRULE": "how stars are split into A and B",
    "CONFIG": "configuration of fit and folds (JSON)",
    "SURVCONF": "configuration of the survey (JSON)",
    **{f"{key}_{fold}": text.format(fold) for fold in FOLDS for key, text in _MODEL_CARDS.items()},
}


def resolve_config(config=None, penalty=None, zero_point=None):
    """Return the configuration with the caller's own penalty and zero point.

    Parameters
    ----------
    config : Config, optional
        The defaults if left out.
    penalty : float, optional
    zero_point : float [mas], Quantity or str, optional
        A number, or the name of a rule such as "lindegren2021".

    Returns
    -------
    Config

    Examples
    --------
    >>> from astropy import units
    >>> from spfast.products.catalog import resolve_config
    >>> resolve_config(zero_point=40 * units.uas).fit.zero_point
    0.04
    """
    config = Config() if config is None else config
    given = {}
    if penalty is not None:
        given["penalty"] = float(penalty)
    if zero_point is not None:
        given |= zero_point_settings(zero_point)
    return config.replace(fit=given)


def zero_point_settings(zero_point):
    """The settings of section ``fit`` that a number [mas] or Quantity, or a rule's name, stands for (dict).

    Examples
    --------
    >>> from spfast.products.catalog import zero_point_settings
    >>> zero_point_settings("lindegren2021")
    {'zero_point_rule': 'lindegren2021'}
    """
    if isinstance(zero_point, str):
        if zero_point not in ZERO_POINT_RULES:
            raise BadInputError(f"zero point {zero_point!r}: expected mas, or one of {', '.join(ZERO_POINT_RULES)}")
        return {"zero_point_rule": zero_point}
    return {"zero_point": float(units.Quantity(zero_point, units.mas).value), "zero_point_rule": CONSTANT}


def fit_stars(survey, config=None, fold=None, threads=None):
    """Fit a model to a survey's training set, or to one fold of it.

    Parameters
    ----------
    survey : Survey
    config : Config, optional
        Its ``fit`` and ``folds`` sections are used.
    fold : str, optional
        ``"A"`` or ``"B"``; by default all training stars.
    threads : int, optional
        All processors by default.

    Returns
    -------
    FittedModel
        Its metadata says which stars it saw (`seen_in_training` reads it), the survey, the fold and the configuration.

    Raises
    ------
    BadInputError
        For an unknown fold, or if there is no training star.
    """
    config = Config() if config is None else config
    if fold not in (None, *FOLDS):
        raise BadInputError(f"fold is {fold!r}, expected one of {', '.join(FOLDS)}")
    stars = survey.stars
    folds = fold_labels(stars, config.folds)
    parallax, parallax_error = float_column(stars, "parallax"), float_column(stars, "parallax_error")
    rule, zero_point = config.fit.zero_point_rule, config.fit.zero_point
    if rule != CONSTANT:
        parallax, zero_point = parallax + added_to_parallax(stars, rule)[0], 0.0
    rows = np.asarray(stars["training_set"], dtype=bool) & np.isfinite(parallax) & (parallax_error > 0)
    if fold is not None:
        rows &= folds.labels == fold
    if not rows.any():
        where = f"fold {fold}" if fold else "the survey"
        raise BadInputError(f"{survey.path}: no training star in {where}; loosen [training] and ingest again")
    model = fit(
        survey.features,
        parallax,
        parallax_error,
        penalty=config.fit.penalty,
        penalized=survey.layout.penalized,
        rows=rows,
        zero_point=zero_point,
        solver=config.fit.solver,
        start=config.fit.start,
        tolerance=config.fit.tolerance,
        max_iterations=config.fit.max_iterations or None,
        threads=threads,
        layout=survey.layout,
        metadata={
            "spfast_version": __version__,
            "survey_hash": survey.survey_hash,
            "fold": fold or "all",
            "fold_rule": folds.rule,
            "zero_point_rule": rule,
            **_configs(survey, config),
            "training_stars": encode_stars(stars[rows]),
        },
    )
    return with_training_extent(model, survey.features, rows, threads)


def fit_folds(survey, config=None, threads=None):
    """Fit one model to each fold's training stars.

    Parameters
    ----------
    survey : Survey
    config : Config, optional
    threads : int, optional

    Returns
    -------
    dict of FittedModel
        Under ``"A"`` and ``"B"``: the fold that each was trained on.
    """
    return {fold: fit_stars(survey, config, fold, threads) for fold in FOLDS}


def make_catalog(survey, penalty=None, zero_point=None, config=None, threads=None, models=None):
    """Fit one model to each fold's training stars and predict every star by the model that never saw it.

    Parameters
    ----------
    survey : Survey
        Features, their errors, and the stars with their Gaia parallaxes.
    penalty, zero_point : float, optional
        Instead of the configuration's; ``zero_point`` [mas] is added to every Gaia parallax, or is a rule's name:
        "lindegren2021" takes Gaia DR3's zero point of each star.
    config : Config, optional
        Its ``fit`` and ``folds`` sections are used.
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
    predicted = prediction_values(*_predict_folds(survey, folds.labels, models, threads))
    spec, spec_error = predicted["spec_parallax"], predicted["spec_parallax_err"]

    added, zero_point_flags = _zero_points(stars, folds.labels, models)
    converged = np.empty(survey.n_stars, dtype=bool)
    for fold, other in _PREDICTED_BY.items():
        converged[folds.labels == fold] = models[other].result.converged
    gaia, gaia_error = float_column(stars, "parallax") + added, float_column(stars, "parallax_error")
    missing = ~(np.isfinite(gaia) & (gaia_error > 0))
    gaia[missing] = gaia_error[missing] = np.nan
    combined, combined_error = _combine(spec, spec_error, gaia, gaia_error)
    flags = {
        "no_gaia_parallax": missing,
        "parallax_outlier": np.abs(spec - gaia) > OUTLIER_SIGMA * np.hypot(spec_error, gaia_error),
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
    return build_table(values, {**_header(survey, config, folds, models), **flag_cards(flags)})


def _predict_folds(survey, labels, models, threads):
    """Each star's ln(parallax / mas) and its error by the model of the other fold."""
    ln_parallax, ln_error = np.empty(survey.n_stars), np.empty(survey.n_stars)
    for fold, other in _PREDICTED_BY.items():
        rows = labels == fold
        ln_parallax[rows] = models[other].predict_ln(survey.features, rows, threads)
        ln_error[rows] = models[other].predict_ln_error(survey.feature_errors, rows, threads)
    return ln_parallax, ln_error


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


def _configs(survey, config):
    """The configuration of the fit and the folds, and that of the survey when it was built (dict of two)."""
    later = ("fit", "folds")
    used = {key: value for key, value in config.to_dict().items() if key in ("preset", *later)}
    built = {key: value for key, value in (survey.info.get("config") or {}).items() if key not in later}
    return {"config": used, "survey_config": built}


def _header(survey, config, folds, models):
    # Neither a date nor a duration: the same input gives the same bytes.
    configs = _configs(survey, config)
    header = {
        "PRODUCT": "spfast catalog",
        "SPFVERS": __version__,
        "SURVHASH": survey.survey_hash,
        "FOLDRULE": folds.rule,
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
        }
        header |= {f"{key}_{fold}": value for key, value in numbers.items()}
    return header
