"""Star clusters as a check: what their members' parallaxes say together."""

from collections.abc import Mapping

import numpy as np
from astropy.table import Table

from spfast.data.literature_clusters import cluster_key, literature_clusters
from spfast.data.tables.names import find_name
from spfast.data.tables.values import float_column
from spfast.errors import BadInputError
from spfast.validation.columns import Column, described_table
from spfast.validation.read_catalog import find_column, total_error_column

__all__ = ["CLUSTERS", "cluster_means", "star_magnitudes"]

#: No cluster that APOGEE sees is farther [kpc]; and where a distance times its members' parallax [kpc mas] is in the
#: median beyond this, or below one over it, the distances are in another unit.
_FARTHEST, _LARGEST_PRODUCT = 1000.0, 100.0

#: Columns of `cluster_means`.
CLUSTERS = {
    "cluster": Column("its name", "cluster"),
    "n": Column("how many of them are in the catalog", "members", ",d"),
    "gaia": Column("mean Gaia parallax, zero point included", "Gaia", ".4f", "mas", error="gaia_error"),
    "gaia_error": Column("its error, times the root of chi-squared if that is above 1", "error", ".4f", "mas"),
    "spec": Column("mean spectrophotometric parallax", "spec", ".4f", "mas", error="spec_error"),
    "spec_error": Column("its error, times the root of chi-squared if that is above 1", "error", ".4f", "mas"),
    "spec_median": Column("median spectrophotometric parallax", "median", ".4f", "mas", only="terminal"),
    "difference": Column("spec minus Gaia, in units of their error", "difference [sigma]", "+.1f", unit=None),
    "chi2": Column(
        "scatter of the members: chi-squared for each degree of freedom, 1 for honest errors",
        "chi2 per d.o.f.",
        ".2f",
        unit=None,
    ),
    "slope": Column(
        "slope of ln spec with magnitude among the members, all at one distance: 0 is right",
        "slope",
        "+.3f",
        "1 / mag",
        error="slope_error",
    ),
    "slope_error": Column("its error, times the root of chi-squared if that is above 1", "error", ".3f", "1 / mag"),
    "literature": Column("1 / literature distance", "literature", ".4f", "mas"),
    "distance": Column("literature distance", unit="kpc"),
}


#: Columns of magnitudes for the slope inside a cluster, the first that there is: where dust matters least.
_MAGNITUDES = ("K", "K_MAG", "H", "phot_g_mean_mag")
#: What messages call the table of distances.
_LITERATURE = "the table of clusters' distances"


def cluster_means(
    catalog: Table,
    members: Mapping[str, np.ndarray],
    literature: Table | None = None,
    magnitudes: np.ndarray | None = None,
) -> Table:
    """Average each cluster's Gaia and spectrophotometric parallaxes and compare them.

    Gaia's mean is that of the parallaxes, weighted by the inverse variances. The spectrophotometric one is that of ln
    parallax: its errors are Gaussian in the logarithm, and weights from errors in proportion to the parallax would
    favour whatever came out small. The errors are the total ones where the catalog has them. Where the members scatter
    by more than that, the error of the mean is larger by the root of chi-squared for each degree of freedom. An error
    that all members have in common does not average out: the error of a mean of many members is a lower limit.

    The members of a cluster are at one distance. So the slope of their ln parallax with magnitude, apparent or
    absolute, is that of the errors of the method.

    Parameters
    ----------
    catalog : astropy Table
    members : dict of int array
        Of `members_from_table` or `select_members`.
    literature : astropy Table, optional
        ``cluster`` (any of its names), ``distance`` [kpc]; `literature_clusters` by default.
    magnitudes : float array, shape (n_stars,), optional
        Of the catalog's stars [mag]; by default of the catalog's own column of K, H or G, if it has one.

    Returns
    -------
    means : astropy Table
        One row a cluster, nearest first: by the literature's distance, or by the mean of its members. Columns as in
        `CLUSTERS`; ``meta["ERRCOL"]`` names the error that was used.

    Raises
    ------
    BadInputError
        If a column is missing, or distances cannot be in kpc.
    """
    literature = literature_clusters() if literature is None else literature
    distances = {}
    own = {name: find_name(literature.colnames, (name,), _LITERATURE) for name in ("cluster", "distance")}
    if own["distance"] is not None:
        if own["cluster"] is None:
            raise BadInputError(f"{_LITERATURE} has columns {', '.join(literature.colnames[:8])}; expected cluster")
        keys = (cluster_key(name) for name in literature[own["cluster"]])
        distances = dict(zip(keys, float_column(literature, own["distance"], "kpc"), strict=True))
    names = ("Gaia_parallax", "Gaia_parallax_err", "spec_parallax")
    columns = [*(find_column(catalog, name, "the catalog") for name in names), total_error_column(catalog)]
    gaia, gaia_error, spec, spec_error = (float_column(catalog, column, "mas") for column in columns)
    magnitudes = star_magnitudes(catalog) if magnitudes is None else magnitudes
    with np.errstate(divide="ignore", invalid="ignore"):
        ln_spec, ln_error = np.log(spec), spec_error / spec
    rows = []
    for name, stars in members.items():
        plain, plain_error, _ = _mean(gaia[stars], gaia_error[stars])
        logarithm, error, chi2 = _mean(ln_spec[stars], ln_error[stars])
        mean, error = np.exp(logarithm), np.exp(logarithm) * error
        measured = spec[stars][spec[stars] > 0]
        median = np.median(measured) if measured.size else np.nan
        slope = _slope(magnitudes[stars], ln_spec[stars], ln_error[stars])
        distance = distances.get(cluster_key(name), np.nan)
        distance = distance if distance > 0 else np.nan
        with np.errstate(invalid="ignore"):
            difference = (mean - plain) / np.hypot(error, plain_error)
        means = plain, plain_error, mean, error, median, difference, chi2, *slope, 1.0 / distance, distance
        rows.append((name, len(stars), *means))
    table = described_table(rows, CLUSTERS, {"ERRCOL": columns[-1]}, dtype=["U32", int, *["f8"] * 11])
    literature_or_mean = np.where(np.isfinite(table["literature"]), table["literature"], table["spec"])
    table = table[np.argsort(-literature_or_mean, kind="stable")]
    _refuse_other_unit(table)
    return table


def star_magnitudes(table: Table, rows: np.ndarray | None = None) -> np.ndarray:
    """Return magnitudes of stars for the slope inside clusters: K, else H, else G; NaN where there is none.

    Parameters
    ----------
    table : astropy Table
        A catalog, or a survey's star table.
    rows : int array, optional
        Its rows to take, -1 for none; all by default.
    """
    rows = np.arange(len(table)) if rows is None else rows
    names = (find_name(table.colnames, (name,), "the table of stars") for name in _MAGNITUDES)
    name = next(filter(None, names), None)
    values = np.full(len(table), np.nan) if name is None else float_column(table, name, "mag")
    return np.where(rows >= 0, np.append(values, np.nan)[rows], np.nan)


def _refuse_other_unit(means):
    """Refuse distances that cannot be in kpc."""
    distance, product = np.asarray(means["distance"]), np.asarray(means["distance"] * means["spec"])
    if not np.isfinite(distance).any():
        return
    known = product[np.isfinite(product)]
    typical = np.median(known) if known.size else 1.0
    far = distance > _FARTHEST  # False for NaN
    if far.any() or not 1.0 / _LARGEST_PRODUCT < typical < _LARGEST_PRODUCT:
        row = np.argmax(far) if far.any() else np.argmax(np.isfinite(distance))
        raise BadInputError(
            f"the distances of the clusters cannot be in kpc ({means['cluster'][row]}: {distance[row]:g}, its members' "
            f"mean parallax {means['spec'][row]:.3g} mas); are they in pc? Convert them or give the column its unit"
        )


def _mean(values, errors):
    """Inverse-variance mean, its error, and chi-squared for each degree of freedom; NaN where there is nothing."""
    good = np.isfinite(values) & np.isfinite(errors) & (errors > 0)
    values, weights = values[good], errors[good] ** -2.0
    if not values.size:
        return np.nan, np.nan, np.nan
    mean = np.average(values, weights=weights)
    chi2 = np.sum(weights * (values - mean) ** 2) / (values.size - 1) if values.size > 1 else np.nan
    return mean, weights.sum() ** -0.5 * _inflation(chi2), chi2


def _slope(x, values, errors):
    """Weighted slope of a straight line and its error; NaN for fewer than three stars or of one magnitude."""
    good = np.isfinite(x) & np.isfinite(values) & np.isfinite(errors) & (errors > 0)
    x, values, weights = x[good], values[good], errors[good] ** -2.0
    if x.size < 3 or not np.ptp(x) > 0:
        return np.nan, np.nan
    x, values = x - np.average(x, weights=weights), values - np.average(values, weights=weights)
    information = np.sum(weights * x**2)
    slope = np.sum(weights * x * values) / information
    chi2 = np.sum(weights * (values - slope * x) ** 2) / (x.size - 2)
    return slope, information**-0.5 * _inflation(chi2)


def _inflation(chi2):
    """By how much an error grows where the values scatter by more than their errors."""
    return np.sqrt(chi2) if chi2 > 1 else 1.0
