"""A saved model applied to any survey whose pixels it knows, with the stars it was trained on marked."""

import warnings

import numpy as np

from spfast import __version__
from spfast.data.zero_point import CONSTANT
from spfast.errors import SpfastWarning
from spfast.products.columns import build_table, flag_cards, pack_flags, prediction_values, star_values
from spfast.products.compatibility import check_model
from spfast.products.flags import extrapolates, star_flags
from spfast.selection.seen import seen_in_training

__all__ = ["HEADER_COMMENTS", "predict_survey"]

#: Comments of the header's cards.
HEADER_COMMENTS = {
    "PRODUCT": "what this table is",
    "SPFVERS": "version of spfast",
    "SURVHASH": "survey: SHA-256 of its arrays and stars",
    "MODSURV": "survey that the model was trained on",
    "MODFOLD": "fold that the model was trained on",
    "PENALTY": "L1 penalty of the model",
    "ZEROPT": "[mas] added to Gaia parallaxes in training",
    "ZPRULE": "zero point rule in training",
    "CONVERGD": "whether the model reached its tolerance",
}


def predict_survey(model, survey, threads=None):
    """Predict every star of a survey with one model.

    Parameters
    ----------
    model : FittedModel
    survey : Survey
        The one that the model was trained on or another with the pixels that it uses.
    threads : int, optional
        All processors by default.

    Returns
    -------
    astropy Table
        One row per star, in the survey's order; ``flags`` marks the stars that the model was trained on, whose
        prediction is not independent of their Gaia parallax.

    Raises
    ------
    BadInputError
        If the survey lacks a pixel or magnitude that the model uses.

    Warns
    -----
    SpfastWarning
        If the model does not say which stars it was trained on.
    """
    check_model(model, survey)
    model = model.for_layout(survey.layout)
    survey.check_values()
    ln_parallax = model.predict_ln(survey.features, threads=threads)
    ln_error = model.predict_ln_error(survey.feature_errors, threads=threads)
    flags = {"not_converged": np.full(survey.n_stars, not model.result.converged), **star_flags(survey)}
    outside = extrapolates(model, survey.features, threads=threads)
    if outside is not None:
        flags["extrapolation"] = outside
    if "training_stars" in model.metadata:
        flags["seen_in_training"] = seen_in_training(model.metadata["training_stars"], survey.stars)
    else:
        message = "the model does not say which stars it was trained on; no star is flagged as seen"
        warnings.warn(message, SpfastWarning, stacklevel=2)
    values = {
        **star_values(survey.stars),
        **prediction_values(ln_parallax, ln_error),
        "flags": pack_flags(flags, survey.n_stars),
    }
    header = {
        "PRODUCT": "spfast predictions",
        "SPFVERS": __version__,
        "SURVHASH": survey.survey_hash,
        "MODSURV": str(model.metadata.get("survey_hash", "")),
        "MODFOLD": str(model.metadata.get("fold", "")),
        "PENALTY": float(model.penalty),
        "ZEROPT": float(model.zero_point),
        "ZPRULE": str(model.metadata.get("zero_point_rule", CONSTANT)),
        "CONVERGD": bool(model.result.converged),
    }
    return build_table(values, {**header, **flag_cards(flags)})
