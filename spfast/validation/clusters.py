"""Star clusters as a check: who is a member, and what the members' parallaxes say together."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Table

from spfast.data.literature_clusters import literature_clusters
from spfast.data.tables.values import column_values, float_column
from spfast.errors import BadInputError
from spfast.validation.columns import Column, described_table
from spfast.validation.read_catalog import find_column, total_error_column
from spfast.data.identifiers import match_names

__all__ = ["CLUSTERS", "Members", "cluster_means", "listed_members", "members_from_table", "select_members"]

#: How far a member may be from the mean: proper motion [mas/yr], velocity [km/s] and [Fe/H] [dex]. Wide for a
#: globular's internal motion and the star's errors, narrow against the field.
_PM_WIDTH, _VELOCITY_WIDTH, _FE_H_WIDTH = 0.8, 15.0, 0.3
#: Column of the star, of the centre, and half the width.
_CRITERIA = (
    ("pmra", "pmra", _PM_WIDTH),
    ("pmdec", "pmdec", _PM_WIDTH),
    ("VHELIO_AVG", "velocity", _VELOCITY_WIDTH),
    ("FE_H", "fe_h", _FE_H_WIDTH),
)

#: Columns of `cluster_means`.
CLUSTERS = {
    "cluster": Column("Cluster", "cluster"),
    "n": Column("Members in the catalog", "members", ",d"),
    "gaia": Column("Mean Gaia parallax, zero point included", "Gaia", ".4f", "mas"),
    "gaia_error": Column("Its error", "error", ".4f", "mas"),
    "spec": Column("Mean spectrophotometric parallax", "spec", ".4f", "mas"),
    "spec_error": Column("Its error", "error", ".4f", "mas"),
    "difference": Column(
        "Spectrophotometric minus Gaia, in units of their error", "difference [sigma]", "+.1f", unit=None
    ),
    "chi2": Column(
        "Scatter of the members: chi-squared for each degree of freedom, 1 for honest errors",
        "chi2 per d.o.f.",
        ".2f",
        unit=None,
    ),
    "literature": Column("1 / literature distance", "literature", ".4f", "mas"),
    "distance": Column("Literature distance", unit="kpc"),
}


class Members(NamedTuple):
    """Members of clusters: rows of the catalog for each cluster, and a table of the clusters' distances, if any."""

    rows: Mapping[str, np.ndarray]
    literature: Table | None = None


def listed_members(names: Sequence[str], membership: Table) -> Members:
    """Return the members that a user's table lists, and its distances; parameters as in `members_from_table`."""
    return Members(members_from_table(names, membership), membership if "distance" in membership.colnames else None)


def members_from_table(names: Sequence[str], membership: Table) -> dict[str, np.ndarray]:
    """Return the members that a user's table lists.

    Parameters
    ----------
    names : sequence of str
        2MASS names of the catalog's stars.
    membership : astropy Table
        ``2MASS_ID`` or ``APOGEE_ID``, ``cluster`` (stars where it is blank are no members), and optionally
        ``distance`` [kpc], the same in all rows of a cluster.

    Returns
    -------
    members : dict of int64 array
        For each cluster, in the table's order, rows of the catalog.

    Raises
    ------
    BadInputError
        If a column is missing, or no listed star is in the catalog.
    """
    key = next((name for name in ("2MASS_ID", "APOGEE_ID") if name in membership.colnames), None)
    if key is None or "cluster" not in membership.colnames:
        raise BadInputError(
            f"the table of cluster members has columns {', '.join(membership.colnames[:8])}; "
            "expected 2MASS_ID (or APOGEE_ID) and cluster"
        )
    rows = match_names(column_values(membership[key], "U", f"cluster members: column {key}"), names)
    if not (rows >= 0).any():
        raise BadInputError(f"none of the {len(membership)} listed cluster members is in the catalog; check the names")
    cluster = column_values(membership["cluster"], "U", "cluster members: column cluster")
    clusters = dict.fromkeys(name for name in cluster.tolist() if name.strip())
    members = {name: rows[(cluster == name) & (rows >= 0)] for name in clusters}
    return {name: np.unique(rows) for name, rows in members.items() if rows.size}


def select_members(table: Table, centres: Table | None = None) -> dict[str, np.ndarray]:
    """Select members around given centres by place, proper motion, radial velocity and [Fe/H]; never by parallax.

    Parameters
    ----------
    table : astropy Table
        Of `spfast.figures.figure_data.figure_table`, with a survey: ``ra``, ``dec``, ``pmra``, ``pmdec``,
        ``VHELIO_AVG``, ``FE_H``.
    centres : astropy Table, optional
        ``cluster``, ``ra``, ``dec``, ``radius`` [deg], and any of ``pmra``, ``pmdec`` [mas/yr], ``velocity`` [km/s] and
        ``fe_h``; a criterion that is missing or NaN is not applied. `literature_clusters` by default.

    Returns
    -------
    members : dict of int64 array
        For each cluster with a member, rows of the table.

    Raises
    ------
    BadInputError
        If a column is missing.
    """
    centres = literature_clusters() if centres is None else centres
    for name in ("cluster", "ra", "dec", "radius"):
        if name not in centres.colnames:
            raise BadInputError(f"the table of cluster centres has no column {name}")
    for name in ("ra", "dec"):
        if name not in table.colnames:
            raise BadInputError(f"members are selected by {name}, which is missing; give the catalog's survey")
    ra, dec = float_column(table, "ra"), float_column(table, "dec")
    placed = np.isfinite(ra) & np.isfinite(dec)
    sky = SkyCoord(np.where(placed, ra, 0.0), np.where(placed, dec, 0.0), unit="deg")
    members = {}
    for centre in centres:
        near = placed & (sky.separation(SkyCoord(centre["ra"], centre["dec"], unit="deg")).deg < centre["radius"])
        rows = np.flatnonzero(near)
        for column, name, width in _CRITERIA:
            if name in centres.colnames and np.isfinite(centre[name]):
                if column not in table.colnames:
                    raise BadInputError(
                        f"members are selected by {column}, which is missing; give the catalog's survey"
                    )
                # Missing values are NaN, and NaN is no member.
                rows = rows[np.abs(float_column(table[rows], column) - centre[name]) < width]
        if rows.size:
            members[str(centre["cluster"])] = rows
    return members


def cluster_means(catalog: Table, members: Mapping[str, np.ndarray], literature: Table | None = None) -> Table:
    """Average each cluster's Gaia and spectrophotometric parallaxes and compare them.

    Gaia's mean is that of the parallaxes, weighted by the inverse variances. The spectrophotometric one is that of ln
    parallax: its errors are Gaussian in the logarithm, and weights from errors in proportion to the parallax would
    favour whatever came out small. The errors are the total ones where the catalog has them. An error that all members
    have in common does not average out: the error of a mean of many members is a lower limit.

    Parameters
    ----------
    catalog : astropy Table
    members : dict of int array
        Of `members_from_table` or `select_members`.
    literature : astropy Table, optional
        ``cluster``, ``distance`` [kpc] and optionally ``distance_error``; `literature_clusters` by default.

    Returns
    -------
    means : astropy Table
        One row a cluster; columns as in `CLUSTERS`.
    """
    literature = literature_clusters() if literature is None else literature
    distances = {}
    if "distance" in literature.colnames:
        distances = dict(zip(map(str, literature["cluster"]), float_column(literature, "distance", "kpc"), strict=True))
    names = ("Gaia_parallax", "Gaia_parallax_err", "spec_parallax")
    columns = [*(find_column(catalog, name, "the catalog") for name in names), total_error_column(catalog)]
    gaia, gaia_error, spec, spec_error = (float_column(catalog, column, "mas") for column in columns)
    rows = []
    for name, stars in members.items():
        plain = _mean(gaia[stars], gaia_error[stars])
        logarithm = _mean(np.log(spec[stars]), spec_error[stars] / spec[stars])
        mean, error = np.exp(logarithm[0]), np.exp(logarithm[0]) * logarithm[1]
        distance = distances.get(name, np.nan)
        distance = distance if distance > 0 else np.nan
        with np.errstate(invalid="ignore"):
            difference = (mean - plain[0]) / np.hypot(error, plain[1])
        rows.append((name, len(stars), *plain[:2], mean, error, difference, logarithm[2], 1.0 / distance, distance))
    return described_table(rows, CLUSTERS, dtype=["U32", int, *["f8"] * 8])


def _mean(values, errors):
    """Inverse-variance mean, its error, and chi-squared for each degree of freedom; NaN where there is nothing."""
    good = np.isfinite(values) & np.isfinite(errors) & (errors > 0)
    values, weights = values[good], errors[good] ** -2.0
    if not values.size:
        return np.nan, np.nan, np.nan
    mean = np.average(values, weights=weights)
    chi2 = np.sum(weights * (values - mean) ** 2) / (values.size - 1) if values.size > 1 else np.nan
    return mean, weights.sum() ** -0.5, chi2
