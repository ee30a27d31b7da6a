"""What every command that writes promises: it writes alone, the output is whole or not there, nothing is left."""

import os
import shutil
import signal
import sys

import pytest
from tiny import tiny_survey

from spfast import cli
from spfast.errors import BadInputError
from spfast.files import clear_leftovers, new_folder
from spfast.lock import hold
from spfast.simulate import simulate_download


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A survey, a model, a catalog and its models."""
    folder = tmp_path_factory.mktemp("made")
    survey, truth = tiny_survey(folder / "survey", 200)
    truth.write(folder / "truth.fits")
    for words in (
        ["fit", survey.path, "-o", folder / "model.npz"],
        ["catalog", survey.path, "-o", folder / "catalog.fits", "--models", folder / "models"],
    ):
        assert cli.main([*map(str, words), "--quiet"]) == 0
    return folder


#: Arguments before the output, and which of its files is held.
COMMANDS = {
    "simulate": ("simulate {out} --stars 5", ""),
    "simulate --survey": ("simulate {out} --survey --stars 5", ""),
    "demo": ("demo {out} --stars 5", ""),
    "fit": ("fit {made}/survey -o {out}.npz", ".npz"),
    "predict": ("predict {made}/model.npz {made}/survey -o {out}.ecsv", ".ecsv"),
    "tune": ("tune {made}/survey -o {out}.ecsv", ".ecsv"),
    "catalog": ("catalog {made}/survey -o {out}.fits", ".fits"),
    "catalog --models": ("catalog {made}/survey -o {out}.fits --models {out}", "/model_B.npz"),
    "rebuild": ("rebuild {made}/catalog.fits --survey {made}/survey -o {out}.fits", ".fits"),
    "validate": ("validate {made}/catalog.fits -o {out}.ecsv", "_coverage.ecsv"),
    "report": ("report {made}/catalog.fits --survey {made}/survey -o {out}", ""),
}


@pytest.mark.skipif(sys.platform == "win32", reason="no locks")
@pytest.mark.parametrize("name", COMMANDS)
def test_who_comes_second_is_told_so(made, tmp_path, capsys, name):
    if name == "report":
        pytest.importorskip("jinja2")
        pytest.importorskip("matplotlib")
    command, held = COMMANDS[name]
    words = [word.format(made=made, out=tmp_path / "out") for word in command.split()]
    (tmp_path / "out").mkdir()  # for what is held in it
    if held[:1] != "/":
        (tmp_path / "out").rmdir()
    with hold(f"{tmp_path / 'out'}{held}"):
        before = sorted(tmp_path.rglob("*"))
        assert cli.main([*words, "--quiet"]) == 2
        assert sorted(tmp_path.rglob("*")) == before
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"out{held}: process {os.getpid()} on" in err
    assert "is writing it; wait until it is done, or choose another output" in err


@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="needs a safe fork")
@pytest.mark.parametrize("before", [None, "old"])
def test_a_folder_is_old_or_new_whenever_it_is_killed(tmp_path, before):
    crash_runs = pytest.importorskip("crash_runs")
    out, number, code = tmp_path / "out", 0, -signal.SIGKILL
    while code == -signal.SIGKILL:
        number += 1
        shutil.rmtree(out, ignore_errors=True)
        if before:
            out.mkdir()
            (out / "page").write_text(before)
        pid = os.fork()
        if not pid:
            try:
                crash_runs.count_operations(number)
                with new_folder(out) as folder:
                    (folder / "page").write_text("new")
            finally:
                os._exit(0)
        code = crash_runs.wait(pid)
        contents = [file.read_text() for file in out.rglob("*")]
        assert contents in ([], [before], ["new"])
        clear_leftovers(out)
        assert [child.name for child in tmp_path.iterdir()] in ([], ["out"])
    assert number > 3
    assert contents == ["new"]


def test_what_a_killed_run_has_left_goes_with_the_next(made, tmp_path):
    (tmp_path / ".out.4711.partial" / "new").mkdir(parents=True)
    (tmp_path / ".catalog.fits.4711.partial").touch()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / ".model_A.npz.4711.partial").touch()
    (tmp_path / ".mine.partial").touch()
    simulate_download(tmp_path / "out", 5, quiet=True)
    words = ["catalog", made / "survey", "-o", tmp_path / "catalog.fits", "--models", tmp_path / "models"]
    assert cli.main([*map(str, words), "--quiet"]) == 0
    found = sorted(str(path.relative_to(tmp_path)) for path in [*tmp_path.glob("*"), *tmp_path.glob("models/*")])
    assert found == [".mine.partial", "catalog.fits", "models", "models/model_A.npz", "models/model_B.npz", "out"]


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path, capsys):
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "thesis.tex").write_text("mine")
    simulate_download(tmp_path / "out", 5, quiet=True)
    shutil.rmtree(tmp_path / "out")
    assert cli.main(["simulate", str(tmp_path / "out"), "--survey", "--stars", "5"]) == 2
    assert "is in the way and no unfinished survey" in capsys.readouterr().err
    assert (tmp_path / "out.partial" / "thesis.tex").read_text() == "mine"


def test_a_killed_mock_survey_is_begun_again(tmp_path):
    (tmp_path / "out.partial").mkdir()
    for name in ("truth.fits", "features.npy"):
        (tmp_path / "out.partial" / name).touch()
    assert cli.main(["simulate", str(tmp_path / "out"), "--survey", "--stars", "5", "--quiet"]) == 0
    assert [child.name for child in tmp_path.iterdir()] == ["out"]


def test_the_current_folder_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInputError, match="give the output a name of its own"), new_folder("."):
        pass
    with hold("."):
        assert list(tmp_path.iterdir()) == []
        assert (tmp_path.parent / f".{tmp_path.name}.lock").exists()
