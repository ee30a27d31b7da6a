"""Tables of FITS files: binary, ASCII and column-oriented ones, each column read by its number."""

import contextlib
import warnings

import numpy as np
from astropy.io import fits

from spfast.data.tables.stored import StoredTable, UnreadType, make_column
from spfast.errors import BadInputError

__all__ = ["open_fits"]

#: Keywords that describe a FITS file, not its content.
_STRUCTURE = {"XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT", "TFIELDS", "THEAP", "EXTNAME"}
_STRUCTURE |= {"CHECKSUM", "DATASUM", "LONGSTRN", "COMMENT", "HISTORY", ""}
_COLUMN_KEYWORDS = {"TTYPE", "TFORM", "TUNIT", "TNULL", "TDISP", "TDIM", "TSCAL", "TZERO", "TCOMM", "TUCD", "TBCOL"}


@contextlib.contextmanager
def open_fits(path, file, memmap):
    """Open a FITS file within a block.

    Parameters
    ----------
    path : path-like
        For messages.
    file : file object
        Opened here, not by astropy: it leaves a file open that it cannot read.
    memmap : bool
        Map the file; it must be plain.

    Yields
    ------
    list of StoredTable
        One for each table, in the file's order.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="File may have been truncated")
        with fits.open(file, memmap=memmap, disable_image_compression=True) as hdus:
            tables = [
                _stored(path, hdu, f"HDU {number}")
                for number, hdu in enumerate(hdus)
                if isinstance(hdu, fits.BinTableHDU | fits.TableHDU) and not hdu.header.get("ZIMAGE")
            ]
            if not tables:
                raise BadInputError(
                    f"{path}: no table in HDU 1 or 2 or elsewhere in the file; is it whole, and the right one?"
                )
            yield tables


def _stored(path, hdu, place):
    header = hdu.header
    if header.get("ZTABLE"):
        raise BadInputError(f"{path}: the table in {place} is packed with fpack; unpack it with funpack")
    names = _name_columns(header)
    meta = {
        card.keyword: card.value
        for card in header.cards
        if card.keyword not in _STRUCTURE and card.keyword.rstrip("0123456789") not in _COLUMN_KEYWORDS
    }
    n_rows = header["NAXIS2"]
    turned = n_rows == 1 and _turned_length(hdu)
    return StoredTable(
        names,
        turned or n_rows,
        lambda number: _read_column(hdu, number, names[number], bool(turned)),
        meta,
        place,
        # Of the two tables of a summary file since DR19, that of stars with APOGEE spectra.
        preferred=str(header.get("INSTRMNT", "")).strip().upper() == "APOGEE",
    )


def _name_columns(header):
    """Return the names of the columns; a name that comes twice is replaced in the header, as numpy refuses it."""
    names = []
    for number in range(1, header.get("TFIELDS", 0) + 1):
        names.append(str(header.get(f"TTYPE{number}", f"col{number}")).strip())
        if names[-1] in names[:-1]:
            header[f"TTYPE{number}"] = f"#{number}"
    return names


def _turned_length(hdu):
    """The rows of a column-oriented table (TOPCAT's colfits: one row, each cell a whole column), or 0."""
    if isinstance(hdu, fits.TableHDU) or any(column.format.format in "PQ" for column in hdu.columns):
        return 0
    kinds = hdu.columns.dtype
    lengths = {kinds[number].shape[:1] for number in range(len(kinds))}
    (length,) = lengths.pop() if len(lengths) == 1 and () not in lengths else (0,)
    return length if length > 1 else 0


def _read_column(hdu, number, name, turned):
    column, header = hdu.columns[number], hdu.header
    if isinstance(hdu, fits.BinTableHDU) and column.format.format in "PQ":
        raise UnreadType(f"of the FITS type {column.format}")
    records = np.asarray(hdu.data)
    raw = records[column.name] if column.name in (records.dtype.names or ()) else np.zeros(len(records), "S1")
    if column.format.format == "A":
        values, missing = _text(raw), None
    else:
        values = np.array(hdu.data.field(number))
        missing = _missing(hdu, column, raw, header.get(f"TNULL{number + 1}"))
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if turned:
        values, missing = values[0], None if missing is None else missing[0]
    notes = {
        "unit": column.unit,
        "description": header.get(f"TCOMM{number + 1}"),
        "ucd": header.get(f"TUCD{number + 1}"),
    }
    return make_column(name, values, missing, notes)


def _text(raw):
    """Bytes as text: a NUL ends it, and any byte is a character, for a column that nobody wants harms nobody."""
    raw = np.array(raw)
    if not raw.size or not raw.dtype.itemsize:
        return raw.astype("U")
    codes = raw.view(np.uint8).reshape(*raw.shape, raw.dtype.itemsize)
    codes[np.logical_or.accumulate(codes == 0, axis=-1)] = 0
    return np.char.rstrip(np.char.decode(raw, "latin-1"))


def _missing(hdu, column, raw, null):
    """Which values are missing by the number or byte in the file, before any scaling (bool array or None)."""
    if isinstance(hdu, fits.TableHDU):
        text = np.char.strip(raw)
        return (text == b"") | (text == str(null).strip().encode()) if null is not None else text == b""
    if column.format.format == "L":
        return raw == 0
    if isinstance(null, int | float) and raw.dtype.kind in "iuf":
        return raw == null
    return None
