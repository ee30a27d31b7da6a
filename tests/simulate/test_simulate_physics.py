"""What the mock stars are: luminosity, motion, dust, lines at their wavelengths, Gaia as it measures."""

import numpy as np
import pytest
from astropy import constants, units
from astropy.coordinates import CartesianDifferential, Galactocentric, SkyCoord
from astropy.io import fits
from astropy.table import Table

from spfast.config import ZERO_POINT, Config
from spfast.data.literature_clusters import literature_clusters
from spfast.errors import BadInputError
from spfast.model.apogee import grid_wavelength
from spfast.simulate import simulate_survey
from spfast.simulate.clusters import CLUSTER_STARS
from spfast.simulate.lines import SPECIES, line_list
from spfast.simulate.noise import IdealNoise
from spfast.simulate.population import BANDS
from spfast.simulate.spectra import BAD_ERROR, DETECTORS, SaturatedSynthesis, Synthesis
from spfast.simulate.stars import CHUNK, draw_chunk, draw_cluster_stars, measured_labels
from spfast.validation.cluster_members import members_from_table, select_members

WAVELENGTH = grid_wavelength()


@pytest.fixture(scope="module")
def stars():
    chunks = [draw_chunk(11, chunk) for chunk in range(60)]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


@pytest.fixture(scope="module")
def parent(stars):
    """The stars that pass the paper's cuts."""
    sample, logg = Config().sample, measured_labels(stars)[1]
    red = stars["J"] - stars["K"] < sample.jk_offset + sample.jk_slope * (stars["BP"] - stars["RP"])
    dusty = stars["H"] - stars["W2"] > sample.hw2_min
    low = (logg > sample.logg_min) & (logg <= sample.logg_max)
    return {"low": low, "colour": red & dusty, "all": low & red & dusty}


@pytest.fixture(scope="module")
def training(stars, parent):
    cuts = Config().training
    unit_weight = stars["astrometric_chi2_al"] / np.sqrt(stars["astrometric_n_good_obs_al"] - 5.0)
    good = (stars["parallax_error"] < cuts.parallax_error_max) & (unit_weight <= cuts.astrometric_chi2_max)
    return parent["all"] & good & (stars["visibility_periods_used"] >= cuts.visibility_periods_min)


@pytest.fixture(scope="module", params=[Synthesis, SaturatedSynthesis])
def synthesis(request):
    return request.param()


def some(stars, rows):
    return {name: values[rows] for name, values in stars.items()}


def giants(synthesis, name, values, **labels):
    """Noise-free spectra of one star with other values of one label, and the same scatter of its elements."""
    base = {"teff": 4300.0, "logg": 1.4, "fe_h": 0.0, "alpha_fe": 0.0, "c_n": -0.2, "a_v": 0.0, "radial_velocity": 0.0}
    every = [{**base, **labels, name: value} for value in values]
    one = [{key: np.array([value]) for key, value in star.items()} for star in every]
    return np.concatenate([synthesis.flux(star, np.random.default_rng(0)) for star in one]).astype(float)


def test_luminosity_is_that_of_a_black_sphere_of_the_star_s_radius_and_temperature(stars):
    gravity = 10 ** stars["logg"] * units.cm / units.s**2
    radius = np.sqrt(constants.G * stars["mass"] * units.solMass / gravity)
    luminosity = 4.0 * np.pi * radius**2 * constants.sigma_sb * (stars["teff"] * units.K) ** 4
    assert luminosity.to_value(units.solLum) == pytest.approx(10 ** stars["log_luminosity"], rel=2e-3)


def test_labels_cover_luminous_giants(stars):
    assert -0.4 < stars["logg"].min() < 0.1
    assert 3.0 < stars["logg"].max() < 3.6
    assert np.percentile(stars["teff"], 1) > 3400.0
    assert np.percentile(stars["teff"], 99) < 5400.0
    # Heavier giants dredge up more nitrogen: [C/N] tells mass, and so age.
    assert np.corrcoef(stars["mass"], stars["c_n"])[0, 1] < -0.6
    assert np.corrcoef(stars["mass"], stars["age"])[0, 1] < -0.8


def test_distances_brightness_and_dust_are_those_of_apogee_s_giants(stars):
    assert stars["true_parallax"] == pytest.approx(1.0 / stars["distance"])
    assert stars["distance"].min() >= 0.3
    assert stars["distance"].max() <= 25.0
    assert np.percentile(stars["true_H"], [0.5, 99.5]) == pytest.approx([7.0, 13.7], abs=0.15)
    assert stars["true_G"].max() < 20.7  # Gaia sees them all
    assert stars["a_v"].max() > 5.0
    assert np.percentile(stars["snr"], [0, 100]) == pytest.approx([40.0, 900.0])
    near, far = stars["distance"] < 2.0, stars["distance"] > 6.0
    disc = np.abs(stars["glat"]) < 5.0
    assert np.median(stars["a_v"][far & disc]) > 2.0 * np.median(stars["a_v"][near & disc])
    # The thin disc is thinner than the thick one, and that than the halo.
    heights = [np.median(np.abs(stars["z"][stars["component"] == kind])) for kind in range(3)]
    assert heights[0] < 0.7
    assert heights[0] < heights[1] < heights[2]


def test_magnitudes_follow_distance_and_dust(stars):
    for band in BANDS:
        modulus = 5.0 * np.log10(100.0 * stars["distance"])
        clear = stars["a_v"] < 0.05
        absolute = (stars[f"true_{band}"] - modulus)[clear]
        assert np.corrcoef(absolute, stars["absolute_K"][clear])[0, 1] > 0.75
        pull = (stars[band] - stars[f"true_{band}"]) / stars[f"{band}_error"]
        assert np.abs(np.median(pull)) < 0.05
        assert 0.7 < np.subtract(*np.percentile(pull, [84, 16])) / 2.0 < 1.1
    excess = stars["true_BP"] - stars["true_RP"]
    assert np.corrcoef(excess, stars["a_v"])[0, 1] > 0.8


def test_motion_is_that_of_a_rotating_disc(stars):
    """Back to Galactocentric velocities by astropy: an independent way round."""
    sky = SkyCoord(
        ra=stars["ra"] * units.deg,
        dec=stars["dec"] * units.deg,
        distance=stars["distance"] * units.kpc,
        pm_ra_cosdec=stars["pmra"] * units.mas / units.yr,
        pm_dec=stars["pmdec"] * units.mas / units.yr,
        radial_velocity=stars["radial_velocity"] * units.km / units.s,
    )
    frame = Galactocentric(
        galcen_distance=8.122 * units.kpc,
        z_sun=25.0 * units.pc,
        galcen_v_sun=CartesianDifferential([11.1, 245.8, 7.8] * units.km / units.s),
    )
    there = sky.transform_to(frame)
    x, y = there.x.to_value(units.kpc), there.y.to_value(units.kpc)
    assert x == pytest.approx(stars["x"], abs=0.15)
    assert y == pytest.approx(stars["y"], abs=0.15)
    v_x, v_y = there.v_x.to_value(units.km / units.s), there.v_y.to_value(units.km / units.s)
    around = -(x * v_y - y * v_x) / np.hypot(x, y)
    thin = (stars["component"] == 0) & (stars["distance"] < 5.0)
    assert np.median(around[thin]) == pytest.approx(223.0, abs=4.0)
    assert np.std(around[thin]) < 30.0


def test_shares_of_negative_and_of_precise_parallaxes_are_gaia_s(stars, training):
    parallax, error = stars["parallax"][training], stars["parallax_error"][training]
    assert 0.01 < np.mean(parallax + ZERO_POINT < 0.0) < 0.03
    assert 0.03 < np.mean(parallax / error > 20.0) < 0.07
    pull = (stars["parallax"] - stars["true_parallax"] + ZERO_POINT) / stars["parallax_error"]
    assert np.mean(pull) == pytest.approx(0.0, abs=0.04)
    assert np.std(pull) == pytest.approx(1.0, abs=0.03)


def test_the_cuts_take_the_shares_that_they_take_of_real_stars(stars, parent, training):
    assert 0.6 < np.mean(parent["low"]) < 0.85
    assert 0.005 < 1.0 - np.mean(parent["colour"][parent["low"]]) < 0.04
    assert 0.55 < np.sum(training) / np.sum(parent["all"]) < 0.85
    assert 0.001 < np.mean(stars["phot_variable_flag"] == "VARIABLE") < 0.02


def test_identifiers_are_unique_and_tell_the_place(stars):
    assert np.unique(stars["APOGEE_ID"]).size == np.unique(stars["source_id"]).size == 60 * CHUNK
    assert {len(name) for name in stars["APOGEE_ID"]} == {18}
    for row in range(0, 60 * CHUNK, 997):
        name = stars["APOGEE_ID"][row]
        hours = int(name[2:4]) + int(name[4:6]) / 60.0 + int(name[6:10]) / 360_000.0
        degrees = int(name[11:13]) + int(name[13:15]) / 60.0 + int(name[15:18]) / 36_000.0
        assert hours * 15.0 == pytest.approx(stars["ra"][row], abs=2e-4)
        assert np.where(name[10] == "-", -degrees, degrees) == pytest.approx(stars["dec"][row], abs=2e-4)


def test_distance_can_be_learnt_from_labels_but_not_from_photometry_alone(stars, parent):
    rows = np.flatnonzero(parent["all"])
    magnitudes = np.stack([stars[f"true_{band}"][rows] for band in BANDS], axis=1)
    labels = np.stack([stars[name][rows] for name in ("teff", "logg", "fe_h", "alpha_fe", "c_n")], axis=1)
    ln_parallax = np.log(stars["true_parallax"][rows])
    scatter = []
    for columns in ([magnitudes], [magnitudes, labels]):
        design = np.hstack([np.ones((rows.size, 1)), *columns])
        left = ln_parallax - design @ np.linalg.lstsq(design, ln_parallax, rcond=None)[0]
        scatter.append(np.subtract(*np.percentile(left, [84, 16])) / 2.0)
    assert scatter[0] > 0.12
    assert scatter[1] < 0.05


def test_lines_stand_where_a_real_star_has_them(shared_data):
    with fits.open(shared_data / "apStar-dr17-2M19485057+5005279.fits") as hdus:
        flux = np.asarray(hdus[1].data[0], dtype=float)
    for first, last in DETECTORS:
        part = flux[first : last + 1]
        blocks = np.array_split(np.arange(part.size), 20)
        high = [np.percentile(part[block], 85) for block in blocks]
        part /= np.interp(np.arange(part.size), [block.mean() for block in blocks], high)
    flux[~np.isfinite(flux) | (flux > 1.1)] = 1.0
    species, wavelength, strength, _ = line_list()
    # Listed lines, not the drawn forest: they have round wavelengths.
    listed = np.array([kind in ("Fe low", "Fe high", "Mg", "Si", "Ca", "Al", "Mn") for kind in species])
    listed &= np.isclose(wavelength, wavelength.round(1), atol=1e-9) & (strength > 0.2)
    listed &= np.any([(wavelength > WAVELENGTH[f]) & (wavelength < WAVELENGTH[e]) for f, e in DETECTORS], axis=0)
    assert np.sum(listed) > 60
    shifts = np.arange(-5.0, 5.1, 0.2)
    depth = [1.0 - np.mean(np.interp(wavelength[listed] + shift, WAVELENGTH, flux)) for shift in shifts]
    assert abs(shifts[np.argmax(depth)]) < 0.25
    assert max(depth) > 3.0 * np.median(depth)


def test_carbon_monoxide_has_its_band_heads(synthesis):
    lines = synthesis.templates[synthesis.species.index("CO")]
    # Heads of 3-0 ... 8-5 (Origlia et al. 1993); the strongest absorption begins there.
    for head in (15582.0, 15780.0, 15983.0, 16190.0, 16402.0, 16618.0):
        offset = WAVELENGTH - head
        before, after = (offset > -12.0) & (offset < -3.0), (offset > -1.0) & (offset < 8.0)
        assert lines[after].mean() > 2.0 * lines[before].mean()


def test_lines_answer_to_labels(synthesis):
    def depth(kind, name, values):
        lines = synthesis.templates[synthesis.species.index(kind)]
        return 1.0 - giants(synthesis, name, values)[:, lines > 0.5 * lines.max()].mean(axis=1)

    assert np.all(np.diff(depth("OH", "teff", [4800.0, 4400.0, 4000.0, 3700.0])) > 0.0)
    assert np.all(np.diff(depth("Fe low", "fe_h", [-1.5, -0.8, 0.0, 0.4])) > 0.0)
    assert np.all(np.diff(depth("Mg", "alpha_fe", [0.0, 0.15, 0.3])) > 0.0)
    assert np.all(np.diff(depth("CO", "c_n", [-0.6, -0.3, 0.0])) > 0.0)
    # Saturation: the same step in [Fe/H] does less in a metal-rich star, in ln of the depth.
    iron = np.log(depth("Fe low", "fe_h", [-1.6, -1.1, -0.1, 0.4]))
    assert iron[3] - iron[2] < 0.8 * (iron[1] - iron[0])


def test_interstellar_band_grows_with_dust_and_stays_behind(synthesis):
    window = (WAVELENGTH > 15255.0) & (WAVELENGTH < 15290.0)
    flux = giants(synthesis, "a_v", [0.0, 1.0, 2.0, 4.0])
    lost = 1.0 - (flux / flux[0])[:, window]
    assert np.all(np.diff(lost.sum(axis=1)) > 0.0)
    assert WAVELENGTH[window][np.argmax(lost[2])] == pytest.approx(15272.4, abs=0.3)
    width = np.trapezoid(lost[1], WAVELENGTH[window])
    assert width == pytest.approx(0.102, rel=0.05)  # [Angstrom] per magnitude, Zasowski et al. (2015)
    moving = giants(synthesis, "a_v", [0.0, 2.0], radial_velocity=150.0)
    shifted = 1.0 - (moving[1] / moving[0])[window]
    # In the rest frame of a receding star the dust's band is to the blue.
    assert WAVELENGTH[window][np.argmax(shifted)] == pytest.approx(15272.4 * (1.0 - 150.0 / 299792.458), abs=0.3)


def test_noise_is_what_the_error_says_and_the_sky_leaves_traces(stars, synthesis):
    rng = np.random.default_rng(2)
    part = some(stars, slice(0, 200))
    flux = synthesis.flux(part, rng)
    before = flux.copy()
    observed, error, mask = IdealNoise().observe(flux, part, rng)
    assert np.array_equal(flux, before)
    good = (mask == 0) & (error < 1e9)
    pull = ((observed - flux) / error)[good]
    assert np.std(pull) == pytest.approx(1.0, abs=0.02)
    per_star = np.array([np.median(row[(row < 1e9)]) for row in error])
    assert per_star * part["snr"] == pytest.approx(np.ones(200), rel=0.1)
    sky = (mask & (1 << 12) != 0) & (error < 1e9)
    assert 0.01 < np.mean(sky) < 0.05
    assert np.median(error[sky] * np.broadcast_to(part["snr"][:, None], sky.shape)[sky]) > 2.0
    bad = mask & 3 != 0
    assert 0.0005 < np.mean(bad) < 0.005
    # As in the survey's own files: no mask is needed to see that a pixel is bad.
    assert np.all(error[bad] == BAD_ERROR)
    assert not mask[(observed == 0.0) & (error == BAD_ERROR) & ~bad].any()


def test_every_species_has_lines_and_a_law(synthesis):
    species, wavelength, strength, width = line_list()
    assert set(species) == set(SPECIES)
    assert np.all(strength > 0.0)
    assert np.all(width > 0.0)
    assert np.sum((wavelength > 15150.0) & (wavelength < 16950.0)) > 2000
    assert np.all(synthesis.templates.max(axis=1) > 0.03)


def test_a_share_of_the_parallaxes_is_wrong_and_nothing_else_changes():
    clean, spoilt = draw_chunk(5, 2), draw_chunk(5, 2, wrong_parallaxes=0.2)
    wrong = spoilt["wrong_parallax"]
    assert not clean["wrong_parallax"].any()
    assert 0.1 < wrong.mean() < 0.3
    for name, values in clean.items():
        if name not in ("parallax", "wrong_parallax"):
            np.testing.assert_array_equal(spoilt[name], values)
    np.testing.assert_array_equal(spoilt["parallax"][~wrong], clean["parallax"][~wrong])
    off = np.abs(spoilt["parallax"] - clean["parallax"])[wrong] / clean["parallax_error"][wrong]
    others = np.isin(spoilt["parallax"][wrong], clean["parallax"])
    assert 0.3 < others.mean() < 0.7
    assert np.all((off[~others] > 10.0) & (off[~others] < 50.0))
    with pytest.raises(BadInputError, match="expected a share from 0 to 1"):
        draw_chunk(5, 2, wrong_parallaxes=3.0)


def test_cluster_members_share_what_the_literature_says_and_no_other_seed_changes_the_field():
    stars = draw_cluster_stars(["M13", "NGC 6791"], seed=2)
    known = literature_clusters()
    for name in ("M13", "NGC 6791"):
        centre, rows = known[known["cluster"] == name][0], stars["cluster"] == name
        assert rows.sum() == CLUSTER_STARS
        assert np.allclose(stars["true_parallax"][rows], 1.0 / centre["distance"])
        for column, expected in (("pmra", "pmra"), ("pmdec", "pmdec"), ("radial_velocity", "velocity")):
            spread = stars[column][rows].std() / np.sqrt(CLUSTER_STARS)
            assert abs(stars[column][rows].mean() - centre[expected]) < 4 * spread, (name, column)
        middle = SkyCoord(centre["ra"], centre["dec"], unit="deg")
        away = middle.separation(SkyCoord(stars["ra"][rows], stars["dec"][rows], unit="deg")).deg
        assert away.max() < centre["radius"]
    assert set(stars) == set(draw_chunk(2, 0))
    assert np.unique(stars["source_id"]).size == 2 * CLUSTER_STARS
    assert set(draw_chunk(2, 0)["cluster"]) == {""}
    with pytest.raises(BadInputError, match="cluster 'M1'"):
        draw_cluster_stars(["M1"], seed=2)


def test_a_mock_survey_with_clusters_gives_its_members_back(tmp_path):
    survey = simulate_survey(tmp_path / "s", 200, seed=3, quiet=True, clusters=["M13", "M71"])
    truth = Table.read(tmp_path / "s" / "truth.fits")
    assert survey.n_stars == len(truth) == 200
    stars = survey.stars
    found = select_members(stars)
    member = np.char.strip(np.asarray(truth["cluster"]).astype(str))
    for name in ("M13", "M71"):
        true = np.flatnonzero(member == name)
        assert true.size > 10
        assert np.isin(found[name], true).mean() == 1.0  # nobody else
        assert np.isin(true, found[name]).mean() > 0.7  # three in four within the widths
    listed = members_from_table(stars["APOGEE_ID"], truth)
    assert set(listed) == {"M13", "M71"}
    assert np.isclose(truth["distance"][listed["M13"][0]], 7.42)
