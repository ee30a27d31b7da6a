"""Tables as people meet them: rows cut short, words in numbers, packed files, odd units and masks."""

import bz2
import io
import lzma
import zipfile

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.table import Column, Table
from small_survey import spectra, tables

from spfast.data.allstar import read_allstar
from spfast.data.gaia import read_gaia
from spfast.data.tables.read import read_columns, read_table
from spfast.data.tables.values import column_values, refuse_two_units
from spfast.errors import BadInputError, SpfastWarning

VOTABLE = '<?xml version="1.0"?><VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">{}</VOTABLE>'
RESOURCE = (
    '<RESOURCE type="results">{}<TABLE><FIELD name="a" datatype="double"/><FIELD name="b" datatype="long"/>'
    "<DATA><TABLEDATA>{}</TABLEDATA></DATA></TABLE></RESOURCE>"
)


@pytest.fixture
def gaia():
    return tables(spectra(12)[0])[1]


@pytest.fixture
def allstar():
    return tables(spectra(12)[0])[0]


def write(path, text):
    path.write_text(text)
    return path


def column_of(path, name="a"):
    columns, _ = read_columns(path, {name: (name,)})
    return columns[name].tolist()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,c\n1,2,3\n4,5\n6,7,8\n", "line 3 has 2 values, expected 3 as in the header"),
        ("a,b,c\n1,2,3\n4,5,6,7\n8,9,10\n", "line 3 has 4 values, expected 3"),
        ("a,b,c\n1,2,3\n4,5,6,\n8,9,10\n", "line 3 has 4 values, expected 3"),
        ("# made by hand\n\na,b,c\n\n1,2,3\n4,5\n6,7,8\n", "line 6 has 2 values"),
        ('a,b,c\n"1, 2",2,3\n"4, 5",6\n7,8,9\n', "line 3 has 2 values"),
        ("a;b;c\n1;2;3\n4;5\n6;7;8\n", "line 3 has 2 values"),
        ("My stars\na,b,c\n1,2,3\n", "line 2 has 3 values, expected 1"),
        ("a,b,c\n1,2,3\nTotal,1\n", "its last row has 2 values"),
    ],
)
def test_a_csv_row_with_more_or_fewer_values_than_the_header_is_named_by_its_line(tmp_path, text, message):
    with pytest.raises(BadInputError, match=message):
        read_table(write(tmp_path / "t.csv", text))


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\na;b\n1;2\n3;4\n",
        "a,b\n1,2\n,\n3,4\n , \n",
        "a\tb\n1\t2\n3\t4\n",
        'a,b\n"1","x, y"\n"3","x\ny"\n',
    ],
)
def test_rows_without_any_value_and_excels_line_of_the_delimiter_are_no_rows(tmp_path, text):
    assert column_of(write(tmp_path / "t.csv", text)) == [1, 3]


@pytest.mark.parametrize("suffix", [".txt", ".dat", ".tbl"])
def test_a_text_table_of_no_known_layout_is_refused_in_plain_words(tmp_path, suffix):
    with pytest.raises(BadInputError, match="has no layout that astropy knows") as refusal:
        read_table(write(tmp_path / f"t{suffix}", "a b c\n1 2 3\n4 5\n6 7 8\n"))
    assert "guess" not in str(refusal.value)


def test_tables_of_tabs_and_ipac_tables_are_read_by_their_usual_suffix(tmp_path, gaia):
    text = io.StringIO()
    gaia.write(text, format="ascii.ipac")
    ipac = write(tmp_path / "gaia.tbl", text.getvalue())
    assert read_gaia(ipac)["source_id"].tolist() == gaia["source_id"].tolist()
    assert column_of(write(tmp_path / "t.TSV", "a\tb\n1\tx, y\n3\tz\n")) == [1, 3]


@pytest.mark.parametrize(
    ("suffix", "pack", "word"), [(".bz2", bz2.compress, "bzip2"), (".xz", lzma.compress, "xz"), (".zip", None, "zip")]
)
def test_a_packed_table_is_said_to_be_packed_whatever_its_suffix(tmp_path, suffix, pack, word):
    path = tmp_path / f"gaia.csv{suffix}"
    if pack is None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("gaia.csv", "a,b\n1,2\n")
    else:
        path.write_bytes(pack(b"a,b\n1,2\n"))
    with pytest.raises(BadInputError, match=f"is packed with {word}.*unpack it first"):
        read_table(path)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["1.234D+02", "5.0d-1", "7"], [123.4, 0.5, 7.0]),
        (["\N{MINUS SIGN}0.5", "+2", " 3 "], [-0.5, 2.0, 3.0]),
        (['="12"', "b'13'", "14"], [12.0, 13.0, 14.0]),
    ],
)
def test_numbers_are_read_as_fortran_typesetters_and_spreadsheets_write_them(given, expected):
    assert column_values(np.array(given), "f8", "t.csv: column a").tolist() == expected


@pytest.mark.parametrize("text", ["0,312", "1,000.0"])
def test_a_decimal_comma_is_refused_with_what_to_do(text):
    with pytest.raises(BadInputError, match="write decimal points and no commas"):
        column_values(np.array(["1.0", text]), "f8", "t.csv: column a")


def test_a_source_id_in_excels_quotes_keeps_its_digits(tmp_path, gaia):
    ids = gaia["source_id"].tolist()
    gaia["source_id"] = [f'="{each}"' for each in ids]
    gaia.write(tmp_path / "gaia.csv")
    assert read_gaia(tmp_path / "gaia.csv")["source_id"].tolist() == ids


@pytest.mark.parametrize("cell", ["abc", "0,02", "2D-2", "1.2.3"])
def test_text_in_a_votable_column_of_numbers_is_refused_not_missing(tmp_path, cell):
    rows = f"<TR><TD>{cell}</TD><TD>1</TD></TR><TR><TD>2</TD><TD>3</TD></TR>"
    path = write(tmp_path / "t.vot", VOTABLE.format(RESOURCE.format("", rows)))
    with pytest.raises(BadInputError, match=f"has '{cell}' in a column of numbers"):
        read_table(path)


@pytest.mark.parametrize("cell", ["", "null", "NaN", "--", "N/A"])
def test_words_for_no_value_in_a_votable_are_missing(tmp_path, cell):
    rows = f"<TR><TD>{cell}</TD><TD>1</TD></TR><TR><TD>2</TD><TD>3</TD></TR>"
    table = read_table(write(tmp_path / "t.vot", VOTABLE.format(RESOURCE.format("", rows))))
    assert np.isnan(np.ma.filled(table["a"], np.nan)).tolist() == [True, False]


def test_an_answer_that_its_service_cut_is_warned_of(tmp_path):
    cut = '<INFO name="QUERY_STATUS" value="OVERFLOW"/>'
    rows = "<TR><TD>2</TD><TD>3</TD></TR>"
    path = write(tmp_path / "t.vot", VOTABLE.format(RESOURCE.format(cut, rows)))
    with pytest.warns(SpfastWarning, match="cut its answer at a limit of rows"):
        assert len(read_table(path)) == 1


def test_the_error_of_a_service_is_told(tmp_path):
    said = '<RESOURCE type="results"><INFO name="QUERY_STATUS" value="ERROR">Unknown column: plx</INFO></RESOURCE>'
    with pytest.raises(BadInputError, match="the service says: Unknown column: plx"):
        read_table(write(tmp_path / "t.vot", VOTABLE.format(said)))


@pytest.mark.parametrize("words", [["t", "f"], ["1", "0"], ["yes", "no"], ["TRUE", "False"], [" true ", "0.0"]])
def test_a_mask_of_a_column_may_be_text(tmp_path, words):
    path = tmp_path / "t.csv"
    Table({"a": [9.0, 2.0], "a.mask": words}).write(path)
    assert column_of(path) == [None, 2.0]


def test_a_mask_of_words_that_nobody_knows_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    Table({"a": [9.0, 2.0], "a.mask": ["masked", "good"]}).write(path)
    with pytest.raises(BadInputError, match=r"column a\.mask, a mask, has 'masked', expected yes or no"):
        read_table(path)


@pytest.mark.parametrize("key", ["unit", "Unit", "units", "TUNIT"])
def test_the_unit_of_a_parquet_column_is_found_under_any_of_its_keys(tmp_path, key):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    field = pyarrow.field("a", pyarrow.float64(), metadata={key: "arcsec"})
    parquet.write_table(pyarrow.table([[1.0]], schema=pyarrow.schema([field])), tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet")["a"].unit == units.arcsec


@pytest.mark.parametrize(("unit", "factor"), [("ARCSEC", 1000.0), ("MAS", 1.0), ("Uas", 1e-3), ("Deg", 3.6e6)])
def test_units_in_capitals_are_units(unit, factor):
    assert column_values(np.array([1.0]), "f8", "x", unit, "mas")[0] == pytest.approx(factor)


@pytest.mark.parametrize("unit", ["dex(mas)", "mag(AB)", "mas / yr", "kpc", "%"])
def test_a_unit_that_is_no_angle_is_refused_for_a_parallax(unit):
    with pytest.raises(BadInputError, match="expected mas or a unit like it"):
        column_values(np.array([1.0]), "f8", "x", unit, "mas")


def test_errors_of_fluxes_are_brought_to_the_unit_of_the_fluxes(tmp_path, gaia):
    expected = np.array(gaia["phot_g_mean_flux_error"])
    gaia["phot_g_mean_flux"].unit = "Jy"
    gaia["phot_g_mean_flux_error"] = Column(expected * 1000, unit="mJy")
    gaia.write(tmp_path / "gaia.fits")
    np.testing.assert_allclose(read_gaia(tmp_path / "gaia.fits")["phot_g_mean_flux_error"], expected)
    gaia["phot_g_mean_flux_error"].unit = "K"
    gaia.write(tmp_path / "other.fits")
    with pytest.raises(BadInputError, match="phot_g_mean_flux_error is in K, expected Jy"):
        read_gaia(tmp_path / "other.fits")


def test_parallaxes_in_another_unit_than_their_errors_are_refused(tmp_path, gaia):
    gaia["parallax"] = np.asarray(gaia["parallax"]) / 1000
    gaia.write(tmp_path / "gaia.fits")
    with pytest.raises(BadInputError, match="are both in mas"):
        read_gaia(tmp_path / "gaia.fits")


def test_only_parallaxes_that_noise_alone_would_spread_are_said_to_be_in_another_unit():
    rng = np.random.default_rng(0)
    error = np.full(200, 0.05)
    cluster = 0.1 + error * rng.normal(size=200)
    refuse_two_units(cluster, error, "x")  # one distance, nothing but noise
    refuse_two_units(rng.uniform(20.0, 200.0, 200), error, "x")  # the nearest stars
    refuse_two_units(cluster[:5] / 1000, error[:5], "x")  # too few to say
    for wrong in (cluster / 1000, rng.uniform(0.3, 2.0, 200) * 1000):
        with pytest.raises(BadInputError, match="x: the parallaxes have the median"):
            refuse_two_units(wrong, error, "x")


@pytest.mark.parametrize(
    ("given", "expected"), [(-(2**31), 2**31), (-8388608, 2**32 - 8388608), (-1, -1), (-9999, -1), (5, 5)]
)
def test_the_sign_of_a_32_bit_flag_is_its_bit_31(tmp_path, allstar, given, expected):
    allstar["ASPCAPFLAG"] = np.full(len(allstar), given, "i4")
    allstar.write(tmp_path / "allStar.fits")
    assert set(read_allstar(tmp_path / "allStar.fits")["ASPCAPFLAG"].tolist()) == {expected}


def test_gravities_that_are_no_logarithms_are_refused(tmp_path, allstar):
    allstar["LOGG"] = Column(10 ** np.asarray(allstar["LOGG"], float), unit="cm/s2")
    allstar.write(tmp_path / "allStar.fits")
    with pytest.raises(BadInputError, match="column LOGG is in cm / s2, expected its logarithm"):
        read_allstar(tmp_path / "allStar.fits")


def test_a_scaled_column_knows_its_missing_value_before_scaling(tmp_path, gaia):
    raw = np.array([20] * (len(gaia) - 1) + [-32768], "i2")
    columns = [
        fits.Column(name="w1mpro_error", format="I", array=raw) if column.name == "w1mpro_error" else column
        for column in fits.table_to_hdu(gaia).columns
    ]
    hdu = fits.BinTableHDU.from_columns(columns)
    path = tmp_path / "gaia.fits"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    number = [column.name for column in hdu.columns].index("w1mpro_error") + 1
    with fits.open(path) as hdus:
        header, start, data = hdus[1].header, hdus[1]._header_offset, hdus[1]._data_offset
    content = path.read_bytes()
    header[f"TSCAL{number}"], header[f"TNULL{number}"] = 0.001, -32768
    path.write_bytes(content[:start] + header.tostring().encode() + content[data:])
    errors = read_gaia(path)["w1mpro_error"]
    np.testing.assert_allclose(errors[:-1], 0.02, rtol=1e-6)
    assert np.isnan(errors[-1])


@pytest.mark.parametrize(
    "rows",
    [
        ["mas\t\t---", "-----\t---\t---"],  # VizieR
        ["mas\t\t"],
        ["mas\tdeg\t-"],
    ],
)
def test_a_row_of_units_below_the_header_gives_the_units(tmp_path, rows):
    path = write(tmp_path / "t.tsv", "\n".join(["# from VizieR", "a\tb\tname", *rows, "1\t2\tx", "3\t4\ty"]) + "\n")
    table = read_table(path)
    assert (table["a"].tolist(), table["name"].tolist(), table["a"].unit) == ([1, 3], ["x", "y"], units.mas)


def test_a_row_of_units_is_honoured_in_a_gaia_table(tmp_path, gaia):
    expected = gaia["parallax"].copy()
    for name in ("parallax", "parallax_error"):
        gaia[name] = np.asarray(gaia[name]) / 1000
    gaia.write(tmp_path / "gaia.csv")
    head, *rows = (tmp_path / "gaia.csv").read_text().splitlines()
    given = ",".join("arcsec" if name.startswith("parallax") else "" for name in head.split(","))
    write(tmp_path / "gaia.csv", "\n".join([head, given, *rows]) + "\n")
    np.testing.assert_allclose(read_gaia(tmp_path / "gaia.csv")["parallax"], expected)


@pytest.mark.parametrize("row", ["2M1,A", "x,M67", "name,"])
def test_a_first_row_of_text_is_no_row_of_units(tmp_path, row):
    assert len(read_table(write(tmp_path / "t.csv", f"a,b\n{row}\n2M2,B\n"))) == 2
