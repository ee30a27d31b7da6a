"""The folder of a report: replaced only if it holds nothing but a report."""

import pytest

pytest.importorskip("matplotlib")

from spfast.errors import BadInputError
from spfast.figures.style import new_axes, plain_text
from spfast.report.page import _check_folder

FOREIGN = ["notes.txt", "catalog.fits", ".git/config", "figures/mine.svg", "figures/more/a.png", "report.html.bak"]


@pytest.fixture
def report(tmp_path):
    for name in ("report.html", "compare.html", "figures/a.png", "figures/a.pdf"):
        (tmp_path / "r" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "r" / name).touch()
    return tmp_path / "r"


def test_report_may_be_replaced(report):
    _check_folder(report, overwrite=True)
    with pytest.raises(BadInputError, match="already exists"):
        _check_folder(report, overwrite=False)


@pytest.mark.parametrize("name", FOREIGN)
def test_folder_with_anything_else_is_refused(report, name):
    (report / name).parent.mkdir(parents=True, exist_ok=True)
    (report / name).touch()
    with pytest.raises(BadInputError, match="which is not of a report and would be lost; move it away"):
        _check_folder(report, overwrite=True)


@pytest.mark.parametrize("name", ["$", "M$67", "$\\frac{", "\\alpha", "a\\$b$", "$$", "\x1b[2J", "x" * 1000, "_{^"])
def test_names_are_drawn_as_they_are(tmp_path, name):
    figure, (ax,) = new_axes()
    ax.set_title(f"{plain_text(name)}: 3$\\sigma$")
    figure.savefig(tmp_path / "a.png")
