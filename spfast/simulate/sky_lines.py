"""Emission lines of the night sky in the H band: vacuum wavelengths in the observer's frame and brightness."""

import numpy as np

__all__ = ["SKY_LINES", "weak_sky_lines"]

#: Wavelength [Angstrom], brightness at the peak in units of the sky's median: the maxima above 12 in the sky of one
#: visit of 2M17334253-1654573 (apStar of DR13, HDU 4), most of them OH.
SKY_LINES = (
    (15187.0, 356), (15240.8, 1024), (15287.6, 460), (15310.9, 14), (15332.3, 877), (15333.9, 16), (15348.8, 26),
    (15376.6, 18), (15395.3, 383), (15431.7, 463), (15432.6, 450), (15462.0, 32), (15474.2, 24), (15488.5, 17),
    (15500.9, 93), (15509.7, 195), (15517.9, 65), (15539.5, 227), (15540.8, 234), (15546.0, 244), (15570.0, 152),
    (15597.6, 496), (15631.5, 320), (15654.8, 632), (15657.6, 93), (15702.5, 221), (15760.7, 26), (15781.0, 32),
    (15782.9, 31), (15895.6, 36), (15898.7, 33), (15914.8, 14), (15917.0, 16), (15972.5, 398), (16030.8, 1141),
    (16079.6, 568), (16118.6, 14), (16128.6, 997), (16159.6, 27), (16194.4, 462), (16221.1, 21), (16229.8, 17),
    (16234.8, 558), (16235.7, 579), (16245.8, 20), (16270.2, 29), (16279.7, 13), (16302.4, 39), (16308.0, 18),
    (16315.5, 29), (16317.1, 242), (16341.7, 108), (16350.5, 293), (16351.8, 304), (16360.4, 71), (16363.8, 14),
    (16364.7, 14), (16388.5, 269), (16414.7, 162), (16502.3, 618), (16539.0, 12), (16553.7, 246), (16585.7, 30),
    (16586.9, 28), (16610.0, 48), (16612.1, 46), (16689.4, 128), (16692.4, 1623), (16702.1, 33), (16703.2, 34),
    (16709.2, 366), (16718.9, 13), (16724.0, 15), (16725.4, 14), (16731.4, 118), (16733.2, 127), (16753.8, 23),
    (16756.1, 24), (16761.9, 37), (16765.2, 39), (16840.4, 316), (16889.1, 12), (16903.6, 1176), (16907.3, 17),
    (16908.9, 14), (16910.1, 13),
)  # fmt: skip
#: Number of lines between 3 and 12 medians, whose places are drawn, the same for all surveys: 152 maxima were there.
_WEAK, _FAINTEST, _BRIGHTEST, _SEED = 150, 3.0, 12.0, 12_000


def weak_sky_lines():
    """Return the weak lines, as `SKY_LINES` (tuple of pairs)."""
    rng = np.random.default_rng(_SEED)
    places = np.sort(rng.uniform(15140.0, 16950.0, _WEAK))
    share = rng.random(_WEAK)
    # As many lines in each interval of 1 / brightness.
    brightness = 1.0 / (1.0 / _BRIGHTEST + share * (1.0 / _FAINTEST - 1.0 / _BRIGHTEST))
    return tuple(zip(places.tolist(), brightness.tolist(), strict=True))
