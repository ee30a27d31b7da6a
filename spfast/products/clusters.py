"""Star clusters as a check: who is a member, and what the members' parallaxes say together."""

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Table

from spfast.data.inputs import column_values
from spfast.errors import BadInputError
from spfast.products.joined import match_names
from spfast.products.tables import float_column

__all__ = ["literature_clusters", "cluster_means", "members_from_table", "select_members"]

_BV21 = "Vasiliev & Baumgardt (2021, MNRAS 505, 5978)"
_GLOBULAR = (
    "distance: Baumgardt & Vasiliev (2021, MNRAS 505, 5957); proper motion: " + _BV21 + "; velocity: Baumgardt et al. "
    "(2019, MNRAS 482, 5138); [Fe/H]: Harris (1996, AJ 112, 1487; 2010 edition, arXiv:1012.3224)"
)
_OPEN = (
    "position, proper motion and distance: Cantat-Gaudin et al. (2020, A&A 640, A1), error: 0.1 mag of their distance "
    "modulus; velocity and [Fe/H]: Myers et al. (2022, AJ 164, 85), rounded"
)
#: Name, other name, ra, dec [deg], distance, error [kpc], pmra, pmdec [mas/yr], velocity [km/s], [Fe/H], radius [deg].
#: The radius is where we look: most members, few others; not a size from the literature.
_LITERATURE = (
    ("M67", "NGC 2682", 132.846, 11.814, 0.889, 0.041, -10.986, -2.964, 34.0, 0.0, 0.6, _OPEN),
    ("M71", "NGC 6838", 298.444, 18.779, 4.00, 0.05, -3.416, -2.656, -22.7, -0.78, 0.15, _GLOBULAR),
    ("M107", "NGC 6171", 248.133, -13.054, 5.63, 0.08, -1.939, -5.979, -34.7, -1.02, 0.25, _GLOBULAR),
    ("M92", "NGC 6341", 259.281, 43.136, 8.50, 0.07, -4.935, -0.625, -120.6, -2.31, 0.25, _GLOBULAR),
    ("M13", "NGC 6205", 250.422, 36.460, 7.42, 0.08, -3.149, -2.574, -244.9, -1.53, 0.30, _GLOBULAR),
    ("M3", "NGC 5272", 205.548, 28.377, 10.18, 0.08, -0.152, -2.670, -147.2, -1.50, 0.35, _GLOBULAR),
    ("M5", "NGC 5904", 229.638, 2.081, 7.48, 0.06, 4.086, -9.870, 53.5, -1.29, 0.35, _GLOBULAR),
    ("M15", "NGC 7078", 322.493, 12.167, 10.71, 0.10, -0.659, -3.803, -106.8, -2.37, 0.25, _GLOBULAR),
    ("M2", "NGC 7089", 323.363, -0.823, 11.69, 0.11, 3.435, -2.159, -3.8, -1.65, 0.20, _GLOBULAR),
    ("M53", "NGC 5024", 198.230, 18.168, 18.50, 0.18, -0.133, -1.331, -63.4, -2.10, 0.20, _GLOBULAR),
    ("NGC 6791", "", 290.221, 37.778, 4.231, 0.19, -0.421, -2.269, -47.3, 0.31, 0.25, _OPEN),
    ("NGC 6819", "", 295.327, 40.190, 2.765, 0.13, -2.916, -3.856, 2.8, 0.04, 0.25, _OPEN),
)
_COLUMNS = {
    "cluster": ("", "Name"),
    "other_name": ("", "Other name"),
    "ra": ("deg", "Right ascension of the centre"),
    "dec": ("deg", "Declination of the centre"),
    "distance": ("kpc", "Literature distance"),
    "distance_error": ("kpc", "Its error"),
    "pmra": ("mas/yr", "Mean proper motion in right ascension times cos(dec)"),
    "pmdec": ("mas/yr", "Mean proper motion in declination"),
    "velocity": ("km/s", "Mean heliocentric radial velocity"),
    "fe_h": ("", "[Fe/H]"),
    "radius": ("deg", "Members are looked for within this angle"),
    "source": ("", "Where the numbers are from"),
}

#: How far a member may be from the mean: proper motion [mas/yr] and velocity [km/s], each beyond three errors of the
#: star, and [Fe/H] [dex]. Wide for a globular's internal motion, narrow against the field.
_PM_WIDTH, _VELOCITY_WIDTH, _FE_H_WIDTH = 0.8, 15.0, 0.3


def literature_clusters():
    """Return the twelve clusters that APOGEE observed well, with the source of each number (astropy Table).

    Examples
    --------
    >>> from spfast.products.clusters import literature_clusters
    >>> clusters = literature_clusters()
    >>> len(clusters), str(clusters["cluster"][0]), float(clusters["distance"][0])
    (12, 'M67', 0.889)
    """
    table = Table(rows=_LITERATURE, names=tuple(_COLUMNS))
    for name, (unit, description) in _COLUMNS.items():
        table[name].unit, table[name].description = unit or None, description
    return table


def members_from_table(names, membership):
    """Return the members that a user's table lists.

    Parameters
    ----------
    names : sequence of str
        2MASS names of the catalog's stars.
    membership : astropy Table
        ``2MASS_ID`` or ``APOGEE_ID``, ``cluster``, and optionally ``distance`` [kpc], the same in all rows of a
        cluster.

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
    found = {name: rows[(cluster == name) & (rows >= 0)] for name in dict.fromkeys(cluster.tolist())}
    return {name: np.unique(rows) for name, rows in found.items() if rows.size}


def select_members(table, centres=None):
    """Select members around given centres by place, proper motion, radial velocity and [Fe/H]; never by parallax.

    Parameters
    ----------
    table : astropy Table
        Of `join_catalog` with a survey: ``ra``, ``dec``, ``pmra``, ``pmdec``, ``VHELIO_AVG``, ``FE_H``.
    centres : astropy Table, optional
        ``cluster``, ``ra``, ``dec``, ``radius`` [deg], and any of ``pmra``, ``pmdec`` [mas/yr], ``velocity`` [km/s] and
        ``fe_h``: what is missing or NaN is not asked for. `literature_clusters` by default.

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


#: Column of the star, of the centre, and half the width.
_CRITERIA = (
    ("pmra", "pmra", _PM_WIDTH),
    ("pmdec", "pmdec", _PM_WIDTH),
    ("VHELIO_AVG", "velocity", _VELOCITY_WIDTH),
    ("FE_H", "fe_h", _FE_H_WIDTH),
)


def cluster_means(catalog, members, literature=None):
    """Average each cluster's Gaia and spectrophotometric parallaxes and compare them.

    Gaia's mean is that of the parallaxes, weighted by the inverse variances. The spectrophotometric one is that of ln
    parallax: its errors are Gaussian in the logarithm, and weights from errors in proportion to the parallax would
    favour whatever came out small. Errors that the members share are in neither mean.

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
        One row a cluster: ``n``, ``gaia`` and ``spec`` means with errors [mas], their ``difference`` in sigma, ``chi2``
        of the members' ln spec_parallax about their mean for each degree of freedom, and the ``literature`` parallax.
    """
    literature = literature_clusters() if literature is None else literature
    known = {}
    if "distance" in literature.colnames:
        known = dict(zip(map(str, literature["cluster"]), float_column(literature, "distance", "kpc"), strict=True))
    gaia, gaia_error, spec, spec_error = (
        float_column(catalog, name)
        for name in ("Gaia_parallax", "Gaia_parallax_err", "spec_parallax", "spec_parallax_err")
    )
    rows = []
    for name, stars in members.items():
        plain = _mean(gaia[stars], gaia_error[stars])
        logarithm = _mean(np.log(spec[stars]), spec_error[stars] / spec[stars])
        mean, error = np.exp(logarithm[0]), np.exp(logarithm[0]) * logarithm[1]
        distance = known.get(name, np.nan)
        distance = distance if distance > 0 else np.nan
        with np.errstate(invalid="ignore"):
            difference = (mean - plain[0]) / np.hypot(error, plain[1])
        rows.append((name, len(stars), *plain[:2], mean, error, difference, logarithm[2], 1.0 / distance, distance))
    table = Table(rows=rows or None, names=tuple(_MEANS), dtype=["U32", int, *["f8"] * 8])
    for name, (unit, description) in _MEANS.items():
        table[name].unit, table[name].description = unit or None, description
    return table


_MEANS = {
    "cluster": ("", "Cluster"),
    "n": ("", "Members in the catalog"),
    "gaia": ("mas", "Mean Gaia parallax, zero point included"),
    "gaia_error": ("mas", "Its error"),
    "spec": ("mas", "Mean spectrophotometric parallax"),
    "spec_error": ("mas", "Its error"),
    "difference": ("", "Spectrophotometric minus Gaia, in units of their error"),
    "chi2": ("", "Scatter of the members: chi-squared for each degree of freedom, 1 for honest errors"),
    "literature": ("mas", "1 / literature distance"),
    "distance": ("kpc", "Literature distance"),
}


def _mean(values, errors):
    """Inverse-variance mean, its error, and chi-squared for each degree of freedom; NaN where there is nothing."""
    good = np.isfinite(values) & np.isfinite(errors) & (errors > 0)
    values, weights = values[good], errors[good] ** -2.0
    if not values.size:
        return np.nan, np.nan, np.nan
    mean = np.average(values, weights=weights)
    chi2 = np.sum(weights * (values - mean) ** 2) / (values.size - 1) if values.size > 1 else np.nan
    return mean, weights.sum() ** -0.5, chi2
