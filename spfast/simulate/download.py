"""`spfast simulate`: a mock download, with tables as untidy as real ones."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy.table import Table, vstack

from spfast.config import LINDEGREN
from spfast.errors import BadInputError
from spfast.files import new_folder
from spfast.lock import hold
from spfast.progress import Progress
from spfast.simulate import files
from spfast.simulate.sdss5 import draw_spectra, write_mwm_star, write_sdss5_tables
from spfast.simulate.spectrograph import Spectrograph
from spfast.simulate.stars import (
    ALLWISE,
    CHUNK,
    UNWISE,
    default_zero_point,
    draw_chunk,
    draw_cluster_stars,
    gaia_release_of,
    measured_labels,
    truth_table,
)

__all__ = ["simulate_download"]

#: Share of the stars with each fault of real tables.
_DUPLICATED, _NO_SPECTRUM, _NO_GAIA, _NO_PARALLAX = 0.03, 0.01, 0.01, 0.004
_TWO_SOURCES, _NO_WISE, _NO_LABELS, _NO_2MASS_ERROR, _FLAGGED = 0.02, 0.01, 0.02, 0.003, 0.02
#: STARFLAG and ASPCAPFLAG bits that a flagged star gets: persistence, low S/N, a warning and STAR_BAD.
_STARFLAG_BITS, _ASPCAPFLAG_BITS = (1 << 9, 1 << 18), (1 << 7, 1 << 23)


def simulate_download(
    out: str | os.PathLike,
    n_stars: int,
    seed: int = 0,
    release: str = "dr17",
    spectra: str | None = None,
    quiet: bool = False,
    wrong_parallaxes: float = 0.0,
    zero_point: tuple[float, float] | str | None = None,
    clusters: Sequence[str] = (),
    noise: str = "real",
    wise: str = ALLWISE,
) -> Path:
    """Write allStar, a tree of spectra, a Gaia table and the truth, in the formats of a release.

    The same seed gives the same bytes.

    Parameters
    ----------
    out : path-like
        Folder to make. It will hold ``allStar-<release>.fits``, the release's tree of spectra, ``gaia.fits`` and
        ``truth.fits``. Of SDSS-V's releases the summary and allStar tables are where the archive has them, and
        ``gaia.fits`` and ``allwise.fits`` go with them by source_id.
    n_stars : int
        Number of different stars; some of them have two rows in allStar.
    seed : int
    release : str
        ``"dr14"``, ``"dr16"``, ``"dr17"``, or SDSS-V's ``"dr19"`` and ``"dr20"``.
    spectra : str, optional
        ``"apStar"``, ``"aspcapStar"`` or ``"mwmStar"``, as far as the release has them; by default ``"aspcapStar"``,
        and mwmStar of SDSS-V.
    quiet : bool
    wrong_parallaxes : float
        Share of the stars whose parallax is wrong; ``truth.fits`` marks them.
    zero_point : tuple of two float [mas], [mas/mag], or "lindegren2021", optional
        What Gaia's parallaxes are too small by at G = 14, and by how much more for each magnitude of measured G; or
        by what they are in Gaia DR3, star by star (Lindegren et al. 2021), as the columns since dr17 have it. By
        default DR2's, and for SDSS-V DR3's.
    clusters : sequence of str
        Literature clusters whose members come first among the stars; ``truth.fits`` names the cluster of each.
    noise : str
        "real": lines, noise and faults as in the releases' files, and cluster members along their whole giant branch;
        "ideal": easier spectra with white noise of the size that the errors say.
    wise : str
        "allwise" or "unwise": whose W1 and W2. The table has them under AllWISE's names; unWISE's fluxes beside. Of
        SDSS-V's releases the summary has unWISE's and ``allwise.fits`` AllWISE's, whatever is asked.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    BadInputError
        If the folder exists and is not empty, if another process is writing it, or if the release has no such files.
    """
    out = Path(out)
    if release not in files.RELEASES:
        raise BadInputError(f"release {release!r}: expected one of {', '.join(files.RELEASES)}")
    spectra = next(iter(files.RELEASES[release])) if spectra is None else spectra
    if spectra not in files.RELEASES[release]:
        raise BadInputError(f"spectra {spectra!r}: {release} has {', '.join(files.RELEASES[release])}")
    if zero_point == LINDEGREN and release not in files.WITH_DR3:
        raise BadInputError(f"zero point {LINDEGREN}: expected a release with Gaia DR3, {' or '.join(files.WITH_DR3)}")
    if n_stars < 1:
        raise BadInputError(f"stars is {n_stars}, expected at least 1")
    zero_point = default_zero_point("dr3" if release in files.SDSS5 else "dr2") if zero_point is None else zero_point
    spectrograph = Spectrograph(noise)
    gaia = {"zero_point": zero_point, "wise": wise}
    with hold(out):
        _check_empty(out)
        with new_folder(out) as partial:
            draw = n_stars, seed, wrong_parallaxes, clusters, noise != "ideal"
            if release in files.SDSS5:
                both = [_draw(*draw, gaia | {"wise": wise}) for wise in (UNWISE, ALLWISE)]
                _write_sdss5(partial, *both, seed, release, spectra, quiet, spectrograph)
            else:
                stars, of_gaia = _draw(*draw, gaia), gaia_release_of(zero_point)
                _write(partial, stars, seed, release, spectra, quiet, spectrograph, of_gaia)
    return out


def _check_empty(out):
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInputError(f"{out}: exists and is not empty; remove it or choose another output")


def _draw(n_stars, seed, wrong_parallaxes, clusters, whole_branch, gaia):
    """Draw cluster members, then chunks of stars of the field."""
    chunks = [draw_cluster_stars(clusters, seed, whole_branch=whole_branch, **gaia)] if clusters else []
    chunks += [draw_chunk(seed, chunk, wrong_parallaxes, **gaia) for chunk in range(-(-n_stars // CHUNK))]
    return {name: np.concatenate([chunk[name] for chunk in chunks])[:n_stars] for name in chunks[0]}


def _write(root, stars, seed, release, kind, quiet, spectrograph, gaia_release):
    n_stars = stars["ra"].size
    rng = np.random.default_rng([seed, 6])
    rows = _rows(stars, rng, release)
    observations = [(np.arange(n_stars), rows, 1), _observed_again(rows, rng)]
    without, cut_short = _faults(stars, rng)
    with Progress("write mock spectra", sum(len(members) for members, _, _ in observations), quiet) as progress:
        for members, rows, stream in observations:
            paths = _paths(rows, release, kind)
            # allStar names the combined spectrum, whichever kind of file one downloads.
            rows["FILE"] = np.array([os.path.basename(path) for path in _paths(rows, release, "apStar")], dtype="U64")
            for first in range(0, len(members), CHUNK):
                noise = np.random.default_rng([seed, stream, first // CHUNK])
                batch = members[first : first + CHUNK]
                part = {name: values[batch] for name, values in stars.items()}
                part["snr"] = rows["SNR"][first : first + CHUNK]
                part["telescope"] = rows["TELESCOPE"][first : first + CHUNK]
                flux, error, mask, model = spectrograph.observe(part, noise, kind)
                for i, n in enumerate(batch):
                    if not without[n]:
                        row = {name: values[first + i] for name, values in rows.items()}
                        path = root / paths[first + i]
                        if kind == "aspcapStar":
                            files.write_aspcap_star(path, row, flux[i], error[i], model[i])
                        else:
                            files.write_ap_star(path, release, row, flux[i], error[i], mask[i], noise)
                        if n == cut_short and stream == 1:
                            os.truncate(path, path.stat().st_size // 2)
                    progress.advance()
    (_, once, _), (_, again, _) = observations
    columns = {name: np.concatenate([once[name], again[name]]) for name in once if name != "healpix"}
    allstar = files.allstar_table(columns)
    files.write_allstar(root / f"allStar-{release}.fits", allstar[rng.permutation(len(allstar))])
    gaia = _untidy_gaia(files.gaia_table(stars, release, gaia_release), rng)
    gaia[rng.permutation(len(gaia))].write(root / "gaia.fits")
    truth_table(stars).write(root / "truth.fits")


def _write_sdss5(root, stars, allwise, seed, release, kind, quiet, spectrograph):
    """Write what SDSS-V publishes: a star may have several spectra, and mwmStar has all of a star in one file."""
    rng = np.random.default_rng([seed, 6])
    rows = _rows(stars, rng, release)
    without, cut_short = _faults(stars, rng)
    sdss_id = 50_000_000 + rng.choice(10_000_000, stars["ra"].size, replace=False)
    spectra = draw_spectra(stars, rows, kind, rng)
    own = [
        {name: values[star] for name, values in rows.items()} | {"TELESCOPE": telescope, "sdss_id": int(sdss_id[star])}
        for star, telescope in zip(spectra["star"], spectra["telescope"], strict=True)
    ]
    names = [os.path.basename(files.spectrum_path(release, "apStar", row)) for row in own]
    summary = write_sdss5_tables(root, stars, allwise, rows, spectra, sdss_id, release, names, rng)
    n_stars = stars["ra"].size
    with Progress("write mock spectra", n_stars, quiet) as progress:
        for first in range(0, n_stars, CHUNK):
            noise = np.random.default_rng([seed, 1, first // CHUNK])
            batch = np.flatnonzero(spectra["in_file"] & (spectra["star"] // CHUNK == first // CHUNK))
            part = {name: values[spectra["star"][batch]] for name, values in stars.items()}
            part |= {"snr": spectra["snr"][batch], "telescope": spectra["telescope"][batch]}
            pixels = dict(zip(batch, zip(*spectrograph.observe(part, noise, "apStar")[:3], strict=True), strict=True))
            for n in range(first, min(first + CHUNK, n_stars)):
                its = [] if without[n] else batch[spectra["star"][batch] == n]
                for path in _write_star(root, release, kind, its, own, summary, pixels, noise):
                    if n == cut_short:
                        os.truncate(path, path.stat().st_size // 2)
                progress.advance()
    truth_table(stars).write(root / "truth.fits")


def _write_star(root, release, kind, its, own, summary, pixels, noise):
    """Write the spectra of one star, by their rows in the summary, and return the files' paths."""
    paths = [root / files.spectrum_path(release, kind, own[i]) for i in its]
    if kind == "apStar":
        for i, path in zip(its, paths, strict=True):
            files.write_ap_star(path, release, own[i], *pixels[i], noise)
    elif paths:
        source = [{name: values[i] for name, values in summary.items()} for i in its]
        spectra = {row["telescope"][:3].upper(): (row, *pixels[i]) for i, row in zip(its, source, strict=True)}
        write_mwm_star(paths[0], release, source[0], spectra, noise)
    return sorted(set(paths))


def _rows(stars, rng, release):
    """Add what tables of Gaia have besides, and return allStar's columns (dict of arrays)."""
    n_stars = stars["ra"].size
    stars["random_index"] = rng.permutation(4 * n_stars)[:n_stars].astype(np.int64)
    stars["angular_distance"] = np.abs(rng.normal(0.0, 0.12, n_stars))
    return _allstar_rows(stars, rng, release)


def _faults(stars, rng):
    """Choose stars without a spectrum (bool array), and one whose file is cut short (int, -1 for none)."""
    without = rng.random(stars["ra"].size) < _NO_SPECTRUM
    luminous = np.flatnonzero(~without & (stars["logg"] < 2.0))  # the cut on log g must not hide the damaged file
    return without, int(rng.choice(luminous)) if without.size > 10 and luminous.size else -1


def _paths(rows, release, kind):
    return [
        files.spectrum_path(release, kind, dict(zip(rows, row, strict=True)))
        for row in zip(*rows.values(), strict=True)
    ]


def _allstar_rows(stars, rng, release):
    """Return allStar's columns, one row a star (dict of arrays)."""
    n = stars["teff"].size
    teff, logg, fe_h = measured_labels(stars)
    nothing = rng.random(n) < _NO_LABELS
    south = stars["telescope"] == "lco25m"
    small = (stars["H"] < 8.0) & (rng.random(n) < 0.3) & ~south
    telescope = np.where(south, "lco25m", np.where(small, "apo1m", "apo25m"))
    if release == "dr14":
        telescope = np.where(south, "apo25m", telescope)
    flagged = rng.random(n) < _FLAGGED
    no_error = rng.random(n) < _NO_2MASS_ERROR
    healpix = (stars["field_number"] * 137 + 1000).astype(np.int64)
    return {
        "APOGEE_ID": stars["APOGEE_ID"],
        "TELESCOPE": telescope,
        "LOCATION_ID": np.where(telescope == "apo1m", 1, 4000 + stars["field_number"]).astype(np.int16),
        "FIELD": np.where(telescope == "apo1m", "RedGiants", stars["FIELD"]),
        **{band: np.where(no_error & (band == "J"), files.MISSING, stars[band]) for band in "JHK"},
        **{f"{band}_ERR": np.where(no_error, files.MISSING, stars[f"{band}_error"]) for band in "JHK"},
        "RA": stars["ra"],
        "DEC": stars["dec"],
        "GLON": stars["glon"],
        "GLAT": stars["glat"],
        "NVISITS": np.minimum(rng.geometric(0.45, n), 4).astype(np.int32),
        "SNR": stars["snr"],
        "STARFLAG": np.where(flagged, rng.choice(_STARFLAG_BITS, n), 0).astype(np.int32),
        "ASPCAPFLAG": np.where(flagged | nothing, rng.choice(_ASPCAPFLAG_BITS, n), 0).astype(np.int64),
        "VHELIO_AVG": stars["radial_velocity"] + rng.normal(0.0, 0.1, n),
        "TEFF": np.where(nothing, files.MISSING, teff),
        "LOGG": np.where(nothing, files.MISSING, logg),
        "M_H": np.where(nothing, files.MISSING, fe_h + rng.normal(0.0, 0.01, n)),
        "FE_H": np.where(nothing, files.MISSING, fe_h),
        "ALPHA_M": np.where(nothing, files.MISSING, stars["alpha_fe"] + rng.normal(0.0, 0.02, n)),
        "healpix": healpix,
    }


def _observed_again(rows, rng):
    """Choose stars that were observed in a second field too: another row and spectrum, of lower S/N."""
    again = np.flatnonzero(rng.random(len(rows["APOGEE_ID"])) < _DUPLICATED)
    second = {name: values[again] for name, values in rows.items()}
    second["SNR"] = second["SNR"] * rng.uniform(0.4, 0.95, again.size)
    second["FIELD"] = np.char.add(second["FIELD"], "-RV")
    second["LOCATION_ID"] = np.where(second["LOCATION_ID"] == 1, 1, second["LOCATION_ID"] + 1000).astype(np.int16)
    return again, second, 7


def _untidy_gaia(table, rng):
    """Remove parallaxes, WISE photometry and matches of some stars, and give some a second, fainter source nearby."""
    n = len(table)
    second = table[rng.random(n) < _TWO_SOURCES]
    no_wise, no_parallax = rng.random(n) < _NO_WISE, rng.random(n) < _NO_PARALLAX
    for name in ("w1mpro", "w1mpro_error", "w2mpro", "w2mpro_error"):
        table[name] = np.where(no_wise, np.nan, table[name])
    for name in ("parallax", "parallax_error", "pmra", "pmdec"):
        table[name] = np.where(no_parallax, np.nan, table[name])
    second["source_id"] = second["source_id"] + 2**35
    second["angular_distance"] = second["angular_distance"] + rng.uniform(0.8, 2.0, len(second))
    fainter = rng.uniform(0.5, 4.0, len(second))
    for band in ("g", "bp", "rp"):
        second[f"phot_{band}_mean_mag"] = second[f"phot_{band}_mean_mag"] + fainter
        for name in (f"phot_{band}_mean_flux", f"phot_{band}_mean_flux_error"):
            second[name] = second[name] * 10 ** (-0.4 * fainter)
    second["parallax"] = rng.normal(0.3, 0.4, len(second))
    second["random_index"] = 4 * n + np.arange(len(second))
    units = {name: table[name].unit for name in table.colnames}
    table = vstack([table[rng.random(n) >= _NO_GAIA], second], metadata_conflicts="silent")
    for name, unit in units.items():
        table[name].unit = unit
    return Table(table, copy=False)
