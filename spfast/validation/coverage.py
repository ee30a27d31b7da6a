"""Whether the errors are true: how often the reference lies within them, overall and where errors might go wrong."""

import numpy as np
from scipy.special import ndtri

from spfast.catalog.columns import FLAGS
from spfast.validation.read_catalog import catalog_values
from spfast.validation.residuals import described_table, half_width, residuals
from spfast.validation.trends import covariates

__all__ = ["CALIBRATION", "COVERAGE", "calibration", "coverage"]

#: Shares of a Gaussian within one and within two standard deviations, as the tables ask for them.
_NOMINAL = (0.68, 0.95)
_LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.68, 0.7, 0.8, 0.9, 0.95, 0.99)
#: Stars are cut into this many equal parts.
_PARTS = 5
_BY = ("G", "H-W2", "S/N")

#: Columns of `calibration`: unit and description.
CALIBRATION = {
    "reference": ("", "gaia (both errors count) or truth"),
    "level": ("", "share that should lie within the central interval"),
    "share": ("", "share that does"),
    "share_error": ("", "its binomial error"),
    "n": ("", "stars"),
}

#: Columns of `coverage`: unit and description.
COVERAGE = {
    "reference": ("", "gaia (both errors count) or truth"),
    "stars": (
        "",
        "all, training set, the rest, by the flag extrapolation, or fifths of G, H-W2 [mag], S/N, parallax [mas]",
    ),
    "low": ("", "lower edge of the fifth"),
    "high": ("", "its upper edge"),
    "n": ("", "stars"),
    "within_68": ("", "share within the central 68% interval"),
    "within_95": ("", "share within the central 95% interval"),
    "error_68": ("", "binomial error of within_68 where the errors are honest"),
    "error_95": ("", "the same of within_95"),
    "pull": ("", "half the 16-84 percentile width of residual over error"),
    "offset": ("", "median of residual over error"),
}


def calibration(catalog, truth=None):
    """Compare nominal with actual shares of stars within the central interval of their error.

    Parameters
    ----------
    catalog : astropy Table
        The seven columns of Table 1; ``spec_parallax_err_total`` is the error where there is one: ``meta["ERRCOL"]``
        of the answer says which error was taken, ``meta["INFLAT"]`` by what Gaia's were multiplied (the
        catalog's header says that).
    truth : astropy Table, optional
        ``APOGEE_ID`` and ``true_parallax`` [mas].

    Returns
    -------
    astropy Table
        One row for each reference and level, columns as in `CALIBRATION`.

    Raises
    ------
    BadInputError
        If a column is missing, or nothing can be compared.
    """
    stars = catalog_values(catalog)
    rows = []
    for reference, value, error, usable in residuals(stars, truth):
        z = np.abs(value[usable] / error[usable])
        for level in _LEVELS:
            share = float(np.mean(z <= _limit(level)))
            rows.append((reference, level, share, _binomial(level, z.size), z.size))
    return described_table(rows, CALIBRATION, _errors_taken(stars))


def coverage(catalog, truth=None, stars=None):
    """Measure how many stars lie within their 68% and 95% intervals, overall and in fifths.

    Parameters
    ----------
    catalog, truth : astropy Table
        As in `calibration`.
    stars : astropy Table, optional
        A survey's star table: adds fifths of G, of H-W2 and of spectral signal-to-noise to those of parallax.

    Returns
    -------
    astropy Table
        One row for each reference and group of stars, columns as in `COVERAGE`. Fifths of parallax are cut in the
        spectrophotometric one: cut in Gaia's, stars would be sorted by the very noise that is looked at.

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
    values = catalog_values(catalog)
    every = np.ones_like(values.training)
    groups = {"all": every, "training": values.training, "rest": ~values.training, **_by_flag(catalog)}
    sorted_by = {} if stars is None else {k: v for k, v in covariates(values.names, stars).items() if k in _BY}
    sorted_by["parallax"] = values.spec
    rows = []
    for reference, value, error, usable in residuals(values, truth):
        z = np.full(value.shape, np.nan)
        z[usable] = value[usable] / error[usable]
        for name, chosen in groups.items():
            if np.any(chosen & usable):
                rows.append((reference, name, np.nan, np.nan, *_shares(z[chosen & usable])))
        for name, quantity in sorted_by.items():
            known = usable & np.isfinite(quantity)
            if np.count_nonzero(known) < _PARTS:
                continue
            edges = np.quantile(quantity[known], np.linspace(0.0, 1.0, _PARTS + 1))
            part = np.clip(np.searchsorted(edges, quantity, side="right") - 1, 0, _PARTS - 1)
            for i in range(_PARTS):
                chosen = known & (part == i)
                if chosen.any():
                    rows.append((reference, name, float(edges[i]), float(edges[i + 1]), *_shares(z[chosen])))
    return described_table(rows, COVERAGE, _errors_taken(values))


def _by_flag(catalog):
    """Stars like those of the training set and stars unlike them, if the catalog says which are which."""
    bit = list(FLAGS).index("extrapolation")
    if "flags" not in catalog.colnames or f"FLAG{bit}" not in catalog.meta:
        return {}
    outside = np.asarray(catalog["flags"]) & (1 << bit) != 0
    return {"inside": ~outside, "extrapolation": outside}


def _errors_taken(stars):
    return {"ERRCOL": stars.total_error_name, "INFLAT": float(np.mean(stars.gaia_inflation))}


def _shares(z):
    within = [float(np.mean(np.abs(z) <= _limit(level))) for level in _NOMINAL]
    errors = [_binomial(level, z.size) for level in _NOMINAL]
    return (z.size, *within, *errors, half_width(z), float(np.median(z)))


def _limit(level):
    """Half the width of a standard Gaussian's central interval."""
    return ndtri(0.5 + level / 2)


def _binomial(share, n):
    return float(np.sqrt(share * (1.0 - share) / n))
