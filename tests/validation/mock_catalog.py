"""A mock catalog whose errors, trend and truth are put in, and the one row of a table with given values."""

import numpy as np
from astropy.table import Table

from spfast.validation.read_catalog import TABLE_1

N = 20_000
SCATTER = 0.08


def mock(seed=1, scatter=SCATTER, slope=0.0, n=N):
    """A catalog with honest errors, its ln parallaxes off by ``slope`` a magnitude of G; its stars and its truth."""
    rng = np.random.default_rng(seed)
    names = [f"2M{i:08d}+{i:07d}" for i in range(n)]
    true = np.exp(rng.normal(-1.2, 0.7, n))
    g = 12.0 - 2.0 * np.log(true) + rng.normal(0.0, 1.0, n)
    gaia_error = rng.uniform(0.02, 0.1, n)
    ln_error = scatter * rng.uniform(0.5, 1.5, n)
    spec = true * np.exp(ln_error * rng.normal(size=n) + slope * (g - 14.0))
    values = [names, true + rng.normal(0.0, gaia_error), gaia_error, spec, ln_error * spec]
    catalog = Table([*values, (np.arange(n) % 2).astype(int), np.where(np.arange(n) % 3, "A", "B")], names=TABLE_1)
    stars = Table(
        {
            "APOGEE_ID": names,
            "phot_g_mean_mag": g,
            "phot_bp_mean_mag": g + 0.8,
            "phot_rp_mean_mag": g - 0.7 + rng.normal(0.0, 0.2, n),
            "H": g - 3.0,
            "w2mpro": g - 3.1 + rng.normal(0.0, 0.1, n),
            "TEFF": rng.normal(4300.0, 300.0, n),
            "LOGG": rng.uniform(0.0, 2.2, n),
            "FE_H": np.where(np.arange(n) % 50, rng.normal(-0.2, 0.3, n), -9999.0),
            "SNR": rng.uniform(50.0, 500.0, n),
            "glat": rng.uniform(-90.0, 90.0, n),
            "ra": rng.uniform(0.0, 360.0, n),
            "dec": rng.uniform(-90.0, 90.0, n),
        }
    )
    return catalog, stars, Table({"APOGEE_ID": names, "true_parallax": true})


def one(table, **values):
    keep = np.all([table[name] == value for name, value in values.items()], axis=0)
    assert keep.sum() == 1
    return table[keep][0]
