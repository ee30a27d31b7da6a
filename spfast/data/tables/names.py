"""Which column of a table is meant by a name: its exact spelling first, then any case."""

from collections.abc import Sequence

from spfast.data.columns import closest_names
from spfast.errors import BadInputError

__all__ = ["find_name", "no_column"]


def find_name(names: Sequence[str], aliases: Sequence[str], where: str) -> str | None:
    """Return the table's own name of a column.

    Parameters
    ----------
    names : sequence of str
        Of the table.
    aliases : sequence of str
        The names that the column may have, the best one first. A name in its exact spelling wins over one that is
        spelt so only without regard to case.
    where : str
        File or table, for messages.

    Returns
    -------
    str or None

    Raises
    ------
    BadInputError
        If the name is there twice, or two columns have it in other cases and none exactly.

    Examples
    --------
    >>> from spfast.data.tables.names import find_name
    >>> find_name(["logg", "LOGG"], ("LOGG",), "a.fits"), find_name(["logg"], ("LOGG",), "a.fits")
    ('LOGG', 'logg')
    """
    for alias in aliases:
        if alias in names:
            if list(names).count(alias) > 1:
                raise BadInputError(f"{where} has two columns {alias}; rename one")
            return alias
    for alias in aliases:
        alike = [name for name in names if name.lower() == alias.lower()]
        if len(alike) > 1:
            raise BadInputError(f"{where} has the columns {' and '.join(alike)}; name the one that is meant {alias}")
        if alike:
            return alike[0]
    return None


def no_column(where: str, name: str, aliases: Sequence[str], names: Sequence[str]) -> BadInputError:
    """Return the error that a table lacks a column.

    Parameters
    ----------
    where : str
        File or table.
    name : str
        Ours.
    aliases : sequence of str
        All that the column may have.
    names : sequence of str
        Of the table.
    """
    others = ", ".join(alias for alias in aliases if alias.lower() != name.lower())
    return BadInputError(
        f"{where}: no column {name}{f' (or {others})' if others else ''}; {closest_names(name, names)}"
    )
