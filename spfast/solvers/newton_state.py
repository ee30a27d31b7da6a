"""What proximal Newton keeps from one minimisation to the next on the same rows: the Gram matrix and the last end."""

import numpy as np

from spfast.solvers.active_set import MOST_ACTIVE
from spfast.solvers.base import first_pass
from spfast.solvers.damped_newton import damped_newton
from spfast.solvers.gram import WorkingGram
from spfast.solvers.quadratic import new_scratch
from spfast.solvers.row_sample import weights_of_sample

__all__ = ["NewtonState"]

#: With more rows than this a read of them costs so much more than all else that it pays to estimate, to sample, and to
#: let columns enter before they must.
_MANY_ROWS = 20_000
#: A Gram is that of a sample of this share of many rows if there are so many for each column. A step leaves some
#: 2 sqrt(columns / rows) more of the violation than with all of them.
_SAMPLE, _ROWS_PER_COLUMN = 0.3, 50


class NewtonState:
    """What one minimisation hands to the next on the same data: the Gram of the working set and buffers.

    Parameters
    ----------
    objective : spfast.model.objective.Objective

    Attributes
    ----------
    has_many_rows : bool
        Whether a read of the rows costs so much that gradients are estimated and Grams are made of samples.
    weights : float64 array, shape (n_rows,)
        Second derivatives of all rows when the Gram was built; None before.
    is_sample, may_sample : bool
        Whether the Gram is that of a sample of the rows, and whether the next one may be.
    """

    def __init__(self, objective):
        self.unpenalized = np.flatnonzero(objective.penalties == 0.0)
        # If there are many unpenalised columns, none is eliminated: they are cheaper in the working set.
        self.eliminated = objective.wide
        self.gram = WorkingGram(objective, self.eliminated)
        self.weights, self.is_sample = None, False
        self.has_many_rows = objective.n_rows > _MANY_ROWS
        self.may_sample = self.has_many_rows
        self.scratch = new_scratch()
        self.exact = False
        # Whether coordinate descent has crawled; with more non-zeros than the second it may.
        self.is_collinear, self.most_active = False, MOST_ACTIVE
        self._end = None

    def rebuild(self, weights: np.ndarray, columns: np.ndarray) -> None:
        """Build the Gram again with the second derivatives of all rows and with these columns."""
        self.may_sample = self.may_sample and not self.is_collinear
        few = self.may_sample and weights.size >= _ROWS_PER_COLUMN * columns.size
        of_rows = weights_of_sample(weights, _SAMPLE) if few else weights
        self.weights, self.is_sample = weights, of_rows is not weights
        self.gram.reset(of_rows, columns)

    def take_all_rows(self) -> None:
        """Build the Gram of all rows in place of that of a sample."""
        self.may_sample = False
        self.rebuild(self.weights, self.gram.columns)

    def begin(self, objective, coef: np.ndarray, eta: np.ndarray, gradient: np.ndarray) -> float:
        """Return half chi-squared at a start; no pass if the last minimisation on the same parallaxes ended there.

        If it ended there with other parallaxes, the unpenalised columns of ``coef`` are fitted to these first.
        """
        self.gram.count_reads_for(objective)
        if self._end is not None:
            parallax, ivar, last, value, last_eta, last_gradient = self._end
            if ivar is objective.ivar and np.array_equal(coef, last):
                eta[:], gradient[:] = last_eta, last_gradient
                if parallax is objective.parallax:
                    return value
                if self.eliminated.size:
                    self.move_unpenalized(objective, coef, eta)
        return first_pass(objective, coef, eta, gradient)

    def move_unpenalized(self, objective, coef: np.ndarray, eta: np.ndarray) -> None:
        """Fit the unpenalised columns alone, in place."""
        free, moves = self.gram.free, objective.moves
        step = moves @ damped_newton(free @ moves, objective, np.zeros(moves.shape[1]), eta)
        coef[self.eliminated] += step
        eta += free @ step

    def end(self, objective, coef: np.ndarray, value: float, eta: np.ndarray, gradient: np.ndarray) -> None:
        """Remember where a minimisation ended."""
        self._end = objective.parallax, objective.ivar, coef, value, eta, gradient
