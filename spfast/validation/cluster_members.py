"""Who is a member of a star cluster: those that a table lists, or those around its centre."""

import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Table

from spfast.data.identifiers import match_names, unmatched
from spfast.data.literature_clusters import cluster_key, literature_clusters
from spfast.data.tables.names import find_name
from spfast.data.tables.stored import refuse_unread
from spfast.data.tables.values import column_values, float_column
from spfast.errors import BadInputError, SpfastWarning
from spfast.validation.read_catalog import find_column

__all__ = ["Members", "listed_members", "listed_names", "members_from_table", "select_members"]

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

#: Units of the columns of the clusters' centres, which have [Fe/H] besides.
_CENTRE_UNITS = {"ra": "deg", "dec": "deg", "radius": "deg", "pmra": "mas/yr", "pmdec": "mas/yr", "velocity": "km/s"}
#: What tables of a survey write where a star is in no cluster, beside the words for "no value".
_NO_CLUSTER = ("-", "0", "-1", "-999", "-9999", "-9999.0")
#: What messages call the user's table.
_TABLE = "the table of cluster members"
#: Probabilities of OCCAM (Donor et al. 2020, AJ 159, 199), whose members have all above this, three sigma.
_OCCAM, _PROBABILITY_MIN = ("RV_PROB", "FEH_PROB", "PM_PROB", "CG_PROB"), 0.01
#: Distances of one cluster may differ by this share: they may have been through a float32.
_SAME_DISTANCE = 1e-5


class Members(NamedTuple):
    """Members of clusters: rows of the catalog for each cluster, and a table of the clusters' distances, if any."""

    rows: Mapping[str, np.ndarray]
    literature: Table | None = None


def listed_members(names: Sequence[str], membership: Table) -> Members:
    """Return the members that a user's table lists, and its distances; parameters as in `members_from_table`."""
    members = members_from_table(names, membership)
    column = find_name(membership.colnames, ("distance",), _TABLE)
    if column is None:
        alike = [name for name in membership.colnames if name.lower().startswith("dist")]
        if alike:
            text = f"{_TABLE} has a column {alike[0]}, which is not used; name the clusters' distances [kpc] distance"
            warnings.warn(text, SpfastWarning, stacklevel=2)
        return Members(members)
    distances = float_column(membership, column, "kpc")
    keys = np.array([cluster_key(name) for name in _cluster_names(membership)], dtype="U")
    literature = Table({"cluster": list(members), "distance": np.full(len(members), np.nan)})
    for row, name in enumerate(members):
        its = np.unique(distances[(keys == cluster_key(name)) & np.isfinite(distances)])
        if its.size > 1 and its[-1] > its[0] * (1 + _SAME_DISTANCE):
            raise BadInputError(
                f"the table of cluster members has distances of {its[0]:g} to {its[-1]:g} kpc for {name[:30]!a}, "
                "expected one in all rows of a cluster; correct it"
            )
        if its.size:
            literature["distance"][row] = its[0]
    return Members(members, literature)


def members_from_table(names: Sequence[str], membership: Table) -> dict[str, np.ndarray]:
    """Return the members that a user's table lists.

    Parameters
    ----------
    names : sequence of str
        2MASS names of the catalog's stars.
    membership : astropy Table
        ``2MASS_ID`` or another name of it as in a catalog, ``cluster`` (stars where it is blank are no members), and
        optionally ``distance`` [kpc], the same in all rows of a cluster; case does not count. Stars that OCCAM's
        ``RV_PROB``, ``FEH_PROB``, ``PM_PROB`` or ``CG_PROB`` exclude are left out.

    Returns
    -------
    members : dict of int64 array
        For each cluster, in the table's order, rows of the catalog. A cluster under several of its names is one.

    Raises
    ------
    BadInputError
        If a column is missing, or no listed star is in the catalog and in a cluster.

    Warns
    -----
    SpfastWarning
        If stars are left out by their probability, or a column looks like one and is not used.
    """
    refuse_unread(membership, lambda name: name.lower() in ("cluster", "distance"), _TABLE)
    cluster = _cluster_names(membership)
    listed = listed_names(membership)
    rows = match_names(listed, names)
    if not (rows >= 0).any():
        raise BadInputError(
            f"none of the {len(membership)} listed cluster members is in the catalog; check the names "
            f"({unmatched(listed, names)})"
        )
    keys = np.array([cluster_key(name) for name in cluster], dtype="U")
    used = (rows >= 0) & (keys != "") & _probable(membership)
    if not used.any():
        first = int(np.argmax(rows >= 0))
        raise BadInputError(
            f"no star of the catalog is listed as a member of a cluster (e.g. {listed[first]}, whose cluster is "
            f"{str(cluster[first])[:30]!a}); check {_TABLE}"
        )
    members = {}
    for key in dict.fromkeys(keys[used].tolist()):
        name = str(cluster[np.flatnonzero(keys == key)[0]])
        members[name] = np.unique(rows[used & (keys == key)])
    return members


def listed_names(membership: Table) -> np.ndarray:
    """Return the 2MASS names in a user's table (str array)."""
    column = find_column(membership, "2MASS_ID", _TABLE)
    return column_values(membership[column], "U", f"cluster members: column {column}")


def _cluster_names(membership):
    column = find_name(membership.colnames, ("cluster",), _TABLE)
    if column is None:
        raise BadInputError(
            f"{_TABLE} has columns {', '.join(membership.colnames[:8])}; expected 2MASS_ID (or APOGEE_ID) and cluster"
        )
    names = np.char.strip(column_values(membership[column], "U", "cluster members: column cluster"))
    return np.where(np.isin(names, _NO_CLUSTER), "", names)


def _probable(membership):
    """Say which rows no probability of membership excludes (bool array), and warn of what is left out or not used."""
    good, used = np.ones(len(membership), bool), []
    for name in membership.colnames:
        if name.upper() in _OCCAM:
            values = float_column(membership, name)
            # OCCAM writes -1, or -9999.99, where it has none; Cantat-Gaudin's list, CG_PROB, lacks most clusters.
            good &= (values > _PROBABILITY_MIN) | ((name.upper() == "CG_PROB") & ~(values >= 0))
            used.append(name)
        elif "prob" in name.lower():
            warnings.warn(
                f"{_TABLE} has a column {name}, which is not used: every listed star counts as a member; leave the "
                "others out",
                SpfastWarning,
                stacklevel=3,
            )
    if not good.all():
        warnings.warn(
            f"{np.count_nonzero(~good):,} of {len(good):,} listed cluster members are left out: {', '.join(used)} must "
            f"be above {_PROBABILITY_MIN:g} (OCCAM's 3 sigma)",
            SpfastWarning,
            stacklevel=3,
        )
    if not good.any():
        raise BadInputError(
            f"{_TABLE} has no star with {', '.join(used)} above {_PROBABILITY_MIN:g}; check the columns"
        )
    return good


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
    ra, dec = float_column(table, "ra", "deg"), float_column(table, "dec", "deg")
    placed = np.isfinite(ra) & np.isfinite(dec)
    sky = SkyCoord(np.where(placed, ra, 0.0), np.where(placed, dec, 0.0), unit="deg")
    members = {}
    centres = Table(
        {
            name: centres[name] if name == "cluster" else float_column(centres, name, _CENTRE_UNITS.get(name, ""))
            for name in ("cluster", *_CENTRE_UNITS, "fe_h")
            if name in centres.colnames
        }
    )
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
                own = float_column(table[rows], column, _CENTRE_UNITS.get(name, ""))
                rows = rows[np.abs(own - centre[name]) < width]
        if rows.size:
            members[str(centre["cluster"])] = rows
    return members
