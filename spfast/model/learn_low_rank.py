"""Learning the low-rank model of spectra, by expectation and maximisation over blocks of stars."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh

from spfast.blas import one_blas_thread
from spfast.kernels.low_rank import (
    PIXELS_A_PIECE,
    add_pixel_sums,
    pair_products,
    pixel_weights,
    symmetric,
)
from spfast.kernels.team import Team
from spfast.model.low_rank import BLOCK, LowRankBasis, LowRankModel, covariances, high_pass, posteriors
from spfast.reads.reader import read_values

__all__ = ["PASSES", "RANK", "SOME_SPECTRA", "SPECTRA_MAX", "learn_low_rank"]

#: The largest rank of the fine basis and of the broad one.
RANK, _RANK_BROAD = 96, 48
#: The spectra that each coordinate needs, and each of those after so many.
_SPECTRA_PER_FACTOR, _SPECTRA_PER_FURTHER, _FURTHER = 12, 100, 40
#: Coordinates of the broad basis that are used.
_BROAD = 16
#: With fewer spectra there is no low-rank model.
_SPECTRA_MIN = 60
#: Stars that a basis is learned from, at most.
SPECTRA_MAX = 12_000
#: Spectra of which the first basis is the principal components.
_FIRST_SPECTRA = 1024
#: Passes, at most, over a part of the spectra and over all; they end when ln likelihood a measured pixel changes by
#: less. It grows, but falls as long as the passes find that noise is correlated, or that some spectra are deviant.
PASSES, _CHANGE = (14, 4), 1e-4
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


@one_blas_thread()
def learn_low_rank(
    flux: np.ndarray,
    errors: np.ndarray,
    unmeasured: np.ndarray | None = None,
    pixels: np.ndarray | None = None,
    rank: int = RANK,
    threads: int | None = None,
    say: Callable[[int], None] | None = None,
) -> LowRankModel | None:
    """Learn a low-rank model from spectra.

    The rank of each basis is that which predicts hidden pixels best, of stars that it did not see.

    Parameters
    ----------
    flux, errors, unmeasured
        As in `LowRankModel.coordinates`; flux is finite everywhere.
    pixels : int array, shape (n_pixels,), optional
        Places of the pixels on their grid; side by side by default.
    rank : int
        Of the fine basis, at most, and of the broad one if that is less than 48.
    threads : int, optional
    say : callable, optional
        Called after each pass with the number of its spectra.

    Returns
    -------
    LowRankModel or None
        None if there are too few spectra for any.
    """
    if len(flux) < _SPECTRA_MIN or rank < 1:
        return None
    pixels = np.arange(flux.shape[1]) if pixels is None else np.asarray(pixels, dtype=np.int64)
    # In one piece: scattered rows of a large file are slow to read, and each is read some twenty times.
    sample = np.linspace(0, len(flux) - 1, min(SPECTRA_MAX, len(flux))).astype(np.int64)
    some = [flux, errors, unmeasured]
    if len(sample) < len(flux):
        some = [None if part is None else read_values(part, sample) for part in some]
    spectra = _Spectra(*some, pixels, n_all=len(flux))
    broad = _learn_basis(spectra, min(rank, _RANK_BROAD), False, threads, say)
    fine = _learn_basis(spectra, rank, True, threads, say)
    return LowRankModel(broad, fine, n_broad=min(_BROAD, broad.rank), pixels=pixels)


def _learn_basis(spectra, rank, is_fine, threads, say):
    """One of the bases."""
    sample = np.arange(len(spectra.flux))
    step = max(int(1 / _HELD_OUT), -(-len(sample) // _HELD_OUT_MAX))
    held_out, learned_from = sample[::step], np.delete(sample, np.s_[::step])
    n_spectra = len(learned_from)
    rank = min(rank, n_spectra // _SPECTRA_PER_FACTOR, _FURTHER + n_spectra // _SPECTRA_PER_FURTHER)
    # A part of the spectra is nearly as good and much faster; all of them have the last word.
    some = learned_from[:: max(1, round(learned_from.size / SOME_SPECTRA))]
    basis, n_reads = None, 0.0
    stages = zip((some, learned_from), PASSES, strict=True)
    for rows, most in [*stages][: 1 if some.size == learned_from.size else 2]:
        learning, before = _Learning(spectra, rows, is_fine, threads), -np.inf
        basis = learning.first(rank) if basis is None else basis
        for _ in range(most):
            basis, likelihood = learning.improve(basis)
            n_reads += rows.size / spectra.n_all
            if say is not None:
                say(rows.size)
            if abs(likelihood - before) < _CHANGE:
                break
            before = likelihood
    basis = replace(_principal(basis), n_spectra=int(learned_from.size), n_reads=n_reads)
    return basis.of_rank(_best_rank(basis, spectra, held_out, is_fine, threads))


class _Spectra(NamedTuple):
    """Spectra that a basis is learned from, as in `LowRankModel.coordinates`, and of how many stars they are some."""

    flux: np.ndarray
    errors: np.ndarray
    unmeasured: np.ndarray | None
    pixels: np.ndarray
    n_all: int

    def take(self, rows, is_fine, team=None):
        """ln flux, errors and bits of some stars, a view of consecutive ones; ln flux as the basis sees it."""
        whole = rows.size == rows[-1] + 1 - rows[0]
        chosen = slice(rows[0], rows[-1] + 1) if whole else rows
        unmeasured = None if self.unmeasured is None else self.unmeasured[chosen]
        flux = self.flux[chosen]
        return high_pass(flux, self.pixels, team) if is_fine else flux, self.errors[chosen], unmeasured


class _Learning:
    """The spectra that a basis is learned from, and one pass over them."""

    def __init__(self, spectra, rows, is_fine, threads):
        self._spectra, self._rows, self._is_fine, self._threads = spectra, rows, is_fine, threads
        grid = spectra.pixels
        self._neighbours = [np.flatnonzero(grid[lag:] == grid[:-lag] + lag) for lag in range(1, _LAGS + 1)]

    def first(self, rank):
        """Principal components of a part of the spectra, pixels not measured as they are."""
        rows = self._rows[np.linspace(0, self._rows.size - 1, min(_FIRST_SPECTRA, self._rows.size)).astype(int)]
        flux, errors, unmeasured = self._spectra.take(rows, self._is_fine)
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
        correlation = np.zeros((1 + _LAGS, 2))
        with Team(self._threads) as team:
            for start in range(0, self._rows.size, BLOCK):
                flux, errors, unmeasured = self._spectra.take(self._rows[start : start + BLOCK], self._is_fine, team)
                z, roots, misfit, ln_likelihood = posteriors(team, flux, errors, unmeasured, basis, pairs, True)
                trust = (1.0 / np.maximum(1.0, misfit / _DEVIANT)).astype(np.float32)
                terms = np.hstack([np.ones((len(flux), 1), np.float32), z])
                seconds = terms[:, of_terms[0]] * terms[:, of_terms[1]]
                seconds[:, inner] += covariances(team, roots)
                stars = flux, errors, unmeasured, basis, trust, terms, seconds
                team.run(add_pixel_sums, n_pieces, *stars, (squares, products), totals, n_measured)
                moments += (symmetric(seconds, n_terms) * trust[:, None, None]).sum(axis=0)
                likelihood += float(ln_likelihood.sum())
                correlation += self._correlation(flux, errors, unmeasured, basis, z)
        likelihood /= max(int(n_measured.sum()), 1)
        return self._maximised(basis, squares, products, totals, moments, correlation), likelihood

    def _correlation(self, flux, errors, unmeasured, basis, z):
        """Sums of products of some stars' standardised residuals, of pixels 0, 1, 2, ... apart, and how many."""
        some = slice(None, None, max(1, self._rows.size // _CORRELATED))
        bits = None if unmeasured is None else unmeasured[some]
        weights = pixel_weights(errors[some], bits, basis.scatter, basis.inflation)
        left = (flux[some] - basis.mean - z[some] @ basis.factors) * np.sqrt(weights)
        measured, sums = weights > 0, []
        for at, lag in ((slice(None), 0), *zip(self._neighbours, range(1, 1 + _LAGS), strict=True)):
            beside = at if lag == 0 else at + lag
            n_pairs = np.count_nonzero(measured[:, at] & measured[:, beside])
            sums.append((np.vdot(left[:, at], left[:, beside]), n_pairs))
        return np.array(sums, dtype=np.float64)

    def _maximised(self, basis, squares, products, totals, moments, correlation):
        """The basis of the largest likelihood given the sums; coordinates get mean 0 and variance 1 again."""
        rank, n_pixels = basis.factors.shape
        solved, scatter2 = np.empty((n_pixels, rank + 1)), np.empty(n_pixels)
        for start in range(0, n_pixels, PIXELS_A_PIECE):
            some = slice(start, start + PIXELS_A_PIECE)
            parts = squares[:, some], products[:, some], totals[:, some]
            solved[some], scatter2[some] = _solve_pixels(*parts, rank + 1)
        moments = moments / moments[0, 0]
        centre = moments[0, 1:]
        spread = np.linalg.cholesky(moments[1:, 1:] - np.outer(centre, centre))
        correlation = correlation[:, 0] / np.maximum(correlation[:, 1], 1.0)
        ratio = correlation[1:] / correlation[0] if correlation[0] > 0 else np.zeros(_LAGS)
        return replace(
            basis,
            mean=(basis.mean + solved[:, 0] + solved[:, 1:] @ centre).astype(np.float32),
            scatter=np.sqrt(scatter2).astype(np.float32),
            factors=np.ascontiguousarray((solved[:, 1:] @ spread).T, dtype=np.float32),
            inflation=float(max(1.0, 1.0 + 2.0 * ratio.sum())),
        )


def _solve_pixels(squares, products, totals, n_terms):
    """Mean and factors of pixels by least squares on [1, z], and the variance that neither these nor noise explain."""
    weight, square, noise = totals
    normal = symmetric(squares.T, n_terms)
    # A pixel that was hardly measured stays at the mean: the coordinates' prior, one star's worth.
    diagonal = np.arange(n_terms)
    normal[:, diagonal, diagonal] += 1e-6 * weight[:, None] + 1e-30
    solved = np.linalg.solve(normal, products.T[:, :, None])[:, :, 0]
    normal[:, diagonal, diagonal] -= 1e-6 * weight[:, None] + 1e-30
    left = square - 2.0 * np.einsum("pk,kp->p", solved, products)
    left += np.einsum("pk,pkl,pl->p", solved, normal, solved)
    known = weight > 0
    variance = np.where(known, (left - noise) / np.where(known, weight, 1.0), _SCATTER_MIN**2)
    return solved, np.maximum(variance, _SCATTER_MIN**2)


def _principal(basis):
    """The same basis with orthogonal factors, the largest first."""
    _, size, axes = np.linalg.svd(basis.factors.astype(np.float64), full_matrices=False)
    sign = np.where(axes.sum(axis=1) < 0, -1.0, 1.0)[:, None]
    return replace(basis, factors=np.ascontiguousarray(sign * size[:, None] * axes, dtype=np.float32))


def _best_rank(basis, spectra, rows, is_fine, threads):
    """The rank whose coordinates, from half of the pixels of stars that the basis did not see, predict the others."""
    flux, errors, unmeasured = spectra.take(rows, is_fine)
    weights = pixel_weights(errors, unmeasured, basis.scatter, basis.inflation)
    hidden = (np.arange(flux.shape[1]) // _HIDDEN) % 2 == 1
    if not (weights[:, hidden].any() and weights[:, ~hidden].any()):
        return basis.rank
    shown = np.where(hidden, np.inf, errors).astype(np.float32)
    ranks = sorted({max(1, round(share * basis.rank)) for share in _SHARES})
    scores = []
    with Team(threads) as team:
        for rank in ranks:
            some = basis.of_rank(rank)
            z = posteriors(team, flux, shown, unmeasured, some, pair_products(some.factors))[0]
            left = flux[:, hidden] - some.mean[hidden] - z @ some.factors[:, hidden]
            scores.append(np.einsum("np,np,np->", weights[:, hidden], left, left, dtype=np.float64))
    return ranks[int(np.argmin(scores))]
