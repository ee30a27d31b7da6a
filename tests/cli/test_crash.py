"""A few of the faults of crash_runs.py: killed, interrupted, without room, two at once; ``make crash`` has them all."""

import errno
import os
import shutil
import signal
import sys
import time

import numpy as np
import pytest
from small_survey import write_download
from tiny import tiny_survey

from spfast import cli
from spfast.data.spectra import chunk, workers
from spfast.data.survey import Survey, open_survey, verify_survey
from spfast.errors import BadInputError
from spfast.report import page
from spfast.validation import checks

pytestmark = pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="needs a safe fork")
crash_runs = pytest.importorskip("crash_runs")

TIMES = 2


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Ingest of 64 stars in chunks of 12, enough for a low-rank model; tune and catalog of 400."""
    folder = tmp_path_factory.mktemp("crash")
    (folder / "pixels.txt").write_text("\n".join(map(str, range(0, 8575, 3))))
    (folder / "mine.toml").write_text(f"[normalization]\ncontinuum_file = '{folder / 'pixels.txt'}'\n")
    allstar, spectra, gaia = write_download(folder, n=64)
    survey, _ = tiny_survey(folder / "survey")
    ingest = ["--allstar", allstar, "--spectra", spectra, "--gaia", gaia, "--config", folder / "mine.toml"]
    grid = ["--penalties", 100, 20, "--zero-points", 0.03, 0.06, "--rank", 4, "--products", 0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "CHUNK", 12)
        patch.setattr(workers, "_SYNC_INTERVAL", 0.0)
        made = [
            crash_runs.Case("ingest", ingest, folder, "out", [allstar]),
            crash_runs.Case("tune", [survey.path, *grid], folder, "tune.ecsv", [survey.path / "features.npy"]),
            crash_runs.Case("catalog", [survey.path], folder, "catalog.fits", [survey.path / "feature_errors.npy"]),
        ]
        for case in made:
            place = case.fresh()
            crash_runs.here(case.command(place))  # imports and compiles, for all children
            case.prepare()
        yield {case.name: case for case in made}


@pytest.mark.parametrize("name", ["ingest", "tune", "catalog"])
class TestEachCommand:
    def test_killed_run_ends_with_the_same_bytes_when_run_again(self, cases, name):
        rng = np.random.default_rng(1)
        assert crash_runs.random_moments(cases[name], TIMES, rng) == TIMES
        assert crash_runs.every_operation(cases[name], step=7) > 1

    @pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_signal_at_a_random_time_exits_130_or_143_and_loses_nothing(self, cases, name, how, code):
        rng = np.random.default_rng(2)
        assert crash_runs.random_moments(cases[name], 1, rng, how, (code, -signal.SIGTERM)) == 1

    def test_sigterm_at_any_line_of_python_loses_nothing(self, cases, name):
        hit, of, ran_on = crash_runs.lines(cases[name], TIMES, np.random.default_rng(5))
        assert hit == TIMES
        assert of > 1000
        assert ran_on < TIMES

    def test_file_without_room_is_one_line_and_leaves_nothing(self, cases, name):
        case = cases[name]
        place = case.fresh()
        size = max(map(len, case.expected.values()))
        for limit in (1000, size // 2):
            code = crash_runs.run(case.command(place), limit=limit, log=place / "log")
            text = (place / "log").read_text()
            assert code in (1, 2), text
            assert text.count("\n") == 1, text
            assert "cannot be written (" in text
            (place / "log").unlink()
            assert crash_runs.litter(place) == [], name
        case.finish(place)

    def test_file_cut_short_while_it_is_read_exits_2(self, cases, name):
        rng = np.random.default_rng(3)
        assert crash_runs.cut_short(cases[name], 1, rng) == 1

    def test_second_run_on_one_output_is_refused(self, cases, name):
        case = cases[name]
        place = case.fresh()
        first = crash_runs.child(case.command(place))
        lock = place / f".{case.output(place).name}.lock"
        deadline = time.monotonic() + 30
        while not lock.exists() or not lock.read_text():
            assert time.monotonic() < deadline
        os.kill(first, signal.SIGSTOP)
        try:
            assert crash_runs.run(case.command(place), log=place / "log") == 2
            text = (place / "log").read_text()
            assert f"process {first} on {os.uname().nodename}, since 20" in text
            assert "is writing it; wait until it is done, or choose another output" in text
        finally:
            os.kill(first, signal.SIGCONT)
        assert crash_runs.wait(first) == 0
        assert case.matches(place)
        assert crash_runs.litter(place) == []


@pytest.mark.parametrize("name", ["fit", "predict", "tune", "catalog"])
def test_survey_cut_short_within_a_page_is_noticed(tmp_path, monkeypatch, capsys, name):
    survey, _ = tiny_survey(tmp_path / "survey")
    assert cli.main(["fit", str(survey.path), "-o", str(tmp_path / "model.npz"), "--quiet"]) == 0
    words = [tmp_path / "model.npz", survey.path] if name == "predict" else [survey.path]
    out = tmp_path / {"fit": "out.npz"}.get(name, "out.ecsv")
    command = [name, *map(str, words), "-o", str(out), "--quiet"]
    assert cli.main(command) == 0
    expected = out.read_bytes()
    out.unlink()
    file, check = survey.path / "features.npy", Survey.check_values
    content = file.read_bytes()

    def cut_short(self, *options):
        check(self, *options)
        os.truncate(file, len(content) - 100)  # reads as zeros from there

    monkeypatch.setattr(Survey, "check_values", cut_short)
    assert cli.main(command) == 2
    err = capsys.readouterr().err
    assert f"spfast: {file}: became shorter while it was read; put the whole file back or" in err
    assert not out.exists()
    monkeypatch.undo()
    file.write_bytes(content)
    assert cli.main(command) == 0
    if name != "fit":  # a model says how long it took
        assert out.read_bytes() == expected


@pytest.mark.parametrize(
    ("name", "out", "module", "late"),
    [("validate", "out.ecsv", checks, "residual_trends"), ("report", "out", page, "key_numbers")],
)
def test_survey_cut_short_while_its_catalog_is_judged_is_noticed(
    tmp_path, monkeypatch, capsys, name, out, module, late
):
    if name == "report":
        pytest.importorskip("jinja2")
        pytest.importorskip("matplotlib")
    survey, _ = tiny_survey(tmp_path / "survey")
    catalog, out = tmp_path / "catalog.fits", tmp_path / out
    assert cli.main(["catalog", str(survey.path), "-o", str(catalog), "--quiet"]) == 0
    command = [name, str(catalog), "--survey", str(survey.path), "-o", str(out), "--quiet"]
    whole, judge = survey.path / "features.npy", getattr(module, late)

    def cut_short(*arguments):
        os.truncate(whole, whole.stat().st_size - 100)
        return judge(*arguments)

    monkeypatch.setattr(module, late, cut_short)
    capsys.readouterr()
    assert cli.main(command) == 2
    assert f"spfast: {whole}: became shorter while it was read" in capsys.readouterr().err
    assert not out.exists()


def test_reader_never_meets_half_a_survey(cases):
    case = cases["ingest"]
    place = case.fresh()
    first = crash_runs.child(case.command(place))
    while os.waitpid(first, os.WNOHANG) == (0, 0):
        try:
            open_survey(case.output(place))
            verify_survey(case.output(place))
        except BadInputError as error:
            assert "no such folder" in str(error)  # noqa: PT017 (whichever of the two it is at this moment)
    verify_survey(case.output(place))


@pytest.fixture
def download(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "pixels.txt").write_text("\n".join(map(str, range(0, 8575, 3))))
    (tmp_path / "mine.toml").write_text(f"[normalization]\ncontinuum_file = '{tmp_path / 'pixels.txt'}'\n")
    return write_download(tmp_path / "in", n=12)


def ingest(download, out, *options):
    roles = zip(("--allstar", "--spectra", "--gaia"), download, strict=True)
    words = [*(word for role in roles for word in role), "--config", out.parent / "mine.toml", "-o", out, *options]
    return cli.main(["ingest", *map(str, words), "--quiet"])


@pytest.mark.parametrize(("fault", "threads"), [("vanish", 1), ("vanish", 2), ("truncate", 1), ("system", 1)])
def test_spectrum_lost_during_a_build_stops_it(download, tmp_path, monkeypatch, capsys, fault, threads):
    assert ingest(download, tmp_path / "whole") == 0
    monkeypatch.setattr(workers, "CHUNK", 3)
    monkeypatch.setattr(workers, "_CHUNKS_PER_PROCESS", 1)
    file, serve, make = sorted(download[1].rglob("*.fits"))[7], workers._serve, chunk.ChunkNormalizer
    content, stat = file.read_bytes(), file.stat()

    def faulty(job, chunks, threads):
        if fault == "vanish":
            file.unlink()
        elif fault == "truncate":
            file.write_bytes(content[:30000])
        yield from serve(job, chunks, threads)

    class Broken(make):
        def __init__(self, *job):
            super().__init__(*job)
            read = self._read
            self._read = lambda path: broken() if path.endswith(file.name) else read(path)

    def broken():
        try:
            raise OSError(errno.EIO, "Input/output error")
        except OSError:
            raise BadInputError(f"{file}: cannot be read (Input/output error)") from None

    monkeypatch.setattr(workers, "_serve", faulty)
    if fault == "system":
        monkeypatch.setattr(chunk, "ChunkNormalizer", Broken)
    assert ingest(download, tmp_path / "out", "--threads", threads) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert ("changed while they were read" if fault == "truncate" else file.name) in err
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(workers, "_serve", serve)
    monkeypatch.setattr(chunk, "ChunkNormalizer", make)
    file.write_bytes(content)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert ingest(download, tmp_path / "out") == 0
    assert open_survey(tmp_path / "out").survey_hash == open_survey(tmp_path / "whole").survey_hash


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user")
def test_folder_without_permission_is_one_line_and_exit_2(cases, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rights")
    survey, _ = tiny_survey(folder / "survey", n_stars=40)
    shut = folder / "shut"
    shut.mkdir()
    shutil.copytree(survey.path, shut / "survey")
    reached = [folder, *folder.parents]
    modes = {path: path.stat().st_mode for path in reached}
    try:
        for path in reached[:-1]:
            path.chmod(path.stat().st_mode | 0o755)
        shut.chmod(0o700)
        for command, text in {
            ("info", shut / "survey"): "shut/survey",
            ("catalog", survey.path, "-o", folder / "catalog.fits"): "cannot be written to; choose another",
            ("tune", survey.path, "-o", folder / "tune.ecsv"): "cannot be written to; choose another",
            ("ingest", *("--allstar", folder / "a", "--spectra", shut, "--gaia", folder / "g"), "-o", folder / "s"): (
                "cannot be written"
            ),
        }.items():
            code, said = as_nobody(command, folder / "log")
            assert code == 2, said
            assert said.count("\n") == 1
            assert text in said
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
    assert sorted(path.name for path in folder.iterdir()) == ["log", "shut", "survey"]


def as_nobody(command, log):
    """Run the command as a user without rights (exit status, what it printed)."""
    log.touch()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            descriptor = os.open(log, os.O_WRONLY | os.O_TRUNC)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
            os.setgid(65534)
            os.setuid(65534)
            code = cli.main([str(word) for word in command])
            sys.stderr.flush()
        finally:
            os._exit(code)
    return crash_runs.wait(pid), log.read_text()
