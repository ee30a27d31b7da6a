"""How many coordinates and products of a low-rank model a fit takes: by stars that inner folds hold out."""

from collections.abc import Sequence

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
_PRODUCTS = (0, 4, 8, MOST_PRODUCTS)
#: Training stars that each column needs.
_STARS_PER_COLUMN = 4


def choose_columns(
    inputs: Inputs,
    stars: TrainingStars,
    splits: Sequence[Split],
    settings: FitConfig,
    zero_point: float,
) -> tuple[Inputs, str]:
    """Choose the number of products and then the rank, at the configuration's penalty.

    Both by minus ln likelihood of stars held out. Products are for stars unlike most, few of which have a parallax that
    tells: so the largest number is taken with which the stars held out fare no worse than with the smallest. The rank
    is that with which they fare best.

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
    chosen = max((c for c in candidates if c == fewest or scores[c] <= scores[fewest]), key=lambda c: c[1])
    if not settings.rank:
        n_broad = inputs.low_rank.n_broad
        ranks = sorted({n_broad + round(share * (most - n_broad)) for share in _SHARES})
        candidates = scored([(n, min(chosen[1], n)) for n in ranks])
        chosen = candidates[0] if len(candidates) == 1 else min(candidates, key=scores.get)
    text = f"{chosen[0]} of {most} coordinates, products of {chosen[1]}"
    if chosen in scores:
        text += f", by stars held out: minus ln likelihood {scores[chosen]:.6g}"
        text += f", {scores[fewest]:.6g} for products of {fewest[1]}" if fewest in scores else ""
    return inputs.within(*chosen), text


def _affordable(candidates, inputs, splits):
    """Those that have enough training stars for their columns; the smallest at least."""
    n_stars = min(split.train.size for split in splits)
    enough = [c for c in candidates if inputs.layout.within(*c).size * _STARS_PER_COLUMN <= n_stars]
    return enough or candidates[:1]


def _score(inputs, stars, splits, settings, zero_point):
    """Mean minus ln likelihood of the stars held out."""
    stars = stars.with_inputs(inputs)
    points = [
        score_held_out(stars, split, stars.fit_part(settings.penalty, zero_point, split.train)) for split in splits
    ]
    return float(np.average([point["likelihood"] for point in points], weights=[point["n_test"] for point in points]))
