"""What all solvers have in common: options, the result, the history of a minimisation."""

import math
import time
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import ClassVar

import numpy as np

from spfast.errors import BadInputError

__all__ = ["Recorder", "Solver", "SolverResult", "StartError", "first_pass"]

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
class Solver:
    """A minimiser of the penalised objective with its options; each solver is a subclass.

    Parameters
    ----------
    tolerance : float
        On the largest violation of the optimality conditions, in the unit that `minimize` is given (0 to 1).
    max_iterations : int
        At least 1.

    Attributes
    ----------
    name : str
        What ``spfast.fit(solver=...)`` calls it.

    Raises
    ------
    BadInputError
        If an option is outside its range.
    """

    name: ClassVar[str]
    tolerance: float = 1e-3
    max_iterations: int = 100

    def __post_init__(self) -> None:
        tolerance, limit = self.tolerance, self.max_iterations
        is_number = isinstance(tolerance, Real) and not isinstance(tolerance, bool) and math.isfinite(tolerance)
        if not (is_number and 0.0 <= tolerance <= 1.0):
            raise BadInputError(f"{self.name}: tolerance is {tolerance!r}, expected a number between 0 and 1")
        if isinstance(limit, bool) or not isinstance(limit, Integral) or limit < 1:
            raise BadInputError(f"{self.name}: max_iterations is {limit!r}, expected a whole number of at least 1")

    def minimize(self, objective, coef: np.ndarray, unit: float, state=None) -> "SolverResult":
        """Minimise the objective from ``coef``.

        Parameters
        ----------
        objective : spfast.model.objective.Objective
        coef : float64 array, shape (n_features,)
            Start; left as it is.
        unit : float
            The largest violation of the optimality conditions may be ``tolerance * unit``, in the units of the
            gradient: the penalty, as a rule.
        state : object, optional
            From `new_state`, and handed to each of several minimisations on the same data.

        Returns
        -------
        SolverResult

        Raises
        ------
        StartError
            If predictions overflow at the start or are as good as zero, or if features are not finite.
        """
        raise NotImplementedError

    def new_state(self, objective):
        """Return what one minimisation hands to the next on the same data; None if the solver hands on nothing."""
        return None


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
        The largest violation that was asked for, or what rounding alone makes it if that is more.
    converged : bool
        Whether ``kkt_violation <= tolerance``, from a full pass.
    n_iterations, n_passes : int
        Outer iterations, and reads of the training rows.
    seconds : float
        Wall time; 0 for a result from a model file, which keeps no times.
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
    """No solver can go on from this start; the message says why."""


def first_pass(objective, coef: np.ndarray, eta: np.ndarray, gradient: np.ndarray) -> float:
    """Return half chi-squared at a start; write its predictor and gradient as ``objective.smooth`` does.

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

    def _passes(self):
        """Reads so far, parts of one rounded up."""
        return math.ceil(self._objective.n_passes - self._passes_before)

    def add(self, value: float, violation: float, coef: np.ndarray, n_working: int) -> None:
        """Add a row for the current point."""
        self._rows.append(
            (
                time.perf_counter() - self._start,
                self._passes(),
                value,
                violation,
                np.count_nonzero(coef),
                n_working,
            )
        )

    def result(self, coef: np.ndarray, eta: np.ndarray, tolerance: float, message: str) -> SolverResult:
        """Make the result from the last row and the linear predictor there."""
        history = np.array(self._rows, dtype=HISTORY_DTYPE)
        last = history[-1]
        tolerance = max(tolerance, self._objective.rounding(eta))
        return SolverResult(
            coef=coef,
            objective=float(last["objective"]),
            kkt_violation=float(last["kkt_violation"]),
            tolerance=float(tolerance),
            converged=bool(last["kkt_violation"] <= tolerance),
            n_iterations=len(history),
            n_passes=self._passes(),
            seconds=time.perf_counter() - self._start,
            message=message,
            history=history,
        )
