"""A saved model applied to any survey whose pixels it knows, with the stars it was trained on marked."""

import warnings

from spfast import __version__
from spfast.errors import SpfastWarning
from spfast.products.applied import apply_model, fitted_zero_point, zero_point_rule
from spfast.products.columns import build_table, flag_cards, pack_flags, star_values
from spfast.products.compatibility import check_model
from spfast.products.flags import star_flags
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
    "ZPFIT": "zero point fitted in training, mas (JSON)",
    "CONVERGD": "whether the model reached its tolerance",
    "ERRCOL": "column of the error in logarithms and distances",
    "SCATTR": "intrinsic scatter s of ln parallax",
    "SCATGR": "share of s^2 that grows outward",
    "SCATWK": "share of s^2 from weak lines",
    "INFLAT": "factor k on Gaia's errors",
}

#: Columns that come from Gaia's parallax: of stars that the model may have seen.
_FROM_GAIA = (
    *("Gaia_parallax", "Gaia_parallax_err", "Gaia_zero_point"),
    *("combined_parallax", "combined_parallax_err", "outlier_probability"),
)


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
        One row per star, in the survey's order, errors and flags as in the catalog of `make_catalog`; ``flags`` marks
        the stars that the model was trained on, whose prediction is not independent of their Gaia parallax.

    Raises
    ------
    BadInputError
        If the survey lacks a pixel or magnitude that the model uses.

    Warns
    -----
    SpfastWarning
        If the model does not say which stars it was trained on, or has no error budget: files of older versions.
    """
    check_model(model, survey)
    model = model.for_layout(survey.layout)
    survey.check_values()
    values, flags = apply_model(model, survey, threads=threads)
    flags |= star_flags(survey)
    survey.check_length()
    if model.budget is None:
        message = "the model is of an older version without error budget: no total errors; fit it again for them"
        warnings.warn(message, SpfastWarning, stacklevel=2)
    if "training_stars" in model.metadata:
        flags["seen_in_training"] = seen_in_training(model.metadata["training_stars"], survey.stars)
    else:
        message = "the model does not say which stars it was trained on; no star is flagged as seen"
        warnings.warn(message, SpfastWarning, stacklevel=2)
    values = {name: value for name, value in values.items() if name not in _FROM_GAIA}
    values |= {**star_values(survey.stars), "flags": pack_flags(flags, survey.n_stars)}
    header = {
        "PRODUCT": "spfast predictions",
        "SPFVERS": __version__,
        "SURVHASH": survey.survey_hash,
        "MODSURV": str(model.metadata.get("survey_hash", "")),
        "MODFOLD": str(model.metadata.get("fold", "")),
        "PENALTY": float(model.penalty),
        "ZEROPT": float(model.zero_point),
        "ZPRULE": zero_point_rule(model),
        "ZPFIT": fitted_zero_point(model),
        "CONVERGD": bool(model.result.converged),
        "ERRCOL": "spec_parallax_err" if model.budget is None else "spec_parallax_err_total",
    }
    if model.budget is not None:
        budget = model.budget
        header |= {"SCATTR": budget.intrinsic_scatter, "SCATGR": budget.growth, "SCATWK": budget.weak_line_growth}
        header["INFLAT"] = budget.gaia_inflation
    return build_table(values, {**header, **flag_cards(flags)})
