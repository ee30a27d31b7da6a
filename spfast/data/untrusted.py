"""Files from elsewhere, looked through before a parser opens them: what they unpack to, and what their XML asks for."""

import gzip
from pathlib import Path
from xml.parsers import expat

from spfast.errors import BadInputError, reading

__all__ = ["check_file"]

#: A compressed file may unpack to this much, and beyond it to this many times its own size. Tables and spectra shrink
#: to between a half and a twentieth; zeros, which is what a bomb is made of, to a thousandth.
_UNPACKED_FREE, _UNPACKED_TIMES = 64 << 20, 100
_PIECE = 1 << 20

_GZIP = b"\x1f\x8b"
#: First bytes of what astropy's and CFITSIO's readers would unpack too, whatever the file's name says.
_PACKED = {b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip", b"\x1f\x9d": "compress"}


def check_file(path, votable=False):
    """Refuse a compressed file that unpacks to too much, and a VOTable that is more than a table.

    Parameters
    ----------
    path : path-like
        Looked through if it is compressed or a VOTable; else its first bytes are read.
    votable : bool
        Its XML may declare no entity (they expand to any size, or name other files) and take its data from nowhere
        else (``STREAM href``): astropy's parser would follow both.

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
    with reading(path, "cannot be read", "check the path"), open(path, "rb") as file:
        head = file.read(max(map(len, _PACKED)))
        packed = next((name for start, name in _PACKED.items() if head.startswith(start)), None)
        if packed:
            raise BadInputError(f"{path}: is packed with {packed}, expected a plain file or gzip; unpack it first")
        file.seek(0)
        if head.startswith(_GZIP):
            pieces = _bounded(path, gzip.GzipFile(fileobj=file))
        else:
            pieces = iter(lambda: file.read(_PIECE), b"") if votable else ()
        parse = _xml_checker(path) if votable else lambda piece: None
        for piece in pieces:
            parse(piece)


def _bounded(path, file):
    """Yield a compressed file's content piece by piece, up to the limit."""
    limit, unpacked = _UNPACKED_FREE + _UNPACKED_TIMES * Path(path).stat().st_size, 0
    while piece := file.read(_PIECE):
        unpacked += len(piece)
        if unpacked > limit:
            raise BadInputError(
                f"{path}: unpacks to more than {limit >> 20} MiB, {_UNPACKED_TIMES} times its size; if it is what it "
                "should be, unpack it yourself and give the plain file"
            )
        yield piece


def _xml_checker(path):
    """Return a function that parses the pieces of an XML file and keeps nothing."""
    parser = expat.ParserCreate()

    def refuse(what, advice):
        raise BadInputError(f"{path}: its XML {what}, which a table has no use for; {advice}")

    def entity(name, *_):
        refuse(f"declares the entity {name[:40]!r}", "write the text out")

    def element(name, attributes):
        if name.rpartition(":")[2] == "STREAM" and "href" in attributes:
            refuse(f"takes its data from {attributes['href'][:80]!r}", "save the table with its data inside")

    parser.EntityDeclHandler, parser.StartElementHandler = entity, element
    return parser.Parse
