"""Small fitting problems that look like the real one: a constant, correlated magnitudes, noisy correlated pixels."""

from dataclasses import dataclass

import numpy as np

from spfast.kernels.team import Team
from spfast.model.objective import Objective


@dataclass
class Problem:
    design: np.ndarray
    parallax: np.ndarray
    error: np.ndarray
    penalized: np.ndarray
    truth: np.ndarray

    @property
    def arguments(self):
        """Positional arguments of `spfast.fit` before the penalty."""
        return self.design, self.parallax, self.error

    def objective(self, penalty, threads=1):
        n = self.parallax.size
        penalties = np.where(self.penalized, penalty, 0.0)
        return Objective(self.design, np.arange(n), self.parallax, self.error**-2.0, penalties, Team(threads))


def small_problem(n_stars=600, n_pixels=80, seed=0, dtype=np.float32):
    """A survey in miniature: eight latent properties drive magnitudes and pixels; parallaxes have S/N of a few."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n_stars, 4))
    pixels = 0.05 * latent @ rng.normal(size=(4, n_pixels)) + 0.01 * rng.normal(size=(n_stars, n_pixels))
    distance_modulus = rng.normal(12.0, 1.5, size=n_stars)
    magnitudes = (
        distance_modulus[:, None] + 0.3 * latent @ rng.normal(size=(4, 8)) + 0.02 * rng.normal(size=(n_stars, 8))
    )
    design = np.column_stack([np.ones(n_stars), magnitudes, pixels]).astype(dtype)
    truth = np.zeros(9 + n_pixels)
    truth[0], truth[1:9] = 4.2, -0.46 / 8
    truth[9 : 9 + n_pixels : 7] = rng.normal(0.0, 2.0, size=truth[9 : 9 + n_pixels : 7].size)
    parallax = np.exp(design.astype(np.float64) @ truth)
    error = rng.uniform(0.02, 0.1, size=n_stars)
    parallax = parallax + error * rng.normal(size=n_stars)
    penalized = np.arange(9 + n_pixels) >= 9
    return Problem(np.ascontiguousarray(design), parallax, error, penalized, truth)
