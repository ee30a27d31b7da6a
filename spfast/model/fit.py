"""One fit, from arrays to a model: check the input, find a start, run a solver."""

import warnings

import numpy as np

from spfast.blas import one_blas_thread
from spfast.errors import BadInputError, ConvergenceWarning, SpfastWarning
from spfast.kernels.team import Team
from spfast.model.arrays import TrainingData
from spfast.model.fitted_model import FittedModel
from spfast.model.robust import RobustSettings, fit_robust
from spfast.model.start import paper_start, photometric_start
from spfast.solvers import SOLVERS
from spfast.solvers.base import StartError

__all__ = ["Fitter", "find_start", "fit", "warn_unconverged"]

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
    robust=False,
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
    robust : bool or RobustSettings
        True: wrong parallaxes in a component of their own (`spfast.model.robust`), its share and width and an intrinsic
        scatter found with the coefficients; they are in ``model.metadata["robust"]``. Settings hold some of them fixed.

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
    settings = RobustSettings.of(robust)
    stars = (features, parallax, parallax_error, penalized, rows)
    with Fitter(*stars, solver, tolerance, max_iterations, exact_distance_modulus, threads, layout) as fitter:
        if settings is None:
            model = fitter.fit(penalty, zero_point, start, metadata)
        else:
            model = fit_robust(fitter, penalty, zero_point, start, metadata, settings)
    warn_unconverged(model.result, solver)
    return model


class Fitter:
    """Fits to the same stars at several penalties and zero points: what one has worked out serves the next.

    Each fit begins where the nearest of the earlier ones ended and takes over the Gram matrix of its working set. That
    saves most of the time; where a fit ends depends on what came before, within its tolerance.

    Parameters
    ----------
    features, parallax, parallax_error, penalized, rows, solver, tolerance, max_iterations, exact_distance_modulus, \
threads, layout
        As in `fit`.

    Raises
    ------
    BadInputError
        If the input cannot be used.

    Examples
    --------
    >>> import numpy as np, spfast
    >>> rng = np.random.default_rng(1)
    >>> x = np.column_stack([np.ones(300), rng.normal(size=(300, 20))])
    >>> parallax = np.exp(-1.0 + 0.5 * x[:, 1]) + 0.02 * rng.normal(size=300)
    >>> with spfast.Fitter(x, parallax, np.full(300, 0.02), penalized=np.arange(21) > 0) as fitter:
    ...     models = [fitter.fit(2000.0, zero_point) for zero_point in (0.0, 0.02)]
    >>> [model.n_nonzero for model in models]
    [1, 1]
    """

    def __init__(
        self,
        features,
        parallax,
        parallax_error,
        penalized=None,
        rows=None,
        solver="prox-newton",
        tolerance=1e-3,
        max_iterations=None,
        exact_distance_modulus=False,
        threads=None,
        layout=None,
    ):
        if solver not in SOLVERS:
            raise BadInputError(f"solver {solver!r}: expected one of {', '.join(SOLVERS)}")
        limits = {"max_iterations": max_iterations} if max_iterations else {}
        self.solver, self.layout = SOLVERS[solver](tolerance, **limits), layout
        self._team = Team(threads)
        data = (features, parallax, parallax_error, 1.0, penalized, rows, 0.0, layout, self._team)
        self.data = TrainingData(*data, exact_distance_modulus)
        self._known, self._state = {}, None

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc, traceback):
        self._team.__exit__(exc_type, exc, traceback)

    @one_blas_thread()
    def fit(self, penalty, zero_point=0.0, start=None, metadata=None):
        """Fit at one penalty and zero point; whether it converged is in the result, without a warning.

        Parameters
        ----------
        penalty, zero_point, metadata
            As in `spfast.fit`.
        start : str or float64 array, optional
            As in `spfast.fit`; by default the nearest of the earlier fits, ``"photometric"`` for the first one.

        Returns
        -------
        FittedModel
        """
        data = self.data
        data.move(penalty, zero_point)
        if start is None:
            nearest = min(self._known, key=lambda at: self._distance(at, penalty, data.zero_point), default=None)
            start = "photometric" if nearest is None else self._known[nearest]
        if self._state is None and penalty > 0:
            self._state = self.solver.new_state(data.objective)
        state = self._state if penalty > 0 else None  # without a penalty the working set is another
        coef = find_start(data, start, self.solver)
        result = _solve(data.objective, coef, self.solver, state)
        self._known[float(penalty), data.zero_point] = result.coef
        return _make_model(data, penalty, result, self.layout, metadata)

    @staticmethod
    def _distance(at, penalty, zero_point):
        ratio = abs(np.log(at[0] / penalty)) if at[0] > 0 and penalty > 0 else np.inf
        return abs(at[1] - zero_point), ratio


def find_start(data, start, solver):
    """Return coefficients to begin from: those given, or by one of the named starts."""
    objective = data.objective
    if isinstance(start, str):
        if start not in STARTS:
            raise BadInputError(f"start {start!r}: expected one of {', '.join(STARTS)} or an array of coefficients")
        if start == "photometric":
            return photometric_start(objective)
        coef = _burn_in(data, solver)
    else:
        coef = np.array(start, dtype=np.float64)
        if coef.shape != (objective.n_features,) or not np.isfinite(coef).all():
            raise BadInputError(f"start: shape {coef.shape}, expected {objective.n_features} finite coefficients")
    objective.meet_condition(coef)
    return coef


def _solve(objective, coef, solver, state):
    """Run a solver from a start.

    A start whose predictions under- or overflow gives way to the photometric one, with a warning; features that are not
    finite are refused.
    """
    unit = objective.penalties.max(initial=0.0)
    if unit == 0.0:
        gradient = np.empty(objective.n_features)
        objective.smooth(coef, np.empty(objective.n_rows), gradient)
        largest = np.abs(gradient).max()
        unit = _UNPENALIZED_UNIT * (max(largest, 1.0) if np.isfinite(largest) else 1.0)
    for last in (False, True):
        try:
            return solver.minimize(objective, coef, unit, state)
        except StartError as error:
            _refuse_features(objective)
            if last:
                raise BadInputError(f"start: predictions {error}; check the units of the features") from None
            text = f"predictions of the start {error}; starting from the magnitudes alone instead"
            warnings.warn(text, SpfastWarning, 4)
            coef = photometric_start(objective)


def warn_unconverged(result, solver):
    """Warn of a result that did not reach its tolerance."""
    if not result.converged:
        warnings.warn(
            f"{solver} {result.message} after {result.n_iterations} iterations: violation {result.kkt_violation:.3g}, "
            f"tolerance {result.tolerance:.3g}",
            ConvergenceWarning,
            3,
        )


def _make_model(data, penalty, result, layout, metadata):
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


def _burn_in(data, solver):
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
    unlimited = type(solver)(solver.tolerance)  # max_iterations bounds the fit of all stars
    return unlimited.minimize(objective.subset(bright), begin, unit).coef


def _refuse_features(objective):
    for row in objective.rows:
        bad = ~np.isfinite(objective.design[row])
        if bad.any():
            raise BadInputError(
                f"features: row {row}, column {np.argmax(bad)} is {objective.design[row, np.argmax(bad)]}, "
                "expected finite numbers; clean the row or leave it out with rows="
            )
