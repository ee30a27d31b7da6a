"""Two catalogs of the same stars, one against the other."""

import warnings
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from astropy.table import Table

from spfast.data.identifiers import match_names, one_of_each, star_names, unmatched
from spfast.data.tables.values import column_values, float_column
from spfast.errors import BadInputError, SpfastWarning
from spfast.validation.columns import Column, described_table
from spfast.validation.read_catalog import find_column, refuse_other_unit
from spfast.validation.residuals import half_width

__all__ = ["COMPARISON", "MatchedStars", "compare_catalogs", "match_catalogs", "star_counts"]

#: Edges of the bins of distance [kpc].
_EDGES = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, np.inf)

#: Columns of `compare_catalogs`.
COMPARISON = {
    "stars": Column("all, or those of a bin of distance", "stars"),
    "low": Column(
        "nearest distance of the bin, 1 over the geometric mean of the two parallaxes",
        "from",
        ".1f",
        "kpc",
        only="page",
    ),
    "high": Column("farthest", "to", ".1f", "kpc", only="page"),
    "n": Column("stars in both catalogs", "number", ",d"),
    "bias": Column(
        "median of ln(this parallax / the other): positive where this one puts stars nearer",
        "ln ratio",
        "+.2%",
        error="bias_error",
    ),
    "bias_error": Column("its error", "error", ".2%"),
    "scatter": Column("half the 16-84 percentile width of the same", "scatter", ".1%"),
    "pull": Column(
        "the same of it over both errors; the two share spectra and magnitudes, so below 1 is no surprise",
        "pull",
        ".2f",
    ),
    "error_ratio": Column("median of this fractional error over the other's", "error ratio", ".2f"),
}


def compare_catalogs(catalog: Table, other: Table) -> Table:
    """Compare the spectrophotometric parallaxes of two catalogs, matched by 2MASS name, overall and by distance.

    Parameters
    ----------
    catalog, other : astropy Table
        ``2MASS_ID``, ``spec_parallax`` and ``spec_parallax_err`` under any of the spellings of Table 1.

    Returns
    -------
    astropy Table
        Columns as in `COMPARISON`; ``meta`` has the stars in this catalog (``N_THIS``), in the other (``N_OTHER``)
        and in both (``N_BOTH``).

    Raises
    ------
    BadInputError
        If a column is missing, no star is in both, or none of those has a parallax and its error in both.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from spfast.validation.comparison import compare_catalogs
    >>> columns = ["2MASS_ID", "spec_parallax", "spec_parallax_err"]
    >>> this = Table(rows=[("a", 1.0, 0.1), ("b", 0.4, 0.04)], names=columns)
    >>> other = Table(rows=[("b", 0.5, 0.05), ("c", 1.0, 0.1)], names=columns)
    >>> table = compare_catalogs(this, other)
    >>> table["stars"].tolist(), table.meta["N_BOTH"], round(float(table["bias"][0]), 3)
    (['all', '2-3 kpc'], 1, -0.223)
    """
    stars = match_catalogs(catalog, other)
    ratio, distance = stars.ratio, stars.distance
    fraction, other_fraction = stars.error / stars.spec, stars.other_error / stars.other_spec
    results = [("all", 0.0, np.inf, *_measures(ratio, fraction, other_fraction))]
    for low, high in pairwise(_EDGES):
        inside = (distance >= low) & (distance < high)
        if inside.any():
            name = f"{low:g}-{high:g} kpc" if np.isfinite(high) else f"> {low:g} kpc"
            results.append((name, low, high, *_measures(ratio[inside], fraction[inside], other_fraction[inside])))
    counts = {"N_THIS": len(catalog), "N_OTHER": len(other), "N_BOTH": len(stars.rows)}
    return described_table(results, COMPARISON, counts)


def star_counts(table: Table) -> str:
    """Say how many stars are in either catalog of a table of `compare_catalogs`, and how many in both."""
    meta = table.meta
    return f"{meta['N_THIS']:,} stars in this catalog, {meta['N_OTHER']:,} in the other, {meta['N_BOTH']:,} in both"


class MatchedStars(NamedTuple):
    """Stars with a positive parallax in both catalogs: their rows in the first, parallaxes and errors [mas]."""

    rows: np.ndarray
    spec: np.ndarray
    error: np.ndarray
    other_spec: np.ndarray
    other_error: np.ndarray

    @property
    def ratio(self) -> np.ndarray:
        """ln(this parallax / the other)."""
        return np.log(self.spec / self.other_spec)

    @property
    def distance(self) -> np.ndarray:
        """1 over the geometric mean of the two parallaxes [kpc]."""
        return 1.0 / np.sqrt(self.spec * self.other_spec)

    @property
    def pull(self) -> np.ndarray:
        """The ratio over both fractional errors; NaN where both are zero."""
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            return self.ratio / np.hypot(self.error / self.spec, self.other_error / self.other_spec)


def match_catalogs(catalog: Table, other: Table) -> MatchedStars:
    """Return the stars that two catalogs have in common, matched by 2MASS name.

    Parameters
    ----------
    catalog, other : astropy Table
        As for `compare_catalogs`.

    Returns
    -------
    MatchedStars

    Raises
    ------
    BadInputError
        If a column is missing, no star is in both, or none of those has a parallax and its error in both.
    """
    first, names, spec, error = _read(catalog, "the catalog")
    _, other_names, other_spec, other_error = _read(other, "the other catalog")
    other_rows = match_names(names, other_names)
    in_both = other_rows >= 0
    if not in_both.any():
        seen = unmatched(names, other_names)
        raise BadInputError(f"the two catalogs have no star in common; their 2MASS names differ ({seen})")
    matched = np.where(in_both, other_spec[other_rows], np.nan)
    matched_error = np.where(in_both, other_error[other_rows], np.nan)
    # No value compares as False.
    rows = np.flatnonzero((spec > 0) & (matched > 0) & (error >= 0) & (matched_error >= 0))
    if not rows.size:
        raise BadInputError("the stars that are in both catalogs have no parallax or error in one; check their values")
    return MatchedStars(first[rows], spec[rows], error[rows], matched[rows], matched_error[rows])


def _read(table, what):
    """One row of each star: rows of the table, names, parallaxes and errors."""
    columns = [find_column(table, name, what) for name in ("2MASS_ID", "spec_parallax", "spec_parallax_err")]
    names = star_names(column_values(table[columns[0]], "U", f"{what}: column {columns[0]}"))
    spec, error = (float_column(table, name, "mas") for name in columns[1:])
    refuse_other_unit(what, columns[1], spec)
    rows = one_of_each(names, error, spec)
    if len(rows) < len(names):
        warnings.warn(
            f"{what} has {len(names) - len(rows):,} more rows than stars: of each star the row of smallest "
            f"{columns[2]} is compared",
            SpfastWarning,
            stacklevel=4,
        )
    return rows, [names[row] for row in rows], spec[rows], error[rows]


def _measures(ratio, fraction, other_fraction):
    """The measures from n to error_ratio."""
    scatter = half_width(ratio)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        pull = ratio / np.hypot(fraction, other_fraction)
        error_ratio = float(np.nanmedian(fraction / other_fraction)) if np.any(other_fraction > 0) else np.nan
    # The median of n Gaussian values has pi / 2 times the variance of their mean.
    bias_error = float(np.sqrt(np.pi / 2 / ratio.size) * scatter)
    return ratio.size, float(np.median(ratio)), bias_error, scatter, half_width(pull), error_ratio
