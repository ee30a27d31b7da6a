"""One fit, from arrays to a model: check the input, find a start, run a solver."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from spfast.blas import one_blas_thread
from spfast.errors import BadInputError, ConvergenceWarning, SpfastWarning
from spfast.kernels.team import Team
from spfast.model.arrays import warn_of_scales
from spfast.model.fit_data import FitData
from spfast.model.fitted_model import FittedModel
from spfast.model.layout import FeatureLayout
from spfast.model.options import FitOptions
from spfast.model.robust import fit_robust
from spfast.model.start import paper_start, photometric_start, sample_fit
from spfast.solvers.base import SolverResult, StartError

__all__ = ["Fitter", "fit", "warn_unconverged"]

#: The paper's burn-in uses stars above this raw parallax signal-to-noise.
BURN_IN_SIGNAL = 20.0
#: Without a penalty the tolerance is in units of this share of the largest gradient at the start.
_UNPENALIZED_UNIT = 1e-2


def fit(
    features: np.ndarray,
    parallax: np.ndarray,
    parallax_error: np.ndarray,
    penalty: float,
    *,
    penalized: np.ndarray | None = None,
    rows: np.ndarray | None = None,
    layout: FeatureLayout | None = None,
    zero_point: float = 0.0,
    metadata: dict | None = None,
    options: FitOptions | None = None,
    **named: Any,
) -> FittedModel:
    """Fit ``parallax = exp(features @ coef)`` with an L1 penalty (Hogg, Eilers & Rix 2019, Eq. 1-4).

    The objective is stated in `spfast.model.objective`.

    Parameters
    ----------
    features : float32 or float64 array, C order, shape (n_stars, n_features)
        Feature rows, memory-mapped or not; never copied. A constant column is the caller's.
    parallax, parallax_error : float array, Quantity or table column, shape (n_stars,) [mas]
        Of every row of ``features``; negative parallaxes belong in. An infinite error switches a star off. The unit of
        a Quantity or a column is honoured; numbers without one are in mas.
    penalty : float
        lambda, not scaled by the number of stars or of columns. Chi-squared is a sum over stars, so that the same
        lambda is a weaker penalty for more of them; what stays the same is lambda divided by their number.
    penalized : bool array, shape (n_features,), optional
        Columns under the penalty; the layout's, or all, by default.
    rows : bool mask or int array, optional
        The training stars; all by default. Integers 0 and 1 for every star are a mask.
    layout : FeatureLayout, optional
        What the columns are; needed to apply the model to another survey.
    zero_point : float or Quantity [mas]
        Added to every parallax.
    metadata : dict, optional
        Notes of the caller's, kept with the model.
    options : FitOptions, optional
        How the fit is made.
    **named
        Any of the options by its name: ``solver``, ``start``, ``exact_distance_modulus``, ``robust``, ``threads``; and
        ``tolerance`` (on the largest violation of the optimality conditions, in units of the penalty) and
        ``max_iterations`` of a solver that is given by its name.

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
        If the start under- or overflows and another one is taken; or, without a layout, if the scatters of the
        penalised columns are far from 1 or far apart, so that one penalty does not suit them.

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
    options = FitOptions.of(options, **named)
    stars = {"penalized": penalized, "rows": rows, "layout": layout}
    with Fitter(features, parallax, parallax_error, **stars, options=replace(options, robust=None)) as fitter:
        how = {"zero_point": zero_point, "start": options.start, "metadata": metadata}
        if layout is None and penalty != 0:  # what has a layout was brought to scale when it was made
            warn_of_scales(fitter.data.objective.design, fitter.data.rows, fitter.data.penalized)
        if options.robust is None:
            model = fitter.fit(penalty, **how)
        else:
            model = fit_robust(fitter, penalty, **how, settings=options.robust)
    warn_unconverged(model.result, options.solver.name)
    return model


class Fitter:
    """Fits to the same stars at several penalties and zero points; each uses what the ones before have worked out.

    Each fit begins where the nearest of the earlier ones ended and takes over the Gram matrix of its working set. That
    saves most of the time; where a fit ends depends on what came before, within its tolerance.

    Parameters
    ----------
    features, parallax, parallax_error, penalized, rows, layout, options, **named
        As in `fit`; no fit is robust here.

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
    ...     models = [fitter.fit(2000.0, zero_point=zero_point) for zero_point in (0.0, 0.02)]
    >>> [model.n_nonzero for model in models]
    [1, 1]
    """

    def __init__(
        self,
        features: np.ndarray,
        parallax: np.ndarray,
        parallax_error: np.ndarray,
        *,
        penalized: np.ndarray | None = None,
        rows: np.ndarray | None = None,
        layout: FeatureLayout | None = None,
        options: FitOptions | None = None,
        **named: Any,
    ):
        self.options, self.layout = FitOptions.of(options, **named), layout
        if self.options.robust is not None:
            raise BadInputError("robust: not for several fits to the same stars; use `spfast.fit` for each")
        self._team = Team(self.options.threads)
        self.data = FitData(
            features,
            parallax,
            parallax_error,
            self._team,
            penalized=penalized,
            rows=rows,
            layout=layout,
            exact_distance_modulus=self.options.exact_distance_modulus,
        )
        self._ends, self._state = {}, None

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc, traceback):
        self._team.__exit__(exc_type, exc, traceback)

    @one_blas_thread()
    def fit(
        self,
        penalty: float,
        *,
        zero_point: float = 0.0,
        start: str | np.ndarray | None = None,
        metadata: dict | None = None,
    ) -> FittedModel:
        """Fit at one penalty and zero point; whether it converged is in the result, without a warning.

        Parameters
        ----------
        penalty, zero_point, metadata
            As in `spfast.fit`.
        start : str or float64 array, optional
            As in `FitOptions`; by default the nearest of the earlier fits, that of the options for the first one.

        Returns
        -------
        FittedModel
        """
        data, solver = self.data, self.options.solver
        data.move(penalty, zero_point)
        if start is None:
            nearest = min(self._ends, key=lambda at: self._distance(at, penalty, data.zero_point), default=None)
            start = self.options.start if nearest is None else self._ends[nearest]
        if self._state is None and penalty > 0:
            self._state = solver.new_state(data.objective)
        state = self._state if penalty > 0 else None  # without a penalty the working set is another
        sample = sample_fit(data.objective, solver) if isinstance(start, str) and start == "photometric" else None
        start = _find_start(data, start if sample is None else sample.coef, solver)
        result = _solve(data, solver, start, state)
        if sample is not None:
            reads, seconds = result.n_passes + sample.n_passes, result.seconds + sample.seconds
            result = replace(result, n_passes=reads, seconds=seconds)
        self._ends[float(penalty), data.zero_point] = result.coef
        return FittedModel(
            coef=result.coef,
            penalized=data.penalized,
            penalty=float(penalty),
            zero_point=data.zero_point,
            n_stars=int(data.rows.size),
            result=result,
            layout=self.layout,
            metadata=dict(metadata or {}),
        )

    @staticmethod
    def _distance(at, penalty, zero_point):
        ratio = abs(np.log(at[0] / penalty)) if at[0] > 0 and penalty > 0 else np.inf
        return abs(at[1] - zero_point), ratio


def _find_start(data, start, solver):
    """Return coefficients to begin from: those given, or by one of the named starts."""
    objective = data.objective
    if isinstance(start, str):
        if start == "photometric":
            return photometric_start(objective)
        coef = _burn_in(data, solver)
    else:
        try:
            coef = np.array(start, dtype=np.float64)
        except (TypeError, ValueError):
            coef = np.empty(0)
        if coef.shape != (objective.n_features,) or not np.isfinite(coef).all():
            raise BadInputError(f"start: shape {coef.shape}, expected {objective.n_features} finite coefficients")
    objective.meet_condition(coef)
    return coef


def _solve(data, solver, coef, state):
    """Run a solver from a start.

    A start whose predictions under- or overflow gives way to the photometric one, with a warning; features that are not
    finite are refused, and far too large ones if the fit does not converge.
    """
    objective = data.objective
    unit = objective.penalties.max(initial=0.0)
    if unit == 0.0:
        gradient = np.empty(objective.n_features)
        objective.smooth(coef, np.empty(objective.n_rows), gradient)
        largest = np.abs(gradient).max()
        unit = _UNPENALIZED_UNIT * (max(largest, 1.0) if np.isfinite(largest) else 1.0)
    for last in (False, True):
        try:
            result = solver.minimize(objective, coef, unit, state)
            if not result.converged:
                data.refuse_features()  # a number that is far too large is why
            return result
        except np.linalg.LinAlgError as error:
            data.refuse_features()
            raise BadInputError(f"features: no fit can be made ({error}); are their columns on like scales?") from None
        except StartError as error:
            data.refuse_features()
            if last:
                raise BadInputError(f"start: predictions {error}; check the units of the features") from None
            text = f"predictions of the start {error}; starting from the magnitudes alone instead"
            warnings.warn(text, SpfastWarning, 4)
            coef = photometric_start(objective)


def warn_unconverged(result: SolverResult, solver: str) -> None:
    """Warn of a result that did not reach its tolerance."""
    if not result.converged:
        warnings.warn(
            f"{solver} {result.message} after {result.n_iterations} iterations: violation {result.kkt_violation:.3g}, "
            f"tolerance {result.tolerance:.3g}",
            ConvergenceWarning,
            3,
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
    data.refuse_features()  # the second stage's first pass would find those of faint stars only after the first stage
    # However few iterations the fit itself may take.
    return type(solver)(solver.tolerance).minimize(objective.subset(bright), begin, unit).coef
