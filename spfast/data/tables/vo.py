"""Tables as the Virtual Observatory has them: VOTable, and Parquet with a VOTable for its header."""

import json
import re
import warnings
from io import BytesIO

import numpy as np
from astropy.io import votable
from astropy.io.votable.tree import CooSys, Info
from astropy.table import Table, meta

__all__ = ["as_votable", "write_parquet"]

#: Card of the celestial frame, and the columns that are in it.
_FRAME, _IN_FRAME = "RADESYS", ("ra", "dec")
_DESCRIPTION = re.compile(rb"(?<=<DESCRIPTION>)[^<]*(?=</DESCRIPTION>)")
#: Types of pandas that hold integers beside missing values; without them it makes floats of such a column, which lose
#: digits of Gaia's identifiers.
_NULLABLE = {"int8": "Int8", "int16": "Int16", "int32": "Int32", "int64": "Int64"}


def as_votable(table: Table) -> votable.tree.VOTableFile:
    """Return a table as a VOTable; ``meta`` becomes INFO elements.

    Parameters
    ----------
    table : astropy Table
        A column's UCD is its ``meta["ucd"]``; positions are in the frame that ``meta["RADESYS"]`` names.
    """
    with warnings.catch_warnings():
        # "2MASS_ID" is a name but no XML identifier; nobody sees the identifier that is made from it.
        warnings.simplefilter("ignore", votable.exceptions.W03)
        document = votable.from_table(Table(table, copy=False, meta={}))
    resource, fields = document.resources[0], document.get_first_table().fields
    if _FRAME in table.meta:
        resource.coordinate_systems.append(CooSys(ID="frame", system=table.meta[_FRAME]))
    for field in fields:
        field.ref = "frame" if _FRAME in table.meta and field.name in _IN_FRAME else None
        # For a text of one character "1" is deprecated, none is warned of, and "*" is of objects to astropy.
        field.arraysize = "2" if field.arraysize == "1" else field.arraysize
    for key, value in table.meta.items():
        resource.infos.append(Info(name=key, value=str(value)))
    return document


def write_parquet(table: Table, path) -> None:
    """Write a Parquet file that says units, descriptions and header in the ways of VOParquet, astropy and pandas.

    Parameters
    ----------
    table : astropy Table
        With the entry SHA256 in ``meta``, which is kept once.
    path : path-like
    """
    # Not by astropy, which needs pandas to read the Parquet that it writes.
    import pyarrow
    from pyarrow import parquet

    fields, arrays = [], []
    for column in table.itercols():
        mask = np.ma.getmaskarray(column)
        if column.dtype.kind in "SU":
            array = pyarrow.array(column.tolist())
        else:
            values = np.ma.getdata(column).astype(column.dtype.newbyteorder("="), copy=False)  # of FITS, too
            array = pyarrow.array(values, mask=mask if mask.any() else None)
        notes = {"unit": str(column.unit or ""), "description": column.description or "", **column.meta}
        fields.append(pyarrow.field(column.name, array.type, metadata={k: v for k, v in notes.items() if v}))
        arrays.append(array)
    whole = dict(table.meta)
    table = Table(table, copy=False, meta={key: value for key, value in whole.items() if key != "SHA256"})
    metadata = {
        "spfast": json.dumps(whole),
        "IVOA.VOTable-Parquet.version": "1.0",
        "IVOA.VOTable-Parquet.content": _votable_header(table),
        "table_meta_yaml": "\n".join(meta.get_yaml_from_table(table)),
        "pandas": json.dumps(_pandas_notes(table, fields)),
    }
    metadata |= {
        f"table::len::{name}": str(table[name].dtype.itemsize // 4)
        for name in table.colnames
        if table[name].dtype.kind == "U"
    }
    parquet.write_table(pyarrow.table(arrays, schema=pyarrow.schema(fields, metadata=metadata)), path)


def _votable_header(table):
    """The VOTable of a table, without its rows (bytes)."""
    document, content = as_votable(table[:0]), BytesIO()
    document.to_xml(content, _debug_python_based_parser=True)
    # astropy breaks lines in descriptions, and compares them with those of the table where it reads both.
    return _DESCRIPTION.sub(lambda found: b" ".join(found[0].split()), content.getvalue())


def _pandas_notes(table, fields):
    columns = [
        {
            "name": field.name,
            "field_name": field.name,
            "pandas_type": "unicode" if str(field.type) == "string" else str(field.type),
            "numpy_type": _pandas_type(table[field.name], field),
            "metadata": None,
        }
        for field in fields
    ]
    return {"columns": columns, "index_columns": [], "column_indexes": [], "pandas_version": "2.0.0"}


def _pandas_type(column, field):
    if hasattr(column, "mask") and str(field.type) in _NULLABLE:
        return _NULLABLE[str(field.type)]
    return {"string": "object", "double": "float64", "float": "float32"}.get(str(field.type), str(field.type))
