"""Workers of a cluster give the bits that one machine gives, whatever becomes of them."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from low_rank_survey import low_rank_survey
from small_survey import write_download

import spfast
from spfast.cli import main
from spfast.errors import BadInputError, SpfastError
from spfast.kernels.team import Team
from spfast.model.predict import predictors_of_rows
from spfast.reads import by_path, cluster, tasks
from spfast.reads.by_path import ArrayFiles, open_place, unpack
from spfast.reads.cluster import on_cluster
from spfast.reads.jobs import ValueGradient, WeightedGram
from spfast.reads.reader import Reader, reader_of, side_by_side
from spfast.reads.rows import OfRows, map_rows

distributed = pytest.importorskip("distributed", reason="needs dask (pip install 'spfast[dask]')")

N_STARS, N_FEATURES = 1500, 40
WORKERS = (1, 2, 4)


@pytest.fixture(scope="module")
def local():
    """A cluster of processes, and a client of it."""
    options = {"threads_per_worker": 1, "memory_limit": 0, "dashboard_address": ":0", "silence_logs": 50}
    with distributed.LocalCluster(n_workers=1, **options) as processes, distributed.Client(processes) as client:
        yield processes, client


@pytest.fixture
def workers(local):
    """A client of as many workers as one wants."""
    processes, client = local

    def scale(n_workers):
        processes.scale(n_workers)
        deadline = time.monotonic() + 60.0
        while len(client.nthreads()) != n_workers and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(client.nthreads()) == n_workers
        return client

    return scale


@pytest.fixture
def send_all(monkeypatch):
    monkeypatch.setattr(cluster, "_WORTH_SENDING", 70_000)  # the survey's features, not what is made of them


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    return low_rank_survey(tmp_path_factory.mktemp("survey") / "survey", 200)


def jobs_of(seed):
    rng = np.random.default_rng(seed)
    rows, columns = np.arange(seed, N_STARS, 2), np.arange(4, 30)
    parallax, ivar = rng.normal(1, 0.3, rows.size), rng.uniform(1, 9, rows.size)
    explained = rng.normal(size=(3, columns.size)).astype(np.float32)
    whiten = np.asfortranarray(rng.normal(size=(3, 3)))
    return [
        ValueGradient(rows, parallax, ivar, rng.normal(0, 0.3, N_FEATURES), np.arange(2)),
        WeightedGram(rows, rng.normal(1, 1, rows.size), np.arange(3), whiten, columns, explained, begin=0),
        OfRows(np.arange(5, 900), predictors_of_rows, (rng.normal(size=(2, N_FEATURES)),)),
    ]


@pytest.fixture(scope="module")
def design():
    return np.random.default_rng(1).normal(0, 0.3, (N_STARS, N_FEATURES)).astype(np.float32)


def whole(result):
    """A result with what comes part by part in one piece."""
    if isinstance(result, tuple):
        is_parts = all(isinstance(piece, np.ndarray) for piece in result)
        return np.concatenate(result) if is_parts else [whole(piece) for piece in result]
    return result


def same(one, other):
    pairs = zip(
        np.atleast_1d(np.asarray(whole(one), object)), np.atleast_1d(np.asarray(whole(other), object)), strict=True
    )
    return all(np.array_equal(a, b) for a, b in pairs)


def tables_differ(one, other):
    """The columns in which two tables differ, and their headers if they do."""
    differ = [name for name in one.colnames if not _same_column(one[name], other[name])]
    return differ + [key for key in one.meta if str(one.meta[key]) != str(other.meta[key])]


def _same_column(one, other):
    one, other = np.asarray(one), np.asarray(other)
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


def raw(**fit):
    return spfast.Config().replace(fit={"penalty": 100.0, "pixels": "raw", **fit})


@pytest.mark.parametrize("n_workers", WORKERS)
@pytest.mark.parametrize("array_bytes", [1 << 16, 0], ids=["inline", "by path"])
def test_a_read_has_the_same_bits(design, workers, send_all, monkeypatch, tmp_path, n_workers, array_bytes):
    monkeypatch.setattr(by_path, "_ARRAY_BYTES", array_bytes)
    jobs = jobs_of(0) + jobs_of(1)
    with Team(1) as team, on_cluster(workers(n_workers), tmp_path):
        together = side_by_side([lambda threads, job=job: reader_of(team).read(design, job) for job in jobs], design)
        for job, found in zip(jobs, together, strict=True):
            assert same(Reader(team).read(design, job), found)
    assert list(tmp_path.iterdir()) == []


def test_a_catalog_of_pixels_has_the_same_bits(survey, workers, send_all):
    alone = spfast.make_catalog(survey, config=raw())
    assert tables_differ(alone, spfast.make_catalog(survey, config=raw(), cluster=workers(WORKERS[-1]))) == []


def test_a_catalog_of_a_low_rank_model_has_the_same_bits(survey, workers, send_all):
    config = raw(pixels="low-rank", rank=3, products=2)
    alone = spfast.make_catalog(survey, config=config)
    assert tables_differ(alone, spfast.make_catalog(survey, config=config, cluster=workers(2))) == []


def test_a_tuning_has_the_same_bits_and_predictions_too(survey, workers, send_all):
    grid = {"penalties": [50.0, 200.0], "zero_points": [0.0483], "config": raw()}
    alone, found = (spfast.tune(survey, **grid, cluster=client)[1] for client in (None, workers(2)))
    assert tables_differ(alone, found) == []
    model = spfast.load_model(_fit(survey, survey.path.parent / "model.npz"))
    alone, found = (spfast.predict_survey(model, survey, cluster=client) for client in (None, workers(2)))
    assert tables_differ(alone, found) == []


def _fit(survey, path):
    from spfast.training.fold import fit_stars

    fit_stars(survey, raw()).save(path)
    return path


def test_a_worker_that_is_killed_in_a_fit_costs_time_alone(survey, workers, send_all, monkeypatch):
    alone, client = spfast.make_catalog(survey, config=raw()), workers(2)
    pids, read, n_reads = client.run(os.getpid), cluster.ClusterReader._read, []

    def kill_at_the_third(self, design, jobs):
        n_reads.append(len(jobs))
        if len(n_reads) == 3:
            threading.Timer(0.02, os.kill, (next(iter(pids.values())), signal.SIGKILL)).start()
        return read(self, design, jobs)

    monkeypatch.setattr(cluster.ClusterReader, "_read", kill_at_the_third)
    assert tables_differ(alone, spfast.make_catalog(survey, config=raw(), cluster=client)) == []
    assert len(n_reads) > 3


def test_folds_on_a_cluster_share_their_reads(survey, workers, send_all, monkeypatch):
    from spfast.training.fold import fit_folds

    read, shared = cluster.ClusterReader._read, []

    def count(self, design, jobs):
        if design.shape == survey.features.shape:
            shared.append(len(jobs))
        return read(self, design, jobs)

    monkeypatch.setattr(cluster.ClusterReader, "_read", count)
    fit_folds(survey, raw(), cluster=workers(2))
    assert np.mean(shared) > 2.0


def worker_of(matrix, rows, team):
    from distributed import get_worker

    return np.array([(row, hash(get_worker().address), team.threads) for row in rows])


def test_rows_are_mapped_in_order_and_each_share_goes_to_the_same_worker_again(design, workers, send_all, tmp_path):
    rows = np.random.default_rng(0).permutation(N_STARS)[:700]
    with on_cluster(workers(2), tmp_path):
        first, again = (map_rows(worker_of, design, rows, threads=1) for _ in range(2))
    assert np.array_equal(first, again)
    assert np.array_equal(first[:, 0], rows)
    assert set(first[:, 2]) == {1}
    by_row = first[np.argsort(rows), 1]
    assert np.count_nonzero(np.diff(by_row)) == 1


def power_of(base, threads):
    return lambda exponent: (base["base"] ** exponent, os.getpid())


def test_a_stream_of_items_is_worked_on_by_all_workers_and_comes_back_in_order(workers, tmp_path):
    client = workers(2)
    pids = set(client.run(os.getpid).values())
    assert cluster.this_cluster() is None
    with on_cluster(client, tmp_path):
        found = list(cluster.this_cluster().stream(power_of, {"base": 2}, ((n,) for n in range(50))))
    assert [value for value, _ in found] == [2**n for n in range(50)]
    assert {pid for _, pid in found} == pids


def test_coordinates_of_spectra_have_the_same_bits(survey, workers, send_all, tmp_path):
    model, first = survey.low_rank[0], survey.layout.n_unpenalized
    spectra = survey.features[:, first:], survey.feature_errors[:, first:], survey.unmeasured
    alone = model.coordinates(*spectra)
    with on_cluster(workers(2), tmp_path):
        found = model.coordinates(*spectra)
    for one, other in zip(
        (alone.mean, *alone.roots, alone.misfit), (found.mean, *found.roots, found.misfit), strict=True
    ):
        assert np.array_equal(one, other)


@pytest.fixture
def far(tmp_path):
    """A scheduler and a worker that this process has not made: the scheduler, and its file."""
    where, options = tmp_path / "scheduler.json", {"stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    options["env"] = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    parts = {"scheduler": ["--port", "0", "--no-dashboard"], "worker": ["--nthreads", "1", "--no-dashboard"]}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{part}", *words, "--scheduler-file", str(where)], **options
        )
        for part, words in parts.items()
    ]
    yield processes[0], where
    for process in processes:
        process.terminate()
        process.wait()


def test_the_command_takes_a_scheduler_file_and_says_in_a_line_that_the_scheduler_is_lost(
    survey, far, send_all, monkeypatch, tmp_path, capsys
):
    scheduler, where = far
    alone, found, lost = (tmp_path / f"{name}.npz" for name in ("alone", "found", "lost"))
    monkeypatch.chdir(survey.path.parent)
    words = ["fit", survey.path.name, "--pixels", "raw", "--penalty", "100", "--fold", "A", "--quiet"]
    assert main([*words, "-o", str(alone)]) == 0
    assert main([*words, "-o", str(found), "--cluster", str(where)]) == 0
    assert found.read_bytes() == alone.read_bytes()
    read, n_reads = cluster.ClusterReader._read, []

    def kill_at_the_third(self, design, jobs):
        n_reads.append(len(jobs))
        if len(n_reads) == 3:
            scheduler.kill()
        return read(self, design, jobs)

    monkeypatch.setattr(cluster.ClusterReader, "_read", kill_at_the_third)
    capsys.readouterr()
    assert main([*words, "-o", str(lost), "--cluster", str(where)]) == 1
    line = "spfast: the scheduler of the cluster is lost; run the same command again: it goes on from what is done\n"
    assert capsys.readouterr().err == line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone.npz", "found.npz", "scheduler.json"]


def test_what_is_no_cluster_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "_ANSWER", 1.0)
    for wrong, words in (
        ("local:many", "expected a number of processes"),
        ("tcp://127.0.0.1:1", "no scheduler of a cluster answers"),
        ("nonsense://", "no scheduler of a cluster answers"),
        (7, "expected a dask client"),
    ):
        with pytest.raises(BadInputError, match=words), on_cluster(wrong, tmp_path):
            pass


def test_workers_of_another_version_are_refused(workers, tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, "__version__", "0.0.1")
    tasks.identity.cache_clear()
    with (
        pytest.raises(BadInputError, match=r"the cluster has spfast .*, this process 0\.0\.1; start the workers from"),
        on_cluster(workers(1), tmp_path),
    ):
        pass
    tasks.identity.cache_clear()


def test_a_file_that_a_worker_sees_otherwise_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(2000.0).reshape(20, 100))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    with ArrayFiles(tmp_path) as files:
        place = files.matrix(mapped)
        assert place.path == str(tmp_path / "a.npy")
        assert np.array_equal(open_place(place).array, mapped)
        part = files.matrix(mapped[3:9, 5:])
        assert np.array_equal(open_place(part).array, mapped[3:9, 5:])
        os.remove(tmp_path / "a.npy")
        open_place.cache_clear()
        with pytest.raises(BadInputError, match=r"cannot be read by a worker on .*shared disk"):
            open_place(place)
        np.save(tmp_path / "a.npy", np.zeros((20, 100)))
        with pytest.raises(BadInputError, match="is another file for a worker"):
            open_place(place)


def test_what_is_packed_comes_back_as_it_was(tmp_path):
    large = np.asfortranarray(np.random.default_rng(0).normal(size=(300, 200)))
    thing = {"large": large, "again": large, "small": np.arange(3), "text": "a"}
    with ArrayFiles(tmp_path) as files:
        first = files.pack(thing)
        found = unpack(first)
        assert np.array_equal(found["large"], large)
        assert found["large"].flags.f_contiguous
        assert found["again"] is found["large"]
        large[0, 0] = 7.0
        assert unpack(files.pack(thing))["large"][0, 0] == 7.0
    assert list(tmp_path.iterdir()) == []


def test_files_that_no_read_needs_any_more_are_removed(tmp_path):
    with ArrayFiles(tmp_path) as files:
        (folder,) = tmp_path.iterdir()
        for seed in range(3 * by_path._KEPT_READS):
            files.pack(np.random.default_rng(seed).normal(size=20_000))
        assert len(list(folder.iterdir())) <= by_path._KEPT_READS + 1
        matrix = np.ones((100, 100))
        files.matrix(matrix)
        n_files = len(list(folder.iterdir()))
        del matrix
        assert len(list(folder.iterdir())) == n_files - 1


def test_a_cluster_without_workers_is_said_to_have_none(monkeypatch, tmp_path):
    monkeypatch.setattr(cluster, "_PATIENCE", 0.5)
    options = {"dashboard_address": ":0", "silence_logs": 50}
    with (
        distributed.LocalCluster(n_workers=0, **options) as processes,
        distributed.Client(processes) as client,
        pytest.raises(SpfastError, match="the cluster has no worker; run the same command again"),
        on_cluster(client, tmp_path),
    ):
        pass


def test_an_ingest_has_the_same_bytes(send_all, tmp_path):
    allstar, spectra, gaia = write_download(tmp_path, 150)
    words = ["ingest", "--allstar", str(allstar), "--spectra", str(spectra), "--gaia", str(gaia), "--quiet"]
    for name, more in (("alone", []), ("cluster", ["--cluster", "local:2"])):
        assert main([*words, "-o", str(tmp_path / name), *more]) == 0
    names = sorted(path.name for path in (tmp_path / "alone").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "cluster").iterdir())
    for name in names:
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "cluster" / name).read_bytes(), name
