"""The columns of the validation's tables: what each says, in which unit, and how terminal and report show it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from astropy import units
from astropy.table import Table

__all__ = ["Column", "described_table", "shown_columns"]


class Column(NamedTuple):
    """One column of a validation table.

    Attributes
    ----------
    description : str
        What it says: in the table's file, under the report's table and in the documentation.
    heading : str
        What stands over it, without the unit; a column without a heading is in the table's file alone.
    format : str
        Format specification of its numbers; empty for a column of text.
    unit : str or None
        Empty for a number without dimension; None writes no unit at all.
    only : str
        ``"terminal"`` where the report has no room for it, ``"page"`` where a terminal has none; both show the others.
    leads : bool
        Shown before the others, wherever it stands in the table.
    error : str
        Name of the column of its error, which the report writes beside it; a terminal shows a column of its own.
    """

    description: str
    heading: str = ""
    format: str = ""
    unit: str | None = ""
    only: str = ""
    leads: bool = False
    error: str = ""

    @property
    def heading_with_unit(self) -> str:
        """The heading, and the unit in brackets if there is one."""
        return f"{self.heading} [{self.unit}]" if self.unit else self.heading


def shown_columns(columns: Mapping[str, Column], where: str) -> dict[str, Column]:
    """Return the columns that are shown in one place, in the order in which they stand there.

    Parameters
    ----------
    columns : dict of Column
        By name, in the table's order.
    where : str
        ``"terminal"`` or ``"page"``.

    Returns
    -------
    dict of Column

    Examples
    --------
    >>> from spfast.validation.columns import Column, shown_columns
    >>> columns = {"n": Column("stars", "stars", "d"), "low": Column("edge"), "law": Column("law", "law", leads=True)}
    >>> list(shown_columns(columns, "terminal"))
    ['law', 'n']
    """
    beside = {column.error for column in columns.values()} if where == "page" else set()
    shown = {
        name: column
        for name, column in columns.items()
        if column.heading and column.only in ("", where) and name not in beside
    }
    return dict(sorted(shown.items(), key=lambda item: not item[1].leads))


def described_table(
    rows: Sequence[tuple], columns: Mapping[str, Column], meta: Mapping | None = None, dtype: Sequence | None = None
) -> Table:
    """Return rows as a table whose columns have their units and descriptions.

    Parameters
    ----------
    rows : list of tuple
        A value for each column, in their order.
    columns : dict of Column
    meta : dict, optional
        The table's header.
    dtype : list of dtype, optional
        Of the columns; by default that of the values.

    Returns
    -------
    astropy Table
    """
    table = Table(rows=rows or None, names=tuple(columns), dtype=dtype)
    for name, column in columns.items():
        table[name].description = column.description
        if table[name].dtype.kind == "f" and column.unit is not None:
            table[name].unit = units.Unit(column.unit) if column.unit else units.dimensionless_unscaled
    table.meta.update(meta or {})
    return table
