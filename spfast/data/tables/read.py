"""Reading tables, other people's and our own: the format by the suffix or the first bytes, the table by its columns."""

import contextlib
import gzip
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from astropy.io import votable
from astropy.table import Column, Table

from spfast.data.tables.fits_tables import open_fits
from spfast.data.tables.names import find_name
from spfast.data.tables.parquet_tables import need_pyarrow, stored_parquet
from spfast.data.tables.stored import UNREAD, StoredTable
from spfast.data.tables.text_tables import ECSV_START, read_text
from spfast.data.tables.values import NO_VALUE
from spfast.data.untrusted import GZIP_START, check_file
from spfast.errors import BadInputError, SpfastWarning, reading
from spfast.files import check_regular

__all__ = ["as_table", "is_table", "need_pyarrow", "read_columns", "read_columns_and_meta", "read_table"]

_FITS, _VOTABLE, _PARQUET, _ECSV, _CSV = "FITS", "VOTable", "Parquet", "ECSV", "CSV"
#: Format of each suffix, in any case; ".gz" may follow.
_FORMATS = {
    **dict.fromkeys((".fits", ".fit", ".fts"), _FITS),
    **dict.fromkeys((".vot", ".votable", ".xml"), _VOTABLE),
    ".ecsv": _ECSV,
    **dict.fromkeys((".csv", ".tsv"), _CSV),
    ".mrt": "MRT",
    ".txt": "ASCII",
    ".dat": "ASCII",
    ".tbl": "ASCII",
    ".parquet": _PARQUET,
}
#: What formats begin with that say what they are, whatever the suffix.
_STARTS = {
    b"SIMPLE  =": _FITS,
    b"PAR1": _PARQUET,
    ECSV_START: _ECSV,
    b"<?xml": _VOTABLE,
    b"<VOTABLE": _VOTABLE,
}


def is_table(path: str | os.PathLike) -> bool:
    """Whether `read_table` reads a file of this suffix."""
    return _suffix(path) in _FORMATS


def as_table(table: Table | str | os.PathLike | None) -> Table | None:
    """A table, read if it is given by its path; None stays None.

    Raises
    ------
    BadInputError
        As `read_table`, or for anything else.
    """
    if table is None or isinstance(table, Table):
        return table
    if isinstance(table, str | os.PathLike):
        return read_table(table)
    raise BadInputError(f"table: got {type(table).__name__}, expected an astropy Table or the path of a file")


def read_table(path: str | os.PathLike, columns: Sequence[str] = ()) -> Table:
    """Read a table: FITS, ECSV, VOTable, CSV, Parquet, IPAC or a plain text table.

    Parameters
    ----------
    path : path-like
        ``.fits``, ``.fit``, ``.fts``, ``.vot``, ``.votable``, ``.xml``, ``.ecsv``, ``.csv``, ``.tsv``, ``.mrt``,
        ``.txt``, ``.dat``, ``.tbl`` or ``.parquet``, in any case; each may end in ``.gz``.
    columns : sequence of str, optional
        Of several tables in a file, that with most of these is read; by default the first that has a row.

    Returns
    -------
    astropy Table
        With units, descriptions, UCDs and ``meta`` where the format has them. A column with missing values is masked;
        integers stay integers. Columns of a type that is not read are absent.

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
    with _open(path) as tables:
        return _choose(path, tables, {name: (name,) for name in columns}).read()


def read_columns(path: str | os.PathLike, aliases: Mapping[str, Sequence[str]]) -> tuple[dict[str, Column], list[str]]:
    """Read some columns of a table, and nothing else of it.

    Parameters
    ----------
    path : path-like
        As for `read_table`. Of several tables in a file, that with most of the columns is read.
    aliases : dict of sequence of str
        The names that each column may have in the file, see `spfast.data.tables.names.find_name`.

    Returns
    -------
    columns : dict of astropy Column
        Those that the file has, by our names; a column's ``name`` is its name in the file.
    names : list of str
        All columns of the table.

    Raises
    ------
    BadInputError
        As `read_table`; or if a column is of a type that is not read.
    """
    return read_columns_and_meta(path, aliases)[:2]


def read_columns_and_meta(
    path: str | os.PathLike, aliases: Mapping[str, Sequence[str]]
) -> tuple[dict[str, Column], list[str], dict]:
    """As `read_columns`, and what the file says of the whole table.

    Returns
    -------
    columns, names
        As `read_columns`.
    meta : dict
        A FITS header's cards, a VOTable's INFOs and the like.
    """
    with _open(path) as tables:
        stored = _choose(path, tables, aliases)
        own_names = {ours: find_name(stored.names, others, str(path)) for ours, others in aliases.items()}
        own_names = {ours: name for ours, name in own_names.items() if name is not None}
        table = stored.read(list(dict.fromkeys(own_names.values())))
    for name, kind in table.meta.get(UNREAD, {}).items():
        raise BadInputError(f"{path}: column {name} is {kind}, expected one number or text a row; convert it")
    return {ours: table[name] for ours, name in own_names.items()}, stored.names, stored.meta


def _suffix(path):
    return Path(Path(path).name.lower().removesuffix(".gz")).suffix


@contextlib.contextmanager
def _open(path):
    """Yield the tables of a file (list of `StoredTable`), which can be read within the block."""
    path = Path(path)
    check_regular(path)
    if not path.exists():
        raise BadInputError(f"{path}: no such file; check the path")
    if not is_table(path):
        check_file(path)  # it may be packed
        raise BadInputError(f"{path}: unknown suffix {path.suffix!r}; expected one of {', '.join(_FORMATS)}")
    kind = _format(path)
    check_file(path, votable=kind == _VOTABLE)
    with (
        reading(path, f"cannot be read as a table in the format {kind.upper()}"),
        open(path, "rb") as file,
        _unpacked(file) as content,
    ):
        if kind == _FITS:
            # astropy unpacks by itself, and maps only a file that it is given.
            with open_fits(path, file, memmap=content is file) as tables:
                yield tables
        elif kind == _VOTABLE:
            yield _votables(path, content)
        elif kind == _PARQUET:
            yield [stored_parquet(path, content)]
        else:
            text = {_CSV: "csv", _ECSV: "ecsv", "MRT": "mrt"}.get(kind, "")
            yield [StoredTable.of(*read_text(path, content.read(), text))]


def _format(path):
    """The format of a file: what its first bytes say, else what its suffix says."""
    with reading(path, "cannot be read"), open(path, "rb") as file, _unpacked(file) as content:
        start = content.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((kind for bytes_, kind in _STARTS.items() if start.startswith(bytes_)), _FORMATS[_suffix(path)])


def _unpacked(file):
    """The file or what gzip packed in it, whatever its name says (a context manager)."""
    start = file.read(len(GZIP_START))
    file.seek(0)
    return gzip.open(file) if start == GZIP_START else contextlib.nullcontext(file)


def _votables(path, file):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", votable.exceptions.W30)  # of text that is no number, and would be missing
        document = votable.parse(file, verify="warn")
    for warning in seen:
        text = str(warning.message).partition("Invalid literal for float ")[2].partition("'.")[0].strip("' ")
        if text.lower() not in NO_VALUE:
            raise BadInputError(f"{path}: has {text[:40]!a} in a column of numbers, expected a number; correct it")
    infos = {info.name: info.value for resource in document.resources[:1] for info in resource.infos}
    status = {str(info.value).upper(): info.content for info in document.iter_info() if info.name == "QUERY_STATUS"}
    if "OVERFLOW" in status:
        text = "the service cut its answer at a limit of rows (OVERFLOW), so stars may be missing; ask for the rest too"
        warnings.warn(f"{path}: {text}", SpfastWarning, stacklevel=2)
    tables = []
    for number, element in enumerate(document.iter_tables(), start=1):
        table = element.to_table(use_names_over_ids=True)
        table.meta.update(infos)
        names = [field.name for field in element.fields]
        tables.append(StoredTable.of(table, names if len(names) == len(table.colnames) else None, f"table {number}"))
    if not tables:
        said = " ".join((status.get("ERROR") or "").split())[:80]
        raise BadInputError(
            f"{path}: has no table{f' (the service says: {said})' if said else ''}; expected a VOTable with one"
        )
    return tables


def _choose(path, tables, aliases):
    """Return the table that is meant: with most of the columns, and with rows.

    Two that are equal in that are refused, for nobody could say which rows were left out; but the summary files of
    SDSS-V have the stars of APOGEE in a table that says so, whatever those of BOSS have in another.
    """

    def rank(stored):
        lower = {name.lower() for name in stored.names}
        found = sum(any(other.lower() in lower for other in others) for others in aliases.values())
        return stored.preferred and found > 0 and stored.n_rows > 0, found, stored.n_rows > 0

    best = max(map(rank, tables))
    equal = [stored for stored in tables if rank(stored) == best]
    if len(equal) > 1 and best[1] > 0 and best[2]:
        places = " and ".join(stored.place for stored in equal[:2])
        raise BadInputError(f"{path}: {places} have the same columns; save the one that is meant as a file of its own")
    return equal[0]
