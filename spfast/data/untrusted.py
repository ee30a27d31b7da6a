"""Files from elsewhere, checked before a parser opens them: it must not unpack, count or fetch without end."""

import gzip
import re
from pathlib import Path
from xml.parsers import expat

from spfast.errors import BadInputError, reading
from spfast.files import check_regular

__all__ = ["GZIP_START", "check_file", "check_xml"]

#: A compressed file may unpack to this many bytes plus this many times its own size. Tables and spectra shrink to
#: between a half and a twentieth; zeros, of which a bomb is made, to a thousandth.
_UNPACKED_FREE, _UNPACKED_TIMES = 64 << 20, 100
_PIECE = 1 << 20

#: First bytes of a file that gzip made.
GZIP_START = b"\x1f\x8b"
#: First bytes of what astropy's and CFITSIO's readers would unpack too, whatever the file's name says.
_PACKED = {b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip", b"\x1f\x9d": "compress"}

#: Numbers in a FITS header to which astropy counts, however large they are; the standard allows 999.
_COUNTS = re.compile(rb"\b(Z?NAXIS|TFIELDS) *= *\+?(\d+)")
_COUNT_MAX = 999
_SIZES = re.compile(rb"(?:^|(?<= ))(BITPIX|NAXIS\d*|PCOUNT|GCOUNT) *= *(-?\d+)")
_BLOCK, _END = 2880, b"END" + 77 * b" "
#: Bytes of a header: 100,000 cards.
_HEADER_MAX = 8_000_000


def check_file(path, votable=False):
    """Refuse a file that would make a parser wait, read, unpack, count or fetch without end.

    Parameters
    ----------
    path : path-like
        It is read whole if it is compressed or a VOTable; of a plain FITS file only the headers, of any other only
        the first bytes.
    votable : bool
        It is XML. It may declare no entity, which could expand to any size or name another file, and must hold its
        data itself, not take them from elsewhere (``STREAM href``): astropy's parser would follow both.

    Raises
    ------
    BadInputError

    Examples
    --------
    >>> from spfast.data.untrusted import check_file
    >>> check_file("absent.fits")
    Traceback (most recent call last):
    ...
    spfast.errors.BadInputError: absent.fits: cannot be read (No such file or directory); check the path
    """
    check_regular(path)
    with reading(path, "cannot be read", "check the path"), open(path, "rb") as file:
        start = file.read(max(map(len, _PACKED)))
        packed = next((name for magic, name in _PACKED.items() if start.startswith(magic)), None)
        if packed:
            raise BadInputError(f"{path}: is packed with {packed}, expected a plain file or gzip; unpack it first")
        file.seek(0)
        if start.startswith(GZIP_START):
            with gzip.GzipFile(fileobj=file) as content:
                for _ in _bounded(path, content):
                    pass
                content.seek(0)
                _check_content(path, content, votable)
        else:
            _check_content(path, file, votable)


def check_xml(path, content):
    """Refuse XML that declares entities or takes its data from elsewhere.

    Parameters
    ----------
    path : path-like
        The file that holds it, for messages.
    content : bytes
    """
    _xml_checker(path)(content, True)


def _check_content(path, file, votable):
    if votable:
        parse = _xml_checker(path)
        while piece := file.read(_PIECE):
            parse(piece)
    elif file.read(6) == b"SIMPLE":
        file.seek(0)
        _check_headers(path, file)


def _bounded(path, file):
    """Yield a compressed file's content piece by piece, up to the limit."""
    limit, unpacked = _UNPACKED_FREE + _UNPACKED_TIMES * Path(path).stat().st_size, 0
    while piece := file.read(_PIECE):
        unpacked += len(piece)
        if unpacked > limit:
            raise BadInputError(
                f"{path}: unpacks to more than {limit >> 20} MiB, {_UNPACKED_TIMES} times its size; if you trust it, "
                "unpack it yourself and give the plain file"
            )
        yield piece


def _check_headers(path, file):
    """Check one header of a FITS file after the other, as far as they make sense; the parser refuses the rest."""
    number = 0
    while header := _next_header(path, file, number):
        for name, count in _COUNTS.findall(header):
            if len(count) > len(str(_COUNT_MAX)) and int(count) > _COUNT_MAX:
                raise BadInputError(
                    f"{path}: HDU {number} has {name.decode()} = {count[:20].decode()}, expected at most {_COUNT_MAX}; "
                    "the file is damaged"
                )
        sizes = {name: int(size) for name, size in reversed(_SIZES.findall(header))}
        n_values = 1 if sizes.get(b"NAXIS") else 0
        for axis in range(1, sizes.get(b"NAXIS", 0) + 1):
            n_values *= sizes.get(b"NAXIS%d" % axis, 0)
        n_bytes = abs(sizes.get(b"BITPIX", 0)) // 8 * sizes.get(b"GCOUNT", 1) * (sizes.get(b"PCOUNT", 0) + n_values)
        if not 0 <= n_bytes < 1 << 60:
            return
        file.seek(-(-n_bytes // _BLOCK) * _BLOCK, 1)
        number += 1


def _next_header(path, file, number):
    """Return the bytes of the header that begins here; none at the end of the file."""
    header = bytearray()
    while block := file.read(_BLOCK):
        header += block
        if any(block[at : at + 80] == _END for at in range(0, _BLOCK, 80)):
            break
        if len(header) > _HEADER_MAX:
            raise BadInputError(f"{path}: the header of HDU {number} has no end; the file is damaged")
    return bytes(header)


def _xml_checker(path):
    """Return a function that parses the pieces of an XML file and keeps nothing."""
    parser = expat.ParserCreate()

    def refuse(what, advice):
        raise BadInputError(f"{path}: its XML {what}, which no table needs; {advice}")

    def entity(name, *_):
        refuse(f"declares the entity {name[:40]!r}", "write the text out")

    def element(name, attributes):
        if name.rpartition(":")[2] == "STREAM" and "href" in attributes:
            refuse(f"takes its data from {attributes['href'][:80]!r}", "save the table with its data inside")

    parser.EntityDeclHandler, parser.StartElementHandler = entity, element
    return parser.Parse
