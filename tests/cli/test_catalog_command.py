"""``spfast catalog``, ``fit`` and ``predict``: what they write and what they refuse."""

import numpy as np
import pytest

import spfast
from spfast.catalog.make import HEADER_COMMENTS, make_catalog
from spfast.cli.catalog import model_path
from spfast.data.tables.read import read_table
from spfast.data.tables.write import write_table


def test_catalog_has_the_bytes_that_python_writes(work, tmp_path):
    survey = spfast.open_survey(work / "survey")
    table = make_catalog(survey, penalty=20.0, threads=1)
    write_table(table, tmp_path / "catalog.fits", comments=HEADER_COMMENTS)
    assert (tmp_path / "catalog.fits").read_bytes() == (work / "catalog.fits").read_bytes()


def test_existing_output_is_kept_unless_overwritten(work, tmp_path, run, refused):
    out = tmp_path / "catalog.fits"
    out.write_text("mine")
    assert "already exists; give another name or --overwrite" in refused("catalog", work / "survey", "-o", out)
    assert out.read_text() == "mine"
    assert run("catalog", work / "survey", "-o", out, "--overwrite") == 0
    assert len(read_table(out)) == 400


def test_saved_models_predict_what_the_catalog_says(work, tmp_path, capsys, run):
    models, out = tmp_path / "models", tmp_path / "catalog.fits"
    assert run("catalog", work / "survey", "-o", out, "--models", models, "--penalty", 20) == 0
    said = capsys.readouterr().out
    assert "model A:" in said
    assert "KKT violation" in said
    catalog = read_table(out)
    for fold, other in (("A", "B"), ("B", "A")):
        predictions = tmp_path / f"{other}.csv"
        assert run("predict", model_path(models, other), work / "survey", "-o", predictions) == 0
        own = catalog["sample"] == fold
        np.testing.assert_array_equal(read_table(predictions)["spec_parallax"][own], catalog["spec_parallax"][own])


def test_existing_model_is_refused_before_the_catalog_is_made(work, tmp_path, refused):
    (tmp_path / "models").mkdir()
    model_path(tmp_path / "models", "B").write_text("mine")
    words = ("catalog", work / "survey", "-o", tmp_path / "c.fits", "--models", tmp_path / "models")
    assert "model_B.npz: already exists" in refused(*words)
    assert not (tmp_path / "c.fits").exists()


def test_fit_trains_on_one_fold_or_on_all(work, tmp_path, capsys, run, refused):
    n = {}
    for fold in ("A", "B", None):
        path = tmp_path / f"{fold}.npz"
        assert run("fit", work / "survey", "-o", path, *(["--fold", fold] if fold else []), "--quiet") == 0
        n[fold] = spfast.load_model(path).n_stars
    assert capsys.readouterr().out == ""
    assert n["A"] + n["B"] == n[None] == 266
    assert "cannot write .txt" in refused("fit", work / "survey", "-o", tmp_path / "model.txt")


@pytest.mark.parametrize("suffix", [".vot", ".csv", ".parquet"])
def test_format_of_a_catalog_follows_its_suffix(work, tmp_path, suffix, run):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    assert run("catalog", work / "survey", "-o", tmp_path / f"catalog{suffix}", "--penalty", 20) == 0
    assert run("validate", tmp_path / f"catalog{suffix}") == 0
