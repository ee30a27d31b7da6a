"""Outputs: never an input, never anything but the output; their modes and links survive; names from files are tame."""

import gzip
import os
import shutil
import signal
import stat
import time

import numpy as np
import pytest
from astropy.table import Table

from spfast import cli
from spfast.cli.outputs import one_line
from spfast.data.tables.read import read_table
from spfast.data.tables.write import verify_table, write_table
from spfast.errors import BadInputError
from spfast.files import new_file, new_folder
from spfast.kernels.team import resolve_threads
from spfast.lock import hold

NASTY = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "plain", "2M=1", "a$b\\c"]


@pytest.fixture
def place(work, tmp_path):
    """A copy of the folder that may be changed."""
    shutil.copytree(work, tmp_path / "work")
    return tmp_path / "work"


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "words",
    [
        ("catalog", "survey", "-o", "survey/stars.fits"),
        ("catalog", "survey", "-o", "link.fits"),
        ("fit", "survey", "-o", "survey/low_rank.npz"),
        ("validate", "catalog.fits", "-o", "catalog.fits"),
        ("validate", "catalog.fits", "--truth", "truth.fits", "-o", "truth.fits"),
        ("validate", "catalog.fits", "--compare", "other.fits", "-o", "./other.fits"),
        ("rebuild", "catalog.fits", "--survey", "survey", "-o", "catalog.fits"),
        ("tune", "survey", "-o", "survey/rejected.ecsv", "--penalties", "20", "--zero-points", "0"),
    ],
)
def test_input_is_not_overwritten(place, refused, monkeypatch, words):
    (place / "link.fits").symlink_to(place / "survey" / "stars.fits")
    shutil.copy(place / "catalog.fits", place / "other.fits")
    monkeypatch.chdir(place)
    before = content(place)
    assert "is read by this command and would be lost; choose another output" in refused(*words, "--overwrite")
    assert content(place) == before


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_mode_of_a_replaced_output_stays(place, run, mode):
    out = place / "catalog.fits"
    out.chmod(mode)
    assert run("catalog", place / "survey", "-o", out, "--overwrite", "--quiet") == 0
    assert stat.S_IMODE(out.stat().st_mode) == mode


def test_output_through_a_link_goes_where_it_leads(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out.csv").symlink_to("disk/real.csv")
    for value in (1, 2):
        write_table(Table({"a": [value]}), tmp_path / "out.csv", overwrite=True)
        assert (tmp_path / "out.csv").is_symlink()
        assert read_table(tmp_path / "disk" / "real.csv")["a"].tolist() == [value]
    assert os.listdir(tmp_path / "disk") == ["real.csv"]


def test_folder_through_a_link_goes_where_it_leads(tmp_path):
    (tmp_path / "disk").mkdir(mode=0o750)
    (tmp_path / "out").symlink_to("disk")
    with new_folder(tmp_path / "out") as folder:
        (folder / "a").touch()
    assert (tmp_path / "out").is_symlink()
    assert os.listdir(tmp_path / "disk") == ["a"]
    assert stat.S_IMODE((tmp_path / "disk").stat().st_mode) == 0o750


@pytest.mark.parametrize("how", ["removed", "of another"])
@pytest.mark.parametrize("make", [new_file, new_folder])
def test_lock_taken_away_is_noticed_before_the_output_gets_its_name(tmp_path, make, how):
    path, lock = tmp_path / "out", tmp_path / ".out.lock"

    def write():
        with hold(path), make(path) as partial:
            (partial / "a" if make is new_folder else partial).touch()
            lock.unlink()
            if how == "of another":
                lock.touch()

    with pytest.raises(BadInputError, match=r"its lock \.out\.lock was removed, and another process may be writing"):
        write()
    assert os.listdir(tmp_path) == ([".out.lock"] if how == "of another" else [])


def test_packed_table_is_verified(place, run, capsys):
    packed = place / "catalog.fits.gz"
    packed.write_bytes(gzip.compress((place / "catalog.fits").read_bytes()))
    assert run("info", packed, "--verify") == 0
    damaged = bytearray((place / "catalog.fits").read_bytes())
    damaged[-3000] ^= 1
    packed.write_bytes(gzip.compress(bytes(damaged)))
    with pytest.raises(BadInputError, match="changed since it was written"):
        verify_table(packed)


def test_threads_are_capped():
    assert resolve_threads(10**9) == resolve_threads(1000) == 4 * resolve_threads(None)


def test_text_is_no_formula_in_csv(tmp_path):
    write_table(Table({"name": NASTY, "x": -np.arange(8.0)}), tmp_path / "t.csv")
    names = Table.read(tmp_path / "t.csv", format="ascii.csv")["name"].tolist()
    assert [name[0] for name in names[:5]] == ["'"] * 5
    assert names[5:] == NASTY[5:]
    assert read_table(tmp_path / "t.csv")["x"].tolist() == (-np.arange(8.0)).tolist()
    write_table(Table({name: [1] for name in NASTY}), tmp_path / "names.csv")
    header = (tmp_path / "names.csv").read_text().splitlines()[0]
    assert header.replace('"', "").split(",") == [f"'{name}" for name in NASTY[:5]] + NASTY[5:]
    write_table(Table({"name": NASTY}), tmp_path / "t.fits")
    assert read_table(tmp_path / "t.fits")["name"].tolist() == NASTY


@pytest.mark.parametrize("length", [10, 600, 601, 10**6])
def test_message_is_a_line_whatever_the_file_holds(length):
    line = one_line("a\n\x1b[2J" + "x" * length + "; do this")
    assert len(line) < 620
    assert line.isprintable()
    assert line.startswith("a ?[2J")
    assert line.endswith("; do this")


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_leaves_nothing_behind(tmp_path, monkeypatch, first, second):
    def work(args):
        with hold(tmp_path / "out"), new_file(tmp_path / "out") as partial:
            partial.touch()
            try:
                signal.raise_signal(first)
            finally:
                for _ in range(3):
                    signal.raise_signal(second)
                    time.sleep(0.02)

    class Parser:
        def parse_args(self, argv):
            return type(
                "Args", (), {"debug": False, "quiet": False, "log": None, "command": "", "run": staticmethod(work)}
            )

    monkeypatch.setattr(cli, "make_parser", Parser)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert cli.main([]) == (143 if first == signal.SIGTERM else 130)
    finally:
        signal.signal(signal.SIGINT, before)
    assert os.listdir(tmp_path) == []
