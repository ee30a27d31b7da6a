"""Figure 7 of the paper: the models' coefficients of pixels and magnitudes, and the spectral lines marked there."""

from collections.abc import Mapping

import numpy as np

from spfast.errors import BadInputError
from spfast.figures.panel import MINUS
from spfast.figures.style import COLOURS
from spfast.model.fitted_model import FittedModel
from spfast.model.layout import FeatureLayout

__all__ = [
    "SPECTRAL_LINES",
    "plot_coefficients",
    "plot_column_coefficients",
    "plot_magnitude_coefficients",
    "wavelength_label",
]

#: Strong lines of red giants between 1.51 and 1.70 micron: species and wavelengths in vacuum [Angstrom].
#: Atoms and OH: lines of Smith et al. (2013, ApJ 765, 16), air converted to vacuum, and Ce II of Cunha et al. (2017,
#: ApJ 844, 145). CO: heads of the second-overtone bands 3-0 to 9-6, from the constants of Huber & Herzberg (1979).
#: Br n: hydrogen's Brackett lines, n to 4, from Rydberg's formula. DIB: the diffuse interstellar band (Zasowski et al.
#: 2015, ApJ 798, 35), in the star's rest frame only where the cloud moves along.
SPECTRAL_LINES = {
    "Fe": (15211.7, 15298.7, 15595.8, 15625.9, 15636.2, 15666.3, 15985.1, 16045.0, 16157.7, 16169.4, 16491.2),
    "Mg": (15745.0, 15753.2, 15770.1, 15883.8, 15890.5, 15958.8),
    "Al": (16723.5, 16755.1, 16767.9),
    "Si": (15365.4, 15381.0, 15892.8, 15964.4, 16064.4, 16099.2, 16220.1, 16685.3, 16832.8),
    "K": (15167.2, 15172.5),
    "Ca": (16141.2, 16155.2, 16159.7, 16161.8),
    "Ti": (15548.0, 15607.1, 15719.9),
    "V": (15928.3,),
    "Cr": (15684.3,),
    "Mn": (15222.0, 15266.6),
    "Co": (16762.3,),
    "Ni": (15609.9, 15636.9, 16593.8, 16678.3),
    "Na": (16393.3,),
    "C": (16009.3, 16895.0),
    "Ce": (15789.1,),
    "OH": (15282.7, 15573.1, 15631.7, 16194.5, 16876.9),
    "CO": (15581.7, 15779.5, 15982.0, 16189.2, 16401.3, 16618.5, 16840.9),
    "H (Br 15)": (15705.0,),
    "H (Br 14)": (15884.9,),
    "H (Br 13)": (16113.7,),
    "H (Br 12)": (16411.7,),
    "H (Br 11)": (16811.1,),
    "DIB": (15272.4,),
}

#: Names of columns that an axis has room for.
_NAMES = 60
#: Each model's colour, which side of a pixel its line stands on, and marker.
_FOLD_STYLE = {"A": (COLOURS["blue"], -0.25, "o"), "B": (COLOURS["orange"], 0.25, "s")}


def plot_coefficients(
    models: Mapping[str, FittedModel], ax, wavelength: tuple[float, float] | None = None, lines: bool = True
) -> None:
    """Draw Figure 7: the coefficients of both models against wavelength, with the lines of a giant's spectrum marked.

    Parameters
    ----------
    models : dict of FittedModel
        Under ``"A"`` and ``"B"``; each with a layout.
    ax : matplotlib Axes
    wavelength : (float, float), optional [Angstrom]
        Part to show; everything by default.
    lines : bool
        Mark the lines of `SPECTRAL_LINES` that are in the part shown.
    """
    shown = []
    for fold, model in models.items():
        colour, shift, _ = _FOLD_STYLE.get(fold, (COLOURS["green"], 0.0, "^"))
        where, coef = _pixels(model)
        inside = (coef != 0.0) & (np.ones(where.size, bool) if wavelength is None else _within(where, wavelength))
        shown.append(coef[inside])
        label = f"model {fold}: {model.columns_used}"
        ax.vlines(where[inside] + shift, 0.0, coef[inside], color=colour, linewidth=0.7, label=label)
    if wavelength is not None:
        ax.set_xlim(*wavelength)
    lines = lines and any(_within(np.array(places), ax.get_xlim()).any() for places in SPECTRAL_LINES.values())
    reach = np.abs(np.concatenate(shown)).max(initial=0.0) or 1.0
    ax.set_ylim(-1.1 * reach, 1.75 * reach if lines else 1.1 * reach)
    ax.axhline(0.0, color="0.5", linewidth=0.5, zorder=0)
    if lines:
        _mark_lines(ax)
    ax.set_xlabel(wavelength_label(next(iter(models.values())).layout))
    ax.set_ylabel(r"coefficient of $\ln f$")


def plot_magnitude_coefficients(models: Mapping[str, FittedModel], ax) -> None:
    """Draw the second part of Figure 7: the magnitudes' coefficients of both models, with the errors that they have.

    Errors are those of the model's error budget: what noise in the training stars does to the coefficients. Those of
    neighbouring bands depend on each other, which the error of the sum takes into account.

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
        errors, error_of_sum = _magnitude_errors(model)
        note = " (no errors)" if errors is None else f" \N{PLUS-MINUS SIGN} {error_of_sum:.4f}"
        label = f"model {fold}: sum {coef.sum():.4f}{note}".replace("-", MINUS)
        ax.errorbar(place, coef, yerr=errors, fmt=marker, color=colour, markersize=4, elinewidth=1.0, label=label)
    ax.axhline(0.0, color="0.5", linewidth=0.5, zorder=0)
    ax.set_xticks(np.arange(coef.size), model.layout.magnitudes)
    ax.minorticks_off()
    ax.set_ylabel("coefficient [per mag]")
    low, high = ax.get_ylim()
    ax.set_ylim(low - 0.05 * (high - low), high + 0.35 * (high - low))
    ax.legend(loc="upper right")


def _magnitude_errors(model):
    """Errors of the magnitudes' coefficients (float64 array) and of their sum; None and None without a budget."""
    if model.budget is None:
        return None, None
    factor = np.zeros((model.n_features, model.budget.factor.shape[1]))
    factor[model.budget.columns] = model.budget.factor
    of_magnitudes = factor[1 : model.layout.n_unpenalized]
    return np.linalg.norm(of_magnitudes, axis=1), float(np.linalg.norm(of_magnitudes.sum(axis=0)))


def wavelength_label(layout) -> str:
    """The label of an axis of wavelengths: APOGEE's are in vacuum, those of other spectrographs as they were given."""
    own = layout.columns if isinstance(layout, FeatureLayout) else layout.spectrum
    return rf"wavelength{' in vacuum' if own is None else ''} [$\mathrm{{\AA}}$]"


def plot_column_coefficients(models: Mapping[str, FittedModel], ax, group: str) -> None:
    """Draw the coefficients of a group of columns that have no wavelength, side by side.

    Parameters
    ----------
    models : dict of FittedModel
        Under ``"A"`` and ``"B"``; of columns as they are.
    ax : matplotlib Axes
    group : str
        Of the models' layout.
    """
    for fold, model in models.items():
        colour, shift, marker = _FOLD_STYLE.get(fold, (COLOURS["green"], 0.0, "^"))
        inside = model.layout.groups[group]
        coef = model.coef[inside]
        place = np.flatnonzero(coef)
        label = f"model {fold}: {model.columns_used}"
        ax.plot(place + 0.4 * shift, coef[place], marker, color=colour, markersize=3, label=label)
    names = [name for name, is_in in zip(model.layout.names, inside, strict=True) if is_in]
    step = -(-len(names) // _NAMES)
    ax.set_xticks(np.arange(len(names))[::step], names[::step], rotation=90, fontsize=5)
    ax.minorticks_off()
    ax.set_xlim(-1, len(names))
    ax.axhline(0.0, color="0.5", linewidth=0.5, zorder=0)
    ax.set_ylabel("coefficient [per scatter]")
    ax.set_title(group, fontsize="small")


def _pixels(model):
    if model.layout is None:
        raise BadInputError("Figure 7: the model has no layout, so its coefficients have no wavelength")
    pixels, coef = model.pixel_coefficients
    return model.layout.wavelength_of(pixels), coef


def _within(values, limits):
    return (values >= limits[0]) & (values <= limits[1])


def _mark_lines(ax):
    """Draw thin lines at the wavelengths of `SPECTRAL_LINES`, with their names, where there is room for the name."""
    low, high = ax.get_xlim()
    width = ax.get_window_extent().width / ax.figure.dpi * 72.0  # [pt]
    letter, ends = _LETTER * (high - low) / width, [-np.inf] * len(_NAME_ROWS)
    for where, name in sorted((w, name) for name, places in SPECTRAL_LINES.items() for w in places):
        half = (len(name) + 1) * letter / 2
        free = [row for row, end in enumerate(ends) if where - half > end]
        if low < where < high and free:
            ends[free[0]] = where + half
            ax.axvline(where, color="0.8", linewidth=0.4, zorder=0)
            style = {"fontsize": 6, "ha": "center", "va": "top", "color": "0.2"}
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
            place = np.clip(where, low + half, high - half)
            ax.text(place, _NAME_ROWS[free[0]], name, transform=ax.get_xaxis_transform(), bbox=box, **style)


#: Heights at which the names of lines stand, in parts of the Axes: lines closer than a name is wide share no row.
_NAME_ROWS = (0.985, 0.90, 0.815)
#: Width of a letter of a name in print of 6 pt [pt].
_LETTER = 3.6
