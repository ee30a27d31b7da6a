"""``spfast ingest``: what it refuses; what it builds is tested in tests/data."""

import numpy as np
import pytest
from astropy.table import Table

GAIA_COLUMNS = [
    *("ra", "dec", "parallax", "parallax_error", "pmra", "pmdec", "random_index"),
    *(f"phot_{band}_mean_{what}" for band in ("g", "bp", "rp") for what in ("mag", "flux", "flux_error")),
    *("visibility_periods_used", "astrometric_chi2_al", "astrometric_n_good_obs_al"),
    *("w1mpro", "w1mpro_error", "w2mpro", "w2mpro_error"),
]


@pytest.fixture
def download(tmp_path):
    """An allStar of three stars, a Gaia table for them, and a folder with their (empty) spectra."""
    names = [f"2M{i:08d}+{i:07d}" for i in range(3)]
    allstar = {name: np.ones(3) for name in ("J", "H", "K", "J_ERR", "H_ERR", "K_ERR", "SNR", "LOGG", "TEFF", "FE_H")}
    Table({"APOGEE_ID": names, "RA": np.ones(3), "DEC": np.ones(3), **allstar}).write(tmp_path / "allStar.fits")
    gaia = {name: np.ones(3) for name in GAIA_COLUMNS} | {"phot_variable_flag": ["NOT_AVAILABLE"] * 3}
    Table({"tmass_id": [name[2:] for name in names], "source_id": [1, 2, 3], **gaia}).write(tmp_path / "gaia.fits")
    (tmp_path / "spectra").mkdir()
    for name in names:
        (tmp_path / "spectra" / f"aspcapStar-r12-{name}.fits").write_bytes(b"SIMPLE  =")
    add_bad_files(tmp_path)
    return tmp_path


def add_bad_files(folder):
    """Put the same tables beside them with one fault each, and a folder without spectra."""
    allstar, gaia = Table.read(folder / "allStar.fits"), Table.read(folder / "gaia.fits")
    whole = (folder / "allStar.fits").read_bytes()
    (folder / "short.fits").write_bytes(whole[: len(whole) - 3000])
    allstar.rename_column("LOGG", "GRAVITY")
    allstar.write(folder / "noLogg.fits")
    gaia.rename_column("parallax_error", "error")
    gaia.write(folder / "noError.fits")
    gaia["tmass_id"] = "elsewhere"
    gaia.rename_column("error", "parallax_error")
    gaia.write(folder / "strangers.fits")
    (folder / "empty").mkdir()


def ingest(download, **other):
    files = {"allstar": "allStar.fits", "spectra": "spectra", "gaia": "gaia.fits", **other}
    return [
        "ingest",
        "--quiet",
        "-o",
        download / "survey",
        *(x for role, name in files.items() for x in (f"--{role}", download / name)),
    ]


@pytest.mark.parametrize(
    ("said", "files"),
    [
        ("none.fits", {"allstar": "none.fits"}),
        ("nowhere", {"spectra": "nowhere"}),
        ("none.vot", {"gaia": "none.vot"}),
        ("short.fits", {"allstar": "short.fits"}),
        ("LOGG", {"allstar": "noLogg.fits"}),
        ("parallax_error", {"gaia": "noError.fits"}),
        ("no star", {"gaia": "strangers.fits"}),
        ("empty", {"spectra": "empty"}),
        ("0 good spectra", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value.values()),
)
def test_bad_download_is_one_line_and_leaves_nothing(download, refused, said, files):
    before = sorted(path.name for path in download.iterdir())
    assert said in refused(*ingest(download, **files))
    assert sorted(path.name for path in download.iterdir()) == before


def test_without_a_gaia_table_allstar_must_have_gaias_columns(download, refused):
    args = [argument for argument in ingest(download) if argument not in ("--gaia", download / "gaia.fits")]
    assert "has no Gaia parallaxes, as the tables of SDSS-V have" in refused(*args)
    assert not (download / "survey").exists()
