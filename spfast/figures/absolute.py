"""Figures of absolute magnitudes: of the stars by their own parallaxes, and of clusters by the literature's."""

import numpy as np
from astropy.table import Table

from spfast.errors import BadInputError
from spfast.figures.panel import MINUS, QUANTITIES, count_note, finite_rows, span, values_of
from spfast.figures.style import COLOURS, draw_stars, plain_text
from spfast.validation.reddening import LAWS, extinction_in_k

__all__ = ["plot_cluster_residuals", "plot_cluster_slopes", "plot_colour_magnitude"]

#: M_K of the red clump [mag], 2MASS (Laney, Joner & Pietrzynski 2012, MNRAS 419, 1637).
_RED_CLUMP = -1.613
#: A_J / A_K less 1: what dust adds to J - K for each magnitude of A_K.
_REDDENING = LAWS["wang2019"]["J"] - 1.0
#: Clusters whose members a panel can tell apart.
_MARKERS = "osD^v<>PX*hp"


def plot_colour_magnitude(table: Table, ax, dereddened: bool = False):
    """Draw the absolute magnitude in K, by the spectrophotometric parallax, against J - K, coloured by [Fe/H].

    Parameters
    ----------
    table : astropy Table
        Of `figure_table` with a survey.
    ax : matplotlib Axes
    dereddened : bool
        Take off each star's extinction in K by H - W2 (Majewski, Zasowski & Nidever 2011), and the reddening of J - K
        that goes with it (Wang & Chen 2019).

    Returns
    -------
    mappable : matplotlib ScalarMappable or None
        For a colour bar; None where no star has [Fe/H] and all are grey.
    """
    from matplotlib.colors import Normalize

    k, colour, spec = (values_of(table, name) for name in ("K", "J-K", "spec_parallax"))
    fe_h = values_of(table, "FE_H")
    fe_h = np.zeros(len(table)) if not np.isfinite(fe_h).any() else fe_h
    with np.errstate(divide="ignore", invalid="ignore"):
        magnitude = k + 5.0 * np.log10(spec) - 10.0
    if dereddened:
        extinction = extinction_in_k(values_of(table, "H"), values_of(table, "w2mpro"))
        magnitude, colour = magnitude - extinction, colour - _REDDENING * extinction
    rows = finite_rows("colour and absolute magnitude", magnitude, colour, fe_h)
    x, y = colour[rows], magnitude[rows]
    bright, faint = span(y, 0.2, 99.8)
    limits = (span(x, 0.5, 99.5, 0.1), (faint, bright))
    _, (low, high), cmap = QUANTITIES["FE_H"]
    hue = fe_h[rows] if fe_h.any() else None
    mappable = draw_stars(ax, x, y, hue, limits, cmap, Normalize(low, high))
    if bright < _RED_CLUMP < faint:
        ax.axhline(_RED_CLUMP, color="black", linestyle=":", linewidth=0.8, zorder=4)
        place = {"xytext": (-3, 2), "textcoords": "offset points", "ha": "right", "fontsize": "x-small", "zorder": 5}
        ax.annotate("red clump", (limits[0][1], _RED_CLUMP), **place)
    ax.set_xlabel(r"$(J - K_s)_0$ [mag]" if dereddened else QUANTITIES["J-K"][0])
    ax.set_ylabel(r"$M_{K}$ by $\varpi^\mathrm{(sp)}$ [mag]")
    count_note(ax, rows, x, y, "dereddened" if dereddened else "as observed")
    return mappable if hue is not None else None


def plot_cluster_residuals(table: Table, ax, means: Table, members: list[np.ndarray]) -> None:
    """Draw the difference of members' parallaxes from their cluster's literature distance against absolute magnitude.

    Parameters
    ----------
    table : astropy Table
        Of `figure_table`, with K.
    ax : matplotlib Axes
    means : astropy Table
        Of `cluster_means`, with K for its slopes.
    members : list of int array
        Rows of the table for each cluster of ``means``.
    """
    k, spec = values_of(table, "K"), values_of(table, "spec_parallax")
    x, y = np.full((2, len(table)), np.nan)
    for i, (mean, stars) in enumerate(zip(means, members, strict=True)):
        distance = float(mean["distance"])
        with np.errstate(divide="ignore", invalid="ignore"):
            x[stars] = k[stars] - 5.0 * np.log10(distance) - 10.0
            y[stars] = 100.0 * np.log(spec[stars] * distance)
        good = stars[np.isfinite(x[stars]) & np.isfinite(y[stars])]
        if not good.size:
            continue
        colour, marker = _cluster_style(i, len(means))
        ax.plot(x[good], y[good], marker, color=colour, markersize=4, alpha=0.7, markeredgewidth=0, zorder=3)
        if np.isfinite(mean["slope"]) and good.size > 1:
            ends = np.array([x[good].min(), x[good].max()])
            line = np.median(y[good]) + 100.0 * mean["slope"] * (ends - np.median(x[good]))
            ax.plot(ends, line, color=colour, linewidth=1.0, zorder=4)
    rows = finite_rows("cluster residuals (literature distance and K)", x, y)
    ax.axhline(0.0, color="black", linewidth=0.8, zorder=2)
    reach = 1.3 * np.percentile(np.abs(y[rows]), 98) + 1.0
    ax.set_ylim(-reach, reach)
    ax.set_xlim(*span(x[rows], 0, 100)[::-1])
    ax.set_xlabel(r"$M_{K}$ by the literature distance [mag]")
    ax.set_ylabel(r"$\ln(\varpi^\mathrm{(sp)} d_\mathrm{literature})$ [%]")
    count_note(ax, rows, x[rows], y[rows])


def plot_cluster_slopes(means: Table, ax) -> None:
    """Draw the slope of ln parallax with magnitude inside each cluster, and their weighted mean.

    Parameters
    ----------
    means : astropy Table
        Of `cluster_means`.
    ax : matplotlib Axes
    """
    slope, error = (100.0 * np.asarray(means[name], dtype=float) for name in ("slope", "slope_error"))
    good = np.isfinite(slope) & (error > 0)
    if not good.any():
        raise BadInputError("cluster slopes: no cluster has three members of different magnitude")
    for i in np.flatnonzero(good):
        colour, marker = _cluster_style(i, len(means))
        ax.errorbar(slope[i], i, xerr=error[i], fmt=marker, color=colour, markersize=4, zorder=3)
    weights = error[good] ** -2.0
    overall, overall_error = np.average(slope[good], weights=weights), weights.sum() ** -0.5
    if weights.size > 1:  # clusters that disagree make the mean less certain
        chi2 = np.sum(weights * (slope[good] - overall) ** 2) / (weights.size - 1)
        overall_error *= max(1.0, np.sqrt(chi2))
    ax.axvspan(overall - overall_error, overall + overall_error, color=COLOURS["sky"], alpha=0.4, linewidth=0)
    ax.axvline(0.0, color="black", linewidth=0.8, zorder=2)
    ax.set_yticks(np.arange(len(means)), [plain_text(name) for name in means["cluster"]])
    ax.set_ylim(len(means) - 0.4, -0.6)
    ax.minorticks_off()
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("slope [% / mag]")
    text = f"all: {overall:+.1f} \N{PLUS-MINUS SIGN} {overall_error:.1f} % / mag"
    ax.set_title(text.replace("-", MINUS), fontsize="medium")


def _cluster_style(number, n_clusters):
    """Colour and marker of a cluster, the same in both panels."""
    from matplotlib import colormaps

    return colormaps["viridis"](0.9 * number / max(n_clusters - 1, 1)), _MARKERS[number % len(_MARKERS)]
