"""Are the errors honest? How often the reference lies within them, overall and where errors might be wrong."""

import numpy as np
from astropy.table import Table
from scipy.special import ndtri

from spfast.catalog.columns import FLAGS
from spfast.validation.columns import Column, described_table
from spfast.validation.quantities import star_quantities
from spfast.validation.read_catalog import read_catalog
from spfast.validation.residuals import catalog_residuals, error_cards, half_width

__all__ = ["CALIBRATION", "COVERAGE", "calibration", "coverage", "one_and_two_sigma"]

#: Shares of a Gaussian within about one and two standard deviations, for which `coverage` has columns.
_NOMINAL = (0.68, 0.95)
#: Shares that `calibration` has rows for.
_LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.68, 0.7, 0.8, 0.9, 0.95, 0.99)
#: `coverage` cuts the stars into this many equal parts, by these of `QUANTITIES` and by parallax.
_PARTS = 5
_BY = ("G", "H-W2", "S/N", "[Fe/H]")

#: Columns of `calibration`.
CALIBRATION = {
    "reference": Column("gaia (both errors count) or truth", "against"),
    "level": Column("share that should lie within the central interval", "should", ".0%"),
    "share": Column("share that does", "does", ".1%"),
    "share_error": Column("its binomial error"),
    "n": Column("number of stars", "stars", ",d"),
}

#: Columns of `coverage`.
COVERAGE = {
    "reference": Column("gaia (both errors count) or truth", "against"),
    "stars": Column(
        "all, training set, the rest, by the flag extrapolation, or fifths of G, H-W2 [mag], S/N, [Fe/H] [dex], "
        "parallax [mas]",
        "stars",
    ),
    "low": Column("lower edge of the fifth", "from", ".3g"),
    "high": Column("its upper edge", "to", ".3g"),
    "n": Column("how many they are", "number", ",d"),
    "within_68": Column("share within the central 68% interval", "in 68%", ".1%"),
    "within_95": Column("share within the central 95% interval", "in 95%", ".1%"),
    "error_68": Column("binomial error of within_68 where the errors are honest", "error of 68%", ".1%"),
    "error_95": Column("the same of within_95"),
    "pull": Column("half the 16-84 percentile width of residual over error", "pull", ".2f"),
    "offset": Column("median of residual over error", "offset/error", "+.2f"),
}


def calibration(catalog: Table, truth: Table | None = None) -> Table:
    """Compare the share of stars that should lie within a central interval of their error with the share that does.

    Parameters
    ----------
    catalog : astropy Table
        The seven columns of Table 1. The error is ``spec_parallax_err_total`` where the catalog has it, else
        ``spec_parallax_err``; Gaia's errors are multiplied by the factor in the catalog's header.
    truth : astropy Table, optional
        ``APOGEE_ID`` and ``true_parallax`` [mas].

    Returns
    -------
    astropy Table
        One row for each reference and level; columns as in `CALIBRATION`. ``meta["ERRCOL"]`` names the error that was
        used, ``meta["INFLAT"]`` is the factor of Gaia's errors.

    Raises
    ------
    BadInputError
        If a column is missing, or nothing can be compared.
    """
    arrays = read_catalog(catalog)
    rows = []
    for reference, value, error, usable in catalog_residuals(arrays, truth):
        z = np.abs(value[usable] / error[usable])
        for level in _LEVELS:
            share = float(np.mean(z <= _limit(level)))
            rows.append((reference, level, share, _binomial(level, z.size), z.size))
    return described_table(rows, CALIBRATION, error_cards(arrays))


def one_and_two_sigma(table: Table) -> Table:
    """Return the rows of `calibration`'s table for about one and two standard deviations."""
    return table[np.isin(table["level"], _NOMINAL)]


def coverage(catalog: Table, truth: Table | None = None, stars: Table | None = None) -> Table:
    """Measure how many stars lie within their 68% and 95% intervals, overall and in fifths.

    Parameters
    ----------
    catalog, truth : astropy Table
        As in `calibration`.
    stars : astropy Table, optional
        A survey's star table: adds fifths of G, H-W2, spectral signal-to-noise and [Fe/H] to those of parallax.

    Returns
    -------
    astropy Table
        One row for each reference and group of stars; columns as in `COVERAGE`. Fifths of parallax are those of the
        spectrophotometric one: Gaia's would sort the stars by the very noise that is measured.

    Raises
    ------
    BadInputError
        As `calibration`.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.table import Table
    >>> from spfast.validation.coverage import coverage
    >>> rng = np.random.default_rng(0)
    >>> true = rng.uniform(1.0, 2.0, 2000)
    >>> catalog = Table({"2MASS_ID": [str(i) for i in range(2000)], "Gaia_parallax": true + rng.normal(0, 0.02, 2000)})
    >>> catalog["Gaia_parallax_err"], catalog["training_set"], catalog["sample"] = 0.02, 1, "A"
    >>> catalog["spec_parallax"] = true + rng.normal(0, 0.05, 2000)
    >>> catalog["spec_parallax_err"] = 0.05
    >>> bool(abs(coverage(catalog)["within_68"][0] - 0.68) < 0.03)
    True
    """
    arrays = read_catalog(catalog)
    every = np.ones_like(arrays.training)
    groups = {"all": every, "training": arrays.training, "rest": ~arrays.training, **_by_flag(catalog)}
    sorted_by = {} if stars is None else {k: v for k, v in star_quantities(arrays.names, stars).items() if k in _BY}
    sorted_by["parallax"] = arrays.spec
    rows = []
    for reference, value, error, usable in catalog_residuals(arrays, truth):
        z = np.full(value.shape, np.nan)
        z[usable] = value[usable] / error[usable]
        for name, chosen in groups.items():
            if np.any(chosen & usable):
                rows.append((reference, name, np.nan, np.nan, *_shares(z[chosen & usable])))
        for name, quantity in sorted_by.items():
            has_both = usable & np.isfinite(quantity)
            if np.count_nonzero(has_both) < _PARTS:
                continue
            edges = np.quantile(quantity[has_both], np.linspace(0.0, 1.0, _PARTS + 1))
            part = np.clip(np.searchsorted(edges, quantity, side="right") - 1, 0, _PARTS - 1)
            for i in range(_PARTS):
                chosen = has_both & (part == i)
                if chosen.any():
                    rows.append((reference, name, float(edges[i]), float(edges[i + 1]), *_shares(z[chosen])))
    return described_table(rows, COVERAGE, error_cards(arrays))


def _by_flag(catalog):
    """Stars like and unlike those of the training set, if the catalog has the flag that says so (dict of masks)."""
    bit = list(FLAGS).index("extrapolation")
    if "flags" not in catalog.colnames or f"FLAG{bit}" not in catalog.meta:
        return {}
    outside = np.asarray(catalog["flags"]) & (1 << bit) != 0
    return {"inside": ~outside, "extrapolation": outside}


def _shares(z):
    within = [float(np.mean(np.abs(z) <= _limit(level))) for level in _NOMINAL]
    errors = [_binomial(level, z.size) for level in _NOMINAL]
    return (z.size, *within, *errors, half_width(z), float(np.median(z)))


def _limit(level):
    """Half the width of a standard Gaussian's central interval."""
    return ndtri(0.5 + level / 2)


def _binomial(share, n):
    return float(np.sqrt(share * (1.0 - share) / n))
