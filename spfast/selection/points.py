"""Points of a cross-validated grid, kept one by one in a file, so that an interrupted run goes on."""

import json
from pathlib import Path

import numpy as np

from spfast.files import RecordFile

__all__ = ["PointStore"]


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
