"""``spfast validate``: what it prints and writes."""

from spfast.data.tables.read import read_table


def test_validate_compares_with_the_truth(work, tmp_path, capsys, run):
    out, catalog = tmp_path / "validation.ecsv", tmp_path / "catalog.fits"
    assert run("catalog", work / "survey", "-o", catalog, "--penalty", 20, "--pixels", "raw", "--quiet") == 0
    assert run("validate", catalog, "--truth", work / "truth.fits", "-o", out) == 0
    printed = capsys.readouterr().out
    assert "against the true ones" in printed
    scores = read_table(out)
    truth = scores[(scores["reference"] == "truth") & (scores["fold"] == "all") & (scores["sample"] == "parent")][0]
    assert truth["n"] == 400
    assert truth["scatter_mad"] < 0.06
    assert scores["pull"].description
