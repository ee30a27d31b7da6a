"""`spfast query` against a real TAP server: GAVO DaCHS with tables under the names that Gaia's archive gives them.

It writes into the server's own folder and database, so it runs only where that was asked for (Debian, as root)::

    apt-get install gavodachs2-server; pg_ctlcluster 15 main start; dpkg --configure -a
    SPFAST_DACHS=1 pytest -s tests/archive/test_real_server.py
"""

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from spfast.archive.query import query_archive, read_wanted
from spfast.archive.releases import GAIA
from spfast.data.gaia import WISE_COLUMNS, read_gaia
from spfast.simulate.files import gaia_table
from spfast.simulate.stars import draw_chunk

pytestmark = [
    pytest.mark.skipif(not os.environ.get("SPFAST_DACHS"), reason="SPFAST_DACHS=1 is not set: it writes to /var/gavo"),
    pytest.mark.skipif(shutil.which("dachs") is None, reason="GAVO DaCHS is not installed (gavodachs2-server)"),
]
INPUTS, URL = Path("/var/gavo/inputs"), "http://localhost:8080/tap"
N_CHUNKS = int(os.environ.get("SPFAST_DACHS_CHUNKS", "12"))  # of 256 stars
_KINDS = {"i": "bigint", "f": "double precision", "U": "text"}


def run_as(user, *words, **options):
    return subprocess.run(["runuser", "-u", user, "--", *words], check=True, capture_output=True, text=True, **options)


def write_schema(schema, tables):
    """A resource descriptor with the tables of a schema, and their rows; imported into the database."""
    folder = INPUTS / schema
    (folder / "data").mkdir(parents=True, exist_ok=True)
    parts = []
    for name, table in tables.items():
        columns = "".join(
            f'<column name="{column}" type="{_KINDS[table[column].dtype.kind]}" description="{column}"'
            f"{'>' if table[column].dtype.kind == 'i' else '/>'}"
            + ('<values nullLiteral="-1"/></column>' if table[column].dtype.kind == "i" else "")
            for column in table.colnames
        )
        index = "".join(f'<index columns="{column}"/>' for column in table.colnames if column.endswith("id"))
        parts.append(
            f'<table id="{name}" onDisk="True" adql="True"><meta name="description">mock</meta>{index}{columns}</table>'
            f'<data id="import_{name}"><sources>data/{name}.csv</sources><csvGrammar/>'
            f'<make table="{name}"><rowmaker idmaps="*"/></make></data>'
        )
        plain = table.copy()
        for column in plain.itercols():
            column.unit = None
        plain.write(folder / "data" / f"{name}.csv", format="ascii.csv", overwrite=True, fill_values=[("nan", "")])
    metas = {"creationDate": "2026-11-27T00:00:00Z", "title": schema, "description": "mock", "subject": "mock"}
    head = "".join(f'<meta name="{name}">{value}</meta>' for name, value in metas.items())
    (folder / "q.rd").write_text(f'<resource schema="{schema}">{head}{"".join(parts)}</resource>')
    shutil.chown(folder, "dachsroot", "gavo")
    run_as("dachsroot", "dachs", "imp", f"{schema}/q")


@pytest.fixture(scope="module")
def stars():
    chunks = [draw_chunk(77, chunk) for chunk in range(N_CHUNKS)]
    stars = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
    stars["random_index"] = np.arange(stars["ra"].size)
    stars["angular_distance"] = np.full(stars["ra"].size, 0.1)
    table = gaia_table(stars, "dr17", "dr3")
    table["ref_epoch"] = GAIA["dr3"].epoch
    return table


@pytest.fixture(scope="module")
def server(stars):
    begun = time.perf_counter()
    oid = np.arange(1, len(stars) + 1)
    with_wise = oid % 50 > 0
    tmass = stars["original_ext_source_id"]
    write_schema(
        "gaiadr3",
        {
            "gaia_source": stars[list(GAIA["dr3"].columns)],
            "tmass_psc_xsc_join": Table({"original_psc_source_id": tmass, "clean_tmass_psc_xsc_oid": oid}),
            "tmass_psc_xsc_best_neighbour": Table(
                {
                    "source_id": stars["source_id"],
                    "original_ext_source_id": tmass,
                    "clean_tmass_psc_xsc_oid": oid,
                    "angular_distance": stars["angular_distance"],
                }
            ),
            "allwise_best_neighbour": Table({"source_id": stars["source_id"], "allwise_oid": 10 * oid})[with_wise],
        },
    )
    wise = Table({"allwise_oid": 10 * oid, **{name: np.asarray(stars[name], "f8") for name in WISE_COLUMNS}})
    write_schema("gaiadr1", {"allwise_original_valid": wise[with_wise]})
    print(f"\nimport of {len(stars):,} stars: {time.perf_counter() - begun:.1f} s", file=sys.stderr)
    begun = time.perf_counter()
    process = subprocess.Popen(
        ["runuser", "-u", "gavo", "--", "dachs", "serve", "debug"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    for _ in range(120):
        try:
            urllib.request.urlopen(f"{URL}/capabilities", timeout=5).close()
            break
        except OSError:
            assert process.poll() is None, "dachs serve ended"
            time.sleep(0.5)
    print(f"server up: {time.perf_counter() - begun:.1f} s", file=sys.stderr)
    yield URL
    process.terminate()
    process.wait(20)


@pytest.mark.parametrize("by", ["source_id", "tmass_id"])
@pytest.mark.parametrize("size", [1000, 250])
def test_every_star_arrives(server, stars, tmp_path, by, size):
    begun = time.perf_counter()
    wanted = Table({"tmass_id": stars["original_ext_source_id"], "source_id": stars["source_id"]})
    wanted.write(tmp_path / "stars.fits")
    told, asked = [], read_wanted(tmp_path / "stars.fits", "dr3", by)
    query_archive(asked, tmp_path / "gaia.fits", server=server, size=size, quiet=True, say=told.append)
    seconds = time.perf_counter() - begun
    print(f"{len(stars):,} stars by {by}, {size} at a time: {seconds:.1f} s; told: {told}", file=sys.stderr)
    table = read_gaia(tmp_path / "gaia.fits")
    assert table.meta["gaia_release"] == "dr3"
    order = np.argsort(stars["source_id"])
    table.sort("source_id")
    np.testing.assert_array_equal(table["source_id"], stars["source_id"][order])
    for name in ("parallax", "ecl_lat", "nu_eff_used_in_astrometry"):
        np.testing.assert_allclose(table[name], stars[name][order], rtol=1e-6, err_msg=name)
    np.testing.assert_array_equal(
        np.char.add("2M", table["key"]), np.char.add("2M", stars["original_ext_source_id"][order])
    )
    assert np.count_nonzero(np.isnan(table["w1mpro"])) == len(stars) // 50
