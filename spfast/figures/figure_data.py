"""What the figures are drawn from: a table of the catalog's stars, the survey, the models and other material."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Table

from spfast.config import Config
from spfast.data.identifiers import match_names
from spfast.data.survey import Survey
from spfast.data.tables.values import float_column
from spfast.data.zero_point import ecliptic_latitude
from spfast.errors import BadInputError
from spfast.model.fitted_model import FittedModel
from spfast.validation.read_catalog import read_catalog, true_parallaxes

__all__ = ["FigureData", "figure_table"]

#: Columns made of two magnitudes.
_COLOURS = {
    "BP-RP": ("phot_bp_mean_mag", "phot_rp_mean_mag"),
    "J-K": ("J", "K"),
    "H-W2": ("H", "w2mpro"),
}


@dataclass(frozen=True)
class FigureData:
    """All that the figures are drawn from; a figure that needs what is None or empty is left out."""

    table: Table  # of figure_table
    survey: Survey | None = None
    models: Mapping[str, FittedModel] = field(default_factory=dict)  # under A and B
    members: Mapping[str, np.ndarray] = field(default_factory=dict)  # rows of the table for each cluster
    literature: Table | None = None  # cluster distances
    tune: Table | None = None
    config: Config = field(default_factory=Config)

    @property
    def references(self) -> tuple[str, ...]:
        """What the parallaxes can be compared with: ``"gaia"`` and, if there is one, ``"truth"``."""
        return ("gaia", "truth") if "true_parallax" in self.table.colnames else ("gaia",)


def figure_table(catalog: Table, stars: Table | None = None, truth: Table | None = None) -> Table:
    """Return a catalog's stars with their labels and photometry and the truth, matched by the 2MASS name.

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
        The catalog's rows in their order, the paper's columns under the paper's names; ``training`` and ``best``
        (bool), ``Gaia_inflation``; from ``stars`` its own columns and the colours ``BP-RP``, ``J-K``, ``H-W2`` [mag];
        from ``truth`` its ``true_parallax`` [mas]; from ``ra`` and ``dec``, if it has them, ``glon``, ``glat`` and
        ``ecl_lat`` [deg]. NaN where ``stars`` or ``truth`` does not have the star.

    Raises
    ------
    BadInputError
        If a column is missing, the catalog is empty, or none of its stars is in ``stars`` or in ``truth``.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from spfast.figures.figure_data import figure_table
    >>> row = {"2MASS_ID": ["2M1"], "Gaia_parallax": [1.0], "Gaia_parallax_err": [0.02], "spec_parallax": [0.9]}
    >>> table = figure_table(Table({**row, "spec_parallax_err": [0.1], "training_set": [1], "sample": ["A"]}))
    >>> bool(table["best"][0])
    True
    """
    if not len(catalog):
        raise BadInputError("the catalog has no star; nothing to draw")
    arrays = read_catalog(catalog)
    table = Table({"2MASS_ID": arrays.names}, meta=dict(catalog.meta))
    for name, array in (
        ("Gaia_parallax", arrays.gaia),
        ("Gaia_parallax_err", arrays.gaia_error),
        ("spec_parallax", arrays.spec),
        ("spec_parallax_err", arrays.spec_error),
        ("Gaia_inflation", arrays.gaia_inflation),
        ("sample", arrays.fold),
        ("training", arrays.training),
        ("best", arrays.best),
    ):
        table[name] = array
    for name in catalog.colnames:
        if name not in table.colnames:
            table[name] = catalog[name]
    if stars is not None:
        rows = match_names(arrays.names, stars["APOGEE_ID"])
        if not (rows >= 0).any():
            raise BadInputError("no star of the catalog is in the survey; do the two belong together?")
        for name in stars.colnames:
            if name not in table.colnames:
                table[name] = _take(stars[name], rows)
        for name, (blue, red) in _COLOURS.items():
            table[name] = np.asarray(table[blue], dtype=float) - np.asarray(table[red], dtype=float)
    _add_places(table)
    if truth is not None:
        table["true_parallax"] = true_parallaxes(arrays.names, truth)
    return table


def _add_places(table):
    """Add what of Galactic and ecliptic coordinates a table lacks, if it says where its stars are."""
    if not {"ra", "dec"} <= set(table.colnames):
        return
    ra, dec = float_column(table, "ra"), float_column(table, "dec")
    known = np.isfinite(ra) & (np.abs(dec) <= 90.0)
    glon, glat = np.full((2, len(table)), np.nan)
    galactic = SkyCoord(ra[known], dec[known], unit="deg").galactic
    glon[known], glat[known] = galactic.l.deg, galactic.b.deg
    for name, places in (("glon", glon), ("glat", glat), ("ecl_lat", ecliptic_latitude(ra, dec))):
        if name in table.colnames:  # a survey of arrays has the column and no values
            own = float_column(table, name)
            places = np.where(np.isfinite(own), own, places)
        table[name] = places


def _take(column, rows):
    """Return rows of a column; NaN, an empty text, False or -1 where the row is -1."""
    values = (
        np.ma.filled(np.ma.asarray(column).astype(float), np.nan) if column.dtype.kind == "f" else np.asarray(column)
    )
    taken = values[rows]
    taken[rows < 0] = {"f": np.nan, "U": "", "S": b"", "b": False}.get(values.dtype.kind, -1)
    return taken
