"""A small download in the real file formats, written in a second: for tests of the readers and of ingest."""

import numpy as np
from astropy.io import fits
from astropy.table import Table

from spfast.model.apogee import grid_wavelength

#: Where each release keeps its spectra; ``prefix`` is apStar, or asStar for the southern telescope.
TREES = {
    ("dr14", "aspcapStar"): "apogee/spectro/redux/r8/stars/l31c/l31c.2/{location}/aspcapStar-r8-l31c.2-{id}.fits",
    ("dr14", "apStar"): "apogee/spectro/redux/r8/stars/apo25m/{location}/apStar-r8-{id}.fits",
    ("dr16", "aspcapStar"): "apogee/spectro/aspcap/r12/l33/{telescope}/{field}/aspcapStar-r12-{id}.fits",
    ("dr16", "apStar"): "apogee/spectro/redux/r12/stars/{telescope}/{field}/{prefix}-r12-{id}.fits",
    (
        "dr17",
        "aspcapStar",
    ): "dr17/apogee/spectro/aspcap/dr17/synspec_rev1/{telescope}/{field}/aspcapStar-dr17-{id}.fits",
    ("dr17", "apStar"): "dr17/apogee/spectro/redux/dr17/stars/{telescope}/{field}/{prefix}-dr17-{id}.fits",
    ("dr19", "apStar"): "spectro/apogee/redux/1.3/stars/{telescope}/67/67890/apStar-1.3-{telescope}-{id}.fits",
    ("flat", "aspcapStar"): "aspcapStar-dr17-{id}.fits",
    ("own", "apStar"): "mine/{id}.fits",
}


def spectra(n, seed=0, snr=200.0):
    """Return labels (n x 3: Teff, log g, [Fe/H]), normalised flux and error (n x 8575); labels shape the lines."""
    rng = np.random.default_rng(seed)
    labels = np.column_stack([rng.uniform(3700, 4900, n), rng.uniform(0.3, 2.1, n), rng.uniform(-1, 0.4, n)])
    standard = (labels - labels.mean(0)) / (labels.std(0) if n > 1 else 1.0)
    wavelength = grid_wavelength()
    depth = np.zeros((n, wavelength.size))
    lines = np.random.default_rng(7)
    for centre in lines.uniform(15120, 16980, 250):
        strength = 0.15 * lines.random() * np.exp(0.4 * standard @ lines.normal(size=3) / 2)
        depth += strength[:, None] * np.exp(-0.5 * ((wavelength - centre) / 0.5) ** 2)
    flux = np.exp(-depth)
    error = np.full_like(flux, 1.0 / snr)
    return labels, flux + error * rng.normal(size=flux.shape), error


def write_aspcap_star(path, flux, error):
    """Write an aspcapStar file: flux, error and best fit in one dimension, then a table; bad pixels have error 1e10."""
    gap = fits.BinTableHDU(Table({"PARAM": np.zeros(3)}))
    images = [_image(flux.astype("f4")), _image(error.astype("f4")), _image(flux.astype("f4"))]
    _write(path, [fits.PrimaryHDU(), *images, gap])


def write_ap_star(path, flux, error, mask=None, n_visits=3, kind="f8"):
    """Write an apStar file: combined spectra in rows 0 and 1, then the visits; one dimension if ``n_visits`` is 0."""
    mask = np.zeros(flux.size, "i4") if mask is None else mask
    rows = (np.tile(image, (n_visits + 2, 1)) if n_visits else image for image in (flux, error, mask))
    flux, error, mask = rows
    if n_visits:
        flux[1:] *= 1.01  # only row 0 is right
    _write(path, [fits.PrimaryHDU(), _image(flux.astype(kind)), _image(error.astype(kind)), _image(mask)])


def _image(data):
    header = fits.Header({"CRVAL1": 4.179, "CDELT1": 6e-6, "CRPIX1": 1, "CTYPE1": "LOG-LINEAR"})
    return fits.ImageHDU(data, header)


def _write(path, hdus):
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList(hdus).writeto(path, overwrite=True)


def star_ids(n):
    return np.array([f"2M{10000000 + 137 * i:08d}{'+-'[i % 2]}{2000000 + 91 * i:07d}" for i in range(n)])


def tables(labels, release="dr17", kind="aspcapStar"):
    """Return an allStar and a Gaia table for stars that pass all cuts."""
    n = len(labels)
    rng = np.random.default_rng(3)
    ids = star_ids(n)
    j = rng.uniform(8, 11, n)
    south = np.arange(n) % 3 == 2
    telescope = np.where(south, "lco25m", "apo25m")
    allstar = Table(
        {
            "APOGEE_ID": ids,
            "FILE": np.array(
                [tree_path(release, kind, i, t).split("/")[-1] for i, t in zip(ids, telescope, strict=True)]
            ),
            "TELESCOPE": telescope,
            "LOCATION_ID": np.full(n, 4321, "i2"),
            "FIELD": np.full(n, "M67"),
            "RA": rng.uniform(0, 360, n),
            "DEC": rng.uniform(-30, 60, n),
            "SNR": rng.uniform(80, 300, n).astype("f4"),
            "TEFF": labels[:, 0].astype("f4"),
            "LOGG": labels[:, 1].astype("f4"),
            "FE_H": labels[:, 2].astype("f4"),
            "STARFLAG": np.zeros(n, "i4"),
            "ASPCAPFLAG": np.full(n, 2**40, "i8") * 0,
            "NVISITS": np.full(n, 3, "i4"),
            **{band: (j - offset).astype("f4") for band, offset in (("J", 0), ("H", 0.7), ("K", 0.8))},
            **{f"{band}_ERR": np.full(n, 0.02, "f4") for band in "JHK"},
        }
    )
    gaia = Table(
        {
            "tmass_id": np.char.lstrip(ids, "2M"),
            "source_id": 10**18 + np.arange(n),
            "ra": allstar["RA"],
            "dec": allstar["DEC"],
            "parallax": rng.normal(0.4, 0.3, n),
            "parallax_error": rng.uniform(0.02, 0.12, n),
            **{f"phot_{band}_mean_mag": (j + o).astype("f4") for band, o in (("g", 2.0), ("bp", 2.8), ("rp", 1.2))},
            **{f"phot_{band}_mean_flux": np.full(n, 1000.0) for band in ("g", "bp", "rp")},
            **{f"phot_{band}_mean_flux_error": np.full(n, 2.0) for band in ("g", "bp", "rp")},
            "visibility_periods_used": rng.integers(7, 15, n),
            "astrometric_chi2_al": rng.uniform(100, 900, n),
            "astrometric_n_good_obs_al": rng.integers(100, 300, n),
            "phot_variable_flag": np.full(n, "NOT_AVAILABLE"),
            "random_index": rng.permutation(n),
            "w1mpro": (j - 0.9).astype("f4"),
            "w1mpro_error": np.full(n, 0.02),
            "w2mpro": (j - 0.85).astype("f4"),
            "w2mpro_error": np.full(n, 0.02),
        }
    )
    for name in ("parallax", "parallax_error"):
        gaia[name].unit = "mas"
    return allstar, gaia


def tree_path(release, kind, star, telescope="apo25m"):
    prefix = "asStar" if telescope == "lco25m" else "apStar"
    return TREES[release, kind].format(id=star, telescope=telescope, field="M67", location=4321, prefix=prefix)


def write_download(root, n=40, release="dr17", kind="aspcapStar", seed=0, **options):
    """Write a whole download; return paths of allStar, the folder of spectra and the Gaia table."""
    labels, flux, error = spectra(n, seed)
    allstar, gaia = tables(labels, release, kind)
    for i, (star, telescope) in enumerate(zip(allstar["APOGEE_ID"], allstar["TELESCOPE"], strict=True)):
        path = root / "spectra" / tree_path(release, kind, star, telescope)
        if kind == "aspcapStar":
            write_aspcap_star(path, flux[i], error[i])
        else:
            scale = 300.0 * (1 + 0.2 * np.linspace(-1, 1, flux.shape[1]))
            write_ap_star(path, flux[i] * scale, error[i] * scale, **options)
    allstar.write(root / "allStar.fits")
    gaia.write(root / "gaia.fits")
    return root / "allStar.fits", root / "spectra", root / "gaia.fits"
