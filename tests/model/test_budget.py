"""The parts of a prediction's error on a handful of numbers, each alone, and what a damaged budget is refused for."""

from dataclasses import replace

import numpy as np
import pytest

from spfast.model import budget as parts
from spfast.model.kinds import LARGEST, to_entries
from spfast.model.layout import FeatureLayout
from spfast.model.predict import Neighbours

COLUMNS = np.array([0, 2, 3])
FACTOR = np.array([[0.1, 0.0], [0.2, -0.3], [0.05, 0.4]])
#: F times a matrix whose symmetric part is positive, so that the covariance is that of some noise.
OTHER = FACTOR @ np.array([[2.0, 0.75], [-0.25, 1.0]])
OFFSET = np.array([[-1.0, 3.0, 1.0, 2.0, 0.1, 0.03], [-2.0, 0.0, -1.0, 0.5, -0.2, 0.07]])
BUDGET = parts.ErrorBudget(0.2, 0.3, 0.1, 1.2, 0.01, 50, COLUMNS, FACTOR, OFFSET, False)


class Model:
    """What a budget asks of a model."""

    def __init__(self, layout=None, neighbours=None):
        self.layout, self.neighbours = layout, neighbours

    def linear_predictor(self, features, rows, threads):
        return features[parts.resolve_rows(rows, len(features))] @ np.array([0.5, 0.0, -0.25, 0.1])

    def propagate_ln_error(self, feature_errors, rows, threads):
        return 3.0 * feature_errors[parts.resolve_rows(rows, len(feature_errors)), 1]


def stars(n=40, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 4)), rng.uniform(0.01, 0.1, (n, 4))


def test_numbers_go_into_headers_without_the_arrays():
    assert to_entries(BUDGET) == {
        "intrinsic_scatter": 0.2,
        "growth": 0.3,
        "weak_line_growth": 0.1,
        "gaia_inflation": 1.2,
        "outlier_share": 0.01,
        "n_held_out": 50,
        "subtracted": False,
        "feature_inflation": 1.0,
    }
    assert [name for name in ("columns", "factor", "offset") if name in repr(BUDGET)] == []
    assert "growth=0.3" in repr(BUDGET)


def test_a_whole_budget_passes_and_a_damaged_one_does_not():
    assert BUDGET.check(4) is None
    bent, flipped = FACTOR.copy(), OFFSET.copy()
    bent[2, 1], flipped[1, 5] = np.nan, np.inf
    edge, narrow, flat = FACTOR.copy(), OFFSET.copy(), OFFSET.copy()
    edge[0, 0], narrow[1, 3] = -LARGEST, 1 / LARGEST
    assert replace(BUDGET, factor=edge, offset=narrow).check(4) is None
    flat[0, 3], narrow[1, 3] = 0.0, 0.9 / LARGEST
    refused = {
        "does not fit its coefficients": [
            {"columns": COLUMNS.astype(np.int32)},
            {"columns": COLUMNS[:, None]},
            {"columns": np.array([0, 2, 4])},
            {"columns": np.array([-1, 2, 3])},
        ],
        "covariance of its coefficients is damaged": [
            {"factor": FACTOR.astype(np.float32)},
            {"factor": FACTOR[1:]},
            {"factor": FACTOR[:, 0]},
            {"factor": np.concatenate([FACTOR, FACTOR])},
            {"factor": bent},
            {"factor": 100 * edge},
        ],
        "offset of its error budget is damaged": [
            {"offset": OFFSET.astype(np.float32)},
            {"offset": OFFSET[:, :5]},
            {"offset": flipped},
            {"offset": flat},
            {"offset": narrow},
            {"offset": -flipped},
        ],
    }
    for message, changes in refused.items():
        for change in changes:
            with pytest.raises(ValueError, match=message):
                replace(BUDGET, **change).check(4)
    with pytest.raises(ValueError, match="does not fit"):
        BUDGET.check(3)


def test_offset_is_not_followed_beyond_the_training_stars():
    basis = parts.offset_basis(np.array([-9.0, -1.0, 2.0, 3.0, 9.0]), -1.0, 3.0, 1.0, 2.0)
    z = np.array([-1.0, -1.0, 0.5, 1.0, 1.0])
    np.testing.assert_array_equal(basis, np.column_stack([z, z**2 - 1.0]))
    found = BUDGET.ln_offset(np.array([9.0, 2.0]), np.array([-0.75, -5.0]))
    np.testing.assert_allclose(
        found, [0.1 - 0.2 * 0.5 + 0.07 * (0.25 - 1), 0.1 * 0.5 + 0.03 * (0.25 - 1) + 0.2 * 2 + 0.07 * 3], rtol=1e-14
    )


def test_colour_of_dust():
    features = np.array([[1.0, 9.5, 8.0, 7.25, 0.1], [1.0, 9.0, 8.5, 7.0, 0.2]], dtype=np.float32)
    for names, expected in ((("K", "H", "W2"), [0.75, 1.5]), (("W2", "J", "H"), [-2.25, -2.0])):
        layout = FeatureLayout((7,), names)
        colour = parts.dust_colour(layout, features)
        assert (colour.dtype, colour.tolist()) == (np.float64, expected)
        assert parts.dust_colour(layout, features, [1]).tolist() == expected[1:]
    for layout in (None, FeatureLayout((7,), ("J", "K", "W2")), FeatureLayout((7,), ("H", "J", "K"))):
        assert parts.dust_colour(layout, features).tolist() == [0.0, 0.0]
        assert parts.dust_colour(layout, features, np.array([True, False])).tolist() == [0.0]


@pytest.mark.parametrize("n_rows", [0, 1, 1023, 1024, 1025, 2050])
def test_quadratic_form_in_blocks(n_rows):
    features, errors = stars(n_rows + 2)
    rows = np.random.default_rng(1).permutation(n_rows + 2)[:n_rows]
    x, e = features[rows][:, COLUMNS], errors[rows][:, COLUMNS]
    for other in (FACTOR, OTHER):
        matrix = FACTOR @ other.T
        form = np.sum((x @ matrix) * x, axis=1)
        (found,) = parts.quadratic_forms([FACTOR], other, COLUMNS, features, None, rows)
        np.testing.assert_allclose(found, form, rtol=1e-10, atol=1e-13)
        noise = e**2 @ np.diag(matrix)
        (found,) = parts.quadratic_forms([FACTOR], other, COLUMNS, features, errors, rows, 1)
        np.testing.assert_allclose(found, form - noise, rtol=1e-10, atol=1e-13)


def test_noise_of_neighbours_counts_in_both_orders():
    features, errors = stars()
    neighbours, rho = Neighbours([-1, -1, 50, 51], (0.4,)), 0.4
    correlation = np.eye(4)
    correlation[2, 3] = correlation[3, 2] = rho
    correlation = correlation[np.ix_(COLUMNS, COLUMNS)]
    rows = np.array([3, 1, 30])
    for other in (FACTOR, OTHER):
        matrix = FACTOR @ other.T
        expected = [np.trace(matrix @ (correlation * np.outer(e, e))) for e in errors[rows][:, COLUMNS]]
        found = parts.noise_of_covariance(FACTOR, other, COLUMNS, errors, rows, 1, neighbours)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        plain = parts.noise_of_covariance(FACTOR, other, COLUMNS, errors, rows)
        assert np.all(np.abs(plain - found) > 1e-6)
        (form,) = parts.quadratic_forms([FACTOR], other, COLUMNS, features, errors, rows, None, neighbours)
        (bare,) = parts.quadratic_forms([FACTOR], other, COLUMNS, features, None, rows)
        np.testing.assert_allclose(form, bare - found, rtol=1e-12)


def test_variance_from_coefficients_is_never_negative():
    features, errors = stars()
    (form,) = parts.quadratic_forms([FACTOR], FACTOR, COLUMNS, features, 5 * errors)
    assert 0 < np.count_nonzero(form < 0) < 40
    variance = parts.coefficient_variance(FACTOR, COLUMNS, features, 5 * errors)
    np.testing.assert_array_equal(variance, np.maximum(form, 0.0))


@pytest.mark.parametrize("rows", [None, [5, 3, 20]])
def test_the_four_parts_add_up(rows):
    features, errors = stars()
    chosen = np.arange(40) if rows is None else np.array(rows)
    unlikeness = np.random.default_rng(2).uniform(0.5, 3.0, (chosen.size, 2))
    layout = FeatureLayout((7,), ("H", "W2"))
    model = Model(layout, Neighbours([-1, -1, 50, 51], (0.4,)))
    u, w = unlikeness.T
    expected = (3.0 * errors[chosen, 1]) ** 2
    expected += parts.coefficient_variance(FACTOR, COLUMNS, features, errors, chosen, 1, model.neighbours)
    expected += 0.2**2 * (0.6 + 0.3 * u + 0.1 * w)
    colour = features[chosen, 1] - features[chosen, 2]
    expected += BUDGET.ln_offset(colour, model.linear_predictor(features, chosen, 1)) ** 2
    found = BUDGET.ln_error(model, features, errors, unlikeness, rows, 1)
    np.testing.assert_allclose(found**2, expected, rtol=1e-12)
    known = model.linear_predictor(features, chosen, 1), model.propagate_ln_error(errors, chosen, 1)
    np.testing.assert_array_equal(BUDGET.ln_error(model, features, errors, unlikeness, rows, 1, known), found)
    expected -= BUDGET.ln_offset(colour, known[0]) ** 2
    subtracted = replace(BUDGET, subtracted=True).ln_error(model, features, errors, unlikeness, rows, 1)
    np.testing.assert_allclose(subtracted**2, expected, rtol=1e-12)
