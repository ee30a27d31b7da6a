"""Figures of residuals: against what a star is, against what Gaia's zero point depends on, and by flag."""

from typing import NamedTuple

import numpy as np
from astropy.table import Table

from spfast.errors import BadInputError
from spfast.figures.panel import (
    MINUS,
    QUANTITIES,
    REFERENCES,
    count_note,
    finite_rows,
    plain_ticks,
    sample_mask,
    span,
    total_error,
    values_of,
)
from spfast.figures.style import COLOURS, draw_stars
from spfast.validation.residuals import half_width, median_error

__all__ = ["BIN_STARS", "Bins", "median_bins", "plot_flags", "plot_medians", "plot_trend", "plot_zero_point"]

#: Bins of a trend and the fewest stars that one holds.
_BINS, BIN_STARS = 12, 15


class Bins(NamedTuple):
    """Bins of equally many stars along x: median of x, percentiles of y, error of its median (float64 arrays)."""

    centre: np.ndarray
    low: np.ndarray
    middle: np.ndarray
    high: np.ndarray
    error: np.ndarray


def median_bins(x: np.ndarray, y: np.ndarray, n_bins: int = _BINS) -> Bins:
    """Return medians and the 16-84% range of y in bins of equally many stars along x.

    Parameters
    ----------
    x, y : float array, shape (n_stars,)
    n_bins : int
        At most; fewer stars make fewer bins, and with too few for one there is none.

    Returns
    -------
    Bins

    Examples
    --------
    >>> import numpy as np
    >>> from spfast.figures.residuals import median_bins
    >>> bins = median_bins(np.arange(60.0), np.arange(60.0))
    >>> bins.middle.tolist()
    [7.0, 22.0, 37.0, 52.0]
    """
    n_bins = min(n_bins, x.size // BIN_STARS)
    if not n_bins:
        return Bins(*np.empty((5, 0)))
    parts = np.array_split(np.argsort(x), n_bins)
    low, middle, high = np.transpose([np.percentile(y[part], [16, 50, 84]) for part in parts])
    error = median_error((high - low) / 2, np.array([part.size for part in parts]))
    return Bins(np.array([np.median(x[part]) for part in parts]), low, middle, high, error)


def plot_medians(ax, x: np.ndarray, y: np.ndarray) -> None:
    """Draw the medians of y in bins of equally many stars along x with their errors, and shade the 16-84% range.

    Parameters
    ----------
    ax : matplotlib Axes
    x, y : float array, shape (n_stars,)
        With too few stars for one bin nothing is drawn.
    """
    bins = median_bins(x, y)
    ax.fill_between(bins.centre, bins.low, bins.high, color=COLOURS["blue"], alpha=0.2, zorder=4, linewidth=0)
    ax.errorbar(bins.centre, bins.middle, yerr=bins.error, color=COLOURS["blue"], marker="o", markersize=2.5, zorder=5)


def plot_trend(table: Table, ax, quantity: str, sample: str = "training", reference: str = "gaia") -> None:
    """Draw the fractional residual against a quantity, with medians in bins of equally many stars and the 16-84% range.

    Parameters
    ----------
    table : astropy Table
        Of `figure_table`.
    ax : matplotlib Axes
    quantity : str
        A key of `spfast.figures.panel.QUANTITIES`.
    sample, reference : str
        As for `plot_parallaxes`.
    """
    column, _, _ = REFERENCES[reference]
    x, spec, other = values_of(table, quantity), values_of(table, "spec_parallax"), values_of(table, column)
    # By the spectrophotometric parallax: a noisy Gaia parallax under the line would tilt every trend.
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        residual = (spec - other) / spec
    rows = finite_rows("residual trends", x, residual, within=sample_mask(table, sample))
    x, y = x[rows], residual[rows]
    logarithmic = quantity == "SNR"
    x_range = span(np.log(np.maximum(x, 1.0)) if logarithmic else x, 0.5, 99.5, 0.02)
    if logarithmic:
        ax.set_xscale("log")
        plain_ticks(ax.xaxis)
        x_range = tuple(np.exp(x_range))
    reach = np.clip(1.3 * np.abs(np.percentile(y, [5, 95])).max(), 0.1, 1.5)
    limits = (x_range, (-reach, reach))
    # Whole numbers in few cells would make stripes of the contours.
    draw_stars(ax, x, y, limits=limits, contours=quantity != "n_bad_pixels")
    ax.axhline(0.0, color="black", linewidth=0.8, zorder=4)
    plot_medians(ax, x, y)
    ax.set_xlabel(QUANTITIES[quantity][0])
    name = "Gaia" if reference == "gaia" else "true"
    ax.set_ylabel(rf"($\varpi^\mathrm{{(sp)}}$ {MINUS} {name}) / $\varpi^\mathrm{{(sp)}}$")
    count_note(ax, rows, x, y)


#: Bins of the zero point: a median of few stars says nothing about microarcseconds.
_ZERO_POINT_BINS = 8
_UAS = 1000.0  # in one mas


def plot_zero_point(table: Table, ax, quantity: str, absolute: bool = True) -> None:
    """Draw medians of Gaia minus spectrophotometric parallax of training stars against what a zero point depends on.

    Parameters
    ----------
    table : astropy Table
        Of `figure_table`.
    ax : matplotlib Axes
    quantity : str
        A key of `spfast.figures.panel.QUANTITIES`.
    absolute : bool
        The difference [microarcsec], of far stars alone: those whose spectrophotometric error is smaller than Gaia's.
        Else the difference over the spectrophotometric parallax [%], of all training stars.
    """
    x, gaia, spec = (values_of(table, name) for name in (quantity, "Gaia_parallax", "spec_parallax"))
    within = sample_mask(table, "training")
    if absolute:
        with np.errstate(invalid="ignore"):
            within = within & (total_error(table) < values_of(table, "Gaia_parallax_err"))
        y = _UAS * (gaia - spec)
    else:
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            y = 100.0 * (gaia - spec) / spec
    rows = finite_rows("zero point", x, y, within=within, at_least=BIN_STARS)
    x, y = x[rows], y[rows]
    bins = median_bins(x, y, _ZERO_POINT_BINS)
    overall, error = float(np.median(y)), float(median_error(half_width(y), y.size))
    colour = COLOURS["blue"]
    ax.axhline(0.0, color="black", linewidth=0.8, zorder=2)
    ax.axhspan(overall - error, overall + error, color=colour, alpha=0.2, linewidth=0, zorder=1)
    style = {"color": colour, "marker": "o", "markersize": 3, "linewidth": 0.8, "zorder": 4}
    ax.errorbar(bins.centre, bins.middle, yerr=bins.error, **style)
    reach = 1.15 * max((np.abs(bins.middle) + bins.error).max(), abs(overall) + error)
    ax.set_xlim(*span(x, 0.5, 99.5, 0.02))
    ax.set_ylim(-reach, 1.35 * reach)
    ax.set_xlabel(QUANTITIES[quantity][0])
    what = r"Gaia $-$ $\varpi^\mathrm{(sp)}$"
    ax.set_ylabel(rf"{what} [$\mu$as]" if absolute else rf"({what}) / $\varpi^\mathrm{{(sp)}}$ [%]")
    unit = "\N{MICRO SIGN}as" if absolute else "%"
    text = f"{y.size:,} {'far' if absolute else 'training'} stars\n"
    text += f"median {overall:+.2g} \N{PLUS-MINUS SIGN} {error:.2g} {unit}"
    ax.text(0.03, 0.97, text.replace("-", MINUS), transform=ax.transAxes, va="top", fontsize="small")


#: What `plot_flags` draws: columns of `flag_residuals`, the factor, and the axis' label.
_OF_FLAGS = {
    "median": ("median residual [%]", 100.0),
    "scatter": ("scatter of the residual [%]", 100.0),
    "pull": ("residual / error, width", 1.0),
}


def plot_flags(flags: Table, ax, what: str = "median") -> None:
    """Draw a measure of the residuals of each flag's stars beside that of the stars without the flag.

    Parameters
    ----------
    flags : astropy Table
        Of `spfast.validation.flag_residuals`, against one reference.
    ax : matplotlib Axes
    what : str
        ``"n"`` for the number of stars with the flag, ``"median"``, ``"scatter"`` or ``"pull"``.
    """
    if not len(flags):
        raise BadInputError("flags: no star of the catalog has a flag")
    place = np.arange(len(flags))
    ax.set_yticks(place, [str(name).replace("_", " ") for name in flags["flag"]])
    ax.set_ylim(len(flags) - 0.4, -0.6)
    ax.minorticks_off()
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", color="0.9", linewidth=0.5)
    ax.set_axisbelow(True)
    if what == "n":
        ax.barh(place, flags["n"], height=0.6, color=COLOURS["sky"])
        ax.set_xscale("log")
        ax.set_xlim(0.5, 30.0 * max(flags["n"]))
        for i, n in enumerate(flags["n"]):
            ax.annotate(f"{n:,}", (n, i), xytext=(3, 0), textcoords="offset points", va="center", fontsize="x-small")
        ax.set_xlabel("stars with the flag")
        return
    label, factor = _OF_FLAGS[what]
    values, errors, rest = (factor * np.asarray(flags[name]) for name in (what, f"{what}_error", f"{what}_rest"))
    ax.hlines(place, np.fmin(values, rest), np.fmax(values, rest), color="0.6", linewidth=0.8, zorder=2)
    ax.plot(rest, place, "o", color="white", markeredgecolor="black", markersize=4, label="without the flag", zorder=3)
    style = {"color": COLOURS["orange"], "markersize": 4, "elinewidth": 1.0, "zorder": 4}
    ax.errorbar(values, place, xerr=errors, fmt="s", label="with the flag", **style)
    ax.axvline({"median": 0.0, "pull": 1.0}.get(what, np.nan), color="black", linewidth=0.8, zorder=1)
    ax.set_xlabel(label)
