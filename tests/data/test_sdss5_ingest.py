"""Surveys from SDSS-V's own files, as `simulate` writes them by the rules of their writers."""

import gzip
import os
import shutil

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from spfast.archive.wanted import find_wanted
from spfast.catalog.compatibility import check_model
from spfast.catalog.flags import star_flags
from spfast.config import load_config
from spfast.data.allstar import read_allstar
from spfast.data.ingest import ingest
from spfast.data.parent_sample import parent_sample
from spfast.data.spectra import workers
from spfast.data.spectra.find import SpectrumFiles
from spfast.data.survey import open_survey
from spfast.errors import BadInputError, SpfastWarning
from spfast.model.fitted_model import FittedModel
from spfast.simulate import simulate_download
from spfast.training.fold import fit_stars

N, SEED = 60, 3
SUMMARY = "spectro/astra/0.6.0/summary/astraAllStarASPCAP-0.6.0.fits.gz"
STARS = "spectro/astra/0.6.0/spectra/star"


@pytest.fixture(scope="module")
def dr19(tmp_path_factory):
    return simulate_download(tmp_path_factory.mktemp("sdss5") / "dr19", N, seed=SEED, release="dr19", quiet=True)


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """Few stars do not determine continuum pixels or a low-rank model."""
    pixels = tmp_path_factory.mktemp("pixels") / "pixels.txt"
    pixels.write_text("\n".join(map(str, range(0, 8575, 3))))
    config = load_config(overrides={"normalization": {"continuum_file": str(pixels)}, "features": {"rank": 0}})
    return {"config": config, "threads": 1, "quiet": True}


@pytest.fixture(scope="module")
def alone(dr19, options, tmp_path_factory):
    """The survey of summary and spectra alone."""
    return ingest(dr19 / SUMMARY, dr19, None, tmp_path_factory.mktemp("alone") / "survey", **options)


def summary(folder):
    with gzip.open(folder / SUMMARY) as file, fits.open(file) as hdus:
        return Table(hdus[2].data)


def copy(folder, to):
    """The summary and the spectra of a download, as files of one's own."""
    shutil.copytree(folder / STARS, to / "star")
    return to / "star"


def write_summary(path, table):
    boss, apogee = (fits.BinTableHDU(rows) for rows in (table[:0], table))
    boss.header["INSTRMNT"], apogee.header["INSTRMNT"] = "BOSS", "APOGEE"
    fits.HDUList([fits.PrimaryHDU(), boss, apogee]).writeto(path)
    return path


def cuts(survey):
    return dict(map(tuple, survey.info["cut_flow"]))


def test_a_survey_is_made_from_summary_and_spectra_alone(dr19, alone):
    stars, table = alone.stars, summary(dr19)
    truth = Table.read(dr19 / "truth.fits")
    true = dict(zip(truth["APOGEE_ID"], truth["source_id"], strict=True))
    assert len(stars) > 0.5 * N
    assert [true[name] for name in stars["APOGEE_ID"]] == stars["source_id"].tolist()
    row = {key: i for i, key in enumerate(zip(table["sdss_id"], table["telescope"], table["release"], strict=True))}
    rows = [row[key] for key in zip(stars["sdss_id"], stars["TELESCOPE"], stars["release"], strict=True)]
    pairs = {"parallax": "plx", "parallax_error": "e_plx", "pmdec": "pmde", "phot_g_mean_mag": "g_mag", "J": "j_mag"}
    pairs |= {"w1mpro": "w1_mag", "w2mpro_error": "e_w2_mag", "LOGG": "logg", "SNR": "snr", "glat": "b"}
    for ours, theirs in pairs.items():
        np.testing.assert_array_equal(np.asarray(stars[ours], "f4"), table[theirs][rows], err_msg=ours)
    lacking = np.isnan(table["e_j_mag"][rows])
    assert np.isnan(stars["J"][lacking]).all()
    for band, error in (("g", 0.003), ("bp", 0.01), ("rp", 0.01)):
        assert set(np.asarray(stars[f"phot_{band}_mean_mag_error"])) == {np.float32(error)}
    assert alone.info["wise"] == "unWISE"
    assert alone.info["gaia_release"] == "dr3"
    assert alone.features_origin["spectra"] == ["mwmStar 0.6.0"]
    assert set(alone.info["inputs"]) == {"allstar", "spectra", "continuum"}
    assert np.isfinite(alone.features).all()


def test_the_training_set_without_astrometric_columns_is_that_of_equation_8(alone):
    stars = alone.stars
    expected = np.isfinite(stars["parallax"]) & (stars["parallax_error"] < 0.1)
    np.testing.assert_array_equal(stars["training_set"], expected)
    assert any("without Eq. 9" in cut and "Eq. 10" in cut for cut in cuts(alone))
    # What is unknown of all stars speaks against none.
    assert not star_flags(alone)["gaia_quality"].any()


def test_features_are_those_of_the_spectrum_in_the_stars_own_file(dr19, alone):
    for star in (0, alone.n_stars // 2):
        row = alone.stars[star]
        folder, name = os.path.split(str(row["FILE"]))
        assert folder == f"{STARS}/{row['sdss_id'] // 100 % 100:02d}/{row['sdss_id'] % 100:02d}"
        assert name == f"mwmStar-0.6.0-{row['sdss_id']}.fits"
        with fits.open(dr19 / row["FILE"], memmap=False) as hdus:
            data = hdus["APOGEE/LCO" if row["TELESCOPE"] == "lco25m" else "APOGEE/APO"].data
            continuum, flux, ivar = (np.array(data[name][0]) for name in ("continuum", "flux", "ivar"))
        pixels = np.asarray(alone.layout.pixels)
        ln_flux = alone.features[star, alone.layout.n_unpenalized :]
        with np.errstate(invalid="ignore", divide="ignore"):
            other = np.log(flux / continuum)[pixels]
        good = np.isfinite(other) & (ivar[pixels] > 1e-6)
        assert np.corrcoef(ln_flux[good], other[good])[0, 1] > 0.9


def test_a_star_of_several_rows_gets_the_newest_release_of_the_best_observatory(dr19, alone):
    table = summary(dr19)
    numbers, counts = np.unique(table["sdss_id"], return_counts=True)
    several = set(numbers[counts > 1]) & set(alone.stars["sdss_id"])
    assert several
    for number in several:
        rows = table[table["sdss_id"] == number]
        star = alone.stars[alone.stars["sdss_id"] == number][0]
        newest = {}
        for row in rows:
            best = newest.setdefault(row["telescope"], row)
            if row["release"] > best["release"]:
                newest[row["telescope"]] = row
        best = max(newest.values(), key=lambda row: row["snr"])
        assert (star["TELESCOPE"], star["release"], star["SNR"]) == (best["telescope"], best["release"], best["snr"])
    assert len(set(alone.stars["sdss_id"])) == alone.n_stars


def test_a_side_table_brings_what_the_summary_lacks(dr19, alone, options, tmp_path):
    survey = ingest(dr19 / SUMMARY, dr19, dr19 / "gaia.fits", tmp_path / "s", **options)
    gaia = Table.read(dr19 / "gaia.fits")
    row = {source: i for i, source in enumerate(gaia["source_id"])}
    both = [(i, row[source]) for i, source in enumerate(survey.stars["source_id"]) if source in row]
    ours, theirs = map(list, zip(*both, strict=True))
    for name in ("visibility_periods_used", "random_index", "nu_eff_used_in_astrometry", "ruwe"):
        np.testing.assert_array_equal(survey.stars[name][ours], gaia[name][theirs].astype(survey.stars[name].dtype))
    error = 1.0857362 * gaia["phot_bp_mean_flux_error"] / gaia["phot_bp_mean_flux"]
    np.testing.assert_allclose(survey.stars["phot_bp_mean_mag_error"][ours], error[theirs], rtol=1e-5)
    assert not any("without Eq. 9" in cut for cut in cuts(survey))
    assert 0 < survey.info["n_training"] < alone.info["n_training"]
    assert "visibility_periods_used" in survey.stars.colnames
    # In any order, and under the summary's name of the number, it is the same table.
    gaia.rename_column("source_id", "gaia_dr3_source_id")
    gaia[::-1].write(tmp_path / "other.fits")
    again = ingest(dr19 / SUMMARY, dr19, tmp_path / "other.fits", tmp_path / "t", **options)
    np.testing.assert_array_equal(again.features, survey.features)


def test_parallaxes_of_another_release_in_the_side_table_are_refused(dr19, options, tmp_path):
    gaia = Table.read(dr19 / "gaia.fits")
    gaia["parallax"] += 0.02
    gaia.write(tmp_path / "dr2.fits")
    with pytest.raises(BadInputError, match=r"its parallaxes are 0\.02 mas off those of the summary .* than dr3"):
        ingest(dr19 / SUMMARY, dr19, tmp_path / "dr2.fits", tmp_path / "s", **options)
    gaia["source_id"] += 5
    gaia.write(tmp_path / "strangers.fits")
    with pytest.raises(BadInputError, match=r"none of its 59 rows matches a star by source_id"):
        ingest(dr19 / SUMMARY, dr19, tmp_path / "strangers.fits", tmp_path / "s", **options)
    # One without parallaxes tells its release as any Gaia table does.
    gaia = Table.read(dr19 / "gaia.fits")
    gaia.remove_columns(["parallax", "parallax_error"])
    del gaia.meta["GAIAREL"]
    gaia["ref_epoch"] = 2015.5
    gaia.write(tmp_path / "epoch.fits")
    with pytest.raises(BadInputError, match=r"is of Gaia DR2 \(its ref_epoch is 2015.5\), the summary's .* of DR3"):
        ingest(dr19 / SUMMARY, dr19, tmp_path / "epoch.fits", tmp_path / "s", **options)


def test_a_side_table_without_a_column_of_gaias_is_refused(dr19):
    with pytest.raises(BadInputError, match=r"truth.fits: has source_id and no other column under Gaia's names"):
        parent_sample(dr19 / SUMMARY, dr19, dr19 / "truth.fits", None, load_config())


def test_a_release_that_is_given_against_the_summarys_is_told(dr19):
    config = load_config(overrides={"sample": {"gaia_release": "dr2"}})
    with pytest.warns(SpfastWarning, match=r"gaia_release says dr2, but it is of Gaia DR3 \(tables of SDSS-V"):
        stars, _ = parent_sample(dr19 / SUMMARY, dr19, None, None, config)
    assert stars.meta["gaia_release"] == "dr2"


def test_a_table_of_boss_spectra_is_refused(dr19, tmp_path):
    boss, apogee = fits.BinTableHDU(summary(dr19)), fits.BinTableHDU(summary(dr19)[:0])
    boss.header["INSTRMNT"], apogee.header["INSTRMNT"] = "BOSS", "APOGEE"
    path = tmp_path / "astraAllStarBossNet-0.6.0.fits"
    fits.HDUList([fits.PrimaryHDU(), boss, apogee]).writeto(path)
    for read in (read_allstar, find_wanted):
        with pytest.raises(BadInputError, match=r"is of BOSS spectra \(INSTRMNT\), expected APOGEE; give a summary of"):
            read(path)


def test_wanted_and_ingest_look_at_the_same_row_of_a_star(dr19, tmp_path):
    table = summary(dr19)
    old = np.flatnonzero(table["release"] == "dr17")
    twice = [row for row in old if np.count_nonzero(table["sdss_id"] == table["sdss_id"][row]) == 2]
    for row in twice:
        other = np.flatnonzero(table["sdss_id"] == table["sdss_id"][row])
        table["snr"][other], table["logg"][other] = 90.0, 1.5
        table["snr"][row], table["logg"][row] = 100.0, 3.0
    path = write_summary(tmp_path / "astraAllStarASPCAP-0.6.0.fits", table)
    stars, _ = parent_sample(path, dr19, None, None, load_config())
    assert set(table["sdss_id"][twice]) & set(stars["sdss_id"])
    assert set(stars["sdss_id"]) <= set(find_wanted(path).stars["sdss_id"])


def test_unwise_and_allwise_are_never_mixed(dr19, alone, options, tmp_path):
    wise = Table.read(dr19 / "allwise.fits")
    survey = ingest(dr19 / SUMMARY, dr19, None, tmp_path / "s", wise=dr19 / "allwise.fits", **options)
    assert survey.info["wise"] == "AllWISE"
    row = {source: i for i, source in enumerate(wise["source_id"])}
    for star in survey.stars:
        if star["source_id"] in row:
            assert star["w1mpro"] == np.float32(wise["w1mpro"][row[star["source_id"]]])
        else:
            assert np.isnan(star["w1mpro"])
    gaia = Table.read(dr19 / "gaia.fits")
    with_wise = gaia.copy()
    for name in ("w1mpro", "w1mpro_error", "w2mpro", "w2mpro_error"):
        with_wise[name] = 9.0 if "error" not in name else 0.02
    with_wise.write(tmp_path / "gaia.fits")
    with pytest.warns(SpfastWarning, match="AllWISE columns are left aside, the summary has unWISE"):
        kept = ingest(dr19 / SUMMARY, dr19, tmp_path / "gaia.fits", tmp_path / "t", **options)
    assert kept.info["wise"] == "unWISE"
    assert not np.any(kept.stars["w1mpro"] == 9.0)
    model = fit_stars(alone, alone_config(), threads=1)
    assert isinstance(model, FittedModel)
    with pytest.raises(BadInputError, match=r"trained on W1 and W2 of unWISE, the survey .* has W1 and W2 of AllWISE"):
        check_model(model, survey)


def alone_config():
    fit = {"pixels": "raw", "penalty": 1000.0, "zero_point": 0.029, "zero_point_rule": "constant"}
    return load_config(overrides={"fit": fit, "tune": {"inner_folds": 2}})


def test_spectra_that_are_missing_or_damaged_are_rejected_with_their_reasons(dr19, alone, options, tmp_path):
    star = copy(dr19, tmp_path)
    gone, empty, cut = (os.path.basename(str(name)) for name in alone.stars["FILE"][:3])
    path = {file.name: file for file in star.rglob("*.fits")}
    path[gone].unlink()
    with fits.open(path[empty]) as hdus:
        tables = [fits.BinTableHDU(hdu.data[:0], hdu.header) for hdu in hdus[1:]]
        fits.HDUList([hdus[0].copy(), *tables]).writeto(tmp_path / "empty.fits")
    os.replace(tmp_path / "empty.fits", path[empty])
    os.truncate(path[cut], 100_000)
    survey = ingest(dr19 / SUMMARY, star, None, tmp_path / "s", **options)
    reasons = {row["APOGEE_ID"]: (row["reason"], row["detail"]) for row in survey.rejected}
    names = alone.stars["APOGEE_ID"]
    assert set(names[:3]) == set(names) - set(survey.stars["APOGEE_ID"])
    assert reasons[names[0]] == ("spectrum file", f"no {gone} under {star}")
    assert "is empty: the star has no spectrum from there" in reasons[names[1]][1]
    assert "damaged or not FITS" in reasons[names[2]][1]


def test_packed_and_flat_files_give_the_same_survey(dr19, alone, options, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in (dr19 / STARS).rglob("*.fits"):
        (flat / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 1))
    survey = ingest(dr19 / SUMMARY, flat, None, tmp_path / "s", **options)
    np.testing.assert_array_equal(survey.features, alone.features)
    np.testing.assert_array_equal(survey.feature_errors, alone.feature_errors)
    assert survey.features_origin == alone.features_origin
    assert all("/" not in name and name.endswith(".gz") for name in survey.stars["FILE"])
    star = copy(dr19, tmp_path)
    number = int(alone.stars["sdss_id"][0])
    path = next(star.rglob(f"*-{number}.fits"))
    for suffix in (".FITS", ".FITS.GZ"):
        path = path.rename(path.with_name(f"mwmStar-0.6.0-{number}{suffix}"))
        assert SpectrumFiles(star).mwm.find("0.6.0", number) == str(path.relative_to(star))


def test_folders_of_the_archive_are_not_listed(dr19, monkeypatch):
    listed, scandir, listdir = [], os.scandir, os.listdir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or scandir(path))
    monkeypatch.setattr(os, "listdir", lambda path: listed.append(path) or listdir(path))
    files = SpectrumFiles(dr19)
    leaves = list((dr19 / STARS).glob("*/*"))
    assert len(leaves) > 50
    assert sum(os.path.dirname(os.path.dirname(path)).endswith("spectra/star") for path in listed) == 1
    number = int(next((dr19 / STARS).rglob("*.fits")).stem.rpartition("-")[2])
    listed.clear()
    assert files.mwm.find("0.6.0", number).endswith(f"-{number}.fits")
    assert files.mwm.find("0.6.0", 7) == files.mwm.find("0.5.0", number) == ""
    assert not listed


def test_worker_processes_read_the_same_spectra(dr19, alone, options, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "CHUNK", 8)
    monkeypatch.setattr(workers, "_CHUNKS_PER_PROCESS", 1)
    survey = ingest(dr19 / SUMMARY, dr19, None, tmp_path / "s", **(options | {"threads": 2}))
    assert survey.survey_hash == alone.survey_hash


def test_links_out_of_the_folder_are_not_followed(dr19, tmp_path):
    star = copy(dr19, tmp_path)
    first, second = sorted(star.rglob("*.fits"))[:2]
    os.replace(first, tmp_path / "away.fits")
    os.symlink(tmp_path / "away.fits", first)
    os.replace(second.parent, tmp_path / "folder")
    os.symlink(tmp_path / "folder", second.parent)
    files = SpectrumFiles(star)
    for path in (first, second):
        assert path.is_file()
        assert files.mwm.find("0.6.0", int(path.stem.rpartition("-")[2])) == ""


def test_a_mixture_of_products_and_of_versions_is_refused(dr19, options, tmp_path):
    star = copy(dr19, tmp_path)
    table = summary(dr19)
    (tmp_path / f"star/aspcapStar-dr17-{table['obj'][0]}.fits").touch()
    with pytest.raises(
        BadInputError, match=r"holds mwmStar files and others of APOGEE \(aspcapStar-dr17-2M.*one product"
    ):
        ingest(dr19 / SUMMARY, star, None, tmp_path / "s", **options)
    next(star.glob("*.fits")).unlink()
    (star / "mwmStar-0.5.0-54392544.fits").touch()
    (star / "mwmStar-0.4.0-54392544.fits").touch()
    assert ingest(dr19 / SUMMARY, star, None, tmp_path / "s", **options).features_origin["spectra"] == ["mwmStar 0.6.0"]
    table["v_astra"] = "0.9.0"
    other = write_summary(tmp_path / "other.fits", table)
    with pytest.raises(BadInputError, match=r"versions 0\.4\.0, 0\.5\.0, 0\.6\.0, and the summary is of 0\.9\.0"):
        ingest(other, star, None, tmp_path / "t", **options)
    for path in star.glob("*.fits"):
        path.unlink()
    with pytest.warns(SpfastWarning, match=r"are of version 0\.6\.0, the summary of 0\.9\.0"):
        ingest(other, star, None, tmp_path / "t", **options)


def test_tables_that_lack_what_is_needed_are_told_so(dr19, options, tmp_path):
    table = summary(dr19)
    cases = {
        "has no Gaia parallaxes.*give a Gaia table with --gaia": ["plx", "e_plx"],
        "has plx and no gaia_dr3_source_id": ["gaia_dr3_source_id"],
        "has no w1_mag and w2_mag.*--wise": ["w1_mag", "e_w1_mag", "w2_mag", "e_w2_mag"],
        "has no w1_mag and w2_mag with their errors.*--wise": ["e_w1_mag"],
        "has no g_mag, as astra's summaries have; give a Gaia": ["g_mag"],
        "no column telescope": ["telescope"],
    }
    for number, (message, names) in enumerate(cases.items()):
        lacking = table.copy()
        lacking.remove_columns(names)
        path = write_summary(tmp_path / f"{number}.fits", lacking)
        with pytest.raises(BadInputError, match=message):
            ingest(path, dr19, None, tmp_path / "s", **options)


def test_the_summarys_table_is_that_of_apogee_wherever_it_stands(dr19, tmp_path):
    table = summary(dr19)
    other = table.copy()
    other["sdss_id"] += 1
    other["release"] = "boss"
    boss, apogee = fits.BinTableHDU(other), fits.BinTableHDU(table)
    boss.header["INSTRMNT"], apogee.header["INSTRMNT"] = "BOSS", "APOGEE"
    for order in ([boss, apogee], [apogee, boss]):
        fits.HDUList([fits.PrimaryHDU(), *order]).writeto(tmp_path / "a.fits", overwrite=True)
        assert read_allstar(tmp_path / "a.fits")["sdss_id"].tolist() == table["sdss_id"].tolist()
    # By its rows where no card tells: HDU 2.
    plain = [fits.BinTableHDU(table[:0]), fits.BinTableHDU(table)]
    fits.HDUList([fits.PrimaryHDU(), *plain]).writeto(tmp_path / "b.fits")
    assert len(read_allstar(tmp_path / "b.fits")) == len(table)


def test_numbers_of_stars_that_were_rounded_are_refused(dr19, tmp_path):
    table = summary(dr19)
    table["sdss_id"] = [f"{number:.6e}" for number in table["sdss_id"]]
    path = write_summary(tmp_path / "astraAllStarASPCAP-0.6.0.fits", table)
    for read in (read_allstar, find_wanted):
        with pytest.raises(BadInputError, match=r"column sdss_id: all of .* numbers end in 0 .*, they were rounded"):
            read(path)


@pytest.mark.parametrize("spoil", [lambda values: values / 15.0, lambda values: np.roll(values, 1)])
def test_places_that_are_not_those_of_l_and_b_are_refused(dr19, tmp_path, spoil):
    table = summary(dr19)
    table["ra"] = spoil(np.asarray(table["ra"]))
    with pytest.raises(BadInputError, match=r"ra and dec are .* deg off the latitude b .*; is ra in hours"):
        read_allstar(write_summary(tmp_path / "a.fits", table))


def test_missing_values_of_the_summary_are_missing(dr19, tmp_path):
    table = summary(dr19)
    table["bp_mag"][0], table["gaia_dr3_source_id"][1], table["obj"][2] = np.nan, -1, ""
    table["sdss4_apogee_id"][2], table["n_visits"][3], table["w1_mag"][4] = "", -1, np.inf
    stars = read_allstar(write_summary(tmp_path / "a.fits", table))
    assert np.isnan(stars["phot_bp_mean_mag"][0])
    assert stars["source_id"][1] == stars["NVISITS"][3] == -1
    assert stars["APOGEE_ID"][2] == ""
    assert np.isnan(stars["w1mpro"][4])
    assert stars["APOGEE_ID"][5] == table["obj"][5].strip()


def test_a_summary_of_dr20_gives_the_versions_and_columns_of_that_release(options, tmp_path):
    simulate_download(tmp_path / "d", 20, seed=5, release="dr20", quiet=True)
    path = tmp_path / "d/spectro/astra/0.8.1/summary/astraAllStarASPCAP-0.8.1.fits"
    assert read_allstar(path).meta["v_astra"] == "0.8.1"
    survey = ingest(path, tmp_path / "d", tmp_path / "d/gaia.fits", tmp_path / "s", **options)
    assert survey.features_origin["spectra"] == ["mwmStar 0.8.1"]
    assert survey.info["aspcapflag_bits"] == "result_flags"
    assert open_survey(tmp_path / "s").stars["sdss_id"].min() > 5e7


def test_the_pipelines_allstar_goes_with_its_apstar_files(options, tmp_path):
    simulate_download(tmp_path / "d", 24, seed=5, release="dr19", spectra="apStar", quiet=True)
    tables = tmp_path / "d/spectro/apogee/redux/1.3/summary"
    spectra = tmp_path / "d/spectro/apogee/redux"
    path = tables / "allStar-1.3-apo25m.fits"
    with pytest.warns(SpfastWarning, match="its log g are Doppler's, not ASPCAP's"):
        survey = ingest(path, spectra, None, tmp_path / "s", wise=tmp_path / "d/allwise.fits", **options)
    assert survey.n_stars > 5
    assert survey.info["labels"] == "Doppler"
    assert survey.features_origin["spectra"] == ["apStar 1.3"]
    table = Table.read(path)
    error = dict(zip(table["apogee_id"], table["gaia_gerr"], strict=True))
    for star in survey.stars:
        assert star["phot_g_mean_mag_error"] == np.float32(error[star["APOGEE_ID"]])
        assert star["FILE"].endswith(f"-{star['APOGEE_ID']}-59830.fits")
    with pytest.warns(SpfastWarning, match="Doppler"), pytest.raises(BadInputError, match=r"has no w1_mag and w2_mag"):
        ingest(path, spectra, None, tmp_path / "t", **options)
    # astra's summary goes with them as well, by the stars' names.
    other = ingest(tmp_path / "d" / SUMMARY, spectra, None, tmp_path / "u", **options)
    assert other.features_origin["spectra"] == ["apStar 1.3"]
    assert "labels" not in other.info
