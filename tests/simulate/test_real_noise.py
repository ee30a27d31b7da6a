"""The default mock is as hard as real files: each row of the table in docs/mock.rst lies within a range."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from spfast.config import LINDEGREN, ZERO_POINT, load_config
from spfast.data.zero_point import lindegren_zero_point
from spfast.errors import BadInputError
from spfast.model.apogee import N_GRID
from spfast.simulate import simulate_download, simulate_survey
from spfast.simulate.clusters import BRANCH_STARS
from spfast.simulate.noise import southern_pattern
from spfast.simulate.spectrograph import NOISE, Spectrograph
from spfast.simulate.stars import draw_chunk, draw_cluster_stars

_SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "measure_mock.py"
_SPEC = importlib.util.spec_from_file_location("measure_mock", _SCRIPT)
measures = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(measures)
ON = measures.ON


@pytest.fixture(scope="module")
def spectrograph():
    return Spectrograph("real")


@pytest.fixture(scope="module")
def aspcap(spectrograph):
    return measures.observe("real", "aspcapStar", spectrograph=spectrograph, near=True)


@pytest.fixture(scope="module")
def combined(spectrograph):
    return measures.observe("real", "apStar", spectrograph=spectrograph)


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    zero_point = LINDEGREN if importlib.util.find_spec("zero_point") else (ZERO_POINT, 0.0)
    folder = tmp_path_factory.mktemp("mock") / "survey"
    config = load_config(overrides={"features": {"rank": 0}})  # no low-rank model is needed
    return simulate_survey(folder, 600, 3, config, quiet=True, clusters=["M13", "M92"], zero_point=zero_point)


@pytest.fixture(scope="module")
def real_patterns(shared_data):
    with np.load(shared_data / "aspcapstar_dr13_unusable_patterns.npz") as file:
        return np.unpackbits(file["pattern"], axis=1)[:, :N_GRID].astype(bool), file["snr"]


def within(values, low, high):
    return np.all((np.asarray(values) >= low) & (np.asarray(values) <= high))


def test_unusable_pixels_are_as_many_as_in_real_spectra(aspcap):
    stars, flux, error, _, _ = aspcap
    found = measures.measure_patterns(stars, flux, error)
    assert within(found["unusable, S/N > 140"], 0.10, 0.17)
    assert within(found["unusable, S/N < 60"], 0.18, 0.48)
    assert within(found["runs a star"], 50, 100)
    assert found["run length, 25, 50, 75, 90%"][1:] == pytest.approx([17, 20, 25], abs=4)


def test_patterns_of_unusable_pixels_resemble_real_ones(aspcap, real_patterns):
    stars, flux, error, _, _ = aspcap
    mock, snr = measures.unusable(flux, error), stars["snr"]
    real, real_snr = real_patterns
    for low, high in ((30.0, 65.0), (65.0, 120.0), (140.0, 250.0)):
        ours, theirs = mock[(snr > low) & (snr < high)], real[(real_snr > low) & (real_snr < high)]
        share = [np.median(which[:, ON].mean(axis=1)) for which in (ours, theirs)]
        assert share[0] == pytest.approx(share[1], rel=0.3), (low, high)
        overlap = [np.median(measures.overlaps(which)) for which in (ours, theirs)]
        assert overlap[0] == pytest.approx(overlap[1], abs=0.15), (low, high)
        runs = [np.concatenate([measures.run_lengths(p) for p in which]) for which in (ours, theirs)]
        # Runs of 19 pixels about sky lines hold most of the pixels.
        held = [np.sum(r[(r >= 15) & (r <= 35)]) / np.sum(r) for r in runs]
        assert held[0] == pytest.approx(held[1], abs=0.25), (low, high)


def test_the_pattern_moves_with_the_star(spectrograph):
    stars = draw_chunk(1, 0)
    stars["telescope"][:] = "apo25m"
    stars["snr"][:] = 160.0
    stars["radial_velocity"] = np.where(np.arange(256) < 128, -200.0, 200.0)
    flux, error, _, _ = spectrograph.observe(stars, np.random.default_rng(2))
    often = [
        measures.unusable(f, e)[:, ON].mean(axis=0) for f, e in ((flux[:128], error[:128]), (flux[128:], error[128:]))
    ]
    shifts = np.arange(-140, 141)
    match = [np.corrcoef(often[0], np.roll(often[1], shift))[0, 1] for shift in shifts]
    assert shifts[np.argmax(match)] == pytest.approx(400.0 / 299792.458 / np.log(10.0) / 6e-6, abs=4)


def test_noise_is_larger_than_stated_and_correlated(combined):
    stars, flux, error, mask, truth = combined
    found = measures.measure_noise(flux, error, mask, truth, stars["snr"])
    assert within(found["noise over error, clean"], 1.05, 1.18)
    assert within(found["noise over error, sky"], 1.1, 2.0)
    assert within(found["beyond 4 sigma, sky"], 0.01, 0.16)
    assert within(found["error > 0.05"], 0.01, 0.06)
    one, two, three = found["correlation at 1, 2, 3 pixels"]
    assert one == pytest.approx(0.43, abs=0.05)
    assert two == pytest.approx(-0.04, abs=0.06)
    assert three == pytest.approx(0.12, abs=0.06)
    share = (mask & measures.SKY_LINE != 0)[(stars["snr"] > 130.0) & (stars["snr"] < 200.0)][:, ON].mean()
    assert 0.01 < share < 0.04


def test_aspcap_drops_what_the_mask_calls_sky_lines_and_quotes_no_small_error(aspcap):
    _, flux, error, mask, _ = aspcap
    sky = (mask & measures.SKY_LINE != 0)[:, ON]
    assert np.mean(measures.unusable(flux, error)[:, ON][sky]) > 0.97
    found = measures.measure_floor(error)
    assert found["smallest error"] == pytest.approx(0.005)
    assert within(found["at the smallest"], 0.3, 0.65)


def test_a_continuum_leaves_waves_and_offsets_of_the_chips(aspcap):
    stars, flux, error, _, truth = aspcap
    found = measures.measure_waves(flux, truth, error, stars["snr"])
    assert within(found["waves, rms"], 0.0045, 0.0075)
    assert within(found["chip offsets, rms"], 0.002, 0.008)


def test_the_two_products_of_a_star_differ_in_their_continuum_alone(spectrograph):
    stars = draw_chunk(1, 0)
    one, other = (spectrograph.observe(stars, np.random.default_rng(6), kind) for kind in ("apStar", "aspcapStar"))
    good = (other[1] < 0.1) & (one[1] < 0.1)
    ratio = np.where(good, one[0] / np.where(good, other[0], 1.0), np.nan)
    offset = [np.nanmedian(ratio[:, first : last + 1], axis=1) - 1.0 for first, last in measures.DETECTORS]
    assert 0.004 < np.std(offset) < 0.008
    assert np.nanstd(np.diff(ratio, axis=1)) < 0.003  # no noise of their own


def test_the_southern_telescope_has_a_pattern_of_its_own(spectrograph):
    found = measures.measure_south("real", spectrograph)
    low, high, extreme = found["south - north, 16, 84, 99% of pixels"]
    assert low == pytest.approx(-0.004, abs=0.0025)
    assert high == pytest.approx(0.005, abs=0.0025)
    assert extreme == pytest.approx(0.038, abs=0.012)


def test_the_southern_pattern_has_the_statistics_of_the_real_one(shared_data):
    real, mock = (
        np.load(shared_data / "lco_apo_median_dr17sync.npy").astype(float),
        southern_pattern()[ON].astype(float),
    )
    for percent, tolerance in ((5, 0.003), (16, 0.0025), (50, 0.002), (84, 0.0025), (95, 0.008), (99, 0.012)):
        assert np.percentile(mock, percent) == pytest.approx(np.percentile(real, percent), abs=tolerance), percent

    def correlation(values, lag):
        z = values - values.mean()
        return np.mean(z[lag:] * z[:-lag]) / np.mean(z * z)

    for lag in (3, 20, 80):
        assert correlation(mock, lag) == pytest.approx(correlation(real, lag), abs=0.1)


def test_lines_are_as_deep_as_in_real_giants(spectrograph):
    found = {name: tuple(shares) for name, shares in measures.measure_lines(spectrograph).items()}
    cool, warm, poor, _ = found.values()
    assert cool == pytest.approx((0.42, 0.18), abs=0.05)
    assert warm == pytest.approx((0.14, 0.045), abs=0.02)
    assert 0.008 < poor[0] < 0.05
    assert 0.001 < poor[1] < 0.015


def test_spectra_differ_in_more_than_one_way(survey):
    first, second, third = measures.components(survey)
    assert 30.0 < first < 50.0
    assert 7.0 < second < 18.0
    assert 1.5 < third < 4.5


def test_metal_poor_clusters_have_giants_along_the_whole_branch():
    stars = draw_cluster_stars(measures.CLUSTERS, seed=2, whole_branch=True)
    for name in measures.CLUSTERS:
        rows = stars["cluster"] == name
        assert rows.sum() == BRANCH_STARS
        magnitude = np.sort(stars["absolute_K"][rows])
        assert magnitude[0] == pytest.approx(-6.5, abs=0.25)
        assert magnitude[-1] == pytest.approx(-2.1, abs=0.25)
        assert np.diff(magnitude).max() < 0.5  # no gap
        assert stars["logg"][rows].max() < 2.2


def test_a_survey_keeps_enough_of_a_cluster_to_measure_a_slope(survey):
    truth = Table.read(survey.path / "truth.fits")
    names = np.char.strip(np.asarray(truth["cluster"]).astype(str))
    for name in ("M13", "M92"):
        rows = names == name
        assert rows.sum() >= 24
        assert np.ptp(np.asarray(truth["absolute_K"])[rows]) > 3.5


@pytest.mark.parametrize("noise", NOISE)
def test_a_block_of_stars_is_the_same_whatever_follows_it(noise):
    stars = draw_chunk(3, 0)
    first, second = (Spectrograph(noise).observe(stars, np.random.default_rng(4)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_noise_and_wise_of_other_names_are_refused(tmp_path):
    with pytest.raises(BadInputError, match="noise 'white': expected one of real, ideal"):
        simulate_survey(tmp_path / "s", 5, noise="white", quiet=True)
    with pytest.raises(BadInputError, match="wise 'neowise': expected one of allwise, unwise"):
        simulate_download(tmp_path / "d", 5, wise="neowise", quiet=True)
    assert not list(tmp_path.iterdir())


def test_parallaxes_are_too_small_by_the_zero_point_of_dr3():
    pytest.importorskip("zero_point")
    constant, dr3 = draw_chunk(5, 1), draw_chunk(5, 1, zero_point=LINDEGREN)
    too_small = constant["parallax"] + ZERO_POINT - dr3["parallax"]
    assert np.ptp(too_small) > 0.01
    assert within(too_small, 0.0, 0.1)
    np.testing.assert_array_equal(constant["parallax_error"], dr3["parallax_error"])


def test_the_zero_point_of_dr3_can_be_taken_off_a_survey(survey):
    pytest.importorskip("zero_point")
    stars = survey.stars
    drawn = {"parallax": [], "APOGEE_ID": []}
    for chunk in range(6):
        for name, values in drawn.items():
            values.extend(draw_chunk(3, chunk)[name])
    constant = dict(zip(drawn["APOGEE_ID"], drawn["parallax"], strict=True))
    corrected = np.asarray(stars["parallax"]) - lindegren_zero_point(stars)[0]
    pairs = [(constant[i] + ZERO_POINT, c) for i, c in zip(stars["APOGEE_ID"], corrected, strict=True) if i in constant]
    assert len(pairs) > 400
    np.testing.assert_allclose(*np.transpose(pairs), atol=2e-6)


def test_the_zero_point_of_dr3_can_be_taken_off_a_gaia_table(tmp_path):
    pytest.importorskip("zero_point")
    parallaxes = []
    for name, zero_point in (("constant", (ZERO_POINT, 0.0)), ("dr3", LINDEGREN)):
        simulate_download(tmp_path / name, 20, seed=2, quiet=True, zero_point=zero_point)
        table = Table(fits.getdata(tmp_path / name / "gaia.fits"))
        table = table[np.asarray(table["random_index"]) < 4 * 20]  # no second, fainter source nearby
        added = ZERO_POINT if name == "constant" else -lindegren_zero_point(table)[0]
        parallaxes.append(np.asarray(table["parallax"]) + added)
    assert np.isfinite(parallaxes[0]).sum() > 10
    np.testing.assert_allclose(*parallaxes, atol=2e-6)


def test_unwise_has_smaller_errors_and_fluxes_that_give_its_magnitudes(tmp_path):
    allwise, unwise = draw_chunk(5, 1), draw_chunk(5, 1, wise="unwise")
    for band, offset in (("W1", 0.004), ("W2", 0.032)):
        assert np.median(unwise[f"{band}_error"]) < 0.3 * np.median(allwise[f"{band}_error"])
        magnitude = 22.5 - offset - 2.5 * np.log10(unwise[f"{band}_flux"])
        np.testing.assert_allclose(magnitude, unwise[band], atol=1e-9)
        faint = unwise[f"true_{band}"] > 9.0
        assert measures.width((unwise[band] - unwise[f"true_{band}"])[faint]) == pytest.approx(0.016, abs=0.006)
    simulate_download(tmp_path / "mock", 3, quiet=True, wise="unwise")
    assert {"w1mpro", "w1_flux", "w2_dflux"} <= set(fits.getdata(tmp_path / "mock" / "gaia.fits").names)
