"""The examples in the pages run in an empty folder; the build's own scripts are no tests."""

import pytest

collect_ignore_glob = ["*.py", "_ext/*", "_build/*", "api/*"]


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
