"""Normalising spectra in several processes, with a journal to go on from."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from spfast import cli
from spfast.data.ingest import ingest
from spfast.data.row_files import RowFiles
from spfast.data.spectra import workers
from spfast.data.spectra.chunk import FeatureRows
from spfast.data.spectra.workers import _Worker
from spfast.data.survey import open_survey
from spfast.errors import BadInputError, SpfastError
from spfast.files import RecordFile
from spfast.model.layout import FeatureLayout


def test_one_process_and_several_give_the_same_bytes(download, tmp_path, config, monkeypatch):
    monkeypatch.setattr(workers, "CHUNK", 3)
    one = ingest(*download, tmp_path / "one", config=config, threads=1, quiet=True)
    monkeypatch.setattr(workers, "_CHUNKS_PER_PROCESS", 1)
    two = ingest(*download, tmp_path / "two", config=config, threads=2, quiet=True)
    assert one.survey_hash == two.survey_hash


def test_ingest_with_processes_works_in_a_script_without_a_guard(download, tmp_path, config):
    script = f"""
import spfast.data.spectra.workers as workers
from spfast.config import load_config
from spfast import cli
from spfast.data.ingest import ingest
workers.CHUNK, workers._CHUNKS_PER_PROCESS = 3, 1
config = load_config(overrides={{"normalization": {{"continuum_file": {config.normalization.continuum_file!r}}}}})
print(ingest({str(download[0])!r}, {str(download[1])!r}, {str(download[2])!r}, {str(tmp_path / "out")!r},
             config=config, threads=2, quiet=True))
"""
    done = subprocess.run([sys.executable, "-"], input=script, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert "12 stars x 7460 features" in done.stdout


def test_a_worker_that_dies_is_noticed():
    worker = _Worker({})  # a job without a folder: the worker ends with an error of its own
    with pytest.raises(SpfastError, match="a worker process ended with code 1"):
        worker.make(0, [], ())
    with pytest.raises(SpfastError, match="a worker process ended with code 1"):
        worker.make(7, [], ())
    worker.close()


@pytest.fixture
def many_chunks(monkeypatch):
    monkeypatch.setattr(workers, "CHUNK", 3)
    monkeypatch.setattr(workers, "_CHUNKS_PER_PROCESS", 1)


def test_killed_worker_ends_in_one_line_and_the_next_run_goes_on(
    download, tmp_path, config, many_chunks, monkeypatch, capsys
):
    whole = ingest(*download, tmp_path / "whole", config=config, threads=1, quiet=True)
    make, calls = _Worker.make, []

    def kills_the_third(self, start, *chunk):
        calls.append(start)
        if len(calls) == 3:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
        return make(self, start, *chunk)

    words = [
        "--allstar",
        download[0],
        "--spectra",
        download[1],
        "--gaia",
        download[2],
        "-o",
        tmp_path / "out",
        "--threads",
        "2",
    ]
    (tmp_path / "c.toml").write_text(f"[normalization]\ncontinuum_file = {config.normalization.continuum_file!r}\n")
    words = ["ingest", *map(str, words), "--quiet", "--config", str(tmp_path / "c.toml")]
    with monkeypatch.context() as patch:
        patch.setattr(_Worker, "make", kills_the_third)
        assert cli.main(words) == 1
    said = capsys.readouterr().err
    assert said.startswith("spfast: a worker process was ended by signal 9")
    assert "run the same command again: it goes on from here, with fewer --threads" in said
    assert said.count("\n") == 1
    assert cli.main(words) == 0
    assert "going on" not in capsys.readouterr().err
    assert open_survey(tmp_path / "out").survey_hash == whole.survey_hash


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_does_not_wait_for_a_chunk(tmp_path, monkeypatch, number):
    """A chunk that takes minutes, in workers that do not hear of Ctrl-C."""
    program = "import sys, time; sys.stdin.buffer.read(1); time.sleep(600)"
    popen, started = subprocess.Popen, []

    def slow(words, **options):
        started.append(popen([sys.executable, "-c", program], **options))
        return started[-1]

    monkeypatch.setattr(workers.subprocess, "Popen", slow)
    monkeypatch.setattr(workers, "_CHUNKS_PER_PROCESS", 1)
    before = signal.signal(number, signal.default_int_handler)
    timer = threading.Timer(0.5, signal.pthread_kill, (threading.get_ident(), number))
    try:
        timer.start()
        begin = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            list(workers._serve({}, [(0, [], ()), (1, [], ()), (2, [], ())], 2))
        assert time.monotonic() - begin < 2.5
    finally:
        timer.cancel()
        signal.signal(number, before)
    assert [process.poll() for process in started] == [-signal.SIGKILL] * 2


def test_a_full_disk_under_the_arrays_is_one_line(download, tmp_path, config, monkeypatch):
    def full(file, rows):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("spfast.data.row_files._write_all", full)
        with pytest.raises(BadInputError, match=r"features\.npy: cannot be written \(No space left on device\)"):
            ingest(*download, tmp_path / "out", config=config, quiet=True)
    assert ingest(*download, tmp_path / "out", config=config, quiet=True).n_stars == 12


# An interrupted ingest goes on only from what is whole


@pytest.fixture
def interrupted(download, tmp_path, config, monkeypatch):
    """Return a function that resumes a build with chunks 0, 3 and 6 of four; it gives the survey and what it made."""
    whole = ingest(*download, tmp_path / "whole", config=config, threads=1, quiet=True)
    monkeypatch.setattr(workers, "CHUNK", 3)
    serve, made = workers._serve, []

    def stops_after_three(job, chunks, threads):
        for number, record in enumerate(serve(job, chunks, threads)):
            if number == 3:
                raise KeyboardInterrupt
            yield record

    with monkeypatch.context() as patch:
        patch.setattr(workers, "_serve", stops_after_three)
        with pytest.raises(KeyboardInterrupt):
            ingest(*download, tmp_path / "out", config=config, threads=1, quiet=True)

    def counts(job, chunks, threads):
        chunks = list(chunks)
        made.extend(start for start, *_ in chunks)
        return serve(job, chunks, threads)

    def resume(**options):
        monkeypatch.setattr(workers, "_serve", counts)
        survey = ingest(*download, tmp_path / "out", **{"config": config, "quiet": True} | options)
        assert survey.survey_hash == whole.survey_hash
        return made

    return resume


def test_chunks_that_are_whole_are_not_made_again(interrupted):
    assert interrupted() == [9]


@pytest.fixture(scope="module")
def journal_of_four(tmp_path_factory):
    """The folder of a build of 12 spectra in four chunks, all of them in its journal; the last of each failed."""
    work = tmp_path_factory.mktemp("build") / "work"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "CHUNK", 3)
        journal = workers.Journal(work)
        journal.begin({"fingerprint": "x", "continuum": [1, 2, 3]}, n_spectra=12)
        for start in range(0, 12, 3):
            record = {"start": start, "n": 3, "n_bad": [1, 2], "n_unnormalized": 1, "failed": [[2, "dark"]]}
            journal.add([record | {"checksums": [1, 2, 3]}], NoRows())
        assert len(journal.read()[1]) == 4
    return work


class NoRows:
    def put_on_disk(self):
        pass


@pytest.fixture
def work(journal_of_four, tmp_path, monkeypatch):
    """A copy of it, which a test may change."""
    monkeypatch.setattr(workers, "CHUNK", 3)
    return shutil.copytree(journal_of_four, tmp_path / "work")


def starts(work):
    head, records = workers.Journal(work).read()
    return None if head is None else [record["start"] for record in records]


@pytest.mark.parametrize("name", ["features", "feature_errors", "unmeasured"])
@pytest.mark.parametrize("row", [0, 4, 8])
def test_chunk_whose_rows_changed_is_made_again_with_those_after_it(interrupted, tmp_path, name, row):
    array = np.lib.format.open_memmap(tmp_path / "out.partial" / f"{name}.npy", "r+")
    array[row, 12] += 1
    array.flush()
    del array
    assert interrupted() == [start for start in (0, 3, 6, 9) if start >= row // 3 * 3]


@pytest.mark.parametrize("name", ["features", "feature_errors"])
def test_rows_without_one_of_their_files_are_made_again(interrupted, tmp_path, name):
    (tmp_path / "out.partial" / f"{name}.npy").unlink()
    assert interrupted() == [0, 3, 6, 9]


def test_rows_that_a_power_cut_left_as_zeros_are_made_again(interrupted, tmp_path):
    array = np.lib.format.open_memmap(tmp_path / "out.partial" / "features.npy", "r+")
    array[3:] = 0
    array.flush()
    del array
    assert interrupted() == [3, 6, 9]


def test_rows_written_in_two_goes_are_those_of_one(tmp_path):
    """Rows of spectra that cannot be used are left out; a magnitude that was filled in later is lacking again."""
    layout = FeatureLayout(np.arange(300, 340), magnitudes=("G", "K"))
    rng = np.random.default_rng(3)

    def chunk(start, failed):
        values, errors = rng.normal(size=(2, 4 - len(failed), layout.n_features)).astype(np.float32)
        values[0, 1] = np.nan
        bits = rng.integers(0, 255, (4 - len(failed), 5)).astype(np.uint8)
        failures, n_bad = dict.fromkeys(failed, "dark"), np.zeros(4 - len(failed), np.int32)
        return FeatureRows(start, 4, n_bad, failures, 0, values, errors.astype(np.float16), bits)

    chunks = [chunk(0, [1]), chunk(4, []), chunk(8, [0, 3])]
    expected = [np.concatenate([rows[part] for rows in chunks]) for part in (5, 6, 7)]
    names = [tmp_path / f"{name}.npy" for name in ("features", "feature_errors", "unmeasured")]
    with RowFiles(tmp_path, layout, 12) as rows:
        checksums = [rows.append(some) for some in chunks]
        rows.finish()
    for name, values in zip(names, expected, strict=True):
        np.testing.assert_array_equal(np.load(name), values)
        np.save(tmp_path / "whole.npy", values)
        assert name.read_bytes() == (tmp_path / "whole.npy").read_bytes()
    features = np.lib.format.open_memmap(names[0], "r+")
    features[0, 1] = 12.0
    features.flush()
    with RowFiles(tmp_path, layout, 12) as rows:
        for some, sums in zip(chunks[:2], checksums, strict=False):
            own = some.features[:, 1:3], some.feature_errors[:, 1:3]
            assert rows.take(some.good.size, sums, own)
        assert not rows.take(2, [0, 0, 0], (chunks[2].features[:, 1:3], chunks[2].feature_errors[:, 1:3]))
        assert rows.append(chunks[2]) == checksums[2]
        rows.finish()
    for name, values in zip(names, expected, strict=True):
        np.testing.assert_array_equal(np.load(name), values)


def rewrite(work, edit):
    """Change a journal's records under right checksums."""
    file = RecordFile(work / "journal.jsonl")
    head, *records = file.read()
    head, *records = edit(head, records)
    file.begin(head)
    file.append(records)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("start", 4),
        ("start", -3),
        ("start", 30),
        ("start", "0"),
        ("start", None),
        ("n", 2),
        ("n", 3.0),
        ("n_bad", [1, 2, 3]),
        ("n_bad", [1, -1]),
        ("n_bad", [1, 9999]),
        ("n_bad", "abc"),
        ("n_unnormalized", 4),
        ("n_unnormalized", True),
        ("failed", {}),
        ("failed", [[3, "gone"]]),
        ("failed", [[0, 7]]),
        ("failed", [0]),
        ("failed", []),
        ("checksums", None),
    ],
)
def test_record_with_a_right_checksum_and_wrong_content_does_not_count(work, key, value):
    rewrite(
        work,
        lambda head, records: [head, records[0], records[1] | {key: value}, *records[2:]],
    )
    assert starts(work) == [0]


@pytest.mark.parametrize("record", [None, 7, "x", [], {}, {"start": 3}])
def test_record_that_is_none_of_ours_does_not_count(work, record):
    rewrite(work, lambda head, records: [head, records[0], record, *records[2:]])
    assert starts(work) == [0]


def test_chunk_that_is_recorded_twice_counts_once(work):
    rewrite(work, lambda head, records: [head, *records, *records])
    assert starts(work) == [0, 3, 6, 9]


@pytest.mark.parametrize(
    "edit",
    [
        lambda head: [],
        lambda head: None,
        lambda head: head | {"fingerprint": 7},
        lambda head: head | {"n_spectra": -7},
        lambda head: head | {"n_spectra": "x"},
        lambda head: head | {"continuum": None},
        lambda head: head | {"continuum": ["x"]},
        lambda head: {"fingerprint": head["fingerprint"]},
    ],
)
def test_journal_whose_first_record_is_wrong_does_not_count(work, edit):
    rewrite(work, lambda head, records: [edit(head), *records])
    assert starts(work) is None


def test_journal_with_other_continuum_pixels_than_the_builds_does_not_count(interrupted, tmp_path):
    work = tmp_path / "out.partial" / "work"
    rewrite(work, lambda head, records: [head | {"continuum": head["continuum"][1:]}, *records])
    assert interrupted() == [0, 3, 6, 9]


def test_line_with_a_right_checksum_that_is_no_json_ends_the_journal(tmp_path):
    file = RecordFile(tmp_path / "journal.jsonl")
    file.begin({"a": 1})
    from spfast.files import _checksum

    for text in (b"{", b"[" * 100_000, b"\xff"):
        with open(file.path, "ab") as out:
            out.write(_checksum(text) + b" " + text + b"\n")
        assert file.read() == [{"a": 1}]


def test_another_version_of_spfast_starts_an_interrupted_build_anew(interrupted, monkeypatch):
    monkeypatch.setattr("spfast.__version__", "99.0")
    assert interrupted() == [0, 3, 6, 9]


def test_survey_that_another_version_built_is_refused_by_its_version(download, tmp_path, config, monkeypatch):
    ingest(*download, tmp_path / "out", config=config, quiet=True)
    monkeypatch.setattr("spfast.__version__", "99.0")
    with pytest.raises(
        BadInputError, match=r"exists and was built by spfast .*, not 99\.0; remove it or choose another"
    ):
        ingest(*download, tmp_path / "out", config=config, quiet=True)


# Workers under odd conditions


def test_what_the_sites_start_up_files_print_is_not_taken_for_an_answer(download, tmp_path, config, monkeypatch):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text("print('welcome to the cluster')\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setattr(workers, "CHUNK", 3)
    monkeypatch.setattr(workers, "_CHUNKS_PER_PROCESS", 1)
    assert ingest(*download, tmp_path / "out", config=config, threads=2, quiet=True).n_stars == 12


@pytest.mark.parametrize("executable", ["", None])
def test_without_a_python_to_start_one_process_does_the_work(download, tmp_path, config, monkeypatch, executable):
    monkeypatch.setattr(workers, "CHUNK", 3)
    monkeypatch.setattr(workers, "_CHUNKS_PER_PROCESS", 1)
    monkeypatch.setattr(sys, "executable", executable)
    assert ingest(*download, tmp_path / "out", config=config, threads=2, quiet=True).n_stars == 12


def test_worker_that_cannot_be_started_is_one_line_and_the_build_can_go_on(download, tmp_path, config, monkeypatch):
    monkeypatch.setattr(workers, "CHUNK", 3)
    monkeypatch.setattr(workers, "_CHUNKS_PER_PROCESS", 1)

    def refuse(*_, **__):
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(BadInputError, match=r"cannot be started \(Resource temporarily unavailable\); .*--threads 1"):
        ingest(*download, tmp_path / "out", config=config, threads=2, quiet=True)
    assert ingest(*download, tmp_path / "out", config=config, threads=1, quiet=True).n_stars == 12
