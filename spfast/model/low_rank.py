"""A model of spectra of low rank: a few dozen coordinates a star instead of thousands of noisy pixels.

Spectra of giants differ in a few dozen ways; noise differs in every pixel. There are two bases. The *broad* one
describes ln flux as it is; of its coordinates the first are used, which say how strong lines are altogether. The others
take up the waves that every continuum leaves. The *fine* one describes what is left when the mean over some 50 pixels
around is taken off. There the waves are gone, which else fill dozens of coordinates before the weak lines that tell
carbon from nitrogen, or one gravity from another.

Each basis is found by maximum likelihood from spectra and their errors (`spfast.kernels.low_rank` has the model;
`spfast.model.learn_low_rank` finds it), never from a parallax, a label or a magnitude.
"""

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from scipy.ndimage import uniform_filter1d

from spfast.blas import one_blas_thread
from spfast.errors import BadInputError
from spfast.files import scratch_array
from spfast.kernels.low_rank import ROWS_A_PIECE, pair_products, star_posteriors
from spfast.kernels.posteriors import covariance_triangles
from spfast.kernels.team import Team
from spfast.model import kinds
from spfast.model.kinds import check_entries
from spfast.reads.cluster import this_cluster

__all__ = [
    "BLOCK",
    "ROOT_DTYPE",
    "Coordinates",
    "LowRankBasis",
    "LowRankModel",
    "covariances",
    "high_pass",
    "n_triangle",
    "posteriors",
]

#: Stars that are read together.
BLOCK = 16 * ROWS_A_PIECE
#: How factors of covariances are kept: variances are right to 0.1%, in half of the room of float32.
ROOT_DTYPE = np.float16
#: The mean that the fine basis takes off is over so many pixels, twice: like a Gaussian of 10 pixels.
_BOX = 25
#: Pixels farther apart than this are on different detectors.
_GAP = 30


@dataclass(frozen=True)
class Coordinates:
    """Stars in a low-rank model.

    Attributes
    ----------
    mean : float32 array, shape (n_stars, rank)
        Their coordinates, each of unit variance among the stars that it was learned from; those of the broad basis
        first.
    roots : tuple of float16 array, shape (n_stars, n (n + 1) / 2)
        For each basis of n coordinates the lower Cholesky factor, row by row, of the covariance of their errors.
    misfit : float32 array, shape (n_stars,)
        Chi-squared a pixel of what the fine basis leaves of the spectrum: the distance from the model.
    """

    mean: np.ndarray
    roots: tuple
    misfit: np.ndarray

    @property
    def ranks(self) -> tuple:
        """Coordinates of each basis."""
        return tuple((int(np.sqrt(8 * root.shape[1] + 1)) - 1) // 2 for root in self.roots)

    def of(self, rows: slice | np.ndarray) -> "Coordinates":
        """Some of the stars; views for a slice."""
        return Coordinates(self.mean[rows], tuple(part[rows] for part in self.roots), self.misfit[rows])

    def first(self, rank: int) -> "Coordinates":
        """The first coordinates alone: views of these."""
        left, roots = rank, []
        for n, root in zip(self.ranks, self.roots, strict=True):
            roots.append(root[:, : n_triangle(min(left, n))])
            left = max(left - n, 0)
        return Coordinates(self.mean[:, :rank], tuple(roots), self.misfit)


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
    """

    #: The numbers and the arrays among the attributes, as a file holds them.
    ENTRIES: ClassVar[dict] = {"inflation": kinds.POSITIVE, "n_spectra": kinds.COUNT, "n_reads": kinds.NOT_NEGATIVE}
    ARRAYS: ClassVar[tuple] = ("mean", "scatter", "factors")

    mean: np.ndarray
    scatter: np.ndarray
    factors: np.ndarray
    inflation: float
    n_spectra: int
    n_reads: float

    @property
    def rank(self) -> int:
        """Number of coordinates."""
        return len(self.factors)

    def of_rank(self, rank: int) -> "LowRankBasis":
        """The basis with its first factors alone."""
        return replace(self, factors=self.factors[:rank])

    def is_same(self, other: "LowRankBasis") -> bool:
        """Whether two bases give the same coordinates to the bit."""
        arrays = all(np.array_equal(getattr(self, name), getattr(other, name)) for name in self.ARRAYS)
        return arrays and self.inflation == other.inflation


@dataclass(frozen=True)
class LowRankModel:
    """A broad and a fine basis of the same pixels.

    Attributes
    ----------
    broad, fine : LowRankBasis
    n_broad : int
        Coordinates of the broad basis that are used.
    pixels : int64 array, shape (n_pixels,)
        Their places on the spectra's grid.
    """

    #: The bases among the attributes.
    BASES: ClassVar[tuple] = ("broad", "fine")

    broad: LowRankBasis
    fine: LowRankBasis
    n_broad: int
    pixels: np.ndarray

    @property
    def rank(self) -> int:
        """Number of coordinates."""
        return self.n_broad + self.fine.rank

    @property
    def ranks(self) -> tuple:
        """Coordinates of each basis that are used."""
        return self.n_broad, self.fine.rank

    @property
    def n_reads(self) -> float:
        """Reads of all spectra that learning took."""
        return self.broad.n_reads + self.fine.n_reads

    @property
    def line_weights(self) -> tuple:
        """What each coordinate adds to the mean ln flux of a spectrum: how weak lines are."""
        weights = [basis.factors[:n].mean(axis=1, dtype=np.float64) for basis, n in self._used()]
        return tuple(np.concatenate(weights).tolist())

    def _used(self):
        return (self.broad, self.n_broad), (self.fine, self.fine.rank)

    def is_same(self, other: "LowRankModel") -> bool:
        """Whether two models give the same coordinates to the bit."""
        same = self.n_broad == other.n_broad and np.array_equal(self.pixels, other.pixels)
        return same and self.broad.is_same(other.broad) and self.fine.is_same(other.fine)

    def coordinates(
        self,
        flux: np.ndarray,
        errors: np.ndarray,
        unmeasured: np.ndarray | None = None,
        threads: int | None = None,
        folder: str | os.PathLike | None = None,
    ) -> Coordinates:
        """Find the coordinates of stars from their spectra, in one pass.

        Parameters
        ----------
        flux : float32 array, shape (n_stars, n_pixels)
            ln flux.
        errors : float16 or float32 array, shape (n_stars, n_pixels)
            Infinite where a pixel was not measured.
        unmeasured : uint8 array, shape (n_stars, ceil(n_pixels / 8)), optional
            Bits of pixels that were not measured, whatever their error says.
        threads : int, optional
        folder : path-like, optional
            Where a file for so many that they fill the memory may lie (`spfast.files.scratch_array`).

        Returns
        -------
        Coordinates
            A star without a measured pixel has the mean of all, 0, and their covariance.
        """
        n = len(flux)
        mean, misfit = np.empty((n, self.rank), np.float32), np.empty(n, np.float32)
        roots = tuple(scratch_array((n, n_triangle(used)), ROOT_DTYPE, folder) for used in self.ranks)
        for rows, found in self.coordinate_blocks(flux, errors, unmeasured, threads):
            mean[rows], misfit[rows] = found.mean, found.misfit
            for whole, part in zip(roots, found.roots, strict=True):
                whole[rows] = part
        return Coordinates(mean, roots, misfit)

    def coordinate_blocks(
        self,
        flux: np.ndarray,
        errors: np.ndarray,
        unmeasured: np.ndarray | None = None,
        threads: int | None = None,
    ) -> Iterator[tuple[slice, Coordinates]]:
        """As `coordinates`, some 2,000 stars at a time.

        Yields
        ------
        rows : slice
        found : Coordinates
            Of these rows.
        """
        if flux.shape[1] != self.pixels.size:
            raise BadInputError(f"spectra: {flux.shape[1]} pixels, the low-rank model has {self.pixels.size}")
        stars, cluster = (self, flux, errors, unmeasured), this_cluster(flux)
        blocks = [slice(start, min(start + BLOCK, len(flux))) for start in range(0, len(flux), BLOCK)]
        if cluster is None:
            of_block = _block_maker(stars, threads)
            for rows in blocks:
                yield rows, of_block(rows)
        else:
            yield from zip(blocks, cluster.stream(_block_maker, stars, ((rows,) for rows in blocks)), strict=True)

    def pixel_coefficients(self, slope: np.ndarray) -> np.ndarray:
        """What each pixel's ln flux adds to a function of the first coordinates, of all that give it the smallest.

        Parameters
        ----------
        slope : float64 array, shape (n_coordinates,)
            Its derivative.

        Returns
        -------
        float64 array, shape (n_pixels,)
        """
        total, column = np.zeros(self.pixels.size), 0
        for basis, used in self._used():
            some = slope[column : column + used]
            column += used
            if some.size:
                factors = basis.factors[: some.size].astype(np.float64)
                coef = factors.T @ np.linalg.solve(factors @ factors.T, some)
                total += high_pass(coef[None], self.pixels)[0] if basis is self.fine else coef
        return total

    def entries(self) -> dict:
        """The numbers of the bases, for a file (dict)."""
        bases = {name: getattr(self, name) for name in self.BASES}
        entries = {name: {key: getattr(basis, key) for key in basis.ENTRIES} for name, basis in bases.items()}
        return {**entries, "n_broad": self.n_broad}

    def arrays(self) -> dict:
        """The arrays of the bases, for a file (dict)."""
        bases = {name: getattr(self, name) for name in self.BASES}
        arrays = {f"{name}_{key}": getattr(basis, key) for name, basis in bases.items() for key in basis.ARRAYS}
        return {**arrays, "pixels": self.pixels}

    @classmethod
    def from_file(cls, entries: dict, arrays: dict) -> "LowRankModel":
        """A model from what `entries` and `arrays` gave.

        Raises
        ------
        KeyError, ValueError
            If that does not fit together.
        """
        pixels, bases = arrays["pixels"], {}
        if pixels.dtype != np.int64 or pixels.ndim != 1 or np.any(np.diff(pixels) <= 0):
            raise ValueError("the pixels of its low-rank model are damaged")
        expected = dict.fromkeys(cls.BASES, LowRankBasis.ENTRIES) | {"n_broad": kinds.COUNT}
        check_entries(entries, expected, "low_rank")
        for name in cls.BASES:
            parts = {key: arrays[f"{name}_{key}"] for key in LowRankBasis.ARRAYS}
            for key, array in parts.items():
                shape = (len(parts["factors"]), pixels.size) if key == "factors" else (pixels.size,)
                if array.dtype != np.float32 or array.shape != shape or not np.isfinite(array).all():
                    raise ValueError(f"the {key} of its {name} basis is damaged")
            numbers = {key: entries[name][key] for key in LowRankBasis.ENTRIES}
            bases[name] = LowRankBasis(**parts, **numbers)
        if not entries["n_broad"] <= bases["broad"].rank:
            raise ValueError("its low-rank model uses more coordinates than it has")
        return cls(**bases, n_broad=entries["n_broad"], pixels=pixels)


def _block_maker(stars, threads):
    """What gives the coordinates of some of the stars (callable of a slice)."""
    model, flux, errors, unmeasured = stars
    # In the order in which BLAS goes through them: 8% less time.
    pairs = [np.asfortranarray(pair_products(basis.factors)) for basis, _ in model._used()]

    def of_block(rows):
        of_rows, given = (errors[rows], None if unmeasured is None else unmeasured[rows]), flux[rows]
        means, roots = [], []
        with one_blas_thread(), Team(threads) as team:
            for (basis, used), products in zip(model._used(), pairs, strict=True):
                spectra = high_pass(given, model.pixels, team) if basis is model.fine else given
                found, factors, misfit, _ = posteriors(team, spectra, *of_rows, basis, products)
                means.append(found[:, :used])
                roots.append(factors[:, : n_triangle(used)].astype(ROOT_DTYPE))
        return Coordinates(np.hstack(means), tuple(roots), misfit)

    return of_block


def n_triangle(n: int) -> int:
    """Elements of a triangle of n rows."""
    return n * (n + 1) // 2


def high_pass(flux: np.ndarray, pixels: np.ndarray, team: Team | None = None) -> np.ndarray:
    """Take the mean over the pixels around off each pixel, detector by detector.

    Parameters
    ----------
    flux : array, shape (n_stars, n_pixels)
    pixels : int array, shape (n_pixels,)
        Their places on the grid.
    team : Team, optional
        Threads to share the stars.

    Returns
    -------
    array of the type of ``flux``, C order, shape (n_stars, n_pixels)
    """
    out = np.empty(flux.shape, flux.dtype)
    bounds = [0, *np.flatnonzero(np.diff(pixels) > _GAP) + 1, len(pixels)]

    def take_off(first, last):
        rows = slice(first * ROWS_A_PIECE, last * ROWS_A_PIECE)
        for begin, end in itertools.pairwise(bounds):
            part = np.ascontiguousarray(flux[rows, begin:end])
            smooth = uniform_filter1d(uniform_filter1d(part, _BOX, mode="nearest"), _BOX, mode="nearest")
            np.subtract(part, smooth, out=out[rows, begin:end])

    n_pieces = -(-len(flux) // ROWS_A_PIECE)
    if team is None:
        take_off(0, n_pieces)
    else:
        team.run(take_off, n_pieces)
    return out


def posteriors(
    team: Team, flux, errors, unmeasured, basis: LowRankBasis, pairs: np.ndarray, with_likelihood: bool = False
) -> tuple:
    """Coordinates of stars, roots of their covariances, their misfits and, or None, ln likelihood of each spectrum."""
    n = len(flux)
    out = (
        np.empty((n, basis.rank), np.float32),
        np.empty((n, len(pairs)), np.float32),
        np.empty(n, np.float32),
        np.empty(n) if with_likelihood else None,
    )
    team.run(star_posteriors, -(-n // ROWS_A_PIECE), flux, errors, unmeasured, basis, pairs, *out)
    return out


def covariances(team: Team, roots: np.ndarray) -> np.ndarray:
    """Upper triangles, row by row, of the covariances whose Cholesky factors these are (float32 array)."""
    out = np.empty(roots.shape, np.float32)

    def multiply(first, last):
        rows = slice(first * ROWS_A_PIECE, last * ROWS_A_PIECE)
        covariance_triangles(roots[rows], out[rows])

    team.run(multiply, -(-len(roots) // ROWS_A_PIECE))
    return out
