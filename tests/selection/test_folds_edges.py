"""Zeros, halves, seeds and masks that decide a star's fold."""

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from spfast.config import FoldConfig
from spfast.errors import BadInputError
from spfast.selection.folds import fold_labels, k_fold_labels
from spfast.selection.star_keys import star_keys


def stars(n=20, **columns):
    return Table({"APOGEE_ID": [f"2M{i}" for i in range(n)], "source_id": np.arange(n), **columns})


def test_zero_is_a_source_and_an_index():
    table = stars(source_id=np.zeros(20, int))
    source_keys, name_keys = star_keys(table)
    assert len(set(source_keys.tolist())) == 1
    assert not set(source_keys.tolist()) & set(name_keys.tolist())
    assert len(set(fold_labels(table, FoldConfig("hash")).labels.tolist())) == 1
    table = stars(random_index=np.zeros(20, int))
    folds = fold_labels(table, FoldConfig("random_index"))
    assert (folds.n_hashed, set(folds.labels.tolist())) == (0, {"A"})
    assert fold_labels(table).split == "random_index"
    nobody = stars(source_id=np.full(20, -1))
    source_keys, name_keys = star_keys(nobody)
    np.testing.assert_array_equal(source_keys, name_keys)


def test_half_with_an_index_are_not_enough_for_auto():
    index = np.where(np.arange(20) < 10, 7, -1)
    assert fold_labels(stars(random_index=index)).split == "hash"
    index[10] = 7
    assert fold_labels(stars(random_index=index)).split == "random_index"


def test_seeds_of_any_size_and_their_default():
    table = stars()
    for same, other in (((-1, 2**64 - 1), 2**63 - 1), ((0, 2**64), 1)):
        first, second, third = (star_keys(table, seed)[0] for seed in (*same, other))
        np.testing.assert_array_equal(first, second)
        assert (first != third).all()
    np.testing.assert_array_equal(star_keys(table)[0], star_keys(table, 0)[0])
    np.testing.assert_array_equal(k_fold_labels(table, 5), k_fold_labels(table, 5, 0))
    assert (k_fold_labels(table, 5) != k_fold_labels(table, 5, 1)).any()
    assert (k_fold_labels(table, 5) != k_fold_labels(table, 5, -1)).any()


def test_masked_group_is_none():
    group = MaskedColumn(np.ones(20, int), mask=np.arange(20) >= 10)
    labels = fold_labels(stars(group=group), FoldConfig("hash", group="group")).labels
    assert len(set(labels[:10].tolist())) == 1
    plain = fold_labels(stars(), FoldConfig("hash")).labels
    np.testing.assert_array_equal(labels[10:], plain[10:])


def test_zero_is_shared_like_any_source_and_minus_one_is_not():
    index = np.full(20, -1)
    index[[3, 19]] = 7
    one_source, nobody = (stars(source_id=np.full(20, source), random_index=index) for source in (0, -1))
    folds = fold_labels(one_source, FoldConfig("random_index"))
    assert (folds.n_hashed, set(folds.labels.tolist())) == (0, {"B"})  # rows of one source share what any of them has
    folds = fold_labels(nobody, FoldConfig("random_index"))
    assert folds.n_hashed == 18
    assert folds.labels[[3, 19]].tolist() == ["B", "B"]
    alone = fold_labels(stars(source_id=np.full(20, -1)), FoldConfig("hash")).labels
    np.testing.assert_array_equal(np.delete(folds.labels, [3, 19]), np.delete(alone, [3, 19]))
    # A chain of a name and a source: all three together, in every split.
    chain = Table({"APOGEE_ID": ["2Ma", "2Ma", "2Mb"], "source_id": [5, 0, 0]})
    assert all(len(set(k_fold_labels(chain, 10, seed).tolist())) == 1 for seed in range(20))
    # Other names, one source: together, though their hashes differ.
    assert len(set(k_fold_labels(one_source, 10).tolist())) == 1
    assert len(set(k_fold_labels(nobody, 10).tolist())) > 2


def test_a_table_without_stars():
    nobody = stars(0, random_index=np.zeros(0, int))
    folds = fold_labels(nobody)
    assert (folds.labels.shape, folds.split, folds.n_hashed) == ((0,), "hash", 0)
    with pytest.raises(BadInputError, match="no star has a Gaia random_index"):
        fold_labels(nobody, FoldConfig("random_index"))
    assert k_fold_labels(nobody, 3).shape == (0,)
