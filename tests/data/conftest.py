"""A small download and its configuration, for tests of ingest."""

import pytest
from small_survey import write_download

from spfast.config import load_config


@pytest.fixture
def config(tmp_path):
    """A configuration with continuum pixels from a file: few stars do not determine them."""
    path = tmp_path / "pixels.txt"
    path.write_text("\n".join(map(str, range(0, 8575, 3))))
    return load_config(overrides={"normalization": {"continuum_file": str(path)}})


@pytest.fixture
def download(tmp_path):
    """Paths of allStar, the folder of spectra and the Gaia table of 12 stars."""
    (tmp_path / "in").mkdir()
    return write_download(tmp_path / "in", n=12)
