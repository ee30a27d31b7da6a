"""Input that is wrong in ways that happen: units, releases, grids, IDs, text for numbers, infinities, too few stars."""

import gzip
import shutil
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table, vstack
from small_survey import spectra, star_ids, tables, write_ap_star, write_aspcap_star, write_download
from tiny import tiny_survey

import spfast
from spfast.config import Config
from spfast.data.apogee import fits_library, read_allstar, spectrum_reader
from spfast.data.gaia import read_gaia
from spfast.data.ingest import ingest
from spfast.data.match import check_places
from spfast.data.survey import open_survey
from spfast.data.tables.values import column_values
from spfast.data.zero_point import lindegren_zero_point
from spfast.errors import BadInputError, SpfastWarning
from spfast.model.layout import FeatureLayout
from spfast.validation.read_catalog import TABLE_1, read_catalog

LIBRARIES = ["astropy"] + (["fitsio"] if fits_library() == "fitsio" else [])
N = 40


@pytest.fixture
def allstar_gaia():
    return tables(spectra(8)[0])


@pytest.fixture(scope="module")
def download(tmp_path_factory):
    root = tmp_path_factory.mktemp("download")
    write_download(root, N)
    pixels = root / "continuum.txt"
    pixels.write_text("\n".join(map(str, range(250, 8400, 9))))
    return root, Config().replace(normalization={"continuum_file": str(pixels)})


def built(download, out, allstar=None, gaia=None):
    """Ingest a download with other tables."""
    root, config = download
    paths = {}
    for name, table in (("allStar", allstar), ("gaia", gaia)):
        paths[name] = root / f"{name}.fits"
        if table is not None:
            paths[name] = out.parent / f"{out.name}_{name}.fits"
            table.write(paths[name])
    return ingest(paths["allStar"], root / "spectra", paths["gaia"], out, config=config, threads=1, quiet=True)


# Units


def test_units_of_allstar_are_converted_or_refused(tmp_path, allstar_gaia):
    allstar, _ = allstar_gaia
    expected = np.array(allstar["RA"])
    allstar["RA"] = expected / 15
    allstar["VHELIO_AVG"] = np.full(8, 12e3, "f4")
    number = {name: 1 + allstar.colnames.index(name) for name in allstar.colnames}
    allstar.write(tmp_path / "a.fits")
    for name, unit in (("RA", "hourangle"), ("VHELIO_AVG", "m/s")):
        fits.setval(tmp_path / "a.fits", f"TUNIT{number[name]}", value=unit, ext=1)
    table = read_allstar(tmp_path / "a.fits")
    np.testing.assert_allclose(table["ra"], expected)
    np.testing.assert_allclose(table["VHELIO_AVG"], 12.0)
    for name, unit, expected in (("TEFF", "mag", "K"), ("J", "Jy", "mag"), ("DEC", "h", "deg")):
        shutil.copy(tmp_path / "a.fits", tmp_path / "b.fits")
        fits.setval(tmp_path / "b.fits", f"TUNIT{number[name]}", value=unit, ext=1)
        with pytest.raises(BadInputError, match=rf"b\.fits: column {name} is in {unit}, expected {expected}"):
            read_allstar(tmp_path / "b.fits")


def test_numbers_in_another_unit_that_nobody_states(tmp_path, allstar_gaia):
    for name, factor, message in (
        ("phot_g_mean_mag", 1e4, r"phot_g_mean_mag has the median .*, expected -5 to 30 magnitudes; are they fluxes"),
        ("w2mpro", 10.0, r"w2mpro has the median"),
        ("parallax_error", 1e-3, r"parallax_error has the median .* mas; are they in arcsec"),
    ):
        gaia = allstar_gaia[1].copy()
        gaia[name] = np.array(gaia[name]) * factor
        gaia.write(tmp_path / "gaia.csv", overwrite=True)
        with pytest.raises(BadInputError, match=message):
            read_gaia(tmp_path / "gaia.csv")
    allstar = allstar_gaia[0]
    allstar["H"] = 10 ** (-0.4 * np.array(allstar["H"])) * 1e6
    allstar.write(tmp_path / "allStar.fits")
    with pytest.raises(BadInputError, match="column H has the median"):
        read_allstar(tmp_path / "allStar.fits")


def test_places_in_hours(tmp_path, download):
    allstar = Table.read(download[0] / "allStar.fits")
    allstar["RA"] /= 15
    with pytest.raises(BadInputError, match=r"40 matched stars are .* deg apart .*; is ra in hours"):
        built(download, tmp_path / "s", allstar)
    assert not (tmp_path / "s").exists()


def test_places_that_agree_or_are_not_known():
    stars = Table({"ra": [359.9999, 10.0, 20.0], "dec": [0.0, 89.0, np.nan]})
    gaia = Table({"ra": [0.0001, 10.5, 300.0], "dec": [0.0, 89.0, 0.0]})
    check_places(stars, gaia)  # across 0 h; near the pole half a degree of ra is seconds; one place is missing
    check_places(stars["ra",], gaia)
    for apart, message in ((0.0165, None), (0.0168, "0.0168 deg apart"), (180.0, "180 deg apart")):
        here, there = Table({"ra": [0.0], "dec": [0.0]}), Table({"ra": [apart], "dec": [0.0]})
        if message is None:
            check_places(here, there)  # a minute of arc is the limit
        else:
            with pytest.raises(BadInputError, match=message.replace(".", r"\.")):
                check_places(here, there)
    gaia["dec"] += 0.02
    with pytest.raises(BadInputError, match=r"2 matched stars are 0\.0209 deg apart"):
        check_places(stars, gaia)


def test_catalog_in_other_units():
    row = ["2M1"], [1e-3], [2e-5], [0.9e-3], [1e-4], [1], ["A"]
    catalog = Table(dict(zip(TABLE_1, row, strict=True)))
    for name in TABLE_1[1:5]:
        catalog[name].unit = "arcsec"
    values = read_catalog(catalog)
    np.testing.assert_allclose([values.gaia[0], values.spec_error[0]], [1.0, 0.1])
    catalog["spec_parallax"].unit = "pc"
    with pytest.raises(BadInputError, match="spec_parallax is in pc, expected mas"):
        read_catalog(catalog)


# Releases and grids


def test_tables_of_other_releases(tmp_path, allstar_gaia):
    gaia = allstar_gaia[1]
    gaia.remove_columns([name for name in gaia.colnames if "_bp_" in name])  # as DR1, which had G alone
    gaia.write(tmp_path / "gaia.fits")
    with pytest.raises(BadInputError, match=r"gaia\.fits: no column phot_bp_mean_mag; its closest columns are"):
        read_gaia(tmp_path / "gaia.fits")
    gaia.write(tmp_path / "allStar.fits")  # one table for the other
    with pytest.raises(BadInputError, match=r"allStar\.fits: no column APOGEE_ID"):
        read_allstar(tmp_path / "allStar.fits")


def test_dr3_zero_point_on_the_columns_of_dr2():
    pytest.importorskip("zero_point")
    with pytest.raises(BadInputError, match="nu_eff_used_in_astrometry"):
        lindegren_zero_point(Table({"phot_g_mean_mag": [12.0]}))


def test_model_on_a_survey_of_other_pixels(tmp_path):
    survey, _ = tiny_survey(tmp_path / "s", n_stars=60)
    stars = survey.stars
    model = spfast.fit(
        survey.features,
        np.array(stars["parallax"]),
        np.array(stars["parallax_error"]),
        penalty=1.0,
        penalized=survey.layout.penalized,
        layout=survey.layout,
        threads=1,
    )
    with pytest.raises(BadInputError, match=r"lacks \d+ of the \d+ columns that the model uses .*same release"):
        model.for_layout(FeatureLayout(tuple(range(5000, 5060))))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("card", "value"), [("CRVAL1", 4.18), ("CDELT1", 5e-6), ("CRPIX1", 2), ("CRVAL1", 15100.8), ("CDELT1", -6e-6)]
)
def test_other_wavelength_grids(tmp_path, library, packed, card, value):
    path = tmp_path / "apStar-dr17-x.fits"
    write_ap_star(path, *(array[0] for array in spectra(1)[1:]))
    read = spectrum_reader(library)
    with fits.open(path, mode="update") as hdus:
        hdus[1].header[card] = value
    if packed:
        path = path.with_suffix(".fits.gz")
        path.write_bytes(gzip.compress((tmp_path / "apStar-dr17-x.fits").read_bytes()))
    with pytest.raises(BadInputError, match=rf"HDU 1 has {card} = .*, expected .*: another wavelength grid"):
        read(path)


@pytest.mark.parametrize("library", LIBRARIES)
def test_grids_written_otherwise(tmp_path, library):
    path = tmp_path / "aspcapStar-x.fits"
    write_aspcap_star(path, *(array[0] for array in spectra(1)[1:]))
    with fits.open(path, mode="update") as hdus:
        hdus[1].header["CRVAL1"], hdus[1].header["CDELT1"] = float(np.float32(4.179)), float(np.float32(6e-6))
    assert spectrum_reader(library)(path).normalized
    with fits.open(path, mode="update") as hdus:
        for card in ("CRVAL1", "CDELT1", "CRPIX1"):
            del hdus[1].header[card]
    assert spectrum_reader(library)(path).normalized  # none is stated: 8,575 pixels are APOGEE's grid


# IDs


def test_repeated_and_missing_ids(tmp_path, download):
    allstar, gaia = (Table.read(download[0] / f"{name}.fits") for name in ("allStar", "gaia"))
    plain = built(download, tmp_path / "plain")
    again = allstar[:5].copy()
    again["SNR"] -= 1  # a star's other rows are worse, and other people's rows have no name
    nobody = allstar[5:7].copy()
    nobody["APOGEE_ID"], nobody["FILE"] = "", ""
    second = gaia[:5].copy()
    second["source_id"], second["phot_g_mean_mag"] = 77, second["phot_g_mean_mag"] + 1
    unnamed = gaia[:3].copy()
    unnamed["tmass_id"] = " "
    survey = built(download, tmp_path / "s", vstack([nobody, again, allstar]), vstack([unnamed, second, gaia]))
    np.testing.assert_array_equal(survey.stars["source_id"], plain.stars["source_id"])
    np.testing.assert_array_equal(survey.features, plain.features)
    reasons = survey.rejected["reason"].tolist()
    assert reasons.count("one row a star") == 5
    assert reasons.count("spectrum file") == 2


def test_ids_beyond_ascii(tmp_path):
    with pytest.raises(BadInputError, match=r"column tmass_id has '\\u03b1' in row 1, expected ASCII"):
        column_values(np.array(["a", "\N{GREEK SMALL LETTER ALPHA}"]), "U", "g.csv: column tmass_id")
    with pytest.raises(BadInputError, match=r"in row 0, expected ASCII"):
        column_values(np.array([b"\xe9"]), "U", "a.fits: column APOGEE_ID")


# Values


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["1.5", " 2 ", "", "nan"], "f8", [1.5, 2.0, np.nan, np.nan]),
        ([b"3", b"-1e3"], "f4", [3.0, -1000.0]),
        ([1e300, -np.inf], "f4", [np.nan, np.nan]),
        (["12", "", "9007199254740993"], "i8", [12, -1, 9007199254740993]),
        ([3.0, np.nan, np.inf], "i4", [3, -1, -1]),
        (np.array([2**31 - 1, -(2**31)]), "i4", [2**31 - 1, -(2**31)]),
        (np.ma.MaskedArray([1, 2], [True, False]), "i8", [-1, 2]),
        (np.ma.MaskedArray(["a ", "b"], [False, True]), "U", ["a", ""]),
        (np.array([None, b"x", "y\0"], object), "U", ["", "x", "y"]),
        (np.array([1, 2], ">i2"), "f8", [1.0, 2.0]),
    ],
)
def test_numbers_however_they_are_written(values, kind, expected):
    result = column_values(values if isinstance(values, np.ma.MaskedArray) else np.array(values), kind, "x")
    np.testing.assert_array_equal(result, expected)
    assert result.dtype.kind == kind[0]
    assert result.dtype.isnative


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (["1", "much"], "f8", r"x has 'much' in row 1, expected numbers"),
        ([12.5], "i4", r"x is 12\.5 in row 0, expected whole numbers of 32 bits"),
        ([2.0**31], "i4", r"whole numbers of 32 bits"),
        ([2.0**63], "i8", r"whole numbers of 64 bits"),
        (np.array([2**63], "u8"), "i8", r"whole numbers of 64 bits"),
        ([1 + 2j], "f8", r"complex128, expected numbers"),
        ([True], "f8", r"bool, expected numbers"),
        (np.ones((2, 2)), "f8", r"shape \(2, 2\), expected one value a row"),
    ],
)
def test_numbers_that_are_none(values, kind, message):
    with pytest.raises(BadInputError, match=message):
        column_values(np.array(values), kind, "x")


def test_numbers_that_no_star_has(tmp_path, allstar_gaia):
    allstar, gaia = allstar_gaia
    allstar["RA"][2], allstar["DEC"][3], allstar["TEFF"][1] = 400.0, -91.0, 1e30
    allstar.write(tmp_path / "allStar.fits")
    with pytest.warns(SpfastWarning) as caught:
        table = read_allstar(tmp_path / "allStar.fits")
    assert [np.flatnonzero(np.isnan(table[name])).tolist() for name in ("ra", "dec", "TEFF")] == [[2], [3], [1]]
    assert len(caught) == 3
    assert "1 values of dec are not between -90 and 90 deg (row 3: -91)" in str(caught[1].message)
    gaia["parallax"][4] = -1e300
    gaia.write(tmp_path / "gaia.fits")
    with pytest.warns(SpfastWarning, match="values of parallax are not between"):
        assert np.isnan(read_gaia(tmp_path / "gaia.fits")["parallax"][4])


def test_infinities_zero_and_negative_errors_are_cut_or_not_trained_on(tmp_path, download):
    allstar, gaia = (Table.read(download[0] / f"{name}.fits") for name in ("allStar", "gaia"))
    ids, everyone = star_ids(N), set(star_ids(N))
    gaia["parallax_error"] = 0.05
    for name in ("visibility_periods_used", "astrometric_n_good_obs_al"):
        gaia[name] = 100
    gaia["astrometric_chi2_al"] = 100.0
    allstar["J_ERR"][0], allstar["H"][1], allstar["K_ERR"][2] = 0.0, np.inf, -1.0
    gaia["phot_g_mean_flux_error"][3], gaia["w1mpro_error"][4], gaia["phot_bp_mean_mag"][5] = 0.0, -0.1, -np.inf
    gaia["phot_rp_mean_flux"][6], gaia["phot_bp_mean_flux_error"][7] = 0.0, 1e30
    gaia["parallax_error"][8:11] = 0.0, -0.05, np.inf
    gaia["parallax"][11:13] = np.inf, np.nan
    survey = built(download, tmp_path / "s", allstar, gaia)
    kept = survey.stars["APOGEE_ID"].tolist()
    assert set(kept) == everyone - set(ids[:8])
    training = dict(zip(kept, survey.stars["training_set"], strict=True))
    assert not any(training[star] for star in ids[8:13])
    assert all(training[star] for star in ids[13:])
    assert np.isfinite(survey.features).all()
    assert np.isfinite(survey.feature_errors).all()
    survey.check_values()


@pytest.mark.parametrize("kind", ["mask", "error", "flux"])
def test_spectra_without_a_good_pixel(tmp_path, kind):
    root = tmp_path / "d"
    allstar, folder, gaia = write_download(root, 3, kind="apStar")
    pixels = tmp_path / "continuum.txt"
    pixels.write_text("\n".join(map(str, range(250, 8400, 9))))
    config = Config().replace(normalization={"continuum_file": str(pixels)})
    first = sorted(folder.rglob("*.fits"))[0]
    with fits.open(first, mode="update") as hdus:
        if kind == "mask":
            hdus[3].data[:] = 1
        else:
            hdus[1 if kind == "flux" else 2].data[:] = np.nan if kind == "flux" else 1e10
    survey = ingest(allstar, folder, gaia, tmp_path / "s", config=config, threads=1, quiet=True)
    assert survey.n_stars == 2
    assert "good" in survey.rejected["detail"][0]
    assert np.isfinite(survey.features).all()


# Too few stars


def test_one_star(tmp_path, download):
    allstar = Table.read(download[0] / "allStar.fits")[:1]
    survey = built(download, tmp_path / "s", allstar)
    assert survey.n_stars == 1
    assert open_survey(tmp_path / "s").stars["APOGEE_ID"].tolist() == star_ids(1).tolist()
    with pytest.raises(BadInputError, match=r"no training star in fold [AB]; loosen"):
        spfast.make_catalog(survey, threads=1)


def test_no_training_star_in_a_fold(tmp_path):
    def only_even(stars):
        stars["training_set"] = stars["random_index"] % 2 == 0

    survey, _ = tiny_survey(tmp_path / "s", n_stars=60, edit=only_even)
    with pytest.raises(BadInputError, match="no training star in fold B; loosen"):
        spfast.make_catalog(survey, threads=1)


def test_more_features_than_stars(tmp_path):
    survey, truth = tiny_survey(tmp_path / "s", n_stars=60)
    assert survey.n_features > survey.n_stars
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpfastWarning)
        catalog = spfast.make_catalog(survey, threads=1)
    for name in ("spec_parallax", "spec_parallax_err", "spec_parallax_err_total", "combined_parallax"):
        assert np.isfinite(catalog[name]).all()
    assert np.median(np.abs(np.log(catalog["spec_parallax"] / truth["true_parallax"]))) < 0.3


# A survey whose arrays were damaged after it was built


@pytest.mark.parametrize(
    ("name", "value"), [("features", np.nan), ("features", -np.inf), ("feature_errors", np.inf), ("feature_errors", -1)]
)
def test_values_that_no_build_writes(tmp_path, name, value):
    tiny_survey(tmp_path / "s", n_stars=40)
    array = np.load(tmp_path / "s" / f"{name}.npy", mmap_mode="r+")
    array[7, 20] = value
    del array
    survey = open_survey(tmp_path / "s")
    with pytest.raises(
        BadInputError, match=rf"{name}\.npy: row 7 \(2M00000007\+0000007\) has a value that is not finite"
    ):
        spfast.make_catalog(survey, threads=1)


def test_a_star_without_a_gaia_parallax_is_flagged(tmp_path):
    def spoil(stars):
        stars["parallax"][:2], stars["parallax_error"][2:5] = (np.nan, np.inf), (0.0, -1.0, np.nan)

    survey, _ = tiny_survey(tmp_path / "s", n_stars=120, edit=spoil)
    catalog = spfast.make_catalog(survey, threads=1)
    bit = next(int(key[4:]) for key, text in catalog.meta.items() if key.startswith("FLAG") and "no_gaia" in str(text))
    assert np.flatnonzero(catalog["flags"] >> bit & 1).tolist() == [0, 1, 2, 3, 4]
    assert np.isfinite(catalog["spec_parallax"]).all()
    assert np.isnan(catalog["Gaia_parallax"][:5]).all()
