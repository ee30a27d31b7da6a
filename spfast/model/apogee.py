"""APOGEE's grid of wavelengths and its detectors: facts that its readers, and layouts of its pixels, have in common."""

import numpy as np

__all__ = ["CHIPS", "GRID_LOG10_START", "GRID_LOG10_STEP", "N_GRID", "grid_wavelength"]

#: Pixels of the APOGEE rest-frame grid, log10 of the first wavelength and its step (CRVAL1 and CDELT1 of the files).
N_GRID = 8575
GRID_LOG10_START = 4.179
GRID_LOG10_STEP = 6e-6
#: The three detectors, open intervals of vacuum wavelength [Angstrom], edges trimmed.
CHIPS = ((15150.0, 15800.0), (15890.0, 16430.0), (16490.0, 16950.0))


def grid_wavelength(pixels=None):
    """Return the vacuum wavelength of APOGEE pixels.

    Parameters
    ----------
    pixels : int array, optional
        Indices on the 8575-pixel grid; all of them by default.

    Returns
    -------
    wavelength : float64 array [Angstrom]

    Examples
    --------
    >>> from spfast.model.apogee import grid_wavelength
    >>> float(grid_wavelength([0])[0].round(1))
    15100.8
    """
    index = np.arange(N_GRID) if pixels is None else np.asarray(pixels)
    return 10.0 ** (GRID_LOG10_START + GRID_LOG10_STEP * index)
