"""Whole figures made of panels, each with a caption that says what to look for and a text for who cannot see."""

from dataclasses import dataclass, field

import numpy as np
from astropy.table import Table

from spfast.catalog.galaxy import map_cells
from spfast.config import Config
from spfast.data.survey import Survey
from spfast.errors import BadInputError
from spfast.figures import checks, paper
from spfast.figures.style import COLUMN_WIDTH, PAGE_WIDTH, figure_style, new_axes
from spfast.figures.tuning import plot_tuning

__all__ = ["SHEETS", "FigureData", "Sheet", "draw_sheet"]


@dataclass(frozen=True)
class FigureData:
    """All that figures are drawn from; what is None or empty leaves out the figures that need it."""

    table: Table  # of join_catalog
    survey: Survey | None = None
    models: dict = field(default_factory=dict)  # FittedModel under A and B
    members: dict = field(default_factory=dict)  # rows of the table for each cluster
    literature: Table | None = None  # cluster distances
    tune: Table | None = None
    config: Config = field(default_factory=Config)

    @property
    def references(self):
        return ("gaia", "truth") if "true_parallax" in self.table.colnames else ("gaia",)


@dataclass(frozen=True)
class Sheet:
    """One figure: its file name, title, caption, text for who cannot see it, and what draws it."""

    name: str
    title: str
    caption: str
    alt: str
    draw: object = field(repr=False)
    needs: str = ""  # field of FigureData without which there is nothing to draw


#: Clusters with fewer members than this are in the table, not in the figure; and at most so many panels.
_CLUSTER_STARS, _CLUSTER_PANELS = 3, 12
#: Spectra shown: at these percentiles of the effective temperature, and the most metal-poor of good S/N.
_SPECTRA = (10, 50, 90)
_SPECTRA_SNR = 100.0


def _colours(data):
    figure, axes = new_axes(2, 2, PAGE_WIDTH, 5.2, sharex="col", sharey="col")
    for ax, (sample, colour) in zip(
        axes, (("parent", "J-K"), ("parent", "H-W2"), ("training", "J-K"), ("training", "H-W2")), strict=True
    ):
        paper.plot_colours(data.table, ax, colour, sample, data.config.sample)
        ax.set_xlabel(ax.get_xlabel() if sample == "training" else "")
    return figure


def _parallaxes(data):
    panels = [("training", "gaia"), ("best", "gaia")]
    if "truth" in data.references:
        panels += [("parent", "truth"), ("best", "truth")]
    panels = [p for p in panels if p[0] != "best" or np.any(data.table["best"])]
    figure, axes = new_axes(len(panels) // 2 + len(panels) % 2, min(len(panels), 2), PAGE_WIDTH)
    for ax in axes[len(panels) :]:
        ax.remove()
    colour = "SNR" if "SNR" in data.table.colnames else None
    for ax, (sample, reference) in zip(axes, panels, strict=False):
        paper.plot_parallaxes(data.table, ax, sample, colour, reference)
    return figure


def _labels(data):
    figure, axes = new_axes(2, 2, PAGE_WIDTH, 5.4, sharex=True, sharey=True)
    for ax, colour in zip(axes, ("TEFF", "LOGG", "FE_H", "H-W2"), strict=True):
        paper.plot_parallaxes(data.table, ax, "training", colour)
        ax.label_outer()
    return figure


def _clusters(data):
    shown = {name: rows for name, rows in data.members.items() if len(rows) >= _CLUSTER_STARS}
    if not shown:
        raise BadInputError(f"no cluster has {_CLUSTER_STARS} members in this catalog")
    shown = sorted(shown.items(), key=lambda item: -len(item[1]))[:_CLUSTER_PANELS]
    columns = min(len(shown), 3)
    rows = -(-len(shown) // columns)
    figure, axes = new_axes(rows, columns, PAGE_WIDTH if columns > 1 else COLUMN_WIDTH, 2.7 * rows)
    for ax in axes[len(shown) :]:
        ax.remove()
    for i, (ax, (name, stars)) in enumerate(zip(axes, shown, strict=False)):
        paper.plot_cluster(data.table, ax, name, stars, data.literature)
        if i % columns:
            ax.set_ylabel("")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figure


def _precision(data):
    figure, axes = new_axes(1, 1, COLUMN_WIDTH * 1.25)
    paper.plot_precision(data.table, axes[0])
    return figure


def _map(data):
    cells = map_cells(data.table, data.config.galaxy)
    figure, axes = new_axes(2, 2, PAGE_WIDTH, 6.2, "compressed", sharex=True, sharey=True)
    for ax, quantity in zip(axes, ("FE_H", "ALPHA_M", "n", "distance_error"), strict=True):
        paper.plot_map(cells, ax, quantity, arrows=quantity in ("FE_H", "ALPHA_M"))
        ax.label_outer()
    return figure


def _coefficients(data):
    layout = next(iter(data.models.values())).layout
    if layout is None:
        raise BadInputError("Figure 7: the models have no layout, so their coefficients have no wavelength")
    figure, axes = new_axes(4, 1, PAGE_WIDTH, 8.0)
    wavelength = layout.wavelength[layout.n_unpenalized :]
    for ax, chip in zip(axes, np.split(wavelength, np.flatnonzero(np.diff(wavelength) > 50.0) + 1), strict=False):
        paper.plot_coefficients(data.models, ax, (chip[0] - 2, chip[-1] + 2))
        ax.set_xlabel("")
    axes[2].set_xlabel(r"wavelength in vacuum [$\mathrm{\AA}$]")
    axes[0].legend(loc="lower right", ncols=2)
    paper.plot_magnitude_coefficients(data.models, axes[3])
    return figure


def _cut_flow(data):
    cuts = data.survey.info.get("cut_flow") or []
    figure, axes = new_axes(1, 1, PAGE_WIDTH * 0.8, 0.7 + 0.21 * len(cuts))
    checks.plot_cut_flow(cuts, axes[0])
    return figure


def _tuning(data):
    figure, axes = new_axes(1, 1, COLUMN_WIDTH * 1.3)
    plot_tuning(data.tune, axes[0])
    return figure


def _pulls(data):
    panels = [("training", "gaia")] + [("parent", "truth")] * ("truth" in data.references)
    figure, axes = new_axes(1, len(panels) + 1, PAGE_WIDTH, 2.6)
    for ax, (sample, reference) in zip(axes, panels, strict=False):
        checks.plot_pulls(data.table, ax, sample, reference)
    checks.plot_coverage(data.table, axes[-1], panels)
    return figure


_TRENDS = ("phot_g_mean_mag", "BP-RP", "TEFF", "LOGG", "FE_H", "ALPHA_M", "SNR", "glat", "n_bad_pixels")


def _trends(data, sample="training", reference="gaia"):
    figure, axes = new_axes(3, 3, PAGE_WIDTH, 6.4, sharey=True)
    for i, (ax, quantity) in enumerate(zip(axes, _TRENDS, strict=True)):
        checks.plot_trend(data.table, ax, quantity, sample, reference)
        if i % 3:
            ax.set_ylabel("")
    reach = max(ax.get_ylim()[1] for ax in axes)
    axes[0].set_ylim(-reach, reach)
    return figure


def _true_trends(data):
    if "truth" not in data.references:
        raise BadInputError("no truth was given")
    return _trends(data, "parent", "truth")


def _spectra(data):
    stars = data.survey.stars
    teff, fe_h, snr = (paper.values_of(stars, name) for name in ("TEFF", "FE_H", "SNR"))
    rows = paper.finite_rows("spectra", teff, fe_h)
    good = rows[snr[rows] >= _SPECTRA_SNR] if np.any(snr[rows] >= _SPECTRA_SNR) else rows
    by_teff = good[np.argsort(teff[good], kind="stable")]
    chosen = [by_teff[(by_teff.size - 1) * share // 100] for share in _SPECTRA] + [good[np.argmin(fe_h[good])]]
    chosen = list(dict.fromkeys(chosen))
    figure, axes = new_axes(len(chosen), 3, PAGE_WIDTH, 1.45 * len(chosen), sharex="col", sharey=True)
    for i, row in enumerate(chosen):
        for chip, ax in enumerate(axes[3 * i : 3 * i + 3]):
            checks.plot_spectrum(data.survey, int(row), ax, chip)
            ax.label_outer()
        name = str(stars["APOGEE_ID"][row]).replace("$", r"\$")
        labels = rf"$T_\mathrm{{eff}}$ {teff[row]:.0f} K, [Fe/H] ${fe_h[row]:+.2f}$, S/N {snr[row]:.0f}"
        axes[3 * i + 1].set_title(f"{name}: {labels}", fontsize="small")
        for ax in axes[3 * i : 3 * i + 3]:
            ax.set_xlabel("")
            ax.set_ylabel("")
    figure.supxlabel(r"wavelength in vacuum [$\mathrm{\AA}$]", fontsize=8)
    figure.supylabel("normalised flux", fontsize=8)
    return figure


def _convergence(data):
    figure, axes = new_axes(1, 2, PAGE_WIDTH, 2.7)
    checks.plot_convergence(data.models, axes[0], "objective")
    checks.plot_convergence(data.models, axes[1], "kkt_violation")
    return figure


#: Every figure of the report, in its order: first what a reader asks for first.
SHEETS = (
    Sheet(
        "parallaxes",
        "Spectrophotometric against Gaia parallaxes",
        "Left: the training set; right: its stars with a Gaia parallax of at least 20 times its error; below, if a "
        "truth was given, the true parallaxes. No model saw the star it predicts. Look for stars along the line over "
        "the whole range, a scatter in the right panel that agrees with the table, no bend at large or small "
        "parallaxes. Gaia parallaxes below zero are noise and belong there; the prediction is never negative. (Figure "
        "2 of the paper.)",
        "Scatter plots of spectrophotometric parallax against the reference parallax, coloured by spectral signal to "
        "noise, with the one-to-one line.",
        _parallaxes,
    ),
    Sheet(
        "pulls",
        "Are the errors right?",
        "Differences over their errors beside a unit Gaussian, and how many stars lie within a range that should hold "
        "a given share. Look for a width of 1 and a curve on the diagonal: below it, the errors are too small. Errors "
        "of the features alone leave out those of the coefficients and the intrinsic scatter, so they are a lower "
        "limit.",
        "Histograms of pulls against a unit Gaussian, and curves of observed against expected coverage.",
        _pulls,
    ),
    Sheet(
        "trends",
        "Residuals against Gaia, by what the star is",
        "Fractional difference from the Gaia parallax for training stars: medians with their errors, shaded where the "
        "central 68% lie. Look for medians on zero; a slope with colour points at dust, with [Fe/H] or log g at a "
        "model too simple for some stars, with G or latitude at Gaia's zero point. The width is mostly Gaia's noise.",
        "Nine panels of the fractional parallax residual against magnitude, colour, temperature, gravity, abundances, "
        "signal to noise, latitude and masked pixels.",
        _trends,
        "survey",
    ),
    Sheet(
        "true_trends",
        "Residuals against the truth",
        "The same against the true parallaxes of a simulation, for all stars: here the width is the error of the "
        "method. Look for flat medians.",
        "Nine panels of the fractional difference from the true parallax against magnitude, colour, temperature, "
        "gravity, abundances, signal to noise, latitude and masked pixels.",
        _true_trends,
        "survey",
    ),
    Sheet(
        "labels",
        "The same parallaxes, by temperature, gravity, metallicity and H-W2",
        "Training stars coloured by four labels. Look for colours mixed across the line: a colour that lies on one "
        "side is a bias that the label knows of. (Figure 3 of the paper.)",
        "Four scatter plots of spectrophotometric against Gaia parallax, coloured by effective temperature, log g, "
        "[Fe/H] and H minus W2.",
        _labels,
        "survey",
    ),
    Sheet(
        "clusters",
        "Star clusters",
        "Members of each cluster: Gaia (orange) and spectrophotometric (blue) parallaxes, their means as lines with a "
        "band of one sigma, the literature distance dashed. Look for lines that agree within their bands, and blue "
        "points that scatter as their error bars say (total errors, where the catalog has them). The number is the "
        "difference of the means in sigma; what all members share of their errors makes it larger than it should be. "
        "(Figure 4 of the paper, in which M71 disagrees.)",
        "For each cluster, Gaia and spectrophotometric parallaxes of its members with error bars, mean lines and the "
        "literature value.",
        _clusters,
        "members",
    ),
    Sheet(
        "precision",
        "Where the spectrophotometric parallax wins",
        "Magnitude against distance; blue where the spectrophotometric error (the total one, where the catalog has it) "
        "is smaller than Gaia's, red where it is larger. Look for blue beyond a few kpc. (Figure 5 of the paper.)",
        "G magnitude against distance, coloured by the logarithm of the ratio of Gaia's error to the "
        "spectrophotometric one.",
        _precision,
        "survey",
    ),
    Sheet(
        "map",
        "The disc of the Milky Way",
        "Cells of the Galactic plane seen from the north pole; the star is the Sun, the cross the Galactic centre, "
        "arrows mean velocities. Top: mean [Fe/H] and [alpha/M]; below: stars in each cell and the median error of "
        "their distances. Look for a smooth rotation and an abundance gradient without features that point at the "
        "Sun. Distances are 1 over the parallax, the median where ln parallax is Gaussian: their errors of 10% smear "
        "the map along the line of sight, by 1 kpc at 10 kpc, and no selection effect is corrected. (Figure 6 of the "
        "paper.)",
        "Four maps of the Galactic plane: mean iron abundance and alpha abundance with velocity arrows, number of "
        "stars, and distance error.",
        _map,
        "survey",
    ),
    Sheet(
        "coefficients",
        "What the models use",
        "Coefficients of the two models against wavelength, with lines of giants marked, and those of the magnitudes "
        "below. Look for both models choosing the same places, and for lines of temperature, gravity and carbon and "
        "nitrogen. The coefficients of the magnitudes would add up to -0.2 ln 10 = -0.4605 for distances alone. "
        "(Figure 7 of the paper.)",
        "Coefficients of model A and model B against wavelength on the three chips, and the coefficients of the eight "
        "magnitudes.",
        _coefficients,
        "models",
    ),
    Sheet(
        "colours",
        "The sample in colour",
        "Colours of the parent sample (top) and of the training set (bottom); dashed, the cuts of Eq. 6 and 7. Look "
        "for a training set that covers the parent sample: where it does not, the model extrapolates. (Figure 1 of "
        "the paper.)",
        "BP minus RP against J minus K and against H minus W2 for the parent and training samples, coloured by log g, "
        "with the cut lines.",
        _colours,
        "survey",
    ),
    Sheet(
        "cut_flow",
        "From all stars to the sample",
        "How many stars each cut left. Look for a cut that takes more than you expect of it: a wrong unit or column "
        "does that.",
        "Bars with the number of stars left after each cut; the same numbers are in the table.",
        _cut_flow,
        "survey",
    ),
    Sheet(
        "tuning",
        "Cross-validation",
        "The cross-validated score over penalty and zero point; the star is the choice, the band the standard error "
        "over the folds. Look for a minimum inside the grid, not on its edge, and for a floor that is flat compared "
        "with the band.",
        "Cross-validation score against the penalty for each zero point, with the chosen value marked.",
        _tuning,
        "tune",
    ),
    Sheet(
        "spectra",
        "Spectra as the model sees them",
        "Normalised spectra of a cool, a middle, a hot and a metal-poor star; green ticks at the continuum pixels, "
        "orange ones at masked pixels, which count as flux 1. Look for a level continuum at 1 on all three chips, and "
        "lines that weaken towards hot and metal-poor stars.",
        "Four normalised spectra on three chips with ticks at continuum and masked pixels.",
        _spectra,
        "survey",
    ),
    Sheet(
        "convergence",
        "The solver",
        "Objective above its final value, and the violation of the optimality conditions over the penalty, against "
        "time. Look for a violation that ends under the dashed tolerance.",
        "Objective and KKT violation of both models against wall time, on logarithmic scales.",
        _convergence,
        "models",
    ),
)


def draw_sheet(sheet, data):
    """Draw one figure under our style.

    Parameters
    ----------
    sheet : Sheet or str
        Of `SHEETS`, or its name.
    data : FigureData

    Returns
    -------
    figure : matplotlib Figure

    Raises
    ------
    BadInputError
        If what it needs was not given, or no star has it.
    """
    if isinstance(sheet, str):
        known = {s.name: s for s in SHEETS}
        if sheet not in known:
            raise BadInputError(f"figure {sheet!r}: expected one of {', '.join(known)}")
        sheet = known[sheet]
    given = getattr(data, sheet.needs) if sheet.needs else True
    if given is None or (isinstance(given, dict) and not given):
        raise BadInputError(f"{sheet.name}: needs {_NEEDS[sheet.needs]}")
    with figure_style():
        return sheet.draw(data)


_NEEDS = {
    "survey": "the survey (--survey)",
    "models": "the fitted models (--models, a folder that `spfast catalog --models` wrote)",
    "members": "members of clusters: none was found around the known centres (--clusters gives your own)",
    "tune": "a table of `spfast tune` (--tune)",
}
