"""The data of a fit: the stars that take part, their parallaxes and weights, and the objective on them."""

import numbers

import numpy as np

from spfast.errors import BadInputError
from spfast.model.arrays import check_design, in_mas, penalized_mask, refuse_stars, resolve_rows, star_values
from spfast.model.layout import MAGNITUDE, MAGNITUDE_SUM
from spfast.model.objective import Objective

__all__ = ["FitData"]


class FitData:
    """The stars of a fit with their weights, the objective on them, and what the model will remember (as in `fit`)."""

    def __init__(
        self,
        features,
        parallax,
        parallax_error,
        team,
        *,
        penalized=None,
        rows=None,
        layout=None,
        zero_point=0.0,
        exact_distance_modulus=False,
    ):
        design = check_design(features)
        n_stars, n_features = design.shape
        if layout is not None and layout.n_features != n_features:
            raise BadInputError(f"features: {n_features} columns, the layout has {layout.n_features}")
        self.zero_point = float(in_mas(zero_point, "zero_point"))
        self.penalized = penalized_mask(penalized, layout, n_features)
        self.rows = resolve_rows(rows, n_stars)
        if self.rows.size == 0:
            raise BadInputError("rows: no star is selected for training; loosen the cuts or check the fold")
        raw = star_values(parallax, "parallax", n_stars)[self.rows]
        error = star_values(parallax_error, "parallax_error", n_stars)[self.rows]
        refuse_stars("parallax", ~np.isfinite(raw), self.rows, "a finite number in mas")
        refuse_stars("parallax_error", ~(error > 0), self.rows, "a positive number in mas")
        with np.errstate(divide="ignore", over="ignore"):
            ivar = 1.0 / error**2
        if not np.isfinite(ivar).all() or not ivar.any():
            raise BadInputError(
                "parallax_error: the weights 1/error^2 are all zero or overflow; expected errors in mas"
            )
        self.signal = raw / error
        penalties = self.penalties(1.0)
        condition = _distance_modulus(layout, self.penalized) if exact_distance_modulus else None
        self.objective = Objective(design, self.rows, raw + self.zero_point, ivar, penalties, team, condition)
        self._raw, self.ivar = raw, ivar

    def penalties(self, penalty):
        """The penalty on each column (float64 array, shape (n_features,))."""
        if not (isinstance(penalty, numbers.Real) and np.isfinite(penalty) and penalty >= 0):
            raise BadInputError(f"penalty is {penalty!r}, expected a finite number, zero or larger")
        return np.where(self.penalized, float(penalty), 0.0)

    def move(self, penalty, zero_point):
        """Go to another penalty and zero point, with the same stars."""
        zero_point = float(in_mas(zero_point, "zero_point"))
        objective = self.objective.with_penalties(self.penalties(penalty))
        if zero_point != self.zero_point:
            objective = objective.with_parallax(self._raw + zero_point)
        self.objective, self.zero_point = objective, zero_point

    def weigh(self, weights):
        """Give every star its inverse variance times a weight (float64 array, shape (n_rows,))."""
        self.objective = self.objective.with_ivar(self.ivar * weights)


def _distance_modulus(layout, penalized):
    """The condition that the magnitudes' coefficients sum to -0.2 ln 10; the paper leaves the sum free."""
    if layout is None:
        raise BadInputError("exact_distance_modulus: needs a layout that says which columns are magnitudes")
    vector = np.array([kind == MAGNITUDE for kind in layout.kinds], dtype=np.float64)
    if not vector.any() or penalized[vector > 0].any():
        raise BadInputError("exact_distance_modulus: expected unpenalised magnitudes; check layout and penalized")
    return vector, MAGNITUDE_SUM
