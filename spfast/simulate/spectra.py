"""Noise-free H-band spectra of giants on APOGEE's grid: saturating lines and an interstellar band."""

from types import MappingProxyType

import numpy as np

from spfast.model.apogee import N_GRID, grid_wavelength
from spfast.simulate.lines import SPECIES, line_list

__all__ = ["BAD_ERROR", "DETECTORS", "LIGHT_SPEED", "SaturatedSynthesis", "Synthesis"]

#: Resolving power, and the light speed [km/s].
_RESOLUTION = 22_500.0
LIGHT_SPEED = 299_792.458
#: The largest depth of blended lines, in a saturated core.
_MAX_DEPTH = 0.56
#: Optical depths are for 4500 K and log g 2.
_THETA0, _LOGG0 = 5040.0 / 4500.0, 2.0
#: The strongest diffuse interstellar band of the H band: vacuum wavelength, Gaussian sigma [Angstrom], depth per A_V
#: (an equivalent width of 0.102 A per magnitude, Zasowski et al. 2015), and where it saturates.
_DIB_WAVELENGTH, _DIB_SIGMA, _DIB_DEPTH, _DIB_DEEPEST = 15272.4, 1.9, 0.0214, 0.2

#: First and last pixel of each detector in all combined spectra; the mask grows, and leaves 7405 pixels of the chips.
DETECTORS = ((243, 3269), (3695, 6099), (6377, 8355))
#: Error of a pixel without data, as the pipeline writes it.
BAD_ERROR = 1e10


class Synthesis:
    """Makes normalised noise-free spectra from labels; it builds its templates once.

    Attributes
    ----------
    templates : float32 array, shape (n_species, 8575)
        Optical depth of each species' lines in the reference giant, at the spectrograph's resolution.
    """

    #: Elements' own scatter around the trend of their group [dex].
    ELEMENT_SCATTER = 0.05

    def __init__(self):
        self.wavelength = grid_wavelength()
        species, centre, strength, width = line_list()
        self.species = list(SPECIES)
        templates = np.zeros((len(self.species), N_GRID))
        sigma = np.hypot(width, centre / _RESOLUTION / 2.3548)
        for kind, w, d, s in zip(species, centre, strength, sigma, strict=True):
            low, high = np.searchsorted(self.wavelength, [w - 5 * s, w + 5 * s])
            profile = np.exp(-0.5 * ((self.wavelength[low:high] - w) / s) ** 2)
            templates[self.species.index(kind), low:high] += self._central_depth(d) * profile
        self.templates = templates.astype(np.float32)

    def _central_depth(self, strength):
        """Return the central optical depth in the reference giant of a line of the list."""
        return strength

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
            abundance = groups.get(element, fe) + self.ELEMENT_SCATTER * rng.normal(size=n) * (element not in groups)
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
        centre = _DIB_WAVELENGTH * (1.0 - stars["radial_velocity"] / LIGHT_SPEED)
        window = slice(*np.searchsorted(self.wavelength, [_DIB_WAVELENGTH - 45.0, _DIB_WAVELENGTH + 45.0]))
        profile = np.exp(-0.5 * ((self.wavelength[window] - centre[:, None]) / _DIB_SIGMA) ** 2)
        flux[:, window] *= 1.0 - np.minimum(_DIB_DEPTH * stars["a_v"], _DIB_DEEPEST)[:, None] * profile


class SaturatedSynthesis(Synthesis):
    """Spectra with more lines than the ideal ones, that saturate slowly, and broaden.

    Three things make the spectra of real giants hard for a model that is linear in ln flux. Their lines stay visible
    in metal-poor stars and are deep in warm ones, since a strong line loses little of its depth with its atoms.
    Molecules grow quickly towards cool stars. And lines are broadened by turbulence and by each fibre's own
    line-spread function, which says nothing of the luminosity.
    """

    #: Flux at optical depth tau: (1 + tau SLOPE / POWER)^-POWER, at first linear and then slow, as a strong line's
    #: wings are; and how much stronger a line of optical depth 1 is than it is in the ideal spectra. Fitted to the
    #: shares of pixels below 0.9 and 0.8 in synthetic giants of 4500 K, [Fe/H] 0 and -1, and in real ones of 3677 K.
    SLOPE, POWER, STRONGER = 0.22, 0.35, 20.0
    #: Further change of ln(strength) of molecules with 5040 K / Teff.
    STEEPER = MappingProxyType({"OH": 1.0, "CO": 0.5, "CN": -1.0})
    #: Scatter of the abundances of elements [dex].
    ELEMENT_SCATTER = 0.12
    GROUP_SCATTER = MappingProxyType({"o_h": 0.09, "c_h": 0.09, "cn_h": 0.13})
    #: Weight of the broadened spectrum: mean, by log g, scatter, and its range; and by how many pixels its two halves
    #: are moved apart. The scatter stands for all that makes lines sharp or broad together; it is what gives the second
    #: principal component of spectra the share that it has in real ones.
    BROADENED, BROADENED_BY_LOGG, BROADENED_SCATTER, BROADENED_RANGE, APART = 0.25, -0.08, 0.24, (-0.35, 1.0), 3

    def _central_depth(self, strength):
        return strength * (1.0 + self.STRONGER * strength)

    def strengths(self, stars, rng):
        factors = super().strengths(stars, rng)
        theta = (5040.0 / stars["teff"] - _THETA0).astype(np.float32)
        n = theta.size
        own = {group: scatter * rng.standard_normal(n) for group, scatter in self.GROUP_SCATTER.items()}
        for k, kind in enumerate(self.species):
            ln = self.STEEPER.get(kind, 0.0) * theta + 2.3026 * own.get(SPECIES[kind][0], 0.0)
            factors[:, k] *= np.exp(ln)
        return factors

    def flux(self, stars, rng):
        flux = self.strengths(stars, rng) @ self.templates
        flux *= self.SLOPE / self.POWER
        np.log1p(flux, out=flux)
        flux *= -self.POWER
        np.exp(flux, out=flux)
        self._broaden(flux, stars, rng)
        self._interstellar_band(flux, stars)
        return flux

    def _broaden(self, flux, stars, rng):
        weight = self.BROADENED + self.BROADENED_BY_LOGG * (stars["logg"] - _LOGG0)
        weight = weight + self.BROADENED_SCATTER * rng.standard_normal(weight.size)
        weight = np.clip(weight, *self.BROADENED_RANGE).astype(np.float32)[:, None]
        d = self.APART
        moved = flux[:, 2 * d :] + flux[:, : -2 * d]
        moved *= 0.5 * weight
        flux[:, d:-d] *= 1.0 - weight
        flux[:, d:-d] += moved
