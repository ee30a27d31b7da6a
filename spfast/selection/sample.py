"""A sample of training stars: what is a mean over stars is known well enough from 20,000 of them."""

import numpy as np
from astropy.table import Table

from spfast.selection.star_keys import splitmix64, star_keys

__all__ = ["SAMPLE_STARS", "sample_rows"]

#: Stars that are enough for what a mean over stars is: its error is below a hundredth of their scatter.
SAMPLE_STARS = 20_000


def sample_rows(stars: Table, rows: np.ndarray, n_stars: int = SAMPLE_STARS, seed: int = 0) -> np.ndarray:
    """Draw stars evenly: which ones depends on their names and on the seed, not on the order of the rows.

    Parameters
    ----------
    stars : astropy Table
        ``source_id`` and ``APOGEE_ID``.
    rows : int64 array
        To draw from.
    n_stars : int
        How many; all of them if there are no more.
    seed : int

    Returns
    -------
    int64 array
        Some of the rows, in their order.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.table import Table
    >>> from spfast.selection.sample import sample_rows
    >>> stars = Table({"APOGEE_ID": ["a", "b", "c", "d"], "source_id": [7, 8, 9, 10]})
    >>> drawn = sample_rows(stars, np.array([0, 1, 3]), 2)
    >>> turned = sample_rows(stars[::-1], np.array([0, 2, 3]), 2)
    >>> sorted(stars["APOGEE_ID"][drawn]) == sorted(stars[::-1]["APOGEE_ID"][turned])
    True
    """
    if rows.size <= n_stars:
        return rows
    # Hashed three times: once is the fold, twice the inner fold, and a sample is to be even in both.
    keys = splitmix64(splitmix64(star_keys(stars[["source_id", "APOGEE_ID"]][rows], seed)[0]))
    return rows[np.sort(np.argsort(keys, kind="stable")[:n_stars])]
