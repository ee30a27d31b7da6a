"""Reading tables by their suffix: what Parquet needs, and what it may hold."""

import pytest
from small_survey import spectra, tables

from spfast.data.gaia import read_gaia
from spfast.data.tables.read import read_table
from spfast.errors import BadInputError


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
