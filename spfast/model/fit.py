"""One fit, from arrays to a model: check the input, find a start, run a solver."""

import numbers
import warnings

import numpy as np
from astropy import units

from spfast.errors import BadInputError, ConvergenceWarning, SpfastWarning
from spfast.kernels.team import Team
from spfast.model.layout import MAGNITUDE
from spfast.model.objective import Objective
from spfast.model.predict import check_design, resolve_rows
from spfast.model.result import FittedModel
from spfast.model.start import paper_start, photometric_start
from spfast.solvers.owlqn import owlqn
from spfast.solvers.prox_newton import prox_newton

__all__ = ["SOLVERS", "TrainingData", "find_start", "fit", "make_model", "run_solver"]

#: Solvers by name.
SOLVERS = {"prox-newton": prox_newton, "owlqn": owlqn}
#: Sum of the magnitudes' coefficients of ln parallax if parallax scales as 10^(-0.2 magnitude).
MAGNITUDE_SUM = -0.2 * np.log(10.0)
#: Named starts.
STARTS = ("photometric", "burn-in")
#: The paper's burn-in uses stars above this raw parallax signal-to-noise.
BURN_IN_SIGNAL = 20.0
#: Without a penalty the tolerance is in units of this share of the largest gradient at the start.
_UNPENALIZED_UNIT = 1e-2


def fit(
    features,
    parallax,
    parallax_error,
    penalty,
    penalized=None,
    rows=None,
    zero_point=0.0,
    solver="prox-newton",
    start="photometric",
    tolerance=1e-3,
    max_iterations=None,
    exact_distance_modulus=False,
    threads=None,
    layout=None,
    metadata=None,
):
    """Fit ``parallax = exp(features @ coef)`` with an L1 penalty (Hogg, Eilers & Rix 2019, Eq. 1-4).

    The objective is stated in `spfast.model.objective`.

    Parameters
    ----------
    features : float32 or float64 array, C order, shape (n_stars, n_features)
        Feature rows, memory-mapped or not; never copied. A constant column is the caller's.
    parallax, parallax_error : float array or Quantity, shape (n_stars,) [mas]
        Of every row of ``features``; negative parallaxes belong in. An infinite error switches a star off.
    penalty : float
        lambda, not scaled by the number of stars or of columns.
    penalized : bool array, shape (n_features,), optional
        Columns under the penalty; the layout's, or all, by default.
    rows : bool mask or int array, optional
        The training stars; all by default.
    zero_point : float or Quantity [mas]
        Added to every parallax.
    solver : str
        ``"prox-newton"`` or ``"owlqn"``.
    start : str or float64 array, shape (n_features,)
        ``"photometric"`` (the unpenalised columns alone), ``"burn-in"`` (the paper's two stages) or coefficients.
    tolerance : float
        On the largest violation of the optimality conditions, in units of the penalty.
    max_iterations : int, optional
        The solver's own limit by default.
    exact_distance_modulus : bool
        Hold the magnitudes' coefficients to a sum of -0.2 ln 10, so that m more in every magnitude of a star multiplies
        its parallax by exactly 10^(-0.2 m); needs a layout.
    threads : int, optional
        All processors by default; the answer does not depend on it.
    layout : FeatureLayout, optional
        What the columns are; needed to apply the model to another survey.
    metadata : dict, optional
        Kept with the model.

    Returns
    -------
    FittedModel

    Raises
    ------
    BadInputError
        If the input cannot be used.

    Warns
    -----
    ConvergenceWarning
        If the tolerance was not reached; ``model.result.converged`` is False then.
    SpfastWarning
        If the start under- or overflows and another one is taken.

    Examples
    --------
    >>> import numpy as np, spfast
    >>> rng = np.random.default_rng(1)
    >>> x = np.column_stack([np.ones(500), rng.normal(size=(500, 20))])
    >>> truth = np.zeros(21); truth[:3] = -1.0, 0.5, -0.3
    >>> parallax = np.exp(x @ truth) + 0.02 * rng.normal(size=500)
    >>> model = spfast.fit(x, parallax, np.full(500, 0.02), penalty=2000.0, penalized=np.arange(21) > 0)
    >>> model.n_nonzero, model.result.converged
    (2, True)
    """
    if solver not in SOLVERS:
        raise BadInputError(f"solver {solver!r}: expected one of {', '.join(SOLVERS)}")
    with Team(threads) as team:
        data = TrainingData(
            features,
            parallax,
            parallax_error,
            penalty,
            penalized,
            rows,
            zero_point,
            layout,
            team,
            exact_distance_modulus,
        )
        begin = find_start(data, start, SOLVERS[solver], tolerance)
        result = run_solver(data.objective, begin, solver, tolerance, max_iterations)
    return make_model(data, penalty, result, layout, metadata)


class TrainingData:
    """Checked input of a fit: the objective, and what the model will remember of it (arguments as in `fit`)."""

    def __init__(
        self,
        features,
        parallax,
        parallax_error,
        penalty,
        penalized,
        rows,
        zero_point,
        layout,
        team,
        exact_distance_modulus=False,
    ):
        design = check_design(features)
        n_stars, n_features = design.shape
        if layout is not None and layout.n_features != n_features:
            raise BadInputError(f"features: {n_features} columns, the layout has {layout.n_features}")
        self.zero_point = float(_in_mas(zero_point, "zero_point"))
        self.penalized = _mask(penalized, layout, n_features)
        self.rows = resolve_rows(rows, n_stars)
        if self.rows.size == 0:
            raise BadInputError("rows: no star is selected for training; loosen the cuts or check the fold")
        raw = _values(parallax, "parallax", n_stars)[self.rows]
        error = _values(parallax_error, "parallax_error", n_stars)[self.rows]
        _refuse("parallax", ~np.isfinite(raw), self.rows, "a finite number in mas")
        _refuse("parallax_error", ~(error > 0), self.rows, "a positive number in mas")
        with np.errstate(divide="ignore", over="ignore"):
            ivar = 1.0 / error**2
        if not np.isfinite(ivar).all() or not ivar.any():
            raise BadInputError(
                "parallax_error: the weights 1/error^2 are all zero or overflow; expected errors in mas"
            )
        self.signal = raw / error
        if not (isinstance(penalty, numbers.Real) and np.isfinite(penalty) and penalty >= 0):
            raise BadInputError(f"penalty is {penalty!r}, expected a finite number, zero or larger")
        penalties = np.where(self.penalized, float(penalty), 0.0)
        condition = _distance_modulus(layout, penalties) if exact_distance_modulus else None
        self.objective = Objective(design, self.rows, raw + self.zero_point, ivar, penalties, team, condition)


def find_start(data, start, solve, tolerance):
    """Return coefficients to begin from; a start that under- or overflows gives way to the photometric one."""
    objective = data.objective
    if isinstance(start, str):
        if start not in STARTS:
            raise BadInputError(f"start {start!r}: expected one of {', '.join(STARTS)} or an array of coefficients")
        if start == "photometric":
            return photometric_start(objective)
        coef, name = _burn_in(data, solve, tolerance), "the burn-in"
    else:
        coef, name = np.array(start, dtype=np.float64), "the given start"
        if coef.shape != (objective.n_features,) or not np.isfinite(coef).all():
            raise BadInputError(f"start: shape {coef.shape}, expected {objective.n_features} finite coefficients")
    objective.meet_condition(coef)
    eta = np.empty(objective.n_rows)
    value = objective.smooth(coef, eta, np.empty(objective.n_features))
    if not np.isfinite(value) or objective.has_underflowed(eta):
        how = "overflow" if not np.isfinite(value) else "underflow to zero, where the gradient vanishes"
        warnings.warn(f"predictions of {name} {how}; starting from the magnitudes alone instead", SpfastWarning, 3)
        return photometric_start(objective)
    return coef


def run_solver(objective, coef, solver, tolerance, max_iterations=None, state=None):
    """Run a solver from a start, refusing features that are not finite; warns when it does not converge."""
    eta, gradient = np.empty(objective.n_rows), np.empty(objective.n_features)
    limits = {} if not max_iterations else {"max_iterations": max_iterations}
    unit = objective.penalties.max(initial=0.0)
    value = objective.smooth(coef, eta, gradient)
    if not (np.isfinite(value) and np.isfinite(gradient).all()):
        _refuse_features(objective)
    if unit == 0.0:
        unit = _UNPENALIZED_UNIT * max(np.abs(gradient).max(), 1.0)
    result = SOLVERS[solver](objective, coef, tolerance * unit, state=state, **limits)
    if not result.converged:
        warnings.warn(
            f"{solver} {result.message} after {result.n_iterations} iterations: violation {result.kkt_violation:.3g}, "
            f"tolerance {result.tolerance:.3g}",
            ConvergenceWarning,
            3,
        )
    return result


def make_model(data, penalty, result, layout, metadata):
    """Bundle a result with what it was fitted to."""
    return FittedModel(
        coef=result.coef,
        penalized=data.penalized,
        penalty=float(penalty),
        zero_point=data.zero_point,
        n_stars=int(data.rows.size),
        result=result,
        layout=layout,
        metadata=dict(metadata or {}),
    )


def _burn_in(data, solve, tolerance):
    """The paper's two stages: from 0.001/D on stars above raw S/N 20; their optimum starts the fit of all stars."""
    objective = data.objective
    bright = data.signal > BURN_IN_SIGNAL
    if not bright.any():
        raise BadInputError(
            f"start 'burn-in': no training star has parallax/error > {BURN_IN_SIGNAL:g}; use start='photometric'"
        )
    unit = objective.penalties.max(initial=0.0) or 1.0
    begin = paper_start(objective.n_features)
    objective.meet_condition(begin)
    return solve(objective.subset(bright), begin, tolerance * unit).coef


def _distance_modulus(layout, penalties):
    """The condition that the magnitudes' coefficients sum to -0.2 ln 10; the paper leaves the sum free."""
    if layout is None:
        raise BadInputError("exact_distance_modulus: needs a layout that says which columns are magnitudes")
    vector = np.array([kind == MAGNITUDE for kind in layout.kinds], dtype=np.float64)
    if not vector.any() or penalties[vector > 0].any():
        raise BadInputError("exact_distance_modulus: expected unpenalised magnitudes; check layout and penalized")
    return vector, MAGNITUDE_SUM


def _in_mas(value, name):
    if isinstance(value, units.Quantity):
        try:
            return value.to_value(units.mas)
        except units.UnitConversionError:
            raise BadInputError(f"{name}: unit {value.unit}, expected an angle such as mas") from None
    return value


def _values(values, name, n_stars):
    values = np.ma.filled(np.ma.asarray(_in_mas(values, name)), np.nan)
    if values.shape != (n_stars,):
        raise BadInputError(
            f"{name}: shape {values.shape}, expected one value for each of the {n_stars} rows of features"
        )
    return values.astype(np.float64)


def _mask(penalized, layout, n_features):
    if penalized is None:
        return np.ones(n_features, dtype=bool) if layout is None else layout.penalized
    penalized = np.asarray(penalized)
    if penalized.dtype != bool or penalized.shape != (n_features,):
        raise BadInputError(
            f"penalized: {penalized.dtype} of shape {penalized.shape}, expected a boolean mask of {n_features} columns"
        )
    return penalized.copy()


def _refuse(name, bad, rows, expected):
    if bad.any():
        raise BadInputError(
            f"{name}: {bad.sum()} of the {rows.size} training stars have none (first: row {rows[np.argmax(bad)]}), "
            f"expected {expected}; leave them out with rows="
        )


def _refuse_features(objective):
    for row in objective.rows:
        bad = ~np.isfinite(objective.design[row])
        if bad.any():
            raise BadInputError(
                f"features: row {row}, column {np.argmax(bad)} is {objective.design[row, np.argmax(bad)]}, "
                "expected finite numbers; clean the row or leave it out with rows="
            )
    raise BadInputError("start: predictions overflow; use start='photometric'")
