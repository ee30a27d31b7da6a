"""A TAP server asked patiently: asynchronous jobs that survive faults of server and line. pyvo speaks the protocol."""

import contextlib
import hashlib
import json
import re
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from xml.parsers.expat import ExpatError

import numpy as np
from astropy import units
from astropy.table import Table

from spfast.errors import BadInputError
from spfast.files import new_file

__all__ = ["FIRST_WAIT", "Fault", "TapClient"]

#: Waits [s] between looks at a job, and before asking again after a fault: each longer than the one before.
_FIRST_LOOK, _LONGEST_LOOK, FIRST_WAIT, _LONGEST_WAIT = 0.2, 30.0, 2.0, 120.0
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


class Fault(Exception):
    """What a server did not give: why, HTTP's code, and whether a smaller chunk may help, or nothing."""

    def __init__(self, text, smaller=False, final=False, code=None):
        super().__init__(text)
        self.smaller, self.final, self.code = smaller, final, code


class TapClient:
    """Asks one server, job by job, and waits where it must.

    Parameters
    ----------
    server : str
        Its address.
    tries : int
        How often a query is asked.
    first_wait : float [s]
        After the first fault; each further wait is twice as long.
    say : callable
        Called with a line of text whenever there is something to tell.

    Raises
    ------
    BadInputError
        If pyvo is missing, or the address is none.
    """

    def __init__(self, server: str, tries: int, first_wait: float, say: Callable[[str], None]):
        try:
            import pyvo  # noqa: F401
        except ImportError:
            raise BadInputError("query needs pyvo; install it (pip install 'spfast[query]')") from None
        if not re.match(r"https?://[^/\s]", server):
            raise BadInputError(f"server {server!r}: expected an address that begins with https:// or http://")
        self.server, self._tries, self._first_wait, self._say = server.rstrip("/"), tries, first_wait, say
        self._session = _session()

    def ask(
        self, adql: str, note: Path, uploads: dict[str, Table] | None = None, maxrec: int | None = None
    ) -> tuple[Table, bool]:
        """Ask a query until it is answered.

        Parameters
        ----------
        adql : str
        note : pathlib.Path
            File for the address of the job while it is under way: with it a later call goes on with the same job.
        uploads : dict of astropy Table, optional
            By name.
        maxrec : int, optional
            Rows to ask for, at most.

        Returns
        -------
        table : astropy Table
            Text, int64 with -1 and floats with NaN where a value is missing.
        overflow : bool
            The server says that rows are missing.

        Raises
        ------
        Fault
            With the server's own words.
        """
        wait = self._first_wait
        for attempt in range(1, self._tries + 1):
            try:
                return self._ask_once(adql, note, uploads, maxrec)
            except Fault as fault:
                lost = fault.code in _GONE and note.exists()  # the server has forgotten the job
                if fault.final or fault.smaller:
                    note.unlink(missing_ok=True)
                if (fault.final and not lost) or fault.smaller or attempt == self._tries:
                    raise
                self._say(f"{fault}; waiting for {wait:g} s (try {attempt} of {self._tries})")
            time.sleep(wait)
            wait = min(2.0 * wait, _LONGEST_WAIT)
        raise AssertionError("the last try returns or raises")

    def _ask_once(self, adql, note, uploads, maxrec):
        # Archives seldom keep to the letter of VOTable, and an overflow is the caller's to act on.
        with _faults(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            job = self._job(adql, note, uploads, maxrec)
            self._wait(job, note)
            result = job.fetch_result()
            table, overflow = _plain(result.to_table()), str(result.status[0]).upper() == "OVERFLOW"
        note.unlink()
        with contextlib.suppress(Fault), _faults():
            job.delete()  # frees the server's room
        return table, overflow

    def _job(self, adql, note, uploads, maxrec):
        """The job of an earlier run or try if the server still has it, else a new one."""
        from pyvo.dal import AsyncTAPJob

        uploaded = [[str(value) for value in table.columns[0]] for table in (uploads or {}).values()]
        identity = hashlib.sha256(json.dumps([self.server, adql, uploaded]).encode()).hexdigest()
        if note.exists():
            kept = note.read_text(encoding="utf-8").split()
            if len(kept) == 2 and kept[0] == identity:
                try:
                    job = AsyncTAPJob(kept[1], session=self._session, delete=False)
                    if job.phase in (*_UNDER_WAY, "COMPLETED"):
                        self._say(f"going on with the job {job.url}")
                        return job
                except Fault as fault:
                    if not fault.final:  # else the server has forgotten it
                        raise
            note.unlink()
        job = AsyncTAPJob.create(self.server, adql, maxrec=maxrec, uploads=uploads, session=self._session)
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
            if phase is None:  # a page of HTML, a list of jobs
                said = _body(self._session.get(job.url)) or "nothing"
                raise _fault(None, f"{job.url} is no job of a TAP server, it says: {said}")
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
        raise Fault(f"no whole answer ({text})") from error


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
        return Fault(text, smaller=True)
    if _SAYS_BUSY.search(text) or (code is not None and (code == 429 or code >= 500)):
        return Fault(text)
    if _SAYS_TOO_SLOW.search(text):
        return Fault(text, smaller=True)
    return Fault(text, final=code is not None or bool(_SAYS_WRONG.search(text)), code=code)


def _one_line(text):
    text = " ".join(str(text).split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


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
