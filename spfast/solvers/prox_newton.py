"""Proximal Newton on a working set: the default solver.

Each outer iteration

1. takes the violations of the optimality conditions from the gradient that the last pass left. Where the unpenalised
   columns are far behind, it first fits them again alone: the model's step leaves them wrong for all stars alike, and
   then the other columns' gradients mean little. That costs a pass, or with many rows an estimate of what it does to
   the other gradients;
2. stops if the largest violation is within the tolerance, or if rounding keeps it from falling;
3. chooses the second derivatives of the quadratic model: the Gauss-Newton ones from afar, the exact ones near the
   optimum, where steps then converge quadratically;
4. brings the working set and its Gram matrix up to date: columns that violate their condition enter, zeros well within
   theirs leave, and the Gram is rebuilt where its weights are too old. Of many rows a sample makes the Gram, until its
   steps converge too slowly: only the gradient has to be that of all rows;
5. minimises the quadratic model plus the exact L1 term over the working set, the unpenalised columns eliminated: by
   coordinate descent or, once that crawls because columns nearly depend on each other, by an active-set method on a
   Gram in float64. It takes the full step if the true objective falls, a shorter one otherwise. One pass gives the
   value there and the gradient of every column;
6. where no step lowers the objective, returns to Gauss-Newton derivatives, or raises the diagonal of the Gram until
   one does; full steps lower it again.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from spfast.kernels.l1 import kkt_violations
from spfast.solvers.active_set import minimize_on_active_set
from spfast.solvers.base import Recorder, Solver, SolverResult
from spfast.solvers.line_search import backtrack
from spfast.solvers.newton_state import NewtonState
from spfast.solvers.quadratic import minimize_quadratic
from spfast.solvers.whitening import explained_by

__all__ = ["NewtonState", "ProxNewton"]

#: Below this violation, in units of the penalty, the model has the exact second derivatives: Gauss-Newton weights are
#: safe from afar but converge by a factor of three an iteration, the exact ones quadratically.
_EXACT_BELOW = 20.0
#: If nothing is penalised, this many tolerances take the place of the penalty there.
_TOLERANCES = 1e3
#: The working set grows by the worst violators: at most this many, or this share of the non-zeros.
_MIN_GROWTH, _GROWTH_SHARE = 100, 0.3
#: Zeros whose gradient is below this share of the penalty leave the working set when it is rebuilt, or when they are
#: more than a tenth of it.
_PRUNE_SHARE, _PRUNE_FROM = 0.9, 0.1
#: Zeros with a gradient above this share of the penalty enter when the Gram of many rows is rebuilt near the optimum: a
#: column that enters alone costs as much as a hundred that enter together.
_NEARLY = 0.95
#: The Gram is rebuilt when the weights have changed by this share of their sum for every so many columns (a rebuild
#: costs the square of their number, an iteration with old weights only a pass) ...
_STALE, _STALE_COLUMNS = 0.03, 500
#: ... or by this share, if the last step left more than a quarter of the violation on a working set that did not grow,
#: and the iterations that old weights would still need cost more than a rebuild.
_STALE_IF_SLOW = 0.003
_SLOW, _STUCK = 0.25, 0.9
#: Costs in passes, as measured: an iteration, and the products of a rebuild as n^2 / (n_features times this).
_ITERATION_COST, _PRODUCTS_PER_PASS = 3.0, 27.0
#: A Gram of a sample gives way for good to that of all rows once a step with exact second derivatives leaves this share
#: of the violation.
_MISLED = 0.8
#: The subproblem is solved to this share of the violation.
_INNER_SHARE = 0.1
#: The unpenalised columns are fitted again alone when their violation is this many times all others'.
_LAG = 10.0
#: Where no step along the direction lowers the objective, the diagonal of the Gram is raised by this share of itself,
#: then by a factor more until one does; full steps lower it again. Few stars with large weights make the Gram of many
#: columns nearly singular, and its minimum then lies far outside of where the model holds.
_DAMPING, _RISE, _FALL, _MOST_DAMPING = 1e-2, 10.0, 3.0, 1e4
#: After so many iterations without a smaller violation or objective, rounding decides and not the data. A decrease of
#: the objective counts from this share of it.
_PATIENCE = 6
_SMALLEST_DECREASE = 1e-9


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
        """Minimise the objective from ``coef``, as `Solver.minimize`; steps 1 to 6 are those of the module."""
        state = state or NewtonState(objective)
        recorder = Recorder(objective)
        here = _Iterate(objective, coef, self.tolerance * unit, state)
        message = "iteration limit"
        for _ in range(self.max_iterations):
            # 1. Violations, with the unpenalised columns not too far behind.
            here.measure_violations()
            if here.unpenalized_lag():
                here.refit_unpenalized()
            recorder.add(here.value, here.worst, here.coef, here.gram.n)
            # 2. The end?
            if here.worst <= here.tolerance:
                message = "converged"
                break
            if here.has_stalled():
                message = "stopped: the violation no longer falls (rounding)"
                break
            # 3. Second derivatives.
            rate = here.rate()
            exact = here.exact_is_safe(rate)
            # 4. Working set and Gram.
            here.update_working_set(exact, rate)
            # 5. The step.
            if here.step():
                continue
            # 6. No step lowers the objective: another model.
            if exact:
                here.full_step = False  # the exact model may not be convex here: the Gauss-Newton one is
            elif not here.step_with_damping():
                message = "stopped: no step lowers the objective"
                break
        else:
            here.measure_violations()
            recorder.add(here.value, here.worst, here.coef, here.gram.n)
        if here.is_estimate:
            here.pass_here()
            recorder.add(here.value, here.worst, here.coef, here.gram.n)
        here.finish()
        return recorder.result(here.coef, here.eta, here.tolerance, message)


class _Iterate:
    """The current point of a minimisation: coefficients, what the last pass computed there, how the last step went.

    Parameters
    ----------
    objective : spfast.model.objective.Objective
    coef : float64 array, shape (n_features,)
        Start.
    tolerance : float
        In the units of the gradient.
    state : NewtonState

    Attributes
    ----------
    eta : float64 array, shape (n_rows,)
        Linear predictor.
    value : float
        Half chi-squared plus penalty.
    gradient, violations : float64 array, shape (n_features,)
        Gradient of half chi-squared; violations of the optimality conditions.
    worst : float
        The largest violation.
    full_step, grew : bool
        Whether the last step was taken in full, and whether the working set grew before it.
    damping : float
        Share of itself by which the Gram's diagonal is raised.
    is_estimate : bool
        Whether the gradient is estimated: no proof of the optimum.
    """

    def __init__(self, objective, coef: np.ndarray, tolerance: float, state: NewtonState):
        self.objective, self.tolerance, self.state, self.gram = objective, tolerance, state, state.gram
        self.coef = coef.copy()
        self.eta, self.gradient = np.empty(objective.n_rows), np.empty(objective.n_features)
        self.violations = np.empty(objective.n_features)
        self.value = state.begin(objective, self.coef, self.eta, self.gradient) + objective.penalty(self.coef)
        self.full_step = self.grew = True
        self.damping, self.is_estimate = 0.0, False
        self._scale = objective.penalties.max(initial=0.0) or _TOLERANCES * tolerance
        self._always = np.setdiff1d(state.unpenalized, state.eliminated)
        self._worst_before = self._best_violation = self._best_value = np.inf
        self._since_best = 0

    # Step 1

    def measure_violations(self) -> None:
        """Work out the violations from the gradient."""
        self.worst = kkt_violations(self.coef, self.gradient, self.objective.penalties, self.violations)

    def unpenalized_lag(self) -> bool:
        """Whether the unpenalised columns are so far from their optimum that other columns' gradients mean little."""
        unpenalized = self.gram.unpenalized
        if self.worst <= self.tolerance or unpenalized.size == 0:
            return False
        others = self.violations.copy()
        others[unpenalized] = 0.0
        return self.violations[unpenalized].max() > max(_LAG * others.max(), self.tolerance)

    def refit_unpenalized(self) -> None:
        """Fit the unpenalised columns alone; a pass tells the gradient there, of many rows only an estimate."""
        before = self.objective.slope(self.eta)
        self.state.move_unpenalized(self.objective, self.coef, self.eta)
        if self.state.has_many_rows:
            self._estimate_gradient(before)
        if not self.is_estimate or self.worst <= self.tolerance:
            self.pass_here()

    def _estimate_gradient(self, before: np.ndarray) -> None:
        """Change the gradient by ``X.T (slope - before)``, from the part of X that the unpenalised columns explain."""
        objective, free, moves = self.objective, self.gram.free, self.objective.moves
        slope, weights = objective.slope(self.eta), objective.curvature(self.eta)
        explained = explained_by(free, weights, objective.design, objective.rows, None)
        self.gradient += explained.T @ (free.T @ (slope - before))
        self.gradient[self.gram.unpenalized] = moves @ (moves.T @ (free.T @ slope))
        self.value = objective.chi_squared_half(self.eta) + objective.penalty(self.coef)
        self.is_estimate = True
        self.measure_violations()

    def pass_here(self) -> None:
        """Work out value and gradient at the current point from all rows."""
        self.value = self.objective.smooth(self.coef, self.eta, self.gradient) + self.objective.penalty(self.coef)
        self.is_estimate = False
        self.measure_violations()

    # Step 2

    def has_stalled(self) -> bool:
        """Whether neither violation nor objective has fallen for several iterations; asked once an iteration."""
        falls = self.value < self._best_value - _SMALLEST_DECREASE * abs(self.value)
        self._since_best = 0 if self.worst < self._best_violation or falls else self._since_best + 1
        self._best_violation = min(self._best_violation, self.worst)
        self._best_value = min(self._best_value, self.value)
        return self._since_best >= _PATIENCE

    # Step 3

    def rate(self) -> float:
        """The working set's largest violation, as a share of what it was before the last step."""
        return self.violations[self.gram.columns].max(initial=0.0) / self._worst_before

    def exact_is_safe(self, rate: float) -> bool:
        """Whether to take the exact second derivatives."""
        # A column whose exact second derivative is not positive does not move: the Gauss-Newton one is.
        is_stuck = self.state.exact and not self.grew and rate > _STUCK
        return self.full_step and self.worst < _EXACT_BELOW * self._scale and not is_stuck

    # Step 4

    def _rebuild_pays(self, rate: float) -> bool:
        """Whether the iterations that old weights would still need cost more than a rebuild of the Gram."""
        if self.grew or not rate > _SLOW:
            return False
        iterations = np.log(self.worst / self.tolerance) / -np.log(rate) if rate < 1.0 else np.inf
        rebuild = self.gram.n**2 / (_PRODUCTS_PER_PASS * self.objective.n_features)
        return _ITERATION_COST * iterations > _ITERATION_COST + rebuild

    def update_working_set(self, exact: bool, rate: float) -> None:
        """Bring the working set and its Gram up to date with the violations and the second derivatives."""
        state, gram, columns = self.state, self.gram, self.gram.columns
        weights = self.objective.curvature(self.eta, exact)
        change = np.inf if state.weights is None else np.abs(weights - state.weights).sum() / np.abs(weights).sum()
        entering = self._entering()
        stays = self.coef[columns] != 0.0
        stays |= np.abs(self.gradient[columns]) >= _PRUNE_SHARE * self.objective.penalties[columns]
        stays |= np.isin(columns, self._always)
        is_stale = change > _STALE * max(1.0, columns.size / _STALE_COLUMNS)
        rebuild_pays = self._rebuild_pays(rate)
        is_misled = state.is_sample and (rebuild_pays or not self.full_step or (exact and rate > _MISLED))
        if is_misled or is_stale or exact > state.exact or (rebuild_pays and change > _STALE_IF_SLOW):
            state.exact, state.may_sample = exact, state.may_sample and not is_misled
            state.rebuild(weights, np.unique(np.concatenate([columns[stays], entering, self._nearly(), self._always])))
        else:
            if np.count_nonzero(~stays) > _PRUNE_FROM * columns.size:
                gram.keep(stays)
            gram.append(entering)
        self.grew = entering.size > 0

    def _nearly(self) -> np.ndarray:
        """Zeros that may soon violate their condition: near the optimum they enter a Gram that is built anyway."""
        if not (self.state.has_many_rows and self.worst < self._scale):
            return np.empty(0, dtype=np.int64)
        penalties = self.objective.penalties
        return np.flatnonzero((np.abs(self.gradient) >= _NEARLY * penalties) & (penalties > 0.0))

    def _entering(self) -> np.ndarray:
        """Columns that enter the working set: non-zeros that are not in it, and the worst violators (int64 array)."""
        outside = (self.violations > 0.0) | (self.coef != 0.0)
        outside[self.gram.columns] = False
        outside[self.gram.unpenalized] = False
        entering = np.flatnonzero(outside)
        limit = max(_MIN_GROWTH, int(_GROWTH_SHARE * np.count_nonzero(self.coef)))
        if entering.size > limit:
            ranked = entering[np.argsort(-self.violations[entering], kind="stable")]
            is_carried = self.coef[ranked] != 0.0
            entering = np.concatenate([ranked[is_carried], ranked[~is_carried][:limit]])
        return np.sort(entering)

    # Steps 5 and 6

    def step(self) -> bool:
        """Minimise the quadratic model and move along the step as far as the objective falls; False if it does not."""
        self._worst_before = self.worst
        gram, objective, columns = self.gram, self.objective, self.gram.columns
        step = self._model_step()
        if not np.isfinite(step).all():
            return False  # the exact model has no minimum here
        direction = np.zeros_like(self.coef)
        direction[columns] = step
        direction[gram.unpenalized] = gram.unpenalized_step(self.gradient, step)
        moved = backtrack(objective, self.coef, direction, self.value, self.worst, self.eta, self.gradient)
        if moved is None:
            return False
        self.coef, self.value, self.full_step = moved
        self.is_estimate = False
        if self.full_step:
            self.damping = self.damping / _FALL if self.damping > _DAMPING else 0.0
        return True

    def _model_step(self) -> np.ndarray:
        """The step to the quadratic model's minimum over the working set (shape (n_working,)).

        By coordinate descent, until that crawls; on the active set from then on, unless that grows too large.
        """
        state, gram, penalties = self.state, self.gram, self.objective.penalties[self.gram.columns]
        here, inner = self.coef[gram.columns], (_INNER_SHARE, _INNER_SHARE * self.tolerance)
        if not state.is_collinear:
            with gram.damped(self.damping):
                slope, team = gram.reduced_gradient(self.gradient), self.objective.team
                step, _, crawls = minimize_quadratic(gram.store, slope, here, penalties, *inner, team, state.scratch)
            if not crawls or np.count_nonzero(here + step) > state.most_active:
                return step
            if state.is_sample:
                state.take_all_rows()
                return self._model_step()
            state.is_collinear = True
            gram.use_float64()
        with gram.damped(self.damping):
            step = minimize_on_active_set(gram.store, gram.reduced_gradient(self.gradient), here, penalties, *inner)
        if step is None:
            state.is_collinear, state.most_active = False, 0
            return self._model_step()
        return step

    def step_with_damping(self) -> bool:
        """Raise the damping until a step lowers the objective; False if none does."""
        while self.damping < _MOST_DAMPING:
            self.damping = max(_DAMPING, _RISE * self.damping)
            if self.step():
                return True
        return False

    def finish(self) -> None:
        """Keep the end for the next minimisation on the same data."""
        value = self.value - self.objective.penalty(self.coef)
        self.state.end(self.objective, self.coef, value, self.eta, self.gradient)
