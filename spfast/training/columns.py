"""How many coordinates and products of a low-rank model a fit takes: by stars that inner folds hold out."""

from collections.abc import Sequence

import numpy as np

from spfast.config import FitConfig
from spfast.selection.grid import SCORES
from spfast.selection.splits import Split
from spfast.training.cross_validation import score_held_out
from spfast.training.inputs import MOST_PRODUCTS, Inputs
from spfast.training.stars import TrainingStars

__all__ = ["choose_columns"]

#: Ranks that are tried, as shares of the basis's.
_SHARES = (1 / 4, 1 / 2, 1.0)
#: Numbers of coordinates with products that are tried.
_PRODUCTS = (0, 4, 8, MOST_PRODUCTS)
#: Training stars that each column needs.
_STARS_PER_COLUMN = 4


def choose_columns(
    inputs: Inputs,
    stars: TrainingStars,
    splits: Sequence[Split],
    settings: FitConfig,
    score: str,
    zero_point: float,
) -> tuple[Inputs, str]:
    """Choose rank and number of products, first the one and then the other, at the configuration's penalty.

    Parameters
    ----------
    inputs : Inputs
        With the most of both.
    stars : TrainingStars
    splits : sequence of Split
    settings : FitConfig
        Its ``rank`` and ``products`` are taken as they are, unless they are to be chosen.
    score : str
        As in `spfast.selection.grid.choose`.
    zero_point : float [mas]

    Returns
    -------
    inputs : Inputs
        With the columns chosen.
    summary : str
    """
    most = inputs.layout.rank
    ranks = [min(settings.rank, most)] if settings.rank else sorted({max(1, round(s * most)) for s in _SHARES})
    scores = {}

    def best(candidates):
        for candidate in candidates:
            if candidate not in scores:
                scores[candidate] = _score(inputs.within(*candidate), stars, splits, settings, score, zero_point)
        return min(candidates, key=scores.get)

    products = [n for n in _PRODUCTS if n <= inputs.layout.n_products] if settings.products < 0 else [settings.products]
    start = products[len(products) // 2]
    candidates = _affordable([(rank, min(start, rank)) for rank in ranks], inputs, splits)
    rank = candidates[0][0] if len(candidates) == 1 else best(candidates)[0]
    candidates = _affordable([(rank, n) for n in sorted({min(n, rank) for n in products})], inputs, splits)
    chosen = candidates[0] if len(candidates) == 1 else best(candidates)
    text = f"{chosen[0]} of {most} coordinates, products of {chosen[1]}"
    if chosen in scores:
        text += f": minimum of held-out {score}, {scores[chosen]:.6g}, among {len(scores)}"
    return inputs.within(*chosen), text


def _affordable(candidates, inputs, splits):
    """Those that have enough training stars for their columns; the smallest at least."""
    n_stars = min(split.train.size for split in splits)
    few = [c for c in candidates if inputs.layout.within(*c).size * _STARS_PER_COLUMN <= n_stars]
    return few or candidates[:1]


def _score(inputs, stars, splits, settings, score, zero_point):
    """Mean score of the stars held out."""
    stars = stars.with_inputs(inputs)
    points = [
        score_held_out(stars, split, stars.fit_part(settings.penalty, zero_point, split.train)) for split in splits
    ]
    points = [point for point in points if point[score] is not None]
    weights = [point[SCORES[score]] for point in points]
    return float(np.average([point[score] for point in points], weights=weights)) if sum(weights) else np.inf
