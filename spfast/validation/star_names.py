"""Stars of two tables matched by their 2MASS names."""

from collections.abc import Iterable

import numpy as np

__all__ = ["match_names", "star_names"]


def star_names(column: Iterable) -> list[str]:
    """Return star names without blanks: the published table writes ``2M00000317 + 5821383``."""
    return ["".join(str(name).split()) for name in column]


def match_names(names: Iterable, others: Iterable) -> np.ndarray:
    """Return for each name its row in ``others``; blanks do not count.

    Parameters
    ----------
    names, others : sequence of str

    Returns
    -------
    int64 array, shape (n_names,)
        -1 where ``others`` does not have the name.

    Examples
    --------
    >>> from spfast.validation.star_names import match_names
    >>> match_names(["2M2", "2M9"], ["2M1", "2M 2"]).tolist()
    [1, -1]
    """
    position = {name: row for row, name in enumerate(star_names(others))}
    return np.array([position.get(name, -1) for name in star_names(names)], dtype=np.int64)
