"""Which stars a model has been trained on, told by short keys that a model file can carry."""

import base64
import binascii

import numpy as np

from spfast.errors import BadInputError
from spfast.selection.folds import star_keys

__all__ = ["decode_stars", "encode_stars", "seen_in_training"]


def encode_stars(stars):
    """Return the 64-bit keys of stars as text (str, base64 of sorted little-endian uint64).

    Parameters
    ----------
    stars : astropy Table
        ``source_id`` and ``APOGEE_ID``; both are kept, because a new Gaia release has new source_ids.
    """
    keys = np.unique(np.concatenate(star_keys(stars)))
    return base64.b64encode(keys.astype("<u8").tobytes()).decode("ascii")


def decode_stars(text):
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


def seen_in_training(training_stars, stars):
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
    >>> from spfast.selection.seen import encode_stars, seen_in_training
    >>> stars = Table({"APOGEE_ID": ["a", "b", "c"], "source_id": [7, 8, -1]})
    >>> seen_in_training(encode_stars(stars[:1]), stars).tolist()
    [True, False, False]
    """
    source_keys, name_keys = star_keys(stars)
    trained = decode_stars(training_stars)
    return np.isin(source_keys, trained) | np.isin(name_keys, trained)
