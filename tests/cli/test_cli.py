"""The command: what each sub-command writes, what it refuses and how it says so."""

import os
import subprocess
import sys

import numpy as np
import pytest
from astropy.table import Table
from tiny import tiny_survey

import spfast
from spfast import cli
from spfast.catalog.make import HEADER_COMMENTS, make_catalog
from spfast.data.tables.read import read_table
from spfast.data.tables.write import write_table

GAIA_COLUMNS = [
    *("ra", "dec", "parallax", "parallax_error", "pmra", "pmdec", "random_index"),
    *(f"phot_{band}_mean_{what}" for band in ("g", "bp", "rp") for what in ("mag", "flux", "flux_error")),
    *("visibility_periods_used", "astrometric_chi2_al", "astrometric_n_good_obs_al"),
    *("w1mpro", "w1mpro_error", "w2mpro", "w2mpro_error"),
]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with a survey, its truth and a catalog."""
    folder = tmp_path_factory.mktemp("work")
    _, truth = tiny_survey(folder / "survey")
    write_table(truth, folder / "truth.fits")
    assert cli.main(["catalog", str(folder / "survey"), "-o", str(folder / "catalog.fits"), "--penalty", "20"]) == 0
    return folder


def run(*args):
    return cli.main([str(arg) for arg in args])


def refused(capsys, *args, code=2):
    """Run a command that must fail with one line; return the line."""
    assert run(*args) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("spfast: ")
    return err


def test_catalog_is_what_python_makes(work, tmp_path):
    survey = spfast.open_survey(work / "survey")
    table = make_catalog(survey, penalty=20.0, threads=1)
    write_table(table, tmp_path / "catalog.fits", comments=HEADER_COMMENTS)
    assert (tmp_path / "catalog.fits").read_bytes() == (work / "catalog.fits").read_bytes()


def test_an_existing_output_is_kept(work, tmp_path, capsys):
    out = tmp_path / "catalog.fits"
    out.write_text("mine")
    assert "already exists; give another name or --overwrite" in refused(capsys, "catalog", work / "survey", "-o", out)
    assert out.read_text() == "mine"
    assert run("catalog", work / "survey", "-o", out, "--overwrite") == 0
    assert len(read_table(out)) == 400


def test_saved_models_predict_what_the_catalog_says(work, tmp_path, capsys):
    models, out = tmp_path / "models", tmp_path / "catalog.fits"
    assert run("catalog", work / "survey", "-o", out, "--models", models, "--penalty", 20) == 0
    said = capsys.readouterr().out
    assert "model A:" in said
    assert "KKT violation" in said
    catalog = read_table(out)
    for fold, other in (("A", "B"), ("B", "A")):
        predictions = tmp_path / f"{other}.csv"
        assert run("predict", models / f"model_{other}.npz", work / "survey", "-o", predictions) == 0
        own = catalog["sample"] == fold
        np.testing.assert_array_equal(read_table(predictions)["spec_parallax"][own], catalog["spec_parallax"][own])
    capsys.readouterr()
    assert "already exists" in refused(
        capsys, "catalog", work / "survey", "-o", tmp_path / "c.fits", "--models", models
    )
    assert not (tmp_path / "c.fits").exists()


def test_fit_one_fold_and_all(work, tmp_path, capsys):
    n = {}
    for fold in ("A", "B", None):
        path = tmp_path / f"{fold}.npz"
        assert run("fit", work / "survey", "-o", path, *(["--fold", fold] if fold else []), "--quiet") == 0
        n[fold] = spfast.load_model(path).n_stars
    assert capsys.readouterr().out == ""
    assert n["A"] + n["B"] == n[None] == 266
    assert "cannot write .txt" in refused(capsys, "fit", work / "survey", "-o", tmp_path / "model.txt")


def test_validate(work, tmp_path, capsys):
    out = tmp_path / "validation.ecsv"
    assert run("validate", work / "catalog.fits", "--truth", work / "truth.fits", "-o", out) == 0
    printed = capsys.readouterr().out
    assert "against the true ones" in printed
    scores = read_table(out)
    truth = scores[(scores["reference"] == "truth") & (scores["fold"] == "all") & (scores["sample"] == "parent")][0]
    assert truth["n"] == 400
    assert truth["scatter_mad"] < 0.06
    assert scores["pull"].description


@pytest.mark.parametrize("suffix", [".vot", ".csv", ".parquet"])
def test_format_follows_the_suffix(work, tmp_path, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    assert run("catalog", work / "survey", "-o", tmp_path / f"catalog{suffix}", "--penalty", 20) == 0
    assert run("validate", tmp_path / f"catalog{suffix}") == 0


def test_info(work, tmp_path, capsys):
    assert run("fit", work / "survey", "-o", tmp_path / "model.npz", "--fold", "A", "--quiet") == 0
    expected = {
        work / "survey": ["a survey", "400, of which 266 in the training set", "60 pixels", "rows of allStar"],
        tmp_path / "model.npz": ["a model", "fold          A", "penalty       30", "converged     yes", "random_index"],
        work / "catalog.fits": [
            "spfast catalog",
            "rows          400",
            "PENALT_A",
            "distance_16 [kpc]",
            "not_converged:",
        ],
    }
    for path, texts in expected.items():
        assert run("info", path) == 0
        printed = capsys.readouterr().out
        for text in texts:
            assert text in printed


def test_info_verifies(tmp_path, capsys):
    tiny_survey(tmp_path / "survey", n_stars=40)
    assert run("info", tmp_path / "survey", "--verify") == 0
    assert "every byte as it was written" in capsys.readouterr().out
    with open(tmp_path / "survey" / "features.npy", "r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\x00\x00\x00\x01")
    assert run("info", tmp_path / "survey") == 0
    capsys.readouterr()
    assert "changed since the survey was built" in refused(capsys, "info", tmp_path / "survey", "--verify")


def test_bad_paths_are_one_line(work, tmp_path, capsys):
    out = tmp_path / "out.fits"
    (tmp_path / "half.npz").write_bytes(b"half")
    (tmp_path / "bad.toml").write_text("[fit]\nlambda = 3\n")
    for expected, args in {
        "no such folder": ("catalog", tmp_path / "none", "-o", out),
        "survey.json": ("catalog", tmp_path, "-o", out),
        "the folder": ("catalog", work / "survey", "-o", tmp_path / "no" / "out.fits"),
        "no such model file": ("predict", tmp_path / "none.npz", work / "survey", "-o", out),
        "not a whole spfast model": ("predict", tmp_path / "half.npz", work / "survey", "-o", out),
        "no such file": ("validate", tmp_path / "none.fits"),
        "has no column 2MASS_ID": ("validate", work / "catalog.fits", "--truth", work / "bare.ecsv"),
        "no such file or folder": ("info", tmp_path / "none"),
        "unknown key 'lambda'": ("catalog", work / "survey", "-o", out, "--config", tmp_path / "bad.toml"),
        "cannot read the configuration": ("fit", work / "survey", "-o", tmp_path / "m.npz", "--config", tmp_path / "x"),
        "penalty is -1.0": ("catalog", work / "survey", "-o", out, "--penalty", -1),
        "cannot write .xyz": ("catalog", work / "survey", "-o", tmp_path / "out.xyz"),
    }.items():
        if "bare.ecsv" in str(args):
            (work / "bare.ecsv").write_text("# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a, datatype: int64}\na\n1\n")
        assert expected in refused(capsys, *args)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.toml", "half.npz"]


def test_arguments_are_refused_by_argparse(capsys):
    fit = ["fit", "survey", "-o", "model.npz"]
    for args in ([], ["catalog"], ["nonsense"], [*fit, "--threads", "0"], [*fit, "--pen", "3"], [*fit, "--fold", "C"]):
        with pytest.raises(SystemExit) as caught:
            run(*args)
        assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_faults_interrupts_and_debug(work, monkeypatch, capsys):
    def fail(error):
        def run_info(path, verify):
            raise error

        monkeypatch.setattr("spfast.cli.info.describe", run_info)

    fail(RuntimeError("the index\nis wrong"))
    assert "RuntimeError: the index is wrong (a fault of spfast; --debug" in refused(capsys, "info", work, code=1)
    fail(OSError(28, "No space left on device"))
    assert "No space left" in refused(capsys, "info", work, code=1)
    fail(KeyboardInterrupt())
    assert "interrupted" in refused(capsys, "info", work, code=130)
    fail(RuntimeError("x"))
    assert run("info", work, "--debug") == 1
    assert "Traceback" in capsys.readouterr().err


def test_warnings_are_one_line(work, tmp_path, capsys):
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


def test_as_a_module_and_into_a_closed_pipe(work):
    command = [sys.executable, "-m", "spfast", "info", str(work / "catalog.fits")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("what          spfast catalog")
    read, write = os.pipe()
    os.close(read)
    closed = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert closed.returncode == 141
    assert closed.stderr == ""


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        run("--version")
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"spfast {spfast.__version__}\n"


@pytest.fixture
def download(tmp_path):
    """An allStar of three stars, a Gaia table for them, and a folder with their (empty) spectra."""
    names = [f"2M{i:08d}+{i:07d}" for i in range(3)]
    allstar = {name: np.ones(3) for name in ("J", "H", "K", "J_ERR", "H_ERR", "K_ERR", "SNR", "LOGG", "TEFF", "FE_H")}
    Table({"APOGEE_ID": names, "RA": np.ones(3), "DEC": np.ones(3), **allstar}).write(tmp_path / "allStar.fits")
    gaia = {name: np.ones(3) for name in GAIA_COLUMNS} | {"phot_variable_flag": ["NOT_AVAILABLE"] * 3}
    Table({"tmass_id": [name[2:] for name in names], "source_id": [1, 2, 3], **gaia}).write(tmp_path / "gaia.fits")
    (tmp_path / "spectra").mkdir()
    for name in names:
        (tmp_path / "spectra" / f"aspcapStar-r12-{name}.fits").write_bytes(b"SIMPLE  =")
    return tmp_path


def ingest(download, **other):
    files = {"allstar": "allStar.fits", "spectra": "spectra", "gaia": "gaia.fits", **other}
    return [
        "ingest",
        "-o",
        download / "survey",
        *(x for role, name in files.items() for x in (f"--{role}", download / name)),
    ]


def test_ingest_refuses_in_one_line_and_leaves_nothing(download, capsys):
    allstar, gaia = Table.read(download / "allStar.fits"), Table.read(download / "gaia.fits")
    whole = (download / "allStar.fits").read_bytes()
    (download / "short.fits").write_bytes(whole[: len(whole) - 3000])
    allstar.rename_column("LOGG", "GRAVITY")
    allstar.write(download / "noLogg.fits")
    gaia.rename_column("parallax_error", "error")
    gaia.write(download / "noError.fits")
    gaia["tmass_id"] = "elsewhere"
    gaia.rename_column("error", "parallax_error")
    gaia.write(download / "strangers.fits")
    (download / "empty").mkdir()
    before = sorted(path.name for path in download.iterdir())
    for expected, files in {
        "none.fits": {"allstar": "none.fits"},
        "nowhere": {"spectra": "nowhere"},
        "none.vot": {"gaia": "none.vot"},
        "short.fits": {"allstar": "short.fits"},
        "LOGG": {"allstar": "noLogg.fits"},
        "parallax_error": {"gaia": "noError.fits"},
        "no star": {"gaia": "strangers.fits"},
        "empty": {"spectra": "empty"},
        "0 good spectra": {},
    }.items():
        assert expected in refused(capsys, *ingest(download, **files))
        assert sorted(path.name for path in download.iterdir()) == before


def test_demo(tmp_path, capsys, monkeypatch):
    pytest.importorskip("jinja2")
    report = pytest.importorskip("spfast.report.page")
    monkeypatch.setattr(report, "SHEETS", report.SHEETS[:1])
    out = tmp_path / "demo"
    demo = ("demo", out, "--stars", 150, "--seed", 4, "--threads", 1)
    assert run(*demo) == 0
    printed = capsys.readouterr().out
    for text in (
        "1. A mock download of 150 stars",
        "2. Read",
        "3. Cross-validate",
        "4. Fit",
        "model B:",
        "5. Compare",
        "one sigma",
        "With spec_parallax_err_total ",
        "6. Draw",
        "Next:",
    ):
        assert text in printed
    names = ["catalog.fits", "download", "models", "survey", "tune.ecsv", "validation.ecsv"]
    assert sorted(path.name for path in out.iterdir()) == sorted([*names, "report"])
    assert "Mock data." in (out / "report" / "report.html").read_text(encoding="utf-8")
    first = (out / "catalog.fits").read_bytes()

    (out / "mine.txt").write_text("keep")
    assert "already exists; give another folder or --overwrite" in refused(capsys, *demo)
    monkeypatch.setattr("spfast.cli.demo.importlib.util.find_spec", lambda name: None)
    assert run(*demo, "--overwrite") == 0
    assert "6. No report page: it needs matplotlib and jinja2 (pip install" in capsys.readouterr().out
    assert (out / "catalog.fits").read_bytes() == first
    assert sorted(path.name for path in out.iterdir()) == sorted([*names, "mine.txt"])


def test_simulate_a_survey_folder(tmp_path, capsys):
    assert run("simulate", tmp_path / "survey", "--survey", "--stars", 12, "--threads", 1, "--quiet") == 0
    assert spfast.open_survey(tmp_path / "survey").n_stars == 12
    assert len(read_table(tmp_path / "survey" / "truth.fits")) == 12
    capsys.readouterr()
    assert "survey" in refused(capsys, "simulate", tmp_path / "survey", "--survey", "--stars", 12)
