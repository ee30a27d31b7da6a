"""Writing tables in the format of their suffix: whole or not at all, the same bytes for the same table."""

import os
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from spfast.data.tables.read import need_pyarrow, read_table
from spfast.data.tables.vo import as_votable, write_parquet
from spfast.errors import BadInputError
from spfast.files import BLANK_CHECKSUM, BLANK_SEAL, is_sealed, new_file, seal

__all__ = [
    "SUFFIXES",
    "check_output",
    "verify_table",
    "write_table",
]

#: Suffixes of the formats that are written; `write_table` says what each keeps beyond the values.
SUFFIXES = (".fits", ".ecsv", ".vot", ".csv", ".parquet")

#: What makes a spreadsheet run a text.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")

#: The longest FITS keyword.
_KEYWORD_LENGTH = 8

#: Keyword of the hash of the table's own file.
_SEAL = "SHA256"

#: Comment of CHECKSUM and DATASUM; astropy's has a date.
_SUM_COMMENT = "of this HDU, by the FITS standard"

#: Characters of a string and its comment that a card of 80 has room for, beside keyword and quotes.
_CARD_STRING = 68


def check_output(path: str | os.PathLike, overwrite: bool = False, suffixes: tuple = SUFFIXES) -> Path:
    """Refuse an output that could not be written, before any work is done.

    Parameters
    ----------
    path : path-like
        File to be written.
    overwrite : bool
        Whether an existing file may be replaced.
    suffixes : tuple of str, optional
        The allowed ones; empty allows any.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    BadInputError
        If the suffix is unknown, the folder does not exist or cannot be written to, the file exists, or Parquet lacks
        pyarrow.
    """
    path = Path(path)
    if suffixes and path.suffix.lower() not in suffixes:
        raise BadInputError(f"{path}: cannot write {path.suffix or 'a name without suffix'}; use {' '.join(suffixes)}")
    if path.suffix.lower() == ".parquet":
        need_pyarrow(path)
    if not path.parent.is_dir():
        raise BadInputError(f"{path}: the folder {path.parent} does not exist; create it first")
    if not os.access(path.parent, os.W_OK):
        raise BadInputError(f"{path}: the folder {path.parent} cannot be written to; choose another")
    if path.is_dir() or (path.exists() and not overwrite):
        advice = "give another name" if path.is_dir() else "give another name or --overwrite"
        raise BadInputError(f"{path}: already exists; {advice}")
    return path


def write_table(
    table: Table, path: str | os.PathLike, overwrite: bool = False, comments: dict[str, str] | None = None
) -> None:
    """Write a table in the format that the suffix names.

    FITS keeps units, descriptions (``TCOMMn``), UCDs (``TUCDn``), checksums and ``table.meta`` as header cards; ECSV,
    VOTable and Parquet keep them in their own ways. A masked integer is missing in all of them. All four hold the hash
    of their own file (``SHA256``), which `verify_table` checks. CSV keeps the values only, and puts an apostrophe
    before a text or a column's name that a spreadsheet would run as a formula.

    Parameters
    ----------
    table : astropy Table
        Its ``meta`` holds plain values under FITS keywords; a column's UCD is its ``meta["ucd"]``.
    path : path-like
        Ends in one of `SUFFIXES`.
    overwrite : bool
        Replace an existing file.
    comments : dict of str, optional
        The comment of each FITS keyword.

    Raises
    ------
    BadInputError
        As `check_output`.
    """
    path = check_output(path, overwrite)
    suffix = path.suffix.lower()
    table = Table(_with_null(table), copy=False, meta={**table.meta, _SEAL: BLANK_SEAL})
    with new_file(path) as partial:
        if suffix == ".fits":
            _write_fits(table, partial, comments or {})
        elif suffix == ".vot":
            # Not in C: it writes a byte beyond its buffer after a row that just fills it (astropy issue 20419).
            as_votable(table).to_xml(str(partial), _debug_python_based_parser=True)
        elif suffix == ".parquet":
            write_parquet(table, partial)
        elif suffix == ".csv":
            _without_formulas(table).write(partial, format="ascii.csv")
        else:
            table.write(partial, format="ascii.ecsv")
        if suffix not in (".fits", ".csv"):
            seal(partial)


def verify_table(path: str | os.PathLike) -> None:
    """Compare every byte of a table that `write_table` wrote with the hash in it.

    Parameters
    ----------
    path : path-like

    Raises
    ------
    BadInputError
        If it cannot be read, has no hash, or changed since it was written.
    """
    digest = read_table(path).meta.get(_SEAL)
    if digest is None:
        raise BadInputError(
            f"{path}: has no {_SEAL} to compare with: a CSV table, not one of ours, or damaged; make it again, as FITS"
        )
    if not (is_sealed(path, str(digest)) and _checksums_fit(path)):
        raise BadInputError(f"{path}: changed since it was written; make it again")


def _with_null(table):
    """The table with a number for "missing" in masked integers that none of their rows has: -1, if it can be."""
    table = Table(table, copy=False)
    for name in table.colnames:
        column = table[name]
        if isinstance(column, MaskedColumn) and column.dtype.kind == "i":
            bounds, taken = np.iinfo(column.dtype), column.compressed()
            null = next(number for number in (-1, bounds.min, bounds.max) if number not in taken)
            column = column.copy()
            column.data.data[column.mask] = null
            column.fill_value = null
            table[name] = column
    return table


def _write_fits(table, path, comments):
    primary, hdu = fits.PrimaryHDU(), _fits_hdu(table, comments)
    primary.add_checksum(when=_SUM_COMMENT)
    fits.HDUList([primary, hdu]).writeto(path, output_verify="exception")
    seal(path)
    with open(path, "r+b") as file:
        file.seek(len(primary.header.tostring()))
        header = fits.Header.fromfile(file)
        hdu.header[_SEAL] = header[_SEAL]
        hdu.add_checksum(when=_SUM_COMMENT, override_datasum=True)
        file.seek(len(primary.header.tostring()))
        file.write(hdu.header.tostring().encode())


def _fits_hdu(table, comments):
    plain = Table(table, copy=False, meta={})
    for column in plain.itercols():
        # Kept as TCOMMn and TUCDn below; astropy would write them as a YAML block that only astropy reads.
        column.description, column.meta = None, {}
    hdu = fits.table_to_hdu(plain, name=_table_name(table.meta))
    for number, column in enumerate(table.itercols(), start=1):
        if column.description:
            hdu.header[f"TCOMM{number}"] = column.description
        if column.meta.get("ucd"):
            hdu.header[f"TUCD{number}"] = column.meta["ucd"]
    hdu.header["LONGSTRN"] = ("OGIP 1.0", "long texts go on in CONTINUE cards")
    for key, value in table.meta.items():
        if len(key) > _KEYWORD_LENGTH:
            raise ValueError(f"{key}: a FITS keyword has at most {_KEYWORD_LENGTH} characters")
        comment = comments.get(key, "")
        if isinstance(value, str) and len(value) <= _CARD_STRING < len(value) + len(" / ") + len(comment):
            comment = ""  # one card holds the value or both; astropy would cut the comment short
        hdu.header[key] = (value, comment)
    # Each of SHA256 and CHECKSUM would change the other: the hash is taken with zeros in CHECKSUM, the next card.
    hdu.header.insert(_SEAL, ("CHECKSUM", BLANK_CHECKSUM, _SUM_COMMENT), after=True)
    hdu.add_datasum(when=_SUM_COMMENT)
    return hdu


def _table_name(cards):
    """What a table is, by its header: CATALOG of "spfast catalog"; None if it does not say."""
    words = str(cards.get("PRODUCT", "")).split()
    return words[-1].upper() if words else None


def _checksums_fit(path):
    """Whether each HDU of a FITS table has its own checksum, if it says one; true of other formats."""
    if ".fits" not in Path(path).name.lower():
        return True
    with fits.open(path) as hdus:
        return all(hdu.verify_checksum() and hdu.verify_datasum() for hdu in hdus)


def _without_formulas(table):
    """The table with an apostrophe before every text and name that a spreadsheet would take for a formula."""
    table = Table(table, copy=False)
    for name in table.colnames:
        if table[name].dtype.kind in "SU":
            texts = np.asarray(table[name]).astype(np.str_)
            is_formula = np.array([text.startswith(_FORMULA_STARTS) for text in texts], dtype=bool)
            if is_formula.any():
                table[name] = np.where(is_formula, np.char.add("'", texts), texts)
        if name.startswith(_FORMULA_STARTS):
            table.rename_column(name, f"'{name}")
    return table
