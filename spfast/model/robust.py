"""A robust likelihood: wrong parallaxes get a component of their own, by expectation maximisation above any solver.

With ``mu`` the model's value and ``sigma`` Gaia's error, a training star's ``r = parallax - mu`` is drawn from the
mixture of `spfast.model.mixture`, with a share f of outliers, their width K and the variance ``v = sigma^2 + (s mu)^2``
of the others. The scatter ``s`` that no error explains belongs to both components: without it nearby stars, whose
errors are far below what the model can do, would pass for outliers. The probability ``p`` of the second component
follows from f, K, s and r. Each round finds f, K and s by maximum likelihood and fits the coefficients again with every
star's inverse variance times ``weight = 1 - p + p / K^2``. That is the slope of the mixture at given v:
``d ln density / d mu = weight r / v``. The fixed point minimises ``sum (v / sigma^2) (-ln density)`` plus the L1 term,
which is the plain objective for f = 0: a penalty means the same in both.

A wrong parallax with a small error pulls a model with hundreds of pixels to itself and looks right afterwards. So the
first probabilities come from the unpenalised columns alone, where few stars have that power, and the next ones from
fits with the weights ``weight / v``, under which nearby stars have no more of it than others. A star that weighs little
when all the power is given back cannot win it any more.
"""

from dataclasses import asdict, dataclass, replace

import numpy as np

from spfast.errors import BadInputError
from spfast.model.mixture import fit_mixture
from spfast.model.parts import RobustFit
from spfast.model.predict import linear_predictor
from spfast.model.start import photometric_start

__all__ = ["RobustSettings", "fit_robust"]

_MAX_ROUNDS = 60
#: The rounds end when one moves ln parallax of the training stars by less than this (root of the mean square): a
#: hundredth of the scatter of the best models.
_SMALL_MOVE = 5e-4


@dataclass(frozen=True)
class RobustSettings:
    """Parameters that a robust fit holds; those that are None are found by maximum likelihood.

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

    @property
    def given(self) -> dict:
        """The parameters that are held, by name (dict of float)."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def of(cls, robust: "bool | RobustSettings | None") -> "RobustSettings | None":
        """The settings that the argument ``robust`` of a fit stands for, None for False."""
        if robust is None:
            return None
        if isinstance(robust, cls):
            return robust
        if robust is not True and robust is not False:
            raise BadInputError(f"robust is {robust!r}, expected True, False or RobustSettings")
        return cls() if robust else None


def fit_robust(fitter, penalty, *, zero_point, start, metadata, settings):
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
        Its ``robust`` says what was found. Its ``result`` is that of the last round, with the passes and seconds of
        all, and not converged if the rounds have not settled.
    """
    data, results, mixture = fitter.data, [], None
    data.move(penalty, zero_point)
    if np.any(data.objective.penalties == 0.0):
        mixture = _rounds_on_magnitudes(data, settings)
    for tempered in (True, False):
        ln_parallax, settled = np.full(data.rows.size, np.inf), False
        for _ in range(_MAX_ROUNDS):
            model = fitter.fit(penalty, zero_point=zero_point, start=start, metadata=metadata)
            results.append(model.result)
            start, before = model.coef, ln_parallax
            ln_parallax = _ln_parallax(data, model.coef)
            settled = _moved(ln_parallax, before) < _SMALL_MOVE
            mixture, weights = _reweigh(data, ln_parallax, settings, mixture, tempered and not settled)
            if settled:
                break
    outlying = weights < 0.5 * (1.0 + mixture.outlier_width**-2)  # a probability above one half
    robust = RobustFit(**asdict(mixture), n_outliers=int(outlying.sum()), n_rounds=len(results), converged=settled)
    result = replace(
        model.result,
        converged=model.result.converged and settled,
        message=model.result.message if settled else "rounds of the robust likelihood have not settled",
        n_passes=sum(result.n_passes for result in results),
        seconds=sum(result.seconds for result in results),
    )
    return replace(model, result=result, robust=robust)


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
    ln_parallax = linear_predictor(data.objective.design, coef, data.rows, data.objective.team.threads)
    if not np.isfinite(ln_parallax).all():
        data.refuse_features()
    return ln_parallax


def _reweigh(data, ln_parallax, settings, before, tempered):
    """Find the mixture of residuals and give the stars its weights, times sigma^2 / v if tempered; returns both."""
    weighed = data.ivar > 0.0
    predicted, error = np.exp(ln_parallax[weighed]), data.ivar[weighed] ** -0.5
    residual = data.objective.parallax[weighed] - predicted
    mixture = fit_mixture(residual, error, predicted, settings.given, before)
    weights = np.ones(weighed.size)
    weights[weighed] = mixture.weights(residual, error, predicted)
    factors = weights.copy()
    if tempered:
        factors[weighed] *= error**2 / mixture.variance(error, predicted)
    data.weigh(factors)
    return mixture, weights


def _moved(ln_parallax, before):
    return float(np.sqrt(np.mean((ln_parallax - before) ** 2)))
