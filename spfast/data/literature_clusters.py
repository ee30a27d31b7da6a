"""Star clusters that APOGEE observed well, with place, motion, distance and metallicity from the literature."""

import re
from functools import cache

from astropy.table import Table

__all__ = ["cluster_key", "literature_clusters"]

_GLOBULAR = (
    "position: Harris (1996, AJ 112, 1487; 2010 edition, arXiv:1012.3224); distance: Baumgardt & Vasiliev (2021, MNRAS "
    "505, 5957); proper motion: Vasiliev & Baumgardt (2021, MNRAS 505, 5978); velocity: Baumgardt et al. (2019, MNRAS "
    "482, 5138); [Fe/H]: Harris (1996; 2010 edition)"
)
_OPEN = (
    "position, proper motion and distance: Cantat-Gaudin et al. (2020, A&A 640, A1), its error: 0.1 mag of their "
    "distance modulus; velocity and [Fe/H]: Donor et al. (2020, AJ 159, 199)"
)
#: Name, other name, ra, dec [deg], distance, error [kpc], pmra, pmdec [mas/yr], velocity [km/s], [Fe/H], radius [deg].
#: Each number but the radius was compared with a copy of the table that its source published. The radius is ours: it
#: holds most members and few other stars.
_LITERATURE = (
    ("M67", "NGC 2682", 132.846, 11.814, 0.889, 0.041, -10.986, -2.964, 33.9, 0.01, 0.6, _OPEN),
    ("M71", "NGC 6838", 298.444, 18.779, 4.00, 0.05, -3.4161, -2.6559, -22.72, -0.78, 0.15, _GLOBULAR),
    ("M107", "NGC 6171", 248.133, -13.054, 5.63, 0.08, -1.9392, -5.9789, -34.71, -1.02, 0.25, _GLOBULAR),
    ("M92", "NGC 6341", 259.281, 43.136, 8.50, 0.07, -4.9349, -0.6251, -120.55, -2.31, 0.25, _GLOBULAR),
    ("M13", "NGC 6205", 250.422, 36.460, 7.42, 0.08, -3.1493, -2.5735, -244.90, -1.53, 0.30, _GLOBULAR),
    ("M3", "NGC 5272", 205.548, 28.377, 10.18, 0.08, -0.1519, -2.6696, -147.20, -1.50, 0.35, _GLOBULAR),
    ("M5", "NGC 5904", 229.638, 2.081, 7.48, 0.06, 4.0856, -9.8696, 53.50, -1.29, 0.35, _GLOBULAR),
    ("M15", "NGC 7078", 322.493, 12.167, 10.71, 0.10, -0.6588, -3.8025, -106.84, -2.37, 0.25, _GLOBULAR),
    ("M2", "NGC 7089", 323.363, -0.823, 11.69, 0.11, 3.4346, -2.1588, -3.78, -1.65, 0.20, _GLOBULAR),
    ("M53", "NGC 5024", 198.230, 18.168, 18.50, 0.18, -0.1334, -1.3306, -63.37, -2.10, 0.20, _GLOBULAR),
    ("NGC 6791", "", 290.221, 37.778, 4.231, 0.195, -0.421, -2.269, -46.9, 0.35, 0.25, _OPEN),
    ("NGC 6819", "", 295.327, 40.190, 2.765, 0.127, -2.916, -3.856, 2.7, 0.05, 0.25, _OPEN),
)
#: Catalogs of clusters, as their names are written in upper case without blanks, and in short.
_CATALOGS = {"MESSIER": "M", "M": "M", "NGC": "NGC", "N": "NGC", "IC": "IC"}
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


def literature_clusters() -> Table:
    """Return the twelve clusters that APOGEE observed well, with the source of each number (astropy Table).

    Examples
    --------
    >>> from spfast.data.literature_clusters import literature_clusters
    >>> clusters = literature_clusters()
    >>> len(clusters), str(clusters["cluster"][0]), float(clusters["distance"][0])
    (12, 'M67', 0.889)
    """
    table = Table(rows=_LITERATURE, names=tuple(_COLUMNS))
    for name, (unit, description) in _COLUMNS.items():
        table[name].unit, table[name].description = unit or None, description
    return table


def cluster_key(name: str) -> str:
    """Return what identifies a cluster, by whichever of its names.

    Parameters
    ----------
    name : str
        Case, blanks, hyphens, underscores and zeros before the number do not count.

    Returns
    -------
    str
        Of the clusters of `literature_clusters` the same for both names.

    Examples
    --------
    >>> from spfast.data.literature_clusters import cluster_key
    >>> {cluster_key(name) for name in ("M67", "m 67", "Messier 67", "NGC 2682", "ngc_2682", "N2682")}
    {'M67'}
    """
    key = _short(name)
    return _other_names().get(key, key)


@cache
def _other_names():
    return {_short(other): _short(name) for name, other, *_ in _LITERATURE if other}


def _short(name):
    plain = re.sub(r"[\s_-]", "", str(name)).upper()
    found = re.fullmatch(rf"({'|'.join(_CATALOGS)})0*(\d+)", plain)
    return _CATALOGS[found[1]] + found[2] if found else plain
