"""The grid of a cross-validation: the point to choose, where the grid has to grow, and a file that keeps its points."""

import json
import math
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from spfast.config import TuneConfig
from spfast.errors import BadInputError
from spfast.files import RecordFile

__all__ = ["SCORES", "PointStore", "choose", "grow", "scored_zero_point", "undecided_zero_points"]

#: Scores, the smaller the better, and what weighs a fold's score in the mean over folds.
SCORES = {"chi_squared": "n_test", "likelihood": "n_test", "scatter": "n_best"}
#: A score that changes by less than this share over the grid has no minimum: its numbers are rounding.
_FLAT = 1e-9
#: A zero point whose score differs from the chosen one's by fewer standard errors than this might be as good.
_CLEAR = 2.0


def choose(
    points: Sequence[dict], score: str = "chi_squared", choice: str = "minimum"
) -> tuple[tuple[float, float], tuple[float, float], dict]:
    """Choose a point of the grid.

    Parameters
    ----------
    points : list of dict
        One for each split and point of the grid, with ``penalty``, ``zero_point``, the scores and their counts.
    score : str
        ``"chi_squared"``, ``"likelihood"`` or ``"scatter"``.
    choice : str
        ``"minimum"`` of the mean score (of equal ones the largest penalty), or ``"one-standard-error"``: the largest
        penalty, at any zero point, whose score exceeds the minimum's by no more than the standard error of that
        difference over the folds. The difference is taken fold by fold: what all models share of a fold's noise,
        most of it, says nothing about which is better.

    Returns
    -------
    chosen, minimum : tuple of float
        (penalty, zero point).
    means : dict
        Mean score under (penalty, zero point).

    Raises
    ------
    BadInputError
        For an unknown score or choice, or if no fold has a finite score.

    Examples
    --------
    >>> from spfast.selection.grid import choose
    >>> grid = {10.0: (1.3, 1.1), 20.0: (1.0, 1.1), 40.0: (0.98, 1.15)}
    >>> points = [
    ...     {"repeat": 0, "held_out": str(f), "penalty": p, "zero_point": 0.0, "n_test": 50, "chi_squared": scores[f]}
    ...     for p, scores in grid.items() for f in (0, 1)
    ... ]
    >>> choose(points)[0], choose(points, choice="one-standard-error")[0]
    ((20.0, 0.0), (40.0, 0.0))
    """
    if score not in SCORES:
        raise BadInputError(f"score {score!r}: expected one of {', '.join(SCORES)}")
    if choice not in TuneConfig.choices("choice"):
        raise BadInputError(f"choice {choice!r}: expected one of {', '.join(TuneConfig.choices('choice'))}")
    folds = sorted({(point["repeat"], point["held_out"]) for point in points})
    grid = sorted({(point["penalty"], point["zero_point"]) for point in points}, key=lambda p: (-p[0], p[1]))
    values = np.full((len(folds), len(grid)), np.nan)
    weights = np.zeros(len(folds))
    for point in points:
        fold = folds.index((point["repeat"], point["held_out"]))
        values[fold, grid.index((point["penalty"], point["zero_point"]))] = point[score]
        weights[fold] = point[SCORES[score]]
    used = weights > 0
    values, weights = values[used], weights[used] / max(weights.sum(), 1.0)
    means = weights @ values
    if not used.any() or not np.isfinite(means).any():
        raise BadInputError(f"no fold has a finite {score}; the best stars may be too few, use score 'chi_squared'")
    best = int(np.nanargmin(means))
    chosen = best
    if choice == "one-standard-error":
        difference = values - values[:, [best]]
        error = np.std(difference, axis=0, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else np.zeros(len(grid))
        within = np.flatnonzero(means - means[best] <= error)  # the grid is ordered from the largest penalty
        largest = [i for i in within if grid[i][0] == grid[within[0]][0]]
        chosen = min(largest, key=lambda i: means[i])
    return grid[chosen], grid[best], dict(zip(grid, means.tolist(), strict=True))


def undecided_zero_points(points: Sequence[dict], score: str, penalty: float, zero_point: float) -> str:
    """Return a line on the zero points that score as well as the chosen one within the errors, or "" if none does.

    Coefficients nearly make up for a wrong zero point: little of it is left in the scores of stars held out, and a
    model that is a little wrong for the nearest stars outweighs that.

    Parameters
    ----------
    points, score
        As in `choose`.
    penalty, zero_point : float [, mas]
        Of the point chosen.

    Examples
    --------
    >>> from spfast.selection.grid import undecided_zero_points
    >>> points = [
    ...     {"repeat": 0, "held_out": str(f), "penalty": 30.0, "zero_point": z, "chi_squared": 1 + (f - 1) * z}
    ...     for f in range(5) for z in (0.0, 0.02)
    ... ]
    >>> undecided_zero_points(points, "chi_squared", 30.0, 0.0)[:48]
    'zero point 0 mas: 0.02 mas scores as well within'
    """
    scores = {}
    for point in points:
        if point["penalty"] == penalty and point[score] is not None:
            fold = (point["repeat"], point["held_out"])
            scores.setdefault(point["zero_point"], {})[fold] = point[score]
    own = scores.pop(zero_point, {})
    as_good = []
    for other, values in sorted(scores.items()):
        worse = np.array([values[fold] - own[fold] for fold in own if fold in values])
        if worse.size > 1:
            error = worse.std(ddof=1) / math.sqrt(worse.size)
            if worse.mean() < _CLEAR * error:
                as_good.append((other, worse.mean(), error))
    if not as_good:
        return ""
    others = " and ".join(f"{other:g}" for other, _, _ in as_good)
    _, mean, error = max(as_good, key=lambda found: found[1])
    return (
        f"zero point {zero_point:g} mas: {others} mas scores as well within the errors "
        f"({score} worse by {mean:.2g} +- {error:.2g}); --zero-point fit gives one with its error"
    )


def scored_zero_point(points: Sequence[dict], score: str, penalty: float) -> tuple[float, float]:
    """Return the zero point that the scores of held-out stars prefer at a penalty, and its error [mas].

    Near its minimum a score is a parabola in the zero point. Each fold has its own; the zero point is at the minimum of
    their mean, and its error is that of the mean over the folds of where they have theirs.

    Parameters
    ----------
    points, score
        As in `choose`; of at least three zero points.
    penalty : float

    Returns
    -------
    zero_point, error : float [mas]
        The error is infinite where the scores have no minimum, or there are no two folds to compare.

    Examples
    --------
    >>> from spfast.selection.grid import scored_zero_point
    >>> one = {"repeat": 0, "penalty": 30.0, "n_test": 50}
    >>> points = [
    ...     {**one, "held_out": str(f), "zero_point": z, "chi_squared": 1 + 9 * (z - best) ** 2}
    ...     for f, best in enumerate((0.03, 0.05)) for z in (0.0, 0.04, 0.08)
    ... ]
    >>> [round(number, 4) for number in scored_zero_point(points, "chi_squared", 30.0)]
    [0.04, 0.01]
    """
    folds = {}
    for point in points:
        if point["penalty"] == penalty and point[score] is not None:
            folds.setdefault((point["repeat"], point["held_out"]), []).append(point)
    minima, weights, curvatures = [], [], []
    for fold in folds.values():
        zero_points = np.array([point["zero_point"] for point in fold])
        if np.unique(zero_points).size < 3:
            return math.nan, math.inf
        centre = zero_points.mean()
        curvature, slope, _ = np.polyfit(zero_points - centre, [point[score] for point in fold], 2)
        minima.append((centre, slope))
        curvatures.append(curvature)
        weights.append(fold[0][SCORES[score]])
    weights = np.array(weights, dtype=np.float64)
    if len(minima) < 2 or not weights.sum() > 0:
        return math.nan, math.inf
    weights /= weights.sum()
    curvature = float(weights @ curvatures)
    spans = [np.ptp([point["zero_point"] for point in fold]) for fold in folds.values()]
    scores = [abs(point[score]) for fold in folds.values() for point in fold]
    if not curvature * max(spans) ** 2 > _FLAT * max(scores):
        return math.nan, math.inf
    # Each fold's minimum by the curvature that all have in common: one fold's own may be next to none.
    found = np.array([centre - slope / (2.0 * curvature) for centre, slope in minima])
    return float(weights @ found), float(np.std(found, ddof=1) / math.sqrt(found.size))


def grow(values: Sequence[float], taken: Iterable[float], geometric: bool) -> float | None:
    """Return the value to add to a grid whose edge was taken, or None if none was or the grid is a single value.

    Parameters
    ----------
    values : sequence of float
    taken : iterable of float
        Values chosen.
    geometric : bool
        Whether the grid goes by ratios (penalties) or by steps (zero points).

    Examples
    --------
    >>> from spfast.selection.grid import grow
    >>> grow([10.0, 20.0, 40.0], [40.0], geometric=True), grow([10.0, 20.0, 40.0], [20.0], geometric=True)
    (80.0, None)
    """
    grid = sorted(values)
    if len(grid) < 2:
        return None
    for edge, neighbour in ((grid[0], grid[1]), (grid[-1], grid[-2])):
        if edge in taken:
            # Rounded, so that a grid that has grown shows plain numbers.
            return float(f"{edge * edge / neighbour if geometric else 2 * edge - neighbour:.6g}")
    return None


class PointStore:
    """Scores and coefficients by split, penalty and zero point; in memory, and in a file if there is a path.

    Parameters
    ----------
    path : path-like, optional
        Written point by point; read back if it exists and was begun with the same identity.
    identity : dict, optional
        All that points depend on apart from their place on the grid.
    check : callable, optional
        Called before a point is kept: raises if what it was made of is not whole any more.

    Attributes
    ----------
    points : list of dict
    n_resumed : int
        Points that came from the file.
    """

    def __init__(self, path=None, identity=None, check=lambda: None):
        self.points, self._index, self._starts, self._check = [], {}, {}, check
        self._lock = threading.Lock()
        self._file = None if path is None else RecordFile(Path(path))
        if self._file is not None:
            identity = json.loads(json.dumps(identity or {}))
            head, *records = self._file.read() or [None]
            if head == identity:
                for point, (size, index, values) in records:
                    coef = np.zeros(size)
                    coef[index] = values
                    self._keep(point, coef)
            else:
                self._file.begin(identity)
        self.n_resumed = len(self.points)

    @staticmethod
    def key(point):
        """What makes a point itself (tuple)."""
        return point["repeat"], point["held_out"], point["penalty"], point["zero_point"]

    def __contains__(self, key):
        return key in self._index

    def get(self, key):
        """The point under a key, or None."""
        return self._index.get(key)

    def starts(self, repeat, held_out):
        """The coefficients of a split's points under (penalty, zero point), in the order they came (dict).

        They come back from the file to the last bit: a fit that starts from one of them is the same fit in a run that
        goes on as in one that was never interrupted.
        """
        return self._starts.setdefault((repeat, held_out), {})

    def add(self, point, coef):
        """Keep a point and its coefficients (float64 array, few that are not zero), and put them on the disk."""
        self._check()
        with self._lock:  # splits are fitted side by side
            self._keep(point, coef)
            if self._file is not None:
                index = np.flatnonzero(coef)
                self._file.append([[point, [coef.size, index.tolist(), coef[index].tolist()]]])

    def _keep(self, point, coef):
        key = self.key(point)
        if key not in self._index:
            self.points.append(point)
        self._index[key] = point
        self.starts(*key[:2])[key[2:]] = coef
