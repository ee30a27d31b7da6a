"""Kinds of the entries in a model file: what each must be, in words and as a test, beside the field that holds it."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

__all__ = ["LARGEST", "Kind", "check_entries", "entry", "from_entries", "to_entries"]

#: No number of a model is as large as this: products of two of them and a survey's features stay finite.
LARGEST = 1e30
#: Characters of a wrong value that are shown.
_SHOWN = 60


class Kind(NamedTuple):
    """What an entry must be: in words, and as a test of what JSON gave."""

    expected: str
    fits: Callable[[Any], bool]


def _between(low, high, expected):
    # Written so that NaN is refused; True and False are no numbers.
    return Kind(expected, lambda value: type(value) in (int, float) and low <= value <= high)


def _list_of(kind, expected):
    return Kind(expected, lambda value: isinstance(value, list) and all(map(kind.fits, value)))


def _is_matrix(value):
    return isinstance(value, list) and all(NUMBERS.fits(row) and len(row) == len(value) for row in value)


def _is_inverse_covariance(value):
    """Whether no square of a distance can be negative by it."""
    if not _is_matrix(value) or not value:
        return False
    matrix = np.array(value, dtype=np.float64)
    eigenvalues = np.linalg.eigvalsh(matrix)
    small = 1e-6 * np.abs(eigenvalues).max()
    return np.abs(matrix - matrix.T).max() <= small and eigenvalues[0] >= -small


NUMBER = _between(-LARGEST, LARGEST, "a number")
NOT_NEGATIVE = _between(0, LARGEST, "a number, 0 or larger")
POSITIVE = _between(1 / LARGEST, LARGEST, "a number larger than 0")
SHARE = _between(0, 1 + 1e-9, "a number from 0 to 1")
BELOW_ONE = _between(0, 1 - 1e-9, "a number from 0 to below 1")
ABOVE_ONE = _between(1 + 1e-9, LARGEST, "a number larger than 1")
COUNT = Kind("a whole number, 0 or larger", lambda value: type(value) is int and 0 <= value < 1 << 63)
TRUTH = Kind("true or false", lambda value: type(value) is bool)
TEXT = Kind("text", lambda value: type(value) is str)
#: What callers print: nothing in it moves a terminal's cursor.
LINE = Kind("printable text", lambda value: type(value) is str and value.isprintable())
#: What goes into cards of a FITS header.
CARD = Kind("printable ASCII text", lambda value: type(value) is str and value.isascii() and value.isprintable())
DICTIONARY = Kind("a dictionary", lambda value: type(value) is dict)
DICTIONARY_OR_NONE = Kind("a dictionary or null", lambda value: value is None or type(value) is dict)
TEXT_OR_NONE = Kind("text or null", lambda value: value is None or type(value) is str)
ANYTHING = Kind("anything", lambda value: True)
TEXTS = _list_of(TEXT, "a list of text")
NUMBERS = _list_of(NUMBER, "a list of numbers")
MATRIX = Kind("a square matrix of numbers", _is_matrix)
INVERSE_COVARIANCE = Kind("a symmetric matrix without negative eigenvalues", _is_inverse_covariance)


def entry(kind: Kind, **options: Any) -> Any:
    """A field of a dataclass that is an entry of a model file; with a default, files may lack it."""
    return dataclasses.field(metadata={"kind": kind}, **options)


def check_entries(values: Any, kinds: dict, place: str) -> None:
    """Refuse a dictionary that lacks an entry or has one of another kind.

    Parameters
    ----------
    values : object
        As JSON gave it.
    kinds : dict of Kind or dict
        Under the names of the entries; a name that ends in ``?`` may be missing.
    place : str
        Where in the file, for the message.

    Raises
    ------
    ValueError
        Naming the entry, what it is and what was expected.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{place} is {_shown(values)}, expected a dictionary")
    for name, kind in kinds.items():
        name, inside = name.removesuffix("?"), f"{place}.{name.removesuffix('?')}"
        if name not in values:
            if f"{name}?" not in kinds:
                raise ValueError(f"{place} lacks {name}")
        elif isinstance(kind, dict):
            check_entries(values[name], kind, inside)
        elif not kind.fits(values[name]):
            raise ValueError(f"{inside} is {_shown(values[name])}, expected {kind.expected}")


def kinds_of(part: type) -> dict:
    """The kinds of a dataclass's entries (dict), as `check_entries` takes them."""
    kinds = {}
    for spec in dataclasses.fields(part):
        if "kind" in spec.metadata:
            optional = spec.default is not dataclasses.MISSING
            kinds[f"{spec.name}?" if optional else spec.name] = spec.metadata["kind"]
    return kinds


def from_entries(part: type, values: Any, place: str) -> Any:
    """Make a dataclass from the entries of a file, each of its kind; entries that it does not have are left out.

    Raises
    ------
    ValueError
        As `check_entries`.
    """
    check_entries(values, kinds_of(part), place)
    try:
        return part(**{spec.name: values[spec.name] for spec in dataclasses.fields(part) if spec.name in values})
    except ValueError as error:  # entries that do not fit together
        raise ValueError(f"{place}.{error}") from None


def to_entries(part: Any) -> dict:
    """The entries of a dataclass for a file (dict), without those that are None."""
    entries = {spec.name: getattr(part, spec.name) for spec in dataclasses.fields(part) if "kind" in spec.metadata}
    return {name: value for name, value in entries.items() if value is not None}


def _shown(value):
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
