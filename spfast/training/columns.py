"""How many coordinates and products of a low-rank model a fit takes: by stars that inner folds hold out."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from spfast.config import FitConfig
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
    splits : sequence of Split
    settings : FitConfig
        Its ``rank`` and ``products`` are taken as they are, unless they are to be chosen.
    zero_point : float [mas]

    Returns
    -------
    inputs : Inputs
        With the columns chosen.
    summary : str
    """
    most, scores = inputs.layout.rank, {}

    def scored(candidates):
        candidates = _affordable(candidates, inputs, splits)
        for candidate in candidates if len(candidates) > 1 else ():
            if candidate not in scores:
                scores[candidate] = _score(inputs.within(*candidate), stars, splits, settings, zero_point)
        return candidates

    rank = min(settings.rank, most) if settings.rank else most
    products = _PRODUCTS if settings.products < 0 else (settings.products,)
    candidates = scored([(rank, n) for n in sorted({min(n, inputs.layout.n_products, rank) for n in products})])
    fewest = candidates[0]
    chosen = _largest(candidates, fewest, scores)
    if not settings.rank:
        n_broad = inputs.low_rank.n_broad
        ranks = sorted({n_broad + round(share * (most - n_broad)) for share in _SHARES})
        candidates = scored([(n, min(chosen[1], n)) for n in ranks])
        if len(candidates) > 1:
            chosen = _largest(candidates, min(candidates, key=lambda c: scores[c].mean), scores)
        else:
            chosen = candidates[0]
    text = f"{chosen[0]} of {most} coordinates, products of {chosen[1]}"
    if chosen in scores:
        text += f", by stars held out: minus ln likelihood {scores[chosen].mean:.6g}"
        text += f", {scores[fewest].mean:.6g} for products of {fewest[1]}" if fewest in scores else ""
    return inputs.within(*chosen), text


class _Score(NamedTuple):
    """Minus ln likelihood of the stars held out: the mean over all, and each fold's mean (float64 array)."""

    mean: float
    of_folds: np.ndarray


def _largest(candidates, reference, scores):
    """The last of the candidates with which stars held out fare no worse than with the reference, within its error."""
    if len(candidates) == 1:
        return candidates[0]

    def is_as_good(candidate):
        difference = scores[candidate].of_folds - scores[reference].of_folds
        error = difference.std(ddof=1) / np.sqrt(difference.size)
        return scores[candidate].mean <= scores[reference].mean + _CLEAR * error

    return [candidate for candidate in candidates if is_as_good(candidate)][-1]


def _affordable(candidates, inputs, splits):
    """Those that have enough training stars for their columns; the smallest at least."""
    n_stars = min(split.train.size for split in splits)
    enough = [c for c in candidates if inputs.layout.within(*c).size * _STARS_PER_COLUMN <= n_stars]
    return enough or candidates[:1]


def _score(inputs, stars, splits, settings, zero_point):
    """How well stars held out are predicted with these columns."""
    stars = stars.with_inputs(inputs)
    points = [
        score_held_out(stars, split, stars.fit_part(settings.penalty, zero_point, split.train)) for split in splits
    ]
    of_folds = np.array([point["likelihood"] for point in points])
    return _Score(float(np.average(of_folds, weights=[point["n_test"] for point in points])), of_folds)
