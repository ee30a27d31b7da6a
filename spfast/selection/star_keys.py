"""Short keys of stars: folds are made from them, and a model file carries those of its training stars."""

import base64
import binascii

import numpy as np
from astropy.table import Table

from spfast.errors import BadInputError

__all__ = ["decode_stars", "encode_stars", "seen_in_training", "splitmix64", "star_keys"]

# splitmix64 (Steele, Lea & Flood 2014) and FNV-1a 64 (Fowler, Noll & Vo): fixed by their authors, so that labels are
# the same on every platform, Python and numpy; all arithmetic is modulo 2**64.
_SPLITMIX_STEP = np.uint64(0x9E3779B97F4A7C15)
_SPLITMIX_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SPLITMIX_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
_FNV_OFFSET = np.uint64(0xCBF29CE484222325)
_FNV_PRIME = np.uint64(0x100000001B3)


def star_keys(stars: Table, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Hash each star's Gaia ``source_id`` and its ``APOGEE_ID`` to 64 bits.

    Parameters
    ----------
    stars : astropy Table
        ``source_id`` and ``APOGEE_ID``; blanks in an APOGEE_ID do not count.
    seed : int
        Another seed, another hash.

    Returns
    -------
    source_keys, name_keys : uint64 array, shape (n_stars,)
        A star without a source (source_id < 0) gets its name's key in both.
    """
    offset = splitmix64(np.array([seed % 2**64], dtype=np.uint64))
    source_id = np.asarray(stars["source_id"], dtype=np.int64)
    name_keys = splitmix64(_fnv1a(stars["APOGEE_ID"]) ^ offset)
    source_keys = splitmix64(source_id.astype(np.uint64) ^ offset)
    return np.where(source_id >= 0, source_keys, name_keys), name_keys


def encode_stars(stars: Table) -> str:
    """Return the 64-bit keys of stars as text (str, base64 of sorted little-endian uint64).

    Parameters
    ----------
    stars : astropy Table
        ``source_id`` and ``APOGEE_ID``; both are kept, because a new Gaia release has new source_ids.
    """
    keys = np.unique(np.concatenate(star_keys(stars)))
    return base64.b64encode(keys.astype("<u8").tobytes()).decode("ascii")


def decode_stars(text: str) -> np.ndarray:
    """Return the sorted keys that `encode_stars` wrote (uint64 array).

    Raises
    ------
    BadInputError
        If the text is damaged.
    """
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), dtype="<u8").astype(np.uint64)
    except (binascii.Error, ValueError):
        raise BadInputError("the model's list of training stars is damaged; fit the model again") from None


def seen_in_training(training_stars: str, stars: Table) -> np.ndarray:
    """Return whether each star was among a model's training stars, by source_id or APOGEE_ID (bool array).

    Parameters
    ----------
    training_stars : str
        What `encode_stars` returned.
    stars : astropy Table
        ``source_id`` and ``APOGEE_ID``.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from spfast.selection.star_keys import encode_stars, seen_in_training
    >>> stars = Table({"APOGEE_ID": ["a", "b", "c"], "source_id": [7, 8, -1]})
    >>> seen_in_training(encode_stars(stars[:1]), stars).tolist()
    [True, False, False]
    """
    source_keys, name_keys = star_keys(stars)
    trained = decode_stars(training_stars)
    return np.isin(source_keys, trained) | np.isin(name_keys, trained)


def splitmix64(x):
    """The splitmix64 finaliser of each number (uint64 array)."""
    first, second, third = _SPLITMIX_SHIFTS
    x = x + _SPLITMIX_STEP
    x = (x ^ (x >> first)) * _SPLITMIX_MULTIPLIERS[0]
    x = (x ^ (x >> second)) * _SPLITMIX_MULTIPLIERS[1]
    return x ^ (x >> third)


def _fnv1a(names):
    """FNV-1a of the non-blank characters of each name (uint64 array)."""
    names = np.asarray(names).astype(np.str_)
    width = max(names.dtype.itemsize // 4, 1)
    characters = np.frombuffer(names.astype(f"S{width}").tobytes(), dtype=np.uint8).reshape(-1, width)
    key = np.full(len(names), _FNV_OFFSET)
    for column in characters.T:
        used = (column != 0) & (column != ord(" "))  # NUL pads the array, blanks pad the catalogs
        key = np.where(used, (key ^ column) * _FNV_PRIME, key)
    return key
