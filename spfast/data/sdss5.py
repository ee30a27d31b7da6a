"""Reading a star's combined APOGEE spectrum from SDSS-V's mwmStar file: tables of one row, one for each observatory."""

import math
import os
import re

import numpy as np
from astropy.io import fits
from astropy.table import Table

from spfast.data.apogee import Spectrum
from spfast.data.plain_fits import read_header
from spfast.data.untrusted import check_file
from spfast.errors import BadInputError, reading
from spfast.files import check_regular
from spfast.model.apogee import GRID_LOG10_START, GRID_LOG10_STEP, N_GRID

__all__ = ["observatory", "read_mwm_star", "spectra_to_read"]

#: An inverse variance up to this is none: apStar's error of a bad pixel, 1e10, becomes 1e-20 (sdss/astra,
#: models/apogee.py), and the noise of real ones is below 1e4 in their unit.
_IVAR_MIN = 1e-12
#: What a pixel gets whose flags are no number: APOGEE_PIXMASK's BAD_PIXEL.
_NO_FLAGS = 1
#: Cards that place the pixels, as this product names them, and what they may differ by: a tenth of a pixel.
_GRID_CARDS = {
    "CRVAL": (GRID_LOG10_START, 0.1 * GRID_LOG10_STEP),
    "CDELT": (GRID_LOG10_STEP, 0.1 * GRID_LOG10_STEP / N_GRID),
    "CRPIX": (1.0, 0.1),
}
_FLUX, _IVAR, _FLAGS = _PIXELS = ("flux", "ivar", "pixel_flags")
_TELESCOPE, _RELEASE = _NAMES = ("telescope", "release")

_BLOCK, _CARD = 2880, 80
#: HDUs that are looked at, and rows: this product has five, and one row.
_HDU_MAX, _ROWS_MAX = 16, 16
_VALUE = re.compile(
    rb"(BITPIX|NAXIS\d*|[PG]COUNT|TFIELDS|EXTNAME|INSTRMNT|OBSRVTRY|CRVAL|CDELT|CRPIX) *= *('[^']*'|[^ /]+)"
)
_COLUMN_NAME = re.compile(rb"TTYPE(\d+) *= *'([^']*)'")
_COLUMN_FORM = re.compile(rb"TFORM(\d+) *= *'(\d*)([A-Z])[^']*'")
_SCALED = re.compile(rb"T(?:SCAL|ZERO|NULL)(\d+) *=")
#: Bytes of a value of each FITS type that has a fixed size, without bits, and numpy's types of those that we read.
_WIDTHS = {b"L": 1, b"B": 1, b"A": 1, b"I": 2, b"J": 4, b"E": 4, b"K": 8, b"D": 8, b"C": 8, b"M": 16}
_TYPES = {b"J": ">i4", b"E": ">f4", b"K": ">i8", b"D": ">f8"}


def observatory(telescope: str) -> str:
    """Return the observatory in whose table the spectra of a telescope are: ``LCO`` or ``APO``.

    Examples
    --------
    >>> from spfast.data.sdss5 import observatory
    >>> observatory("lco25m"), observatory("apo1m")
    ('LCO', 'APO')
    """
    return "LCO" if telescope.lower().startswith("lco") else "APO"


def read_mwm_star(path: str | os.PathLike, telescope: str, release: str) -> Spectrum:
    """Read one combined spectrum of an mwmStar file.

    The file may be packed with gzip. A plain file as SDSS-V writes it is read directly, the bytes of three columns
    alone; what is unusual in any way is left to astropy.

    Parameters
    ----------
    path : path-like
    telescope, release : str
        Of the row of the summary table: the file may hold spectra of other telescopes, and has those of the newest
        release alone.

    Returns
    -------
    Spectrum
        Not normalised. A pixel without an inverse variance has an infinite error.

    Raises
    ------
    BadInputError
        If the file is damaged, on another wavelength grid, or does not hold that spectrum.
    """
    path = os.fspath(path)
    check_regular(path)
    if not os.path.isfile(path):
        raise BadInputError(f"{path}: no such file")
    with reading(path, "damaged or not FITS", "download it again"), open(path, "rb", buffering=0) as file:
        table = _find_plain(file, observatory(telescope))
        if table is not None:
            return _spectrum(path, table, telescope, release)
        check_file(path)
        file.seek(0)
        with fits.open(file, memmap=False, lazy_load_hdus=True, disable_image_compression=True) as hdus:
            return _spectrum(path, _find_table(path, hdus, observatory(telescope)), telescope, release)


def spectra_to_read(stars: Table) -> list:
    """Return where each star's spectrum is: the path of its file, or path, telescope and release of mwmStar.

    Parameters
    ----------
    stars : astropy Table
        From `spfast.data.parent_sample.parent_sample`.

    Returns
    -------
    list of str or of list of str
        Plain values, so that they travel as JSON.
    """
    names = ("FILE",) if stars.meta.get("spectra") != "mwmStar" else ("FILE", "TELESCOPE", "release")
    columns = [np.asarray(stars[name]).tolist() for name in names]
    return columns[0] if len(columns) == 1 else [list(row) for row in zip(*columns, strict=True)]


class _PlainTable:
    """A table of a plain FITS file, from its header: which bytes of a row are which column's."""

    def __init__(self, file, begin, cards, columns):
        self._file, self._begin, self._columns = file, begin, columns
        self.cards, self.n_rows, self._n_bytes = cards, int(cards["NAXIS2"]), int(cards["NAXIS1"])

    def value(self, name, row):
        """A column's values in one row (array or bytes); None if the table has no such column."""
        if name not in self._columns:
            return None
        offset, n_bytes, kind = self._columns[name]
        self._file.seek(self._begin + row * self._n_bytes + offset)
        content = self._file.read(n_bytes)
        if len(content) < n_bytes:
            raise OSError("truncated while it was read")
        return content if kind == b"A" else np.frombuffer(content, _TYPES[kind])


class _AstropyTable:
    """The same of a table that astropy reads."""

    def __init__(self, hdu):
        self.cards, self.n_rows = hdu.header, hdu.header["NAXIS2"]
        self._data = hdu.data
        self._names = {name.lower(): name for name in hdu.columns.names}

    def value(self, name, row):
        if name not in self._names:
            return None
        value = self._data[self._names[name]][row]
        return value.encode() if isinstance(value, str) else np.atleast_1d(value)


def _find_plain(file, wanted):
    """Find the table of an observatory; None if the file is one that astropy should see."""
    begin, size = 0, os.fstat(file.fileno()).st_size
    for number in range(_HDU_MAX):
        header = read_header(file, begin)
        if header is None:
            return None
        cards = _cards(header)
        try:
            n_bytes = _data_size(cards)
        except (KeyError, ValueError):
            return None
        begin += len(header)
        if begin + n_bytes > size:
            raise OSError("truncated")
        if number and _is_wanted(cards, wanted):
            columns = {} if int(cards["NAXIS2"]) == 0 else _columns(header, cards)
            return None if columns is None else _PlainTable(file, begin, cards, columns)
        begin += -(-n_bytes // _BLOCK) * _BLOCK
    return None


def _cards(header):
    """What a header says of a table and its grid (dict of str)."""
    cards = {}
    head, _, rest = header.partition(b"TTYPE1 ")
    # Cards of columns, which are most, are not among them.
    tail = rest[rest.rfind(b"TFORM") :] if rest else b""
    for part in (head, tail):
        for card in _VALUE.finditer(part):
            if card.start() % _CARD == 0:  # elsewhere it is a comment's
                cards.setdefault(card[1].decode("ascii"), card[2].strip(b"' ").decode("latin-1").strip())
    return cards


def _data_size(cards):
    """Bytes of the data behind a header."""
    axes = [int(cards[f"NAXIS{axis}"]) for axis in range(1, int(cards["NAXIS"]) + 1)]
    n_values = int(cards.get("PCOUNT", 0)) + (math.prod(axes) if axes else 0)
    size = abs(int(cards["BITPIX"])) // 8 * int(cards.get("GCOUNT", 1)) * n_values
    if not 0 <= size < 1 << 60:
        raise ValueError(size)
    return size


def _is_wanted(cards, wanted):
    """Whether a header is that of an observatory's APOGEE spectra: by its name, or else by the cards beside it."""
    name = str(cards.get("EXTNAME", "")).strip().upper()
    if name:
        return name == f"APOGEE/{wanted}"
    own = [str(cards.get(key, "")).strip().upper() for key in ("INSTRMNT", "OBSRVTRY")]
    return own == ["APOGEE", wanted]


def _columns(header, cards):
    """Place, size and type of the columns that are read (dict); None if one is not as SDSS-V writes it."""
    names, forms = _COLUMN_NAME.findall(header), _COLUMN_FORM.findall(header)
    numbers = [str(number).encode() for number in range(1, int(cards.get("TFIELDS", 0)) + 1)]
    if [number for number, _ in names] != numbers or [number for number, _, _ in forms] != numbers:
        return None
    scaled, columns, offset = set(_SCALED.findall(header)), {}, 0
    for (number, name), (_, repeat, kind) in zip(names, forms, strict=True):
        if kind not in _WIDTHS:
            return None
        n_bytes = (int(repeat) if repeat else 1) * _WIDTHS[kind]
        name = name.decode("latin-1").strip().lower()
        if name in (*_PIXELS, *_NAMES):
            usual = (
                kind == b"A" and n_bytes < _CARD if name in _NAMES else kind in _TYPES and int(repeat or 1) == N_GRID
            )
            if number in scaled or name in columns or not usual:
                return None
            columns[name] = offset, n_bytes, kind
        offset += n_bytes
    return columns if offset == int(cards["NAXIS1"]) else None


def _find_table(path, hdus, wanted):
    for number in range(_HDU_MAX):
        try:
            hdu = hdus[number]
        except IndexError:
            break
        if isinstance(hdu, fits.BinTableHDU) and _is_wanted(hdu.header, wanted):
            return _AstropyTable(hdu)
    raise BadInputError(
        f"{path}: has no table APOGEE/{wanted}; expected the HDUs of SDSS-V's mwmStar: download it again"
    )


def _spectrum(path, table, telescope, release):
    wanted = observatory(telescope)
    if not table.n_rows:
        raise BadInputError(f"{path}: its table APOGEE/{wanted} is empty: the star has no spectrum from there")
    if not 0 < table.n_rows <= _ROWS_MAX:
        raise BadInputError(
            f"{path}: APOGEE/{wanted} has {table.n_rows} rows, expected one spectrum; download it again"
        )
    for card, (expected, tolerance) in _GRID_CARDS.items():
        if card in table.cards and not abs(float(table.cards[card]) - expected) <= tolerance:
            raise BadInputError(
                f"{path}: APOGEE/{wanted} has {card} = {table.cards[card]}, expected {expected:g}: another wavelength "
                "grid than APOGEE's combined spectra"
            )
    row = _row(path, table, telescope, release)
    flux, ivar, flags = (table.value(name, row) for name in _PIXELS)
    for name, values in ((_FLUX, flux), (_IVAR, ivar), (_FLAGS, flags)):
        if values is None and name != _FLAGS:
            raise BadInputError(f"{path}: APOGEE/{wanted} has no column {name}; expected flux and ivar")
        if values is not None and np.shape(values) != (N_GRID,):
            raise BadInputError(f"{path}: column {name} has shape {np.shape(values)}, expected ({N_GRID},)")
    ivar = np.asarray(ivar, dtype=np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.where(ivar > np.float32(_IVAR_MIN), np.float32(1.0) / np.sqrt(ivar), np.float32(np.inf))
    with np.errstate(over="ignore"):
        flux = np.ascontiguousarray(flux, dtype=np.float32)
    return Spectrum(flux, error, None if flags is None else _bits(path, flags), normalized=False)


def _row(path, table, telescope, release):
    """The row of a telescope's and release's spectrum; the first of the table where it does not say whose they are."""
    held = []
    for row in range(table.n_rows):
        own = [table.value(name, row) for name in _NAMES]
        own = [wanted if text is None else _text(text) for text, wanted in zip(own, (telescope, release), strict=True)]
        if [text.lower() for text in own] == [telescope.lower(), release.lower()]:
            return row
        held.append(" of ".join(own[::-1]))
    raise BadInputError(
        f"{path}: holds the spectrum of {' and '.join(held[:3])}, the summary's row is of {release} of {telescope}"
    )


def _text(content):
    return bytes(content).rstrip(b" \0").decode("latin-1")


def _bits(path, flags):
    """Bits of the pixels as int32; SDSS-V keeps them in float32, which is exact for those that there are."""
    if flags.dtype.kind == "f":
        flags = np.where(np.isfinite(flags), flags, flags.dtype.type(_NO_FLAGS))
        if not np.all((flags == np.rint(flags)) & (np.abs(flags) < 2.0**31)):
            raise BadInputError(f"{path}: column {_FLAGS} has fractions, expected bits; download the file again")
    return flags.astype(np.int32)
