"""Which stars carry which warning by their own observation: spectrum, pipeline, Gaia."""

import numpy as np
from astropy.table import Table

from spfast.catalog.columns import CLIPPED_SHARE, MASKED_SHARE
from spfast.config import Config
from spfast.data.cuts import BAD_BITS, STARFLAG_BAD, good_astrometry
from spfast.data.missing_bands import lacking_magnitudes
from spfast.data.survey import Survey
from spfast.data.tables.values import float_column
from spfast.errors import BadInputError
from spfast.model.layout import MAGNITUDES, FeatureLayout

__all__ = ["clipped_share", "observation_flags", "star_flags"]

#: APOGEE_STARFLAG bits that ask for care without condemning the spectrum: bright neighbour (2), low S/N (4),
#: persistence (9-13), suspect velocity or line width (16, 17), visits with bad velocities left out (19-21).
STARFLAG_WARNING = sum(1 << bit for bit in (2, 4, 9, 10, 11, 12, 13, 16, 17, 19, 20, 21))
#: APOGEE_ASPCAPFLAG bits 0-14: the warnings of the parameter pipeline (each parameter's, chi-squared, S/N, grid holes).
ASPCAPFLAG_WARNING = (1 << 15) - 1
#: The same of SDSS-V's result_flags: every parameter near or at the grid's edge that `BAD_BITS` does not have.
RESULT_FLAGS_WARNING = sum(1 << bit for bit in range(5, 21) if bit not in (6, 8))
_WARNING_BITS = {"ASPCAPFLAG": ASPCAPFLAG_WARNING, "result_flags": RESULT_FLAGS_WARNING}

#: Rows looked at together: 8 MB of a survey.
_BLOCK = 256
#: A pixel stands at a clip bound when its ln flux is this close to it: float32 and the kernel's own logarithm.
_CLIP_TOLERANCE = 1e-4


def star_flags(survey: Survey) -> dict:
    """The flags that depend on the star's observation alone (dict of bool arrays, shape (n_stars,)).

    Parameters
    ----------
    survey : Survey
        Its configuration says where flux was clipped and what the Training Set asks of Gaia's astrometry.
    """
    bits = survey.info.get("aspcapflag_bits", "ASPCAPFLAG")
    if bits not in BAD_BITS:
        raise BadInputError(f"{survey.path}: ASPCAPFLAG holds {str(bits)[:30]!a}, expected {' or '.join(BAD_BITS)}")
    return observation_flags(survey.stars, survey.layout, _survey_config(survey), bits, clipped_share(survey))


def observation_flags(stars: Table, layout: FeatureLayout, config: Config, bits: str, clipped: np.ndarray) -> dict:
    """The same from its parts.

    Parameters
    ----------
    stars : astropy Table
        With the columns of a survey.
    layout : FeatureLayout
    config : Config
        What the Training Set asks of Gaia's astrometry.
    bits : str
        What the column ASPCAPFLAG holds, a key of `spfast.data.cuts.BAD_BITS`.
    clipped : float64 array, shape (n_stars,)
        From `clipped_share`.
    """
    starflag, aspcapflag = (np.maximum(np.asarray(stars[name], dtype=np.int64), 0) for name in _PIPELINE_FLAGS)
    bands = layout.magnitudes
    lacking = lacking_magnitudes(stars, bands)
    others = ~np.isin(bands, MAGNITUDES)
    return {
        "starflag_bad": starflag & STARFLAG_BAD != 0,
        "aspcapflag_bad": aspcapflag & BAD_BITS[bits] != 0,
        "many_masked_pixels": np.asarray(stars["n_bad_pixels"]) > MASKED_SHARE * layout.n_pixels,
        "clipped_flux": clipped > CLIPPED_SHARE,
        "starflag_warning": starflag & STARFLAG_WARNING != 0,
        "aspcapflag_warning": aspcapflag & _WARNING_BITS[bits] != 0,
        **{f"estimated_{band}": lacks for band, lacks in zip(bands, lacking.T, strict=True) if band in MAGNITUDES},
        **({"estimated_band": lacking[:, others].any(axis=1)} if others.any() else {}),
        "gaia_quality": np.isfinite(float_column(stars, "parallax")) & ~good_astrometry(stars, config),
    }


#: -1 in these is a survey's "no such flag", not all bits set.
_PIPELINE_FLAGS = ("STARFLAG", "ASPCAPFLAG")


def _survey_config(survey):
    stored = survey.info.get("config") or {}
    sections = {name: stored[name] for name in ("training", "features") if name in stored}
    return Config().replace(**sections)


def clipped_share(survey: Survey) -> np.ndarray:
    """Return the share of each star's pixels at a bound of the clipped flux (float64 array, shape (n_stars,)).

    It is 0 for columns that are no flux.

    Parameters
    ----------
    survey : Survey
    """
    bounds = _survey_config(survey).features
    low, high = np.log(bounds.flux_min) + _CLIP_TOLERANCE, np.log(bounds.flux_max) - _CLIP_TOLERANCE
    if not survey.layout.is_spectrum:
        return np.zeros(survey.n_stars)
    first = survey.layout.n_unpenalized
    share = np.empty(survey.n_stars)
    for start in range(0, survey.n_stars, _BLOCK):
        pixels = survey.features[start : start + _BLOCK, first:]
        at_bound = np.count_nonzero(pixels >= np.float32(high), axis=1)
        at_bound += np.count_nonzero(pixels <= np.float32(low), axis=1)
        share[start : start + _BLOCK] = at_bound / max(survey.layout.n_pixels, 1)
    return share
