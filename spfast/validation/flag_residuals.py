"""Which flags matter: residuals of the stars that carry a flag beside those of the stars that do not."""

from collections.abc import Iterator

import numpy as np
from astropy.table import Table

from spfast.validation.columns import Column, described_table
from spfast.validation.read_catalog import read_catalog
from spfast.validation.residuals import catalog_residuals, half_width, half_width_error, median_error

__all__ = ["FLAG_RESIDUALS", "flag_residuals", "flagged_stars"]

#: The fewest stars whose median and scatter are given.
_FEW = 5

#: Columns of `flag_residuals`.
FLAG_RESIDUALS = {
    "reference": Column("gaia or truth", "against"),
    "flag": Column("name of the flag", "flag"),
    "n": Column("stars that carry it", "stars", ",d"),
    "compared": Column("those of them that have a residual", "compared", ",d"),
    "median": Column("median of their fractional residual", "median", "+.1%"),
    "median_error": Column("its error"),
    "median_rest": Column("median of the stars without the flag", "without", "+.1%"),
    "scatter": Column("half the 16-84 percentile width of their fractional residual", "16-84%", ".1%"),
    "scatter_error": Column("its error"),
    "scatter_rest": Column("that of the stars without the flag", "without", ".1%"),
    "pull": Column("half the 16-84 percentile width of residual over error; 1 for honest errors", "pull", ".2f"),
    "pull_error": Column("its error"),
    "pull_rest": Column("that of the stars without the flag", "without", ".2f"),
}


def flag_residuals(catalog: Table, truth: Table | None = None) -> Table:
    """Measure the residuals of the stars that carry a flag, and of those that do not.

    Parameters
    ----------
    catalog : astropy Table
        The seven columns of Table 1, ``flags``, and a header that names the bits (``FLAG0``, ...).
    truth : astropy Table, optional
        ``APOGEE_ID`` and ``true_parallax`` [mas].

    Returns
    -------
    astropy Table
        One row for each reference and each flag that a star carries, in the order of the bits; columns as in
        `FLAG_RESIDUALS`, NaN where fewer than five stars can be compared. No row for a catalog without flags.

    Raises
    ------
    BadInputError
        If a column is missing, or nothing can be compared.
    """
    arrays = read_catalog(catalog)
    masks = {name: stars for name, _, stars in flagged_stars(catalog) if stars.any()}
    rows = []
    for reference, value, error, usable in catalog_residuals(arrays, truth):
        for name, flagged in masks.items():
            measures = []
            for chosen in (usable & flagged, usable & ~flagged):
                measures.append(_measures(value[chosen], value[chosen] / error[chosen]))
            numbers = [x for own, rest in zip(*measures, strict=True) for x in (*own, rest[0])]
            rows.append((reference, name, int(flagged.sum()), int(np.count_nonzero(usable & flagged)), *numbers))
    if not rows:
        return Table(names=tuple(FLAG_RESIDUALS), dtype=["U8", "U32", "i8", "i8", *["f8"] * 9])
    return described_table(rows, FLAG_RESIDUALS, {"ERRCOL": arrays.total_error_name})


def flagged_stars(catalog: Table) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield name, meaning and stars (bool array) of each flag that the catalog's header names.

    Parameters
    ----------
    catalog : astropy Table
        Without ``flags`` there are none.
    """
    if "flags" not in catalog.colnames:
        return
    bits = np.ma.filled(np.ma.asarray(catalog["flags"]), 0).astype(np.int64)
    for key, value in catalog.meta.items():
        if key.startswith("FLAG") and key[4:].isdigit() and int(key[4:]) < 63:
            name, _, meaning = str(value).partition(": ")
            yield name, meaning, bits >> int(key[4:]) & 1 == 1


def _measures(residual, pull):
    """Median, scatter and pull, each with its error (three tuples of two floats)."""
    n = residual.size
    if n < _FEW:
        return ((np.nan, np.nan),) * 3
    scatter, width = half_width(residual), half_width(pull)
    return (
        (float(np.median(residual)), float(median_error(scatter, n))),
        (scatter, float(half_width_error(scatter, n))),
        (width, float(half_width_error(width, n))),
    )
