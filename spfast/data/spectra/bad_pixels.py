"""Estimates of badly measured pixels from a star's other pixels, by how the pixels of spectra vary together."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from spfast.kernels.bad_pixels import estimate_rows

__all__ = ["N_SPECTRA", "SpectrumFactors"]

#: The factors are found from at most this many spectra; more change nothing.
N_SPECTRA = 512
#: The largest number of factors, and the spectra that each needs. The estimates differ little between 4 and 16 factors.
_FACTORS, _SPECTRA_PER_FACTOR = 8, 20
#: Good values, beyond the number of factors, that a pixel needs for a mean and a scatter of its own.
_VALUES = 10
#: Rounds that fill missing values from the last components, and rounds that use the noise of every value.
_ROUNDS_OF_COMPONENTS, _ROUNDS = 2, 4
#: The least scatter that a pixel has about the factors, and the scatter about 0 of a pixel with too few good values.
_SCATTER_MIN, _SCATTER_UNKNOWN = 1e-3, 0.2


@dataclass(frozen=True)
class SpectrumFactors:
    """How the pixels of a survey's spectra vary together, and how much each varies alone.

    It is found from fluxes alone: no parallax, no label, no magnitude.

    Attributes
    ----------
    mean, scatter : float32 array, shape (n_pixels,)
        Of ln flux. The scatter is what neither factors nor noise explain.
    factors : float32 array, C order, shape (n_factors, n_pixels)
        Each star's strengths of them have unit variance.
    error_max : float
        Pixels whose ln flux has a larger error are estimated.
    n_spectra : int
        Number of spectra that they were found from.

    Examples
    --------
    >>> import numpy as np
    >>> from spfast.data.spectra.bad_pixels import SpectrumFactors
    >>> strength = np.random.default_rng(1).uniform(0.1, 0.3, 100)
    >>> ln_flux = np.float32(-np.outer(strength, [1.0, 0.5, 0.8, 0.0]))
    >>> errors = np.full_like(ln_flux, 0.002)
    >>> factors = SpectrumFactors.of(ln_flux, errors, 0.05)
    >>> errors[0, 1] = np.inf  # not measured
    >>> flux = ln_flux[:1].copy()
    >>> flux[0, 1] = 0.0
    >>> factors.estimate(flux, errors[:1])
    >>> bool(abs(flux - ln_flux[0]).max() < 0.005), bool(errors[0, 1] < 0.005)
    (True, True)
    """

    mean: np.ndarray
    scatter: np.ndarray
    factors: np.ndarray
    error_max: float
    n_spectra: int

    @classmethod
    def unknown(cls, n_pixels, n_factors, error_max, n_spectra):
        """Factors of pixels of which nothing is known, for somebody to fill in."""
        scatter = np.full(n_pixels, _SCATTER_UNKNOWN, np.float32)
        return cls(
            np.zeros(n_pixels, np.float32), scatter, np.zeros((n_factors, n_pixels), np.float32), error_max, n_spectra
        )

    @classmethod
    def of(cls, ln_flux, ln_flux_error, error_max):
        """Find the factors of a sample of spectra: by principal components, then by maximum likelihood given the noise.

        Parameters
        ----------
        ln_flux, ln_flux_error : float32 array, shape (n_spectra, n_pixels)
            A value with an error above ``error_max`` is missing.
        error_max : float

        Returns
        -------
        SpectrumFactors
            A pixel with too few good values has a mean of 0, zero in every factor, and a scatter of 0.2.
        """
        n_spectra = len(ln_flux)
        n_factors = min(_FACTORS, n_spectra // _SPECTRA_PER_FACTOR)
        good = ln_flux_error <= error_max
        enough = good.sum(axis=0) >= n_factors + _VALUES
        flux, error = (np.asarray(values[:, enough], dtype=np.float64) for values in (ln_flux, ln_flux_error))
        parts = _principal_components(flux, good[:, enough], n_factors)
        for _ in range(_ROUNDS):
            parts = _improve(flux, error**2, *parts)
        unknown = 0.0, 0.0, _SCATTER_UNKNOWN
        mean, factors, scatter = (_spread(part, enough, value) for part, value in zip(parts, unknown, strict=True))
        return cls(mean, scatter, factors, float(error_max), n_spectra)

    def estimate(self, ln_flux, ln_flux_error):
        """Replace badly measured pixels by their mean given the star's whole spectrum, and their errors, in place.

        Parameters
        ----------
        ln_flux, ln_flux_error : float32 array, C order, shape (n_stars, n_pixels)
            A pixel that was not measured has an infinite error.
        """
        estimate_rows(self.mean, self.factors, self.scatter, self.error_max, ln_flux, ln_flux_error)

    def to_dict(self):
        """Return what survey.json records (dict)."""
        return {"spectra": self.n_spectra, "factors": len(self.factors)}


def _principal_components(flux, good, n_factors):
    """Return mean, factors and scatter of spectra; each round fills missing values from the components of the last."""
    count = good.sum(axis=0)
    mean = np.sum(flux, axis=0, where=good) / count
    explained, factors = np.zeros_like(flux), np.zeros((n_factors, mean.size))
    for _ in range(_ROUNDS_OF_COMPONENTS if n_factors else 0):
        residual = np.where(good, flux - mean, explained)
        shift = residual.mean(axis=0)
        mean = mean + shift
        residual -= shift
        last = [len(flux) - n_factors, len(flux) - 1]
        scores = eigh(residual @ residual.T, subset_by_index=last)[1]
        factors = scores.T @ residual
        explained = scores @ factors
    left = np.sum((flux - mean - explained) ** 2, axis=0, where=good) / (count - 1 - n_factors)
    return mean, factors / np.sqrt(max(len(flux), 1)), np.sqrt(np.maximum(left, _SCATTER_MIN**2))


def _improve(flux, variance, mean, factors, scatter):
    """One round of expectation and maximisation in `estimate_rows`' model: every value has its own noise."""
    n_spectra, n_pixels, n = *flux.shape, len(factors)
    weight = 1.0 / (variance + scatter**2)
    pairs = (factors[:, None] * factors).reshape(n * n, n_pixels)
    covariance = np.linalg.inv(np.eye(n) + (weight @ pairs.T).reshape(n_spectra, n, n))
    z = np.einsum("ijk,ik->ij", covariance, (weight * (flux - mean)) @ factors.T)
    # Each pixel by least squares on 1 and z; z is uncertain.
    terms = np.column_stack([np.ones(n_spectra), z])
    squares = terms[:, :, None] * terms[:, None]
    squares[:, 1:, 1:] += covariance
    normal = (weight.T @ squares.reshape(n_spectra, -1)).reshape(n_pixels, n + 1, n + 1)
    solved = np.linalg.solve(normal, ((weight * flux).T @ terms)[:, :, None])[:, :, 0]
    mean, factors = solved[:, 0], np.ascontiguousarray(solved[:, 1:].T)
    pairs = (factors[:, None] * factors).reshape(n * n, n_pixels)
    left = (flux - mean - z @ factors) ** 2 + covariance.reshape(n_spectra, n * n) @ pairs
    square = np.sum(weight**2 * (left - np.where(np.isinf(variance), 0.0, variance)), axis=0) / np.sum(
        weight**2, axis=0
    )
    return mean, factors, np.sqrt(np.maximum(square, _SCATTER_MIN**2))


def _spread(values, enough, unknown):
    """Return values of all pixels: ``unknown`` where a pixel has too few good values (float32 array, C order)."""
    out = np.full((*values.shape[:-1], enough.size), unknown, np.float32)
    out[..., enough] = values
    return out
