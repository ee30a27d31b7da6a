"""The examples in the documentation's pages run, in an empty folder, and give what they show."""

import doctest
import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import spfast
from spfast.cli import main

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = [path for path in sorted(DOCS.glob("*.rst")) if ">>>" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_examples_give_what_they_show(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(str(page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert tried > 0
    assert failed == 0


def test_the_first_page_leads_to_a_catalog(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "index.rst").read_text(encoding="utf-8").replace("\\\n", "")
    for line in re.findall(r"^   [$] (.*)$", text, re.MULTILINE):
        program, *arguments = shlex.split(line)
        if program == "spfast":
            assert main(arguments) == 0, line
        elif line.startswith("python -c"):
            subprocess.run([sys.executable, *arguments], check=True)
    assert (tmp_path / "catalog.fits").is_file()


def test_there_are_examples():
    assert "quickstart.rst" in [page.name for page in PAGES]


def test_the_newest_release_in_the_changelog_is_this_version():
    text = (DOCS.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\d\S*) \(\d{4}-\d\d-\d\d\)$", text, re.MULTILINE)[1] == spfast.__version__


def test_every_public_name_is_documented():
    documented = {line.split(".")[-1] for line in (DOCS / "api.rst").read_text(encoding="utf-8").split()}
    assert set(spfast.__all__) - {"__version__"} <= documented


def test_every_name_of_the_api_page_exists():
    text = (DOCS / "api.rst").read_text(encoding="utf-8")
    names = re.findall(r"^\.\. auto(?:function|class|exception|data):: (spfast\.\S+)", text, re.MULTILINE)
    assert len(names) > 20
    for name in names:
        assert pkgutil.resolve_name(name) is not None
