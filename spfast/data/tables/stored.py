"""A table in a file, of any format: its columns are read when they are asked for, and not before."""

from collections.abc import Callable, Sequence

import numpy as np
from astropy import units
from astropy.table import Column, MaskedColumn, Table

from spfast.data.tables.values import NO, YES
from spfast.errors import BadInputError

__all__ = ["MASK_SUFFIX", "UNREAD", "StoredTable", "UnreadType", "make_column", "refuse_unread"]

#: Entry of ``table.meta`` that names the columns that could not be read, with their types.
UNREAD = "__unread__"
#: In formats without missing values astropy writes the mask of column X as a column X.mask.
MASK_SUFFIX = ".mask"


class UnreadType(Exception):
    """A column is of a type that spfast does not read; the text is the type."""


class StoredTable:
    """One table of a file.

    Parameters
    ----------
    names : sequence of str
        As they are in the file.
    n_rows : int
    column : callable
        ``column(number)`` reads one column (astropy Column); it raises `UnreadType` for a type that is not read.
    meta : dict, optional
    place : str, optional
        Where in the file it is, for messages.
    preferred : bool, optional
        It is the one to take if several have the same columns.
    """

    def __init__(
        self,
        names: Sequence[str],
        n_rows: int,
        column: Callable[[int], Column],
        meta: dict | None = None,
        place: str = "",
        preferred: bool = False,
    ):
        self.names, self.n_rows, self.meta = [str(name).strip() for name in names], n_rows, dict(meta or {})
        self.place, self.preferred = place, preferred
        self._column = column

    @classmethod
    def of(cls, table: Table, names: Sequence[str] | None = None, place: str = "") -> "StoredTable":
        """Wrap a table that was read whole; ``names`` are those of the file if astropy had to change them."""
        names = table.colnames if names is None else names
        return cls(names, len(table), lambda number: table.columns[number], table.meta, place)

    def read(self, names: Sequence[str] | None = None) -> Table:
        """Read some columns, or all, and honour the columns that hold the masks of others.

        Parameters
        ----------
        names : sequence of str, optional
            Each is in the table once.

        Returns
        -------
        astropy Table
            Columns of a type that is not read are absent; ``meta`` lists them under `UNREAD`.
        """
        numbers = range(len(self.names)) if names is None else [self.names.index(name) for name in names]
        table, unread = Table(meta=self.meta), {}
        for number in numbers:
            name = self.names[number]
            if name.removesuffix(MASK_SUFFIX) in self.names[:number] and name.endswith(MASK_SUFFIX):
                continue
            try:
                column = self._column(number)
            except UnreadType as error:
                unread[name] = str(error)
                continue
            mask = self._mask(name)
            if mask is not None:
                column = MaskedColumn(column, mask=np.ma.getmaskarray(column) | mask)
            table.add_column(_blank(column), name=_unique(name, table.colnames))
        if unread:
            table.meta[UNREAD] = unread
        return table

    def _mask(self, name):
        """The mask that a column of its own gives (bool array), or None."""
        if self.names.count(name + MASK_SUFFIX) != 1:
            return None
        values = np.ma.filled(self._column(self.names.index(name + MASK_SUFFIX)))
        if values.dtype.kind in "SU":
            values = np.char.lower(np.char.strip(values.astype("U")))
            unknown = values[~np.isin(values, (*YES, *NO))]
            if unknown.size:
                raise BadInputError(
                    f"column {name}{MASK_SUFFIX}, a mask, has {str(unknown[0])[:30]!a}, expected yes or no; correct it"
                )
            return np.isin(values, YES)
        return values.astype(bool)


def refuse_unread(table: Table, is_meant: Callable[[str], bool], where: str) -> None:
    """Refuse a table whose wanted column is of a type that is not read: it is there, and must not be called absent.

    Parameters
    ----------
    table : astropy Table
        Of `StoredTable.read`.
    is_meant : callable
        From a column's name to whether it is the wanted one.
    where : str
        File or table, for messages.

    Raises
    ------
    BadInputError
    """
    for name, kind in table.meta.get(UNREAD, {}).items():
        if is_meant(name):
            raise BadInputError(f"{where} has a column {name} {kind}, expected one number or text a row; convert it")


def _blank(column):
    """A column without numbers under its mask: nobody who forgets the mask may take them for measured ones."""
    if not isinstance(column, MaskedColumn) or column.dtype.kind not in "fiu" or not np.any(column.mask):
        return column
    if column.dtype.kind != "f" and np.all(column.mask):
        column = column.astype(float)
    if column.dtype.kind == "f":
        mask = np.array(column.mask)
        column = column.copy()
        column.data.data[mask] = np.nan
    return column


def _unique(name, taken):
    """The name, or with a number if a column before has it."""
    number = 2
    unique = name
    while unique in taken:
        unique, number = f"{name}_{number}", number + 1
    return unique


def make_column(name: str, values: np.ndarray, missing: np.ndarray | None, notes: dict) -> Column:
    """Return a column with what a file says of it; masked if a value is missing.

    Parameters
    ----------
    name : str
    values : array
    missing : bool array or None
    notes : dict
        ``unit``, ``description`` and ``ucd``, as far as the file has them.
    """
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
