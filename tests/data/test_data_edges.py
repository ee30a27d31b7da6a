"""Corners of reading and building that no other test enters."""

import os
import sys

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from small_survey import spectra, tables

from spfast.data.columns import conform_stars
from spfast.data.spectra.continuum import chip_pixels, rough_normalize
from spfast.data.spectra.find import SpectrumFiles
from spfast.data.spectra.read import fits_library
from spfast.data.spectra.workers import _Worker
from spfast.data.tables.read import read_table
from spfast.data.tables.values import check_plausible
from spfast.data.zero_point import added_to_parallax, zero_point_covariates
from spfast.errors import BadInputError, SpfastWarning, reading
from spfast.model.layout import FeatureLayout


def test_masked_values_become_a_survey_s_missing_ones():
    stars = Table({"APOGEE_ID": MaskedColumn(["a", "b"], mask=[False, True]), "x": [1, 2]})
    stars["parallax"] = MaskedColumn([1.0, 2.0], mask=[True, False])
    stars["source_id"] = MaskedColumn([7, 8], mask=[False, True])
    table = conform_stars(stars)
    assert table["APOGEE_ID"].tolist() == ["a", ""]
    assert np.isnan(table["parallax"]).tolist() == [True, False]
    assert table["source_id"].tolist() == [7, -1]
    assert table.colnames[-1] == "x"
    with pytest.raises(BadInputError, match="column parallax: cannot be stored as f8"):
        conform_stars(Table({"parallax": ["far"]}))


def test_rough_continuum_of_what_has_none():
    n = 8575
    flux, error = np.full(n, np.nan, np.float32), np.ones(n, np.float32)
    assert np.isnan(rough_normalize(flux, error, None, False, 1)).all()
    flux[:] = -1.0  # a continuum below zero is none
    assert np.isnan(rough_normalize(flux, error, None, False, 1)).all()
    flux[:] = 5.0
    mask = np.zeros(n, np.int32)
    mask[chip_pixels()[10]] = 1
    whole = rough_normalize(flux, error, mask, False, 1)
    assert np.flatnonzero(np.isnan(whole)).tolist() == [10]
    np.testing.assert_allclose(np.delete(whole, 10), 1.0, rtol=1e-5)
    flux[chip_pixels()[:600]] = np.nan  # stretches without a good pixel are left out of the parabola
    np.testing.assert_allclose(rough_normalize(flux, error, mask, False, 1)[600:], 1.0, rtol=1e-5)


def test_rule_of_the_zero_point_that_nobody_knows():
    with pytest.raises(BadInputError, match="zero point rule 'x': expected one of"):
        added_to_parallax(Table({"source_id": [1]}), "x")


def test_covariates_that_a_survey_lacks():
    stars = Table({"phot_g_mean_mag": [10.0, 12.0, np.nan, 14.0], "ecl_lat": [1.0, 2.0, 3.0, 5.0]})
    values, pivots, missing = zero_point_covariates(stars, ["G", "ecl_lat"], rows=[0, 1])
    assert pivots == [11.0, 1.5]
    assert values.tolist() == [[-1.0, -0.5], [1.0, 0.5], [0.0, 1.5], [3.0, 3.5]]
    assert missing.tolist() == [False, False, True, False]
    with pytest.raises(BadInputError, match="covariate G: no training star has it; leave it out"):
        zero_point_covariates(stars, ["ecl_lat", "G"], rows=[2])
    with pytest.raises(BadInputError, match="covariate BP-RP: the survey has no column phot_bp_mean_mag"):
        zero_point_covariates(stars, ["BP-RP"])
    values, pivots, missing = zero_point_covariates(stars, [])
    assert (values.shape, pivots, missing.any()) == ((4, 0), [], False)


def test_spectra_are_read_by_what_is_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "fitsio", None)
    assert fits_library() == "astropy"


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    (tmp_path / "field").mkdir()
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("field"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(BadInputError, match=r"field: cannot be listed \(Permission denied\)"):
        SpectrumFiles(tmp_path)


def test_a_worker_that_dies_is_noticed():
    worker = _Worker({})  # a job without a folder: the worker ends with an error of its own
    with pytest.raises(RuntimeError, match="a worker process ended with code 1"):
        worker.normalize(0, [])
    with pytest.raises(RuntimeError, match="a worker process ended with code 1"):
        worker.normalize(7, [])
    worker.close()


def test_edges_of_what_is_plausible():
    magnitudes = Table({"K": np.array([29.9, 29.9], "f4"), "parallax_error": [0.0021, 0.0021], "note": ["a", "b"]})
    check_plausible(magnitudes, "t")
    check_plausible(Table({"K": np.array([np.nan], "f4"), "ra": [-180.0], "dec": [90.0]}), "t")
    for column in ({"K": [30.0]}, {"J": [-5.0]}, {"parallax_error": [0.002]}, {"parallax_error": [50.0]}):
        with pytest.raises(BadInputError, match="has the median"):
            check_plausible(Table(column), "t")
    table = Table({"J_ERR": [0.02, 101.0], "LOGG": [10.0, 10.1], "TEFF": [-1.0, 0.0]})
    with pytest.warns(SpfastWarning) as caught:
        check_plausible(table, "t")
    assert len(caught) == 3
    assert [np.isnan(table[name]).tolist() for name in table.colnames] == [[False, True], [False, True], [True, False]]


def test_columns_of_parquet_that_are_no_numbers_and_no_text(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    gaia = tables(spectra(2)[0])[1]
    columns = {
        "a": [[1], [2, 3]],
        "flag": [True, False],
        "name": ["x", None],
        "n": [None, 3],
        "ra": gaia["ra"].tolist(),
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert table.colnames == ["flag", "name", "n", "ra"]
    assert table["name"].mask.tolist() == [False, True]
    assert table["n"].tolist() == [None, 3]


def test_layout_names_itself():
    layout = FeatureLayout((5, 6))
    assert layout.wavelength.shape == (layout.n_features,)
    features = layout.to_dict()["features"]
    with pytest.raises(BadInputError, match="expected a constant, then magnitudes, then pixels"):
        FeatureLayout.from_dict({"features": [features[1], features[0], *features[2:]]})
    with pytest.raises(BadInputError, match="pixels must increase strictly within"):
        FeatureLayout((6, 5))


def test_a_parser_s_message_is_one_short_line():
    with pytest.raises(BadInputError) as caught, reading("f", "no", "go"):
        raise ValueError("a\nb " + "x" * 1000)
    assert str(caught.value) == f"f: no (a b {'x' * 196}); go"
    with pytest.raises(BadInputError, match=r"^f: no \(MemoryError\); go$"), reading("f", "no", "go"):
        raise MemoryError
    with pytest.raises(BadInputError, match=r"^f: of ours$"), reading("f", "no", "go"):
        raise BadInputError("f: of ours")
    with pytest.raises(BadInputError, match=r"^f: no \(of another; do that\); go$"), reading("f", "no", "go"):
        raise BadInputError("of another; do that")
    with pytest.raises(KeyboardInterrupt), reading("f", "no", "go"):
        raise KeyboardInterrupt
