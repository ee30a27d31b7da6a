"""Features of new stars straight from their spectra, some hundred stars at a time: nothing is kept of them."""

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
from spfast.data.sdss5 import spectra_to_read
from spfast.data.spectra.features import magnitude_features, rounded_errors
from spfast.data.spectra.workers import row_job, stream_rows
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
    """
    factors = spectrum_factors(recipe.pixel_factors, recipe.layout, config.features.flux_error_max)
    job = row_job(spectra, list(recipe.continuum), config, recipe.layout, factors)
    magnitudes = magnitude_features(stars, recipe.layout.magnitudes)
    waiting, n_waiting = [], 0
    with (
        Progress("read spectra and predict", len(stars), quiet) as progress,
        closing(stream_rows(job, spectra_to_read(stars), magnitudes, threads)) as chunks,
    ):
        for chunk in chunks:
            failures.update((chunk.start + index, reason) for index, reason in chunk.failures.items())
            waiting.append((chunk.good, chunk.n_bad, chunk.features, chunk.feature_errors, chunk.unmeasured))
            n_waiting += chunk.good.size
            if n_waiting >= _BATCH:
                yield _batch(waiting, stars, spectra, recipe, config, threads, with_coordinates)
                waiting, n_waiting = [], 0
            progress.advance(chunk.n)
        if n_waiting:
            yield _batch(waiting, stars, spectra, recipe, config, threads, with_coordinates)


@one_blas_thread()
def _batch(waiting, stars, spectra, recipe, config, threads, with_coordinates):
    rows, n_bad, features, errors, bits = map(np.concatenate, zip(*waiting, strict=True))
    layout, some = recipe.layout, stars[rows]
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
