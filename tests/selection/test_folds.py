"""Fold labels: frozen values, stability under re-ordering, stars that stay together, keys of training stars."""

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table, vstack

from spfast.config import FoldConfig
from spfast.errors import BadInputError
from spfast.selection.folds import fold_labels, k_fold_labels, labels_digest
from spfast.selection.star_keys import decode_stars, encode_stars, seen_in_training, star_keys

HASH = FoldConfig(split="hash")


@pytest.fixture
def stars():
    rng = np.random.default_rng(5)
    n = 2000
    return Table(
        {
            "APOGEE_ID": [f"2M{i:08d}+{i:07d}" for i in range(n)],
            "source_id": rng.integers(0, 2**62, n),
            "random_index": rng.permutation(n),
        }
    )


def test_folds_are_the_parity_of_random_index(stars):
    folds = fold_labels(stars)
    assert folds.split == "random_index"
    assert folds.n_hashed == 0
    np.testing.assert_array_equal(folds.labels == "B", stars["random_index"] % 2 == 1)
    assert "random_index" in folds.rule


def test_sources_are_hashed_by_splitmix64():
    # The first outputs of the published splitmix64 generator with seed 0: hash of 0, of its step, of twice its step.
    step = 0x9E3779B97F4A7C15
    ids = np.array([(i * step) % 2**64 for i in (0, 1, 2)], dtype=np.uint64)
    keys = _unseeded(ids)
    assert [f"{key:016x}" for key in keys] == ["e220a8397b1dcdaf", "6e789e6aa1b965f4", "06c45d188009454f"]


def _unseeded(ids):
    from spfast.selection.star_keys import splitmix64

    return splitmix64(ids).tolist()


def test_names_are_hashed_by_fnv1a():
    from spfast.selection.star_keys import _fnv1a

    # Published FNV-1a 64 values of "a" and "foobar"; blanks and padding do not count.
    keys = _fnv1a(["a", "foobar", " foo bar "]).tolist()
    assert keys == [0xAF63DC4C8601EC8C, 0x85944171F73967E8, 0x85944171F73967E8]


def test_hashed_labels_are_those_of_published_catalogs():
    # A change of these labels would move stars between folds of published catalogs.
    stars = Table({"APOGEE_ID": [f"2M{i:016d}" for i in range(12)], "source_id": [*range(1000, 1008), -1, -1, -1, -1]})
    assert "".join(fold_labels(stars, HASH).labels) == "AAABBABBAAAB"
    assert "".join(fold_labels(stars, FoldConfig("hash", seed=1)).labels) == "ABAABBAAAAAA"


@pytest.mark.parametrize("config", [FoldConfig(), HASH])
def test_labels_move_with_their_stars(stars, config):
    stars["random_index"][::7] = -1
    stars["source_id"][::5] = -1
    order = np.random.default_rng(0).permutation(len(stars))
    np.testing.assert_array_equal(fold_labels(stars[order], config).labels, fold_labels(stars, config).labels[order])
    np.testing.assert_array_equal(fold_labels(stars[:100], HASH).labels, fold_labels(stars, HASH).labels[:100])


def test_halves_are_halves_and_independent_of_random_index(stars):
    labels = fold_labels(stars, HASH).labels
    n = len(stars)
    assert abs(np.mean(labels == "A") - 0.5) < 4 * 0.5 / np.sqrt(n)
    assert abs(np.mean(labels == fold_labels(stars).labels) - 0.5) < 4 * 0.5 / np.sqrt(n)
    assert abs(np.mean(labels == fold_labels(stars, FoldConfig("hash", 1)).labels) - 0.5) < 4 * 0.5 / np.sqrt(n)


def test_stars_without_random_index_are_hashed(stars):
    stars["random_index"][:10] = -1
    folds = fold_labels(stars)
    assert folds.n_hashed == 10
    assert "10 stars" in folds.rule
    np.testing.assert_array_equal(folds.labels[:10], fold_labels(stars, HASH).labels[:10])


def test_auto_hashes_all_where_most_have_no_random_index(stars):
    stars["random_index"][: len(stars) * 3 // 4] = -1
    folds = fold_labels(stars)
    assert folds.split == "hash"
    np.testing.assert_array_equal(folds.labels, fold_labels(stars, HASH).labels)
    del stars["random_index"]
    assert fold_labels(stars).split == "hash"


def test_rows_of_one_source_stay_together(stars):
    twins = stars.copy()
    twins["APOGEE_ID"] = [f"AP{i:016d}" for i in range(len(stars))]
    twins["random_index"][::2] = -1
    both = vstack([stars, twins])
    for config in (FoldConfig(), HASH):
        labels = fold_labels(both, config).labels
        np.testing.assert_array_equal(labels[: len(stars)], labels[len(stars) :])


def test_an_unknown_split_and_a_split_by_an_absent_random_index_are_refused(stars):
    with pytest.raises(BadInputError, match="split is 'parity'"):
        fold_labels(stars, FoldConfig(split="parity"))
    stars["random_index"] = -1
    with pytest.raises(BadInputError, match="no star has a Gaia random_index"):
        fold_labels(stars, FoldConfig(split="random_index"))


def test_no_star_and_one_star_get_labels(stars):
    assert fold_labels(stars[:0]).labels.size == 0
    assert fold_labels(stars[:1]).labels.size == 1


def test_training_stars_are_recognised_by_either_name(stars):
    trained = encode_stars(stars[:50])
    assert decode_stars(trained).size == 100
    np.testing.assert_array_equal(seen_in_training(trained, stars), np.arange(len(stars)) < 50)
    renamed = stars.copy()
    renamed["source_id"] += 1  # another Gaia release
    np.testing.assert_array_equal(seen_in_training(trained, renamed), np.arange(len(stars)) < 50)
    renamed = stars.copy()
    renamed["APOGEE_ID"] = "x"
    np.testing.assert_array_equal(seen_in_training(trained, renamed), np.arange(len(stars)) < 50)
    with pytest.raises(BadInputError, match="damaged"):
        decode_stars("nonsense!")


def test_a_star_without_a_source_has_the_key_of_its_name(stars):
    stars["source_id"][0] = -1
    source_keys, name_keys = star_keys(stars)
    assert source_keys[0] == name_keys[0]
    assert np.unique(np.concatenate([source_keys[1:], name_keys])).size == 2 * len(stars) - 1


def test_stars_of_one_group_stay_together(stars):
    stars["CLUSTER"] = [f"M{i % 40}" if i < 800 else " " for i in range(len(stars))]
    stars["number"] = [i % 40 if i < 800 else -1 for i in range(len(stars))]
    for config in (FoldConfig(group="CLUSTER"), FoldConfig("hash", group="number")):
        labels = fold_labels(stars, config).labels
        for cluster in range(40):
            assert np.unique(labels[cluster:800:40]).size == 1
        assert np.unique(labels[:40]).size == 2
        np.testing.assert_array_equal(labels[800:], fold_labels(stars, FoldConfig(config.split)).labels[800:])
        order = np.random.default_rng(0).permutation(len(stars))
        np.testing.assert_array_equal(fold_labels(stars[order], config).labels, labels[order])
    with pytest.raises(BadInputError, match="no column 'OTHER'"):
        fold_labels(stars, FoldConfig(group="OTHER"))


def test_duplicates_stay_together_through_either_name(stars):
    # Row 1 shares its source with row 0 and its APOGEE_ID with row 2.
    stars["source_id"][1], stars["APOGEE_ID"][2] = stars["source_id"][0], stars["APOGEE_ID"][1]
    for labels in (fold_labels(stars, HASH).labels, fold_labels(stars).labels, k_fold_labels(stars, 7)):
        assert labels[0] == labels[1] == labels[2]


def test_k_folds_are_even_stable_and_independent(stars):
    labels = k_fold_labels(stars, 5)
    counts = np.bincount(labels, minlength=5)
    assert counts.size == 5
    assert np.abs(counts - 400).max() < 4 * np.sqrt(400)
    order = np.random.default_rng(0).permutation(len(stars))
    np.testing.assert_array_equal(k_fold_labels(stars[order], 5), labels[order])
    np.testing.assert_array_equal(k_fold_labels(stars[:99], 5), labels[:99])
    assert labels_digest(stars, labels) == labels_digest(stars[order], labels[order])
    other = k_fold_labels(stars, 5, seed=1)
    assert labels_digest(stars, labels) != labels_digest(stars, other)
    assert abs(np.mean(other == labels) - 0.2) < 0.05  # another seed, an independent split
    halves = fold_labels(stars, HASH).labels == "A"
    assert abs(np.mean(halves == (k_fold_labels(stars, 2) == 0)) - 0.5) < 0.05
    with pytest.raises(BadInputError, match="1 folds, expected at least 2"):
        k_fold_labels(stars, 1)


def numbered(n=20, **columns):
    return Table({"APOGEE_ID": [f"2M{i}" for i in range(n)], "source_id": np.arange(n), **columns})


def test_a_source_and_an_index_of_zero_count():
    table = numbered(source_id=np.zeros(20, int))
    source_keys, name_keys = star_keys(table)
    assert len(set(source_keys.tolist())) == 1
    assert not set(source_keys.tolist()) & set(name_keys.tolist())
    assert len(set(fold_labels(table, FoldConfig("hash")).labels.tolist())) == 1
    table = numbered(random_index=np.zeros(20, int))
    folds = fold_labels(table, FoldConfig("random_index"))
    assert (folds.n_hashed, set(folds.labels.tolist())) == (0, {"A"})
    assert fold_labels(table).split == "random_index"
    nobody = numbered(source_id=np.full(20, -1))
    source_keys, name_keys = star_keys(nobody)
    np.testing.assert_array_equal(source_keys, name_keys)


def test_auto_splits_by_random_index_only_if_more_than_half_have_one():
    index = np.where(np.arange(20) < 10, 7, -1)
    assert fold_labels(numbered(random_index=index)).split == "hash"
    index[10] = 7
    assert fold_labels(numbered(random_index=index)).split == "random_index"


def test_seeds_may_have_any_size_and_are_zero_by_default():
    table = numbered()
    for same, other in (((-1, 2**64 - 1), 2**63 - 1), ((0, 2**64), 1)):
        first, second, third = (star_keys(table, seed)[0] for seed in (*same, other))
        np.testing.assert_array_equal(first, second)
        assert (first != third).all()
    np.testing.assert_array_equal(star_keys(table)[0], star_keys(table, 0)[0])
    np.testing.assert_array_equal(k_fold_labels(table, 5), k_fold_labels(table, 5, 0))
    assert (k_fold_labels(table, 5) != k_fold_labels(table, 5, 1)).any()
    assert (k_fold_labels(table, 5) != k_fold_labels(table, 5, -1)).any()


def test_a_masked_group_is_none():
    group = MaskedColumn(np.ones(20, int), mask=np.arange(20) >= 10)
    labels = fold_labels(numbered(group=group), FoldConfig("hash", group="group")).labels
    assert len(set(labels[:10].tolist())) == 1
    plain = fold_labels(numbered(), FoldConfig("hash")).labels
    np.testing.assert_array_equal(labels[10:], plain[10:])


def test_stars_of_source_zero_stay_together_and_stars_without_a_source_do_not():
    index = np.full(20, -1)
    index[[3, 19]] = 7
    one_source, nobody = (numbered(source_id=np.full(20, source), random_index=index) for source in (0, -1))
    folds = fold_labels(one_source, FoldConfig("random_index"))
    assert (folds.n_hashed, set(folds.labels.tolist())) == (0, {"B"})  # rows of one source share what any of them has
    folds = fold_labels(nobody, FoldConfig("random_index"))
    assert folds.n_hashed == 18
    assert folds.labels[[3, 19]].tolist() == ["B", "B"]
    alone = fold_labels(numbered(source_id=np.full(20, -1)), FoldConfig("hash")).labels
    np.testing.assert_array_equal(np.delete(folds.labels, [3, 19]), np.delete(alone, [3, 19]))
    # A chain of a name and a source: all three together, in every split.
    chain = Table({"APOGEE_ID": ["2Ma", "2Ma", "2Mb"], "source_id": [5, 0, 0]})
    assert all(len(set(k_fold_labels(chain, 10, seed).tolist())) == 1 for seed in range(20))
    # Other names, one source: together, though their hashes differ.
    assert len(set(k_fold_labels(one_source, 10).tolist())) == 1
    assert len(set(k_fold_labels(nobody, 10).tolist())) > 2


def test_a_table_without_stars_gets_no_labels():
    nobody = numbered(0, random_index=np.zeros(0, int))
    folds = fold_labels(nobody)
    assert (folds.labels.shape, folds.split, folds.n_hashed) == ((0,), "hash", 0)
    with pytest.raises(BadInputError, match="no star has a Gaia random_index"):
        fold_labels(nobody, FoldConfig("random_index"))
    assert k_fold_labels(nobody, 3).shape == (0,)
