"""Residuals of spectrophotometric parallaxes against a reference, each in units that make its error Gaussian."""

from typing import NamedTuple

import numpy as np
from astropy import units
from astropy.table import Table

from spfast.errors import BadInputError
from spfast.validation.read_catalog import true_parallaxes

__all__ = ["Residuals", "described_table", "half_width", "residuals"]


class Residuals(NamedTuple):
    """Fractional residual (spec over reference, minus 1), its standard deviation, and which stars have one."""

    reference: str
    value: np.ndarray
    error: np.ndarray
    usable: np.ndarray


def residuals(stars, truth=None):
    """Return the residuals against Gaia and, if there is a truth, against it.

    Against Gaia it is ``(spec - gaia) / spec``: divided by the well measured parallax, so that a negative Gaia parallax
    is as good as any other; Gaia's errors are multiplied by what the catalog's header says of them. Against the truth
    it is ``ln(spec / true)``, in which the error is Gaussian.

    Parameters
    ----------
    stars : CatalogValues
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
        gaia_fraction = stars.gaia_inflation * stars.gaia_error / stars.spec
        value, error = 1.0 - stars.gaia / stars.spec, np.hypot(fraction, gaia_fraction)
        both = usable & stars.has_gaia & np.isfinite(value) & np.isfinite(error)
        if not both.any():
            raise BadInputError(
                "the catalog has no star with both a Gaia and a spectrophotometric parallax to compare; "
                "check its values"
            )
        found = [Residuals("gaia", value, error, both)]
        if truth is not None:
            true = true_parallaxes(stars.names, truth)
            value = np.log(stars.spec / true)
            there = usable & (true > 0) & np.isfinite(value) & np.isfinite(fraction)
            found.append(Residuals("truth", value, fraction, there))
    return found


def half_width(values):
    """Half the 16-84 percentile width: a Gaussian's standard deviation (float)."""
    low, high = np.percentile(values, [16.0, 84.0])
    return float(high - low) / 2


def described_table(rows, columns, meta=None):
    """Rows under named columns with a unit and a description each (astropy Table).

    Parameters
    ----------
    rows : list of tuple
    columns : dict of (str, str)
        Unit and description of each column.
    meta : dict, optional
    """
    table = Table(rows=rows, names=tuple(columns)) if rows else Table(names=tuple(columns))
    for name, (unit, description) in columns.items():
        table[name].description = description
        if table[name].dtype.kind == "f":
            table[name].unit = units.Unit(unit) if unit else units.dimensionless_unscaled
    table.meta.update(meta or {})
    return table
