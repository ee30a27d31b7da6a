"""A catalog made again from its survey and from what its own header carries, to the last byte."""

import json
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.table import Table

from spfast.catalog.compatibility import check_catalog
from spfast.catalog.make import HEADER_COMMENTS, make_catalog
from spfast.config import load_config
from spfast.data.survey import Survey
from spfast.data.tables.read import read_table
from spfast.data.tables.write import write_table
from spfast.errors import BadInputError

__all__ = ["Rebuilt", "differences", "rebuild_catalog"]

#: Columns and cards that the first catalogs of this version did not have; theirs are rebuilt with them.
_LATER = frozenset(("tmass_id", "RADESYS", "POSORIG", "FLAGREC"))


class Rebuilt(NamedTuple):
    """How a catalog that was made again compares with its file.

    Attributes
    ----------
    differences : list of str
        What differs, column by column and card by card; empty if the catalog is what its survey and header give.
    added : list of str
        Columns and cards that the old file is too old to have; empty if the bytes are the same.
    """

    differences: list[str]
    added: list[str]


def rebuild_catalog(
    path: str | Path,
    survey: Survey,
    out: str | Path | None = None,
    overwrite: bool = False,
    threads: int | None = None,
) -> Rebuilt:
    """Make a catalog again with the configuration in its header: presets, seeds, zero point and penalty among it.

    Parameters
    ----------
    path : path-like
        A catalog that ``spfast catalog`` wrote, in any format but CSV, which keeps no header.
    survey : Survey
        That it was made from.
    out : path-like, optional
        Where to write the new one, in the same format; nowhere if left out.
    overwrite : bool
        Replace ``out`` if it exists.
    threads : int, optional
        All processors by default; the bytes do not depend on it.

    Returns
    -------
    Rebuilt

    Raises
    ------
    BadInputError
        If it is no catalog, of another survey, or has a configuration that this version does not know.

    Warns
    -----
    MismatchWarning
        If another version of spfast made it.
    """
    path = Path(path)
    old = read_table(path)
    if old.meta.get("PRODUCT") != "spfast catalog" or "CONFIG" not in old.meta:
        raise BadInputError(f"{path}: does not carry how it was made; expected a table that `spfast catalog` wrote")
    if old.meta.get("SURVHASH") != survey.survey_hash:
        raise BadInputError(
            f"{path}: made from the survey {str(old.meta.get('SURVHASH'))[:12]}..., {survey.path} is "
            f"{survey.survey_hash[:12]}...; give the survey that it was made from"
        )
    check_catalog(old)
    try:
        settings = json.loads(old.meta["CONFIG"])
        preset = settings.pop("preset")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadInputError(f"{path}: its CONFIG is damaged; `spfast info --verify` says whether it changed") from None
    config, extra = load_config(preset=preset, overrides=settings), str(old.meta.get("EXTRACOL", "")).split()
    new = make_catalog(survey, config=config, threads=threads, extra_columns=extra)
    with tempfile.TemporaryDirectory() as folder:
        written = Path(out) if out else Path(folder) / path.name
        write_table(new, written, overwrite, HEADER_COMMENTS)
        if written.read_bytes() == path.read_bytes():
            return Rebuilt([], [])
        again = read_table(written)
    added = [name for name in (*again.colnames, *again.meta) if name in _LATER - {*old.colnames, *old.meta}]
    again.remove_columns([name for name in again.colnames if name in added])
    again.meta = {key: value for key, value in again.meta.items() if key not in added}
    found = differences(old, again)
    return Rebuilt(found if found or added else ["the same values under other bytes"], added)


def differences(old: Table, new: Table) -> list[str]:
    """Name what differs between two tables (list of str)."""
    found = [f"{key} was {old.meta.get(key)}, is {new.meta.get(key)}" for key in _unequal(old.meta, new.meta)]
    if len(old) != len(new):
        return [*found, f"{len(old)} rows, now {len(new)}"]
    for name in dict.fromkeys([*old.colnames, *new.colnames]):
        if name not in old.colnames or name not in new.colnames:
            found.append(f"column {name} is in one of them only")
        else:
            n_rows = np.count_nonzero(~_equal(old[name], new[name]))
            if n_rows:
                found.append(f"column {name} differs in {n_rows} rows")
    return found


def _unequal(old, new):
    return [key for key in dict.fromkeys([*old, *new]) if key != "SHA256" and str(old.get(key)) != str(new.get(key))]


def _equal(old, new):
    if old.dtype.kind == new.dtype.kind == "f":
        old, new = np.ma.filled(old, np.nan), np.ma.filled(new, np.nan)
        return (old == new) | (np.isnan(old) & np.isnan(new))
    return np.asarray(old) == np.asarray(new)
