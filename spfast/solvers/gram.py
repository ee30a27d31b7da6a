"""The quadratic model on a working set: its Gram matrix, the unpenalised columns eliminated exactly."""

from contextlib import contextmanager

import numpy as np

from spfast.kernels import gram as kernels
from spfast.kernels.panels import add_panel_products, panel_tiles
from spfast.solvers.whitening import explained_by, whitening

__all__ = ["WorkingGram"]


class WorkingGram:
    """``H = X.T diag(weights) X`` on a growing set of columns, Schur complement of the unpenalised ones.

    With directions ``V = X_u whiten`` orthonormal under the weights, a column is split into ``V explained`` and a rest.
    The Gram of the rests, corrected by what of ``V`` is still in them, is the Schur complement; any guess of
    ``explained`` is exact after the correction, so a fit to a sample of rows serves: it only has to keep the float32
    sums small.

    Parameters
    ----------
    objective : spfast.model.objective.Objective
        Data, rows and team.
    unpenalized : int64 array
        Columns eliminated.

    Attributes
    ----------
    weights : float64 array, shape (n_rows,)
        Those of the last `reset`, None before it.
    columns : int64 array, shape (n,)
        The working set, in the order of the Gram's rows.
    free : float64 array, shape (n_rows, n_unpenalized)
        The unpenalised columns themselves.
    """

    def __init__(self, objective, unpenalized):
        self._objective = objective
        self.unpenalized = unpenalized
        self._dtype = objective.design.dtype
        self.columns = np.empty(0, dtype=np.int64)
        self.weights = None
        self._store = np.zeros((0, 0), dtype=self._dtype)
        self.free = objective.design[objective.rows[:, None], unpenalized].astype(np.float64)

    @property
    def n(self):
        """Columns in the working set."""
        return self.columns.size

    @property
    def matrix(self):
        """The Schur complement (shape (n, n), a view; C-ordered rows of a larger store)."""
        return self._store[: self.n, : self.n]

    @property
    def store(self):
        """The whole buffer, for kernels that need C order."""
        return self._store

    @contextmanager
    def damped(self, share):
        """The diagonal raised by a share of itself for as long as the context lasts."""
        if share == 0.0:
            yield
            return
        diagonal = np.arange(self.n)
        before = self._store[diagonal, diagonal]
        self._store[diagonal, diagonal] = before * self._dtype.type(1.0 + share)
        try:
            yield
        finally:
            self._store[diagonal, diagonal] = before

    def reset(self, weights, columns):
        """Start again with other weights and columns."""
        self.weights = weights
        moves = self._objective.moves
        self._whiten = moves @ whitening(self.free @ moves, weights)
        self._directions = self.free @ self._whiten
        self.columns = np.empty(0, dtype=np.int64)
        self._coupling = np.empty((self._whiten.shape[1], 0))
        self._remainder = np.empty((self._whiten.shape[1], 0))
        self._explained = np.empty((self._whiten.shape[1], 0), dtype=self._dtype)
        self.append(columns)

    def append(self, columns):
        """Add columns to the working set: one pass, for the new rows and columns of the Gram alone."""
        old, n_directions = self.n, self._whiten.shape[1]
        self.columns = np.concatenate([self.columns, np.asarray(columns, dtype=np.int64)])
        n = self.n
        if n == old:
            return
        guess = explained_by(
            self._directions, np.abs(self.weights), self._objective.design, self._objective.rows, columns
        )
        self._explained = np.concatenate([self._explained, guess.astype(self._dtype)], axis=1)
        raw = self._accumulate(old)
        new = raw[:n_directions, n_directions + old : n_directions + n].astype(np.float64)
        self._remainder = np.concatenate([self._remainder, new], axis=1)
        self._grow(n)
        # The directions' own Gram is the identity, so this is the Schur complement.
        pieces = -(-(n - old) // kernels.COMPLEMENT_COLUMNS)
        team = self._objective.team
        team.run(kernels.complement_columns, pieces, raw, n_directions, self._remainder, old, n, self._store)
        self._coupling = np.concatenate([self._coupling, self._explained[:, old:] + new], axis=1)

    def keep(self, mask):
        """Drop the columns where ``mask`` (bool array, shape (n,)) is False; no pass."""
        index = np.flatnonzero(mask)
        self._store[: index.size, : index.size] = self._store[np.ix_(index, index)]
        self.columns = self.columns[index]
        self._coupling = self._coupling[:, index]
        self._remainder = self._remainder[:, index]
        self._explained = np.ascontiguousarray(self._explained[:, index])

    def reduced_gradient(self, gradient):
        """The gradient on the working set after the unpenalised columns have moved to their optimum (shape (n,))."""
        return gradient[self.columns] - self._coupling.T @ (self._whiten.T @ gradient[self.unpenalized])

    def unpenalized_step(self, gradient, step):
        """The unpenalised columns' step that goes with ``step`` on the working set (shape (n_unpenalized,))."""
        return -self._whiten @ (self._whiten.T @ gradient[self.unpenalized] + self._coupling @ step)

    def _accumulate(self, old):
        """Upper triangle of the weighted Gram of directions and columns; of the columns past ``old``, all rows."""
        objective, n_directions = self._objective, self._whiten.shape[1]
        size = n_directions + self.n
        block = kernels.new_block(size, objective.n_rows, self._dtype)
        n_panels, n_block, width = block.shape
        raw = np.zeros((n_panels * width, n_panels * width), dtype=self._dtype)
        tiles = panel_tiles(n_directions + old, size)
        for part, sign in ((self.weights > 0.0, 1), (self.weights < 0.0, -1)):
            rows, weights = objective.rows[part], np.abs(self.weights[part])
            for begin in range(0, rows.size, n_block):
                here = slice(begin, begin + n_block)
                depth = min(n_block, rows.size - begin)
                objective.team.run(
                    kernels.gather_rows,
                    depth,
                    objective.design,
                    rows[here],
                    weights[here],
                    self.unpenalized,
                    self._whiten,
                    self.columns,
                    self._explained,
                    block,
                )
                objective.team.run(add_panel_products, len(tiles), block, depth, tiles, self._dtype.type(sign), raw)
        objective.n_passes += 1
        return raw

    def _grow(self, n):
        capacity = self._store.shape[0]
        if n <= capacity:
            return
        store = np.zeros((n + n // 4 + 2, n + n // 4 + 2), dtype=self._dtype)
        store[:capacity, :capacity] = self._store
        self._store = store
