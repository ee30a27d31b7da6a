"""Arrays of spectra or other columns, one row a star, read by blocks: npy, FITS images, Parquet lists, HDF5."""

import os
import warnings
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
from astropy import units
from astropy.io import fits
from astropy.table import Table

from spfast.config import MISSING_NUMBERS
from spfast.data.tables.parquet_tables import need_pyarrow, parquet_column
from spfast.data.tables.stored import UnreadType
from spfast.data.tables.values import unit_factor
from spfast.data.untrusted import check_file
from spfast.errors import BadInputError, reading
from spfast.files import check_regular

__all__ = ["BLOCK", "Arrays", "open_arrays"]

#: Stars that are read together.
BLOCK = 256
#: An inverse variance of no more than this is none: SDSS's pipelines write it where the error is 1e10.
_IVAR_MIN = 1.0001e-20
#: Bounds of wavelengths [Angstrom]: no survey sees giants further out, and optical and near infrared nm are below.
_WAVELENGTHS = (2000.0, 1e6)
#: Names of the parts in files, in any case, the first best; in names of npy files they take the place of "flux".
NAMES = {
    "flux": ("flux", "spectrum", "spectra", "primary"),
    "error": ("error", "flux_error", "sigma", "uncertainty", "err"),
    "ivar": ("ivar", "flux_ivar", "invvar"),
    "mask": ("mask", "pixel_flags", "pix_bitmask", "bitmask"),
    "wavelength": ("wavelength", "wave", "lambda", "loglam"),
}
#: More arms than any spectrograph has are something else, e.g. a group for each star.
_MOST_ARMS = 99
_PARQUET, _HDF5, _FITS = (".parquet", ".parq"), (".h5", ".hdf5"), (".fits", ".fit", ".fts")


class Arrays:
    """One array of values with their errors: parts side by side, each with a name, that are read block by block.

    Parameters
    ----------
    parts : dict of dict
        Under the names of the groups; each with ``flux`` and ``error`` or ``ivar``, perhaps ``mask`` (arrays of shape
        (n_stars, n_columns), or anything that is sliced like them) and ``wavelength``.
    bad_bits : int, optional
        Bits of the mask that make a value bad; by default any that is not 0.
    blocks : callable, optional
        ``blocks(n)`` yields dicts of the same names for n stars after n, where files are read in order only.
    n_stars : int, optional
        Then their number.
    file : object, optional
        What `close` closes.
    """

    def __init__(self, parts, bad_bits=None, blocks=None, n_stars=None, file=None):
        self._parts, self._bad_bits, self._blocks, self._file = parts, _bits(bad_bits, parts), blocks, file
        self.groups = tuple(parts)
        shapes = {group: self._check(group, part, n_stars) for group, part in parts.items()}
        self.n_stars = next(iter(shapes.values()))[0] if n_stars is None else n_stars
        for group, shape in shapes.items():
            if blocks is None and shape[0] != self.n_stars:
                raise BadInputError(f"flux of {group}: {shape[0]:,} rows, that of {self.groups[0]} {self.n_stars:,}")
        self.lengths = {group: shape[1] for group, shape in shapes.items()}
        self.wavelength = {group: _wavelength(group, parts[group], n) for group, n in self.lengths.items()}

    def close(self):
        """Close the file that the arrays are in."""
        if self._file is not None:
            self._file.close()

    @staticmethod
    def _check(group, part, n_stars):
        """The shape of a part; refuse arrays that do not fit together."""
        of = f" of {group}" if group else ""
        if "flux" not in part:
            raise BadInputError(f"flux{of}: not given; give an array of shape (n_stars, n_pixels)")
        if ("error" in part) == ("ivar" in part):
            both = "both an error and an ivar" if "error" in part else "neither an error nor an ivar"
            raise BadInputError(f"flux{of}: has {both}, expected one of them, of the shape of the flux")
        shape = tuple(part["flux"].shape)
        if len(shape) != 2 or not all(shape) or part["flux"].dtype.kind not in "iuf":
            raise BadInputError(
                f"flux{of}: {part['flux'].dtype} of shape {shape}, expected numbers of shape (n_stars, n_pixels)"
            )
        for name in ("error", "ivar", "mask"):
            if name in part and tuple(part[name].shape) != shape:
                raise BadInputError(f"{name}{of}: shape {tuple(part[name].shape)}, expected the flux's {shape}")
            if name in part and part[name].dtype.kind not in ("iufb" if name == "mask" else "iuf"):
                raise BadInputError(f"{name}{of}: {part[name].dtype}, expected numbers")
        return shape

    def blocks(self):
        """Yield ``start, values, errors`` of the stars in order: float64, an error NaN where the value is bad."""
        if self._blocks is not None:
            start = 0
            for parts in self._blocks(BLOCK):
                values, errors = self._joined(parts, slice(None))
                yield start, values, errors
                start += len(values)
            return
        for start in range(0, self.n_stars, BLOCK):
            yield start, *self._joined(self._parts, slice(start, start + BLOCK))

    def _joined(self, parts, rows):
        pairs = [self._read(part, rows) for part in parts.values()]
        for group, (values, errors) in zip(self.groups, pairs, strict=True):
            if values.shape != errors.shape or values.shape[1] != self.lengths[group]:
                raise BadInputError(
                    f"flux: has {values.shape[1]} values in a row and {errors.shape[1]} errors, expected "
                    f"{self.lengths[group]} of each, as in the first row"
                )
        values, errors = zip(*pairs, strict=True)
        return (np.concatenate(each, axis=1) if len(each) > 1 else each[0] for each in (values, errors))

    def _read(self, part, rows):
        values = np.array(part["flux"][rows], dtype=np.float64)
        given = np.asarray(part["ivar" if "ivar" in part else "error"][rows], dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            errors = 1.0 / np.sqrt(np.where(given > _IVAR_MIN, given, np.nan)) if "ivar" in part else given.copy()
        bad = ~(np.isfinite(values) & np.isfinite(errors) & (errors > 0)) | np.isin(values, MISSING_NUMBERS)
        if "mask" in part:
            mask = np.asarray(part["mask"][rows])
            mask = mask if mask.dtype.kind in "iub" else np.where(np.isfinite(mask), mask, -1).astype(np.int64)
            every = self._bad_bits is None or mask.dtype.kind == "b"  # true and false have no bits
            bad |= mask != 0 if every else (mask.astype(np.int64) & self._bad_bits) != 0
        values[bad], errors[bad] = 0.0, np.nan
        return values, errors


def _bits(bad_bits, parts):
    """The bits as an int; refuse what is none, and bits of no mask."""
    if bad_bits is None:
        return None
    if not isinstance(bad_bits, int | np.integer) or not 0 < bad_bits < 2**63:
        raise BadInputError(f"bad_bits: {bad_bits!r}, expected a whole number from 1 to 2^63 - 1, e.g. 0x11")
    if not any("mask" in part for part in parts.values()):
        raise BadInputError("bad_bits: are bits of a mask, and there is none; give the mask")
    return int(bad_bits)


def _wavelength(group, part, n):
    if "wavelength" not in part:
        return None
    of = f" of {group}" if group else ""
    wavelength = np.array(part["wavelength"], dtype=np.float64)
    if wavelength.ndim == 2 and len(wavelength) and np.all(wavelength == wavelength[0]):
        wavelength = wavelength[0]
    if wavelength.ndim != 1 or wavelength.size != n:
        raise BadInputError(f"wavelength{of}: shape {wavelength.shape}, expected ({n},), as the flux has pixels")
    if not (np.isfinite(wavelength).all() and wavelength[0] > 0 and np.all(np.diff(wavelength) > 0)):
        steps = np.diff(wavelength)
        row = int(np.argmin(steps)) if n > 1 else 0
        first, then = wavelength[row], wavelength[min(row + 1, n - 1)]
        what = "turn all arrays round" if n > 1 and np.all(steps < 0) else "give arms that overlap one by one, as dicts"
        raise BadInputError(
            f"wavelength{of}: {first:.6g} is followed by {then:.6g} in place {row}; it must increase [Angstrom]; {what}"
        )
    low, high = _WAVELENGTHS
    if not low <= wavelength[0] <= wavelength[-1] <= high:
        raise BadInputError(
            f"wavelength{of}: {wavelength[0]:.6g} to {wavelength[-1]:.6g}, expected Angstrom, {low:,.0f} to "
            f"{high:,.0f}; are they in nm, in micrometres or log10? Convert them"
        )
    return wavelength


def open_arrays(flux, error=None, ivar=None, mask=None, wavelength=None, bad_bits=None):
    """Bring what a caller gives as arrays together.

    Parameters
    ----------
    flux, error, ivar, mask, wavelength
        Arrays, paths of ``.npy`` files (which are mapped), or dicts of them under the names of detectors or arms.
        A flux that is the path of another file, or of a folder of Parquet files, brings the others along.
    bad_bits : int, optional

    Returns
    -------
    arrays : Arrays
    table : astropy Table or None
        What else the file holds of each star.

    Raises
    ------
    BadInputError
    """
    given = {"flux": flux, "error": error, "ivar": ivar, "mask": mask, "wavelength": wavelength}
    given = {name: value for name, value in given.items() if value is not None}
    if isinstance(flux, str | os.PathLike) and (Path(flux).is_dir() or not _is_npy(flux)):
        return _open_file(Path(flux), {name: value for name, value in given.items() if name != "flux"}, bad_bits)
    if isinstance(flux, str | os.PathLike):
        given = _companions(Path(flux), given) | given
    if not isinstance(flux, Mapping):
        return Arrays({"": _part(given)}, bad_bits), None
    for name, value in given.items():
        if not isinstance(value, Mapping) or set(value) != set(flux):
            raise BadInputError(f"{name}: expected a dict with {', '.join(flux)}, as the flux is one")
    parts = {str(group): _part({name: value[group] for name, value in given.items()}) for group in flux}
    return Arrays(parts, bad_bits), None


def _is_npy(path):
    return Path(path).suffix.lower() == ".npy"


def _part(given):
    """The arrays of one group: the errors in the flux's unit, the wavelength in Angstrom."""
    of_flux = getattr(given["flux"], "unit", None)
    expected = {"error": of_flux, "wavelength": units.AA}
    if of_flux is not None:
        expected["ivar"] = of_flux**-2
    return {name: _array(name, value, expected.get(name)) for name, value in given.items()}


def _array(name, value, unit=None):
    """An array that a caller gives, without its mask and unit: values that are masked are bad."""
    if isinstance(value, str | os.PathLike):
        return _map(Path(value)) if name == "wavelength" else _Mapped(Path(value))
    own, hidden = getattr(value, "unit", None), getattr(value, "mask", None)
    if not isinstance(getattr(value, "dtype", None), np.dtype) or not hasattr(value, "shape"):
        try:
            value = np.asarray(value)
        except (TypeError, ValueError):
            text = f"{name}: {type(value).__name__} that is no array, expected rows of numbers, all of one length"
            raise BadInputError(text) from None
    if own is not None:
        factor = 1.0 if unit is None or own == unit else unit_factor(own, unit, name)
        value = getattr(value, "value", value)
        value = value if factor == 1.0 else value * factor
    if not isinstance(hidden, np.ndarray) or not hidden.any():
        return np.asarray(value) if own is not None or isinstance(hidden, np.ndarray) else value
    if name == "mask":
        every = True if value.dtype.kind == "b" else np.iinfo(value.dtype).max if value.dtype.kind in "iu" else 1.0
        return np.where(hidden, every, _unmasked(value)).astype(value.dtype)
    return np.where(hidden, np.nan, _unmasked(value))


def _unmasked(value):
    return np.asarray(getattr(value, "unmasked", value))


def _map(path):
    check_regular(path)
    if not path.exists():
        raise BadInputError(f"{path}: no such file; check the path")
    with reading(path, "cannot be read", "expected an array that numpy.save wrote"):
        return np.load(path, mmap_mode="r", allow_pickle=False)


class _Mapped:
    """An npy file, mapped anew for each block: pages of a map that stays count as this process's memory."""

    def __init__(self, path):
        self._path, array = path, _map(path)
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, rows):
        return np.array(_map(self._path)[rows])


def _companions(path, given):
    """The npy files beside that of the flux: x_flux.npy has x_error.npy or x_ivar.npy, x_mask.npy, x_wavelength.npy."""
    stem, found = path.stem, {}
    word = next((word for word in NAMES["flux"] if word in stem.lower()), None)
    if word is None:
        return found
    at = stem.lower().rindex(word)
    for name, words in NAMES.items():
        spelt = (style(w) for w in words for style in (str.lower, str.upper, str.capitalize))
        beside = (path.with_name(f"{stem[:at]}{w}{stem[at + len(word) :]}{path.suffix}") for w in spelt)
        match = next((each for each in beside if each.exists()), None)
        if match is not None and name != "flux":
            found[name] = match
    # One that is given stands for both.
    return {n: p for n, p in found.items() if not (n in ("error", "ivar") and {"error", "ivar"} & set(given))}


def _open_file(path, given, bad_bits):
    check_regular(path)
    if not path.exists():
        raise BadInputError(f"{path}: no such file or folder; check the path")
    suffix = path.suffix.lower()
    if path.is_dir() or suffix in _PARQUET:
        return _open_parquet(path, given, bad_bits)
    if suffix in _HDF5:
        return _open_hdf5(path, given, bad_bits)
    if suffix in _FITS:
        return _open_fits(path, given, bad_bits)
    known = ", ".join((".npy", *_FITS, *_PARQUET, *_HDF5))
    raise BadInputError(f"{path}: unknown suffix {path.suffix!r}; expected {known}, or a folder of Parquet files")


def _named(names, given, path):
    """Which of a file's names is each part of each arm: the caller's choice, else one of `NAMES` (dict of dict).

    The only arm has no name, unless they are named ``B_FLUX``, ``R_FLUX``, ... or are in groups ``b/flux``, ``r/flux``.
    """
    found = {"": _parts_of("", names, given, path)}
    if "flux" not in found[""]:
        ends = tuple(f"{mark}{word}" for mark in "_/." for word in NAMES["flux"])
        ending = ((name, next((end for end in ends if name.lower().endswith(end)), None)) for name in names)
        arms = {name[: -len(end)]: end[0] for name, end in ending if end is not None}
        if len(arms) > _MOST_ARMS:
            raise BadInputError(f"{path}: has {len(arms):,} fluxes; expected one array with a row for each star")
        found = {arm: _parts_of(f"{arm}{mark}", names, given, path) for arm, mark in arms.items()}
    if not found:
        raise BadInputError(f"{path}: has no flux, only {', '.join(list(names)[:12]) or 'nothing'}; name it FLUX")
    return found


def _short(names, mark):
    """Names by their last parts as well, where one alone has it (dict of str)."""
    last = [name.rpartition(mark)[2] for name in names]
    times = Counter(last)
    alone = {short: name for short, name in zip(last, names, strict=True) if times[short] == 1}
    return alone | {name: name for name in names}


def _parts_of(prefix, names, given, path):
    found, lower = {}, {name.lower(): name for name in names}
    for part, words in NAMES.items():
        own = given.get(part)
        if own is not None and own not in names:
            raise BadInputError(
                f"{path}: has no {own} for the {part}; it has {', '.join(list(names)[:12]) or 'nothing'}"
            )
        match = own or next((lower[f"{prefix.lower()}{w}"] for w in words if f"{prefix.lower()}{w}" in lower), None)
        if match is not None:
            found[part] = match
    for one, other in (("error", "ivar"), ("ivar", "error")):
        if one in given and other not in given:
            found.pop(other, None)
    return found


def _texts(given, path):
    """The caller's names of parts within a file; other arrays do not go with a file."""
    for name, value in given.items():
        if name != "wavelength" and (not isinstance(value, str) or _is_npy(value)):
            what = f"the file {value}" if isinstance(value, str | os.PathLike) else "an array"
            raise BadInputError(f"{path}: {name} is {what} beside this one; expected its name within the file")
    return {name: value for name, value in given.items() if isinstance(value, str) and not _is_npy(value)}


def _wavelength_given(given):
    value = given.get("wavelength")
    named = value is None or (isinstance(value, str) and not _is_npy(value))
    return None if named else _array("wavelength", value, units.AA)


class _Image:
    """An image of a FITS file, of which rows are read when they are asked for."""

    def __init__(self, hdu):
        self._hdu, self.shape = hdu, tuple(hdu.shape)
        self.dtype = np.dtype({8: "u1", 16: "i2", 32: "i4", 64: "i8", -32: "f4", -64: "f8"}[hdu.header["BITPIX"]])

    def __getitem__(self, rows):
        part = self._hdu.section[rows]
        return part.astype(part.dtype.newbyteorder("="), copy=False)


def _open_fits(path, given, bad_bits):
    check_file(path)
    with ExitStack() as stack:
        with reading(path, "cannot be read as FITS images"), warnings.catch_warnings():
            warnings.filterwarnings("error", message="File may have been truncated")
            # Opened here, for astropy leaves a file open that it cannot read; not mapped, for scaled integers.
            file = stack.enter_context(open(path, "rb"))
            hdus = stack.enter_context(fits.open(file, memmap=False))
            len(hdus)  # reads them all
        all_images = [hdu for hdu in hdus if hdu.is_image and len(hdu.shape) in (1, 2)]
        extensions = [hdu.name or "PRIMARY" for hdu in all_images]
        images = dict(zip(extensions, all_images, strict=True))
        if not images:
            raise BadInputError(
                f"{path}: has no image; expected FLUX, ERROR, ... as images, or list columns of Parquet"
            )
        parts = {}
        for arm, names in _named(images, _texts(given, path), path).items():
            twice = next((own for own in names.values() if extensions.count(own) > 1), None)
            if twice is not None:
                raise BadInputError(f"{path}: has {extensions.count(twice)} images {twice}; leave one, or rename them")
            parts[arm] = {name: _Image(images[own]) for name, own in names.items() if name != "wavelength"}
            wavelength = _wavelength_given(given)
            if wavelength is None and "wavelength" in names:
                own = images[names["wavelength"]]
                text = f"{path}: image {own.name}"
                wavelength = _angstroms(names["wavelength"], np.array(own.data), own.header.get("BUNIT"), text)
            elif wavelength is None:
                wavelength = _of_header(images[names["flux"]].header, f"{path}: CUNIT1")
            parts[arm] |= {} if wavelength is None else {"wavelength": wavelength}
        table = path if any(isinstance(hdu, fits.BinTableHDU) and not hdu.is_image for hdu in hdus) else None
        arrays = Arrays(parts, bad_bits, file=hdus)
        stack.pop_all()  # the file stays open as long as its arrays are read
    return arrays, table


def _of_header(header, where):
    """The wavelengths that CRVAL1 and CDELT1 (or CD1_1) say, of a linear or log10-linear axis; None without them."""
    step = header.get("CDELT1", header.get("CD1_1"))
    if "CRVAL1" not in header or not step:
        return None
    places = np.arange(header["NAXIS1"]) + 1.0 - header.get("CRPIX1", 1.0)
    axis = header["CRVAL1"] + step * places
    factor = _factor(header.get("CUNIT1"), where)
    return 10.0**axis if header.get("DC-FLAG") == 1 or (axis[-1] < 10.0 and factor == 1.0) else axis * factor


def _angstroms(name, values, unit, where):
    values = np.asarray(values, dtype=np.float64)
    return 10.0**values if name.lower().endswith("loglam") else values * _factor(unit, where)


def _factor(unit, where):
    """What turns a unit as files write it into Angstrom; SDSS writes "Angstrom (Vacuum)"."""
    unit = unit.decode("latin-1") if isinstance(unit, bytes) else str(unit or "")
    return unit_factor(unit.partition("(")[0].strip(), "Angstrom", where)


def _open_hdf5(path, given, bad_bits):
    try:
        import h5py
    except ImportError:
        raise BadInputError(f"{path}: HDF5 needs h5py; install it (pip install 'spfast[hdf5]')") from None
    with ExitStack() as stack:
        with reading(path, "cannot be read as HDF5"):
            file = stack.enter_context(h5py.File(path, "r"))
        datasets = {}
        file.visititems(lambda name, item: datasets.update({name: item}) if isinstance(item, h5py.Dataset) else None)
        shallow = _short(list(datasets), "/")
        parts, used = {}, set()
        for arm, names in _named(shallow, _texts(given, path), path).items():
            names = {part: shallow[name] for part, name in names.items()}
            used |= set(names.values())
            parts[arm] = {name: datasets[real] for name, real in names.items() if name != "wavelength"}
            wavelength = _wavelength_given(given)
            if wavelength is None and "wavelength" in names:
                own = datasets[names["wavelength"]]
                unit = own.attrs.get("unit", own.attrs.get("units"))
                wavelength = _angstroms(names["wavelength"], own[...], unit, f"{path}: {names['wavelength']}")
            parts[arm] |= {} if wavelength is None else {"wavelength": wavelength}
        arrays = Arrays(parts, bad_bits, file=file)
        columns = {}
        for name, item in datasets.items():
            if item.shape == (arrays.n_stars,) and name not in used:
                of_table = item.dtype.names  # those of a table that astropy or pandas wrote
                columns |= (
                    {n: _plain(item[n]) for n in of_table} if of_table else {name.rpartition("/")[2]: _plain(item)}
                )
        stack.pop_all()
    return arrays, Table(columns) if columns else None


def _plain(dataset):
    values = np.asarray(dataset[...])
    if values.dtype != object:
        return values
    return np.array([v.decode() if isinstance(v, bytes) else str(v) for v in values])


def _open_parquet(path, given, bad_bits):
    """List columns of a Parquet file or of a folder of them, HATS' included; scalar columns are the table."""
    need_pyarrow(path)
    import pyarrow
    from pyarrow import dataset as datasets

    with reading(path, "cannot be read as Parquet"):
        root = path / "dataset" if (path / "dataset").is_dir() else path
        files = sorted(map(str, root.rglob("*.parquet"))) if root.is_dir() else str(root)
        files = [f for f in files if not Path(f).name.startswith("_")] if isinstance(files, list) else files
        data = datasets.dataset(files, format="parquet")
    lists = {}
    for field in data.schema:
        inner = [(f"{field.name}.{f.name}", f.type) for f in field.type] if pyarrow.types.is_struct(field.type) else []
        for name, kind in inner or [(field.name, field.type)]:
            if str(kind).startswith(("list<", "large_list<", "fixed_size_list<")):
                lists[name] = field.name
    short = _short(list(lists), ".")
    found = _named(list(short), _texts(given, path), path)
    if len(found) > 1:
        raise BadInputError(f"{path}: has a flux of {' and '.join(found)}; give the arms as arrays, in dicts")
    names = {part: short[name] for part, name in next(iter(found.values())).items()}
    scalars = [f.name for f in data.schema if f.name not in lists.values() and not pyarrow.types.is_nested(f.type)]
    with reading(path, "cannot be read as Parquet"):
        n_stars = data.count_rows()
        table = _scalars(data.to_table(columns=scalars))
    if not n_stars:
        raise BadInputError(f"{path}: has no rows, expected one for each star")

    def blocks(n, some=None):
        """The parts of n stars after n."""
        wanted = {part: name for part, name in names.items() if part != "wavelength"} if some is None else some
        columns = sorted({lists[name] for name in wanted.values()})
        reading_on = {"use_threads": False, "batch_readahead": 1, "fragment_readahead": 1}
        row = 0
        with reading(path, "cannot be read as Parquet"):
            for batch in data.to_batches(columns=columns, **reading_on, batch_size=n):
                if batch.num_rows:
                    parts = {part: _matrix(batch, name, lists[name], part, row, path) for part, name in wanted.items()}
                    row += batch.num_rows
                    yield {"": parts}

    first = next(blocks(1))[""]
    wavelength = _wavelength_given(given)
    if wavelength is None and "wavelength" in names:
        # That of every star is compared with the first one's: nothing would notice if they differed.
        for block in blocks(BLOCK, {"wavelength": names["wavelength"]}):
            rows = _angstroms(names["wavelength"], block[""]["wavelength"], None, path)
            wavelength = rows[0] if wavelength is None else wavelength
            if rows.shape[1] != wavelength.size or not np.array_equal(rows, np.broadcast_to(wavelength, rows.shape)):
                raise BadInputError(f"{path}: stars have different wavelengths; bring their spectra on one grid first")
    part = first | ({} if wavelength is None else {"wavelength": wavelength})
    return Arrays({"": part}, bad_bits, blocks, n_stars), table


def _scalars(columns):
    """Columns of one value a row (astropy Table), without those of types that no table has."""
    table = Table()
    for name, column in zip(columns.column_names, columns.columns, strict=True):
        with suppress(UnreadType):
            table[name] = parquet_column(name, column)
    return table


def _matrix(batch, name, column, part, row, path):
    """A list column of a batch as an array of shape (n_rows, n_columns)."""
    import pyarrow.compute as compute

    values = batch.column(column)
    if name != column:
        values = values.field(name.partition(".")[2])
    lengths = np.asarray(compute.list_value_length(values).fill_null(-1))
    if lengths.min() != lengths.max() or lengths[0] < 1:
        wrong = row + int(np.flatnonzero(lengths != max(lengths[0], 1))[0])
        raise BadInputError(f"{path}: {part} of row {wrong} has another length than that of row {row}, {lengths[0]}")
    flat = compute.list_flatten(values)
    if flat.null_count and str(flat.type) in ("float", "double"):
        flat = flat.fill_null(float("nan"))
    return np.asarray(flat).reshape(len(lengths), -1)
