"""What residuals are set against: a star's magnitude, colours, labels, signal-to-noise ratio and latitudes."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from astropy.table import Table

from spfast.data.identifiers import match_names
from spfast.data.tables.values import float_column
from spfast.data.zero_point import ecliptic_latitude
from spfast.errors import BadInputError
from spfast.validation.read_catalog import find_column

__all__ = ["QUANTITIES", "Quantity", "star_quantities"]


class Quantity(NamedTuple):
    """Columns of the star table, the step that a slope is given for as number and text, and what is made of them."""

    columns: tuple[str, ...]
    step: float
    step_text: str
    combine: Callable[..., np.ndarray] = np.asarray


#: By name.
QUANTITIES = {
    "G": Quantity(("phot_g_mean_mag",), 1.0, "1 mag"),
    "BP-RP": Quantity(("phot_bp_mean_mag", "phot_rp_mean_mag"), 1.0, "1 mag", np.subtract),
    "H-W2": Quantity(("H", "w2mpro"), 1.0, "1 mag", np.subtract),
    "Teff": Quantity(("TEFF",), 1000.0, "1000 K"),
    "log g": Quantity(("LOGG",), 1.0, "1 dex"),
    "[Fe/H]": Quantity(("FE_H",), 1.0, "1 dex"),
    "S/N": Quantity(("SNR",), 100.0, "100"),
    "|b|": Quantity(("glat",), 10.0, "10 deg", np.abs),
    "ecl. lat.": Quantity(("ra", "dec"), 10.0, "10 deg", ecliptic_latitude),
}


def star_quantities(names: Sequence[str], stars: Table) -> dict[str, np.ndarray]:
    """Return the quantities of a catalog's stars.

    Parameters
    ----------
    names : list of str
        2MASS names of the catalog's stars.
    stars : astropy Table
        A survey's star table; missing values are NaN or -9999.

    Returns
    -------
    dict of float64 array, shape (n_stars,)
        By the names of `QUANTITIES`, without those whose columns the table lacks; NaN where a star has no value or is
        not in the table.

    Raises
    ------
    BadInputError
        If no star of the catalog is in the table.
    """
    rows = match_names(names, np.asarray(stars[find_column(stars, "2MASS_ID", "the survey's star table")]))
    if not (rows >= 0).any():
        raise BadInputError("no star of the catalog is in the survey; is it the survey of this catalog?")
    quantities = {}
    for name, quantity in QUANTITIES.items():
        if all(column in stars.colnames for column in quantity.columns):
            values = quantity.combine(*(float_column(stars, column) for column in quantity.columns))
            quantities[name] = np.where(rows >= 0, values[rows], np.nan)
    return quantities
