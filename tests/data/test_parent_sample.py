"""From allStar and Gaia to the Parent Sample: repeated stars, missing values, cuts with their reasons, wrong places."""

import numpy as np
import pytest
from astropy.table import Table, vstack
from reference_continuum import feature_row
from small_survey import spectra, star_ids, write_aspcap_star, write_download

from spfast.config import Config
from spfast.data.apogee import spectrum_reader
from spfast.data.ingest import ingest
from spfast.data.survey import open_survey
from spfast.errors import BadInputError, SpfastWarning

N = 40
PIXELS = range(0, 8575, 3)


@pytest.fixture(scope="module")
def forty(tmp_path_factory):
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


def test_stars_of_untidy_tables_are_cut_each_for_its_reason(tmp_path, config):
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

    after = [["not variable", 9], ["J-K < 0.4 + 0.45 (BP-RP)", 8], ["H-W2 > -0.05", 7], ["spectrum readable", 5]]
    before = [["rows in allStar", 18], ["spectrum file", 17], ["one row a star", 15], ["0 < log g <= 2.2", 14]]
    # Too few stars have all bands for those of others to be estimated.
    estimated = ingest(*download, tmp_path / "estimated", config=config, quiet=True)
    assert estimated.info["cut_flow"] == [*before, ["Gaia source", 13], ["photometry", 10], *after]
    config = config.replace(sample={"missing_bands": "rejected"})
    survey = ingest(*download, tmp_path / "out", config=config, quiet=True)
    assert estimated.features.tobytes() == survey.features.tobytes()
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


def test_repeated_and_missing_identifiers_change_no_star(tmp_path, forty):
    allstar, gaia = (Table.read(forty[0] / f"{name}.fits") for name in ("allStar", "gaia"))
    plain = built(forty, tmp_path / "plain")
    again = allstar[:5].copy()
    again["SNR"] -= 1  # a star's other rows are worse, and other people's rows have no name
    nobody = allstar[5:7].copy()
    nobody["APOGEE_ID"], nobody["FILE"] = "", ""
    second = gaia[:5].copy()
    second["source_id"], second["phot_g_mean_mag"] = 77, second["phot_g_mean_mag"] + 1
    unnamed = gaia[:3].copy()
    unnamed["tmass_id"] = " "
    survey = built(forty, tmp_path / "s", vstack([nobody, again, allstar]), vstack([unnamed, second, gaia]))
    np.testing.assert_array_equal(survey.stars["source_id"], plain.stars["source_id"])
    np.testing.assert_array_equal(survey.features, plain.features)
    reasons = survey.rejected["reason"].tolist()
    assert reasons.count("one row a star") == 5
    assert reasons.count("spectrum file") == 2


def test_infinities_zero_and_negative_errors_are_cut_or_not_trained_on(tmp_path, forty):
    allstar, gaia = (Table.read(forty[0] / f"{name}.fits") for name in ("allStar", "gaia"))
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
    survey = built(forty, tmp_path / "s", allstar, gaia)
    kept = survey.stars["APOGEE_ID"].tolist()
    assert set(kept) == everyone - set(ids[:8])
    training = dict(zip(kept, survey.stars["training_set"], strict=True))
    assert not any(training[star] for star in ids[8:13])
    assert all(training[star] for star in ids[13:])
    assert np.isfinite(survey.features).all()
    assert np.isfinite(survey.feature_errors).all()
    survey.check_values()


def test_right_ascension_in_hours_is_refused(tmp_path, forty):
    allstar = Table.read(forty[0] / "allStar.fits")
    allstar["RA"] /= 15
    with pytest.raises(BadInputError, match=r"40 matched stars are .* deg apart .*; is ra in hours"):
        built(forty, tmp_path / "s", allstar)
    assert not (tmp_path / "s").exists()


def test_a_survey_of_one_star_is_built(tmp_path, forty):
    allstar = Table.read(forty[0] / "allStar.fits")[:1]
    survey = built(forty, tmp_path / "s", allstar)
    assert survey.n_stars == 1
    assert open_survey(tmp_path / "s").stars["APOGEE_ID"].tolist() == star_ids(1).tolist()


def test_wise_may_come_in_a_table_of_its_own(download, tmp_path, config):
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


def test_stars_whose_gaia_source_is_elsewhere_are_rejected_one_by_one(tmp_path, forty):
    gaia = Table.read(forty[0] / "gaia.fits")
    keys = np.array(gaia["tmass_id"])
    keys[:10] = np.roll(keys[:10], 1)
    gaia["tmass_id"] = keys
    with pytest.warns(SpfastWarning, match="10 of 40 matched stars are rejected"):
        survey = built(forty, tmp_path / "s", gaia=gaia)
    assert survey.stars["APOGEE_ID"].tolist() == star_ids(N)[10:].tolist()
    assert set(survey.rejected["reason"]) == {"place"}


def test_stars_without_a_name_are_rejected_and_never_one_star(tmp_path, forty):
    allstar = Table.read(forty[0] / "allStar.fits")
    allstar["APOGEE_ID"][:3] = ["", "-9999", "nan"]
    survey = built(forty, tmp_path / "s", allstar)
    assert survey.n_stars == N - 3
    assert survey.rejected["reason"].tolist() == ["name"] * 3


def test_a_gaia_table_of_other_stars_is_refused_with_a_key_of_either_side(tmp_path, forty):
    gaia = Table.read(forty[0] / "gaia.fits")
    gaia["tmass_id"] = [f"77{i:06d}+1000000" for i in range(N)]
    with pytest.raises(
        BadInputError, match=rf"'Gaia source'.*e\.g\. '{star_ids(1)[0][:6]}.*the other '77000000\+1000000'"
    ):
        built(forty, tmp_path / "s", gaia=gaia)


def test_spectra_of_another_release_than_allstar_names_are_warned_of(tmp_path, forty):
    allstar = Table.read(forty[0] / "allStar.fits")
    allstar["FILE"] = [str(name).replace("-dr17-", "-r12-") for name in allstar["FILE"]]
    with pytest.warns(SpfastWarning, match="40 of 40 spectra are not of the release .* is of dr17, allStar of r12"):
        assert built(forty, tmp_path / "s", allstar).n_stars == N


def test_a_row_whose_own_file_is_absent_does_not_get_the_file_of_the_stars_other_row(tmp_path, forty):
    allstar = Table.read(forty[0] / "allStar.fits")
    other = allstar[:1].copy()  # the same star seen from the south with better S/N, but not downloaded
    other["TELESCOPE"], other["SNR"], other["TEFF"] = "lco25m", other["SNR"] + 100, 3333.0
    survey = built(forty, tmp_path / "s", vstack([other, allstar]))
    assert survey.n_stars == N
    assert survey.stars["TELESCOPE"][0] == allstar["TELESCOPE"][0] == "apo25m"
    assert survey.stars["TEFF"][0] == allstar["TEFF"][0]
    assert survey.rejected["reason"].tolist() == ["spectrum file"]


def test_a_variability_flag_that_gaia_never_writes_is_refused(tmp_path, forty):
    gaia = Table.read(forty[0] / "gaia.fits")
    flags = ["NOT_AVAILABLE"] * N
    for known in ("constant", "", "CONSTANT"):
        gaia["phot_variable_flag"] = [known, *flags[1:]]
        assert built(forty, tmp_path / f"s{known}", gaia=gaia).n_stars == N
    for unknown in ("True", "V", "3", "no"):
        gaia["phot_variable_flag"] = [*flags[:4], unknown, *flags[5:]]
        with pytest.raises(BadInputError, match=f"phot_variable_flag is '{unknown.upper()}' for {star_ids(5)[4][:6]}"):
            built(forty, tmp_path / f"s{unknown}", gaia=gaia)


def test_a_survey_says_what_its_column_aspcapflag_holds(tmp_path, forty):
    allstar = Table.read(forty[0] / "allStar.fits")
    assert "aspcapflag_bits" not in built(forty, tmp_path / "dr17").info
    allstar.rename_column("ASPCAPFLAG", "result_flags")
    allstar["alpha_m_atm"], allstar["result_flags"] = 0.0, 1 << 17
    survey = built(forty, tmp_path / "dr19", allstar)
    assert open_survey(survey.path).info["aspcapflag_bits"] == "result_flags"
    assert (survey.stars["ASPCAPFLAG"] == 1 << 17).all()
