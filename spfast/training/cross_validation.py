"""Cross-validation of the penalty and the zero point: every point of the grid is scored on every fold."""

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

import numpy as np

from spfast.config import BEST_SNR
from spfast.errors import BadInputError, SpfastWarning
from spfast.model.fitted_model import FittedModel
from spfast.model.mixture import fit_scatter
from spfast.progress import Progress
from spfast.reads.reader import side_by_side
from spfast.selection.grid import PointStore, choose, grow, undecided_zero_points
from spfast.selection.splits import Split
from spfast.training.held_out import warn_of_unconverged
from spfast.training.stars import TrainingStars

__all__ = ["Tuning", "cross_validate_stars", "score_held_out"]

#: A grid grows by one value at a time, at most this often.
_MAX_GROWTH = 12
#: It does not grow towards smaller penalties where the last one gained less of the mean score: a low-rank model may
#: need all of its few columns, and then the smaller the penalty the better, by ever less.
_GAIN_MIN = 1e-4


@dataclass(frozen=True)
class Tuning:
    """What cross-validation found.

    Attributes
    ----------
    penalty, zero_point : float [, mas]
        What was chosen.
    minimum : tuple of float
        (penalty, zero point) of the smallest mean score.
    means : dict
        Mean score under (penalty, zero point).
    points : list of dict
        Every fold's score at every point of the grid.
    notes : tuple of str
        Where the grid has grown.
    score, choice : str
    n_splits : int
    undecided : str
        A line on the zero points that score as well within the errors, or empty.
    """

    penalty: float
    zero_point: float
    minimum: tuple
    means: dict
    points: list
    notes: tuple
    score: str
    choice: str
    n_splits: int
    undecided: str = ""

    @property
    def summary(self):
        """The choice in one line (str)."""
        mean = self.means[self.penalty, self.zero_point]
        text = (
            f"penalty {self.penalty:g}, zero point {self.zero_point:g} mas: {self.choice} of held-out {self.score}, "
            f"{mean:.6g} over {self.n_splits} folds"
        )
        if self.minimum != (self.penalty, self.zero_point):
            text += f" (minimum {self.means[self.minimum]:.6g} at {self.minimum[0]:g}, {self.minimum[1]:g} mas)"
        return text


def cross_validate_stars(
    stars: TrainingStars,
    splits: Sequence[Split],
    penalties: Sequence[float],
    zero_points: Sequence[float],
    score: str = "chi_squared",
    choice: str = "minimum",
    store: PointStore | None = None,
    say: Callable[[str], None] | None = None,
    quiet: bool = True,
    stage: Callable[[int], AbstractContextManager] | None = None,
) -> Tuning:
    """Score a grid of penalties and zero points on stars held out, and choose a point.

    Parameters
    ----------
    stars : TrainingStars
    splits : sequence of Split
    penalties : sequence of float
        One value: fixed. Otherwise a choice on an edge makes the grid grow there by another value.
    zero_points : sequence of float [mas]
        Likewise.
    score, choice : str
        As in `spfast.selection.grid.choose`; ``chi_squared`` is the mean over held-out stars of
        ``(parallax + zero point - prediction)^2 / fit_error^2``; ``likelihood`` the mean of minus ln likelihood under
        the variance ``gaia_error^2 + (s prediction)^2``, with the s that suits the held-out stars best: nearby stars,
        whose errors are far below any model's scatter, do not decide alone; ``scatter`` half the 16-84 percentile
        width of ``(prediction - parallax) / parallax`` of held-out stars with raw parallax/error >= 20. What a robust
        fit takes for outliers weighs as little in the first two as it does there.
    store : PointStore, optional
        Points that are there already; new ones are added.
    say : callable, optional
        Called with a line of text whenever the grid grows.
    quiet : bool
        No progress bar.
    stage : callable, optional
        Begins fits, in place of a progress bar (`spfast.progress.Progress`); it is given their number, which grows.

    Returns
    -------
    Tuning

    Raises
    ------
    BadInputError
        For a grid without values, or with penalties that are not positive.

    Warns
    -----
    SpfastWarning
        If the choice still lies on an edge when the grid has grown as often as it may.
    ConvergenceWarning
        If fits did not converge.
    """
    penalties, zero_points = _grid(penalties, "penalties"), _grid(zero_points, "zero points")
    if penalties[0] <= 0:
        raise BadInputError(f"penalties: got {penalties[0]:g}, expected positive numbers")
    store = PointStore() if store is None else store
    notes = []
    if stage is None:
        stage = partial(Progress, f"cross-validate, {len(splits)} folds", quiet=quiet)
    with stage(0) as progress:
        while True:
            _run(stars, splits, penalties, zero_points, store, progress)
            wanted = [store.get(_key(s, p, z)) for s in splits for p in penalties for z in zero_points]
            chosen, minimum, means = choose(wanted, score, choice)
            taken = (chosen[0], minimum[0])
            if _all_zero(wanted, penalties[-1]):
                # No pixel is used there: a larger penalty is the same model. None anywhere: a smaller one is needed.
                taken = penalties[:1] if _all_zero(wanted, penalties[0]) else [p for p in taken if p != penalties[-1]]
            penalty = grow(penalties, taken, geometric=True)
            if penalty is not None and penalty < penalties[0] and not _all_zero(wanted, penalties[0]):
                gain = means[penalties[1], minimum[1]] - means[penalties[0], minimum[1]]
                penalty = None if gain < _GAIN_MIN else penalty
            zero_point = grow(zero_points, (chosen[1], minimum[1]), geometric=False)
            if penalty is None and zero_point is None:
                break
            if len(notes) >= _MAX_GROWTH:
                text = (
                    f"the choice (penalty {chosen[0]:g}, zero point {chosen[1]:g} mas) is still on the edge of the grid"
                )
                warnings.warn(text, SpfastWarning, 2)
                break
            for name, values, value in (("penalties", penalties, penalty), ("zero points", zero_points, zero_point)):
                if value is not None:
                    notes.append(f"the choice lies on the edge of the {name}: {value:g} added")
                    values.append(value)
                    values.sort()
                    if say is not None:
                        say(notes[-1])
    warn_of_unconverged([point["converged"] for point in wanted])
    undecided = undecided_zero_points(wanted, score, *chosen)
    return Tuning(*chosen, minimum, means, wanted, tuple(notes), score, choice, len(splits), undecided)


def _run(stars, splits, penalties, zero_points, store, progress):
    """Fit and score what the store does not have: splits side by side, each fit from the nearest of its own split."""
    grid = [(z, p) for z in zero_points for p in penalties[::-1]]
    missing = [[(z, p) for z, p in grid if _key(split, p, z) not in store] for split in splits]
    progress.total += sum(map(len, missing))

    def fit_split(split, points, threads):
        own, starts = stars.with_threads(threads), store.starts(split.repeat, split.held_out)
        for zero_point, penalty in points:
            progress.detail = f"without fold {split.held_out}: penalty {penalty:g}, zero point {zero_point:g} mas"
            nearest = min(starts, key=lambda at: (abs(at[1] - zero_point), abs(np.log(at[0] / penalty))), default=None)
            model = own.fit_part(penalty, zero_point, split.train, starts.get(nearest))
            store.add(score_held_out(own, split, model), model.coef)
            progress.advance()

    jobs = [partial(fit_split, *of) for of in zip(splits, missing, strict=True) if of[1]]
    if jobs:
        side_by_side(jobs, stars.features, stars.threads)


def score_held_out(stars: TrainingStars, split: Split, model: FittedModel) -> dict:
    """Score a model on the stars of a split that it did not see (dict): all scores, their counts, how the fit went."""
    rows = split.test
    predicted = model.predict(stars.features, rows, stars.threads)
    raw = stars.parallax[rows]
    parallax = raw + model.zero_point
    inlying = 1.0 if stars.inlying is None else stars.inlying[rows]
    best = raw / stars.gaia_error[rows] >= BEST_SNR
    scatter = None
    if best.any():
        p16, p84 = np.percentile((predicted[best] - parallax[best]) / parallax[best], [16.0, 84.0])
        scatter = float(p84 - p16) / 2
    return {
        "repeat": split.repeat,
        "held_out": split.held_out,
        "penalty": model.penalty,
        "zero_point": model.zero_point,
        "n_train": int(split.train.size),
        "n_test": int(rows.size),
        "chi_squared": float(np.mean(((parallax - predicted) / stars.fit_error[rows]) ** 2)),
        "likelihood": fit_scatter(parallax - predicted, stars.gaia_error[rows], predicted, inlying).minus_ln_likelihood,
        "n_best": int(np.count_nonzero(best)),
        "scatter": scatter,
        "n_nonzero": model.n_nonzero,
        "kkt_violation": model.result.kkt_violation,
        "converged": model.result.converged,
        "n_passes": model.result.n_passes,
    }


def _key(split, penalty, zero_point):
    return split.repeat, split.held_out, penalty, zero_point


def _grid(values, name):
    try:
        grid = sorted({float(value) for value in values})
    except (TypeError, ValueError):
        grid = []
    if not grid or not np.isfinite(grid).all():
        raise BadInputError(f"{name}: got {values}, expected a list of one number or more")
    return grid


def _all_zero(points, penalty):
    return all(point["n_nonzero"] == 0 for point in points if point["penalty"] == penalty)
