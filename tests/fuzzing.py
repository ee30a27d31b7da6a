"""Small valid files made bad in every way, and what every reader must do with them, whatever they are."""

import contextlib
import importlib.util
import io
import json
import os
import resource
import signal
import warnings

import numpy as np
import pytest
from astropy.io.votable import from_table
from astropy.table import Table
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st

import spfast.catalog.make
import spfast.cli
import spfast.data.tables.write  # noqa: F401 (all of it before a clock runs: an alarm in the middle of an import leaves ruins)
from spfast.errors import BadInputError, SpfastWarning

#: Cases of each reader: few in the suite, always the same; `make fuzz` takes many, from another seed.
CASES = int(os.environ.get("SPFAST_FUZZ_CASES", "70"))
#: What no case may exceed: of a processor; of the clock, which a busy machine takes its own part of; of memory.
SECONDS, CLOCK_SECONDS, N_BYTES = 10.0, 60.0, 1 << 30

HAS_PYARROW = importlib.util.find_spec("pyarrow") is not None
#: Every kind of table that can be written here, and all of them as parameters of a test.
SUFFIXES = ("fits", "vot", "ecsv", "csv") + ("parquet",) * HAS_PYARROW
EACH_SUFFIX = (
    *("fits", "vot", "ecsv", "csv"),
    pytest.param("parquet", marks=pytest.mark.skipif(not HAS_PYARROW, reason="Parquet needs pyarrow")),
)

NUMBERS = (np.nan, np.inf, -np.inf, 0.0, -1.0, 1e-300, 1e300, -9999.0, -9999.99, 99.99, 12.5, 1e-6, 2.0**63, 361.0)
TEXTS = (
    "",
    " ",
    "nan",
    "12.5",
    "x",
    "-",
    "1e999",
    "\N{GREEK SMALL LETTER ALPHA}",
    "0" * 300,
    "../../etc/passwd",
    "$a_{",
)
UNITS = ("", "mas", "arcsec", "deg", "hourangle", "h", "Jy", "electron/s", "mag", "km/s", "nonsense", "dex", "1e400 m")


def fuzz(test):
    """Run a test with ``data`` from hypothesis, `CASES` times."""
    return settings(
        max_examples=CASES,
        deadline=None,
        database=None,
        derandomize="SPFAST_FUZZ_CASES" not in os.environ,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )(given(data=st.data())(test))


class Hang(BaseException):
    """A case took too long; not an Exception, so that nobody catches it."""


@contextlib.contextmanager
def limits():
    """Within the block: ten seconds of a processor, a minute, and a gibibyte more address space than now."""

    def stop(*_):
        raise Hang(f"more than {SECONDS} s")

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm", encoding="ascii") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    clocks = {signal.ITIMER_PROF: (signal.SIGPROF, SECONDS), signal.ITIMER_REAL: (signal.SIGALRM, CLOCK_SECONDS)}
    previous = {number: signal.signal(number, stop) for number, _ in clocks.values()}
    resource.setrlimit(resource.RLIMIT_AS, (now + N_BYTES, hard))
    for clock, (_, seconds) in clocks.items():
        signal.setitimer(clock, seconds)
    try:
        yield
    finally:
        for clock in clocks:
            signal.setitimer(clock, 0.0)
        for number, handler in previous.items():
            signal.signal(number, handler)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def outcome(read, path, *names):
    """What a reader returns, or None if it refused with one good line; anything else fails the test.

    The line names the file, or one of ``names``, and says what to do after a semicolon.
    """
    with limits(), warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", SpfastWarning)
        try:
            return read(path)
        except BadInputError as error:
            check_line(str(error), str(path), *names)
            return None


def check_line(text, *names):
    assert "\n" not in text, text
    assert len(text) < 1500, text
    assert any(name in text for name in names), text
    assert any(mark in text for mark in (";", "expected", ": is ")), text


def command(*arguments):
    """Run ``spfast`` in this process: exit code 0 or 2, and then one line; returns the code."""
    from spfast.cli import main

    out, err = io.StringIO(), io.StringIO()
    with limits(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    lines = [line for line in err.getvalue().splitlines() if not line.startswith("spfast: warning: ")]
    assert code in (0, 2), lines
    assert len(lines) == (code == 2), lines
    assert "Traceback" not in err.getvalue()
    return code


@st.composite
def damaged(draw, content):
    """Bytes of a file, some of them changed, lost, repeated or put in."""
    size = len(content)
    place = draw(st.integers(0, size - 1))
    length = draw(st.integers(1, max(1, min(4096, size - place))))
    how = draw(st.sampled_from(("flip", "flip", "flip", "cut", "lose", "repeat", "insert", "zero", "swap", "append")))
    if how == "flip":
        changed = bytearray(content)
        # Half of the changes near the start: that is where headers are.
        near = st.integers(0, min(size, 3000) - 1)
        for at in draw(st.lists(near | st.integers(0, size - 1), min_size=1, max_size=8)):
            changed[at] = draw(st.integers(0, 255))
        return bytes(changed)
    if how == "swap":
        other = draw(st.integers(0, size - length))
        piece = content[other : other + length]
        return content[:place] + piece + content[place + length :]
    middle = {
        "cut": b"",
        "append": content[place:] + draw(st.binary(max_size=64)),
        "lose": content[place + length :],
        "repeat": content[place : place + length] + content[place:],
        "insert": draw(st.binary(min_size=1, max_size=64)) + content[place:],
        "zero": bytes(length) + content[place + length :],
    }[how]
    return content[:place] + middle


@st.composite
def miswritten_cards(draw, content):
    """A FITS file, one to three of its header cards with another value, keyword or neither."""
    cards = [at for at in range(0, len(content) - 79, 80) if _is_card(content[at : at + 80])]
    values = (
        "-1",
        "0",
        "1",
        "99999999999999",
        "9223372036854775808",
        "'text'",
        "''",
        "T",
        "NaN",
        "1E400",
        "3.5",
        "'PE(9)'",
    )
    changed = bytearray(content)
    for at in draw(st.lists(st.sampled_from(cards), min_size=1, max_size=3)):
        keyword = bytes(changed[at : at + 8])
        card = draw(
            st.sampled_from([keyword + b"= " + value.rjust(20).encode() for value in values])
            | st.binary(min_size=80, max_size=80)
            | st.sampled_from(cards).map(lambda other: bytes(content[other : other + 80]))
        )
        changed[at : at + 80] = card[:80].ljust(80)
    return bytes(changed)


def _is_card(card):
    return card[:8].strip().isalnum() and card[:8].isupper() and card[8:10] == b"= "


def json_values():
    leaves = st.none() | st.booleans() | st.sampled_from((*NUMBERS, -1, 10**30)) | st.text(max_size=8)
    return leaves | st.lists(leaves, max_size=3) | st.dictionaries(st.text(max_size=5), leaves, max_size=3)


@st.composite
def changed_json(draw, text, within=()):
    """A JSON object with one value somewhere in it replaced, moved or gone; or nested deeper than a parser can follow.

    ``within`` names entries whose insides are changed as often as all the rest.
    """
    record = json.loads(text)
    if draw(st.integers(0, 19)) == 0:
        return "[" * 100_000
    place = record
    if within and draw(st.booleans()):
        for key in draw(st.sampled_from(within)):
            place = place[key]
    while True:
        key = draw(st.sampled_from(sorted(place)) if isinstance(place, dict) else st.integers(0, len(place) - 1))
        if isinstance(place[key], dict | list) and place[key] and draw(st.booleans()):
            place = place[key]
            continue
        how = draw(st.sampled_from(("lose", "replace", "replace", "repeat", "move")))
        if how == "lose":
            del place[key]
        elif how == "repeat" and isinstance(place, list):
            place.append(place[key])
        elif how == "move":
            place[key] = draw(st.sampled_from([*place.values()] if isinstance(place, dict) else place))
        else:
            place[key] = draw(json_values())
        return json.dumps(record)


class Edited:
    """A table that was made bad, and what of a reader's answer must not have changed by that.

    ``rows`` are the rows of the original that are left, in order; ``touched`` names columns (lower case) whose values
    may differ.
    """

    def __init__(self, table, rows, touched):
        self.table, self.rows, self.touched = table, rows, touched

    def check(self, result, whole):
        """Whatever was not touched is as a reader gives it for the whole table; no infinity anywhere."""
        assert len(result) == len(self.rows)
        for name in result.colnames:
            values = np.asarray(result[name])
            if values.dtype.kind == "f":
                assert not np.isinf(values).any(), name
            source = {"key": "tmass_id"}.get(name, name.lower())
            if source not in self.touched and name in whole.colnames:
                np.testing.assert_array_equal(values, np.asarray(whole[name])[self.rows], err_msg=name)


@st.composite
def edited(draw, table):
    """A table with one to three edits: columns dropped, renamed, of another type, unit or value; rows gone or twice."""
    table, rows, touched = table.copy(), np.arange(len(table)), set()
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(table.colnames))
        how = draw(st.sampled_from(("drop", "rename", "type", "unit", "values", "values", "values", "rows", "shape")))
        if how == "rows":
            chosen = np.array(draw(st.lists(st.integers(0, len(table) - 1), min_size=1, max_size=12)))
            table, rows = table[chosen], rows[chosen]
            continue
        touched.add(name.lower())
        if how == "drop" and len(table.colnames) > 1:
            table.remove_column(name)
        elif how == "rename":
            other = draw(
                st.sampled_from(
                    ("x", name.swapcase(), name + " ", name[:-1] or "y", "\N{LATIN SMALL LETTER E WITH ACUTE}")
                )
            )
            if other not in table.colnames:
                table.rename_column(name, other)
                touched.add(other.lower())
        elif how == "unit":
            table[name].unit = draw(st.sampled_from(UNITS)) or None
        elif how == "shape":
            table[name] = np.stack([np.asarray(table[name])] * 2, axis=1)
        elif how == "type":
            with contextlib.suppress(ValueError, TypeError), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                table[name] = np.asarray(table[name]).astype(
                    draw(st.sampled_from(("U", "S", "f4", "i2", "c16", "?", "f8")))
                )
        else:
            values = np.asarray(table[name]).copy()
            if values.dtype.kind in "US":
                values = values.astype("U300")
            new = draw(st.sampled_from(TEXTS if values.dtype.kind == "U" else NUMBERS))
            if values.dtype.kind in "iub" and draw(st.booleans()):
                values = values.astype("f8")
            for row in draw(st.lists(st.integers(0, len(table) - 1), min_size=1, max_size=len(table))):
                with contextlib.suppress(OverflowError, ValueError), np.errstate(all="ignore"):
                    values[row] = new
            table[name] = values
    return Edited(table, rows, touched)


def write(table, path):
    """Write a bad table in the format of the suffix; a case that the format cannot hold is no case."""
    path.unlink(missing_ok=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if path.suffix == ".parquet":
                import pyarrow
                from pyarrow import parquet

                columns = {name: pyarrow.array(table[name].tolist()) for name in table.colnames}
                parquet.write_table(pyarrow.table(columns), path)
            elif path.suffix == ".vot":
                from_table(table).to_xml(str(path), _debug_python_based_parser=True)  # in C it breaks the heap
            else:
                table.write(path)
    except Exception:  # noqa: BLE001 (whatever the writer has against it)
        reject()


def plain_copy(table):
    """A table without astropy's own notes on its columns."""
    return Table({name: np.asarray(table[name]) for name in table.colnames})


#: A table is edited, or its file's bytes or header cards are.
HOW = st.sampled_from(("columns", "columns", "bytes", "cards"))
