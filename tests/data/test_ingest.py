"""Ingest from files to a survey: counts, reasons, normalisation, interruption, processes, and what it refuses."""

import errno
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
from astropy.table import Table, vstack
from reference_continuum import feature_row
from small_survey import TREES, spectra, tables, write_ap_star, write_aspcap_star, write_download

from spfast.config import load_config
from spfast.data import parent_sample as parent_sample_module
from spfast.data.ingest import ingest
from spfast.data.spectra import workers
from spfast.data.spectra.chunk import LN_FLUX_ERROR
from spfast.data.spectra.read import spectrum_reader
from spfast.data.survey import open_survey
from spfast.errors import BadInputError, SpfastWarning

PIXELS = range(0, 8575, 3)


@pytest.fixture
def config(tmp_path):
    """A configuration with continuum pixels from a file: few stars cannot tell them."""
    path = tmp_path / "pixels.txt"
    path.write_text("\n".join(map(str, PIXELS)))
    return load_config(overrides={"normalization": {"continuum_file": str(path)}})


@pytest.fixture
def download(tmp_path):
    (tmp_path / "in").mkdir()
    return write_download(tmp_path / "in", n=12)


def edit(path, change):
    table = Table.read(path)
    changed = change(table)
    (table if changed is None else changed).write(path, overwrite=True)


@pytest.mark.parametrize(("release", "kind"), list(TREES))
def test_every_release(tmp_path, config, release, kind):
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
        np.testing.assert_allclose(survey.feature_errors[row, 9:], expected_error, rtol=2e-6)


def test_rows_follow_the_stars(download, tmp_path, config):
    allstar, gaia = Table.read(download[0]), Table.read(download[2])
    edit(download[0], lambda table: table[np.random.default_rng(0).permutation(12)])
    survey = ingest(*download, tmp_path / "out", config=config, quiet=True)
    stars = survey.stars
    assert stars["APOGEE_ID"].tolist() == sorted(allstar["APOGEE_ID"])
    assert stars["source_id"].tolist() == gaia["source_id"].tolist()
    np.testing.assert_array_equal(survey.features[:, 0], 1)
    for i, name in enumerate(["phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag"], 1):
        np.testing.assert_array_equal(survey.features[:, i], gaia[name])
        np.testing.assert_allclose(survey.feature_errors[:, i], 2.5 / np.log(10) * 0.002, rtol=1e-6)
    for i, name in enumerate("JHK", 4):
        np.testing.assert_array_equal(survey.features[:, i], allstar[name])
        np.testing.assert_array_equal(survey.feature_errors[:, i], allstar[f"{name}_ERR"])
    np.testing.assert_array_equal(survey.features[:, 7], gaia["w1mpro"])
    np.testing.assert_allclose(stars["parallax"], gaia["parallax"])
    assert 0 < stars["training_set"].sum() == survey.info["n_training"] < 12
    assert survey.info["inputs"]["gaia"]["path"] == str(download[2])
    assert survey.info["continuum"]["source"].endswith("pixels.txt")
    assert set(survey.info["continuum"]["pixels"]) <= set(PIXELS)


def test_the_authors_preset(download, tmp_path, config):
    file = {"normalization": {"continuum_file": config.normalization.continuum_file}}
    survey = ingest(*download, tmp_path / "out", config=load_config(preset="hogg2019", overrides=file), quiet=True)
    np.testing.assert_allclose(survey.feature_errors[:, 1], 1.09 * 0.002, rtol=1e-6)
    spectrum = spectrum_reader()(download[1] / survey.stars["FILE"][3])
    expected = feature_row(spectrum.flux, spectrum.flux_error, None, list(PIXELS), weight_power=2)[0]
    np.testing.assert_allclose(survey.features[3, 9:], expected, atol=1e-6)
    assert survey.info["config"]["preset"] == "hogg2019"


def test_the_mess_of_real_tables(tmp_path, config):
    (tmp_path / "in").mkdir()
    allstar, spectra_folder, gaia = download = write_download(tmp_path / "in", n=16)
    table = Table.read(allstar)
    ids = table["APOGEE_ID"].tolist()
    table["LOGG"][0] = 2.5
    table["K_ERR"][1] = -9999.0
    table["J"][2] += 2.0
    again = table[[3, 4]]
    again["SNR"] = [table["SNR"][3] + 50.0, table["SNR"][4] - 50.0]
    again["TEFF"] = 4444.0
    vstack([table, again]).write(allstar, overwrite=True)
    table = Table.read(gaia)
    table["phot_bp_mean_mag"][5] = np.nan
    table["phot_variable_flag"] = np.where(np.arange(16) == 6, "VARIABLE", "NOT_AVAILABLE")
    table["w2mpro_error"][7] = np.nan
    table["w2mpro"][8] += 2.0
    table["parallax"][9] = np.nan
    table = table[np.arange(16) != 10]
    twice = table[[10]]  # of 2MASS's key 11: fainter, so not chosen
    twice["source_id"], twice["phot_g_mean_mag"] = 77, twice["phot_g_mean_mag"] + 3
    vstack([table, twice])[::-1].write(gaia, overwrite=True)
    files = {i: next(spectra_folder.rglob(f"*{ids[i]}.fits")) for i in (12, 13, 14)}
    files[12].unlink()
    files[13].write_bytes(files[13].read_bytes()[:40000])
    _, (flux,), (error,) = spectra(1)
    flux[2000:6300] = np.nan
    write_aspcap_star(files[14], flux, error)

    survey = ingest(*download, tmp_path / "out", config=config, quiet=True)
    assert survey.info["cut_flow"] == [
        ["rows in allStar", 18],
        ["spectrum file", 17],
        ["one row a star", 15],
        ["0 < log g <= 2.2", 14],
        ["2MASS photometry", 13],
        ["Gaia source", 12],
        ["Gaia photometry", 11],
        ["WISE photometry", 10],
        ["not variable", 9],
        ["J-K < 0.4 + 0.45 (BP-RP)", 8],
        ["H-W2 > -0.05", 7],
        ["spectrum readable", 5],
    ]
    kept = [3, 4, 9, 11, 15]
    assert survey.stars["APOGEE_ID"].tolist() == [ids[i] for i in kept]
    assert survey.stars["source_id"].tolist() == [10**18 + i for i in kept]
    assert (survey.stars["TEFF"] == 4444).tolist() == [True, False, False, False, False]
    assert np.isnan(survey.stars["parallax"][2])
    assert not survey.stars["training_set"][2]
    rejected = {(row["APOGEE_ID"], row["row"]): (row["reason"], row["detail"]) for row in survey.rejected}
    assert len(rejected) == 13 == survey.info["n_rejected"]
    assert rejected[ids[0], 0] == ("0 < log g <= 2.2", "LOGG = 2.5")
    assert rejected[ids[3], 3][0] == rejected[ids[4], 17][0] == "one row a star"
    assert rejected[ids[10], 10][0] == "Gaia source"
    assert rejected[ids[12], 12][0] == "spectrum file"
    assert rejected[ids[13], 13][1].startswith("damaged or not FITS")
    assert rejected[ids[14], 14][1].startswith("too few good continuum pixels")
    # the rows that were closed up are the right stars'
    spectrum = spectrum_reader()(spectra_folder / survey.stars["FILE"][4])
    expected = feature_row(spectrum.flux, spectrum.flux_error, None, list(PIXELS))[0]
    np.testing.assert_allclose(survey.features[4, 9:], expected, atol=1e-6)


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
    assert survey.feature_errors[0, index] == np.float32(0.2)  # of five stars none tells what it is


def test_finds_its_own_continuum_pixels(tmp_path):
    download = write_download(tmp_path, n=60)
    survey = ingest(*download, tmp_path / "out", quiet=True)
    assert survey.info["continuum"]["source"] == "found from the survey's spectra"
    assert len(survey.info["continuum"]["pixels"]) == pytest.approx(0.25 * 7451, rel=0.01)


def test_processes_and_one_process_give_the_same_bytes(download, tmp_path, config, monkeypatch):
    monkeypatch.setattr(workers, "CHUNK", 3)
    one = ingest(*download, tmp_path / "one", config=config, threads=1, quiet=True)
    monkeypatch.setattr(workers, "_CHUNKS_PER_PROCESS", 1)
    two = ingest(*download, tmp_path / "two", config=config, threads=2, quiet=True)
    assert one.survey_hash == two.survey_hash


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


def test_an_existing_survey_is_kept(download, tmp_path, config, capsys):
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


def test_works_in_a_script_without_a_guard(download, tmp_path, config):
    script = f"""
import spfast.data.spectra.workers as workers
from spfast.config import load_config
from spfast.data.ingest import ingest
workers.CHUNK, workers._CHUNKS_PER_PROCESS = 3, 1
config = load_config(overrides={{"normalization": {{"continuum_file": {config.normalization.continuum_file!r}}}}})
print(ingest({str(download[0])!r}, {str(download[1])!r}, {str(download[2])!r}, {str(tmp_path / "out")!r},
             config=config, threads=2, quiet=True))
"""
    done = subprocess.run([sys.executable, "-"], input=script, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert "12 stars x 7460 features" in done.stdout


def test_mixed_kinds_are_warned_of(download, tmp_path, config):
    allstar = Table.read(download[0])
    path = next(download[1].rglob(allstar["FILE"][0]))
    _, (flux,), (error,) = spectra(1)
    write_ap_star(path, flux * 100, error * 100)
    with pytest.warns(SpfastWarning, match="1 of 12 spectra are apStar"):
        ingest(*download, tmp_path / "out", config=config, quiet=True)


def test_wise_in_a_table_of_its_own(download, tmp_path, config):
    gaia = Table.read(download[2])
    columns = ["w1mpro", "w1mpro_error", "w2mpro", "w2mpro_error"]
    gaia["tmass_id", *columns].write(tmp_path / "wise.csv")
    gaia.remove_columns(columns)
    gaia.write(download[2], overwrite=True)
    with pytest.raises(BadInputError, match=r"no column w1mpro; .*--wise"):
        ingest(*download, tmp_path / "out", config=config, quiet=True)
    survey = ingest(*download, tmp_path / "out", wise=tmp_path / "wise.csv", config=config, quiet=True)
    assert np.isfinite(survey.features[:, 7:9]).all()
    assert "wise" in survey.info["inputs"]


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


def test_a_journal_counts_only_with_both_files_of_rows(tmp_path):
    journal = workers.Journal(tmp_path / "work")
    journal.begin({"fingerprint": "x"}, n_spectra=2)
    head, records = journal.read()
    assert (head["fingerprint"], records) == ("x", [])
    (tmp_path / "work" / LN_FLUX_ERROR).unlink()
    assert journal.read() == (None, [])


def test_rows_that_cannot_be_written_are_one_line(download, tmp_path, config, monkeypatch):
    def full(file, rows):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("spfast.data.spectra.chunk._write_all", full)
        with pytest.raises(BadInputError, match=r"ln_flux\.f32: cannot be written \(No space left on device\)"):
            ingest(*download, tmp_path / "out", config=config, quiet=True)
    assert ingest(*download, tmp_path / "out", config=config, quiet=True).n_stars == 12


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


def test_too_few_stars_to_find_the_continuum(download, tmp_path):
    with pytest.raises(BadInputError, match="continuum_file"):
        ingest(*download, tmp_path / "out", quiet=True)
    assert not list(tmp_path.glob("out*"))
    with pytest.raises(BadInputError, match="threads is 0"):
        ingest(*download, tmp_path / "out", threads=0)


def test_real_ap_star_files(shared_data, tmp_path):
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
