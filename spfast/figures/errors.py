"""Figures of the errors: pulls, coverage overall and in parts, and how large the errors are by distance."""

from collections.abc import Sequence

import numpy as np
from astropy.table import Table

from spfast.figures.panel import MINUS, REFERENCES, SAMPLES, finite_rows, plain_ticks, sample_mask, values_of
from spfast.figures.residuals import BIN_STARS, median_bins
from spfast.figures.style import COLOURS
from spfast.validation.residuals import half_width, half_width_error

__all__ = [
    "PARTS",
    "plot_coverage",
    "plot_fractional_errors",
    "plot_part_pulls",
    "plot_part_shares",
    "plot_pulls",
    "pulls",
]

#: Errors of the spectrophotometric parallax that a catalog may have, and how a figure names them.
_ERRORS = {
    "spec_parallax_err": ("features' errors", "blue"),
    "spec_parallax_err_total": ("total errors", "orange"),
}


def pulls(table: Table, sample: str = "training", reference: str = "gaia") -> dict[str, np.ndarray]:
    """Return the difference from the reference over its error, for each kind of error that the catalog has."""
    column, reference_error, _ = REFERENCES[reference]
    other, spec = values_of(table, column), values_of(table, "spec_parallax")
    other_error = np.zeros(len(table))
    if reference_error is not None:
        # The catalog's header says by which factor Gaia's errors are too small; 1 if it does not.
        other_error = values_of(table, reference_error) * values_of(table, "Gaia_inflation")
    within, pulls_by_error = sample_mask(table, sample), {}
    for name in _ERRORS:
        if name in table.colnames:
            error = np.hypot(values_of(table, name), other_error)
            with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
                pull = (spec - other) / error
            pulls_by_error[name] = pull[finite_rows("pulls", pull, within=within, at_least=5)]
    return pulls_by_error


def plot_pulls(table: Table, ax, sample: str = "training", reference: str = "gaia") -> None:
    """Draw the pulls as a histogram beside the unit Gaussian that they should follow.

    Parameters
    ----------
    table : astropy Table
        Of `figure_table`.
    ax : matplotlib Axes
    sample, reference : str
        As for `plot_parallaxes`.
    """
    edges = np.linspace(-6.0, 6.0, 61)
    for name, pull in pulls(table, sample, reference).items():
        text, colour = _ERRORS[name]
        label = f"{text}:\nwidth {half_width(pull):.2f}"
        density = np.histogram(pull, edges)[0] / pull.size / np.diff(edges)
        ax.stairs(density, edges, color=COLOURS[colour], label=label, linewidth=1.1)
    grid = np.linspace(-6.0, 6.0, 241)
    ax.plot(
        grid,
        np.exp(-0.5 * grid**2) / np.sqrt(2.0 * np.pi),
        color="black",
        linestyle="--",
        linewidth=0.8,
        label="unit Gaussian",
    )
    ax.set_xlim(-6.0, 6.0)
    ax.set_ylim(0.0, 1.75 * ax.get_ylim()[1])
    other = {"gaia": "Gaia", "truth": "truth"}[reference]
    ax.set_xlabel(rf"($\varpi^\mathrm{{(sp)}}$ {MINUS} {other}) / error")
    ax.set_ylabel("density")
    ax.set_title(f"{_sample_name(sample)}, {pull.size:,} stars", fontsize="medium")
    ax.legend(loc="upper left")


def _sample_name(sample):
    return SAMPLES[sample].removeprefix("training set, ")


def plot_coverage(table: Table, ax, samples: Sequence[tuple[str, str]] = (("training", "gaia"),)) -> None:
    """Draw the share of stars that lie within a range against the share that should.

    Parameters
    ----------
    table : astropy Table
        Of `figure_table`.
    ax : matplotlib Axes
    samples : sequence of (str, str)
        Samples and references, as for `plot_parallaxes`.
    """
    from scipy.special import erf

    width = np.linspace(0.0, 4.0, 161)
    share = erf(width / np.sqrt(2.0))
    ax.plot([0, 1], [0, 1], color="black", linestyle="--", linewidth=0.8)
    for (sample, reference), line in zip(samples, ("-", ":", "-."), strict=False):
        for name, pull in pulls(table, sample, reference).items():
            text, colour = _ERRORS[name]
            held = np.searchsorted(np.sort(np.abs(pull)), width, side="right") / pull.size
            label = f"{'Gaia' if reference == 'gaia' else 'truth'}, {text}"
            ax.plot(share, held, color=COLOURS[colour], linestyle=line, label=label)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_xlabel("share of stars expected within")
    ax.set_ylabel("share of stars found within")
    ax.legend(loc="upper left", fontsize="x-small", handlelength=1.2, borderaxespad=0.2)


#: Error of a star's parallax over the parallax: column of the error, label, colour.
_FRACTIONS = (
    ("Gaia_parallax_err", "Gaia's error", "green"),
    ("spec_parallax_err", "error from the features alone", "blue"),
    ("spec_parallax_err_total", "total error", "orange"),
)


def plot_fractional_errors(table: Table, ax, truth: bool = False) -> None:
    """Draw errors over the spectrophotometric parallax against distance: medians and the 16-84% range.

    Parameters
    ----------
    table : astropy Table
        Of `figure_table`.
    ax : matplotlib Axes
    truth : bool
        Draw also how far the predictions scatter around ``true_parallax``.
    """
    spec = values_of(table, "spec_parallax")
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        distance, ln_distance = 1.0 / spec, -np.log(spec)
    error = values_of(table, "spec_parallax_err")
    finite_rows("errors by distance", ln_distance, np.where(error > 0, error, np.nan), at_least=BIN_STARS)
    shown = []
    for name, label, colour in _FRACTIONS:
        if name not in table.colnames:
            continue
        factor = values_of(table, "Gaia_inflation") if name == "Gaia_parallax_err" else 1.0
        with np.errstate(over="ignore", invalid="ignore"):
            fraction = 100.0 * factor * values_of(table, name) * distance
            fraction = np.where(fraction > 0, fraction, np.nan)
        good = np.isfinite(fraction) & np.isfinite(ln_distance)
        bins = median_bins(distance[good], fraction[good])
        if not bins.centre.size:
            continue
        shown.append(bins)
        ax.fill_between(bins.centre, bins.low, bins.high, color=COLOURS[colour], alpha=0.2, linewidth=0)
        marker = {"marker": "o", "markersize": 3, "label": label}
        ax.plot(bins.centre, bins.middle, color=COLOURS[colour], **marker)
    if truth:
        with np.errstate(divide="ignore", invalid="ignore"):
            residual = 100.0 * (np.log(spec) - np.log(values_of(table, "true_parallax")))
        good = np.isfinite(residual)
        bins = median_bins(distance[good], residual[good])
        line = {"color": "black", "linestyle": "--", "marker": "s", "markersize": 3}
        ax.plot(bins.centre, (bins.high - bins.low) / 2, label="scatter around the truth", **line)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(0.8 * min(bins.low.min() for bins in shown), None)
    plain_ticks(ax.xaxis)
    plain_ticks(ax.yaxis)
    ax.set_xlabel(r"distance $1 / \varpi^\mathrm{(sp)}$ [kpc]")
    ax.set_ylabel(r"error / $\varpi^\mathrm{(sp)}$ [%]")
    ax.legend(loc="upper left")


#: How `plot_part_shares` labels what stars are sorted by, and whether its axis is logarithmic.
PARTS = {
    "G": (r"$G$ [mag]", False),
    "S/N": ("S/N per pixel", True),
    "[Fe/H]": ("[Fe/H] [dex]", False),
    "H-W2": (r"$H - W_2$ [mag]", False),
    "parallax": (r"$\varpi^\mathrm{(sp)}$ [mas]", True),
}
#: Of each reference: name, colour, marker.
_REFERENCE_STYLE = {"gaia": ("Gaia", COLOURS["blue"], "o"), "truth": ("truth", COLOURS["orange"], "s")}


def plot_part_shares(coverage: Table, ax, quantity: str) -> None:
    """Draw the share of each fifth of the stars that lies within one and within two standard deviations.

    Parameters
    ----------
    coverage : astropy Table
        Of `spfast.validation.coverage.coverage`.
    ax : matplotlib Axes
    quantity : str
        One of `PARTS`.
    """
    for level in (68, 95):
        ax.axhline(level, color="black", linestyle="--", linewidth=0.8, zorder=1)
        shares = {name: 100.0 * np.asarray(coverage[name]) for name in (f"within_{level}", f"error_{level}")}
        _draw_parts(coverage, ax, quantity, *shares.values(), filled=level == 68)
    within = 100.0 * np.asarray(coverage["within_68"])
    ax.set_ylim(min(50.0, within.min() - 5.0), 102.0)
    ax.set_ylabel("share within error [%]")


def plot_part_pulls(coverage: Table, ax, quantity: str) -> None:
    """Draw the pulls' width in each fifth of the stars, 1 for honest errors.

    Parameters
    ----------
    coverage, ax, quantity
        As for `plot_part_shares`.
    """
    pull = np.asarray(coverage["pull"])
    ax.axhline(1.0, color="black", linestyle="--", linewidth=0.8, zorder=1)
    _draw_parts(coverage, ax, quantity, pull, half_width_error(pull, np.asarray(coverage["n"])))
    ax.set_xlabel(PARTS[quantity][0])
    ax.set_ylabel("pull, width")


def _draw_parts(coverage, ax, quantity, values, errors, filled=True):
    """Draw a value of each fifth with its error, over the range of the fifth."""
    if PARTS[quantity][1]:
        ax.set_xscale("log")
        plain_ticks(ax.xaxis, narrow=True)
    for reference, (label, colour, marker) in _REFERENCE_STYLE.items():
        of_part = (coverage["stars"] == quantity) & (coverage["reference"] == reference)
        low, high = (np.asarray(coverage[name])[of_part] for name in ("low", "high"))
        centre = np.sqrt(low * high) if PARTS[quantity][1] else (low + high) / 2
        if not centre.size:
            continue
        options = {"color": colour, "zorder": 3}
        ax.hlines(values[of_part], low, high, linewidth=0.8, **options)
        face = colour if filled else "white"
        style = {"fmt": marker, "markersize": 3.5, "markerfacecolor": face, "label": label, "elinewidth": 1.0}
        ax.errorbar(centre, values[of_part], yerr=errors[of_part], **style, **options)
