"""What a star's residual may depend on: its brightness, colours, labels, signal-to-noise and place."""

import numpy as np

from spfast.errors import BadInputError
from spfast.products.joined import match_names
from spfast.products.table1 import find_column
from spfast.products.tables import float_column

__all__ = ["COVARIATES", "covariates"]

#: Name: the star table's columns (the difference of two), and the step that a slope is quoted for.
COVARIATES = {
    "G": (("phot_g_mean_mag",), 1.0, "1 mag"),
    "BP-RP": (("phot_bp_mean_mag", "phot_rp_mean_mag"), 1.0, "1 mag"),
    "H-W2": (("H", "w2mpro"), 1.0, "1 mag"),
    "Teff": (("TEFF",), 1000.0, "1000 K"),
    "log g": (("LOGG",), 1.0, "1 dex"),
    "[Fe/H]": (("FE_H",), 1.0, "1 dex"),
    "S/N": (("SNR",), 100.0, "100"),
    "|b|": (("glat",), 10.0, "10 deg"),
}


def covariates(names, stars):
    """Return the quantities of `COVARIATES` for a catalog's stars.

    Parameters
    ----------
    names : list of str
        2MASS names of the catalog's stars.
    stars : astropy Table
        A survey's star table; missing values are NaN or -9999.

    Returns
    -------
    dict of float64 array, shape (n_stars,)
        NaN where a star has none or is not in the table; quantities whose column is missing are left out.

    Raises
    ------
    BadInputError
        If no star of the catalog is in the table.
    """
    rows = match_names(names, np.asarray(stars[find_column(stars, "2MASS_ID", "the survey's star table")]))
    if not (rows >= 0).any():
        raise BadInputError("no star of the catalog is in the survey; is it the survey of this catalog?")
    found = {}
    for name, (columns, _, _) in COVARIATES.items():
        if all(column in stars.colnames for column in columns):
            values = float_column(stars, columns[0])
            if len(columns) == 2:
                values = values - float_column(stars, columns[1])
            if name == "|b|":
                values = np.abs(values)
            found[name] = np.where(rows >= 0, values[rows], np.nan)
    return found
