"""The report's figures composed of panels: each function draws one of them (a matplotlib Figure)."""

import numpy as np

from spfast.catalog.galaxy import map_cells
from spfast.errors import BadInputError
from spfast.figures import absolute, checks, errors, paper, residuals, sky
from spfast.figures.coefficients import (
    plot_coefficients,
    plot_column_coefficients,
    plot_magnitude_coefficients,
    wavelength_label,
)
from spfast.figures.figure_data import FigureData
from spfast.figures.panel import QUANTITIES, finite_rows, values_of
from spfast.figures.style import COLOURS, COLUMN_WIDTH, PAGE_WIDTH, new_axes, plain_text
from spfast.figures.tuning import plot_tuning
from spfast.model.layout import FeatureLayout
from spfast.validation.clusters import cluster_means
from spfast.validation.coverage import coverage
from spfast.validation.flag_residuals import flag_residuals

__all__ = [
    "draw_cluster_residuals",
    "draw_clusters",
    "draw_coefficients",
    "draw_colour_magnitude",
    "draw_colours",
    "draw_convergence",
    "draw_cut_flow",
    "draw_errors",
    "draw_flags",
    "draw_labels",
    "draw_map",
    "draw_parallaxes",
    "draw_parts",
    "draw_precision",
    "draw_pulls",
    "draw_sky",
    "draw_spectra",
    "draw_trends",
    "draw_true_trends",
    "draw_tuning",
    "draw_zero_point",
]

#: Clusters with fewer members than this are in the table, not in the figure; and the most panels that it has.
_CLUSTER_STARS, _CLUSTER_PANELS = 3, 12
#: Spectra shown: at these percentiles of the effective temperature, and the most metal-poor of good S/N.
_SPECTRA = (10, 50, 90)
_SPECTRA_SNR = 100.0
#: Detectors that a figure has room for.
_PANELS = 5


def draw_colours(data: FigureData):
    """Figure 1: colours of the parent sample and of the training set, with the cuts."""
    figure, axes = new_axes(2, 2, PAGE_WIDTH, 5.2, sharex="col", sharey="col")
    for ax, (sample, colour) in zip(
        axes, (("parent", "J-K"), ("parent", "H-W2"), ("training", "J-K"), ("training", "H-W2")), strict=True
    ):
        paper.plot_colours(data.table, ax, colour, sample, data.config.sample)
        ax.set_xlabel(ax.get_xlabel() if sample == "training" else "")
    return figure


def draw_parallaxes(data: FigureData):
    """Figure 2: spectrophotometric parallaxes against Gaia's and the true ones."""
    panels = [("training", "gaia"), ("best", "gaia")]
    if "truth" in data.references:
        panels += [("parent", "truth"), ("best", "truth")]
    panels = [p for p in panels if p[0] != "best" or np.any(data.table["best"])]
    figure, axes = new_axes(len(panels) // 2 + len(panels) % 2, min(len(panels), 2), PAGE_WIDTH)
    for ax in axes[len(panels) :]:
        ax.remove()
    colour = "SNR" if _known(data.table, ("SNR",)) else None
    for ax, (sample, reference) in zip(axes, panels, strict=False):
        paper.plot_parallaxes(data.table, ax, sample, colour, reference)
    return figure


def draw_labels(data: FigureData):
    """Figure 3: parallaxes of the training set, coloured by four labels."""
    shown = _known(data.table, ("TEFF", "LOGG", "FE_H", "H-W2"))
    if not shown:
        raise BadInputError("labels: no star has an effective temperature, log g, [Fe/H] or H-W2")
    rows, columns = -(-len(shown) // 2), min(len(shown), 2)
    width = PAGE_WIDTH if columns > 1 else COLUMN_WIDTH * 1.25
    figure, axes = new_axes(rows, columns, width, 2.7 * rows, sharex=True, sharey=True)
    for ax in axes[len(shown) :]:
        ax.remove()
    for ax, colour in zip(axes, shown, strict=False):
        paper.plot_parallaxes(data.table, ax, "training", colour)
        if len(shown) % 2 == 0:
            ax.label_outer()
    return figure


def _known(table, names):
    """Those of a table's quantities that a star has; a survey of arrays lacks many."""
    return [name for name in names if name in table.colnames and np.isfinite(values_of(table, name)).any()]


def draw_clusters(data: FigureData):
    """Figure 4: the members of the largest clusters."""
    _, shown = _clusters_shown(data)
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


def _clusters_shown(data):
    """The largest clusters in the order of `cluster_means`: its table, and pairs of name and rows."""
    large = {name: rows for name, rows in data.members.items() if len(rows) >= _CLUSTER_STARS}
    if not large:
        raise BadInputError(f"no cluster has {_CLUSTER_STARS} members in this catalog")
    largest = sorted(large, key=lambda name: -len(large[name]))[:_CLUSTER_PANELS]
    large = {name: rows for name, rows in large.items() if name in largest}
    magnitudes = values_of(data.table, "K") if "K" in data.table.colnames else None
    means = cluster_means(data.table, large, data.literature, magnitudes)
    # The table cuts long names.
    return means, [
        next((name, rows) for name, rows in large.items() if name.startswith(cut)) for cut in means["cluster"]
    ]


def draw_cluster_residuals(data: FigureData):
    """Clusters' members against their absolute magnitude, and the slope inside each cluster."""
    means, shown = _clusters_shown(data)
    figure, axes = new_axes(1, 2, PAGE_WIDTH, 3.4, width_ratios=(1.7, 1))
    absolute.plot_cluster_residuals(data.table, axes[0], means, [rows for _, rows in shown])
    absolute.plot_cluster_slopes(means, axes[1])
    return figure


def draw_precision(data: FigureData):
    """Figure 5: where the spectrophotometric error is smaller than Gaia's."""
    figure, axes = new_axes(1, 1, COLUMN_WIDTH * 1.25)
    paper.plot_precision(data.table, axes[0])
    return figure


def draw_map(data: FigureData):
    """Figure 6: the Galactic plane, coloured by abundances, number of stars and error."""
    cells = map_cells(data.table, data.config.galaxy)
    figure, axes = new_axes(2, 2, PAGE_WIDTH, 6.2, "compressed", sharex=True, sharey=True)
    for ax, quantity in zip(axes, ("FE_H", "ALPHA_M", "n", "distance_error"), strict=True):
        paper.plot_map(cells, ax, quantity, arrows=quantity in ("FE_H", "ALPHA_M"))
        ax.label_outer()
    return figure


def draw_coefficients(data: FigureData):
    """Figure 7: the models' coefficients on each detector, and those of the magnitudes."""
    model = next(iter(data.models.values()))
    if model.layout is None:
        raise BadInputError("Figure 7: the models have no layout, so their coefficients have no wavelength")
    parts = _detectors(model)
    if not parts:
        raise BadInputError("Figure 7: no column of the models is on a detector")
    figure, axes = new_axes(len(parts) + 1, 1, PAGE_WIDTH, 2.0 * (len(parts) + 1))
    for ax, (group, wavelength) in zip(axes, parts, strict=False):
        if wavelength.size:
            plot_coefficients(data.models, ax, (wavelength[0] - 2, wavelength[-1] + 2))
            ax.set_xlabel("")
        else:
            plot_column_coefficients(data.models, ax, group)
    if parts[-1][1].size:
        axes[len(parts) - 1].set_xlabel(wavelength_label(model.layout))
    axes[0].legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)
    plot_magnitude_coefficients(data.models, axes[-1])
    return figure


def _detectors(model):
    """The groups of the model's columns that a figure has room for, each with its wavelengths, if it has any."""
    spectrum = model.layout if model.low_rank is None else model.layout.spectrum or FeatureLayout(model.low_rank.pixels)
    parts = [(group, spectrum.wavelength[inside]) for group, inside in spectrum.groups.items() if inside.any()]
    return [(group, wavelength[np.isfinite(wavelength)]) for group, wavelength in parts[:_PANELS]]


def draw_cut_flow(data: FigureData):
    """How many stars each cut left."""
    cuts = data.survey.info.get("cut_flow") or []
    figure, axes = new_axes(1, 1, PAGE_WIDTH * 0.8, 0.7 + 0.21 * len(cuts))
    checks.plot_cut_flow(cuts, axes[0])
    return figure


def draw_tuning(data: FigureData):
    """The cross-validated score."""
    figure, axes = new_axes(1, 1, COLUMN_WIDTH * 1.3)
    plot_tuning(data.tune, axes[0])
    return figure


def draw_pulls(data: FigureData):
    """Pulls as histograms, and the coverage."""
    panels = [("training", "gaia")] + [("parent", "truth")] * ("truth" in data.references)
    figure, axes = new_axes(1, len(panels) + 1, PAGE_WIDTH, 2.6)
    for ax, (sample, reference) in zip(axes, panels, strict=False):
        errors.plot_pulls(data.table, ax, sample, reference)
    errors.plot_coverage(data.table, axes[-1], panels)
    return figure


def draw_parts(data: FigureData):
    """Coverage and pulls by fifths of what a star is."""
    shares = coverage(data.table, _truth(data), None if data.survey is None else data.survey.stars)
    shown = [quantity for quantity in errors.PARTS if np.any(shares["stars"] == quantity)]
    if not shown:
        raise BadInputError("errors by kind of star: too few stars for fifths")
    width = max(PAGE_WIDTH * len(shown) / len(errors.PARTS), COLUMN_WIDTH)
    figure, axes = new_axes(2, len(shown), width, 3.9, sharex="col", sharey="row", height_ratios=(1.4, 1))
    for i, quantity in enumerate(shown):
        errors.plot_part_shares(shares, axes[i], quantity)
        errors.plot_part_pulls(shares, axes[i + len(shown)], quantity)
        if i:
            axes[i].set_ylabel("")
            axes[i + len(shown)].set_ylabel("")
    handles, labels = axes[len(shown)].get_legend_handles_labels()
    figure.legend(handles, [f"against {label}" for label in labels], loc="outside upper center", ncols=2)
    return figure


def _truth(data):
    """The table as one of the truth, if it has any."""
    return data.table if "truth" in data.references else None


def draw_errors(data: FigureData):
    """Fractional errors against distance."""
    figure, axes = new_axes(1, 1, PAGE_WIDTH * 0.7, 3.6)
    errors.plot_fractional_errors(data.table, axes[0], "truth" in data.references)
    return figure


def draw_zero_point(data: FigureData):
    """Gaia minus spectrophotometric parallax against what a zero point depends on."""
    figure, axes = new_axes(2, 3, PAGE_WIDTH, 4.4, sharex="col")
    for i, quantity in enumerate(("ecl_lat", "phot_g_mean_mag", "BP-RP")):
        for ax, is_absolute in ((axes[i], True), (axes[i + 3], False)):
            residuals.plot_zero_point(data.table, ax, quantity, is_absolute)
            if i:
                ax.set_ylabel("")
        axes[i].set_xlabel("")
    return figure


def draw_flags(data: FigureData):
    """Residuals of the stars that carry a flag beside the others."""
    reference = data.references[-1]
    flags = flag_residuals(data.table, _truth(data))
    flags = flags[flags["reference"] == reference]
    figure, axes = new_axes(1, 4, PAGE_WIDTH, 1.1 + 0.2 * len(flags), sharey=True)
    for ax, what in zip(axes, ("n", "median", "scatter", "pull"), strict=True):
        residuals.plot_flags(flags, ax, what)
    against = {"gaia": "Gaia", "truth": "the truth"}[reference]
    figure.legend(
        *axes[1].get_legend_handles_labels(), loc="outside upper center", ncols=2, title=f"residuals against {against}"
    )
    return figure


def draw_colour_magnitude(data: FigureData):
    """Colour against absolute magnitude, as observed and dereddened."""
    ways = [False, True] if np.isfinite(values_of(data.table, "H-W2")).any() else [False]
    figure, axes = new_axes(1, len(ways), PAGE_WIDTH, 3.8)
    for ax, is_dereddened in zip(axes, ways, strict=True):
        mappable = absolute.plot_colour_magnitude(data.table, ax, is_dereddened)
    axes[-1].set_ylabel(axes[-1].get_ylabel().replace("M_{K}", "M_{K,0}"))
    if mappable is not None:
        figure.colorbar(mappable, ax=axes, label=QUANTITIES["FE_H"][0], pad=0.02, aspect=30, extend="both")
    return figure


def draw_sky(data: FigureData):
    """The sky: number of stars, and median residuals."""
    figure, axes = new_axes(2, 1, PAGE_WIDTH * 0.8, 6.6, subplot_kw={"projection": "mollweide"})
    sky.plot_sky(data.table, axes[0])
    spec, gaia = values_of(data.table, "spec_parallax"), values_of(data.table, "Gaia_parallax")
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        residual = np.where(data.table["training"], 100.0 * (spec - gaia) / spec, np.nan)
    label = r"training stars: median of ($\varpi^\mathrm{(sp)} -$ Gaia) / $\varpi^\mathrm{(sp)}$ [%]"
    sky.plot_sky(data.table, axes[1], residual, label)
    return figure


_TRENDS = ("phot_g_mean_mag", "BP-RP", "TEFF", "LOGG", "FE_H", "ALPHA_M", "SNR", "glat", "n_bad_pixels")


def draw_trends(data: FigureData, sample: str = "training", reference: str = "gaia"):
    """Residuals against nine quantities, or those of them that the survey has."""
    shown = _known(data.table, _TRENDS)
    rows = -(-len(shown) // 3)
    if not rows:
        raise BadInputError("residual trends: no star has a magnitude or a label")
    figure, axes = new_axes(rows, 3, PAGE_WIDTH, 2.13 * rows, sharey=True)
    for ax in axes[len(shown) :]:
        ax.remove()
    axes = axes[: len(shown)]
    for i, (ax, quantity) in enumerate(zip(axes, shown, strict=True)):
        residuals.plot_trend(data.table, ax, quantity, sample, reference)
        if i % 3:
            ax.set_ylabel("")
    reach = max(ax.get_ylim()[1] for ax in axes)
    axes[0].set_ylim(-reach, reach)
    return figure


def draw_true_trends(data: FigureData):
    """Residuals from the truth against nine quantities."""
    if "truth" not in data.references:
        raise BadInputError("true_trends: needs the true parallaxes of a simulation (--truth)")
    return draw_trends(data, "parent", "truth")


def draw_spectra(data: FigureData):
    """Spectra of a cool, a middle, a hot and a metal-poor star."""
    from matplotlib.lines import Line2D

    stars, layout = data.survey.stars, data.survey.layout
    if not layout.is_spectrum or np.isnan(layout.wavelength[layout.penalized]).any():
        raise BadInputError("spectra: the survey's features have no wavelengths")
    chosen = _typical_stars(stars)
    n = min(len(layout.groups), _PANELS)
    figure, axes = new_axes(len(chosen), n, PAGE_WIDTH, 1.45 * len(chosen), sharex="col", sharey=True)
    deepest = np.inf
    for i, row in enumerate(chosen):
        for chip, ax in enumerate(axes[n * i : n * i + n]):
            checks.plot_spectrum(data.survey, row, ax, chip)
            deepest = min(deepest, ax.get_ylim()[0])
            ax.label_outer()
        axes[n * i + n // 2].set_title(_star_title(stars, row), fontsize="small")
        for ax in axes[n * i : n * i + n]:
            ax.set_xlabel("")
            ax.set_ylabel("")
    axes[0].set_ylim(bottom=deepest)
    marks = {checks.bad_pixels_note(data.survey): "orange"}
    if (data.survey.info.get("continuum") or {}).get("pixels"):
        marks["continuum pixels"] = "green"
    style = {"linestyle": "none", "marker": "|", "markersize": 6}
    handles = [Line2D([], [], label=label, color=COLOURS[colour], **style) for label, colour in marks.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    figure.supxlabel(wavelength_label(layout), fontsize=8)
    figure.supylabel("normalised flux", fontsize=8)
    return figure


def _typical_stars(stars):
    """Rows of a cool, a middle, a hot and a metal-poor star, by colour where there are no labels (list of int)."""
    teff, fe_h, snr, bp, rp = (values_of(stars, name) for name in ("TEFF", "FE_H", "SNR", *_BP_RP))
    by = teff if np.isfinite(teff).any() else rp - bp
    rows = finite_rows("spectra (effective temperature or BP-RP)", by)
    good = rows[snr[rows] >= _SPECTRA_SNR] if np.any(snr[rows] >= _SPECTRA_SNR) else rows
    ordered = good[np.argsort(by[good], kind="stable")]
    chosen = [ordered[(ordered.size - 1) * share // 100] for share in _SPECTRA]
    if np.isfinite(fe_h[good]).any():
        chosen.append(good[np.nanargmin(fe_h[good])])
    return [int(row) for row in dict.fromkeys(chosen)]


def _star_title(stars, row):
    """A star's name and the labels that it has."""
    teff, fe_h, snr, bp, rp = (values_of(stars[[row]], name)[0] for name in ("TEFF", "FE_H", "SNR", *_BP_RP))
    labels = {
        rf"$T_\mathrm{{eff}}$ {teff:.0f} K": teff,
        rf"$G_\mathrm{{BP}} - G_\mathrm{{RP}}$ {bp - rp:.2f}": np.nan if np.isfinite(teff) else bp - rp,
        f"[Fe/H] ${fe_h:+.2f}$": fe_h,
        f"S/N {snr:.0f}": snr,
    }
    known = ", ".join(text for text, value in labels.items() if np.isfinite(value))
    return plain_text(stars["APOGEE_ID"][row]) + (f": {known}" if known else "")


_BP_RP = ("phot_bp_mean_mag", "phot_rp_mean_mag")


def draw_convergence(data: FigureData):
    """How the solver converged."""
    figure, axes = new_axes(1, 2, PAGE_WIDTH, 2.7)
    checks.plot_convergence(data.models, axes[0], "objective")
    checks.plot_convergence(data.models, axes[1], "kkt_violation")
    return figure
