"""The parallax zero point fitted with the coefficients: from stars held out, by instrumental variables.

For given coefficients of the pixels the offsets solve, together with a correction ``b_n . change`` to ln parallax, the
moments ::

    sum_n w_n z_n (parallax_n + c_n . offsets - exp(eta_n + b_n . change)) = 0        z_n = [c_n, exp(eta_n) b_n]

and for given offsets the coefficients are a fit like any other: the two take turns until the offsets stay. What this
has over minimising one objective in both:

* ``eta`` is predicted by inner folds that did not see the star: an overfitted pixel cannot pay for an offset;
* ``b`` are a constant, the colours, and the luminosity that the spectrum tells with its square: what a penalty has
  shrunk, or noise has spread, is set right for the stars held out, and what is left over does not depend on the
  luminosity told;
* the weights are ``w = 1/(error^2 + (s^2 + noise^2) guide^2)``, s being the scatter held out, ``noise`` what the errors
  of the features make of a typical prediction, and ``guide`` the parallax that the unpenalised columns alone suggest:
  a few nearby stars with tiny errors do not decide, and neither a measured parallax nor the noise of a prediction
  sets a star's weight. With ``robust`` an outlier's falls to almost none.

With a layout the magnitudes' coefficients sum to -0.2 ln 10, without which an offset and that sum do each other's work.
But at a given magnitude a star brighter than its spectrum tells is farther away than predicted, so that the sum that
predicts best is smaller: the offset comes out too small. By how much is simulated (SIMEX: Cook & Stefanski 1994, JASA
89, 1314): as much scatter as its own prediction has, s and noise, is added to all magnitudes of a star, and to a
covariate that is one of them, and what that moves the offsets by is taken back.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize_scalar

from spfast.blas import one_blas_thread
from spfast.config import ZERO_POINT
from spfast.errors import BadInputError
from spfast.model.arrays import MAGNITUDE_SUM
from spfast.model.fitted_model import FittedModel
from spfast.model.layout import MAGNITUDE
from spfast.model.robust import RobustSettings, fit_mixture
from spfast.selection.splits import Split
from spfast.training.stars import TrainingSet, warn_of_unconverged

__all__ = ["ZeroPointFit", "fit_offsets", "fit_zero_point"]

_MAX_STEPS = 12
#: The offsets have converged when a step moves none by this share of its error.
_SMALL_STEP = 0.05
#: Residuals beyond this many sigmas count as this many when the scatter is measured; it is looked for below one.
_CLIP, _MAX_SCATTER = 5.0, 1.0
#: Draws of added scatter.
_N_DRAWS = 16
#: What the mean of ln parallax may be wrong by, beyond what ``change`` mends, for stars one standard deviation nearer
#: and, for a slope, one more in its covariate: in units of the scatter, for covariates that follow the brightness and
#: for others, such as a colour, which tells one kind of star and its place from another. From mock surveys.
_MISFIT, _MISFIT_OF_KINDS = 0.12, 0.2
#: A covariate of which the magnitudes tell this share of the variance follows them, unless it is a colour.
_FOLLOWS = 0.9
#: A guide that varies by less, in ln parallax, tells no near star from a far one.
_MIN_SPREAD = 0.05


@dataclass(frozen=True)
class ZeroPointFit:
    """Offsets that were fitted with a model.

    Attributes
    ----------
    model : FittedModel
        Its ``zero_point`` is the mean offset of the training stars [mas].
    offsets : float64 array, shape (1 + n_covariates,) [mas, mas per unit of the covariate]
        Added to a star's parallax: ``offsets[0] + covariates . offsets[1:]``.
    covariance : float64 array, shape (1 + n_covariates, 1 + n_covariates)
        Noise, and what a misfit of the model may do.
    noise : float64 array, shape (1 + n_covariates, 1 + n_covariates)
        The first of the two alone, a sandwich.
    correction : float64 array, shape (1 + n_covariates,)
        What has been added to ``offsets`` for scatter in the magnitudes.
    scatter : float
        s.
    n_steps : int
    converged : bool
    """

    model: FittedModel
    offsets: np.ndarray
    covariance: np.ndarray
    noise: np.ndarray
    correction: np.ndarray
    scatter: float
    n_steps: int
    converged: bool


@one_blas_thread()
def fit_zero_point(
    features,
    parallax,
    parallax_error,
    penalty,
    covariates=None,
    penalized=None,
    rows=None,
    first=ZERO_POINT,
    n_folds=5,
    layout=None,
    threads=None,
):
    """Fit coefficients and zero point together.

    Parameters
    ----------
    features, parallax, parallax_error, penalty, penalized, rows, layout, threads
        As in `spfast.fit`. With a layout the distance modulus is exact.
    covariates : float array, shape (n_stars, n_covariates), optional
        What the offset is linear in besides a constant, for each row of ``features``. Centre them, so that the
        constant is the offset of a typical star.
    first : float [mas]
        Where the constant begins; the answer does not depend on it.
    n_folds : int
        Inner folds, by row.

    Returns
    -------
    ZeroPointFit

    Raises
    ------
    BadInputError
        If the input cannot be used.

    Examples
    --------
    >>> import numpy as np, spfast
    >>> rng = np.random.default_rng(1)
    >>> x = np.column_stack([np.ones(3000), rng.normal(size=(3000, 20))])
    >>> parallax = np.exp(-1.0 + 0.8 * x[:, 1]) - 0.05 + 0.02 * rng.normal(size=3000)
    >>> result = spfast.fit_zero_point(x, parallax, np.full(3000, 0.02), 2000.0, penalized=np.arange(21) > 1)
    >>> bool(abs(result.offsets[0] - 0.05) < 3 * result.covariance[0, 0] ** 0.5)
    True
    """
    n_stars = len(features)
    rows = np.arange(n_stars) if rows is None else np.asarray(rows)
    rows = np.flatnonzero(rows) if rows.dtype == bool else rows
    label = np.arange(rows.size) % n_folds
    splits = [Split(0, str(k), rows[label != k], rows[label == k]) for k in range(n_folds)]
    exact = layout is not None and bool(layout.magnitudes)
    options = {"penalized": penalized, "exact_distance_modulus": exact, "threads": threads}
    parallax, error = np.asarray(parallax, dtype=np.float64), np.asarray(parallax_error, dtype=np.float64)
    training = TrainingSet(features, None, layout, parallax, error, error, rows, options)
    return fit_offsets(training, splits, penalty, covariates, first)


def fit_offsets(training, splits, penalty, covariates=None, first=ZERO_POINT, metadata=None, robust=False):
    """Fit coefficients and zero point of a training set together.

    Parameters
    ----------
    training : TrainingSet
    splits : sequence of Split
        Inner folds that hold out every training star once.
    penalty, covariates, first
        As in `fit_zero_point`.
    metadata : dict, optional
        Kept with the model.
    robust : bool or RobustSettings
        Give wrong parallaxes, found among the stars held out, as little weight as a robust fit does.

    Returns
    -------
    ZeroPointFit

    Raises
    ------
    BadInputError
        For covariates of another shape or not finite, or if the unpenalised columns do not tell near from far.
    """
    design = _design(training, covariates)
    moments = _Moments(training, design, RobustSettings.of(robust))
    offsets = np.zeros(design.shape[1])
    offsets[0] = first
    coefs, converged = {}, False
    for n_steps in range(1, _MAX_STEPS + 1):  # noqa: B007 - its last value is in the result
        shifted = _shifted(training, design @ offsets)
        moments.look(shifted, *_held_out(shifted, splits, penalty, coefs), offsets)
        found, noise, covariance, correction = moments.solve()
        move, offsets = found - offsets, found
        if np.all(np.abs(move) <= _SMALL_STEP * np.sqrt(np.diag(covariance))):
            converged = True
            break
    added = design @ offsets
    mean = float(added.mean())
    model = _shifted(training, added - mean).fit(penalty, mean, metadata=metadata)
    return ZeroPointFit(model, offsets, covariance, noise, correction, moments.scatter, n_steps, converged)


class _Moments:
    """The moments of a training set, for one set of held-out predictions after the other."""

    def __init__(self, training, design, robust):
        self._design, self._robust = design, robust
        self._raw, self._error = training.parallax[training.rows], training.gaia_error[training.rows]
        free, magnitudes = _unpenalized(training)
        values = training.features[training.rows[:, None], free].astype(np.float64)
        varies = values.std(axis=0) > 0
        values, magnitudes = (values - values.mean(axis=0))[:, varies], magnitudes[varies]
        self._photometry = np.column_stack([np.ones(len(values)), values, values**2])
        self._exact = bool(training.options.get("exact_distance_modulus"))
        self._colours, self._brightness, self._per_brightness = values, 0.0, np.zeros(design.shape[1])
        if self._exact:
            # Directions that keep the sum of the magnitudes' coefficients, and one that has all of it, in ln parallax.
            self._colours = values @ np.linalg.svd(magnitudes[None].astype(np.float64))[2][1:].T
            self._brightness = MAGNITUDE_SUM * values[:, magnitudes].mean(axis=1)
            self._per_brightness = _follow(design, values, magnitudes) / MAGNITUDE_SUM

    def look(self, shifted, eta, noise, offsets):
        """Take new held-out predictions of ln parallax and their noise: guide, columns, scatter and weights follow."""
        self._eta, self._offsets = eta, offsets
        ln_guide = self._photometry @ np.linalg.lstsq(self._photometry, eta, rcond=1e-10)[0]
        if not ln_guide.std() > _MIN_SPREAD:
            raise BadInputError(
                f"the unpenalised columns predict ln parallax within {ln_guide.std():.3g}, expected {_MIN_SPREAD:g} or "
                "more: they do not tell near stars from far ones, so no zero point can be fitted; give one"
            )
        self._ln_guide = ln_guide
        luminosity = eta - self._brightness
        luminosity = luminosity - luminosity.mean()
        columns = np.column_stack([self._colours, luminosity, luminosity**2 - np.mean(luminosity**2)])
        self._columns = np.column_stack([np.ones(len(columns)), _orthonormal(columns)])
        predicted = np.exp(eta)
        residual = self._raw + self._design @ offsets - predicted
        error = np.hypot(self._error, noise * predicted)
        self._inlying = 1.0
        if self._robust is None:
            self.scatter = _scatter(residual, error, predicted)
        else:
            mixture = fit_mixture(residual, error, predicted, self._robust)
            self.scatter = mixture.intrinsic_scatter
            self._inlying = mixture.weights(residual, error, predicted)
        self._spread, self._typical = np.hypot(self.scatter, noise), np.hypot(self.scatter, np.median(noise))

    def solve(self):
        """Offsets, the covariance of their noise, their whole covariance, and the correction in them."""
        n = self._design.shape[1]
        found, response, instruments, residual, mean = self._roots()
        noise = response @ (instruments * residual[:, None] ** 2).T @ instruments @ response.T
        noise = noise[:n, :n]
        covariance, near = noise.copy(), _standard(self._ln_guide)
        for column, follows in zip(self._design.T, self._per_brightness, strict=True):
            constant = column.std() == 0.0
            misfit = near if constant else _standard(column) * near
            share = _MISFIT if constant or follows else _MISFIT_OF_KINDS
            moved = share * self.scatter * (response @ (instruments.T @ (mean * misfit)))[:n]
            covariance += np.outer(moved, moved)
        correction = found[:n] - self._with_more_scatter() if self._exact else np.zeros(n)
        return found[:n] + correction, noise, covariance, correction

    def _with_more_scatter(self):
        """Mean offsets where all magnitudes of a star have as much scatter again."""
        rng = np.random.default_rng(0)
        draws = self._spread * rng.normal(size=(_N_DRAWS, self._eta.size))
        return np.mean([self._roots(added)[0][: self._design.shape[1]] for added in draws], axis=0)

    def _roots(self, added=0.0):
        """Solve the moments by damped Newton steps; ``added`` moves every star's ln parallax by its magnitudes."""
        eta, guide = self._eta + added, np.exp(self._ln_guide + added)
        moved = np.multiply.outer(added, self._per_brightness)
        design, raw = self._design + moved, self._raw - moved @ self._offsets
        weights = self._inlying / (self._error**2 + (self._typical * guide) ** 2)
        instruments = weights[:, None] * np.column_stack([design, np.exp(eta)[:, None] * self._columns])
        n = design.shape[1]
        unit = 1.0 / np.sqrt((instruments**2 / weights[:, None]).sum(axis=0))
        instruments = instruments * unit

        def residual_of(unknowns):
            mean = np.exp(np.minimum(eta + self._columns @ unknowns[n:], 50.0))
            return raw + design @ unknowns[:n] - mean, mean

        unknowns = np.zeros(n + self._columns.shape[1])
        residual, mean = residual_of(unknowns)
        for _ in range(50):
            moments = instruments.T @ residual
            slope = instruments.T @ np.column_stack([-design, mean[:, None] * self._columns])
            step, share = np.linalg.lstsq(slope, moments, rcond=1e-12)[0], 1.0
            while True:
                residual, mean = residual_of(unknowns + share * step)
                if share < 1e-4 or np.linalg.norm(instruments.T @ residual) <= np.linalg.norm(moments):
                    break
                share *= 0.5
            unknowns = unknowns + share * step
            if np.abs(step).max() < 1e-9:
                break
        return unknowns, np.linalg.pinv(slope, rcond=1e-12), instruments, residual, mean


def _design(training, covariates):
    """A constant and the covariates of the training stars (float64 array)."""
    n_stars = training.parallax.size
    if covariates is None:
        return np.ones((training.rows.size, 1))
    covariates = np.asarray(covariates, dtype=np.float64)
    if covariates.ndim != 2 or covariates.shape[0] != n_stars:
        raise BadInputError(f"covariates: shape {covariates.shape}, expected ({n_stars}, n_covariates)")
    chosen = covariates[training.rows]
    if not np.isfinite(chosen).all():
        raise BadInputError("covariates: not finite for some training stars; leave those stars out with rows=")
    if chosen.size and not (chosen.std(axis=0) > 0).all():
        raise BadInputError("covariates: one is the same for all training stars; the constant is there already")
    return np.column_stack([np.ones(training.rows.size), chosen])


def _unpenalized(training):
    """The unpenalised columns, and which of them are magnitudes."""
    penalized = training.options.get("penalized")
    if penalized is None and training.layout is not None:
        penalized = training.layout.penalized
    if penalized is None:
        penalized = np.ones(training.features.shape[1], dtype=bool)
    free = np.flatnonzero(~penalized)
    kinds = np.array(training.layout.kinds)[free] if training.layout is not None else np.full(free.size, "")
    return free, kinds == MAGNITUDE


def _follow(design, values, magnitudes):
    """How far each covariate goes with a star's brightness: what a magnitude added to all bands adds to it."""
    coefs = np.linalg.lstsq(values, design - design.mean(axis=0), rcond=1e-10)[0]
    told = (values @ coefs).var(axis=0) > _FOLLOWS * np.maximum(design.var(axis=0), 1e-30)
    total = coefs[magnitudes].sum(axis=0)
    colour = np.abs(total) < (1.0 - _FOLLOWS) * np.abs(coefs).max(axis=0, initial=0.0)
    return np.where(told & ~colour, total, 0.0)


def _standard(values):
    return (values - values.mean()) / values.std()


def _orthonormal(values):
    """Columns of the same span, of unit mean square."""
    if values.shape[1] == 0:
        return values
    left, size, _ = np.linalg.svd(values, full_matrices=False)
    return left[:, size > 1e-8 * size.max(initial=0.0)] * np.sqrt(len(values))


def _shifted(training, added):
    parallax = training.parallax.copy()
    parallax[training.rows] += added
    return replace(training, parallax=parallax)


def _held_out(training, splits, penalty, coefs):
    """ln parallax of each training star and its noise, by a fit that did not see it; ``coefs`` keeps where to start."""
    position = np.full(training.parallax.size, -1, dtype=np.int64)
    position[training.rows] = np.arange(training.rows.size)
    eta, noise, converged = np.empty(training.rows.size), np.zeros(training.rows.size), []
    for split in splits:
        model = training.fit_silently(penalty, 0.0, split.train, coefs.get(split.held_out))
        coefs[split.held_out] = model.coef
        converged.append(model.result.converged)
        at = position[split.test]
        eta[at] = model.predict_ln(training.features, split.test, training.threads)
        if training.feature_errors is not None:
            noise[at] = model.predict_ln_error(training.feature_errors, split.test, training.threads)
    warn_of_unconverged(converged)
    return eta, noise


def _scatter(residual, error, predicted):
    """The share of the parallax that scatters beyond the errors, by maximum likelihood with clipped residuals."""

    def minus_ln_likelihood(scatter):
        variance = error**2 + (scatter * predicted) ** 2
        return float(np.mean(np.minimum(residual**2 / variance, _CLIP**2) + np.log(variance)))

    return float(minimize_scalar(minus_ln_likelihood, bounds=(0.0, _MAX_SCATTER), method="bounded").x)
