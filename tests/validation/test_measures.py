"""The paper's measures, on catalogs whose scatter and bias were put in."""

import warnings

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from spfast.data.tables.read import read_table
from spfast.data.tables.write import write_table
from spfast.errors import BadInputError
from spfast.validation.measures import MEASURES, format_validation, validate
from spfast.validation.read_catalog import TABLE_1, read_catalog
from spfast.validation.residuals import catalog_residuals

N = 40_000
SCATTER = 0.08


@pytest.fixture(scope="module")
def truth():
    rng = np.random.default_rng(2)
    return Table({"APOGEE_ID": [f"2M{i:08d}+{i:07d}" for i in range(N)], "true_parallax": rng.uniform(0.5, 4.0, N)})


@pytest.fixture(scope="module")
def catalog(truth):
    """Spectrophotometric parallaxes 8% off and 1% high, with honest errors; Gaia's with errors 0.02 to 0.2 mas."""
    rng = np.random.default_rng(1)
    true = truth["true_parallax"]
    gaia_error = rng.uniform(0.02, 0.2, N)
    return Table(
        [
            truth["APOGEE_ID"],
            true + rng.normal(0.0, gaia_error),
            gaia_error,
            true * (1.01 + SCATTER * rng.normal(size=N)),
            SCATTER * true,
            (np.arange(N) % 2).astype(np.uint8),
            np.where(rng.random(N) < 0.5, "A", "B"),
        ],
        names=TABLE_1,
    )


def row(table, sample="parent", fold="all", reference="gaia"):
    keep = (table["sample"] == sample) & (table["fold"] == fold) & (table["reference"] == reference)
    assert keep.sum() == 1
    return table[keep][0]


def test_measures_against_the_truth_give_back_scatter_and_bias(catalog, truth):
    scores = row(validate(catalog, truth), reference="truth")
    assert scores["n"] == N
    for name in ("scatter_16_84", "scatter_2_97", "scatter_mad"):
        assert scores[name] == pytest.approx(SCATTER, rel=0.03)
    assert scores["bias"] == pytest.approx(0.01, abs=0.002)
    assert scores["pull"] == pytest.approx(1.0, rel=0.03)
    assert scores["chi2_mean"] == pytest.approx(1.0 + (0.01 / SCATTER) ** 2, rel=0.03)
    assert scores["chi2_median"] == pytest.approx(0.455, rel=0.05)
    nearer = np.abs(catalog["spec_parallax"] - truth["true_parallax"]) < np.abs(
        catalog["Gaia_parallax"] - truth["true_parallax"]
    )
    assert scores["beats_gaia"] == pytest.approx(nearer.mean(), abs=1e-12)


def test_measures_against_gaia_follow_their_definitions(catalog):
    scores = validate(catalog)
    assert scores.colnames == list(MEASURES)
    assert set(scores["reference"]) == {"gaia"}
    assert len(scores) == 9
    parent = row(scores)
    smaller = catalog["spec_parallax_err"] < catalog["Gaia_parallax_err"]
    assert parent["beats_gaia"] == pytest.approx(smaller.mean(), abs=1e-12)
    assert parent["pull"] == pytest.approx(1.0, rel=0.03)
    residual = catalog["spec_parallax"] / catalog["Gaia_parallax"] - 1
    low, high = np.percentile(residual, [2.5, 97.5])
    assert parent["scatter_2_97"] == pytest.approx((high - low) / 4, rel=1e-12)
    assert row(scores, "training")["n"] == N // 2
    assert row(scores, fold="A")["n"] + row(scores, fold="B")["n"] == N


def test_best_sample_is_cut_by_the_raw_parallax(catalog):
    def n_best(zero_point):
        raw = catalog["Gaia_parallax"] - zero_point
        return np.sum((catalog["training_set"] == 1) & (raw / catalog["Gaia_parallax_err"] >= 20))

    assert row(validate(catalog), "best")["n"] == n_best(0.0483)
    assert row(validate(catalog, zero_point=0.3), "best")["n"] == n_best(0.3)
    ours = catalog.copy()
    # Stars of fold A are predicted by model B, so their Gaia parallax has its zero point.
    ours.meta.update(ZEROPT_A=0.0, ZEROPT_B="0.3")
    in_a = catalog["sample"] == "A"
    raw = catalog["Gaia_parallax"] - np.where(in_a, 0.3, 0.0)
    best = (catalog["training_set"] == 1) & (raw / catalog["Gaia_parallax_err"] >= 20)
    assert row(validate(ours), "best")["n"] == best.sum()
    assert row(validate(ours, zero_point=0.0483), "best")["n"] == n_best(0.0483)


def test_missing_parallaxes_do_not_count(catalog, truth):
    table = catalog[:1000].copy()
    table["Gaia_parallax"][:10] = np.nan
    table["Gaia_parallax_err"][10:20] = -9999.0
    table["Gaia_parallax"] = MaskedColumn(table["Gaia_parallax"], mask=np.arange(1000) >= 990)
    table["spec_parallax"][20:30] = np.nan
    scores = validate(table, truth)
    assert row(scores)["n"] == 960
    assert row(scores, reference="truth")["n"] == 990


@pytest.mark.parametrize("name", ["Gaia_parallax", "spec_parallax"])
def test_a_parallax_too_small_to_divide_by_does_not_count(catalog, truth, name):
    catalog = catalog.copy()
    catalog[name][1] = 1e-309
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = validate(catalog, truth)
        residuals = catalog_residuals(read_catalog(catalog), truth)
    assert all(np.isfinite(table[measure]).all() for measure in ("scatter_16_84", "bias", "pull"))
    for residual in residuals:
        assert np.isfinite(residual.value[residual.usable]).all()
        assert np.isfinite(residual.error[residual.usable]).all()


def test_catalog_without_stars_is_refused(catalog, tmp_path):
    for suffix in ("fits", "ecsv", "csv"):
        write_table(catalog[:0], tmp_path / f"none.{suffix}")
        with pytest.raises(BadInputError, match="has no star with both"):
            validate(read_table(tmp_path / f"none.{suffix}"))


def test_published_table_is_read_under_its_own_spellings(catalog, tmp_path):
    published = Table(
        {
            "2MASS_ID": [f"{name[:10]} + {name[11:]}" for name in catalog["2MASS_ID"][:500]],
            "Gaia-parallax": catalog["Gaia_parallax"][:500].round(4),
            "GAIA_PARALLAX_ERR": catalog["Gaia_parallax_err"][:500].round(4),
            "spec_parallax": catalog["spec_parallax"][:500].round(4),
            "spec_parallax_err": catalog["spec_parallax_err"][:500].round(4),
            "training_set": catalog["training_set"][:500].astype(int),
            "sample": [f"{fold} " for fold in catalog["sample"][:500]],
        }
    )
    truth = Table({"APOGEE_ID": catalog["2MASS_ID"][:500], "true_parallax": catalog["spec_parallax"][:500]})
    for suffix in (".csv", ".fits"):
        write_table(published, tmp_path / f"published{suffix}")
        scores = validate(read_table(tmp_path / f"published{suffix}"), truth)
        assert row(scores, reference="truth")["n"] == 500
        assert row(scores)["scatter_mad"] == pytest.approx(row(validate(catalog[:500]))["scatter_mad"], rel=1e-2)


def test_training_set_written_as_text_is_read(catalog):
    table = catalog[:1000].copy()
    table["training_set"] = np.where(catalog["training_set"][:1000] == 1, "True", "False")
    assert row(validate(table), "training")["n"] == 500


def test_samples_without_stars_are_left_out(catalog):
    one = catalog[:1].copy()  # not a training star
    scores = validate(one)
    assert set(scores["sample"]) == {"parent"}
    assert np.isfinite(row(scores)["bias"])


def test_missing_columns_and_a_foreign_truth_are_refused(catalog, truth):
    lacking = catalog.copy()
    lacking.remove_column("spec_parallax_err")
    with pytest.raises(BadInputError, match="no column spec_parallax_err"):
        validate(lacking)
    nothing = catalog[:5].copy()
    nothing["Gaia_parallax"] = np.nan
    with pytest.raises(BadInputError, match="no star with both"):
        validate(nothing)
    strangers = truth.copy()
    strangers["APOGEE_ID"] = "x"
    with pytest.raises(BadInputError, match="no star of the catalog is in the truth"):
        validate(catalog, strangers)
    with pytest.raises(BadInputError, match="truth table has no column true_parallax"):
        validate(catalog, Table({"APOGEE_ID": ["a"]}))


def test_pulls_use_the_total_error_and_gaias_factor_where_the_catalog_has_them(catalog, truth):
    ours = catalog.copy()
    ours["spec_parallax_err_total"] = 2 * ours["spec_parallax_err"]
    ours["Gaia_parallax_err"] /= 2
    ours.meta.update(INFLAT_A=4.0, INFLAT_B=4.0)
    plain, total = validate(catalog, truth), validate(ours, truth)
    for reference in ("gaia", "truth"):
        assert row(total, reference=reference)["pull"] == pytest.approx(row(plain, reference=reference)["pull"] / 2)
    assert total.meta["ERRCOL"] == "spec_parallax_err_total"
    assert "pull 0.5" in format_validation(total).splitlines()[-1]


def test_measures_are_printed_with_a_sentence_on_the_main_samples(catalog, truth):
    text = format_validation(validate(catalog, truth))
    lines = text.splitlines()
    assert len(lines) == 1 + 1 + 18 + 2
    assert "errors: spec_parallax_err)" in lines[0]
    assert "against the true ones" in lines[-1]
    assert "8.0%" in text
