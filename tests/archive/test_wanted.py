"""`spfast wanted`: paths, addresses and identifiers of the giants of allStar tables of several releases."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from small_survey import star_ids, tables, tree_path, write_download

from spfast.archive.wanted import find_wanted
from spfast.cli import main
from spfast.data.tables.read import read_table
from spfast.errors import BadInputError

N = 12


@pytest.fixture
def allstar():
    labels = np.full((N, 3), 1.5)
    return tables(labels)[0]


def write(tmp_path, table, name="allStar.fits"):
    table.write(tmp_path / name, overwrite=True)
    return tmp_path / name


def astra(n=N, **columns):
    """A summary of SDSS-V: APOGEE's table is the second."""
    table = Table({"sdss_id": 54392544 + np.arange(n), "sdss4_apogee_id": star_ids(n), "obj": star_ids(n)})
    table["telescope"], table["release"], table["apred"] = "apo25m", "sdss5", "1.3"
    table["v_astra"], table["healpix"], table["snr"] = "0.6.0", np.arange(n), np.arange(n, dtype="f4")
    table["logg"] = np.full(n, 1.5, "f4")
    for band in "jhk":
        table[f"{band}_mag"], table[f"e_{band}_mag"] = np.full(n, 9.0, "f4"), np.full(n, 0.02, "f4")
    table["gaia_dr2_source_id"], table["gaia_dr3_source_id"] = 10 + np.arange(n), 10**18 + np.arange(n)
    for name, values in columns.items():
        table[name] = values
    return table


def write_astra(path, table):
    apogee = fits.BinTableHDU(table)
    apogee.header["INSTRMNT"] = "APOGEE"
    boss = fits.BinTableHDU(table[:0])
    boss.header["INSTRMNT"] = "BOSS"
    fits.HDUList([fits.PrimaryHDU(), boss, apogee]).writeto(path)
    return path


@pytest.mark.parametrize("kind", ["aspcapStar", "apStar"])
def test_paths_are_where_a_mirror_of_the_archive_has_the_files(tmp_path, kind):
    allstar, spectra, _ = write_download(tmp_path, N, "dr17", kind)
    table = read_table(allstar)  # aspcapStar's table names the combined spectra all the same
    table["FILE"] = [name.replace("aspcapStar", "apStar") for name in table["FILE"]]
    wanted = find_wanted(write(tmp_path, table, "named.fits"), spectra=kind)
    assert (wanted.release.name, wanted.kind, len(wanted.stars)) == ("dr17", kind, N)
    for path in wanted.stars["path"]:
        assert (spectra / path).is_file()
    assert wanted.stars.meta["GAIAREL"] == "dr3"
    assert (wanted.stars["source_id"] == -1).all()


def test_one_metre_telescope_and_releases_before_dr16(tmp_path, allstar):
    allstar["FILE"] = [f"apStar-r8-{name}.fits" for name in allstar["APOGEE_ID"]]
    allstar["FILE"][3] = "apStar-r8-VESTA.fits"
    allstar["LOCATION_ID"][3], allstar["FIELD"][3] = 1, "hip"
    paths = find_wanted(write(tmp_path, allstar)).stars["path"]
    assert paths[0] == f"dr14/{tree_path('dr14', 'aspcapStar', allstar['APOGEE_ID'][0])}"
    assert paths[3] == "dr14/apogee/spectro/redux/r8/stars/l31c/l31c.2/hip/aspcapStar-r8-l31c.2-VESTA.fits"
    allstar.remove_column("TELESCOPE")
    paths = find_wanted(write(tmp_path, allstar), spectra="apStar").stars["path"]
    assert paths[0] == f"dr14/{tree_path('dr14', 'apStar', allstar['APOGEE_ID'][0])}"
    assert paths[3] == "dr14/apogee/spectro/redux/r8/stars/apo1m/hip/apStar-r8-VESTA.fits"
    assert find_wanted(write(tmp_path, allstar), release="dr12").stars["path"][0] == (
        f"dr12/apogee/spectro/redux/r5/stars/l25_6d/v603/4321/aspcapStar-r5-v603-{allstar['APOGEE_ID'][0]}.fits"
    )


def test_paths_do_not_depend_on_how_a_table_writes_its_columns(tmp_path, allstar):
    allstar["FILE"] = [f"apStar-r8-{name}.fits" for name in allstar["APOGEE_ID"]]
    path = write(tmp_path, allstar)
    plain = {kind: find_wanted(path, spectra=kind).stars["path"].tolist() for kind in ("aspcapStar", "apStar")}
    allstar["TELESCOPE"] = np.char.upper(allstar["TELESCOPE"])
    allstar["LOCATION_ID"] = allstar["LOCATION_ID"].astype(float)
    allstar["APOGEE_ID"] = [name.removeprefix("2M") for name in allstar["APOGEE_ID"]]
    allstar.remove_column("FILE")
    write(tmp_path, allstar)
    for kind, paths in plain.items():
        assert find_wanted(path, release="dr14", spectra=kind).stars["path"].tolist() == paths
    allstar.remove_column("LOCATION_ID")
    with pytest.raises(
        BadInputError, match=r"after the cut 'path of a spectrum', e.g. 2M.*: no part of a path: its place "
    ):
        find_wanted(write(tmp_path, allstar), release="dr14")


def test_summaries_of_sdss5_name_mwmstar_by_sdss_id(tmp_path):
    table = astra()
    table = Table(np.concatenate([table.as_array(), table.as_array()[:2]]))  # a star has a row for each telescope
    path = write_astra(tmp_path / "astraAllStarASPCAP-0.6.0.fits", table)
    wanted = find_wanted(path)
    assert (wanted.release.name, wanted.kind, len(wanted.stars)) == ("dr19", "mwmStar", N)
    assert wanted.stars["path"][0] == "dr19/spectro/astra/0.6.0/spectra/star/25/44/mwmStar-0.6.0-54392544.fits"
    assert wanted.stars["source_id"][0] == 10**18
    assert find_wanted(path, gaia="dr2").stars["source_id"][0] == 10
    newer = write_astra(tmp_path / "summary.fits", astra(v_astra=np.full(N, 8001), apred="1.5"))
    assert find_wanted(newer).stars["path"][0].startswith("dr20/spectro/astra/0.8.1/spectra/star/25/44/mwmStar-0.8.1-")
    with pytest.raises(BadInputError, match="spectra aspcapStar cannot be named from this table of dr20; expected mwm"):
        find_wanted(newer, spectra="aspcapStar")


def test_tables_of_one_telescope_since_dr19_name_their_files(tmp_path):
    table = astra()["sdss_id", "telescope", "snr", "healpix"]
    table["apogee_id"], table["rv_logg"] = star_ids(N), 1.5
    table["apred_vers"], table["healpix"] = "1.3", 12640
    table["file"] = [f"apStar-1.3-apo25m-{name}-59830.fits" for name in star_ids(N)]
    for band in "jhk":
        table[f"{band}mag"], table[f"{band}err"] = 9.0, 0.02
    table["telescope"][5] = "apo1m"
    wanted = find_wanted(write(tmp_path, table, "allStar-1.3-apo25m.fits"))
    assert (wanted.kind, len(wanted.stars)) == ("apStar", N - 1)
    assert wanted.stars["path"][0] == (
        f"dr19/spectro/apogee/redux/1.3/stars/apo25m/12/12640/apStar-1.3-apo25m-{star_ids(1)[0]}-59830.fits"
    )


def test_giants_alone_unless_all_are_wanted_and_each_cut_is_counted(tmp_path, allstar, capsys):
    allstar["LOGG"][:4] = [3.0, 2.2, -9999.0, 0.0]
    allstar = Table(np.concatenate([allstar.as_array(), allstar.as_array()[5:7]]))
    path = write(tmp_path, allstar)
    assert main(["wanted", str(path), "-o", str(tmp_path / "wanted")]) == 0
    said = capsys.readouterr().out
    assert [line.split()[0] for line in said.splitlines()[:4]] == ["14", "12", "9", "9"]
    assert "14  rows in allStar\n        12  one row a star\n         9  0 < log g <= 2.2\n" in said
    assert "9 spectra, aspcapStar of dr17; 0 stars have a source_id of Gaia DR3" in said
    assert "rsync://dtn.sdss.org/ sas/" in said
    assert f"spfast query {tmp_path / 'wanted'} -o gaia.fits" in said
    paths = (tmp_path / "wanted" / "paths.txt").read_text().split()
    assert len(paths) == 9
    assert (tmp_path / "wanted" / "urls.txt").read_text().split() == [f"https://data.sdss.org/sas/{p}" for p in paths]
    assert "tap_upload.wanted AS m JOIN gaiadr3.tmass_psc_xsc_join" in (tmp_path / "wanted" / "query.adql").read_text()
    assert len(read_table(tmp_path / "wanted" / "stars.fits")) == 9
    assert main(["wanted", str(path), "-o", str(tmp_path / "wanted")]) == 2
    assert "already exists" in capsys.readouterr().err
    assert main(["wanted", str(path), "-o", str(tmp_path / "wanted"), "--all", "--overwrite", "--quiet"]) == 0
    assert len(read_table(tmp_path / "wanted" / "stars.fits")) == 12


def test_names_that_lead_out_of_the_archive_are_left_out(tmp_path, allstar):
    allstar["FIELD"] = allstar["FIELD"].astype("U20")
    allstar["FIELD"][:4] = ["../..", "a b", "$(x)", ".."]
    wanted = find_wanted(write(tmp_path, allstar))
    assert len(wanted.stars) == N - 4
    assert wanted.flow.rejected()["reason"].tolist() == ["path of a spectrum"] * 4


def test_tables_that_do_not_say_enough_are_refused(tmp_path, allstar):
    nameless = allstar.copy()
    nameless.remove_column("FILE")
    with pytest.raises(BadInputError, match=r"allStar.fits: does not say its version; .*--release"):
        find_wanted(write(tmp_path, nameless))
    assert len(find_wanted(write(tmp_path, nameless), release="dr16").stars) == N
    nameless.remove_column("LOGG")
    with pytest.raises(BadInputError, match=r"no column LOGG \(or RV_LOGG\)"):
        find_wanted(write(tmp_path, nameless))
    allstar["LOGG"] = 4.5
    with pytest.raises(BadInputError, match="no star is wanted"):
        find_wanted(write(tmp_path, allstar))
