"""Features of a low-rank model: which columns, their derivatives, errors from the posterior, and what a file holds."""

import itertools
import json

import numpy as np
import pytest
import reference_low_rank as reference

from spfast.errors import BadInputError
from spfast.model.coordinates import CoordinateErrors, CoordinateLayout, layout_from
from spfast.model.layout import FeatureLayout
from spfast.model.low_rank import Coordinates

LAYOUT = CoordinateLayout(7, 4, tuple(np.linspace(-0.1, 0.2, 7)), 5, ("H", "W2"))


def coordinates(n_stars=6, ranks=(5, 2), seed=0, size=0.02):
    """Coordinates of stars, each with a covariance of its own."""
    rng = np.random.default_rng(seed)
    roots = []
    for n in ranks:
        root = size * rng.normal(size=(n_stars, n, n))
        i, j = np.tril_indices(n)
        roots.append(np.linalg.cholesky(root @ root.transpose(0, 2, 1))[:, i, j].astype(np.float16))
    mean = rng.normal(size=(n_stars, sum(ranks))).astype(np.float32)
    return Coordinates(mean, tuple(roots), np.ones(n_stars, np.float32))


def test_columns_are_a_constant_magnitudes_coordinates_pairs_and_triples():
    assert LAYOUT.n_unpenalized == 3
    assert len(LAYOUT.products) == 10 + 4  # pairs of 4 coordinates, triples of 2
    assert LAYOUT.n_features == 3 + 7 + 14 == len(LAYOUT.names) == len(LAYOUT.kinds)
    assert LAYOUT.names[:5] == ["constant", "H", "W2", "z1", "z2"]
    assert LAYOUT.names[10:13] == ["z1*z1", "z1*z2", "z1*z3"]
    assert LAYOUT.names[-4:] == ["z1*z1*z1", "z1*z1*z2", "z1*z2*z2", "z2*z2*z2"]
    counts = {kind: LAYOUT.kinds.count(kind) for kind in ("constant", "magnitude", "coordinate", "product")}
    assert counts == {"constant": 1, "magnitude": 2, "coordinate": 7, "product": 14}
    np.testing.assert_array_equal(LAYOUT.penalized, np.arange(24) >= 3)
    assert np.isnan(LAYOUT.wavelength).all()
    assert (LAYOUT.grid == -1).all()


def test_design_holds_the_columns_by_their_names():
    z = np.random.default_rng(1).normal(size=(50, 7)).astype(np.float32)
    magnitudes = np.random.default_rng(2).uniform(8, 14, (50, 2))
    features = dict(zip(LAYOUT.names, LAYOUT.design(magnitudes, z).T, strict=True))
    np.testing.assert_array_equal(features["constant"], 1.0)
    np.testing.assert_array_equal(features["W2"], magnitudes[:, 1].astype(np.float32))
    np.testing.assert_array_equal(features["z7"], z[:, 6])
    np.testing.assert_allclose(features["z1*z3"], z[:, 0] * z[:, 2], rtol=1e-6)
    np.testing.assert_allclose(features["z2*z2"], (z[:, 1] ** 2 - 1) / np.sqrt(2), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(features["z1*z1*z1"], (z[:, 0] ** 3 - 3 * z[:, 0]) / np.sqrt(6), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(features["z1*z2*z2"], features["z1"] * features["z2*z2"], rtol=1e-5, atol=1e-6)


def test_coordinates_and_products_are_orthonormal_for_gaussian_coordinates():
    # Means under the Gaussian, exact for these polynomials: a Gauss-Hermite grid. Its nodes stay within the reach.
    nodes, weights = np.polynomial.hermite_e.hermegauss(6)
    assert np.abs(nodes).max() < 4.0
    layout = CoordinateLayout(4, 4, (0.0,) * 4, 4, ())
    grid = np.array(list(itertools.product(nodes, repeat=4)))
    weight = np.prod(list(itertools.product(weights, repeat=4)), axis=1)
    features = layout.design(np.zeros((len(grid), 0)), grid).astype(np.float64)
    gram = (features.T * weight) @ features / weight.sum()
    np.testing.assert_allclose(gram, np.eye(layout.n_features), atol=1e-5)


@pytest.mark.parametrize("size", [1.0, 3.0, 6.0])
def test_gradient_is_that_of_central_differences_also_beyond_the_reach(size):
    rng = np.random.default_rng(3)
    z = size * rng.normal(size=(40, 7))
    z[np.abs(np.abs(z) - 4.0) < 0.01] = 0.5  # no derivative there
    coef = rng.normal(size=LAYOUT.n_features)
    coef[[11, 20]] = 0.0
    gradient, step = LAYOUT.gradient(coef, z), 1e-3

    def value(z):
        # In float64, which `design` does not keep.
        powers = np.clip(z, -4, 4)
        columns = [z]
        polynomials = {1: powers, 2: (powers**2 - 1) / np.sqrt(2), 3: (powers**3 - 3 * powers) / np.sqrt(6)}
        for product in LAYOUT.products:
            parts = [polynomials[product.count(k)][:, k] for k in sorted(set(product))]
            columns.append(np.prod(parts, axis=0)[:, None])
        return np.hstack(columns) @ coef[3:]

    in_float32 = LAYOUT.design(np.zeros((40, 2)), z.astype(np.float32)) @ coef - coef[0]
    np.testing.assert_allclose(value(z), in_float32, rtol=1e-3, atol=1e-3)
    for k in range(7):
        moved = np.zeros(7)
        moved[k] = step
        difference = (value(z + moved) - value(z - moved)) / (2 * step)
        np.testing.assert_allclose(gradient[:, k], difference, rtol=1e-4, atol=1e-4)
    assert size < 6.0 or (np.abs(z[:, :4]) > 4.0).any()


@pytest.mark.parametrize(("rank", "n_products"), [(7, 4), (7, 0), (5, 3), (4, 4), (1, 0), (2, 1)])
def test_within_picks_the_columns_of_the_smaller_layout(rank, n_products):
    smaller = CoordinateLayout(rank, n_products, LAYOUT.line_weights[:rank], 5, LAYOUT.magnitudes)
    columns = LAYOUT.within(rank, n_products)
    assert [LAYOUT.names[column] for column in columns] == smaller.names
    z, magnitudes = np.random.default_rng(4).normal(size=(9, 7)).astype(np.float32), np.full((9, 2), 10.0)
    larger = LAYOUT.design(magnitudes, z)
    np.testing.assert_array_equal(larger[:, columns], smaller.design(magnitudes, z[:, :rank]))


def test_positions_are_broad_coordinates_fine_ones_and_products_and_the_weakness_of_lines():
    coef = np.arange(1.0, LAYOUT.n_features + 1)
    broad, fine, products, lines = LAYOUT.position_coefs(coef, LAYOUT.penalized)
    np.testing.assert_array_equal(np.flatnonzero(broad), np.arange(3, 8))
    np.testing.assert_array_equal(np.flatnonzero(fine), [8, 9])
    np.testing.assert_array_equal(np.flatnonzero(products), np.arange(10, 24))
    np.testing.assert_array_equal((broad + fine + products)[3:], coef[3:])
    np.testing.assert_array_equal(lines[3:10], LAYOUT.line_weights)
    assert not lines[:3].any()
    assert not lines[10:].any()


def test_a_layout_that_asks_for_more_products_than_there_is_memory_for_is_only_counted():
    layout = CoordinateLayout(10**5, 10**5, (0.0,) * 10**5, 5)
    assert layout.n_features > 10**13
    for n in range(10):
        layout = CoordinateLayout(9, n, (0.0,) * 9, 5)
        assert layout.n_features == len(layout.names)


def test_a_layout_comes_back_from_json():
    record = json.loads(json.dumps(LAYOUT.to_dict()))
    assert layout_from(record) == CoordinateLayout.from_dict(record) == LAYOUT
    pixels = FeatureLayout((300, 301))
    assert layout_from(json.loads(json.dumps(pixels.to_dict()))) == pixels


@pytest.mark.parametrize(
    "change",
    [
        {"rank": -1},
        {"rank": 7.0},
        {"rank": True},
        {"n_products": 8},
        {"n_products": None},
        {"line_weights": [0.0] * 6},
        {"line_weights": [float("nan")] * 7},
        {"line_weights": "abc"},
        {"line_weights": [[0.0]] * 7},
        {"n_broad": -3},
        {"magnitudes": [1, 2]},
        {"magnitudes": None},
        {"magnitudes": "H"},
        {"magnitudes": ["H", "H"]},
    ],
)
def test_a_damaged_layout_is_refused_in_one_line(change):
    with pytest.raises(BadInputError) as error:
        CoordinateLayout.from_dict({**LAYOUT.to_dict(), **change})
    assert str(error.value).startswith("layout: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["rank", "n_products", "line_weights", "n_broad", "magnitudes"])
def test_a_layout_that_lacks_an_entry_is_refused(name):
    record = LAYOUT.to_dict()
    del record[name]
    with pytest.raises(BadInputError, match="layout: "):
        CoordinateLayout.from_dict(record)


def test_first_coordinates_keep_their_covariances():
    found = coordinates()
    assert found.ranks == (5, 2)
    for rank, ranks in ((7, (5, 2)), (6, (5, 1)), (5, (5, 0)), (3, (3, 0)), (0, (0, 0))):
        some = found.first(rank)
        assert some.ranks == ranks
        np.testing.assert_array_equal(some.mean, found.mean[:, :rank])
        assert all(np.shares_memory(one, whole) for one, whole in zip(some.roots, found.roots, strict=True) if one.size)
        np.testing.assert_allclose(
            reference.dense(some.roots[0]), reference.dense(found.roots[0])[:, : ranks[0], : ranks[0]], rtol=1e-12
        )


def dense(found):
    """The covariance of all coordinates of each star."""
    n_stars, rank = found.mean.shape
    whole, column = np.zeros((n_stars, rank, rank)), 0
    for n, roots in zip(found.ranks, found.roots, strict=True):
        whole[:, column : column + n, column : column + n] = reference.dense(roots)
        column += n
    return whole


def test_variance_is_the_quadratic_form_of_the_gradient_and_the_magnitudes():
    found, rng = coordinates(n_stars=1030), np.random.default_rng(5)
    magnitude_errors = rng.uniform(0.01, 0.1, (1030, 2)).astype(np.float32)
    coef = rng.normal(size=LAYOUT.n_features)
    errors = CoordinateErrors(LAYOUT, found, magnitude_errors)
    slope = LAYOUT.gradient(coef, found.mean)
    expected = np.einsum("ni,nij,nj->n", slope, dense(found), slope)
    expected += (magnitude_errors.astype(np.float64) * coef[1:3]) ** 2 @ [1.0, 1.0]
    np.testing.assert_allclose(errors.variance(coef), expected, rtol=1e-5, atol=1e-9)
    for rows in (np.array([1029, 3, 3]), np.arange(1030) % 2 == 0):
        np.testing.assert_array_equal(errors.variance(coef, rows), errors.variance(coef)[rows])


def test_variance_is_that_of_draws_from_the_posterior():
    found, rng = coordinates(n_stars=4), np.random.default_rng(6)
    magnitude_errors = np.full((4, 2), 0.03, np.float32)
    coef = rng.normal(size=LAYOUT.n_features)
    error = np.sqrt(CoordinateErrors(LAYOUT, found, magnitude_errors).variance(coef))
    for n, covariance in enumerate(dense(found)):
        z = rng.multivariate_normal(found.mean[n], covariance, 20_000)
        magnitudes = 10.0 + 0.03 * rng.normal(size=(20_000, 2))
        drawn = (LAYOUT.design(magnitudes, z).astype(np.float64) @ coef).std()
        assert drawn == pytest.approx(error[n], rel=0.03)


def test_noise_of_measured_features_is_that_of_magnitudes_alone():
    found = coordinates()
    errors = CoordinateErrors(LAYOUT, found, np.array([[0.1, 0.2]] * 6, np.float32))
    columns = np.array([0, 2, 5, 15])
    noise = errors.noise_of(np.array([7.0, 3.0, 5.0, 2.0]), columns, np.array([0, 4]))
    np.testing.assert_allclose(noise, 3.0 * 0.2**2, rtol=1e-6)


def test_estimates_of_magnitudes_have_no_noise_to_take_off():
    estimated = np.zeros((6, 2), bool)
    estimated[4, 1] = True
    errors = CoordinateErrors(LAYOUT, coordinates(), np.array([[0.1, 0.2]] * 6, np.float32), estimated)
    noise = errors.noise_of(np.array([3.0, 5.0]), np.array([1, 2]), np.array([0, 4]))
    np.testing.assert_allclose(noise, [3.0 * 0.01 + 5.0 * 0.04, 3.0 * 0.01], rtol=1e-6)
