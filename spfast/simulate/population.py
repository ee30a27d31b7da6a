"""A population of red giants: labels, luminosity, place in the disc, dust, photometry and Gaia's astrometry."""

import numpy as np
from astropy import units
from astropy.coordinates import SkyCoord

from spfast.config import ZERO_POINT

__all__ = ["BANDS", "FIELDS", "draw_population", "dust_density", "giant_labels", "measure", "place_at"]

#: Bands of the feature row, in its order.
BANDS = ("G", "BP", "RP", "J", "H", "K", "W1", "W2")

#: Solar values of L = M T^4 / g: effective temperature [K], log g [dex], bolometric magnitude.
_SUN_TEFF, _SUN_LOGG, _SUN_MBOL = 5772.0, 4.438, 4.74
#: The Sun's place [kpc] and velocity [km/s], the circular speed of the disc, its scale lengths and heights [kpc].
_R0, _Z0 = 8.122, 0.025
_SUN_VELOCITY = (11.1, 245.8, 7.8)
_CIRCULAR_SPEED = 229.0
_DISC_LENGTH = 2.6
_THIN_HEIGHT, _THICK_HEIGHT = 0.3, 0.9
#: Dust: extinction per kpc near the Sun in V [mag/kpc], scale length and height [kpc].
_DUST_LOCAL, _DUST_LENGTH, _DUST_HEIGHT = 0.55, 3.2, 0.12

#: Share of stars below the luminous part of the giant branch, which the cut on log g removes.
_LOWER_BRANCH = 0.06
#: More dust than this hides a star from Gaia [mag in V].
_MAX_A_V = 9.0
#: Distances that a star may have [kpc].
_DISTANCES = np.geomspace(0.3, 25.0, 72)
#: Number of pointings on the sky, the same for all surveys: few at high latitude, many in the disc.
FIELDS = 240
_FIELD_RADIUS = 1.4  # [deg]

#: Colours of giants as polynomials in 5040 K / Teff - 1.12: bolometric correction of K, then differences of bands.
_THETA0 = 1.12
_BC_K = (2.35, 2.2, -0.9)
_MINUS_K = {
    "G": (2.30, 4.0, 6.0),
    "BP": (2.90, 5.3, 7.8),
    "RP": (1.68, 3.1, 4.8),
    "J": (0.68, 1.40, 0.4),
    "H": (0.10, 0.30, 0.1),
    "K": (0.0, 0.0, 0.0),
    "W1": (-0.05, -0.05, 0.0),
    "W2": (0.02, 0.12, 0.1),
}
#: How the same differences change with [Fe/H].
_METALLICITY = {"G": 0.06, "BP": 0.11, "RP": 0.03, "J": 0.01, "H": 0.01, "K": 0.0, "W1": 0.0, "W2": -0.02}
#: Extinction in each band in units of A_V, for a red giant without much dust.
_EXTINCTION = {"G": 0.77, "BP": 1.00, "RP": 0.60, "J": 0.28, "H": 0.18, "K": 0.115, "W1": 0.068, "W2": 0.052}
#: The broad bands' extinction falls with A_V, as the reddened spectrum moves to longer wavelengths.
_BROAD = {"G": -0.012, "BP": -0.012, "RP": -0.004}
#: Gaia's magnitude of a flux of one electron a second.
_GAIA_UNIT_MAGNITUDE = {"G": 25.688, "BP": 25.351, "RP": 24.762}


def draw_population(n_stars, rng):
    """Draw stars: their truth, and what Gaia, 2MASS and WISE measure.

    Parameters
    ----------
    n_stars : int
    rng : numpy Generator

    Returns
    -------
    stars : dict of arrays, shape (n_stars,)
        Truth: ``mass`` [solar], ``age`` [Gyr], ``teff`` [K], ``logg``, ``fe_h``, ``alpha_fe``, ``c_n`` [dex],
        ``log_luminosity`` [solar], ``absolute_K`` [mag], ``distance`` [kpc], ``true_parallax`` [mas], ``a_v`` [mag],
        ``true_G`` ... ``true_W2`` [mag], galactocentric x, y, z [kpc].
        Measured: ``ra``, ``dec``, ``glon``, ``glat`` [deg], ``pmra``, ``pmdec`` [mas/yr], ``radial_velocity`` [km/s],
        ``G`` ... ``W2`` and ``G_error`` ... [mag], Gaia's columns under their own names, ``snr`` of the spectrum.
    """
    stars = _labels(n_stars, rng)
    _place(stars, rng)
    measure(stars, rng)
    return stars


def measure(stars, rng):
    """Add what Gaia, 2MASS and WISE measure of stars that have labels, place and motion."""
    _photometry(stars, rng)
    _astrometry(stars, rng)


def _labels(n, rng):
    """Draw age and abundances of field stars, and what follows from them."""
    kind = rng.choice(3, size=n, p=[0.71, 0.23, 0.06])  # thin disc, thick disc, halo
    age = np.choose(kind, [rng.uniform(0.6, 9.0, n), rng.uniform(7.5, 12.0, n), rng.uniform(10.0, 13.0, n)])
    fe_h = np.choose(kind, [rng.normal(-0.08, 0.2, n), rng.normal(-0.45, 0.25, n), rng.normal(-1.3, 0.35, n)])
    fe_h = np.clip(fe_h, -2.3, 0.5)
    alpha_fe = np.choose(kind, [0.03 - 0.12 * fe_h, 0.24 - 0.06 * fe_h, np.full(n, 0.28)]) + rng.normal(0.0, 0.02, n)
    return {"component": kind.astype(np.int16), **giant_labels(age, fe_h, alpha_fe, rng)}


def giant_labels(age, fe_h, alpha_fe, rng):
    """Draw mass, [C/N], temperature and gravity of giants of given age and composition; luminosity is M T^4 / g.

    Parameters
    ----------
    age, fe_h, alpha_fe : float array, shape (n_stars,) [Gyr, dex, dex]
    rng : numpy Generator

    Returns
    -------
    stars : dict of arrays, shape (n_stars,)
        ``mass``, ``age``, ``teff``, ``logg``, ``fe_h``, ``alpha_fe``, ``c_n``, ``log_luminosity``, ``absolute_K``.
    """
    n = age.size
    mass = 1.02 * (age / 10.0) ** -0.31 * 10 ** (0.05 * fe_h) * np.exp(rng.normal(0.0, 0.03, n))
    c_n = -0.18 - 1.15 * np.log10(mass / 1.1) + 0.15 * fe_h + rng.normal(0.0, 0.04, n)
    # Stars evolve faster the higher they are on the branch: there are fewer of low gravity.
    low, high, slope = -0.1, 2.45, 0.38
    u = rng.random(n)
    logg = np.log10(10 ** (slope * low) + u * (10 ** (slope * high) - 10 ** (slope * low))) / slope
    logg = np.where(rng.random(n) < _LOWER_BRANCH, rng.uniform(high, 3.3, n), logg)
    teff = 4640.0 + 475.0 * (logg - 2.2) - 330.0 * fe_h - 90.0 * alpha_fe + 420.0 * np.log10(mass)
    teff += 25.0 * fe_h**2 + rng.normal(0.0, 25.0, n)
    log_luminosity = np.log10(mass) + 4.0 * np.log10(teff / _SUN_TEFF) - (logg - _SUN_LOGG)
    theta = 5040.0 / teff - _THETA0
    return {
        "mass": mass,
        "age": age,
        "teff": teff,
        "logg": logg,
        "fe_h": fe_h,
        "alpha_fe": alpha_fe,
        "c_n": c_n,
        "log_luminosity": log_luminosity,
        "absolute_K": _SUN_MBOL - 2.5 * log_luminosity - np.polyval(_BC_K[::-1], theta),
    }


def _fields():
    """Galactic coordinates of the pointings [deg]."""
    rng = np.random.default_rng(20190801)
    glon = rng.uniform(0.0, 360.0, FIELDS)
    glat = np.where(rng.random(FIELDS) < 0.75, rng.normal(0.0, 8.0, FIELDS), rng.normal(0.0, 35.0, FIELDS))
    return glon, np.clip(glat, -85.0, 85.0)


def _place(stars, rng):
    """Draw pointing, distance and dust, by the density along the line of sight and the limits in magnitude."""
    n = stars["mass"].size
    theta = 5040.0 / stars["teff"] - _THETA0
    field = rng.integers(0, FIELDS, n)
    glon, glat = (axis[field] for axis in _fields())
    radius, angle = _FIELD_RADIUS * np.sqrt(rng.random(n)), rng.uniform(0.0, 2.0 * np.pi, n)
    glat = glat + radius * np.sin(angle)
    glon = (glon + radius * np.cos(angle) / np.cos(np.radians(glat))) % 360.0
    stars["FIELD"] = np.array([f"{int(lon):03d}{int(lat):+03d}" for lon, lat in zip(*_fields(), strict=True)])[field]
    stars["field_number"] = field
    stars["glon"], stars["glat"] = glon, glat
    lon, lat, d = np.radians(glon)[:, None], np.radians(glat)[:, None], _DISTANCES[None, :]
    x, y, z = d * np.cos(lat) * np.cos(lon) - _R0, d * np.cos(lat) * np.sin(lon), d * np.sin(lat) + _Z0
    r = np.hypot(x, y)
    dust = dust_density(r, z)
    steps = np.diff(_DISTANCES, prepend=0.0)
    clumps = np.exp(rng.normal(0.0, 0.45, n))[:, None]
    a_v = clumps * np.cumsum(dust * steps, axis=1)
    height = np.where(stars["component"] == 0, _THIN_HEIGHT, _THICK_HEIGHT)[:, None]
    halo = (stars["component"] == 2)[:, None]
    density = np.where(halo, (np.sqrt(r**2 + z**2) + 1.0) ** -2.7, np.exp(-r / _DISC_LENGTH - np.abs(z) / height))
    h_minus_k = np.polyval(_MINUS_K["H"][::-1], theta)
    h_mag = (stars["absolute_K"] + h_minus_k)[:, None] + 5.0 * np.log10(100.0 * d) + _EXTINCTION["H"] * a_v
    seen = np.where(h_mag < 7.0, 0.0, np.where(h_mag < 12.2, 1.0, 0.0))
    seen = np.where((h_mag >= 12.2) & (h_mag < 13.7), 1.8, seen)
    seen = np.where(a_v > _MAX_A_V, 0.0, seen)
    weight = density * d**3 * seen + 1e-30
    cumulative = np.cumsum(weight, axis=1)
    pick = rng.random(n) * cumulative[:, -1]
    index = np.minimum((cumulative < pick[:, None]).sum(axis=1), d.size - 1)
    rows = np.arange(n)
    step = np.log(_DISTANCES[1] / _DISTANCES[0])
    distance = np.clip(_DISTANCES[index] * np.exp(step * (rng.random(n) - 0.5)), _DISTANCES[0], _DISTANCES[-1])
    stars["distance"] = distance
    stars["true_parallax"] = 1.0 / distance
    stars["a_v"] = np.minimum(a_v[rows, index], _MAX_A_V)
    place_at(stars)
    _motion(stars, rng)


def dust_density(radius, height):
    """Extinction per length in V [mag/kpc] at a galactocentric radius and a height [kpc]."""
    return np.minimum(_DUST_LOCAL * np.exp(-(radius - _R0) / _DUST_LENGTH - np.abs(height) / _DUST_HEIGHT), 4.0)


def place_at(stars):
    """Add galactocentric x, y, z [kpc] to stars with ``glon``, ``glat`` [deg] and ``distance`` [kpc]."""
    lon, lat = np.radians(stars["glon"]), np.radians(stars["glat"])
    along = (np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat))
    for name, part, origin in zip("xyz", along, (-_R0, 0.0, _Z0), strict=True):
        stars[name] = stars["distance"] * part + origin


def _motion(stars, rng):
    """Draw the motion of a rotating disc, whose older stars have more random motion, as the Sun sees it."""
    n = stars["mass"].size
    spread = np.choose(stars["component"], [28.0, 55.0, 120.0])
    speed = np.choose(stars["component"], [_CIRCULAR_SPEED - 6.0, _CIRCULAR_SPEED - 45.0, 15.0])
    around = speed + 0.7 * spread * rng.normal(size=n)
    outward, up = spread * rng.normal(size=n), 0.6 * spread * rng.normal(size=n)
    x, y = stars["x"], stars["y"]
    r = np.maximum(np.hypot(x, y), 0.1)
    velocity = np.array([outward * x / r + around * y / r, outward * y / r - around * x / r, up])
    velocity -= np.array(_SUN_VELOCITY)[:, None]
    lon, lat = np.radians(stars["glon"]), np.radians(stars["glat"])
    zero = np.zeros(n)
    along = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    east = np.array([-np.sin(lon), np.cos(lon), zero])
    north = np.array([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)])
    per_year = 4.740470463  # km/s of 1 mas/yr at 1 kpc
    sky = SkyCoord(
        l=stars["glon"] * units.deg,
        b=stars["glat"] * units.deg,
        pm_l_cosb=(velocity * east).sum(0) / (per_year * stars["distance"]) * units.mas / units.yr,
        pm_b=(velocity * north).sum(0) / (per_year * stars["distance"]) * units.mas / units.yr,
        frame="galactic",
    ).icrs
    stars["ra"], stars["dec"] = sky.ra.deg, sky.dec.deg
    stars["pmra"], stars["pmdec"] = sky.pm_ra_cosdec.value, sky.pm_dec.value
    stars["radial_velocity"] = (velocity * along).sum(0)


def _photometry(stars, rng):
    """Add true and measured magnitudes; the extinction law differs a little from star to star."""
    n = stars["mass"].size
    theta = 5040.0 / stars["teff"] - _THETA0
    modulus = 5.0 * np.log10(100.0 * stars["distance"])
    law = rng.normal(0.0, 0.02, n)
    for i, band in enumerate(BANDS):
        colour = np.polyval(_MINUS_K[band][::-1], theta) + _METALLICITY[band] * stars["fe_h"]
        per_a_v = _EXTINCTION[band] * (1.0 + law * (1.0 - i / 4.0)) + _BROAD.get(band, 0.0) * stars["a_v"]
        stars[f"true_{band}"] = (
            stars["absolute_K"] + colour + modulus + np.maximum(per_a_v, 0.3 * _EXTINCTION[band]) * (stars["a_v"])
        )
    for band in ("G", "BP", "RP"):
        true = stars[f"true_{band}"]
        floor = {"G": 0.0006, "BP": 0.003, "RP": 0.002}[band]
        error = np.hypot(floor, 0.004 * 10 ** (0.3 * (true - 17.0 - (band == "G")))) * np.exp(rng.normal(0.0, 0.2, n))
        flux = 10 ** (0.4 * (_GAIA_UNIT_MAGNITUDE[band] - true)) * (1.0 + error / 1.0857 * rng.normal(size=n))
        flux = np.maximum(flux, 1.0)
        stars[f"{band}_flux"], stars[f"{band}_flux_error"] = flux, flux * error / 1.0857
        stars[band], stars[f"{band}_error"] = _GAIA_UNIT_MAGNITUDE[band] - 2.5 * np.log10(flux), error
    for band, floor in (("J", 0.022), ("H", 0.025), ("K", 0.021), ("W1", 0.023), ("W2", 0.020)):
        error = np.round(np.hypot(floor, 0.012 * 10 ** (0.25 * (stars[f"true_{band}"] - 13.0))), 3)
        stars[band] = np.round(stars[f"true_{band}"] + 0.8 * error * rng.normal(size=n), 3)
        stars[f"{band}_error"] = error
    # A few are blended or saturated: they fail the colour cuts.
    odd = rng.random(n)
    stars["W2"] = np.where(odd < 0.016, stars["W2"] + rng.uniform(0.3, 1.0, n), stars["W2"])
    stars["J"] = np.where(odd > 0.995, stars["J"] + rng.uniform(0.3, 1.0, n), stars["J"])
    ln_snr = np.log(220.0) - 0.33 * (stars["true_H"] - 10.0) + rng.normal(0.0, 0.4, n)
    stars["snr"] = np.clip(np.exp(ln_snr), 40.0, 900.0)


def _astrometry(stars, rng):
    """Gaia DR2's astrometry: parallaxes are too small by the zero point, errors grow with magnitude."""
    n = stars["mass"].size
    g = stars["true_G"]
    error = np.hypot(0.030, 0.046 * 10 ** (0.25 * (np.maximum(g, 12.0) - 15.0))) * np.exp(rng.normal(0.0, 0.33, n))
    stars["parallax_error"] = error
    stars["parallax"] = stars["true_parallax"] - ZERO_POINT + error * rng.normal(size=n)
    for name in ("pmra", "pmdec"):
        stars[name] = stars[name] + 1.7 * error * rng.normal(size=n)
    stars["visibility_periods_used"] = np.clip(rng.normal(11.6, 2.9, n), 5, 22).astype(np.int16)
    good = np.clip(rng.normal(210.0, 70.0, n), 60, 700).astype(np.int32)
    crowding = np.exp(rng.normal(0.5, 0.5, n) + 1.0 * np.exp(-0.5 * (stars["glat"] / 4.0) ** 2) * rng.random(n))
    stars["astrometric_n_good_obs_al"] = good
    stars["astrometric_chi2_al"] = (crowding * np.sqrt(good - 5.0) * rng.gamma(9.0, 1.0, n)).astype(np.float32)
    stars["ruwe"] = np.sqrt(crowding / np.median(crowding))
    stars["phot_variable_flag"] = np.where(rng.random(n) < 0.006, "VARIABLE", "NOT_AVAILABLE")
    stars["nu_eff"] = 1.85 - 0.22 * (stars["BP"] - stars["RP"])
    stars["params_solved"] = np.where(rng.random(n) < 0.75, 31, 95).astype(np.int16)
