"""Every reader of a path refuses at once what it would wait for or read without end: pipes, devices, sockets, holes."""

import os
import socket

import pytest
from small_survey import write_download
from tiny import tiny_survey

from spfast.cli import main
from spfast.config import load_config
from spfast.data.allstar import read_allstar
from spfast.data.apogee import fits_library, spectrum_reader
from spfast.data.gaia import read_gaia, read_wise
from spfast.data.ingest import ingest
from spfast.data.low_rank_files import LOW_RANK_FILES
from spfast.data.row_files import RowFiles
from spfast.data.spectra.continuum import read_continuum_file
from spfast.data.survey import open_survey, verify_survey
from spfast.data.tables.read import read_table
from spfast.data.tables.write import verify_table
from spfast.data.untrusted import check_file
from spfast.errors import BadInputError
from spfast.files import RecordFile, check_regular, file_sha256
from spfast.model.fitted_model import load_model
from spfast.model.layout import FeatureLayout

#: Readers of one file, by the name of a file that they read.
READERS = {
    "allStar.fits": read_allstar,
    "gaia.fits": read_gaia,
    "gaia.vot": read_gaia,
    "wise.csv": read_wise,
    "members.ecsv": read_table,
    "truth.parquet": read_table,
    "catalog.txt.gz": read_table,
    "catalog.fits": verify_table,
    "model.npz": load_model,
    "spfast.toml": load_config,
    "pixels.txt": read_continuum_file,
    "survey.json": read_continuum_file,
    "apStar-astropy.fits": spectrum_reader("astropy"),
    "apStar-best.fits": spectrum_reader(fits_library()),
    "any": check_file,
    "hashed": file_sha256,
    "tune.jsonl": lambda path: RecordFile(path).read(),
}


def put_pipe(path):
    os.mkfifo(path)


def put_device(path):
    os.symlink("/dev/zero", path)


def put_socket(path):
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(os.path.relpath(path))  # a socket's path is short


def put_holes(path):
    with open(path, "wb") as file:
        file.write(b"SIMPLE  =                    T")
        file.truncate(1 << 40)


ODD = {put_pipe: "is a pipe", put_device: "is a device", put_socket: "is a socket", put_holes: "the rest are holes"}
odd_paths = pytest.mark.parametrize(("put", "what"), ODD.items(), ids=lambda value: getattr(value, "__name__", ""))


def refused(read, path, what):
    with pytest.raises(BadInputError, match=what) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).count(str(path)) == 1


@odd_paths
@pytest.mark.parametrize("name", READERS)
def test_odd_file_is_refused_at_once_by_the_reader_of(tmp_path, monkeypatch, name, put, what):
    monkeypatch.chdir(tmp_path)
    put(tmp_path / name)
    refused(READERS[name], tmp_path / name, what)


@odd_paths
@pytest.mark.parametrize("name", ["survey.json", "stars.fits", "features.npy", "feature_errors.npy"])
def test_odd_file_in_a_survey_is_refused_at_once(tmp_path, monkeypatch, name, put, what):
    monkeypatch.chdir(tmp_path)
    tiny_survey(tmp_path / "s", n_stars=40)
    path = tmp_path / "s" / name
    path.unlink()
    put(path)
    refused(lambda path: open_survey(path.parent), path, what)
    refused(lambda path: verify_survey(path.parent), path, what)


@odd_paths
@pytest.mark.parametrize("name", LOW_RANK_FILES)
def test_odd_file_in_a_survey_is_refused_at_once_when_it_is_first_asked_for(tmp_path, monkeypatch, name, put, what):
    monkeypatch.chdir(tmp_path)
    survey, _ = tiny_survey(tmp_path / "s", n_stars=60)
    path = tmp_path / "s" / name
    path.unlink()
    put(path)
    refused(lambda _: (survey.unmeasured, survey.low_rank), path, what)
    refused(lambda path: verify_survey(path.parent), path, what)


@odd_paths
def test_odd_table_of_ingest_is_refused_at_once_and_leaves_nothing(tmp_path, monkeypatch, put, what):
    monkeypatch.chdir(tmp_path)
    allstar, folder, gaia = write_download(tmp_path / "in", n=3)
    for number, path in enumerate((allstar, gaia)):
        whole = path.read_bytes()
        path.unlink()
        put(path)
        refused(lambda _, number=number: ingest(allstar, folder, gaia, tmp_path / f"out{number}"), path, what)
        path.unlink()
        path.write_bytes(whole)
    assert not list(tmp_path.glob("out*"))


@odd_paths
def test_odd_file_in_place_of_an_array_of_an_interrupted_ingest_is_refused_at_once(tmp_path, monkeypatch, put, what):
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "features.npy")
    if put is put_holes:
        with RowFiles(tmp_path, FeatureLayout(range(300, 310)), 2) as rows:
            assert rows.n_rows == 0
    else:
        with pytest.raises(BadInputError, match=r"features\.npy"):
            RowFiles(tmp_path, FeatureLayout(range(300, 310)), 2)


@pytest.mark.parametrize(
    "arguments",
    [
        ("info", "{}.fits"),
        ("info", "{}.npz"),
        ("validate", "{}.fits"),
        ("report", "{}.fits", "--survey", "s", "-o", "out"),
        ("fit", "s", "--config", "{}.toml", "-o", "out.npz"),
        ("catalog", "s", "--config", "{}.toml", "-o", "out.fits"),
        ("predict", "{}.npz", "s", "-o", "out.fits"),
        ("rebuild", "{}.fits", "--survey", "s", "-o", "out.fits"),
    ],
    ids=lambda arguments: "-".join(arguments[:2]),
)
def test_command_with_a_pipe_says_so_in_one_line(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    tiny_survey(tmp_path / "s", n_stars=40)
    for suffix in ("fits", "npz", "toml"):
        os.mkfifo(tmp_path / f"pipe.{suffix}")
    assert main([argument.format("pipe") for argument in arguments]) == 2
    said = capsys.readouterr().err.strip()
    assert "is a pipe, expected a regular file" in said
    assert "\n" not in said
    assert not list(tmp_path.glob("out*"))


def test_whole_files_absent_ones_folders_and_files_with_small_holes_pass(tmp_path):
    for path in (tmp_path, tmp_path / "none", tmp_path / "a\0b"):
        check_regular(path)
    (tmp_path / "part").write_bytes(b"x" * (2 << 20))
    with open(tmp_path / "part", "r+b") as file:
        file.truncate(100 << 20)  # 50 times what is there: a sparse table of zeros may be like this
    check_regular(tmp_path / "part")
    os.symlink(tmp_path / "part", tmp_path / "link")
    check_regular(tmp_path / "link")


def test_file_whose_system_knows_no_holes_passes(tmp_path, monkeypatch):
    put_holes(tmp_path / "far")
    monkeypatch.setattr(os, "lseek", lambda *_: 1 << 40)  # what a file system without holes answers
    check_regular(tmp_path / "far")
