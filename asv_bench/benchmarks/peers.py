"""Problem F by the solvers that a user might try instead; each is a function of a `Run`, which keeps the time."""

import os
import threading
import time

import numpy as np

from benchmarks import yardsticks
from benchmarks.problem import PENALTY

#: Steps of a line search by halving.
_HALVINGS = 30


class Run:
    """One method's run: its clock, which stands still while an objective is evaluated, and the points of its curve.

    Parameters
    ----------
    problem : benchmarks.problem.Problem
    threads : int
    limit : float [s]
    """

    def __init__(self, problem, threads: int, limit: float):
        self.problem, self.threads, self.limit = problem, threads, limit
        self.penalized = problem.layout.penalized
        self.points = []
        self._paused = 0.0

    def start(self) -> None:
        """Start the clock, once the matrix is in the method's own layout and its code is compiled."""
        self._begin = time.perf_counter()

    def seconds(self) -> float:
        return time.perf_counter() - self._begin - self._paused

    def add(self, objective: float, seconds: float | None = None) -> None:
        """Add a point at ``seconds``, by default now."""
        self.points.append((self.seconds() if seconds is None else float(seconds), float(objective)))
        print(*self.points[-1], flush=True)

    def measure(self, design: np.ndarray, parallax: np.ndarray, ivar: np.ndarray, coef: np.ndarray) -> None:
        """Add the point of ``coef``; the clock stands still meanwhile."""
        seconds, begin = self.seconds(), time.perf_counter()
        self.add(objective(design @ coef, parallax, ivar, coef, self.penalized), seconds)
        self._paused += time.perf_counter() - begin

    def end_at_limit(self) -> None:
        """End the process at the limit, for solvers that cannot be interrupted: points printed by then count."""
        timer = threading.Timer(self.limit, os._exit, (0,))
        timer.daemon = True
        timer.start()


def objective(eta, parallax, ivar, coef, penalized):
    """Return half chi-squared plus penalty for given linear predictors."""
    with np.errstate(over="ignore"):
        residual = np.exp(eta) - parallax
    return 0.5 * float(ivar @ residual**2) + PENALTY * float(np.abs(coef[penalized]).sum())


def photometric(run: Run) -> np.ndarray:
    """Return the start of all methods but the paper's: a fit of the magnitudes alone (it takes 0.05 s)."""
    from spfast.kernels.team import Team
    from spfast.model.start import photometric_start

    with Team(run.threads) as team:
        return photometric_start(run.problem.objective(team))


def ours(run, solver, **options):
    import spfast

    arguments = run.problem.arguments(threads=run.threads)
    spfast.fit(*run.problem.data, penalty=PENALTY, solver=solver, max_iterations=2, **arguments)
    run.start()
    begin = time.perf_counter()
    result = spfast.fit(*run.problem.data, penalty=PENALTY, solver=solver, **arguments, **options).result
    before = time.perf_counter() - begin - result.seconds
    for row in result.history:
        run.add(row["objective"], before + row["seconds"])


def paper(run):
    for seconds, value in yardsticks.paper_way(run.problem, PENALTY, run.limit):
        run.add(value, seconds)


def split(run):
    for seconds, value in yardsticks.split_form(run.problem, PENALTY, run.limit, photometric(run)):
        run.add(value, seconds)


def skglm(run):
    """skglm's ProxNewton, one outer iteration at a time, with the exp-linear datafit and the weighted L1 penalty."""
    from numba import float64
    from skglm.datafits.base import BaseDatafit
    from skglm.penalties import WeightedL1
    from skglm.solvers import ProxNewton
    from skglm.utils.jit_compilation import compiled_clone

    class ExpLinear(BaseDatafit):
        def __init__(self, ivar):
            self.ivar = ivar

        def get_spec(self):
            return (("ivar", float64[:]),)

        def params_to_dict(self):
            return {"ivar": self.ivar}

        def initialize(self, X, y):
            pass

        def value(self, y, w, Xw):
            return 0.5 * np.sum(self.ivar * (y - np.exp(Xw)) ** 2)

        def raw_grad(self, y, Xw):
            mu = np.exp(Xw)
            return self.ivar * (mu - y) * mu

        def raw_hessian(self, y, Xw):
            mu = np.exp(Xw)
            return self.ivar * mu * mu

        def gradient_scalar(self, X, y, w, Xw, j):
            return X[:, j] @ self.raw_grad(y, Xw)

        def intercept_update_step(self, y, Xw):
            return np.sum(self.raw_grad(y, Xw))

    design, parallax, ivar, _ = yardsticks.float64_problem(run.problem)
    weights = np.where(run.penalized, 1.0, 0.0)

    def solve(design, parallax, ivar, weights, coef):
        datafit = compiled_clone(ExpLinear(np.ascontiguousarray(ivar)))
        penalty = compiled_clone(WeightedL1(PENALTY, weights))
        solver = ProxNewton(max_iter=1, max_pn_iter=20, tol=1e-3 * PENALTY, fit_intercept=False, warm_start=True)
        return lambda coef: solver.solve(design, parallax, datafit, penalty, coef, design @ coef)[0]

    some = np.flatnonzero(run.penalized)[:20]
    columns = np.concatenate([np.flatnonzero(~run.penalized), some])
    start = photometric(run)
    small = np.asfortranarray(design[:200][:, columns])
    solve(small, parallax[:200], ivar[:200], weights[columns], None)(start[columns].copy())
    design, coef = np.asfortranarray(design), start
    step = solve(design, parallax, ivar, weights, coef)
    run.start()
    run.end_at_limit()
    run.measure(design, parallax, ivar, coef)
    while run.seconds() < run.limit:
        coef = step(coef.copy())
        run.measure(design, parallax, ivar, coef)


def inner(run, solve, eliminate):
    """Run proximal Newton with Gauss-Newton weights and a line search; another package solves each weighted lasso.

    ``solve(matrix, target, coef)`` minimises ``||target - matrix b||^2 / 2 + PENALTY sum |b|``. With ``eliminate`` the
    unpenalised columns are projected out first, for packages that penalise every column alike.
    """
    design, parallax, ivar, _ = yardsticks.float64_problem(run.problem)
    free = np.flatnonzero(~run.penalized)
    pixels = np.flatnonzero(run.penalized)
    coef = photometric(run)
    run.start()
    run.end_at_limit()
    run.measure(design, parallax, ivar, coef)
    while run.seconds() < run.limit:
        eta = design @ coef
        mu = np.exp(eta)
        root = np.sqrt(ivar) * mu
        target = root * (eta - (mu - parallax) / mu)
        new = coef.copy()
        if eliminate:
            basis, triangle = np.linalg.qr(root[:, None] * design[:, free])
            matrix = np.asfortranarray(root[:, None] * design[:, pixels])
            coupling = basis.T @ matrix
            matrix -= basis @ coupling
            new[pixels] = solve(matrix, target - basis @ (basis.T @ target), coef[pixels])
            new[free] = np.linalg.solve(triangle, basis.T @ target - coupling @ new[pixels])
        else:
            new = solve(np.asfortranarray(root[:, None] * design), target, coef)
        change = design @ (new - coef)
        value = objective(eta, parallax, ivar, coef, run.penalized)
        for k in range(_HALVINGS):
            trial = coef + 0.5**k * (new - coef)
            if objective(eta + 0.5**k * change, parallax, ivar, trial, run.penalized) < value:
                break
        coef = trial
        run.measure(design, parallax, ivar, coef)


def celer(run):
    from celer import Lasso

    def solve(matrix, target, coef):
        # celer minimises ||.||^2 / (2 n) + alpha ||b||_1.
        model = Lasso(alpha=PENALTY / target.size, fit_intercept=False, tol=1e-4, max_iter=50, warm_start=True)
        model.coef_ = coef.copy()
        return model.fit(matrix, target).coef_

    inner(run, solve, eliminate=True)


def sklearn(run):
    from sklearn.linear_model import Lasso

    def solve(matrix, target, coef):
        model = Lasso(alpha=PENALTY / target.size, fit_intercept=False, tol=1e-4, max_iter=10**5, warm_start=True)
        model.coef_ = coef.copy()
        return model.fit(matrix, target).coef_

    inner(run, solve, eliminate=True)


def adelie(run):
    import adelie

    penalties = run.penalized.astype(np.float64)

    def solve(matrix, target, coef):
        # adelie minimises sum weights (.)^2 / 2 + lmda sum penalty |b|, with weights that add up to one.
        state = adelie.grpnet(
            matrix,
            adelie.glm.gaussian(target),
            penalty=penalties,
            lmda_path=PENALTY / target.size * np.geomspace(30.0, 1.0, 8),
            intercept=False,
            early_exit=False,
            n_threads=run.threads,
            progress_bar=False,
        )
        return np.asarray(state.betas[-1].todense()).ravel()

    inner(run, solve, eliminate=False)


#: name -> (label, settings, package, function). The first four need spfast alone.
METHODS = {
    "prox-newton": (
        "spfast proximal Newton",
        "default settings",
        "spfast",
        lambda run: ours(run, "prox-newton", tolerance=1e-6),
    ),
    "owlqn": (
        "spfast OWL-QN",
        "default settings, iteration limit 2000",
        "spfast",
        lambda run: ours(run, "owlqn", max_iterations=2000),
    ),
    "paper": ("the paper's way", "float64 numpy, L-BFGS-B on sign()", "scipy", paper),
    "split": ("split form u - v", "float64 numpy, L-BFGS-B with bounds", "scipy", split),
    "skglm": ("skglm ProxNewton", "custom datafit, Gauss-Newton weights, 20 inner iterations", "skglm", skglm),
    "adelie": ("adelie in Newton steps", "grpnet, 8 penalties down to lambda, default tol", "adelie", adelie),
    "celer": ("celer in Newton steps", "Lasso, tol 1e-4, unpenalised columns projected out", "celer", celer),
    "sklearn": (
        "scikit-learn in Newton steps",
        "Lasso, tol 1e-4, unpenalised columns projected out",
        "scikit-learn",
        sklearn,
    ),
}
