"""The report's figures by name: each with a caption that says what to look for, and a text for those who cannot see."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from spfast.config import BEST_SNR
from spfast.errors import BadInputError
from spfast.figures import compositions
from spfast.figures.figure_data import FigureData
from spfast.figures.style import figure_style
from spfast.model.layout import MAGNITUDE_SUM

__all__ = ["SHEETS", "Sheet", "draw_sheet"]


@dataclass(frozen=True)
class Sheet:
    """One figure: its file name, title, caption, text for those who cannot see it, and the function that draws it."""

    name: str
    title: str
    caption: str
    alt: str
    draw: Callable = field(repr=False)  # from FigureData to a matplotlib Figure
    needs: str = ""  # field of FigureData without which there is nothing to draw


#: Every figure of the report, in its order: first what a reader asks for first.
SHEETS = (
    Sheet(
        "parallaxes",
        "Spectrophotometric against Gaia parallaxes",
        "Left: the training set; right: its stars with a Gaia parallax of at least "
        f"{BEST_SNR:.0f} times its error; below, if a truth was given, the true parallaxes. No model saw the star it "
        "predicts. Look for stars along the line over the whole range, a scatter in the right panel that agrees with "
        "the table, no bend at large or small parallaxes. Gaia parallaxes below zero are noise and belong there; the "
        "prediction is never negative. (Figure 2 of the paper.)",
        "Scatter plots of spectrophotometric parallax against the reference parallax, coloured by spectral signal to "
        "noise, with the one-to-one line.",
        compositions.draw_parallaxes,
    ),
    Sheet(
        "pulls",
        "Are the errors right?",
        "Differences over their errors beside a unit Gaussian, and how many stars lie within a range that should hold "
        "a given share. Look for a width of 1 and a curve on the diagonal: below it, the errors are too small. Errors "
        "of the features alone leave out those of the coefficients and the intrinsic scatter, so they are a lower "
        "limit.",
        "Histograms of pulls against a unit Gaussian, and curves of observed against expected coverage.",
        compositions.draw_pulls,
    ),
    Sheet(
        "parts",
        "Are the errors right for every kind of star?",
        "Each fifth of the stars, by magnitude, signal to noise, [Fe/H], dust (H-W2) and parallax. Top: the share of "
        "the stars that lies within one sigma (filled, 68% expected) and within the central 95% (open); bottom: half "
        "the 16 to 84 percentile width of residual over error, 1 for honest errors. Points stand in the middle of the "
        "fifth's range, with binomial errors above and the sampling error of the width below. The error is the total "
        "one where the catalog has it, else that of the features; against Gaia, Gaia's error counts too, times the "
        "factor in the catalog's header. Look for points on the dashed lines in every panel: a kind of star beside "
        "them has errors that are too small (shares below, widths above) or too large, though the mean over all stars "
        "may be right.",
        "Ten panels: share of stars within one and two sigma, and width of the pulls, by fifths of G, signal to noise, "
        "[Fe/H], H minus W2 and parallax.",
        compositions.draw_parts,
    ),
    Sheet(
        "errors",
        "How large the errors are, by distance",
        "Errors over the spectrophotometric parallax: medians in bins of equally many stars, shaded where the central "
        "68% lie. Gaia's are the published ones times the factor in the catalog's header. The error from the features "
        "alone is a lower limit; the total one adds those of the coefficients and the intrinsic scatter. Look for the "
        "distance from which on the spectrophotometric parallax is better than Gaia's, and, if a truth was given, for "
        "a scatter around the truth that follows the total error.",
        "Fractional error against distance: Gaia's rises steadily, the spectrophotometric ones stay nearly level.",
        compositions.draw_errors,
    ),
    Sheet(
        "trends",
        "Residuals against Gaia, by what the star is",
        "Fractional difference from the Gaia parallax for training stars: medians with their errors, shaded where the "
        "central 68% lie. Look for medians on zero; a slope with colour points at dust, with [Fe/H] or log g at a "
        "model too simple for some stars, with G or latitude at Gaia's zero point. The width is mostly Gaia's noise.",
        "Nine panels of the fractional parallax residual against magnitude, colour, temperature, gravity, abundances, "
        "signal to noise, latitude and bad pixels.",
        compositions.draw_trends,
        "survey",
    ),
    Sheet(
        "true_trends",
        "Residuals against the truth",
        "Fractional difference from the true parallax of a simulation, for all stars: medians with their errors, "
        "shaded where the central 68% lie. Here the width is the error of the method. Look for flat medians.",
        "Nine panels of the fractional difference from the true parallax against magnitude, colour, temperature, "
        "gravity, abundances, signal to noise, latitude and bad pixels.",
        compositions.draw_true_trends,
        "survey",
    ),
    Sheet(
        "zero_point",
        "What is left of Gaia's zero point",
        "Gaia minus spectrophotometric parallax of training stars against what Gaia's zero point depends on: ecliptic "
        "latitude, G and colour; Gaia_parallax has the zero point added already. Top, in microarcseconds: far stars "
        "alone, whose total spectrophotometric error is smaller than Gaia's, so that what is added to every parallax "
        "shows. Bottom, over the spectrophotometric parallax: all training stars. Points are medians with their errors "
        "from the scatter itself; the band is the median of all. Look for points that agree with zero within their "
        "errors: a level or slope of the same microarcseconds is Gaia's zero point, one of the same per cent the "
        "model's. The model was fitted to parallaxes with this zero point and follows a wrong one in part; choosing "
        "stars by their own noisy prediction alone can make a few microarcseconds.",
        "Six panels of median parallax difference, in microarcseconds and per cent, against ecliptic latitude, G "
        "magnitude and colour.",
        compositions.draw_zero_point,
        "survey",
    ),
    Sheet(
        "flags",
        "Which flags matter",
        "For each flag that a star of the catalog carries: the number of its stars, and of them (orange) and of the "
        "stars without it (open) the median of the fractional residual, its scatter (half the 16 to 84 percentile "
        "width), and the width of residual over error. Residuals are against the truth if one was given, else against "
        "Gaia, for which parallax_outlier is large by definition and no_gaia_parallax cannot be told. The error is the "
        "total one where the catalog has it; bars are sampling errors; fewer than five stars have no point. Look for "
        "flags whose stars are off zero or scatter more: leave those out. A large scatter with a width of 1 is one "
        "that the errors know of.",
        "One row for each flag: bars with the number of stars, and median, scatter and pull of flagged stars beside "
        "those of the others.",
        compositions.draw_flags,
    ),
    Sheet(
        "labels",
        "Spectrophotometric against Gaia parallaxes, by what the star is",
        "Training stars coloured by four labels. Look for colours mixed across the line: a colour that lies on one "
        "side is a bias that depends on the label. (Figure 3 of the paper.)",
        "Four scatter plots of spectrophotometric against Gaia parallax, coloured by effective temperature, log g, "
        "[Fe/H] and H minus W2.",
        compositions.draw_labels,
        "survey",
    ),
    Sheet(
        "clusters",
        "Star clusters",
        "Members of each cluster, nearest cluster first: Gaia (orange) and spectrophotometric (blue) parallaxes, "
        "their means as lines with a band of one sigma, the literature distance dashed. Look for lines that agree "
        "within their bands, and blue points that scatter as their error bars say (total errors, where the catalog "
        "has them). The number is the difference of the means in sigma; what all members share of their errors makes "
        "it larger than it should be. (Figure 4 of the paper, in which M71 disagrees.)",
        "For each cluster, Gaia and spectrophotometric parallaxes of its members with error bars, mean lines and the "
        "literature value.",
        compositions.draw_clusters,
        "members",
    ),
    Sheet(
        "cluster_residuals",
        "Clusters along the giant branch",
        "Members of a cluster are at one distance, so their errors show whatever their magnitude does. Left: "
        "logarithm of the spectrophotometric parallax times the literature distance, against the absolute magnitude "
        "in K by that distance (no extinction taken off), with a line of the slope inside each cluster. Right: these "
        "slopes, nearest cluster first, with errors from the members' total errors, or from their scatter where that "
        "is larger; the band is the weighted mean of the slopes, its error larger where clusters disagree. Look for "
        "slopes that agree with zero: one that does not is a bias with luminosity that no comparison with Gaia's "
        "distant stars shows. A cluster beside zero as a whole has a wrong literature distance, or a composition the "
        "model does not know.",
        "Left: parallax residual of cluster members against absolute K magnitude, with a line for each cluster. Right: "
        "the slope of each cluster with its error, and the mean.",
        compositions.draw_cluster_residuals,
        "members",
    ),
    Sheet(
        "precision",
        "Where the spectrophotometric parallax wins",
        "Magnitude against distance; blue where the spectrophotometric error (the total one, where the catalog has it) "
        "is smaller than Gaia's, red where it is larger. Look for blue beyond a few kpc. (Figure 5 of the paper.)",
        "G magnitude against distance, coloured by the logarithm of the ratio of Gaia's error to the "
        "spectrophotometric one.",
        compositions.draw_precision,
        "survey",
    ),
    Sheet(
        "colour_magnitude",
        "The giant branch by these parallaxes",
        "Colour against absolute magnitude in K, from the spectrophotometric parallax alone, coloured by [Fe/H]. "
        "Left: as observed, extinction and reddening not corrected. Right, if the survey has W2: each star's A_K by "
        "H-W2 (0.918 (H - W2 - 0.05), Majewski et al. 2011) taken off, and the reddening of J-K with it; that colour "
        "is the same for all giants only roughly. Look for a narrow branch that metal-poor stars follow on its blue "
        "side, and, where log g was not cut below it, for the red clump at its dotted line (M_K = -1.61, Laney et al. "
        "2012). Stars far below or above the branch have wrong parallaxes or are no giants.",
        "Absolute K magnitude against J minus K for all stars, coloured by iron abundance, as observed and dereddened.",
        compositions.draw_colour_magnitude,
        "survey",
    ),
    Sheet(
        "sky",
        "The sky",
        "Galactic coordinates in an equal-area projection (Mollweide), longitude growing to the left, the Galactic "
        "centre in the middle. Top: stars in cells of equal area. Bottom: the median fractional difference from the "
        "Gaia parallax of training stars, in cells with five or more; grey where there are fewer. Look for noise "
        "alone: a pattern along the plane points at dust, one along the ecliptic or in stripes at Gaia's zero point. "
        "Cells of few stars scatter by Gaia's errors.",
        "Two maps of the whole sky in Galactic coordinates: number of stars, and median parallax residual.",
        compositions.draw_sky,
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
        compositions.draw_map,
        "survey",
    ),
    Sheet(
        "coefficients",
        "What the models use",
        "Coefficients of the two models against wavelength, with lines of giants marked, and those of the magnitudes "
        "below, with errors by the models' error budgets where they have one (those of neighbouring bands depend on "
        "each other; the error of the sum says so). Look for both models choosing the same places, for lines of "
        "temperature, gravity and carbon and nitrogen, and for magnitudes on which the models agree within their "
        "errors. For distances alone the coefficients of the magnitudes would add up to "
        f"-0.2 ln 10 = {MAGNITUDE_SUM:.4f}. "
        "(Figure 7 of the paper.)",
        "Coefficients of model A and model B against wavelength on each detector, and the coefficients of the "
        "magnitudes.",
        compositions.draw_coefficients,
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
        compositions.draw_colours,
        "survey",
    ),
    Sheet(
        "cut_flow",
        "From all stars to the sample",
        "How many stars each cut left. Look for a cut that takes more than you expect of it: a wrong unit or column "
        "does that.",
        "Bars with the number of stars left after each cut; the same numbers are in the table.",
        compositions.draw_cut_flow,
        "survey",
    ),
    Sheet(
        "tuning",
        "Cross-validation",
        "The cross-validated score over penalty and zero point; the star is the choice, the band the standard error "
        "over the folds. Look for a minimum inside the grid, not on its edge, and for a floor that is flat compared "
        "with the band.",
        "Cross-validation score against the penalty for each zero point, with the chosen value marked.",
        compositions.draw_tuning,
        "tune",
    ),
    Sheet(
        "spectra",
        "Spectra as the model sees them",
        "Normalised spectra of a cool, a middle, a hot and a metal-poor star (by colour alone in a survey without "
        "labels); green ticks at the continuum pixels, "
        "orange ones at bad pixels, where the line is orange too: what the model takes there is not measured, and the "
        "legend says what this survey's configuration put in its place. Look for a level continuum at 1 on every "
        "detector, estimates that continue the spectrum, and lines that weaken towards hot and metal-poor stars.",
        "Four normalised spectra on each detector with ticks at continuum and bad pixels.",
        compositions.draw_spectra,
        "survey",
    ),
    Sheet(
        "convergence",
        "The solver",
        "Objective above its final value, and the violation of the optimality conditions over the penalty, against "
        "passes over the training stars, which is what a fit costs. Look for a violation that ends under the dashed "
        "tolerance.",
        "Objective and KKT violation of both models against passes over the training stars, on logarithmic scales.",
        compositions.draw_convergence,
        "models",
    ),
)


def draw_sheet(sheet: Sheet | str, data: FigureData):
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
        If the data that the figure needs were not given, or no star has them.
    """
    if isinstance(sheet, str):
        by_name = {s.name: s for s in SHEETS}
        if sheet not in by_name:
            raise BadInputError(f"figure {sheet!r}: expected one of {', '.join(by_name)}")
        sheet = by_name[sheet]
    given = getattr(data, sheet.needs) if sheet.needs else True
    if given is None or (isinstance(given, Mapping) and not given):
        raise BadInputError(f"{sheet.name}: needs {_NEEDS[sheet.needs]}")
    with figure_style():
        return sheet.draw(data)


_NEEDS = {
    "survey": "the survey (--survey)",
    "models": "the fitted models (--models, a folder that `spfast catalog --models` wrote)",
    "members": "members of clusters: none was found around the known centres (--clusters gives your own)",
    "tune": "a table of `spfast tune` (--tune)",
}
