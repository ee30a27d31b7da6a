"""Slow, readable references for the kernels: plain numpy in float64, never importing spfast.kernels."""

import numpy as np


def linear_predictor(design, coef):
    return design.astype(np.float64) @ coef


def half_chi_squared(design, coef, parallax, ivar):
    return 0.5 * np.sum(ivar * (parallax - np.exp(linear_predictor(design, coef))) ** 2)


def gradient(design, coef, parallax, ivar):
    mu = np.exp(linear_predictor(design, coef))
    return design.astype(np.float64).T @ (ivar * (mu - parallax) * mu)


def objective(design, coef, parallax, ivar, penalties):
    return half_chi_squared(design, coef, parallax, ivar) + np.sum(penalties * np.abs(coef))


def kkt_violations(coef, gradient, penalties):
    on = np.abs(gradient + penalties * np.sign(coef))
    off = np.maximum(np.abs(gradient) - penalties, 0.0)
    return np.where(coef != 0.0, on, off)


def gauss_newton_weights(design, coef, ivar):
    return ivar * np.exp(2.0 * linear_predictor(design, coef))


def schur_gram(design, columns, unpenalized, weights):
    """Weighted Gram of ``columns`` after the unpenalised columns have been eliminated."""
    x, u = design[:, columns].astype(np.float64), design[:, unpenalized].astype(np.float64)
    wx, wu = x * weights[:, None], u * weights[:, None]
    return wx.T @ x - (wx.T @ u) @ np.linalg.pinv(wu.T @ u) @ (wu.T @ x)


def inverse_hessian_product(gradient, steps, changes, scale):
    """``-H gradient`` with the dense BFGS update of each pair, oldest first."""
    n = gradient.size
    newest_step, newest_change = (steps[-1], changes[-1]) if len(steps) else (None, None)
    gamma = 1.0 if newest_step is None else (newest_step @ newest_change) / (newest_change @ (scale * newest_change))
    inverse = gamma * np.diag(scale)
    for s, y in zip(steps, changes, strict=True):
        rho = 1.0 / (s @ y)
        left = np.eye(n) - rho * np.outer(s, y)
        inverse = left @ inverse @ left.T + rho * np.outer(s, s)
    return -inverse @ gradient


def ln_error(feature_errors, coef):
    return np.sqrt(np.sum((coef * feature_errors.astype(np.float64)) ** 2, axis=1))


def correlated_ln_error(feature_errors, coef, grid, correlation):
    """With the dense covariance of each star's errors; ``correlation`` of pixels 1, 2, ... apart on the grid."""
    apart = np.abs(grid[:, None] - grid[None, :])
    on_grid = (grid[:, None] >= 0) & (grid[None, :] >= 0)
    dense = np.eye(grid.size)
    for lag, rho in enumerate(correlation, start=1):
        dense[on_grid & (apart == lag)] = rho
    shares = coef * feature_errors.astype(np.float64)
    return np.sqrt(np.einsum("ni,ij,nj->n", shares, dense, shares))


def quadratic(gram, gradient, coef, penalties, step):
    """The subproblem's objective."""
    return gradient @ step + 0.5 * step @ gram @ step + np.sum(penalties * np.abs(coef + step))
