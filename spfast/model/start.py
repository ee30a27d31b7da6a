"""Where a fit begins: the unpenalised columns alone, or the paper's own start."""

import math
from dataclasses import replace

import numpy as np

from spfast.errors import BadInputError
from spfast.reads.reader import read_values
from spfast.solvers.base import SolverResult, StartError
from spfast.solvers.damped_newton import damped_newton

__all__ = ["MANY_STARS", "paper_start", "photometric_start", "sample_fit"]

#: A fit to more stars than this, with no fewer columns than that, begins where a fit to a tenth of them ends.
MANY_STARS, _MANY_COLUMNS, _TENTH = 20_000, 100, 10
#: That fit only has to be near: its tolerance.
_NEAR = 0.1

#: Parallax signal-to-noise above which a logarithm is harmless.
_LOG_SIGNAL = 5.0
#: The paper's start: 0.001 / D for every coefficient.
_PAPER_START = 1e-3


def paper_start(n_features):
    """Return the start of Hogg, Eilers & Rix (2019): 0.001 / D everywhere (float64, shape (n_features,))."""
    return np.full(n_features, _PAPER_START / n_features)


def photometric_start(objective):
    """Fit the unpenalised columns alone: weighted log-linear on bright stars, then damped Newton on chi-squared.

    Parameters
    ----------
    objective : spfast.model.objective.Objective

    Returns
    -------
    coef : float64 array, shape (n_features,)
        Zero on the penalised columns.

    Raises
    ------
    BadInputError
        If no positive prediction fits the parallaxes better than none at all, or if the columns cannot be fitted.
    """
    coef = np.zeros(objective.n_features)
    free = np.flatnonzero(objective.penalties == 0.0)
    if free.size == 0:
        return coef
    columns = read_values(objective.design, objective.rows, free).astype(np.float64)
    objective.meet_condition(coef)
    moves = objective.moves if free.size == objective.wide.size else np.eye(free.size)
    offset = columns @ coef[free]
    try:
        part = damped_newton(columns @ moves, objective, _log_linear(columns @ moves, objective, offset), offset)
    except np.linalg.LinAlgError as error:
        raise BadInputError(
            f"features: the {free.size} unpenalised columns cannot be fitted ({error}); are they on like scales?"
        ) from None
    if objective.has_underflowed(columns @ (moves @ part) + offset):
        total = objective.ivar.sum()
        mean = float(objective.ivar @ objective.parallax / total) if total > 0 else 0.0
        raise BadInputError(
            f"the best prediction for these {objective.n_rows} stars is zero: their inverse-variance mean parallax is "
            f"{mean:.4g} mas, expected positive; check its sign, the zero point and the errors"
        )
    coef[free] += moves @ part
    return coef


def _log_linear(columns, objective, offset):
    parallax, ivar = objective.parallax, objective.ivar
    signal = parallax * np.sqrt(ivar)
    bright = signal > _LOG_SIGNAL
    if bright.sum() >= 2 * columns.shape[1]:
        weight, target = signal[bright, None], np.log(parallax[bright]) - offset[bright]
        return np.linalg.lstsq(weight * columns[bright], weight[:, 0] * target, rcond=1e-10)[0]
    # Too few: the same prediction for all, as far as the columns can make one.
    total = ivar.sum()
    mean = float(ivar @ parallax) / total if total > 0 else 0.0
    level = max(mean, 1.0 / np.sqrt(total)) if total > 0 else 1.0
    return np.linalg.lstsq(columns, np.log(level) - offset, rcond=1e-10)[0]


def sample_fit(objective, solver) -> SolverResult | None:
    """Fit a tenth of many stars; that of a fit to a tenth of these if they still are many.

    The penalty on them is the square root of a tenth of that on all. With a tenth of it, the same for each star, noise
    would bring in columns that the fit to all stars does not have: the gradient of noise grows as the root of the
    number of stars.

    Parameters
    ----------
    objective : spfast.model.objective.Objective
    solver : spfast.solvers.base.Solver

    Returns
    -------
    SolverResult or None
        Its ``n_passes`` are reads of all the objective's rows. None if the stars are not many, if nothing is penalised,
        or if the tenth cannot be fitted.
    """
    penalty = objective.penalties.max(initial=0.0)
    if objective.n_rows <= MANY_STARS or objective.n_features < _MANY_COLUMNS or penalty == 0.0:
        return None
    mask = np.arange(objective.n_rows) % _TENTH == _TENTH // 2
    share = mask.sum() / objective.n_rows
    part = objective.subset(mask).with_penalties(np.sqrt(share) * objective.penalties)
    first = sample_fit(part, solver)
    try:
        coef = photometric_start(part) if first is None else first.coef
        # However few iterations the fit itself may take.
        result = type(solver)(max(solver.tolerance, _NEAR)).minimize(part, coef, np.sqrt(share) * penalty)
    except (BadInputError, StartError, np.linalg.LinAlgError):
        return None
    before = 0 if first is None else first.n_passes
    return replace(result, n_passes=math.ceil(share * (result.n_passes + before)))
