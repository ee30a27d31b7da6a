"""Arrays and their tables as people have them: masks, units, two tables, groups; each is read right or refused."""

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, QTable, Table
from astropy.time import Time
from astropy.utils.masked import Masked

import spfast
from spfast.cli import main
from spfast.config import Config
from spfast.errors import BadInputError, SpfastWarning

N_STARS, N_PIXELS = 30, 40
NO_RANK = Config().replace(features={"rank": 0})
WAVELENGTH = np.linspace(5000.0, 5400.0, N_PIXELS)
BAD = np.zeros((N_STARS, N_PIXELS), bool)
BAD[:, ::7] = BAD[::3, 5] = True


def mock():
    rng = np.random.default_rng(1)
    table = {"sobject_id": np.arange(N_STARS) + 10**15, "parallax": rng.uniform(0.3, 1.5, N_STARS)}
    table["phot_g_mean_mag"] = 10.0 - 5.0 * np.log10(table["parallax"])
    table |= {"phot_g_mean_mag_error": np.full(N_STARS, 0.003), "parallax_error": np.full(N_STARS, 0.03)}
    return table, 1.0 - 0.3 * rng.random((N_STARS, N_PIXELS))


TABLE, FLUX = mock()
ERROR = np.full(FLUX.shape, 0.005)
SPOILT = np.where(BAD, 0.5, FLUX)


def write_into(folder):
    def writer(table=TABLE, flux=FLUX, name="survey", **options):
        if isinstance(flux, np.ndarray | dict):
            options = {"error": ERROR, "wavelength": WAVELENGTH} | options
        return spfast.write_survey(folder / name, table, flux, config=NO_RANK, threads=1, **options)

    return writer


@pytest.fixture
def write(tmp_path):
    return write_into(tmp_path)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return write_into(tmp_path_factory.mktemp("plain"))()


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    return write_into(tmp_path_factory.mktemp("masked"))(flux=SPOILT, mask=BAD)


def assert_same(one, other):
    np.testing.assert_array_equal(one.stars["APOGEE_ID"], other.stars["APOGEE_ID"])
    for name in ("features", "feature_errors"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "given",
    [
        {"flux": np.ma.array(SPOILT, mask=BAD)},
        {"flux": SPOILT, "error": np.ma.array(ERROR, mask=BAD)},
        {"flux": SPOILT, "error": None, "ivar": np.ma.array(ERROR**-2, mask=BAD)},
        {"flux": MaskedColumn(SPOILT, mask=BAD)},
        {"flux": Masked(SPOILT * units.one, mask=BAD)},
        {"flux": SPOILT, "mask": np.ma.array(np.zeros(BAD.shape, "i2"), mask=BAD), "bad_bits": 4},
        {"flux": SPOILT, "mask": BAD.astype(">f4")},
        {"flux": SPOILT, "mask": BAD, "bad_bits": 4},
        {"flux": SPOILT, "mask": np.where(BAD, np.nan, 0.0)},
    ],
    ids=["flux", "error", "ivar", "column", "quantity", "mask", "float", "bool", "nan"],
)
def test_masked_values_are_bad(write, given, masked):
    assert_same(write(**given), masked)


def test_units_of_arrays_are_converted(write, plain):
    flux, error = FLUX * units.Jy, 1000.0 * ERROR * units.mJy
    for i, noise in enumerate(({"error": error}, {"error": None, "ivar": error**-2})):
        assert_same(write(flux=flux, wavelength=WAVELENGTH / 10 * units.nm, name=str(i), **noise), plain)
    with pytest.raises(BadInputError, match=r"^error is in nm, expected Jy"):
        write(flux=flux, error=ERROR * units.nm)


@pytest.mark.parametrize("wavelength", [WAVELENGTH / 10, WAVELENGTH / 1e4, np.log10(WAVELENGTH)])
def test_wavelengths_that_are_not_in_angstrom_are_refused(write, wavelength):
    with pytest.raises(BadInputError, match=r"expected Angstrom, 2,000 to 1,000,000; are they in nm"):
        write(wavelength=wavelength)


def test_descending_wavelengths_are_refused(write):
    with pytest.raises(BadInputError, match=r"must increase.*turn all arrays round"):
        write(wavelength=WAVELENGTH[::-1])


@pytest.mark.parametrize("scale", [5.0, 300.0, 1e-17])
def test_flux_that_is_not_normalised_but_said_to_be_is_refused(write, scale):
    with pytest.raises(BadInputError, match=r"half of its flux is not between 0.01 and 3; is it normalised\?"):
        write(flux=scale * FLUX, error=scale * ERROR)


def test_a_star_without_light_is_left_out(write):
    survey = write(flux=np.where(np.arange(N_STARS)[:, None] == 2, 0.0, FLUX))
    assert survey.rejected["detail"].tolist() == ["half of its flux is not between 0.01 and 3; is it normalised?"]


@pytest.mark.parametrize("number", [-9999.0, -999.0])
def test_numbers_that_stand_for_none_are_bad_pixels(write, number, masked):
    assert_same(write(flux=np.where(BAD, number, FLUX)), masked)


def test_the_index_of_a_pandas_table_may_be_the_id(write, plain):
    pandas = pytest.importorskip("pandas")
    assert_same(write(pandas.DataFrame(TABLE).set_index("sobject_id")), plain)


def test_flux_may_be_the_first_image_of_a_file_which_must_be_whole(write, tmp_path):
    hdus = [fits.PrimaryHDU(FLUX), fits.ImageHDU(ERROR, name="ERROR"), fits.table_to_hdu(Table(TABLE))]
    path = tmp_path / "a.fits"
    fits.HDUList(hdus).writeto(path)
    assert_same(write(None, path), write(wavelength=None, name="plain"))
    path.write_bytes(path.read_bytes()[:12000])
    with pytest.raises(BadInputError, match=r"a.fits: cannot be read as FITS images \(File may have been truncated"):
        write(TABLE, path, name="cut")
    Table(TABLE | {"flux": FLUX}).write(tmp_path / "t.fits")
    with pytest.raises(BadInputError, match=r"t.fits: has no image; expected FLUX, ERROR"):
        write(None, tmp_path / "t.fits", name="no")


def test_errors_of_another_unit_than_the_flux_are_refused(write):
    with pytest.raises(BadInputError, match="which no spectrograph reaches"):
        write(error=1e-17 * ERROR, normalized=False)
    with pytest.raises(BadInputError, match="does the mask mark good values"):
        write(mask=np.ones(FLUX.shape, bool))


def test_a_mask_of_most_values_is_warned_of(write):
    mask = np.ones(FLUX.shape, bool)
    mask[:, :8] = False
    with pytest.warns(SpfastWarning, match="82% of the flux is bad: .* anything but 0 is bad"):
        write(mask=mask)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bad_bits": 4}, "bad_bits: are bits of a mask, and there is none"),
        ({"bad_bits": 1.5, "mask": BAD}, "bad_bits: 1.5, expected a whole number"),
        ({"bad_bits": 0, "mask": BAD}, "bad_bits: 0, expected a whole number"),
        ({"clip": (3, 0.1)}, "clip: .* expected a bound below 1 and one above"),
        ({"clip": (3,)}, "clip: .* expected a bound below 1 and one above"),
        ({"magnitudes": []}, "magnitudes: none, expected a band"),
        ({"error": [[0.1, 0.1], [0.1]]}, "error: list that is no array"),
        ({"magnitudes": {"i": ("parallax_error", 0.01), "j": ("flux", 0.1)}}, "magnitude j, .* are they fluxes"),
        ({"windows": [(5000, 5100)]}, "windows: are where the continuum is of flux that is not normalised"),
        ({"training": "training_set"}, "training: training_set is a survey's own column"),
    ],
)
def test_options_that_mean_nothing_are_refused(write, options, message):
    with pytest.raises(BadInputError, match=message):
        write(table=TABLE | {"flux": np.full(N_STARS, 1e5)}, **options)


def test_flux_of_another_kind_is_not_taken_after_a_survey(write, plain):
    with pytest.raises(BadInputError, match=r"made of flux that was normalised before, these arrays are flux over a"):
        write(like=plain, normalized=False)


def test_a_band_that_is_named_twice_is_refused(tmp_path, capsys):
    words = f"ingest --arrays {tmp_path}/flux.npy -o {tmp_path}/s --magnitudes G G=phot_g_mean_mag,0.1"
    assert main(words.split()) == 2
    assert "--magnitudes: names a band twice" in capsys.readouterr().err


@pytest.mark.parametrize("no", ["False", "no", 0.0, np.nan, b"0", None], ids=str)
def test_a_column_says_yes_or_no_in_any_way(write, no):
    even = np.arange(N_STARS) % 2 == 0
    yes = {str: "yes", float: 1.0, bytes: b"1"}.get(type(no), True)
    column = MaskedColumn(even, mask=~even) if no is None else np.where(even, yes, no)
    survey = write(table=Table(TABLE | {"use": column}), training="use")
    np.testing.assert_array_equal(survey.stars["training_set"], even)


def test_a_column_of_other_numbers_does_not_say_yes(write):
    with pytest.raises(BadInputError, match="training: column use has '-1' in row 0, expected true or false"):
        write(table=TABLE | {"use": np.full(N_STARS, -1)}, training="use")


def test_errors_of_9999_are_missing_in_any_band(write):
    errors = np.where(np.arange(N_STARS) < 3, 9.999, 0.01)
    table = TABLE | {"i_psf": TABLE["phot_g_mean_mag"], "e_i": errors}
    assert write(table=table, magnitudes={"i": ("i_psf", "e_i")}).n_stars == N_STARS - 3


def test_magnitudes_can_be_named_that_are_in_the_gaia_table(write):
    ids = {"sobject_id": TABLE["sobject_id"], "source_id": np.arange(N_STARS) * 2**35 + 2**40}
    gaia = {name: values for name, values in (TABLE | ids).items() if name != "sobject_id"}
    named = write(table=ids, gaia=gaia, magnitudes={"G": ("phot_g_mean_mag", 0.003)}, name="named")
    assert_same(named, write(table=ids, gaia=gaia))


def test_places_and_times_in_a_table_are_left_out(write):
    table = QTable(TABLE)
    table["place"] = SkyCoord(np.arange(N_STARS) * units.deg, np.zeros(N_STARS) * units.deg)
    table["time"] = Time(59000.0 + np.arange(N_STARS), format="mjd")
    assert not {"place", "time"} & set(write(table=table).stars.colnames)


def image_file(path, *more, flux=FLUX, **header):
    flux = fits.ImageHDU(flux, name="FLUX")
    flux.header.update(header)
    hdus = [fits.PrimaryHDU(), flux, fits.ImageHDU(ERROR, name="ERROR"), *more, fits.table_to_hdu(Table(TABLE))]
    fits.HDUList(hdus).writeto(path)
    return path


def test_a_table_beside_the_file_of_arrays_is_matched_by_its_ids(write, tmp_path):
    path = image_file(tmp_path / "a.fits")
    rows = np.random.default_rng(2).permutation(N_STARS)[:20]
    plain, matched = write(None, path, name="plain"), write(Table(TABLE)[rows], path)
    order = np.sort(rows)
    np.testing.assert_array_equal(matched.stars["APOGEE_ID"], plain.stars["APOGEE_ID"][order])
    np.testing.assert_array_equal(matched.features, plain.features[order])
    more = {"sobject_id": 7 * 10**15, "phot_g_mean_mag": 10.0, "phot_g_mean_mag_error": 0.01}
    extended = Table(TABLE)
    extended.add_row(more | {"parallax": 1.0, "parallax_error": 0.03})
    survey = write(extended, path, name="more")
    assert survey.n_stars == N_STARS
    assert survey.rejected["detail"].tolist() == ["the arrays have no row of its id"]
    with pytest.raises(BadInputError, match="none of its 30 stars is in the table beside the arrays"):
        write(TABLE | {"sobject_id": TABLE["sobject_id"] + 500}, path, name="others")


@pytest.mark.parametrize("part", ["mask", "error", "ivar"])
def test_an_npy_file_beside_a_file_of_arrays_is_refused(write, tmp_path, part):
    np.save(tmp_path / "x.npy", BAD.astype("u1"))
    with pytest.raises(BadInputError, match=f"a.fits: {part} is the file .*x.npy beside this one"):
        write(None, image_file(tmp_path / "a.fits"), **{part: str(tmp_path / "x.npy")})


@pytest.mark.parametrize(
    "header", [{"CRVAL1": 500.0, "CDELT1": 1.0, "CUNIT1": "nm"}, {"CRVAL1": 0.5, "CDELT1": 1e-3, "CUNIT1": "um"}]
)
def test_units_of_a_wavelength_axis_are_read(write, tmp_path, header):
    survey = write(None, image_file(tmp_path / "a.fits", **header))
    np.testing.assert_allclose(survey.layout.wavelength[2:4], [5000.0, 5010.0])


def test_scaled_and_compressed_images_are_read(write, tmp_path):
    counts = np.round(1000 * FLUX).astype("i2")
    counts[BAD] = -32768
    mask = fits.ImageHDU(np.where(BAD, 0x8000, 0).astype("u2"), name="MASK")
    plain = write(flux=np.round(FLUX, 3), mask=BAD, wavelength=None, name="by_mask")
    assert_same(write(None, image_file(tmp_path / "a.fits", flux=counts, BSCALE=1e-3, BLANK=-32768)), plain)
    assert_same(write(None, image_file(tmp_path / "m.fits", mask, flux=np.round(FLUX, 3)), name="mask"), plain)
    packed = fits.CompImageHDU(FLUX, name="FLUX", compression_type="GZIP_1", quantize_level=0)
    hdus = [fits.PrimaryHDU(), packed, fits.ImageHDU(ERROR, name="ERROR"), fits.table_to_hdu(Table(TABLE))]
    fits.HDUList(hdus).writeto(tmp_path / "c.fits")
    expected = write(None, image_file(tmp_path / "p.fits"), name="plain")
    assert_same(write(None, tmp_path / "c.fits", name="packed"), expected)


def test_two_images_of_one_name_are_refused(write, tmp_path):
    with pytest.raises(BadInputError, match=r"a\.fits: has 2 images FLUX; leave one"):
        write(None, image_file(tmp_path / "a.fits", fits.ImageHDU(0.9 * FLUX, name="FLUX")))


def test_groups_of_an_hdf5_file_are_arms(write, tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for arm, shift in (("blue", 0.0), ("red", 400.0)):
            file[f"{arm}/flux"], file[f"{arm}/error"] = FLUX, ERROR
            file[f"{arm}/wavelength"] = (WAVELENGTH + shift) / 10
            file[f"{arm}/wavelength"].attrs["unit"] = "nm"
        file["stars"] = Table(TABLE).as_array()  # as astropy and pandas write tables
    arms = write(None, tmp_path / "a.h5")
    of_each = {name: {"blue": values, "red": values} for name, values in (("flux", FLUX), ("error", ERROR))}
    wavelength = {"blue": WAVELENGTH, "red": WAVELENGTH + 400.0}
    plain = write(TABLE, of_each["flux"], error=of_each["error"], wavelength=wavelength, name="plain")
    assert_same(arms, plain)
    assert arms.layout == plain.layout


def test_a_group_for_each_star_is_refused(write, tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for star in range(120):
            file[f"{star}/flux"] = FLUX[0]
    with pytest.raises(BadInputError, match="has 120 fluxes; expected one array with a row for each star"):
        write(TABLE, tmp_path / "a.h5")


def test_structs_of_two_arms_are_not_taken_for_one(write, tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    structs = pyarrow.array([{"flux": x, "error": e} for x, e in zip(FLUX, ERROR, strict=True)])
    columns = {"blue": structs, "red": structs, **TABLE}
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    with pytest.raises(BadInputError, match="has a flux of blue and red"):
        write(None, tmp_path / "a.parquet")


def test_names_of_npy_files_may_be_in_capitals(write, tmp_path, masked):
    for name, values in (("FLUX", SPOILT), ("ERROR", ERROR), ("MASK", BAD), ("WAVELENGTH", WAVELENGTH)):
        np.save(tmp_path / f"X_{name}.npy", values)
    assert_same(write(TABLE, tmp_path / "X_FLUX.npy"), masked)


def test_a_constant_column_has_its_size_as_scale(write):
    columns = np.random.default_rng(4).normal(size=(N_STARS, 5))
    columns[:, 1] = 0.1  # whose std is 1.4e-17
    options = {"columns": columns, "error": np.full(columns.shape, 0.01), "wavelength": None}
    survey = write(flux=None, **options)
    assert survey.layout.scale[3] == 0.1
    columns[:, 2] += 1e8
    with pytest.raises(BadInputError, match=r"column_0002 has the median 1e\+08 .* subtract the median"):
        write(flux=None, name="far", **options)
