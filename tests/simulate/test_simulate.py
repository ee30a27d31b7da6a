"""The mock download: real formats, real mess, the same bytes for the same seed, and nothing left of a refused run."""

import hashlib
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning

from spfast.config import Config
from spfast.data.ingest import ingest
from spfast.errors import BadInputError
from spfast.simulate import simulate_download, simulate_survey
from spfast.simulate.files import RELEASES, SDSS5, spectrum_path
from spfast.simulate.spectra import BAD_ERROR, DETECTORS

N_STARS, SEED = 260, 4
SMALL = Config().replace(features={"rank": 6})  # a low-rank model in a second
DRP = "spectro/apogee/redux"
R8, DR17 = "apogee/spectro/redux/r8/stars", "apogee/spectro/aspcap/dr17/synspec_rev1"


def hashes(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def spectra_of(folder, pattern):
    """Readable spectra, by file name: those that are as long as their headers say."""
    found = {}
    for path in sorted(folder.rglob(pattern)):
        with warnings.catch_warnings():
            warnings.simplefilter("error", AstropyUserWarning)
            try:
                with fits.open(path, memmap=False) as hdus:
                    for hdu in hdus:
                        _ = hdu.data
                    found[path.name] = hdus
            except (OSError, AstropyUserWarning, TypeError, ValueError):
                continue
    return found


@pytest.fixture(scope="module")
def download(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mock") / "dr17"
    assert simulate_download(folder, N_STARS, seed=SEED, quiet=True) == folder
    return folder


@pytest.fixture(scope="module")
def tables(download):
    names = ("allStar-dr17", "gaia", "truth")
    return [Table(fits.getdata(download / f"{name}.fits")) for name in names]


@pytest.mark.parametrize(
    ("release", "kind", "telescope", "expected"),
    [
        ("dr14", "apStar", "apo25m", "apogee/spectro/redux/r8/stars/apo25m/4100/apStar-r8-{id}.fits"),
        ("dr14", "apStar", "apo1m", "apogee/spectro/redux/r8/stars/apo1m/120+04/apStar-r8-{id}.fits"),
        ("dr14", "aspcapStar", "apo25m", f"{R8}/l31c/l31c.2/4100/aspcapStar-r8-l31c.2-{{id}}.fits"),
        ("dr16", "apStar", "lco25m", "apogee/spectro/redux/r12/stars/lco25m/120+04/asStar-r12-{id}.fits"),
        ("dr16", "aspcapStar", "lco25m", "apogee/spectro/aspcap/r12/l33/lco25m/120+04/aspcapStar-r12-{id}.fits"),
        ("dr17", "apStar", "apo25m", "apogee/spectro/redux/dr17/stars/apo25m/120+04/apStar-dr17-{id}.fits"),
        ("dr17", "aspcapStar", "apo1m", f"{DR17}/apo1m/120+04/aspcapStar-dr17-{{id}}.fits"),
        ("dr19", "apStar", "apo25m", f"{DRP}/1.3/stars/apo25m/98/98765/apStar-1.3-apo25m-{{id}}-59830.fits"),
        ("dr20", "apStar", "lco25m", f"{DRP}/1.5/stars/lco25m/98/98765/apStar-1.5-lco25m-{{id}}-59830.fits"),
        ("dr19", "mwmStar", "apo25m", "spectro/astra/0.6.0/spectra/star/25/44/mwmStar-0.6.0-54392544.fits"),
    ],
)  # fmt: skip
def test_spectra_have_the_paths_of_their_release(release, kind, telescope, expected):
    star = {
        "APOGEE_ID": "2M00000068+5710233",
        "TELESCOPE": telescope,
        "FIELD": "120+04",
        "LOCATION_ID": 1 if telescope == "apo1m" else 4100,
        "healpix": 98765,
        "sdss_id": 54392544,
    }
    assert spectrum_path(release, kind, star) == expected.format(id="2M00000068+5710233")


@pytest.mark.parametrize("release", sorted(set(RELEASES) - set(SDSS5)))
def test_tree_and_table_have_the_names_of_their_release(tmp_path, release):
    simulate_download(tmp_path / "mock", 12, seed=8, release=release, spectra="apStar", quiet=True)
    with fits.open(tmp_path / "mock" / f"allStar-{release}.fits") as hdus:
        table = hdus[-1].data
        assert len(hdus) == 2
        names = set(table.names)
        assert {"TEFF", "LOGG", "FE_H", "SNR"} <= {name.upper() for name in names}
        telescopes = set(np.char.strip(table["telescope"]))
        assert ("lco25m" in telescopes) == (release != "dr14")
        on_disk = {path.name for path in (tmp_path / "mock").rglob("*Star-*.fits")}
        named = set(np.char.strip(table["FILE"]))
        assert len(named - on_disk) <= 1
    spectra = spectra_of(tmp_path / "mock", "a?Star-*.fits")
    prefixes = {name.split("-")[0] for name in spectra}
    assert prefixes == ({"apStar"} if release == "dr14" else {"apStar", "asStar"})


def test_an_apstar_file_has_the_format_of_a_real_one(tmp_path, shared_data):
    simulate_download(tmp_path / "mock", 10, seed=3, spectra="apStar", quiet=True)
    spectra = spectra_of(tmp_path / "mock", "a?Star-*.fits").values()
    for real_name in ("2M19485057+5005279", "2M17335483-2753043"):
        with fits.open(shared_data / f"apStar-dr17-{real_name}.fits") as real:
            n_visits = real[0].header["NVISITS"]
            hdus = next(hdus for hdus in spectra if hdus[0].header["NVISITS"] == n_visits)
            assert [type(hdu) for hdu in hdus] == [type(hdu) for hdu in real]
            for hdu, other in zip(hdus[1:8], real[1:8], strict=True):
                for key in ("BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "CRVAL1", "CDELT1", "CRPIX1", "CTYPE1", "BUNIT"):
                    assert hdu.header[key] == other.header[key], key
            for key, value in hdus[0].header.items():
                if key not in ("SIMPLE", "BITPIX", "NAXIS", "EXTEND"):
                    assert type(value) is type(real[0].header[key]) or isinstance(value, float), key
            flux, real_flux = hdus[1].data[0], real[1].data[0]
            assert np.isnan(flux[[0, 3500, 6200, -1]]).all()
            assert np.isnan(real_flux[[0, 3500, 6200, -1]]).all()
            assert np.array_equal(hdus[1].data[1] == 0.0, real[1].data[1] == 0.0) or n_visits > 1
            # Counts per H magnitude agree within a factor of two: the units are the real ones.
            per_light = [
                np.nanmedian(data) * 10 ** (0.4 * header["H"])
                for data, header in ((flux, hdus[0].header), (real_flux, real[0].header))
            ]
            assert 0.5 < per_light[0] / per_light[1] < 2.0


def test_apstar_files_of_dr14_have_their_format(tmp_path):
    simulate_download(tmp_path / "mock", 14, seed=3, release="dr14", spectra="apStar", quiet=True)
    shapes = set()
    for hdus in spectra_of(tmp_path / "mock", "apStar-*.fits").values():
        n_visits = hdus[0].header["NVISITS"]
        shape = (8575,) if n_visits == 1 else (n_visits + 2, 8575)
        assert hdus[1].data.shape == hdus[2].data.shape == hdus[3].data.shape == shape
        assert (hdus[1].data.dtype, hdus[3].data.dtype) == (np.dtype(">f4"), np.dtype(">i2"))
        first = np.atleast_2d(hdus[2].data)[0]
        assert first[0] == BAD_ERROR
        assert np.isfinite(np.atleast_2d(hdus[1].data)).all()
        shapes.add(len(shape))
    assert shapes == {1, 2}


@pytest.mark.parametrize("noise", ["real", "ideal"])
def test_aspcapstar_files_have_their_format_and_the_stated_noise(tmp_path, noise):
    simulate_download(tmp_path / "mock", 40, seed=SEED, quiet=True, noise=noise)
    spectra = spectra_of(tmp_path / "mock", "aspcapStar-*.fits")
    on = np.zeros(8575, dtype=bool)
    for first, last in DETECTORS:
        on[first : last + 1] = True
    pulls = []
    for hdus in list(spectra.values())[:40]:
        assert len(hdus) == 5
        assert isinstance(hdus[-1], fits.BinTableHDU)
        flux, error, model = (hdu.data for hdu in hdus[1:4])
        assert flux.dtype == error.dtype == model.dtype == np.dtype(">f4")
        assert flux.shape == error.shape == model.shape == (8575,)
        assert (hdus[1].header["CRVAL1"], hdus[1].header["CDELT1"]) == (4.179, 6e-6)
        assert np.all(error[~on] == BAD_ERROR)
        assert np.all(flux[~on] == 0.0)
        good = on & (error < 1.0)
        assert 0.95 < np.percentile(flux[good], 95) < 1.1
        pulls.append(((flux - model) / error)[good])
    width = np.subtract(*np.percentile(np.concatenate(pulls), [84, 16])) / 2.0
    if noise == "ideal":
        assert width == pytest.approx(1.0, abs=0.03)
    else:
        assert (
            1.0 < width < 1.8
        )  # waves of the continuum and more noise than stated, less where the error is the smallest


def test_no_file_tells_when_it_was_made(download):
    for path in [*download.glob("*.fits"), next(download.rglob("aspcapStar-*.fits"))]:
        with fits.open(path) as hdus:
            assert not any("DATE" in hdu.header for hdu in hdus)


def test_tables_have_the_faults_of_real_ones(download, tables):
    allstar, gaia, truth = tables
    ids = np.char.strip(allstar["APOGEE_ID"])
    unique, counts = np.unique(ids, return_counts=True)
    assert len(truth) == unique.size == N_STARS
    assert 1 <= np.sum(counts == 2) <= 0.08 * N_STARS
    assert counts.max() == 2
    assert not np.array_equal(ids[: N_STARS // 2], np.sort(ids[: N_STARS // 2]))  # shuffled
    # Padded text, as the files have it.
    name = allstar["FILE"][0].rstrip()
    assert name.ljust(64).encode() in (download / "allStar-dr17.fits").read_bytes()
    assert np.sum(allstar["LOGG"] == -9999.0) >= 1
    on_disk = [path.name for path in download.rglob("aspcapStar-*.fits")]
    with_spectrum = {name.removeprefix("aspcapStar-dr17-").removesuffix(".fits") for name in on_disk}
    assert 1 <= N_STARS - len(with_spectrum) <= 0.05 * N_STARS
    assert len(on_disk) > len(with_spectrum)  # a star observed twice has two files of one name, in two folders
    assert len(set(on_disk)) - len(spectra_of(download, "aspcapStar-*.fits")) <= 1
    sizes = [path.stat().st_size for path in download.rglob("aspcapStar-*.fits")]
    assert sum(size < max(sizes) for size in sizes) == 1  # the truncated one
    keys = np.char.strip(gaia["original_ext_source_id"])
    assert set(np.char.add("2M", keys)) < set(unique)
    doubled = np.unique(keys, return_counts=True)[1] == 2
    assert doubled.any()
    for key in np.unique(keys)[doubled]:
        near, far = gaia[keys == key][np.argsort(gaia["angular_distance"][keys == key])]
        assert far["phot_g_mean_mag"] > near["phot_g_mean_mag"]
    assert np.isnan(gaia["w1mpro"]).any()
    assert np.unique(gaia["source_id"]).size == len(gaia)
    assert np.unique(gaia["random_index"]).size == len(gaia)
    zero_point = gaia["phot_g_mean_mag"] + 2.5 * np.log10(gaia["phot_g_mean_flux"])
    assert np.ptp(zero_point) < 1e-6


def test_dr3_columns_belong_to_newer_releases(tmp_path, tables):
    newer = {"ruwe", "nu_eff_used_in_astrometry", "pseudocolour", "ecl_lat", "astrometric_params_solved"}
    assert newer < set(tables[1].colnames)
    six = tables[1]["astrometric_params_solved"] == 95
    assert np.array_equal(np.isfinite(tables[1]["pseudocolour"]), six)
    simulate_download(tmp_path / "mock", 3, release="dr14", quiet=True)
    assert not newer & set(fits.getdata(tmp_path / "mock" / "gaia.fits").names)


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    for options in ({"spectra": "apStar"}, {"release": "dr19"}):
        for name, seed in (("first", 5), ("second", 5), ("third", 6)):
            simulate_download(tmp_path / options.get("release", "") / name, 14, seed=seed, quiet=True, **options)
        folder = tmp_path / options.get("release", "")
        first, second, third = (hashes(folder / name) for name in ("first", "second", "third"))
        assert first == second
        assert not set(first.values()) & set(third.values())


def test_a_larger_download_begins_with_the_same_stars(tmp_path, tables):
    simulate_download(tmp_path / "few", 8, seed=SEED, quiet=True)
    few = Table(fits.getdata(tmp_path / "few" / "truth.fits"))
    assert np.array_equal(few["APOGEE_ID"], tables[2]["APOGEE_ID"][:8])
    assert np.array_equal(few["true_parallax"], tables[2]["true_parallax"][:8])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"release": "dr13"}, "dr14, dr16, dr17, dr19, dr20"),
        ({"release": "dr19", "spectra": "aspcapStar"}, "dr19 has mwmStar, apStar"),
        ({"spectra": "mwmStar"}, "mwmStar"),
        ({"n_stars": 0}, "at least 1"),
    ],
)
def test_a_refused_simulation_leaves_nothing(tmp_path, options, told):
    with pytest.raises(BadInputError, match=told):
        simulate_download(tmp_path / "mock", **{"n_stars": 3, "quiet": True, **options})
    assert not list(tmp_path.iterdir())


def test_a_full_folder_is_not_touched(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    for simulate in (simulate_download, simulate_survey):
        with pytest.raises(BadInputError, match="exists"):
            simulate(tmp_path, 3, quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.fixture(scope="module")
def streamed(tmp_path_factory):
    return simulate_survey(tmp_path_factory.mktemp("streamed") / "survey", N_STARS, SEED, SMALL, threads=1, quiet=True)


def test_a_simulated_survey_is_whole(streamed):
    assert streamed.features.shape == (N_STARS, 7414)
    assert np.isfinite(streamed.features).all()
    assert np.all(streamed.feature_errors >= 0.0)
    ids = np.asarray(streamed.stars["APOGEE_ID"]).astype(str)
    assert np.all(ids[1:] > ids[:-1])
    truth = Table.read(streamed.path / "truth.fits")
    assert np.array_equal(np.asarray(truth["APOGEE_ID"]).astype(str), ids)
    logg = np.asarray(streamed.stars["LOGG"])
    assert np.sum(streamed.stars["training_set"]) > 0.5 * N_STARS
    assert logg.min() > 0.0
    assert logg.max() <= 2.2


def test_a_simulated_survey_does_not_depend_on_threads(tmp_path):
    for threads in (1, 2):
        simulate_survey(tmp_path / str(threads), 300, SEED, SMALL, threads=threads, quiet=True)
    assert hashes(tmp_path / "1") == hashes(tmp_path / "2")


def test_simulated_and_ingested_surveys_look_alike(tmp_path, download, streamed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the damaged file
        survey = ingest(
            download / "allStar-dr17.fits", download, download / "gaia.fits", tmp_path / "survey", threads=1, quiet=True
        )
    assert survey.n_features == streamed.n_features
    both = [np.asarray(which.features[:, 9:]) for which in (survey, streamed)]
    median = [np.median(values, axis=0) for values in both]
    # Two draws of stars from one population: their median spectra differ by little more than the sampling.
    assert np.corrcoef(*median)[0, 1] > 0.97
    assert abs(np.mean(median[0] - median[1])) < 0.01
    spread = [np.subtract(*np.percentile(values, [84, 16], axis=0)).mean() for values in both]
    assert spread[0] == pytest.approx(spread[1], rel=0.2)
    reasons = Table.read(tmp_path / "survey" / "rejected.ecsv")
    assert any("readable" in str(reason) or "truncated" in str(reason) for reason in reasons["reason"])
