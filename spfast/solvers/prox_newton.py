"""Proximal Newton on a working set: the default solver.

Each outer iteration minimises a quadratic model of half chi-squared plus the exact L1 term over the working set, with
the unpenalised columns eliminated, and takes the full step if the true objective falls. One pass gives the value there,
the gradient of every column and with it the optimality conditions and the next working set. Far from the optimum the
model's step leaves the unpenalised columns wrong for all stars alike; they are then fitted again alone, so that the
gradients that choose the working set mean something. Near it the model has the exact second derivatives, and the steps
converge quadratically.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from spfast.kernels.l1 import kkt_violations
from spfast.solvers.base import Recorder, Solver, SolverResult, first_pass
from spfast.solvers.damped_newton import damped_newton
from spfast.solvers.gram import WorkingGram
from spfast.solvers.line_search import backtrack
from spfast.solvers.quadratic import minimize_quadratic, new_scratch

__all__ = ["NewtonState", "ProxNewton"]

#: Below this violation, in units of the penalty, the model has the exact second derivatives: Gauss-Newton weights are
#: safe from afar but converge by a factor of three an iteration, the exact ones quadratically.
_EXACT_BELOW = 20.0
#: The unit when nothing is penalised: this many tolerances.
_TOLERANCES = 1e3
#: The working set grows by the worst violators: at most this many, or this share of the non-zeros.
_MIN_GROWTH, _GROWTH_SHARE = 100, 0.3
#: Zeros whose gradient is below this share of the penalty leave the working set when it is rebuilt, or when they are
#: more than a tenth of it.
_PRUNE_SHARE, _PRUNE_FROM = 0.9, 0.1
#: The Gram is rebuilt when the weights have changed by this share of their sum for every so many columns (a rebuild
#: costs the square of their number, an iteration with old weights only a pass) ...
_STALE, _STALE_COLUMNS = 0.03, 500
#: ... or by this share, if the last step left a violation on an unchanged working set of more than a quarter, and the
#: iterations that would need with old weights cost more than a rebuild.
_STALE_IF_SLOW = 0.003
_SLOW, _STUCK = 0.25, 0.9
#: Costs in passes, as measured: an iteration, and the products of a rebuild as n^2 / (n_features times this).
_ITERATION_COST, _PRODUCTS_PER_PASS = 3.0, 27.0
#: The subproblem is solved to this share of the violation.
_INNER_SHARE = 0.1
#: The unpenalised columns are fitted again alone when their violation is this many times all others'.
_LAG = 10.0
#: Where no step along the direction lowers the objective, the working set's diagonal is raised by this share, and by
#: a factor again until one does; full steps lower it again. Few stars with large weights leave the Gram of many columns
#: next to singular, and its minimum far outside of where the model holds.
_DAMPING, _RISE, _FALL, _MOST_DAMPING = 1e-2, 10.0, 3.0, 1e4
#: Iterations without a smaller violation or a smaller objective after which rounding, not the data, decides.
_PATIENCE = 6
_SMALLEST_DECREASE = 1e-9


class NewtonState:
    """What one minimisation hands to the next on the same data: the Gram of the working set and buffers.

    Parameters
    ----------
    objective : spfast.model.objective.Objective
    """

    def __init__(self, objective):
        self.unpenalized = np.flatnonzero(objective.penalties == 0.0)
        # Many unpenalised columns are cheaper inside the working set, with a penalty of zero.
        self.eliminated = objective.wide
        self.gram = WorkingGram(objective, self.eliminated)
        self.scratch = new_scratch()
        self.exact = False
        self._end = None

    def begin(self, objective, coef, eta, gradient):
        """Half chi-squared at a start; no pass where the last minimisation on the same parallaxes ended there."""
        if self._end is not None:
            parallax, ivar, last, value, last_eta, last_gradient = self._end
            if parallax is objective.parallax and ivar is objective.ivar and np.array_equal(coef, last):
                eta[:], gradient[:] = last_eta, last_gradient
                return value
        return first_pass(objective, coef, eta, gradient)

    def end(self, objective, coef, value, eta, gradient):
        """Remember where a minimisation ended."""
        self._end = objective.parallax, objective.ivar, coef, value, eta, gradient


@dataclass(frozen=True)
class ProxNewton(Solver):
    """The proximal Newton method; options as `spfast.solvers.base.Solver`.

    Examples
    --------
    >>> from spfast.solvers import ProxNewton
    >>> ProxNewton(tolerance=1e-4)
    ProxNewton(tolerance=0.0001, max_iterations=100)
    """

    name: ClassVar[str] = "prox-newton"

    def new_state(self, objective) -> NewtonState:
        """Return the Gram matrix of the working set and buffers, empty as yet."""
        return NewtonState(objective)

    def minimize(self, objective, coef: np.ndarray, unit: float, state: NewtonState | None = None) -> SolverResult:
        """Minimise the objective from ``coef``, as `Solver.minimize`."""
        tolerance = self.tolerance * unit
        state = state or NewtonState(objective)
        gram, penalties = state.gram, objective.penalties
        always = np.setdiff1d(state.unpenalized, state.eliminated)
        recorder = Recorder(objective)
        coef = coef.copy()
        eta, gradient = np.empty(objective.n_rows), np.empty(objective.n_features)
        violations = np.empty(objective.n_features)
        value = state.begin(objective, coef, eta, gradient) + objective.penalty(coef)
        best_violation, best_value, since_best, previous = np.inf, np.inf, 0, np.inf
        scale = penalties.max(initial=0.0) or _TOLERANCES * tolerance
        full_step = grew = True
        damping = 0.0
        message = "iteration limit"
        for _ in range(self.max_iterations):
            worst = kkt_violations(coef, gradient, penalties, violations)
            if worst > tolerance and _unpenalized_lag(violations, gram.unpenalized, tolerance):
                moves = objective.moves
                coef[gram.unpenalized] += moves @ damped_newton(
                    gram.free @ moves, objective, np.zeros(moves.shape[1]), eta
                )
                value = objective.smooth(coef, eta, gradient) + objective.penalty(coef)
                worst = kkt_violations(coef, gradient, penalties, violations)
            recorder.add(value, worst, coef, gram.n)
            if worst <= tolerance:
                message = "converged"
                break
            progress = worst < best_violation or value < best_value - _SMALLEST_DECREASE * abs(value)
            since_best = 0 if progress else since_best + 1
            best_violation, best_value = min(best_violation, worst), min(best_value, value)
            if since_best >= _PATIENCE:
                message = "stopped: the violation no longer falls (rounding)"
                break
            rate = violations[gram.columns].max(initial=0.0) / previous
            # A column whose exact second derivative is not positive does not move: the Gauss-Newton one is.
            stuck = state.exact and not grew and rate > _STUCK
            exact = full_step and worst < _EXACT_BELOW * scale and not stuck
            slow = not grew and rate > _SLOW and _rebuild_pays(gram.n, objective.n_features, worst / tolerance, rate)
            grew = _update_gram(state, objective, coef, gradient, violations, eta, always, exact, slow)
            previous = worst
            moved = _step(state, objective, coef, value, worst, eta, gradient, tolerance, damping)
            if moved is None and exact:
                full_step = False  # the exact model may not be convex here: the Gauss-Newton one is
                continue
            while moved is None and damping < _MOST_DAMPING:
                damping = max(_DAMPING, _RISE * damping)
                moved = _step(state, objective, coef, value, worst, eta, gradient, tolerance, damping)
            if moved is None:
                message = "stopped: no step lowers the objective"
                break
            coef, value, full_step = moved
            if full_step:
                damping = damping / _FALL if damping > _DAMPING else 0.0
        else:
            worst = kkt_violations(coef, gradient, penalties, violations)
            recorder.add(value, worst, coef, gram.n)
        state.end(objective, coef, value - objective.penalty(coef), eta, gradient)
        return recorder.result(coef, tolerance, message)


def _step(state, objective, coef, value, worst, eta, gradient, tolerance, damping):
    """Minimise the quadratic model and move along the step as far as the objective falls; None if it does not."""
    gram, penalties = state.gram, objective.penalties
    columns = gram.columns
    with gram.damped(damping):
        step, _ = minimize_quadratic(
            gram.store,
            gram.reduced_gradient(gradient),
            coef[columns],
            penalties[columns],
            _INNER_SHARE,
            _INNER_SHARE * tolerance,
            objective.team,
            state.scratch,
        )
    if not np.isfinite(step).all():
        return None  # the exact model has no minimum here
    direction = np.zeros_like(coef)
    direction[columns] = step
    direction[gram.unpenalized] = gram.unpenalized_step(gradient, step)
    return backtrack(objective, coef, direction, value, worst, eta, gradient)


def _rebuild_pays(n_columns, n_features, excess, rate):
    """Whether iterations that shrink the violation by ``rate`` until ``excess`` is gone cost more than a rebuild."""
    iterations = np.log(excess) / -np.log(rate) if rate < 1.0 else np.inf
    return _ITERATION_COST * iterations > _ITERATION_COST + n_columns**2 / (_PRODUCTS_PER_PASS * n_features)


def _unpenalized_lag(violations, unpenalized, tolerance):
    """Whether the unpenalised columns are so far from their optimum that the other columns' gradients mean little."""
    if unpenalized.size == 0:
        return False
    others = violations.copy()
    others[unpenalized] = 0.0
    return violations[unpenalized].max() > max(_LAG * others.max(), tolerance)


def _update_gram(state, objective, coef, gradient, violations, eta, always, exact, slow):
    """Bring the working set and its Gram up to date; say whether it grew."""
    gram, penalties = state.gram, objective.penalties
    weights = objective.curvature(eta, exact)
    total = np.abs(weights).sum()
    change = np.inf if gram.weights is None else np.abs(weights - gram.weights).sum() / total
    inside = np.zeros(coef.size, dtype=bool)
    inside[gram.columns] = True
    inside[gram.unpenalized] = True
    limit = max(_MIN_GROWTH, int(_GROWTH_SHARE * np.count_nonzero(coef)))
    outside = np.flatnonzero(~inside & ((violations > 0.0) | (coef != 0.0)))
    if outside.size > limit:
        worst_first = np.argsort(-violations[outside], kind="stable")
        ranked = outside[worst_first]
        carried = coef[ranked] != 0.0
        outside = np.concatenate([ranked[carried], ranked[~carried][:limit]])
    new = np.sort(outside)
    columns = gram.columns
    stays = (coef[columns] != 0.0) | (np.abs(gradient[columns]) >= _PRUNE_SHARE * penalties[columns])
    stays |= np.isin(columns, always)
    stale = change > _STALE * max(1.0, columns.size / _STALE_COLUMNS)
    if stale or exact > state.exact or (slow and change > _STALE_IF_SLOW):
        state.exact = exact
        gram.reset(weights, np.unique(np.concatenate([columns[stays], new, always])))
        return new.size > 0
    if np.count_nonzero(~stays) > _PRUNE_FROM * columns.size:
        gram.keep(stays)
    gram.append(new)
    return new.size > 0
