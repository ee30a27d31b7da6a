"""What `--json` prints: valid JSON, with names and units of columns, and null for what is no finite number."""

import json
import math
from numbers import Integral, Real

__all__ = ["table_as_json", "to_json"]


def to_json(found: object) -> str:
    """Return text in JSON: numpy's values as numbers, NaN, infinities and masked values as null, anything else as text.

    Examples
    --------
    >>> from spfast.cli.as_json import to_json
    >>> print(to_json({"pull": float("nan"), "stars": 3}))
    {
      "pull": null,
      "stars": 3
    }
    """
    return json.dumps(_plain(found), indent=2, ensure_ascii=False, allow_nan=False)


def table_as_json(table) -> dict:
    """Return a table's rows and what its columns and its header say.

    Parameters
    ----------
    table : astropy Table

    Returns
    -------
    dict
        ``columns``, a list of name, unit (empty if there is none) and description; ``rows``, a list of dictionaries by
        the columns' names; ``header``.
    """
    columns = [
        {"name": c.name, "unit": str(c.unit or ""), "description": c.description or ""} for c in table.itercols()
    ]
    rows = [dict(zip(table.colnames, row, strict=True)) for row in table.iterrows()]
    return {"columns": columns, "rows": rows, "header": dict(table.meta)}


def _plain(value):
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy's
        return None if getattr(value, "mask", False) is True or str(value) == "--" else _plain(value.tolist())
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    return str(value)
