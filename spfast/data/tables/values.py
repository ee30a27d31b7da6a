"""Columns of other people's tables, brought to a survey's types, units and missing values; nonsense is refused."""

import re
import warnings

import numpy as np
from astropy import units

from spfast.config import MISSING_NUMBERS, SMALLEST_PARALLAX_ERROR
from spfast.data.columns import DR3_COLUMNS, SDSS5_COLUMNS, STAR_COLUMNS
from spfast.errors import BadInputError, SpfastWarning

__all__ = [
    "NO",
    "NO_VALUE",
    "YES",
    "check_plausible",
    "column_values",
    "float_column",
    "refuse_two_units",
    "star_column",
]

#: Words for "no value", in lower case: of databases (null, \\N), pandas (None, <NA>, NaN), astropy (--), people.
NO_VALUE = frozenset(
    (
        "",
        "null",
        "(null)",
        "<null>",
        "none",
        "nil",
        "na",
        "n/a",
        "#n/a",
        "<na>",
        "nan",
        "-nan",
        "nat",
        "--",
        "---",
        "\\n",
    )
)
#: How tables write "yes" and "no", in lower case.
YES = ("1", "1.0", "true", "t", "yes", "y")
NO = ("0", "0.0", "false", "f", "no", "n")

#: Fortran writes the exponent of a double with D: 1.234D+02.
_FORTRAN = re.compile(r"([-+]?\d*\.?\d+\.?)[dD]([-+]?\d+)$")
#: Writers of tables for people set a true minus sign.
_MINUS = "\N{MINUS SIGN}"

#: What surveys write for "no value" (-9999, -9999.99) is in this range, or among `MISSING_NUMBERS`; of integers only
#: those of them that are whole.
_MISSING_RANGE = (-1e4, -9990.0)
#: Magnitudes of this size or more, up to 100, are 99, 99.99, 99.999, -99, -99.99, ...: no star has them.
_MISSING_MAGNITUDE = 90.0
#: Errors of such magnitudes are 9.9, 9.99, 9.999, ...
_MISSING_ERROR = (9.9, 10.0)

#: The noise of parallaxes alone makes half the width of their distribution (16 to 84%) as large as their errors: below
#: this share of the median error they are in another unit than it; so they are if their median is this many times it,
#: for the nearest star's is a few times ten thousand. Asked of so many stars.
_NARROWEST, _CLEAREST, _ENOUGH = 0.1, 5e3, 10

#: Bounds of a column's median, and its unit: a column beyond them is in another unit, which its table does not state.
_PLAUSIBLE = {
    "mag": (-5.0, 30.0, "magnitudes; are they fluxes?"),
    "parallax_error": (2e-3, 50.0, "mas; are they in arcsec?"),
}
#: Bounds of single values, by column or unit: the edges of the sky, and for the rest far beyond anything measured, so
#: that one wild number does not drown a mean or a fit.
_LONGITUDE, _LATITUDE = (-180.0, 360.0), (-90.0, 90.0)
_POSSIBLE = {
    **{"ra": _LONGITUDE, "dec": _LATITUDE, "glon": _LONGITUDE, "glat": _LATITUDE, "ecl_lat": _LATITUDE},
    **{
        "parallax": (-1e4, 1e4),
        "parallax_error": (-1e4, 1e4),
        "SNR": (-1e6, 1e6),
        "TEFF": (0.0, 1e6),
        "VHELIO_AVG": (-1e4, 1e4),
    },
    **{"LOGG": (-10.0, 10.0), "FE_H": (-10.0, 10.0), "ALPHA_M": (-10.0, 10.0), "mag": (-30.0, 50.0)},
}


def column_values(values, kind, where, given=None, unit=""):
    """Return one column of an input table as a survey keeps it: a plain array in the survey's type and unit.

    Parameters
    ----------
    values : array, masked array or astropy Column
        As they are in the file; numbers may be text there.
    kind : str
        As in `StarColumn`.
    where : str
        File and column, for messages.
    given : str or astropy unit, optional
        The file's own unit; one that astropy cannot parse counts as ours, with a warning unless ours is a logarithm.
    unit : str
        The survey's unit; empty for none.

    Returns
    -------
    values : array
        Missing and infinite numbers are NaN or -1, and so are those that surveys write for "no value"; a missing text
        is empty.

    Raises
    ------
    BadInputError
        If it has more than one value a row, is not text or not numbers, does not fit its type, or has a unit that
        cannot be converted.

    Examples
    --------
    >>> import numpy as np
    >>> from spfast.data.tables.values import column_values
    >>> values = column_values(np.array([1, np.inf]), "f8", "gaia.fits: column parallax", "arcsec", "mas")
    >>> values.round(6).tolist()
    [1000.0, nan]
    """
    mask, plain = np.ma.getmaskarray(values), np.asarray(values)
    if plain.ndim > 1 and plain.shape[1:].count(1) == plain.ndim - 1:
        mask, plain = mask.ravel(), plain.ravel()
    if plain.ndim != 1:
        raise BadInputError(f"{where} has shape {plain.shape}, expected one value a row")
    if plain.dtype.kind == "O":
        mask, plain = mask | np.array([value is None for value in plain], dtype=bool), _of_objects(plain, where)
    if plain.dtype.kind in "SU" or kind == "U":
        plain = _text(plain, where)
        mask = mask | np.isin(np.char.lower(plain), list(NO_VALUE))
    if kind == "U":
        return np.where(mask, "", plain)
    factor = _unit_factor(given, unit, where)
    if plain.dtype.kind == "U":
        plain = np.where(mask, "0", plain)
    numbers = _numbers(plain, where)
    mask = mask | _stand_for_none(numbers, kind, unit)
    if kind.startswith("i"):
        whole = _whole(numbers, mask, kind, where)
        _check_digits(plain, mask, where)
        return whole
    with np.errstate(over="ignore"):  # what is beyond float32 is as good as infinite
        numbers = (numbers * np.float64(factor)).astype(kind)
    return np.where(mask | ~np.isfinite(numbers), np.array(np.nan, kind), numbers)


def float_column(table, name, unit=""):
    """Return a column as float64, with NaN for masked values, infinite values and the -9999 of survey tables.

    Parameters
    ----------
    table : astropy Table
    name : str
    unit : str, optional
        The unit to convert to; a column without a unit counts as being in it.

    Raises
    ------
    BadInputError
        If it does not hold numbers, or has a unit that cannot be converted.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from spfast.data.tables.values import float_column
    >>> float_column(Table({"parallax": [1, -9999]}), "parallax").tolist()
    [1.0, nan]
    """
    column = table[name]
    values = column_values(column, "f8", f"column {name}", getattr(column, "unit", None), unit)
    return np.where(values < _MISSING_RANGE[1], np.nan, values)


def star_column(values, name, where, kind="f8"):
    """Return one column of an input table with the type, the unit and the missing value that it has in a survey.

    Parameters
    ----------
    values : astropy Column
        As it is in the file.
    name : str
        Its name in a survey.
    where : str
        File and column, for messages.
    kind : str, optional
        The type of a column that surveys do not have; it has no unit.

    Returns
    -------
    array
    """
    column = {**STAR_COLUMNS, **DR3_COLUMNS, **SDSS5_COLUMNS}.get(name)
    kind, unit = (column.kind, column.unit) if column else (kind, "")
    values = column_values(values, kind, where, getattr(values, "unit", None), unit)
    if unit == "mag" and _is_error(name):
        low, high = _MISSING_ERROR
        values[(values >= np.float32(low)) & (values < high)] = np.nan
    return values


def _is_error(name):
    return name.lower().endswith(("_err", "_error"))


def _stand_for_none(numbers, kind, unit):
    """Which numbers stand for "no value", as they are in the file (bool array)."""
    low, high = _MISSING_RANGE
    with np.errstate(invalid="ignore", over="ignore"):
        none = (numbers > low) & (numbers <= high)
        for number in MISSING_NUMBERS:
            none |= np.isclose(numbers, number, rtol=1e-7, atol=0.0) if kind.startswith("f") else numbers == number
        if unit == "mag":
            none |= (np.abs(numbers) >= _MISSING_MAGNITUDE) & (np.abs(numbers) < 100.0)
    return none


def _of_objects(values, where):
    """Objects as text; anything but one number or text a row is refused."""
    for row, value in enumerate(values):
        if not (value is None or np.isscalar(value) or np.ndim(value) == 0):
            kind = type(value).__name__
            raise BadInputError(f"{where} has a {kind} in row {row}, expected one value a row; convert it")
    return np.array([_one_text(value) for value in values], dtype="U")


def _text(values, where):
    if not len(values):  # numpy's functions of text need a value
        return np.array([], dtype="U1")
    if values.dtype.kind == "S":
        try:
            values = values.astype("U")
        except UnicodeDecodeError:
            values = np.char.decode(values, "latin-1")
    # NUL pads text in FITS, and is in no name.
    values = np.char.strip(np.char.replace(values.astype("U"), "\0", ""))
    # pandas writes bytes so in text, and people who want no number of it in a spreadsheet the last.
    for start, quote in (("b'", "'"), ('b"', '"'), ('="', '"')):
        written = np.char.startswith(values, start) & np.char.endswith(values, quote)
        if written.any():
            values[written] = [text[2:-1].strip() for text in values[written]]
    values = np.char.replace(values, _MINUS, "-")
    plain = np.char.str_len(values) == np.char.str_len(np.char.encode(values, "ascii", "ignore"))
    if not plain.all():
        row = np.flatnonzero(~plain)[0]
        raise BadInputError(f"{where} has {str(values[row])[:40]!a} in row {row}, expected ASCII; correct the table")
    return values


def _one_text(value):
    return value.decode("latin-1") if isinstance(value, bytes) else "" if value is None else str(value)


def _numbers(values, where):
    """The values as float64 or integers."""
    if values.dtype.kind == "U":
        for texts in (values, [_FORTRAN.sub(r"\1e\2", value) for value in values.tolist()]):
            for kind in ("i8", "f8"):
                try:
                    return np.array(texts, dtype="U").astype(kind)
                except (ValueError, OverflowError):
                    continue
        row = next(row for row, value in enumerate(values) if not _is_number(value))
        text = str(values[row])[:40]
        point = "write decimal points and no commas" if "," in text else "correct the table"
        raise BadInputError(f"{where} has {text!r} in row {row}, expected numbers; {point}")
    if values.dtype.kind not in "iuf":
        raise BadInputError(f"{where} is {values.dtype.name}, expected numbers; correct the table")
    return values.astype(values.dtype.newbyteorder("=")) if values.dtype.kind in "iu" else values.astype("f8")


def _is_number(text):
    try:
        float(_FORTRAN.sub(r"\1e\2", text))
    except ValueError:
        return False
    return True


def _check_digits(values, mask, where):
    """Refuse whole numbers in floats of too few bits: the numbers beyond lost their last digits."""
    if values.dtype.kind != "f":
        return
    exact = 2.0 ** (np.finfo(values.dtype).nmant + 1)
    lost = ~mask & np.isfinite(values) & (np.abs(values) > exact)
    if lost.any():
        row = np.flatnonzero(lost)[0]
        raise BadInputError(
            f"{where} is {values[row]:.0f} in row {row}, expected whole numbers; {values.dtype.name} holds them to "
            f"{exact:.0f} and digits are lost: get the column again as integers"
        )


def _whole(numbers, mask, kind, where):
    """Return integers of a type; refuse floats that are not whole."""
    mask = mask | ~np.isfinite(numbers)
    numbers = np.where(mask, numbers.dtype.type(0), numbers)
    limits = np.iinfo(kind)
    # As floats, all limits are exact but int64's upper one, which is rounded up: hence no equality there.
    fits = (numbers == np.rint(numbers)) & (numbers >= limits.min) & (numbers < float(limits.max) + (kind == "i4"))
    if not fits.all():
        row = np.flatnonzero(~fits)[0]
        raise BadInputError(
            f"{where} is {numbers[row]} in row {row}, expected whole numbers of {8 * int(kind[1:])} bits; correct it"
        )
    return np.where(mask, -1, numbers.astype(kind)).astype(kind)


def _unit_factor(given, expected, where):
    """Return what turns a column's unit into ours."""
    if not given or not expected:
        return 1.0
    given = units.Unit(given, parse_strict="silent")
    if isinstance(given, units.UnrecognizedUnit):
        given = units.Unit(str(given).lower(), parse_strict="silent")
    if isinstance(given, units.UnrecognizedUnit):
        if expected != "dex":  # of those there is no other scale, and surveys write them in many ways
            text = f"{where} is in {str(given)[:40]!a}, a unit that is unknown: taken as {expected}; correct it if not"
            warnings.warn(text, SpfastWarning, stacklevel=4)
        return 1.0
    try:
        if isinstance(given, units.UnitBase):  # a logarithm, such as dex(mas), has no factor
            return given.to(units.Unit(expected))
        raise units.UnitsError
    except (units.UnitsError, TypeError):
        raise BadInputError(
            f"{where} is in {given}, expected {expected} or a unit like it; convert it or correct its unit"
        ) from None


def refuse_two_units(values, errors, where):
    """Refuse parallaxes that are in another unit than their errors, which no table states.

    Parameters
    ----------
    values, errors : float array, shape (n_stars,)
    where : str
        File or table, for messages.

    Raises
    ------
    BadInputError
        If half the width of the parallaxes' distribution is far below the median error, or their median far above it.
    """
    known = np.isfinite(values) & (errors > 0) & np.isfinite(errors)
    if np.count_nonzero(known) < _ENOUGH:
        return
    low, median, high = np.percentile(values[known], [16.0, 50.0, 84.0])
    error, width = np.median(errors[known]), (high - low) / 2
    if 0 < width < _NARROWEST * error or median > _CLEAREST * error:
        raise BadInputError(
            f"{where}: the parallaxes have the median {median:.3g} and spread by {width:.3g}, their errors have the "
            f"median {error:.3g}; are both in mas? Convert the columns or give them their units"
        )


def check_plausible(table, path):
    """Refuse columns that are in another unit than they should be; make impossible numbers NaN.

    Parameters
    ----------
    table : astropy Table
        Columns of a survey, in their types; it is changed in place.
    path : path-like
        For messages.

    Raises
    ------
    BadInputError
        If the median of a magnitude, or of the parallax errors, is one that no survey has; or as `refuse_two_units`.

    Warns
    -----
    SpfastWarning
        If single numbers are impossible.
    """
    for name in table.colnames:
        column = {**STAR_COLUMNS, **DR3_COLUMNS}.get(name)
        magnitude = column and column.unit == "mag" and not _is_error(name)
        bounds = _PLAUSIBLE.get("mag" if magnitude else name)
        if bounds:
            low, high, expected = bounds
            values = np.asarray(table[name])[np.isfinite(table[name])]
            if values.size and not low < np.median(values) < high:
                raise BadInputError(
                    f"{path}: column {name} has the median {np.median(values):g}, expected {low:g} to {high:g} "
                    f"{expected}"
                )
        low, high = _POSSIBLE.get(name) or _POSSIBLE.get(column and column.unit, (-np.inf, np.inf))
        values = np.asarray(table[name])
        if name == "parallax_error" and ((values > 0) & (values < SMALLEST_PARALLAX_ERROR)).any():
            low, values = SMALLEST_PARALLAX_ERROR, np.where(values > 0, values, np.nan)  # the others are "no value"
        off = ((values < low) | (values > high)) if values.dtype.kind == "f" else np.zeros(1, bool)
        if off.any():
            row = np.flatnonzero(off)[0]
            warnings.warn(
                f"{path}: {off.sum()} values of {name} are not between {low:g} and {high:g} {column.unit} (row {row}: "
                f"{values[row]:g}) and count as missing; check the column",
                SpfastWarning,
                stacklevel=3,
            )
            table[name] = np.where(off, values.dtype.type(np.nan), values)
    if {"parallax", "parallax_error"} <= set(table.colnames):
        refuse_two_units(np.asarray(table["parallax"]), np.asarray(table["parallax_error"]), path)
