"""The report: self-contained HTML pages on a catalog, for the astronomer who has to believe it."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path

from astropy.table import Table

from spfast import __version__
from spfast.config import Config
from spfast.data.survey import Survey
from spfast.errors import BadInputError
from spfast.figures.comparison import COMPARE_SHEETS, CompareData
from spfast.figures.figure_data import FigureData, figure_table
from spfast.figures.sheets import SHEETS
from spfast.files import new_folder
from spfast.lock import hold
from spfast.model.fitted_model import FittedModel
from spfast.progress import Progress
from spfast.report.drawings import FIGURES, draw_figures
from spfast.report.provenance import header_cards, input_hashes, package_versions, run_configuration
from spfast.report.tables import check_tables, count_flags, typeset
from spfast.report.text import compare_notes, compare_numbers, key_numbers
from spfast.validation.checks import run_checks
from spfast.validation.cluster_members import Members, listed_members, select_members
from spfast.validation.comparison import match_catalogs
from spfast.validation.judge import judge
from spfast.validation.verdict import RULE, count_verdicts

__all__ = ["make_report"]

#: The pages: names of the files and of their templates.
PAGE, COMPARE_PAGE = "report.html", "compare.html"
#: Links at the head of the pages: target and text.
_CONTENTS = (
    ("#verdict", "Verdict"),
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
#: What a finding points at beside the checks' tables.
_TITLES = {"flags": "Flags of the catalog", "models": "The two models", "header": "Header of the catalog"}


def make_report(
    catalog: Table,
    survey: Survey | None,
    out: str | PathLike,
    models: Mapping[str, FittedModel] | None = None,
    truth: Table | None = None,
    tune: Table | None = None,
    members: Table | None = None,
    other: Table | None = None,
    images: str = "inside",
    config: Config | None = None,
    overwrite: bool = False,
    threads: int | None = None,
    quiet: bool = True,
) -> Path:
    """Write the report of a catalog: ``report.html`` and each figure as PNG and PDF under ``figures``.

    With another catalog there is a second page beside it, ``compare.html``.

    Parameters
    ----------
    catalog : astropy Table
        As `make_catalog` returns it.
    survey : Survey or None
        That the catalog was made from. Without it the report shows what the catalog alone can tell.
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
    # 1. Refuse what cannot work, before anything is computed.
    out = Path(out)
    _check_folder(out, overwrite)
    if images not in ("inside", "beside"):
        raise BadInputError(f"images are {images!r}, expected 'inside' or 'beside' the page")
    templates = _load_templates()
    with hold(out):
        _check_folder(out, overwrite)  # another process may have just ended
        # 2. Collect the stars with labels and truth, and the members of clusters.
        table = figure_table(catalog, None if survey is None else survey.stars, truth)
        members = _find_members(table, members, survey)
        data = FigureData(table, survey, models or {}, members.rows, members.literature, tune, config or Config())
        # 3. Run every check.
        with Progress("check the catalog", quiet=quiet):
            checks = run_checks(
                catalog, truth, survey, models, other, members if members.rows else None, threads=threads
            )
        common = {"version": __version__, "mock": _is_mock(survey) or truth is not None}
        with new_folder(out) as folder:
            # 4. Draw the figures and write the page on the catalog.
            content = _report_content(catalog, data, checks) | draw_figures(SHEETS, data, folder, images, quiet)
            _write_page(templates, folder / PAGE, common | content)
            # 5. Do the same for the page on two catalogs.
            if other is not None:
                pair = CompareData(table, match_catalogs(catalog, other))
                content = _compare_content(catalog, other, checks)
                content |= draw_figures(COMPARE_SHEETS, pair, folder, images, quiet)
                _write_page(templates, folder / COMPARE_PAGE, common | content)
            # 6. Keep both only if the survey is still whole.
            if survey is not None:
                survey.check_length()
    return out / PAGE


def _check_folder(out, overwrite):
    if not out.parent.is_dir():
        raise BadInputError(f"{out}: the folder {out.parent} does not exist; create it first")
    if out.exists() and not overwrite:
        raise BadInputError(f"{out}: already exists; give another folder or --overwrite")
    if not out.exists():
        return
    if not (out / PAGE).is_file() and any(out.iterdir()):
        raise BadInputError(f"{out}: exists and is not a report; give another folder")
    foreign = next(_not_of_a_report(out), None)
    if foreign is not None:
        raise BadInputError(f"{out}: holds {foreign}, which is not of a report and would be lost; move it away")


def _not_of_a_report(folder):
    """Yield the names of what no report has put into its folder."""
    for path in sorted(folder.iterdir()):
        if path.name == FIGURES and path.is_dir() and not path.is_symlink():
            yield from (
                f"{FIGURES}/{figure.name}"
                for figure in sorted(path.iterdir())
                if figure.suffix not in (".png", ".pdf") or not figure.is_file()
            )
        elif path.name not in (PAGE, COMPARE_PAGE) or not path.is_file():
            yield path.name


def _load_templates():
    try:
        import jinja2
    except ImportError:
        raise BadInputError("the report needs jinja2; install it: pip install 'spfast[report]'") from None
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("spfast.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["typeset"] = typeset
    return environment


def _is_mock(survey):
    return survey is not None and "simulated" in survey.info


def _find_members(table, membership, survey):
    """Members of clusters: those that the user's table lists, else those of the survey around the known centres."""
    if membership is None:
        return Members({} if survey is None else select_members(table))
    return listed_members(table["2MASS_ID"].tolist(), membership)


def _write_page(templates, path, content):
    path.write_text(templates.get_template(path.name).render(content), encoding="utf-8")


def _report_content(catalog, data, checks):
    """What the template of the report takes, without its figures (dict)."""
    table, survey = data.table, data.survey
    compared, tables, flags = checks.get("comparison"), check_tables(checks, "report"), count_flags(table)
    findings = judge(catalog, checks, survey, data.models, data.tune)
    shown = {"flags": bool(flags), "models": bool(data.models), "header": True}
    return {
        "contents": _CONTENTS if compared is None else (*_CONTENTS, (COMPARE_PAGE, "Against another catalog")),
        "numbers": key_numbers(table, survey, checks),
        "summary": count_verdicts(findings),
        "findings": findings,
        "rule": RULE,
        "reasons": _reasons(findings),
        "titles": {each.name: each.title for each in tables} | {name: _TITLES[name] for name in shown if shown[name]},
        "tables": tables,
        "compared": "" if compared is None else f"{compared.meta['N_BOTH']:,}",
        "flags": flags,
        "cut_flow": [] if survey is None else survey.info.get("cut_flow") or [],
        "models": data.models,
        "configuration": run_configuration(catalog, survey, data.config),
        "cards": header_cards(catalog),
        "hashes": [] if survey is None else input_hashes(survey),
        "versions": package_versions(),
    }


def _reasons(findings):
    """The names of the findings whose threshold has the same reason, by that reason (dict of list of str)."""
    reasons = {}
    for finding in findings:
        if finding.reason:
            reasons.setdefault(finding.reason, []).append(finding.name)
    return reasons


def _compare_content(catalog, other, checks):
    """What the template of the page on two catalogs takes, without its figures (dict)."""
    comparison = checks["comparison"]
    return {
        "contents": _COMPARE_CONTENTS,
        "numbers": compare_numbers(comparison),
        "notes": compare_notes(catalog, other, comparison),
        "tables": check_tables(checks, "compare"),
        "cards": header_cards(catalog),
        "other_cards": header_cards(other),
    }
