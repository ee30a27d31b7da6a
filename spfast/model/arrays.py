"""Checked input of a fit: the stars that take part, their parallaxes and weights, and the objective."""

import numbers

import numpy as np
from astropy import units

from spfast.errors import BadInputError
from spfast.model.layout import MAGNITUDE
from spfast.model.objective import Objective
from spfast.model.predict import check_design, resolve_rows

__all__ = ["TrainingData"]

#: Sum of the magnitudes' coefficients of ln parallax if parallax scales as 10^(-0.2 magnitude).
MAGNITUDE_SUM = -0.2 * np.log(10.0)


class TrainingData:
    """Checked input of a fit: the objective, and what the model will remember of it (arguments as in `fit`)."""

    def __init__(
        self,
        features,
        parallax,
        parallax_error,
        penalty,
        penalized,
        rows,
        zero_point,
        layout,
        team,
        exact_distance_modulus=False,
    ):
        design = check_design(features)
        n_stars, n_features = design.shape
        if layout is not None and layout.n_features != n_features:
            raise BadInputError(f"features: {n_features} columns, the layout has {layout.n_features}")
        self.zero_point = float(_in_mas(zero_point, "zero_point"))
        self.penalized = _mask(penalized, layout, n_features)
        self.rows = resolve_rows(rows, n_stars)
        if self.rows.size == 0:
            raise BadInputError("rows: no star is selected for training; loosen the cuts or check the fold")
        raw = _values(parallax, "parallax", n_stars)[self.rows]
        error = _values(parallax_error, "parallax_error", n_stars)[self.rows]
        _refuse("parallax", ~np.isfinite(raw), self.rows, "a finite number in mas")
        _refuse("parallax_error", ~(error > 0), self.rows, "a positive number in mas")
        with np.errstate(divide="ignore", over="ignore"):
            ivar = 1.0 / error**2
        if not np.isfinite(ivar).all() or not ivar.any():
            raise BadInputError(
                "parallax_error: the weights 1/error^2 are all zero or overflow; expected errors in mas"
            )
        self.signal = raw / error
        penalties = self.penalties(penalty)
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
        zero_point = float(_in_mas(zero_point, "zero_point"))
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


def _in_mas(value, name):
    if isinstance(value, units.Quantity):
        try:
            return value.to_value(units.mas)
        except units.UnitConversionError:
            raise BadInputError(f"{name}: unit {value.unit}, expected an angle such as mas") from None
    return value


def _values(values, name, n_stars):
    values = np.ma.filled(np.ma.asarray(_in_mas(values, name)), np.nan)
    if values.shape != (n_stars,):
        raise BadInputError(
            f"{name}: shape {values.shape}, expected one value for each of the {n_stars} rows of features"
        )
    return values.astype(np.float64)


def _mask(penalized, layout, n_features):
    if penalized is None:
        return np.ones(n_features, dtype=bool) if layout is None else layout.penalized
    penalized = np.asarray(penalized)
    if penalized.dtype != bool or penalized.shape != (n_features,):
        raise BadInputError(
            f"penalized: {penalized.dtype} of shape {penalized.shape}, expected a boolean mask of {n_features} columns"
        )
    return penalized.copy()


def _refuse(name, bad, rows, expected):
    if bad.any():
        raise BadInputError(
            f"{name}: {bad.sum()} of the {rows.size} training stars have none (first: row {rows[np.argmax(bad)]}), "
            f"expected {expected}; leave them out with rows="
        )
