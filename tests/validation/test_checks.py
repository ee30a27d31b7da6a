"""The registry of checks: what is run, printed and written for the material that is there."""

from types import SimpleNamespace

import pytest
from astropy.table import Table
from mock_catalog import one

from spfast.cli import main
from spfast.data.tables.read import read_table
from spfast.data.tables.write import write_table
from spfast.errors import BadInputError
from spfast.validation.checks import CHECKS, check_names, format_checks, run_checks
from spfast.validation.material import load_models


def test_every_check_that_the_material_allows_is_run_printed_and_written(honest, tmp_path):
    catalog, stars, truth = (table[:2000] for table in honest)
    members = Table({"2MASS_ID": catalog["2MASS_ID"][:30], "cluster": ["M67"] * 20 + ["Elsewhere"] * 10})
    survey = SimpleNamespace(stars=stars, check_length=lambda: None)
    material = {"truth": truth, "survey": survey, "other": catalog, "members": members}
    tables = run_checks(catalog, **material)
    assert list(tables) == check_names(**material)
    text = format_checks(tables)
    for title in ("Calibration", "Coverage", "Trends", "2,000 in both", "Clusters"):
        assert title in text
    assert "nan" not in text
    assert one(tables["clusters"], cluster="M67")["n"] == 20
    for name, table in tables.items():
        for column in table.itercols():
            assert column.description
        write_table(table, tmp_path / f"{name}.fits")
        assert len(read_table(tmp_path / f"{name}.fits")) == len(table)
    assert check_names() == ["measures", "calibration", "coverage"]


def test_models_are_named_by_folder_and_file(models, tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        for fold, model in models.items():
            model.save(tmp_path / folder / f"model_{fold}.npz")
    models["A"].save(tmp_path / "all.npz")
    assert list(load_models([tmp_path / "one"])) == ["A", "B"]
    assert list(load_models([tmp_path / "one", tmp_path / "two", tmp_path / "all.npz"])) == [
        "one/A",
        "one/B",
        "two/A",
        "two/B",
        "all",
    ]
    with pytest.raises(BadInputError, match="a second model named all"):
        load_models([tmp_path / "all.npz", tmp_path / "all.npz"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInputError, match="no model_"):
        load_models([tmp_path / "empty"])
    with pytest.raises(BadInputError, match="no such model file"):
        load_models([tmp_path / "none.npz"])


def test_validate_command_prints_and_writes_every_table(survey, tmp_path, capsys):
    def run(*args):
        return main([str(arg) for arg in args])

    catalog, models, out = tmp_path / "catalog.fits", tmp_path / "models", tmp_path / "validation.ecsv"
    assert run("catalog", survey.path, "-o", catalog, "--models", models, "--penalty", 5, "--quiet") == 0
    everything = ["--survey", survey.path, "--models", models, "--compare", catalog, "--law", "yuan2013"]
    assert run("validate", catalog, *everything, "-o", out) == 0
    printed = capsys.readouterr().out
    for title in ("Calibration", "Coverage", "Trends", "yuan2013", "Stability", "pixels are used", "400 in both"):
        assert title in printed
    names = ["calibration", "coverage", "trends", "reddening", "stability", "wavelengths", "comparison", "verdict"]
    written = sorted(path.name for path in tmp_path.glob("validation*"))
    assert written == sorted(["validation.ecsv", *(f"validation_{name}.ecsv" for name in names)])
    for check in CHECKS:
        if check.name in names:
            columns = read_table(tmp_path / f"validation_{check.name}.ecsv").colnames
            assert columns[: len(check.columns)] == list(check.columns)
            assert columns[len(check.columns) :] == (["coef_A", "coef_B"] if check.name == "wavelengths" else [])
    assert read_table(tmp_path / "validation_reddening.ecsv")["law"][0] == "yuan2013"
    # A table that is there already is not overwritten unasked, and nothing is done before that is known.
    out.unlink()
    assert run("validate", catalog, *everything, "-o", out) == 2
    assert "already exists" in capsys.readouterr().err
    assert not out.exists()
    assert run("validate", catalog, *everything, "-o", out, "--overwrite") == 0
    assert run("validate", catalog, "--law", "mine", "--survey", survey.path, "--models", models) == 2
