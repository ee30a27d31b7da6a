"""A read serves whoever waits for it; what each gets does not depend on the others, on threads or on the direction."""

import threading
import time

import numpy as np
import pytest

from spfast.kernels import stop
from spfast.kernels.team import Team
from spfast.model.predict import predictors_of_rows
from spfast.reads import reader as readers
from spfast.reads.ahead import reading_ahead
from spfast.reads.jobs import ValueGradient, WeightedGram
from spfast.reads.parts import Tree, parts_of
from spfast.reads.reader import Reader, SharedReader, side_by_side
from spfast.reads.rows import OfRows

N_STARS, N_FEATURES = 1500, 40


@pytest.fixture(scope="module")
def design():
    return np.random.default_rng(1).normal(0, 0.3, (N_STARS, N_FEATURES)).astype(np.float32)


@pytest.fixture
def larger_than_memory(monkeypatch):
    monkeypatch.setattr(readers, "is_larger_than_memory", lambda design: True)


@pytest.fixture
def reads(monkeypatch):
    """For how many jobs each read was."""
    found, read = [], Reader._read

    def counted(self, design, jobs):
        found.append(len(jobs))
        return read(self, design, jobs)

    monkeypatch.setattr(Reader, "_read", counted)
    return found


def value_gradient(seed, every=2):
    rng = np.random.default_rng(seed)
    rows = np.arange(seed % every, N_STARS, every)
    return ValueGradient(
        rows, rng.normal(1, 0.3, rows.size), rng.uniform(1, 9, rows.size), rng.normal(0, 0.3, N_FEATURES), np.arange(2)
    )


def weighted_gram(seed):
    rng = np.random.default_rng(seed)
    rows, columns = np.arange(seed, N_STARS, 3), np.arange(4, 30)
    whiten = rng.normal(size=(3, 3))
    explained = rng.normal(size=(3, columns.size)).astype(np.float32)
    return WeightedGram(rows, rng.normal(1, 1, rows.size), np.arange(3), whiten, columns, explained, begin=0)


def same(one, other):
    """Whether two results have the same bits; what comes part by part may have other parts."""
    pairs = list(zip(one, other, strict=True))

    def whole(result):
        return np.concatenate([np.ravel(piece) for piece in result]) if isinstance(result, tuple) else result

    return all(np.array_equal(whole(a), whole(b)) for a, b in pairs)


@pytest.mark.parametrize("n_rows", [0, 1, 7, 64, 1000, 39100])
def test_parts_and_their_chunks_cover_the_rows_once_in_order(n_rows):
    parts = parts_of(n_rows, 30_000)
    assert len(parts) & (len(parts) - 1) == 0
    chunks = [chunk for part in parts for segment in part.segments() for chunk in segment]
    assert [row for begin, end in chunks for row in range(begin, end)] == list(range(n_rows))
    assert [part.index for part in parts] == list(range(len(parts)))


def test_no_part_of_a_large_matrix_exceeds_two_gibibytes():
    parts = parts_of(1_000_000, 7414 * 4)
    assert max((part.end - part.begin) * 7414 * 4 for part in parts) <= 1 << 31
    assert len(parts) == 16


def test_tree_adds_the_same_neighbours_in_whatever_order_parts_come():
    def total(order):
        tree = Tree(8, lambda left, right: f"({left}{right})")
        for index in order:
            tree.add(index, str(index))
        return tree.total

    expected = "(((01)(23))((45)(67)))"
    assert total(range(8)) == total(reversed(range(8))) == total([3, 0, 7, 1, 5, 2, 6, 4]) == expected


def test_value_and_gradient_match_the_formula_and_the_number_of_threads_changes_no_bit(design):
    job = value_gradient(0)
    with Team(1) as one, Team(3) as three:
        found, other = (Reader(team).read(design, job) for team in (one, three))
    x = design[job.rows].astype(np.float64)
    eta = x @ job.coef
    mu = np.exp(eta)
    assert found.value == pytest.approx(0.5 * np.sum(job.ivar * (job.parallax - mu) ** 2), rel=1e-12)
    np.testing.assert_allclose(found.gradient, (job.ivar * (mu - job.parallax) * mu) @ x, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(np.concatenate(found.eta), eta, rtol=1e-12)
    assert same(found, other)


def test_a_matrix_read_backwards_gives_the_same_bits(design, larger_than_memory):
    with Team(2) as team:
        reader = Reader(team)
        for job in (value_gradient(1), weighted_gram(1)):
            there, back = reader.read(design, job), reader.read(design, job)
            assert same(there, back)


def test_callers_share_a_read_and_each_gets_what_it_would_get_alone(design, larger_than_memory, reads):
    jobs = [value_gradient(0), value_gradient(1), value_gradient(2, every=3), weighted_gram(0)]
    coefs = np.random.default_rng(2).normal(size=(2, N_FEATURES))
    jobs.append(OfRows(np.arange(5, 900), predictors_of_rows, (coefs,)))
    with Team(1) as team:
        alone = [Reader(team).read(design, job) for job in jobs]
    reads.clear()

    def caller(job):
        def run(threads):
            with Team(threads) as team:
                # Each fit looks at the matrix through a view of its own.
                return [readers.reader_of(team).read(design.view(), job) for _ in range(3)]

        return run

    together = side_by_side([caller(job) for job in jobs], design, threads=2)
    assert reads == [5, 5, 5]
    assert all(
        same(expected, found) for expected, all_found in zip(alone, together, strict=True) for found in all_found
    )


def test_callers_of_callers_share_a_read_too(design, larger_than_memory, reads):
    def leaf(seed):
        def run(threads):
            with Team(threads) as team:
                return readers.reader_of(team).read(design, value_gradient(seed)).value

        return run

    def branch(seed):
        return lambda threads: side_by_side([leaf(3 * seed + k) for k in range(3)], design, threads)

    values = side_by_side([branch(0), branch(1)], design, threads=2)
    assert reads == [6]
    with Team(1) as team:
        alone = [Reader(team).read(design, value_gradient(seed)).value for seed in range(6)]
    assert values == [alone[:3], alone[3:]]


def test_a_caller_that_ends_early_does_not_keep_the_others_waiting(design, larger_than_memory):
    def run(n_reads):
        def job(threads):
            with Team(threads) as team:
                return [readers.reader_of(team).read(design, value_gradient(n_reads)).value for _ in range(n_reads)]

        return job

    assert [len(values) for values in side_by_side([run(n) for n in (0, 1, 4)], design, threads=2)] == [0, 1, 4]


def test_an_error_in_a_shared_read_reaches_every_caller(design, larger_than_memory):
    class Broken(ValueGradient):
        @classmethod
        def run(cls, jobs, design, parts, team):
            raise MemoryError("no room")

    broken = Broken(**{name: getattr(value_gradient(0), name) for name in ("rows", "parallax", "ivar", "coef", "wide")})
    with Team(1) as team:
        shared, errors = SharedReader(team), []
        shared.enter(2)

        def run(job):
            try:
                shared.read(design, job)
            except MemoryError as error:
                errors.append(str(error))

        threads = [threading.Thread(target=run, args=(job,)) for job in (broken, value_gradient(1))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == ["no room", "no room"]


def test_a_caller_that_is_stopped_leaves_the_queue(design, larger_than_memory):
    with Team(1) as team:
        shared, flag, ended = SharedReader(team), stop.Flag(), []
        shared.enter(2)

        def run():
            stop.obey(flag)
            try:
                shared.read(design, value_gradient(0))
            except stop.Stopped:
                ended.append(True)

        thread = threading.Thread(target=run)
        thread.start()
        time.sleep(0.05)
        flag.set()
        thread.join(timeout=5.0)
        assert ended == [True]
        shared.enter(-1)
        assert np.isfinite(shared.read(design, value_gradient(1)).value)


def test_a_small_matrix_is_read_at_once_by_whoever_wants_it(design):
    with Team(1) as team:
        shared = SharedReader(team)
        shared.enter(2)
        assert np.isfinite(shared.read(design, value_gradient(1)).value)


def test_reading_ahead_yields_every_batch_and_ends_with_its_caller(tmp_path, design):
    path = tmp_path / "design.npy"
    np.save(path, design)
    mapped = np.load(path, mmap_mode="r")
    batches = [[part] for part in parts_of(len(mapped), mapped[:1].nbytes)]
    for every in (1, 2, 50):  # all rows, most, few
        needed = np.arange(len(mapped)) % every == 0
        with reading_ahead(mapped, batches, needed) as walk:
            assert list(walk) == batches
    before = threading.active_count()
    with reading_ahead(mapped, batches, needed) as walk:
        assert next(iter(walk)) == batches[0]
    assert threading.active_count() <= before


@pytest.mark.parametrize("is_large", [False, True])
def test_values_of_scattered_rows_are_those_of_the_matrix(tmp_path, design, monkeypatch, is_large):
    monkeypatch.setattr(readers, "is_larger_than_memory", lambda design: is_large)
    np.save(tmp_path / "design.npy", design)
    mapped, rows, columns = np.load(tmp_path / "design.npy", mmap_mode="r"), np.array([3, 700, 1499]), np.array([0, 39])
    np.testing.assert_array_equal(readers.read_values(mapped, rows), design[rows])
    np.testing.assert_array_equal(readers.read_values(mapped, rows, columns), design[rows[:, None], columns])
    assert readers.read_values(mapped, rows[:0], columns).shape == (0, 2)
    assert readers.read_values(mapped, rows, columns[:0]).shape == (3, 0)
