"""The figure of a cross-validation: score against penalty for each zero point, and the choice."""

import numpy as np

from spfast.errors import BadInputError
from spfast.products.figures import plain_ticks
from spfast.products.tables import float_column

__all__ = ["plot_tuning"]

_SCORES = {
    "chi_squared": r"mean $\chi^2$ of stars held out",
    "scatter": r"scatter of held-out stars with $\varpi/\sigma \geq 20$",
}


def plot_tuning(tune, ax, score="chi_squared"):
    """Draw the held-out score against the penalty, a line for each zero point, with the spread over the folds.

    Parameters
    ----------
    tune : astropy Table
        Of `spfast tune`: ``penalty``, ``zero_point`` [mas] and the score, one row for each fold.
    ax : matplotlib Axes
    score : str
        ``"chi_squared"`` or ``"scatter"``.

    Raises
    ------
    BadInputError
        If a column is missing or there is no row.
    """
    from matplotlib import colormaps

    for name in ("penalty", "zero_point", score):
        if name not in tune.colnames:
            raise BadInputError(f"cross-validation: the table has no column {name}; expected that of `spfast tune`")
    penalty, zero_point, value = (float_column(tune, name) for name in ("penalty", "zero_point", score))
    if not np.isfinite(value).any():
        raise BadInputError(f"cross-validation: no row has a {score}")
    lines = np.unique(zero_point[np.isfinite(value)])
    means = {}
    for number, line in enumerate(lines):
        places = np.unique(penalty[zero_point == line])
        folds = [value[(zero_point == line) & (penalty == p) & np.isfinite(value)] for p in places]
        mean = np.array([f.mean() if f.size else np.nan for f in folds])
        spread = np.array([f.std(ddof=1) / np.sqrt(f.size) if f.size > 1 else 0.0 for f in folds])
        means |= {(p, line): m for p, m in zip(places, mean, strict=True) if np.isfinite(m)}
        colour = colormaps["viridis"](0.9 * number / max(len(lines) - 1, 1))
        ax.fill_between(places, mean - spread, mean + spread, color=colour, alpha=0.12, linewidth=0)
        ax.plot(places, mean, marker="o", markersize=3, color=colour, label=f"{line:+.3g} mas")
    best = min(means, key=means.get)
    ax.plot(*best[:1], means[best], marker="*", markersize=10, color="#D55E00", markeredgecolor="black", zorder=5,
            linestyle="none", label=rf"best: $\lambda = {best[0]:g}$, {best[1]:+.3g} mas")  # fmt: skip
    ax.set_xscale("log")
    plain_ticks(ax.xaxis)
    ax.set_xlabel(r"penalty $\lambda$")
    ax.set_ylabel(_SCORES[score])
    ax.margins(y=0.1)
    ax.legend(title="zero point", title_fontsize="small", fontsize="x-small")
