"""Checks of a catalog, each on stars where the answer is known."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import Table
from tiny import tiny_survey

from spfast.catalog.columns import FLAGS
from spfast.cli import main
from spfast.config import resolve_config
from spfast.data.tables.read import read_table
from spfast.data.tables.write import write_table
from spfast.errors import BadInputError
from spfast.model.arrays import MAGNITUDE_SUM
from spfast.model.layout import MAGNITUDES, FeatureLayout, grid_wavelength
from spfast.training.fold import fit_folds
from spfast.validation.checks import CHECKS, check_names, format_checks, load_models, run_checks
from spfast.validation.comparison import compare_catalogs
from spfast.validation.coverage import calibration, coverage
from spfast.validation.quantities import QUANTITIES, star_quantities
from spfast.validation.read_catalog import TABLE_1
from spfast.validation.reddening import LAWS, reddening_test
from spfast.validation.residuals import half_width
from spfast.validation.stability import compare_models, surviving_pixels
from spfast.validation.trends import residual_trends

N = 20_000
SCATTER = 0.08


def mock(seed=1, scatter=SCATTER, slope=0.0, n=N):
    """A catalog with honest errors, its ln parallaxes off by ``slope`` a magnitude of G; its stars and its truth."""
    rng = np.random.default_rng(seed)
    names = [f"2M{i:08d}+{i:07d}" for i in range(n)]
    true = np.exp(rng.normal(-1.2, 0.7, n))
    g = 12.0 - 2.0 * np.log(true) + rng.normal(0.0, 1.0, n)
    gaia_error = rng.uniform(0.02, 0.1, n)
    ln_error = scatter * rng.uniform(0.5, 1.5, n)
    spec = true * np.exp(ln_error * rng.normal(size=n) + slope * (g - 14.0))
    values = [names, true + rng.normal(0.0, gaia_error), gaia_error, spec, ln_error * spec]
    catalog = Table([*values, (np.arange(n) % 2).astype(int), np.where(np.arange(n) % 3, "A", "B")], names=TABLE_1)
    stars = Table(
        {
            "APOGEE_ID": names,
            "phot_g_mean_mag": g,
            "phot_bp_mean_mag": g + 0.8,
            "phot_rp_mean_mag": g - 0.7 + rng.normal(0.0, 0.2, n),
            "H": g - 3.0,
            "w2mpro": g - 3.1 + rng.normal(0.0, 0.1, n),
            "TEFF": rng.normal(4300.0, 300.0, n),
            "LOGG": rng.uniform(0.0, 2.2, n),
            "FE_H": np.where(np.arange(n) % 50, rng.normal(-0.2, 0.3, n), -9999.0),
            "SNR": rng.uniform(50.0, 500.0, n),
            "glat": rng.uniform(-90.0, 90.0, n),
        }
    )
    return catalog, stars, Table({"APOGEE_ID": names, "true_parallax": true})


def one(table, **values):
    keep = np.all([table[name] == value for name, value in values.items()], axis=0)
    assert keep.sum() == 1
    return table[keep][0]


@pytest.fixture(scope="module")
def honest():
    return mock()


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    def with_colours(stars):
        rng = np.random.default_rng(5)
        stars["H"] = rng.uniform(8.0, 12.0, len(stars))
        stars["w2mpro"] = stars["H"] - rng.uniform(0.0, 0.4, len(stars))
        stars["SNR"] = rng.uniform(50.0, 500.0, len(stars))

    return tiny_survey(tmp_path_factory.mktemp("checks") / "survey", edit=with_colours)[0]


@pytest.fixture(scope="module")
def models(survey):
    return fit_folds(survey, resolve_config(penalty=5.0), threads=1)


def test_star_quantities_follow_their_stars(honest):
    catalog, stars, _ = honest
    names = [*catalog["2MASS_ID"][:5], "stranger"]
    quantities = star_quantities(names, stars[::-1])
    assert list(quantities) == list(QUANTITIES)
    np.testing.assert_allclose(quantities["G"][:5], stars["phot_g_mean_mag"][:5])
    np.testing.assert_allclose(quantities["BP-RP"][:5], (stars["phot_bp_mean_mag"] - stars["phot_rp_mean_mag"])[:5])
    np.testing.assert_allclose(quantities["|b|"][:5], np.abs(stars["glat"][:5]))
    assert np.isnan(quantities["[Fe/H]"][0])  # -9999
    assert all(np.isnan(values[5]) for values in quantities.values())
    assert "S/N" not in star_quantities(names, stars["APOGEE_ID", "H", "w2mpro"])
    with pytest.raises(BadInputError, match="no star of the catalog is in the survey"):
        star_quantities(["stranger"], stars)


def test_honest_errors_cover_the_nominal_share_of_stars(honest):
    catalog, stars, truth = honest
    table = calibration(catalog, truth)
    assert table.meta["ERRCOL"] == "spec_parallax_err"
    assert np.all(np.abs(table["share"] - table["level"]) < 4 * table["share_error"])
    shares = coverage(catalog, truth, stars)
    fifths = {"G", "H-W2", "S/N", "parallax"}
    assert set(shares["stars"]) == {"all", "training", "rest"} | fifths
    for name in fifths:
        assert len(shares[shares["stars"] == name]) == 10
    assert np.all(np.abs(shares["within_68"] - 0.68) < 4.5 * shares["error_68"])
    assert np.all(np.abs(shares["within_95"] - 0.95) < 4.5 * shares["error_95"])
    assert one(shares, reference="truth", stars="all")["pull"] == pytest.approx(1.0, abs=0.03)
    g = shares[(shares["stars"] == "G") & (shares["reference"] == "truth")]
    assert g["n"].tolist() == [N // 5] * 5
    np.testing.assert_array_equal(g["low"][1:], g["high"][:-1])


def test_coverage_shows_errors_that_are_too_small_and_uses_the_total_error(honest):
    catalog, _, truth = honest
    half = catalog.copy()
    half["spec_parallax_err"] /= 2
    share = one(coverage(half, truth), reference="truth", stars="all")
    assert share["within_68"] == pytest.approx(0.3829, abs=0.02)  # within half a sigma
    assert share["pull"] == pytest.approx(2.0, rel=0.03)
    half["flags"] = np.where(np.arange(N) % 10, 0, 1 << list(FLAGS).index("extrapolation"))
    assert "inside" not in coverage(half)["stars"]  # no header says what the bits mean
    half.meta["FLAG7"] = "extrapolation"
    table = coverage(half, truth)
    assert one(table, reference="truth", stars="extrapolation")["n"] == N // 10
    assert one(table, reference="truth", stars="inside")["n"] == N - N // 10
    half["spec_parallax_err_total"] = catalog["spec_parallax_err"]
    table = coverage(half, truth)
    assert table.meta["ERRCOL"] == "spec_parallax_err_total"
    assert one(table, reference="truth", stars="all")["within_68"] == pytest.approx(0.68, abs=0.015)


def test_gaia_errors_are_inflated_as_the_header_says(honest):
    catalog = honest[0].copy()
    catalog["Gaia_parallax_err"] /= np.where(catalog["sample"] == "A", 1.5, 2.0)
    small = one(coverage(catalog), reference="gaia", stars="all")
    assert small["within_68"] < 0.62
    catalog.meta.update(INFLAT_B=1.5, INFLAT_A=2.0)  # stars of fold A are predicted by model B
    table = coverage(catalog)
    assert one(table, reference="gaia", stars="all")["within_68"] == pytest.approx(0.68, abs=0.015)
    assert 1.5 < table.meta["INFLAT"] < 2.0


def test_a_trend_with_g_is_measured_with_its_slope_and_change():
    catalog, stars, truth = mock(seed=4, slope=0.02)
    table = residual_trends(catalog, stars, truth)
    slope = one(table, reference="truth", quantity="G")
    assert slope["slope"] == pytest.approx(0.02, abs=4 * slope["slope_error"])
    assert slope["significance"] > 20
    low, high = np.percentile(stars["phot_g_mean_mag"], [10, 90])
    assert slope["change"] == pytest.approx(slope["slope"] * (high - low), rel=1e-9)
    assert one(table, reference="gaia", quantity="G")["significance"] > 5
    assert one(table, reference="truth", quantity="Teff")["per"] == "1000 K"
    assert one(table, reference="truth", quantity="[Fe/H]")["n"] == N - N // 50


def test_slopes_of_trends_scatter_as_their_errors_say():
    """Over seeds, slopes against the truth are N(0, 1) in their errors, whatever the catalog's errors say."""
    significance = []
    for seed in range(25):
        catalog, stars, truth = mock(seed=seed, n=800)
        catalog["spec_parallax_err"] /= 3
        table = residual_trends(catalog, stars, truth)
        significance.append(table["significance"][table["reference"] == "truth"])
    spread = np.std(np.concatenate(significance))
    assert spread == pytest.approx(1.0, abs=0.2)


def test_a_few_wrong_parallaxes_make_no_trend():
    catalog, stars, truth = mock(seed=9, n=3000)
    faint = np.argsort(stars["phot_g_mean_mag"])[-15:]
    catalog["Gaia_parallax"][faint] = 8.0
    slope = one(residual_trends(catalog, stars, truth), reference="gaia", quantity="G")
    assert abs(slope["significance"]) < 4


def test_trends_of_few_stars_are_left_out_and_a_foreign_survey_is_refused():
    catalog, stars, truth = mock(n=9)
    assert len(residual_trends(catalog, stars, truth)) == 0
    stars["APOGEE_ID"] = [f"x{i}" for i in range(9)]
    with pytest.raises(BadInputError, match="no star of the catalog is in the survey"):
        residual_trends(catalog, stars, truth)


def test_two_catalogs_are_compared_by_star_name_overall_and_by_distance(honest):
    catalog, _, _ = honest
    other = catalog[::-1][: N // 2].copy()
    rng = np.random.default_rng(0)
    other["spec_parallax"] = other["spec_parallax"] * np.exp(0.05 + 0.1 * rng.normal(size=len(other)))
    other["spec_parallax_err"] = 0.1 * other["spec_parallax"]
    other["2MASS_ID"] = [f"{name[:10]} + {name[11:]}" for name in other["2MASS_ID"]]
    other["spec_parallax"][:3] = np.nan
    table = compare_catalogs(catalog, other)
    assert table.meta == {"N_THIS": N, "N_OTHER": N // 2, "N_BOTH": N // 2 - 3}
    whole = table[0]
    assert whole["n"] == N // 2 - 3
    assert whole["bias"] == pytest.approx(-0.05, abs=4 * whole["bias_error"])
    assert whole["scatter"] == pytest.approx(0.1, rel=0.05)
    assert whole["error_ratio"] == pytest.approx(0.8, rel=0.05)
    assert table["n"][1:].sum() == whole["n"]
    assert np.all(table["high"][1:-1] <= table["low"][2:])
    nobody = Table([["x"], [1.0], [0.1]], names=["2MASS_ID", "spec_parallax", "spec_parallax_err"])
    for theirs in (nobody, other[:0]):
        with pytest.raises(BadInputError, match="no star in common"):
            compare_catalogs(catalog, theirs)
    with pytest.raises(BadInputError, match="have no parallax or error in one"):
        compare_catalogs(catalog, Table([[catalog["2MASS_ID"][0]], [np.nan], [0.1]], names=nobody.colnames))
    with pytest.raises(BadInputError, match="the other catalog has no column spec_parallax_err"):
        compare_catalogs(catalog, Table([["x"], [1.0]], names=["2MASS_ID", "spec_parallax"]))


def plain(models):
    """The models as they are, nothing subtracted from what they predict."""
    return {name: replace(model, budget=replace(model.budget, subtracted=False)) for name, model in models.items()}


def test_reddening_slope_is_that_of_the_coefficients(survey, models):
    models = plain(models)
    for law in LAWS:
        table = reddening_test(survey, models, law)
        for name, model in models.items():
            row = one(table, model=name)
            expected = sum(c * LAWS[law][band] for band, c in zip(MAGNITUDES, model.coef[1:9], strict=True))
            assert row["slope"] == pytest.approx(expected, rel=1e-6)
            assert row["modulus"] == pytest.approx(expected / MAGNITUDE_SUM, rel=1e-6)
            assert row["at_half"] == pytest.approx(np.exp(expected / 2) - 1, rel=1e-6)
            assert row["curvature"] < 1e-6
            assert row["spread"] < 1e-6
    # Stars of low extinction that the model was not trained on: not one more.
    extinction = 0.918 * np.asarray(survey.stars["H"] - survey.stars["w2mpro"] - 0.05)
    fold_a = np.asarray(survey.stars["random_index"]) % 2 == 0
    held_out = ~(fold_a & np.asarray(survey.stars["training_set"]))
    assert one(table, model="A")["n"] == np.sum(held_out & (extinction < 0.1))


def test_reddening_slope_includes_the_offset_that_the_catalog_subtracts(survey, models):
    steep = np.array([[-9.0, 9.0, 0.5, 1.0, 0.2, 0.0], [-9.0, 9.0, 0.0, 1.0, 0.0, 0.0]])
    model = replace(models["A"], budget=replace(models["A"].budget, offset=steep))
    without, with_offset = (
        one(reddening_test(survey, {"A": m}), model="A")["slope"] for m in (plain({"A": model})["A"], model)
    )
    assert with_offset - without == pytest.approx(-0.2 * (LAWS["wang2019"]["H"] - LAWS["wang2019"]["W2"]), rel=1e-4)


def test_reddening_test_takes_any_law_and_refuses_bad_laws_and_reddened_stars(survey, models):
    models = plain(models)
    grey = dict.fromkeys(MAGNITUDES, 1.0)
    table = reddening_test(survey, models, grey)
    assert table["law"][0] == "given"
    assert table["slope"][0] == pytest.approx(models["A"].coef[1:9].sum(), rel=1e-6)
    with pytest.raises(BadInputError, match="expected one of wang2019, yuan2013"):
        reddening_test(survey, models, "mine")
    with pytest.raises(BadInputError, match="lacks RP"):
        reddening_test(survey, models, {band: 1.0 for band in MAGNITUDES if band != "RP"})
    red = SimpleNamespace(stars=survey.stars.copy(), layout=survey.layout, features=survey.features)
    red.stars["w2mpro"] = red.stars["H"] - 1.0
    with pytest.raises(BadInputError, match=r"model A: no star with A_K < 0\.1"):
        reddening_test(red, models)


def test_extinction_falls_with_wavelength_in_every_law():
    for law in LAWS.values():
        assert law["K"] == 1.0
        assert list(law) == list(MAGNITUDES)
        assert law["BP"] > law["G"] > law["RP"] > law["J"] > law["H"] > law["K"] > law["W1"] > law["W2"]


def fake_model(pixels, coefs, magnitudes, layout=None, **metadata):
    layout = FeatureLayout(tuple(range(1000, 2000))) if layout is None else layout
    coef = np.zeros(layout.n_features)
    coef[1:9] = magnitudes
    for pixel, c in zip(pixels, coefs, strict=True):
        coef[9 + pixel - 1000] = c
    return SimpleNamespace(coef=coef, layout=layout, metadata=metadata)


def test_models_are_compared_by_their_pixels_and_coefficients():
    magnitudes = np.linspace(-0.3, 0.2, 8)
    first = fake_model([1010, 1100, 1500, 1999], [1.0, -2.0, 0.5, 0.1], magnitudes)
    second = fake_model([1010, 1102, 1700], [2.0, 1.0, 0.3], 2 * magnitudes)
    row = compare_models({"A": first, "B": second})[0]
    assert (row["pixels_first"], row["pixels_second"], row["pixels_both"]) == (4, 3, 1)
    assert row["pixels_by_chance"] == pytest.approx(12 / 1000)
    assert row["near"] == pytest.approx(2 / 4)
    assert row["near_by_chance"] == pytest.approx(15 / 1000)
    assert row["sum_second"] == pytest.approx(2 * magnitudes.sum())
    assert row["corr_magnitudes"] == pytest.approx(1.0)
    union = np.corrcoef([1.0, -2.0, 0, 0.5, 0, 0.1], [2.0, 0, 1.0, 0, 0.3, 0])[0, 1]
    assert row["corr_pixels"] == pytest.approx(union)
    assert row["n"] == 0

    pixels = surviving_pixels({"A": first, "B": second})
    assert pixels["pixel"].tolist() == [1010, 1100, 1102, 1500, 1700, 1999]
    assert pixels["n_models"].tolist() == [2, 1, 1, 1, 1, 1]
    assert pixels["coef_B"].tolist() == [2.0, 0.0, 1.0, 0.0, 0.3, 0.0]
    np.testing.assert_allclose(pixels["wavelength"], grid_wavelength(pixels["pixel"]))
    assert str(pixels["wavelength"].unit) == "Angstrom"

    none = fake_model([], [], magnitudes)
    row = compare_models({"A": none, "B": none})[0]
    assert row["pixels_both"] == 0
    assert np.isnan(row["near"])
    assert len(surviving_pixels({"A": none})) == 0
    with pytest.raises(BadInputError, match="it takes two"):
        compare_models({"A": first})
    first.layout = None
    with pytest.raises(BadInputError, match="model A: it has no layout"):
        compare_models({"A": first, "B": second})


def test_models_are_compared_on_stars_that_neither_was_trained_on(survey, models):
    row = compare_models(models, survey)[0]
    unseen = ~np.asarray(survey.stars["training_set"])
    assert row["unseen"]
    assert row["n"] == unseen.sum()
    lns = [models[fold].predict_ln(survey.features) - models[fold].predict_offset(survey.features) for fold in "AB"]
    first, second = (ln[unseen] for ln in lns)
    assert row["corr_predictions"] == pytest.approx(np.corrcoef(first, second)[0, 1])
    assert row["scatter"] == pytest.approx(half_width(first - second))
    assert row["offset"] == pytest.approx(np.median(first - second))
    assert row["corr_predictions"] > 0.99
    assert row["sum_first"] == pytest.approx(MAGNITUDE_SUM, abs=0.05)
    same = compare_models({"A": models["A"], "again": models["A"]}, survey)[0]
    assert same["scatter"] == 0.0


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
    names = ["calibration", "coverage", "trends", "reddening", "stability", "wavelengths", "comparison"]
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
