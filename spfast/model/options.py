"""How a fit is made: one frozen object that every door takes, its fields accepted by name as well."""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from spfast.config import FitConfig
from spfast.errors import BadInputError
from spfast.model.robust import RobustSettings
from spfast.solvers import SOLVERS, ProxNewton, Solver

__all__ = ["FitOptions"]


@dataclass(frozen=True, eq=False)
class FitOptions:
    """How a fit is made.

    Attributes
    ----------
    solver : Solver or str
        `spfast.ProxNewton` or `spfast.OWLQN` with its own tolerance and limit, or a name: ``"prox-newton"``,
        ``"owlqn"``.
    start : str or float64 array, shape (n_features,)
        ``"photometric"`` (the unpenalised columns alone; with more than 20,000 stars a fit to a tenth of them, which
        begins so), ``"burn-in"`` (the paper's two stages) or coefficients.
    exact_distance_modulus : bool
        Hold the magnitudes' coefficients to a sum of -0.2 ln 10, so that m more in every magnitude of a star multiplies
        its parallax by exactly 10^(-0.2 m); needs a layout.
    robust : bool or RobustSettings
        True: wrong parallaxes in a component of their own (`spfast.model.robust`); its share and width and an intrinsic
        scatter are found with the coefficients and stand in the model's ``robust``. Settings hold some of them fixed.
    threads : int, optional
        All processors by default; the answer does not depend on it.

    Raises
    ------
    BadInputError
        For a solver, a start or a robust likelihood that there is not.

    Examples
    --------
    >>> from spfast.model.options import FitOptions
    >>> FitOptions.of(solver="owlqn", tolerance=1e-4).solver.tolerance
    0.0001
    """

    solver: Solver | str = ProxNewton()
    start: str | np.ndarray = "photometric"
    exact_distance_modulus: bool = False
    robust: bool | RobustSettings | None = None
    threads: int | None = None

    def __post_init__(self):
        starts = FitConfig.choices("start")
        if isinstance(self.start, str) and self.start not in starts:
            raise BadInputError(
                f"start {self.start!r}: expected one of {', '.join(starts)} or an array of coefficients"
            )
        object.__setattr__(self, "robust", RobustSettings.of(self.robust))
        if not isinstance(self.solver, Solver):
            object.__setattr__(self, "solver", _solver(self.solver))

    @classmethod
    def of(cls, options: "FitOptions | None" = None, **named: Any) -> "FitOptions":
        """The options as given, with those that are named changed.

        ``tolerance`` and ``max_iterations`` (None: the solver's own) belong to a solver that is given by name.
        """
        options = cls() if options is None else options
        limits = {name: named.pop(name) for name in ("tolerance", "max_iterations") if name in named}
        unknown = named.keys() - {field.name for field in fields(cls)}
        if unknown:
            names = ", ".join([field.name for field in fields(cls)] + ["tolerance", "max_iterations"])
            raise TypeError(f"no option {', '.join(sorted(unknown))}; expected {names}")
        if limits:
            solver = named.get("solver", options.solver)
            if "solver" in named and not isinstance(solver, str):
                raise BadInputError(
                    f"{' and '.join(limits)}: give them to the solver itself, {type(solver).__name__}(...)"
                )
            named["solver"] = _solver(solver, **limits)
        return replace(options, **named) if named else options


def _solver(solver, **limits):
    """A solver from its name, or one like that given, with other limits."""
    limits = {name: value for name, value in limits.items() if name != "max_iterations" or value}
    if not isinstance(solver, str):
        if not isinstance(solver, Solver):
            raise BadInputError(f"solver {solver!r}: expected a name or one of {', '.join(SOLVERS)}")
        return replace(solver, **limits)
    if solver not in SOLVERS:
        raise BadInputError(f"solver {solver!r}: expected one of {', '.join(SOLVERS)}")
    return SOLVERS[solver](**limits)
