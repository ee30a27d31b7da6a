"""H-band spectra of giants on APOGEE's grid: saturating lines, an interstellar band, sky, noise and bad pixels."""

import numpy as np

from spfast.model.layout import N_GRID, grid_wavelength
from spfast.simulate.lines import SPECIES, line_list

__all__ = ["Synthesis", "observe"]

#: Resolving power, and the light speed [km/s].
_RESOLUTION = 22_500.0
_LIGHT = 299_792.458
#: The largest depth of blended lines, in a saturated core.
_MAX_DEPTH = 0.56
#: Optical depths are for 4500 K and log g 2.
_THETA0, _LOGG0 = 5040.0 / 4500.0, 2.0
#: The strongest diffuse interstellar band of the H band: vacuum wavelength, Gaussian sigma [Angstrom], depth per A_V
#: (an equivalent width of 0.102 A per magnitude, Zasowski et al. 2015), and where it saturates.
_DIB_WAVELENGTH, _DIB_SIGMA, _DIB_DEPTH, _DIB_DEEPEST = 15272.4, 1.9, 0.0214, 0.2
#: Elements' own scatter around the trend of their group [dex].
_ELEMENT_SCATTER = 0.05

#: First and last pixel of each detector in all combined spectra; the mask grows, and leaves 7405 pixels of the chips.
DETECTORS = ((243, 3269), (3695, 6099), (6377, 8355))
#: Error of a pixel without data, as the pipeline writes it.
BAD_ERROR = 1e10
#: APOGEE_PIXMASK bits: bad pixel, cosmic ray, no sky, sky line nearby, telluric absorption strong.
_BAD_PIXEL, _COSMIC_RAY, _SKY_LINE, _TELLURIC = 1, 2, 1 << 12, 1 << 13
#: OH lines of the night sky, vacuum wavelength [Angstrom] in the observer's frame: the strong and the weak ones.
_AIRGLOW_STRONG = (15241.0, 15332.4, 15432.2, 16030.8, 16128.6, 16235.4, 16692.4, 16708.9, 16840.5, 16903.7)
_AIRGLOW_WEAK = (
    15187.2, 15287.8, 15395.3, 15539.7, 15546.1, 15597.6, 15631.4, 15655.3, 15702.5, 15972.6, 16079.8, 16194.6, 16351.0,
    16388.5, 16478.8, 16502.4, 16553.8,
)  # fmt: skip
#: What a sky line adds to the error, what its subtraction leaves in the flux, and what a telluric line adds to the
#: error, all in units of the error beside the line.
_SKY_ERROR, _SKY_RESIDUAL, _TELLURIC_ERROR = 12.0, 8.0, 3.0
#: Share of single pixels that are bad or hit by a cosmic ray.
_BAD_SHARE = 0.0015


class Synthesis:
    """Makes normalised noise-free spectra from labels; it builds its templates once.

    Attributes
    ----------
    templates : float32 array, shape (n_species, 8575)
        Optical depth of each species' lines in the reference giant, at the spectrograph's resolution.
    """

    def __init__(self):
        self.wavelength = grid_wavelength()
        species, centre, strength, width = line_list()
        self.species = list(SPECIES)
        templates = np.zeros((len(self.species), N_GRID))
        sigma = np.hypot(width, centre / _RESOLUTION / 2.3548)
        for kind, w, d, s in zip(species, centre, strength, sigma, strict=True):
            low, high = np.searchsorted(self.wavelength, [w - 5 * s, w + 5 * s])
            profile = np.exp(-0.5 * ((self.wavelength[low:high] - w) / s) ** 2)
            templates[self.species.index(kind), low:high] += d * profile
        self.templates = templates.astype(np.float32)

    def strengths(self, stars, rng):
        """Return each species' factor on its optical depth, from labels (float32 array, shape (n_stars, n_species))."""
        n = stars["teff"].size
        fe, alpha = stars["fe_h"], stars["fe_h"] + stars["alpha_fe"]
        carbon = fe + 0.3 * stars["alpha_fe"] - 0.05 + 0.45 * stars["c_n"]
        nitrogen = fe + 0.10 - 0.55 * stars["c_n"]
        groups = {"fe_h": fe, "alpha_h": alpha, "o_h": alpha, "c_h": carbon, "cn_h": 0.5 * (carbon + nitrogen)}
        theta, logg = 5040.0 / stars["teff"] - _THETA0, stars["logg"] - _LOGG0
        factors = np.empty((n, len(self.species)))
        for k, (element, by_theta, by_logg, by_abundance) in enumerate(SPECIES.values()):
            abundance = groups.get(element, fe) + _ELEMENT_SCATTER * rng.normal(size=n) * (element not in groups)
            ln = by_theta * theta + 2.3026 * (by_logg * logg + by_abundance * (0.0 if element == "none" else abundance))
            # Microturbulence widens the curve of growth of luminous stars.
            factors[:, k] = np.exp(ln) * (1.0 - 0.05 * logg)
        return factors.astype(np.float32)

    def flux(self, stars, rng):
        """Return the normalised flux in the star's rest frame (float32 array, shape (n_stars, 8575))."""
        depth = self.strengths(stars, rng) @ self.templates
        flux = np.exp(-depth, out=depth)
        flux *= -1.0
        flux += 1.0
        flux *= -_MAX_DEPTH
        flux += 1.0
        self._interstellar_band(flux, stars)
        return flux

    def _interstellar_band(self, flux, stars):
        """Put in the interstellar band, shifted by minus the star's velocity: the dust does not move with the star."""
        centre = _DIB_WAVELENGTH * (1.0 - stars["radial_velocity"] / _LIGHT)
        window = slice(*np.searchsorted(self.wavelength, [_DIB_WAVELENGTH - 45.0, _DIB_WAVELENGTH + 45.0]))
        profile = np.exp(-0.5 * ((self.wavelength[window] - centre[:, None]) / _DIB_SIGMA) ** 2)
        flux[:, window] *= 1.0 - np.minimum(_DIB_DEPTH * stars["a_v"], _DIB_DEEPEST)[:, None] * profile


class _Sky:
    """Where the night sky emits and absorbs, in the observer's frame; all surveys have the same telluric lines."""

    def __init__(self):
        wavelength = grid_wavelength()
        self.emission = np.zeros(N_GRID)
        for strength, lines in ((1.0, _AIRGLOW_STRONG), (0.4, _AIRGLOW_WEAK)):
            for w in lines:
                self.emission += strength * np.exp(-0.5 * ((wavelength - w) / 0.4) ** 2)
        rng = np.random.default_rng(16_000)
        self.telluric = np.zeros(N_GRID)
        for head in (15700.0, 16010.0, 16170.0, 16480.0):  # bands of CO2 and CH4
            lines = head + np.cumsum(rng.uniform(2.5, 4.0, 22))
            for w in lines:
                self.telluric += 0.5 * rng.random() * np.exp(-0.5 * ((wavelength - w) / 0.5) ** 2)


_SKY = _Sky()


def observe(flux, stars, rng):
    """Add what telescope, air and detector do to normalised spectra.

    Parameters
    ----------
    flux : float32 array, shape (n_stars, 8575)
        Noise-free; not changed.
    stars : dict of arrays
        ``snr`` and ``radial_velocity`` are used.
    rng : numpy Generator

    Returns
    -------
    observed, error : float32 array, shape (n_stars, 8575)
        Normalised; `BAD_ERROR` where a pixel is bad and, with flux 0, off the detectors.
    mask : int32 array, shape (n_stars, 8575)
        APOGEE_PIXMASK bits; none off the detectors.
    """
    n = len(flux)
    shift = np.round(np.log10(1.0 + stars["radial_velocity"] / _LIGHT) / 6e-6).astype(int)
    on = np.zeros(N_GRID, dtype=bool)
    for first, last in DETECTORS:
        on[first : last + 1] = True
    observed, error = np.zeros((n, N_GRID), np.float32), np.full((n, N_GRID), BAD_ERROR, np.float32)
    mask = np.zeros((n, N_GRID), np.int32)
    noise = rng.standard_normal((n, N_GRID), dtype=np.float32)
    blemish = rng.random((n, N_GRID), dtype=np.float32)
    sky_left, air_left = rng.standard_normal((2, n), dtype=np.float32)
    for i in range(n):
        emission, telluric = np.roll(_SKY.emission, -shift[i]), np.roll(_SKY.telluric, -shift[i])
        sigma = (1.0 + _SKY_ERROR * emission + _TELLURIC_ERROR * telluric) / stars["snr"][i]
        spectrum = flux[i] + sigma * noise[i]
        # Subtracting a sky line always leaves something, which the error covers only in part.
        spectrum += _SKY_RESIDUAL * emission * sky_left[i] / stars["snr"][i] + 0.004 * telluric * air_left[i]
        bits = np.where(emission > 0.1, _SKY_LINE, 0) | np.where(telluric > 0.2, _TELLURIC, 0)
        hit, dead = blemish[i] < _BAD_SHARE / 2, blemish[i] > 1.0 - _BAD_SHARE / 2
        spectrum = np.where(hit, spectrum + 5.0 * np.abs(noise[i]), np.where(dead, 0.0, spectrum))
        bits = bits | np.where(hit, _COSMIC_RAY, 0) | np.where(dead, _BAD_PIXEL, 0)
        observed[i], error[i] = np.where(on, spectrum, 0.0), np.where(on & ~hit & ~dead, sigma, BAD_ERROR)
        mask[i] = np.where(on, bits, 0)
    return observed, error, mask
