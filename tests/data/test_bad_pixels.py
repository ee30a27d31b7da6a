"""Bad pixels estimated from a star's other pixels: against plain Gaussian conditioning, and in whole surveys."""

import json
import shutil
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from small_survey import write_download

from spfast.config import load_config
from spfast.data.ingest import ingest
from spfast.data.spectra.bad_pixels import SpectrumFactors
from spfast.errors import BadInputError
from spfast.kernels.bad_pixels import estimate_rows
from spfast.simulate import simulate_download, simulate_survey

LIMIT = 0.05


def model(n_factors, n_pixels=40, seed=0):
    rng = np.random.default_rng(seed)
    arrays = (
        rng.normal(-0.2, 0.1, n_pixels),
        rng.uniform(0.005, 0.03, n_pixels),
        rng.normal(0, 0.1, (n_factors, n_pixels)),
    )
    return [array.astype(np.float32) for array in arrays]


def draw(mean, scatter, factors, n_stars, seed=1):
    """True and measured ln flux, and its errors, some of them large or infinite."""
    rng = np.random.default_rng(seed)
    true = mean + rng.normal(size=(n_stars, len(factors))) @ factors + scatter * rng.normal(size=(n_stars, mean.size))
    error = rng.uniform(0.002, 0.02, true.shape)
    error[rng.random(true.shape) < 0.1] = 0.12
    bad = rng.random(true.shape) < 0.1
    star = np.arange(n_stars)  # each has one of either kind
    bad[star, star % 10], bad[star, 10 + star % 10], error[star, 10 + star % 10] = True, False, 0.12
    measured = np.where(bad, 0.0, true + error * rng.normal(size=true.shape))
    return true, measured.astype(np.float32), np.where(bad, np.inf, error).astype(np.float32)


@pytest.mark.parametrize("n_factors", [0, 1, 3])
def test_estimates_are_conditional_means(n_factors):
    mean, scatter, factors = model(n_factors)
    _, measured, error = draw(mean, scatter, factors, 5)
    flux, flux_error = measured.copy(), error.copy()
    estimate_rows(mean, factors, scatter, LIMIT, flux, flux_error)
    prior = factors.T.astype(float) @ factors + np.diag(scatter.astype(float) ** 2)
    for star in range(5):
        seen = np.isfinite(error[star])
        gain = prior[:, seen] @ np.linalg.inv(prior[np.ix_(seen, seen)] + np.diag(error[star, seen].astype(float) ** 2))
        expected = mean + gain @ (measured[star, seen] - mean[seen])
        variance = np.diag(prior - gain @ prior[seen])
        replaced = error[star] > LIMIT
        assert replaced.sum() > (~seen).sum() > 0, star
        np.testing.assert_allclose(flux[star, replaced], expected[replaced], rtol=2e-5, atol=1e-6)
        np.testing.assert_allclose(flux_error[star, replaced], np.sqrt(variance[replaced]), rtol=2e-5)
        np.testing.assert_array_equal(flux[star, ~replaced], measured[star, ~replaced])
        np.testing.assert_array_equal(flux_error[star, ~replaced], error[star, ~replaced])


def test_a_star_does_not_depend_on_the_others():
    mean, scatter, factors = model(3)
    _, flux, error = draw(mean, scatter, factors, 6)
    error[2] = 0.01  # nothing to estimate
    alone = [array[4:5].copy() for array in (flux, error)]
    untouched = flux[2].copy()
    estimate_rows(mean, factors, scatter, LIMIT, flux, error)
    estimate_rows(mean, factors, scatter, LIMIT, *alone)
    np.testing.assert_array_equal(flux[4], alone[0][0])
    np.testing.assert_array_equal(error[4], alone[1][0])
    np.testing.assert_array_equal(flux[2], untouched)
    assert (error[2] == np.float32(0.01)).all()


@pytest.mark.parametrize("uncertain", [[4], range(40)])
def test_one_pixel_and_all_pixels(uncertain):
    mean, scatter, factors = model(2)
    _, measured, error = draw(mean, scatter, factors, 1)
    error[:] = LIMIT  # the largest that stays
    limit = np.float64(error[0, 0])
    error[0, uncertain] = 0.06
    flux, flux_error = measured.copy(), error.copy()
    estimate_rows(mean, factors, scatter, limit, flux, flux_error)
    np.testing.assert_array_equal(np.flatnonzero(flux[0] != measured[0]), uncertain)
    np.testing.assert_array_equal(np.flatnonzero(flux_error[0] != error[0]), uncertain)
    assert (flux_error[0, uncertain] < limit).all()


def test_factors_of_a_sample_give_estimates_with_true_errors():
    true, measured, error = draw(*model(3, n_pixels=300), 400)
    found = SpectrumFactors.of(measured, error, LIMIT)
    assert found.to_dict() == {"spectra": 400, "factors": 8}
    assert np.median(found.scatter / model(3, n_pixels=300)[1]) == pytest.approx(1.0, abs=0.05)
    replaced = error > LIMIT
    before = measured[replaced] - true[replaced]
    found.estimate(measured, error)
    after = measured[replaced] - true[replaced]
    assert after.std() < 0.25 * before.std()
    assert np.std(after / error[replaced]) == pytest.approx(1.0, abs=0.1)  # five factors more than there are
    assert error[replaced].max() < LIMIT


def test_few_spectra_give_no_factors_and_large_errors():
    _, measured, error = draw(*model(1), 9)
    found = SpectrumFactors.of(measured, error, LIMIT)
    assert found.to_dict() == {"spectra": 9, "factors": 0}
    bad = np.isinf(error)
    found.estimate(measured, error)
    assert (measured[bad] == 0.0).all()
    assert (error[bad] == np.float32(0.2)).all()
    # From 30 spectra means and scatter are known, but for a pixel that is bad in most of them.
    mean, scatter, factors = model(1)
    _, measured, error = draw(mean, scatter, factors, 30)
    measured[:25, 7], error[:25, 7] = 0.0, np.inf
    found = SpectrumFactors.of(measured, error, LIMIT)
    assert found.to_dict() == {"spectra": 30, "factors": 1}
    known = np.arange(40) != 7
    assert (found.mean[7], found.scatter[7], found.factors[0, 7]) == (0.0, np.float32(0.2), 0.0)
    assert np.abs(found.mean - mean)[known].max() < 0.2
    assert found.scatter[known].max() < 0.06


def test_a_bad_pixel_of_spectra_that_are_all_the_same_gets_their_value():
    flux, error = np.full((50, 30), -0.1, np.float32), np.full((50, 30), 0.01, np.float32)
    error[3, 5] = np.inf
    SpectrumFactors.of(flux, error, LIMIT).estimate(flux, error)
    assert flux[3, 5] == pytest.approx(-0.1, abs=1e-5)
    assert error[3, 5] == pytest.approx(1e-3, rel=0.1)


@pytest.fixture(scope="module")
def surveys(tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("surveys"), []
    for rule in ("estimated", "one"):
        config = load_config(overrides={"features": {"bad_pixels": rule, "rank": 0}})
        made.append(simulate_survey(folder / rule, 150, seed=11, config=config, threads=1, quiet=True, noise="ideal"))
    return made


def test_bad_pixels_of_a_simulated_survey_are_estimated_from_its_lines(surveys):
    estimated, one = surveys
    assert estimated.info["bad_pixels"] == {"spectra": 150, "factors": 7}
    assert one.info["bad_pixels"] is None
    before, after = one.features[:, 9:], estimated.features[:, 9:]
    bad = (before == 0.0) & (one.feature_errors[:, 9:] == np.float16(0.05))
    changed = before != after
    assert 0.003 < bad.mean() < 0.006
    assert 0.005 < changed.mean() < 0.02
    in_line = bad & (np.median(before, axis=0) < -0.15)
    assert in_line.sum() > 100
    # Where most stars have a line, so has the star whose pixel is bad.
    assert np.median(after[in_line]) < -0.15
    assert np.median(estimated.feature_errors[:, 9:][in_line]) < 0.05
    np.testing.assert_array_equal(estimated.stars["n_bad_pixels"], one.stars["n_bad_pixels"])


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("download") / "apogee"
    simulate_download(folder, 100, seed=5, quiet=True, noise="ideal")
    return folder / "allStar-dr17.fits", folder, folder / "gaia.fits"


@pytest.fixture(scope="module")
def ingested(inputs, tmp_path_factory):
    return quiet_ingest(inputs, tmp_path_factory.mktemp("ingested") / "survey")


def quiet_ingest(inputs, out, like=None, **sections):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the damaged file
        return ingest(*inputs, out, config=load_config(overrides=sections), threads=1, quiet=True, like=like)


def test_ingest_estimates_bad_pixels_and_leaves_the_others(inputs, ingested, tmp_path):
    one = quiet_ingest(inputs, tmp_path / "one", features={"bad_pixels": "one"})
    assert ingested.info["bad_pixels"] == {"spectra": one.n_stars, "factors": one.n_stars // 20}
    assert one.info["bad_pixels"] is None
    bad = (one.features[:, 9:] == 0.0) & (one.feature_errors[:, 9:] == np.float16(0.05))
    assert bad.sum() == one.stars["n_bad_pixels"].sum() > 100
    in_line = bad & (np.median(one.features[:, 9:], axis=0) < -0.15)
    assert np.median(ingested.features[:, 9:][in_line]) < -0.1
    sure = one.feature_errors[:, 9:] < 0.04
    np.testing.assert_array_equal(ingested.features[:, 9:][sure & ~bad], one.features[:, 9:][sure & ~bad])


def test_ingest_like_another_survey_gives_its_features(inputs, ingested, tmp_path):
    few = {"sample": {"logg_max": float(np.sort(ingested.stars["LOGG"])[6])}}
    with pytest.raises(BadInputError, match="continuum_file"):  # too few to find their own
        quiet_ingest(inputs, tmp_path / "alone", **few)
    # Settings of the features are the other survey's too.
    found = quiet_ingest(inputs, tmp_path / "few", like=ingested.path, **few, features={"flux_max": 1.5})
    assert found.n_stars == 7
    assert found.layout == ingested.layout
    assert found.info["bad_pixels"] == ingested.info["bad_pixels"]
    assert found.info["continuum"] == {"source": str(ingested.path), "pixels": ingested.info["continuum"]["pixels"]}
    assert found.info["inputs"]["like"]["sha256"] == ingested.survey_hash
    assert found.info["config"]["features"] == ingested.info["config"]["features"]
    same = np.isin(ingested.stars["APOGEE_ID"], found.stars["APOGEE_ID"])
    np.testing.assert_array_equal(found.stars["n_bad_pixels"], ingested.stars["n_bad_pixels"][same])
    # The same but for the estimates: what was estimated there counts as measured here.
    difference = np.abs(found.features - ingested.features[same])
    assert np.mean(difference > 0) < 0.03
    assert difference.max() < 0.1
    # Nothing to do the second time; another survey to be like is another build.
    assert quiet_ingest(inputs, found.path, like=ingested.path, **few).survey_hash == found.survey_hash
    with pytest.raises(BadInputError, match="built from other inputs"):
        quiet_ingest(inputs, found.path, like=found.path, **few)


@pytest.mark.parametrize("rule", ["estimated", "one"])
def test_bad_pixels_of_a_survey_like_another_are_counted_among_its_pixels(tmp_path, rule):
    allstar, folder, gaia = write_download(tmp_path / "in", n=6, kind="apStar")
    (tmp_path / "pixels.txt").write_text("\n".join(map(str, range(0, 8575, 3))))
    config = load_config(
        overrides={
            "normalization": {"continuum_file": str(tmp_path / "pixels.txt"), "grow_mask": 0},
            "features": {"bad_pixels": rule},
        }
    )
    paths = sorted(folder.rglob("*.fits"))

    def mask(bad):
        for i, path in enumerate(paths):
            with fits.open(path, mode="update") as hdus:
                hdus[3].data[:] = 0
                hdus[3].data[:, bad(i)] = 1

    mask(lambda i: [500, 501, 502, 503])  # in every star: the survey has no such pixels
    like = ingest(allstar, folder, gaia, tmp_path / "like", config=config, quiet=True)
    assert like.stars["n_bad_pixels"].tolist() == [0] * 6
    assert like.layout.n_pixels == 7447
    mask(lambda i: [500, *range(600, 600 + i)])  # one of those that it lacks, and i of those that it has
    for subset in (slice(None), [2]):  # the second survey alone would drop more pixels
        Table.read(allstar)[subset].write(tmp_path / "some.fits", overwrite=True)
        out = tmp_path / f"out{np.size(subset)}{type(subset).__name__}"
        survey = ingest(tmp_path / "some.fits", folder, gaia, out, config=config, quiet=True, like=like.path)
        by_name = dict(zip(survey.stars["FILE"].tolist(), survey.stars["n_bad_pixels"].tolist(), strict=True))
        for i, path in enumerate(paths):
            assert by_name.get(str(path.relative_to(folder)), i) == i


def test_a_survey_without_its_continuum_pixels_cannot_be_taken_after(inputs, surveys, tmp_path):
    with pytest.raises(BadInputError, match="no such folder"):
        quiet_ingest(inputs, tmp_path / "out", like=tmp_path / "none")
    bare = tmp_path / "bare"
    shutil.copytree(surveys[0].path, bare)
    info = json.loads((bare / "survey.json").read_text())
    for pixels, message in (({"pixels": ["x"]}, "does not say"), (None, "does not say"), ({"pixels": [9999]}, "9999")):
        (bare / "survey.json").write_text(json.dumps({**info, "continuum": pixels}))
        with pytest.raises(BadInputError, match=message):
            quiet_ingest(inputs, tmp_path / "out", like=bare)
    assert not list(tmp_path.glob("out*"))


def test_an_unknown_rule_for_bad_pixels_is_refused():
    with pytest.raises(BadInputError, match=r"\[features\] bad_pixels is 'zero', expected one of estimated, one"):
        load_config(overrides={"features": {"bad_pixels": "zero"}})
