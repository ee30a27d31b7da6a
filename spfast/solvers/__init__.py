"""Minimisers of the L1-penalised objective."""

from spfast.solvers.base import Solver
from spfast.solvers.owlqn import OWLQN
from spfast.solvers.prox_newton import ProxNewton

__all__ = ["OWLQN", "SOLVERS", "ProxNewton", "Solver"]

#: Solvers by name, the default first.
SOLVERS: dict[str, type[Solver]] = {solver.name: solver for solver in (ProxNewton, OWLQN)}
