"""Observed spectra of mock stars: the noise-free ones and the noise of one kind, real or ideal."""

from spfast.errors import BadInputError
from spfast.simulate.noise import IdealNoise, RealNoise
from spfast.simulate.spectra import SaturatedSynthesis, Synthesis

__all__ = ["NOISE", "OBSERVED", "Spectrograph"]

#: What of stars their spectra are made from.
OBSERVED = ("teff", "logg", "fe_h", "alpha_fe", "c_n", "a_v", "radial_velocity", "snr", "telescope")

#: Kinds by name, the default first: what makes the noise-free spectra, and what adds noise and faults to them.
NOISE = {"real": (SaturatedSynthesis, RealNoise), "ideal": (Synthesis, IdealNoise)}


class Spectrograph:
    """Makes observed spectra.

    Parameters
    ----------
    noise : str
        Key of `NOISE`.

    Attributes
    ----------
    synthesis : Synthesis
    noise : RealNoise or IdealNoise

    Raises
    ------
    BadInputError
        For another key.

    Examples
    --------
    >>> import numpy as np
    >>> from spfast.simulate.spectrograph import Spectrograph
    >>> from spfast.simulate.stars import draw_chunk
    >>> stars = draw_chunk(seed=1, chunk=0)
    >>> flux, error, mask, truth = Spectrograph("real").observe(stars, np.random.default_rng(1))
    >>> flux.shape, bool(abs(flux - truth)[error < 0.01].max() < 0.2)
    ((256, 8575), True)
    """

    def __init__(self, noise="real"):
        if noise not in NOISE:
            raise BadInputError(f"noise {noise!r}: expected one of {', '.join(NOISE)}")
        synthesis, kind = NOISE[noise]
        self.synthesis, self.noise = synthesis(), kind()

    def observe(self, stars, rng, kind="aspcapStar"):
        """Return observed flux, its error, pixel mask and the noise-free flux (arrays, shape (n_stars, 8575)).

        Parameters
        ----------
        stars : dict of arrays
            With those of `OBSERVED`.
        rng : numpy Generator
        kind : str
            "apStar" or "aspcapStar".
        """
        truth = self.synthesis.flux(stars, rng)
        return *self.noise.observe(truth, stars, rng, kind), truth
