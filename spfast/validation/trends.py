"""Trends: whether the residuals of a catalog depend on what a star is and where it is."""

import numpy as np

from spfast.data.tables.values import float_column
from spfast.errors import BadInputError
from spfast.validation.read_catalog import catalog_values, find_column, match_names
from spfast.validation.residuals import described_table, half_width, residuals

__all__ = ["COVARIATES", "TRENDS", "covariates", "residual_trends"]

#: Name: the star table's columns (the difference of two), and the step that a slope is quoted for.
COVARIATES = {
    "G": (("phot_g_mean_mag",), 1.0, "1 mag"),
    "BP-RP": (("phot_bp_mean_mag", "phot_rp_mean_mag"), 1.0, "1 mag"),
    "H-W2": (("H", "w2mpro"), 1.0, "1 mag"),
    "Teff": (("TEFF",), 1000.0, "1000 K"),
    "log g": (("LOGG",), 1.0, "1 dex"),
    "[Fe/H]": (("FE_H",), 1.0, "1 dex"),
    "S/N": (("SNR",), 100.0, "100"),
    "|b|": (("glat",), 10.0, "10 deg"),
}


def covariates(names, stars):
    """Return the quantities of `COVARIATES` for a catalog's stars.

    Parameters
    ----------
    names : list of str
        2MASS names of the catalog's stars.
    stars : astropy Table
        A survey's star table; missing values are NaN or -9999.

    Returns
    -------
    dict of float64 array, shape (n_stars,)
        NaN where a star has none or is not in the table; quantities whose column is missing are left out.

    Raises
    ------
    BadInputError
        If no star of the catalog is in the table.
    """
    rows = match_names(names, np.asarray(stars[find_column(stars, "2MASS_ID", "the survey's star table")]))
    if not (rows >= 0).any():
        raise BadInputError("no star of the catalog is in the survey; is it the survey of this catalog?")
    found = {}
    for name, (columns, _, _) in COVARIATES.items():
        if all(column in stars.colnames for column in columns):
            values = float_column(stars, columns[0])
            if len(columns) == 2:
                values = values - float_column(stars, columns[1])
            if name == "|b|":
                values = np.abs(values)
            found[name] = np.where(rows >= 0, values[rows], np.nan)
    return found


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
