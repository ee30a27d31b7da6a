"""The figures that show whether a run was right, panel by panel: cuts, spectra, convergence."""

from collections.abc import Mapping, Sequence

import numpy as np

from spfast.data.survey import Survey
from spfast.errors import BadInputError
from spfast.figures.coefficients import wavelength_label
from spfast.figures.panel import MINUS
from spfast.figures.style import COLOURS
from spfast.model.fitted_model import FittedModel

__all__ = ["bad_pixels_note", "plot_convergence", "plot_cut_flow", "plot_spectrum"]


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
        text = f"{n:,}" + (f"  ({MINUS}{gone:,})" if gone else "")
        ax.annotate(text, (n + gone, i), xytext=(3, 0), textcoords="offset points", va="center", fontsize="x-small")
    ax.set_yticks(place, names)
    ax.invert_yaxis()
    ax.minorticks_off()
    ax.tick_params(axis="y", length=0)
    ax.set_xlim(0, 1.22 * max(left.max(), 1))
    ax.set_xlabel("stars left (blue), gone by the cut (orange)")


def plot_spectrum(survey: Survey, row: int, ax, chip: int | None = None) -> None:
    """Draw a star's normalised spectrum as the model sees it: bad pixels in orange, continuum pixels marked above.

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
    bad = _bad_pixels(survey, row, flux)
    wavelength = layout.wavelength[first:]
    groups = [inside[first:] for inside in layout.groups.values()]
    shown = groups if chip is None else groups[chip : chip + 1]
    for here in shown:
        ax.plot(wavelength[here], flux[here], color="black", linewidth=0.35)
        edges = bad | np.roll(bad, 1) | np.roll(bad, -1)  # so that a bad pixel alone is a line
        ax.plot(wavelength[here], np.where(edges, flux, np.nan)[here], color=COLOURS["orange"], linewidth=0.5)
    continuum = layout.wavelength_of((survey.info.get("continuum") or {}).get("pixels", []))
    for marked, height, colour in ((continuum, 0.965, COLOURS["green"]), (wavelength[bad], 0.02, COLOURS["orange"])):
        ax.vlines(
            marked, height - 0.02, height + 0.02, transform=ax.get_xaxis_transform(), color=colour,
            linewidth=0.4, rasterized=True,
        )  # fmt: skip
    ax.axhline(1.0, color="0.6", linewidth=0.4, zorder=0)
    inside = wavelength[np.any(shown, axis=0)]
    if inside.size > 1:
        ax.set_xlim(inside[0], inside[-1])
    ax.set_ylim(min(0.35, np.percentile(flux, 0.5) - 0.05), 1.28)
    ax.locator_params(axis="x", nbins=4)
    ax.set_xlabel(wavelength_label(layout))
    ax.set_ylabel("normalised flux")


def _bad_pixels(survey, row, flux):
    """Which of a star's pixels were not measured (bool array, shape (n_pixels,))."""
    if survey.unmeasured is not None:
        return np.unpackbits(survey.unmeasured[row], count=flux.size).astype(bool)
    # A survey that does not say so has flux 1 and the largest error there.
    error = np.asarray(survey.feature_errors[row, survey.layout.n_unpenalized :], dtype=np.float64)
    return (flux == 1.0) & (error >= error.max())


def bad_pixels_note(survey: Survey) -> str:
    """Say what the survey's configuration did with bad pixels."""
    rule = ((survey.info.get("config") or {}).get("features") or {}).get("bad_pixels")
    done = {"estimated": "estimated from the star's other pixels", "one": "counted as flux 1"}.get(rule)
    return "bad pixels" + (f", {done}" if done else "")


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
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.tick_params(axis="x", which="minor", bottom=False, top=False)
    ax.legend(loc="upper right")


def _fits_log_axis(value):
    """Whether a logarithmic axis has a place for it: with more decades its margins overflow."""
    return (value > 1e-100) & (value < 1e100)
