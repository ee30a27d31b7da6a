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
        "trends",
        "Residuals against Gaia, by what the star is",
        "Fractional difference from the Gaia parallax for training stars: medians with their errors, shaded where the "
        "central 68% lie. Look for medians on zero; a slope with colour points at dust, with [Fe/H] or log g at a "
        "model too simple for some stars, with G or latitude at Gaia's zero point. The width is mostly Gaia's noise.",
        "Nine panels of the fractional parallax residual against magnitude, colour, temperature, gravity, abundances, "
        "signal to noise, latitude and masked pixels.",
        compositions.draw_trends,
        "survey",
    ),
    Sheet(
        "true_trends",
        "Residuals against the truth",
        "The same against the true parallaxes of a simulation, for all stars: here the width is the error of the "
        "method. Look for flat medians.",
        "Nine panels of the fractional difference from the true parallax against magnitude, colour, temperature, "
        "gravity, abundances, signal to noise, latitude and masked pixels.",
        compositions.draw_true_trends,
        "survey",
    ),
    Sheet(
        "labels",
        "The same parallaxes, by temperature, gravity, metallicity and H-W2",
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
        "Members of each cluster: Gaia (orange) and spectrophotometric (blue) parallaxes, their means as lines with a "
        "band of one sigma, the literature distance dashed. Look for lines that agree within their bands, and blue "
        "points that scatter as their error bars say (total errors, where the catalog has them). The number is the "
        "difference of the means in sigma; what all members share of their errors makes it larger than it should be. "
        "(Figure 4 of the paper, in which M71 disagrees.)",
        "For each cluster, Gaia and spectrophotometric parallaxes of its members with error bars, mean lines and the "
        "literature value.",
        compositions.draw_clusters,
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
        "below. Look for both models choosing the same places, and for lines of temperature, gravity and carbon and "
        "nitrogen. For distances alone the coefficients of the magnitudes would add up to "
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
        "Normalised spectra of a cool, a middle, a hot and a metal-poor star; green ticks at the continuum pixels, "
        "orange ones at masked pixels, which count as flux 1. Look for a level continuum at 1 on every detector, and "
        "lines that weaken towards hot and metal-poor stars.",
        "Four normalised spectra on each detector with ticks at continuum and masked pixels.",
        compositions.draw_spectra,
        "survey",
    ),
    Sheet(
        "convergence",
        "The solver",
        "Objective above its final value, and the violation of the optimality conditions over the penalty, against "
        "time. Look for a violation that ends under the dashed tolerance.",
        "Objective and KKT violation of both models against wall time, on logarithmic scales.",
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
