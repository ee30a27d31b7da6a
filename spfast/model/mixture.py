"""Residuals as a mixture of two Gaussians, ordinary and outlying, and the scatter that no error explains.

With ``mu`` a predicted parallax and ``sigma`` the error of the measured one, the residual ``r`` is drawn from ::

    (1 - f) N(0, v) + f N(0, K^2 v)        v = sigma^2 + (s mu)^2

A robust fit, the error budget and the score "likelihood" of a cross-validation all measure scatter by this likelihood.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, logit

from spfast.kernels.stop import raise_if_stopped

__all__ = ["Mixture", "Scatter", "fit_mixture", "fit_scatter"]

#: Outliers are fewer than this share, and their component at least this many times as wide: anything less is not a
#: wrong parallax but the shape of the errors.
_MAX_SHARE, _MIN_WIDTH = 0.3, 5.0
#: The intrinsic scatter of ln parallax is looked for below this.
_MAX_SCATTER = 1.0


@dataclass(frozen=True)
class Mixture:
    """The two components of residuals.

    Attributes
    ----------
    outlier_share : float
        f.
    outlier_width : float
        K: the outliers' standard deviation in units of the others'.
    intrinsic_scatter : float
        s, as a share of the parallax.
    """

    outlier_share: float
    outlier_width: float
    intrinsic_scatter: float

    def variance(self, error, predicted):
        """v: what the first component makes of an error and a predicted parallax (float64 array) [mas^2]."""
        return error**2 + (self.intrinsic_scatter * predicted) ** 2

    def minus_ln_likelihood(self, residual, variance):
        """Sum over stars, without the constant (float)."""
        ordinary, outlying = self._ln_densities(residual**2 / variance)
        return float(np.sum(0.5 * np.log(variance) - np.logaddexp(ordinary, outlying)))

    def slopes(self, residual, variance):
        """Derivatives of each star's term of `minus_ln_likelihood` (three float64 arrays, shape (n,)).

        By the residual, by the variance, and by the logit of the outliers' share.
        """
        outlying = self.outlier_probability(residual, variance)
        pull = (1.0 - outlying * (1.0 - self.outlier_width**-2)) * residual / variance
        return pull, 0.5 * (1.0 - pull * residual) / variance, self.outlier_share - outlying

    def outlier_probability(self, residual, variance):
        """Probability that a residual belongs to the second component.

        Parameters
        ----------
        residual : float64 array, shape (n,) [mas]
        variance : float64 array, shape (n,) [mas^2]
            Of the first component.

        Returns
        -------
        float64 array, shape (n,)

        Examples
        --------
        >>> import numpy as np
        >>> from spfast.model.mixture import Mixture
        >>> mixture = Mixture(outlier_share=0.03, outlier_width=10.0, intrinsic_scatter=0.1)
        >>> mixture.outlier_probability(np.array([0.0, 0.3, 0.5]), np.full(3, 0.01)).round(3).tolist()
        [0.003, 0.21, 0.999]
        """
        ordinary, outlying = self._ln_densities(residual**2 / variance)
        return expit(outlying - ordinary)

    def weights(self, residual, error, predicted):
        """Factors on inverse variances: 1 for an inlier, 1/K^2 for an outlier (float64 array, shape (n,))."""
        outlying = self.outlier_probability(residual, self.variance(error, predicted))
        return 1.0 - outlying * (1.0 - self.outlier_width**-2)

    def _ln_densities(self, z2):
        """Of both components, of residuals z in units of their expected size; the outliers' is -inf without any."""
        share, width = self.outlier_share, self.outlier_width
        with np.errstate(divide="ignore"):
            return np.log1p(-share) - 0.5 * z2, np.log(share / width) - 0.5 * z2 / width**2


class _Search(NamedTuple):
    """How a parameter is searched for: the transformation to a scale without end and back, and bounds on that scale."""

    forward: Callable
    back: Callable
    bounds: tuple


_SEARCH = {
    "outlier_share": _Search(logit, expit, (-14.0, logit(_MAX_SHARE))),
    "outlier_width": _Search(np.log, np.exp, (np.log(_MIN_WIDTH), 9.0)),
    "intrinsic_scatter": _Search(np.log, np.exp, (-9.0, 0.5)),
}
#: Where the search begins.
_FIRST = Mixture(outlier_share=0.02, outlier_width=10.0, intrinsic_scatter=0.1)


def fit_mixture(
    residual: np.ndarray,
    error: np.ndarray,
    predicted: np.ndarray,
    given: Mapping[str, float] | None = None,
    before: Mixture | None = None,
) -> Mixture:
    """Find the mixture of residuals by maximum likelihood.

    Parameters
    ----------
    residual, error, predicted : float64 array, shape (n,) [mas]
    given : mapping of float, optional
        Parameters of the mixture that are held, by name; the others are found.
    before : Mixture, optional
        That of residuals nearly the same: another place to begin.

    Returns
    -------
    Mixture

    Examples
    --------
    >>> import numpy as np
    >>> from spfast.model.mixture import fit_mixture
    >>> rng = np.random.default_rng(1)
    >>> value, error = rng.uniform(0.1, 2.0, 20000), rng.uniform(0.02, 0.1, 20000)
    >>> residual = np.hypot(error, 0.08 * value) * rng.normal(size=20000)
    >>> residual[:1000] *= 20
    >>> mixture = fit_mixture(residual, error, value)
    >>> round(mixture.outlier_share, 2), round(mixture.intrinsic_scatter, 2), round(mixture.outlier_width)
    (0.05, 0.08, 20)
    """
    given = dict(given or {})
    sought = [name for name in _SEARCH if name not in given]
    if given.get("outlier_share") == 0.0 and "outlier_width" in sought:
        sought.remove("outlier_width")  # without outliers nothing depends on it
    held = {name: value for name, value in asdict(_FIRST).items() if name not in sought} | given

    def mixture(point):
        found = {name: float(_SEARCH[name].back(x)) for name, x in zip(sought, point, strict=True)}
        return Mixture(**held, **found)

    def minus_ln_likelihood(point):
        raise_if_stopped()
        trial = mixture(point)
        return trial.minus_ln_likelihood(residual, trial.variance(error, predicted))

    def search(begin):
        start = [np.clip(_SEARCH[name].forward(begin[name]), *_SEARCH[name].bounds) for name in sought]
        # Not relying on gradients: s and f may go to zero, where the likelihood is flat in their logarithms.
        options = {"xatol": 1e-3, "fatol": 1e-3, "maxiter": 2000}
        bounds = [_SEARCH[name].bounds for name in sought]
        return minimize(minus_ln_likelihood, start, method="Nelder-Mead", bounds=bounds, options=options)

    if not sought:
        return mixture(())
    # From a share of next to nothing there is no way back; from anywhere else the rounds may go to and fro.
    found = [search(asdict(begin)) for begin in (before, _FIRST) if begin is not None]
    return mixture(min(found, key=lambda end: end.fun).x)


class Scatter(NamedTuple):
    """An intrinsic scatter, as a share of the parallax, and the mean of minus ln likelihood with it."""

    scatter: float
    minus_ln_likelihood: float


def fit_scatter(
    residual: np.ndarray,
    error: np.ndarray,
    predicted: np.ndarray,
    inlying: np.ndarray | float = 1.0,
    clip: float = np.inf,
) -> Scatter:
    """Find the intrinsic scatter of residuals without a second component by maximum likelihood.

    Parameters
    ----------
    residual, error, predicted : float64 array, shape (n,) [mas]
    inlying : float64 array, shape (n,), optional
        Factors on inverse variances, below 1 for outliers.
    clip : float
        Residuals beyond this many standard deviations count as this many.

    Returns
    -------
    Scatter

    Examples
    --------
    >>> import numpy as np
    >>> from spfast.model.mixture import fit_scatter
    >>> rng = np.random.default_rng(1)
    >>> value, error = rng.uniform(0.1, 2.0, 20000), rng.uniform(0.02, 0.1, 20000)
    >>> round(fit_scatter(np.hypot(error, 0.08 * value) * rng.normal(size=20000), error, value).scatter, 2)
    0.08
    """

    def minus_ln_likelihood(scatter):
        raise_if_stopped()
        variance = (error**2 + (scatter * predicted) ** 2) / inlying
        return float(np.mean(0.5 * np.minimum(residual**2 / variance, clip**2) + 0.5 * np.log(variance)))

    found = minimize_scalar(minus_ln_likelihood, bounds=(0.0, _MAX_SCATTER), method="bounded")
    return Scatter(float(found.x), float(found.fun))
