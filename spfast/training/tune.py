"""`spfast tune`: cross-validation of a survey's penalty and zero point, as a table."""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from spfast import __version__
from spfast.blas import one_blas_thread
from spfast.config import AUTO, RELEASE, Config
from spfast.data.survey import Survey, as_survey
from spfast.reads.cluster import on_cluster
from spfast.selection.grid import PointStore
from spfast.selection.splits import Split, Splits, make_splits
from spfast.training.cross_validation import Tuning, cross_validate_stars
from spfast.training.fold import FoldTraining
from spfast.training.header import SURVEY_COMMENTS, survey_cards
from spfast.training.stars import TrainingStars

__all__ = ["HEADER_COMMENTS", "POINT_COLUMNS", "tune"]

#: Columns of the table: unit and description.
POINT_COLUMNS = {
    "penalty": ("", "L1 penalty lambda"),
    "zero_point": ("mas", "added to every Gaia parallax"),
    "repeat": ("", "which of the repeated splits"),
    "held_out": ("", "fold whose stars were not trained on"),
    "n_train": ("", "stars trained on"),
    "n_test": ("", "stars held out"),
    "chi_squared": ("", "mean of (parallax - prediction)^2 / error^2 of the stars held out"),
    "likelihood": ("", "mean minus ln likelihood of the same, with the intrinsic scatter that suits them best"),
    "n_best": ("", "stars held out with raw parallax/error >= 20"),
    "scatter": ("", "half the 16-84 percentile width of (prediction - parallax) / parallax of those"),
    "n_nonzero": ("", "pixels with a coefficient that is not zero"),
    "kkt_violation": ("", "largest violation of the optimality conditions, as the penalty"),
    "converged": ("", "whether it is below the tolerance"),
    "n_passes": ("", "passes over the features that the fit took"),
}

#: Comments of the header's cards.
HEADER_COMMENTS = {
    **SURVEY_COMMENTS,
    "FOLDRULE": "how stars are split, one rule a repeat",
    "FOLDHASH": "SHA-256 of names and labels, one a repeat",
    "COLUMNS": "coordinates and products of the low-rank model",
    "SCORE": "what was compared",
    "CHOICE": "how the choice was made",
    "PENALTY": "chosen L1 penalty",
    "ZEROPT": "[mas] chosen zero point",
    "MINPEN": "penalty of the smallest mean score",
    "MINZP": "[mas] zero point of the smallest mean score",
    "GREW": "where the grid has grown",
    "SCATTR": "intrinsic scatter in the weights",
    "ROBOUT": "training stars that weigh little: outliers of a robust fit",
    "ROBCNV": "whether the rounds of that fit have settled",
}


@one_blas_thread()
def tune(
    survey: Survey | str | os.PathLike,
    penalties: Sequence[float] | None = None,
    zero_points: Sequence[float] | None = None,
    *,
    config: Config | None = None,
    n_folds: int = 2,
    repeats: int = 1,
    score: str | None = None,
    choice: str | None = None,
    fold: str | None = None,
    resume: str | Path | None = None,
    threads: int | None = None,
    say: Callable[[str], None] | None = None,
    quiet: bool = True,
    cluster: Any = None,
) -> tuple[Tuning, Table]:
    """Cross-validate penalty and zero point on a survey's training stars.

    With two folds these are the catalog's A and B: one choice for both models, the paper's way, in which a star's
    parallax has a small say in the choice that its own prediction depends on. ``make_catalog(penalty="auto")`` is
    free of that.

    Parameters
    ----------
    survey : Survey or path-like
        For bare arrays there is `spfast.cross_validate`.
    penalties, zero_points : sequence of float, optional
        The grid; the configuration's by default, whose penalties go with the stars that a fold's model is trained on.
        A single value is fixed.
    config : Config, optional
        Its ``fit``, ``folds`` and ``tune`` sections are used.
    n_folds, repeats : int
        K, and the number of splits into K folds.
    score, choice : str, optional
        As in `spfast.training.cross_validation.cross_validate_stars`; the configuration's by default.
    fold : str, optional
        Only the training stars of fold A or B (give ``n_folds`` of three or more then).
    resume : path-like, optional
        File of the points so far: read if it fits this survey, configuration, folds and grid, and written point by
        point. A run that goes on from it gives the same bits as one that was never interrupted.
    threads : int, optional
        All processors by default.
    say : callable, optional
        Called with a line of text whenever there is something to tell.
    quiet : bool
        No progress bar.
    cluster : optional
        Whose workers read the features, as for `spfast.on_cluster`.

    Returns
    -------
    tuning : Tuning
        What was chosen, and from what.
    table : astropy Table
        One row for each split and point of the grid.

    Raises
    ------
    BadInputError
        For a grid or folds that cannot be used.
    """
    survey, config = as_survey(survey), Config() if config is None else config
    if config.fit.zero_point_rule == RELEASE:
        # The grid's numbers are added to parallaxes as published, not to those that have their own zero point already.
        config = config.replace(fit={"zero_point_rule": AUTO})
    given = {"score": score, "choice": choice}
    chosen_by = config.replace(tune={key: value for key, value in given.items() if value is not None}).tune
    with on_cluster(cluster, survey.path.parent, threads):
        fold_training = FoldTraining(survey, config, fold, threads, quiet)
        (stars, columns), weights = fold_training.choose_columns(fold_training.stars), None
        if say is not None and columns is not None:
            say(columns)
        splits = make_splits(survey.stars, stars.rows, n_folds, repeats, config.folds)
        first = config.fit.penalty, fold_training.first_zero_point
        if config.fit.intrinsic_scatter:
            stars, weights = fold_training.with_scatter(stars, *first)
        stars, robust = fold_training.with_robust_weights(stars, *first)
        # Penalty and zero point matter to the first fits alone, which set the weights.
        unused = ("penalty", "zero_point") if weights is None and robust is None else ()
        n_trained = round(sum(split.train.size for split in splits.splits) / len(splits.splits))
        grid = {
            "penalties": list(config.tune.penalties_for(n_trained) if penalties is None else penalties),
            "zero_points": list(config.tune.zero_points if zero_points is None else zero_points),
            "score": chosen_by.score,
            "choice": chosen_by.choice,
        }
        # All that the points depend on, the grid as well: fits start from their neighbours on it. Threads and workers
        # do not matter.
        identity = {
            "version": __version__,
            "survey": survey.survey_hash,
            "fit": {key: value for key, value in config.to_dict()["fit"].items() if key not in unused},
            "folds": [splits.rule, splits.digest],
            "stars": _digest(fold_training.stars, splits.splits),
            "scatter": _scatter_identity(fold_training) if config.fit.intrinsic_scatter else None,
            "fold": fold,
            "tune": grid,
            "columns": list(POINT_COLUMNS),
            "layout": None if columns is None else stars.layout.to_dict(),
        }
        store = PointStore(resume, identity, check=survey.check_length)
        if say is not None and store.n_resumed:
            say(f"going on from {resume}: {store.n_resumed} points are there")
        tuning = cross_validate_stars(stars, splits.splits, **grid, store=store, say=say, quiet=quiet)
        if say is not None and tuning.undecided:
            say(tuning.undecided)
        return tuning, _tune_table(tuning, fold_training, splits, columns, weights, robust)


def _digest(stars: TrainingStars, splits: Sequence[Split]) -> str:
    """What identifies the stars of some folds and their parallaxes: a sha256 in hex (str)."""
    rows = [part for split in splits for part in (split.train, split.test)]
    arrays = [*rows, *(values[stars.rows] for values in (stars.parallax, stars.gaia_error))]
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


def _scatter_identity(fold_training: FoldTraining) -> dict:
    """What the intrinsic scatter in the weights depends on besides the fit (dict)."""
    return {
        "inner_folds": _digest(fold_training.stars, fold_training.splits),
        "pixel_correlation": fold_training.config.errors.pixel_correlation,
    }


def _tune_table(tuning: Tuning, fold_training: FoldTraining, splits: Splits, columns, weights, robust) -> Table:
    """Lay out the points of a tuning as a table whose header says what was chosen and how."""
    survey, table = fold_training.survey, Table()
    for name, (unit, description) in POINT_COLUMNS.items():
        values = [point[name] for point in tuning.points]
        table[name] = np.array([np.nan if value is None else value for value in values])
        table[name].description = description
        table[name].unit = unit or None
    table.meta = {
        **survey_cards("spfast tune", survey, fold_training.config),
        "FOLDRULE": splits.rule,
        "FOLDHASH": splits.digest,
        "SCORE": tuning.score,
        "CHOICE": tuning.choice,
        "PENALTY": tuning.penalty,
        "ZEROPT": tuning.zero_point,
        "MINPEN": tuning.minimum[0],
        "MINZP": tuning.minimum[1],
        "GREW": "; ".join(tuning.notes) or "nowhere",
    }
    if columns is not None:
        table.meta["COLUMNS"] = columns
    if weights is not None:
        table.meta["SCATTR"] = weights.intrinsic_scatter
    if robust is not None:
        table.meta |= {"ROBOUT": robust.n_outliers, "ROBCNV": robust.converged}
    table.sort(["penalty", "zero_point", "repeat", "held_out"])
    return table
