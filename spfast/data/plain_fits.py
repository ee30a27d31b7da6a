"""Images of a FITS file as the archives write them, read directly: plain bytes, without scaling or compression.

A library looks at every card and every HDU of a file, which takes ten times as long as its bytes. What is unusual in
any way is left to one.
"""

import math
import re
from typing import BinaryIO, NamedTuple

import numpy as np

__all__ = ["PlainImage", "read_header", "read_images"]

_BLOCK, _CARD, _END = 2880, 80, b"END" + 77 * b" "
#: Bytes of a header read at a time, and at most.
_HEADER_STEP, _HEADER_MAX = 4 * _BLOCK, 100 * _BLOCK
#: Words in the header of an image whose values are not those that stand in the file.
_SCALED = (b"BSCALE", b"BZERO", b"BLANK", b"ZIMAGE")
#: What the headers begin with, in the order of the standard: of a primary HDU without data, and of an image.
_PRIMARY = re.compile(rb"(?=SIMPLE  = *T[ /]).{80}(?=BITPIX  = *-?\d+[ /]).{80}NAXIS   = *0[ /]", re.DOTALL)
_IMAGE = re.compile(
    rb"(?=XTENSION= 'IMAGE   ').{80}(?=BITPIX  = *(-?\d+)[ /]).{80}(?=NAXIS   = *([12])[ /]).{80}"
    rb"(?=NAXIS1  = *(\d+)[ /]).{80}(?:(?=NAXIS2  = *(\d+)[ /]).{80})?"
    rb"(?=PCOUNT  = *0[ /]).{80}GCOUNT  = *1[ /]",
    re.DOTALL,
)
_TYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


class PlainImage(NamedTuple):
    """An image of one or two dimensions.

    Attributes
    ----------
    header : bytes
    shape : tuple of int
    dtype : numpy dtype
    begin : int
        Its first byte in the file.
    """

    header: bytes
    shape: tuple[int, ...]
    dtype: np.dtype
    begin: int

    def first_row(self, file: BinaryIO) -> np.ndarray:
        """Read its first row, or all of it if it has one dimension (array of native byte order).

        Raises
        ------
        OSError
            If the file has become shorter.
        """
        n_bytes = self.shape[-1] * self.dtype.itemsize
        file.seek(self.begin)
        content = file.read(n_bytes)
        if len(content) < n_bytes:
            raise OSError("truncated while it was read")
        return np.frombuffer(content, self.dtype).astype(self.dtype.newbyteorder("="))


def read_images(file: BinaryIO, size: int, n_images: int) -> list[PlainImage] | None:
    """Find the first images behind an empty primary HDU.

    Parameters
    ----------
    file : binary file
    size : int
        Its length [bytes].
    n_images : int
        How many, at most.

    Returns
    -------
    list of PlainImage, or None
        Fewer if the file ends before; None if it is one that a library should see.
    """
    header = read_header(file, 0)
    if header is None or not _PRIMARY.match(header):
        return None
    begin, images = len(header), []
    while len(images) < n_images and begin != size:
        header = read_header(file, begin)
        found = None if header is None else _IMAGE.match(header)
        if found is None or any(word in header for word in _SCALED):
            return None
        bits, n_axes, *axes = (int(number) for number in found.groups() if number)
        shape = tuple(reversed(axes))
        if bits not in _TYPES or len(shape) != n_axes or 0 in shape:
            return None
        image = PlainImage(header, shape, np.dtype(_TYPES[bits]), begin + len(header))
        images.append(image)
        begin = image.begin + -(-math.prod(shape) * image.dtype.itemsize // _BLOCK) * _BLOCK
        if begin > size:
            return None
    return images


def read_header(file: BinaryIO, begin: int) -> bytes | None:
    """Read the header that begins at a byte, to the end of its last block; None if there is none."""
    file.seek(begin)
    header = b""
    while len(header) < _HEADER_MAX:
        piece = file.read(_HEADER_STEP)
        header += piece
        if not header.startswith((b"SIMPLE  =", b"XTENSION=")):
            return None
        end = header.find(_END)
        while end % _CARD and end > 0:
            end = header.find(_END, end + 1)
        if end >= 0:
            return header[: (end // _BLOCK + 1) * _BLOCK]
        if len(piece) < _HEADER_STEP:
            return None
    return None
