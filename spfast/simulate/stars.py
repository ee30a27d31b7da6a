"""Named stars, drawn in chunks that each have a seed of their own: the same stars for a download and a survey."""

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Table

from spfast.config import ZERO_POINT
from spfast.errors import BadInputError
from spfast.simulate.clusters import draw_members
from spfast.simulate.population import draw_population

__all__ = ["CHUNK", "MOCK_ZERO_POINT", "draw_chunk", "draw_cluster_stars", "measured_labels", "truth_table"]

#: Stars drawn with one seed.
CHUNK = 256
#: What Gaia's parallaxes are too small by at the pivot [mas], by how much more for each magnitude of G [mas/mag], and
#: the pivot [mag].
MOCK_ZERO_POINT = (ZERO_POINT, 0.0)
_ZERO_POINT_PIVOT = 14.0
#: Errors of ASPCAP's labels: Teff [K], log g, [Fe/H] [dex].
_LABEL_ERRORS = (35.0, 0.05, 0.02)
#: The running number in the source_id of cluster members begins here, above those of all chunks.
_FIRST_MEMBER = 2**34
#: A spurious parallax is off by this many of its errors, either way.
_SPURIOUS = (10.0, 50.0)

_TRUTH = {
    "APOGEE_ID": ("", "2MASS-style identifier"),
    "source_id": ("", "Gaia source identifier"),
    "true_parallax": ("mas", "True parallax"),
    "wrong_parallax": ("", "The measured parallax is wrong: another star's, or off by 10 to 50 errors"),
    "distance": ("kpc", "True distance"),
    "mass": ("solMass", "Mass"),
    "age": ("Gyr", "Age"),
    "teff": ("K", "True effective temperature"),
    "logg": ("", "True log g [dex]"),
    "fe_h": ("", "True [Fe/H] [dex]"),
    "alpha_fe": ("", "True [alpha/Fe] [dex]"),
    "c_n": ("", "True [C/N] [dex]"),
    "log_luminosity": ("", "log10 of the luminosity in solar units"),
    "absolute_K": ("mag", "Absolute K magnitude"),
    "a_v": ("mag", "Extinction in V"),
    "cluster": ("", "Star cluster, blank for a star of the field"),
    "x": ("kpc", "Galactocentric x, the Sun at -8.122"),
    "y": ("kpc", "Galactocentric y"),
    "z": ("kpc", "Height above the plane"),
}


def draw_chunk(seed, chunk, wrong_parallaxes=0.0, zero_point=MOCK_ZERO_POINT):
    """Draw one chunk of stars.

    Parameters
    ----------
    seed, chunk : int
    wrong_parallaxes : float
        Share of the stars whose parallax is wrong; the others are the same for any share.
    zero_point : tuple of two float [mas], [mas/mag]
        What Gaia's parallaxes are too small by at G = 14, and by how much more for each magnitude of measured G.

    Returns
    -------
    stars : dict of arrays, shape (CHUNK,)
        `draw_population`'s columns with ``APOGEE_ID``, ``source_id``, ``wrong_parallax`` and a blank ``cluster``.

    Raises
    ------
    BadInputError
        For a share below 0 or above 1.
    """
    if not 0.0 <= wrong_parallaxes <= 1.0:
        raise BadInputError(f"wrong parallaxes: {wrong_parallaxes:g}, expected a share from 0 to 1")
    rng = np.random.default_rng([seed, 0, chunk])
    stars = draw_population(CHUNK, rng)
    stars["cluster"] = np.full(CHUNK, "")
    _name(stars, chunk * CHUNK, rng)
    _shift(stars, zero_point)
    _spoil(stars, wrong_parallaxes, np.random.default_rng([seed, 7, chunk]))
    return stars


def draw_cluster_stars(names, seed, zero_point=MOCK_ZERO_POINT):
    """Draw members of literature clusters, named as `draw_chunk` names its stars; none has a wrong parallax.

    Parameters
    ----------
    names : sequence of str
        As for `draw_members`.
    seed : int
    zero_point : tuple of two float
        As for `draw_chunk`.

    Returns
    -------
    stars : dict of arrays
        The columns of `draw_chunk`.
    """
    stars = draw_members(names, seed)
    _name(stars, _FIRST_MEMBER, np.random.default_rng([seed, 9]))
    _shift(stars, zero_point)
    stars["wrong_parallax"] = np.zeros(stars["ra"].size, dtype=bool)
    return stars


def _name(stars, first, rng):
    """Add identifiers: 2MASS-style names from the place, and unique source_ids."""
    sky = SkyCoord(stars["ra"], stars["dec"], unit="deg")
    options = {"sep": "", "pad": True}
    ra = sky.ra.to_string("hourangle", precision=2, **options)
    dec = sky.dec.to_string("deg", precision=1, alwayssign=True, **options)
    stars["APOGEE_ID"] = np.array([f"2M{a.replace('.', '')}{d.replace('.', '')}" for a, d in zip(ra, dec, strict=True)])
    n = stars["ra"].size
    stars["source_id"] = (rng.integers(1, 2**26, n) << 36) + first + np.arange(n)


def _shift(stars, zero_point):
    """Give the parallaxes another zero point than the one they were drawn with."""
    if tuple(zero_point) != MOCK_ZERO_POINT:  # else untouched, for the same bytes as ever
        too_small = zero_point[0] + zero_point[1] * (stars["G"] - _ZERO_POINT_PIVOT)
        stars["parallax"] = stars["parallax"] + ZERO_POINT - too_small


def _spoil(stars, share, rng):
    """Make parallaxes wrong: half become another star's, as by a wrong match, half are off by many errors."""
    parallax, error = stars["parallax"], stars["parallax_error"]
    stars["wrong_parallax"] = rng.random(CHUNK) < share
    spurious = parallax + rng.choice([-1.0, 1.0], CHUNK) * rng.uniform(*_SPURIOUS, CHUNK) * error
    wrong = np.where(rng.random(CHUNK) < 0.5, rng.permutation(parallax), spurious)
    stars["parallax"] = np.where(stars["wrong_parallax"], wrong, parallax)


def measured_labels(stars):
    """Return ASPCAP's Teff [K], log g and [Fe/H] [dex]: the truth with errors drawn from the star's identifier."""
    noise = [np.random.default_rng([int(i) & (2**63 - 1), 5]).normal(size=3) for i in stars["source_id"]]
    truth = np.stack([stars["teff"], stars["logg"], stars["fe_h"]])
    return truth + np.array(noise).T * np.array(_LABEL_ERRORS)[:, None]


def truth_table(stars):
    """Return the truth, one row a star (astropy Table)."""
    table = Table()
    for name, (unit, description) in _TRUTH.items():
        table[name] = stars[name]
        table[name].unit, table[name].description = unit or None, description
    return table
