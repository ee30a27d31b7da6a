"""The verdict: each finding on a catalog in which it was put in, and on one in which it was not."""

from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import Table
from mock_catalog import mock

from spfast.validation.checks import run_checks
from spfast.validation.judge import judge
from spfast.validation.verdict import Finding, Limits, format_verdict, verdict_table

ZERO_POINT = {
    **{f"ZEROPT_{fold}": 0.0483 for fold in "AB"},
    **{f"ZPRULE_{fold}": "constant" for fold in "AB"},
    "GAIAREL": "dr2",
}
FLAG_CARDS = {"FLAG1": "parallax_outlier: ...", "FLAG7": "extrapolation: ..."}
TREND = ("gaia", "H-W2", "1 mag", 1000)


@pytest.fixture(scope="module")
def catalog():
    """Twenty thousand stars of 8%, with what a header of ours says."""
    table = mock()[0]
    table["training_set"] = 1
    table["flags"] = np.where(np.arange(len(table)) < 4000, 2, 0)  # outliers, which say nothing of the prediction
    table.meta.update({**ZERO_POINT, **FLAG_CARDS, "CONVRG_A": True, "CONVRG_B": True})
    return table


def verdicts(catalog, tables=None, **more):
    tables = run_checks(catalog) if tables is None else tables
    return {finding.name: finding for finding in judge(catalog, tables, **more)}


def grades(found):
    return {name: finding.verdict for name, finding in found.items() if finding.verdict != "not checked"}


def test_a_good_catalog_is_good_and_what_cannot_be_asked_of_it_is_named(catalog):
    found = verdicts(catalog)
    assert set(grades(found).values()) == {"good"}
    assert len(grades(found)) == 9
    assert [name for name in found if name not in grades(found)] == [
        "dust: reddening test",
        "trends of the residuals",
        "clusters",
        "catalog, survey and models",
    ]
    assert all("give" in found[name].meaning.lower() for name in found if name not in grades(found))
    # That a published table has seven columns and no header is no reason to call it bad.
    bare = catalog[catalog.colnames[:7]]
    bare.meta.clear()
    assert set(grades(verdicts(bare)).values()) == {"good"}


def test_parallaxes_that_are_too_large_are_bad(catalog):
    biased = catalog.copy()
    biased["spec_parallax"] *= 1.1
    offset = verdicts(biased)["offset from Gaia, best stars"]
    assert offset.verdict == "bad"
    assert offset.value == pytest.approx(0.10, abs=4 * offset.error)
    assert "too near" in offset.meaning


@pytest.mark.parametrize(("factor", "size"), [(0.5, "small"), (2.0, "large")])
def test_errors_that_are_off_by_two_are_bad(catalog, factor, size):
    off = catalog.copy()
    off["spec_parallax_err"] *= factor
    found = verdicts(off)
    assert found["pull of the best stars"].verdict == "bad"
    assert f"too {size}" in found["stars within 68% of Gaia"].meaning
    assert found["stars within 68% of Gaia"].verdict in ("look", "bad")  # Gaia's errors count there too


def test_a_scatter_above_the_papers_is_looked_at():
    catalog = mock(scatter=0.11)[0]
    assert verdicts(catalog)["scatter against Gaia, best stars"].verdict == "look"


@pytest.mark.parametrize(("slope", "verdict"), [(0.02, "good"), (0.1, "bad"), (-1.17, "bad")])
def test_the_reddening_tests_worst_model_is_judged(catalog, slope, verdict):
    names = ("model", "slope", "spread", "n", "at_half")
    rows = [(model, each, 0.2, 700, np.expm1(0.5 * each)) for model, each in (("A", 0.0), ("B", 2 * slope))]
    found = verdicts(catalog, {"reddening": Table(rows=rows, names=names)})["dust: reddening test"]
    assert found.verdict == verdict
    assert ("too far" in found.meaning) == (slope < 0)


@pytest.mark.parametrize(
    ("slope", "error", "verdict"),
    [(0.10, 0.09, "not checked"), (0.02, 0.001, "good"), (0.05, 0.004, "look"), (-0.08, 0.01, "bad")],
)
def test_trends_are_judged_by_size_and_significance(catalog, slope, error, verdict):
    names = ("reference", "quantity", "per", "n", "slope", "slope_error", "low", "high", "change")
    row = (*TREND, slope, error, 0.1, 1.1, slope)
    found = verdicts(catalog, {"trends": Table(rows=[row], names=names)})
    assert found["trend with dust (H-W2)"].verdict == verdict
    assert found["trend with [Fe/H]"].verdict == "not checked"


def test_the_worst_cluster_counts_and_is_named(catalog):
    names = ("cluster", "gaia", "gaia_error", "spec", "spec_error", "slope", "slope_error", "literature")
    rows = [
        ("M67", 1.12, 0.005, 1.13, 0.01, 0.01, 0.02, 1.125),
        ("M92", 0.118, 0.004, 0.140, 0.003, -0.29, 0.02, 0.1176),
        ("Mine", 0.25, 0.005, 0.27, 0.004, np.nan, np.nan, np.nan),
    ]
    found = verdicts(catalog, {"clusters": Table(rows=rows, names=names)})
    offset, slope = found["clusters: offset"], found["clusters: slope with magnitude"]
    assert (offset.verdict, slope.verdict) == ("bad", "bad")
    assert offset.value == pytest.approx(np.log(0.140 / 0.1176))
    assert "(M92; largest: M92)" in offset.meaning
    assert slope.value == -0.29
    found = verdicts(catalog, {"clusters": Table(rows=rows[::2], names=names)})
    assert (found["clusters: offset"].verdict, found["clusters: slope with magnitude"].verdict) == ("look", "good")


def test_header_and_flags_are_judged(catalog):
    def verdict(name, flags=0, **cards):
        other = catalog.copy()
        other.meta.update(cards)
        other["flags"] |= flags
        return verdicts(other, {})[name].verdict

    assert verdict("stars flagged") == "good"
    assert verdict("stars flagged", flags=1 << 7) == "bad"
    assert verdict("models that stopped early", CONVRG_B=False) == "bad"
    assert verdict("training stars of the smaller fold", NTRAIN_A=2000, NTRAIN_B=9000) == "look"
    excerpt = verdicts(catalog[:100], {})["training stars of the smaller fold"]
    assert excerpt.verdict == "not checked"
    assert verdict("zero point") == "good"
    assert verdict("zero point", GAIAREL="unknown") == "look"
    assert verdict("zero point", ZEROPT_A=0.069) == "look"
    assert verdict("zero point", GAIAREL="dr3") == "bad"
    survey = SimpleNamespace(stars=Table({"APOGEE_ID": catalog["2MASS_ID"]}), survey_hash="other", path="survey")
    found = verdicts(catalog, {}, survey=survey)["catalog, survey and models"]
    assert found.verdict == "good"
    foreign = catalog.copy()
    foreign.meta["SURVHASH"] = "own"
    found = verdicts(foreign, {}, survey=survey)["catalog, survey and models"]
    assert found.verdict == "bad"
    assert "was made from the survey own" in found.meaning


def test_a_verdict_is_printed_and_written_worst_first(catalog):
    findings = judge(catalog, run_checks(catalog))
    text, table = format_verdict(findings), verdict_table(findings)
    assert text.startswith("Verdict: 9 good, 4 not checked")
    assert list(table["verdict"]) == ["good"] * 9 + ["not checked"] * 4
    limits = Limits(0.03, 0.06, "why")
    bad = Finding("bias", limits.grade(0.1, 0.01), "Too near.", 0.1, 0.01, "+.1%", "", limits.describe("+.1%"), "why")
    assert "bad  bias  +10.0% +- 1.0%  look above 3%, bad above 6%\n     Too near." in format_verdict([bad])
