"""The pseudo-continuum: the chips' pixels, the continuum pixels (found or read from a file), the fit's fixed arrays."""

import json

import numpy as np

from spfast.errors import BadInputError
from spfast.files import check_regular
from spfast.model.apogee import CHIPS, N_GRID, grid_wavelength

#: Good continuum pixels that a chip must have for each coefficient of its polynomial.
MIN_PIXELS_PER_COEFFICIENT = 10
#: Fewer reference stars do not determine how a pixel depends on three labels (ten coefficients).
MIN_REFERENCE_STARS = 30

#: Rough normalisation: pixels in one stretch, the percentile of its flux that counts as continuum, and the degree of
#: the polynomial through a chip's stretches.
_STRETCH = 150
_HIGH_PERCENTILE = 90
_ROUGH_DEGREE = 2
#: Share of good pixels that a reference spectrum must have, and of good stars that a pixel must have.
_MIN_GOOD = 0.8
#: Each chip has this many sections, which give the same share of continuum pixels.
_SECTIONS = 12


def chip_ranges():
    """Return the half-open pixel range of each chip on the 8575-pixel grid.

    Returns
    -------
    ranges : list of (start, stop)

    Examples
    --------
    >>> from spfast.data.spectra.continuum import chip_ranges
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
    """Return the Chebyshev polynomials that the continuum fit needs; on each chip they run over [-1, 1].

    Parameters
    ----------
    degree : int
        Degree of the continuum; the normal equations need polynomials up to twice that degree.

    Returns
    -------
    basis : float32 array, C order, shape (2 * degree + 1, 7451)
        Fit and evaluation use the same values, so their rounding moves the continuum by no more than 1e-7.
    """
    wavelength = grid_wavelength()
    chips = []
    for start, stop in chip_ranges():
        low, high = wavelength[start], wavelength[stop - 1]
        x = (2.0 * wavelength[start:stop] - low - high) / (high - low)
        chips.append(np.polynomial.chebyshev.chebvander(x, 2 * degree).T)
    return np.ascontiguousarray(np.concatenate(chips, axis=1), dtype=np.float32)


def check_continuum_pixels(pixels, degree, where):
    """Return the continuum pixels that lie on the chips, sorted; refuse a list that cannot be used.

    Parameters
    ----------
    pixels : int array
        Indices on the 8575-pixel grid.
    degree : int
        Degree of the continuum.
    where : str
        What the pixels come from, for the message.

    Returns
    -------
    pixels : int64 array

    Raises
    ------
    BadInputError
        If an index is off the grid or listed twice, or a chip has too few.
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
    """Read continuum pixels, indices on the 8575-pixel grid, from a text file or another survey.

    Parameters
    ----------
    path : path-like
        Integers, where ``#`` starts a comment; or another survey's ``survey.json``, to normalise as that survey was.
    degree : int
        Degree of the continuum that the pixels must determine.

    Returns
    -------
    pixels : int64 array
        The ones on the chips, sorted.

    Raises
    ------
    BadInputError
        If the file cannot be read, holds anything but integers, or `check_continuum_pixels` refuses them.
    """
    check_regular(path)
    if str(path).endswith(".json"):
        return check_continuum_pixels(_stored_pixels(path), degree, path)
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


def _stored_pixels(path):
    try:
        with open(path, encoding="utf-8") as file:
            return np.array(json.load(file)["continuum"]["pixels"], dtype=np.int64)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInputError(
            f"{path}: cannot read a survey's continuum pixels ({error}); check continuum_file"
        ) from None


def rough_normalize(flux, flux_error, pixel_mask, normalized, bad_bits):
    """Bring a spectrum near 1 without any continuum pixel, well enough to find the continuum pixels.

    Parameters
    ----------
    flux, flux_error : float32 array, shape (8575,)
    pixel_mask : int32 array, shape (8575,), or None
    normalized : bool
        Whether the flux is near 1 already; then only bad pixels are marked.
    bad_bits : int

    Returns
    -------
    flux : float32 array, shape (7451,)
        NaN where bad. Each chip is divided by a parabola through a high percentile of each stretch of pixels, because
        lines only ever take light away.
    """
    chips = []
    for start, stop in chip_ranges():
        chip = flux[start:stop].astype(np.float32)
        error = flux_error[start:stop]
        bad = ~(np.isfinite(chip) & np.isfinite(error) & (error > 0))
        if pixel_mask is not None:
            bad |= (pixel_mask[start:stop] & bad_bits) != 0
        chip[bad] = np.nan
        if not normalized:
            centres, levels = [], []
            for stretch in np.array_split(np.arange(stop - start), (stop - start) // _STRETCH):
                good = stretch[np.isfinite(chip[stretch])]
                if good.size > _STRETCH // 2:
                    centres.append(good.mean())
                    levels.append(np.percentile(chip[good], _HIGH_PERCENTILE))
            if len(levels) <= _ROUGH_DEGREE + 1:
                chip[:] = np.nan
            else:
                rough = np.polynomial.Chebyshev.fit(centres, levels, _ROUGH_DEGREE, domain=(0, stop - start - 1))
                continuum = rough(np.arange(stop - start))
                chip = np.where(continuum > 0, chip / continuum, np.nan).astype(np.float32)
        chips.append(chip)
    return np.concatenate(chips)


def find_continuum_pixels(flux, labels, degree=2, share=0.25, seen=""):
    """Find pixels that are near 1 and hardly depend on stellar labels, by the criterion of The Cannon.

    Each pixel's flux is regressed on a quadratic function of the standardised labels (Ness et al. 2015, Eq. 5 and the
    section on continuum). Its score is the quadrature sum of the linear coefficients, which are the change of flux for
    one standard deviation of each label, and of the distance of its median flux from 1. Every twelfth of a chip gives
    the same share of its pixels, those with the lowest scores, so that they determine the polynomial on all of it.

    Parameters
    ----------
    flux : float32 array, shape (n_stars, 7451)
        Near 1, NaN where bad, from `rough_normalize`.
    labels : float array, shape (n_stars, n_labels)
        Teff, log g and [Fe/H], all finite.
    degree : int
        Degree of the continuum.
    share : float
        Share of the pixels to choose.
    seen : str
        What the caller tried to get these spectra, for the message if they are too few.

    Returns
    -------
    pixels : int64 array
        Indices on the 8575-pixel grid.

    Raises
    ------
    BadInputError
        If there are too few stars, or too few pixels that are good in most of them.
    """
    good = np.isfinite(flux)
    whole = good.mean(axis=1) > _MIN_GOOD
    flux, good, labels = flux[whole], good[whole], np.asarray(labels, dtype=float)[whole]
    if len(flux) < MIN_REFERENCE_STARS:
        if not whole.all():
            seen += f"{', ' if seen else ''}{np.sum(~whole):,} spectra have too few good pixels"
        raise BadInputError(
            f"continuum pixels: {len(flux)} good spectra with Teff, log g and [Fe/H], expected at least "
            f"{MIN_REFERENCE_STARS} to find them{f' ({seen}); mend that, or' if seen else ';'} give a list as "
            "continuum_file in [normalization]"
        )
    spread = labels.std(axis=0)
    labels = (labels - labels.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    n_labels = labels.shape[1]
    quadratic = [labels[:, i] * labels[:, j] for i in range(n_labels) for j in range(i, n_labels)]
    design = np.column_stack([np.ones(len(labels)), labels, *quadratic])
    usable = good.mean(axis=0) > _MIN_GOOD
    median = np.full(flux.shape[1], np.nan)
    median[usable] = np.nanmedian(flux[:, usable], axis=0)
    filled = np.where(good, flux, median)[:, usable]
    slopes = np.linalg.lstsq(design, filled, rcond=None)[0][1 : 1 + n_labels]
    score = np.full(flux.shape[1], np.inf)
    score[usable] = np.sqrt(np.sum(slopes**2, axis=0) + (median[usable] - 1.0) ** 2)
    grid, chosen, first = chip_pixels(), [], 0
    for start, stop in chip_ranges():
        for section in np.array_split(np.arange(first, first + stop - start), _SECTIONS):
            best = section[np.argsort(score[section], kind="stable")[: round(share * section.size)]]
            chosen.append(grid[best[np.isfinite(score[best])]])
        first += stop - start
    return check_continuum_pixels(np.concatenate(chosen), degree, "the survey's spectra")
