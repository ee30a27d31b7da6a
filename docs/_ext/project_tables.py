"""Tables that the code already holds, written into the pages at build time: columns of the products, the configuration."""

import dataclasses
import inspect
import json
import re

from docutils import nodes
from docutils.parsers.rst import Directive

from spfast.config import Config
from spfast.data.columns import STAR_COLUMNS

_KINDS = {"U": "text", "f8": "float64", "f4": "float32", "i8": "int64", "i4": "int32", "?": "bool"}


class StarColumns(Directive):
    """The columns of stars.fits."""

    def run(self):
        rows = [(name, _KINDS[c.kind], c.unit, c.description) for name, c in STAR_COLUMNS.items()]
        return [_table(("Column", "Type", "Unit", "Meaning"), (28, 10, 10, 52), rows)]


class DefaultConfiguration(Directive):
    """Every section and key with its default, as a TOML file, each with its comment in the code."""

    def run(self):
        sections = [f for f in dataclasses.fields(Config) if f.name != "preset"]
        text = "\n\n".join(_toml_section(f.name, f.default_factory) for f in sections)
        return [nodes.literal_block(text, text, language="toml")]


def _toml_section(name, section):
    comments = dict(re.findall(r"^    (\w+): \w+ = .*?  # (.*)$", inspect.getsource(section), flags=re.MULTILINE))
    lines = [f"{key} = {json.dumps(value)}" for key, value in dataclasses.asdict(section()).items()]
    width = max(map(len, lines))
    commented = [
        f"{line:{width}}  # {comments[key]}" if (key := line.split()[0]) in comments else line for line in lines
    ]
    return "\n".join([f"[{name}]", *commented])


def _table(header, widths, rows):
    group = nodes.tgroup("", *(nodes.colspec(colwidth=width) for width in widths), cols=len(header))
    group += nodes.thead("", _row(header))
    group += nodes.tbody("", *(_row(row, code_first=True) for row in rows))
    return nodes.table("", group, classes=["colwidths-given"])


def _row(cells, code_first=False):
    row = nodes.row()
    for i, text in enumerate(cells):
        inner = nodes.literal(text, text) if code_first and i == 0 else nodes.Text(text)
        row += nodes.entry("", nodes.paragraph("", "", inner))
    return row


def setup(app):
    app.add_directive("star-columns", StarColumns)
    app.add_directive("default-configuration", DefaultConfiguration)
    return {"parallel_read_safe": True}
