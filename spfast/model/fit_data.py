"""The data of a fit: the stars that take part, their parallaxes and weights, and the objective on them."""

import numbers

import numpy as np

from spfast.config import zero_point_in_mas
from spfast.errors import BadInputError
from spfast.model.arrays import (
    check_columns,
    check_design,
    parallaxes_and_errors,
    penalized_mask,
    refuse_features,
    refuse_stars,
    resolve_rows,
)
from spfast.model.layout import MAGNITUDE, MAGNITUDE_SUM
from spfast.model.objective import Objective

__all__ = ["FitData"]

#: A star with an error below this share of the median decides alone, and rounding keeps a fit from converging.
_SMALLEST_SHARE = 2e-4


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
        self.zero_point = zero_point_in_mas(zero_point)
        self.penalized = penalized_mask(penalized, layout, n_features)
        self.rows = np.sort(resolve_rows(rows, n_stars))
        if self.rows.size == 0:
            raise BadInputError("rows: no star is selected for training; loosen the cuts or check the fold")
        raw, error = (v[self.rows] for v in parallaxes_and_errors(parallax, parallax_error, n_stars))
        refuse_stars("parallax", ~np.isfinite(raw), self.rows, "a finite number in mas")
        refuse_stars("parallax_error", ~(error > 0), self.rows, "a positive number in mas")
        self._refuse_tiny_errors(error)
        check_columns(design, self.rows, np.flatnonzero(~self.penalized))
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

    def refuse_features(self):
        """Refuse the features if a number among them keeps a fit from being made."""
        refuse_features(self.objective.design, self.rows)

    def _refuse_tiny_errors(self, error):
        weighted = error[np.isfinite(error)]
        median = np.median(weighted) if weighted.size else 0.0
        is_tiny = error < _SMALLEST_SHARE * median
        if is_tiny.any():
            first = np.argmax(is_tiny)
            raise BadInputError(
                f"parallax_error: {is_tiny.sum()} of the {self.rows.size} training stars have one below "
                f"{_SMALLEST_SHARE:g} times the median of {median:g} (first: row {self.rows[first]}, "
                f"{error[first]:g}): its weight drowns all others; correct it, or leave those stars out with rows="
            )

    def penalties(self, penalty):
        """The penalty on each column (float64 array, shape (n_features,))."""
        is_number = isinstance(penalty, numbers.Real) and not isinstance(penalty, bool)
        if not (is_number and np.isfinite(penalty) and penalty >= 0):
            raise BadInputError(f"penalty is {penalty!r}, expected a finite number, zero or larger")
        return np.where(self.penalized, float(penalty), 0.0)

    def move(self, penalty, zero_point):
        """Go to another penalty and zero point, with the same stars."""
        zero_point = zero_point_in_mas(zero_point)
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
