"""`spfast query` against a small TAP server with each fault of real ones: all stars arrive, or a run goes on later."""

import sys

import numpy as np
import pytest
from archive.tap_server import serving
from astropy.table import Table
from small_survey import tables, write_download

from spfast.archive.query import CHUNK, chunk_folder, query_archive, read_wanted
from spfast.cli import main
from spfast.cli import query as cli_query
from spfast.data.gaia import read_gaia
from spfast.data.ingest import ingest
from spfast.data.tables.read import read_table
from spfast.errors import BadInputError, SpfastWarning

pytest.importorskip("pyvo")
N = 130


@pytest.fixture(scope="module")
def gaia():
    table = tables(np.full((N, 3), 1.0))[1]
    table["ref_epoch"], table["nu_eff_used_in_astrometry"] = 2016.0, np.full(N, 1.4)
    table["angular_distance"] = 0.1
    return table


@pytest.fixture
def server(gaia):
    with serving(gaia) as server:
        yield server


@pytest.fixture
def stars(tmp_path, gaia):
    gaia["tmass_id", "source_id"].write(tmp_path / "stars.fits")
    return tmp_path / "stars.fits"


def ask(stars, tmp_path, server, by=None, size=50, **options):
    told = []
    asked = read_wanted(stars, "dr3", by)
    options = {"server": server.url, "size": size, "quiet": True, "say": told.append, "first_wait": 0.01} | options
    return query_archive(asked, tmp_path / "gaia.fits", **options), told


def assert_all(table, gaia):
    order = np.argsort(gaia["tmass_id"])
    for name in ("tmass_id", "source_id", "parallax", "phot_variable_flag", "w1mpro"):
        np.testing.assert_array_equal(table[name], gaia[name][order], err_msg=name)


@pytest.mark.parametrize("by", ["source_id", "tmass_id"])
def test_every_star_arrives_by_numbers_and_by_names(stars, tmp_path, server, gaia, by):
    table, _ = ask(stars, tmp_path, server, by)
    assert_all(table, gaia)
    assert server.n_jobs == 3
    assert sorted(server.deleted) == [1, 2, 3]
    assert ("source_id IN (" in server.queries[0]) == (by == "source_id")
    written = read_gaia(tmp_path / "gaia.fits")
    assert written.meta["gaia_release"] == "dr3"
    assert len(written) == N
    assert np.isnan(written["pseudocolour"]).all()
    assert not chunk_folder(tmp_path / "gaia.fits").exists()


FAULTS = {
    "quota": [("create", 500, "DB quota exceeded for user anonymous (Currently 10 GB)")],
    "quota of a job": [("job", "Disk quota exceeded, please try again later")],
    "archive is down": [("create", 503, "down for maintenance")] * 3,
    "too many requests": [("create", 429, "slow down")],
    "fault while a job is looked at": [("poll", 500, "null")],
    "connection dropped at the start": [("drop", "create")],
    "connection dropped while waiting": [("drop", "poll")],
    "connection dropped at the result": [("drop", "result")],
    "half an answer": [("half",)],
    "order to run lost": [("lost",)],
    "slow job": [("slow", 3)],
    "job forgotten": [("slow", 2), ("poll", 404, "no such job")],
    "result gone": [("result", 410, "results are kept for 3 days")],
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_passes_loses_no_star(stars, tmp_path, server, gaia, name):
    server.faults = list(FAULTS[name])
    table, told = ask(stars, tmp_path, server)
    assert_all(table, gaia)
    assert server.faults == []
    for fault in FAULTS[name]:
        words = [word for word in fault if isinstance(word, str) and " " in word]
        assert all(any(word in line for line in told) for word in words), told


def test_a_job_that_is_still_there_is_not_asked_for_again(stars, tmp_path, server, gaia):
    server.faults = [("slow", 1), ("drop", "poll"), ("drop", "result")]
    table, told = ask(stars, tmp_path, server, size=N)
    assert_all(table, gaia)
    assert server.n_jobs == 1
    assert any(line.startswith("going on with the job http") for line in told)


@pytest.mark.parametrize("tells", [True, False])
def test_a_cut_answer_is_noticed_and_asked_for_in_parts(stars, tmp_path, server, gaia, tells):
    server.limit, server.tells = 50, tells
    table, told = ask(stars, tmp_path, server, size=N)
    assert_all(table, gaia)
    assert ("(OVERFLOW)" in told[0]) == tells
    assert "asking again in two halves" in told[0]


def test_a_query_that_takes_too_long_is_asked_in_parts(stars, tmp_path, server, gaia):
    server.slower_than = 40
    table, told = ask(stars, tmp_path, server, size=N)
    assert_all(table, gaia)
    assert "timed out after 60 s" in told[0]
    server.slower_than, server.faults = None, [("create", 408, "Request Timeout")]
    assert_all(ask(stars, tmp_path, server, size=N, overwrite=True)[0], gaia)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (("create", 400, "Cannot parse query: column x1mpro"), "HTTP 400: Error Cannot parse query: column x1mpro"),
        (("job", "Column not found: w.w1mpro"), "the job ended as ERROR: Column not found: w.w1mpro"),
        (("create", 401, "log in first"), "HTTP 401: Error log in first"),
        (("create", 200, "Welcome"), "/tap/async is no job of a TAP server, it says: a list of jobs"),
    ],
)
def test_a_query_that_is_refused_ends_the_run_with_the_words_of_the_server(stars, tmp_path, server, fault, words):
    server.faults = [fault]
    with pytest.raises(BadInputError, match=words):
        ask(stars, tmp_path, server, tries=1)
    assert server.n_jobs <= 1


def renamed(rows):
    rows.rename_columns(rows.colnames, [name.upper() for name in rows.colnames])
    return rows[rows.colnames[::-1]]


def as_text(rows):
    rows["source_id"] = [str(number) for number in rows["source_id"]]
    return rows


def as_double(rows):
    rows["source_id"] = rows["source_id"].astype(float)
    return rows


def of_another_star(rows):
    rows["source_id"][3], rows["tmass_id"][3] = 42, "00000042+0000042"
    return rows


@pytest.mark.parametrize("edit", [renamed, as_text])
def test_an_answer_has_the_names_and_types_that_were_asked_for(stars, tmp_path, server, gaia, edit):
    server.edit = edit
    assert_all(ask(stars, tmp_path, server, "tmass_id")[0], gaia)
    assert_all(ask(stars, tmp_path, server, "source_id", overwrite=True)[0], gaia)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (as_double, "answer's column source_id is float64, expected 64-bit integers"),
        (lambda rows: rows[rows.colnames[:-3]], r"the answer lacks 3 of 33 columns, first w1mpro_error \(it has"),
        (of_another_star, r"1 rows of stars that were not asked for, first tmass_id 00000042\+0000042; try another"),
    ],
)
def test_an_answer_of_other_columns_or_stars_is_refused_and_not_kept(stars, tmp_path, server, edit, words):
    server.edit = edit
    with pytest.raises(BadInputError, match=words):
        ask(stars, tmp_path, server, "tmass_id")
    assert not list(chunk_folder(tmp_path / "gaia.fits").glob("*.fits"))


def test_a_star_known_by_two_names_is_found_by_both(stars, tmp_path, server, gaia):
    table = read_table(stars)["tmass_id", "source_id"]
    for name in ("", "AP17120241+2700000"):
        table.add_row([name, gaia["source_id"][5]])
    table[::-1].write(tmp_path / "two.fits")
    found, _ = ask(tmp_path / "two.fits", tmp_path, server)
    named = found[found["source_id"] == gaia["source_id"][5]]
    assert sorted(named["tmass_id"]) == [gaia["tmass_id"][5], "AP17120241+2700000"]
    assert_all(found[found["tmass_id"] != "AP17120241+2700000"], gaia)


def test_a_name_that_is_too_long_is_no_other_stars(stars, tmp_path, server, gaia):
    Table({"tmass_id": [gaia["tmass_id"][0] + "1", gaia["tmass_id"][1]]}).write(tmp_path / "long.fits")
    with pytest.warns(SpfastWarning, match="no source for 1 of 2 stars"):
        assert list(ask(tmp_path / "long.fits", tmp_path, server)[0]["tmass_id"]) == [gaia["tmass_id"][1]]


def test_identifiers_of_another_release_are_not_asked_for(tmp_path, gaia):
    text = [f"Gaia DR2 {number}" for number in gaia["source_id"]]
    Table({"source_id": text}).write(tmp_path / "text.fits")
    Table({"source_id": gaia["source_id"], "ref_epoch": np.full(N, 2015.5)}).write(tmp_path / "epoch.fits")
    for name, reason in (("text", "its designation names it"), ("epoch", "its ref_epoch is 2015.5")):
        assert read_wanted(tmp_path / f"{name}.fits").release.name == "dr2"
        with pytest.raises(BadInputError, match=f"to ask Gaia DR3 for .*it is of Gaia DR2: {reason}"):
            read_wanted(tmp_path / f"{name}.fits", "dr3")


def test_a_run_goes_on_where_one_ended(stars, tmp_path, server, gaia):
    server.faults = [("slow", 0), ("slow", 0), *[("create", 500, "down")] * 2]
    with pytest.raises(BadInputError, match=r"HTTP 500: Error down; what has arrived is kept in .*gaia.fits.chunks"):
        ask(stars, tmp_path, server, tries=2)
    assert len(list(chunk_folder(tmp_path / "gaia.fits").glob("*.fits"))) == 2
    first, _ = sorted(chunk_folder(tmp_path / "gaia.fits").glob("*.fits"))
    first.write_bytes(first.read_bytes()[:4000])  # damaged since
    (first.parent / "mine.txt").touch()
    table, told = ask(stars, tmp_path, server)
    assert_all(table, gaia)
    assert server.n_jobs == 4
    assert told[0].startswith(f"{first}: ")
    assert told[0].endswith("; asking again")
    assert told[-1] == "1 of 3 chunks were there already"
    assert [path.name for path in first.parent.iterdir()] == ["mine.txt"]


def test_ctrl_c_keeps_whole_chunks_and_the_address_of_the_job(stars, tmp_path, server, gaia, monkeypatch):
    class Enough:
        def __call__(self, seconds):
            raise KeyboardInterrupt

    server.faults = [("slow", 0), ("slow", 3)]  # an order to run is answered by a look at the job
    monkeypatch.setattr("spfast.archive.tap.time.sleep", Enough())
    with pytest.raises(KeyboardInterrupt):
        ask(stars, tmp_path, server)
    folder = chunk_folder(tmp_path / "gaia.fits")
    assert sorted(path.suffix for path in folder.iterdir()) == [".fits", ".job"]
    monkeypatch.undo()
    table, told = ask(stars, tmp_path, server)
    assert_all(table, gaia)
    assert server.n_jobs == 3
    assert told[0].startswith("going on with the job")


def test_stars_that_the_archive_lacks_are_counted(stars, tmp_path, server, gaia):
    server.table = gaia[:-3]
    with pytest.warns(SpfastWarning, match="Gaia DR3 has no source for 3 of 130 stars, first source_id 1000"):
        table, _ = ask(stars, tmp_path, server)
    assert len(table) == N - 3
    server.table = gaia[:0]
    with pytest.raises(BadInputError, match="has none of the 130 stars; is it Gaia DR3's"):
        ask(stars, tmp_path, server, overwrite=True)


def test_the_command_prints_the_query_and_writes_what_ingest_takes(stars, tmp_path, server, gaia, capsys):
    words = ["query", str(stars), "--release", "dr3", "--chunk", "100"]
    assert main([*words, "--print"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("SELECT ") == printed.count(";\n") == 2
    assert "FROM gaiadr3.gaia_source AS g LEFT OUTER JOIN" in printed
    out = tmp_path / "gaia.vot"
    assert main([*words, "-o", str(out), "--server", server.url, "--quiet"]) == 0
    table = read_table(out)
    assert_all(table, gaia)
    assert (table.meta["GAIAREL"], int(table.meta["NASKED"])) == ("dr3", N)
    assert main([*words, "-o", str(out), "--server", server.url]) == 2
    assert "already exists" in capsys.readouterr().err
    assert main(words) == 2
    assert "-o: name the table to write, or give --print" in capsys.readouterr().err


def test_from_allstar_to_a_survey(tmp_path):
    allstar, spectra, gaia = write_download(tmp_path, 40)
    table = Table.read(gaia)
    table["ref_epoch"] = 2016.0
    gaia.unlink()
    with serving(table) as server:
        assert main(["wanted", str(allstar), "-o", str(tmp_path / "wanted"), "--release", "dr17", "--quiet"]) == 0
        words = ["query", str(tmp_path / "wanted"), "-o", str(gaia), "--server", server.url, "--quiet"]
        assert main(words) == 0
    survey = ingest(allstar, spectra, gaia, tmp_path / "survey", threads=1, quiet=True)
    assert (survey.n_stars, survey.info["gaia_release"]) == (40, "dr3")


def test_the_help_names_the_chunk_that_is_used():
    assert cli_query.CHUNK == CHUNK


def test_without_pyvo_the_extra_is_named(stars, tmp_path, server, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvo", None)
    with pytest.raises(BadInputError, match=r"query needs pyvo; install it \(pip install 'spfast\[query\]'\)"):
        ask(stars, tmp_path, server)


def test_what_cannot_be_asked_is_refused(stars, tmp_path, server):
    with pytest.raises(BadInputError, match="does not say which release of Gaia to ask; give --release"):
        read_wanted(stars)
    with pytest.raises(BadInputError, match="Gaia DR4: its columns"):
        read_wanted(stars, "dr4")
    with pytest.raises(BadInputError, match="chunk of 5000 stars: expected 1 to 1500"):
        ask(stars, tmp_path, server, size=5000)
    with pytest.raises(BadInputError, match=r"server 'gea.esac.esa.int/tap': expected an address that begins with"):
        query_archive(read_wanted(stars, "dr3"), tmp_path / "gaia.fits", server="gea.esac.esa.int/tap")
    chunk_folder(tmp_path / "gaia.fits").touch()
    with pytest.raises(BadInputError, match=r"gaia.fits.chunks: cannot be written \(File exists\)"):
        ask(stars, tmp_path, server)
    read_table(stars)["tmass_id",].write(tmp_path / "names.fits")
    assert read_wanted(tmp_path / "names.fits", "dr2").by == "tmass_id"
    with pytest.raises(BadInputError, match="has no source_id to ask Gaia DR2 for"):
        read_wanted(tmp_path / "names.fits", "dr2", "source_id")
