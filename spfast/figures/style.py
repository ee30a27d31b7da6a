"""How figures look: journal sizes, a style that stays local, stars as points or, where there are many, as cells."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from spfast.errors import BadInputError
from spfast.files import new_file

__all__ = [
    "COLUMN_WIDTH",
    "PAGE_WIDTH",
    "COLOURS",
    "figure_style",
    "draw_stars",
    "new_axes",
    "plain_text",
    "save_figure",
]

#: Widths of one and of two columns of the Astronomical Journal [inch].
COLUMN_WIDTH, PAGE_WIDTH = 3.39, 7.1
#: Categorical colours that stay apart in every common colour blindness (Okabe & Ito 2008).
COLOURS = {"blue": "#0072B2", "orange": "#D55E00", "green": "#009E73", "purple": "#CC79A7", "sky": "#56B4E9"}

#: Above this number of stars a figure shows the mean in small cells instead of points.
_DENSE = 20_000
#: Cells across the longer side of an Axes, and the shares of stars that its two contours enclose.
_CELLS, _ENCLOSED = 140, (0.9, 0.5)
#: The greys of densities end at this power of the fullest cell: dark lines and colours over them must stay legible.
_GREY_POWER = 1.8
#: Marker area [pt^2] of 100 stars, how it falls with their number, and the smallest.
_MARKER, _MARKER_POWER, _MARKER_MIN = 16.0, 0.42, 1.5
#: Above this number of points a PDF holds them as an image.
_RASTERIZED = 500
#: A name from a file may have this many characters.
_NAME_LENGTH = 40
#: Dots per inch of what is saved as an image: 1420 pixels across a page.
_DPI = 200

_STYLE = {
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.0,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "xtick.minor.visible": True,
    "ytick.minor.visible": True,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "image.interpolation": "nearest",
    "pdf.fonttype": 42,
    "savefig.facecolor": "white",
}


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw and save under our style; the user's rcParams come back when the block ends.

    Examples
    --------
    >>> import matplotlib
    >>> from spfast.figures.style import figure_style
    >>> before = matplotlib.rcParams["font.size"]
    >>> with figure_style():
    ...     print(matplotlib.rcParams["font.size"])
    8.0
    >>> matplotlib.rcParams["font.size"] == before
    True
    """
    try:
        import matplotlib
    except ImportError:
        raise BadInputError("figures need matplotlib; install it: pip install 'spfast[report]'") from None
    # From matplotlib's own defaults, not the user's: the same figure on every machine.
    base = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith("backend")}
    with matplotlib.rc_context({**base, **_STYLE}):
        yield


def plain_text(name: str) -> str:
    """A name from a file as matplotlib shows it character by character: no mathematics, nothing unprintable.

    Examples
    --------
    >>> from spfast.figures.style import plain_text
    >>> print(plain_text("M$67$"))
    M\\$67\\$
    """
    shown = "".join(c if c.isprintable() else "?" for c in str(name))[:_NAME_LENGTH]
    return shown.replace("$", r"\$")


def new_axes(
    rows: int = 1,
    columns: int = 1,
    width: float = COLUMN_WIDTH,
    height: float | None = None,
    layout: str = "constrained",
    **options,
):
    """Return a new figure and its Axes, apart from pyplot and its list of open figures.

    Parameters
    ----------
    rows, columns : int
    width, height : float [inch]
        Height: 0.8 of a panel's width for each row by default.
    layout : str
        matplotlib's layout engine; ``"compressed"`` for panels of equal aspect.
    **options
        Passed on to matplotlib's ``Figure.subplots``.

    Returns
    -------
    figure : matplotlib Figure
    axes : list of Axes
        Row by row.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height or 0.8 * width / columns * rows), layout=layout)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, list(axes.ravel())


def save_figure(figure, stem: Path) -> tuple[Path, Path]:
    """Write a figure as ``stem.png`` and ``stem.pdf``: the same bytes for the same figure.

    Parameters
    ----------
    figure : matplotlib Figure
    stem : pathlib.Path

    Returns
    -------
    png, pdf : pathlib.Path
    """
    paths = stem.with_name(stem.name + ".png"), stem.with_name(stem.name + ".pdf")
    for path, metadata in zip(paths, ({"Software": None}, {"CreationDate": None}), strict=True):
        with new_file(path) as partial:
            figure.savefig(partial, format=path.suffix[1:], dpi=_DPI, metadata=metadata)
        figure.set_layout_engine("none")  # laid out once: it takes as long as to draw
    return paths


def draw_stars(
    ax,
    x: np.ndarray,
    y: np.ndarray,
    colour: np.ndarray | None = None,
    limits: tuple[tuple[float, float], tuple[float, float]] | None = None,
    cmap: str = "viridis",
    norm=None,
    contours: bool = True,
):
    """Draw stars as points, or as small cells with their mean colour where points would hide each other.

    Cells come with contours around half and nine tenths of the stars in the frame. Points are drawn in a random but
    fixed order, so that no colour lies on top because of how the table is sorted.

    Parameters
    ----------
    ax : matplotlib Axes
    x, y : float array, shape (n_stars,)
    colour : float array, shape (n_stars,), optional
        By default all points are grey and cells show the number of stars.
    limits : ((float, float), (float, float)), optional
        Of x and y; an axis may run backwards.
    cmap : str
    norm : matplotlib Normalize, optional
    contours : bool
        Draw them over cells.

    Returns
    -------
    mappable : matplotlib ScalarMappable or None
        For a colour bar; None where all points are grey.
    """
    if limits is not None:
        ax.set_xlim(limits[0])
        ax.set_ylim(limits[1])
    if x.size > _DENSE:
        return _cells(ax, x, y, colour, cmap, norm, contours)
    order = np.random.default_rng(0).permutation(x.size)
    size = max(_MARKER * (100.0 / max(x.size, 100)) ** _MARKER_POWER, _MARKER_MIN)
    options = {"s": size, "linewidths": 0.0, "rasterized": x.size > _RASTERIZED, "zorder": 2}
    if colour is None:
        ax.scatter(x[order], y[order], color="0.6", alpha=0.5, **options)
        return None
    return ax.scatter(x[order], y[order], c=colour[order], cmap=cmap, norm=norm, **options)


def _cells(ax, x, y, colour, cmap, norm, contours):
    from matplotlib.colors import LogNorm
    from scipy.ndimage import gaussian_filter

    box = ax.get_window_extent()
    longer = max(box.width, box.height)
    shape = [max(int(_CELLS * side / longer), 20) for side in (box.width, box.height)]
    scales = ax.get_xscale(), ax.get_yscale()
    edges = [
        (np.geomspace if scale == "log" else np.linspace)(*sorted(limits), n + 1)
        for scale, limits, n in zip(scales, (ax.get_xlim(), ax.get_ylim()), shape, strict=True)
    ]
    number = np.histogram2d(x, y, bins=edges)[0]
    if colour is None:
        values, cmap, norm = number, "Greys", LogNorm(1.0, max(number.max(), 10.0) ** _GREY_POWER)
    else:
        with np.errstate(invalid="ignore"):
            values = np.histogram2d(x, y, bins=edges, weights=colour)[0] / number
    values = np.where(number > 0, values, np.nan)
    mesh = ax.pcolormesh(*edges, values.T, cmap=cmap, norm=norm, rasterized=True, zorder=1)
    smooth = gaussian_filter(number, 1.5)
    ordered = np.sort(smooth.ravel())[::-1]
    total = np.cumsum(ordered) / ordered.sum()
    levels = [ordered[np.searchsorted(total, share)] for share in _ENCLOSED]
    if contours and levels[0] < levels[1]:
        centres = [(e[1:] + e[:-1]) / 2 for e in edges]
        ax.contour(*centres, smooth.T, levels=levels, colors=["0.25", "black"], linewidths=0.6, zorder=3)
    return mesh
