"""The moments that a fitted zero point solves, by instrumental variables (`spfast.training.zero_point` says why)."""

import numpy as np

from spfast.errors import BadInputError
from spfast.model.arrays import check_columns, penalized_mask
from spfast.model.layout import MAGNITUDE, MAGNITUDE_SUM
from spfast.model.mixture import fit_mixture, fit_scatter
from spfast.model.robust import RobustSettings
from spfast.training.stars import TrainingStars

__all__ = ["Moments", "moments_design", "refuse_parallaxes_alike"]

#: Residuals beyond this many sigmas count as this many when the scatter is measured.
_CLIP = 5.0
#: Draws of added scatter.
_N_DRAWS = 16
#: What the mean of ln parallax may be wrong by, beyond what ``change`` mends, for stars one standard deviation nearer
#: and, for a slope, one more in its covariate: in units of the scatter, for covariates that follow the brightness and
#: for others, such as a colour, which tells one kind of star and its place from another. From mock surveys.
_MISFIT, _MISFIT_OF_KINDS = 0.12, 0.2
#: A covariate of which the magnitudes explain this share of the variance follows them, unless it is a colour.
_FOLLOWS = 0.9
#: The parallaxes must vary more than their errors by this many standard deviations of chi-squared.
_N_SIGMAS = 5.0
#: A guide that varies by less, in ln parallax, tells no near star from a far one.
_MIN_SPREAD = 0.05


class Moments:
    """The moments of training stars, for one set of held-out predictions after the other."""

    def __init__(self, stars: TrainingStars, design: np.ndarray, robust: RobustSettings | None):
        self._design, self._robust = design, robust
        self._raw, self._error = stars.raw_parallax, stars.gaia_error[stars.rows]
        free, magnitudes = _unpenalized(stars)
        check_columns(stars.features, stars.rows, free)
        values = stars.features[stars.rows[:, None], free].astype(np.float64)
        varies = values.std(axis=0) > 0
        values, magnitudes = (values - values.mean(axis=0))[:, varies], magnitudes[varies]
        self._photometry = np.column_stack([np.ones(len(values)), values, values**2])
        self._exact = stars.options.exact_distance_modulus
        self._colours, self._brightness, self._per_brightness = values, 0.0, np.zeros(design.shape[1])
        if self._exact:
            # Directions that keep the sum of the magnitudes' coefficients, and one that has all of it, in ln parallax.
            self._colours = values @ np.linalg.svd(magnitudes[None].astype(np.float64))[2][1:].T
            self._brightness = MAGNITUDE_SUM * values[:, magnitudes].mean(axis=1)
            self._per_brightness = _follow(design, values, magnitudes) / MAGNITUDE_SUM

    @np.errstate(over="ignore", invalid="ignore")
    def look(self, eta: np.ndarray, noise: np.ndarray, offsets: np.ndarray) -> None:
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
            self.scatter = fit_scatter(residual, error, predicted, clip=_CLIP).scatter
        else:
            mixture = fit_mixture(residual, error, predicted, self._robust.given)
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

    @np.errstate(over="ignore", invalid="ignore")
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
            if not np.isfinite(slope).all():
                raise BadInputError(
                    "no zero point can be fitted: its moments have no solution, and predictions of ln parallax scatter "
                    f"by {self._typical:.3g} about the parallaxes; give one"
                )
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


def refuse_parallaxes_alike(stars: TrainingStars) -> None:
    """Refuse training stars whose parallaxes differ by no more than their errors: they tell nothing of a zero point.

    Raises
    ------
    BadInputError
    """
    parallax, error = stars.raw_parallax, stars.gaia_error[stars.rows]
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        weights = 1.0 / error**2
        chi_squared = float(weights @ (parallax - weights @ parallax / weights.sum()) ** 2)
    expected = parallax.size + _N_SIGMAS * np.sqrt(2.0 * parallax.size)
    if chi_squared <= expected:
        raise BadInputError(
            f"the parallaxes of the {parallax.size} training stars differ by no more than their errors (chi-squared "
            f"{chi_squared:.4g}, expected above {expected:.4g}), so no zero point can be fitted; give one"
        )


def moments_design(stars: TrainingStars, covariates: np.ndarray | None) -> np.ndarray:
    """A constant and the covariates of the training stars (float64 array, shape (n_rows, 1 + n_covariates)).

    Raises
    ------
    BadInputError
        For covariates of another shape, not finite, or the same for all stars.
    """
    n_stars = stars.parallax.size
    if covariates is None:
        return np.ones((stars.rows.size, 1))
    try:
        covariates = np.ma.filled(np.ma.asarray(covariates).astype(np.float64), np.nan)
    except (TypeError, ValueError) as error:
        raise BadInputError(f"covariates: {error}; expected numbers") from None
    if covariates.ndim != 2 or covariates.shape[0] != n_stars:
        raise BadInputError(f"covariates: shape {covariates.shape}, expected ({n_stars}, n_covariates)")
    chosen = covariates[stars.rows]
    if not np.isfinite(chosen).all():
        raise BadInputError("covariates: not finite for some training stars; leave those stars out with rows=")
    if chosen.size and not (chosen.std(axis=0) > 0).all():
        raise BadInputError("covariates: one is the same for all training stars; the constant is there already")
    return np.column_stack([np.ones(stars.rows.size), chosen])


def _unpenalized(stars):
    """The unpenalised columns, and which of them are magnitudes."""
    free = np.flatnonzero(~penalized_mask(stars.penalized, stars.layout, stars.features.shape[1]))
    kinds = np.array(stars.layout.kinds)[free] if stars.layout is not None else np.full(free.size, "")
    return free, kinds == MAGNITUDE


def _follow(design, values, magnitudes):
    """How far each covariate goes with a star's brightness: what a magnitude added to all bands adds to it."""
    coefs = np.linalg.lstsq(values, design - design.mean(axis=0), rcond=1e-10)[0]
    explained = (values @ coefs).var(axis=0) > _FOLLOWS * np.maximum(design.var(axis=0), 1e-30)
    total = coefs[magnitudes].sum(axis=0)
    colour = np.abs(total) < (1.0 - _FOLLOWS) * np.abs(coefs).max(axis=0, initial=0.0)
    return np.where(explained & ~colour, total, 0.0)


def _standard(values):
    return (values - values.mean()) / values.std()


def _orthonormal(values):
    """Columns of the same span, of unit mean square."""
    if values.shape[1] == 0:
        return values
    left, size, _ = np.linalg.svd(values, full_matrices=False)
    return left[:, size > 1e-8 * size.max(initial=0.0)] * np.sqrt(len(values))
