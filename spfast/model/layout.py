"""What each column of a design matrix is: its name, kind, unit, wavelength and whether the L1 penalty acts on it."""

from dataclasses import dataclass

import numpy as np

from spfast.errors import BadInputError

__all__ = ["CHIPS", "FeatureLayout", "MAGNITUDES", "N_GRID", "grid_wavelength"]

#: Pixels of the APOGEE rest-frame grid, log10 of the first wavelength and its step (CRVAL1 and CDELT1 of the files).
N_GRID = 8575
GRID_LOG10_START = 4.179
GRID_LOG10_STEP = 6e-6
#: The three detectors, open intervals of vacuum wavelength [Angstrom], edges trimmed.
CHIPS = ((15150.0, 15800.0), (15890.0, 16430.0), (16490.0, 16950.0))

#: Sum of the magnitudes' coefficients of ln parallax if parallax scales as 10^(-0.2 magnitude).
MAGNITUDE_SUM = -0.2 * np.log(10.0)

#: The photometric features in the order of paper Eq. 11.
MAGNITUDES = ("G", "BP", "RP", "J", "H", "K", "W1", "W2")

CONSTANT, MAGNITUDE, PIXEL = "constant", "magnitude", "pixel"


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
    >>> from spfast.model.layout import grid_wavelength
    >>> float(grid_wavelength([0])[0].round(1))
    15100.8
    """
    index = np.arange(N_GRID) if pixels is None else np.asarray(pixels)
    return 10.0 ** (GRID_LOG10_START + GRID_LOG10_STEP * index)


@dataclass(frozen=True)
class FeatureLayout:
    """The columns ``[1, magnitudes, ln flux of the kept pixels]`` of paper Eq. 11.

    Parameters
    ----------
    pixels : tuple of int
        Indices on the 8575-pixel grid, strictly increasing: one column each, after the constant and the magnitudes.
    magnitudes : tuple of str
        Names of the magnitude columns.
    """

    pixels: tuple
    magnitudes: tuple = MAGNITUDES

    def __post_init__(self):
        pixels = np.asarray(self.pixels, dtype=np.int64)
        if pixels.size and (pixels.min() < 0 or pixels.max() >= N_GRID or np.any(np.diff(pixels) <= 0)):
            raise BadInputError(f"layout: pixels must increase strictly within 0..{N_GRID - 1}")
        object.__setattr__(self, "pixels", tuple(pixels.tolist()))
        object.__setattr__(self, "magnitudes", tuple(self.magnitudes))

    @property
    def n_pixels(self):
        """Pixel columns."""
        return len(self.pixels)

    @property
    def n_unpenalized(self):
        """Columns before the first pixel: the constant and the magnitudes."""
        return 1 + len(self.magnitudes)

    @property
    def n_features(self):
        """All columns."""
        return self.n_unpenalized + self.n_pixels

    @property
    def names(self):
        """Column names, e.g. ``constant, G, ..., W2, pixel_0246, ...`` (list of str)."""
        return ["constant", *self.magnitudes, *(f"pixel_{p:04d}" for p in self.pixels)]

    @property
    def kinds(self):
        """``constant``, ``magnitude`` or ``pixel`` for each column (list of str)."""
        return [CONSTANT] + [MAGNITUDE] * len(self.magnitudes) + [PIXEL] * self.n_pixels

    @property
    def penalized(self):
        """Columns under the L1 penalty (bool array, shape (n_features,)): the pixels."""
        penalized = np.ones(self.n_features, dtype=bool)
        penalized[: self.n_unpenalized] = False
        return penalized

    @property
    def wavelength(self):
        """Vacuum wavelength of each column [Angstrom], NaN where it has none (float64 array, shape (n_features,))."""
        return np.concatenate([np.full(self.n_unpenalized, np.nan), grid_wavelength(self.pixels)])

    @property
    def grid(self):
        """Place of each column on the 8575-pixel grid, -1 where it has none (int64 array, shape (n_features,))."""
        return np.concatenate([np.full(self.n_unpenalized, -1), np.asarray(self.pixels, dtype=np.int64)])

    def position_coefs(self, coef, penalized):
        """What `spfast.model.extent` projects stars on: each chip's part of ln parallax, and the weakness of lines."""
        # NaN wavelengths (constant, magnitudes) compare false.
        chips = [(self.wavelength > low) & (self.wavelength < high) for low, high in CHIPS]
        size = np.where(penalized, np.abs(coef), 0.0)
        return [*(np.where(chip, coef, 0.0) for chip in chips), size / (size.sum() or 1.0)]

    def to_dict(self):
        """Return the layout as a JSON-able dictionary, one record a feature."""
        units = {CONSTANT: "", MAGNITUDE: "mag", PIXEL: "ln(flux)"}
        return {
            "features": [
                {
                    "name": name,
                    "kind": kind,
                    "wavelength": None if np.isnan(wavelength) else round(float(wavelength), 4),
                    "unit": units[kind],
                    "penalized": kind == PIXEL,
                }
                for name, kind, wavelength in zip(self.names, self.kinds, self.wavelength, strict=True)
            ]
        }

    @classmethod
    def from_dict(cls, record):
        """Rebuild a layout from `to_dict`'s dictionary."""
        try:
            features = record["features"]
            pixels = tuple(int(f["name"].removeprefix("pixel_")) for f in features if f["kind"] == PIXEL)
            layout = cls(pixels, tuple(f["name"] for f in features if f["kind"] == MAGNITUDE))
            names = [f["name"] for f in features]
            matches = names == layout.names and len(set(names)) == len(names) and all(type(n) is str for n in names)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise BadInputError("layout: the stored feature list is damaged; build the survey or model again") from None
        if not matches:
            raise BadInputError("layout: expected a constant, then magnitudes, then pixels, each once; build it again")
        return layout
