"""What a model sees of a survey's stars: ln flux pixel by pixel, or the coordinates of a low-rank model."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spfast.config import FitConfig
from spfast.data.missing_bands import lacking_magnitudes
from spfast.data.survey import Survey
from spfast.errors import BadInputError
from spfast.files import scratch_array
from spfast.model.coordinates import CoordinateErrors, CoordinateLayout
from spfast.model.fitted_model import FittedModel
from spfast.model.layout import FeatureLayout
from spfast.model.learn_low_rank import learn_low_rank
from spfast.model.low_rank import Coordinates, LowRankModel
from spfast.progress import Progress

__all__ = ["MOST_PRODUCTS", "Inputs", "model_inputs", "survey_inputs"]

#: Coordinates whose products cross-validation may choose, at most.
MOST_PRODUCTS = 16
#: Stars whose columns are made together.
_BLOCK = 4096


class Inputs(NamedTuple):
    """Features of a survey's stars.

    Attributes
    ----------
    features : float32 array, shape (n_stars, n_features)
    errors : float16 or float32 array of the same shape, or CoordinateErrors
    layout : FeatureLayout or CoordinateLayout
    low_rank : LowRankModel or None
        That the coordinates are of.
    folder : Path or None
        Where files of features may lie that are too large for the memory (`spfast.files.scratch_array`).
    """

    features: np.ndarray
    errors: np.ndarray | CoordinateErrors
    layout: FeatureLayout | CoordinateLayout
    low_rank: LowRankModel | None = None
    folder: Path | None = None

    def within(self, rank: int, n_products: int) -> "Inputs":
        """The inputs of a smaller layout: the first coordinates, and the products of fewer of them."""
        layout = self.layout.smaller(rank, n_products)
        columns = self.layout.within(rank, n_products)
        if columns.size == self.layout.n_features:
            return self
        features = scratch_array((len(self.features), columns.size), np.float32, self.folder)
        for rows in _blocks(len(features)):
            features[rows] = self.features[rows][:, columns]
        errors = replace(self.errors, layout=layout, coordinates=self.errors.coordinates.first(rank))
        return Inputs(features, errors, layout, self.low_rank, self.folder)


def survey_inputs(survey: Survey, settings: FitConfig, threads: int | None = None, quiet: bool = True) -> Inputs:
    """What a model is trained on, by the configuration; coordinates with all that cross-validation may choose from.

    Parameters
    ----------
    survey : Survey
    settings : FitConfig
    threads : int, optional
    quiet : bool
        No progress bar.

    Returns
    -------
    Inputs
        The columns as they are if the survey has too few spectra for a low-rank model, or columns that are no spectrum.

    Raises
    ------
    BadInputError
        If the survey holds numbers that no build writes.
    """
    with Progress("what models see of the survey", quiet=quiet, leaves_line=False):
        survey.check_values(threads, quiet)
        if settings.pixels == "low-rank" and survey.layout.is_spectrum:
            found = survey.low_rank or _learn(survey, threads)
            if found is not None:
                low_rank, coordinates = found
                most = MOST_PRODUCTS if settings.products < 0 else settings.products
                return _of_coordinates(survey, low_rank, coordinates, most)
        return Inputs(survey.features, survey.feature_errors, survey.layout)


def model_inputs(
    survey: Survey, model: FittedModel, threads: int | None = None, rows: slice | np.ndarray = slice(None)
) -> Inputs:
    """A survey's stars in the columns of a model.

    Parameters
    ----------
    survey : Survey
    model : FittedModel
    threads : int, optional
    rows : slice or int array
        All stars by default.

    Returns
    -------
    Inputs
        Pixels that the survey lacks count as not measured in the coordinates of a low-rank model.
    """
    low_rank, layout = model.low_rank, model.layout
    if low_rank is None:
        return Inputs(survey.features[rows], survey.feature_errors[rows], survey.layout)
    if survey.low_rank is not None and low_rank.is_same(survey.low_rank[0]):
        coordinates = survey.low_rank[1].of(rows)
    else:
        coordinates = low_rank.coordinates(*_spectra(survey, low_rank.pixels, rows), threads, survey.path)
    return _of_coordinates(survey, low_rank, coordinates.first(layout.rank), layout.n_products, layout, rows)


def _of_coordinates(survey, low_rank, coordinates, most_products, layout=None, rows=slice(None)):
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
    columns = [names.index(name) - 1 for name in layout.magnitudes]
    magnitudes, magnitude_errors = (values[rows][:, columns] for values in survey.magnitudes)
    features = scratch_array((len(magnitudes), layout.n_features), np.float32, survey.path)
    for block in _blocks(len(features)):
        features[block] = layout.design(magnitudes[block], coordinates.mean[block])
    estimated = lacking_magnitudes(survey.stars[rows], layout.magnitudes)
    errors = CoordinateErrors(layout, coordinates, magnitude_errors, estimated)
    return Inputs(features, errors, layout, low_rank, survey.path)


def _blocks(n_rows):
    return [slice(start, start + _BLOCK) for start in range(0, n_rows, _BLOCK)]


def _learn(survey, threads) -> tuple[LowRankModel, Coordinates] | None:
    """The low-rank model of a survey that was built without one."""
    spectra = _spectra(survey, survey.layout.pixels)
    low_rank = learn_low_rank(*spectra, pixels=survey.layout.pixels, threads=threads)
    found = None if low_rank is None else (low_rank, low_rank.coordinates(*spectra, threads, survey.path))
    survey.keep_low_rank(found)
    return survey.low_rank


def _spectra(survey, pixels, rows=slice(None)):
    """ln flux, its errors and the bits of unmeasured pixels on a low-rank model's pixels."""
    first = survey.layout.n_unpenalized
    flux, errors = survey.features[rows, first:], survey.feature_errors[rows, first:]
    bits = None if survey.unmeasured is None else survey.unmeasured[rows]
    ours, pixels = np.asarray(survey.layout.pixels), np.asarray(pixels)
    if np.array_equal(ours, pixels):
        return flux, errors, bits
    _, here, there = np.intersect1d(ours, pixels, return_indices=True)
    on_grid = np.zeros((len(flux), pixels.size), np.float32)
    of_grid = np.full_like(on_grid, np.inf)
    on_grid[:, there], of_grid[:, there] = flux[:, here], errors[:, here]
    if bits is not None:
        bits = np.unpackbits(bits, axis=1, count=ours.size).view(bool)[:, here]
        of_grid[:, there] = np.where(bits, np.inf, of_grid[:, there])
    return on_grid, of_grid, None
