"""The L1 penalty's algebra: by hand at every edge, and against the reference on random numbers."""

import math

import numpy as np
import reference

from spfast.kernels import l1


def test_l1_norm_and_soft_threshold():
    assert l1.l1_norm(np.array([1.0, -2.0, 0.0]), np.array([3.0, 0.5, 9.0])) == 4.0
    expected = [(3.0, 2.0), (-3.0, -2.0), (1.0, 0.0), (-1.0, 0.0), (0.5, 0.0), (-0.5, 0.0), (0.0, 0.0), (1.5, 0.5)]
    for value, shrunk in expected:
        assert l1.soft_threshold(value, 1.0) == shrunk
    assert l1.soft_threshold(-1.5, 1.0) == -0.5


def test_kkt_violations_on_and_off_the_support():
    coef = np.array([1.0, 1.0, -1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    gradient = np.array([-2.0, 0.5, 2.0, 0.5, 1.5, -3.5, 2.0, 0.0, 2.25])
    penalties = np.full(9, 2.0)
    violations = np.full(9, np.nan)
    assert l1.kkt_violations(coef, gradient, penalties, violations) == 2.5
    assert violations.tolist() == [0.0, 2.5, 0.0, 1.5, 0.0, 1.5, 0.0, 0.0, 0.25]
    assert l1.kkt_violations(coef[:0], gradient[:0], penalties[:0], violations[:0]) == 0.0
    assert l1.kkt_violations(coef[:1], gradient[:1], penalties[:1], violations[:1]) == 0.0
    # The largest may come first, last or be alone, and NaN is never passed over.
    for order in (slice(None), slice(None, None, -1)):
        out = np.empty(3)
        values = np.array([5.0, 1.0, 0.0])[order]
        assert l1.kkt_violations(np.zeros(3), values, np.zeros(3), out) == 5.0
        assert out.tolist() == values.tolist()
    for place in range(3):
        values = np.array([5.0, 1.0, 7.0])
        values[place] = np.nan
        assert math.isnan(l1.kkt_violations(np.zeros(3), values, np.zeros(3), np.empty(3)))
        assert math.isnan(l1.kkt_violations(np.ones(3), values, np.zeros(3), np.empty(3)))


def test_pseudo_gradient_is_the_subgradient_nearest_zero():
    coef = np.array([1.0, -1.0, 0.0, 0.0, 0.0])
    gradient = np.array([0.25, 0.25, 3.0, -3.0, 1.0])
    out = np.full(5, np.nan)
    l1.pseudo_gradient(coef, gradient, np.full(5, 2.0), out)
    assert out.tolist() == [2.25, -1.75, 1.0, -1.0, 0.0]


def test_align_keeps_the_components_that_descend():
    direction = np.array([1.0, 1.0, -1.0, -1.0, 0.0, 2.0, -0.5])
    l1.align(direction, np.array([1.0, -1.0, 1.0, -1.0, 5.0, 0.0, 0.5]))
    assert direction.tolist() == [0.0, 1.0, -1.0, 0.0, 0.0, 0.0, -0.5]


def test_orthant_step_stops_at_zero():
    coef = np.array([1.0, 1.0, -1.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0])
    direction = np.array([-4.0, 1.0, 4.0, 1.0, 1.0, -1.0, -4.0, -4.0, 1.0, -1.0])
    pseudo = np.array([0.0, 0.0, 0.0, -1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    penalties = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.5, 1.0, 1.0])
    out = np.full(10, np.nan)
    l1.orthant_step(coef, direction, 0.5, pseudo, penalties, out)
    # Crossed; grew; crossed; into its orthant; against it; into it; free to cross; to the very edge; no orthant, twice.
    assert out.tolist() == [0.0, 1.5, 0.0, 0.5, 0.0, -0.5, -1.0, 0.0, 0.0, 0.0]


def test_l1_kernels_match_the_reference_on_random_numbers():
    rng = np.random.default_rng(8)
    coef = np.where(rng.random(40) < 0.5, rng.normal(size=40), 0.0)
    gradient, penalties = rng.normal(size=40), np.where(np.arange(40) < 4, 0.0, 0.7)
    out = np.empty(40)
    worst = l1.kkt_violations(coef, gradient, penalties, out)
    np.testing.assert_allclose(out, reference.kkt_violations(coef, gradient, penalties))
    assert worst == out.max()
    np.testing.assert_allclose(l1.l1_norm(coef, penalties), np.sum(penalties * np.abs(coef)))
    assert [l1.soft_threshold(v, 1.0) for v in (-3.0, -0.5, 0.0, 0.5, 3.0)] == [-2.0, 0.0, 0.0, 0.0, 2.0]
    pseudo = np.empty(40)
    l1.pseudo_gradient(coef, gradient, penalties, pseudo)
    np.testing.assert_allclose(np.abs(pseudo), out)
    direction = rng.normal(size=40)
    l1.align(direction, pseudo)
    assert (direction * pseudo <= 0).all()
    moved = np.empty(40)
    l1.orthant_step(coef, direction, 10.0, pseudo, penalties, moved)
    crossed = (np.sign(moved) * np.sign(coef) < 0) & (penalties > 0)
    assert not crossed.any()
    assert (moved[penalties == 0] == (coef + 10.0 * direction)[penalties == 0]).all()


def test_nan_gradient_is_a_violation():
    violations = np.empty(2)
    assert np.isnan(l1.kkt_violations(np.zeros(2), np.array([np.nan, 0.0]), np.ones(2), violations))
