"""Gaia's XP continuous mean spectra: 110 coefficients a star, as the archive's files in any format have them."""

import csv
import gzip
import io
import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits, votable

from spfast.data.arrays.read import Arrays
from spfast.data.identifiers import source_ids
from spfast.data.untrusted import GZIP_START, check_file
from spfast.errors import BadInputError, reading
from spfast.files import check_regular

__all__ = ["read_xp"]

#: Magnitude G of a flux of 1 electron a second, on the Vega scale of Gaia DR3 (Riello et al. 2021, A&A 649, A3).
_G_ZERO_POINT = 25.6873668671
#: Coefficients of each of the two photometers.
_N = 55
_COLUMNS = (
    *("source_id", "bp_coefficients", "bp_coefficient_errors"),
    *("rp_coefficients", "rp_coefficient_errors"),
)


def read_xp(path, stars):
    """Read the coefficients of stars, over the star's flux of G, and their errors.

    The published errors have the factor ``bp_standard_deviation`` in them already.

    Parameters
    ----------
    path : path-like
        FITS with variable-length arrays, CSV with ``"(a, b, ...)"``, ECSV with JSON lists, or a VOTable; perhaps
        packed by gzip.
    stars : astropy Table
        ``source_id`` and ``phot_g_mean_mag``.

    Returns
    -------
    arrays : Arrays
        With groups ``BP`` and ``RP`` and ``names``.
    at : int64 array, shape (n_stars,)
        Each star's row of the arrays, -1 where it has none.
    reasons : dict of str
        By source_id, of those in the file that have none: one without BP or RP, or without G, is left out.

    Raises
    ------
    BadInputError
        If the file cannot be read, lacks a column, or has none of the stars.
    """
    path = Path(path)
    for name in ("source_id", "phot_g_mean_mag"):
        if name not in stars.colnames:
            raise BadInputError(f"table: no column {name}, which XP coefficients need; add it, or a Gaia table")
    ids, g = np.asarray(stars["source_id"]), np.asarray(stars["phot_g_mean_mag"], dtype=np.float64)
    magnitude = {star: m for star, m in zip(ids.tolist(), g.tolist(), strict=True) if star > 0}
    distinct, counts = np.unique(ids[ids > 0], return_counts=True)
    if np.any(counts > 1):
        raise BadInputError(
            f"table: source_id {distinct[counts > 1][0]} stands in {counts[counts > 1][0]} rows, and XP has one "
            "spectrum of it; choose one row a star"
        )
    kept, reasons, seen = {}, {}, []
    check_regular(path)
    if not path.exists():
        raise BadInputError(f"{path}: no such file; check the path")
    for star, *cells in _records(path):
        seen.append(star)
        if star not in magnitude:
            continue
        if star in kept or star in reasons:
            raise BadInputError(f"{path}: source_id {star} stands in two rows; leave one")
        why = _why_not(cells, magnitude[star])
        if why:
            reasons[star] = why
            continue
        flux = 10.0 ** ((_G_ZERO_POINT - magnitude[star]) / 2.5)
        kept[star] = np.concatenate([cells[0], cells[2]]) / flux, np.concatenate([cells[1], cells[3]]) / flux
    source_ids(np.array(seen, dtype=np.int64), f"{path}: column source_id")  # all together tell what a float left
    if not kept:
        example = f" (the first: {next(iter(reasons.values()))})" if reasons else ""
        raise BadInputError(
            f"{path}: none of its {len(seen):,} spectra can be used for the {len(stars):,} stars{example}; are "
            "source_id of one release, and is it the table xp_continuous_mean_spectrum?"
        )
    values, errors = (np.array(part) for part in zip(*kept.values(), strict=True))
    halves = {"BP": slice(0, _N), "RP": slice(_N, 2 * _N)}
    arrays = Arrays({band: {"flux": values[:, at], "error": errors[:, at]} for band, at in halves.items()})
    arrays.names = [f"{band.lower()}_{number:02d}" for band in halves for number in range(_N)]
    row = {star: i for i, star in enumerate(kept)}
    return arrays, np.array([row.get(star, -1) for star in ids.tolist()], dtype=np.int64), reasons


def _why_not(cells, magnitude):
    for band, coefficients, errors in (("BP", *cells[:2]), ("RP", *cells[2:])):
        if coefficients.size == 0:
            return f"no {band} coefficients"
        if coefficients.size != _N or errors.size != _N:
            return f"{coefficients.size} {band} coefficients and {errors.size} errors, expected {_N} of each"
    return "" if np.isfinite(magnitude) else "no magnitude G"


def _records(path):
    """Yield source_id and the four arrays of each row."""
    with reading(path, "cannot be read"), open(path, "rb") as file:
        packed = file.read(2) == GZIP_START
    with gzip.open(path) if packed else open(path, "rb") as file:
        with reading(path, "cannot be read"):
            start = file.read(64).lstrip()
        file.seek(0)
        if start.startswith(b"SIMPLE  ="):
            yield from _of_fits(path)
        elif start.startswith((b"<?xml", b"<VOTABLE")):
            yield from _of_votable(path, file)
        else:
            yield from _of_text(path, file)


def _of_fits(path):
    check_file(path)
    with reading(path, "cannot be read as FITS"), fits.open(path) as hdus:
        tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU)]
        hdu = next((hdu for hdu in tables if set(_COLUMNS) <= {n.lower() for n in hdu.columns.names}), None)
        if hdu is None:
            names = tables[0].columns.names if tables else []
            raise _no_column(path, [name.lower() for name in names])
        ids = source_ids(np.array(hdu.data["source_id"]), f"{path}: column source_id")
        columns = [hdu.data[name] for name in _COLUMNS[1:]]
    for row, star in enumerate(ids.tolist()):
        yield star, *(np.asarray(column[row], dtype=np.float64).ravel() for column in columns)


def _of_votable(path, file):
    check_file(path, votable=True)
    with reading(path, "cannot be read as a VOTable"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        document = votable.parse(file, verify="ignore")
        names = [field.name.lower() for field in document.get_first_table().fields]
        array = document.get_first_table().array
    if not set(_COLUMNS) <= set(names):
        raise _no_column(path, names)
    columns = [array[array.dtype.names[names.index(name)]] for name in _COLUMNS]
    ids = source_ids(np.ma.filled(columns[0], -1), f"{path}: column source_id")
    for row, star in enumerate(ids.tolist()):
        yield star, *(np.ma.filled(np.ma.asarray(c[row], np.float64), np.nan).ravel() for c in columns[1:])


def _of_text(path, file):
    """CSV, or ECSV, whose arrays are JSON."""
    with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
        with reading(path, "cannot be read as text", "expected FITS, VOTable, ECSV or CSV"):
            header = next((line for line in text if line.strip() and not line.startswith("#")), "")
        delimiter = "," if "," in header else " "
        names = [name.strip().lower() for name in next(csv.reader([header], delimiter=delimiter), [])]
        if not set(_COLUMNS) <= set(names):
            raise _no_column(path, names)
        at = [names.index(name) for name in _COLUMNS]
        csv.field_size_limit(1 << 24)
        rows = csv.reader(text, delimiter=delimiter)
        while True:
            with reading(path, "cannot be read as text"):
                row = next(rows, None)
            if row is None:
                return
            if not row:
                continue
            if len(row) != len(names):
                raise BadInputError(f"{path}: a row has {len(row)} values, the header {len(names)}; it is damaged")
            star = source_ids(np.array([row[at[0]]]), f"{path}: column source_id")[0]
            yield int(star), *(_numbers(row[i], path, name) for i, name in zip(at[1:], _COLUMNS[1:], strict=True))


def _numbers(cell, path, name):
    cell = cell.strip()
    if cell[:1] in ("(", "[") and cell[-1:] != {"(": ")", "[": "]"}[cell[0]]:
        raise BadInputError(f"{path}: column {name} has {cell[:40]!a}... without an end; the file is cut short")
    inside = cell.strip("()[]").strip()
    if not inside or inside.lower() in ("null", "nan", "masked"):
        return np.zeros(0)
    try:
        return np.array([np.nan if w.strip().lower() in ("null", "nan", "") else float(w) for w in inside.split(",")])
    except ValueError:
        raise BadInputError(f"{path}: column {name} has {cell[:40]!a}, expected numbers in (...) or [...]") from None


def _no_column(path, names):
    missing = next(name for name in _COLUMNS if name not in names)
    return BadInputError(
        f"{path}: no column {missing}, it has {', '.join(names[:6]) or 'none'}; expected Gaia's "
        "xp_continuous_mean_spectrum (DataLink product XP_CONTINUOUS, structure RAW)"
    )
