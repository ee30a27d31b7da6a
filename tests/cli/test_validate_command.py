"""``spfast validate``: what it prints and writes."""

from spfast.data.tables.read import read_table


def test_validate_compares_with_the_truth(work, tmp_path, capsys, run):
    out = tmp_path / "validation.ecsv"
    assert run("validate", work / "catalog.fits", "--truth", work / "truth.fits", "-o", out) == 0
    printed = capsys.readouterr().out
    assert "against the true ones" in printed
    scores = read_table(out)
    truth = scores[(scores["reference"] == "truth") & (scores["fold"] == "all") & (scores["sample"] == "parent")][0]
    assert truth["n"] == 400
    assert truth["scatter_mad"] < 0.06
    assert scores["pull"].description
