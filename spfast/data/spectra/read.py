"""Reading one of APOGEE's spectrum files, apStar (also named asStar) or aspcapStar, with astropy or fitsio."""

import os
import re
import zlib
from typing import NamedTuple

import numpy as np
from astropy.io import fits

from spfast.data.untrusted import check_file
from spfast.errors import BadInputError, reading
from spfast.model.layout import GRID_LOG10_START, GRID_LOG10_STEP, N_GRID

__all__ = ["Spectrum", "fits_library", "spectrum_reader"]


class Spectrum(NamedTuple):
    """One combined spectrum on the APOGEE grid.

    ``flux`` and ``flux_error`` are float32 of shape (8575,); ``pixel_mask`` is int32 or None; ``normalized`` says
    whether the flux is near 1 already, as in aspcapStar.
    """

    flux: np.ndarray
    flux_error: np.ndarray
    pixel_mask: np.ndarray | None
    normalized: bool


def fits_library() -> str:
    """Return the library that reads spectra here: ``fitsio``, which is faster, if it is installed, else ``astropy``."""
    try:
        import fitsio  # noqa: F401
    except ImportError:
        return "astropy"
    return "fitsio"


def spectrum_reader(library=None):
    """Return the function that reads one spectrum file.

    Parameters
    ----------
    library : str, optional
        ``astropy`` or ``fitsio``, by default what `fits_library` returns. Both give the same spectra.

    Returns
    -------
    read : callable
        ``read(path) -> Spectrum``. It raises BadInputError if the file is damaged or no spectrum.
    """
    read = {"astropy": _read_astropy, "fitsio": _read_fitsio}[library or fits_library()]

    def read_spectrum(path):
        path = os.fspath(path)
        if not os.path.isfile(path):
            raise BadInputError(f"{path}: no such file")
        check_file(path)
        with reading(path, "damaged or not FITS", "download it again"):
            _check_grid(path)
            # CFITSIO takes brackets in a name for instructions: rows to select, a file to copy to.
            return (_read_astropy if set(path) & set("[](){}") else read)(path)

    return read_spectrum


#: Bytes at the start of a file that hold the primary header and that of HDU 1.
_HEAD_SIZE = 1 << 16
#: Cards that place the pixels, and what they may differ by for rounding: a tenth of a pixel anywhere on the grid.
_GRID_CARDS = {
    b"CRVAL1": (GRID_LOG10_START, 0.1 * GRID_LOG10_STEP),
    b"CDELT1": (GRID_LOG10_STEP, 0.1 * GRID_LOG10_STEP / N_GRID),
    b"CRPIX1": (1.0, 0.1),
}


def _check_grid(path):
    """Refuse a spectrum whose header puts its pixels at other wavelengths; read as bytes, because parsing is slow."""
    with open(path, "rb") as file:
        head = file.read(_HEAD_SIZE)
    if head.startswith(b"\x1f\x8b"):
        head = zlib.decompressobj(wbits=31).decompress(head, _HEAD_SIZE)
    _, _, head = head.partition(b"XTENSION=")
    if head and not head.lstrip().startswith(b"'IMAGE"):
        raise BadInputError(f"{path}: HDU 1 is no image; not an apStar or aspcapStar file")
    head, _, _ = head.partition(b"END" + 77 * b" ")
    for key, (expected, tolerance) in _GRID_CARDS.items():
        card = re.search(rb"%-8b= *([-+.0-9EeDd]+)" % key, head)
        if card and not abs(float(card[1].upper().replace(b"D", b"E")) - expected) <= tolerance:
            raise BadInputError(
                f"{path}: HDU 1 has {key.decode()} = {card[1].decode()}, expected {expected:g}: another wavelength "
                "grid than APOGEE's combined spectra"
            )


def _read_astropy(path):
    # Opened here: astropy leaves a file open that it cannot read.
    options = {"memmap": False, "lazy_load_hdus": True, "disable_image_compression": True}
    with open(path, "rb") as file, fits.open(file, **options) as hdus:
        shape = getattr(hdus[1], "shape", ())  # a table has none
        has_mask = _has_mask(path, shape, lambda: hdus[3].header["BITPIX"] > 0)
        _check_shapes(path, shape, [getattr(hdu, "shape", ()) for hdu in hdus[2 : 4 if has_mask else 3]])
        rows = [hdus[extension].section[0] if len(shape) == 2 else hdus[extension].data for extension in (1, 2)]
        mask = (hdus[3].section[0] if len(shape) == 2 else hdus[3].data) if has_mask else None
    return _spectrum(*rows, mask)


def _read_fitsio(path):
    from fitsio import FITS

    with FITS(path) as hdus:
        shape = tuple(hdus[1].get_info().get("dims", ()))
        has_mask = _has_mask(path, shape, lambda: hdus[3].get_info()["img_equiv_type"] > 0)
        others = [hdus[extension] for extension in ((2, 3) if has_mask else (2,))]
        _check_shapes(path, shape, [tuple(hdu.get_info().get("dims", ())) for hdu in others])
        rows = [hdus[extension][0:1, :][0] if len(shape) == 2 else hdus[extension].read() for extension in (1, 2)]
        mask = (hdus[3][0:1, :][0] if len(shape) == 2 else hdus[3].read()) if has_mask else None
        if len(shape) == 2 and not path.endswith(".gz") and os.path.getsize(path) < hdus[3].get_offsets()["data_end"]:
            raise OSError("truncated after the first row")
    return _spectrum(*rows, mask)


def _has_mask(path, shape, third_is_integer):
    """Whether a file is apStar, which has a mask: it is if it has two dimensions, or if HDU 3 holds integers.

    A file whose name says aspcapStar is not asked for HDU 3, whose header alone costs a third of the reading.
    """
    if not 1 <= len(shape) <= 2 or shape[-1] != N_GRID or 0 in shape:
        raise BadInputError(
            f"{path}: HDU 1 has shape {shape}, expected ({N_GRID},) or (n, {N_GRID}); not an apStar or aspcapStar file"
        )
    return len(shape) == 2 or (not os.path.basename(path).startswith("aspcapStar") and third_is_integer())


def _check_shapes(path, shape, others):
    """Refuse images of different shapes before any is read: a row of another image could have any length."""
    if any(other != shape for other in others):
        raise BadInputError(
            f"{path}: HDU 1 has shape {shape}, those after it {', '.join(map(str, others))}; flux, error and mask of "
            "an apStar or aspcapStar file have the same shape"
        )


def _spectrum(flux, flux_error, mask):
    if flux.dtype != np.float32 or flux_error.dtype != np.float32:
        with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite, which is a bad pixel
            flux, flux_error = flux.astype(np.float32), flux_error.astype(np.float32)
    return Spectrum(flux, flux_error, None if mask is None else mask.astype(np.int32), mask is None)
