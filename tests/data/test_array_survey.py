"""Surveys of other spectrographs from arrays: mocks like LAMOST's and GALAH's, every format, and what is refused."""

import re

import numpy as np
import pytest
from array_mocks import observed
from astropy.io import fits
from astropy.table import Table

import spfast
from spfast.catalog.predict import predict_survey
from spfast.cli import main
from spfast.config import Config
from spfast.data.arrays.rows import detectors
from spfast.data.survey import open_survey, verify_survey
from spfast.errors import BadInputError, SpfastWarning
from spfast.figures.figure_data import FigureData
from spfast.model.layout import FeatureLayout
from spfast.training.fold import fit_stars
from spfast.validation.stability import surviving_pixels

#: Without a low-rank model a survey is written in a blink.
NO_RANK = Config().replace(features={"rank": 0})


@pytest.fixture(scope="module")
def galah():
    return observed("galah", 80, every=40)


@pytest.fixture(scope="module")
def lamost():
    return observed("lamost", 260, every=6)


@pytest.fixture(scope="module")
def survey(lamost, tmp_path_factory):
    path = tmp_path_factory.mktemp("arrays") / "lamost"
    options = {"ivar": lamost.ivar, "wavelength": lamost.wavelength, "normalized": False, "order": 3}
    return spfast.write_survey(path, lamost.table, lamost.flux, threads=1, **options)


@pytest.fixture(scope="module")
def model(survey):
    return fit_stars(survey, threads=1)


def write(path, mock, flux=None, **options):
    options = {"error": mock.error, "wavelength": mock.wavelength, "config": NO_RANK} | options
    table = options.pop("table", mock.table)
    return spfast.write_survey(path, table, mock.flux if flux is None else flux, threads=1, **options)


def test_raw_flux_with_ivar_becomes_ln_flux_over_a_polynomial(survey, lamost):
    layout, first = survey.layout, survey.layout.n_unpenalized
    assert layout.magnitudes == ("G", "BP", "RP", "J", "H", "K", "W1", "W2")
    np.testing.assert_allclose(layout.wavelength[first:], lamost.wavelength, atol=1e-4)
    assert layout.names[first] == "flux_3900.000"
    assert list(layout.groups) == ["3900-8998 A"] or len(layout.groups) == 1
    row = 7
    good = lamost.ivar[row] > 0
    weights = np.sqrt(lamost.ivar[row][good])
    wave = 2 * (lamost.wavelength - lamost.wavelength[0]) / np.ptp(lamost.wavelength) - 1
    poly = np.polynomial.chebyshev.chebfit(wave[good], lamost.flux[row][good], 3, w=weights)
    expected = np.log(lamost.flux[row] / np.polynomial.chebyshev.chebval(wave, poly))
    unmeasured = np.unpackbits(survey.unmeasured, axis=1, count=layout.n_pixels).astype(bool)
    both = good & ~unmeasured[row]
    assert both.sum() > 0.9 * good.sum()
    np.testing.assert_allclose(survey.features[row, first:][both], expected[both], atol=2e-3)
    assert unmeasured[row][~good].all()
    assert survey.stars["n_bad_pixels"][row] == unmeasured[row].sum()
    verify_survey(survey.path)


def test_a_lamost_survey_goes_through_to_figures_with_its_own_names(survey, lamost, model):
    table = predict_survey(model, survey, threads=1)
    assert survey.low_rank[0].rank > 0
    np.testing.assert_array_equal(table["obsid"], lamost.table["obsid"])
    np.testing.assert_array_equal(survey.stars["source_id"], lamost.table["gaia_source_id"])
    true = lamost.truth["true_parallax"]
    assert np.std(np.log(table["spec_parallax"] / true)) < 0.5 * np.std(np.log(true))
    pixels = surviving_pixels({"A": model, "B": model})
    assert 3900 <= pixels["wavelength"].min() < pixels["wavelength"].max() < 9000
    assert pixels["name"][0].startswith("flux_3")


def test_figures_have_the_wavelengths_of_the_survey(survey, model):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from spfast.figures.sheets import draw_sheet

    data = FigureData(Table(), survey, {"A": model, "B": model})
    coefficients, spectra = (draw_sheet(name, data) for name in ("coefficients", "spectra"))
    assert coefficients.axes[0].get_xlim() == pytest.approx((3898, 9000), abs=12)
    assert not coefficients.axes[0].texts  # APOGEE's lines are elsewhere
    assert spectra.axes[0].get_xlim() == pytest.approx((3900, 9000), abs=12)


def test_a_model_is_kept_with_the_layout_of_its_spectra_and_refused_on_another(survey, lamost, model, galah, tmp_path):
    model.save(tmp_path / "m.npz")
    back = spfast.load_model(tmp_path / "m.npz")
    assert back.layout == model.layout
    np.testing.assert_array_equal(back.layout.wavelength_of([0, 1]), lamost.wavelength[:2].round(4))
    other = write(tmp_path / "galah", galah)
    with pytest.raises(BadInputError, match=r"trained on flux over a polynomial, .* flux that was normalised before"):
        predict_survey(back, other)
    with pytest.raises(BadInputError, match=r"another spectrograph, its pixels have other names .*flux_4715"):
        back.for_layout(other.layout)
    with pytest.raises(BadInputError, match="another spectrograph"):
        back.for_layout(FeatureLayout(tuple(range(300)), survey.layout.magnitudes))


def test_detectors_are_found_by_gaps_and_bad_pixels_are_estimated(galah, tmp_path):
    survey = write(tmp_path / "s", galah, config=Config())
    assert [round(float(name[:4])) for name in survey.layout.groups] == [4715, 5653, 6483, 7698]
    assert sum(inside.sum() for inside in survey.layout.groups.values()) == galah.wavelength.size
    steps = np.diff(survey.layout.pixels)
    assert np.count_nonzero(steps > 30) == 3  # the low-rank model's filter does not cross them
    bad = np.unpackbits(survey.unmeasured, axis=1, count=galah.wavelength.size).astype(bool)
    assert np.all(bad | np.isfinite(galah.error))
    assert np.all(bad[~np.isfinite(galah.error)])
    off = survey.features[:, 9:] - np.log(np.clip(galah.flux, 0.01, 3))
    assert np.abs(off[~bad]).max() < 1e-5
    assert survey.features[:, 9:][bad].max() < 0.3  # not ln 3: the flux was three times too high
    assert detectors(np.arange(1.0, 3.0)) == [(0, 2)]


def test_arms_are_given_as_dicts_and_may_overlap(galah, tmp_path):
    half = {"B": slice(0, 120), "R": slice(100, galah.wavelength.size)}
    names = "error", "flux", "wavelength"
    parts = {name: {arm: getattr(galah, name)[..., at] for arm, at in half.items()} for name in names}
    survey = write(tmp_path / "s", galah, parts.pop("flux"), **parts)
    assert survey.layout.n_pixels == galah.wavelength.size + 20
    assert survey.layout.names[9] == "B_4715.000"
    assert {name.partition("_")[0] for name in survey.layout.names[9:]} == {"B", "R"}
    images = [
        fits.ImageHDU(getattr(galah, name)[..., at], name=f"{arm}_{name.upper()}")
        for arm, at in half.items()
        for name in names
    ]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(galah.table), *images]).writeto(tmp_path / "coadd.fits")
    again = spfast.write_survey(tmp_path / "t", None, tmp_path / "coadd.fits", config=NO_RANK, threads=1)
    assert again.survey_hash == survey.survey_hash
    assert "sha256" not in again.info["inputs"]["arrays"]


def test_every_format_gives_the_same_survey(galah, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    reference = write(tmp_path / "s", galah, mask=galah.mask, error=np.nan_to_num(galah.error, nan=0.01), bad_bits=4)
    error = np.nan_to_num(galah.error, nan=0.01)
    arrays = {"flux": galah.flux, "error": error, "mask": galah.mask, "wavelength": galah.wavelength}
    for name, values in arrays.items():
        np.save(tmp_path / f"x_{name}.npy", values)
    galah.table.write(tmp_path / "table.fits")
    images = [fits.ImageHDU(values, name=name) for name, values in arrays.items()]
    fits.HDUList([fits.PrimaryHDU(), *images, fits.BinTableHDU(galah.table)]).writeto(tmp_path / "x.fits")
    columns = {name: pyarrow.array(list(values)) for name, values in arrays.items() if name != "wavelength"}
    columns["lambda"] = pyarrow.array([galah.wavelength] * len(error))
    columns |= {name: pyarrow.array(galah.table[name].tolist()) for name in galah.table.colnames}
    whole = pyarrow.table(columns)
    parquet.write_table(whole, tmp_path / "x.parquet", row_group_size=33)
    for k, part in enumerate((whole[:50], whole[50:])):
        folder = tmp_path / "hats" / "dataset" / "Norder=0" / "Dir=0"
        folder.mkdir(parents=True, exist_ok=True)
        parquet.write_table(part, folder / f"Npix={k}.parquet")
    doors = [("x_flux.npy", tmp_path / "table.fits"), ("x.fits", None), ("x.parquet", None), ("hats", None)]
    try:
        import h5py
    except ImportError:
        pass
    else:
        with h5py.File(tmp_path / "x.h5", "w") as file:
            for name, values in (*arrays.items(), *((n, galah.table[n]) for n in galah.table.colnames)):
                values = np.asarray(values)
                file.create_dataset(name, data=values.astype("S") if values.dtype.kind == "U" else values)
        doors.append(("x.h5", None))
    for name, table in doors:
        survey = spfast.write_survey(
            tmp_path / f"of_{name}", table, tmp_path / name, bad_bits=4, config=NO_RANK, threads=1
        )
        np.testing.assert_array_equal(survey.features, reference.features)
        np.testing.assert_array_equal(survey.feature_errors, reference.feature_errors)
        assert survey.layout == reference.layout
        assert survey.stars["APOGEE_ID"].tolist() == reference.stars["APOGEE_ID"].tolist()


def test_the_command_makes_the_same_survey(galah, tmp_path, capsys):
    reference = write(tmp_path / "s", galah, magnitudes={"G": None, "K": ("ks_m", 0.02)})
    np.save(tmp_path / "flux.npy", galah.flux)
    np.save(tmp_path / "wavelength.npy", galah.wavelength)
    np.save(tmp_path / "sigmas.npy", galah.error)
    galah.table.write(tmp_path / "t.fits")
    (tmp_path / "c.toml").write_text("[features]\nrank = 0\n")
    words = f"ingest --arrays {tmp_path}/flux.npy --error {tmp_path}/sigmas.npy --table {tmp_path}/t.fits --id obsid "
    words += f"--magnitudes G K=ks_m,0.02 --config {tmp_path}/c.toml --threads 1 -o {tmp_path}/o"
    assert main(words.split()) == 0
    assert "80 stars x" in capsys.readouterr().out
    assert open_survey(tmp_path / "o").survey_hash == reference.survey_hash
    refused = (" --allstar a.fits", "--allstar: is for APOGEE's files, not"), (" --windows 5-4", "a lower and an upper")
    for more, text in refused:
        assert main(f"{words}{more} -o {tmp_path}/p".split()) == 2
        assert text in capsys.readouterr().err
    assert main(f"ingest --table x --allstar a -o {tmp_path}/p".split()) == 2
    assert "--table: needs --arrays or --xp" in capsys.readouterr().err


def test_stars_are_made_like_those_of_another_survey(survey, lamost, model, tmp_path):
    some = slice(0, 40)
    again = spfast.write_survey(
        tmp_path / "s", lamost.table[some], lamost.flux[some], ivar=lamost.ivar[some], wavelength=lamost.wavelength,
        like=survey.path, normalized=False, threads=1,
    )  # fmt: skip
    assert again.layout == survey.layout
    np.testing.assert_array_equal(again.features[:, 9:], survey.features[some, 9:])
    one, other = (predict_survey(model, s, threads=1)["spec_parallax"] for s in (again, survey))
    np.testing.assert_array_equal(one, other[some])
    model.save(tmp_path / "m.npz")
    of_model = spfast.write_survey(
        tmp_path / "t", lamost.table[some], lamost.flux[some], ivar=lamost.ivar[some], wavelength=lamost.wavelength,
        like=tmp_path / "m.npz", normalized=False, threads=1,
    )  # fmt: skip
    assert of_model.survey_hash == again.survey_hash
    with pytest.raises(BadInputError, match=r"first flux_3900\.000, theirs flux_3901\.092; give spectra on its wave"):
        spfast.write_survey(
            tmp_path / "u", lamost.table[some], lamost.flux[some], ivar=lamost.ivar[some],
            wavelength=lamost.wavelength * 1.00028, like=survey.path, normalized=False, threads=1,  # as in a vacuum
        )  # fmt: skip


def test_columns_of_any_scale_are_stored_over_their_scatter(galah, tmp_path):
    rng = np.random.default_rng(1)
    values = rng.normal(size=(80, 3)) * [1e3, 1.0, 1e-6]
    values[4, 1] = np.nan
    error = np.full((80, 3), [10, 0.01, 1e-8])
    survey = spfast.write_survey(
        tmp_path / "s", galah.table, columns=values, error=error, names=["a", "b", "c"], threads=1
    )
    assert survey.layout.names[9:] == ["a", "b", "c"]
    assert survey.layout.kinds[9:] == ["other"] * 3
    assert survey.low_rank is None
    good = np.isfinite(values)
    np.testing.assert_allclose((survey.features[:, 9:] * survey.layout.scale[9:])[good], values[good], rtol=1e-5)
    np.testing.assert_allclose(survey.feature_errors[0, 9:] * survey.layout.scale[9:], [10, 0.01, 1e-8], rtol=2**-11)
    assert np.std(survey.features[:, 9:], axis=0) == pytest.approx([1, 1, 1], abs=0.3)
    back = FeatureLayout.from_dict(survey.layout.to_dict())
    assert back == survey.layout
    assert fit_stars(survey, threads=1).columns_used.endswith("of 3 columns")


def test_gaias_table_is_matched_by_source_id(galah, tmp_path):
    gaia = Table({"SOURCE_ID": galah.table["gaia_source_id"][::-1], "parallax": np.linspace(0.1, 0.9, 80)[::-1]})
    gaia["parallax_error"], gaia["ruwe"] = np.full(80, 0.02), np.ones(80, "f4")
    survey = write(tmp_path / "s", galah, gaia=gaia[:-1], gaia_release="dr3", training=np.arange(80) > 9)
    np.testing.assert_allclose(survey.stars["parallax"][1:], np.linspace(0.1, 0.9, 80)[1:])
    assert np.isnan(survey.stars["parallax"][0])
    assert survey.info["gaia_release"] == "dr3"
    assert survey.stars["training_set"].sum() <= 70
    assert not survey.stars["training_set"][:10].any()


def _changed(mock, **columns):
    table = mock.table.copy()
    for name, values in columns.items():
        table[name] = values
    return table


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda m: {"error": m.error[:, 1:]}, r"error: shape \(80, \d+\), expected the flux's \(80, \d+\)"),
        (lambda m: {"ivar": m.ivar}, "has both an error and an ivar"),
        (lambda m: {"wavelength": m.wavelength[::-1]}, "must increase"),
        (lambda m: {"wavelength": m.wavelength[1:]}, r"wavelength: shape \(\d+,\), expected \(\d+,\)"),
        (lambda m: {"table": m.table[:9]}, "table: has 9 rows, the arrays 80"),
        (lambda m: {"table": _changed(m, obsid=np.arange(80) // 2 + 5)}, r"40 ids stand in several rows \(the first: "),
        (lambda m: {"id": "sobject"}, "no column sobject"),
        (lambda m: {"gaia": {"source_id": np.arange(1, 81), "parallax": np.ones(80)}}, "none of its 80 source_id"),
        (lambda m: {"magnitudes": ["G", "u"]}, "no magnitude u, column u"),
        (lambda m: {"flux": m.flux[0]}, r"expected numbers of shape \(n_stars, n_pixels\)"),
        (lambda m: {"normalized": False, "windows": [(5000, 5001)]}, "0 pixels of detector 4715"),
        (lambda m: {"windows": [(5000, 4000)]}, "a lower and an upper wavelength"),
        (lambda m: {"flux": np.full_like(m.flux, np.nan)}, r"none of the 80 stars can be used \(.*no good pixel"),
        (lambda m: {"names": ["a"] * m.wavelength.size}, "two columns are named 'a'"),
        (lambda m: {"training": np.ones(3)}, "training: float64"),
        (lambda m: {"gaia_release": "dr9"}, "gaia_release is 'dr9', expected one of "),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_a_line(galah, tmp_path, change, text):
    with pytest.raises(BadInputError, match=text) as error:
        write(tmp_path / "s", galah, **change(galah))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "s").exists()


def test_a_detector_without_light_rejects_its_star_with_the_reason(lamost, tmp_path):
    ivar = lamost.ivar.copy()
    ivar[3] = 1e-20  # what SDSS writes for an error of 1e10
    survey = write(tmp_path / "s", lamost, error=None, ivar=ivar, normalized=False)
    assert survey.n_stars == len(ivar) - 1
    assert survey.rejected["APOGEE_ID"][0] == str(lamost.table["obsid"][3])
    assert re.match("too few good continuum pixels on detector 3900", survey.rejected["detail"][0])


def test_rows_that_are_no_luminous_giants_are_warned_of(galah, tmp_path):
    table = dict(galah.table) if isinstance(galah.table, dict) else galah.table.copy()
    table["logg"] = np.where(np.arange(80) < 7, 4.4, 1.5)
    with pytest.warns(SpfastWarning, match=r"7 of 80 stars have log g above 2\.2 .* leave them out of the table"):
        survey = write(tmp_path / "s", galah, table=table)
    assert survey.n_stars == 80
