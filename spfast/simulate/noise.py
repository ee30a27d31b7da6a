"""What telescope, air, detector and pipeline do to spectra: as real files show it, or ideal, as the errors say.

Both kinds have one method, ``observe``. The numbers of `RealNoise` were measured on public
files: apStar and aspcapStar of 25 stars of DR13 (release files r6, l30e.2), two apStar files of DR17, quoted errors of
671 giants of DR13, and the difference of the two telescopes' median spectra in DR17.
"""

import numpy as np
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter

from spfast.model.apogee import GRID_LOG10_STEP, N_GRID, grid_wavelength
from spfast.simulate.sky_lines import SKY_LINES, weak_sky_lines
from spfast.simulate.spectra import BAD_ERROR, DETECTORS, LIGHT_SPEED

__all__ = ["IdealNoise", "RealNoise", "southern_pattern"]

#: APOGEE_PIXMASK bits: bad pixel, cosmic ray, no sky, sky line nearby, telluric absorption strong.
_BAD_PIXEL, _COSMIC_RAY, _SKY_LINE, _TELLURIC = 1, 2, 1 << 12, 1 << 13

_ONE = np.ones(1, np.float32)


def _on_detectors():
    on = np.zeros(N_GRID, dtype=bool)
    for first, last in DETECTORS:
        on[first : last + 1] = True
    return on


def _shift(velocity):
    """Return by how many pixels the night sky's lines lie bluer in the rest frame of stars with a velocity [km/s]."""
    return np.round(np.log10(1.0 + velocity / LIGHT_SPEED) / GRID_LOG10_STEP).astype(int)


def _moved(twice, shift):
    """An array, given twice in a row, rolled by ``-shift``: a view."""
    first = shift % N_GRID
    return twice[first : first + N_GRID]


def _telluric():
    """Return strengths of telluric absorption in the observer's frame; all surveys have the same."""
    wavelength, rng = grid_wavelength(), np.random.default_rng(16_000)
    telluric = np.zeros(N_GRID)
    for head in (15700.0, 16010.0, 16170.0, 16480.0):  # bands of CO2 and CH4
        for w in head + np.cumsum(rng.uniform(2.5, 4.0, 22)):
            telluric += 0.5 * rng.random() * np.exp(-0.5 * ((wavelength - w) / 0.5) ** 2)
    return telluric


class IdealNoise:
    """White Gaussian noise of the size that the error says, few bad pixels, and a trace of the sky's lines."""

    #: OH lines of the night sky, vacuum wavelength [Angstrom] in the observer's frame: the strong and the weak ones.
    STRONG = (15241.0, 15332.4, 15432.2, 16030.8, 16128.6, 16235.4, 16692.4, 16708.9, 16840.5, 16903.7)
    WEAK = (
        15187.2, 15287.8, 15395.3, 15539.7, 15546.1, 15597.6, 15631.4, 15655.3, 15702.5, 15972.6, 16079.8, 16194.6,
        16351.0, 16388.5, 16478.8, 16502.4, 16553.8,
    )  # fmt: skip
    #: What a sky line adds to the error, what its subtraction leaves in the flux, and what a telluric line adds to the
    #: error, all in units of the error beside the line.
    SKY_ERROR, SKY_RESIDUAL, TELLURIC_ERROR = 12.0, 8.0, 3.0
    #: Share of single pixels that are bad or hit by a cosmic ray.
    BAD_SHARE = 0.0015

    def __init__(self):
        wavelength = grid_wavelength()
        self._on, self._telluric, self._emission = _on_detectors(), _telluric(), np.zeros(N_GRID)
        for strength, lines in ((1.0, self.STRONG), (0.4, self.WEAK)):
            for w in lines:
                self._emission += strength * np.exp(-0.5 * ((wavelength - w) / 0.4) ** 2)

    def observe(self, flux, stars, rng, kind="aspcapStar"):
        """Add noise to spectra; both kinds of files have the same. Arguments and returns as `RealNoise.observe`."""
        n, on, snr = len(flux), self._on, stars["snr"]
        shift = _shift(stars["radial_velocity"])
        observed, error = np.zeros((n, N_GRID), np.float32), np.full((n, N_GRID), BAD_ERROR, np.float32)
        mask = np.zeros((n, N_GRID), np.int32)
        noise = rng.standard_normal((n, N_GRID), dtype=np.float32)
        blemish = rng.random((n, N_GRID), dtype=np.float32)
        sky_left, air_left = rng.standard_normal((2, n), dtype=np.float32)
        for i in range(n):
            emission, telluric = np.roll(self._emission, -shift[i]), np.roll(self._telluric, -shift[i])
            sigma = (1.0 + self.SKY_ERROR * emission + self.TELLURIC_ERROR * telluric) / snr[i]
            spectrum = flux[i] + sigma * noise[i]
            # Subtracting a sky line always leaves something, which the error covers only in part.
            spectrum += self.SKY_RESIDUAL * emission * sky_left[i] / snr[i] + 0.004 * telluric * air_left[i]
            bits = np.where(emission > 0.1, _SKY_LINE, 0) | np.where(telluric > 0.2, _TELLURIC, 0)
            hit, dead = blemish[i] < self.BAD_SHARE / 2, blemish[i] > 1.0 - self.BAD_SHARE / 2
            spectrum = np.where(hit, spectrum + 5.0 * np.abs(noise[i]), np.where(dead, 0.0, spectrum))
            bits = bits | np.where(hit, _COSMIC_RAY, 0) | np.where(dead, _BAD_PIXEL, 0)
            observed[i], error[i] = np.where(on, spectrum, 0.0), np.where(on & ~hit & ~dead, sigma, BAD_ERROR)
            mask[i] = np.where(on, bits, 0)
        return observed, error, mask


class RealNoise:
    """Noise and faults as in the files of the releases.

    - Noise is larger than the quoted error, and neighbouring pixels share it.
    - Sky lines raise the quoted error by up to seventeen times, and the noise by more; what their subtraction leaves
      differs from line to line. They stand in the observer's frame: a star's velocity moves them over its rest frame.
    - ASPCAP quotes no error below 0.005, and drops runs of pixels about sky lines that are bright beside the star,
      about defects, and at the ends of chips.
    - The continuum of each product leaves waves and offsets of the chips, each its own.
    - The southern telescope's spectra differ from the northern one's by a fixed pattern.
    """

    #: True noise over quoted error beside sky lines: 1.09 (DR17) to 1.16 (DR13). In lines with mask bit 12: 1.1 to 2,
    #: with a scatter from line to line (in ln) that puts some per cent of pixels beyond 4 sigma, as 2 to 16% are.
    NOISE_OVER_ERROR, IN_SKY, IN_SKY_SCATTER = 1.12, 1.5, 0.45
    #: Correlation of the noise of pixels 1, 2 and 3 apart. Farther ones follow from these, with the least information.
    CORRELATION = (0.43, -0.04, 0.12)
    #: The quoted error times S/N along each chip, at its start, middle and end, between which it is a parabola
    #: (median of 12 stars of DR13 with S/N 60 to 300).
    ERROR_SHAPE = ((1.06, 0.87, 0.83), (0.86, 0.70, 1.75), (0.88, 1.06, 1.50))
    #: What the brightest sky line adds to the quoted error, in units of the error beside it, and what telluric ones do.
    SKY_ERROR, TELLURIC_ERROR = 17.0, 0.8
    #: Sigma of a sky line [pixels].
    SKY_SIGMA = 1.9
    #: ASPCAP drops a sky line that is this bright, in units of the sky's median, beside a star of S/N 150; the limit
    #: goes as a power of S/N, up to a largest one, and varies from night to night (in ln). Fitted to the dropped
    #: lines of the 25 stars.
    DROPPED_ABOVE, DROPPED_POWER, DROPPED_LARGEST, DROPPED_SCATTER = 55.0, 1.7, 95.0, 0.4
    #: Bit 12 is set within this many times the limit: 26 to 28 lines at S/N 140 to 190, 1.6 to 3.1% of the pixels.
    FLAGGED_ABOVE = 3.0
    #: Half the width of what is dropped: 19 pixels in most runs. More where the line is far above the limit, and in
    #: stars whose visits were in different seasons: the share of them and the mean of what they add [pixels].
    HALF_WIDTH, HALF_WIDTH_MORE, SEASONS, SEASONS_ADD = 9, 0.7, 0.25, 2.0
    #: Groups of bad pixels in a star, their shortest and longest length: defects in both kinds of files, and what
    #: ASPCAP drops besides; few runs are longer.
    DEFECTS, REJECTED, LONG_RUNS = (12.0, 3, 7), (24.0, 1, 6), (4.0, 19, 60)
    #: Pixels that ASPCAP drops at the beginning and end of each chip, in nearly all stars.
    CHIP_ENDS, CHIP_ENDS_SHARE = ((3, 0), (0, 20), (0, 20)), 0.97
    #: ASPCAP's error of dropped pixels, unless larger, and the smallest that it quotes.
    DROPPED_ERROR, ERROR_FLOOR = 10.0, 0.005
    #: Waves that a continuum of low order leaves: rms, periods [pixels]; and offsets of chips between two products.
    WAVES, WAVE_PERIODS, CHIP_OFFSET = 0.006, (90.0, 900.0), 0.004
    #: What is left of telluric lines, and the largest velocity of the Earth towards a star [km/s].
    TELLURIC_LEFT, EARTH = 0.008, 28.0

    def __init__(self):
        self._on, self._pixels = _on_detectors(), np.arange(N_GRID)
        self._shape, self._telluric = self._error_shape(), _telluric().astype(np.float32)
        wavelength, brightness = np.array(SKY_LINES + weak_sky_lines()).T
        self._centre = np.searchsorted(grid_wavelength(), wavelength)
        self._brightness = brightness
        # Each pixel's nearest line, whose residual it has.
        profile = np.exp(-0.5 * ((self._pixels[:, None] - self._centre) / self.SKY_SIGMA) ** 2) * brightness
        self._emission, self._line = profile.sum(axis=1).astype(np.float32), profile.argmax(axis=1)
        self._feedback, self._gain = _recursion(self.CORRELATION)
        self._waves = self._wave_basis()
        self._south = southern_pattern()

    def observe(self, flux, stars, rng, kind="aspcapStar"):
        """Add what telescope, air, detector and pipeline do to normalised spectra.

        Parameters
        ----------
        flux : float32 array, shape (n_stars, 8575)
            Noise-free; not changed.
        stars : dict of arrays
            ``snr``, ``radial_velocity`` [km/s] and ``telescope`` are used.
        rng : numpy Generator
        kind : str
            "apStar" or "aspcapStar": whose faults.

        Returns
        -------
        observed, error : float32 array, shape (n_stars, 8575)
            Normalised; `BAD_ERROR` where a pixel is bad and, with flux 0, off the detectors.
        mask : int32 array, shape (n_stars, 8575)
            APOGEE_PIXMASK bits; none off the detectors.
        """
        n, snr = len(flux), np.asarray(stars["snr"], dtype=float)
        noise = lfilter(_ONE, self._feedback, rng.standard_normal((n, N_GRID), dtype=np.float32))
        shift = _shift(stars["radial_velocity"] - rng.uniform(-self.EARTH, self.EARTH, n))
        limit = np.minimum(self.DROPPED_ABOVE * (snr / 150.0) ** self.DROPPED_POWER, self.DROPPED_LARGEST)
        limit = limit * np.exp(self.DROPPED_SCATTER * rng.standard_normal(n))
        scale = self.IN_SKY * np.exp(self.IN_SKY_SCATTER * rng.standard_normal((n, self._centre.size)))
        air = self.TELLURIC_LEFT * rng.standard_normal(n)
        observed = flux * self._continuum(n, kind, rng)
        observed[np.asarray(stars["telescope"]) == "lco25m"] *= 1.0 + self._south
        error, mask = np.empty_like(observed), np.zeros((n, N_GRID), np.int32)
        twice = [np.concatenate([a, a]) for a in (self._emission, self._telluric, self._line)]
        for i in range(n):
            emission, telluric, line = (_moved(a, shift[i]) for a in twice)
            bright = emission / (emission + np.float32(self.FLAGGED_ABOVE * limit[i]))
            quoted = self._shape * (1.0 + self.SKY_ERROR * bright + self.TELLURIC_ERROR * telluric) * (1.0 / snr[i])
            flagged = bright > 0.5
            above = np.where(flagged, scale[i][line], self.NOISE_OVER_ERROR).astype(np.float32)
            observed[i] += above * quoted * noise[i] * self._gain + np.float32(air[i]) * telluric
            error[i] = quoted
            mask[i][flagged] = _SKY_LINE
            mask[i][telluric > 0.2] |= _TELLURIC
        dead = _runs(n, *self._groups(self.DEFECTS, n, rng))
        dead |= ~self._on
        observed[dead], error[dead] = 0.0, BAD_ERROR
        mask[dead] |= _BAD_PIXEL
        mask[:, ~self._on] = 0
        if kind == "aspcapStar":
            dropped = self._dropped(shift, limit, rng)
            np.maximum(error, self.ERROR_FLOOR, out=error)
            error[dropped] = np.maximum(error[dropped], self.DROPPED_ERROR)
        return observed, error, mask

    def _continuum(self, n, kind, rng):
        """Return what the continuum of a product leaves: waves, and offsets of the chips."""
        both = rng.standard_normal((2, n, len(self._waves)), dtype=np.float32)
        left = both[int(kind == "aspcapStar")] @ self._waves
        left += 1.0
        return left

    def _wave_basis(self):
        """Return waves on the grid and, last, the chips' offsets; standard normal weights give the stated rms."""
        periods = np.geomspace(*self.WAVE_PERIODS, 20)
        angle = 2.0 * np.pi * self._pixels / periods[:, None]
        waves = np.concatenate([np.sin(angle), np.cos(angle)]) * self.WAVES / np.sqrt(periods.size)
        chips = [self.CHIP_OFFSET * ((self._pixels >= a) & (self._pixels <= b)) for a, b in DETECTORS]
        return np.concatenate([waves, np.array(chips)]).astype(np.float32)

    def _error_shape(self):
        shape = np.ones(N_GRID)
        for (first, last), values in zip(DETECTORS, self.ERROR_SHAPE, strict=True):
            u = np.linspace(-1.0, 1.0, last + 1 - first)
            shape[first : last + 1] = np.polyval(np.polyfit([-1.0, 0.0, 1.0], values, 2), u)
        return shape.astype(np.float32)

    def _groups(self, groups, n, rng):
        """Draw groups of pixels: star, first pixel and length of each."""
        mean, shortest, longest = groups
        star = np.repeat(np.arange(n), rng.poisson(mean, n))
        return star, rng.integers(0, N_GRID, star.size), rng.integers(shortest, longest + 1, star.size)

    def _dropped(self, shift, limit, rng):
        """Return the pixels that ASPCAP drops (bool array, shape (n_stars, 8575))."""
        n = shift.size
        seasons = np.where(rng.random(n) < self.SEASONS, rng.exponential(self.SEASONS_ADD, n), 0.0)
        ratio = self._brightness / limit[:, None]
        star, line = np.nonzero(ratio > 1.0)
        half = self.HALF_WIDTH + np.floor(self.HALF_WIDTH_MORE * np.log(ratio[star, line]) / 2.0 + seasons[star])
        half = half.astype(int)
        runs = [(star, self._centre[line] - shift[star] - half, 2 * half + 1)]
        runs += [self._groups(groups, n, rng) for groups in (self.REJECTED, self.LONG_RUNS)]
        dropped = _runs(n, *(np.concatenate(parts) for parts in zip(*runs, strict=True)))
        ends = rng.random((n, len(DETECTORS))) < self.CHIP_ENDS_SHARE
        for chip, ((first, last), (begin, end)) in enumerate(zip(DETECTORS, self.CHIP_ENDS, strict=True)):
            dropped[:, first : first + begin] |= ends[:, chip, None]
            dropped[:, last + 1 - end : last + 1] |= ends[:, chip, None]
        return dropped


def _recursion(correlation):
    """Return the recursion whose output has a correlation at lags 1, 2, ..., and the factor to unit variance.

    Parameters
    ----------
    correlation : sequence of float

    Returns
    -------
    feedback : float32 array
        Denominator for `scipy.signal.lfilter` (Yule 1927, Walker 1931).
    gain : numpy float32
    """
    lags = np.array([1.0, *correlation])
    weights = solve_toeplitz(lags[:-1], lags[1:])
    return np.array([1.0, *-weights], np.float32), np.float32(np.sqrt(1.0 - weights @ lags[1:]))


def _runs(n, star, first, length):
    """Return which pixels are in runs (bool array, shape (n_stars, 8575))."""
    width = N_GRID + 1
    begin, end = np.clip(first, 0, N_GRID), np.clip(first + length, 0, N_GRID)
    steps = np.zeros((n, width), np.int16)
    np.add.at(steps, (star, begin), 1)
    np.subtract.at(steps, (star, end), 1)
    return np.cumsum(steps[:, :N_GRID], axis=1, dtype=np.int16) > 0


def southern_pattern():
    """Return by what share LCO's fluxes exceed APO's (float32 array, shape (8575,)).

    It is synthetic, with the statistics of DR17's difference: 16 to 84% of the pixels from -0.4 to 0.5%, 1% above 3.8%,
    the largest values at the red ends of the chips; correlation 0.95 at 3 pixels, 0.88 at 20, 0.6 at 80.
    """
    rng, pattern = np.random.default_rng(25_000), np.zeros(N_GRID)
    for (first, last), (blue, red) in zip(DETECTORS, ((0.0, 0.018), (0.015, 0.053), (-0.003, -0.014)), strict=True):
        pixel = np.arange(last + 1 - first, dtype=float)
        part = blue * np.exp(-pixel / 200.0) + red * np.exp(-(((pixel[-1] - pixel) / 130.0) ** 2))
        for period, rms in ((1600.0, 0.0042), (400.0, 0.0016), (9.0, 0.0008)):
            # Straight lines between random knots, a quarter of a period apart.
            knots = rng.standard_normal(int(4.0 * pixel.size / period) + 4)
            part += rms * np.interp(4.0 * pixel / period, np.arange(knots.size), knots)
        pattern[first : last + 1] = part
    return pattern.astype(np.float32)
