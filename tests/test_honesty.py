"""The same numbers whatever the order of the input, the threads or the environment; warnings have names."""

import ast
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from small_survey import write_download
from tiny import tiny_survey

import spfast
from spfast import cli, errors
from spfast.data.survey import open_survey
from spfast.data.tables.read import read_table

PACKAGE = Path(spfast.__file__).parent


def run(*args):
    return cli.main([str(arg) for arg in args])


def shuffled(path, out, seed):
    table = Table.read(path)
    table[np.random.default_rng(seed).permutation(len(table))].write(out, overwrite=True)
    return out


def test_the_order_of_the_input_does_not_matter(tmp_path):
    (tmp_path / "pixels.txt").write_text("\n".join(map(str, range(0, 8575, 3))))
    (tmp_path / "mine.toml").write_text(
        f"[normalization]\ncontinuum_file = '{tmp_path / 'pixels.txt'}'\n[tune]\ninner_folds = 3\n"
    )
    allstar, spectra, gaia = write_download(tmp_path, n=60)
    # Rows that only their order tells apart would be chosen by it: two of a star with one S/N, two sources of one G.
    table = Table.read(allstar)
    again = table[:4].copy()
    again["TEFF"] += 100.0
    table = Table(np.concatenate([table.as_array(), again.as_array()]))
    table.write(allstar, overwrite=True)
    table = Table.read(gaia)
    again = table[4:8].copy()
    again["source_id"] += 1000
    again["parallax"] *= 1.1
    Table(np.concatenate([table.as_array(), again.as_array()])).write(gaia, overwrite=True)
    first = {}
    for seed in range(3):
        tables = (
            shuffled(allstar, tmp_path / f"a{seed}.fits", seed),
            shuffled(gaia, tmp_path / f"g{seed}.fits", seed + 9),
        )
        survey, threads = tmp_path / f"survey{seed}", ("--threads", 1 + seed % 2, "--quiet")
        options = ("--config", tmp_path / "mine.toml", *threads)
        assert (
            run("ingest", "--allstar", tables[0], "--gaia", tables[1], "--spectra", spectra, "-o", survey, *options)
            == 0
        )
        assert run("catalog", survey, "-o", tmp_path / f"{seed}.fits", *options) == 0
        found = {"survey": open_survey(survey).survey_hash, "catalog": (tmp_path / f"{seed}.fits").read_bytes()}
        first = first or found
        assert found == first


def test_a_fit_that_stopped_early_says_so_everywhere(tmp_path):
    survey, _ = tiny_survey(tmp_path / "survey")
    (tmp_path / "slow.toml").write_text("[fit]\nmax_iterations = 1\n")
    options = ("--config", tmp_path / "slow.toml", "--quiet")
    assert run("catalog", survey.path, "-o", tmp_path / "catalog.fits", "--models", tmp_path / "models", *options) == 0
    table = read_table(tmp_path / "catalog.fits")
    assert not table.meta["CONVRG_A"]
    assert not table.meta["CONVRG_B"]
    bits = [key for key, value in table.meta.items() if str(value).startswith("not_converged")]
    assert len(bits) == 1
    assert (np.asarray(table["flags"]) & (1 << int(bits[0].removeprefix("FLAG"))) != 0).all()
    assert run("predict", tmp_path / "models" / "model_A.npz", survey.path, "-o", tmp_path / "p.ecsv", *options) == 0
    assert not read_table(tmp_path / "p.ecsv").meta["CONVRG"]
    assert run("tune", survey.path, "-o", tmp_path / "t.ecsv", "--penalties", 20, "--zero-points", 0, *options) == 0
    assert not read_table(tmp_path / "t.ecsv")["converged"].any()


def test_every_warning_is_of_a_class_of_ours():
    ours = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Warning)}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "warnings.warn":
                names = {ast.unparse(argument) for argument in (*node.args[1:], *(k.value for k in node.keywords))}
                assert names & ours, f"{path.name}:{node.lineno}: a warning without a class of spfast"


def environment(**changes):
    return {**os.environ, "PYTHONPATH": str(PACKAGE.parent), **changes}


def test_kernels_without_the_compiler_agree():
    """The same Python, not compiled: what the compiler makes of the kernels is what they say (``make nojit``: more)."""
    names = ("test_l1.py", "test_uncertainty.py", "../data/test_continuum.py::test_pixel_mask_can_be_ignored")
    tests = [str(Path(__file__).parent / "kernels" / name) for name in names]
    call = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(call, env=environment(NUMBA_DISABLE_JIT="1"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


@pytest.mark.parametrize(
    ("place", "changes"),
    [
        ("plain", {"HOME": "/nonexistent"}),
        ("plain", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TERM": "dumb"}),
        ("Étoiles géantes 星 &c", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    ],
    ids=["no home", "C locale", "names in the C locale"],
)
def test_environments(tmp_path, place, changes):
    """From another current directory, by relative paths, without a terminal, from a survey that is read-only."""
    expected, _ = tiny_survey(tmp_path / "survey", n_stars=80)
    folder = tmp_path / place
    folder.mkdir(exist_ok=True)
    survey = folder / "my survey"
    Path(expected.path).rename(survey)
    for path in (*survey.iterdir(), survey):
        path.chmod(0o555 if path.is_dir() else 0o444)
    (folder / "réglages.toml").write_text("# é\n[fit]\npenalty = 25.0\n", encoding="utf-8")
    call = [sys.executable, "-m", "spfast", "catalog", "my survey", "-o", "catálogo.ecsv", "--config", "réglages.toml"]
    done = subprocess.run(
        call, cwd=folder, env=environment(**changes), stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    survey.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if not line.startswith(b"spfast: compiled")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_table(folder / "catálogo.ecsv")) == 80
