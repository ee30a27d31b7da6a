"""The report: one self-contained HTML page on a catalog, for the astronomer who has to believe it."""

import base64
import json
import platform
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import numpy as np

from spfast import __version__
from spfast.config import Config
from spfast.errors import BadInputError
from spfast.figures.comparison import COMPARE_SHEETS, CompareData
from spfast.figures.figure_table import figure_table
from spfast.figures.sheets import SHEETS, FigureData, draw_sheet
from spfast.figures.style import figure_style, save_figure
from spfast.files import new_folder
from spfast.lock import hold
from spfast.progress import Progress
from spfast.report.text import card_rows, compare_notes, compare_numbers, find_warnings, key_numbers
from spfast.validation.checks import CHECKS, run_checks
from spfast.validation.clusters import Members, listed_members, select_members
from spfast.validation.columns import shown_columns
from spfast.validation.comparison import match_catalogs

__all__ = ["make_report"]

PAGE, COMPARE_PAGE, FIGURES = "report.html", "compare.html", "figures"
#: Links at the head of the pages: target and text.
_CONTENTS = (
    ("#numbers", "Numbers"),
    ("#validation", "Validation"),
    ("#figures", "Figures"),
    ("#run", "What was run"),
    ("#provenance", "Provenance"),
)
_COMPARE_CONTENTS = (
    (PAGE, "The report"),
    ("#numbers", "Numbers"),
    ("#tables", "How they differ"),
    ("#figures", "Figures"),
    ("#provenance", "Provenance"),
)


@dataclass(frozen=True)
class _Figure:
    name: str
    title: str
    caption: str
    alt: str
    source: str  # a data URI, or a path beside the page
    width: int
    height: int


@dataclass(frozen=True)
class _View:
    """A table as the template wants it: texts only."""

    title: str
    note: str
    heads: list
    rows: list
    legend: list = field(default_factory=list)


def make_report(
    catalog,
    survey,
    out,
    models=None,
    truth=None,
    tune=None,
    members=None,
    other=None,
    images="inside",
    config=None,
    overwrite=False,
    threads=None,
    quiet=True,
):
    """Write the report of a catalog: ``report.html`` and each figure as PNG and PDF under ``figures``.

    With another catalog there is a second page beside it, ``compare.html``.

    Parameters
    ----------
    catalog : astropy Table
        As `make_catalog` returns it.
    survey : Survey
        That the catalog was made from.
    out : path-like
        Folder to make; it appears when it is whole.
    models : dict of FittedModel, optional
        The two models under ``A`` and ``B``: their coefficients, convergence, stability and the reddening test.
    truth : astropy Table, optional
        ``APOGEE_ID`` and ``true_parallax`` [mas].
    tune : astropy Table, optional
        Of `spfast tune`.
    members : astropy Table, optional
        ``2MASS_ID``, ``cluster``, optionally ``distance`` [kpc]; by default members are selected around known clusters.
    other : astropy Table, optional
        Another catalog to compare with, matched by 2MASS name.
    images : str
        ``"inside"`` the page, which then is one file to send, or ``"beside"`` it.
    config : Config, optional
        Its section ``galaxy`` is used.
    overwrite : bool
        Replace a report that is there.
    threads : int, optional
    quiet : bool
        No progress bar.

    Returns
    -------
    page : pathlib.Path
        The HTML file.

    Raises
    ------
    BadInputError
        If the folder is there already or another process is writing it, jinja2 or matplotlib is missing, or catalog and
        survey do not belong together.
    """
    out = Path(out)
    _check_folder(out, overwrite)
    if images not in ("inside", "beside"):
        raise BadInputError(f"images are {images!r}, expected 'inside' or 'beside' the page")
    templates = _templates()
    config = Config() if config is None else config
    with hold(out):
        _check_folder(out, overwrite)  # another process may have just ended
        table = figure_table(catalog, survey.stars, truth)
        members = (
            Members(select_members(table)) if members is None else listed_members(table["2MASS_ID"].tolist(), members)
        )
        data = FigureData(table, survey, models or {}, members.rows, members.literature, tune, config)
        checks = run_checks(catalog, truth, survey, models, other, members if members.rows else None, threads=threads)
        mock = "simulated" in survey.info or truth is not None
        with new_folder(out) as folder:
            (folder / FIGURES).mkdir()
            if other is not None:
                pair = CompareData(table, match_catalogs(catalog, other))
                figures, left_out = _draw(COMPARE_SHEETS, pair, folder / FIGURES, images, quiet)
                (folder / COMPARE_PAGE).write_text(
                    templates.get_template(COMPARE_PAGE).render(
                        version=__version__,
                        mock=mock,
                        contents=_COMPARE_CONTENTS,
                        numbers=compare_numbers(checks["comparison"]),
                        notes=compare_notes(catalog, other, checks["comparison"]),
                        tables=_views(checks, "compare"),
                        figures=figures,
                        left_out=left_out,
                        cards=card_rows(catalog),
                        other_cards=card_rows(other),
                    ),
                    encoding="utf-8",
                )
            figures, left_out = _draw(SHEETS, data, folder / FIGURES, images, quiet)
            (folder / PAGE).write_text(
                templates.get_template(PAGE).render(
                    version=__version__,
                    mock=mock,
                    contents=_CONTENTS if other is None else (*_CONTENTS, (COMPARE_PAGE, "Against another catalog")),
                    compared=f"{checks['comparison'].meta['N_BOTH']:,}" if other is not None else "",
                    numbers=key_numbers(table, survey, checks),
                    warnings=find_warnings(table, survey, data.models, checks, tune),
                    tables=_views(checks, "report"),
                    figures=figures,
                    left_out=left_out,
                    flags=_flags(table),
                    cut_flow=survey.info.get("cut_flow") or [],
                    models=data.models,
                    cards=card_rows(catalog),
                    settings=_settings(catalog, survey, config),
                    hashes=_hashes(survey),
                    versions=_versions(),
                ),
                encoding="utf-8",
            )
            survey.check_length()
    return out / PAGE


def _check_folder(out, overwrite):
    if not out.parent.is_dir():
        raise BadInputError(f"{out}: the folder {out.parent} does not exist; create it first")
    if out.exists() and not overwrite:
        raise BadInputError(f"{out}: already exists; give another folder or --overwrite")
    if out.exists() and not (out / PAGE).is_file() and any(out.iterdir()):
        raise BadInputError(f"{out}: exists and is not a report; give another folder")


def _templates():
    try:
        import jinja2
    except ImportError:
        raise BadInputError("the report needs jinja2; install it: pip install 'spfast[report]'") from None
    return jinja2.Environment(
        loader=jinja2.PackageLoader("spfast.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _draw(sheets, data, folder, images, quiet):
    """Every figure that can be drawn, and the reasons of the others."""
    figures, left_out = [], []
    with Progress("figures", len(sheets), quiet) as progress:
        for sheet in sheets:
            try:
                drawn = draw_sheet(sheet, data)
            except BadInputError as error:
                left_out.append((sheet.title, str(error)))
            else:
                with figure_style():
                    png, _ = save_figure(drawn, folder / sheet.name)
                source = f"{FIGURES}/{png.name}"
                if images == "inside":
                    source = "data:image/png;base64," + base64.b64encode(png.read_bytes()).decode("ascii")
                size = [round(inches * 96) for inches in drawn.get_size_inches()]  # CSS pixels
                figures.append(_Figure(sheet.name, sheet.title, sheet.caption, sheet.alt, source, *size))
            progress.advance()
    return figures, left_out


def _views(tables, page):
    return [_view(check, tables[check.name]) for check in CHECKS if check.page == page and check.name in tables]


def _view(check, table):
    columns = shown_columns(check.columns, "page")
    note = f"{check.shows[0].upper()}{check.shows[1:]}. {check.note}"
    headings = [_typeset(column.heading_with_unit) for column in columns.values()]
    is_number = [bool(column.format) for column in columns.values()]
    texts = [[_text(row[name], column.format) for name, column in columns.items()] for row in table]
    legend = list(zip(headings, (column.description for column in columns.values()), strict=True))
    return _View(check.title, note, list(zip(headings, is_number, strict=True)), texts, legend)


def _typeset(heading):
    """A heading with the characters that a terminal may lack."""
    return heading.replace("chi2", "\N{GREEK SMALL LETTER CHI}\N{SUPERSCRIPT TWO}")


def _text(value, spec):
    if not spec:
        return str(value)
    if not np.isfinite(value):
        return "\N{EN DASH}" if np.isnan(value) else "\N{INFINITY}"
    return f"{value:{spec}}".replace("-", "\N{MINUS SIGN}")


def _flags(table):
    """Name, meaning and number of stars of each flag bit that the catalog names."""
    if "flags" not in table.colnames:
        return []
    bits = np.asarray(table["flags"]).astype(np.int64)
    rows = []
    for key, value in table.meta.items():
        if key.startswith("FLAG") and key[4:].isdigit():
            name, _, meaning = str(value).partition(": ")
            rows.append((name, meaning, int(np.count_nonzero(bits >> int(key[4:]) & 1))))
    return rows


def _settings(catalog, survey, config):
    """(section, key, value) of the configurations of the fit, of the survey and of the map."""
    given = [survey.info.get("config") or {}, {"galaxy": config.to_dict()["galaxy"]}]
    stored = catalog.meta.get("CONFIG")
    if stored:
        given.insert(1, json.loads(stored))
    merged = {}
    for sections in given:
        merged |= {name: values for name, values in sections.items() if isinstance(values, dict)}
    return [(section, key, str(value)) for section, values in merged.items() for key, value in values.items()]


def _hashes(survey):
    rows = [("survey", survey.survey_hash), *survey.info.get("sha256", {}).items()]
    for name, source in (survey.info.get("inputs") or {}).items():
        if "sha256" in source:
            rows.append((f"{name}: {source.get('path', '')}", source["sha256"]))
    return rows


def _versions():
    packages = ("numpy", "numba", "scipy", "astropy", "matplotlib", "jinja2")
    rows = [("spfast", __version__), ("python", platform.python_version())]
    return [*rows, *((package, metadata.version(package)) for package in packages)]
