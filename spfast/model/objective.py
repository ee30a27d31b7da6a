"""The objective, written once: half chi-squared of an exp-linear model plus an L1 penalty.

Hogg, Eilers & Rix (2019), Eq. 1-3::

    objective(coef) = 0.5 sum_n ivar_n (parallax_n - exp(x_n . coef))^2  +  sum_j penalties_j |coef_j|

A sum over stars, not a mean. ``penalties_j`` is the paper's lambda for a penalised column (a pixel) and zero for the
others (constant, magnitudes); columns are neither scaled nor centred, so lambda has the unit of a gradient [1/feature].

One linear condition ``vector . coef = value`` may hold on the unpenalised columns, e.g. that the magnitudes'
coefficients sum to -0.2 ln 10: a solver then moves along the plane where it does, and gradients are projected onto it.
"""

import numpy as np

from spfast.kernels import exp_linear
from spfast.kernels.l1 import l1_norm
from spfast.reads.jobs import ValueGradient
from spfast.reads.reader import reader_of

__all__ = ["Objective"]

#: Sum of Gauss-Newton weights, in units of sum ivar parallax^2, below which all predictions have underflowed.
UNDERFLOW = 1e-8


#: Rounding of a sum, in units of its type's and of the root of the sum of squares.
_ADDITIONS = 4.0
#: More unpenalised columns than this are treated like the penalised ones.
MAX_WIDE = 64


def wide_columns(penalties):
    """Return the columns that kernels treat with more care: the unpenalised ones, if they are few (int64 array)."""
    wide = np.flatnonzero(penalties == 0.0)
    return wide if wide.size <= MAX_WIDE else wide[:0]


class Objective:
    """The data of one fit and the passes over them.

    Parameters
    ----------
    design : float32 or float64 array, C order, shape (n_stars, n_features)
        Feature rows (Eq. 11); memory-mapped or not, never copied.
    rows : int64 array, shape (n_rows,)
        The stars that take part, increasing.
    parallax, ivar : float64 array, shape (n_rows,) [mas], [mas^-2]
        Of those stars, zero point added.
    penalties : float64 array, shape (n_features,)
    team : spfast.kernels.team.Team
        Whose threads read, unless this thread shares its reads with others.
    condition : tuple of (float64 array of shape (n_features,), float), optional
        Vector and value of the linear condition; the vector is zero on penalised columns.

    Attributes
    ----------
    n_passes : int
        Reads of the rows so far, value and gradient together or predictor alone.
    wide : int64 array, shape (n_wide,)
        The unpenalised columns, if they are few.
    moves : float64 array, shape (n_wide, n_moves)
        Orthonormal directions in which their coefficients may move.
    """

    def __init__(self, design, rows, parallax, ivar, penalties, team, condition=None):
        self.design, self.rows, self.team = design, rows, team
        self.parallax, self.ivar, self.penalties = parallax, ivar, penalties
        self.n_rows, self.n_features = rows.size, design.shape[1]
        self.n_passes = 0
        self.wide = wide_columns(penalties)
        self.moves = np.eye(self.wide.size)
        self._condition = condition
        if condition is not None:
            self.moves = np.linalg.svd(condition[0][None, self.wide])[2][1:].T.copy()
        self.reader = reader_of(team)

    def with_penalties(self, penalties):
        """The same data under other penalties."""
        return self._with(penalties=penalties)

    def with_parallax(self, parallax):
        """The same stars with other parallaxes."""
        return self._with(parallax=parallax)

    def with_ivar(self, ivar):
        """The same stars with other weights."""
        return self._with(ivar=ivar)

    def _with(self, **changes):
        other = object.__new__(Objective)
        other.__dict__.update(self.__dict__, n_passes=0, **changes)
        return other

    def subset(self, mask):
        """The objective of some of the rows (bool array, shape (n_rows,))."""
        part = [values[mask] for values in (self.rows, self.parallax, self.ivar)]
        return Objective(self.design, *part, self.penalties, self.team, self._condition)

    def smooth(self, coef, eta, gradient):
        """Half chi-squared at ``coef``; writes the linear predictor and the gradient (one pass).

        Parameters
        ----------
        coef : float64 array, shape (n_features,)
        eta : float64 array, shape (n_rows,)
        gradient : float64 array, shape (n_features,)

        Returns
        -------
        value : float
            Infinite where a prediction overflows.
        """
        self.n_passes += 1
        job = ValueGradient(self.rows, self.parallax, self.ivar, coef, self.wide)
        value, gradient[:], parts = self.reader.read(self.design, job)
        np.concatenate(parts, out=eta)
        if self._condition is not None:
            gradient[self.wide] = self.moves @ (self.moves.T @ gradient[self.wide])
        return float(value)

    def meet_condition(self, coef):
        """Move ``coef`` the shortest way to where the condition holds, in place."""
        if self._condition is not None:
            vector, value = self._condition
            coef += vector * (value - vector @ coef) / (vector @ vector)

    def chi_squared_half(self, eta):
        """Half chi-squared of given linear predictors (no pass)."""
        return exp_linear.half_chi_squared(eta, self.parallax, self.ivar)

    def penalty(self, coef):
        """The L1 term at ``coef``."""
        return l1_norm(coef, self.penalties)

    def curvature(self, eta, exact=False):
        """Gauss-Newton weights ``ivar mu^2``, or the exact second derivatives (float64, shape (n_rows,)).

        The exact ones, ``ivar mu (2 mu - parallax)``, are negative for many stars; their sum over stars is not, near
        the optimum.
        """
        weights = np.empty(self.n_rows)
        exp_linear.curvature_weights(eta, self.parallax, self.ivar, exact, weights)
        return weights

    def rounding(self, eta):
        """What rounding makes of the gradient of a column of unit size: no solver tells a smaller one from zero.

        The gradient's sums are in the matrix's own type, 32 additions of eight rows before they are added in float64.
        """
        slope = self.curvature(eta) - self.ivar * self.parallax * np.exp(np.minimum(eta, exp_linear.LN_OVERFLOW))
        return _ADDITIONS * float(np.finfo(self.design.dtype).eps) * float(np.linalg.norm(slope[self.ivar > 0.0]))

    def has_underflowed(self, eta):
        """Whether every prediction is as good as zero: the pathological optimum, where the gradient vanishes."""
        scale = float(np.dot(self.ivar, self.parallax**2))
        return not float(self.curvature(eta).sum()) > UNDERFLOW * scale
