"""The figures that show whether a run is right, panel by panel: cuts, errors, trends, spectra, convergence."""

from collections.abc import Mapping, Sequence

import numpy as np
from astropy.table import Table

from spfast.data.survey import Survey
from spfast.errors import BadInputError
from spfast.figures.coefficients import wavelength_label
from spfast.figures.panel import (
    QUANTITIES,
    REFERENCES,
    SAMPLES,
    count_note,
    finite_rows,
    plain_ticks,
    sample_mask,
    span,
    values_of,
)
from spfast.figures.style import COLOURS, draw_stars
from spfast.model.fitted_model import FittedModel

__all__ = [
    "plot_convergence",
    "plot_coverage",
    "plot_cut_flow",
    "plot_medians",
    "plot_pulls",
    "plot_spectrum",
    "plot_trend",
]


def plot_cut_flow(cut_flow: Sequence[tuple[str, int]], ax) -> None:
    """Draw how many stars each cut left, as bars with their numbers.

    Parameters
    ----------
    cut_flow : list of (str, int)
        ``survey.info["cut_flow"]``.
    ax : matplotlib Axes
    """
    if not cut_flow:
        raise BadInputError("cut-flow: the survey has none")
    names, left = zip(*cut_flow, strict=True)
    place, left = np.arange(len(names)), np.array(left)
    lost = -np.diff(left, prepend=left[0])
    ax.barh(place, left, height=0.62, color=COLOURS["sky"])
    ax.barh(place, lost, left=left, height=0.62, color=COLOURS["orange"], alpha=0.5)
    for i, (n, gone) in enumerate(zip(left, lost, strict=True)):
        text = f"{n:,}" + (f"  ({_MINUS}{gone:,})" if gone else "")
        ax.annotate(text, (n + gone, i), xytext=(3, 0), textcoords="offset points", va="center", fontsize="x-small")
    ax.set_yticks(place, names)
    ax.invert_yaxis()
    ax.minorticks_off()
    ax.tick_params(axis="y", length=0)
    ax.set_xlim(0, 1.22 * max(left.max(), 1))
    ax.set_xlabel("stars left (blue), gone by the cut (orange)")


_MINUS = "\N{MINUS SIGN}"

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
        low, high = np.percentile(pull, [16, 84])
        label = f"{text}:\nwidth {(high - low) / 2:.2f}"
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
    ax.set_xlabel(rf"($\varpi^\mathrm{{(sp)}}$ {_MINUS} {other}) / error")
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


#: Bins of a trend and the fewest stars that one holds.
_BINS, _BIN_STARS = 12, 15


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
    ax.set_ylabel(rf"($\varpi^\mathrm{{(sp)}}$ {_MINUS} {name}) / $\varpi^\mathrm{{(sp)}}$")
    count_note(ax, rows, x, y)


def plot_medians(ax, x: np.ndarray, y: np.ndarray) -> None:
    """Draw the medians of y in bins of equally many stars along x with their errors, and shade the 16-84% range.

    Parameters
    ----------
    ax : matplotlib Axes
    x, y : float array, shape (n_stars,)
        With too few stars for one bin nothing is drawn.
    """
    n_bins = min(_BINS, x.size // _BIN_STARS)
    if not n_bins:
        return
    parts = np.array_split(np.argsort(x), n_bins)
    centre = [np.median(x[part]) for part in parts]
    low, middle, high = np.transpose([np.percentile(y[part], [16, 50, 84]) for part in parts])
    # The median's standard error for a Gaussian: sqrt(pi / 2) of the mean's.
    error = np.sqrt(np.pi / 2) * (high - low) / 2 / np.sqrt([part.size for part in parts])
    ax.fill_between(centre, low, high, color=COLOURS["blue"], alpha=0.2, zorder=4, linewidth=0)
    ax.errorbar(centre, middle, yerr=error, color=COLOURS["blue"], marker="o", markersize=2.5, zorder=5)


def plot_spectrum(survey: Survey, row: int, ax, chip: int | None = None) -> None:
    """Draw a star's normalised spectrum as the model sees it; mark continuum pixels above, masked pixels below.

    Parameters
    ----------
    survey : Survey
    row : int
        Of the survey.
    ax : matplotlib Axes
    chip : int, optional
        Number of the detector, from 0; all by default.
    """
    layout, first = survey.layout, survey.layout.n_unpenalized
    if not 0 <= row < survey.n_stars:
        raise BadInputError(f"spectra: row {row} of a survey of {survey.n_stars} stars")
    flux = np.exp(np.asarray(survey.features[row, first:], dtype=np.float64))
    # A masked pixel has flux 1 and the largest error there is.
    error = np.asarray(survey.feature_errors[row, first:], dtype=np.float64)
    masked = (flux == 1.0) & (error >= error.max())
    wavelength = layout.wavelength[first:]
    groups = [inside[first:] for inside in layout.groups.values()]
    shown = groups if chip is None else groups[chip : chip + 1]
    for here in shown:
        ax.plot(wavelength[here], np.where(masked, np.nan, flux)[here], color="black", linewidth=0.35)
    continuum = layout.wavelength_of((survey.info.get("continuum") or {}).get("pixels", []))
    for marked, height, colour in ((continuum, 0.965, COLOURS["green"]), (wavelength[masked], 0.02, COLOURS["orange"])):
        ax.vlines(
            marked, height - 0.02, height + 0.02, transform=ax.get_xaxis_transform(), color=colour,
            linewidth=0.4, rasterized=True,
        )  # fmt: skip
    ax.axhline(1.0, color="0.6", linewidth=0.4, zorder=0)
    inside = wavelength[np.any(shown, axis=0)]
    if inside.size > 1:
        ax.set_xlim(inside[0], inside[-1])
    ax.set_ylim(0.35, 1.28)
    ax.locator_params(axis="x", nbins=4)
    ax.set_xlabel(wavelength_label(layout))
    ax.set_ylabel("normalised flux")


def plot_convergence(models: Mapping[str, FittedModel], ax, what: str = "kkt_violation") -> None:
    """Draw how the solver converged: KKT violation over the penalty, or objective above its last value, by passes.

    Parameters
    ----------
    models : dict of FittedModel
    ax : matplotlib Axes
    what : str
        ``"objective"`` or ``"kkt_violation"``.
    """
    for (fold, model), (colour, marker) in zip(models.items(), (("blue", "o"), ("orange", "s")), strict=False):
        history = model.result.history
        if history is None or not len(history):
            raise BadInputError(f"convergence: model {fold} has no history")
        y = np.asarray(history[what], dtype=float)
        y = y / (model.penalty or 1.0) if what == "kkt_violation" else (y - y.min()) / (abs(y.min()) or 1.0)
        shown = _fits_log_axis(y)
        options = {"color": COLOURS[colour], "marker": marker, "markersize": 2.5}
        label = f"model {fold}: {model.result.n_passes} passes"
        ax.plot(history["n_passes"][shown], y[shown], label=label, **options)
    if what == "kkt_violation":
        tolerance = model.result.tolerance / (model.penalty or 1.0)
        if _fits_log_axis(tolerance):
            ax.axhline(tolerance, color="black", linestyle="--", linewidth=0.8, label=f"tolerance {tolerance:.0e}")
        ax.set_ylabel(r"KKT violation / $\lambda$")
    else:
        ax.set_ylabel("objective above its end, relative")
    ax.set_yscale("log")
    ax.set_xlabel("passes over the training stars")
    ax.legend(loc="lower left")


def _fits_log_axis(value):
    """Whether a logarithmic axis has a place for it: with more decades its margins overflow."""
    return (value > 1e-100) & (value < 1e100)
