"""Reading tables of every format: odd types, missing values, units, names and packing, as people really have them."""

import gzip
import os

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.table import MaskedColumn, QTable, Table
from small_survey import spectra, tables

from spfast.data.gaia import read_gaia
from spfast.data.tables.names import find_name
from spfast.data.tables.read import read_columns, read_table
from spfast.errors import BadInputError

WORDS = ("", "null", "NULL", "None", "<NA>", "N/A", "nan", "NaN", "--", "\\N", "n/a", "#N/A", "NA")


@pytest.fixture
def pyarrow():
    return pytest.importorskip("pyarrow")


def write_parquet(path, columns):
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), path)


def values_of(path, name):
    """One column as `read_columns` gives it, masked values as None."""
    columns, _ = read_columns(path, {name: (name,)})
    return columns[name].tolist()


def test_parquet_columns_that_are_neither_numbers_nor_text_are_left_out(tmp_path):
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


def test_parquet_without_pyarrow_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "gaia.parquet"
    path.write_bytes(b"PAR1")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BadInputError, match=r"needs pyarrow; install it \(pip install 'spfast\[parquet\]'\)"):
        read_gaia(path)


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("string", ["a", None], ["a", None]),
        ("large_string", ["a", "b"], ["a", "b"]),
        ("string_view", ["a", None], ["a", None]),
        ("binary", [b"a", b"\xe9"], ["a", "\xe9"]),
        ("large_binary", [b"a", None], ["a", None]),
        ("int8", [1, None], [1, None]),
        ("uint64", [1, 2**63], [1, 2**63]),
        ("float16", [1.5, None], [1.5, None]),
        ("null", [None, None], [None, None]),
        ("bool_", [True, None], [True, None]),
    ],
)
def test_parquet_types_of_one_value_a_row_are_read(tmp_path, pyarrow, kind, given, expected):
    given = [None if value is None else np.float16(value) for value in given] if kind == "float16" else given
    write_parquet(tmp_path / "t.parquet", {"x": pyarrow.array(given, getattr(pyarrow, kind)())})
    assert values_of(tmp_path / "t.parquet", "x") == expected


def test_parquet_categories_and_decimals_keep_every_digit(tmp_path, pyarrow):
    big = 4_500_000_000_000_000_001
    columns = {
        "id": pyarrow.array([big, None]).cast(pyarrow.decimal128(20, 0)),
        "x": pyarrow.array([1.25, 2.5]).cast(pyarrow.decimal128(6, 2)),
        "flag": pyarrow.array(["VARIABLE", "CONSTANT"]).dictionary_encode(),
        "n": pyarrow.array([7, None]).dictionary_encode(),
    }
    write_parquet(tmp_path / "t.parquet", columns)
    assert values_of(tmp_path / "t.parquet", "id") == [big, None]
    assert values_of(tmp_path / "t.parquet", "x") == [1.25, 2.5]
    assert values_of(tmp_path / "t.parquet", "flag") == ["VARIABLE", "CONSTANT"]
    assert values_of(tmp_path / "t.parquet", "n") == [7, None]


def test_a_column_of_a_type_that_is_not_read_is_named_when_it_is_wanted(tmp_path, pyarrow):
    write_parquet(tmp_path / "t.parquet", {"parallax": [[1.0], [2.0]], "ra": [1.0, 2.0]})
    with pytest.raises(BadInputError, match=r"column parallax is of the Parquet type list<.*>, expected one number"):
        values_of(tmp_path / "t.parquet", "parallax")
    lists = fits.Column(name="parallax", format="PD()", array=np.array([np.ones(2), np.ones(1)], dtype=object))
    fits.BinTableHDU.from_columns([lists]).writeto(tmp_path / "t.fits")
    with pytest.raises(BadInputError, match=r"column parallax is of the FITS type PD"):
        values_of(tmp_path / "t.fits", "parallax")


def test_mask_columns_and_units_of_astropys_parquet_are_honoured(tmp_path, pyarrow):
    table = QTable({"pmra": [1.0, 2.0] * units.arcsec / units.yr})
    table["w1mpro"] = MaskedColumn([11.0, 12.0], mask=[False, True])
    table["n"] = MaskedColumn([1, 2], mask=[True, False])
    columns = {name: pyarrow.array(np.asarray(table[name])) for name in table.colnames}
    columns |= {f"{name}.mask": pyarrow.array(np.asarray(table[name].mask)) for name in ("w1mpro", "n")}
    stored = pyarrow.table(columns)
    header = b"datatype:\n- {name: pmra, unit: arcsec / yr, datatype: float64}"
    from pyarrow import parquet

    parquet.write_table(stored.replace_schema_metadata({b"table_meta_yaml": header}), tmp_path / "t.parquet")
    read = read_table(tmp_path / "t.parquet")
    assert read.colnames == ["pmra", "w1mpro", "n"]
    assert read["pmra"].unit == units.arcsec / units.yr
    assert read["w1mpro"].tolist() == [11.0, None]
    assert np.isnan(np.asarray(read["w1mpro"])[1])  # no other star's magnitude for those who forget the mask
    assert read["n"].tolist() == [None, 2]


def test_units_of_voparquet_are_read_and_its_xml_is_checked(tmp_path, pyarrow):
    from pyarrow import parquet

    xml = '<VOTABLE xmlns="http://x"><RESOURCE><TABLE><FIELD name="a" unit="arcsec"/></TABLE></RESOURCE></VOTABLE>'
    for content in (xml, '<!DOCTYPE a [<!ENTITY b "c">]>' + xml):
        stored = pyarrow.table({"a": [1.0]}).replace_schema_metadata({"IVOA.VOTable-Parquet.content": content})
        parquet.write_table(stored, tmp_path / "t.parquet")
        if content is xml:
            assert read_table(tmp_path / "t.parquet")["a"].unit == "arcsec"
        else:
            with pytest.raises(BadInputError, match="declares the entity"):
                read_table(tmp_path / "t.parquet")


@pytest.mark.parametrize("word", WORDS)
def test_words_for_no_value_leave_integers_and_numbers_what_they_are(tmp_path, word):
    (tmp_path / "t.csv").write_text(f"id,x,name\n4500000000000000001,{word},a\n{word},2.5,{word}\n3,4,b\n")
    table = read_table(tmp_path / "t.csv")
    assert table["id"].tolist() == [4500000000000000001, None, 3]
    assert table["x"].tolist() == [None, 2.5, 4.0]
    assert table["name"].tolist() == ["a", None, "b"]
    assert np.isnan(np.asarray(table["x"])[0])


@pytest.mark.parametrize(
    "text",
    [
        "\N{ZERO WIDTH NO-BREAK SPACE}a,b\n1,2\n3,4\n",
        "a,b\r\n1,2\r\n3,4\r\n",
        "a,b\r1,2\r3,4\r",
        "a;b\n1;2\n3;4\n",
        "a\tb\n1\t2\n3\t4\n",
        "# made by hand\n#\na,b\n1,2\n3,4\n",
        "# by numpy\n# a,b\n1,2\n3,4\n",
        "a,b\n1,2\na,b\n3,4\n",
        'a,b\n1,2\n"a", "b"\n3,4\n',
        "a,b\n1,2\n\n# second file\n\N{ZERO WIDTH NO-BREAK SPACE}a,b\n3,4\n\n",
    ],
)
def test_csv_as_people_save_and_paste_it_is_read(tmp_path, text):
    (tmp_path / "t.csv").write_bytes(text.encode())
    table = read_table(tmp_path / "t.csv")
    assert table.colnames == ["a", "b"]
    assert (table["a"].tolist(), table["b"].tolist()) == ([1, 3], [2, 4])


def test_csv_with_a_name_twice_is_refused_only_if_it_is_wanted(tmp_path):
    (tmp_path / "t.csv").write_text("id,ra,ra\n1,2,3\n")
    assert values_of(tmp_path / "t.csv", "id") == [1]
    with pytest.raises(BadInputError, match="has two columns ra; rename one"):
        values_of(tmp_path / "t.csv", "ra")


def test_csv_in_latin_1_is_read_and_in_utf_16_is_refused(tmp_path):
    (tmp_path / "t.csv").write_bytes("a,observer\n1,Ren\xe9\n".encode("latin-1"))
    assert values_of(tmp_path / "t.csv", "a") == [1]
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        (tmp_path / "t.csv").write_bytes("a,b\n1,2\n".encode(encoding))
        with pytest.raises(BadInputError, match="is text in UTF-16, expected UTF-8"):
            read_table(tmp_path / "t.csv")


def test_csv_that_is_cut_or_has_another_header_in_the_middle_is_refused(tmp_path):
    for text, message in (
        ("a,b,c\n1,2,3\n4,5\n", r"its last row has 2 values, expected 3"),
        ("a,b,c\n1,2,3\nb,a,c\n4,5,6\n", r"line 3 is a second header, and not the same"),
        ("# nothing\n", "has no line but comments"),
    ):
        (tmp_path / "t.csv").write_text(text)
        with pytest.raises(BadInputError, match=message):
            read_table(tmp_path / "t.csv")


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.ecsv", "t.ECSV"])
def test_gaias_bulk_tables_with_null_are_read_under_any_name(tmp_path, name):
    header = "# %ECSV 1.0\n# ---\n# delimiter: ','\n# datatype:\n# - {name: id, datatype: int64}\n"
    header += "# - {name: x, datatype: float64, unit: mas}\n# - {name: s, datatype: string}\n"
    text = (header + 'id,x,s\n1,null,"null"\nnull,2.5,"a"\n').encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    table = read_table(tmp_path / name)
    assert [table[column].tolist() for column in table.colnames] == [[1, None], [None, 2.5], [None, "a"]]
    assert table["x"].unit == "mas"


def test_tnull_is_compared_with_the_number_before_scaling(tmp_path):
    numbers = fits.Column(name="x", format="I", null=-999, array=np.array([100, -999, 500], "i2"))
    counts = fits.Column(name="n", format="J", null=7, array=[7, 8, 9])
    hdu = fits.BinTableHDU.from_columns([numbers, counts])
    hdu.header.update(DUMMYA=0.01, DUMMYB=5.0)
    hdu.writeto(tmp_path / "t.fits")
    content = (tmp_path / "t.fits").read_bytes().replace(b"DUMMYA", b"TSCAL1").replace(b"DUMMYB", b"TZERO1")
    (tmp_path / "t.fits").write_bytes(content)
    table = read_table(tmp_path / "t.fits")
    assert table["x"].tolist() == [6.0, None, 10.0]
    assert table["n"].tolist() == [None, 8, 9]


def test_undecodable_text_and_doubled_names_that_nobody_wants_harm_nobody(tmp_path):
    Table({"x": [1.0, 2.0], "note": [b"abcd", b"efgh"], "twa": [1, 2], "two": [3, 4]}).write(tmp_path / "t.fits")
    content = (tmp_path / "t.fits").read_bytes().replace(b"abcd", b"a\xe9\0d").replace(b"'twa     '", b"'two     '")
    (tmp_path / "t.fits").write_bytes(content)
    assert values_of(tmp_path / "t.fits", "x") == [1.0, 2.0]
    assert values_of(tmp_path / "t.fits", "note") == ["a\xe9", "efgh"]
    with pytest.raises(BadInputError, match="has two columns two"):
        values_of(tmp_path / "t.fits", "two")
    assert read_table(tmp_path / "t.fits").colnames == ["x", "note", "two", "two_2"]


def test_column_oriented_fits_is_read(tmp_path):
    columns = [
        fits.Column(name="t", format="15A", dim="(5,3)", array=np.array([["ab", "cde", "f"]])),
        fits.Column(name="x", format="3D", array=np.arange(3.0)[None]),
        fits.Column(name="pair", format="6E", dim="(2,3)", array=np.arange(6.0).reshape(1, 3, 2)),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "t.fits")
    assert values_of(tmp_path / "t.fits", "t") == ["ab", "cde", "f"]
    assert values_of(tmp_path / "t.fits", "x") == [0.0, 1.0, 2.0]
    assert values_of(tmp_path / "t.fits", "pair") == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]


def test_blank_numbers_of_fits_ascii_tables_are_missing(tmp_path):
    columns = [
        fits.Column(name=name, format=kind, array=array, ascii=True)
        for name, kind, array in (("n", "I8", [123, 456]), ("x", "E12.4", [1.5, 2.5]), ("s", "A3", ["a", "b"]))
    ]
    fits.HDUList([fits.PrimaryHDU(), fits.TableHDU.from_columns(columns)]).writeto(tmp_path / "t.fits")
    content = (tmp_path / "t.fits").read_bytes().replace(b"     456", b" " * 8)
    (tmp_path / "t.fits").write_bytes(content)
    assert values_of(tmp_path / "t.fits", "n") == [123, None]
    assert values_of(tmp_path / "t.fits", "x") == [1.5, 2.5]


def test_the_table_with_the_wanted_columns_is_read_from_any_hdu(tmp_path):
    path = tmp_path / "t.fits"
    one, two = Table({"a": [1]}), Table({"B": [2], "c": [3]})
    empty = fits.BinTableHDU(Table(names=("b", "c"), dtype=("i8", "i8")))
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(one), empty, fits.BinTableHDU(two)]).writeto(path)
    assert read_table(path).colnames == ["a"]
    assert read_table(path, ("b", "c"))["B"].tolist() == [2]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(two), fits.BinTableHDU(two)]).writeto(path, overwrite=True)
    with pytest.raises(BadInputError, match="HDU 1 and HDU 2 have the same columns; save the one that is meant"):
        read_table(path, ("B",))


@pytest.mark.parametrize("suffix", [".FITS", ".Fit", ".CSV", ".VOT", ".fits.GZ", ".csv.gz", ".vot.gz"])
@pytest.mark.parametrize("packed", [True, False])
def test_packed_and_plain_files_are_read_under_any_name(tmp_path, suffix, packed):
    table, plain = Table({"a": [1, 2]}), tmp_path / "plain"
    kind = next(kind for kind in ("fit", "csv", "vot") if kind in suffix.lower())
    table.write(plain, format={"fit": "fits", "csv": "ascii.csv", "vot": "votable"}[kind])
    content = plain.read_bytes()
    (tmp_path / f"t{suffix}").write_bytes(gzip.compress(content) if packed else content)
    assert read_table(tmp_path / f"t{suffix}")["a"].tolist() == [1, 2]


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(BadInputError, match="is a pipe, expected a regular file"):
        read_table(tmp_path / "t.csv")


def test_the_exact_spelling_of_a_name_wins_and_two_others_are_refused():
    assert find_name(["PARALLAX", "parallax"], ("parallax",), "t") == "parallax"
    assert find_name(["Parallax"], ("parallax",), "t") == "Parallax"
    assert find_name(["fe_h", "M_H"], ("FE_H", "M_H"), "t") == "M_H"
    assert find_name(["ra"], ("parallax",), "t") is None
    with pytest.raises(BadInputError, match="t has the columns Parallax and PARALLAX; name the one that is meant"):
        find_name(["Parallax", "PARALLAX"], ("parallax",), "t")


def test_the_table_of_a_votable_with_the_wanted_columns_is_read(tmp_path):
    field = '<FIELD name="{}" datatype="int"/>'
    table = "<TABLE>{}<DATA><TABLEDATA><TR><TD>{}</TD></TR></TABLEDATA></DATA></TABLE>"
    body = table.format(field.format("n"), 1) + table.format(field.format("parallax"), 2)
    (tmp_path / "t.vot").write_text(
        f'<?xml version="1.0"?><VOTABLE version="1.3"><RESOURCE>{body}</RESOURCE></VOTABLE>'
    )
    assert values_of(tmp_path / "t.vot", "parallax") == [2]
    assert read_table(tmp_path / "t.vot").colnames == ["n"]


@pytest.mark.parametrize("form", ["A5", "5a", "5A"])
def test_odd_spellings_of_fits_formats_are_read(tmp_path, form):
    Table({"s": ["abcde", "de"]}).write(tmp_path / "t.fits")
    content = (tmp_path / "t.fits").read_bytes().replace(b"'5A      '", f"'{form:8}'".encode())
    (tmp_path / "t.fits").write_bytes(content)
    assert values_of(tmp_path / "t.fits", "s") == ["abcde", "de"]
