"""The paper's figures of stars, panel by panel: each function draws a table into an Axes of the caller's."""

import numpy as np
from astropy.table import Table

from spfast.config import SampleConfig
from spfast.errors import BadInputError
from spfast.figures.panel import (
    QUANTITIES,
    REFERENCES,
    SAMPLES,
    SPEC_LABEL,
    count_note,
    finite_rows,
    plain_ticks,
    sample_mask,
    span,
    total_error,
    values_of,
)
from spfast.figures.style import COLOURS, draw_stars, plain_text
from spfast.validation.clusters import cluster_means
from spfast.validation.read_catalog import total_error_column

__all__ = ["plot_cluster", "plot_colours", "plot_map", "plot_parallaxes", "plot_precision"]


def plot_colours(
    table: Table, ax, colour: str = "J-K", sample: str = "parent", cuts: SampleConfig | None = None
) -> None:
    """Draw Figure 1: a colour against BP-RP, coloured by log g, with the line that cuts the sample.

    Parameters
    ----------
    table : astropy Table
        Of `figure_table` with a survey.
    ax : matplotlib Axes
    colour : str
        ``"J-K"`` (Eq. 6) or ``"H-W2"`` (Eq. 7).
    sample : str
        ``"parent"`` or ``"training"``.
    cuts : SampleConfig, optional

    Raises
    ------
    BadInputError
        If a column is missing or no star has its values; the same goes for all functions here.
    """
    cuts = SampleConfig() if cuts is None else cuts
    bp_rp, other, logg = (values_of(table, name) for name in ("BP-RP", colour, "LOGG"))
    logg = logg if np.isfinite(logg).any() else None
    rows = finite_rows("Figure 1", bp_rp, other, *([] if logg is None else [logg]), within=sample_mask(table, sample))
    x, y = bp_rp[rows], other[rows]
    x_range = span(bp_rp[np.isfinite(bp_rp)], 0.1, 99.8)
    line = np.array(x_range)
    edge = cuts.jk_offset + cuts.jk_slope * line if colour == "J-K" else np.full(2, cuts.hw2_min)
    y_range = span(other[np.isfinite(other)], 0.1, 99.8)
    y_range = (min(y_range[0], edge.min() - 0.1) if colour == "H-W2" else y_range[0], y_range[1])
    if logg is None:
        draw_stars(ax, x, y, limits=(x_range, y_range))
    else:
        _coloured(ax, x, y, logg[rows], "LOGG", (x_range, y_range))
    ax.plot(line, edge, color="black", linestyle="--", linewidth=0.9, zorder=4)
    ax.set_xlabel(QUANTITIES["BP-RP"][0])
    ax.set_ylabel(QUANTITIES[colour][0])
    count_note(ax, rows, x, y, SAMPLES[sample])


def _coloured(ax, x, y, colour, name, limits):
    """Draw stars coloured by a quantity, with its colour bar."""
    from matplotlib.colors import LogNorm, Normalize

    label, colour_range, cmap = QUANTITIES[name]
    if name == "SNR":
        colour = np.maximum(colour, 1.0)
        low, high = np.percentile(colour, [2, 98])
        norm = LogNorm(low, max(high, 1.01 * low))
    else:
        norm = Normalize(*(colour_range or span(colour, 2, 98)))
    mappable = draw_stars(ax, x, y, colour, limits, cmap, norm)
    extend = "both" if colour_range else "neither"
    bar = ax.figure.colorbar(mappable, ax=ax, label=label, pad=0.02, aspect=25, extend=extend)
    if name == "SNR":
        plain_ticks(bar.ax.yaxis)


def plot_parallaxes(
    table: Table, ax, sample: str = "training", colour: str | None = "SNR", reference: str = "gaia"
) -> None:
    """Draw Figures 2 and 3: the spectrophotometric parallax against Gaia's or the true one, with the one-to-one line.

    Parameters
    ----------
    table : astropy Table
        Of `figure_table`.
    ax : matplotlib Axes
    sample : str
        ``"parent"``, ``"training"`` or ``"best"``.
    colour : str or None
        A key of `spfast.figures.panel.QUANTITIES`; None for grey.
    reference : str
        ``"gaia"`` or ``"truth"``.
    """
    column, _, label = REFERENCES[reference]
    other, spec = values_of(table, column), values_of(table, "spec_parallax")
    hue = np.zeros(len(table)) if colour is None else values_of(table, colour)
    rows = finite_rows("parallaxes", other, spec, hue, within=sample_mask(table, sample))
    x, y = other[rows], spec[rows]
    low, high = span(np.concatenate([x, y]), 0.3, 99.7)
    limits = ((min(low, 0.0), high), (min(low, 0.0) if low > -0.1 else -0.1 * high, high))
    if colour is None:
        draw_stars(ax, x, y, limits=limits)
    else:
        _coloured(ax, x, y, hue[rows], colour, limits)
    ax.plot(limits[0], limits[0], color="black", linewidth=0.8, zorder=4)
    ax.set_xlabel(label)
    ax.set_ylabel(SPEC_LABEL)
    count_note(ax, rows, x, y, SAMPLES[sample])


def plot_cluster(table: Table, ax, cluster: str, rows: np.ndarray, literature: Table | None = None) -> None:
    """Draw Figure 4: the members' Gaia and spectrophotometric parallaxes, their means as lines, the literature dashed.

    Parameters
    ----------
    table : astropy Table
        A catalog, or one of `figure_table`.
    ax : matplotlib Axes
    cluster : str
    rows : int array
        The members' rows, of `select_members` or `members_from_table`.
    literature : astropy Table, optional
        As for `cluster_means`.
    """
    means = cluster_means(table, {cluster: rows}, literature)[0]
    order = rows[np.argsort(values_of(table[rows], "spec_parallax"))]
    height = np.linspace(0.0, 1.0, len(order) + 2)[1:-1]
    shift = 0.2 / (len(order) + 1)
    size = max(5.0 * (10.0 / max(len(order), 10)) ** 0.5, 1.0)
    series = (
        ("Gaia", "gaia", COLOURS["orange"], "Gaia_parallax", "Gaia_parallax_err", -shift, "s"),
        ("spectrophotometric", "spec", COLOURS["blue"], "spec_parallax", total_error_column(table), shift, "o"),
    )
    for label, name, colour, value, error, offset, marker in series:
        x, width = values_of(table[order], value), values_of(table[order], error)
        good = np.isfinite(x) & np.isfinite(width)
        style = {"fmt": marker, "color": colour, "markersize": size, "elinewidth": 0.5, "alpha": 0.55}
        ax.errorbar(x[good], (height + offset)[good], xerr=width[good], label=label, linestyle="none", **style)
        ax.axvspan(means[name] - means[f"{name}_error"], means[name] + means[f"{name}_error"], color=colour, alpha=0.25)
        ax.axvline(means[name], color=colour, linewidth=1.2)
    if np.isfinite(means["literature"]):
        ax.axvline(means["literature"], color="black", linestyle="--", linewidth=1.0, label="literature")
    every = np.concatenate([values_of(table[rows], value) for *_, value, _, _, _ in series])
    ax.set_xlim(*span(every[np.isfinite(every)], 2, 98, 0.25))
    ax.set_ylim(0.0, 1.0)
    ax.set_yticks([])
    ax.set_ylabel("members")
    ax.set_xlabel("parallax [mas]")
    difference = f"{means['difference']:+.1f}".replace("-", "\N{MINUS SIGN}")
    ax.set_title(f"{plain_text(cluster)}: {len(rows)} member{'s' if len(rows) != 1 else ''}, {difference}$\\sigma$")


def plot_precision(table: Table, ax, distance_max: float = 20.0) -> None:
    """Draw Figure 5: G against distance, coloured by the ratio of Gaia's error to the spectrophotometric one.

    Parameters
    ----------
    table : astropy Table
        Of `figure_table` with a survey.
    ax : matplotlib Axes
    distance_max : float [kpc]
    """
    from matplotlib.colors import Normalize

    g, spec = values_of(table, "phot_g_mean_mag"), values_of(table, "spec_parallax")
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        ratio = np.log10(values_of(table, "Gaia_parallax_err") / total_error(table))
        distance = 1.0 / spec
    rows = finite_rows("Figure 5", g, distance, ratio)
    x, y = distance[rows], g[rows]
    low, high = span(y, 0.2, 99.8)
    limits = ((0.0, distance_max), (high, low))
    mappable = draw_stars(ax, x, y, ratio[rows], limits, "RdBu", Normalize(-1.0, 1.0))
    label = r"$\log_{10}(\sigma_\mathrm{Gaia} / \sigma_\mathrm{sp})$"
    ax.figure.colorbar(mappable, ax=ax, label=label, pad=0.02, aspect=25, extend="both")
    ax.set_facecolor("0.88")  # the middle of the colour map is white: stars there must not vanish
    ax.set_xlabel(r"distance $1 / \varpi^\mathrm{(sp)}$ [kpc]")
    ax.set_ylabel(r"$G$ [mag]")
    better = np.mean(ratio[rows] > 0)
    count_note(ax, rows, x, y, f"smaller error than Gaia's: {better:.0%}")


#: What the map can show: column, label, colour map, limits.
_MAPS = {
    "FE_H": ("mean [Fe/H] [dex]", "cividis"),
    "ALPHA_M": (r"mean [$\alpha$/M] [dex]", "cividis"),
    "n": ("stars in the cell", "viridis"),
    "distance_error": ("median error of the distance [%]", "magma_r"),
}
#: Length of the longest arrows in cells, for this velocity [km/s], and how many stand side by side.
_ARROW_CELLS, _ARROW_VELOCITY, _ARROWS = 1.3, 250.0, 20


def plot_map(cells: Table, ax, quantity: str = "FE_H", arrows: bool = True) -> None:
    """Draw Figure 6: the Galactic plane in cells, with arrows for their mean velocities.

    Parameters
    ----------
    cells : astropy Table
        Of `map_cells`.
    ax : matplotlib Axes
    quantity : str
        ``"FE_H"``, ``"ALPHA_M"``, ``"n"`` or ``"distance_error"``.
    arrows : bool
    """
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.patheffects import Normal, withStroke

    if not len(cells):
        raise BadInputError("the map: no cell to draw")
    label, cmap = _MAPS[quantity]
    size, x, y = cells.meta["cell"], np.asarray(cells["x"]), np.asarray(cells["y"])
    values = np.asarray(cells[quantity], dtype=float) * (100.0 if quantity == "distance_error" else 1.0)
    finite = values[np.isfinite(values)]
    norm = LogNorm(finite.min(), max(finite.max(), 10.0)) if quantity == "n" else Normalize(*span(finite, 3, 97, 0.0))
    half = size / 2
    x_edges, y_edges = (np.arange(a.min() - half, a.max() + size, size) for a in (x, y))
    grid = np.full((y_edges.size - 1, x_edges.size - 1), np.nan)
    grid[((y - y_edges[0]) // size).astype(int), ((x - x_edges[0]) // size).astype(int)] = values
    mesh = ax.pcolormesh(x_edges, y_edges, grid, cmap=cmap, norm=norm, rasterized=True)
    bar = ax.figure.colorbar(mesh, ax=ax, label=label, pad=0.02, aspect=25)
    if quantity == "n":
        plain_ticks(bar.ax.yaxis)
    if arrows:
        # No more arrows side by side than a reader can distinguish.
        step = max(1, round(max(grid.shape) / _ARROWS))
        columns, rows = (np.floor(a / size).astype(int) for a in (x, y))
        drawn = (columns % step == 0) & (rows % step == 0)
        scale = _ARROW_VELOCITY / (_ARROW_CELLS * size * step)
        options = {"angles": "xy", "scale_units": "xy", "scale": scale, "width": 0.0055, "headwidth": 4.0}
        options |= {"headlength": 4.5, "headaxislength": 4.0, "pivot": "middle", "zorder": 3}
        field = ax.quiver(x[drawn], y[drawn], cells["v_x"][drawn], cells["v_y"][drawn], **options)
        field.set_path_effects([withStroke(linewidth=1.4, foreground="white"), Normal()])
        ax.quiverkey(field, 0.72, 1.04, 200.0, "200 km/s", labelpos="E", coordinates="axes")
    ax.plot(
        cells.meta["sun_x"], 0.0, marker="*", color="white", markeredgecolor="black", markersize=8, linestyle="none"
    )
    ax.plot(0.0, 0.0, marker="+", color="black", markersize=8, linestyle="none")
    ax.set_xlim(min(x_edges[0], -8.5) - size, max(x_edges[-1], 0.0) + size)
    ax.set_ylim(y_edges[0] - size, y_edges[-1] + size)
    ax.set_aspect("equal", adjustable="box")
    ax.set_xlabel(r"Galactocentric $x$ [kpc]")
    ax.set_ylabel(r"Galactocentric $y$ [kpc]")
