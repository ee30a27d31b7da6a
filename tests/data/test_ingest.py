"""Ingest from files to a survey: features, continuum, interruption, and what it refuses."""

import os
import shutil
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from reference_continuum import feature_row
from small_survey import TREES, spectra, tables, write_ap_star, write_download

from spfast.config import Config, load_config
from spfast.data import parent_sample as parent_sample_module
from spfast.data.apogee import spectrum_reader
from spfast.data.ingest import ingest
from spfast.data.spectra import workers
from spfast.data.survey import open_survey
from spfast.errors import BadInputError, SpfastWarning

PIXELS = range(0, 8575, 3)


def edit(path, change):
    table = Table.read(path)
    changed = change(table)
    (table if changed is None else changed).write(path, overwrite=True)


@pytest.mark.parametrize(("release", "kind"), list(TREES))
def test_a_download_of_every_release_is_ingested(tmp_path, config, release, kind):
    inputs = write_download(tmp_path, n=6, release=release, kind=kind)
    survey = ingest(*inputs, tmp_path / "out", config=config, quiet=True)
    assert survey.n_stars == 6
    assert survey.n_features == 1 + 8 + 7451
    read = spectrum_reader()
    for row in (0, 5):
        spectrum = read(inputs[1] / survey.stars["FILE"][row])
        assert spectrum.normalized == (kind == "aspcapStar")
        expected, expected_error, _ = feature_row(
            spectrum.flux, spectrum.flux_error, spectrum.pixel_mask, list(PIXELS), spectrum.normalized
        )
        np.testing.assert_allclose(survey.features[row, 9:], expected, atol=1e-6)
        np.testing.assert_allclose(survey.feature_errors[row, 9:], expected_error, rtol=2**-11)


def test_features_are_in_the_order_of_the_stars(download, tmp_path, config):
    allstar, gaia = Table.read(download[0]), Table.read(download[2])
    edit(download[0], lambda table: table[np.random.default_rng(0).permutation(12)])
    survey = ingest(*download, tmp_path / "out", config=config, quiet=True)
    stars = survey.stars
    assert stars["APOGEE_ID"].tolist() == sorted(allstar["APOGEE_ID"])
    assert stars["source_id"].tolist() == gaia["source_id"].tolist()
    np.testing.assert_array_equal(survey.features[:, 0], 1)
    for i, name in enumerate(["phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag"], 1):
        np.testing.assert_array_equal(survey.features[:, i], gaia[name])
        np.testing.assert_allclose(survey.feature_errors[:, i], 2.5 / np.log(10) * 0.002, rtol=2**-11)
    for i, name in enumerate("JHK", 4):
        np.testing.assert_array_equal(survey.features[:, i], allstar[name])
        np.testing.assert_allclose(survey.feature_errors[:, i], allstar[f"{name}_ERR"], rtol=2**-11)
    np.testing.assert_array_equal(survey.features[:, 7], gaia["w1mpro"])
    np.testing.assert_allclose(stars["parallax"], gaia["parallax"])
    assert 0 < stars["training_set"].sum() == survey.info["n_training"] < 12
    assert survey.info["inputs"]["gaia"]["path"] == str(download[2])
    assert survey.info["continuum"]["source"].endswith("pixels.txt")
    assert set(survey.info["continuum"]["pixels"]) <= set(PIXELS)


def test_the_authors_preset_gives_their_features(download, tmp_path, config):
    file = {"normalization": {"continuum_file": config.normalization.continuum_file}}
    survey = ingest(*download, tmp_path / "out", config=load_config(preset="hogg2019", overrides=file), quiet=True)
    np.testing.assert_allclose(survey.feature_errors[:, 1], 1.09 * 0.002, rtol=2**-11)
    spectrum = spectrum_reader()(download[1] / survey.stars["FILE"][3])
    expected = feature_row(spectrum.flux, spectrum.flux_error, None, list(PIXELS), weight_power=2)[0]
    np.testing.assert_allclose(survey.features[3, 9:], expected, atol=1e-6)
    assert survey.info["config"]["preset"] == "hogg2019"
    assert survey.info["bad_pixels"] is None


def test_pixels_bad_in_every_star_are_dropped(tmp_path, config):
    (tmp_path / "in").mkdir()
    mask = np.zeros(8575, "i4")
    mask[[1000, 5000]] = 1
    download = write_download(tmp_path / "in", n=5, kind="apStar", mask=mask)
    allstar = Table.read(download[0])
    path = next(download[1].rglob(allstar["FILE"][0]))
    _, (flux,), (error,) = spectra(1)
    mask[7000] = 4
    write_ap_star(path, flux * 100, error * 100, mask)
    survey = ingest(*download, tmp_path / "out", config=config, quiet=True)
    assert survey.info["pixel_mask"] == {"n_pixels": 7445, "n_dropped": 6}
    assert not {999, 1000, 1001, 4999, 5000, 5001} & set(survey.layout.pixels)
    assert survey.stars["n_bad_pixels"].tolist() == [3, 0, 0, 0, 0]
    index = survey.layout.names.index("pixel_7000")
    assert survey.features[0, index] == 0
    assert survey.feature_errors[0, index] == np.float16(0.2)  # of five stars none tells what it is


def test_a_quarter_of_the_pixels_is_chosen_as_continuum(tmp_path):
    download = write_download(tmp_path, n=60)
    survey = ingest(*download, tmp_path / "out", quiet=True)
    assert survey.info["continuum"]["source"] == "found from the survey's spectra"
    assert len(survey.info["continuum"]["pixels"]) == pytest.approx(0.25 * 7451, rel=0.01)


def test_an_interrupted_build_goes_on(download, tmp_path, config, monkeypatch, capsys):
    whole = ingest(*download, tmp_path / "whole", config=config, threads=1, quiet=True)
    monkeypatch.setattr(workers, "CHUNK", 3)
    serve, made = workers._serve, []

    def stops_after_two(job, chunks, threads):
        for record in serve(job, chunks, threads):
            if len(made) == 2:
                raise KeyboardInterrupt
            made.append(record["start"])
            yield record

    monkeypatch.setattr(workers, "_serve", stops_after_two)
    with pytest.raises(KeyboardInterrupt):
        ingest(*download, tmp_path / "out", config=config, threads=1, quiet=True)
    assert not (tmp_path / "out").exists()
    journal = tmp_path / "out.partial" / "work" / "journal.jsonl"
    assert len(journal.read_text().splitlines()) == 3
    with open(journal, "a") as file:
        file.write('{"start": 6, "n')  # the machine stopped in the middle of a line

    def counts(job, chunks, threads):
        made.extend(start for start, _ in chunks)
        return serve(job, chunks, threads)

    monkeypatch.setattr(workers, "_serve", counts)
    survey = ingest(*download, tmp_path / "out", config=config, threads=1)
    assert made == [0, 3, 6, 9]
    assert "going on after 6 spectra" in capsys.readouterr().out
    assert survey.survey_hash == whole.survey_hash
    assert not (tmp_path / "out.partial").exists()
    assert not (tmp_path / "out" / "work").exists()


def test_an_interrupted_build_of_other_inputs_starts_again(download, tmp_path, config, monkeypatch, capsys):
    def stops(job, chunks, threads):
        raise KeyboardInterrupt
        yield

    with monkeypatch.context() as patch:
        patch.setattr(workers, "_serve", stops)
        with pytest.raises(KeyboardInterrupt):
            ingest(*download, tmp_path / "out", config=config, quiet=True)
    other = config.replace(normalization={"weight_power": 2})
    survey = ingest(*download, tmp_path / "out", config=other)
    assert "of other inputs; starting again" in capsys.readouterr().out
    assert survey.info["config"]["normalization"]["weight_power"] == 2


def test_an_existing_survey_or_folder_is_kept(download, tmp_path, config, capsys):
    first = ingest(*download, tmp_path / "out", config=config, quiet=True)
    assert ingest(*download, tmp_path / "out", config=config).survey_hash == first.survey_hash
    assert "already whole, 12 stars" in capsys.readouterr().out
    with pytest.raises(BadInputError, match="built from other inputs"):
        ingest(*download, tmp_path / "out", config=config.replace(normalization={"weight_power": 2}), quiet=True)
    assert open_survey(tmp_path / "out").survey_hash == first.survey_hash
    (tmp_path / "mine.partial").mkdir()
    (tmp_path / "mine.partial" / "thesis.tex").touch()
    with pytest.raises(BadInputError, match="in the way"):
        ingest(*download, tmp_path / "mine", config=config, quiet=True)
    assert (tmp_path / "mine.partial" / "thesis.tex").exists()


def test_apstar_and_aspcapstar_together_are_refused(download, tmp_path, config):
    allstar = Table.read(download[0])
    path = next(download[1].rglob(allstar["FILE"][0]))
    _, (flux,), (error,) = spectra(1)
    write_ap_star(path, flux * 100, error * 100)
    with pytest.raises(BadInputError, match=r"spectra are apStar \(1 of 12\) and aspcapStar files, whose continua"):
        ingest(*download, tmp_path / "out", config=config, quiet=True)
    assert not list(tmp_path.glob("out*"))
    # The names tell it before any file is read.
    path.rename(path.with_name(path.name.replace("aspcapStar", "apStar")))
    with pytest.raises(BadInputError, match="the stars' spectra are apStar and aspcapStar files"):
        ingest(*download, tmp_path / "out", config=config, quiet=True)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda a, s, g: a.unlink(), r"allStar\.fits: cannot be read"),
        (lambda a, s, g: shutil.rmtree(s), "no such folder of spectra"),
        (lambda a, s, g: g.unlink(), r"gaia\.fits: no such file"),
        (lambda a, s, g: a.write_bytes(a.read_bytes()[:-2880]), "truncated"),
        (lambda a, s, g: edit(a, lambda t: t.remove_column("LOGG")), "no column LOGG"),
        (lambda a, s, g: edit(g, lambda t: t.remove_column("parallax")), "no column parallax"),
        (lambda a, s, g: edit(g, lambda t: t.replace_column("tmass_id", ["x"] * len(t))), "no star .*'Gaia source'"),
        (lambda a, s, g: edit(a, lambda t: t.replace_column("LOGG", [4.0] * len(t))), "no star .*log g"),
        (lambda a, s, g: edit(a, lambda t: t[:0]), "no rows"),
        (lambda a, s, g: edit(g, lambda t: t[:0]), "no rows"),
        (lambda a, s, g: [f.write_bytes(b"") for f in s.rglob("*.fits")], "none of the 12 spectra can be used"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(download, tmp_path, config, fault, message):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fault(*download)
    with pytest.raises(BadInputError, match=message) as caught:
        ingest(*download, tmp_path / "out", config=config, quiet=True)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("table", [0, 2])
def test_a_table_that_changes_while_it_is_read_is_refused(download, tmp_path, config, monkeypatch, table):
    cut = parent_sample_module.cut_apogee  # after both are read, before their hashes are taken

    def cut_short(*args):
        with open(download[table], "ab") as file:
            file.truncate(download[table].stat().st_size - 100)
        return cut(*args)

    monkeypatch.setattr(parent_sample_module, "cut_apogee", cut_short)
    with pytest.raises(BadInputError, match=f"{download[table].name}: changed while it was read; run again"):
        ingest(*download, tmp_path / "out", config=config, quiet=True)
    assert not list(tmp_path.glob("out*"))


def test_too_few_stars_to_find_the_continuum_are_refused(download, tmp_path):
    with pytest.raises(BadInputError, match="continuum_file"):
        ingest(*download, tmp_path / "out", quiet=True)
    assert not list(tmp_path.glob("out*"))
    with pytest.raises(BadInputError, match="threads is 0"):
        ingest(*download, tmp_path / "out", threads=0)


def test_real_apstar_files_are_normalised_to_1(shared_data, tmp_path):
    ids = ["2M17335483-2753043", "2M19485057+5005279"]
    allstar, gaia = tables(np.array([[3677.0, 0.53, -0.29], [4800.0, 2.0, -0.22]]))
    allstar["APOGEE_ID"], allstar["FILE"] = ids, [f"apStar-dr17-{star}.fits" for star in ids]
    gaia["tmass_id"] = [star[2:] for star in ids]
    allstar.write(tmp_path / "allStar.fits")
    gaia.write(tmp_path / "gaia.fits")
    pixels = str(shared_data / "continuum_pixels_dr13.txt")
    config = load_config(overrides={"normalization": {"continuum_file": pixels}})
    survey = ingest(
        tmp_path / "allStar.fits", shared_data, tmp_path / "gaia.fits", tmp_path / "out", config=config, quiet=True
    )
    assert survey.stars["APOGEE_ID"].tolist() == ids
    assert 7300 < survey.layout.n_pixels < 7451
    flux, error = np.exp(survey.features[:, 9:]), survey.feature_errors[:, 9:]
    continuum = np.isin(survey.layout.pixels, survey.info["continuum"]["pixels"])
    for row in range(2):
        good = error[row] < 0.05
        assert 0.98 < np.median(flux[row, continuum & good]) < 1.02
        assert good.mean() > 0.95
    assert flux[0].std() > 2 * flux[1].std()  # a cool giant, and a star with few lines


@pytest.mark.parametrize("kind", ["mask", "error", "flux"])
def test_a_spectrum_without_a_good_pixel_is_rejected(tmp_path, kind):
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


# What was seen is said: no reason is swallowed


def replace_files(folder, rename=lambda name: name, edit=None):
    """Write every spectrum of a download anew under another name, with other HDUs."""
    for path in sorted(folder.rglob("*.fits")):
        with fits.open(path) as hdus:
            images = [np.array(hdu.data) for hdu in hdus[1:4]]
        path.unlink()
        fits.HDUList([fits.PrimaryHDU(), *(edit or (lambda x: [*map(fits.ImageHDU, x)]))(images)]).writeto(
            path.with_name(rename(path.name)), overwrite=True
        )


def compress(images):
    return [fits.CompImageHDU(image[None]) for image in images]


def mwm(images):
    return [fits.BinTableHDU(Table({"flux": images[0][None], "ivar": images[1][None]}))]


def move_out(folder):
    away = folder.parent / "archive"
    away.mkdir()
    for path in sorted(folder.rglob("*.fits")):
        os.replace(path, away / path.name)
        os.symlink(away / path.name, path)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (move_out, "40 links that lead out of the folder and are not followed; give the folder that they lead to"),
        (lambda s: replace_files(s, lambda name: name + ".fz", compress), "40 compressed files or archives; unpack"),
        (lambda s: replace_files(s, edit=compress), "40 files cannot be used, e.g. .*tile-compressed.* funpack"),
        (
            lambda s: replace_files(s, lambda name: f"mwmStar-0.6.0-{name[-12:]}", mwm),
            "40 files of SDSS-V, of which mwmStar is read with",
        ),
        (
            lambda s: replace_files(s, lambda name: f"apVisit-{name[-12:]}"),
            "40 FITS files of other kinds, single visits",
        ),
        (lambda s: replace_files(s, lambda name: f"x{name[-9:-5]}.fits"), "holds spectra of 40 names .e.g. x"),
        (
            lambda s: replace_files(s, edit=lambda x: [fits.ImageHDU(x[0])]),
            "40 files cannot be used, e.g. .*no whole HDU 2",
        ),
        (
            lambda s: [f.write_bytes(b"") for f in s.rglob("*.fits")],
            "40 files cannot be used, e.g. .*damaged or not FITS",
        ),
        (
            lambda s: replace_files(s, edit=lambda x: [*map(fits.ImageHDU, (x[0] * np.nan, *x[1:]))]),
            "40 spectra have too few",
        ),
    ],
)
def test_download_of_which_no_spectrum_can_be_used_says_what_was_seen(tmp_path, fault, said):
    allstar, folder, gaia = write_download(tmp_path / "in", n=40)
    fault(folder)
    with pytest.raises(BadInputError, match=said) as caught:
        ingest(allstar, folder, gaia, tmp_path / "out", quiet=True)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert not list(tmp_path.glob("out*"))


def test_stars_without_labels_are_counted_where_the_continuum_is_found(tmp_path):
    allstar, folder, gaia = write_download(tmp_path / "in", n=40)
    edit(allstar, lambda table: table["TEFF"].__setitem__(slice(0, 35), -9999))
    with pytest.raises(BadInputError, match=r"5 good spectra .*5 of 40 stars were tried, 35 have no TEFF\)"):
        ingest(allstar, folder, gaia, tmp_path / "out", quiet=True)
    edit(allstar, lambda table: table.remove_columns(["TEFF", "FE_H"]))
    with pytest.raises(BadInputError, match=r"0 of 40 stars were tried, 40 have no TEFF or FE_H\)"):
        ingest(allstar, folder, gaia, tmp_path / "out", quiet=True)


def test_links_that_were_passed_over_are_warned_of_if_stars_have_no_file(download, tmp_path, config):
    allstar, folder, gaia = download
    paths = sorted(folder.rglob("*.fits"))
    os.replace(paths[0], tmp_path / paths[0].name)
    os.symlink(tmp_path / paths[0].name, paths[0])
    with pytest.warns(SpfastWarning, match=r"1 of allStar's 12 stars have no spectrum file .* 1 links that lead out"):
        survey = ingest(allstar, folder, gaia, tmp_path / "out", config=config, quiet=True)
    assert survey.n_stars == 11
    assert "is of the links that lead out of the folder" in survey.rejected["detail"][0]


@pytest.mark.parametrize("name", [str.lower, str.upper, lambda name: name.replace(".fits", ".FITS")])
def test_case_of_names_changes_no_number(download, tmp_path, config, name):
    allstar, folder, gaia = download
    plain = ingest(allstar, folder, gaia, tmp_path / "plain", config=config, quiet=True)
    for path in sorted(folder.rglob("*.fits")):
        path.rename(path.with_name(name(path.name)))
    survey = ingest(allstar, folder, gaia, tmp_path / "out", config=config, quiet=True)
    np.testing.assert_array_equal(survey.features, plain.features)
    assert survey.features_origin == plain.features_origin


def test_apstar_without_masks_are_ingested(tmp_path, config):
    allstar, folder, gaia = write_download(tmp_path / "in", n=12, kind="apStar")
    plain = ingest(allstar, folder, gaia, tmp_path / "plain", config=config, quiet=True)
    replace_files(folder, edit=lambda images: [*map(fits.ImageHDU, images[:2])])
    survey = ingest(allstar, folder, gaia, tmp_path / "out", config=config, quiet=True)
    np.testing.assert_array_equal(survey.features, plain.features)  # no pixel was masked


def test_a_survey_without_a_training_star_is_warned_of_with_an_example(download, tmp_path, config):
    edit(download[2], lambda table: table.replace_column("visibility_periods_used", [2] * 12))
    with pytest.warns(SpfastWarning, match=r"none of the 12 stars passes .* \(e\.g\. 2M.*visibility_periods_used = 2"):
        survey = ingest(*download, tmp_path / "out", config=config, quiet=True)
    assert survey.info["n_training"] == 0
