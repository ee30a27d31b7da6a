"""Where a model's training stars lie, in the model's own features: how it tells a star that is unlike them."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from spfast.errors import BadInputError
from spfast.model import kinds
from spfast.model.coordinates import CoordinateLayout
from spfast.model.kinds import entry
from spfast.model.layout import FeatureLayout
from spfast.model.predict import linear_predictors

__all__ = ["EXTENT_SHARE", "Position", "TrainingExtent", "position"]

#: Share of a model's training stars that count as inside; a star farther out than these extrapolates.
EXTENT_SHARE = 0.999


class Position(NamedTuple):
    """Where stars are in a model's own features.

    Attributes
    ----------
    points : float64 array, shape (n_rows, n_magnitudes + n_parts)
        Magnitudes, then what each chip adds to ln parallax (of a low-rank model: each of its three parts).
    lines : float64 array, shape (n_rows,)
        Mean ln flux of the pixels that the model uses, weighted with the sizes of their coefficients.
    """

    points: np.ndarray
    lines: np.ndarray
    n_parts: int

    @property
    def parts(self) -> np.ndarray:
        """The points without the magnitudes (float64 array, shape (n_rows, n_parts))."""
        return self.points[:, self.points.shape[1] - self.n_parts :]


def position(
    coef: np.ndarray,
    penalized: np.ndarray,
    layout: FeatureLayout | CoordinateLayout,
    features: np.ndarray,
    rows: np.ndarray | None = None,
    threads: int | None = None,
) -> Position:
    """Find where stars are in a model's own features, in one pass over them.

    Parameters
    ----------
    coef : float64 array, shape (n_features,)
    penalized : bool array, shape (n_features,)
    layout : FeatureLayout or CoordinateLayout
    features : float32 or float64 array, C order, shape (n_stars, n_features)
    rows : bool mask or int array, optional
    threads : int, optional

    Returns
    -------
    Position
    """
    *parts, lines = linear_predictors(features, layout.position_coefs(coef, penalized), rows, threads)
    magnitudes = features[:, 1 : layout.n_unpenalized][slice(None) if rows is None else rows]
    return Position(np.column_stack([np.asarray(magnitudes, dtype=np.float64), *parts]), lines, len(parts))


@dataclass(frozen=True)
class TrainingExtent:
    """Centre and spread of a model's training stars.

    Attributes
    ----------
    centre : list of float, length n_magnitudes + 3
        Of the training stars, in the space of the magnitudes and of each chip's contribution to ln parallax.
    inverse_covariance : list of list of float
        Of the same. Coordinates in which the stars do not differ do not count.
    limit : float
        Squared Mahalanobis distance there that all but 1 in 1,000 of them keep within.
    fitted_centre, fitted_inverse : list
        The same of the chips alone, the stars weighted as in the fit; the inverse scaled as `unlikeness` needs it.
    line_centre, line_scale : float
        Centre and scale of their lines' weakness.
    misfit_limit : float or None
        What low-rank coordinates leave of a spectrum (`Coordinates.misfit`), below which all but 1 in 1,000 are.
    """

    centre: list = entry(kinds.NUMBERS, repr=False)
    inverse_covariance: list = entry(kinds.INVERSE_COVARIANCE, repr=False)
    limit: float = entry(kinds.NOT_NEGATIVE)
    fitted_centre: list | None = entry(kinds.NUMBERS, default=None, repr=False)
    fitted_inverse: list | None = entry(kinds.INVERSE_COVARIANCE, default=None, repr=False)
    line_centre: float | None = entry(kinds.NUMBER, default=None)
    line_scale: float | None = entry(kinds.NOT_NEGATIVE, default=None)
    misfit_limit: float | None = entry(kinds.NOT_NEGATIVE, default=None)

    def __post_init__(self):
        lengths = {"inverse_covariance": len(self.centre)}
        if self.fitted_inverse is not None:
            lengths |= {"fitted_inverse": len(self.fitted_centre or ())}
        for name, length in lengths.items():
            if len(getattr(self, name) or ()) != length:
                raise ValueError(f"{name} has {len(getattr(self, name) or ())} entries, expected {length}")
        if self.line_scale and self.line_centre is None:
            raise ValueError("line_scale stands without line_centre")

    @classmethod
    def of(
        cls, where: Position, weights: np.ndarray | None = None, misfit: np.ndarray | None = None
    ) -> "TrainingExtent":
        """Measure where training stars lie.

        Parameters
        ----------
        where : Position
            Of the training stars.
        weights : float64 array, shape (n_rows,), optional
            What each training star weighs in the fit; the same by default.
        misfit : float32 array, shape (n_rows,), optional
            Of a low-rank model.

        Returns
        -------
        TrainingExtent
        """
        points, lines = where.points, where.lines
        centre = points.mean(axis=0)
        covariance = np.atleast_2d(np.cov(points, rowvar=False, bias=True))
        inverse = np.linalg.pinv(covariance, rcond=1e-10, hermitian=True)
        parts = where.parts
        fitted_centre = np.average(parts, axis=0, weights=weights)
        spread = np.atleast_2d(np.cov(parts, rowvar=False, aweights=weights))
        fitted_inverse = np.linalg.pinv(spread, rcond=1e-10, hermitian=True)
        size = np.sqrt(np.mean(_squared_distance(parts, fitted_centre, fitted_inverse) ** 2))
        line_centre = np.average(lines, weights=weights)
        return cls(
            centre=centre.tolist(),
            inverse_covariance=inverse.tolist(),
            limit=float(np.quantile(_squared_distance(points, centre, inverse), EXTENT_SHARE)),
            fitted_centre=fitted_centre.tolist(),
            fitted_inverse=(fitted_inverse / (size or 1.0)).tolist(),
            line_centre=float(line_centre),
            misfit_limit=None if misfit is None else float(np.quantile(misfit, EXTENT_SHARE)),
            line_scale=float(np.sqrt(np.mean(np.maximum(lines - line_centre, 0.0) ** 2))),
        )

    def excludes(self, where: Position) -> np.ndarray:
        """Say which stars lie farther out than the model's training stars (bool array, shape (n_rows,)).

        Raises
        ------
        BadInputError
            If the model's layout has other magnitudes than its extent.
        """
        if len(self.centre) != where.points.shape[1]:
            raise BadInputError(
                f"model: its training extent has {len(self.centre)} coordinates, its layout {where.points.shape[1]}; "
                "fit it again"
            )
        # Written so that a NaN distance is outside.
        inverse = np.array(self.inverse_covariance)
        return ~(_squared_distance(where.points, np.array(self.centre), inverse) <= self.limit)

    def unlikeness(self, where: Position) -> np.ndarray:
        """How far stars are from the middle of the training stars, and how much weaker than there their lines are.

        How far is measured in what each chip adds to ln parallax. Magnitudes are left out: they carry the star's
        distance, along which the model is right wherever a star is. The middle, and how far it is from there, are those
        of the stars as the fit weighs them: it follows nearby stars, and what a model that is linear in the features
        leaves out grows away from them, with the square of the distance at first. Weak lines, as of metal-poor stars,
        tell less: their weakness is the mean ln flux of the pixels that the model uses, weighted with the sizes of
        their coefficients, as far as it is above the middle's.

        Returns
        -------
        float64 array, shape (n_rows, 2)
            u and w: squares, to which variances are proportional, of the squared Mahalanobis distance and of the
            weakness, each 1 in the mean of the training stars; 1 for all where training stars do not differ.
        """
        parts = where.parts
        unlikeness = np.ones((len(parts), 2))
        inverse = np.array(0.0 if self.fitted_inverse is None else self.fitted_inverse)
        if inverse.any():
            unlikeness[:, 0] = _squared_distance(parts, np.array(self.fitted_centre), inverse) ** 2
        if self.line_scale:
            unlikeness[:, 1] = (np.maximum(where.lines - self.line_centre, 0.0) / self.line_scale) ** 2
        return unlikeness


def _squared_distance(points, centre, inverse):
    offset = points - centre
    return np.einsum("ni,ij,nj->n", offset, inverse, offset)
