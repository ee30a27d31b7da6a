"""What new stars' features are made like: the recipe of a survey or of a model file, and rows of features by it."""

import os
from pathlib import Path

import numpy as np
from astropy.table import Table

from spfast.config import Config
from spfast.data.spectra.bad_pixels import SpectrumFactors
from spfast.data.spectra.continuum import check_continuum_pixels
from spfast.data.spectra.features import fill_features, unmeasured_bits
from spfast.data.survey import open_survey, spectrum_kinds
from spfast.errors import BadInputError
from spfast.model.coordinates import layout_from
from spfast.model.layout import FeatureLayout
from spfast.model.model_file import model_hash, read_model_file
from spfast.model.recipe import FeatureRecipe, check_origin, low_rank_from_file, recipe_from_file

__all__ = ["check_new_stars", "check_recipe", "config_like", "feature_rows", "read_recipe"]


def read_recipe(path: str | os.PathLike) -> tuple[FeatureRecipe, str]:
    """Read how the features of a survey, or of a model's survey, were made.

    Parameters
    ----------
    path : path-like
        A survey folder or a model file.

    Returns
    -------
    recipe : FeatureRecipe
    digest : str
        What identifies the survey or the model file.

    Raises
    ------
    BadInputError
        If it is neither, or does not say.
    """
    if Path(path).is_file():
        return check_recipe(read_model_file(path, _recipe_of_model), path), model_hash(path)
    survey = open_survey(path)
    return survey.read_recipe(), survey.survey_hash


def _recipe_of_model(header, arrays):
    layout = None if header["layout"] is None else layout_from(header["layout"])
    return recipe_from_file(header, arrays, layout, low_rank_from_file(header, arrays))


def check_recipe(recipe: FeatureRecipe | None, what: str | os.PathLike) -> FeatureRecipe:
    """Refuse a model that does not say how its features were made.

    Raises
    ------
    BadInputError
    """
    if recipe is None:
        raise BadInputError(
            f"{what}: the model does not say how its features were made from spectra; give one that was fitted to a "
            "survey of `spfast ingest`, by this version"
        )
    return recipe


def config_like(recipe: FeatureRecipe, config: Config) -> Config:
    """A configuration with the recipe's sections on features (Config).

    Stars that lack magnitudes are rejected if the recipe has nothing to estimate them from.

    Raises
    ------
    BadInputError
        If these sections or the continuum pixels cannot be used.
    """
    # The recipe holds the pixels themselves: no file that it names is read.
    try:
        config = config.replace(**recipe.config).replace(normalization={"continuum_file": ""})
    except BadInputError as error:
        raise BadInputError(f"the model's or survey's file: {error}; was it made by a newer spfast?") from None
    if recipe.layout.columns is None:  # of arrays they are places on a grid of their own
        degree = config.normalization.chebyshev_degree
        check_continuum_pixels(recipe.continuum, degree, "the model's or survey's file")
    return config if recipe.bands is not None else config.replace(sample={"missing_bands": "rejected"})


def check_new_stars(recipe: FeatureRecipe, stars: Table, made_of: str, what: str) -> None:
    """Refuse new stars whose spectra or magnitudes are of another kind or release than the recipe's.

    Parameters
    ----------
    recipe : FeatureRecipe
    stars : astropy Table
        With their spectrum files (``FILE``), and Gaia's release and WISE's catalog in ``meta``, if these are known.
    made_of, what : str
        As in `spfast.model.recipe.check_origin`.

    Raises
    ------
    BadInputError
        Naming what differs.
    """
    new = {name: stars.meta.get(name) for name in ("gaia_release", "wise")} | {"spectra": spectrum_kinds(stars)}
    check_origin(recipe.origin, new, made_of, what)


def feature_rows(
    layout: FeatureLayout,
    stars: Table,
    spectra: tuple[np.ndarray, np.ndarray],
    factors: SpectrumFactors | None,
    error_max: float,
    features: np.ndarray,
    feature_errors: np.ndarray,
) -> np.ndarray:
    """Make the features of stars from their normalised spectra; magnitudes that they lack stay NaN.

    Parameters
    ----------
    layout : FeatureLayout
    stars : astropy Table
    spectra : tuple of float32 array, shape (n_stars, 7451)
        ln flux and its errors; changed where pixels are estimated.
    factors : SpectrumFactors or None
        What bad pixels are estimated from.
    error_max : float
        The largest error of a pixel that counts as measured.
    features : float32 array, shape (n_stars, n_features)
        Output.
    feature_errors : float16 array, shape (n_stars, n_features)
        Output.

    Returns
    -------
    uint8 array, shape (n_stars, ceil(n_pixels / 8))
        Bits of the pixels that were not measured.
    """
    bits = unmeasured_bits(layout, spectra[1], error_max)
    if factors is not None:
        factors.estimate(*spectra)
    fill_features(layout, stars, *spectra, features, feature_errors)
    return bits
