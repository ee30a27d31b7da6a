"""A validation table as text for a terminal."""

from collections.abc import Mapping

import numpy as np
from astropy.table import Table

from spfast.validation.columns import Column, shown_columns

__all__ = ["explain", "lay_out"]

#: A name from a file may have this many characters.
_TEXT_LENGTH = 40


def lay_out(table: Table, columns: Mapping[str, Column]) -> str:
    """Lay out a table for a terminal: headings, then one line a row; text to the left, numbers to the right.

    Parameters
    ----------
    table : astropy Table
    columns : dict of Column
        All of its columns that may be shown.

    Returns
    -------
    str

    Examples
    --------
    >>> from astropy.table import Table
    >>> from spfast.validation.columns import Column
    >>> from spfast.validation.terminal import lay_out
    >>> columns = {"model": Column("the model", "model"), "slope": Column("of ln parallax", "slope", "+.2f", "1 / mag")}
    >>> print(lay_out(Table({"model": ["A", "B"], "slope": [0.1, float("nan")]}), columns))
    model  slope [1 / mag]
    A                +0.10
    B
    """
    shown = shown_columns(columns, "terminal")
    headings = [column.heading_with_unit for column in shown.values()]
    lines = [headings, *([_cell(row[name], column.format) for name, column in shown.items()] for row in table)]
    widths = [max(map(len, texts)) for texts in zip(*lines, strict=True)]
    is_text = [not column.format for column in shown.values()]
    return "\n".join(
        "  ".join(
            text.ljust(width) if left else text.rjust(width)
            for text, width, left in zip(line, widths, is_text, strict=True)
        ).rstrip()
        for line in lines
    )


def explain(tables: Mapping[str, Mapping[str, Column]]) -> str:
    """Say what the heads of several tables mean, each meaning once.

    Parameters
    ----------
    tables : dict of dict of Column
        The columns of each table under its title.

    Returns
    -------
    str

    Examples
    --------
    >>> from spfast.validation.columns import Column
    >>> from spfast.validation.terminal import explain
    >>> columns = {"n": Column("stars that count", "stars", "d")}
    >>> print(explain({"Coverage": columns, "Trends": columns | {"slope": Column("for each mag", "slope", ".1f")}}))
    Coverage
      stars  stars that count
    Trends
      slope  for each mag
    """
    lines, said = [], set()
    for title, columns in tables.items():
        heads = [
            (column.heading_with_unit, column.description) for column in shown_columns(columns, "terminal").values()
        ]
        new = [head for head in heads if head not in said]
        said.update(new)
        width = max((len(heading) for heading, _ in new), default=0)
        lines += [title] * bool(new) + [f"  {heading:{width}}  {description}" for heading, description in new]
    return "\n".join(lines)


def _cell(value, spec):
    if not spec:
        return "".join(c if c.isprintable() else "?" for c in str(value))[:_TEXT_LENGTH]
    return "" if np.isnan(value) else f"{value:{spec}}"
