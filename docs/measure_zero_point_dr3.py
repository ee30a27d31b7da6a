"""One number for Gaia DR3's zero point, for `spfast.archive.releases`: the median of Lindegren's over mock giants.

Run: ``python docs/measure_zero_point_dr3.py``; a few seconds, needs the extra ``zeropoint``.
"""

import numpy as np
from astropy.table import Table

from spfast.data.zero_point import lindegren_zero_point
from spfast.simulate.stars import DR3_NAMES, draw_chunk, measured_labels

SEED, CHUNKS, LOGG_MAX = 4711, 60, 2.2
RANGES = ((9, 14), (9, 11), (11, 12), (12, 13), (13, 14))

chunks = [draw_chunk(SEED, chunk) for chunk in range(CHUNKS)]
stars = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
table = Table({name: stars[column] for name, column in DR3_NAMES.items()})
table["parallax"], table["phot_g_mean_mag"] = stars["parallax"], stars["G"]
zero_point, _ = lindegren_zero_point(table)
giant = measured_labels(stars)[1] < LOGG_MAX
for low, high in RANGES:
    values = zero_point[giant & (stars["G"] > low) & (stars["G"] < high)]
    print(f"{low} < G < {high}: {values.size:,} stars, median {np.median(values):.4f} mas,", end=" ")
    print("2.5, 16, 84, 97.5%:", *(f"{value:.4f}" for value in np.percentile(values, [2.5, 16, 84, 97.5])))
