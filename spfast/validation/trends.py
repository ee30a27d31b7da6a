"""Trends: do the residuals of a catalog depend on what a star is or where it is?"""

import numpy as np
from astropy.table import Table

from spfast.validation.columns import Column, described_table
from spfast.validation.quantities import QUANTITIES, star_quantities
from spfast.validation.read_catalog import read_catalog
from spfast.validation.residuals import catalog_residuals, error_cards, half_width

__all__ = ["TRENDS", "residual_trends"]

#: A residual beyond this many standard deviations counts as if it were at that many (Huber's estimator).
_HUBER = 3.0
_ITERATIONS = 30
_MIN_STARS = 10

#: Columns of `residual_trends`.
TRENDS = {
    "reference": Column("gaia or truth", "against"),
    "quantity": Column("what the residual is fitted against", "with"),
    "per": Column("step of the quantity that the slope is for", "per"),
    "n": Column("number of stars", "stars", ",d"),
    "slope": Column(
        "change of the fractional residual spec / reference - 1 for that step", "slope", "+.2%", error="slope_error"
    ),
    "slope_error": Column("its error, from the scatter of the residuals themselves", "error", ".2%"),
    "significance": Column("slope over its error", "sigma", "+.1f", only="terminal"),
    "low": Column("10th percentile of the quantity"),
    "high": Column("90th percentile"),
    "change": Column("change of the fractional residual from the 10th to the 90th percentile", "over 10-90%", "+.1%"),
}


def residual_trends(catalog: Table, stars: Table, truth: Table | None = None) -> Table:
    """Fit straight lines to the fractional residuals, one quantity at a time.

    Weights are inverse variances. A residual beyond 3 standard deviations counts less (Huber's estimator), so that a
    few wrong Gaia parallaxes make no trend. The slope's error comes from the scatter of the residuals (White 1980), so
    it is right even where the catalog's errors are not. Quantities depend on each other: a trend with one shows in
    others.

    Parameters
    ----------
    catalog : astropy Table
        The seven columns of Table 1.
    stars : astropy Table
        A survey's star table.
    truth : astropy Table, optional
        ``APOGEE_ID`` and ``true_parallax`` [mas].

    Returns
    -------
    astropy Table
        One row for each reference and quantity with ten stars or more; columns as in `TRENDS`.

    Raises
    ------
    BadInputError
        If a column is missing, or nothing can be compared.
    """
    arrays = read_catalog(catalog)
    quantities = star_quantities(arrays.names, stars)
    rows = []
    for reference, residual, error, usable in catalog_residuals(arrays, truth):
        for name, quantity in quantities.items():
            has_both = usable & np.isfinite(quantity)
            if np.count_nonzero(has_both) < _MIN_STARS or np.ptp(quantity[has_both]) == 0:
                continue
            step, step_text = QUANTITIES[name].step, QUANTITIES[name].step_text
            slope, slope_error = _line(quantity[has_both] / step, residual[has_both], error[has_both])
            low, high = np.percentile(quantity[has_both], [10.0, 90.0])
            change = slope * (high - low) / step
            numbers = (slope, slope_error, slope / slope_error, low, high, change)
            rows.append((reference, name, step_text, int(has_both.sum()), *(float(number) for number in numbers)))
    return described_table(rows, TRENDS, error_cards(arrays))


def _line(x, y, error):
    """Slope of a weighted straight line and its error (two floats)."""
    centre = np.average(x, weights=error**-2)
    design = np.column_stack([np.ones_like(x), x - centre]) / error[:, None]
    target = y / error
    keep = np.ones_like(x)
    for _ in range(_ITERATIONS):
        weighted = design * keep[:, None]
        coef = np.linalg.lstsq(weighted.T @ design, weighted.T @ target, rcond=None)[0]
        left = target - design @ coef
        scale = max(half_width(left), np.finfo(float).tiny)
        keep = np.minimum(1.0, _HUBER * scale / np.maximum(np.abs(left), np.finfo(float).tiny))
    curvature = np.linalg.pinv(design[keep == 1.0].T @ design[keep == 1.0], hermitian=True)
    score = design * (keep * left)[:, None]
    covariance = curvature @ (score.T @ score) @ curvature
    return coef[1], np.sqrt(covariance[1, 1])
