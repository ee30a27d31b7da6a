"""From a survey and a configuration to models: training stars, the choice of penalty and zero point, one fit a fold."""

import warnings
from dataclasses import replace
from functools import partial

import numpy as np

from spfast import __version__
from spfast.blas import one_blas_thread
from spfast.catalog.compatibility import features_origin
from spfast.catalog.flags import position, spectral_unlikeness, with_training_extent
from spfast.config import AUTO, CONSTANT, FITTED, OWN_ZERO_POINT, Config
from spfast.data.tables.values import float_column
from spfast.data.zero_point import added_to_parallax
from spfast.errors import BadInputError, SpfastWarning
from spfast.kernels.team import side_by_side
from spfast.model.robust import RobustSettings
from spfast.selection.folds import FOLDS, fold_labels
from spfast.selection.splits import make_splits
from spfast.selection.star_keys import encode_stars
from spfast.training.coefficient_errors import SplitErrors
from spfast.training.cross_validation import cross_validate
from spfast.training.error_budget import held_out_predictions, measure_errors
from spfast.training.fitted_zero_point import fit_with_zero_point, with_fitted_offsets
from spfast.training.stars import TrainingSet

__all__ = [
    "calm_training",
    "first_zero_point",
    "fit_folds",
    "fit_stars",
    "inner_splits",
    "measure_budget",
    "training_set",
    "used_configs",
    "with_scatter",
]

#: Sections of the configuration that a survey knows nothing of.
_LATER = ("fit", "folds", "tune", "errors", "galaxy")


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
    if settings.zero_point_rule not in OWN_ZERO_POINT:
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
            "exact_distance_modulus": settings.exact_distance_modulus or settings.zero_point_rule == FITTED,
            "threads": threads,
        },
        pixel_correlation=config.errors.pixel_correlation,
    )


@one_blas_thread()
def fit_stars(survey, config=None, fold=None, threads=None, quiet=True):
    """Fit a model to a survey's training set, or to one fold of it.

    Parameters
    ----------
    survey : Survey
    config : Config, optional
        Its ``fit``, ``folds``, ``tune`` and ``errors`` sections are used.
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
        and what "auto" chose: by inner folds of these training stars alone, so that no other star has a say. Its
        budget, what total errors are made of, comes from the same inner folds.

    Raises
    ------
    BadInputError
        For an unknown fold, or if there is no training star.
    """
    config = Config() if config is None else config
    training = training_set(survey, config, fold, threads)
    rule = config.fit.zero_point_rule
    if config.fit.zero_point_covariates and rule != FITTED:
        raise BadInputError(f"zero point covariates {config.fit.zero_point_covariates!r}: only with --zero-point fit")
    metadata = {
        "spfast_version": __version__,
        "survey_hash": survey.survey_hash,
        "fold": fold or "all",
        "fold_rule": fold_labels(survey.stars, config.folds).rule,
        "zero_point_rule": CONSTANT if rule == AUTO else rule,
        **used_configs(survey, config),
        "features_origin": features_origin(survey),
        "training_stars": encode_stars(survey.stars[training.rows]),
    }
    splits = inner_splits(survey, training, config)
    penalty, zero_point, tuning = _choose(training, splits, config, quiet)
    if config.fit.intrinsic_scatter:
        training, metadata["weights"] = with_scatter(training, splits, config, penalty, zero_point)
        penalty, zero_point, tuning = _choose(training, splits, config, quiet)
    if tuning is not None:
        metadata["tuning"] = tuning
    if rule == FITTED:
        calm, noted = calm_training(training, penalty, zero_point, config)
        known = metadata | noted
        model = fit_with_zero_point(survey, calm, splits, config, penalty, zero_point, known, _robust(config))
        training = with_fitted_offsets(survey, training, model)
    else:
        model = training.fit(penalty, zero_point, metadata=metadata, robust=_robust(config))
    training = training.with_weights_of(model)
    weights = model.predict(training.features, training.rows, threads) / training.fit_error[training.rows]
    model = with_training_extent(model, survey.features, training.rows, threads, weights**2)
    budget = _budget(survey, config, training, splits, model)
    survey.check_length()
    return replace(model, budget=budget)


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
    """Measure the error budget of a fold's model anew on its training stars, held out by inner folds.

    For a model without one, such as from an old file: `fit_stars` has measured it.

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
    splits = inner_splits(survey, training, config)
    pilot = model.metadata.get("weights")
    if pilot is not None:
        training, _ = with_scatter(training, splits, config, **pilot)
    if "zero_point_fit" in model.metadata:
        training = with_fitted_offsets(survey, training, model)
    return _budget(survey, config, training.with_weights_of(model), splits, model)


def _budget(survey, config, training, splits, model):
    settings, coefficients = config.errors, None
    if settings.coefficients == "splits":
        others = [inner_splits(survey, training, config, repeat) for repeat in range(1, settings.repeats)]
        coefficients = SplitErrors(model, training, [splits, *others])
    unlikeness = spectral_unlikeness(model, position(model, survey.features, training.rows, training.threads))
    # What depends on the predicted parallax would bend an exact distance modulus.
    subtracted = settings.offset == "subtracted" and not config.fit.exact_distance_modulus
    return measure_errors(model, training, splits, unlikeness, coefficients=coefficients, subtracted=subtracted)


def used_configs(survey, config):
    """The configuration of fit, folds and tuning, and that of the survey when it was built (dict of two)."""
    used = {key: value for key, value in config.to_dict().items() if key in ("preset", *_LATER)}
    built = {key: value for key, value in (survey.info.get("config") or {}).items() if key not in _LATER}
    return {"config": used, "survey_config": built}


def inner_splits(survey, training, config, repeat=0):
    """Folds within a training set, by which "auto", a fitted zero point and the error budget hold stars out."""
    # Always by the hash: inner folds of A and B must not be A and B again.
    folds = replace(config.folds, split="hash", seed=config.folds.seed + 1 + repeat)
    return make_splits(survey.stars, training.rows, max(config.tune.inner_folds, 3), config=folds).splits


def _robust(config):
    """The argument ``robust`` of a fit."""
    settings = config.fit
    return RobustSettings(settings.outlier_share or None, settings.outlier_width or None) if settings.robust else False


def first_zero_point(config):
    """What a fit adds to all parallaxes [mas] before anything is found: 0 where each star has its own already."""
    return config.fit.zero_point if config.fit.zero_point_rule in OWN_ZERO_POINT else 0.0


def calm_training(training, penalty, zero_point, config):
    """The training stars under the weights of a robust fit, if the configuration wants one.

    Parameters
    ----------
    training : TrainingSet
    penalty, zero_point : float [, mas]
        Of that fit.
    config : Config
        Its ``fit`` section is used.

    Returns
    -------
    training : TrainingSet
    noted : dict
        What the fit notes in a model's metadata; empty if it is not robust.
    """
    settings = _robust(config)
    if settings is False:
        return training, {}
    model = training.fit(penalty, zero_point, robust=settings)
    return training.with_weights_of(model), {"robust": model.metadata["robust"]}


def with_scatter(training, splits, config, penalty, zero_point, intrinsic_scatter=None):
    """The training stars with the intrinsic scatter in their weights, as a pilot fit and stars held out tell it.

    Parameters
    ----------
    training : TrainingSet
    splits : sequence of Split
        Folds that hold out every training star once.
    config : Config
        Its ``fit`` section is used.
    penalty, zero_point : float [, mas]
        Of the pilot fit.
    intrinsic_scatter : float, optional
        If it is known; measured on the stars held out by default.

    Returns
    -------
    training : TrainingSet
        Weights ``1 / (error^2 + (s prediction)^2)``, with the prediction of the fit that did not see the star: the
        model's value, never the measured parallax, sets the weight.
    pilot : dict
        The last three arguments, with what was measured: noted in a model's metadata.
    """
    calm, _ = calm_training(training, penalty, zero_point, config)
    model = calm.fit(penalty, zero_point)
    held_out = held_out_predictions(model, calm, splits)
    if intrinsic_scatter is None:
        intrinsic_scatter = measure_errors(model, calm, splits, held_out=held_out).intrinsic_scatter
    error = training.gaia_error.copy()
    error[training.rows] = np.hypot(error[training.rows], intrinsic_scatter * np.exp(held_out.ln_parallax))
    pilot = {"penalty": penalty, "zero_point": zero_point, "intrinsic_scatter": intrinsic_scatter}
    return training.with_fit_error(error), pilot


def _choose(training, splits, config, quiet):
    """Penalty and zero point by their rules; what cross-validation found, if it was asked (dict), else None."""
    settings, tune = config.fit, config.tune
    zero_point = first_zero_point(config)
    if AUTO not in (settings.penalty_rule, settings.zero_point_rule):
        return settings.penalty, zero_point, None
    found = cross_validate(
        calm_training(training, settings.penalty, zero_point, config)[0],
        splits,
        tune.penalties if settings.penalty_rule == AUTO else (settings.penalty,),
        tune.zero_points if settings.zero_point_rule == AUTO else (zero_point,),
        tune.score,
        tune.choice,
        quiet=quiet,
    )
    if found.undecided:
        warnings.warn(found.undecided, SpfastWarning, 2)
    grid = [{"penalty": p, "zero_point": z, "score": mean} for (p, z), mean in found.means.items()]
    noted = {"summary": found.summary, "grid": grid, "notes": list(found.notes), "inner_folds": found.n_splits}
    return found.penalty, found.zero_point, noted
