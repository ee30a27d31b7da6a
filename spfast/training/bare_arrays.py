"""Cross-validation of a fit to bare arrays: any features, no survey."""

import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from spfast.blas import one_blas_thread
from spfast.config import Config, zero_point_in_mas
from spfast.errors import BadInputError
from spfast.model.arrays import check_design, parallaxes_and_errors, penalized_mask, refuse_stars, resolve_rows
from spfast.model.layout import FeatureLayout
from spfast.model.options import FitOptions
from spfast.reads.cluster import on_cluster
from spfast.selection.splits import Split
from spfast.training.cross_validation import Tuning, cross_validate_stars
from spfast.training.stars import TrainingStars

__all__ = ["cross_validate"]


@one_blas_thread()
def cross_validate(
    features: np.ndarray,
    parallax: np.ndarray,
    parallax_error: np.ndarray,
    penalties: Sequence[float],
    *,
    folds: int | np.ndarray | Sequence[tuple] = 5,
    zero_points: Sequence[float] = (0.0,),
    penalized: np.ndarray | None = None,
    rows: np.ndarray | None = None,
    layout: FeatureLayout | None = None,
    score: str = "chi_squared",
    choice: str = "minimum",
    seed: int = 0,
    say: Callable[[str], None] | None = None,
    quiet: bool = True,
    options: FitOptions | None = None,
    cluster: Any = None,
    **named: Any,
) -> Tuning:
    """Score penalties, and zero points, on stars held out, and choose: `spfast.tune` for arrays.

    Parameters
    ----------
    features, parallax, parallax_error, penalized, rows, layout, options, **named
        As in `spfast.fit`.
    penalties : sequence of float, or float
        The grid of lambda; where the choice lies on an edge, the grid grows there. lambda is a sum over the stars that
        are trained on: K folds train on a share (K - 1) / K of them.
    folds : int, array of labels, shape (n_stars,), or sequence of (train, test)
        K folds at random; or each star's fold; or pairs of rows of ``features``, such as those that scikit-learn's
        splitters give. Only the stars of ``rows`` count.
    zero_points : sequence of float, or float [mas]
        Added to every parallax; a single value is fixed.
    score, choice : str
        As in `spfast.training.cross_validation.cross_validate_stars`.
    seed : int
        Of random folds.
    say : callable, optional
        Called with a line of text whenever the grid grows.
    quiet : bool
        No progress bar.
    cluster : optional
        Whose workers read the features, as for `spfast.on_cluster`.

    Returns
    -------
    Tuning
        Its ``penalty`` and ``zero_point`` were chosen; ``points`` has every fold's scores at every point of the grid.

    Raises
    ------
    BadInputError
        If the input cannot be used.

    Warns
    -----
    SpfastWarning, ConvergenceWarning
        As `cross_validate_stars`.

    Examples
    --------
    >>> import numpy as np, spfast
    >>> rng = np.random.default_rng(1)
    >>> x = np.column_stack([np.ones(500), rng.normal(size=(500, 20))])
    >>> truth = np.zeros(21); truth[:3] = -1.0, 0.5, -0.3
    >>> parallax = np.exp(x @ truth) + 0.02 * rng.normal(size=500)
    >>> found = spfast.cross_validate(
    ...     x, parallax, np.full(500, 0.02), penalties=[1000.0, 100.0, 10.0], penalized=np.arange(21) > 0
    ... )
    >>> found.penalty, found.n_splits
    (1000.0, 5)
    """
    Config().replace(tune={"score": score, "choice": choice})  # refuses what there is not, before anything is fitted
    design = check_design(features)
    n_stars = len(design)
    if layout is not None and layout.n_features != design.shape[1]:
        raise BadInputError(f"features: {design.shape[1]} columns, the layout has {layout.n_features}")
    rows = resolve_rows(rows, n_stars)
    values, errors = parallaxes_and_errors(parallax, parallax_error, n_stars)
    refuse_stars("parallax", ~np.isfinite(values[rows]), rows, "a finite number in mas")
    refuse_stars("parallax_error", ~(errors[rows] > 0), rows, "a positive number in mas")
    stars = TrainingStars(
        features=design,
        feature_errors=None,
        layout=layout,
        parallax=values,
        gaia_error=errors,
        fit_error=errors,
        rows=rows,
        options=FitOptions.of(options, **named),
        penalized=penalized_mask(penalized, layout, design.shape[1]),
    )
    penalties, zero_points = ([one] if not np.iterable(one) else list(one) for one in (penalties, zero_points))
    grid = {"penalties": penalties, "zero_points": [zero_point_in_mas(value) for value in zero_points]}
    splits = _splits(folds, rows, n_stars, seed)
    with on_cluster(cluster):
        return cross_validate_stars(stars, splits, **grid, score=score, choice=choice, say=say, quiet=quiet)


def _splits(folds, rows, n_stars, seed):
    """The splits that a caller asks for (list of Split)."""
    if isinstance(folds, numbers.Integral) and not isinstance(folds, bool):
        if not 2 <= folds <= rows.size:
            raise BadInputError(f"folds: {folds} folds of {rows.size} stars, expected 2 or more, none without a star")
        if not isinstance(seed, numbers.Integral) or seed < 0:
            raise BadInputError(f"seed: got {seed!r}, expected a whole number, 0 or larger")
        labels = np.empty(rows.size, dtype=np.int64)
        labels[np.random.default_rng(seed).permutation(rows.size)] = np.arange(rows.size) % folds
        return _by_label(labels, rows)
    try:
        folds = folds if hasattr(folds, "__len__") else list(folds)  # a splitter's generator
        folds = np.ma.asarray(folds) if hasattr(folds, "__array__") else folds  # of pandas or astropy
        if len(folds) == n_stars and np.ndim(folds[0]) == 0:
            labels = np.ma.asarray(folds)[rows]
            none = [value is None or value is np.ma.masked or value != value for value in labels]
            refuse_stars("folds", np.array(none, bool), rows, "a label")
            return _by_label(labels.data, rows)
        pairs = [tuple(resolve_rows(np.asarray(part), n_stars) for part in pair) for pair in folds]
        pairs = [tuple(part[np.isin(part, rows)] for part in pair) for pair in pairs]
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError("no pairs")
    except (TypeError, ValueError, KeyError, IndexError) as error:
        reason = f" ({error})" if isinstance(error, BadInputError) else ""
        raise BadInputError(
            f"folds: got {str(folds)[:40]}{reason}, expected a number of folds, one label for each of the {n_stars} "
            "rows of features, or pairs of train and test rows"
        ) from None
    for number, (train, test) in enumerate(pairs):
        if not train.size or not test.size or np.isin(test, train).any():
            n_both = np.isin(test, train).sum()
            raise BadInputError(
                f"folds: pair {number} trains on {train.size} stars and tests {test.size}, {n_both} of them trained "
                "on; expected some in each, and none in both"
            )
    if not pairs:
        raise BadInputError("folds: no pair of train and test rows, expected one or more")
    return [Split(0, str(number), train, test) for number, (train, test) in enumerate(pairs)]


def _by_label(labels, rows):
    names = np.unique(labels)
    if names.size < 2:
        raise BadInputError(f"folds: all stars have the label {names[0]}, expected two labels or more")
    return [Split(0, str(name), rows[labels != name], rows[labels == name]) for name in names]
