"""The pseudo-continuum: the chips, the continuum pixels (found or read from a file) and the fit's fixed arrays."""

import numpy as np

from spfast.errors import BadInputError
from spfast.model.layout import N_GRID, grid_wavelength

#: The three detectors, open intervals of vacuum wavelength [Angstrom], edges trimmed.
CHIPS = ((15150.0, 15800.0), (15890.0, 16430.0), (16490.0, 16950.0))

#: Good continuum pixels a chip must have, per coefficient of its polynomial, for the fit to mean anything.
MIN_PIXELS_PER_COEFFICIENT = 10


def chip_ranges():
    """Return the half-open pixel range of each chip on the 8575-pixel grid.

    Returns
    -------
    ranges : list of (start, stop)

    Examples
    --------
    >>> from spfast.data.continuum import chip_ranges
    >>> [stop - start for start, stop in chip_ranges()]
    [3041, 2419, 1991]
    """
    wavelength = grid_wavelength()
    return [
        (int(np.searchsorted(wavelength, low, side="right")), int(np.searchsorted(wavelength, high, side="left")))
        for low, high in CHIPS
    ]


def chip_pixels():
    """Return the grid indices of all pixels on the chips, in order (int64 array, shape (7451,))."""
    return np.concatenate([np.arange(start, stop) for start, stop in chip_ranges()])


def chebyshev_basis(degree):
    """Return the Chebyshev polynomials that the continuum fit needs, each chip on its own [-1, 1].

    Parameters
    ----------
    degree : int
        Degree of the continuum; the normal equations need the polynomials up to twice that.

    Returns
    -------
    basis : float64 array, C order, shape (2 * degree + 1, 7451)
    """
    wavelength = grid_wavelength()
    chips = []
    for start, stop in chip_ranges():
        low, high = wavelength[start], wavelength[stop - 1]
        x = (2.0 * wavelength[start:stop] - low - high) / (high - low)
        chips.append(np.polynomial.chebyshev.chebvander(x, 2 * degree).T)
    return np.ascontiguousarray(np.concatenate(chips, axis=1))


def check_continuum_pixels(pixels, degree, where):
    """Return the continuum pixels that lie on the chips, sorted, or say why they cannot be used.

    Parameters
    ----------
    pixels : int array
        Indices on the 8575-pixel grid.
    degree : int
        Degree of the continuum.
    where : str
        Where they come from, for the message.

    Returns
    -------
    pixels : int64 array

    Raises
    ------
    BadInputError
        For indices off the grid, repeated ones, or too few on a chip.
    """
    pixels = np.sort(np.asarray(pixels, dtype=np.int64).ravel())
    if pixels.size and (pixels[0] < 0 or pixels[-1] >= N_GRID):
        raise BadInputError(
            f"{where}: continuum pixels run {pixels[0]}..{pixels[-1]}, expected indices within 0..{N_GRID - 1} "
            "on the APOGEE grid; correct the list"
        )
    if np.any(np.diff(pixels) == 0):
        raise BadInputError(f"{where}: continuum pixel {pixels[:-1][np.diff(pixels) == 0][0]} is listed twice")
    needed = MIN_PIXELS_PER_COEFFICIENT * (degree + 1)
    kept = []
    for (start, stop), (low, high) in zip(chip_ranges(), CHIPS, strict=True):
        on_chip = pixels[(pixels >= start) & (pixels < stop)]
        if on_chip.size < needed:
            raise BadInputError(
                f"{where}: {on_chip.size} continuum pixels on the chip {low:.0f}-{high:.0f} A, expected at least "
                f"{needed} for a polynomial of degree {degree}; give a longer list"
            )
        kept.append(on_chip)
    return np.concatenate(kept)


def read_continuum_file(path, degree=2):
    """Read continuum pixels from a text file of indices on the 8575-pixel grid.

    Parameters
    ----------
    path : path-like
        Whitespace-separated integers; ``#`` starts a comment.
    degree : int
        Degree of the continuum that they must determine.

    Returns
    -------
    pixels : int64 array
        Those on the chips, sorted.

    Raises
    ------
    BadInputError
        If the file cannot be read, holds anything but integers, or `check_continuum_pixels` refuses them.
    """
    try:
        with open(path, encoding="utf-8") as file:
            words = [word for line in file for word in line.split("#")[0].replace(",", " ").split()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path}: cannot read the continuum pixels ({error}); check continuum_file") from None
    values = np.empty(len(words))
    for i, word in enumerate(words):
        try:
            values[i] = float(word)
        except ValueError:
            values[i] = np.nan
        if not values[i].is_integer():
            raise BadInputError(f"{path}: {word!r} is not a pixel index; expected whole numbers 0..{N_GRID - 1}")
    return check_continuum_pixels(values, degree, path)
