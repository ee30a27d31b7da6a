"""Parquet tables: every type that holds one number or text a row, and units wherever writers put them."""

import importlib.util
import json
from xml.etree import ElementTree

import numpy as np
from astropy.table.meta import get_header_from_yaml

from spfast.data.tables.stored import StoredTable, UnreadType, make_column
from spfast.data.untrusted import check_xml
from spfast.errors import BadInputError

__all__ = ["need_pyarrow", "parquet_column", "stored_parquet"]

#: Keys of a file's metadata: ours, astropy's, and that of the VOParquet convention (IVOA Note, 2025).
_OURS, _ASTROPY, _VOTABLE = b"spfast", b"table_meta_yaml", b"IVOA.VOTable-Parquet.content"
#: Other keys of a field's metadata for what we call unit and description, in lower case.
_NOTES = {"unit": "unit", "units": "unit", "tunit": "unit", "description": "description"}


def need_pyarrow(path):
    """Refuse a Parquet table if pyarrow is not installed."""
    if importlib.util.find_spec("pyarrow") is None:
        raise BadInputError(
            f"{path}: Parquet needs pyarrow; install it (pip install 'spfast[parquet]') or use a .fits table"
        )


def stored_parquet(path, file):
    """Return the table of a Parquet file that stays open.

    Parameters
    ----------
    path : path-like
        For messages.
    file : file object

    Returns
    -------
    StoredTable
    """
    # Not by astropy, which needs pandas to read the Parquet that it writes.
    need_pyarrow(path)
    from pyarrow import parquet

    stored = parquet.ParquetFile(file)
    schema = stored.schema_arrow
    metadata = stored.metadata.metadata or {}  # not the schema's, whose copy of our own header is unsealed
    notes = _notes(path, metadata)

    def read(number):
        field = schema.field(number)
        values, missing = _values(_chunks(stored, field))
        own = {
            _NOTES.get(key.decode().lower(), key.decode()): value.decode()
            for key, value in (field.metadata or {}).items()
        }
        return make_column(field.name, values, missing, {**notes.get(field.name, {}), **own})

    return StoredTable(schema.names, stored.metadata.num_rows, read, json.loads(metadata.get(_OURS, b"{}")))


def parquet_column(name, chunks):
    """Return one column of one value a row (pyarrow ChunkedArray) as an astropy Column, masked where it is missing."""
    return make_column(name, *_values(chunks), {})


def _chunks(stored, field):
    """One column (pyarrow ChunkedArray); pyarrow takes a dot in a name for a step into a nested column."""
    return stored.read(columns=[field.name]).column(field.name)


def _notes(path, metadata):
    """Unit, description and UCD of each column, as far as the file's own metadata have them (dict of dict)."""
    if _VOTABLE in metadata:
        check_xml(path, metadata[_VOTABLE])
        fields = [e for e in ElementTree.fromstring(metadata[_VOTABLE]).iter() if e.tag.rpartition("}")[2] == "FIELD"]
        return {field.get("name"): dict(field.items()) for field in fields}
    if _ASTROPY in metadata:
        header = get_header_from_yaml(metadata[_ASTROPY].decode().split("\n"))
        return {
            column["name"]: {key: str(column[key]) for key in ("unit", "description") if column.get(key)}
            for column in header["datatype"]
        }
    return {}


def _values(chunks):
    """The values of a column and which are missing (two arrays)."""
    import pyarrow
    from pyarrow import types

    if types.is_dictionary(chunks.type):  # pandas' categories
        chunks = chunks.cast(chunks.type.value_type)
    kind, missing = chunks.type, np.array(chunks.is_null(), dtype=bool)
    if types.is_decimal(kind):
        # Databases write 64-bit identifiers as decimals without decimal places.
        chunks = chunks.cast(pyarrow.int64() if kind.scale == 0 else pyarrow.float64())
        kind = chunks.type
    if types.is_null(kind):
        return np.full(len(chunks), np.nan), missing
    if types.is_string(kind) or types.is_large_string(kind) or str(kind) == "string_view":
        return np.array(["" if value is None else value for value in chunks.to_pylist()], dtype="U"), missing
    if "binary" in str(kind):
        texts = ["" if value is None else value.decode("latin-1") for value in chunks.to_pylist()]
        return np.array(texts, dtype="U"), missing
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind):
        empty = pyarrow.scalar(0, pyarrow.int8()).cast(kind)
        return np.array(chunks.fill_null(empty) if missing.any() else chunks), missing
    raise UnreadType(f"of the Parquet type {kind}")
