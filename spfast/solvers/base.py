"""What a solver returns, and how it keeps its history."""

import time
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Recorder", "SolverResult", "StartError", "first_pass"]

#: One row of a history.
HISTORY_DTYPE = np.dtype(
    [
        ("seconds", "f8"),
        ("n_passes", "i8"),
        ("objective", "f8"),
        ("kkt_violation", "f8"),
        ("n_nonzero", "i8"),
        ("n_working", "i8"),
    ]
)


@dataclass(frozen=True)
class SolverResult:
    """The end of a minimisation.

    Attributes
    ----------
    coef : float64 array, shape (n_features,)
        Exact zeros off the support.
    objective : float
        Half chi-squared plus penalty.
    kkt_violation : float
        Largest violation of the optimality conditions, in the units of the gradient (as the penalty).
    tolerance : float
        What it was asked to be.
    converged : bool
        Whether ``kkt_violation <= tolerance``, from a full pass.
    n_iterations, n_passes : int
        Outer iterations, and reads of the training rows.
    seconds : float
        Wall time.
    message : str
        Why it stopped.
    history : structured array
        One row an iteration: seconds, n_passes, objective, kkt_violation, n_nonzero, n_working.
    """

    coef: np.ndarray
    objective: float
    kkt_violation: float
    tolerance: float
    converged: bool
    n_iterations: int
    n_passes: int
    seconds: float
    message: str
    history: np.ndarray = field(repr=False)


class StartError(Exception):
    """A start from which no solver can go on; the message says why."""


def first_pass(objective, coef, eta, gradient):
    """Half chi-squared at a start, its predictor and gradient written as by ``objective.smooth``.

    Raises
    ------
    StartError
        If predictions overflow, or are as good as zero, where the gradient vanishes; or if features are not finite.
    """
    value = objective.smooth(coef, eta, gradient)
    if not np.isfinite(eta).all():
        raise StartError("are not finite")
    if not (np.isfinite(value) and np.isfinite(gradient).all()):
        raise StartError("overflow")
    if objective.has_underflowed(eta):
        raise StartError("underflow to zero, where the gradient vanishes")
    return value


class Recorder:
    """Collects one history row an iteration and makes the result."""

    def __init__(self, objective):
        self._objective = objective
        self._passes_before = objective.n_passes
        self._start = time.perf_counter()
        self._rows = []

    def add(self, value, violation, coef, n_working):
        """Note where the minimisation stands now."""
        self._rows.append(
            (
                time.perf_counter() - self._start,
                self._objective.n_passes - self._passes_before,
                value,
                violation,
                np.count_nonzero(coef),
                n_working,
            )
        )

    def result(self, coef, tolerance, message):
        """Make the result from the last row noted."""
        history = np.array(self._rows, dtype=HISTORY_DTYPE)
        last = history[-1]
        return SolverResult(
            coef=coef,
            objective=float(last["objective"]),
            kkt_violation=float(last["kkt_violation"]),
            tolerance=float(tolerance),
            converged=bool(last["kkt_violation"] <= tolerance),
            n_iterations=len(history),
            n_passes=self._objective.n_passes - self._passes_before,
            seconds=time.perf_counter() - self._start,
            message=message,
            history=history,
        )
