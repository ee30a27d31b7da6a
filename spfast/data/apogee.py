"""Reading one of APOGEE's spectrum files, apStar (also named asStar) or aspcapStar: directly, or with a library."""

import gzip
import os
import re
import zlib
from typing import NamedTuple

import numpy as np
from astropy.io import fits

from spfast.data.plain_fits import read_images
from spfast.data.untrusted import check_file
from spfast.errors import BadInputError, reading
from spfast.files import check_regular
from spfast.model.apogee import GRID_LOG10_START, GRID_LOG10_STEP, N_GRID

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
        For a file that is unusual in any way: ``astropy`` or ``fitsio``, by default what `fits_library` returns. Both
        give the same spectra.

    Returns
    -------
    read : callable
        ``read(path) -> Spectrum``. It raises BadInputError if the file is damaged or no spectrum.
    """
    read = {"astropy": _read_astropy, "fitsio": _read_fitsio}[library or fits_library()]

    def read_spectrum(path):
        path = os.fspath(path)
        check_regular(path)
        if not os.path.isfile(path):
            raise BadInputError(f"{path}: no such file")
        spectrum = _read_plain(path)
        if spectrum is not None:
            return spectrum
        check_file(path)
        with reading(path, "damaged or not FITS", "download it again"):
            _check_grid(path, *_first_header(path))
            # CFITSIO takes brackets in a name for instructions: rows to select, a file to copy to.
            return (_read_astropy if set(path) & set("[](){}") else read)(path)

    return read_spectrum


_GZIP = b"\x1f\x8b"
#: Medians that a normalised flux and its best fit may have.
_NEAR_1 = 0.5, 2.0
#: Bytes at the start of a file that hold the primary header and that of HDU 1.
_HEAD_SIZE = 1 << 16
#: Cards that place the pixels, and what they may differ by for rounding: a tenth of a pixel anywhere on the grid.
_GRID_CARDS = {
    re.compile(rb"(%s) *= *([-+.0-9EeDd]+)" % card): limits
    for card, limits in {
        b"CRVAL1": (GRID_LOG10_START, 0.1 * GRID_LOG10_STEP),
        b"CDELT1": (GRID_LOG10_STEP, 0.1 * GRID_LOG10_STEP / N_GRID),
        b"CRPIX1": (1.0, 0.1),
    }.items()
}


def _first_header(path):
    """Read the header of HDU 1, and say whether it is an image's; read as bytes, because parsing is slow."""
    with open(path, "rb") as file:
        head = file.read(_HEAD_SIZE)
    if head.startswith(_GZIP):
        head = zlib.decompressobj(wbits=31).decompress(head, _HEAD_SIZE)
    _, _, head = head.partition(b"XTENSION=")
    is_image = not head or head.lstrip().startswith(b"'IMAGE")
    return head.partition(b"END" + 77 * b" ")[0], is_image


def _check_grid(path, header, is_image=True):
    """Refuse a spectrum whose header puts its pixels at other wavelengths."""
    if not is_image:
        raise BadInputError(f"{path}: HDU 1 is {_what_else(path, header)}; not an apStar or aspcapStar file")
    for card, (expected, tolerance) in _GRID_CARDS.items():
        found = card.search(header)
        if found and not abs(float(found[2].upper().replace(b"D", b"E")) - expected) <= tolerance:
            raise BadInputError(
                f"{path}: HDU 1 has {found[1].decode()} = {found[2].decode()}, expected {expected:g}: another "
                "wavelength grid than APOGEE's combined spectra"
            )


def _what_else(path, header):
    """Say what HDU 1 is if it is no image, and what to do."""
    if re.search(rb"ZIMAGE *= *T", header):
        return "no image but a tile-compressed one, which is not read: unpack the file with funpack"
    if os.path.basename(path).lower().startswith(("mwm", "astra")):
        return "no image but a table as in SDSS-V's mwmStar, which is read with a summary that has sdss_id"
    return "no image"


def _read_plain(path):
    """Read a file of the archives' own making; None if it is not plainly one, and a library should see it."""
    n_images = 2 if _is_named(path, "aspcapstar") else 3
    try:
        with open(path, "rb", buffering=_HEAD_SIZE) as file:
            images = read_images(file, os.fstat(file.fileno()).st_size, n_images)
            if images is None or len(images) < 2 or any(image.shape != images[0].shape for image in images):
                return None
            shape = images[0].shape
            if shape[-1] != N_GRID or any(image.dtype.kind != "f" for image in images[:2]):
                return None
            if n_images == 2 and len(shape) == 2:
                return None  # its HDU 3 tells whether it is an aspcapStar
            try:
                _check_grid(path, images[0].header)
            except ValueError:
                return None  # no number where one belongs
            kind = _kind(path, shape, len(images) == 3, lambda: images[2].dtype.kind != "f")
            rows = [image.first_row(file) for image in images[: 2 + kind.has_mask]]
    except OSError:
        return None
    return _spectrum(path, len(shape) == 1, kind.normalized, *rows)


def _read_astropy(path):
    # Opened here: astropy leaves a file open that it cannot read.
    options = {"memmap": False, "lazy_load_hdus": True, "disable_image_compression": True}
    with open(path, "rb") as file, fits.open(file, **options) as hdus:
        images = [_hdu(hdus, 1), _hdu(hdus, 2)]
        shape = getattr(images[0], "shape", ())  # a table has none
        _check_shape(path, shape)
        third = None if _is_named(path, "aspcapstar") and len(shape) == 1 else _third_hdu(path, hdus, images[1])
        kind = _kind(path, shape, third is not None, lambda: third.header["BITPIX"] > 0)
        images += [third] if kind.has_mask else []
        _check_shapes(path, shape, [getattr(hdu, "shape", ()) for hdu in images[1:]])
        rows = [hdu.section[0] if len(shape) == 2 else hdu.data for hdu in images]
    return _spectrum(path, len(shape) == 1, kind.normalized, *rows)


def _third_hdu(path, hdus, second):
    """Return HDU 3; None if the file ends before it, and an error if it only breaks off there."""
    try:
        return hdus[3]
    except IndexError:
        place = second.fileinfo()
        with (gzip.open if _is_gzip(path) else open)(path, "rb") as content:
            content.seek(place["datLoc"] + place["datSpan"])
            if content.read(1):
                raise OSError("HDU 3 is truncated") from None
        return None


def _read_fitsio(path):
    from fitsio import FITS

    with FITS(path) as hdus:
        images = [_hdu(hdus, 1), _hdu(hdus, 2)]
        infos = [hdu.get_info() for hdu in images]
        shape = tuple(infos[0].get("dims", ()))
        _check_shape(path, shape)
        if any(info.get("img_type", -1) > 0 for info in infos):
            return _read_astropy(path)  # integers may have a value that stands for "none", which fitsio ignores
        third = None
        if not (_is_named(path, "aspcapstar") and len(shape) == 1):
            try:
                third = hdus[3]
            except (OSError, IndexError):
                return _read_astropy(path)  # it says whether HDU 3 is missing or cut short
        kind = _kind(path, shape, third is not None, lambda: third.get_info()["img_equiv_type"] > 0)
        images += [third] if kind.has_mask else []
        _check_shapes(path, shape, [tuple(hdu.get_info().get("dims", ())) for hdu in images[1:]])
        rows = [hdu[0:1, :][0] if len(shape) == 2 else hdu.read() for hdu in images]
        if len(shape) == 2 and not _is_gzip(path) and os.path.getsize(path) < images[-1].get_offsets()["data_end"]:
            raise OSError("truncated after the first row")
    return _spectrum(path, len(shape) == 1, kind.normalized, *rows)


def _hdu(hdus, number):
    try:
        return hdus[number]
    except (OSError, IndexError):
        raise OSError(f"no whole HDU {number}, expected flux in HDU 1 and its error in HDU 2") from None


def _is_gzip(path):
    with open(path, "rb") as file:
        return file.read(2) == _GZIP


def _is_named(path, *kinds):
    return os.path.basename(path).lower().startswith(kinds)


class _Kind(NamedTuple):
    has_mask: bool
    normalized: bool


def _kind(path, shape, has_third, third_is_integer):
    """Say whether a file has a mask and whether its flux is near 1.

    apStar has two dimensions, or integers in HDU 3, its mask; in one dimension and with another type of mask, or with
    none, it is known by its name. A file whose name says aspcapStar is not asked for HDU 3 if it has one dimension: the
    header alone costs a third of the reading.
    """
    if _is_named(path, "aspcapstar"):
        is_mask = len(shape) == 2 and has_third and third_is_integer()
        return _Kind(is_mask, normalized=not is_mask)
    if len(shape) == 2 or _is_named(path, "apstar", "asstar"):
        return _Kind(has_third, normalized=False)
    if not has_third:
        raise BadInputError(
            f"{path}: has no HDU 3, and its name does not say whether the flux is normalised; begin the name with "
            "apStar- or aspcapStar-"
        )
    is_mask = third_is_integer()
    return _Kind(is_mask, normalized=not is_mask)


def _check_shape(path, shape):
    if not 1 <= len(shape) <= 2 or shape[-1] != N_GRID or 0 in shape:
        raise BadInputError(
            f"{path}: HDU 1 has shape {shape}, expected ({N_GRID},) or (n, {N_GRID}); not an apStar or aspcapStar file"
        )


def _check_shapes(path, shape, others):
    """Refuse images of different shapes before any is read: a row of another image could have any length."""
    if any(other != shape for other in others):
        raise BadInputError(
            f"{path}: HDU 1 has shape {shape}, those after it {', '.join(map(str, others))}; flux, error and mask of "
            "an apStar or aspcapStar file have the same shape"
        )


def _spectrum(path, is_single, normalized, flux, flux_error, mask=None):
    if flux.dtype != np.float32 or flux_error.dtype != np.float32:
        with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite, which is a bad pixel
            flux, flux_error = flux.astype(np.float32), flux_error.astype(np.float32)
    if mask is None:
        return Spectrum(flux, flux_error, None, normalized)
    # SDSS-V keeps bits in float32. A fraction is no bit: then HDU 3 is something else.
    if mask.dtype.kind == "f" and not np.all((mask == np.rint(mask)) & (np.abs(mask) < 2.0**31)):
        if is_single and _NEAR_1[0] < np.median(flux) < _NEAR_1[1] and _NEAR_1[0] < np.median(mask) < _NEAR_1[1]:
            return Spectrum(flux, flux_error, None, True)  # flux and best fit: an aspcapStar under another name
        raise BadInputError(f"{path}: HDU 3 has fractions, expected the pixel mask or no HDU 3; remove it")
    return Spectrum(flux, flux_error, mask.astype(np.int32), normalized)
