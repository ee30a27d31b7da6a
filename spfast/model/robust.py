"""A robust likelihood: wrong parallaxes get a component of their own, by expectation maximisation above any solver.

With ``mu`` the model's value and ``sigma`` Gaia's error, a training star's ``r = parallax - mu`` is drawn from

    (1 - f) N(0, v) + f N(0, K^2 v)        v = sigma^2 + (s mu)^2

The scatter ``s`` that no error explains belongs to both components: without it nearby stars, whose errors are far
below what the model can do, would pass for outliers. The probability ``p`` of the second component follows from f, K,
s and r. Each round finds f, K and s by maximum likelihood and fits the coefficients again with every star's inverse
variance times ``weight = 1 - p + p / K^2``. That is the slope of the mixture at given v: ``d ln density / d mu = weight
r / v``. The fixed point minimises ``sum (v / sigma^2) (-ln density)`` plus the L1 term, which is the plain objective
for f = 0: a penalty means the same in both.

A wrong parallax with a small error pulls a model with hundreds of pixels to itself and looks right afterwards. So the
first probabilities come from the unpenalised columns alone, where few stars have that power, and the next ones from
fits with the weights ``weight / v``, under which nearby stars have no more of it than others. A star that weighs little
when all the power is given back cannot win it any more.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from spfast.errors import BadInputError
from spfast.model.predict import linear_predictor
from spfast.model.start import photometric_start

__all__ = ["Mixture", "RobustSettings", "fit_mixture", "fit_robust"]

#: Outliers are fewer than this share, and their component at least this many times as wide: anything less is not a
#: wrong parallax but the shape of the errors.
_MAX_SHARE, _MIN_WIDTH = 0.3, 5.0
_MAX_ROUNDS = 60
#: The rounds end when one moves ln parallax of the training stars by less than this (root of the mean square): a
#: hundredth of the scatter of the best models.
_SMALL_MOVE = 5e-4


@dataclass(frozen=True)
class RobustSettings:
    """What a robust fit is told; what is None is found by maximum likelihood.

    Attributes
    ----------
    outlier_share : float, optional
        f, at least 0 and below 1; 0 gives the plain fit.
    outlier_width : float, optional
        K, larger than 1.
    intrinsic_scatter : float, optional
        s, as a share of the parallax.

    Raises
    ------
    BadInputError
        For a number out of its range.

    Examples
    --------
    >>> import spfast
    >>> spfast.RobustSettings(outlier_share=0.03).outlier_share
    0.03
    """

    outlier_share: float | None = None
    outlier_width: float | None = None
    intrinsic_scatter: float | None = None

    def __post_init__(self):
        for name, low, high, expected in (
            ("outlier_share", 0.0, 1.0 - 1e-9, "0 or more and below 1"),
            ("outlier_width", 1.0 + 1e-9, np.inf, "a number above 1"),
            ("intrinsic_scatter", 0.0, np.inf, "0 or more"),
        ):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and low <= value <= high):
                raise BadInputError(f"{name} is {value!r}, expected {expected}; None to have it fitted")

    @classmethod
    def of(cls, robust):
        """The settings that the argument ``robust`` of a fit stands for, None for False."""
        if isinstance(robust, cls):
            return robust
        if robust is not True and robust is not False:
            raise BadInputError(f"robust is {robust!r}, expected True, False or RobustSettings")
        return cls() if robust else None


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

    @classmethod
    def of(cls, model):
        """That of a model from a robust fit, None for others."""
        noted = model.metadata.get("robust")
        return None if noted is None else cls(*(float(noted[field.name]) for field in fields(cls)))

    def variance(self, error, predicted):
        """v: what the first component makes of an error and a predicted parallax (float64 array) [mas^2]."""
        return error**2 + (self.intrinsic_scatter * predicted) ** 2

    def minus_ln_likelihood(self, residual, variance):
        """Sum over stars, without the constant (float)."""
        ordinary, outlying = self._ln_densities(residual**2 / variance)
        return float(np.sum(0.5 * np.log(variance) - np.logaddexp(ordinary, outlying)))

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
        >>> from spfast.model.robust import Mixture
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
            return np.log1p(-share) - 0.5 * z2, np.log(share) - np.log(width) - 0.5 * z2 / width**2


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


def fit_mixture(residual, error, predicted, settings=None, before=None):
    """Find the mixture of residuals by maximum likelihood.

    Parameters
    ----------
    residual, error, predicted : float64 array, shape (n,) [mas]
    settings : RobustSettings, optional
        What is given and what is to be found; all by default.
    before : Mixture, optional
        That of residuals nearly the same: another place to begin.

    Returns
    -------
    Mixture

    Examples
    --------
    >>> import numpy as np
    >>> from spfast.model.robust import fit_mixture
    >>> rng = np.random.default_rng(1)
    >>> value, error = rng.uniform(0.1, 2.0, 20000), rng.uniform(0.02, 0.1, 20000)
    >>> residual = np.hypot(error, 0.08 * value) * rng.normal(size=20000)
    >>> residual[:1000] *= 20
    >>> mixture = fit_mixture(residual, error, value)
    >>> round(mixture.outlier_share, 2), round(mixture.intrinsic_scatter, 2), round(mixture.outlier_width)
    (0.05, 0.08, 20)
    """
    settings = RobustSettings() if settings is None else settings
    first = asdict(_FIRST)
    given = {name: value for name, value in asdict(settings).items() if value is not None}
    sought = [name for name in _SEARCH if name not in given]
    if settings.outlier_share == 0.0 and "outlier_width" in sought:
        sought.remove("outlier_width")  # without outliers nothing depends on it
    known = {name: value for name, value in first.items() if name not in sought} | given

    def mixture(point):
        found = {name: float(_SEARCH[name].back(x)) for name, x in zip(sought, point, strict=True)}
        return Mixture(**known, **found)

    def minus_ln_likelihood(point):
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


def fit_robust(fitter, penalty, zero_point, start, metadata, settings):
    """Fit coefficients under the mixture: rounds of probabilities and weighted fits until the model moves no more.

    Parameters
    ----------
    fitter : spfast.model.fit.Fitter
        New; its stars keep the weights of the last round.
    penalty, zero_point, start, metadata
        As in `spfast.fit`.
    settings : RobustSettings

    Returns
    -------
    FittedModel
        ``metadata["robust"]`` has the mixture, the number of training stars that are outliers more likely than not, the
        number of rounds, and whether they ended; ``result`` is that of the last round, passes and seconds of all, and
        not converged if the rounds did not end.
    """
    data, results, mixture = fitter.data, [], None
    data.move(penalty, zero_point)
    if np.any(data.objective.penalties == 0.0):
        mixture = _rounds_on_magnitudes(data, settings)
    for tempered in (True, False):
        ln_parallax, settled = np.full(data.rows.size, np.inf), False
        for _ in range(_MAX_ROUNDS):
            model = fitter.fit(penalty, zero_point, start, metadata)
            results.append(model.result)
            start, before = model.coef, ln_parallax
            ln_parallax = _ln_parallax(data, model.coef)
            settled = _moved(ln_parallax, before) < _SMALL_MOVE
            mixture, weights = _reweigh(data, ln_parallax, settings, mixture, tempered and not settled)
            if settled:
                break
    outlying = weights < 0.5 * (1.0 + mixture.outlier_width**-2)  # a probability above one half
    noted = asdict(mixture) | {"n_outliers": int(outlying.sum()), "n_rounds": len(results), "converged": settled}
    result = replace(
        model.result,
        converged=model.result.converged and settled,
        message=model.result.message if settled else "rounds of the robust likelihood have not settled",
        n_passes=sum(result.n_passes for result in results),
        seconds=sum(result.seconds for result in results),
    )
    return replace(model, result=result, metadata={**model.metadata, "robust": noted})


def _rounds_on_magnitudes(data, settings):
    """Give the stars the weights of the mixture around a fit of the unpenalised columns alone, and return it."""
    mixture, ln_parallax = None, np.full(data.rows.size, np.inf)
    for _ in range(_MAX_ROUNDS):
        before, ln_parallax = ln_parallax, _ln_parallax(data, photometric_start(data.objective))
        mixture, _ = _reweigh(data, ln_parallax, settings, mixture, tempered=True)
        if _moved(ln_parallax, before) < _SMALL_MOVE:
            break
    return mixture


def _ln_parallax(data, coef):
    return linear_predictor(data.objective.design, coef, data.rows, data.objective.team.threads)


def _reweigh(data, ln_parallax, settings, before, tempered):
    """Find the mixture of residuals and give the stars its weights, times sigma^2 / v if tempered; returns both."""
    known = data.ivar > 0.0
    predicted, error = np.exp(ln_parallax[known]), data.ivar[known] ** -0.5
    residual = data.objective.parallax[known] - predicted
    mixture = fit_mixture(residual, error, predicted, settings, before)
    weights = np.ones(known.size)
    weights[known] = mixture.weights(residual, error, predicted)
    factors = weights.copy()
    if tempered:
        factors[known] *= error**2 / mixture.variance(error, predicted)
    data.weigh(factors)
    return mixture, weights


def _moved(ln_parallax, before):
    return float(np.sqrt(np.mean((ln_parallax - before) ** 2)))
