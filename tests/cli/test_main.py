"""The command as a whole: exit status, one line for each error and warning, version."""

import os
import subprocess
import sys

import numpy as np
import pytest

import spfast
from spfast.data.tables.read import read_table

OUT = ("-o", "{tmp}/out.fits")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("no such folder", ("catalog", "{tmp}/none", *OUT)),
        ("survey.json", ("catalog", "{tmp}", *OUT)),
        ("the folder", ("catalog", "{work}/survey", "-o", "{tmp}/no/out.fits")),
        ("no such model file", ("predict", "{tmp}/none.npz", "{work}/survey", *OUT)),
        ("not a whole spfast model", ("predict", "{tmp}/half.npz", "{work}/survey", *OUT)),
        ("no such file", ("validate", "{tmp}/none.fits")),
        ("has no column 2MASS_ID", ("validate", "{work}/catalog.fits", "--truth", "{tmp}/bare.ecsv")),
        ("no such file or folder", ("info", "{tmp}/none")),
        ("unknown key 'lambda'", ("catalog", "{work}/survey", *OUT, "--config", "{tmp}/bad.toml")),
        ("cannot read the configuration", ("fit", "{work}/survey", "-o", "{tmp}/m.npz", "--config", "{tmp}/x")),
        ("penalty is -1.0", ("catalog", "{work}/survey", *OUT, "--penalty", -1)),
        ("penalty 'high': expected a number or auto", ("catalog", "{work}/survey", *OUT, "--penalty", "high")),
        ("zero point 'none': expected mas", ("catalog", "{work}/survey", *OUT, "--zero-point", "none")),
        ("cannot write .xyz", ("catalog", "{work}/survey", "-o", "{tmp}/out.xyz")),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_bad_input_is_one_line_and_exit_2(work, tmp_path, refused, said, words):
    (tmp_path / "half.npz").write_bytes(b"half")
    (tmp_path / "bad.toml").write_text("[fit]\nlambda = 3\n")
    (tmp_path / "bare.ecsv").write_text("# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a, datatype: int64}\na\n1\n")
    assert said in refused(*(str(word).format(work=work, tmp=tmp_path) for word in words))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.toml", "bare.ecsv", "half.npz"]


FIT = ("fit", "survey", "-o", "model.npz")


@pytest.mark.parametrize(
    "words",
    [(), ("catalog",), ("nonsense",), (*FIT, "--threads", 0), (*FIT, "--pen", 3), (*FIT, "--fold", "C")],
    ids=lambda words: " ".join(map(str, words)) or "nothing",
)
def test_wrong_arguments_exit_2_without_a_traceback(capsys, run, words):
    with pytest.raises(SystemExit) as caught:
        run(*words)
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.fixture
def fails(monkeypatch):
    """Let ``spfast info`` fail with an error."""

    def fail_with(error):
        def open_product(path, verify):
            raise error

        monkeypatch.setattr("spfast.cli.info.open_product", open_product)

    return fail_with


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (RuntimeError("the index\nis wrong"), 1, "RuntimeError: the index is wrong (a fault of spfast; --debug"),
        (OSError(28, "No space left on device"), 1, "No space left"),
        (PermissionError(13, "Permission denied", "stars.fits"), 2, "stars.fits: Permission denied; check the path"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_error_is_one_line_and_decides_the_exit_status(work, fails, refused, error, code, said):
    fails(error)
    assert said in refused("info", work, code=code)


def test_debug_shows_the_traceback(work, fails, capsys, run):
    fails(RuntimeError("x"))
    assert run("info", work, "--debug") == 1
    assert "Traceback" in capsys.readouterr().err


def test_each_warning_is_one_line_on_standard_error(work, tmp_path, capsys, run):
    slow = tmp_path / "slow.toml"
    slow.write_text("[fit]\nmax_iterations = 1\n")
    out = tmp_path / "catalog.fits"
    assert run("catalog", work / "survey", "-o", out, "--config", slow, "--penalty", 20) == 0
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 4  # two models, and the fits for stars held out of each
    assert sum(line.startswith("spfast: warning: prox-newton ") for line in err) == 2
    assert sum(line.startswith("spfast: warning: 5 of 5 fits for held-out stars ") for line in err) == 2
    table = read_table(out)
    assert np.all(table["flags"] & 0b100000)
    assert table.meta["CONVRG_A"] is False


def test_python_m_spfast_is_the_command(work):
    done = subprocess.run(info_in_a_process(work), capture_output=True, text=True, check=True)
    assert done.stdout.startswith("what          spfast catalog")


def test_closed_pipe_exits_141_without_a_word(work):
    read, write = os.pipe()
    os.close(read)
    closed = subprocess.run(info_in_a_process(work), stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert closed.returncode == 141
    assert closed.stderr == ""


def info_in_a_process(work):
    return [sys.executable, "-m", "spfast", "info", str(work / "catalog.fits")]


def test_version_is_that_of_the_package(capsys, run):
    with pytest.raises(SystemExit) as caught:
        run("--version")
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"spfast {spfast.__version__}\n"


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from spfast.cli import make_parser; make_parser().format_help(); "
        "print({'numpy', 'numba', 'astropy', 'scipy', 'matplotlib', 'ctypes'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
