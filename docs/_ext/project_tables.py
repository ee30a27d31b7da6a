"""What the code already describes, written into the pages: columns, checks, configuration, figures."""

from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive, directives

from spfast.catalog.columns import COLUMNS, FLAGS
from spfast.catalog.labels import EXTRA_COLUMNS
from spfast.cli.config import as_toml
from spfast.config import Config
from spfast.data.columns import STAR_COLUMNS
from spfast.figures.comparison import COMPARE_SHEETS
from spfast.figures.sheets import SHEETS
from spfast.validation.checks import CHECKS

_KINDS = {"U": "text", "f8": "float64", "f4": "float32", "i8": "int64", "i4": "int32", "u1": "uint8", "?": "bool"}
#: Characters of a line of code that the pages show without scrolling.
_CODE_WIDTH = 84
_RECOMMENDED = {True: "yes", False: "no"}
_COLUMN_HEADER, _COLUMN_WIDTHS = ("Column", "Type", "Unit", "Meaning"), (28, 10, 10, 52)


class StarColumns(Directive):
    """The columns of stars.fits."""

    def run(self):
        rows = [(name, _KINDS[c.kind], c.unit, c.description) for name, c in STAR_COLUMNS.items()]
        return [_table(_COLUMN_HEADER, _COLUMN_WIDTHS, rows)]


class CatalogColumns(Directive):
    """The columns of a catalog."""

    columns: ClassVar = COLUMNS

    def run(self):
        rows = [(name, _KINDS[c.dtype], c.unit, c.description) for name, c in self.columns.items()]
        return [_table(_COLUMN_HEADER, _COLUMN_WIDTHS, rows)]


class ExtraColumns(CatalogColumns):
    """The columns that a catalog has on request."""

    columns: ClassVar = EXTRA_COLUMNS


class FlagBits(Directive):
    """The bits of a catalog's flags."""

    def run(self):
        rows = [
            (name, str(bit), str(1 << bit), flag.description, f"{_RECOMMENDED[flag.touches_prediction]}: {flag.reason}")
            for bit, (name, flag) in enumerate(FLAGS.items())
        ]
        return [_table(("Flag", "Bit", "Value", "Meaning", "In RECOMMENDED_FLAGS"), (24, 6, 10, 30, 30), rows)]


class CheckColumns(Directive):
    """The columns of one of validate's tables, by its name in `spfast.validation.checks.CHECKS`."""

    required_arguments = 1

    def run(self):
        columns = next(check.columns for check in CHECKS if check.name == self.arguments[0])
        rows = [(name, f"{c.description} [{c.unit}]" if c.unit else c.description) for name, c in columns.items()]
        return [_table(("Column", "Meaning"), (20, 80), rows)]


class DefaultConfiguration(Directive):
    """Every section and key with its default, as `spfast config` prints it."""

    def run(self):
        text = as_toml(Config(), _CODE_WIDTH)
        return [nodes.literal_block(text, text, language="toml")]


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


class ReportFigures(Directive):
    """A section for each figure of a page of the report, ``report`` or ``compare``, with the gallery's mock image."""

    required_arguments = 1
    option_spec: ClassVar = {"without": directives.unchanged}

    def run(self):
        sheets = {"report": SHEETS, "compare": COMPARE_SHEETS}[self.arguments[0]]
        return [self._section(sheet) for sheet in sheets if sheet.name not in self.options.get("without", "").split()]

    def _section(self, sheet):
        figure = nodes.figure("", nodes.image(uri=f"images/gallery/{sheet.name}.png", alt=sheet.alt, width="100%"))
        figure += nodes.caption("", f"Mock. {sheet.caption}")
        names = [nodes.fully_normalize_name(sheet.title)]
        section = nodes.section("", nodes.title("", sheet.title), figure, names=names)
        self.state.document.note_implicit_target(section, section)
        return section


def setup(app):
    app.add_directive("star-columns", StarColumns)
    app.add_directive("catalog-columns", CatalogColumns)
    app.add_directive("extra-columns", ExtraColumns)
    app.add_directive("flag-bits", FlagBits)
    app.add_directive("check-columns", CheckColumns)
    app.add_directive("default-configuration", DefaultConfiguration)
    app.add_directive("report-figures", ReportFigures)
    return {"parallel_read_safe": True}
