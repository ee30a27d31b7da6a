"""Where the stars are in the Galaxy and how they move, in astropy's Galactocentric frame with the configured Sun."""

import numpy as np
from astropy import units
from astropy.coordinates import CartesianDifferential, Galactocentric, SkyCoord
from astropy.table import Table

from spfast.config import GalaxyConfig
from spfast.errors import BadInputError

__all__ = ["galactocentric", "galactocentric_frame", "map_cells"]

#: APOGEE writes values beyond this for "no velocity" [km/s].
_VELOCITY_MAX = 2000.0
#: Columns of `galactocentric` and their units.
_UNITS = {"x": "kpc", "y": "kpc", "z": "kpc", "v_x": "km/s", "v_y": "km/s", "v_z": "km/s"}


def galactocentric_frame(config: GalaxyConfig | None = None) -> Galactocentric:
    """Return astropy's Galactocentric frame with the Sun where the configuration puts it.

    Parameters
    ----------
    config : GalaxyConfig, optional

    Returns
    -------
    frame : astropy Galactocentric

    Examples
    --------
    >>> from spfast.catalog.galaxy import galactocentric_frame
    >>> galactocentric_frame().galcen_distance
    <Quantity 8.122 kpc>
    """
    config = GalaxyConfig() if config is None else config
    return Galactocentric(
        galcen_coord=SkyCoord(config.center_ra * units.deg, config.center_dec * units.deg, frame="icrs"),
        galcen_distance=config.sun_distance * units.kpc,
        z_sun=config.sun_height * units.kpc,
        galcen_v_sun=CartesianDifferential(
            [config.sun_velocity_x, config.sun_velocity_y, config.sun_velocity_z] * units.km / units.s
        ),
        roll=0.0 * units.deg,
    )


def galactocentric(table: Table, config: GalaxyConfig | None = None) -> Table:
    """Turn positions, distances, proper motions and radial velocities into Galactocentric x, y, z and their velocities.

    The distance is 1 / spec_parallax, the median of the distance where ln parallax is Gaussian. Its error smears
    positions and velocities along the line of sight.

    Parameters
    ----------
    table : astropy Table
        A catalog with its survey's columns: ``ra``, ``dec`` [deg], ``spec_parallax`` [mas], ``pmra``, ``pmdec``
        [mas/yr], ``VHELIO_AVG`` [km/s].
    config : GalaxyConfig, optional

    Returns
    -------
    phase_space : astropy Table
        ``x y z`` [kpc] (the Sun at negative x), ``v_x v_y v_z`` [km/s] (the Sun moves towards positive y), one row a
        star; NaN where something is missing.

    Raises
    ------
    BadInputError
        If a column is missing.
    """
    values = []
    for name in ("ra", "dec", "spec_parallax", "pmra", "pmdec", "VHELIO_AVG"):
        if name not in table.colnames:
            raise BadInputError(f"the map needs the column {name}; give the survey that the catalog was made from")
        values.append(np.ma.filled(np.ma.asarray(table[name]).astype(float), np.nan))
    ra, dec, parallax, pmra, pmdec, velocity = values
    good = np.all(np.isfinite(values), axis=0) & (parallax > 0) & (np.abs(velocity) < _VELOCITY_MAX)
    result = Table({name: np.full(len(table), np.nan) for name in _UNITS}, units=_UNITS)
    if good.any():
        per_year = units.mas / units.yr
        place = SkyCoord(
            ra=ra[good] * units.deg,
            dec=dec[good] * units.deg,
            distance=1.0 / parallax[good] * units.kpc,
            pm_ra_cosdec=pmra[good] * per_year,
            pm_dec=pmdec[good] * per_year,
            radial_velocity=velocity[good] * units.km / units.s,
        ).transform_to(galactocentric_frame(config))
        for name in _UNITS:
            result[name][good] = getattr(place, name).to_value(_UNITS[name])
    return result


def map_cells(table: Table, config: GalaxyConfig | None = None) -> Table:
    """Average the disc's stars in square cells of the Galactic plane (Hogg, Eilers & Rix 2019, Figure 6).

    A star counts if it is near the plane, \\|z\\| below ``map_height`` or below ``tan(map_angle)`` times its distance
    from the Galactic centre, does not leave it fast, \\|v_z\\| below ``map_v_z``, and is within ``map_reach`` of the
    Sun along x and y.

    Parameters
    ----------
    table : astropy Table
        As for `galactocentric`, with ``FE_H`` and ``ALPHA_M`` [dex] and the errors of ``spec_parallax``.
    config : GalaxyConfig, optional

    Returns
    -------
    cells : astropy Table
        One row a cell with enough stars: its centre ``x``, ``y`` [kpc], ``n``, mean ``v_x``, ``v_y`` [km/s], ``FE_H``
        and ``ALPHA_M`` [dex], and ``distance_error``, the median fractional error of the distance (the total
        one, where the catalog has it). ``meta`` holds the cell's size, the Sun's place and the number of stars used.

    Raises
    ------
    BadInputError
        If a column is missing or no cell has enough stars.
    """
    config = GalaxyConfig() if config is None else config
    place = galactocentric(table, config)
    x, y, z = (np.asarray(place[name]) for name in "xyz")
    height = np.maximum(config.map_height, np.tan(np.radians(config.map_angle)) * np.hypot(x, y))
    with np.errstate(invalid="ignore"):
        disc = np.maximum(np.abs(x + config.sun_distance), np.abs(y)) < config.map_reach
        disc &= (np.abs(z) < height) & (np.abs(np.asarray(place["v_z"])) < config.map_v_z)
    columns, rows = (np.floor(axis[disc] / config.map_cell).astype(np.int64) for axis in (x, y))
    (columns, rows), which, number = np.unique(
        np.stack([columns, rows]), axis=1, return_inverse=True, return_counts=True
    )
    enough = number >= config.map_cell_stars
    if not enough.any():
        raise BadInputError(
            f"the map: none of {number.size} cells of {config.map_cell:g} kpc has {config.map_cell_stars} stars; "
            f"{int(disc.sum())} of {len(table)} stars are in the disc"
        )
    which = which.ravel()
    order = np.argsort(which, kind="stable")
    bounds = np.cumsum(number)[:-1]

    def per_cell(values, average):
        return np.array([average(part) for part in np.split(values[disc][order], bounds)])[enough]

    total = "spec_parallax_err_total"
    error = np.asarray(table[total if total in table.colnames else "spec_parallax_err"])
    error = error / np.asarray(table["spec_parallax"])
    cells = Table(
        {
            "x": (columns[enough] + 0.5) * config.map_cell,
            "y": (rows[enough] + 0.5) * config.map_cell,
            "n": number[enough],
            "v_x": per_cell(np.asarray(place["v_x"]), np.mean),
            "v_y": per_cell(np.asarray(place["v_y"]), np.mean),
            "FE_H": per_cell(_label(table, "FE_H"), _mean),
            "ALPHA_M": per_cell(_label(table, "ALPHA_M"), _mean),
            "distance_error": per_cell(error, np.median),
        },
        units={"x": "kpc", "y": "kpc", "v_x": "km/s", "v_y": "km/s"},
    )
    cells.meta = {
        "cell": config.map_cell,
        "sun_x": -config.sun_distance,
        "n_used": int(disc.sum()),
        "n_all": len(table),
    }
    return cells


def _label(table, name):
    """A stellar label, NaN where the survey has none (-9999)."""
    values = np.asarray(table[name], dtype=float)
    return np.where(values < -10.0, np.nan, values)


def _mean(values):
    good = np.isfinite(values)
    return values[good].mean() if good.any() else np.nan
