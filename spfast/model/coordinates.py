"""The features of a low-rank model: magnitudes, coordinates of the spectrum, and products of the first coordinates.

A function that is linear in the pixels cannot follow lines that vanish; one with squares and cubes of the coordinates
can. Products are Hermite polynomials, orthonormal for coordinates of unit variance, so that one penalty suits all.
"""

import itertools
import math
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from spfast.errors import BadInputError
from spfast.kernels.posteriors import factored_variance
from spfast.model.arrays import resolve_rows
from spfast.model.layout import CONSTANT, MAGNITUDE, MAGNITUDES, FeatureLayout
from spfast.model.low_rank import Coordinates

__all__ = ["COORDINATE", "PRODUCT", "CoordinateErrors", "CoordinateLayout", "layout_from"]

COORDINATE, PRODUCT = "coordinate", "product"
#: Products are not followed beyond this many standard deviations of a coordinate: too few stars are there.
_REACH = 4.0
#: Stars taken together.
_BLOCK_ROWS = 1024


@dataclass(frozen=True)
class CoordinateLayout:
    """The columns ``[1, magnitudes, coordinates, products]``.

    Parameters
    ----------
    rank : int
        Coordinates.
    n_products : int
        Products of two of the first ``n_products`` coordinates are columns, and of three of the first half of these.
    line_weights : tuple of float, length rank
        What each coordinate adds to the mean ln flux of a spectrum: how weak lines are.
    n_broad : int
        Coordinates that are of the broad basis.
    magnitudes : tuple of str
    spectrum : FeatureLayout, optional
        Of the spectra that the coordinates are of; by default ln flux of APOGEE's grid.
    """

    rank: int
    n_products: int
    line_weights: tuple
    n_broad: int
    magnitudes: tuple = MAGNITUDES
    spectrum: FeatureLayout | None = field(default=None, repr=False)

    def __post_init__(self):
        if not 0 <= self.n_products <= self.rank or len(self.line_weights) != self.rank:
            raise BadInputError(
                f"layout: products of {self.n_products} coordinates and {len(self.line_weights)} line weights for "
                f"{self.rank} coordinates; expected no more products than coordinates, and a weight for each"
            )
        object.__setattr__(self, "line_weights", tuple(map(float, self.line_weights)))
        object.__setattr__(self, "magnitudes", tuple(self.magnitudes))

    @cached_property
    def products(self) -> list:
        """The coordinates of each product (list of tuple of int), pairs first."""
        pairs = itertools.combinations_with_replacement(range(self.n_products), 2)
        triples = itertools.combinations_with_replacement(range(self.n_products // 2), 3)
        return [*pairs, *triples]

    @property
    def n_unpenalized(self) -> int:
        """Columns before the first coordinate: the constant and the magnitudes."""
        return 1 + len(self.magnitudes)

    @property
    def n_features(self) -> int:
        """All columns."""
        # Counted, not listed: a damaged file may ask for more than there is memory for.
        n_products = math.comb(self.n_products + 1, 2) + math.comb(self.n_products // 2 + 2, 3)
        return self.n_unpenalized + self.rank + n_products

    @property
    def names(self) -> list:
        """Column names, e.g. ``constant, G, ..., W2, z1, ..., z1*z1, ...`` (list of str)."""
        products = ("*".join(f"z{k + 1}" for k in product) for product in self.products)
        return ["constant", *self.magnitudes, *(f"z{k + 1}" for k in range(self.rank)), *products]

    @property
    def kinds(self) -> list:
        """``constant``, ``magnitude``, ``coordinate`` or ``product`` for each column (list of str)."""
        kinds = [CONSTANT] + [MAGNITUDE] * len(self.magnitudes) + [COORDINATE] * self.rank
        return kinds + [PRODUCT] * len(self.products)

    @property
    def penalized(self) -> np.ndarray:
        """Columns under the L1 penalty (bool array, shape (n_features,)): coordinates and products."""
        return np.arange(self.n_features) >= self.n_unpenalized

    @property
    def wavelength(self) -> np.ndarray:
        """NaN: no column has a wavelength (float64 array, shape (n_features,))."""
        return np.full(self.n_features, np.nan)

    @property
    def grid(self) -> np.ndarray:
        """-1: no column is a pixel (int64 array, shape (n_features,))."""
        return np.full(self.n_features, -1)

    def wavelength_of(self, places: np.ndarray) -> np.ndarray:
        """Return the wavelength of the spectra's pixels (float64 array [Angstrom]), NaN where there is none."""
        return (self.spectrum or FeatureLayout(())).wavelength_of(places)

    def names_of(self, places: np.ndarray) -> list:
        """Return the names of the spectra's pixels (list of str)."""
        return (self.spectrum or FeatureLayout(())).names_of(places)

    def position_coefs(self, coef: np.ndarray, penalized: np.ndarray) -> list:
        """What `spfast.model.extent` projects stars on.

        The parts of ln parallax from broad coordinates, fine coordinates and products, and the weakness of lines.
        """
        at, first, after = np.arange(self.n_features), self.n_unpenalized, self.n_unpenalized + self.rank
        fine = first + min(self.n_broad, self.rank)
        lines = np.zeros(self.n_features)
        lines[first:after] = self.line_weights
        bounds = ((first, fine), (fine, after), (after, self.n_features))
        return [*(np.where((begin <= at) & (at < end), coef, 0.0) for begin, end in bounds), lines]

    def smaller(self, rank: int, n_products: int) -> "CoordinateLayout":
        """The layout of the first coordinates, and of the products of fewer of them."""
        return replace(self, rank=rank, n_products=n_products, line_weights=self.line_weights[:rank])

    def within(self, rank: int, n_products: int) -> np.ndarray:
        """The columns that a smaller layout has as well (int array)."""
        first = self.n_unpenalized
        products = [
            first + self.rank + at
            for at, product in enumerate(self.products)
            if max(product) < (n_products if len(product) == 2 else n_products // 2)
        ]
        return np.array([*range(first + rank), *products], dtype=np.int64)

    def design(self, magnitudes: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
        """Return the columns of stars.

        Parameters
        ----------
        magnitudes : float array, shape (n_stars, n_magnitudes) [mag]
        coordinates : float32 array, shape (n_stars, rank)

        Returns
        -------
        float32 array, C order, shape (n_stars, n_features)
        """
        first, after = self.n_unpenalized, self.n_unpenalized + self.rank
        features = np.empty((len(coordinates), self.n_features), np.float32)
        features[:, 0], features[:, 1:first], features[:, first:after] = 1.0, magnitudes, coordinates
        powers = _hermite(coordinates[:, : self.n_products])
        for column, product in enumerate(self.products, start=after):
            features[:, column] = np.prod([powers[product.count(k)][:, k] for k in set(product)], axis=0)
        return features

    def gradient(self, coef: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
        """Derivative of ``features . coef`` by the coordinates (float64 array, shape (n_stars, rank))."""
        first, after = self.n_unpenalized, self.n_unpenalized + self.rank
        gradient = np.repeat(coef[None, first:after], len(coordinates), axis=0)
        some = np.asarray(coordinates[:, : self.n_products], dtype=np.float64)
        # One coordinate of all stars after the other, as they are used.
        powers, slopes = ([np.ascontiguousarray(one.T) for one in of(some)] for of in (_hermite, _hermite_slopes))
        for column, product in enumerate(self.products, start=after):
            if coef[column] == 0.0:
                continue
            for k in set(product):
                others = [powers[product.count(m)][m] for m in set(product) - {k}]
                gradient[:, k] += coef[column] * math.prod([slopes[product.count(k)][k], *others])
        return gradient

    def to_dict(self) -> dict:
        """Return the layout as a JSON-able dictionary."""
        return {
            "rank": self.rank,
            "n_products": self.n_products,
            "line_weights": list(self.line_weights),
            "n_broad": self.n_broad,
            "magnitudes": list(self.magnitudes),
            **({} if self.spectrum is None else {"spectrum": self.spectrum.to_dict()}),
        }

    @classmethod
    def from_dict(cls, record: dict) -> "CoordinateLayout":
        """Rebuild a layout from `to_dict`'s dictionary."""
        try:
            counts = record["rank"], record["n_products"], record["n_broad"]
            weights = np.array(record["line_weights"], dtype=np.float64)
            names = record["magnitudes"]
            texts = isinstance(names, list) and all(type(name) is str for name in names)
            if not all(type(n) is int and n >= 0 for n in counts) or not texts or len(set(names)) < len(names):
                raise TypeError
            if weights.ndim != 1 or not np.isfinite(weights).all():
                raise ValueError
            rank, n_products, n_broad = counts
            spectrum = FeatureLayout.from_dict(record["spectrum"]) if "spectrum" in record else None
            return cls(rank, n_products, tuple(weights), n_broad, tuple(names), spectrum)
        except (KeyError, TypeError, ValueError):
            raise BadInputError("layout: the stored coordinates are damaged; build the model again") from None


def layout_from(record: dict) -> FeatureLayout | CoordinateLayout:
    """Rebuild the layout of a model from its dictionary."""
    return (CoordinateLayout if isinstance(record, dict) and "rank" in record else FeatureLayout).from_dict(record)


def _hermite(z):
    """Powers 0 to 3 as orthonormal Hermite polynomials."""
    z = np.clip(z, -_REACH, _REACH)
    return np.ones_like(z), z, (z**2 - 1.0) / np.sqrt(2.0), (z**3 - 3.0 * z) / np.sqrt(6.0)


def _hermite_slopes(z):
    inside = np.abs(z) <= _REACH
    one, first, second, _ = _hermite(z)
    return np.zeros_like(z), one * inside, np.sqrt(2.0) * first * inside, np.sqrt(3.0) * second * inside


@dataclass(frozen=True)
class CoordinateErrors:
    """Errors of the features of a `CoordinateLayout`: those of coordinates are correlated, star by star.

    Attributes
    ----------
    layout : CoordinateLayout
    coordinates : Coordinates
    magnitude_errors : float32 array, shape (n_stars, n_magnitudes) [mag]
    estimated : bool array of the same shape, or None
        Magnitudes that were not measured: estimates from others; None: there is none.
    """

    layout: CoordinateLayout
    coordinates: Coordinates
    magnitude_errors: np.ndarray
    estimated: np.ndarray | None = None

    def of(self, rows: np.ndarray) -> "CoordinateErrors":
        """The errors of some of the stars (int array)."""
        estimated = None if self.estimated is None else self.estimated[rows]
        return replace(
            self,
            coordinates=self.coordinates.of(rows),
            magnitude_errors=self.magnitude_errors[rows],
            estimated=estimated,
        )

    def variance(self, coef: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Variance of ``features . coef`` of stars (float64 array, shape (n_rows,)).

        The coordinates' covariance is that of the truth given the spectrum, times the star's misfit; products follow
        them to first order.
        """
        rows = resolve_rows(rows, len(self.magnitude_errors))
        first = self.layout.n_unpenalized
        variance = np.empty(rows.size)
        for start in range(0, rows.size, _BLOCK_ROWS):
            some = rows[start : start + _BLOCK_ROWS]
            slope = self.layout.gradient(coef, self.coordinates.mean[some])
            of_spectrum, column = np.zeros(some.size), 0
            for n, roots in zip(self.coordinates.ranks, self.coordinates.roots, strict=True):
                factored_variance(roots[some].astype(np.float32), slope[:, column : column + n].copy(), of_spectrum)
                column += n
            # No product of BLAS: a star's error has the same bits in any company.
            of_magnitudes = np.sum((self.magnitude_errors[some].astype(np.float64) * coef[1:first]) ** 2, axis=1)
            # A star's errors are right up to a factor: what its coordinates leave of the spectrum tells it.
            misfit = self.coordinates.misfit[some].astype(np.float64)
            of_spectrum *= np.where(misfit > 0.0, misfit, 1.0)
            variance[start : start + _BLOCK_ROWS] = of_spectrum + of_magnitudes
        return variance

    def noise_of(self, diagonal: np.ndarray, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """What the noise of measured features adds to a quadratic form with this diagonal in these columns.

        Coordinates are means given the spectrum: they have less variance than the truth, not more, and so have
        estimates of magnitudes, so that the noise of measured magnitudes alone is in the form.
        """
        at = np.flatnonzero((columns > 0) & (columns < self.layout.n_unpenalized))
        errors = self.magnitude_errors[rows][:, columns[at] - 1].astype(np.float64)
        if self.estimated is not None:
            errors[self.estimated[rows][:, columns[at] - 1]] = 0.0
        return np.sum(errors**2 * diagonal[at], axis=1)
