"""Reading tables, other people's and our own, by their suffix: FITS, VOTable, ECSV, CSV, Parquet, plain text."""

import importlib.util
import json
import os
import warnings
from pathlib import Path

import numpy as np
from astropy import units
from astropy.io import fits, votable
from astropy.table import Column, MaskedColumn, Table

from spfast.data.untrusted import check_file
from spfast.errors import BadInputError, reading
from spfast.files import check_regular

__all__ = ["is_table", "need_pyarrow", "read_table"]

_FITS, _VOTABLE, _PARQUET = "FITS", "VOTable", "Parquet"
#: Format of each suffix; ".gz" may follow any but Parquet's.
_FORMATS = {
    **dict.fromkeys((".fits", ".fit"), _FITS),
    **dict.fromkeys((".vot", ".votable", ".xml"), _VOTABLE),
    ".ecsv": "ascii.ecsv",
    ".csv": "ascii.csv",
    ".mrt": "ascii.mrt",
    ".txt": "ascii",
    ".dat": "ascii",
    ".parquet": _PARQUET,
}
#: What stands for "no value" in a CSV table.
_NO_VALUE = [("", "0"), ("null", "0"), ("NULL", "0")]

#: Keywords that describe a FITS file, not its content.
_STRUCTURE = {"XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT", "TFIELDS", "THEAP", "EXTNAME"}
_STRUCTURE |= {"CHECKSUM", "DATASUM", "COMMENT", "HISTORY", ""}
_COLUMN_KEYWORDS = {"TTYPE", "TFORM", "TUNIT", "TNULL", "TDISP", "TDIM", "TSCAL", "TZERO", "TCOMM", "TUCD", "TBCOL"}


def is_table(path: str | os.PathLike) -> bool:
    """Whether `read_table` reads a file of this suffix."""
    return _format(path) is not None


def read_table(path: str | os.PathLike) -> Table:
    """Read a table by its suffix: FITS (the first table in it), ECSV, VOTable, CSV, Parquet or a plain text table.

    Parameters
    ----------
    path : path-like
        ``.fits``, ``.fit``, ``.vot``, ``.votable``, ``.xml``, ``.ecsv``, ``.csv``, ``.mrt``, ``.txt``, ``.dat`` (each
        may end in ``.gz``) or ``.parquet``.

    Returns
    -------
    astropy Table
        With units, descriptions, UCDs and ``meta`` where the format has them. A column with missing values is masked;
        integers stay integers.

    Raises
    ------
    BadInputError
        If there is no such file, its suffix is unknown, or it is not in the format of its suffix.

    Examples
    --------
    >>> from spfast.data.tables.read import read_table
    >>> read_table("none.fits")
    Traceback (most recent call last):
    ...
    spfast.errors.BadInputError: none.fits: no such file; check the path
    """
    path = Path(path)
    check_regular(path)
    if not path.is_file():
        raise BadInputError(f"{path}: no such file; check the path")
    kind = _format(path)
    if kind is None:
        raise BadInputError(f"{path}: unknown suffix {path.suffix!r}; expected one of {', '.join(_FORMATS)}")
    check_file(path, votable=kind == _VOTABLE)
    with reading(path, f"cannot be read as a table in the format {kind.removeprefix('ascii.').upper()}"):
        if kind == _FITS:
            return _read_fits(path)
        if kind == _VOTABLE:
            return _read_votable(path)
        if kind == _PARQUET:
            return _read_parquet(path)
        return Table.read(path, format=kind, **({"fill_values": _NO_VALUE} if kind == "ascii.csv" else {}))


def need_pyarrow(path):
    """Refuse a Parquet table if pyarrow is not installed."""
    if importlib.util.find_spec("pyarrow") is None:
        raise BadInputError(
            f"{path}: Parquet needs pyarrow; install it (pip install 'spfast[parquet]') or use a .fits table"
        )


def _format(path):
    return _FORMATS.get(Path(Path(path).name.lower().removesuffix(".gz")).suffix)


def _read_fits(path):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="File may have been truncated")
        # Opened here: astropy leaves a file open that it cannot read.
        with open(path, "rb") as file, fits.open(file, memmap=False, disable_image_compression=True) as hdus:
            hdu = next((h for h in hdus if isinstance(h, fits.BinTableHDU | fits.TableHDU)), None)
            if hdu is None:
                raise BadInputError(f"{path}: no table in this FITS file; expected a binary table")
            columns = [_fits_column(hdu, number) for number in range(1, len(hdu.columns) + 1)]
            meta = {
                card.keyword: card.value
                for card in hdu.header.cards
                if card.keyword not in _STRUCTURE and card.keyword.rstrip("0123456789") not in _COLUMN_KEYWORDS
            }
    return Table(columns, meta=meta)


def _fits_column(hdu, number):
    column = hdu.columns[number - 1]
    values = np.asarray(hdu.data[column.name])
    if values.dtype.kind in "SU":
        values = np.char.rstrip(values.astype(np.str_))
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    missing = values == column.null if column.null is not None and values.dtype.kind in "iu" else None
    notes = {
        "unit": column.unit,
        "description": hdu.header.get(f"TCOMM{number}"),
        "ucd": hdu.header.get(f"TUCD{number}"),
    }
    return _column(column.name, values, missing, notes)


def _read_votable(path):
    document = votable.parse(str(path), verify="ignore")
    table = document.get_first_table().to_table(use_names_over_ids=True)
    for info in document.resources[0].infos:
        table.meta[info.name] = info.value
    return table


def _read_parquet(path):
    # Not by astropy, which needs pandas to read the Parquet that it writes.
    need_pyarrow(path)
    from pyarrow import parquet

    stored = parquet.read_table(path)
    meta = json.loads((stored.schema.metadata or {}).get(b"spfast", b"{}"))
    columns = []
    for field, chunks in zip(stored.schema, stored.columns, strict=True):
        missing, kind = np.array(chunks.is_null(), dtype=bool), str(field.type)
        if kind in ("string", "large_string"):
            values = np.array(["" if value is None else value for value in chunks.to_pylist()], dtype="U")
        elif kind in ("bool", "double", "float") or kind.startswith(("int", "uint")):
            values = np.array(chunks.fill_null(False if kind == "bool" else 0) if missing.any() else chunks)
        else:
            continue  # lists and times: spfast uses none
        notes = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        columns.append(_column(field.name, values, missing, notes))
    return Table(columns, meta=meta)


def _column(name, values, missing, notes):
    unit, ucd = notes.get("unit"), notes.get("ucd")
    options = {
        "name": name,
        "unit": units.Unit(unit, parse_strict="silent") if unit else None,
        "description": notes.get("description"),
        "meta": {"ucd": ucd} if ucd else None,
    }
    if missing is not None and missing.any():
        return MaskedColumn(values, mask=missing, **options)
    return Column(values, **options)
