"""What the panels of the figures have in common: quantities, samples, stars with values, limits, ticks, star counts."""

import numpy as np
from astropy.table import Table

from spfast.config import BEST_SNR
from spfast.data.tables.values import float_column
from spfast.errors import BadInputError
from spfast.validation.read_catalog import total_error_column

__all__ = [
    "MINUS",
    "QUANTITIES",
    "REFERENCES",
    "SAMPLES",
    "SPEC_LABEL",
    "count_note",
    "finite_rows",
    "plain_ticks",
    "sample_mask",
    "span",
    "total_error",
    "values_of",
]

#: In texts that matplotlib does not typeset as mathematics.
MINUS = "\N{MINUS SIGN}"
#: What a star can be coloured by or set against: label, limits, colour map; limits None: from the data.
QUANTITIES = {
    "SNR": ("spectral S/N per pixel", None, "viridis"),
    "TEFF": (r"$T_\mathrm{eff}$ [K]", (3600.0, 4800.0), "plasma"),
    "LOGG": (r"$\log g$ [dex]", (0.0, 2.2), "viridis"),
    "FE_H": ("[Fe/H] [dex]", (-1.0, 0.5), "viridis"),
    "ALPHA_M": (r"[$\alpha$/M] [dex]", (-0.1, 0.35), "cividis"),
    "H-W2": (r"$H - W_2$ [mag]", (0.0, 0.5), "inferno"),
    "J-K": (r"$J - K_s$ [mag]", None, "viridis"),
    "BP-RP": (r"$G_\mathrm{BP} - G_\mathrm{RP}$ [mag]", None, "viridis"),
    "phot_g_mean_mag": (r"$G$ [mag]", None, "viridis"),
    "glat": ("Galactic latitude [deg]", None, "viridis"),
    "ecl_lat": ("ecliptic latitude [deg]", None, "viridis"),
    "n_bad_pixels": ("bad pixels", None, "viridis"),
}

#: Samples of the validation and how a figure names them.
SAMPLES = {
    "parent": "parent sample",
    "training": "training set",
    "best": rf"training set, $\varpi/\sigma \geq {BEST_SNR:.0f}$",
}
#: What the spectrophotometric parallax is compared with: columns of value and error, label.
REFERENCES = {
    "gaia": ("Gaia_parallax", "Gaia_parallax_err", r"Gaia parallax $\varpi^\mathrm{(a)}$ [mas]"),
    "truth": ("true_parallax", None, "true parallax [mas]"),
}
#: Label of the spectrophotometric parallax.
SPEC_LABEL = r"spectrophotometric $\varpi^\mathrm{(sp)}$ [mas]"


def values_of(table: Table, name: str) -> np.ndarray:
    """Return a column as float64 with NaN for missing values (-9999)."""
    if name not in table.colnames:
        raise BadInputError(f"the figure needs the column {name}; give the survey that the catalog was made from")
    return float_column(table, name)


def total_error(table: Table) -> np.ndarray:
    """Return the total error of the spectrophotometric parallax where the catalog has it, else that of the features."""
    return values_of(table, total_error_column(table))


def sample_mask(table: Table, sample: str) -> np.ndarray:
    """Return which stars are in a sample of `SAMPLES` (bool array)."""
    if sample not in SAMPLES:
        raise BadInputError(f"sample {sample!r}: expected one of {', '.join(SAMPLES)}")
    return np.ones(len(table), dtype=bool) if sample == "parent" else np.asarray(table[sample], dtype=bool)


def finite_rows(what: str, *columns: np.ndarray, within: np.ndarray | None = None, at_least: int = 1) -> np.ndarray:
    """Return the rows in which all columns are finite (int64 array).

    Parameters
    ----------
    what : str
        What the message calls the figure.
    *columns : float array, shape (n_stars,)
    within : bool array, shape (n_stars,), optional
        Only these stars; all by default.
    at_least : int

    Raises
    ------
    BadInputError
        If there are fewer rows than ``at_least``.
    """
    good = np.all([np.isfinite(column) for column in columns], axis=0)
    rows = np.flatnonzero(good if within is None else good & within)
    if rows.size < at_least:
        n_stars = good.size if within is None else int(np.count_nonzero(within))
        raise BadInputError(f"{what}: {rows.size} of {n_stars} stars have what it needs, expected at least {at_least}")
    return rows


def span(values: np.ndarray, low: float = 0.5, high: float = 99.5, margin: float = 0.05) -> tuple[float, float]:
    """Return the limits of an axis that hold all values between two percentiles."""
    first, last = np.percentile(values, [low, high])
    pad = margin * (last - first) or 0.1 * abs(last) or 0.1
    return float(first - pad), float(last + pad)


def count_note(ax, rows: np.ndarray, x: np.ndarray, y: np.ndarray, name: str = "") -> None:
    """Write the number of stars, and how many lie outside the frame, into the upper left corner."""
    (x0, x1), (y0, y1) = sorted(ax.get_xlim()), sorted(ax.get_ylim())
    outside = int(np.count_nonzero((x < x0) | (x > x1) | (y < y0) | (y > y1)))
    text = f"{name}\n" if name else ""
    text += f"{len(rows):,} star{'s' if len(rows) != 1 else ''}" + (f", {outside:,} outside" if outside else "")
    box = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1.5}
    ax.text(0.03, 0.97, text, transform=ax.transAxes, va="top", fontsize="small", bbox=box, zorder=5)


def plain_ticks(axis, narrow: bool = False) -> None:
    """Write numbers instead of powers of ten on a logarithmic axis that spans a decade or two."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 3.0) if narrow else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())
