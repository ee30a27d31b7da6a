"""Which stars carry which warning: spectrum, pipeline, Gaia, and how far they are from their model's training stars."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from spfast.catalog.columns import CLIPPED_SHARE, EXTENT_SHARE, MASKED_SHARE
from spfast.config import Config
from spfast.data.cuts import ASPCAPFLAG_BAD, STARFLAG_BAD, good_astrometry
from spfast.data.tables.values import float_column
from spfast.errors import BadInputError
from spfast.model.layout import CHIPS
from spfast.model.predict import linear_predictors

__all__ = [
    "Position",
    "clipped_share",
    "extrapolates",
    "position",
    "spectral_unlikeness",
    "star_flags",
    "with_training_extent",
]

#: APOGEE_STARFLAG bits that ask for care without condemning the spectrum: bright neighbour (2), low S/N (4),
#: persistence (9-13), suspect velocity or line width (16, 17), visits with bad velocities left out (19-21).
STARFLAG_WARNING = sum(1 << bit for bit in (2, 4, 9, 10, 11, 12, 13, 16, 17, 19, 20, 21))
#: APOGEE_ASPCAPFLAG bits 0-14: the warnings of the parameter pipeline (each parameter's, chi-squared, S/N, grid holes).
ASPCAPFLAG_WARNING = (1 << 15) - 1

#: Rows looked at together: 8 MB of a survey.
_BLOCK = 256
#: A pixel stands at a clip bound when its ln flux is this close to it: float32 and the kernel's own logarithm.
_CLIP_TOLERANCE = 1e-4


def star_flags(survey):
    """The flags that depend on the star's observation alone (dict of bool arrays, shape (n_stars,)).

    Parameters
    ----------
    survey : Survey
        Its configuration says where flux was clipped and what the Training Set asks of Gaia's astrometry.
    """
    stars = survey.stars
    starflag, aspcapflag = (np.maximum(np.asarray(stars[name], dtype=np.int64), 0) for name in _PIPELINE_FLAGS)
    config = _survey_config(survey)
    return {
        "starflag_bad": starflag & STARFLAG_BAD != 0,
        "aspcapflag_bad": aspcapflag & ASPCAPFLAG_BAD != 0,
        "many_masked_pixels": np.asarray(stars["n_bad_pixels"]) > MASKED_SHARE * survey.layout.n_pixels,
        "clipped_flux": clipped_share(survey) > CLIPPED_SHARE,
        "starflag_warning": starflag & STARFLAG_WARNING != 0,
        "aspcapflag_warning": aspcapflag & ASPCAPFLAG_WARNING != 0,
        "gaia_quality": np.isfinite(float_column(stars, "parallax")) & ~good_astrometry(stars, config),
    }


#: -1 in these is a survey's "no such flag", not all bits set.
_PIPELINE_FLAGS = ("STARFLAG", "ASPCAPFLAG")


def _survey_config(survey):
    stored = survey.info.get("config") or {}
    known = {name: stored[name] for name in ("training", "features") if name in stored}
    return Config().replace(**known)


def clipped_share(survey):
    """Return the share of each star's pixels at a bound of the clipped flux (float64 array, shape (n_stars,)).

    Parameters
    ----------
    survey : Survey
    """
    bounds = _survey_config(survey).features
    low, high = np.log(bounds.flux_min) + _CLIP_TOLERANCE, np.log(bounds.flux_max) - _CLIP_TOLERANCE
    first = survey.layout.n_unpenalized
    share = np.empty(survey.n_stars)
    for start in range(0, survey.n_stars, _BLOCK):
        pixels = survey.features[start : start + _BLOCK, first:]
        at_bound = np.count_nonzero(pixels >= np.float32(high), axis=1)
        at_bound += np.count_nonzero(pixels <= np.float32(low), axis=1)
        share[start : start + _BLOCK] = at_bound / max(survey.layout.n_pixels, 1)
    return share


class Position(NamedTuple):
    """Where stars are in a model's own features.

    Attributes
    ----------
    points : float64 array, shape (n_rows, n_magnitudes + 3)
        Magnitudes, then what each chip adds to ln parallax.
    lines : float64 array, shape (n_rows,)
        Mean ln flux of the pixels that the model uses, weighted with the sizes of their coefficients.
    """

    points: np.ndarray
    lines: np.ndarray


def position(model, features, rows=None, threads=None):
    """Find where stars are in a model's own features, in one pass over them.

    Parameters
    ----------
    model : FittedModel
        With a layout.
    features : float32 array, shape (n_stars, n_features)
        In the model's layout.
    rows : bool mask or int array, optional
    threads : int, optional

    Returns
    -------
    Position
    """
    layout = model.layout
    # NaN wavelengths (constant, magnitudes) compare false.
    chips = [(layout.wavelength > low) & (layout.wavelength < high) for low, high in CHIPS]
    size = np.where(model.penalized, np.abs(model.coef), 0.0)
    coefs = [*(np.where(chip, model.coef, 0.0) for chip in chips), size / (size.sum() or 1.0)]
    *parts, lines = linear_predictors(features, coefs, rows, threads)
    magnitudes = features[:, 1 : layout.n_unpenalized][slice(None) if rows is None else rows]
    return Position(np.column_stack([np.asarray(magnitudes, dtype=np.float64), *parts]), lines)


def with_training_extent(model, features, rows, threads=None, weights=None):
    """Return the model with a note of where its training stars lie, so that it can tell a star unlike them.

    Parameters
    ----------
    model : FittedModel
        With a layout.
    features : float32 array, shape (n_stars, n_features)
    rows : bool mask or int array
        The training stars.
    threads : int, optional
    weights : float64 array, shape (n_rows,), optional
        What each training star weighs in the fit; the same by default.

    Returns
    -------
    FittedModel
        Its ``metadata["training_extent"]`` holds the centre and the inverse covariance of the training stars in the
        space of the magnitudes and of each chip's contribution to ln parallax, and the squared Mahalanobis distance
        there that all but 1 in 1,000 of them keep within. Coordinates in which they do not differ are left out. Under
        ``"fitted_centre"`` and ``"fitted_inverse"`` the same for the chips alone, the stars weighted as in the fit,
        scaled as `spectral_unlikeness` needs it, and under ``"line_centre"`` and ``"line_scale"`` centre and scale
        of their lines' weakness: for `spectral_unlikeness`.
    """
    points, lines = position(model, features, rows, threads)
    centre = points.mean(axis=0)
    covariance = np.atleast_2d(np.cov(points, rowvar=False, bias=True))
    inverse = np.linalg.pinv(covariance, rcond=1e-10, hermitian=True)
    limit = np.quantile(_squared_distance(points, centre, inverse), EXTENT_SHARE)
    extent = {"centre": centre.tolist(), "inverse_covariance": inverse.tolist(), "limit": float(limit)}
    chips = points[:, -len(CHIPS) :]
    centre = np.average(chips, axis=0, weights=weights)
    inverse = np.linalg.pinv(np.cov(chips, rowvar=False, aweights=weights), rcond=1e-10, hermitian=True)
    size = np.sqrt(np.mean(_squared_distance(chips, centre, inverse) ** 2))
    extent |= {"fitted_centre": centre.tolist(), "fitted_inverse": (inverse / (size or 1.0)).tolist()}
    centre = np.average(lines, weights=weights)
    extent |= {
        "line_centre": float(centre),
        "line_scale": float(np.sqrt(np.mean(np.maximum(lines - centre, 0.0) ** 2))),
    }
    return replace(model, metadata={**model.metadata, "training_extent": extent})


def extrapolates(model, where):
    """Say which stars lie farther out than the model's training stars, in the model's own features.

    Parameters
    ----------
    model : FittedModel
        From `with_training_extent`, or read from a file that one was saved to.
    where : Position
        Of the stars.

    Returns
    -------
    bool array, shape (n_rows,), or None
        None if the model does not know where its training stars lie.
    """
    extent = model.metadata.get("training_extent")
    if extent is None:
        return None
    centre, inverse = _centre_and_inverse(extent, where.points)
    # Written so that a NaN distance is outside.
    return ~(_squared_distance(where.points, centre, inverse) <= extent["limit"])


def spectral_unlikeness(model, where):
    """How far stars are from the middle of a model's training stars, and how much weaker than there their lines are.

    How far is measured in what each chip adds to ln parallax. Magnitudes are left out: they carry the star's distance,
    along which the model is right wherever a star is. The middle, and how far it is from there, are those of the stars
    as the fit weighs them: it follows nearby stars, and what a model that is linear in the features leaves out grows
    away from them, with the square of the distance at first. Where lines are weak, as in metal-poor stars, they tell
    less: their weakness is the mean ln flux of the pixels that the model uses, weighted with the sizes of their
    coefficients, as far as it is above the middle's.

    Parameters
    ----------
    model : FittedModel
        From `with_training_extent`, or read from a file that one was saved to.
    where : Position
        Of the stars.

    Returns
    -------
    float64 array, shape (n_rows, 2)
        Squares, to which variances are proportional, of the squared Mahalanobis distance and of the weakness, each
        scaled: 1 in the mean of the training stars. 1 for all where training stars do not differ, or the model does not
        know where they lie.
    """
    extent = model.metadata.get("training_extent", {})
    points = where.points[:, -len(CHIPS) :]
    unlikeness = np.ones((len(points), 2))
    inverse, scale = np.array(extent.get("fitted_inverse", 0.0)), extent.get("line_scale", 0.0)
    if inverse.any():
        unlikeness[:, 0] = _squared_distance(points, np.array(extent["fitted_centre"]), inverse) ** 2
    if scale:
        unlikeness[:, 1] = (np.maximum(where.lines - extent["line_centre"], 0.0) / scale) ** 2
    return unlikeness


def _centre_and_inverse(extent, points):
    centre, inverse = np.array(extent["centre"]), np.array(extent["inverse_covariance"])
    if centre.shape != (points.shape[1],) or inverse.shape != (centre.size, centre.size):
        raise BadInputError(
            f"model: its training extent has {centre.size} coordinates, its layout {points.shape[1]}; fit it again"
        )
    return centre, inverse


def _squared_distance(points, centre, inverse):
    offset = points - centre
    return np.einsum("ni,ij,nj->n", offset, inverse, offset)
