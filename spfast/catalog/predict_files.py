"""Predictions of new stars from their files by a model alone: no survey is written, memory holds a few spectra."""

import os
from collections.abc import Collection
from contextlib import closing
from typing import NamedTuple

import numpy as np
from astropy.table import Table

from spfast import __version__
from spfast.catalog.columns import position_cards
from spfast.catalog.flags import clipped_share, observation_flags
from spfast.catalog.labels import check_extra_columns
from spfast.catalog.predict import (
    compare_with_gaia,
    joined_features,
    predict_features,
    prediction_table,
    warn_of_lacks,
    with_zero_point_for,
)
from spfast.config import Config
from spfast.data.columns import conform_rejected, conform_stars
from spfast.data.gaia_release import RELEASE_CARD
from spfast.data.parent_sample import parent_sample
from spfast.data.recipe import check_new_stars, check_recipe, config_like
from spfast.data.stream import stream_features
from spfast.errors import BadInputError
from spfast.files import file_sha256, watch
from spfast.kernels.team import resolve_threads
from spfast.model.fitted_model import FittedModel, as_model

__all__ = ["FilePredictions", "predict_files"]


class FilePredictions(NamedTuple):
    """Predictions of new stars.

    Attributes
    ----------
    table : astropy Table
        One row a star, sorted by APOGEE_ID, as `spfast.catalog.predict.predict_survey` returns it.
    rejected : astropy Table
        Every other row of allStar: APOGEE_ID, row, reason, detail.
    cut_flow : list of (str, int)
        Each cut and the number of stars left after it.
    """

    table: Table
    rejected: Table
    cut_flow: list


def predict_files(
    model: FittedModel | str | os.PathLike,
    allstar: str | os.PathLike,
    spectra: str | os.PathLike,
    gaia: str | os.PathLike | None = None,
    wise: str | os.PathLike | None = None,
    config: Config | None = None,
    threads: int | None = None,
    quiet: bool = False,
    *,
    extra_columns: Collection[str] = (),
) -> FilePredictions:
    """Predict new stars from their tables and spectra.

    The numbers are to the bit those of ``spfast ingest --like`` the model and `predict_survey` of that survey.

    Parameters
    ----------
    model : FittedModel or path-like
        Fitted to a survey; it holds all that is needed to make the stars' features.
    allstar, spectra, gaia, wise
        As for `spfast.data.ingest.ingest`.
    config : Config, optional
        Its ``sample``, ``training`` and ``galaxy`` sections are used; what features are made like, the model says.
    threads : int, optional
        All processors by default.
    quiet : bool
        No progress bar.
    extra_columns : collection of str, optional
        As for `spfast.make_catalog`.

    Returns
    -------
    FilePredictions

    Raises
    ------
    BadInputError
        If the model does not say how its features were made, if an input cannot be used or changes while it is read, if
        spectra or Gaia's magnitudes are of another kind or release than the model's, or if no star is left.

    Warns
    -----
    SpfastWarning
        As `spfast.catalog.predict.predict_survey`.
    """
    check_extra_columns(extra_columns)
    model = as_model(model)
    recipe, threads = check_recipe(model.recipe, "predict"), resolve_threads(threads)
    config = config_like(recipe, Config() if config is None else config)
    inputs = {"allstar": allstar, "gaia": gaia, "wise": wise}
    inputs = {role: path for role, path in inputs.items() if path is not None}
    check_unchanged = watch(inputs.values())
    stars, flow = parent_sample(allstar, spectra, gaia, wise, config, recipe.bands is not None, quiet)
    cards = {role.upper(): file_sha256(path) for role, path in inputs.items()}
    check_unchanged()
    check_new_stars(recipe, stars, "model: trained on", str(allstar))
    warn_of_lacks(model)
    model = model.for_layout(recipe.layout)
    failures, batches = {}, []
    n_bad, clipped = np.zeros(len(stars), np.int32), np.zeros(len(stars))
    with_coordinates = model.low_rank is not None
    stream = stream_features(stars, spectra, recipe, config, failures, threads, quiet, with_coordinates)
    with closing(stream):
        for rows, survey, bad in stream:
            survey.check_values(threads)
            batches.append((rows, predict_features(model, survey, threads=threads)))
            n_bad[rows], clipped[rows] = bad, clipped_share(survey)
    keep = np.ones(len(stars), bool)
    keep[list(failures)] = False
    if not keep.any():
        raise BadInputError(
            f"{spectra}: none of the {len(stars)} spectra can be used (e.g. {stars['FILE'][0]}: {failures[0]}); check "
            "--spectra"
        )
    flow.apply("spectrum readable", keep, lambda i: failures[i])
    stars["n_bad_pixels"] = n_bad
    bits, release = stars.meta.get("aspcapflag_bits", "ASPCAPFLAG"), stars.meta.get("gaia_release")
    stars = conform_stars(stars[keep])
    rows, found = zip(*batches, strict=True)
    order = np.argsort(np.concatenate(rows), kind="stable")
    found = joined_features(found, order)
    values, flags = compare_with_gaia(with_zero_point_for(model, stars), stars, found)
    flags |= observation_flags(stars, recipe.layout, config, bits, clipped[keep])
    cards |= {"PRODUCT": "spfast predictions", "SPFVERS": __version__, RELEASE_CARD: release or "unknown"}
    cards |= position_cards(stars)
    table = prediction_table(model, stars, values, flags, cards, (extra_columns, config.galaxy))
    return FilePredictions(table, conform_rejected(flow.rejected()), flow.counts)
