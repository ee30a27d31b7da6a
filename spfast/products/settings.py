"""The caller's own penalty and zero point as settings of a configuration: numbers, or the names of rules."""

from astropy import units

from spfast.config import Config
from spfast.data.zero_point import CONSTANT, FITTED, ZERO_POINT_RULES
from spfast.errors import BadInputError

__all__ = ["AUTO", "PENALTY_RULES", "penalty_settings", "resolve_config", "zero_point_settings"]

#: The rule by which a penalty or a zero point is chosen within a model's own training stars.
AUTO = "auto"
PENALTY_RULES = (CONSTANT, AUTO)


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
    >>> from spfast.products.settings import resolve_config
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
    >>> from spfast.products.settings import zero_point_settings
    >>> zero_point_settings("lindegren2021")
    {'zero_point_rule': 'lindegren2021'}
    """
    if isinstance(zero_point, str):
        if zero_point not in (*ZERO_POINT_RULES, AUTO, FITTED):
            known = ", ".join((*ZERO_POINT_RULES, AUTO, FITTED))
            raise BadInputError(f"zero point {zero_point!r}: expected mas, or one of {known}")
        return {"zero_point_rule": zero_point}
    return {"zero_point": float(units.Quantity(zero_point, units.mas).value), "zero_point_rule": CONSTANT}
