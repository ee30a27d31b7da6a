"""`spfast query`: Gaia's archive, or another TAP server with its tables, asked for stars chunk by chunk.

A chunk is one asynchronous job of a thousand stars. What has arrived is kept in a folder beside the output, chunk by
chunk, and the address of a job that is under way as well: a run that was interrupted goes on from there.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from xml.parsers.expat import ExpatError

import numpy as np
from astropy import units
from astropy.table import Table, vstack

from spfast.archive.adql import UPLOAD, id_source, statement, upload_source
from spfast.archive.releases import GAIA, GaiaRelease, gaia_release
from spfast.archive.wanted import STARS
from spfast.data.gaia_release import RELEASE_CARD
from spfast.data.identifiers import source_ids, tmass_key
from spfast.data.tables.read import read_columns_and_meta, read_table
from spfast.data.tables.values import column_values
from spfast.data.tables.write import write_table
from spfast.errors import BadInputError, SpfastWarning
from spfast.files import new_file
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
#: Waits [s] between looks at a job, and before asking again after a fault: each longer than the one before.
_FIRST_LOOK, _LONGEST_LOOK, _FIRST_WAIT, _LONGEST_WAIT = 0.2, 30.0, 2.0, 120.0
#: After so long [s] a job that is still under way is told of.
_FIRST_WORD = 60.0
#: For a connection, and for a server to answer [s].
_TIMEOUT = (20.0, 180.0)
#: HTTP's "too large", its "too slow"s, its "no longer there"s; what servers say of a query that took too long, and of
#: one that is wrong.
_TOO_LARGE, _TOO_SLOW, _GONE = (413,), (408, 504), (404, 410)
_SAYS_TOO_SLOW = re.compile(r"time[d ]?-?out|timed out|execution duration|cancell?ed|too long", re.IGNORECASE)
_SAYS_WRONG = re.compile(r"pars|syntax|unknown|not found|does not exist|cannot find|no such|not known|unresolved", re.I)
_SAYS_BUSY = re.compile(r"quota|busy|too many|maintenance|unavailable|try again|temporar", re.IGNORECASE)
#: Characters of a server's message that are shown.
_SHOWN = 300
_UNDER_WAY = ("PENDING", "QUEUED", "EXECUTING", "RUN", "HELD", "SUSPENDED", "UNKNOWN")


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


class _Fault(Exception):
    """What a server did not give: why, HTTP's code, and whether a smaller chunk may help, or nothing."""

    def __init__(self, text, smaller=False, final=False, code=None):
        super().__init__(text)
        self.smaller, self.final, self.code = smaller, final, code


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
    columns, names, meta = read_columns_and_meta(path, aliases)
    if release is None and str(meta.get(RELEASE_CARD, "")) in GAIA:
        release = str(meta[RELEASE_CARD])
    if release is None:
        raise BadInputError(f"{path}: does not say which release of Gaia to ask; give --release ({', '.join(GAIA)})")
    found = gaia_release(release)
    found.need("columns", "wise")
    n_rows = len(next(iter(columns.values()), ()))
    ids, keys = np.full(n_rows, -1, dtype=np.int64), np.full(n_rows, "", dtype="U1")
    for name in (f"source_id {release}", "source_id"):
        # A plain source_id counts only if the table is known to be of this release.
        if name in columns and (name != "source_id" or str(meta.get(RELEASE_CARD, release)) == release):
            ids = source_ids(columns[name], f"{path}: column {columns[name].name}")
            break
    if "tmass_id" in columns:
        keys = tmass_key(column_values(columns["tmass_id"], "U", f"{path}: column {columns['tmass_id'].name}"))
    if by is None:
        by = "source_id" if np.any(ids > 0) else "tmass_id"
    asked = Asked(keys, ids, found, by)
    if not asked.keys.size:
        raise BadInputError(
            f"{path}: has no {by} to ask for (its columns: {', '.join(names[:8])}); expected source_id, tmass_id or "
            "APOGEE_ID: make it with `spfast wanted`"
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
    first_wait: float = _FIRST_WAIT,
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
    _need_pyvo()
    say = (lambda text: None) if say is None else say
    if not 1 <= size <= CHUNK_MAX:
        raise BadInputError(f"chunk of {size} stars: expected 1 to {CHUNK_MAX}; longer lists time out")
    folder, chunks = chunk_folder(out), list(_chunks(asked, size))
    folder.mkdir(exist_ok=True)
    client = _Client(server, folder, tries, first_wait, say)
    parts, n_kept = [], 0
    with Progress("query", asked.keys.size, quiet) as progress:
        for number, keys in enumerate(chunks):
            place = folder / f"{number:06d}-{_digest(asked, keys)}.fits"
            if place.exists():
                parts.append(read_table(place))
                n_kept += 1
            else:
                parts.append(client.ask_all(asked, keys, place))
                write_table(parts[-1], place, overwrite=True)
            progress.advance(len(keys))
    if n_kept:
        say(f"{n_kept:,} of {len(chunks):,} chunks were there already")
    table = _finish(vstack(parts, metadata_conflicts="silent"), asked, server)
    write_table(table, out, overwrite)
    shutil.rmtree(folder)
    return table


class _Client:
    """Asks one server, job by job, and waits where it must."""

    def __init__(self, server, folder, tries, first_wait, say):
        self._server, self._folder, self._tries, self._say = server.rstrip("/"), folder, tries, say
        self._first_wait, self._session = first_wait, _session()

    def ask_all(self, asked, keys, place):
        """The rows of a chunk (astropy Table): in two halves if a server cuts it or is too slow for it."""
        try:
            table, cut = self._ask_patiently(asked, keys, place)
        except _Fault as fault:
            if not fault.smaller or len(keys) == 1:
                raise BadInputError(
                    f"{self._server}: {fault}; what has arrived is kept in {self._folder}: run again to go on"
                ) from None
            cut = str(fault)
        if cut and len(keys) == 1:
            raise BadInputError(f"{self._server}: {cut}, even for one star; try another server with --server")
        if cut:
            self._say(f"{cut}: asking again in two halves of {len(keys):,} stars")
            middle = len(keys) // 2
            halves = [
                self.ask_all(asked, half, place.with_suffix(f".{i}"))
                for i, half in enumerate((keys[:middle], keys[middle:]))
            ]
            return vstack(halves, metadata_conflicts="silent")
        return table

    def _ask_patiently(self, asked, keys, place):
        wait, note = self._first_wait, _note(place)
        for attempt in range(1, self._tries + 1):
            try:
                return self._ask(asked, keys, place)
            except _Fault as fault:
                lost = fault.code in _GONE and note.exists()  # the server has forgotten the job
                if fault.final or fault.smaller:
                    note.unlink(missing_ok=True)
                if (fault.final and not lost) or fault.smaller or attempt == self._tries:
                    raise
                self._say(f"{fault}; waiting for {wait:g} s (try {attempt} of {self._tries})")
            time.sleep(wait)
            wait = min(2.0 * wait, _LONGEST_WAIT)

    def _ask(self, asked, keys, place):
        """One job: its rows (astropy Table), and what was cut ("" if nothing)."""
        note = _note(place)
        # Archives seldom keep to the letter of VOTable, and pyvo's warning of an overflow is ours to act on.
        with _faults(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            job = self._job(asked, keys, note)
            self._wait(job, note)
            result = job.fetch_result()
            cut = _overflow(result, keys)
            table = _plain(result.to_table())
        note.unlink()
        with contextlib.suppress(_Fault), _faults():
            job.delete()  # frees the server's room
        return table, cut

    def _job(self, asked, keys, note):
        """The job of an earlier run or try if the server still has it, else a new one."""
        from pyvo.dal import AsyncTAPJob

        adql = _adql(asked, keys)
        identity = hashlib.sha256(json.dumps([self._server, adql, [str(key) for key in keys]]).encode()).hexdigest()
        if note.exists():
            kept = note.read_text(encoding="utf-8").split()
            if len(kept) == 2 and kept[0] == identity:
                try:
                    job = AsyncTAPJob(kept[1], session=self._session, delete=False)
                    if job.phase in (*_UNDER_WAY, "COMPLETED"):
                        self._say(f"going on with the job {job.url}")
                        return job
                except _Fault as fault:
                    if not fault.final:  # else the server has forgotten it
                        raise
            note.unlink()
        uploads = None
        if asked.by == "tmass_id":
            uploads = {UPLOAD: Table({"tmass_id": keys.astype("U16")})}
        job = AsyncTAPJob.create(
            self._server, adql, maxrec=_ROWS_A_STAR * max(len(keys), _ROUND), uploads=uploads, session=self._session
        )
        with new_file(note) as partial:
            partial.write_text(f"{identity} {job.url}\n", encoding="utf-8")
        return job.run()

    def _wait(self, job, note):
        """Wait until the job is done; what the server says of one that failed is raised, and the job forgotten."""
        look, told, begun = _FIRST_LOOK, _FIRST_WORD, time.monotonic()
        while (phase := job.phase) in _UNDER_WAY:
            if phase == "PENDING":  # the order to run got lost
                job.run()
            if time.monotonic() - begun > told:
                self._say(
                    f"the job {job.url} is {phase} since {told:.0f} s; Ctrl-C and a new run may wait for it later"
                )
                told *= 2.0
            time.sleep(look)
            look = min(1.5 * look, _LONGEST_LOOK)
        if phase != "COMPLETED":
            note.unlink(missing_ok=True)
            summary = job.job.errorsummary
            said = "" if summary is None or summary.message is None else _one_line(summary.message.content)
            raise _fault(None, f"the job ended as {phase}: {said or 'no reason is given'}")


@contextlib.contextmanager
def _faults():
    """Turn what pyvo, requests and the parsers below them raise into a fault that may pass.

    A connection that drops, an answer that ends early: the job may still be there, and is asked for again.
    """
    from pyvo.dal.exceptions import DALAccessError, DALQueryError
    from urllib3.exceptions import HTTPError

    ends_early = (DALAccessError, HTTPError, OSError, ValueError, SyntaxError, ExpatError)
    try:
        yield
    except BadInputError:
        raise
    except DALQueryError as error:
        raise _fault(None, f"the server says: {_one_line(error.reason)}") from error
    except ends_early as error:
        text = _one_line(getattr(error, "reason", None) or error) or type(error).__name__
        raise _Fault(f"no whole answer ({text})") from error


def _need_pyvo():
    try:
        import pyvo  # noqa: F401
    except ImportError:
        raise BadInputError("query needs pyvo; install it (pip install 'spfast[query]')") from None


def _session():
    """A session whose requests end, and in which a server's refusal has its own words."""
    import requests

    class Session(requests.Session):
        def request(self, method, url, **options):
            options.setdefault("timeout", _TIMEOUT)
            if options["timeout"] is None or isinstance(options["timeout"], int | float):
                options["timeout"] = _TIMEOUT
            response = super().request(method, url, **options)
            if response.status_code >= 400:
                raise _fault(response.status_code, f"HTTP {response.status_code}: {_body(response)}")
            return response

    return Session()


def _body(response):
    """What a refusal says, without markup (str)."""
    return _one_line(re.sub(r"<[^>]*>", " ", response.text[:20_000])) or response.reason


def _fault(code, text):
    """A fault of a server by its HTTP code, or by its words."""
    if code in _TOO_LARGE or code in _TOO_SLOW:
        return _Fault(text, smaller=True)
    if _SAYS_BUSY.search(text) or (code is not None and (code == 429 or code >= 500)):
        return _Fault(text)
    if _SAYS_TOO_SLOW.search(text):
        return _Fault(text, smaller=True)
    return _Fault(text, final=code is not None or bool(_SAYS_WRONG.search(text)), code=code)


def _one_line(text):
    text = " ".join(str(text).split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


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


def _overflow(result, keys):
    """What says that rows are missing from an answer (str, "" if nothing does)."""
    n_rows = len(result)
    if str(result.status[0]).upper() == "OVERFLOW":
        return f"the server cut its answer at {n_rows:,} rows (OVERFLOW)"
    if n_rows >= _ROUND and n_rows % _ROUND == 0 and len(keys) > n_rows:
        return f"the answer has {n_rows:,} rows for {len(keys):,} stars, a round number, as if it were cut"
    return ""


def _plain(table):
    """The rows with plain types: text, int64 with -1 and floats with NaN where a value is missing."""
    plain = Table()
    for name in table.colnames:
        column = table[name]
        if column.dtype.kind in "OSU":
            values = [_text(value) for value in np.ma.filled(np.ma.asarray(column, dtype=object), "")]
            plain[name] = np.array(values, dtype="U") if len(values) else np.empty(0, "U1")
        elif column.dtype.kind in "iu":
            plain[name] = np.ma.filled(np.ma.asarray(column).astype(np.int64), -1)
        elif column.dtype.kind == "f":
            plain[name] = np.ma.filled(np.ma.asarray(column), np.nan)
        else:
            plain[name] = np.ma.filled(np.ma.asarray(column))
        plain[name].unit = _unit(column)
    return plain


def _unit(column):
    """A column's unit as FITS can say it, or None: archives write Angle[deg] and the like."""
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        return None if column.unit is None else units.Unit(column.unit.to_string("fits"))
    return None


def _text(value):
    return value.decode("utf-8", "replace").strip() if isinstance(value, bytes) else str(value or "").strip()


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
    """Rows that were asked for by number, with the 2MASS names that the stars were known by."""
    order = np.argsort(asked.source_id, kind="stable")
    place = np.searchsorted(asked.source_id[order], np.asarray(table["source_id"]))
    table.add_column(asked.tmass_id[order[np.minimum(place, order.size - 1)]], name="tmass_id", index=0)
    return table
