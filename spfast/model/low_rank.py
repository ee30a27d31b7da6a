"""A model of spectra of low rank: a few dozen coordinates a star instead of thousands of noisy pixels.

Spectra of giants differ in a few dozen ways; noise differs in every pixel. The basis is found by maximum likelihood
from spectra and their errors (`spfast.kernels.low_rank` has the model), never from a parallax, a label or a magnitude.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from scipy.linalg import eigh

from spfast.errors import BadInputError
from spfast.kernels.low_rank import (
    PIXELS_A_PIECE,
    ROWS_A_PIECE,
    add_pixel_sums,
    pair_products,
    pixel_weights,
    star_posteriors,
    symmetric,
)
from spfast.kernels.team import Team
from spfast.model import kinds
from spfast.model.kinds import check_entries

__all__ = ["RANK", "SOME_SPECTRA", "Coordinates", "LowRankBasis", "learn_basis"]

#: The largest rank, and the spectra that each coordinate needs.
RANK, _SPECTRA_PER_FACTOR = 48, 12
#: With fewer spectra there is no low-rank model.
_SPECTRA_MIN = 60
#: Stars that a basis is learned from, at most, and those of a pass that are taken together.
N_SPECTRA, _BLOCK = 30_000, 16 * ROWS_A_PIECE
#: Spectra of which the first basis is the principal components.
_FIRST_SPECTRA = 1024
#: Passes, at most; they end when ln likelihood a measured pixel grows by less than the second number.
_PASSES, _GROWTH = 20, 1e-4
#: Spectra of the passes before those over all of them.
SOME_SPECTRA = 4000
#: The least scatter of a pixel.
_SCATTER_MIN = 1e-4
#: Share of the stars that the basis does not see, at most so many: they tell the rank. Pixels that are hidden together.
_HELD_OUT, _HELD_OUT_MAX, _HIDDEN = 0.05, 384, 64
#: Ranks that are tried, as shares of the largest.
_SHARES = (1 / 8, 1 / 6, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 1.0)
#: A star whose spectrum is left with a larger chi-squared a pixel than this weighs less, in proportion.
_DEVIANT = 3.0
#: Lags, in pixels, to which noise is looked at for correlation.
_LAGS = 3
#: Spectra that tell it.
_CORRELATED = 256


@dataclass(frozen=True)
class Coordinates:
    """Stars in a basis.

    Attributes
    ----------
    mean : float32 array, shape (n_stars, rank)
        Their coordinates, each of unit variance among the stars that the basis was learned from.
    covariance : float32 array, shape (n_stars, rank (rank + 1) / 2)
        Upper triangles, row by row, of the covariance of their errors.
    misfit : float32 array, shape (n_stars,)
        Chi-squared a pixel of what they leave of the spectrum: the distance from the basis.
    """

    mean: np.ndarray
    covariance: np.ndarray
    misfit: np.ndarray

    def first(self, rank: int) -> "Coordinates":
        """The first coordinates alone."""
        n = self.mean.shape[1]
        if rank == n:
            return self
        i, j = np.triu_indices(n)
        return Coordinates(self.mean[:, :rank], self.covariance[:, (i < rank) & (j < rank)], self.misfit)


@dataclass(frozen=True)
class LowRankBasis:
    """How the pixels of spectra vary together.

    Attributes
    ----------
    mean, scatter : float32 array, shape (n_pixels,)
        Of ln flux. The scatter is what neither factors nor noise explain.
    factors : float32 array, C order, shape (rank, n_pixels)
        Largest first, orthogonal.
    inflation : float
        By what the variance of the noise is larger at the scale of lines than pixel by pixel.
    n_spectra : int
        What it was learned from.
    n_reads : float
        In how many reads of all the spectra that there are.
    pixels : int64 array, shape (n_pixels,)
        Their places on the spectra's grid.
    """

    #: The numbers and the arrays among the attributes, as a file holds them.
    ENTRIES: ClassVar[dict] = {"inflation": kinds.POSITIVE, "n_spectra": kinds.COUNT, "n_reads": kinds.NOT_NEGATIVE}
    ARRAYS: ClassVar[dict] = {"mean": np.float32, "scatter": np.float32, "factors": np.float32, "pixels": np.int64}

    mean: np.ndarray
    scatter: np.ndarray
    factors: np.ndarray
    inflation: float
    n_spectra: int
    n_reads: float
    pixels: np.ndarray

    def is_same(self, other: "LowRankBasis") -> bool:
        """Whether two bases give the same coordinates to the bit."""
        return self.inflation == other.inflation and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in self.ARRAYS
        )

    def entries(self) -> dict:
        """The numbers of the basis, for a file (dict)."""
        return {name: getattr(self, name) for name in self.ENTRIES}

    @classmethod
    def from_file(cls, numbers: dict, arrays: dict) -> "LowRankBasis":
        """A basis from what a file holds.

        Raises
        ------
        ValueError
            If that does not fit together.
        """
        check_entries(numbers, cls.ENTRIES, "low_rank")
        for name, dtype in cls.ARRAYS.items():
            shape = (len(arrays["factors"]), arrays["mean"].size) if name == "factors" else (arrays["mean"].size,)
            if arrays[name].dtype != dtype or arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
                raise ValueError(f"the {name} of its low-rank basis is damaged")
        return cls(**{name: numbers[name] for name in cls.ENTRIES}, **arrays)

    @property
    def rank(self) -> int:
        """Number of coordinates."""
        return len(self.factors)

    def of_rank(self, rank: int) -> "LowRankBasis":
        """The basis with its first factors alone."""
        return replace(self, factors=self.factors[:rank])

    def coordinates(
        self,
        flux: np.ndarray,
        errors: np.ndarray,
        unmeasured: np.ndarray | None = None,
        threads: int | None = None,
    ) -> Coordinates:
        """Find the coordinates of stars from their spectra, in one pass.

        Parameters
        ----------
        flux, errors : float32 array, shape (n_stars, n_pixels)
            ln flux; the error is infinite where a pixel was not measured.
        unmeasured : uint8 array, shape (n_stars, ceil(n_pixels / 8)), optional
            Bits of pixels that were not measured, whatever their error says.
        threads : int, optional

        Returns
        -------
        Coordinates
            A star without a measured pixel has the mean of all, 0, and their covariance.
        """
        pairs = pair_products(self.factors)
        if flux.shape[1] != self.mean.size:
            raise BadInputError(f"spectra: {flux.shape[1]} pixels, the low-rank basis has {self.mean.size}")
        with Team(threads) as team:
            return _posteriors(team, flux, errors, unmeasured, self, pairs)[0]


def learn_basis(
    flux: np.ndarray,
    errors: np.ndarray,
    unmeasured: np.ndarray | None = None,
    rank: int = RANK,
    grid: np.ndarray | None = None,
    threads: int | None = None,
    say=None,
) -> LowRankBasis | None:
    """Learn a basis from spectra, by expectation and maximisation; its rank is that which predicts hidden pixels best.

    Parameters
    ----------
    flux, errors, unmeasured
        As in `LowRankBasis.coordinates`; flux is finite everywhere.
    rank : int
        The largest.
    grid : int array, shape (n_pixels,), optional
        Places of the pixels on their detector's grid: those next to each other may share noise.
    threads : int, optional
    say : callable, optional
        Called after each pass, with its number and that of its spectra.

    Returns
    -------
    LowRankBasis or None
        None if there are too few spectra for any.
    """
    sample = np.linspace(0, len(flux) - 1, min(N_SPECTRA, len(flux))).astype(np.int64)
    step = max(int(1 / _HELD_OUT), -(-len(sample) // _HELD_OUT_MAX))
    held_out = sample[::step]
    learned_from = np.delete(sample, np.s_[::step])
    if len(sample) < _SPECTRA_MIN:
        return None
    rank = min(rank, len(learned_from) // _SPECTRA_PER_FACTOR)
    grid = np.arange(flux.shape[1]) if grid is None else np.asarray(grid)
    # A part of the spectra is nearly as good and much faster; all of them have the last word.
    some = learned_from[:: max(1, round(learned_from.size / SOME_SPECTRA))]
    basis, done = None, 0.0
    for rows in (some, learned_from)[: 1 if some.size == learned_from.size else 2]:
        learning, before = _Learning(flux, errors, unmeasured, rows, grid, threads), -np.inf
        basis = learning.first(rank) if basis is None else basis
        for n_passes in range(1, _PASSES + 1):
            basis, likelihood = learning.improve(basis)
            done += rows.size / len(flux)
            if say is not None:
                say(n_passes, rows.size)
            if likelihood - before < _GROWTH:
                break
            before = likelihood
    basis = replace(_principal(basis), n_spectra=learned_from.size, n_reads=done)
    return basis.of_rank(_best_rank(basis, flux, errors, unmeasured, held_out, threads))


class _Learning:
    """The spectra that a basis is learned from, and one pass over them."""

    def __init__(self, flux, errors, unmeasured, rows, grid, threads):
        self._flux, self._errors, self._unmeasured = flux, errors, unmeasured
        self._rows, self._grid, self._threads = rows, grid, threads
        self._neighbours = [np.flatnonzero(grid[lag:] == grid[:-lag] + lag) for lag in range(1, _LAGS + 1)]

    def first(self, rank):
        """Principal components of a part of the spectra, pixels not measured as they are."""
        rows = self._rows[np.linspace(0, self._rows.size - 1, min(_FIRST_SPECTRA, self._rows.size)).astype(int)]
        flux, errors, unmeasured = self._take(rows)
        good = pixel_weights(errors, unmeasured, np.full(flux.shape[1], _SCATTER_MIN, np.float32), 1.0) > 0
        count = np.maximum(good.sum(axis=0), 1)
        mean = np.sum(flux, axis=0, where=good, dtype=np.float64) / count
        offset = np.where(good, flux - mean, 0.0)
        scores = eigh(offset @ offset.T, subset_by_index=[len(rows) - rank, len(rows) - 1])[1][:, ::-1]
        factors = scores.T @ offset
        left = np.sum(np.square(offset - scores @ factors), axis=0, where=good) / count
        return LowRankBasis(
            mean=mean.astype(np.float32),
            scatter=np.sqrt(np.maximum(0.1 * left, _SCATTER_MIN**2)).astype(np.float32),
            factors=np.ascontiguousarray(factors / np.sqrt(len(rows)), dtype=np.float32),
            inflation=1.0,
            n_spectra=self._rows.size,
            n_reads=0.0,
            pixels=np.asarray(self._grid, dtype=np.int64),
        )

    def improve(self, basis):
        """One round: coordinates of all stars, then each pixel by least squares on them. Returns ln likelihood too."""
        rank, n_pixels = basis.factors.shape
        pairs, n_terms = pair_products(basis.factors), rank + 1
        of_terms = np.triu_indices(n_terms)
        # Where in the triangle of [1, z] the triangle of z is.
        inner = np.flatnonzero(of_terms[0] > 0)
        squares = np.zeros((of_terms[0].size, n_pixels))
        products = np.zeros((n_terms, n_pixels))
        totals = np.zeros((3, n_pixels))  # of w, w x^2 and w error^2
        moments, likelihood = np.zeros((n_terms, n_terms)), 0.0
        n_pieces = -(-n_pixels // PIXELS_A_PIECE)
        n_measured = np.zeros(n_pieces, np.int64)
        with Team(self._threads) as team:
            for start in range(0, self._rows.size, _BLOCK):
                flux, errors, unmeasured = self._take(self._rows[start : start + _BLOCK])
                found, ln_likelihood = _posteriors(team, flux, errors, unmeasured, basis, pairs)
                trust = (1.0 / np.maximum(1.0, found.misfit / _DEVIANT)).astype(np.float32)
                terms = np.hstack([np.ones((len(flux), 1), np.float32), found.mean])
                seconds = terms[:, of_terms[0]] * terms[:, of_terms[1]]
                seconds[:, inner] += found.covariance
                stars = flux, errors, unmeasured, basis, trust, terms, seconds
                team.run(add_pixel_sums, n_pieces, *stars, (squares, products), totals, n_measured)
                moments += (symmetric(seconds, n_terms) * trust[:, None, None]).sum(axis=0)
                likelihood += float(ln_likelihood.sum())
                if start == 0:
                    correlation = self._correlation(flux, errors, unmeasured, basis, found)
        likelihood /= max(int(n_measured.sum()), 1)
        return self._maximised(basis, squares, products, totals, moments, correlation), likelihood

    def _take(self, rows):
        whole = rows.size == rows[-1] + 1 - rows[0]
        chosen = slice(rows[0], rows[-1] + 1) if whole else rows
        unmeasured = None if self._unmeasured is None else self._unmeasured[chosen]
        return self._flux[chosen], self._errors[chosen], unmeasured

    def _correlation(self, flux, errors, unmeasured, basis, found):
        """Means of products of standardised residuals of pixels 0, 1, 2, ... apart."""
        some = slice(None, None, max(1, len(flux) // _CORRELATED))
        bits = None if unmeasured is None else unmeasured[some]
        weights = pixel_weights(errors[some], bits, basis.scatter, basis.inflation)
        left = (flux[some] - basis.mean - found.mean[some] @ basis.factors) * np.sqrt(weights)
        measured, means = weights > 0, []
        for at, lag in ((slice(None), 0), *zip(self._neighbours, range(1, 1 + _LAGS), strict=True)):
            beside = at if lag == 0 else at + lag
            n_pairs = np.count_nonzero(measured[:, at] & measured[:, beside])
            means.append(np.vdot(left[:, at], left[:, beside]) / max(n_pairs, 1))
        return np.array(means)

    def _maximised(self, basis, squares, products, totals, moments, correlation):
        """The basis of the largest likelihood given the sums; coordinates get mean 0 and variance 1 again."""
        rank = basis.rank
        weight, square, noise = totals
        normal = symmetric(squares.T, rank + 1)
        # A pixel that was hardly measured stays at the mean: the coordinates' prior, one star's worth.
        normal[:, np.arange(rank + 1), np.arange(rank + 1)] += 1e-6 * weight[:, None] + 1e-30
        solved = np.linalg.solve(normal, products.T[:, :, None])[:, :, 0]
        left = square - 2.0 * np.einsum("pk,kp->p", solved, products)
        left += np.einsum("pk,pkl,pl->p", solved, symmetric(squares.T, rank + 1), solved)
        known = weight > 0
        variance = np.where(known, (left - noise) / np.where(known, weight, 1.0), _SCATTER_MIN**2)
        moments = moments / moments[0, 0]
        centre = moments[0, 1:]
        spread = np.linalg.cholesky(moments[1:, 1:] - np.outer(centre, centre))
        ratio = correlation[1:] / correlation[0] if correlation[0] > 0 else np.zeros(_LAGS)
        return replace(
            basis,
            mean=(basis.mean + solved[:, 0] + solved[:, 1:] @ centre).astype(np.float32),
            scatter=np.sqrt(np.maximum(variance, _SCATTER_MIN**2)).astype(np.float32),
            factors=np.ascontiguousarray((solved[:, 1:] @ spread).T, dtype=np.float32),
            inflation=float(max(1.0, 1.0 + 2.0 * ratio.sum())),
        )


def _posteriors(team, flux, errors, unmeasured, basis, pairs):
    """Coordinates of stars, and the ln likelihood of each spectrum."""
    n = len(flux)
    found = Coordinates(
        np.empty((n, basis.rank), np.float32), np.empty((n, len(pairs)), np.float32), np.empty(n, np.float32)
    )
    likelihood = np.empty(n)
    out = found.mean, found.covariance, found.misfit, likelihood
    team.run(star_posteriors, -(-n // ROWS_A_PIECE), flux, errors, unmeasured, basis, pairs, *out)
    return found, likelihood


def _principal(basis):
    """The same basis with orthogonal factors, the largest first."""
    _, size, axes = np.linalg.svd(basis.factors.astype(np.float64), full_matrices=False)
    sign = np.where(axes.sum(axis=1) < 0, -1.0, 1.0)[:, None]
    return replace(basis, factors=np.ascontiguousarray(sign * size[:, None] * axes, dtype=np.float32))


def _best_rank(basis, flux, errors, unmeasured, rows, threads):
    """The rank whose coordinates, from half of the pixels of stars that the basis did not see, predict the others."""
    flux, errors = flux[rows], errors[rows]
    unmeasured = None if unmeasured is None else unmeasured[rows]
    weights = pixel_weights(errors, unmeasured, basis.scatter, basis.inflation)
    hidden = (np.arange(flux.shape[1]) // _HIDDEN) % 2 == 1
    shown = np.where(hidden, np.inf, errors).astype(np.float32)
    ranks = sorted({max(1, round(share * basis.rank)) for share in _SHARES})
    scores = []
    for rank in ranks:
        some = basis.of_rank(rank)
        found = some.coordinates(flux, shown, unmeasured, threads)
        left = flux[:, hidden] - some.mean[hidden] - found.mean @ some.factors[:, hidden]
        scores.append(np.einsum("np,np,np->", weights[:, hidden], left, left, dtype=np.float64))
    return ranks[int(np.argmin(scores))]
