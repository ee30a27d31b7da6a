"""`spfast query`: Gaia's archive, or another TAP server with its tables, asked for stars chunk by chunk.

A chunk is one asynchronous job of a thousand stars. What has arrived is kept in a folder beside the output, chunk by
chunk, and the address of a job that is under way as well: a run that was interrupted goes on from there. An answer is
kept only if it is of the columns and the stars that were asked for.
"""

import contextlib
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.table import Table, join, unique, vstack

from spfast.archive.adql import UPLOAD, columns, id_source, statement, upload_source
from spfast.archive.releases import GAIA, GaiaRelease, gaia_release
from spfast.archive.tap import FIRST_WAIT, Fault, TapClient
from spfast.archive.wanted import STARS
from spfast.data.gaia_release import RELEASE_CARD, TELLING_COLUMNS, find_release
from spfast.data.identifiers import source_ids, tmass_key
from spfast.data.tables.read import read_columns_and_meta, read_table
from spfast.data.tables.values import column_values
from spfast.data.tables.write import check_output, write_table
from spfast.errors import BadInputError, SpfastWarning
from spfast.files import writing
from spfast.progress import Progress

__all__ = ["CHUNK", "SERVER", "Asked", "chunk_folder", "query_archive", "read_wanted", "statements"]

#: ESA's archive; mirrors with the same tables: gaia.ari.uni-heidelberg.de/tap, gaia.aip.de/tap.
SERVER = "https://gea.esac.esa.int/tap-server/tap"
#: Stars of a chunk: longer lists of numbers time out, shorter ones cost more waiting.
CHUNK, CHUNK_MAX = 1000, 1500
#: A server may give several rows a star, but not so many.
_ROWS_A_STAR = 10
#: Servers cut answers at round numbers of rows; not all of them say so.
_ROUND = 50
#: What a run writes into the folder of chunks.
_CHUNK_FILES = "[0-9]" * 6 + "-*.fits*"


class Asked(NamedTuple):
    """Whom to ask for.

    Attributes
    ----------
    tmass_id : str array, shape (n_stars,)
        2MASS names without their prefix, "" if none.
    source_id : int64 array, shape (n_stars,)
        Of the release, -1 if none.
    release : GaiaRelease
    by : str
        "source_id", or "tmass_id": by the clean join with an uploaded list of names.
    """

    tmass_id: np.ndarray
    source_id: np.ndarray
    release: GaiaRelease
    by: str

    @property
    def keys(self) -> np.ndarray:
        """What the stars are asked for by, each once, in order (int64 or str array)."""
        values = getattr(self, self.by)
        values = values[values > 0] if self.by == "source_id" else values[values != ""]
        return np.unique(values)


def read_wanted(path: str | os.PathLike, release: str | None = None, by: str | None = None) -> Asked:
    """Read the folder that `spfast wanted` wrote, or any table of identifiers.

    Parameters
    ----------
    path : path-like
        Folder, or a table with ``source_id`` (or ``gaia_dr3_source_id``, ...), ``tmass_id`` or ``APOGEE_ID``.
    release : str, optional
        Of Gaia; by default the one that the table names.
    by : str, optional
        "source_id" or "tmass_id"; by default the former where the table has such numbers.

    Returns
    -------
    Asked

    Raises
    ------
    BadInputError
        If the table has neither, or does not tell the release.
    """
    path = Path(path)
    path = path / STARS if path.is_dir() else path
    own = {f"source_id {name}": (f"gaia_{name}_source_id", f"gaia{name}_source_id") for name in GAIA}
    aliases = {"source_id": ("source_id",), "tmass_id": ("tmass_id", "APOGEE_ID", "sdss4_apogee_id"), **own}
    columns, names, meta = read_columns_and_meta(path, aliases | {name: (name,) for name in TELLING_COLUMNS})
    told = {name: columns.pop(name) for name in TELLING_COLUMNS if name in columns}
    if "source_id" in columns and columns["source_id"].dtype.kind in "SUO":  # as text it may name the release
        told.setdefault("designation", columns["source_id"])
    # Names of columns do not count: a table may have identifiers of several releases.
    of_table = find_release(told, [], meta, str(path))
    release = of_table.name if release is None else release
    if release is None:
        raise BadInputError(f"{path}: does not say which release of Gaia to ask; give --release ({', '.join(GAIA)})")
    found = gaia_release(release)
    found.need("columns", "wise")
    n_rows = len(next(iter(columns.values()), ()))
    ids, keys = np.full(n_rows, -1, dtype=np.int64), np.full(n_rows, "", dtype="U1")
    for name in (f"source_id {release}", "source_id"):
        # A plain source_id counts unless the table is known to be of another release.
        if name in columns and (name != "source_id" or of_table.name in (None, release)):
            ids = source_ids(columns[name], f"{path}: column {columns[name].name}")
            break
    if "tmass_id" in columns:
        keys = tmass_key(column_values(columns["tmass_id"], "U", f"{path}: column {columns['tmass_id'].name}"))
    if by is None:
        by = "source_id" if np.any(ids > 0) else "tmass_id"
    asked = Asked(keys, ids, found, by)
    if not asked.keys.size:
        other = f"; it is of {of_table.title}: {of_table.reason}" if of_table.name not in (None, release) else ""
        raise BadInputError(
            f"{path}: has no {by} to ask {found.title} for (its columns: {', '.join(names[:8])}{other}); expected "
            "source_id, tmass_id or APOGEE_ID: make it with `spfast wanted`"
        )
    return asked


def statements(asked: Asked, size: int = CHUNK) -> Iterator[str]:
    """Yield the ADQL of each chunk; by names it is the same for all, as names are uploaded."""
    for keys in _chunks(asked, size):
        yield _adql(asked, keys)


def chunk_folder(out: str | os.PathLike) -> Path:
    """Where the chunks are kept until the output is whole."""
    out = Path(out)
    return out.with_name(f"{out.name}.chunks")


def query_archive(
    asked: Asked,
    out: str | os.PathLike,
    *,
    server: str = SERVER,
    size: int = CHUNK,
    tries: int = 7,
    overwrite: bool = False,
    quiet: bool = False,
    say: Callable[[str], None] | None = None,
    first_wait: float = FIRST_WAIT,
) -> Table:
    """Ask for all stars and write the table that `spfast ingest` takes.

    Parameters
    ----------
    asked : Asked
    out : path-like
        The table to write.
    server : str
        Address of a TAP server with the archive's tables.
    size : int
        Stars of a chunk.
    tries : int
        How often a chunk is asked for before the run ends; what has arrived is kept.
    overwrite : bool
    quiet : bool
        No progress bar.
    say : callable, optional
        Called with a line of text whenever there is something to tell.
    first_wait : float [s]
        After the first fault; each further wait is twice as long.

    Returns
    -------
    astropy Table
        One row for each match; ``meta`` names the release and the server.

    Raises
    ------
    BadInputError
        If pyvo is missing, or the server does not give a chunk; the message has the server's own words.

    Warns
    -----
    SpfastWarning
        Of stars that the archive does not have.
    """
    say = (lambda text: None) if say is None else say
    if not 1 <= size <= CHUNK_MAX:
        raise BadInputError(f"chunk of {size} stars: expected 1 to {CHUNK_MAX}; longer lists time out")
    check_output(out, overwrite)
    client = TapClient(server, tries, first_wait, say)
    folder, chunks = chunk_folder(out), list(_chunks(asked, size))
    with writing(folder):
        folder.mkdir(exist_ok=True)
    parts, n_kept = [], 0
    with Progress("ask the archive, stars", asked.keys.size, quiet) as progress:
        for number, keys in enumerate(chunks):
            place = folder / f"{number:06d}-{_digest(asked, keys)}.fits"
            table = _kept(place, say)
            n_kept += table is not None
            if table is None:
                table = _ask_all(client, asked, keys, place, say)
                write_table(table, place, overwrite=True)
            parts.append(table)
            progress.advance(len(keys))
    if n_kept:
        say(f"{n_kept:,} of {len(chunks):,} chunks were there already")
    table = _finish(vstack(parts, metadata_conflicts="silent"), asked, server)
    write_table(table, out, overwrite)
    for place in folder.glob(_CHUNK_FILES):
        place.unlink()
    with contextlib.suppress(OSError):  # a link, or somebody else's files are in it
        folder.rmdir()
    return table


def _kept(place, say):
    """A chunk of an earlier run (astropy Table); None if it is not there, or damaged."""
    if not place.exists():
        return None
    try:
        return read_table(place)
    except BadInputError as error:
        say(f"{error}; asking again")
        return None


def _ask_all(client, asked, keys, place, say):
    """The rows of a chunk (astropy Table): in two halves if the server cuts the answer or is too slow for it."""
    uploads = {UPLOAD: Table({"tmass_id": keys})} if asked.by == "tmass_id" else None
    maxrec = _ROWS_A_STAR * max(len(keys), _ROUND)
    try:
        table, overflow = client.ask(_adql(asked, keys), _note(place), uploads, maxrec)
        table = _as_asked(table, asked, keys, client.server)
        cut = _cut(len(table), len(keys), overflow)
    except Fault as fault:
        if not fault.smaller:
            raise BadInputError(
                f"{client.server}: {fault}; what has arrived is kept in {place.parent}: run again to go on"
            ) from None
        cut = str(fault)
    if not cut:
        return table
    if len(keys) == 1:
        raise BadInputError(f"{client.server}: {cut}, even for one star; try another server with --server")
    say(f"{cut}: asking again in two halves of {len(keys):,} stars")
    middle = len(keys) // 2
    halves = [_ask_all(client, asked, half, place, say) for half in (keys[:middle], keys[middle:])]
    return vstack(halves, metadata_conflicts="silent")


def _as_asked(table, asked, keys, server):
    """An answer under the names that were asked for; refused if it is of other columns or other stars."""
    expected = [name.partition(".")[2] for name in columns(asked.release, upload_source(asked.release, asked.by))]
    given = {name.lower(): name for name in table.colnames}
    lacking = [name for name in expected if name not in given]
    if lacking:
        raise BadInputError(
            f"{server}: the answer lacks {len(lacking)} of {len(expected)} columns, first {lacking[0]} (it has "
            f"{', '.join(table.colnames[:8])}); try another server with --server"
        )
    table = Table([table[given[name]] for name in expected], names=expected)
    if table["source_id"].dtype.kind != "i":
        table["source_id"] = source_ids(table["source_id"], f"{server}: the answer's column source_id")
    if asked.by == "tmass_id":
        table["tmass_id"] = tmass_key(table["tmass_id"])
    others = ~np.isin(table[asked.by], keys)
    if others.any():
        raise BadInputError(
            f"{server}: the answer has {np.count_nonzero(others):,} rows of stars that were not asked for, first "
            f"{asked.by} {table[asked.by][others][0]}; try another server with --server"
        )
    return table


def _note(place):
    """The file that keeps the address of the job of a chunk (Path)."""
    return place.with_name(f"{place.name}.job")


def _chunks(asked, size):
    keys = asked.keys
    for start in range(0, keys.size, size):
        yield keys[start : start + size]


def _adql(asked, keys):
    source = id_source(asked.release, keys) if asked.by == "source_id" else upload_source(asked.release, asked.by)
    return statement(asked.release, source)


def _digest(asked, keys):
    """What identifies a chunk: the query and the stars (str)."""
    text = json.dumps([statement(asked.release, upload_source(asked.release, asked.by)), [str(key) for key in keys]])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _cut(n_rows, n_keys, overflow):
    """What says that rows are missing from an answer (str, "" if nothing does)."""
    if overflow:
        return f"the server cut its answer at {n_rows:,} rows (OVERFLOW)"
    if n_rows >= _ROUND and n_rows % _ROUND == 0 and n_keys > n_rows:
        return f"the answer has {n_rows:,} rows for {n_keys:,} stars, a round number, as if it were cut"
    return ""


def _finish(table, asked, server):
    """The whole table, with 2MASS names, and with what it is in its metadata."""
    if not len(table):
        raise BadInputError(f"{server}: has none of the {asked.keys.size:,} stars; is it {asked.release.title}'s?")
    arrived = np.unique(np.asarray(table[asked.by]))
    if asked.by == "source_id":
        table = _with_names(table, asked)
    missing = asked.keys[~np.isin(asked.keys, arrived)]
    if missing.size:
        text = (
            f"{asked.release.title} has no source for {missing.size:,} of {asked.keys.size:,} stars, first "
            f"{asked.by} {missing[0]}"
        )
        warnings.warn(text, SpfastWarning, stacklevel=3)
    table.sort([name for name in ("tmass_id", "source_id") if name in table.colnames])
    table.meta = {
        "PRODUCT": "spfast query",
        RELEASE_CARD: asked.release.name,
        "SERVER": server,
        "ADQL": statement(asked.release, upload_source(asked.release, asked.by)),
        "NASKED": int(asked.keys.size),
    }
    return table


def _with_names(table, asked):
    """Rows that were asked for by number, each once for every 2MASS name that its star is known by."""
    known = unique(Table({"tmass_id": asked.tmass_id, "source_id": asked.source_id}), ["source_id", "tmass_id"])
    # A blank comes before the names of the same star.
    has_name = np.append(known["source_id"][1:] == known["source_id"][:-1], False)
    known = known[(known["tmass_id"] != "") | ~has_name]
    return join(known, table, "source_id", metadata_conflicts="silent")
