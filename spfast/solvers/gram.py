"""The quadratic model on a working set: its Gram matrix, the unpenalised columns eliminated exactly."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from spfast.kernels import gram as kernels
from spfast.reads.jobs import WeightedGram
from spfast.reads.reader import read_values
from spfast.solvers.whitening import explained_by, whitening

__all__ = ["WorkingGram"]


class WorkingGram:
    """``X.T diag(weights) X`` on a growing set of columns, with the unpenalised columns eliminated (Schur complement).

    The directions ``V = X_u whiten`` span the unpenalised columns ``X_u`` and are orthonormal under the weights. Each
    other column is split into ``V explained`` and a rest. If ``rests`` are those of all columns, and ``remainder = V.T
    diag(weights) rests``, the Schur complement is ``rests.T diag(weights) rests - remainder.T remainder``. That is true
    for any ``explained``: it is fitted to a sample of the rows, and only has to make the rests small, because their
    products are summed in float32.

    Parameters
    ----------
    objective : spfast.model.objective.Objective
        Data, rows and team.
    unpenalized : int64 array
        Columns to eliminate.

    Attributes
    ----------
    weights : float64 array, shape (n_rows,)
        As given to the last `reset`; None before it.
    columns : int64 array, shape (n,)
        The working set, in the order of the Gram's rows.
    free : float64 array, shape (n_rows, n_unpenalized)
        Values of the unpenalised columns.
    """

    def __init__(self, objective, unpenalized: np.ndarray):
        self._objective = objective
        self.unpenalized = unpenalized
        self._dtype = objective.design.dtype
        self.columns = np.empty(0, dtype=np.int64)
        self.weights = None
        self._store = np.zeros((0, 0), dtype=self._dtype)
        self.free = read_values(objective.design, objective.rows, unpenalized).astype(np.float64)

    @property
    def n(self) -> int:
        """Number of columns in the working set."""
        return self.columns.size

    @property
    def matrix(self) -> np.ndarray:
        """The Schur complement: shape (n, n), a view of the first rows and columns of `store`."""
        return self._store[: self.n, : self.n]

    @property
    def store(self) -> np.ndarray:
        """The whole buffer, in C order as kernels need it."""
        return self._store

    @contextmanager
    def damped(self, share: float) -> Iterator[None]:
        """Raise the diagonal by a share of itself while the context lasts."""
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

    def count_reads_for(self, objective) -> None:
        """Count reads with an objective of the same rows from now on: several minimisations share the Gram."""
        self._objective = objective

    def reset(self, weights: np.ndarray, columns: np.ndarray) -> None:
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

    def use_float64(self) -> None:
        """Hold the matrix in float64 from now on: float32 does not resolve columns that nearly depend on others."""
        if self._dtype != np.float64:
            self._dtype = np.dtype(np.float64)
            self._store = np.zeros((0, 0))
            self.reset(self.weights, self.columns)

    def append(self, columns: np.ndarray) -> None:
        """Add columns to the working set; one pass over the data computes the Gram's new rows and columns."""
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
        remainder = raw[:n_directions, n_directions + old : n_directions + n].astype(np.float64)
        self._remainder = np.concatenate([self._remainder, remainder], axis=1)
        self._grow(n)
        # The directions' own Gram is the identity, so this is the Schur complement.
        pieces = -(-(n - old) // kernels.COMPLEMENT_COLUMNS)
        team = self._objective.team
        team.run(kernels.complement_columns, pieces, raw, n_directions, self._remainder, old, n, self._store)
        self._coupling = np.concatenate([self._coupling, self._explained[:, old:] + remainder], axis=1)

    def keep(self, mask: np.ndarray) -> None:
        """Drop the columns where ``mask`` (bool array, shape (n,)) is False; no pass."""
        index = np.flatnonzero(mask)
        self._store[: index.size, : index.size] = self._store[np.ix_(index, index)]
        self.columns = self.columns[index]
        self._coupling = self._coupling[:, index]
        self._remainder = self._remainder[:, index]
        self._explained = np.ascontiguousarray(self._explained[:, index])

    def reduced_gradient(self, gradient: np.ndarray) -> np.ndarray:
        """Return the working set's gradient (shape (n,)) after the unpenalised columns have moved to their optimum."""
        return gradient[self.columns] - self._coupling.T @ (self._whiten.T @ gradient[self.unpenalized])

    def unpenalized_step(self, gradient: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Return the optimal step of the unpenalised columns (shape (n_unpenalized,)) for a step of the working set."""
        return -self._whiten @ (self._whiten.T @ gradient[self.unpenalized] + self._coupling @ step)

    def _accumulate(self, old):
        """Sum the weighted Gram of directions and columns: its upper triangle, complete from column ``old`` on."""
        objective, n_directions = self._objective, self._whiten.shape[1]
        columns = self.unpenalized, self._whiten, self.columns, self._explained
        objective.n_passes += np.count_nonzero(self.weights) / self.weights.size
        job = WeightedGram(objective.rows, self.weights, *columns, begin=n_directions + old)
        return objective.reader.read(objective.design, job)

    def _grow(self, n):
        capacity = self._store.shape[0]
        if n <= capacity:
            return
        store = np.zeros((n + n // 4 + 2, n + n // 4 + 2), dtype=self._dtype)
        store[:capacity, :capacity] = self._store
        self._store = store
