"""The Gram matrix of the working set against dense linear algebra."""

import numpy as np
import pytest
import reference
from problems import small_problem

from spfast.solvers.gram import WorkingGram


@pytest.mark.parametrize("sizes", [(40, 0), (40, 33), (1, 70), (255, 2)])
def test_working_gram_is_the_schur_complement(sizes):
    problem = small_problem(700, 300)
    objective = problem.objective(1.0, 2)
    eta = np.empty(700)
    objective.smooth(problem.truth, eta, np.empty(309))
    weights = objective.curvature(eta)
    columns = np.random.default_rng(0).permutation(np.arange(9, 309))
    first, second = columns[: sizes[0]], columns[sizes[0] : sum(sizes)]
    working = WorkingGram(objective, objective.wide)
    working.reset(weights, first)
    working.append(second)
    expected = reference.schur_gram(problem.design, columns[: sum(sizes)], np.arange(9), weights)
    np.testing.assert_allclose(working.matrix, expected, atol=3e-6 * np.diag(expected).max())
    assert (working.matrix == working.matrix.T).all()
    keep = np.arange(sum(sizes)) % 3 != 0
    working.keep(keep)
    np.testing.assert_allclose(working.matrix, expected[np.ix_(keep, keep)], atol=3e-6 * np.diag(expected).max())
    assert (working.columns == columns[: sum(sizes)][keep]).all()


def test_reduced_newton_step_equals_the_full_one():
    problem = small_problem(500, 25, dtype=np.float64)
    objective = problem.objective(1.0)
    eta, gradient = np.empty(500), np.empty(34)
    objective.smooth(problem.truth, eta, gradient)
    weights = objective.curvature(eta)
    working = WorkingGram(objective, objective.wide)
    working.reset(weights, np.arange(9, 34))
    step = np.linalg.solve(working.matrix, -working.reduced_gradient(gradient))
    full = np.linalg.solve((problem.design * weights[:, None]).T @ problem.design, -gradient)
    np.testing.assert_allclose(step, full[9:], rtol=1e-6)
    np.testing.assert_allclose(working.unpenalized_step(gradient, step), full[:9], rtol=1e-6)
