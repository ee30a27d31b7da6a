"""Residuals of spectrophotometric parallaxes against a reference, each in units that make its error Gaussian."""

from typing import NamedTuple

import numpy as np
from astropy.table import Table

from spfast.errors import BadInputError
from spfast.validation.read_catalog import CatalogArrays, true_parallaxes

__all__ = [
    "Residuals",
    "catalog_residuals",
    "error_cards",
    "errors_used",
    "half_width",
    "half_width_error",
    "median_error",
]


class Residuals(NamedTuple):
    """Fractional residual (spec over reference, minus 1), its standard deviation, and which stars have one."""

    reference: str
    value: np.ndarray
    error: np.ndarray
    usable: np.ndarray


def catalog_residuals(stars: CatalogArrays, truth: Table | None = None) -> list[Residuals]:
    """Return the residuals against Gaia and, if there is a truth, against it.

    Against Gaia the residual is ``(spec - gaia) / spec``: divided by the well measured parallax, so that a negative
    Gaia parallax is as good as any other; Gaia's errors are multiplied by the factor in the catalog's header. Against
    the truth it is ``ln(spec / true)``, in which the error is Gaussian.

    Parameters
    ----------
    stars : CatalogArrays
        Its ``total_error`` is the error of ``spec``.
    truth : astropy Table, optional
        ``APOGEE_ID`` and ``true_parallax`` [mas].

    Returns
    -------
    list of Residuals

    Raises
    ------
    BadInputError
        If no star has a residual.
    """
    usable = stars.has_spec & np.isfinite(stars.total_error) & (stars.total_error > 0) & (stars.spec > 0)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        fraction = stars.total_error / stars.spec
        gaia_fraction = stars.inflated_gaia_error / stars.spec
        value, error = 1.0 - stars.gaia / stars.spec, np.hypot(fraction, gaia_fraction)
        both = usable & stars.has_gaia & np.isfinite(value) & np.isfinite(error)
        if not both.any():
            raise BadInputError(
                "the catalog has no star with both a Gaia and a spectrophotometric parallax to compare; "
                "check its values"
            )
        residuals = [Residuals("gaia", value, error, both)]
        if truth is not None:
            true = true_parallaxes(stars.names, truth)
            value = np.log(stars.spec / true)
            has_truth = usable & (true > 0) & np.isfinite(value) & np.isfinite(fraction)
            residuals.append(Residuals("truth", value, fraction, has_truth))
    return residuals


def error_cards(stars: CatalogArrays) -> dict:
    """Header cards of a table that used a catalog's errors: which column, and the mean factor on Gaia's."""
    return {"ERRCOL": stars.total_error_name, "INFLAT": float(np.mean(stars.gaia_inflation))}


def errors_used(table: Table) -> str:
    """Say which errors a table with `error_cards` used."""
    factor = table.meta["INFLAT"]
    return f"errors: {table.meta['ERRCOL']}" + (f", Gaia's times {factor:.2f}" if factor != 1.0 else "")


def half_width(values: np.ndarray) -> float:
    """Return half the 16-84 percentile width: the standard deviation, if the values are Gaussian."""
    low, high = np.percentile(values, [16.0, 84.0])
    return float(high - low) / 2


def median_error(width: float, n: int) -> float:
    """Return the standard error of the median of n values whose `half_width` is given, if they are Gaussian."""
    return np.sqrt(np.pi / 2.0) * width / np.sqrt(n)


def half_width_error(width: float, n: int) -> float:
    """Return the standard error of a `half_width` of n values, if they are Gaussian."""
    return _HALF_WIDTH_ERROR * width / np.sqrt(n)


#: Standard error of half the 16-84 percentile width of one Gaussian value: each quantile of share p has the variance
#: p (1 - p) / density^2 / n, the two together the covariance 0.16^2 / density^2 / n.
_HALF_WIDTH_ERROR = 0.96
