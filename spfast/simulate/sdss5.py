"""Mock downloads of SDSS-V, DR19 and DR20: astra's summary and mwmStar files, the pipeline's allStar and apStar files.

Names, columns and values for "missing" follow the programs that write the real ones (sdss/astra, products/mwm.py and
products/utils.py; sdss/apogee_drp, apred/rv.py).
"""

import gzip
from functools import lru_cache
from io import BytesIO

import numpy as np
from astropy.io import fits
from astropy.table import Table

from spfast.model.apogee import GRID_LOG10_START, GRID_LOG10_STEP, N_GRID
from spfast.simulate.files import SDSS5, STARVER, apstar_flux, gaia_table

__all__ = ["draw_spectra", "write_mwm_star", "write_sdss5_tables"]

#: What the summary files of a release end in.
_SUFFIXES = {"dr19": ".fits.gz", "dr20": ".fits"}
#: Releases of single spectra, the newest last.
_OLD, _NEW = "dr17", "sdss5"
#: Share of the stars whose only spectrum is of DR17; that have one of DR17 besides; that the other telescope saw too.
_ONLY_OLD, _OLD_TOO, _OTHER_TOO = 0.4, 0.1, 0.04
#: Share of the stars that Gaia's side table and the AllWISE table lack.
_NO_SIDE = 0.01
_FITS_BLOCK = 2880
_WHEN = "2026-01-01T00:00:00"
#: BOSS's pixels and its grid.
_BOSS = (4648, 3.5523, 1e-4)
_COMMENTS = (
    "HDU 0: Summary information only",
    "HDU 1: BOSS spectra",
    "HDU 2: APOGEE spectra",
)  # as in the files, whose HDUs are others
_PIXEL_COLUMNS = ("wavelength", "flux", "ivar", "pixel_flags", "continuum", "nmf_rectified_model_flux")
#: Cards of a source in HDU 0 of a spectrum file: names are cut to eight characters.
_SOURCE_CARDS = (
    *("sdss_id", "ra", "dec", "plx", "e_plx", "pmra", "pmde", "g_mag", "bp_mag", "rp_mag"),
    *("j_mag", "e_j_mag", "h_mag", "e_h_mag", "k_mag", "e_k_mag", "w1_mag", "e_w1_mag", "w2_mag", "e_w2_mag"),
)


def draw_spectra(stars, rows, kind, rng):
    """Say which combined spectra the stars have (dict of arrays, one value a row of the summary).

    Parameters
    ----------
    stars : dict of arrays
    rows : dict of arrays
        allStar's columns, one value a star.
    kind : str
        ``"mwmStar"`` or ``"apStar"``, of which DR17's are in another release's tree.
    rng : numpy Generator

    Returns
    -------
    dict of arrays
        ``star`` (its number), ``telescope``, ``release``, ``snr``, ``in_file``: an mwmStar file has only the newest.
    """
    n = stars["ra"].size
    south = rows["TELESCOPE"] == "lco25m"
    old = (rng.random(n) < _ONLY_OLD) & (kind == "mwmStar")
    old_too = np.flatnonzero(~old & (rng.random(n) < _OLD_TOO) & (kind == "mwmStar"))
    other_too = np.flatnonzero(rng.random(n) < _OTHER_TOO)
    members = np.concatenate([np.arange(n), old_too, other_too])
    telescope = np.where(south, "lco25m", "apo25m")
    other = np.where(south, "apo25m", "lco25m")
    factor = np.concatenate([np.ones(n), rng.uniform(0.7, 1.5, old_too.size), rng.uniform(0.4, 1.2, other_too.size)])
    release = np.where(old, _OLD, _NEW)
    return {
        "star": members,
        "telescope": np.concatenate([telescope, telescope[old_too], other[other_too]]),
        "release": np.concatenate([release, np.full(old_too.size, _OLD), np.full(other_too.size, _NEW)]),
        "snr": rows["SNR"][members] * factor,
        "in_file": np.concatenate([np.ones(n, bool), np.zeros(old_too.size, bool), np.ones(other_too.size, bool)]),
    }


def write_mwm_star(path, release, source, spectra, rng):
    """Write an mwmStar file: a header and four tables, of BOSS and APOGEE at either observatory, empty or of one row.

    Parameters
    ----------
    path : Path
    release : str
        "dr19" or "dr20".
    source : dict
        The star's row of the summary.
    spectra : dict of str to (dict, flux, error, mask)
        By observatory, ``"APO"`` or ``"LCO"``: the spectrum's row of the summary and its normalised pixels.
    rng : numpy Generator
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    version, _ = SDSS5[release]
    primary = fits.PrimaryHDU()
    primary.header["V_ASTRA"], primary.header["CREATED"] = version, _WHEN
    for name in _SOURCE_CARDS:
        value = source[name].item() if isinstance(source[name], np.generic) else source[name]
        primary.header[name[:8].upper()] = "NaN" if isinstance(value, float) and not np.isfinite(value) else value
    for comment in _COMMENTS:
        primary.header["COMMENT"] = comment
    content = [primary.header.tostring().encode("ascii")]
    for instrument in ("BOSS", "APOGEE"):
        for observatory in ("APO", "LCO"):
            spectrum = spectra.get(observatory) if instrument == "APOGEE" else None
            row = None if spectrum is None else _table_row(version, *spectrum, rng)
            content.append(_table_header(version, instrument, observatory, None if row is None else row.dtype))
            content.append(b"" if row is None else row.tobytes() + bytes(-row.nbytes % _FITS_BLOCK))
    path.write_bytes(b"".join(content))


def _spectrum_columns(version):
    """Columns of one combined spectrum, by FITS type; those of pixels are P here."""
    new = () if version == "0.6.0" else (("catalogid", "K"), ("starver", "A"))
    return (
        *(("spectrum_pk", "K"), ("release", "A"), ("filetype", "A"), ("v_astra", "A"), ("healpix", "J")),
        *(("sdss_id", "K"), ("apred", "A"), ("obj", "A"), ("telescope", "A"), *new, ("min_mjd", "J"), ("max_mjd", "J")),
        *(("n_entries", "J"), ("n_visits", "J"), ("n_good_visits", "J"), ("n_good_rvs", "J"), ("snr", "E")),
        *(("mean_fiber", "E"), ("std_fiber", "E"), ("spectrum_flags", "K"), ("v_rad", "E"), ("e_v_rad", "E")),
        *(("std_v_rad", "E"), ("doppler_teff", "E"), ("doppler_logg", "E"), ("doppler_fe_h", "E")),
        *(("doppler_flags", "K"), ("xcorr_v_rad", "E"), ("ccfwhm", "E"), ("n_components", "J")),
        *((name, "P") for name in _PIXEL_COLUMNS),
        *(("nmf_rchi2", "E"), ("nmf_flags", "J")),
    )


@lru_cache(64)
def _table_header(version, instrument, observatory, dtype):
    """The header of a table of one row, whose type is given, or of none (bytes); astropy takes its time for each."""
    columns = []
    for name, kind in _spectrum_columns(version):
        if kind == "P":
            n_pixels = 0 if dtype is None else N_GRID
            columns.append(fits.Column(name=name, format=f"{n_pixels}E", dim=f"({n_pixels})"))
        else:
            width = 1 if dtype is None else dtype[name].itemsize
            columns.append(fits.Column(name=name, format=f"{width}A" if kind == "A" else kind))
    n_pixels, start, step = _BOSS if instrument == "BOSS" else (N_GRID, GRID_LOG10_START, GRID_LOG10_STEP)
    header = fits.Header(
        {
            **{"EXTNAME": f"{instrument}/{observatory}", "OBSRVTRY": observatory, "INSTRMNT": instrument},
            **{"V_ASTRA": version, "CREATED": _WHEN, "CRVAL": start, "CDELT": step, "CTYPE": "LOG-LINEAR"},
            **{"CUNIT": "Angstrom (Vacuum)", "CRPIX": 1, "DC-FLAG": 1, "NPIXELS": n_pixels},
        }
    )
    hdu = fits.BinTableHDU.from_columns(columns, header=header, nrows=int(dtype is not None))
    hdu.header.comments["TTYPE1"] = "Unique spectrum primary key"
    if dtype is None:
        hdu.add_checksum(when=_WHEN)
    return hdu.header.tostring().encode("ascii")


def _table_row(version, row, flux, error, mask, rng):
    """One combined spectrum as the row of its table (structured array, shape (1,))."""
    flux, error, mask, continuum = apstar_flux({"H": row["h_mag"]}, flux, error, mask, rng, new=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Where the detectors end, apStar has NaN; of a bad pixel it has the error 1e10.
        ivar = np.where(np.isfinite(error), error**-2.0, 0.0)
    wavelength = 10 ** (GRID_LOG10_START + GRID_LOG10_STEP * np.arange(N_GRID))
    model = np.where(np.isfinite(flux), continuum, np.nan)
    pixels = dict(zip(_PIXEL_COLUMNS, (wavelength, flux, ivar, mask, model, flux / continuum), strict=True))
    values, kinds = [], []
    for name, kind in _spectrum_columns(version):
        if kind == "P":
            values.append(pixels[name])
            kinds.append((name, ">f4", (N_GRID,)))
        elif kind == "A":
            values.append(str(row.get(name, "")).encode("ascii"))
            kinds.append((name, f"S{max(len(values[-1]), 1)}"))
        else:
            values.append(row.get(name, np.nan if kind == "E" else -1))
            kinds.append((name, {"E": ">f4", "J": ">i4", "K": ">i8"}[kind]))
    return np.array([tuple(values)], dtype=kinds)


def write_sdss5_tables(root, stars, allwise, rows, spectra, sdss_id, release, files, rng):
    """Write the summary, the pipeline's allStar of each telescope, Gaia's side table and one of AllWISE.

    Parameters
    ----------
    root : Path
    stars : dict of arrays
        One value a star, with unWISE's W1 and W2.
    allwise : dict of arrays
        ``W1``, ``W1_error``, ``W2``, ``W2_error`` of the same stars.
    rows : dict of arrays
        allStar's columns, one value a star.
    spectra : dict of arrays
        From `draw_spectra`.
    sdss_id : int64 array, shape (n_stars,)
    release : str
    files : list of str
        apStar's name of each spectrum.
    rng : numpy Generator

    Returns
    -------
    summary : dict of arrays
        Its columns, one value a row.
    """
    order = rng.permutation(len(spectra["star"]))
    version, apred = SDSS5[release]
    astra = root / "spectro/astra" / version / "summary"
    astra.mkdir(parents=True)
    summary = _summary_columns(stars, rows, spectra, sdss_id, release, rng)
    table = {name: values[order] for name, values in summary.items()}
    _write_summary(astra / f"astraAllStarASPCAP-{version}{_SUFFIXES[release]}", table, version)
    folder = root / "spectro/apogee/redux" / apred / "summary"
    folder.mkdir(parents=True)
    for telescope in np.unique(spectra["telescope"]):
        own = order[(spectra["telescope"][order] == telescope) & (spectra["release"][order] == _NEW)]
        if own.size:
            drp = _pipeline_table(stars, rows, summary, spectra["star"], np.array(files), apred, own)
            drp.write(folder / f"allStar-{apred}-{telescope}.fits")
    gaia = gaia_table(stars, release, "dr3")
    gaia.remove_columns([name for name in gaia.colnames if name.startswith(("w1", "w2", "original", "angular"))])
    wise = Table({"source_id": stars["source_id"]})
    for name, source in (("w1mpro", "W1"), ("w2mpro", "W2")):
        wise[name], wise[f"{name}_error"] = allwise[source], allwise[f"{source}_error"]
    for name, side in (("gaia", gaia), ("allwise", wise)):
        side[rng.permutation(len(side))[round(_NO_SIDE * len(side)) :]].write(root / f"{name}.fits")
    return summary


def _summary_columns(stars, rows, spectra, sdss_id, release, rng):
    """Return the columns of astraAllStarASPCAP's table of APOGEE (dict of arrays): source, spectrum, results."""
    star = spectra["star"]
    n, (version, apred) = star.size, SDSS5[release]
    healpix = rows["healpix"][star].astype(np.int32)
    some = {name: np.asarray(values)[star] for name, values in stars.items()}
    row = {name: np.asarray(values)[star] for name, values in rows.items()}
    unknown, none = np.full(n, np.nan, np.float32), np.full(n, -1, np.int32)
    big = np.full(n, -1, np.int64)
    # The names of DR17 belong to stars that DR17 has.
    named = np.isin(star, star[spectra["release"] == _OLD])
    no_plx, no_wise = (np.isin(star, np.flatnonzero(rng.random(len(sdss_id)) < share)) for share in (0.004, 0.01))

    def single(values, lacking=False):
        values = np.asarray(values, dtype=np.float32)
        return np.where((values <= -9999) | lacking, np.float32(np.nan), values)

    columns = {
        **({"created": np.full(n, ""), "modified": np.full(n, "")} if release == "dr20" else {}),
        "sdss_id": sdss_id[star],
        "sdss4_apogee_id": np.where(named, some["APOGEE_ID"], ""),
        **{"gaia_dr2_source_id": big, "gaia_dr3_source_id": some["source_id"], "tic_v8_id": big, "healpix": healpix},
        **{"lead": np.full(n, "gaia_dr3_source"), "version_id": none, "catalogid": big, "n_associated": none},
        **{"n_neighborhood": none, "sdss5_target_flags": np.zeros((n, 8), np.uint8)},
        **({"crossmatch_flags": np.zeros(n, np.int32)} if release == "dr20" else {}),
        **{"ra": single(some["ra"]), "dec": single(some["dec"]), "l": single(some["glon"]), "b": single(some["glat"])},
        **{"plx": single(some["parallax"], no_plx), "e_plx": single(some["parallax_error"], no_plx)},
        **{"pmra": single(some["pmra"], no_plx), "e_pmra": unknown, "pmde": single(some["pmdec"], no_plx)},
        **{"e_pmde": unknown, "gaia_v_rad": unknown, "gaia_e_v_rad": unknown},
        **{f"{band.lower()}_mag": single(some[band]) for band in ("G", "BP", "RP")},
    }
    for band in "JHK":
        name = f"{band.lower()}_mag"
        columns[name], columns[f"e_{name}"] = single(row[band]), single(row[f"{band}_ERR"])
    columns |= {"ph_qual": np.full(n, "AAA"), "bl_flg": np.full(n, "111"), "cc_flg": np.full(n, "000")}
    for band in ("W1", "W2"):
        name = band.lower()
        columns |= {f"{name}_flux": single(some[f"{band}_flux"], no_wise), f"{name}_frac": unknown}
        columns |= {f"{name}_dflux": single(some[f"{band}_flux_error"], no_wise)}
        columns |= {f"{name}_mag": single(some[band], no_wise), f"e_{name}_mag": single(some[f"{band}_error"], no_wise)}
        columns |= {f"{name}uflags": np.where(no_wise, -1, 0), f"{name}aflags": np.where(no_wise, -1, 0)}
    columns |= dict.fromkeys(("mag4_5", "d4_5m", "zgr_teff", "zgr_plx", "r_med_geo", "r_med_photogeo", "ebv"), unknown)
    old = spectra["release"] == _OLD
    columns |= {"spectrum_pk": np.arange(n, dtype=np.int64) + 10**8, "release": spectra["release"]}
    columns |= {"filetype": np.full(n, "apStar"), "apred": np.where(old, _OLD, apred)}
    columns |= {"apstar": np.full(n, "stars"), "obj": some["APOGEE_ID"], "telescope": spectra["telescope"]}
    columns |= {"field": np.where(old, row["FIELD"], ""), "prefix": np.full(n, "ap"), "n_visits": row["NVISITS"]}
    columns |= {"starver": np.full(n, STARVER)} if release == "dr20" else {}
    columns |= {"snr": single(spectra["snr"]), "spectrum_flags": row["STARFLAG"].astype(np.int64)}
    columns |= {"v_rad": single(row["VHELIO_AVG"]), "e_v_rad": unknown, "std_v_rad": unknown}
    for name, ours in (("teff", "TEFF"), ("logg", "LOGG"), ("m_h_atm", "M_H"), ("alpha_m_atm", "ALPHA_M")):
        columns |= {name: single(row[ours]), f"e_{name}": unknown, f"raw_{name}": single(row[ours])}
    columns |= {"fe_h": single(row["FE_H"]), "e_fe_h": unknown, "fe_h_flags": np.zeros(n, np.int32)}
    columns |= (
        {"c_1_h": unknown, "ti_2_h": unknown} if release == "dr19" else {"initial_teff": unknown, "pwd": np.full(n, "")}
    )
    bad = row["ASPCAPFLAG"] != 0
    # The mock's flagged stars: bit 23, v_micro, and bit 26, S/N.
    columns |= {"result_flags": np.where(bad, (1 << 23) | (1 << 26), 0), "flag_warn": bad, "flag_bad": bad}
    major, minor, patch = map(int, version.split("."))
    number = major * 10**6 + minor * 10**3 + patch
    return columns | {"v_astra": np.full(n, version) if release == "dr19" else np.full(n, number, np.int32)}


def _write_summary(path, columns, version):
    """Write a summary: a header, BOSS's table, which has no rows, and APOGEE's; they have no names."""
    hdus = [fits.PrimaryHDU(header=fits.Header({"V_ASTRA": version, "CREATED": _WHEN}))]
    for instrument, n_rows in (("BOSS", 0), ("APOGEE", None)):
        table = [_column(name, values[:n_rows]) for name, values in columns.items()]
        header = fits.Header({"INSTRMNT": instrument, "V_ASTRA": version, "CREATED": _WHEN})
        hdus.append(fits.BinTableHDU.from_columns(table, header=header))
        hdus[-1].add_checksum(when=_WHEN)
    content = BytesIO()
    fits.HDUList(hdus).writeto(content)
    content = content.getvalue()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def _column(name, values):
    kinds = {"f4": "E", "i4": "J", "i8": "K", "b1": "L", "u1": "B"}
    if values.dtype.kind == "U":
        return fits.Column(name=name, format=f"{max(values.dtype.itemsize // 4, 1)}A", array=values.astype("S"))
    kind = kinds[values.dtype.str[1:]]
    return fits.Column(name=name, format=kind if values.ndim == 1 else f"{values.shape[1]}{kind}", array=values)


def _pipeline_table(stars, rows, summary, star, files, apred, own):
    """Return the pipeline's allStar of one telescope: Doppler's labels, and Gaia's photometry with errors."""
    at, n = star[own], own.size
    table = Table({"apogee_id": summary["obj"][own], "file": files[own]})
    table["uri"] = [f"apogee/spectro/redux/{apred}/stars/{name}" for name in files[own]]
    table["starver"], table["telescope"] = np.full(n, STARVER), summary["telescope"][own]
    table["apred_vers"], table["healpix"] = np.full(n, apred), summary["healpix"][own]
    table["snr"] = summary["snr"][own]
    for name, source in (("ra", "ra"), ("dec", "dec"), ("glon", "glon"), ("glat", "glat")):
        table[name] = np.asarray(stars[source])[at]
    for band in "JHK":
        name = band.lower()
        table[f"{name}mag"], table[f"{name}err"] = (summary[f"{e}{name}_mag"][own] for e in ("", "e_"))
    table["sdss_id"], table["gaia_release"] = summary["sdss_id"][own], np.full(n, "dr3")
    table["gaia_sourceid"] = np.asarray(stars["source_id"])[at]
    for name, source in (("plx", "parallax"), ("plx_error", "parallax_error"), ("pmra", "pmra"), ("pmdec", "pmdec")):
        table[f"gaia_{name}"] = np.asarray(stars[source])[at]
    for band in ("G", "BP", "RP"):
        name, flux = f"gaia_{band.lower()}", np.asarray(stars[f"{band}_flux"])[at]
        table[f"{name}mag"] = np.asarray(stars[band], np.float32)[at]
        table[f"{name}err"] = (1.0857 * np.asarray(stars[f"{band}_flux_error"])[at] / flux).astype(np.float32)
    table["nvisits"], table["starflag"] = rows["NVISITS"][at], rows["STARFLAG"][at]
    table["vrad"] = np.asarray(rows["VHELIO_AVG"], np.float32)[at]
    for name, ours in (("rv_teff", "TEFF"), ("rv_logg", "LOGG"), ("rv_feh", "FE_H")):
        table[name] = np.asarray(rows[ours], np.float32)[at]
    return table
