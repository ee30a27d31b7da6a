"""What belongs together: catalogs made again from their own header, models and surveys that differ."""

import json

import numpy as np
import pytest
from tiny import RAW, tiny_survey

from spfast import cli
from spfast.catalog.compatibility import check_catalog
from spfast.catalog.predict import predict_survey
from spfast.catalog.rebuild import rebuild_catalog
from spfast.config import load_config, resolve_config
from spfast.data.survey import open_survey
from spfast.data.tables.read import read_table
from spfast.data.tables.write import write_table
from spfast.errors import BadInputError, MismatchWarning
from spfast.training.fold import fit_stars


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    return tiny_survey(tmp_path_factory.mktemp("rebuild") / "survey")[0]


def run(*args):
    return cli.main([str(arg) for arg in args])


@pytest.mark.parametrize("suffix", [".fits", ".ecsv", ".vot", ".parquet"])
def test_the_header_makes_the_same_bytes_again(survey, tmp_path, suffix, capsys):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    (tmp_path / "mine.toml").write_text('preset = "hogg2019"\n[fit]\nzero_point = 0.0291\n[folds]\nsplit = "hash"\n')
    path, again = tmp_path / f"catalog{suffix}", tmp_path / f"again{suffix}"
    options = ("--config", tmp_path / "mine.toml", "--penalty", 17.3, "--seed", 5, "--threads", 2)
    assert run("catalog", survey.path, "-o", path, *options, "--quiet") == 0
    assert run("rebuild", path, "--survey", survey.path, "-o", again, "--threads", 1) == 0
    assert capsys.readouterr().out.endswith("made again, the same bytes\n")
    assert again.read_bytes() == path.read_bytes()


def test_one_and_two_threads_write_the_same_bytes(survey, tmp_path):
    for threads in (1, 2):
        options = ("--penalty", "auto", "--threads", threads, "--config", tmp_path / "few.toml", "--quiet")
        (tmp_path / "few.toml").write_text("[tune]\npenalties = [100.0, 20.0]\ninner_folds = 3\n")
        assert run("catalog", survey.path, "-o", tmp_path / f"{threads}.fits", *options) == 0
    assert (tmp_path / "1.fits").read_bytes() == (tmp_path / "2.fits").read_bytes()


def test_what_differs_is_named(survey, tmp_path, capsys):
    path = tmp_path / "catalog.fits"
    assert run("catalog", survey.path, "-o", path, "--quiet") == 0
    table = read_table(path)
    table["spec_parallax"][3] *= 2
    table.meta["NTRAIN_A"] = 1
    write_table(table, tmp_path / "edited.fits")
    found = rebuild_catalog(tmp_path / "edited.fits", survey)
    assert [text.split(" ")[0] for text in found.differences] == ["NTRAIN_A", "column"]
    assert found.differences[1] == "column spec_parallax differs in 1 rows"
    assert run("rebuild", tmp_path / "edited.fits", "--survey", survey.path) == 2
    assert "not what its survey and header give now: NTRAIN_A was 1, is " in capsys.readouterr().err


def test_models_of_another_catalog_are_told(survey, tmp_path, capsys):
    path, models = tmp_path / "catalog.fits", tmp_path / "models"
    assert run("catalog", survey.path, "-o", path, "--models", models, "--pixels", "raw", "--quiet") == 0
    assert run("validate", path, "--models", models) == 0
    assert "objective" not in capsys.readouterr().err
    for name, other in (("A", "C"), ("B", "A"), ("C", "B")):  # swapped
        (models / f"model_{name}.npz").rename(models / f"model_{other}.npz")
    assert run("validate", path, "--models", models) == 0
    assert capsys.readouterr().err.count("is not said of those that made the catalog") == 2


def test_a_licence_of_several_lines_is_refused_before_the_fit(survey, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run("fit", survey.path, "-o", tmp_path / "model.npz", "--licence", "CC\nBY")
    assert "expected one line of printable text" in capsys.readouterr().err


def test_catalogs_of_another_survey_or_version(survey, tmp_path, capsys):
    other, _ = tiny_survey(tmp_path / "other", seed=4)
    path = tmp_path / "catalog.fits"
    assert run("catalog", survey.path, "-o", path, "--quiet") == 0
    with pytest.raises(BadInputError, match=r"made from the survey .*; give the survey that it was made from"):
        rebuild_catalog(path, other)
    table = read_table(path)
    with pytest.warns(MismatchWarning, match="stars are matched by name"):
        check_catalog(table, other)
    table.meta["SPFVERS"] = "0.0.1"
    write_table(table, tmp_path / "old.fits")
    capsys.readouterr()
    assert run("validate", tmp_path / "old.fits") == 0
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "made by spfast 0.0.1, this is" in err
    table.meta["CONFIG"] = "{"
    write_table(table, tmp_path / "damaged.fits")
    with pytest.raises(BadInputError, match="CONFIG is damaged"), pytest.warns(MismatchWarning):
        rebuild_catalog(tmp_path / "damaged.fits", survey)
    assert run("info", tmp_path / "damaged.fits") == 0
    assert "damaged = {" in capsys.readouterr().out
    write_table(table["2MASS_ID", "spec_parallax"], tmp_path / "bare.csv")
    with pytest.raises(BadInputError, match="does not carry how it was made"):
        rebuild_catalog(tmp_path / "bare.csv", survey)


def edited_survey(path, change, **options):
    """A survey whose survey.json says something else."""
    survey, _ = tiny_survey(path, n_stars=60, **options)
    info = json.loads((path / "survey.json").read_text())
    change(info)
    (path / "survey.json").write_text(json.dumps(info))
    return open_survey(survey.path)


def spectra(name):
    def edit(stars):
        stars["FILE"] = [f"a/{name}-{star}.fits" for star in stars["APOGEE_ID"]]

    return edit


def test_a_model_is_refused_where_its_features_are_others(tmp_path):
    here, _ = tiny_survey(tmp_path / "here", edit=spectra("aspcapStar-dr17"))
    model = fit_stars(here, load_config(overrides={"fit": {"penalty": 20.0}}))
    same, _ = tiny_survey(tmp_path / "same", n_stars=60, edit=spectra("aspcapStar-dr17"))
    assert len(predict_survey(model, same)) == 60
    for name, spectrum, found in [
        ("release", "aspcapStar-r12", "trained on aspcapStar dr17, the survey .* has aspcapStar r12"),
        ("kind", "asStar-dr17", "has apStar dr17"),
    ]:
        other, _ = tiny_survey(tmp_path / name, n_stars=60, edit=spectra(spectrum))
        with pytest.raises(BadInputError, match=found):
            predict_survey(model, other)
    for name, section, key, value in [
        ("mask", "normalization", "use_pixel_mask", False),
        ("features", "features", "flux_min", 0.02),
    ]:
        other = edited_survey(tmp_path / name, lambda info, s=section, k=key, v=value: info["config"][s].update({k: v}))
        with pytest.raises(BadInputError, match=rf"\[{section}\] {key} = .*, .* with {value}"):
            predict_survey(model, other)
    other = edited_survey(tmp_path / "layout", lambda info: swap_pixel(info, here.layout.names[-1]))
    assert len(predict_survey(model, other)) == 60  # coordinates do not need every pixel
    model = fit_stars(here, resolve_config(RAW, penalty=20.0))
    pixels = [name for name, c in zip(here.layout.names, model.coef, strict=True) if c != 0 and "pixel" in name]
    other = edited_survey(tmp_path / "raw", lambda info: swap_pixel(info, pixels[0]))
    with pytest.raises(BadInputError, match=rf"lacks 1 of the .* columns that the model uses \(first: {pixels[0]}\)"):
        predict_survey(model, other)


def swap_pixel(info, name):
    """Another pixel in place of one that the model uses, the first or the last."""
    names = [feature["name"] for feature in info["layout"]["features"]]
    place = names.index(name)
    del info["layout"]["features"][place]
    info["layout"]["features"].append(
        {"name": "pixel_8000", "kind": "pixel", "wavelength": 1.0, "unit": "", "penalized": True}
    )


def test_other_continuum_pixels_are_warned_of(tmp_path):
    here = edited_survey(tmp_path / "here", lambda info: info.update(continuum={"pixels": [1, 2]}))
    there = edited_survey(tmp_path / "there", lambda info: info.update(continuum={"pixels": [1, 3]}))
    model = fit_stars(here)
    assert np.isfinite(predict_survey(model, here)["spec_parallax"]).all()
    with pytest.warns(MismatchWarning, match="other continuum pixels"):
        predict_survey(model, there)
