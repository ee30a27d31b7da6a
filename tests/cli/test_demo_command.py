"""``spfast demo`` and ``simulate``: everything that they make."""

import pytest

import spfast
from spfast.data.tables.read import read_table


def test_demo_makes_every_product_and_again_with_the_same_bytes(tmp_path, capsys, monkeypatch, run, refused):
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
    assert "already exists; give another folder or --overwrite" in refused(*demo)
    monkeypatch.setattr("spfast.cli.demo.importlib.util.find_spec", lambda name: None)
    assert run(*demo, "--overwrite") == 0
    assert "6. No report page: it needs matplotlib and jinja2 (pip install" in capsys.readouterr().out
    assert (out / "catalog.fits").read_bytes() == first
    assert sorted(path.name for path in out.iterdir()) == sorted([*names, "mine.txt"])


def test_simulate_writes_a_survey_folder_once(tmp_path, capsys, run, refused):
    assert run("simulate", tmp_path / "survey", "--survey", "--stars", 12, "--threads", 1, "--quiet") == 0
    assert spfast.open_survey(tmp_path / "survey").n_stars == 12
    assert len(read_table(tmp_path / "survey" / "truth.fits")) == 12
    capsys.readouterr()
    assert "survey" in refused("simulate", tmp_path / "survey", "--survey", "--stars", 12)
