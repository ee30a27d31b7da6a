"""Mock giants of the simulator's population, as LAMOST, GALAH and BOSS might see them."""

from types import SimpleNamespace

import numpy as np
from astropy.table import Table

from spfast.simulate.lines import SPECIES
from spfast.simulate.population import BANDS, draw_population

#: Wavelengths [Angstrom] and resolving power of each spectrograph.
SPECTROGRAPHS = {
    "lamost": (10 ** np.arange(np.log10(3900.0), np.log10(9000.0), 1e-4), 1800.0),
    "galah": (
        np.concatenate(
            [
                np.arange(*arm)
                for arm in ((4715, 4900, 0.09), (5650, 5870, 0.11), (6480, 6735, 0.13), (7695, 7885, 0.15))
            ]
        ),
        28000.0,
    ),
    "boss": (10 ** (3.5523 + 1e-4 * np.arange(4648)), 2000.0),
}


def giants(n_stars, seed=0):
    """Luminous giants, as many as asked for, and the table that a survey would have of them."""
    stars = draw_population(3 * n_stars + 50, np.random.default_rng(seed))
    chosen = np.flatnonzero(stars["logg"] <= 2.2)[:n_stars]
    stars = {name: values[chosen] for name, values in stars.items()}
    names = ("phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag", "j_m", "h_m", "ks_m", "w1mpro", "w2mpro")
    errors = ("phot_g_mean_mag_error", "phot_bp_mean_mag_error", "phot_rp_mean_mag_error")
    errors += ("j_msigcom", "h_msigcom", "ks_msigcom", "w1sigmpro", "w2sigmpro")
    table = Table({name: stars[band] for name, band in zip(names, BANDS, strict=True)})
    for name, band in zip(errors, BANDS, strict=True):
        table[name] = stars[f"{band}_error"]
    table.meta["GAIAREL"] = "dr2"  # the parallaxes are too small by its zero point
    number = np.arange(n_stars) + 100_000 * seed
    table["obsid"] = 101_000_000 + number
    table["gaia_source_id"] = (number + 1) * 7919 * 1_000_003
    for name in ("ra", "dec", "parallax", "parallax_error", "pmra", "pmdec", "teff", "logg", "visibility_periods_used"):
        table[name] = stars[name]
    for name in ("astrometric_chi2_al", "astrometric_n_good_obs_al", "phot_variable_flag"):
        table[name] = stars[name]
    table["feh"], table["snrg"] = stars["fe_h"], stars["snr"]
    return stars, table


def spectra(stars, wavelength, resolution, seed=1, n_lines=500):
    """Noise-free normalised spectra: lines of the simulator's species at random places of the grid."""
    rng = np.random.default_rng(99)
    theta = 5040.0 / stars["teff"] - 1.12
    out = np.zeros((len(theta), wavelength.size))
    for _, (_, by_theta, by_logg, by_abundance) in SPECIES.items():
        template = np.zeros(wavelength.size)
        for centre in rng.choice(wavelength, n_lines // len(SPECIES)):
            sigma = centre / resolution / 2.355
            near = slice(*np.searchsorted(wavelength, (centre - 5 * sigma, centre + 5 * sigma)))
            template[near] += 0.15 * rng.exponential() * np.exp(-0.5 * ((wavelength[near] - centre) / sigma) ** 2)
        # Strengths follow temperature, gravity and the star's own composition.
        composition = by_abundance * (stars["fe_h"] + 0.5 * rng.normal() * stars["c_n"])
        ln = by_theta * theta + by_logg * (stars["logg"] - 2.0) + 2.3 * composition
        out += np.exp(np.clip(ln, -4, 1.5))[:, None] * template
    return 1.0 / (1.0 + out)


def observed(kind, n_stars=400, seed=0, snr=80.0, every=1):
    """A survey's arrays: flux, error and ivar, bits of bad pixels, wavelengths, the table and the truth."""
    wavelength, resolution = SPECTROGRAPHS[kind]
    wavelength = wavelength[::every]
    stars, table = giants(n_stars, seed)
    rng = np.random.default_rng([seed, 5])
    clean = spectra(stars, wavelength, resolution / every)
    scale = np.ones((n_stars, 1))
    if kind != "galah":
        x = (wavelength - wavelength.mean()) / np.ptp(wavelength)
        slope, bend = rng.normal(0.8, 0.3, (n_stars, 1)), rng.normal(-0.3, 0.3, (n_stars, 1))
        scale = 300.0 * 10 ** rng.normal(0, 0.5, (n_stars, 1)) * (1.0 + slope * x + bend * x**2)
    error = scale / snr * rng.uniform(0.8, 1.3, (n_stars, 1)) * np.sqrt(clean)
    flux = scale * clean + error * rng.normal(size=clean.shape)
    bad = rng.random(flux.shape) < 0.01
    flux[bad] *= 3.0
    ivar = np.where(bad, 0.0, 1.0 / error**2)
    truth = Table({"APOGEE_ID": table["obsid"].astype(str), "true_parallax": stars["true_parallax"]})
    return SimpleNamespace(
        flux=flux.astype(np.float32),
        error=np.where(bad, np.nan, error).astype(np.float32),
        ivar=ivar.astype(np.float32),
        mask=np.where(bad, 4, 0).astype(np.int32),
        wavelength=wavelength,
        table=table,
        truth=truth,
        stars=stars,
    )
