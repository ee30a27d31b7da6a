"""What a catalog is to others' tools: astropy, pandas, TOPCAT's stilts, NASA's fitsverify; and columns on request."""

import importlib.util
import shutil
import subprocess

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from tiny import tiny_survey

import spfast
from spfast import cli
from spfast.catalog.columns import FLAGS, TABLE_COMMENTS, position_cards
from spfast.catalog.galaxy import galactocentric_frame
from spfast.catalog.labels import EXTRA_COLUMNS
from spfast.catalog.make import make_catalog
from spfast.catalog.rebuild import rebuild_catalog
from spfast.data.tables.read import read_table
from spfast.data.tables.write import SUFFIXES, verify_table, write_table
from spfast.errors import BadInputError
from spfast.validation.read_catalog import read_catalog

#: The star without a Gaia source.
NAMELESS = 3


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    def without_source(stars):
        stars["source_id"][NAMELESS] = -1
        stars["FE_H"] = np.where(np.arange(len(stars)) % 2, -0.5, np.nan)

    return tiny_survey(tmp_path_factory.mktemp("products") / "survey", edit=without_source)[0]


@pytest.fixture(scope="module")
def written(survey, tmp_path_factory):
    """The folder of a catalog with labels in every format, and the catalog."""
    folder = tmp_path_factory.mktemp("written")
    suffixes = SUFFIXES if importlib.util.find_spec("pyarrow") else [s for s in SUFFIXES if s != ".parquet"]
    for suffix in suffixes:
        words = ["catalog", survey.path, "-o", folder / f"c{suffix}", "--penalty", 20, "--with-labels", "--quiet"]
        assert cli.main([str(word) for word in words]) == 0
    return folder, read_table(folder / "c.fits")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_star_without_source_id_has_none_in_any_format(written, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    column = read_table(written[0] / f"c{suffix}")["source_id"]
    assert column.dtype == np.int64
    assert np.flatnonzero(np.ma.getmaskarray(column)).tolist() == [NAMELESS]


def test_fits_checksums_hold_and_a_changed_one_is_found(written, tmp_path):
    with fits.open(written[0] / "c.fits", checksum=True) as hdus:  # it warns
        assert [hdu.verify_checksum() for hdu in hdus] == [1, 1]
        header = hdus["CATALOG"].header
    assert header["LONGSTRN"] == "OGIP 1.0"
    assert header[f"TNULL{written[1].colnames.index('source_id') + 1}"] == -1
    content = (written[0] / "c.fits").read_bytes()
    place = content.rindex(b"CHECKSUM= '") + len(b"CHECKSUM= '")
    for end in (place, len(content) - 4000):  # the checksum, and the rows
        changed = bytearray(content)
        changed[end] ^= 1
        (tmp_path / "changed.fits").write_bytes(changed)
        with pytest.raises(BadInputError, match="changed since it was written"):
            verify_table(tmp_path / "changed.fits")


def test_parquet_has_units_for_astropy_and_whole_identifiers_for_pandas(written):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    path, table = written[0] / "c.parquet", written[1]
    frame = pandas.read_parquet(path)
    assert str(frame["source_id"].dtype) == "Int64"
    assert frame["source_id"].isna().to_numpy().nonzero()[0].tolist() == [NAMELESS]
    assert frame["source_id"][0] == table["source_id"][0]
    for kind in ("parquet", "parquet.votable"):
        found = Table.read(path, format=kind)
        # A name that begins with a digit is no XML identifier: astropy makes an empty column _2MASS_ID besides.
        assert set(found.colnames) - {"_2MASS_ID"} == set(table.colnames)
        for name in ("ra", "spec_parallax", "x"):
            assert found[name].unit == table[name].unit
            assert found[name].description == table[name].description
        assert found.meta["FLAGREC"] in (spfast.RECOMMENDED_FLAGS, str(spfast.RECOMMENDED_FLAGS))


def test_masked_integers_keep_every_value_that_is_there(tmp_path):
    table = Table({"n": np.ma.MaskedArray([-1, 5, 7], mask=[False, True, False])}, masked=True)
    write_table(table, tmp_path / "a.fits")
    assert read_table(tmp_path / "a.fits")["n"].tolist() == [-1, None, 7]
    assert np.ma.getdata(table["n"]).tolist() == [-1, 5, 7]  # the caller's table is as it was


def test_columns_in_the_byte_order_of_fits_become_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    write_table(Table({"obsid": np.array([101, 102], ">i8")}), tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet")["obsid"].tolist() == [101, 102]


def test_flags_to_select_by_are_those_of_spectrum_and_model(written):
    chosen = [name for bit, name in enumerate(FLAGS) if spfast.RECOMMENDED_FLAGS >> bit & 1]
    assert chosen == [
        *("starflag_bad", "aspcapflag_bad", "many_masked_pixels", "not_converged"),
        *("extrapolation", "clipped_flux", "strange_spectrum"),
    ]
    assert written[1].meta["FLAGREC"] == spfast.RECOMMENDED_FLAGS


def test_labels_and_places_are_added_as_far_as_the_survey_has_them(survey, written):
    table = written[1]
    added = table.colnames[table.colnames.index("flags") + 1 :]
    assert set(added) <= set(EXTRA_COLUMNS)
    assert {"J", "bp_rp", "FE_H", "x", "z_84"} <= set(added)
    assert not {"TEFF", "A_K", "_healpix_29"} & set(added)  # the survey has none, and nobody asked
    np.testing.assert_array_equal(table["FE_H"], survey.stars["FE_H"])
    place = SkyCoord(table["ra"], table["dec"], table["distance"]).transform_to(galactocentric_frame())
    np.testing.assert_allclose(table["y"], place.y.to_value(units.kpc), rtol=1e-12)
    for axis in "xyz":
        assert (table[f"{axis}_16"] < table[axis]).all()
        assert (table[axis] < table[f"{axis}_84"]).all()
    assert '"sun_distance": 8.122' in table.meta["GALCEN"]


def test_a_catalog_with_more_columns_is_rebuilt(survey, written):
    assert rebuild_catalog(written[0] / "c.fits", survey) == ([], [])


def test_a_catalog_of_before_the_later_columns_is_rebuilt_but_for_them(survey, written, tmp_path):
    table = written[1].copy()
    table.remove_column("tmass_id")
    for key in TABLE_COMMENTS:
        del table.meta[key]
    table["source_id"] = np.ma.filled(table["source_id"], -1)
    write_table(table, tmp_path / "old.fits")
    found = rebuild_catalog(tmp_path / "old.fits", survey)
    assert found.differences == []
    assert found.added == ["tmass_id", *TABLE_COMMENTS]


def test_healpix_cells_are_those_of_the_positions(survey):
    healpix = pytest.importorskip("astropy_healpix")
    table = make_catalog(survey, 20.0, extra_columns=["healpix"])
    lon, lat = healpix.healpix_to_lonlat(table["_healpix_29"], 2**29, order="nested")
    place = SkyCoord(table["ra"], table["dec"])
    assert place.separation(SkyCoord(lon, lat)).arcsec.max() < 1e-3
    with pytest.raises(BadInputError, match="expected a list with some of labels, healpix"):
        make_catalog(survey, 20.0, extra_columns="labels")


def test_a_catalog_with_only_one_of_both_names_is_read(written):
    names = read_catalog(written[1]).names
    for name in ("2MASS_ID", "tmass_id"):
        table = written[1].copy()
        table.remove_column(name)
        assert read_catalog(table).names == names


def test_header_says_where_positions_come_from():
    assert "2MASS" in position_cards(Table())["POSORIG"]
    assert "SDSS-V" in position_cards(Table({"sdss_id": [1]}))["POSORIG"]
    assert "arrays" in position_cards(Table(), of_arrays=True)["POSORIG"]


@pytest.mark.skipif(shutil.which("fitsverify") is None, reason="needs fitsverify (Debian's package fitsverify)")
def test_fitsverify_has_nothing_to_say(survey, written):
    for path in (written[0] / "c.fits", survey.path / "stars.fits"):
        said = subprocess.run(["fitsverify", path], capture_output=True, text=True, check=False).stdout
        assert "found 0 warning(s) and 0 error(s)" in said, said


@pytest.mark.skipif(shutil.which("stilts") is None, reason="needs stilts (Debian's package stilts)")
def test_stilts_finds_a_clean_votable_and_takes_our_names_in_expressions(written):
    found = subprocess.run(["stilts", "votlint", written[0] / "c.vot"], capture_output=True, text=True, check=False)
    assert found.stdout + found.stderr == ""
    command = "select 'flags==0 && startsWith(tmass_id, \"2M\") && NULL_source_id'; keepcols source_id"
    words = ["stilts", "tpipe", f"in={written[0] / 'c.fits'}", f"cmd={command}", "omode=count"]
    assert "rows: 1" in subprocess.run(words, capture_output=True, text=True, check=True).stdout
