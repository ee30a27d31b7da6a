"""scikit-learn's door: the fit of `spfast.fit` as an estimator for its pipelines and searches."""

import numpy as np
from numba import config as numba_config

from spfast.errors import BadInputError
from spfast.model.arrays import penalized_mask
from spfast.model.fit import fit
from spfast.model.predict import linear_predictor

try:
    from joblib import effective_n_jobs
    from sklearn.base import BaseEstimator, RegressorMixin
    from sklearn.utils.validation import check_array, check_is_fitted, validate_data
except ImportError:
    raise BadInputError("ExpLinearRegressor needs scikit-learn; install it (pip install 'spfast[sklearn]')") from None

__all__ = ["ExpLinearRegressor"]

#: What the kernels read; anything else becomes the first.
_DTYPES = (np.float64, np.float32)


class ExpLinearRegressor(RegressorMixin, BaseEstimator):
    """L1-penalised regression of noisy measurements of something positive: ``y = exp(X @ coef_ + intercept_) + noise``.

    The noise is added to the exponential, so that single values of ``y`` may be negative, as parallaxes are; on average
    ``y`` must be positive. The fit minimises `spfast.fit`'s objective::

        0.5 sum_n sample_weight_n (y_n - exp(X_n @ coef + intercept))^2  +  alpha sum_j |coef_j|

    Parameters
    ----------
    alpha : float
        The penalty, zero or larger, on a sum over samples: NOT divided by their number as that of
        `sklearn.linear_model.Lasso` is. With `n` times the samples, or `n` times their weights, ``n * alpha`` is as
        strong. It acts on coefficients as they are, so bring the columns to like scales first (``StandardScaler``).
    fit_intercept : bool
        Add a constant, which is not penalised. That copies ``X``; a constant column of one's own under ``penalized``
        does not.
    penalized : bool array, shape (n_features,), optional
        Columns under the penalty; all by default.
    solver : str
        ``"prox-newton"`` or ``"owlqn"``.
    tol : float
        On the largest violation of the optimality conditions, in units of ``alpha``.
    max_iter : int, optional
        The solver's own by default: 100 for ``"prox-newton"``, 5000 for ``"owlqn"``.
    n_jobs : int, optional
        Threads, in scikit-learn's words: one by default, and in the workers of a search; -1 for all processors, or all
        that joblib leaves to a worker process. The answer does not depend on it.

    Attributes
    ----------
    coef_ : float64 array, shape (n_features,)
        Exact zeros off the support.
    intercept_ : float
    n_iter_ : int
        Iterations of the solver.
    n_features_in_ : int
    feature_names_in_ : array of str, shape (n_features,)
        If ``X`` was a table with names.

    Examples
    --------
    Weights are ``1 / error**2``:

    >>> import numpy as np
    >>> import spfast
    >>> rng = np.random.default_rng(1)
    >>> X, error = rng.normal(size=(600, 20)), rng.uniform(0.01, 0.05, size=600)
    >>> y = np.exp(-1.0 + 0.5 * X[:, 0] - 0.3 * X[:, 1]) + error * rng.normal(size=600)
    >>> model = spfast.ExpLinearRegressor(alpha=3000.0).fit(X, y, sample_weight=error**-2)
    >>> np.flatnonzero(model.coef_)
    array([0, 1])

    In a pipeline, with the penalty chosen by cross-validation:

    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> pipeline = make_pipeline(StandardScaler(), spfast.ExpLinearRegressor())
    >>> search = GridSearchCV(pipeline, {"explinearregressor__alpha": [3.0, 30.0, 300.0, 3000.0]}, cv=3)
    >>> search.fit(X, y, explinearregressor__sample_weight=error**-2).best_params_
    {'explinearregressor__alpha': 300.0}
    """

    def __init__(
        self,
        alpha=1.0,
        *,
        fit_intercept=True,
        penalized=None,
        solver="prox-newton",
        tol=1e-3,
        max_iter=None,
        n_jobs=None,
    ):
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.penalized = penalized
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs

    def fit(self, X, y, sample_weight=None):
        """Fit coefficients and intercept.

        Parameters
        ----------
        X : array-like, shape (n_samples, n_features)
            float32 and float64 are kept, all else becomes float64. Not sparse.
        y : array-like, shape (n_samples,)
            Single values may be negative.
        sample_weight : array-like, shape (n_samples,), optional
            ``1 / error**2`` of ``y``; zero switches a sample off. All 1 by default. A whole number is the same as that
            many equal rows.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the input cannot be used.

        Warns
        -----
        spfast.ConvergenceWarning
            If ``tol`` was not reached.
        spfast.SpfastWarning
            If the scatters of the penalised columns are far from 1 or far apart.
        """
        X, y = validate_data(self, X, y, dtype=_DTYPES, order="C", y_numeric=True)
        penalized = penalized_mask(self.penalized, None, X.shape[1])
        if self.fit_intercept:
            X = np.column_stack([np.ones(len(X), dtype=X.dtype), X])
            penalized = np.append(False, penalized)
        model = fit(
            X,
            y,
            _errors(sample_weight, len(X)),
            self.alpha,
            penalized=penalized,
            solver=self.solver,
            tolerance=self.tol,
            max_iterations=self.max_iter,
            threads=self._threads(),
        )
        self.intercept_, self.coef_ = (model.coef[0], model.coef[1:]) if self.fit_intercept else (0.0, model.coef)
        self.n_iter_ = model.result.n_iterations
        return self

    def predict(self, X):
        """Return ``exp(X @ coef_ + intercept_)``.

        Parameters
        ----------
        X : array-like, shape (n_samples, n_features)

        Returns
        -------
        y : float64 array, shape (n_samples,)
            In the unit of the ``y`` that was fitted; never negative.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=_DTYPES, order="C", reset=False)
        return np.exp(linear_predictor(X, self.coef_, threads=self._threads()) + self.intercept_)

    def _threads(self):
        # joblib hands its worker processes their share of the processors by numba's variable, among others.
        return min(effective_n_jobs(self.n_jobs), numba_config.NUMBA_NUM_THREADS)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = True  # on average
        return tags


def _errors(sample_weight, n_samples):
    """Errors (float64 array, shape (n_samples,)) from weights."""
    if sample_weight is None:
        return np.ones(n_samples)
    weights = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    if weights.shape != (n_samples,) or weights.min() < 0.0 or not weights.any():
        raise BadInputError(
            f"sample_weight: shape {weights.shape}, from {weights.min():g} to {weights.max():g}; expected a weight "
            f"1/error^2 for each of the {n_samples} rows of X, none negative and not all zero"
        )
    with np.errstate(divide="ignore"):
        return 1.0 / np.sqrt(weights)
