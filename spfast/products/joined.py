"""A catalog, its stars' labels and photometry, and the truth, as one table: what the figures take."""

import numpy as np
from astropy.table import Table

from spfast.errors import BadInputError
from spfast.products.tables import float_column

__all__ = ["join_catalog", "match_names"]

#: Catalog columns that every figure may ask for, with what a table lacking them is told.
_NEEDED = ("2MASS_ID", "Gaia_parallax", "Gaia_parallax_err", "spec_parallax", "spec_parallax_err")
#: Raw Gaia parallax over error of the "best" training stars (Hogg, Eilers & Rix 2019, Section 5).
_BEST_SNR = 20.0
#: The paper's zero point [mas], assumed where a catalog's header has none.
_PAPER_ZERO_POINT = 0.0483
#: Columns made of two magnitudes.
_COLOURS = {
    "BP-RP": ("phot_bp_mean_mag", "phot_rp_mean_mag"),
    "J-K": ("J", "K"),
    "H-W2": ("H", "w2mpro"),
}


def join_catalog(catalog, stars=None, truth=None):
    """Join a catalog with a survey's star table and with the truth, star by star on the 2MASS name.

    Parameters
    ----------
    catalog : astropy Table
        As `make_catalog` returns, or any table with the paper's seven columns.
    stars : astropy Table, optional
        A survey's star table.
    truth : astropy Table, optional
        ``APOGEE_ID`` and ``true_parallax`` [mas].

    Returns
    -------
    table : astropy Table
        The catalog's rows in their order; ``training`` and ``best`` (bool); from ``stars`` its own columns, the colours
        ``BP-RP``, ``J-K`` and ``H-W2`` [mag]; from ``truth`` ``true_parallax`` [mas]. NaN where a star is not there.

    Raises
    ------
    BadInputError
        If a column is missing, the catalog is empty, or none of its stars is in ``stars`` or in ``truth``.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from spfast.products.joined import join_catalog
    >>> row = {"2MASS_ID": ["2M1"], "Gaia_parallax": [1.0], "Gaia_parallax_err": [0.02], "spec_parallax": [0.9]}
    >>> table = join_catalog(Table({**row, "spec_parallax_err": [0.1], "training_set": [1], "sample": ["A"]}))
    >>> bool(table["best"][0])
    True
    """
    missing = [name for name in (*_NEEDED, "training_set", "sample") if name not in catalog.colnames]
    if missing:
        raise BadInputError(f"the catalog has no column {missing[0]}; expected the columns of `spfast catalog`")
    if not len(catalog):
        raise BadInputError("the catalog has no star; nothing to draw")
    table = Table(meta=dict(catalog.meta))
    for name in catalog.colnames:
        table[name] = float_column(catalog, name) if name in _NEEDED[1:] else catalog[name]
    fold = np.char.strip(np.asarray(catalog["sample"]).astype(np.str_))
    table["sample"] = fold
    table["training"] = np.isin(np.char.lower(np.asarray(catalog["training_set"]).astype(np.str_)), ("1", "1.0", "true"))
    table["best"] = table["training"] & _best(table, fold)
    if stars is not None:
        rows = _rows(catalog, stars, "survey")
        for name in stars.colnames:
            if name not in table.colnames:
                table[name] = _taken(stars[name], rows)
        for name, (blue, red) in _COLOURS.items():
            table[name] = np.asarray(table[blue], dtype=float) - np.asarray(table[red], dtype=float)
    if truth is not None:
        table["true_parallax"] = _taken(float_column(truth, "true_parallax"), _rows(catalog, truth, "truth"))
    return table


def match_names(names, others):
    """Return for each name its row in ``others``, -1 where it is not (int64 array); blanks do not count.

    Examples
    --------
    >>> from spfast.products.joined import match_names
    >>> match_names(["2M2", "2M9"], ["2M1", "2M 2"]).tolist()
    [1, -1]
    """
    position = {"".join(str(name).split()): row for row, name in enumerate(others)}
    return np.array([position.get("".join(str(name).split()), -1) for name in names], dtype=np.int64)


def _rows(catalog, other, what):
    key = next((name for name in ("APOGEE_ID", "2MASS_ID") if name in other.colnames), None)
    if key is None:
        raise BadInputError(f"the {what} has no column APOGEE_ID; it has {', '.join(other.colnames[:8])}")
    rows = match_names(catalog["2MASS_ID"], other[key])
    if not (rows >= 0).any():
        raise BadInputError(f"no star of the catalog is in the {what}; do the two belong together?")
    return rows


def _taken(column, rows):
    """Rows of a column; NaN, an empty text, False or -1 where the row is -1."""
    values = np.ma.filled(np.ma.asarray(column).astype(float), np.nan) if column.dtype.kind == "f" else np.asarray(column)
    taken = values[rows]
    taken[rows < 0] = {"f": np.nan, "U": "", "S": b"", "b": False}.get(values.dtype.kind, -1)
    return taken


def _best(table, fold):
    """Whether the Gaia parallax, its zero point taken off again, is at least 20 times its error."""
    raw = np.array(table["Gaia_parallax"])
    for own, other in (("A", "B"), ("B", "A")):
        raw[fold == own] -= float(table.meta.get(f"ZEROPT_{other}", _PAPER_ZERO_POINT))
    error = np.asarray(table["Gaia_parallax_err"])
    with np.errstate(invalid="ignore", divide="ignore"):
        return (error > 0) & (raw / error >= _BEST_SNR)
