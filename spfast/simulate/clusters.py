"""Mock members of real star clusters: place, distance, motion and [Fe/H] of the literature, our giants and noise."""

import numpy as np
from astropy import units
from astropy.coordinates import SkyCoord

from spfast.data.literature_clusters import literature_clusters
from spfast.errors import BadInputError
from spfast.simulate.population import FIELDS, dust_density, giant_labels, measure, place_at

__all__ = ["BRANCH_STARS", "CLUSTER_STARS", "draw_members"]

#: Members drawn for each cluster, before any cut.
CLUSTER_STARS = 24
#: Members drawn for each along its whole giant branch, evenly in absolute magnitude from near the brightest giants of
#: metal-poor clusters, M_K = -6.5 [mag], down to the survey's largest log g.
BRANCH_STARS = 36
_BRIGHTEST, _LOWEST = -6.6, 2.18

#: Below this [Fe/H] a cluster is a globular: old, alpha-rich, and with the velocity spread of one.
_GLOBULAR_FE_H = -0.6
#: Age [Gyr], [alpha/Fe] [dex], spread of velocities in one direction [km/s]: globular, open.
_GLOBULAR, _OPEN = (12.5, 0.28, 5.0), (4.0, 0.02, 0.8)
#: Spread of [Fe/H] among members [dex], and of the dust before them, as a share of it.
_FE_H_SPREAD, _DUST_SPREAD = 0.02, 0.04
#: The radius within which members are looked for, in units of the spread of their places in one direction.
_RADII = 3.5
#: H magnitudes and largest log g of members that are observed. They are targets themselves, so also brighter ones.
_H_BRIGHT, _H_FAINT, _LOGG_MAX = 6.0, 13.7, 2.25
#: Proper motion [mas/yr] of 1 km/s at 1 kpc.
_PER_YEAR = 1.0 / 4.740470463


def draw_members(names, seed, whole_branch=False):
    """Draw members of literature clusters.

    Parameters
    ----------
    names : sequence of str
        Clusters of `literature_clusters`, by either name.
    seed : int
    whole_branch : bool
        Draw them evenly in M_K up to the tip of the branch, so that a slope along it can be measured in each cluster,
        in place of as many as evolution leaves at each height.

    Returns
    -------
    stars : dict of arrays
        Those of `draw_population`, and ``cluster``; there are `CLUSTER_STARS` for each name, or `BRANCH_STARS`.

    Raises
    ------
    BadInputError
        If there is no cluster of that name.

    Examples
    --------
    >>> from spfast.simulate.clusters import draw_members
    >>> members = draw_members(["M13"], seed=1)
    >>> set(members["cluster"].tolist()), float(members["distance"][0])
    ({'M13'}, 7.42)
    """
    clusters = literature_clusters()
    both = ("cluster", "other_name")
    place = {str(row[column]): i for i, row in enumerate(clusters) for column in both if row[column]}
    drawn = []
    for name in dict.fromkeys(names):
        if name not in place:
            raise BadInputError(f"cluster {name!r}: expected one of {', '.join(map(str, clusters['cluster']))}")
        number = place[name]
        drawn.append(_draw(clusters[number], number, np.random.default_rng([seed, 8, number]), whole_branch))
    return {column: np.concatenate([stars[column] for stars in drawn]) for column in drawn[0]}


def _draw(centre, number, rng, whole_branch):
    n, distance = BRANCH_STARS if whole_branch else CLUSTER_STARS, float(centre["distance"])
    age, alpha_fe, spread = _GLOBULAR if centre["fe_h"] < _GLOBULAR_FE_H else _OPEN
    a_v = _dust(centre) * np.exp(rng.normal(0.0, _DUST_SPREAD, n))
    stars = _bright_giants(n, centre["fe_h"], age, alpha_fe, distance, rng, whole_branch)
    stars["component"] = np.full(n, 2 if age == _GLOBULAR[0] else 0, np.int16)
    stars["cluster"] = np.full(n, str(centre["cluster"]))
    stars["FIELD"], stars["field_number"] = stars["cluster"].astype("U24"), np.full(n, FIELDS + number)
    stars["distance"], stars["true_parallax"] = np.full(n, distance), np.full(n, 1.0 / distance)
    stars["a_v"] = a_v
    radius, angle = _within(centre["radius"], n, rng), rng.uniform(0.0, 2.0 * np.pi, n)
    middle = SkyCoord(centre["ra"], centre["dec"], unit="deg")
    sky = middle.directional_offset_by(angle * units.rad, radius * units.deg)
    stars["ra"], stars["dec"] = sky.ra.deg, sky.dec.deg
    stars["glon"], stars["glat"] = sky.galactic.l.deg, sky.galactic.b.deg
    place_at(stars)
    for name in ("pmra", "pmdec"):
        stars[name] = centre[name] + spread * _PER_YEAR / distance * rng.normal(size=n)
    stars["radial_velocity"] = centre["velocity"] + spread * rng.normal(size=n)
    measure(stars, rng)
    return stars


def _bright_giants(n, fe_h, age, alpha_fe, distance, rng, whole_branch):
    """Draw giants of one age and composition that APOGEE would observe at this distance."""
    count = 200 * n
    stars = giant_labels(
        np.full(count, age), fe_h + rng.normal(0.0, _FE_H_SPREAD, count), np.full(count, alpha_fe), rng
    )
    h = stars["absolute_K"] + 0.1 + 5.0 * np.log10(100.0 * distance)
    rows = np.flatnonzero((h > _H_BRIGHT) & (h < _H_FAINT) & (stars["logg"] < _LOGG_MAX))
    if whole_branch:
        rows = rows[(stars["absolute_K"][rows] > _BRIGHTEST) & (stars["logg"][rows] < _LOWEST)]
        rows = _evenly(rows, stars["absolute_K"][rows], n)
    rows = rows[:n]
    return {name: values[rows] for name, values in stars.items()}


def _evenly(rows, magnitude, n):
    """Choose n rows whose magnitudes are as far apart as they can be: for each of n even steps the nearest left."""
    left = list(rows[np.argsort(magnitude)])
    values = list(np.sort(magnitude))
    chosen = []
    for wanted in np.linspace(values[0], values[-1], n):
        nearest = int(np.argmin(np.abs(np.array(values) - wanted)))
        chosen.append(left.pop(nearest))
        values.pop(nearest)
    return np.array(chosen)


def _within(radius, n, rng):
    """Draw distances from the centre [deg] in a round Gaussian swarm, all of them within the radius."""
    outermost = 1.0 - np.exp(-0.5 * _RADII**2)
    return radius / _RADII * np.sqrt(-2.0 * np.log(1.0 - outermost * rng.random(n)))


def _dust(centre):
    """Return the extinction in V [mag] between the Sun and the cluster."""
    sky = SkyCoord(centre["ra"], centre["dec"], unit="deg").galactic
    step = 0.05
    distance = np.arange(step / 2, centre["distance"], step)
    line = {"glon": sky.l.deg, "glat": sky.b.deg, "distance": distance}
    place_at(line)
    return float(np.sum(dust_density(np.hypot(line["x"], line["y"]), line["z"])) * step)
