"""Passes of the low-rank model: against a plain reference, and the same bits in any company and on any threads."""

import numpy as np
import pytest
import reference_low_rank as reference

from spfast.blas import one_blas_thread
from spfast.kernels.low_rank import (
    PIXELS_A_PIECE,
    ROWS_A_PIECE,
    add_pixel_sums,
    pair_products,
    pixel_weights,
    star_posteriors,
    symmetric,
)
from spfast.kernels.team import Team
from spfast.model.low_rank import BLOCK, LowRankBasis, LowRankModel, covariances

N_PIXELS, RANK = 70, 3


def made(n_stars=300, n_pixels=N_PIXELS, seed=0, inflation=1.3):
    """A basis, and spectra with infinite errors and bits: flux, errors, unmeasured, which pixels were measured."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(RANK, n_pixels)) * [[0.2], [0.1], [0.05]]
    basis = LowRankBasis(
        *(rng.uniform(low, high, n_pixels).astype(np.float32) for low, high in ((-0.5, 0.0), (0.001, 0.02))),
        factors.astype(np.float32),
        inflation,
        0,
        0.0,
    )
    flux = basis.mean + rng.normal(size=(n_stars, RANK)) @ factors + rng.normal(0.0, 0.05, (n_stars, n_pixels))
    errors = rng.uniform(0.01, 0.1, flux.shape).astype(np.float32)
    missing = rng.random(flux.shape)
    errors[missing < 0.1] = np.inf
    bits = (missing > 0.05) & (missing < 0.2)
    return basis, flux.astype(np.float32), errors, np.packbits(bits, axis=1), (missing >= 0.2)


def posteriors(basis, flux, errors, unmeasured, threads=1):
    n, pairs = len(flux), pair_products(basis.factors)
    out = np.empty((n, RANK), np.float32), np.empty((n, len(pairs)), np.float32), np.empty(n, np.float32), np.empty(n)
    with one_blas_thread(), Team(threads) as team:
        team.run(star_posteriors, -(-n // ROWS_A_PIECE), flux, errors, unmeasured, basis, pairs, *out)
    return out


def sums(basis, flux, errors, unmeasured, trust, z, roots, threads=1):
    n_terms, n_pixels = RANK + 1, flux.shape[1]
    i, j = np.triu_indices(n_terms)
    terms = np.hstack([np.ones((len(z), 1), np.float32), z])
    seconds = terms[:, i] * terms[:, j]
    with Team(threads) as team:
        seconds[:, i > 0] += covariances(team, roots)
    n_pieces = -(-n_pixels // PIXELS_A_PIECE)
    out = (
        (np.zeros((i.size, n_pixels)), np.zeros((n_terms, n_pixels))),
        np.zeros((3, n_pixels)),
        np.zeros(n_pieces, int),
    )
    with one_blas_thread(), Team(threads) as team:
        team.run(add_pixel_sums, n_pieces, flux, errors, unmeasured, basis, trust, terms, seconds, *out)
    return out


def test_pair_products_and_symmetric_are_the_outer_products_of_rows():
    values = np.random.default_rng(0).normal(size=(4, 5))
    packed = pair_products(values)
    assert packed.shape == (10, 5)
    outer = symmetric(packed.T, 4)
    np.testing.assert_array_equal(outer, np.einsum("ip,jp->pij", values, values))


def test_a_pixel_without_a_measurement_weighs_nothing_whether_its_error_or_its_bit_says_so():
    basis, _, errors, bits, measured = made()
    expected = reference.weights(errors, measured, basis.scatter, basis.inflation)
    weights = pixel_weights(errors, bits, basis.scatter, basis.inflation)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    np.testing.assert_array_equal(weights == 0, ~measured)
    without_bits = pixel_weights(errors, None, basis.scatter, basis.inflation)
    np.testing.assert_array_equal(without_bits == 0, np.isinf(errors))


def test_posteriors_agree_with_the_reference():
    basis, flux, errors, bits, measured = made()
    weights = reference.weights(errors, measured, basis.scatter, basis.inflation)
    z, roots, misfit, likelihood = posteriors(basis, flux, errors, bits)
    dense = reference.dense(roots)
    with Team(1) as team:
        np.testing.assert_allclose(symmetric(covariances(team, roots), RANK), dense, rtol=1e-6, atol=1e-9)
    for n in range(0, len(flux), 7):
        expected = reference.star_posterior(flux[n], weights[n], basis.mean, basis.factors)
        np.testing.assert_allclose(z[n], expected[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(dense[n], expected[1], rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(misfit[n], expected[2], rtol=1e-4)
        np.testing.assert_allclose(likelihood[n], expected[3], rtol=1e-4, atol=1e-3)


def test_a_star_without_a_measured_pixel_has_the_mean_of_all():
    basis, flux, errors, _, _ = made(n_stars=5)
    errors[3] = np.inf
    z, roots, misfit, likelihood = posteriors(basis, flux, errors, None)
    np.testing.assert_array_equal(z[3], 0.0)
    np.testing.assert_array_equal(reference.dense(roots)[3], np.eye(RANK))
    assert misfit[3] == likelihood[3] == 0.0


@pytest.mark.parametrize("n_pixels", [N_PIXELS, PIXELS_A_PIECE + 13])
def test_pixel_sums_agree_with_the_reference(n_pixels):
    basis, flux, errors, bits, measured = made(n_stars=9, n_pixels=n_pixels, seed=1)
    weights = reference.weights(errors, measured, basis.scatter, basis.inflation)
    z, roots, _, _ = posteriors(basis, flux, errors, bits)
    trust = np.random.default_rng(2).uniform(0.1, 1.0, len(flux)).astype(np.float32)
    (squares, products), totals, n_measured = sums(basis, flux, errors, bits, trust, z, roots)
    expected = reference.pixel_sums(flux, errors, weights, basis.mean, trust, z, reference.dense(roots))
    for found, wanted in zip((symmetric(squares.T, RANK + 1), products.T, totals), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
    assert n_measured.sum() == measured.sum()


def test_sums_of_two_blocks_are_those_of_both_together():
    basis, flux, errors, bits, _ = made(n_stars=20)
    z, roots, _, _ = posteriors(basis, flux, errors, bits)
    trust = np.ones(20, np.float32)
    (whole, _), _, _ = sums(basis, flux, errors, bits, trust, z, roots)
    parts = [
        sums(basis, *(array[rows] for array in (flux, errors, bits, trust, z, roots)))[0][0]
        for rows in (slice(8), slice(8, 20))
    ]
    np.testing.assert_allclose(parts[0] + parts[1], whole, rtol=1e-5, atol=1e-3)


def test_posteriors_and_sums_have_the_same_bits_on_one_thread_and_on_two():
    basis, flux, errors, bits, _ = made(n_stars=700, n_pixels=2 * PIXELS_A_PIECE + 5)
    one, two = (posteriors(basis, flux, errors, bits, threads) for threads in (1, 2))
    for first, second in zip(one, two, strict=True):
        np.testing.assert_array_equal(first, second)
    trust = np.ones(700, np.float32)
    one, two = (sums(basis, flux, errors, bits, trust, *one[:2], threads) for threads in (1, 2))
    for first, second in zip((*one[0], *one[1:]), (*two[0], *two[1:]), strict=True):
        np.testing.assert_array_equal(first, second)


def test_coordinates_have_the_same_bits_in_any_company_and_order():
    basis, flux, errors, bits, _ = made(n_stars=BLOCK + 300)
    fine = made(seed=5)[0]
    model = LowRankModel(basis, fine, 2, np.arange(N_PIXELS))
    together = model.coordinates(flux, errors, bits, threads=2)
    order = np.random.default_rng(3).permutation(len(flux))
    for rows in (order, np.arange(3), np.arange(BLOCK + 7, BLOCK + 140), np.array([len(flux) - 1])):
        some = model.coordinates(flux[rows], errors[rows], bits[rows], threads=1)
        np.testing.assert_array_equal(some.mean, together.mean[rows])
        np.testing.assert_array_equal(some.misfit, together.misfit[rows])
        for found, wanted in zip(some.roots, together.roots, strict=True):
            np.testing.assert_array_equal(found, wanted[rows])


def test_coordinates_of_a_map_a_read_only_array_and_a_slice_have_the_same_bits(tmp_path):
    basis, flux, errors, bits, _ = made(n_stars=200)
    model = LowRankModel(basis, made(seed=5)[0], RANK, np.arange(N_PIXELS))
    expected = model.coordinates(flux, errors, bits)
    wide = np.hstack([np.full((200, 9), 7.0, np.float32), flux])
    np.save(tmp_path / "wide.npy", wide)
    mapped = np.load(tmp_path / "wide.npy", mmap_mode="r")[:, 9:]
    read_only = flux.copy()
    read_only.flags.writeable = False
    for spectra in (mapped, wide[:, 9:], read_only, np.asfortranarray(flux)):
        found = model.coordinates(spectra, errors, bits)
        np.testing.assert_array_equal(found.mean, expected.mean)
        np.testing.assert_array_equal(found.misfit, expected.misfit)
