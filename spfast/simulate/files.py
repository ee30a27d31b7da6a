"""Writing allStar, apStar, aspcapStar and Gaia tables in the formats of the releases."""

import numpy as np
from astropy.io import fits
from astropy.table import Table

from spfast.data.gaia_release import RELEASE_CARD
from spfast.model.apogee import GRID_LOG10_START, GRID_LOG10_STEP, N_GRID
from spfast.simulate.spectra import BAD_ERROR, DETECTORS

__all__ = [
    "RELEASES",
    "SDSS5",
    "STARVER",
    "WITH_DR3",
    "allstar_table",
    "apstar_flux",
    "gaia_table",
    "spectrum_path",
    "write_allstar",
    "write_ap_star",
    "write_aspcap_star",
]

#: SDSS-V's releases: versions of astra and of the APOGEE pipeline. The pipeline's files end in a star's last MJD.
SDSS5 = {"dr19": ("0.6.0", "1.3"), "dr20": ("0.8.1", "1.5")}
STARVER = "59830"
#: Folders and file names below the science archive's root, by release and kind of file, the usual kind first.
RELEASES = {
    "dr14": {
        "aspcapStar": "apogee/spectro/redux/r8/stars/l31c/l31c.2/{place}/aspcapStar-r8-l31c.2-{id}.fits",
        "apStar": "apogee/spectro/redux/r8/stars/{telescope}/{place}/{prefix}-r8-{id}.fits",
    },
    "dr16": {
        "aspcapStar": "apogee/spectro/aspcap/r12/l33/{telescope}/{field}/aspcapStar-r12-{id}.fits",
        "apStar": "apogee/spectro/redux/r12/stars/{telescope}/{field}/{prefix}-r12-{id}.fits",
    },
    "dr17": {
        "aspcapStar": "apogee/spectro/aspcap/dr17/synspec_rev1/{telescope}/{field}/aspcapStar-dr17-{id}.fits",
        "apStar": "apogee/spectro/redux/dr17/stars/{telescope}/{field}/{prefix}-dr17-{id}.fits",
    },
    **{
        release: {
            "mwmStar": f"spectro/astra/{astra}/spectra/star/{{groups}}/mwmStar-{astra}-{{sdss_id}}.fits",
            "apStar": f"spectro/apogee/redux/{apred}/stars/{{telescope}}/{{group}}/{{healpix}}/"
            f"apStar-{apred}-{{telescope}}-{{id}}-{STARVER}.fits",
        }
        for release, (astra, apred) in SDSS5.items()
    },
}
#: Releases whose stars are matched with Gaia DR3.
WITH_DR3 = ("dr17", *SDSS5)
#: What APOGEE writes for a missing number.
MISSING = -9999.0
_HEADER = {"CRVAL1": GRID_LOG10_START, "CDELT1": GRID_LOG10_STEP, "CRPIX1": 1, "CTYPE1": "LOG-LINEAR"}
_TEXT_WIDTHS = {"APOGEE_ID": 18, "FILE": 64, "TELESCOPE": 8, "FIELD": 24}
#: BAD_PIXEL, which earlier pipelines set off the detectors.
_UNCOVERED = 1


def spectrum_path(release, kind, star):
    """Return a star's file below the archive's root.

    Parameters
    ----------
    release : str
        Key of `RELEASES`.
    kind : str
        Of those that the release has.
    star : dict
        ``APOGEE_ID``, ``TELESCOPE``, ``FIELD``, ``LOCATION_ID``, ``healpix``; for mwmStar ``sdss_id``.

    Returns
    -------
    str
    """
    south, sdss_id = star["TELESCOPE"] == "lco25m", star.get("sdss_id", 0)
    return RELEASES[release][kind].format(
        id=star["APOGEE_ID"],
        telescope=star["TELESCOPE"],
        field=star["FIELD"],
        place=star["FIELD"] if star["LOCATION_ID"] == 1 else star["LOCATION_ID"],
        prefix="asStar" if south else "apStar",
        group=star["healpix"] // 1000,
        healpix=star["healpix"],
        groups=f"{sdss_id // 100 % 100:02d}/{sdss_id % 100:02d}",
        sdss_id=sdss_id,
    )


def allstar_table(rows):
    """Return an allStar table from its columns, with the types of the releases through DR17."""
    table = Table()
    for name, values in rows.items():
        values = np.asarray(values)
        if values.dtype.kind == "U":
            width = _TEXT_WIDTHS.get(name, max(8, values.dtype.itemsize // 4))
            table[name] = values.astype(f"S{width}")
        elif values.dtype.kind == "f":
            table[name] = values if name in ("RA", "DEC", "GLON", "GLAT") else values.astype(np.float32)
        else:
            table[name] = values
    return table


def write_allstar(path, table):
    """Write an allStar file as the releases through DR17 have it."""
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(table)]).writeto(path)
    _pad_text(path)


def _pad_text(path):
    """Pad text columns with blanks, as the real tables are: astropy strips them from all that it is given."""
    with fits.open(path) as hdus:
        start, dtype, n_rows = hdus.fileinfo(-1)["datLoc"], hdus[-1].columns.dtype, hdus[-1].header["NAXIS2"]
    rows = np.memmap(path, dtype=dtype.newbyteorder(">"), mode="r+", offset=start, shape=(n_rows,))
    for name in (name for name in dtype.names if dtype[name].kind == "S"):
        rows[name] = np.char.ljust(rows[name], dtype[name].itemsize)
    rows.flush()


def write_aspcap_star(path, star, flux, error, model):
    """Write an aspcapStar file: normalised flux, error and best fit in one dimension, then a table of results.

    Parameters
    ----------
    path : Path
    star : dict
        The star's allStar row.
    flux, error, model : float32 array, shape (8575,)
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    primary = fits.PrimaryHDU()
    primary.header.update(
        {"OBJ": star["APOGEE_ID"], "TELESCOP": star["TELESCOPE"], "SNR": round(float(star["SNR"]), 3)}
    )
    hdus = [primary]
    for data, unit in ((flux, "Normalized flux"), (error, "Normalized flux error"), (model, "Best fit")):
        hdus.append(fits.ImageHDU(data.astype(np.float32), fits.Header({**_HEADER, "BUNIT": unit})))
    results = Table(
        {
            "APOGEE_ID": [star["APOGEE_ID"].encode()],
            "FPARAM": [[star["TEFF"], star["LOGG"], 0.3, star["FE_H"], 0.0, 0.0, star["ALPHA_M"]]],
            "ASPCAPFLAG": [star["ASPCAPFLAG"]],
        }
    )
    hdus.append(fits.BinTableHDU(results))
    fits.HDUList(hdus).writeto(path)


def write_ap_star(path, release, star, flux, error, mask, rng):
    """Write an apStar file, which is not normalised: combined spectra in rows 0 and 1, then the visits.

    The slope of the star, the response of the detectors and the units are put in here. DR17 has NaN off the
    detectors, 64-bit images and two rows for one visit; earlier releases have zeros and `BAD_ERROR`, 32-bit images,
    and one dimension for one visit.

    Parameters
    ----------
    path : Path
    release : str
    star : dict
        The star's allStar row.
    flux, error : float32 array, shape (8575,)
        Normalised.
    mask : int32 array, shape (8575,)
    rng : numpy Generator
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = release not in ("dr14", "dr16")
    kind, whole = (np.float64, np.int64) if new else (np.float32, np.int16)
    n_visits = int(star["NVISITS"])
    good = error < BAD_ERROR
    flux, error, mask, _ = apstar_flux(star, flux, error, mask, rng, new)
    # The second combination weights the visits in another way. With one visit there is none, and DR17 has zeros.
    if n_visits == 1:
        nothing = np.zeros(N_GRID)
        rows, errors, masks = [flux, nothing], [error, nothing], [mask, nothing]
    else:
        rows, errors, masks = [flux, flux * (1.0 + 2e-3)], [error, error], [mask, mask]
        for _ in range(n_visits):
            visit = error * np.sqrt(n_visits)
            rows.append(flux + np.where(good, visit, 0.0) * rng.standard_normal(N_GRID))
            errors.append(visit)
            masks.append(mask)
    n_rows = 1 if n_visits == 1 and not new else len(rows)
    sky = np.abs(rng.normal(8.0, 2.0, N_GRID))
    layers = [
        (rows, kind, "Flux (10^-17 erg/s/cm^2/Ang)"),
        (errors, kind, "Err (10^-17 erg/s/cm^2/Ang)"),
        (masks, whole, "Pixel bitmask"),
        ([sky], kind, "Sky (10^-17 erg/s/cm^2/Ang)"),
        ([0.1 * sky], kind, "Sky error (10^-17 erg/s/cm^2/Ang)"),
        ([np.ones(N_GRID)], kind, "Telluric"),
        ([np.full(N_GRID, 0.01)], kind, "Telluric error"),
    ]
    hdus = [fits.PrimaryHDU(header=_ap_star_header(star))]
    for layer, dtype, unit in layers:
        data = np.array(layer[:n_rows] if len(layer) > 1 else layer * n_rows, dtype=dtype)
        hdus.append(fits.ImageHDU(data[0] if n_rows == 1 else data, fits.Header({**_HEADER, "BUNIT": unit})))
    hdus.append(fits.ImageHDU())
    # Radial velocities of the visits; DR17 adds that of the combination.
    for n_velocities in (n_visits, 1)[: 2 if new else 1]:
        hdus.append(fits.BinTableHDU(Table({"vhelio": np.full(n_velocities, star["VHELIO_AVG"], np.float64)})))
    fits.HDUList(hdus).writeto(path)


def apstar_flux(star, flux, error, mask, rng, new):
    """Return flux, error and mask as apStar has them, and the continuum in its unit (arrays, shape (8575,)).

    Parameters
    ----------
    star : dict
        ``H``.
    flux, error, mask : array, shape (8575,)
        Normalised.
    rng : numpy Generator
    new : bool
        NaN where the detectors end, as since DR17, or else zeros and `BAD_ERROR`.
    """
    continuum = _continuum(star, rng)
    covered = (error < BAD_ERROR) | (mask != 0)
    empty = np.nan if new else 0.0
    flux = np.where(covered, flux * continuum, empty)
    error = np.where(covered, error * continuum, np.nan if new else BAD_ERROR)
    return flux, error, np.where(covered, mask, 0 if new else _UNCOVERED), continuum


def _continuum(star, rng):
    """Return the star's slope times the detectors' response, in 1e-17 erg/s/cm^2/A; about 1,100 at H = 10."""
    pixel = np.arange(N_GRID) / N_GRID
    level = 1300.0 * 10 ** (-0.4 * (np.clip(star["H"], 5.0, 16.0) - 10.0)) * np.exp(rng.normal(0.0, 0.1))
    shape = 1.0 - (0.30 + 0.05 * rng.normal()) * pixel
    for first, last in DETECTORS:
        u = np.linspace(-1.0, 1.0, last + 1 - first)
        shape[first : last + 1] *= 1.0 + 0.02 * rng.normal() * u + 0.02 * rng.normal() * u**2
    return level * shape


def _ap_star_header(star):
    header = fits.Header({**_HEADER, "DC-FLAG": 1, "NWAVE": N_GRID})
    names = (
        "FIELD",
        "SNR",
        "RA",
        "DEC",
        "GLON",
        "GLAT",
        "J",
        "J_ERR",
        "H",
        "H_ERR",
        "K",
        "K_ERR",
        "NVISITS",
        "STARFLAG",
    )
    header["OBJID"] = star["APOGEE_ID"]
    for name in names:
        value = star[name]
        header[name] = value if isinstance(value, str) else value.item()
    header["VHELIO"] = float(star["VHELIO_AVG"])
    return header


def gaia_table(stars, release, gaia_release):
    """Return what Gaia's archive gives for a join with 2MASS and WISE, one row for each star."""
    table = Table()
    table["original_ext_source_id"] = np.char.replace(stars["APOGEE_ID"], "2M", "")
    table["source_id"] = stars["source_id"]
    columns = {
        "ra": ("ra", "deg"),
        "dec": ("dec", "deg"),
        "parallax": ("parallax", "mas"),
        "parallax_error": ("parallax_error", "mas"),
        "pmra": ("pmra", "mas / yr"),
        "pmdec": ("pmdec", "mas / yr"),
        "visibility_periods_used": ("visibility_periods_used", None),
        "astrometric_chi2_al": ("astrometric_chi2_al", None),
        "astrometric_n_good_obs_al": ("astrometric_n_good_obs_al", None),
        "phot_variable_flag": ("phot_variable_flag", None),
        "random_index": ("random_index", None),
    }
    for band in ("G", "BP", "RP"):
        name = f"phot_{band.lower()}_mean"
        columns[f"{name}_mag"] = (band, "mag")
        columns[f"{name}_flux"] = (f"{band}_flux", None)
        columns[f"{name}_flux_error"] = (f"{band}_flux_error", None)
    columns |= {
        "w1mpro": ("W1", "mag"),
        "w1mpro_error": ("W1_error", "mag"),
        "w2mpro": ("W2", "mag"),
        "w2mpro_error": ("W2_error", "mag"),
        "angular_distance": ("angular_distance", "arcsec"),
    }
    if release in WITH_DR3:
        columns |= {
            "nu_eff_used_in_astrometry": ("nu_eff", "1 / um"),
            "pseudocolour": ("pseudocolour", "1 / um"),
            "ecl_lat": ("ecl_lat", "deg"),
            "astrometric_params_solved": ("params_solved", None),
            "ruwe": ("ruwe", None),
        }
    for band in ("W1", "W2") if "W1_flux" in stars else ():
        columns[f"{band.lower()}_flux"] = (f"{band}_flux", None)  # [Vega nanomaggies], as unWISE has it
        columns[f"{band.lower()}_dflux"] = (f"{band}_flux_error", None)
    for name, (source, unit) in columns.items():
        table[name] = stars[source]
        table[name].unit = unit
    table.meta[RELEASE_CARD] = gaia_release  # DR3's columns do not tell: a mock's zero point is what counts
    return table
