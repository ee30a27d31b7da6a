"""Orthant-wise limited-memory quasi-Newton (Andrew & Gao 2007): the second solver, where a Gram would be too large.

First the unpenalised columns are whitened under the Gauss-Newton weights of the start, and the penalised ones made
orthogonal to them. Each trial point costs one pass; the memory needed is that of the recursion's pairs.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from spfast.kernels.l1 import align, kkt_violations, orthant_step, pseudo_gradient
from spfast.kernels.lbfgs import two_loop
from spfast.solvers.base import Recorder, Solver, SolverResult, first_pass
from spfast.solvers.whitening import explained_by, whitening

__all__ = ["OWLQN"]

_MEMORY = 20
_SUFFICIENT = 1e-4
_MAX_HALVINGS = 40
#: A rise below this share of the objective is rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class OWLQN(Solver):
    """The orthant-wise quasi-Newton method; options as `spfast.solvers.base.Solver`.

    Examples
    --------
    >>> from spfast.solvers import OWLQN
    >>> OWLQN(tolerance=1e-4).max_iterations
    5000
    """

    name: ClassVar[str] = "owlqn"
    max_iterations: int = 5000

    def minimize(self, objective, coef: np.ndarray, unit: float, state=None) -> SolverResult:
        """Minimise the objective from ``coef``, as `Solver.minimize`; nothing is handed on in ``state``."""
        tolerance = self.tolerance * unit
        recorder = Recorder(objective)
        penalties = objective.penalties
        coef = coef.copy()
        eta, gradient = np.empty(objective.n_rows), np.empty(objective.n_features)
        value = first_pass(objective, coef, eta, gradient) + objective.penalty(coef)
        scaling = _Scaling(objective, coef, objective.curvature(eta))
        pairs = _Pairs(objective.n_features)
        pseudo, violations = np.empty_like(coef), np.empty_like(coef)
        inner = scaling.inward(coef)
        inner_gradient = scaling.gradient(gradient)
        message = "iteration limit"
        for iteration in range(self.max_iterations + 1):
            worst = kkt_violations(coef, gradient, penalties, violations)
            recorder.add(value, worst, coef, coef.size)
            if worst <= tolerance:
                message = "converged"
                break
            if iteration == self.max_iterations:
                break
            pseudo_gradient(inner, inner_gradient, penalties, pseudo)
            direction = pairs.direction(pseudo, scaling.inverse_diagonal)
            align(direction, pseudo)
            moved = _search(objective, scaling, inner, direction, pseudo, value, eta, gradient)
            if moved is None:
                if pairs.count == 0:
                    message = "stopped: no step lowers the objective"
                    break
                pairs.clear()
                continue
            new_inner, coef, value = moved
            new_gradient = scaling.gradient(gradient)
            pairs.add(new_inner - inner, new_gradient - inner_gradient)
            inner, inner_gradient = new_inner, new_gradient
        return recorder.result(coef, eta, tolerance, message)


def _search(objective, scaling, inner, direction, pseudo, value, eta, gradient):
    """Backtrack along the orthant-projected path; None if no step lowers the objective."""
    saved_eta, saved_gradient = eta.copy(), gradient.copy()
    trial = np.empty_like(inner)
    step = 1.0
    for _ in range(_MAX_HALVINGS):
        orthant_step(inner, direction, step, pseudo, objective.penalties, trial)
        coef = scaling.outward(trial)
        trial_value = objective.smooth(coef, eta, gradient) + objective.penalty(coef)
        promise = float(pseudo @ (trial - inner))
        if promise < 0.0 and trial_value <= value + _SUFFICIENT * promise + _ROUNDING * abs(value):
            return trial, coef, trial_value
        step *= 0.5
    np.copyto(eta, saved_eta)
    np.copyto(gradient, saved_gradient)
    return None


class _Scaling:
    """Coordinates in which, under the weights, unpenalised columns are orthonormal and orthogonal to the others.

    ``coef_wide = fixed + whiten (inner_wide - explained coef_rest)``; the penalised coefficients are their own
    coordinates, so the L1 term does not change.
    """

    def __init__(self, objective, coef, weights):
        self._wide = objective.wide
        rows, design = objective.rows, objective.design
        columns = design[rows[:, None], self._wide].astype(np.float64)
        self._whiten = objective.moves @ whitening(columns @ objective.moves, weights)
        self._unwhiten = np.linalg.pinv(self._whiten)
        # The part of the start that no direction reaches is kept: a condition fixes it, or it has no data.
        self._fixed = coef[self._wide] - self._whiten @ (self._unwhiten @ coef[self._wide])
        directions = columns @ self._whiten
        self._explained = explained_by(directions, weights, design, rows, None)
        self._explained[:, self._wide] = 0.0
        # Directions without data keep a coordinate of zero.
        self._used = self._wide[: self._whiten.shape[1]]
        self.inverse_diagonal = self._inverse_diagonal(objective, weights, directions)

    def inward(self, coef):
        directions = self._unwhiten @ coef[self._wide] + self._explained @ coef
        return self._replace(coef, directions)

    def outward(self, inner):
        coef = inner.copy()
        coef[self._wide] = self._fixed + self._whiten @ (inner[self._used] - self._explained @ inner)
        return coef

    def gradient(self, gradient):
        directions = self._whiten.T @ gradient[self._wide]
        return self._replace(gradient - directions @ self._explained, directions)

    def _replace(self, vector, directions):
        inner = vector.copy()
        inner[self._wide] = 0.0
        inner[self._used] = directions
        return inner

    def _inverse_diagonal(self, objective, weights, directions):
        """Give all penalised columns one curvature: the mean square of their rests in a sample of rows."""
        sample = np.linspace(0, objective.n_rows - 1, min(objective.n_rows, 256)).astype(np.int64)
        rest = objective.design[objective.rows[sample]] - directions[sample] @ self._explained
        rest[:, self._wide] = 0.0
        share = weights[sample] / max(weights[sample].sum(), np.finfo(float).tiny)
        curvature = weights.sum() * float(share @ rest**2 @ np.ones(rest.shape[1])) / rest.shape[1]
        inverse = np.full(objective.n_features, 1.0 / curvature if curvature > 0.0 else 1.0)
        inverse[self._wide] = 1.0
        return inverse


class _Pairs:
    """The last steps and changes of the gradient, in ring buffers for the recursion."""

    def __init__(self, n):
        self._steps, self._changes = np.zeros((_MEMORY, n)), np.zeros((_MEMORY, n))
        self._products = np.ones(_MEMORY)
        self.clear()

    def clear(self):
        self._newest, self.count = -1, 0

    def add(self, step, change):
        product = float(step @ change)
        if product <= 1e-12 * float(step @ step):  # no positive curvature along the step: not a pair
            return
        self._newest = (self._newest + 1) % _MEMORY
        self._steps[self._newest], self._changes[self._newest] = step, change
        self._products[self._newest] = product
        self.count = min(self.count + 1, _MEMORY)

    def direction(self, pseudo, scale):
        direction = np.empty_like(pseudo)
        two_loop(pseudo, self._steps, self._changes, self._products, self._newest, self.count, scale, direction)
        return direction
