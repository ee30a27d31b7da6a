"""Header cards of the tables that training and catalogs write: key, comment and value of each, once."""

import json
from collections.abc import Callable, Mapping
from typing import NamedTuple

from spfast import __version__
from spfast.config import Config
from spfast.data.gaia_release import RELEASE_CARD, survey_release
from spfast.data.survey import Survey
from spfast.model.fitted_model import FittedModel

__all__ = ["SURVEY_COMMENTS", "fitted_zero_point", "model_cards", "model_comments", "survey_cards"]


def fitted_zero_point(model: FittedModel) -> str:
    """A fitted zero point's covariates, units, pivots, offsets [mas] and covariance as JSON, else "none"."""
    fitted = model.fitted_zero_point
    if fitted is None:
        return "none"
    names = ("covariates", "units", "pivots", "offsets", "covariance")
    return json.dumps({name: getattr(fitted, name) for name in names})


class _SurveyCard(NamedTuple):
    comment: str
    value: Callable[[str, Survey, Config], object]


class _ModelCard(NamedTuple):
    """One card on a model: in a catalog ``key_A`` and ``key_B``, in a table of one model's predictions ``alone``."""

    comment: str  # of {}: "model A", or "model"
    value: Callable[[FittedModel], object]
    alone: str = ""


def _why_zero_point(model):
    reason = model.provenance.zero_point_reason
    return "unknown" if reason is None else reason


_SURVEY_CARDS = {
    "PRODUCT": _SurveyCard("what this table is", lambda product, survey, config: product),
    "SPFVERS": _SurveyCard("version of spfast", lambda product, survey, config: __version__),
    "SURVHASH": _SurveyCard(
        "survey: SHA-256 of its arrays and stars", lambda product, survey, config: survey.survey_hash
    ),
    RELEASE_CARD: _SurveyCard(
        "release of the Gaia parallaxes", lambda product, survey, config: survey_release(survey).name or "unknown"
    ),
    "CONFIG": _SurveyCard(
        "configuration of fit, folds, tuning (JSON)",
        lambda product, survey, config: json.dumps(config.after_survey()),
    ),
    "SURVCONF": _SurveyCard(
        "configuration of the survey (JSON)", lambda product, survey, config: json.dumps(survey.config)
    ),
}

_MODEL_CARDS = {
    "NTRAIN": _ModelCard("training stars of {}", lambda model: int(model.n_stars)),
    "PENALT": _ModelCard("L1 penalty of {}", lambda model: float(model.penalty), "PENALTY"),
    "ZEROPT": _ModelCard("[mas] added to all Gaia parallaxes for {}", lambda model: float(model.zero_point), "ZEROPT"),
    "ZPRULE": _ModelCard("zero point rule of {}", lambda model: model.zero_point_rule, "ZPRULE"),
    "ZPWHY": _ModelCard("why this zero point, {}", _why_zero_point, "ZPWHY"),
    "ZPFIT": _ModelCard("fitted zero point of {}, mas (JSON)", fitted_zero_point, "ZPFIT"),
    "NNONZ": _ModelCard("coefficients of {} that are not zero", lambda model: int(model.n_nonzero)),
    "OBJECT": _ModelCard("objective of {} at its solution", lambda model: float(model.result.objective)),
    "KKTVIO": _ModelCard("KKT violation of {} (as the penalty)", lambda model: float(model.result.kkt_violation)),
    "CONVRG": _ModelCard("whether {} reached its tolerance", lambda model: bool(model.result.converged), "CONVRG"),
}

#: Only where the model has an error budget.
_BUDGET_CARDS = {
    "SCATTR": _ModelCard(
        "intrinsic scatter s of ln parallax, {}", lambda model: float(model.budget.intrinsic_scatter), "SCATTR"
    ),
    "SCATGR": _ModelCard("share of s^2 that grows outward, {}", lambda model: float(model.budget.growth), "SCATGR"),
    "SCATWK": _ModelCard(
        "share of s^2 from weak lines, {}", lambda model: float(model.budget.weak_line_growth), "SCATWK"
    ),
    "INFLAT": _ModelCard(
        "factor k on Gaia's errors, from {}", lambda model: float(model.budget.gaia_inflation), "INFLAT"
    ),
    "FEATIN": _ModelCard(
        "factor on errors from features, {}", lambda model: float(model.budget.feature_inflation), "FEATIN"
    ),
    "NHELD": _ModelCard("stars held out to measure them, {}", lambda model: int(model.budget.n_held_out)),
}

#: Only where the zero point is not a number that was given.
_ZERO_POINT_CARDS = {
    "ZPERR": _ModelCard(
        "[mas] error of the zero point, {}", lambda model: float(model.budget.zero_point_error), "ZPERR"
    ),
}

_TUNED_CARDS = {
    "TUNED": _ModelCard(
        "how {}'s numbers were chosen", lambda model: "given" if model.tuned is None else model.tuned.summary
    ),
}

#: Only where the likelihood is robust.
_ROBUST_CARDS = {
    "ROBSHR": _ModelCard("share of outliers, {}", lambda model: model.robust.outlier_share),
    "ROBWID": _ModelCard("their width in units of the others', {}", lambda model: model.robust.outlier_width),
    "ROBSCA": _ModelCard("scatter of ln parallax in training, {}", lambda model: model.robust.intrinsic_scatter),
    "ROBOUT": _ModelCard("training stars more likely out than in, {}", lambda model: model.robust.n_outliers),
    "ROBRND": _ModelCard("rounds of the robust likelihood, {}", lambda model: model.robust.n_rounds),
}
_ALL_CARDS = _MODEL_CARDS | _BUDGET_CARDS | _ZERO_POINT_CARDS | _TUNED_CARDS | _ROBUST_CARDS

#: Comments of the cards of `survey_cards`.
SURVEY_COMMENTS = {key: card.comment for key, card in _SURVEY_CARDS.items()}


def survey_cards(product: str, survey: Survey, config: Config) -> dict:
    """What a table is, and the versions, survey and configuration that it was made with.

    Neither a date nor a duration: the same input gives the same bytes.
    """
    return {key: card.value(product, survey, config) for key, card in _SURVEY_CARDS.items()}


def model_cards(model: FittedModel, fold: str | None = None) -> dict:
    """The cards on a model: all of them for the model of a catalog's fold, those of a prediction without one."""
    cards = _MODEL_CARDS | (_BUDGET_CARDS if model.budget is not None else {}) | _TUNED_CARDS
    if model.budget is not None and model.budget.zero_point_error is not None:
        cards |= _ZERO_POINT_CARDS
    cards |= _ROBUST_CARDS if model.robust is not None else {}
    return {key: card.value(model) for key, card in _keys(cards, fold).items()}


def model_comments(fold: str | None = None) -> Mapping[str, str]:
    """The comments of `model_cards`."""
    if fold is None:
        return {key: card.comment.format("model").removesuffix(", model") for key, card in _keys(_ALL_CARDS).items()}
    return {key: card.comment.format(f"model {fold}") for key, card in _keys(_ALL_CARDS, fold).items()}


def _keys(cards, fold=None):
    if fold is None:
        return {card.alone: card for card in cards.values() if card.alone}
    return {f"{key}_{fold}": card for key, card in cards.items()}
