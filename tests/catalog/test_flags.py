"""Flags of spectra, pipeline and astrometry; stars unlike the training set; Gaia DR3's zero point star by star."""

import json
import sys
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from tiny import RAW, tiny_survey

from spfast import load_model
from spfast.catalog.columns import FLAGS, pack_flags
from spfast.catalog.flags import clipped_share, star_flags
from spfast.catalog.make import make_catalog
from spfast.config import resolve_config
from spfast.data.survey import Survey
from spfast.data.zero_point import added_to_parallax, lindegren_zero_point
from spfast.errors import BadInputError
from spfast.model.extent import TrainingExtent
from spfast.training.fold import fit_folds, fit_stars
from spfast.training.inputs import model_inputs
from spfast.validation.measures import validate


def mess(stars):
    stars["STARFLAG"][:4] = 1 << 9, 1 << 3, 1 << 1, -1
    stars["ASPCAPFLAG"][:4] = 1 << 0, 1 << 41, 1 << 20, -1
    stars["visibility_periods_used"][4] = 7
    stars["astrometric_chi2_al"][5] = 36 * np.sqrt(195)
    stars["astrometric_chi2_al"][6] = 34 * np.sqrt(195)
    stars["visibility_periods_used"][7] = 3
    stars["parallax"][7] = np.nan
    stars["training_set"][:8] = False


def gaia_dr3(stars):
    """DR3's columns: a five- and a six-parameter solution, then stars out of range or without what is needed."""
    n = len(stars)
    stars["phot_g_mean_mag"] = np.full(n, 13.0)
    stars["nu_eff_used_in_astrometry"] = np.linspace(1.3, 1.5, n)
    stars["pseudocolour"] = np.full(n, np.nan)
    stars["ecl_lat"] = np.linspace(-80.0, 80.0, n)
    stars["astrometric_params_solved"] = np.full(n, 31)
    stars["astrometric_params_solved"][[1, 3]] = 95
    stars["pseudocolour"][[1, 3]] = 1.4, 1.9
    stars["nu_eff_used_in_astrometry"][[1, 3]] = np.nan
    stars["phot_g_mean_mag"][2] = 5.0
    stars["nu_eff_used_in_astrometry"][4] = 1.0
    stars["nu_eff_used_in_astrometry"][5] = np.nan
    stars["astrometric_params_solved"][6] = 3
    stars["parallax"][7] = np.nan
    stars["training_set"][:8] = False


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    return tiny_survey(tmp_path_factory.mktemp("flags") / "survey", edit=mess)[0]


@pytest.fixture(scope="module")
def dr3(tmp_path_factory):
    return tiny_survey(tmp_path_factory.mktemp("dr3") / "survey", edit=gaia_dr3, gaia_release="dr3")[0]


def test_bits_are_for_ever():
    """Catalogs of earlier versions must stay readable: new bits only at the end."""
    assert list(FLAGS)[:7] == [
        "no_gaia_parallax",
        "parallax_outlier",
        "starflag_bad",
        "aspcapflag_bad",
        "many_masked_pixels",
        "not_converged",
        "seen_in_training",
    ]
    assert pack_flags({"zero_point_out_of_range": [True]}, 1).tolist() == [1 << 12]
    assert pack_flags({"strange_spectrum": [True], "estimated_G": [True]}, 1).tolist() == [3 << 13]
    bands = "G", "BP", "RP", "J", "H", "K", "W1", "W2", "band"
    assert list(FLAGS)[14:] == [f"estimated_{band}" for band in bands]


def test_pipeline_and_astrometry(survey):
    flags = {name: np.flatnonzero(stars).tolist() for name, stars in star_flags(survey).items()}
    assert flags["starflag_bad"] == [1]
    assert flags["starflag_warning"] == [0]
    assert flags["aspcapflag_bad"] == [1]
    assert flags["aspcapflag_warning"] == [0]
    assert flags["gaia_quality"] == [4, 5]
    assert flags["clipped_flux"] == []


def test_clipped_pixels_are_counted(survey):
    features = np.array(survey.features)
    features[300, 9:12] = np.log(np.float32(1.2))
    features[301, 9] = np.log(np.float32(0.01))
    features[301, 8] = 10.0  # a magnitude is not a pixel
    share = clipped_share(
        SimpleNamespace(features=features, layout=survey.layout, n_stars=survey.n_stars, info=survey.info)
    )
    assert share[300] == pytest.approx(3 / 60)
    assert share[301] == pytest.approx(1 / 60)
    assert not share[:300].any()


def test_extrapolation(survey, tmp_path):
    model = fit_stars(survey, resolve_config(RAW, penalty=20.0), "A", threads=1)
    training = np.asarray(survey.stars["training_set"])
    outside = model.extent.excludes(model.position(survey.features))
    assert outside.mean() < 0.03
    strange = np.array(survey.features[:4])
    strange[0, 1:9] += 8.0  # far fainter
    strange[1, 1] += 3.0  # an impossible colour
    strange[2, 9:69] -= 4.0  # lines too deep for any of them
    strange[3] = survey.features[np.flatnonzero(training)[0]]
    assert model.extent.excludes(model.position(strange)).tolist() == [True, True, True, False]
    strange[3, 9:69] = np.nan
    assert model.extent.excludes(model.position(strange))[3]
    # The numbers are those of the training stars, by plain numpy.
    rows = training & np.isin(np.arange(400), np.flatnonzero(training))
    extent = TrainingExtent.of(model.position(survey.features, rows))
    x = survey.features[rows].astype(float)
    points = np.column_stack([x[:, 1:9], x[:, 9:] @ model.coef[9:]])
    offset = points - points.mean(axis=0)
    distance = np.einsum("ni,ij,nj->n", offset, np.linalg.inv(offset.T @ offset / len(x)), offset)
    assert extent.limit == pytest.approx(np.quantile(distance, 0.999), rel=1e-6)
    # Saved and read, it gives the same answer; a model that does not know says nothing.
    model.save(tmp_path / "model.npz")
    again = load_model(tmp_path / "model.npz")
    np.testing.assert_array_equal(again.extent.excludes(again.position(survey.features)), outside)
    unaware = replace(model, extent=None)
    assert unaware.predict_stars(survey.features, survey.feature_errors).outside is None


def test_extrapolation_in_the_catalog(survey):
    models = fit_folds(survey, resolve_config(penalty=20.0), threads=1)
    catalog = make_catalog(survey, penalty=20.0, models=models)
    bit = 1 << list(FLAGS).index("extrapolation")
    for fold, other in (("A", "B"), ("B", "A")):
        own = np.asarray(catalog["sample"] == fold)
        features = model_inputs(survey, models[other]).features
        expected = models[other].extent.excludes(models[other].position(features, own))
        np.testing.assert_array_equal((catalog["flags"][own] & bit) > 0, expected)
    assert catalog.meta["FLAG7"].startswith("extrapolation: ")


def test_zero_point_of_each_star(dr3):
    zpt = pytest.importorskip("zero_point").zpt
    value, out_of_range = lindegren_zero_point(dr3.stars)
    assert np.flatnonzero(out_of_range).tolist() == [2, 3, 4, 5, 6]
    assert np.isnan(value[7])
    assert np.isfinite(np.delete(value, 7)).all()
    zpt.load_tables()
    stars = dr3.stars

    def package(g, nu_eff, pseudocolour, row, solved):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            inputs = (g, nu_eff, pseudocolour, stars["ecl_lat"][row], solved)
            return zpt.get_zpt(*(np.array([value], dtype=float) for value in inputs))[0]

    for row in (0, 100, 399):
        nu_eff = float(stars["nu_eff_used_in_astrometry"][row])
        assert value[row] == pytest.approx(package(13.0, nu_eff, np.nan, row, 31), abs=1e-6)
    assert value[1] == pytest.approx(package(13.0, np.nan, 1.4, 1, 95), abs=1e-6)
    nu_eff = float(stars["nu_eff_used_in_astrometry"][2])
    assert value[2] == pytest.approx(package(6.0001, nu_eff, np.nan, 2, 31), abs=1e-5)
    assert value[3] == pytest.approx(package(13.0, np.nan, 1.7199, 3, 95), abs=1e-5)
    assert value[4] == pytest.approx(package(13.0, 1.1001, np.nan, 4, 31), abs=1e-5)
    assert value[5] == value[6] == np.median(np.delete(value, [5, 6, 7]))


def test_zero_point_in_fit_and_catalog(dr3, tmp_path):
    pytest.importorskip("zero_point")
    catalog = make_catalog(dr3, penalty=20.0, zero_point="lindegren2021", threads=1)
    added, out_of_range = added_to_parallax(dr3.stars, "lindegren2021")
    np.testing.assert_array_equal(catalog["Gaia_zero_point"], added)
    with_parallax = np.isfinite(dr3.stars["parallax"])
    np.testing.assert_allclose(catalog["Gaia_parallax"][with_parallax], (dr3.stars["parallax"] + added)[with_parallax])
    bit = 1 << list(FLAGS).index("zero_point_out_of_range")
    np.testing.assert_array_equal((catalog["flags"] & bit) > 0, out_of_range)
    assert catalog.meta["ZPRULE_A"] == "lindegren2021"
    assert json.loads(catalog.meta["CONFIG"])["fit"]["zero_point_rule"] == "lindegren2021"
    # The fit sees the same parallaxes as a survey whose parallaxes were corrected beforehand.

    def corrected(stars):
        gaia_dr3(stars)
        stars["parallax"] += added

    other = tiny_survey(tmp_path / "corrected", edit=corrected)[0]
    expected = fit_stars(other, resolve_config(penalty=20.0, zero_point=0.0), "A", threads=1)
    fitted = fit_stars(dr3, resolve_config(penalty=20.0, zero_point="lindegren2021"), "A", threads=1)
    np.testing.assert_allclose(fitted.coef, expected.coef, rtol=1e-12, atol=1e-14)
    assert fitted.zero_point == 0.0
    # "Best" stars are chosen by the raw parallax.
    scores = validate(catalog)
    best = scores[(scores["sample"] == "best") & (scores["fold"] == "all")]["n"][0]
    raw = np.asarray(dr3.stars["parallax"] / dr3.stars["parallax_error"])
    assert best == np.sum(dr3.stars["training_set"] & (raw >= 20))


def test_zero_point_refusals(survey, dr3, monkeypatch):
    with pytest.raises(BadInputError, match="expected mas, or one of release, constant, lindegren2021"):
        resolve_config(zero_point="zinn2021")
    with pytest.raises(BadInputError, match="expected one of constant"):
        added_to_parallax(dr3.stars, "zinn2021")
    if "zero_point" in sys.modules or _has_package():
        with pytest.raises(BadInputError, match="lacks; ingest a Gaia DR3 table"):
            lindegren_zero_point(survey.stars)
        nothing = dr3.stars.copy()
        nothing["astrometric_params_solved"] = 3
        with pytest.raises(BadInputError, match="no star has a parallax"):
            lindegren_zero_point(nothing)
    monkeypatch.setitem(sys.modules, "zero_point", None)
    with pytest.raises(BadInputError, match="pip install 'spfast\\[zeropoint\\]'"):
        lindegren_zero_point(dr3.stars)
    assert added_to_parallax(dr3.stars, "constant", 0.05)[0].tolist() == [0.05] * 400


def _has_package():
    from importlib.util import find_spec

    return find_spec("zero_point") is not None


def test_result_flags_of_sdss_v_flag_stars_by_their_own_bits(survey):
    stars = survey.stars.copy()
    stars["ASPCAPFLAG"] = 0
    bits = [0, 6, 8, 21, 24, 27, 5, 7, 10, 17, 20, 28]
    stars["ASPCAPFLAG"][: len(bits)] = [1 << bit for bit in bits]
    dr19 = Survey(
        survey.path,
        {**survey.info, "aspcapflag_bits": "result_flags"},
        survey.layout,
        stars,
        survey.features,
        survey.feature_errors,
    )
    flags = star_flags(dr19)
    assert np.flatnonzero(flags["aspcapflag_bad"]).tolist() == list(range(6))
    assert np.flatnonzero(flags["aspcapflag_warning"]).tolist() == list(range(6, 11))
    dr19.info["aspcapflag_bits"] = "others"
    with pytest.raises(BadInputError, match="ASPCAPFLAG holds 'others', expected ASPCAPFLAG or result_flags"):
        star_flags(dr19)
