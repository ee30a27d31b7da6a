"""What a model sees of a survey's stars: ln flux pixel by pixel, or the coordinates of a low-rank model."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from spfast.config import FitConfig
from spfast.data.missing_bands import lacking_magnitudes
from spfast.data.survey import Survey
from spfast.errors import BadInputError
from spfast.model.coordinates import CoordinateErrors, CoordinateLayout
from spfast.model.fitted_model import FittedModel
from spfast.model.layout import FeatureLayout
from spfast.model.learn_low_rank import learn_low_rank
from spfast.model.low_rank import Coordinates, LowRankModel

__all__ = ["MOST_PRODUCTS", "Inputs", "model_inputs", "survey_inputs"]

#: Coordinates whose products cross-validation may choose, at most.
MOST_PRODUCTS = 16


class Inputs(NamedTuple):
    """Features of all of a survey's stars.

    Attributes
    ----------
    features : float32 array, shape (n_stars, n_features)
    errors : float16 or float32 array of the same shape, or CoordinateErrors
    layout : FeatureLayout or CoordinateLayout
    low_rank : LowRankModel or None
        That the coordinates are of.
    """

    features: np.ndarray
    errors: np.ndarray | CoordinateErrors
    layout: FeatureLayout | CoordinateLayout
    low_rank: LowRankModel | None = None

    def within(self, rank: int, n_products: int) -> "Inputs":
        """The inputs of a smaller layout: the first coordinates, and the products of fewer of them."""
        layout = self.layout.smaller(rank, n_products)
        features = np.ascontiguousarray(self.features[:, self.layout.within(rank, n_products)])
        errors = replace(self.errors, layout=layout, coordinates=self.errors.coordinates.first(rank))
        return Inputs(features, errors, layout, self.low_rank)


def survey_inputs(survey: Survey, settings: FitConfig, threads: int | None = None) -> Inputs:
    """What a model is trained on, by the configuration; coordinates with all that cross-validation may choose from.

    Parameters
    ----------
    survey : Survey
    settings : FitConfig
    threads : int, optional

    Returns
    -------
    Inputs
        The columns as they are if the survey has too few spectra for a low-rank model, or columns that are no spectrum.

    Raises
    ------
    BadInputError
        If the survey holds numbers that no build writes.
    """
    survey.check_values()
    if settings.pixels == "low-rank" and survey.layout.is_spectrum:
        found = survey.low_rank or _learn(survey, threads)
        if found is not None:
            low_rank, coordinates = found
            most = MOST_PRODUCTS if settings.products < 0 else settings.products
            return _of_coordinates(survey, low_rank, coordinates, most)
    return Inputs(survey.features, survey.feature_errors, survey.layout)


def model_inputs(survey: Survey, model: FittedModel, threads: int | None = None) -> Inputs:
    """A survey's stars in the columns of a model.

    Parameters
    ----------
    survey : Survey
    model : FittedModel
    threads : int, optional

    Returns
    -------
    Inputs
        Pixels that the survey lacks count as not measured in the coordinates of a low-rank model.
    """
    low_rank, layout = model.low_rank, model.layout
    if low_rank is None:
        return Inputs(survey.features, survey.feature_errors, survey.layout)
    if survey.low_rank is not None and low_rank.is_same(survey.low_rank[0]):
        coordinates = survey.low_rank[1]
    else:
        coordinates = low_rank.coordinates(*_spectra(survey, low_rank.pixels), threads)
    return _of_coordinates(survey, low_rank, coordinates.first(layout.rank), layout.n_products, layout)


def _of_coordinates(survey, low_rank, coordinates, most_products, layout=None):
    if layout is None:
        most_products = min(most_products, low_rank.n_broad)
        spectrum = None if survey.layout.columns is None else survey.layout
        numbers = low_rank.rank, most_products, low_rank.line_weights, low_rank.n_broad
        layout = CoordinateLayout(*numbers, survey.layout.magnitudes, spectrum)
    names = survey.layout.names
    missing = [name for name in layout.magnitudes if name not in names]
    if missing:
        raise BadInputError(
            f"model: the survey lacks {len(missing)} of the {len(layout.magnitudes)} magnitudes that the model uses "
            f"(first: {missing[0]}); ingest it with the same bands"
        )
    columns = [names.index(name) for name in layout.magnitudes]
    features = layout.design(survey.features[:, columns], coordinates.mean)
    estimated = lacking_magnitudes(survey.stars, layout.magnitudes)
    errors = CoordinateErrors(layout, coordinates, survey.feature_errors[:, columns], estimated)
    return Inputs(features, errors, layout, low_rank)


def _learn(survey, threads) -> tuple[LowRankModel, Coordinates] | None:
    """The low-rank model of a survey that was built without one."""
    spectra = _spectra(survey, survey.layout.pixels)
    low_rank = learn_low_rank(*spectra, pixels=survey.layout.pixels, threads=threads)
    survey.keep_low_rank(None if low_rank is None else (low_rank, low_rank.coordinates(*spectra, threads)))
    return survey.low_rank


def _spectra(survey, pixels):
    """ln flux, its errors and the bits of unmeasured pixels on a low-rank model's pixels."""
    first = survey.layout.n_unpenalized
    flux, errors = survey.features[:, first:], survey.feature_errors[:, first:]
    ours, pixels = np.asarray(survey.layout.pixels), np.asarray(pixels)
    if np.array_equal(ours, pixels):
        return flux, errors, survey.unmeasured
    _, here, there = np.intersect1d(ours, pixels, return_indices=True)
    on_grid = np.zeros((survey.n_stars, pixels.size), np.float32)
    of_grid = np.full_like(on_grid, np.inf)
    on_grid[:, there], of_grid[:, there] = flux[:, here], errors[:, here]
    if survey.unmeasured is not None:
        bits = np.unpackbits(survey.unmeasured, axis=1, count=ours.size).view(bool)[:, here]
        of_grid[:, there] = np.where(bits, np.inf, of_grid[:, there])
    return on_grid, of_grid, None
