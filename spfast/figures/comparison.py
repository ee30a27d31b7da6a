"""Figures of two catalogs of the same stars, one against the other."""

from dataclasses import dataclass

import numpy as np
from astropy.table import Table

from spfast.errors import BadInputError
from spfast.figures.panel import QUANTITIES, count_note, finite_rows, plain_ticks, span, values_of
from spfast.figures.residuals import plot_medians
from spfast.figures.sheets import Sheet
from spfast.figures.sky import plot_sky
from spfast.figures.style import COLOURS, PAGE_WIDTH, draw_stars, new_axes
from spfast.validation.comparison import MatchedStars

__all__ = [
    "COMPARE_SHEETS",
    "CompareData",
    "plot_both",
    "plot_difference",
    "plot_difference_pulls",
]


@dataclass(frozen=True)
class CompareData:
    """The table of one catalog (of `figure_table`) and the stars that another catalog has too."""

    table: Table
    stars: MatchedStars


_DIFFERENCE = r"$\ln(\varpi_\mathrm{this} / \varpi_\mathrm{other})$"


def plot_both(stars: MatchedStars, ax, distances: bool = False) -> None:
    """Draw one catalog's parallaxes or distances against the other's, with the one-to-one line.

    Parameters
    ----------
    stars : MatchedStars
    ax : matplotlib Axes
    distances : bool
        1 / parallax [kpc] on logarithmic axes instead of the parallax [mas].
    """
    x, y = (stars.other_spec, stars.spec) if not distances else (1.0 / stars.other_spec, 1.0 / stars.spec)
    if distances:
        low, high = np.exp(span(np.log(np.concatenate([x, y])), 0.1, 99.9))
        ax.set_xscale("log")
        ax.set_yscale("log")
    else:
        low, high = 0.0, span(np.concatenate([x, y]), 0.3, 99.7)[1]
    draw_stars(ax, x, y, limits=((low, high), (low, high)))
    ax.plot([low, high], [low, high], color="black", linewidth=0.8, zorder=4)
    what, unit = ("distance", "kpc") if distances else ("spectrophotometric parallax", "mas")
    ax.set_xlabel(f"{what}, other catalog [{unit}]")
    ax.set_ylabel(f"{what}, this catalog [{unit}]")
    if distances:
        plain_ticks(ax.xaxis)
        plain_ticks(ax.yaxis)
    count_note(ax, stars.rows, x, y)


def plot_difference(stars: MatchedStars, ax, x: np.ndarray, label: str, logarithmic: bool = False) -> None:
    """Draw the logarithm of the ratio of the parallaxes against a quantity, with medians and the 16-84% range.

    Parameters
    ----------
    stars : MatchedStars
    ax : matplotlib Axes
    x : float array, shape (n_stars,)
        The quantity of each matched star, NaN where it is missing.
    label : str
        With its unit.
    logarithmic : bool
    """
    rows = finite_rows(f"difference by {label}", np.log(x) if logarithmic else x, stars.ratio)
    x, y = x[rows], stars.ratio[rows]
    x_range = span(np.log(x) if logarithmic else x, 0.3, 99.7, 0.02)
    if logarithmic:
        ax.set_xscale("log")
        plain_ticks(ax.xaxis)
        x_range = tuple(np.exp(x_range))
    reach = max(1.4 * np.abs(np.percentile(y, [2, 98])).max(), 1e-3)
    draw_stars(ax, x, y, limits=(x_range, (-reach, reach)))
    ax.axhline(0.0, color="black", linewidth=0.8, zorder=4)
    plot_medians(ax, x, y)
    ax.set_xlabel(label)
    ax.set_ylabel(_DIFFERENCE)
    count_note(ax, rows, x, y)


def plot_difference_pulls(stars: MatchedStars, ax) -> None:
    """Draw the differences over both catalogs' errors beside a unit Gaussian.

    Parameters
    ----------
    stars : MatchedStars
    ax : matplotlib Axes
    """
    pull = stars.pull[finite_rows("differences over errors", stars.pull, at_least=5)]
    low, middle, high = np.percentile(pull, [16, 50, 84])
    edges = np.linspace(-5.0, 5.0, 61)
    density = np.histogram(pull, edges)[0] / pull.size / np.diff(edges)
    label = f"median {middle:+.2f},\nwidth {(high - low) / 2:.2f}".replace("-", "\N{MINUS SIGN}")
    ax.stairs(density, edges, color=COLOURS["blue"], label=label, linewidth=1.1)
    grid = np.linspace(-5.0, 5.0, 201)
    unit = np.exp(-0.5 * grid**2) / np.sqrt(2.0 * np.pi)
    ax.plot(grid, unit, color="black", linestyle="--", linewidth=0.8, label="unit Gaussian")
    ax.set_xlim(-5.0, 5.0)
    ax.set_ylim(0.0, 1.35 * max(density.max(), unit.max()))
    ax.set_xlabel(f"{_DIFFERENCE} / error of both")
    ax.set_ylabel("density")
    ax.set_title(f"{pull.size:,} stars", fontsize="medium")
    ax.legend(loc="upper left")


def _both(data):
    figure, axes = new_axes(1, 2, PAGE_WIDTH, 3.3)
    plot_both(data.stars, axes[0])
    plot_both(data.stars, axes[1], distances=True)
    return figure


def _by_distance(data):
    figure, axes = new_axes(1, 2, PAGE_WIDTH, 3.0, width_ratios=(2, 1))
    plot_difference(data.stars, axes[0], data.stars.distance, "distance, geometric mean of both [kpc]", True)
    plot_difference_pulls(data.stars, axes[1])
    return figure


def _by_label(data):
    shown = [name for name in ("phot_g_mean_mag", "BP-RP", "FE_H", "LOGG") if name in data.table.colnames]
    if not shown:
        raise BadInputError("the figure needs the stars' labels; give the survey that the catalog was made from")
    figure, axes = new_axes(2, 2, PAGE_WIDTH, 4.8, sharey=True)
    for ax in axes[len(shown) :]:
        ax.remove()
    for i, (ax, name) in enumerate(zip(axes, shown, strict=False)):
        plot_difference(data.stars, ax, values_of(data.table, name)[data.stars.rows], QUANTITIES[name][0])
        if i % 2:
            ax.set_ylabel("")
    reach = max(ax.get_ylim()[1] for ax in axes[: len(shown)])
    axes[0].set_ylim(-reach, reach)
    return figure


def _sky(data):
    figure, axes = new_axes(1, 1, PAGE_WIDTH * 0.8, 3.6, subplot_kw={"projection": "mollweide"})
    plot_sky(data.table[data.stars.rows], axes[0], data.stars.ratio, f"median {_DIFFERENCE}")
    return figure


#: The figures of the page that compares two catalogs, in its order.
COMPARE_SHEETS = (
    Sheet(
        "compare_both",
        "One catalog against the other",
        "Stars that both catalogs have. Left: the two spectrophotometric parallaxes; right: the two distances, 1 over "
        "the parallax, on logarithmic axes. Look for stars along the line over the whole range, and for a second "
        "sequence beside it: stars that the two catalogs take for different objects.",
        "Spectrophotometric parallaxes and distances of this catalog against those of the other, with the one-to-one "
        "line.",
        _both,
    ),
    Sheet(
        "compare_distance",
        "Their difference, by distance and by error",
        "Left: logarithm of the ratio of the parallaxes, positive where this catalog puts a star nearer; medians with "
        "their errors, shaded where the central 68% lie. Look for a median that moves with distance: the two catalogs "
        "have different zero points or scales. Right: the differences of the two parallaxes over both catalogs' "
        "errors. Spectra and magnitudes "
        "are the same in both, so their share of the errors cancels and a width below 1 is expected; a width above 1 "
        "says that at least one catalog's errors are too small.",
        "Difference of the two parallaxes against distance with running medians, and a histogram of the differences "
        "over their errors beside a unit Gaussian.",
        _by_distance,
    ),
    Sheet(
        "compare_labels",
        "Their difference, by what the star is",
        "Logarithm of the ratio of the two parallaxes against magnitude, colour, [Fe/H] and log g. Look for medians "
        "on zero; a slope shows which stars the two models treat differently.",
        "Four panels of the difference of the two parallaxes against G, BP minus RP, [Fe/H] and log g.",
        _by_label,
    ),
    Sheet(
        "compare_sky",
        "Their difference on the sky",
        "Median logarithm of the ratio of the two parallaxes in cells of equal area with five stars or more, in "
        "Galactic coordinates, longitude growing to the left; grey where there are fewer. Look for noise alone: a "
        "pattern along the plane points at dust, one along Gaia's scanning law at the zero point.",
        "Map of the sky in Galactic coordinates, coloured by the median difference of the two parallaxes.",
        _sky,
    ),
)
