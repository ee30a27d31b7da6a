"""Normalising spectra in several processes, with a journal to go on from."""

import errno
import subprocess
import sys

import pytest

from spfast.data.ingest import ingest
from spfast.data.spectra import workers
from spfast.data.spectra.chunk import LN_FLUX_ERROR
from spfast.data.spectra.workers import _Worker
from spfast.errors import BadInputError


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
    with pytest.raises(RuntimeError, match="a worker process ended with code 1"):
        worker.normalize(0, [])
    with pytest.raises(RuntimeError, match="a worker process ended with code 1"):
        worker.normalize(7, [])
    worker.close()


def test_a_journal_counts_only_with_both_raw_files(tmp_path):
    journal = workers.Journal(tmp_path / "work")
    journal.begin({"fingerprint": "x"}, n_spectra=2)
    head, records = journal.read()
    assert (head["fingerprint"], records) == ("x", [])
    (tmp_path / "work" / LN_FLUX_ERROR).unlink()
    assert journal.read() == (None, [])


def test_a_full_disk_under_the_raw_files_is_one_line(download, tmp_path, config, monkeypatch):
    def full(file, rows):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("spfast.data.spectra.chunk._write_all", full)
        with pytest.raises(BadInputError, match=r"ln_flux\.f32: cannot be written \(No space left on device\)"):
            ingest(*download, tmp_path / "out", config=config, quiet=True)
    assert ingest(*download, tmp_path / "out", config=config, quiet=True).n_stars == 12
