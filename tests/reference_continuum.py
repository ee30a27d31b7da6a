"""One spectrum to one feature row in plain numpy, step by step, to compare the kernel with."""

import numpy as np

WAVELENGTH = 10.0 ** (4.179 + 6e-6 * np.arange(8575))
CHIPS = ((15150, 15800), (15890, 16430), (16490, 16950))
BAD_BITS = sum(1 << bit for bit in (*range(8), 14))


def feature_row(flux, error, mask, continuum_pixels, normalized=True, weight_power=1, degree=2, grow=1):
    """Return ln flux, its error, and which pixels are bad, over the pixels of the three chips."""
    flux, error = flux.astype(float), error.astype(float)
    is_continuum = np.isin(np.arange(8575), continuum_pixels)
    rows = []
    for low, high in CHIPS:
        on = (low < WAVELENGTH) & (high > WAVELENGTH)
        f, s, w = flux[on], error[on], WAVELENGTH[on]
        bad = ~np.isfinite(f) | ~np.isfinite(s) | ~(s > 0)
        if mask is not None:
            bad |= (mask[on] & BAD_BITS) != 0
        if not normalized:
            level = np.median(f[is_continuum[on] & ~bad])
            f, s = f / level, s / level
        f, s = np.where(bad, 1.0, f), np.where(bad, 3.0, s)
        variance = s**2 + np.where(is_continuum[on], 0.0, 9.0)
        # Chebyshev.fit minimises sum (w r)^2: 1/sqrt(variance) is chi-squared, 1/variance what the authors passed
        fit = np.polynomial.Chebyshev.fit(w, f, degree, w=variance ** (-0.5 * weight_power))
        f, s = f / fit(w), s / fit(w)
        bad |= s > 0.3
        for _ in range(grow):
            padded = np.concatenate([[False], bad, [False]])
            bad = padded[:-2] | padded[1:-1] | padded[2:]
        f, s = np.where(bad, 1.0, f), np.where(bad, 3.0, s)
        clipped = np.clip(f, 0.01, 1.2)
        rows.append((np.log(clipped), np.clip(s, 0, 0.05) / clipped, bad))
    return [np.concatenate(parts) for parts in zip(*rows, strict=True)]
