"""Which fold a star belongs to: neither its parallax nor the order of the stars has a say."""

import hashlib
from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from spfast.config import FoldConfig
from spfast.errors import BadInputError
from spfast.selection.star_keys import splitmix64, star_keys

__all__ = ["FOLDS", "Folds", "fold_labels", "k_fold_labels", "labels_digest"]

#: The fold of even and of odd stars (Hogg, Eilers & Rix 2019: Gaia's ``random_index`` modulo 2).
FOLDS = ("A", "B")

#: "auto" takes Gaia's random_index when more than this share of the stars has one.
_RANDOM_INDEX_SHARE = 0.5


@dataclass(frozen=True)
class Folds:
    """Fold labels and how they came about.

    Parameters
    ----------
    labels : str array, shape (n_stars,)
        ``"A"`` or ``"B"`` for each star.
    split : str
        ``"random_index"`` or ``"hash"``: the rule that was used.
    seed : int
        Seed of the hash.
    n_hashed : int
        Stars labelled by the hash.
    """

    labels: np.ndarray
    split: str
    seed: int
    n_hashed: int

    @property
    def rule(self):
        """The rule in words, for headers (str)."""
        hashed = f"splitmix64 of source_id (APOGEE_ID without one), seed {self.seed}, parity: even A, odd B"
        if self.split == "hash":
            return hashed
        rest = f"; {self.n_hashed} stars without it: {hashed}" if self.n_hashed else ""
        return f"Gaia random_index parity: even A, odd B{rest}"


def fold_labels(stars: Table, config: FoldConfig | None = None) -> Folds:
    """Label every star A or B.

    Parameters
    ----------
    stars : astropy Table
        ``source_id`` (int64, -1: none), ``APOGEE_ID`` and, for Gaia's own split, ``random_index`` (int64, -1: none).
    config : FoldConfig, optional
        ``split``: ``"random_index"`` (its parity), ``"hash"`` (of source_id) or ``"auto"`` (the first where more than
        half of the stars have one, else the second for all); ``seed`` enters the hash; ``group``: a column whose stars
        of one value (other than a blank, a NaN or a negative number) stay together, such as a cluster's members.

    Returns
    -------
    Folds
        Rows of one Gaia source, one APOGEE_ID or one group share a label; otherwise a star's label does not depend on
        the other rows, beyond the choice that "auto" makes.

    Raises
    ------
    BadInputError
        For an unknown rule, or ``"random_index"`` where no star has one.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from spfast.selection.folds import fold_labels
    >>> stars = Table({"APOGEE_ID": ["a", "b", "c"], "source_id": [7, 8, 9], "random_index": [4, 5, 6]})
    >>> fold_labels(stars).labels.tolist()
    ['A', 'B', 'A']
    """
    config = FoldConfig() if config is None else config
    if config.split not in ("auto", "random_index", "hash"):
        raise BadInputError(f"folds: split is {config.split!r}, expected 'auto', 'random_index' or 'hash'")
    source_keys, name_keys = star_keys(stars, config.seed)
    has_source = np.asarray(stars["source_id"], dtype=np.int64) >= 0
    number = np.where(has_source, source_keys, name_keys)
    hashed = np.ones(len(stars), dtype=bool)
    if config.split != "hash":
        index = _random_index(stars, has_source)
        share = np.mean(index >= 0) if len(stars) else 0.0
        if config.split == "random_index" and share == 0:
            raise BadInputError("folds: no star has a Gaia random_index; use split = 'hash' or 'auto'")
        if config.split == "random_index" or share > _RANDOM_INDEX_SHARE:
            hashed = index < 0
            number = np.where(hashed, number, index.astype(np.uint64))
    number = _shared(number, stars, name_keys, config.group)
    labels = np.array(FOLDS)[(number % np.uint64(2)).astype(np.intp)]
    split = "hash" if hashed.all() else "random_index"
    return Folds(labels, split, int(config.seed), int(np.count_nonzero(hashed)))


def k_fold_labels(stars: Table, n_folds: int, seed: int = 0, group: str = "") -> np.ndarray:
    """Label every star with one of K folds by a hash.

    Parameters
    ----------
    stars : astropy Table
        As in `fold_labels`.
    n_folds : int
        K, two or more; folds are equal up to counting noise.
    seed : int
        Another seed, another split: repeated splits are a range of seeds.
    group : str
        As in `FoldConfig`.

    Returns
    -------
    labels : int64 array, shape (n_stars,)
        0 to ``n_folds - 1``.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from spfast.selection.folds import k_fold_labels
    >>> stars = Table({"APOGEE_ID": ["a", "b", "c", "d"], "source_id": [7, 8, 9, 7]})
    >>> k_fold_labels(stars, 3).tolist()
    [0, 2, 0, 0]
    """
    if n_folds < 2:
        raise BadInputError(f"folds: {n_folds} folds, expected at least 2")
    # Hashed once more, else two folds with the seed of the A/B hash would be that split itself.
    source_keys, name_keys = (splitmix64(keys) for keys in star_keys(stars, seed))
    return (_shared(source_keys, stars, name_keys, group) % np.uint64(n_folds)).astype(np.int64)


def labels_digest(stars: Table, labels: np.ndarray) -> str:
    """Return a SHA-256 over names and labels that does not depend on the order of the stars (str)."""
    lines = sorted(f"{str(name).strip()} {label}" for name, label in zip(stars["APOGEE_ID"], labels, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _shared(number, stars, name_keys, group):
    """The numbers, each replaced by that of the least name among the rows that stay together with its row."""
    source_id = np.asarray(stars["source_id"], dtype=np.int64)
    links = [(name_keys, np.ones(len(stars), dtype=bool)), (source_id, source_id >= 0)]
    if group:
        if group not in stars.colnames:
            raise BadInputError(f"folds: no column {group!r} to keep groups together; choose one of the star table's")
        links.append(_group_values(stars[group]))
    edges = []
    for values, linked in links:
        rows = np.flatnonzero(linked)
        _, first, member = np.unique(values[rows], return_index=True, return_inverse=True)
        edges.append((rows, rows[first[member]]))
    start, end = (np.concatenate(side) for side in zip(*edges, strict=True))
    graph = coo_array((np.ones(start.size, dtype=bool), (start, end)), shape=(len(stars), len(stars)))
    _, component = connected_components(graph, directed=False)
    order = np.lexsort((number, name_keys, component))
    _, first = np.unique(component[order], return_index=True)
    return number[order[first]][component]


def _group_values(column):
    """A column of groups and which rows have one: not blank, NaN, negative or masked."""
    masked = np.ma.getmaskarray(column) if hasattr(column, "mask") else np.zeros(len(column), dtype=bool)
    values = np.asarray(column)
    if values.dtype.kind in "US":
        values = np.char.strip(values.astype(np.str_))
        return values, (values != "") & ~masked
    return values, (values >= 0) & ~masked


def _random_index(stars, has_source):
    """Gaia's random_index, -1 where there is none; rows of one source share what any of them has."""
    if "random_index" not in stars.colnames:
        return np.full(len(stars), -1, dtype=np.int64)
    index = np.array(stars["random_index"], dtype=np.int64)
    _, source = np.unique(np.asarray(stars["source_id"])[has_source], return_inverse=True)
    of_source = np.full(source.max(initial=-1) + 1, -1, dtype=np.int64)
    np.maximum.at(of_source, source, index[has_source])
    index[has_source] = of_source[source]
    return index
