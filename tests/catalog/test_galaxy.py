"""Places and velocities in the Galaxy."""

import numpy as np
from astropy.table import Table

from spfast.catalog.galaxy import galactocentric
from spfast.config import GalaxyConfig


def test_sun_is_where_the_configuration_puts_it():
    config = GalaxyConfig(sun_distance=8.0, sun_height=0.0)
    star = {"ra": [config.center_ra], "dec": [config.center_dec], "spec_parallax": [1.0], "pmra": [0.0], "pmdec": [0.0]}
    place = galactocentric(Table({**star, "VHELIO_AVG": [10.0]}), config)
    assert np.allclose([place["x"][0], place["y"][0], place["z"][0]], [-7.0, 0.0, 0.0], atol=1e-9)
    assert np.isclose(place["v_x"][0], 10.0 + config.sun_velocity_x)
    assert np.isclose(place["v_y"][0], config.sun_velocity_y)


def test_stars_without_velocity_have_no_place():
    star = {"ra": 10.0, "dec": 20.0, "spec_parallax": 0.3, "pmra": 1.0, "pmdec": -1.0, "VHELIO_AVG": 12.0}
    table = Table({name: [value] * 3 for name, value in star.items()})
    table["VHELIO_AVG"][0] = -9999.0
    table["pmra"][1] = np.nan
    assert np.isfinite(galactocentric(table)["x"]).tolist() == [False, False, True]
