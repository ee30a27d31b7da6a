"""Features of new stars straight from their spectra, some hundred stars at a time: nothing is kept of them."""

import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.table import Table

from spfast.blas import one_blas_thread
from spfast.config import Config
from spfast.data.estimates import spectrum_factors
from spfast.data.missing_bands import estimate_magnitudes
from spfast.data.recipe import feature_rows
from spfast.data.sdss5 import spectra_to_read
from spfast.data.spectra.features import ERROR_DTYPE, rounded_errors
from spfast.data.spectra.workers import normalizer_job, stream_normalized
from spfast.data.survey import Survey
from spfast.model.recipe import FeatureRecipe
from spfast.progress import Progress

__all__ = ["Batch", "stream_features"]

#: Stars whose features are made together: 30 MB.
_BATCH = 512


class Batch(NamedTuple):
    """Stars whose spectra have been read.

    Attributes
    ----------
    rows : int64 array, shape (n_stars,)
        Which of all stars they are.
    survey : Survey
        In memory.
    n_bad : int32 array, shape (n_stars,)
        Bad pixels among the layout's.
    """

    rows: np.ndarray
    survey: Survey
    n_bad: np.ndarray


def stream_features(
    stars: Table,
    spectra: str,
    recipe: FeatureRecipe,
    config: Config,
    failures: dict,
    threads: int,
    quiet: bool = False,
    with_coordinates: bool = True,
) -> Iterator[Batch]:
    """Make the features of stars by a recipe, a batch at a time, to the bit those of `spfast.data.ingest.ingest`.

    Parameters
    ----------
    stars : astropy Table
        As `spfast.data.parent_sample.parent_sample` returns it.
    spectra : path-like
        Folder that their files (``FILE``) are relative to.
    recipe : FeatureRecipe
    config : Config
        With the recipe's sections on features.
    failures : dict
        Filled: why a spectrum could not be used, by the star's row.
    threads : int
        Processes that read, at most, and threads.
    quiet : bool
        No progress bar.
    with_coordinates : bool
        Find the coordinates of all stars in the recipe's low-rank model; otherwise only of those that lack magnitudes.

    Yields
    ------
    Batch
        In any order.
    """
    factors = spectrum_factors(recipe.pixel_factors, recipe.layout, config.features.flux_error_max)
    waiting, n_waiting = [], 0
    with (
        tempfile.TemporaryDirectory(prefix="spfast-") as work,
        Progress("predict", len(stars), quiet) as progress,
        # Workers end before their folder goes, however this ends.
        closing(
            stream_normalized(
                normalizer_job(spectra, work, list(recipe.continuum), config, recipe.layout.pixels),
                spectra_to_read(stars),
                threads,
            )
        ) as chunks,
    ):
        for start, record, *values in chunks:
            failed = dict(record["failed"])
            failures.update((start + index, reason) for index, reason in failed.items())
            good = np.setdiff1d(np.arange(record["n"]), list(failed))
            waiting.append((start + good, *(array[good] for array in values), np.array(record["n_bad"])[good]))
            n_waiting += good.size
            if n_waiting >= _BATCH:
                yield _batch(waiting, stars, spectra, recipe, config, factors, threads, with_coordinates)
                waiting, n_waiting = [], 0
            progress.advance(record["n"])
        if n_waiting:
            yield _batch(waiting, stars, spectra, recipe, config, factors, threads, with_coordinates)


@one_blas_thread()
def _batch(waiting, stars, spectra, recipe, config, factors, threads, with_coordinates):
    rows, ln_flux, ln_flux_error, n_bad = map(np.concatenate, zip(*waiting, strict=True))
    layout, some = recipe.layout, stars[rows]
    features = np.empty((rows.size, layout.n_features), np.float32)
    errors = np.empty(features.shape, ERROR_DTYPE)
    error_max = config.features.flux_error_max
    bits = feature_rows(layout, some, (ln_flux, ln_flux_error), factors, error_max, features, errors)
    first = layout.n_unpenalized
    low_rank, found = recipe.low_rank, None
    lacking = np.flatnonzero(~np.isfinite([features[:, 1:first], errors[:, 1:first]]).all(axis=(0, 2)))
    coordinates = None
    if low_rank is not None and with_coordinates:
        found = low_rank.coordinates(features[:, first:], errors[:, first:], bits, threads)
        coordinates = found.mean[lacking]
    elif low_rank is not None and lacking.size:
        spectrum = features[lacking, first:], errors[lacking, first:], bits[lacking]
        coordinates = low_rank.coordinates(*spectrum, threads).mean
    if lacking.size:
        magnitudes, magnitude_errors = features[lacking, 1:first], errors[lacking, 1:first].astype(np.float32)
        estimate_magnitudes(magnitudes, magnitude_errors, coordinates, recipe.bands)
        features[lacking, 1:first], errors[lacking, 1:first] = magnitudes, rounded_errors(magnitude_errors)
    known = None if found is None else (low_rank, found)
    return Batch(rows, Survey.of_arrays(Path(spectra), config, layout, some, (features, errors, bits), known), n_bad)
