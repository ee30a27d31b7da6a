"""A mock survey that has the formats, the noise and the mess of a real one, and whose truth is known.

Red giants with mass, age, abundances, temperature and gravity; luminosity follows from them (L = M T^4 / g); a disc
with dust; spectra at APOGEE's resolution; Gaia, 2MASS and WISE as they measure.
"""

from spfast.simulate.download import simulate_download
from spfast.simulate.survey import simulate_survey

__all__ = ["simulate_download", "simulate_survey"]
