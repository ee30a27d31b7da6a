"""Named stars, drawn in chunks that each have a seed of their own: the same stars for a download and a survey."""

from importlib.util import find_spec

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Table

from spfast.archive.releases import GAIA
from spfast.config import LINDEGREN, ZERO_POINT
from spfast.data.zero_point import lindegren_zero_point
from spfast.errors import BadInputError
from spfast.simulate.clusters import draw_members
from spfast.simulate.population import draw_population

__all__ = [
    "ALLWISE",
    "CHUNK",
    "DR3_NAMES",
    "MOCK_ZERO_POINT",
    "UNWISE",
    "WISE",
    "draw_chunk",
    "draw_cluster_stars",
    "default_zero_point",
    "gaia_release_of",
    "measured_labels",
    "truth_table",
]

#: Stars drawn with one seed.
CHUNK = 256
#: What Gaia's parallaxes are too small by at the pivot [mas], by how much more for each magnitude of G [mas/mag], and
#: the pivot [mag].
MOCK_ZERO_POINT = (ZERO_POINT, 0.0)
_ZERO_POINT_PIVOT = 14.0
#: Surveys of the WISE bands, the default first.
ALLWISE, UNWISE = WISE = ("allwise", "unwise")
#: unWISE: what is subtracted from 22.5 - 2.5 log10(flux) to get Vega magnitudes (astra, migrations/misc.py), the
#: magnitude of 5 sigma, and that above which stars saturate (Schlafly, Meisner & Green 2019, ApJS 240, 30).
_UNWISE = {"W1": (0.004, 17.5, 8.0), "W2": (0.032, 16.6, 7.0)}
#: Its smallest quoted error and its scatter for bright stars [mag]; the error counts photons alone.
_UNWISE_FLUX_ERROR, _UNWISE_SCATTER = 0.0008, 0.016
#: Gaia DR3's columns that its zero point depends on, and the simulator's.
DR3_NAMES = {
    "nu_eff_used_in_astrometry": "nu_eff",
    "pseudocolour": "pseudocolour",
    "ecl_lat": "ecl_lat",
    "astrometric_params_solved": "params_solved",
}
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


def draw_chunk(seed, chunk, wrong_parallaxes=0.0, zero_point=MOCK_ZERO_POINT, wise=ALLWISE):
    """Draw one chunk of stars.

    Parameters
    ----------
    seed, chunk : int
    wrong_parallaxes : float
        Share of the stars whose parallax is wrong; the others are the same for any share.
    zero_point : tuple of two float [mas], [mas/mag], or "lindegren2021"
        What Gaia's parallaxes are too small by at G = 14, and by how much more for each magnitude of measured G; or
        by what they are in Gaia DR3, star by star (Lindegren et al. 2021).
    wise : str
        "allwise" or "unwise": whose W1 and W2.

    Returns
    -------
    stars : dict of arrays, shape (CHUNK,)
        `draw_population`'s columns with ``APOGEE_ID``, ``source_id``, ``telescope``, ``pseudocolour``, ``ecl_lat``,
        ``wrong_parallax`` and a blank ``cluster``.

    Raises
    ------
    BadInputError
        For a share below 0 or above 1.
    """
    if not 0.0 <= wrong_parallaxes <= 1.0:
        raise BadInputError(f"wrong parallaxes: {wrong_parallaxes:g}, expected a share from 0 to 1")
    rng = np.random.default_rng([seed, 0, chunk])
    stars = draw_population(CHUNK, rng)
    _measure_wise(stars, wise, [seed, 10, chunk])
    stars["cluster"] = np.full(CHUNK, "")
    stars["telescope"] = _telescope(stars)
    _name(stars, chunk * CHUNK, rng)
    _add_dr3(stars)
    _shift(stars, zero_point)
    _spoil(stars, wrong_parallaxes, np.random.default_rng([seed, 7, chunk]))
    return stars


def draw_cluster_stars(names, seed, zero_point=MOCK_ZERO_POINT, wise=ALLWISE, whole_branch=False):
    """Draw members of literature clusters, named as `draw_chunk` names its stars; none has a wrong parallax.

    Parameters
    ----------
    names : sequence of str
        As for `draw_members`.
    seed : int
    zero_point : tuple of two float, or str
        As for `draw_chunk`.
    wise : str
        As for `draw_chunk`.
    whole_branch : bool
        As for `draw_members`.

    Returns
    -------
    stars : dict of arrays
        The columns of `draw_chunk`.
    """
    stars = draw_members(names, seed, whole_branch)
    _measure_wise(stars, wise, [seed, 11])
    stars["telescope"] = _telescope(stars)
    _name(stars, _FIRST_MEMBER, np.random.default_rng([seed, 9]))
    _add_dr3(stars)
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


def _measure_wise(stars, wise, seed):
    """Replace AllWISE's W1 and W2 by those of unWISE, if asked: fluxes with small errors, in deeper images."""
    if wise not in WISE:
        raise BadInputError(f"wise {wise!r}: expected one of {', '.join(WISE)}")
    if wise == ALLWISE:
        return
    rng = np.random.default_rng(seed)
    for band, (offset, depth, saturated) in _UNWISE.items():
        true = stars[f"true_{band}"]
        error = np.maximum(_UNWISE_FLUX_ERROR, 0.2 * 10 ** (0.4 * (true - depth)))
        bias = 0.05 * np.maximum(saturated - true, 0.0)  # the cores of brighter stars are saturated
        scatter = np.hypot(error, _UNWISE_SCATTER)
        magnitude = true - bias + scatter * rng.standard_normal(true.size)
        # A few are blended in either survey.
        stars[band] = magnitude + (stars[band] - true) * (np.abs(stars[band] - true) > 0.25)
        stars[f"{band}_error"] = error
        stars[f"{band}_flux"] = 10 ** (0.4 * (22.5 - offset - stars[band]))
        stars[f"{band}_flux_error"] = stars[f"{band}_flux"] * error / 1.0857


def _telescope(stars):
    """Return which telescope sees each star: LCO's the southern ones."""
    return np.where(stars["dec"] < -20.0, "lco25m", "apo25m")


def _add_dr3(stars):
    """Add what the zero point of Gaia DR3 depends on besides G and the effective wavenumber."""
    # Ecliptic latitude, with an obliquity of 23.4393 deg.
    tilt, ra, dec = np.radians(23.4393), np.radians(stars["ra"]), np.radians(stars["dec"])
    stars["ecl_lat"] = np.degrees(np.arcsin(np.sin(dec) * np.cos(tilt) - np.cos(dec) * np.sin(tilt) * np.sin(ra)))
    stars["pseudocolour"] = np.where(stars["params_solved"] == 95, stars["nu_eff"], np.nan)


def _shift(stars, zero_point):
    """Give the parallaxes another zero point than the one they were drawn with."""
    if zero_point == LINDEGREN:
        gaia = Table({name: stars[column] for name, column in DR3_NAMES.items()})
        gaia["parallax"], gaia["phot_g_mean_mag"] = stars["parallax"], stars["G"]
        stars["parallax"] = stars["parallax"] + ZERO_POINT + lindegren_zero_point(gaia)[0]
    elif tuple(zero_point) != MOCK_ZERO_POINT:  # else untouched, for the same bytes as ever
        too_small = zero_point[0] + zero_point[1] * (stars["G"] - _ZERO_POINT_PIVOT)
        stars["parallax"] = stars["parallax"] + ZERO_POINT - too_small


def _spoil(stars, share, rng):
    """Make parallaxes wrong: half become another star's, as by a wrong match, half are off by many errors."""
    parallax, error = stars["parallax"], stars["parallax_error"]
    stars["wrong_parallax"] = rng.random(CHUNK) < share
    spurious = parallax + rng.choice([-1.0, 1.0], CHUNK) * rng.uniform(*_SPURIOUS, CHUNK) * error
    wrong = np.where(rng.random(CHUNK) < 0.5, rng.permutation(parallax), spurious)
    stars["parallax"] = np.where(stars["wrong_parallax"], wrong, parallax)


def default_zero_point(gaia_release):
    """The zero point that a release of Gaia has, as `draw_chunk` takes it.

    Of DR3 that of each star, or one number for all where the package that knows it is not installed.
    """
    release = GAIA[gaia_release]
    if release.relation is not None and find_spec("zero_point") is not None:
        return release.relation.source
    return release.zero_point.value, 0.0


def gaia_release_of(zero_point):
    """The release of Gaia that mock parallaxes of a zero point are of: DR3's is its own, a constant is DR2's."""
    return "dr3" if zero_point == LINDEGREN else "dr2"


def measured_labels(stars):
    """Return ASPCAP's Teff [K], log g and [Fe/H] [dex]: the truth with errors drawn from the star's identifier."""
    noise = [np.random.default_rng([int(i) & (2**63 - 1), 5]).normal(size=3) for i in stars["source_id"]]
    truth = np.stack([stars["teff"], stars["logg"], stars["fe_h"]])
    return truth + np.array(noise).T * np.array(_LABEL_ERRORS)[:, None]


def truth_table(stars):
    """Return the truth, one row a star (astropy Table)."""
    table = Table({name: stars[name] for name in _TRUTH}, copy=False)
    for name, (unit, description) in _TRUTH.items():
        table[name].unit, table[name].description = unit or None, description
    return table
