"""Mock surveys with the formats, the noise and the faults of real ones, and with a truth.

Red giants have mass, age, abundances, temperature and gravity, from which their luminosity follows (L = M T^4 / g).
They are in a disc with dust. Spectra have APOGEE's resolution, photometry and astrometry the errors of Gaia, 2MASS and
WISE.
"""

from spfast.simulate.download import simulate_download
from spfast.simulate.survey import simulate_survey

__all__ = ["simulate_download", "simulate_survey"]
