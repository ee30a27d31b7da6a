"""The paper's figures, panel by panel: each function draws tables into an Axes of the caller's."""

import numpy as np

from spfast.config import SampleConfig
from spfast.data.tables.values import float_column
from spfast.errors import BadInputError
from spfast.figures.spectral_lines import SPECTRAL_LINES
from spfast.figures.style import COLOURS, points
from spfast.validation.clusters import cluster_means
from spfast.validation.read_catalog import total_error_column

__all__ = [
    "QUANTITIES",
    "plot_cluster",
    "plot_coefficients",
    "plot_colours",
    "plot_magnitude_coefficients",
    "plot_map",
    "plot_parallaxes",
    "plot_precision",
]

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
    "n_bad_pixels": ("masked pixels", None, "viridis"),
}

#: Samples of the validation and how a figure names them.
SAMPLES = {"parent": "parent sample", "training": "training set", "best": r"training set, $\varpi/\sigma \geq 20$"}
#: What the spectrophotometric parallax is compared with: columns of value and error, label.
REFERENCES = {
    "gaia": ("Gaia_parallax", "Gaia_parallax_err", r"Gaia parallax $\varpi^\mathrm{(a)}$ [mas]"),
    "truth": ("true_parallax", None, "true parallax [mas]"),
}
SPEC_LABEL = r"spectrophotometric $\varpi^\mathrm{(sp)}$ [mas]"


def values_of(table, name):
    """A column of the joined table as float64 with NaN for what is missing (-9999)."""
    if name not in table.colnames:
        raise BadInputError(f"the figure needs the column {name}; give the survey that the catalog was made from")
    return float_column(table, name)


def best_error(table):
    """The total error of the spectrophotometric parallax where the catalog has it, else that of the features."""
    return values_of(table, total_error_column(table))


def sample_rows(table, sample):
    """Which rows are in a sample of `SAMPLES` (bool array)."""
    if sample not in SAMPLES:
        raise BadInputError(f"sample {sample!r}: expected one of {', '.join(SAMPLES)}")
    return np.ones(len(table), dtype=bool) if sample == "parent" else np.asarray(table[sample], dtype=bool)


def finite_rows(what, *columns, within=None, at_least=1):
    """Rows in which all columns are finite (int64 array), or an error that says what was not there."""
    good = np.all([np.isfinite(column) for column in columns], axis=0)
    rows = np.flatnonzero(good if within is None else good & within)
    if rows.size < at_least:
        known = good.size if within is None else int(np.count_nonzero(within))
        raise BadInputError(f"{what}: {rows.size} of {known} stars have what it needs, expected at least {at_least}")
    return rows


def span(values, low=0.5, high=99.5, margin=0.05):
    """Limits of an axis that hold all values between two percentiles (two floats)."""
    first, last = np.percentile(values, [low, high])
    pad = margin * (last - first) or 0.1 * abs(last) or 0.1
    return float(first - pad), float(last + pad)


def count_note(ax, rows, x, y, name=""):
    """Write the number of stars, and how many lie outside the frame, into the upper left corner."""
    (x0, x1), (y0, y1) = sorted(ax.get_xlim()), sorted(ax.get_ylim())
    outside = int(np.count_nonzero((x < x0) | (x > x1) | (y < y0) | (y > y1)))
    text = f"{name}\n" if name else ""
    text += f"{len(rows):,} star{'s' if len(rows) != 1 else ''}" + (f", {outside:,} outside" if outside else "")
    box = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1.5}
    ax.text(0.03, 0.97, text, transform=ax.transAxes, va="top", fontsize="small", bbox=box, zorder=5)


def plot_colours(table, ax, colour="J-K", sample="parent", cuts=None):
    """Figure 1: a colour against BP-RP with the line that cuts the sample, coloured by log g.

    Parameters
    ----------
    table : astropy Table
        Of `join_catalog` with a survey.
    ax : matplotlib Axes
    colour : str
        ``"J-K"`` (Eq. 6) or ``"H-W2"`` (Eq. 7).
    sample : str
        ``"parent"`` or ``"training"``.
    cuts : SampleConfig, optional

    Raises
    ------
    BadInputError
        If a column is missing or no star has its values; so do all functions here.
    """
    cuts = SampleConfig() if cuts is None else cuts
    bp_rp, other, logg = (values_of(table, name) for name in ("BP-RP", colour, "LOGG"))
    rows = finite_rows("Figure 1", bp_rp, other, logg, within=sample_rows(table, sample))
    x, y = bp_rp[rows], other[rows]
    x_range = span(bp_rp[np.isfinite(bp_rp)], 0.1, 99.8)
    line = np.array(x_range)
    edge = cuts.jk_offset + cuts.jk_slope * line if colour == "J-K" else np.full(2, cuts.hw2_min)
    y_range = span(other[np.isfinite(other)], 0.1, 99.8)
    y_range = (min(y_range[0], edge.min() - 0.1) if colour == "H-W2" else y_range[0], y_range[1])
    _coloured(ax, x, y, logg[rows], "LOGG", (x_range, y_range))
    ax.plot(line, edge, color="black", linestyle="--", linewidth=0.9, zorder=4)
    ax.set_xlabel(QUANTITIES["BP-RP"][0])
    ax.set_ylabel(QUANTITIES[colour][0])
    count_note(ax, rows, x, y, SAMPLES[sample])


def _coloured(ax, x, y, colour, name, limits):
    """Points or density coloured by a quantity, with its colour bar."""
    from matplotlib.colors import LogNorm, Normalize

    label, colour_range, cmap = QUANTITIES[name]
    if name == "SNR":
        colour = np.maximum(colour, 1.0)
        low, high = np.percentile(colour, [2, 98])
        norm = LogNorm(low, max(high, 1.01 * low))
    else:
        norm = Normalize(*(colour_range or span(colour, 2, 98)))
    mappable = points(ax, x, y, colour, limits, cmap, norm)
    extend = "both" if colour_range else "neither"
    bar = ax.figure.colorbar(mappable, ax=ax, label=label, pad=0.02, aspect=25, extend=extend)
    if name == "SNR":
        plain_ticks(bar.ax.yaxis)


def plain_ticks(axis):
    """Numbers instead of powers of ten on a logarithmic axis that spans a decade or two."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def plot_parallaxes(table, ax, sample="training", colour="SNR", reference="gaia"):
    """Figures 2 and 3: the spectrophotometric parallax against Gaia's (or the true one), one-to-one line drawn.

    Parameters
    ----------
    table : astropy Table
        Of `join_catalog`.
    ax : matplotlib Axes
    sample : str
        ``"parent"``, ``"training"`` or ``"best"``.
    colour : str or None
        A key of `QUANTITIES`.
    reference : str
        ``"gaia"`` or ``"truth"``.
    """
    column, _, label = REFERENCES[reference]
    other, spec = values_of(table, column), values_of(table, "spec_parallax")
    hue = np.zeros(len(table)) if colour is None else values_of(table, colour)
    rows = finite_rows("parallaxes", other, spec, hue, within=sample_rows(table, sample))
    x, y = other[rows], spec[rows]
    low, high = span(np.concatenate([x, y]), 0.3, 99.7)
    limits = ((min(low, 0.0), high), (min(low, 0.0) if low > -0.1 else -0.1 * high, high))
    if colour is None:
        points(ax, x, y, limits=limits)
    else:
        _coloured(ax, x, y, hue[rows], colour, limits)
    ax.plot(limits[0], limits[0], color="black", linewidth=0.8, zorder=4)
    ax.set_xlabel(label)
    ax.set_ylabel(SPEC_LABEL)
    count_note(ax, rows, x, y, SAMPLES[sample])


def plot_cluster(table, ax, cluster, rows, literature=None):
    """Figure 4: the members' Gaia and spectrophotometric parallaxes, their means as lines, the literature dashed.

    Parameters
    ----------
    table : astropy Table
        A catalog or a joined table.
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
    ax.set_title(f"{cluster}: {len(rows)} member{'s' if len(rows) != 1 else ''}, {difference}$\\sigma$")


def plot_precision(table, ax, distance_max=20.0):
    """Figure 5: G against distance, coloured by how many times smaller the spectrophotometric error is than Gaia's.

    Parameters
    ----------
    table : astropy Table
        Of `join_catalog` with a survey.
    ax : matplotlib Axes
    distance_max : float [kpc]
    """
    from matplotlib.colors import Normalize

    g, spec = values_of(table, "phot_g_mean_mag"), values_of(table, "spec_parallax")
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        ratio = np.log10(values_of(table, "Gaia_parallax_err") / best_error(table))
        distance = 1.0 / spec
    rows = finite_rows("Figure 5", g, distance, ratio)
    x, y = distance[rows], g[rows]
    low, high = span(y, 0.2, 99.8)
    limits = ((0.0, distance_max), (high, low))
    mappable = points(ax, x, y, ratio[rows], limits, "RdBu", Normalize(-1.0, 1.0))
    label = r"$\log_{10}(\sigma_\mathrm{Gaia} / \sigma_\mathrm{sp})$"
    ax.figure.colorbar(mappable, ax=ax, label=label, pad=0.02, aspect=25, extend="both")
    ax.set_facecolor("0.88")  # the map's middle is white: the points must not vanish
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


def plot_map(cells, ax, quantity="FE_H", arrows=True):
    """Figure 6: the Galactic plane in cells, with arrows of their mean velocities.

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

    if not len(cells):
        raise BadInputError("the map: no cell to draw")
    label, cmap = _MAPS[quantity]
    size, x, y = cells.meta["cell"], np.asarray(cells["x"]), np.asarray(cells["y"])
    values = np.asarray(cells[quantity], dtype=float) * (100.0 if quantity == "distance_error" else 1.0)
    known = values[np.isfinite(values)]
    norm = LogNorm(known.min(), max(known.max(), 10.0)) if quantity == "n" else Normalize(*span(known, 3, 97, 0.0))
    half = size / 2
    x_edges, y_edges = (np.arange(a.min() - half, a.max() + size, size) for a in (x, y))
    grid = np.full((y_edges.size - 1, x_edges.size - 1), np.nan)
    grid[((y - y_edges[0]) // size).astype(int), ((x - x_edges[0]) // size).astype(int)] = values
    mesh = ax.pcolormesh(x_edges, y_edges, grid, cmap=cmap, norm=norm, rasterized=True)
    bar = ax.figure.colorbar(mesh, ax=ax, label=label, pad=0.02, aspect=25)
    if quantity == "n":
        plain_ticks(bar.ax.yaxis)
    if arrows:
        # No more arrows side by side than can be told apart.
        step = max(1, round(max(grid.shape) / _ARROWS))
        columns, rows = (np.floor(a / size).astype(int) for a in (x, y))
        drawn = (columns % step == 0) & (rows % step == 0)
        scale = _ARROW_VELOCITY / (_ARROW_CELLS * size * step)
        options = {"angles": "xy", "scale_units": "xy", "scale": scale, "width": 0.004, "headwidth": 3.5}
        options |= {"pivot": "middle", "edgecolor": "white", "linewidth": 0.3}
        field = ax.quiver(x[drawn], y[drawn], cells["v_x"][drawn], cells["v_y"][drawn], **options)
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


#: Models are told apart by colour and by which side of a pixel they stand on.
_FOLD_STYLE = {"A": (COLOURS["blue"], -0.25, "o"), "B": (COLOURS["orange"], 0.25, "s")}


def plot_coefficients(models, ax, wavelength=None, lines=True):
    """Figure 7: the coefficients of both models against wavelength, with the lines of a giant's spectrum marked.

    Parameters
    ----------
    models : dict of FittedModel
        Under ``"A"`` and ``"B"``; each with a layout.
    ax : matplotlib Axes
    wavelength : (float, float), optional [Angstrom]
        Part to show; everything by default.
    lines : bool
        Mark the lines of `SPECTRAL_LINES`.
    """
    seen = []
    for fold, model in models.items():
        colour, shift, _ = _FOLD_STYLE.get(fold, (COLOURS["green"], 0.0, "^"))
        where, coef = _pixels(model)
        inside = (coef != 0.0) & (np.ones(where.size, bool) if wavelength is None else _within(where, wavelength))
        seen.append(coef[inside])
        label = f"model {fold}: {model.n_nonzero:,} of {where.size:,} pixels"
        ax.vlines(where[inside] + shift, 0.0, coef[inside], color=colour, linewidth=0.7, label=label)
    if wavelength is not None:
        ax.set_xlim(*wavelength)
    reach = np.abs(np.concatenate(seen)).max(initial=0.0) or 1.0
    ax.set_ylim(-1.1 * reach, 1.75 * reach if lines else 1.1 * reach)
    ax.axhline(0.0, color="0.5", linewidth=0.5, zorder=0)
    if lines:
        _mark_lines(ax)
    ax.set_xlabel(r"wavelength in vacuum [$\mathrm{\AA}$]")
    ax.set_ylabel(r"coefficient of $\ln f$")


def _pixels(model):
    if model.layout is None:
        raise BadInputError("Figure 7: the model has no layout, so its coefficients have no wavelength")
    return model.layout.wavelength[model.penalized], model.coef[model.penalized]


def _within(values, limits):
    return (values >= limits[0]) & (values <= limits[1])


def _mark_lines(ax):
    """Thin lines at known wavelengths with their names, in a few rows; a line without room is left out."""
    low, high = ax.get_xlim()
    room, ends = 0.016 * (high - low), [-np.inf] * len(_NAME_ROWS)
    for where, name in sorted((w, name) for name, places in SPECTRAL_LINES.items() for w in places):
        free = [row for row, end in enumerate(ends) if where - end > room]
        if low + room / 2 < where < high - room / 2 and free:
            ends[free[0]] = where
            ax.axvline(where, color="0.8", linewidth=0.4, zorder=0)
            style = {"fontsize": 6, "ha": "center", "va": "top", "color": "0.2"}
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
            ax.text(where, _NAME_ROWS[free[0]], name, transform=ax.get_xaxis_transform(), bbox=box, **style)


#: Heights at which the names of lines stand, in parts of the Axes: lines closer than a name is wide share no row.
_NAME_ROWS = (0.985, 0.90, 0.815)


def plot_magnitude_coefficients(models, ax):
    """Figure 7, second part: the coefficients of constant and magnitudes of both models.

    Parameters
    ----------
    models : dict of FittedModel
        Under ``"A"`` and ``"B"``; each with a layout.
    ax : matplotlib Axes
    """
    for fold, model in models.items():
        if model.layout is None:
            raise BadInputError("Figure 7: the model has no layout, so its coefficients have no names")
        colour, shift, marker = _FOLD_STYLE.get(fold, (COLOURS["green"], 0.0, "^"))
        coef = model.coef[1 : model.layout.n_unpenalized]
        place = np.arange(coef.size) + 0.4 * shift
        label = f"model {fold}: sum {coef.sum():.4f}"
        ax.plot(place, coef, marker=marker, color=colour, linestyle="none", markersize=4, label=label)
    ax.axhline(0.0, color="0.5", linewidth=0.5, zorder=0)
    ax.set_xticks(np.arange(coef.size), model.layout.magnitudes)
    ax.minorticks_off()
    ax.set_ylabel("coefficient [per mag]")
    low, high = ax.get_ylim()
    ax.set_ylim(low - 0.05 * (high - low), high + 0.35 * (high - low))
    ax.legend(loc="upper right")
