"""Tables of text: CSV as people write, paste and edit it, ECSV, and the tables that astropy guesses."""

import contextlib
import csv
import re

from astropy import units
from astropy.io import ascii as astropy_text

from spfast.data.tables.values import NO_VALUE
from spfast.errors import BadInputError

__all__ = ["ECSV_START", "read_text"]

#: The first bytes of an ECSV table, whatever its name: Gaia's bulk files are ``.csv.gz``.
ECSV_START = b"# %ECSV"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
#: UTF-8's byte-order mark.
_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"
_DELIMITERS = ",;\t|"
#: The line with which Excel is told the delimiter.
_TELLS_DELIMITER = re.compile(r'"?sep=.?"?$', re.IGNORECASE)


def read_text(path, content, kind):
    """Read a table of text.

    Parameters
    ----------
    path : path-like
        For messages.
    content : bytes
        The whole file, unpacked.
    kind : str
        ``"csv"``, ``"ecsv"``, ``"mrt"``, or empty: astropy guesses.

    Returns
    -------
    table : astropy Table
    names : list of str or None
        Those of the file, where astropy had to change one that comes twice.

    Raises
    ------
    BadInputError
        If it is in UTF-16, a row has more or fewer values than the header, or a header that differs from the first is
        pasted into it.
    """
    lines = _decoded(path, content).split("\n")
    if kind == "csv":
        lines, delimiter = _csv_lines(path, lines)
        lines, column_units = _without_unit_row(lines, delimiter)
        table = astropy_text.read(lines, format="csv", delimiter=delimiter, fill_values=_fill_values())
        for column, unit in zip(table.itercols(), column_units, strict=False):
            column.unit = unit
        names = _fields(lines[0], delimiter)
        return table, names if len(names) == len(table.colnames) else None
    if kind == "ecsv":
        return astropy_text.read(lines, format="ecsv", fill_values=_fill_values()), None
    if kind == "mrt":
        return astropy_text.read(lines, format="mrt"), None
    try:
        return astropy_text.read(lines, fill_values=_fill_values()), None
    except astropy_text.InconsistentTableError:  # its text lists every layout that astropy tried
        raise BadInputError(
            f"{path}: has no layout that astropy knows: rows of as many values as the header, IPAC, fixed width or the "
            "like; is it whole? Save it as CSV"
        ) from None


def _fill_values():
    return [(spelling, "0") for word in sorted(NO_VALUE) for spelling in {word, word.upper(), word.capitalize()}] + [
        ("NaN", "0"),
        ("<NA>", "0"),
        ("-NaN", "0"),
    ]


def _decoded(path, content):
    """The text, with one kind of line ends and without byte-order mark."""
    if content.startswith(_UTF_16) or b"\0" in content[:4]:
        raise BadInputError(f"{path}: is text in UTF-16, expected UTF-8; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _csv_lines(path, lines):
    """The lines of a CSV table without comments, blank lines and repeated headers, and its delimiter."""
    numbered = [(number, line.lstrip(_MARK)) for number, line in enumerate(lines, start=1)]
    numbered = [(number, line) for number, line in numbered if line.strip()]
    if numbered and _TELLS_DELIMITER.match(numbered[0][1].strip()):
        numbered = numbered[1:]
    first = next((place for place, (_, line) in enumerate(numbered) if not line.startswith("#")), len(numbered))
    comment, numbered = numbered[first - 1][1].lstrip("# ") if first else "", numbered[first:]
    if not numbered:
        raise BadInputError(f"{path}: has no line but comments, expected a header and a line a row; make it again")
    start = numbered[0][1]
    delimiter = max(_DELIMITERS, key=start.count)
    if comment.count(delimiter) == start.count(delimiter) and _has_number(start, delimiter):
        numbered.insert(0, (0, comment))  # numpy's writers mark the header as a comment
    header = _fields(numbered[0][1], delimiter)
    kept = numbered[:1]
    for number, line in numbered[1:]:
        if line.startswith("#") and line.count(delimiter) != len(header) - 1:
            continue
        if not line.replace(delimiter, "").strip():
            continue  # spreadsheets write empty rows so
        # Files are pasted one below the other: then their headers and comments are in the middle.
        if header[0] in line or line.split(delimiter, 1)[0].strip('" ') in header:
            fields = _fields(line, delimiter)
            if fields == header:
                continue
            if len(set(fields) & set(header)) > len(header) / 2:
                raise BadInputError(
                    f"{path}: line {number} is a second header, and not the same as the first; "
                    "paste only tables that have the same columns in the same order"
                )
        kept.append((number, line))
    _check_lengths(path, kept, delimiter)
    return [line for _, line in kept], delimiter


def _without_unit_row(lines, delimiter):
    """The lines without a row of units and a row of dashes below the header, as VizieR has them; and the units."""
    rows = [_fields(line, delimiter) for line in lines[1:3]]
    dashes = [bool("".join(row)) and not "".join(row).strip("-") for row in rows]
    if dashes[:1] == [True]:
        return [lines[0], *lines[2:]], []
    if not rows or _has_number(lines[1], delimiter) or not "".join(rows[0]):
        return lines, []
    found = [units.Unit(text, parse_strict="silent") if text.strip("-") else None for text in rows[0]]
    if dashes[1:] == [True]:
        return [lines[0], *lines[3:]], found
    if any(isinstance(unit, units.UnrecognizedUnit) for unit in found):
        return lines, []
    return [lines[0], *lines[2:]], found


def _check_lengths(path, numbered, delimiter):
    """Refuse a row with more or fewer values than the header, as the parser would fill it up.

    Text in quotes may hold delimiters and line ends: such rows are counted by Python's parser.
    """
    if any('"' in line for _, line in numbered):
        rows = csv.reader((line + "\n" for _, line in numbered), delimiter=delimiter, skipinitialspace=True)
        lengths = [(numbered[min(rows.line_num, len(numbered)) - 1][0], len(row)) for row in rows]
    else:
        lengths = [(number, line.count(delimiter) + 1) for number, line in numbered]
    for number, length in lengths[1:]:
        if length != lengths[0][1]:
            row = "its last row" if number == numbered[-1][0] else f"line {number}"
            raise BadInputError(
                f"{path}: {row} has {length} values, expected {lengths[0][1]} as in the header; is it whole?"
            )


def _has_number(line, delimiter):
    """Whether a value of a line is a number, so that it is no header."""
    for field in _fields(line, delimiter):
        with contextlib.suppress(ValueError):
            float(field)
            return True
    return False


def _fields(line, delimiter):
    return [field.strip().strip('"').strip() for field in line.split(delimiter)]
