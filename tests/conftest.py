"""Shared fixtures: the real files, where they are."""

from pathlib import Path

import pytest

_SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data():
    """Folder of real APOGEE files, beside the checkout; tests that need it skip elsewhere."""
    if not _SHARED_DATA.is_dir():
        pytest.skip(f"the real APOGEE files are not at {_SHARED_DATA}")
    return _SHARED_DATA
