"""Points of a cross-validated grid, kept line by line in a file, so that an interrupted run goes on."""

import json
import os
from pathlib import Path

__all__ = ["PointStore"]


class PointStore:
    """Scores by split, penalty and zero point; in memory, and in a file of JSON lines if there is a path.

    Parameters
    ----------
    path : path-like, optional
        Written line by line; read back if it exists and was begun with the same identity.
    identity : dict, optional
        All that the scores depend on apart from their place on the grid.

    Attributes
    ----------
    points : list of dict
    n_resumed : int
        Points that came from the file.
    """

    def __init__(self, path=None, identity=None):
        self.path = None if path is None else Path(path)
        self.points, self._index = [], {}
        identity = json.loads(json.dumps(identity or {}))
        if self.path is not None:
            whole = self._read(identity)
            if not self.points:
                whole = json.dumps(identity, sort_keys=True) + "\n"
            # Written anew without a line that was cut short by the interruption.
            temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
            temporary.write_text(whole, encoding="utf-8")
            os.replace(temporary, self.path)
        self.n_resumed = len(self.points)

    def _read(self, identity):
        if not self.path.is_file():
            return ""
        lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n") and _parsed(line) is not None]
        if not whole or _parsed(whole[0]) != identity:
            return ""
        for line in whole[1:]:
            self._keep(_parsed(line))
        return "".join(whole)

    @staticmethod
    def key(point):
        """What makes a point itself (tuple)."""
        return point["repeat"], point["held_out"], point["penalty"], point["zero_point"]

    def __contains__(self, key):
        return key in self._index

    def get(self, key):
        """The point under a key, or None."""
        return self._index.get(key)

    def add(self, point):
        """Keep a point and write it through to the disk."""
        self._keep(point)
        if self.path is not None:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(point) + "\n")
                file.flush()
                os.fsync(file.fileno())

    def _keep(self, point):
        if self.key(point) not in self._index:
            self.points.append(point)
        self._index[self.key(point)] = point


def _parsed(line):
    try:
        return json.loads(line)
    except ValueError:
        return None
