"""How many coordinates and products of a low-rank model a fit takes: by stars that inner folds hold out."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import NamedTuple

import numpy as np

from spfast.config import FitConfig
from spfast.progress import Progress
from spfast.reads.reader import side_by_side
from spfast.selection.splits import Split
from spfast.training.cross_validation import score_held_out
from spfast.training.inputs import MOST_PRODUCTS, Inputs
from spfast.training.stars import TrainingStars

__all__ = ["choose_columns"]

#: Coordinates of the fine basis that are tried, as shares of all of them; those of the broad basis are always there.
_SHARES = (0.0, 1 / 4, 1 / 2, 1.0)
#: Numbers of coordinates with products that are tried.
_PRODUCTS = (0, 4, 8, 12, MOST_PRODUCTS)
#: Training stars that each column needs.
_STARS_PER_COLUMN = 3
#: Stars held out fare clearly worse by so many standard errors of the difference over the inner folds.
_CLEAR = 2.0


def choose_columns(
    inputs: Inputs,
    stars: TrainingStars,
    splits: Sequence[Split],
    settings: FitConfig,
    zero_point: float,
    share: float = 1.0,
    stage: Callable[[int], AbstractContextManager] | None = None,
) -> tuple[Inputs, str]:
    """Choose the number of products and then the rank, at the configuration's penalty.

    Both are the largest that training stars are enough for, unless stars held out fare clearly worse with it than with
    the smallest number of products, or with the rank that is best for them. Products are for stars unlike most, few of
    which have a parallax that tells; too large a rank costs little, too small a one much. What wins by chance alone
    would make the error budget too small.

    Parameters
    ----------
    inputs : Inputs
        With the most of both.
    stars : TrainingStars
        With these features: all training stars, or a sample.
    splits : sequence of Split
        Of these stars.
    settings : FitConfig
        Its ``rank`` and ``products`` are taken as they are, unless they are to be chosen.
    zero_point : float [mas]
    share : float
        Of the training stars that these are: the penalty stands against a sum over stars.
    stage : callable, optional
        Begins the fits that it is given the number of (`spfast.progress.Progress`).

    Returns
    -------
    inputs : Inputs
        With the columns chosen.
    summary : str
    """
    stage = partial(Progress, "columns", quiet=True) if stage is None else stage
    most, scores, coefs = inputs.layout.rank, {}, np.zeros((len(splits), inputs.layout.n_features))
    n_stars, penalty = min(split.train.size for split in splits) / share, settings.penalty * share

    def score(candidate):
        if candidate not in scores:
            at = inputs.layout.within(*candidate)
            some = stars.with_columns(inputs.layout.smaller(*candidate), at)
            with stage(len(splits)) as going_on:
                going_on.detail = f"{candidate[0]} coordinates, products of {candidate[1]}"
                scores[candidate], coefs[:, at] = _score(some, splits, penalty, zero_point, coefs[:, at], going_on)
        return scores[candidate]

    rank = min(settings.rank, most) if settings.rank else most
    products = _PRODUCTS if settings.products < 0 else (settings.products,)
    candidates = sorted({(rank, min(n, inputs.layout.n_products, rank)) for n in products})
    fewest, *others = _affordable(candidates, inputs, n_stars)
    reference = score(fewest) if others else None
    # From the largest: the first that will do is the choice.
    chosen = next((one for one in others[::-1] if not score(one).is_worse_than(reference)), fewest)
    if not settings.rank:
        n_broad = inputs.low_rank.n_broad
        ranks = {n_broad + round(part * (most - n_broad)) for part in _SHARES}
        candidates = _affordable(sorted((n, min(chosen[1], n)) for n in ranks), inputs, n_stars)
        chosen = _best_rank(candidates[::-1], score) if len(candidates) > 1 else candidates[0]
    text = f"{chosen[0]} of {most} coordinates, products of {chosen[1]}"
    if chosen in scores:
        text += f", by stars held out: minus ln likelihood {scores[chosen].mean:.6g}"
        text += f", {scores[fewest].mean:.6g} for products of {fewest[1]}" if fewest in scores else ""
    return inputs.within(*chosen), text


class _Score(NamedTuple):
    """Minus ln likelihood of the stars held out: the mean over all, and each fold's mean (float64 array)."""

    mean: float
    of_folds: np.ndarray

    def is_worse_than(self, other: "_Score") -> bool:
        """Whether stars held out fare worse by more than the error of the difference."""
        difference = self.of_folds - other.of_folds
        error = difference.std(ddof=1) / np.sqrt(difference.size)
        return bool(self.mean > other.mean + _CLEAR * error)


def _best_rank(candidates, score):
    """The largest rank that is not clearly worse than the best.

    They are tried from the largest, until one is clearly worse than the best so far: smaller ones are worse still.
    """
    tried, best = [], score(candidates[0])
    for candidate in candidates:
        if score(candidate).is_worse_than(best):
            break
        tried.append(candidate)
        best = min(best, score(candidate), key=lambda one: one.mean)
    return next(candidate for candidate in tried if not score(candidate).is_worse_than(best))


def _affordable(candidates, inputs, n_stars):
    """Those that have enough training stars for their columns; the smallest at least."""
    enough = [c for c in candidates if inputs.layout.within(*c).size * _STARS_PER_COLUMN <= n_stars]
    return enough or candidates[:1]


def _score(stars, splits, penalty, zero_point, starts, stage):
    """How well stars held out are predicted with these columns, and the coefficients (shape (n_splits, n_columns)).

    Each fit starts from that of the same stars with other columns; the first of all from the photometry, and those of
    the other splits from that.
    """

    def fit(split, start, threads):
        own = stars.with_threads(threads)
        model = own.fit_part(penalty, zero_point, split.train, start if start.any() else None)
        stage.advance()
        return score_held_out(own, split, model), model.coef

    first = fit(splits[0], starts[0], stars.threads)
    starts = [start if start.any() else first[1] for start in starts[1:]]
    jobs = [partial(fit, *of) for of in zip(splits[1:], starts, strict=True)]
    rest = side_by_side(jobs, stars.features, stars.threads)
    points, coefs = zip(first, *rest, strict=True)
    of_folds = np.array([point["likelihood"] for point in points])
    mean = float(np.average(of_folds, weights=[point["n_test"] for point in points]))
    return _Score(mean, of_folds), np.array(coefs)
