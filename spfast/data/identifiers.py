"""Identifiers of stars: 2MASS names and Gaia's source_id, the same whichever way a table writes them."""

from collections.abc import Iterable

import numpy as np

from spfast.data.tables.values import column_values
from spfast.errors import BadInputError

__all__ = ["match_names", "one_of_each", "sdss_ids", "source_ids", "star_names", "tmass_key", "unmatched"]

#: What tables write where a star has no name, without blanks and in upper case.
_NO_NAME = ("", "0", "-1", "-999", "-9999", "NAN", "NONE", "NULL", "<NA>", "N/A", "NA", "-", "--", r"\N")
#: A name may begin with these, in this order; what remains is the designation.
_PREFIXES = ("2MASSX", "2MASX", "2MASS", "2M", "J")
#: What a source_id written as text may begin with, without blanks and in upper case.
_RELEASES = ("GAIADR1", "GAIADR2", "GAIAEDR3", "GAIADR3", "GAIADR4", "GAIADR5", "GAIA")

#: So many different sdss_id that all end in a decimal zero were rounded: chance makes one of them in ten so.
_ROUNDED = 8

#: A source_id ends in seven bits for the components of a source, which are 0 in nearly all.
_COMPONENT_BITS = 7
#: Bits of a double's mantissa: whole numbers of more bits lose their last ones.
_MANTISSA_BITS = 53
#: Numbers that all end in zero bits, more than these in sum, were rounded; so were some of them, if those that do are
#: more than chance makes by so many sigma and by this share of all (no more is known of how Gaia counts sources).
_CHANCE_BITS, _CHANCE_SIGMA, _CHANCE_SHARE = 30, 6.0, 0.1
#: A float32 drops more than so many bits, beyond those of the components; a float64 drops three at most.
_SINGLE_BITS = 20


def star_names(column: Iterable) -> list[str]:
    """Return star names without blanks: the published table writes ``2M00000317 + 5821383``."""
    return ["".join(str(name).split()) for name in column]


def tmass_key(names: Iterable) -> np.ndarray:
    """Return what identifies each star in any table: its 2MASS designation without prefix and blanks, in upper case.

    Parameters
    ----------
    names : sequence of str

    Returns
    -------
    keys : str array
        Empty for what stands for no name (blank, 0, -1, -9999, NaN, null); it matches nothing.

    Examples
    --------
    >>> from spfast.data.identifiers import tmass_key
    >>> tmass_key(["2M19485057+5005279", "19485057 + 5005279 ", "2MASS J19485057+5005279"]).tolist()
    ['19485057+5005279', '19485057+5005279', '19485057+5005279']
    >>> tmass_key(["2m19485057+5005279", "J19485057+5005279", "-9999"]).tolist()
    ['19485057+5005279', '19485057+5005279', '']
    """
    return np.array([_key(name) for name in star_names(names)], dtype="U")


def _key(name):
    name = name.strip("'\"")
    key = name.upper()
    if key.removesuffix(".0") in _NO_NAME:
        return ""
    for prefix in _PREFIXES:
        rest = key.removeprefix(prefix)
        rest = key if rest == key else rest.lstrip("_-:")
        # "J" alone begins other names as well.
        if prefix != "J" or rest[:1].isdigit():
            key = rest
    # Identifiers have digits; a proper name keeps its case.
    return key if any(map(str.isdigit, key)) else name[len(name) - len(key) :]


def match_names(names: Iterable, others: Iterable) -> np.ndarray:
    """Return for each name its row in ``others``, however either writes it (see `tmass_key`).

    Parameters
    ----------
    names, others : sequence of str
        Of rows of ``others`` with one name the first is taken; `one_of_each` chooses by the rows' content before.

    Returns
    -------
    int64 array, shape (n_names,)
        -1 where ``others`` does not have the name, or there is no name.

    Examples
    --------
    >>> from spfast.data.identifiers import match_names
    >>> match_names(["2M2", "2M9", ""], ["2M1", "2M 2", ""]).tolist()
    [1, -1, -1]
    """
    position = {}
    for row, key in enumerate(tmass_key(others).tolist()):
        position.setdefault(key, row)
    position[""] = -1
    return np.array([position.get(key, -1) for key in tmass_key(names).tolist()], dtype=np.int64)


def unmatched(names: Iterable, others: Iterable) -> str:
    """Say what a name looks like on either side of a match that left nothing (str)."""
    first, other = (next(iter(star_names(side)), "") for side in (names, others))
    return f"one has e.g. {first[:30]!a}, the other {other[:30]!a}"


def one_of_each(names: Iterable, *order: np.ndarray) -> np.ndarray:
    """Return one row of each star, whatever the order of the rows; rows without a name are all kept.

    Parameters
    ----------
    names : sequence of str
    *order : float array, shape (n_names,)
        The row of lowest values is taken, by the first array, then the second, ...; NaN counts as highest.

    Returns
    -------
    rows : int64 array
        Sorted.

    Examples
    --------
    >>> from spfast.data.identifiers import one_of_each
    >>> one_of_each(["2M1", "2M2", "1", ""], [0.3, 0.1, 0.2, 0.5]).tolist()
    [1, 2, 3]
    """
    keys = tmass_key(names)
    by_order = np.lexsort((*map(np.asarray, order[::-1]), keys))  # NaN sorts last
    first = np.ones(len(keys), bool)
    first[1:] = keys[by_order][1:] != keys[by_order][:-1]
    return np.sort(by_order[first | (keys[by_order] == "")])


def source_ids(values: np.ndarray, where: str) -> np.ndarray:
    """Read Gaia's source_id.

    Parameters
    ----------
    values : array, masked array or astropy Column
        Integers, or text of digits, also with the release before them: ``Gaia DR3 4295806720``.
    where : str
        File and column, for messages.

    Returns
    -------
    int64 array
        -1 where there is none: masked, blank, 0 or below.

    Raises
    ------
    BadInputError
        If the numbers are floats, or were floats once: a double holds 53 bits, a source_id has up to 63.

    Examples
    --------
    >>> from spfast.data.identifiers import source_ids
    >>> source_ids(["Gaia DR3 4295806720", "0", ""], "gaia.csv: column source_id").tolist()
    [4295806720, -1, -1]
    """
    plain = np.asarray(values)
    if plain.dtype.kind in "SUO":
        numbers = _from_text(column_values(values, "U", where), where)
    elif plain.dtype.kind in "iu":
        numbers = column_values(values, "i8", where)
    else:
        raise BadInputError(f"{where} is {plain.dtype.name}, expected 64-bit integers; digits are lost")
    numbers = np.where(numbers > 0, numbers, -1)
    _check_digits(numbers, where)
    return numbers


def sdss_ids(values: np.ndarray, where: str) -> np.ndarray:
    """Read SDSS-V's sdss_id, which names the files of a star.

    Parameters
    ----------
    values : array, masked array or astropy Column
    where : str
        File and column, for messages.

    Returns
    -------
    int64 array
        -1 where there is none.

    Raises
    ------
    BadInputError
        If they are no whole numbers, or were written with fewer digits than they have (5.725283e+07): a rounded one is
        another star's.

    Examples
    --------
    >>> from spfast.data.identifiers import sdss_ids
    >>> sdss_ids(["57252833", "5.3030109e7", ""], "summary.csv: column sdss_id").tolist()
    [57252833, 53030109, -1]
    """
    numbers = column_values(values, "i8", where)
    given = np.unique(numbers[numbers > 0])
    if given.size >= _ROUNDED and np.all(given % 10 == 0):
        raise BadInputError(
            f"{where}: all of {given.size:,} numbers end in 0 (e.g. {given[0]}), they were rounded; "
            "get the identifiers again, as integers or text"
        )
    return numbers


def _from_text(texts, where):
    numbers = []
    for row, text in enumerate(texts):
        plain = "".join(text.upper().split())
        digits = plain.removeprefix(next((name for name in _RELEASES if plain.startswith(name)), ""))
        if plain in _NO_NAME:
            digits = "-1"
        if not digits.removeprefix("-").isdecimal() or abs(int(digits)) >= 2**63:
            lost = "; digits are lost" if digits[:1].isdigit() else ""
            raise BadInputError(f"{where} has {text[:40]!a} in row {row}, expected 64-bit integers{lost}; correct it")
        numbers.append(int(digits))
    return np.array(numbers, dtype=np.int64)


def _check_digits(numbers, where):
    """Refuse numbers whose last bits are 0 more often than chance makes them so."""
    numbers, n_rows = np.unique(numbers[numbers > 0], return_counts=True)
    # How many bits a double drops, beyond those that are 0 anyway.
    dropped = np.floor(np.log2(numbers.astype(float))).astype(int) + 1 - _MANTISSA_BITS - _COMPONENT_BITS
    numbers, n_rows, dropped = numbers[dropped > 0], n_rows[dropped > 0], dropped[dropped > 0]
    exact = numbers == numbers.astype(float).astype(np.int64)
    share = 0.5**dropped
    excess, sigma = exact.sum() - share.sum(), np.sqrt(np.sum(share * (1 - share)))
    some = excess > _CHANCE_SIGMA * sigma + 2 and excess > _CHANCE_SHARE * numbers.size
    # A float32 leaves few numbers distinct, and far more zero bits.
    zeros = np.log2((numbers & -numbers).astype(float)) - _COMPONENT_BITS
    is_single = n_rows.sum() > 1 and zeros.min() > _SINGLE_BITS
    if some or is_single or (exact.all() and dropped.sum() > _CHANCE_BITS):
        raise BadInputError(
            f"{where}: {exact.sum():,} of {numbers.size:,} large numbers end in zero bits ({share.sum():,.0f} by "
            f"chance), they went through a float{32 if is_single else 64} and digits are lost; get the identifiers "
            "again, as integers or text"
        )
