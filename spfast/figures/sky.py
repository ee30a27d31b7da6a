"""The sky in Galactic coordinates and an equal-area projection: number of stars or a median in cells of equal area."""

import numpy as np
from astropy.table import Table

from spfast.errors import BadInputError
from spfast.figures.panel import MINUS, finite_rows, plain_ticks, values_of

__all__ = ["plot_sky"]

#: Heights that a cell may have [deg].
_SIZES = (5.0, 10.0, 15.0, 30.0)
#: The fewest stars whose median is shown; cells are as small as lets this share of the stars be shown.
_CELL_STARS, _SHOWN = 5, 0.8
#: Points along each side of a cell: meridians are curved.
_SIDE = 6


def plot_sky(table: Table, ax, values: np.ndarray | None = None, label: str = "") -> None:
    """Draw the number of stars, or the median of a value, in cells of equal area on the sky.

    Longitude grows to the left, as on the sky seen from inside, with the Galactic centre in the middle.

    Parameters
    ----------
    table : astropy Table
        Of `figure_table`, with ``glon``, ``glat`` [deg].
    ax : matplotlib Axes
        With the projection ``"mollweide"``.
    values : float array, shape (n_stars,), optional
        The number of stars by default; stars with NaN count as absent.
    label : str
        Of the values, with their unit.

    Raises
    ------
    BadInputError
        If no cell has five stars with a value.
    """
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.patheffects import withStroke

    lon, lat = values_of(table, "glon"), values_of(table, "glat")
    rows = finite_rows("sky", lon, lat, *([] if values is None else [values]))
    for cells in map(_Cells, _SIZES):
        places, which, number = np.unique(cells.find(lon[rows], lat[rows]), return_inverse=True, return_counts=True)
        if number[number >= _CELL_STARS].sum() >= _SHOWN * rows.size:
            break
    if values is None:
        shown, norm, cmap = number.astype(float), LogNorm(1.0, max(number.max(), 10.0)), "viridis"
    else:
        parts = np.split(values[rows][np.argsort(which, kind="stable")], np.cumsum(number)[:-1])
        enough = number >= _CELL_STARS
        if not enough.any():
            raise BadInputError(f"sky: no cell of {cells.size:g} degrees has {_CELL_STARS} stars")
        shown = np.array([np.median(part) for part, is_shown in zip(parts, enough, strict=True) if is_shown])
        places = places[enough]
        reach = max(np.percentile(np.abs(shown), 95), 1e-3)
        norm, cmap = Normalize(-reach, reach), "PuOr"
    ax.set_facecolor("0.88")  # the middle of a colour map is white: cells there must not vanish
    mesh = PolyCollection(
        [cells.outline(place) for place in places], array=shown, cmap=cmap, norm=norm, edgecolors="face", linewidths=0.2
    )
    mesh.set_rasterized(True)
    ax.add_collection(mesh, autolim=False)
    extend = "neither" if values is None else "both"
    bar = ax.figure.colorbar(
        mesh, ax=ax, orientation="horizontal", pad=0.04, aspect=35, shrink=0.8, extend=extend,
        label=label or f"stars in a cell of {cells.size:g}\N{DEGREE SIGN} by {cells.size:g}\N{DEGREE SIGN}",
    )  # fmt: skip
    if values is None:
        plain_ticks(bar.ax.xaxis)
    degrees = np.arange(-120, 121, 60)
    ax.set_xticks(np.radians(degrees), [f"{-place % 360}\N{DEGREE SIGN}" for place in degrees])
    degrees = np.arange(-60, 61, 30)
    ax.set_yticks(np.radians(degrees), [f"{place}\N{DEGREE SIGN}".replace("-", MINUS) for place in degrees])
    ax.set_longitude_grid_ends(90)
    ax.minorticks_off()
    ax.grid(color="0.5", linewidth=0.3)
    ax.tick_params(labelsize=7)
    for text in ax.get_xticklabels():
        text.set_path_effects([withStroke(linewidth=2.0, foreground="white")])


class _Cells:
    """Cells of equal area: rings of the same height, each cut into as many parts as its area asks for."""

    def __init__(self, size):
        self.size = size
        self._edges = np.linspace(-90.0, 90.0, round(180.0 / size) + 1)
        area = np.diff(np.sin(np.radians(self._edges))) / np.radians(size)
        self._per_ring = np.maximum(np.round(360.0 / size * area), 1).astype(int)
        self._first = np.cumsum(self._per_ring) - self._per_ring

    def find(self, lon, lat):
        """The cell of each place (int array)."""
        ring = np.clip(np.searchsorted(self._edges, lat, side="right") - 1, 0, self._per_ring.size - 1)
        part = ((lon + 180.0) % 360.0 / 360.0 * self._per_ring[ring]).astype(int)
        return self._first[ring] + np.minimum(part, self._per_ring[ring] - 1)

    def outline(self, cell):
        """Corners of a cell in the projection's own coordinates (float array, shape (n, 2)) [rad]."""
        ring = np.searchsorted(self._first, cell, side="right") - 1
        west, east = -180.0 + 360.0 / self._per_ring[ring] * (cell - self._first[ring] + np.array([0, 1]))
        lat = np.linspace(self._edges[ring], self._edges[ring + 1], _SIDE)
        lon = np.concatenate([np.full(_SIDE, west), np.full(_SIDE, east)])
        return np.radians(np.column_stack([-lon, np.concatenate([lat, lat[::-1]])]))
