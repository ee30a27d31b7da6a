"""APOGEE's files: the allStar table, the tree of spectra, and one reader each for apStar and aspcapStar."""

import os
import re
import zlib
from typing import NamedTuple

import numpy as np
from astropy.io import fits
from astropy.table import Table

from spfast.data.columns import STAR_COLUMNS, closest_names
from spfast.data.tables.values import check_plausible, column_values
from spfast.data.untrusted import check_file
from spfast.errors import BadInputError, reading
from spfast.model.layout import GRID_LOG10_START, GRID_LOG10_STEP, N_GRID

__all__ = ["SpectrumFiles", "Spectrum", "fits_library", "read_allstar", "spectrum_reader"]

#: Our name of each column, its type, and the names that releases give it, compared without case; the first found wins.
_COLUMNS = {
    "APOGEE_ID": ("U", ("APOGEE_ID", "OBJ", "SDSS4_APOGEE_ID")),
    "FILE": ("U", ("FILE",)),
    "TELESCOPE": ("U", ("TELESCOPE",)),
    "FIELD": ("U", ("FIELD",)),
    "LOCATION_ID": ("i8", ("LOCATION_ID",)),
    "ra": ("f8", ("RA",)),
    "dec": ("f8", ("DEC",)),
    "glon": ("f8", ("GLON", "L")),
    "glat": ("f8", ("GLAT", "B")),
    "SNR": ("f4", ("SNR",)),
    "TEFF": ("f4", ("TEFF",)),
    "LOGG": ("f4", ("LOGG",)),
    "FE_H": ("f4", ("FE_H", "M_H", "M_H_ATM", "PARAM_M_H")),
    "ALPHA_M": ("f4", ("ALPHA_M", "ALPHA_M_ATM", "PARAM_ALPHA_M")),
    "VHELIO_AVG": ("f4", ("VHELIO_AVG", "V_RAD")),
    "STARFLAG": ("i8", ("STARFLAG", "SPECTRUM_FLAGS")),
    "ASPCAPFLAG": ("i8", ("ASPCAPFLAG", "RESULT_FLAGS")),
    "NVISITS": ("i4", ("NVISITS", "N_VISITS")),
    "J": ("f4", ("J", "J_MAG")),
    "J_ERR": ("f4", ("J_ERR", "E_J_MAG")),
    "H": ("f4", ("H", "H_MAG")),
    "H_ERR": ("f4", ("H_ERR", "E_H_MAG")),
    "K": ("f4", ("K", "K_MAG")),
    "K_ERR": ("f4", ("K_ERR", "E_K_MAG")),
}
_REQUIRED = ("APOGEE_ID", "SNR", "LOGG", "J", "J_ERR", "H", "H_ERR", "K", "K_ERR")

#: APOGEE writes -9999 (or -9999.99) for a missing number, and 99 for a missing magnitude in some releases.
_MISSING_BELOW = -9000.0
_MISSING_MAGNITUDE = 90.0


def read_allstar(path):
    """Read the columns of an allStar table that spfast uses.

    Parameters
    ----------
    path : path-like
        FITS; the table is in HDU 1, or in HDU 2 as in the summary files since DR19.

    Returns
    -------
    table : astropy Table
        Our names; text without padding, missing floats NaN, absent optional columns not there.

    Raises
    ------
    BadInputError
        If it cannot be read, is truncated, has no row, or lacks a column.
    """
    check_file(path)
    with (
        reading(path, "cannot be read as an allStar table"),
        open(path, "rb") as file,
        fits.open(file, memmap=not str(path).endswith(".gz"), disable_image_compression=True) as hdus,
    ):
        hdu = _allstar_hdu(hdus, path)
        found = _find_columns(hdu.columns.names, path)
        if hdu.data is None or not len(hdu.data):
            raise BadInputError(f"{path}: the allStar table has no rows, expected one a star; download it again")
        columns = {ours: (np.array(hdu.data[name]), hdu.columns[name].unit) for ours, name in found.items()}
    table = Table()
    for ours, (values, unit) in columns.items():
        kind = _COLUMNS[ours][0]
        values = column_values(values, kind, f"{path}: column {found[ours]}", unit, _unit(ours))
        if kind.startswith("f"):
            values[values < _MISSING_BELOW] = np.nan
        if ours[0] in "JHK":
            values[(values > _MISSING_MAGNITUDE) & (values < 100.0)] = np.nan
        table[ours] = values
    check_plausible(table, path)
    return table


def _unit(ours):
    return STAR_COLUMNS[ours].unit if ours in STAR_COLUMNS else ""


def _allstar_hdu(hdus, path):
    tables = [hdu for hdu in hdus[1:3] if isinstance(hdu, fits.BinTableHDU)]
    if not tables:
        raise BadInputError(f"{path}: no table in HDU 1 or 2; expected an APOGEE allStar file")
    for hdu in reversed(tables):
        names = {name.upper() for name in hdu.columns.names}
        if hdu.header["NAXIS2"] and "LOGG" in names and names & set(_COLUMNS["APOGEE_ID"][1]):
            return hdu
    return tables[0]


def _find_columns(names, path):
    """Our name of each column that the table has, and the table's own."""
    by_upper = {name.upper(): name for name in reversed(names)}
    found = {}
    for ours, (_, aliases) in _COLUMNS.items():
        own = next((by_upper[alias] for alias in aliases if alias in by_upper), None)
        if own is not None:
            found[ours] = own
        elif ours in _REQUIRED:
            raise BadInputError(
                f"{path}: no column {ours} (or {', '.join(aliases[1:]) or 'another name of it'}); "
                f"{closest_names(ours, names)}"
            )
    return found


class SpectrumFiles:
    """Every spectrum file under one folder, found in one scan; links that leave the folder are not followed.

    Parameters
    ----------
    root : path-like

    Attributes
    ----------
    root : str
    n_files : int

    Raises
    ------
    BadInputError
        If the folder does not exist or holds no FITS file.
    """

    #: Sorts the kinds of file that a star may have; what is not here is not a combined spectrum.
    _KINDS = (("aspcapStar", 0), ("apStar-", 1), ("asStar-", 1))
    _OTHER = re.compile(r"(mwm|ap1D|ap2D|ap3D|ap[A-Z]|as[A-Z]|as1D|all[A-Z])")

    def __init__(self, root):
        if not os.path.isdir(root):
            raise BadInputError(f"{root}: no such folder of spectra; check --spectra")
        self.root = os.path.realpath(root)
        self._by_name, self._by_id = {}, None
        self.n_files = 0
        pending = [""]
        while pending:
            folder = pending.pop()
            try:
                entries = sorted(os.scandir(os.path.join(self.root, folder)), key=lambda entry: entry.name)
            except OSError as error:
                raise BadInputError(f"{os.path.join(root, folder)}: cannot be listed ({error.strerror})") from None
            for entry in entries:
                relative = os.path.join(folder, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(relative)
                elif entry.name.endswith((".fits", ".fits.gz")) and self._inside(entry):
                    self._by_name.setdefault(entry.name, []).append(relative)
                    self.n_files += 1
        if not self.n_files:
            raise BadInputError(f"{root}: no FITS file in this folder or below; check --spectra")

    def _inside(self, entry):
        if not entry.is_symlink():
            return entry.is_file()
        target = os.path.realpath(entry.path)
        return os.path.isfile(target) and os.path.commonpath([target, self.root]) == self.root

    def find(self, apogee_id, file="", places=()):
        """Return a star's file: the one named in allStar if it is there, else the one with its ID in the name.

        Parameters
        ----------
        apogee_id : str
        file : str
            allStar's FILE; only its last part is used, so that it cannot lead out of the folder.
        places : tuple of str
            Folder names that the right file has among its parents (telescope, field, location): they choose between
            files of one name.

        Returns
        -------
        path : str
            Relative to the root; empty if there is none.
        """
        name = re.split(r"[/\\]", file.strip())[-1]
        candidates = self._by_name.get(name) or self._by_name.get(name + ".gz")
        if not candidates:
            if self._by_id is None:
                self._by_id = self._index_ids()
            candidates = self._by_id.get(apogee_id, ())
        if len(candidates) > 1:
            wanted = {place for place in places if place}
            candidates = sorted(candidates, key=lambda path: self._order(path, wanted))
        return candidates[0] if candidates else ""

    def _order(self, path, wanted):
        folders = path.split(os.sep)
        return self._kind(folders[-1]), -len(wanted.intersection(folders[:-1])), path

    def _kind(self, name):
        for prefix, order in self._KINDS:
            if name.startswith(prefix):
                return order
        return None if self._OTHER.match(name) else 2

    def _index_ids(self):
        """Index combined spectra by all that can be an ID in a name: what follows each dash, and 2MASS-like text."""
        index = {}
        for name, paths in self._by_name.items():
            if self._kind(name) is None:
                continue
            stem = name.removesuffix(".gz").removesuffix(".fits")
            parts = stem.split("-")
            keys = {"-".join(parts[i:]) for i in range(len(parts))}
            keys.update(re.findall(r"[A-Z0-9]{2}\d{8}[+-]\d{7}", stem))
            for key in keys:
                index.setdefault(key, []).extend(paths)
        return index


class Spectrum(NamedTuple):
    """One combined spectrum on the APOGEE grid.

    ``flux`` and ``flux_error`` are float32 of shape (8575,); ``pixel_mask`` is int32 or None; ``normalized`` says that
    the flux is near 1 already, as in aspcapStar.
    """

    flux: np.ndarray
    flux_error: np.ndarray
    pixel_mask: np.ndarray | None
    normalized: bool


def fits_library():
    """Return the library that reads spectra here: ``fitsio`` where installed (it is faster), else ``astropy``."""
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
        ``astropy`` or ``fitsio``; by default as `fits_library` says. Both give the same.

    Returns
    -------
    read : callable
        ``read(path) -> Spectrum``; raises BadInputError for a file that is no spectrum, or is damaged.
    """
    read = {"astropy": _read_astropy, "fitsio": _read_fitsio}[library or fits_library()]

    def read_spectrum(path):
        path = os.fspath(path)
        if not os.path.isfile(path):
            raise BadInputError(f"{path}: no such file")
        check_file(path)
        with reading(path, "damaged or not FITS", "download it again"):
            _check_grid(path)
            # CFITSIO takes brackets in a name as instructions: rows to select, a file to copy to.
            return (_read_astropy if set(path) & set("[](){}") else read)(path)

    return read_spectrum


#: Where HDU 1's header is found, blocks of the primary header before it included.
_HEAD_SIZE = 1 << 16
#: Cards that place the pixels; a tenth of a pixel anywhere on the grid is allowed for rounding.
_GRID_CARDS = {
    b"CRVAL1": (GRID_LOG10_START, 0.1 * GRID_LOG10_STEP),
    b"CDELT1": (GRID_LOG10_STEP, 0.1 * GRID_LOG10_STEP / N_GRID),
    b"CRPIX1": (1.0, 0.1),
}


def _check_grid(path):
    """Refuse a spectrum whose header puts its pixels at other wavelengths; read as bytes, as headers are slow."""
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
    """Tell apStar from aspcapStar: two-dimensional is apStar; if not, HDU 3 is apStar's integer mask, or a model.

    HDU 3 is not looked at in a file whose name says aspcapStar: its header alone costs a third of the reading.
    """
    if not 1 <= len(shape) <= 2 or shape[-1] != N_GRID or 0 in shape:
        raise BadInputError(
            f"{path}: HDU 1 has shape {shape}, expected ({N_GRID},) or (n, {N_GRID}); not an apStar or aspcapStar file"
        )
    return len(shape) == 2 or (not os.path.basename(path).startswith("aspcapStar") and third_is_integer())


def _check_shapes(path, shape, others):
    """Before anything is read: a row of another image could have any length."""
    if any(other != shape for other in others):
        raise BadInputError(
            f"{path}: HDU 1 has shape {shape}, those after it {', '.join(map(str, others))}; flux, error and mask of "
            "an apStar or aspcapStar file have the same"
        )


def _spectrum(flux, flux_error, mask):
    if flux.dtype != np.float32 or flux_error.dtype != np.float32:
        with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite, which is a bad pixel
            flux, flux_error = flux.astype(np.float32), flux_error.astype(np.float32)
    return Spectrum(flux, flux_error, None if mask is None else mask.astype(np.int32), mask is None)
