"""Which release of Gaia a table is of, and that the zero point follows it."""

import sys

import numpy as np
import pytest
from astropy.table import Column, Table
from small_survey import tables
from tiny import RAW, tiny_survey

from spfast.archive.releases import GAIA, UNKNOWN_ZERO_POINT
from spfast.catalog.make import make_catalog
from spfast.cli.info import describe, open_product
from spfast.config import LINDEGREN, ZERO_POINT, Config, load_config
from spfast.data.gaia import read_gaia
from spfast.data.gaia_release import find_release, survey_release
from spfast.data.ingest import ingest
from spfast.data.tables.write import write_table
from spfast.data.zero_point import choose_zero_point
from spfast.errors import BadInputError, SpfastWarning
from spfast.report.text import key_numbers
from spfast.training.fold import fit_stars
from spfast.training.tune import tune

N = 6
#: What tells a release: columns to add to a table, or metadata.
TELLING = {
    "ref_epoch of DR2": ("dr2", {"ref_epoch": 2015.5}, {}),
    "ref_epoch of DR3": ("dr3", {"ref_epoch": np.full(N, 2016.0, "f4")}, {}),
    "ref_epoch of DR4": ("dr4", {"ref_epoch": 2017.5, "pseudocolour": 1.4}, {}),
    "solution_id of DR2": ("dr2", {"solution_id": 1635721458409799680}, {}),
    "solution_id of EDR3 as a double": ("dr3", {"solution_id": float(1636042515805110273)}, {}),
    "solution_id of DR3": ("dr3", {"solution_id": 1636148068921376768}, {}),
    "designation": ("dr3", {"designation": "Gaia DR3 4295806720"}, {}),
    "column since DR3": ("dr3", {"NU_EFF_USED_IN_ASTROMETRY": 1.4}, {}),
    "column of DR2": ("dr2", {"astrometric_pseudo_colour": 1.4}, {}),
    "six parameters": ("dr3", {"astrometric_params_solved": [31, 31, 95, 31, 3, 31]}, {}),
    "number of DR2 beside the source_id": (None, {"gaia_dr2_source_id": 1}, {}),
    "source_id as text": ("dr2", {"source_id": [f"Gaia DR2 {10**6 + i}" for i in range(N)]}, {}),
    "header of ours": ("dr2", {"pseudocolour": 1.4, "ref_epoch": 2016.0}, {"GAIAREL": "dr2"}),
    "query": ("dr3", {}, {"QUERY": "SELECT * FROM gaiaedr3.gaia_source JOIN gaiadr1.tmass_original_valid"}),
    "table of VizieR": ("dr2", {}, {"NAME": "I/345/gaia2"}),
    "five parameters alone": (None, {"astrometric_params_solved": 31}, {}),
    "two releases in one text": (None, {}, {"TITLE": "Gaia DR2 and Gaia DR3"}),
    "columns of two releases": (None, {"astrometric_pseudo_colour": 1.4, "pseudocolour": 1.4}, {}),
    "nothing": (None, {}, {}),
}


@pytest.mark.parametrize("suffix", ["fits", "ecsv", "parquet"])
@pytest.mark.parametrize("what", TELLING)
def test_a_table_tells_its_release(tmp_path, what, suffix):
    name, columns, meta = TELLING[what]
    table = tables(np.full((N, 3), 1.0))[1]
    for column, values in columns.items():
        table[column] = values
    table.meta |= meta
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    write_table(table, tmp_path / f"gaia.{suffix}")
    read = read_gaia(tmp_path / f"gaia.{suffix}")
    assert read.meta["gaia_release"] == name
    assert "ref_epoch" not in read.colnames
    assert read.meta["gaia_release_reason"].isascii()


def test_the_release_that_is_given_wins_and_two_in_one_table_are_refused():
    epochs = {"ref_epoch": Column([2016.0, 2016.0])}
    with pytest.warns(SpfastWarning, match=r"a.fits: .* says dr2, but .* DR3 \(its ref_epoch is 2016\): taken as"):
        assert find_release(epochs, ["ref_epoch"], {}, "a.fits", "dr2") == ("dr2", "given")
    assert find_release({}, [], {}, "a.fits", "dr4").name == "dr4"
    own = GAIA["dr2"].solution_ids[0], GAIA["dr3"].solution_ids[0], GAIA["dr3"].solution_ids[1]
    mixed = {"ref_epoch": [2015.5, 2016.0, 2016.0], "solution_id": own}
    mixed["designation"] = ["Gaia DR2 1", "Gaia EDR3 2", "Gaia DR3 3"]
    for name, values in mixed.items():
        message = rf"a.fits: .* by their {name} \(1 of Gaia DR2 and 2 of Gaia DR3\); give a table of one"
        with pytest.raises(BadInputError, match=message):
            find_release({name: Column(values)}, [name], {"GAIAREL": "dr3"}, "a.fits")


def test_comments_of_a_text_table_tell_its_release():
    assert find_release({}, [], {"comments": ["a table", "SELECT * FROM gaiadr2.gaia_source"]}, "a.ecsv").name == "dr2"


def of_release(path, name, edit=None):
    survey = tiny_survey(path, edit=edit)[0]
    survey.info["gaia_release"] = name
    return survey


def gaia_dr3(stars):
    stars["nu_eff_used_in_astrometry"], stars["pseudocolour"], stars["ecl_lat"] = 1.4, np.nan, 30.0
    stars["astrometric_params_solved"] = 31


def test_zero_points_of_releases(tmp_path, monkeypatch):
    survey = of_release(tmp_path / "survey", "dr2")
    found = choose_zero_point(survey, Config().fit)
    assert found == ("constant", ZERO_POINT, 0.005, "release Gaia DR2: Hogg, Eilers & Rix 2019")
    survey.info["gaia_release"] = "dr3"
    with pytest.warns(SpfastWarning, match=r"zero point 0.029 mas for all stars of Gaia DR3 .*not star by star: .*"):
        found = choose_zero_point(survey, Config().fit)
    assert found[:3] == ("constant", 0.029, 0.015)
    survey.info["gaia_release"] = "dr4"
    with pytest.raises(BadInputError, match=r"of Gaia DR4 .*whose zero point is not known yet; give --zero-point MAS"):
        choose_zero_point(survey, Config().fit)
    for rule in ("auto", "fit"):
        found = choose_zero_point(survey, Config().replace(fit={"zero_point_rule": rule}).fit)
        assert found[:3] == (rule, UNKNOWN_ZERO_POINT.value, UNKNOWN_ZERO_POINT.error)
    survey.info["gaia_release"] = None
    with pytest.warns(SpfastWarning, match="zero point 0.0483 mas: that of Gaia DR2, for the survey does not say"):
        found = choose_zero_point(survey, Config().fit)
    assert found[1:3] == (ZERO_POINT, 0.02)


def test_a_survey_without_a_word_on_it_tells_its_release_by_its_columns(tmp_path):
    survey = tiny_survey(tmp_path / "survey", edit=gaia_dr3)[0]
    del survey.info["gaia_release"]
    assert survey_release(survey) == ("dr3", "it has the column nu_eff_used_in_astrometry")


def test_the_zero_point_of_dr3_is_of_each_star_where_its_columns_are_there(tmp_path, monkeypatch):
    survey = of_release(tmp_path / "survey", "dr3", edit=gaia_dr3)
    pytest.importorskip("zero_point")
    catalog = make_catalog(survey, 20.0, config=RAW, threads=1)
    assert catalog.meta["ZPRULE_A"] == LINDEGREN
    assert catalog.meta["ZPWHY_A"] == "release Gaia DR3: lindegren2021, star by star"
    assert catalog.meta["GAIAREL"] == "dr3"
    assert catalog.meta["ZPERR_A"] == 0.01
    assert np.ptp(catalog["Gaia_zero_point"]) > 0.01
    monkeypatch.setitem(sys.modules, "zero_point", None)
    with pytest.warns(SpfastWarning, match=r"not star by star: .* install it \(pip install 'spfast\[zeropoint\]'\)"):
        model = fit_stars(survey, Config().replace(fit=RAW.to_dict()["fit"] | {"penalty": 20.0}), "A", threads=1)
    assert (model.zero_point, model.zero_point_rule) == (0.029, "constant")


def test_a_number_that_is_given_wins_but_dr2_on_dr3_is_told(tmp_path):
    survey = of_release(tmp_path / "survey", "dr3")
    for config in (
        Config().replace(fit={"zero_point": 0.031}),
        Config().replace(fit={"zero_point": 0.031, "zero_point_rule": "constant"}),
    ):
        found = choose_zero_point(survey, config.fit)
        assert found == ("constant", 0.031, None, "given; parallaxes of Gaia DR3")
    (tmp_path / "mine.toml").write_text("[fit]\nzero_point = 0.0483\n")
    for config in (load_config(tmp_path / "mine.toml"), load_config(preset="hogg2019")):
        with pytest.warns(SpfastWarning, match=r"zero point 0.0483 mas is that of Gaia DR2, but .* of Gaia DR3"):
            assert choose_zero_point(survey, config.fit)[1] == ZERO_POINT
    automatic = load_config(overrides={"fit": {"zero_point": 0.031, "zero_point_rule": "auto"}})
    assert choose_zero_point(survey, automatic.fit)[:3] == ("auto", 0.031, 0.02)
    assert choose_zero_point(survey, Config().replace(fit={"zero_point_rule": "auto"}).fit)[1] == 0.029


def test_the_zero_point_of_dr3_on_another_release_is_told(tmp_path):
    pytest.importorskip("zero_point")
    survey = of_release(tmp_path / "survey", "dr4", edit=gaia_dr3)
    with pytest.warns(SpfastWarning, match=r"zero point lindegren2021 is that of Gaia DR3, but .* of Gaia DR4"):
        assert choose_zero_point(survey, Config().replace(fit={"zero_point_rule": LINDEGREN}).fit).rule == LINDEGREN


def test_the_release_and_the_reason_are_in_model_header_report_and_info(tmp_path):
    survey = of_release(tmp_path / "survey", "dr2")
    catalog = make_catalog(survey, 20.0, config=RAW, threads=1)
    assert (catalog.meta["GAIAREL"], catalog.meta["ZEROPT_A"], catalog.meta["ZPERR_B"]) == ("dr2", ZERO_POINT, 0.005)
    assert catalog.meta["ZPWHY_A"] == "release Gaia DR2: Hogg, Eilers & Rix 2019"
    catalog["training"] = catalog["training_set"]
    numbers = key_numbers(catalog, None, {"measures": [], "calibration": []})
    assert ("added to Gaia parallaxes", "0.0483 mas", catalog.meta["ZPWHY_A"]) in numbers
    model = fit_stars(survey, RAW.replace(fit={"penalty": 20.0}), "A", threads=1)
    model.save(tmp_path / "model.npz")
    said = dict(describe(open_product(tmp_path / "model.npz")))
    assert said["zero point"] == f"0.0483 mas added to Gaia parallaxes ({catalog.meta['ZPWHY_A']})"
    assert dict(describe(open_product(tmp_path / "survey")))["parallaxes"] == "of Gaia DR2: as the survey says"


def test_tuning_adds_its_grid_to_parallaxes_as_published(tmp_path):
    survey = of_release(tmp_path / "survey", "dr3", edit=gaia_dr3)
    plain = tiny_survey(tmp_path / "plain", edit=gaia_dr3)[0]
    points = [tune(one, [50.0], [0.0483], config=RAW, threads=1)[0].points for one in (survey, plain)]
    assert [point["chi_squared"] for point in points[0]] == [point["chi_squared"] for point in points[1]]


def test_ingest_keeps_the_release(tmp_path, capsys):
    from small_survey import write_download

    allstar, spectra, gaia = write_download(tmp_path, 40)
    table = Table.read(gaia)
    table["ref_epoch"] = 2016.0
    table.write(gaia, overwrite=True)
    survey = ingest(allstar, spectra, gaia, tmp_path / "survey", threads=1)
    assert (survey.info["gaia_release"], survey.info["gaia_release_reason"]) == ("dr3", "its ref_epoch is 2016")
    assert "parallaxes of Gaia DR3: its ref_epoch is 2016" in capsys.readouterr().out
    config = Config().replace(sample={"gaia_release": "dr2"})
    with pytest.warns(SpfastWarning, match=r"gaia_release says dr2, but it is of Gaia DR3"):
        survey = ingest(allstar, spectra, gaia, tmp_path / "other", config=config, threads=1, quiet=True)
    assert survey.info["gaia_release"] == "dr2"
    assert GAIA["dr2"].title in survey_release(survey).title
