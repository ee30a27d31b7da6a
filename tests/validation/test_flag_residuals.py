"""Residuals by flag: a bias of flagged stars is found and stays theirs; catalogs without flags have no row."""

import numpy as np
import pytest
from mock_catalog import N, one

from spfast.validation.flag_residuals import flag_residuals


def test_bias_of_flagged_stars_is_found_and_the_others_have_none(honest):
    catalog, _, truth = honest
    biased = catalog.copy()
    assert len(flag_residuals(biased, truth)) == 0
    flagged = np.arange(N) % 20 == 0
    biased["spec_parallax"][flagged] *= np.exp(0.3)
    biased["flags"] = np.where(flagged, 2, 0) + np.where(np.arange(N) == 7, 8, 0)
    biased.meta.update(FLAG0="nobody: no star has it", FLAG1="biased: made so", FLAG3="alone: one star")
    table = flag_residuals(biased, truth)
    assert table["flag"].tolist() == ["biased", "alone"] * 2
    row = one(table, reference="truth", flag="biased")
    assert row["n"] == row["compared"] == flagged.sum()
    assert row["median"] == pytest.approx(0.3, abs=4 * row["median_error"])
    assert row["median_error"] < 0.05
    assert abs(row["median_rest"]) < 0.01
    assert row["pull_rest"] == pytest.approx(1.0, abs=0.05)
    assert row["scatter"] == pytest.approx(row["scatter_rest"], abs=5 * row["scatter_error"])
    alone = one(table, reference="truth", flag="alone")
    assert alone["n"] == 1
    assert np.isnan(alone["median"])
