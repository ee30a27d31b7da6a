"""The report page: whole, self-contained, accessible, escaped; in a real browser where there is one."""

import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from astropy.table import Table

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

from spfast.catalog.columns import FLAGS
from spfast.catalog.make import make_catalog
from spfast.cli import main
from spfast.config import Config
from spfast.data.survey import open_survey
from spfast.data.tables.read import read_table
from spfast.data.tables.write import write_table
from spfast.errors import BadInputError
from spfast.figures.sheets import SHEETS
from spfast.report.page import make_report
from spfast.simulate import simulate_survey

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
EVIL = "<script>alert(1)</script>"
#: A file name cannot hold a slash.
EVIL_FOLDER = "<img src=x onerror=alert(1)> $_{"
#: Elements without an end.
VOID = {"meta", "link", "img", "br"}


@pytest.fixture(scope="module", autouse=True)
def small_figures():
    """Figures of fewer dots: the same drawings in half the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spfast.figures.style._DPI", 50)
        yield


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A mock survey of 300 stars at full width, its catalog, its truth, and the report of them with nasty names."""
    folder = tmp_path_factory.mktemp("report")
    config = Config().replace(features={"rank": 12})
    survey = simulate_survey(folder / EVIL_FOLDER, 300, seed=1, config=config, quiet=True)
    survey.info["inputs"] = {EVIL: {"path": str(survey.path), "sha256": EVIL}}
    catalog = make_catalog(survey, penalty=300.0)
    write_table(catalog, folder / "catalog.fits")
    members = Table({"2MASS_ID": catalog["2MASS_ID"][:6], "cluster": [EVIL] * 6, "distance": [4.0] * 6})
    survey.info["cut_flow"] = [[EVIL, 400], ["0 < log g <= 2.2", 300]]
    for table, column in ((survey.stars, "APOGEE_ID"), (catalog, "2MASS_ID"), (members, "2MASS_ID")):
        names = np.asarray(table[column]).astype("U40")
        names[0] = EVIL
        table[column] = names
    catalog.meta["ORIGIN"] = EVIL
    other = catalog.copy()
    other["spec_parallax"] *= np.exp(np.random.default_rng(0).normal(0.05, 0.05, len(other)))
    page = make_report(catalog, survey, folder / "report", members=members, truth=None, other=other[20:])
    return folder, page


class Outline(HTMLParser):
    """What is on a page: tags with their attributes, and whether every element is closed by its own end."""

    def __init__(self, text):
        super().__init__()
        self.tags, self._open = [], []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def all(self, *names):
        return [(tag, attrs) for tag, attrs in self.tags if tag in names]


PAGES = ("report.html", "compare.html")


@pytest.fixture(scope="module", params=PAGES)
def text(request, material):
    return (material[1].parent / request.param).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def outline(text):
    return Outline(text)


def test_names_from_files_never_become_markup(text, outline):
    assert outline.all("script") == []
    assert EVIL not in text
    assert "<img src=x" not in text
    assert text.count("&lt;script&gt;") >= 2  # header cards of both catalogs; or cluster, cut and header card


def test_page_loads_nothing_from_elsewhere(outline):
    sources = [
        attrs.get("src") or attrs.get("href") for _, attrs in outline.all("img", "link", "a", "source", "iframe")
    ]
    pages = set(sources) & set(PAGES)
    assert len(pages) == 1  # each page links to the other, and to nothing else
    assert all(source.startswith(("data:", "#")) for source in set(sources) - pages)
    ids = {attrs["id"] for _, attrs in outline.tags if "id" in attrs}
    assert {source[1:] for source in sources if source.startswith("#")} <= ids


def test_headings_go_down_one_step_at_a_time(outline):
    levels = [int(tag[1]) for tag, _ in outline.all("h1", "h2", "h3", "h4")]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert max(np.diff(levels)) == 1


def test_images_have_texts_and_sizes_and_tables_have_headers(outline):
    images = outline.all("img")
    assert len(images) >= 4
    assert all(
        len(attrs["alt"]) > 30 and int(attrs["width"]) > 100 and int(attrs["height"]) > 50 for _, attrs in images
    )
    assert len(outline.all("table")) == len(outline.all("caption")) == len(outline.all("thead"))
    assert all(attrs.get("scope") in ("col", "row") for _, attrs in outline.all("th"))
    assert dict(outline.tags)["html"] == {"lang": "en"}


def test_second_page_compares_two_catalogs(material):
    report, compare = ((material[1].parent / name).read_text(encoding="utf-8") for name in PAGES)
    assert "280 stars in both" in compare
    assert "The other catalog puts the stars nearer, by " in compare
    assert "Both catalogs were made from the same survey" in compare
    assert compare.count("<img ") == 4
    assert "Left out" not in compare
    assert "Difference by distance" in compare
    assert "Difference by distance" not in report
    assert '280 stars of this catalog are in the other one too: <a href="compare.html">' in report
    figures = material[1].parent / "figures"
    assert all((figures / f"compare_{name}.pdf").is_file() for name in ("both", "distance", "labels", "sky"))


def test_report_gives_its_verdict_and_the_figures_left_out(material):
    text = material[1].read_text(encoding="utf-8")
    assert "Mock data." in text
    verdict = re.search(r'<h2 id="verdict">Verdict: (.+?)</h2>(.+?)</table>', text, re.DOTALL)
    grades = re.findall(r'<span class="grade">(.+?)</span>', verdict[2])
    assert grades == sorted(grades, key=["bad", "look", "good", "not checked"].index)
    assert f"{grades.count('bad')} bad, " in verdict[1]
    training = re.search(r"bad</span></th>\s*<td class=\"on\">Training stars.+?</tr>", verdict[2], re.DOTALL)[0]
    assert "below 5000" in training
    assert '<a href="#table-header">' in training
    assert "What the models use: coefficients: needs the fitted models" in text
    assert open_survey(material[0] / EVIL_FOLDER).survey_hash in text


def test_flags_are_counted_as_in_the_catalog(material):
    text, catalog = material[1].read_text(encoding="utf-8"), read_table(material[0] / "catalog.fits")
    table = re.search(r"<caption[^>]*>Flags of the catalog</caption>.*?</table>", text, re.DOTALL)[0]
    rows = re.findall(r'<tr><th scope="row">(\w+)</th><td class="text">(.+?)</td><td class="number">(\d+)</td>', table)
    n_stars = {name: np.count_nonzero(catalog["flags"] >> bit & 1) for bit, name in enumerate(FLAGS)}
    shown = {name: int(n) for name, _, n in rows}
    assert len(shown) > 10
    assert shown == {name: n_stars[name] for name in shown}
    assert sum(shown.values()) == sum(n_stars.values()) > 0  # those that this catalog cannot have are not listed
    assert all(len(meaning) > 10 for _, meaning, _ in rows)


def test_images_beside_the_page_are_files_and_a_report_is_not_overwritten(material, tmp_path, capsys, monkeypatch):
    folder, _ = material
    monkeypatch.setattr("spfast.report.page.SHEETS", SHEETS[:2])
    out = tmp_path / "beside"
    arguments = [
        "report",
        str(folder / "catalog.fits"),
        "--survey",
        str(folder / EVIL_FOLDER),
        "-o",
        str(out),
        "--quiet",
    ]
    assert main([*arguments, "--images", "beside", "--truth", str(folder / EVIL_FOLDER / "truth.fits")]) == 0
    outline = Outline((out / "report.html").read_text(encoding="utf-8"))
    sources = [attrs["src"] for _, attrs in outline.all("img")]
    assert sources
    assert all((out / source).is_file() and (out / source).with_suffix(".pdf").is_file() for source in sources)
    assert main(arguments) == 2
    assert "already exists" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [out]


def test_folder_that_is_no_report_is_left_alone(material, tmp_path):
    folder, _ = material
    (tmp_path / "precious.txt").write_text("mine")
    catalog, survey = read_table(folder / "catalog.fits"), open_survey(folder / EVIL_FOLDER)
    with pytest.raises(BadInputError, match="is not a report"):
        make_report(catalog, survey, tmp_path, overwrite=True)
    assert (tmp_path / "precious.txt").read_text() == "mine"
    with pytest.raises(BadInputError, match="expected 'inside' or 'beside'"):
        make_report(catalog, survey, tmp_path / "new", images="around", config=Config())


#: What a browser finds, written where --dump-dom shows it.
PROBE = """<script>window.addEventListener("load", () => {
  const images = [...document.images].filter((image) => !image.complete || image.naturalWidth < 50).length;
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const lost = [...document.links].filter((a) => a.hash && !document.getElementById(a.hash.slice(1))).length;
  document.body.dataset.found = [window.innerWidth, images, wide, lost].join(" ");
})</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")
@pytest.mark.parametrize(("name", "width"), [("report.html", w) for w in (400, 1000, 1600)] + [("compare.html", 400)])
def test_page_fits_the_window_and_shows_its_images_in_a_browser(material, tmp_path, name, width):
    probed = tmp_path / "probed.html"
    page = (material[1].parent / name).read_text(encoding="utf-8")
    # A frame has the width that it is given; a window has the least width that the browser allows.
    probed.write_text(page.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<!DOCTYPE html><iframe src="probed.html" width="{width}" height="900" style="border:0"></iframe>'
        '<script>window.addEventListener("load", () => { const page = document.querySelector("iframe").contentDocument;'
        "document.body.dataset.found = page.body.dataset.found; });</script>",
        encoding="utf-8",
    )
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += [
        "--allow-file-access-from-files",
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--window-size={width},900",
    ]
    command += ["--virtual-time-budget=10000", "--enable-logging=stderr", "--dump-dom", frame.as_uri()]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert re.search(r'data-found="([^"]*)"', run.stdout)[1] == f"{width} 0 0 0"
    assert "CONSOLE" not in run.stderr


def test_a_catalog_of_other_people_is_reported_and_compared_without_a_survey(material, tmp_path):
    catalog = read_table(material[0] / "catalog.fits")
    published = catalog[
        "2MASS_ID", "Gaia_parallax", "Gaia_parallax_err", "spec_parallax", "spec_parallax_err", "training_set", "sample"
    ]
    published.meta.clear()
    published["K"] = np.linspace(9.0, 13.0, len(published))
    members = Table({"tmass_id": published["2MASS_ID"][10:20], "Cluster": ["M67"] * 10})
    for name, table in (("published", published), ("members", members)):
        write_table(table, tmp_path / f"{name}.fits")
    paths = [str(tmp_path / f"{name}.fits") for name in ("published", "members")]
    out = tmp_path / "report"
    arguments = ["--clusters", paths[1], "--compare", paths[0], "--quiet"]
    assert main(["report", paths[0], *arguments, "-o", str(out)]) == 0
    text = (out / "report.html").read_text()
    assert "needs the survey" in text
    assert "SHA-256" not in text
    assert {path.stem for path in (out / "figures").glob("*.png")} >= {"clusters"}
    assert "stars in both" in (out / "compare.html").read_text()
