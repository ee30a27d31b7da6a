"""Ways to hold training stars out: into the folds A and B, or into K by a hash, once or several times."""

from dataclasses import dataclass, field

import numpy as np
from astropy.table import Table

from spfast.config import FoldConfig
from spfast.errors import BadInputError
from spfast.selection.folds import fold_labels, k_fold_labels, labels_digest

__all__ = ["Split", "Splits", "make_splits"]


@dataclass(frozen=True)
class Split:
    """One way to hold stars out.

    Attributes
    ----------
    repeat : int
        Which of the repeated splits.
    held_out : str
        Name of the fold that is not trained on.
    train, test : int64 array
        Rows of the survey.
    """

    repeat: int
    held_out: str
    train: np.ndarray = field(repr=False)
    test: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class Splits:
    """All splits of a cross-validation, how they were made, and a digest of every star's labels."""

    splits: tuple
    rule: str
    digest: str


def make_splits(
    stars: Table, rows: np.ndarray, n_folds: int, repeats: int = 1, config: FoldConfig | None = None
) -> Splits:
    """Divide training stars into folds, once or several times.

    Parameters
    ----------
    stars : astropy Table
        The survey's; the labels do not depend on the order of its rows.
    rows : int64 array
        The training stars.
    n_folds : int
        2: first the folds A and B of the catalog; otherwise K folds by a hash.
    repeats : int
        Splits, with one seed after the other.
    config : FoldConfig, optional
        Rule of A and B, seed and group.

    Returns
    -------
    Splits

    Raises
    ------
    BadInputError
        If a fold has no training star.
    """
    splits, digests, rules = [], [], []
    seed, group = (config.seed, config.group) if config else (0, "")
    for repeat in range(repeats):
        if n_folds == 2 and repeat == 0:
            folds = fold_labels(stars, config)
            labels, rule = folds.labels, folds.rule
        else:
            labels = k_fold_labels(stars, n_folds, seed + repeat, group).astype(np.str_)
            rule = f"splitmix64 of source_id (APOGEE_ID without one), seed {seed + repeat}, modulo {n_folds}"
        rules.append(rule)
        digests.append(labels_digest(stars, labels))
        for name in np.unique(labels):
            held_out = labels[rows] == name
            if held_out.all() or not held_out.any():
                raise BadInputError(
                    f"folds: fold {name} holds {held_out.sum()} of {rows.size} training stars; use fewer folds"
                )
            splits.append(Split(repeat, str(name), rows[~held_out], rows[held_out]))
    return Splits(tuple(splits), " | ".join(rules), " ".join(digests))
