"""From a survey and a configuration to models: training stars, the choice of penalty and zero point, one fit a fold."""

from dataclasses import replace
from functools import partial

import numpy as np
from astropy import units

from spfast import __version__
from spfast.config import Config
from spfast.data.zero_point import CONSTANT, ZERO_POINT_RULES, added_to_parallax
from spfast.errors import BadInputError
from spfast.kernels.team import side_by_side
from spfast.model import fit_zero_point
from spfast.products.compatibility import features_origin
from spfast.products.flags import spectral_unlikeness, with_training_extent
from spfast.products.tables import float_column
from spfast.selection.crossval import cross_validate
from spfast.selection.errors import held_out_predictions, measure_errors
from spfast.selection.folds import FOLDS, fold_labels
from spfast.selection.seen import encode_stars
from spfast.selection.training import TrainingSet, make_splits

__all__ = ["AUTO", "fit_folds", "fit_stars", "measure_budget", "resolve_config", "training_set", "used_configs"]

#: The rule by which a penalty or a zero point is chosen within a model's own training stars.
AUTO = "auto"
#: The rule by which a model's zero point is fitted jointly with its coefficients.
FIT = "fit"
#: Rules under which a model has one zero point, kept with it.
_ONE_NUMBER = (CONSTANT, AUTO, FIT)
PENALTY_RULES = (CONSTANT, AUTO)

#: Sections of the configuration that a survey knows nothing of.
_LATER = ("fit", "folds", "tune", "galaxy")


def resolve_config(config=None, penalty=None, zero_point=None):
    """Return the configuration with the caller's own penalty and zero point.

    Parameters
    ----------
    config : Config, optional
        The defaults if left out.
    penalty : float or str, optional
        A number or "auto".
    zero_point : float [mas], Quantity or str, optional
        A number, or the name of a rule: "auto", "fit", "lindegren2021".

    Returns
    -------
    Config

    Examples
    --------
    >>> from astropy import units
    >>> from spfast.products.fitting import resolve_config
    >>> resolve_config(zero_point=40 * units.uas).fit.zero_point
    0.04
    >>> resolve_config(penalty="auto").fit.penalty_rule
    'auto'
    """
    config = Config() if config is None else config
    given = {}
    if penalty is not None:
        given |= penalty_settings(penalty)
    if zero_point is not None:
        given |= zero_point_settings(zero_point)
    return config.replace(fit=given)


def penalty_settings(penalty):
    """The settings of section ``fit`` that a number or "auto" stands for (dict)."""
    if isinstance(penalty, str):
        if penalty != AUTO:
            raise BadInputError(f"penalty {penalty!r}: expected a number or {AUTO}")
        return {"penalty_rule": AUTO}
    return {"penalty": float(penalty), "penalty_rule": CONSTANT}


def zero_point_settings(zero_point):
    """The settings of section ``fit`` that a number [mas] or Quantity, or a rule's name, stands for (dict).

    Examples
    --------
    >>> from spfast.products.fitting import zero_point_settings
    >>> zero_point_settings("lindegren2021")
    {'zero_point_rule': 'lindegren2021'}
    """
    if isinstance(zero_point, str):
        if zero_point not in (*ZERO_POINT_RULES, AUTO, FIT):
            known = ", ".join((*ZERO_POINT_RULES, AUTO, FIT))
            raise BadInputError(f"zero point {zero_point!r}: expected mas, or one of {known}")
        return {"zero_point_rule": zero_point}
    return {"zero_point": float(units.Quantity(zero_point, units.mas).value), "zero_point_rule": CONSTANT}


def training_set(survey, config, fold=None, threads=None):
    """Return a survey's training stars, or those of one fold.

    Parameters
    ----------
    survey : Survey
    config : Config
    fold : str, optional
        ``"A"`` or ``"B"``; by default all.
    threads : int, optional

    Returns
    -------
    TrainingSet

    Raises
    ------
    BadInputError
        For an unknown fold, or if there is no training star.
    """
    if fold not in (None, *FOLDS):
        raise BadInputError(f"fold is {fold!r}, expected one of {', '.join(FOLDS)}")
    survey.check_values()
    stars, settings = survey.stars, config.fit
    parallax, parallax_error = float_column(stars, "parallax"), float_column(stars, "parallax_error")
    if settings.zero_point_rule not in _ONE_NUMBER:
        parallax = parallax + added_to_parallax(stars, settings.zero_point_rule)[0]
    rows = np.asarray(stars["training_set"], dtype=bool) & np.isfinite(parallax) & (parallax_error > 0)
    if fold is not None:
        rows &= fold_labels(stars, config.folds).labels == fold
    if not rows.any():
        where = f"fold {fold}" if fold else "the survey"
        raise BadInputError(f"{survey.path}: no training star in {where}; loosen [training] and ingest again")
    return TrainingSet(
        features=survey.features,
        feature_errors=survey.feature_errors,
        layout=survey.layout,
        parallax=parallax,
        gaia_error=parallax_error,
        fit_error=parallax_error,
        rows=np.flatnonzero(rows),
        options={
            "solver": settings.solver,
            "start": settings.start,
            "tolerance": settings.tolerance,
            "max_iterations": settings.max_iterations or None,
            # A zero point fitted with the coefficients needs it, of the fits for held-out stars as well.
            "exact_distance_modulus": settings.exact_distance_modulus or settings.zero_point_rule == FIT,
            "threads": threads,
        },
    )


def fit_stars(survey, config=None, fold=None, threads=None, quiet=True):
    """Fit a model to a survey's training set, or to one fold of it.

    Parameters
    ----------
    survey : Survey
    config : Config, optional
        Its ``fit``, ``folds`` and ``tune`` sections are used.
    fold : str, optional
        ``"A"`` or ``"B"``; by default all training stars.
    threads : int, optional
        All processors by default.
    quiet : bool
        No progress bar while "auto" looks for penalty and zero point.

    Returns
    -------
    FittedModel
        Its metadata says which stars it saw (`seen_in_training` reads it), the survey, the fold and the configuration,
        and what "auto" chose: by inner folds of these training stars alone, so that no other star has a say.

    Raises
    ------
    BadInputError
        For an unknown fold, or if there is no training star.
    """
    config = Config() if config is None else config
    training = training_set(survey, config, fold, threads)
    rule = config.fit.zero_point_rule
    metadata = {
        "spfast_version": __version__,
        "survey_hash": survey.survey_hash,
        "fold": fold or "all",
        "fold_rule": fold_labels(survey.stars, config.folds).rule,
        "zero_point_rule": CONSTANT if rule in _ONE_NUMBER else rule,
        **used_configs(survey, config),
        "features_origin": features_origin(survey),
        "training_stars": encode_stars(survey.stars[training.rows]),
    }
    splits = _inner_splits(survey, training, config)
    penalty, zero_point, tuning = _choose(training, splits, config, quiet)
    if config.fit.intrinsic_scatter:
        pilot = {"penalty": penalty, "zero_point": zero_point}
        pilot_model = training.fit(penalty, zero_point)
        held_out = held_out_predictions(pilot_model, training, splits)
        pilot["intrinsic_scatter"] = measure_errors(pilot_model, training, splits, held_out=held_out).intrinsic_scatter
        metadata["weights"] = pilot
        training = _reweighted(training, pilot, held_out)
        penalty, zero_point, tuning = _choose(training, splits, config, quiet)
    if tuning is not None:
        metadata["tuning"] = tuning
    if rule == FIT:
        model = _fit_with_zero_point(training, penalty, zero_point, metadata)
    else:
        model = training.fit(penalty, zero_point, metadata=metadata)
    return with_training_extent(model, survey.features, training.rows, threads)


def fit_folds(survey, config=None, threads=None, quiet=True):
    """Fit one model to each fold's training stars.

    Parameters
    ----------
    survey : Survey
    config : Config, optional
    threads : int, optional
    quiet : bool
        As in `fit_stars`.

    Returns
    -------
    dict of FittedModel
        Under ``"A"`` and ``"B"``: the fold that each was trained on.
    """
    config = Config() if config is None else config
    jobs = [partial(_fit_fold, survey, config, fold, quiet) for fold in FOLDS]
    if AUTO in (config.fit.penalty_rule, config.fit.zero_point_rule) or config.fit.intrinsic_scatter:
        models = [job(threads) for job in jobs]  # many fits each, with progress bars of their own
    else:
        models = side_by_side(jobs, threads)
    return dict(zip(FOLDS, models, strict=True))


def _fit_fold(survey, config, fold, quiet, threads):
    return fit_stars(survey, config, fold, threads, quiet)


def measure_budget(survey, config, fold, model, threads=None):
    """Measure the error budget of a fold's model on its training stars, held out by inner folds.

    Parameters
    ----------
    survey : Survey
    config : Config
    fold : str
        That the model was trained on.
    model : FittedModel
    threads : int, optional

    Returns
    -------
    ErrorBudget
    """
    training = training_set(survey, config, fold, threads)
    splits = _inner_splits(survey, training, config)
    pilot = model.metadata.get("weights")
    if pilot is not None:
        pilot_model = training.fit(pilot["penalty"], pilot["zero_point"])
        training = _reweighted(training, pilot, held_out_predictions(pilot_model, training, splits))
    unlikeness = spectral_unlikeness(model, survey.features, training.rows, threads)
    return measure_errors(model, training, splits, unlikeness)


def used_configs(survey, config):
    """The configuration of fit, folds and tuning, and that of the survey when it was built (dict of two)."""
    used = {key: value for key, value in config.to_dict().items() if key in ("preset", *_LATER)}
    built = {key: value for key, value in (survey.info.get("config") or {}).items() if key not in _LATER}
    return {"config": used, "survey_config": built}


def _inner_splits(survey, training, config):
    # Always by the hash: inner folds of A and B must not be A and B again.
    folds = replace(config.folds, split="hash", seed=config.folds.seed + 1)
    return make_splits(survey.stars, training.rows, max(config.tune.inner_folds, 3), config=folds).splits


def _choose(training, splits, config, quiet):
    """Penalty and zero point by their rules; what cross-validation found, if it was asked (dict), else None."""
    settings, tune = config.fit, config.tune
    if settings.penalty_rule not in PENALTY_RULES:
        raise BadInputError(f"penalty rule {settings.penalty_rule!r}: expected one of {', '.join(PENALTY_RULES)}")
    zero_point = settings.zero_point if settings.zero_point_rule in _ONE_NUMBER else 0.0
    if AUTO not in (settings.penalty_rule, settings.zero_point_rule):
        return settings.penalty, zero_point, None
    found = cross_validate(
        training,
        splits,
        tune.penalties if settings.penalty_rule == AUTO else (settings.penalty,),
        tune.zero_points if settings.zero_point_rule == AUTO else (zero_point,),
        tune.score,
        tune.choice,
        quiet=quiet,
    )
    grid = [{"penalty": p, "zero_point": z, "score": mean} for (p, z), mean in found.means.items()]
    noted = {"summary": found.summary, "grid": grid, "notes": list(found.notes), "inner_folds": found.n_splits}
    return found.penalty, found.zero_point, noted


def _fit_with_zero_point(training, penalty, first, metadata):
    """Coefficients and zero point together; the distance modulus is exact then, or they do each other's work."""
    found = fit_zero_point(
        training.features,
        training.parallax,
        training.fit_error,
        penalty,
        penalized=training.layout.penalized,
        rows=training.rows,
        first=first,
        tolerance=training.options["tolerance"],
        threads=training.threads,
        layout=training.layout,
        metadata=metadata,
    )
    sigma = float(found.covariance[0, 0]) ** 0.5
    summary = f"zero point {found.model.zero_point:.4f} +- {sigma:.4f} mas fitted with the coefficients"
    tuning = found.model.metadata.get("tuning")
    summary = summary if tuning is None else f"{tuning['summary']}; {summary}"
    return replace(found.model, metadata={**found.model.metadata, "tuning": {**(tuning or {}), "summary": summary}})


def _reweighted(training, pilot, held_out):
    """The same stars with the intrinsic scatter in their weights; the model's value, not the measured one, sets it."""
    error = training.gaia_error.copy()
    predicted = np.exp(held_out[0])
    error[training.rows] = np.hypot(error[training.rows], pilot["intrinsic_scatter"] * predicted)
    return training.with_fit_error(error)
