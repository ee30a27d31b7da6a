"""The figure of a cross-validation: score against penalty for each zero point, and the choice."""

from pathlib import Path

import numpy as np
from astropy.table import Table

from spfast.config import BEST_SNR
from spfast.data.tables.values import float_column
from spfast.errors import BadInputError
from spfast.figures.panel import plain_ticks
from spfast.figures.style import COLOURS, COLUMN_WIDTH, figure_style, new_axes, save_figure

__all__ = ["draw_tuning", "plot_tuning"]

_SCORES = {
    "chi_squared": r"mean $\chi^2$ of stars held out",
    "likelihood": r"mean $-\ln$ likelihood of stars held out",
    "scatter": rf"scatter of held-out stars with $\varpi/\sigma \geq {BEST_SNR:.0f}$",
}


def draw_tuning(tune: Table, path: Path) -> tuple[Path, Path]:
    """Draw the figure into files beside the table: ``path`` with the suffixes ``.png`` and ``.pdf``.

    Parameters
    ----------
    tune : astropy Table
        As in `plot_tuning`.
    path : pathlib.Path
        Of the table.

    Returns
    -------
    tuple of two pathlib.Path
    """
    with figure_style():
        figure, axes = new_axes(1, 1, COLUMN_WIDTH * 1.3)
        plot_tuning(tune, axes[0])
        return save_figure(figure, path.with_suffix(""))


def plot_tuning(tune: Table, ax, score: str | None = None) -> None:
    """Draw the held-out score against the penalty, a line for each zero point.

    The band is the standard error of the mean over the folds, for the zero point that was chosen.

    Parameters
    ----------
    tune : astropy Table
        Of `spfast tune`: ``penalty``, ``zero_point`` [mas] and the score, one row for each fold.
    ax : matplotlib Axes
    score : str, optional
        ``"chi_squared"``, ``"likelihood"`` or ``"scatter"``; the one that the table's header names by default.

    Raises
    ------
    BadInputError
        If a column is missing or there is no row.
    """
    from matplotlib import colormaps

    score = tune.meta.get("SCORE", "chi_squared") if score is None else score
    if score not in _SCORES:
        raise BadInputError(f"cross-validation: score {str(score)[:40]!r}, expected one of {', '.join(_SCORES)}")
    for name in ("penalty", "zero_point", score):
        if name not in tune.colnames:
            raise BadInputError(f"cross-validation: the table has no column {name}; expected that of `spfast tune`")
    penalty, zero_point, value = (float_column(tune, name) for name in ("penalty", "zero_point", score))
    if not np.isfinite(value).any():
        raise BadInputError(f"cross-validation: no row has a {score}")
    lines = np.unique(zero_point[np.isfinite(value)])
    means, spreads = {}, {}
    for place, line in sorted({(p, z) for p, z, v in zip(penalty, zero_point, value, strict=True) if np.isfinite(v)}):
        folds = value[(penalty == place) & (zero_point == line) & np.isfinite(value)]
        means[place, line] = folds.mean()
        spreads[place, line] = folds.std(ddof=1) / np.sqrt(folds.size) if folds.size > 1 else 0.0
    best, chosen = min(means, key=means.get), (tune.meta.get("PENALTY"), tune.meta.get("ZEROPT"))
    what, point = ("chosen", chosen) if chosen in means and score == tune.meta.get("SCORE") else ("best", best)
    for number, line in enumerate(lines):
        places = [at for at in means if at[1] == line]
        x, mean = [at[0] for at in places], np.array([means[at] for at in places])
        colour = colormaps["viridis"](0.9 * number / max(len(lines) - 1, 1))
        if line == point[1]:  # of the others it would hide the lines
            spread = np.array([spreads[at] for at in places])
            ax.fill_between(x, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)
        ax.plot(x, mean, marker="o", markersize=3, color=colour, label=f"{line:+.3g} mas")
    label = rf"{what}: $\lambda = {point[0]:g}$, {point[1]:+.3g} mas"
    star = {"marker": "*", "markersize": 10, "color": COLOURS["orange"], "markeredgecolor": "black"}
    ax.plot(point[0], means[point], linestyle="none", zorder=5, label=label, **star)
    ax.set_xscale("log")
    plain_ticks(ax.xaxis)
    ax.set_xlabel(r"penalty $\lambda$")
    ax.set_ylabel(_SCORES[score])
    ax.margins(y=0.1)
    ax.legend(title="zero point", title_fontsize="small", fontsize="x-small")
