"""A sample of the rows whose weighted Gram matrix stands for that of all rows, at a fraction of the cost."""

import numpy as np

__all__ = ["weights_of_sample"]


def weights_of_sample(weights: np.ndarray, share: float) -> np.ndarray:
    """Return weights that are zero for most rows and add up to nearly the same Gram matrix.

    Weights of stars are very unequal: a seventh of the rows carries two thirds of their sum. Rows above a least weight
    are taken as they are. Of the others every so manieth is taken, in proportion to its weight, and counts as much as
    the least. For as many rows the Gram's relative error is several times smaller than that of rows taken evenly.

    Parameters
    ----------
    weights : float64 array, shape (n_rows,)
        Positive or negative.
    share : float
        Of the rows, about; above 0 and below 1.

    Returns
    -------
    float64 array, shape (n_rows,)
        ``weights`` itself if no more rows than that have a weight.

    Examples
    --------
    >>> import numpy as np
    >>> from spfast.solvers.row_sample import weights_of_sample
    >>> weights_of_sample(np.array([9.0, 1.0, 1.0, -1.0, -1.0, 1.0]), 0.5)
    array([ 9. ,  0. ,  2.5,  0. , -2.5,  0. ])
    """
    size = np.abs(weights)
    falling = np.sort(size[size > 0.0])[::-1]
    wanted = int(share * weights.size)
    if falling.size <= wanted:
        return weights
    # Rows that are taken if the least weight is each row's own: those above it, and of the others in proportion.
    below = np.maximum(falling.sum() - np.cumsum(falling), 0.0)
    n_above = int(np.searchsorted(np.arange(1, falling.size + 1) + below / falling, wanted))
    least = (below[n_above - 1] if n_above else falling.sum()) / max(wanted - n_above, 1)
    chance = np.minimum(size / least, 1.0)
    is_taken = np.diff(np.floor(np.cumsum(chance) + 0.5), prepend=0.0) > 0.0
    is_taken |= chance == 1.0  # rounding of the sum does not matter to these
    return np.where(is_taken, np.sign(weights) * np.maximum(size, least), 0.0)
