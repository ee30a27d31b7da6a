"""The catalog: each star's spectrophotometric parallax by the model of the other fold, which never saw the star."""

import os
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from astropy.table import Table

from spfast.blas import one_blas_thread
from spfast.catalog.columns import (
    COLUMNS,
    TABLE_COMMENTS,
    build_table,
    flag_cards,
    pack_flags,
    position_cards,
    star_values,
    survey_id,
)
from spfast.catalog.compatibility import check_model
from spfast.catalog.flags import star_flags
from spfast.catalog.labels import EXTRA_COLUMNS, EXTRA_COMMENTS, check_extra_columns, extra_cards, extra_values
from spfast.catalog.predict import predict_stars
from spfast.config import Config, resolve_config
from spfast.data.gaia_release import RELEASE_CARD
from spfast.data.survey import Survey, as_survey
from spfast.data.write_survey import package_versions
from spfast.errors import BadInputError
from spfast.model.fitted_model import FittedModel, as_model
from spfast.reads.cluster import on_cluster
from spfast.selection.folds import FOLDS, fold_labels
from spfast.selection.star_keys import seen_in_training
from spfast.training.fold import FoldTraining, fit_folds
from spfast.training.header import SURVEY_COMMENTS, model_cards, model_comments, survey_cards

__all__ = ["HEADER_COMMENTS", "make_catalog"]

#: The fold whose model predicts a fold's stars.
_PREDICTED_BY = {"A": "B", "B": "A"}

#: Comments of the header's cards; model A is the one trained on fold A, which predicts the stars of fold B.
HEADER_COMMENTS = {
    "PRODUCT": SURVEY_COMMENTS["PRODUCT"],
    "SPFVERS": SURVEY_COMMENTS["SPFVERS"],
    "PACKAGES": "versions below it",
    "SURVHASH": SURVEY_COMMENTS["SURVHASH"],
    "FOLDRULE": "how stars are split into A and B",
    "ERRCOL": "column of the error in logarithms and distances",
    RELEASE_CARD: SURVEY_COMMENTS[RELEASE_CARD],
    "CONFIG": SURVEY_COMMENTS["CONFIG"],
    "SURVCONF": SURVEY_COMMENTS["SURVCONF"],
    **TABLE_COMMENTS,
    **EXTRA_COMMENTS,
    **model_comments("A"),
    **model_comments("B"),
}


@one_blas_thread()
def make_catalog(
    survey: Survey | str | os.PathLike,
    penalty: float | str | None = None,
    *,
    zero_point: float | str | None = None,
    config: Config | None = None,
    threads: int | None = None,
    models: dict[str, FittedModel] | None = None,
    cluster: Any = None,
    extra_columns: Collection[str] = (),
) -> Table:
    """Fit one model to each fold's training stars and predict every star by the model that never saw it.

    Parameters
    ----------
    survey : Survey or path-like
        Features, their errors, and the stars with their Gaia parallaxes.
    penalty, zero_point : float or str, optional
        Instead of the configuration's; ``zero_point`` [mas] is added to every Gaia parallax, or is a rule's name:
        "lindegren2021" takes Gaia DR3's zero point of each star. "auto", for either: chosen for each model by inner
        folds of its own training stars, so that no star's parallax has a say in its own prediction.
    config : Config, optional
        Its ``fit``, ``folds`` and ``tune`` sections are used.
    threads : int, optional
        All processors by default.
    models : dict of FittedModel or path-like, optional
        What `fit_folds` returned for this survey and configuration, if it was called already, or its files.
    cluster : optional
        Whose workers read the features, as for `spfast.on_cluster`.
    extra_columns : collection of str, optional
        "labels": magnitudes, colour and stellar labels of the survey, Galactocentric x, y, z with percentiles.
        "healpix": ``_healpix_29`` (extra ``healpix``).

    Returns
    -------
    astropy Table
        One row per star in the survey's order, columns as in `spfast.catalog.columns`; ``meta`` says how it was made.

    Raises
    ------
    BadInputError
        If a fold has no training star, or a model saw stars that it would predict.
    """
    check_extra_columns(extra_columns)
    survey, config = as_survey(survey), resolve_config(config, penalty, zero_point)
    folds = fold_labels(survey.stars, config.folds)
    if models is not None:
        models = _given(models, survey, folds.labels)
    with on_cluster(cluster, survey.path.parent, threads):
        models = fit_folds(survey, config, threads) if models is None else models
        models = {fold: models[fold].for_layout(survey.layout) for fold in FOLDS}
        for fold, model in models.items():
            if model.budget is None:  # of an older version
                models[fold] = FoldTraining(survey, config, fold, threads).with_error_budget(model)
        values, flags = _predict_other_fold(models, survey, folds.labels, threads)
    flags |= star_flags(survey)
    survey.check_length()
    values |= {
        **star_values(survey.stars),
        "training_set": np.asarray(survey.stars["training_set"]),
        "sample": folds.labels,
        "flags": pack_flags(flags, survey.n_stars),
    }
    values |= extra_values(extra_columns, survey.stars, values, config.galaxy)
    cards = _header(survey, config, folds, models, extra_cards(extra_columns, config.galaxy)) | flag_cards(flags)
    return build_table(values, cards, survey_id(survey), COLUMNS | EXTRA_COLUMNS)


def _given(models, survey, labels):
    """A caller's models (dict), refused where one saw a star that it would predict."""
    if not isinstance(models, Mapping) or not set(FOLDS) <= set(models):
        raise BadInputError(f"models: got {str(models)[:60]}, expected one of each fold, {{'A': ..., 'B': ...}}")
    models = {fold: as_model(models[fold]) for fold in FOLDS}
    for fold, other in _PREDICTED_BY.items():
        check_model(models[other], survey)
        seen_by = models[other].provenance.training_stars
        stars = survey.stars[labels == fold]
        n_seen = 0 if seen_by is None else int(seen_in_training(seen_by, stars).sum())
        if n_seen:
            raise BadInputError(
                f"models[{other!r}]: saw {n_seen:,} of the {len(stars):,} stars of fold {fold} that it would predict; "
                "give the models of `spfast.fit_folds` for this survey and the same [folds], each under its own fold"
            )
    return models


def _predict_other_fold(models, survey, labels, threads):
    """Values and flags of every star by the model of the other fold; only flags that both models can tell."""
    values, flags = {}, {}
    parts = {
        fold: predict_stars(models[other], survey, labels == fold, threads) for fold, other in _PREDICTED_BY.items()
    }
    for whole, some in ((values, [part[0] for part in parts.values()]), (flags, [part[1] for part in parts.values()])):
        for name in set.intersection(*map(set, some)):
            whole[name] = np.empty(survey.n_stars, dtype=some[0][name].dtype)
            for fold, part in zip(parts, some, strict=True):
                whole[name][labels == fold] = part[name]
    return values, flags


def _header(survey, config, folds, models, extra):
    packages = ", ".join(f"{name} {version}" for name, version in package_versions().items() if name != "spfast")
    cards = survey_cards("spfast catalog", survey, config)
    cards |= position_cards(survey.stars, of_arrays="made_of_arrays" in survey.info) | extra
    cards |= {"PACKAGES": packages, "FOLDRULE": folds.rule, "ERRCOL": "spec_parallax_err_total"}
    for fold, model in models.items():
        cards |= model_cards(model, fold)
    return {key: cards[key] for key in HEADER_COMMENTS if key in cards}
