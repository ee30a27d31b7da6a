"""Whether residuals lean: weighted slopes of the fractional residual against what a star is and where it is."""

import numpy as np

from spfast.products.covariates import COVARIATES, covariates
from spfast.products.residuals import described_table, half_width, residuals
from spfast.products.table1 import catalog_values

__all__ = ["TRENDS", "residual_trends"]

#: A residual beyond this many standard deviations counts as if it were at that many (Huber's estimator).
_HUBER = 3.0
_ITERATIONS = 30
_MIN_STARS = 10

#: Columns of `residual_trends`: unit and description.
TRENDS = {
    "reference": ("", "gaia or truth"),
    "quantity": ("", "what the residual is fitted against"),
    "per": ("", "step of the quantity that the slope is for"),
    "n": ("", "stars"),
    "slope": ("", "change of the fractional residual spec / reference - 1 for that step"),
    "slope_error": ("", "its error, from the scatter of the residuals themselves"),
    "significance": ("", "slope over its error"),
    "low": ("", "10th percentile of the quantity"),
    "high": ("", "90th percentile"),
    "change": ("", "change of the fractional residual from the 10th to the 90th percentile"),
}


def residual_trends(catalog, stars, truth=None):
    """Fit straight lines to the fractional residuals, one quantity at a time.

    Weights are inverse variances; residuals beyond 3 standard deviations are held back (Huber), so that a few wrong
    Gaia parallaxes do not make a trend; errors are those of the scatter found, whatever the catalog's errors are worth
    (White 1980). Quantities depend on each other: a trend in one shows in others.

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
        One row for each reference and quantity with ten stars or more, columns as in `TRENDS`.

    Raises
    ------
    BadInputError
        If a column is missing, or nothing can be compared.
    """
    values = catalog_values(catalog)
    found = covariates(values.names, stars)
    rows = []
    for reference, residual, error, usable in residuals(values, truth):
        for name, quantity in found.items():
            known = usable & np.isfinite(quantity)
            if np.count_nonzero(known) < _MIN_STARS or np.ptp(quantity[known]) == 0:
                continue
            _, step, per = COVARIATES[name]
            slope, slope_error = _line(quantity[known] / step, residual[known], error[known])
            low, high = np.percentile(quantity[known], [10.0, 90.0])
            change = slope * (high - low) / step
            numbers = (slope, slope_error, slope / slope_error, low, high, change)
            rows.append((reference, name, per, int(known.sum()), *(float(number) for number in numbers)))
    return described_table(rows, TRENDS, {"ERRCOL": values.total_error_name})


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
