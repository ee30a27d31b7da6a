"""What one model says of a survey's stars: half of a catalog, or predictions that are a table of their own."""

import os
import warnings
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from astropy.table import Column, Table

from spfast.archive.releases import GAIA
from spfast.catalog.columns import (
    COLUMNS,
    OUTLIER_SIGMA,
    TABLE_COMMENTS,
    build_table,
    flag_cards,
    pack_flags,
    position_cards,
    prediction_values,
    star_values,
    survey_id,
)
from spfast.catalog.compatibility import check_model
from spfast.catalog.flags import star_flags
from spfast.catalog.labels import EXTRA_COLUMNS, EXTRA_COMMENTS, check_extra_columns, extra_cards, extra_values
from spfast.config import CONSTANT, FITTED, LINDEGREN, Config, GalaxyConfig
from spfast.data.gaia_release import RELEASE_CARD
from spfast.data.survey import Survey, as_survey
from spfast.data.tables.values import float_column
from spfast.data.zero_point import added_to_parallax
from spfast.errors import BadInputError, SpfastWarning
from spfast.model.arrays import resolve_rows
from spfast.model.fitted_model import FittedModel, as_model
from spfast.model.predict import StarPredictions
from spfast.reads.cluster import on_cluster
from spfast.selection.star_keys import seen_in_training
from spfast.training.header import SURVEY_COMMENTS, model_cards, model_comments, survey_cards
from spfast.training.inputs import model_inputs

__all__ = [
    "HEADER_COMMENTS",
    "FromFeatures",
    "compare_with_gaia",
    "joined_features",
    "predict_features",
    "predict_stars",
    "predict_survey",
    "prediction_table",
    "warn_of_lacks",
    "with_zero_point_for",
]

#: Stars of a survey that are predicted together: 240 MB of pixels.
_BLOCK = 8192
#: Columns that are finite but for stars that no model can know anything of.
_ALWAYS_KNOWN = (
    *("spec_parallax", "spec_parallax_err", "spec_parallax_err_total"),
    *("distance", "distance_16", "distance_84"),
)


class FromFeatures(NamedTuple):
    """What a model says of stars by their features alone.

    Attributes
    ----------
    predicted : StarPredictions
    misfit : float32 array, shape (n_rows,), or None
        Their distance from the low-rank model of spectra; None without one.
    """

    predicted: StarPredictions
    misfit: np.ndarray | None


def predict_features(
    model: FittedModel, survey: Survey, rows: np.ndarray | None = None, threads: int | None = None
) -> FromFeatures:
    """Predict stars with one model from their features.

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
    FromFeatures
    """
    rows = resolve_rows(rows, survey.n_stars)
    order = np.argsort(rows, kind="stable")
    # Some stars after the other: what is read of them serves all that is asked of them.
    bounds = np.arange(0, survey.n_stars + _BLOCK, _BLOCK)
    parts = np.split(order, np.searchsorted(rows, bounds[1:-1], sorter=order))
    blocks = zip(parts, bounds, strict=False)
    found = [_predict_block(model, survey, begin, rows[part] - begin, threads) for part, begin in blocks if part.size]
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    return joined_features(found, place)


def _predict_block(model, survey, begin, rows, threads):
    """Predict some of the stars of a block that begins there."""
    inputs = model_inputs(survey, model, threads, slice(begin, begin + _BLOCK))
    misfit = None if model.low_rank is None else inputs.errors.coordinates.misfit[rows]
    return FromFeatures(model.predict_stars(inputs.features, inputs.errors, rows, threads), misfit)


def joined_features(found: Sequence[FromFeatures], order: np.ndarray) -> FromFeatures:
    """What was found of stars, a block at a time, as one, in another order (int array)."""

    def joined(parts):
        return None if parts[0] is None else np.concatenate(parts)[order]

    predicted = zip(*(one.predicted for one in found), strict=True)
    return FromFeatures(StarPredictions(*map(joined, predicted)), joined([one.misfit for one in found]))


def predict_stars(
    model: FittedModel, survey: Survey, rows: np.ndarray | None = None, threads: int | None = None
) -> tuple[dict, dict]:
    """Predict stars with one model, compare with Gaia, and mark those that it should not be trusted on.

    Parameters
    ----------
    model, survey, rows, threads
        As in `predict_features`.

    Returns
    -------
    values : dict of arrays, shape (n_rows,)
        Under the names of the catalog's columns; without total and combined errors if the model has no error budget.
    flags : dict of bool arrays, shape (n_rows,)
        Those of `spfast.catalog.columns.FLAGS` that depend on the model, as far as it can tell them.
    """
    return compare_with_gaia(model, survey.stars, predict_features(model, survey, rows, threads), rows)


@np.errstate(over="ignore", invalid="ignore")
def compare_with_gaia(
    model: FittedModel, stars: Table, found: FromFeatures, rows: np.ndarray | None = None
) -> tuple[dict, dict]:
    """Values and flags of stars from what their features say and from their Gaia parallaxes, as `predict_stars`.

    Parameters
    ----------
    model : FittedModel
    stars : astropy Table
        All of them: the zero point of a star may depend on the others.
    found : FromFeatures
    rows : bool mask or int array, optional
        Which of the stars ``found`` is of; all by default.
    """
    rows = np.arange(len(stars)) if rows is None else rows
    predicted, misfit = found
    total = predicted.total_ln_error
    values = prediction_values(predicted.ln_parallax - predicted.ln_offset, predicted.ln_error, total)
    if total is not None:
        values["ln_offset"] = predicted.ln_offset
    added, out_of_range = added_to_parallax(stars, model.zero_point_rule, model.zero_point, model.fitted_zero_point)
    gaia = (float_column(stars, "parallax") + added)[rows]
    gaia_error = float_column(stars, "parallax_error")[rows]
    missing = ~(np.isfinite(gaia) & (gaia_error > 0))
    gaia[missing] = gaia_error[missing] = np.nan
    values |= {"Gaia_parallax": gaia, "Gaia_parallax_err": gaia_error, "Gaia_zero_point": added[rows]}
    flags = {"no_gaia_parallax": missing, "not_converged": np.full(missing.size, not model.result.converged)}
    if total is not None:
        spec, error, inflated = (
            values["spec_parallax"],
            values["spec_parallax_err_total"],
            model.budget.gaia_inflation * gaia_error,
        )
        flags["parallax_outlier"] = np.abs(spec - gaia) > OUTLIER_SIGMA * np.hypot(error, inflated)
        combined = _combine(spec, error, gaia, inflated)
        if model.robust is not None:
            mixture = model.robust.mixture
            variance = error**2 + inflated**2
            probability = mixture.outlier_probability(gaia - spec, variance)
            values["outlier_probability"] = probability
            wrong = _combine(spec, error, gaia, np.sqrt(mixture.outlier_width**2 * variance - error**2))
            combined = _average(combined, wrong, np.nan_to_num(probability))
        values["combined_parallax"], values["combined_parallax_err"] = combined
    outside = predicted.outside
    # Flagged, not warned of: nobody could tell which stars a warning means.
    overflown = ~np.all([np.isfinite(values[name]) for name in _ALWAYS_KNOWN if name in values], axis=0)
    if outside is not None or overflown.any():
        flags["extrapolation"] = overflown if outside is None else outside | overflown
    if model.extent is not None and model.extent.misfit_limit is not None:
        flags["strange_spectrum"] = ~(misfit <= model.extent.misfit_limit)
    if out_of_range is not None:
        flags["zero_point_out_of_range"] = out_of_range[rows]
    return values, flags


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


#: Comments of the header's cards.
HEADER_COMMENTS = {
    **{key: SURVEY_COMMENTS[key] for key in ("PRODUCT", "SPFVERS", "SURVHASH", RELEASE_CARD)},
    **{role.upper(): f"SHA-256 of the table {role}" for role in ("allstar", "gaia", "wise")},
    "MODHASH": "SHA-256 in the model's file",
    "MODSURV": "survey that the model was trained on",
    "MODFOLD": "fold that the model was trained on",
    **TABLE_COMMENTS,
    **EXTRA_COMMENTS,
    **model_comments(),
    "ERRCOL": "column of the error in logarithms and distances",
}

#: Columns that come from Gaia's parallax: of stars that the model may have seen.
_FROM_GAIA = (
    *("Gaia_parallax", "Gaia_parallax_err", "Gaia_zero_point"),
    *("combined_parallax", "combined_parallax_err", "outlier_probability"),
)


def predict_survey(
    model: FittedModel | str | os.PathLike,
    survey: Survey | str | os.PathLike,
    threads: int | None = None,
    cluster: Any = None,
    *,
    extra_columns: Collection[str] = (),
    galaxy: GalaxyConfig | None = None,
) -> Table:
    """Predict every star of a survey with one model.

    Parameters
    ----------
    model : FittedModel or path-like
    survey : Survey or path-like
        The one that the model was trained on or another with the pixels that it uses.
    threads : int, optional
        All processors by default.
    cluster : optional
        Whose workers read the features, as for `spfast.on_cluster`.
    extra_columns : collection of str, optional
        As for `spfast.make_catalog`.
    galaxy : GalaxyConfig, optional
        Where the Sun is, for "labels".

    Returns
    -------
    astropy Table
        One row per star, in the survey's order, errors and flags as in the catalog of `make_catalog`; ``flags`` marks
        the stars that the model was trained on, whose prediction is not independent of their Gaia parallax.

    Raises
    ------
    BadInputError
        If the survey lacks a pixel or magnitude that the model uses.

    Warns
    -----
    SpfastWarning
        If the model does not say which stars it was trained on, or has no error budget: files of older versions; or as
        `with_zero_point_for`.
    """
    check_extra_columns(extra_columns)
    model, survey = as_model(model), as_survey(survey)
    check_model(model, survey)
    warn_of_lacks(model)
    model = model.for_layout(survey.layout)
    survey.check_values(threads)
    with on_cluster(cluster, survey.path.parent, threads):
        values, flags = predict_stars(with_zero_point_for(model, survey.stars), survey, threads=threads)
    flags |= star_flags(survey)
    survey.check_length()
    cards = survey_cards("spfast predictions", survey, Config())
    cards |= position_cards(survey.stars, of_arrays="made_of_arrays" in survey.info)
    extra = extra_columns, GalaxyConfig() if galaxy is None else galaxy
    return prediction_table(model, survey.stars, values, flags, cards, extra, survey_id(survey))


def with_zero_point_for(model: FittedModel, stars: Table) -> FittedModel:
    """The model, with one zero point for all of the stars if its own rule asks for what they or the machine lack.

    Only the comparison with Gaia depends on it: a star needs no parallax to be predicted.

    Warns
    -----
    SpfastWarning
        If so, and some star has a parallax.
    """
    fitted, rule = model.fitted_zero_point, model.zero_point_rule
    if rule not in (LINDEGREN, FITTED):
        return model
    try:
        added_to_parallax(stars, rule, model.zero_point, fitted)
    except BadInputError as error:
        value = GAIA["dr3"].zero_point.value if rule == LINDEGREN else fitted.offsets[0]
        if np.isfinite(float_column(stars, "parallax")).any():
            message = f"compared with Gaia by a zero point of {value:g} mas for all stars, not star by star: {error}"
            warnings.warn(message, SpfastWarning, stacklevel=3)
        return replace(model, zero_point_rule=CONSTANT, zero_point=value)
    return model


def warn_of_lacks(model: FittedModel) -> None:
    """Warn of a model that cannot tell total errors, or which stars it was trained on.

    Warns
    -----
    SpfastWarning
    """
    if model.budget is None:
        message = "the model is of an older version without error budget: no total errors; fit it again for them"
        warnings.warn(message, SpfastWarning, stacklevel=3)
    if model.provenance.training_stars is None:
        message = "the model does not say which stars it was trained on; no star is flagged as seen"
        warnings.warn(message, SpfastWarning, stacklevel=3)


def prediction_table(
    model: FittedModel,
    stars: Table,
    values: dict,
    flags: dict,
    cards: dict,
    extra: tuple[Collection[str], GalaxyConfig],
    own_id: Column | None = None,
) -> Table:
    """Lay out predictions by one model, without what depends on Gaia's parallaxes.

    Parameters
    ----------
    model : FittedModel
    stars : astropy Table
    values, flags : dict of arrays, shape (n_stars,)
        As `predict_stars` returns them, with the flags of the stars' observations.
    cards : dict
        Of the header, on what the stars are from; among `HEADER_COMMENTS`.
    extra : tuple
        What else is asked for, as for `spfast.catalog.labels.extra_values`, and where the Sun is.
    own_id : astropy Column, optional
        From `survey_id`.

    Returns
    -------
    astropy Table
    """
    origin = model.provenance
    if origin.training_stars is not None:
        flags = flags | {"seen_in_training": seen_in_training(origin.training_stars, stars)}
    values = {name: value for name, value in values.items() if name not in _FROM_GAIA}
    values |= {**star_values(stars), "flags": pack_flags(flags, len(stars))}
    values |= extra_values(extra[0], stars, values, extra[1])
    cards = cards | extra_cards(*extra) | model_cards(model)
    cards |= {"MODSURV": origin.survey_hash or "", "MODFOLD": origin.fold or "", "MODHASH": model.file_hash or ""}
    cards["ERRCOL"] = "spec_parallax_err" if model.budget is None else "spec_parallax_err_total"
    header = {key: cards[key] for key in HEADER_COMMENTS if key in cards}
    return build_table(values, {**header, **flag_cards(flags)}, own_id, COLUMNS | EXTRA_COLUMNS)
