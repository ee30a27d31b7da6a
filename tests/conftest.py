"""Shared fixtures: the real files, where they are."""

import importlib.util
from pathlib import Path

import pytest

_SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data():
    """Folder of real APOGEE files, beside the checkout; tests that need it skip elsewhere."""
    if not _SHARED_DATA.is_dir():
        pytest.skip(f"the real APOGEE files are not at {_SHARED_DATA}")
    return _SHARED_DATA


def pytest_collection_modifyitems(items):
    """Skip the examples in docstrings of figures where there is no matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        for item in items:
            if item.nodeid.startswith("spfast/figures"):
                item.add_marker(pytest.mark.skip(reason="figures need matplotlib"))
