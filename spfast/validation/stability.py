"""Models of different folds or splits side by side: their coefficients, their predictions, the pixels they agree on."""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
from astropy.table import Table

from spfast.data.survey import Survey
from spfast.errors import BadInputError
from spfast.model.fitted_model import FittedModel
from spfast.model.layout import MAGNITUDE_SUM
from spfast.selection.star_keys import seen_in_training
from spfast.training.inputs import model_inputs
from spfast.validation.columns import Column, described_table
from spfast.validation.residuals import half_width

__all__ = ["STABILITY", "WAVELENGTHS", "compare_models", "format_wavelengths", "magnitude_sum_note", "surviving_pixels"]

#: Pixels at most this far apart show the same line: a resolution element is 2-3 pixels wide.
_NEAR = 2
#: Predictions are compared on stars that neither model was trained on, if there are at least this many.
_MIN_UNSEEN = 50

#: Columns of `compare_models`.
STABILITY = {
    "first": Column("one model", "first"),
    "second": Column("the other", "second"),
    "sum_first": Column(
        f"sum of the magnitudes' coefficients; exact scaling with distance: {MAGNITUDE_SUM:.4f}", "sum 1", "+.4f"
    ),
    "sum_second": Column("the same of the other", "sum 2", "+.4f"),
    "pixels_first": Column("pixels that the first model uses", "pixels 1", ",d"),
    "pixels_second": Column("pixels that the second uses", "pixels 2", ",d"),
    "pixels_both": Column("pixels that both use", "both", ",d"),
    "pixels_by_chance": Column("as many would be common if each had drawn its pixels at random", "by chance", ".0f"),
    "near": Column("share of the first's pixels within 2 pixels of one of the second's", "near", ".0%"),
    "near_by_chance": Column("the same share of all pixels", "near by chance", ".0%"),
    "corr_magnitudes": Column("correlation of the magnitudes' coefficients", "r(mags)", ".2f", only="terminal"),
    "corr_pixels": Column(
        "correlation of the pixels' coefficients, over the pixels that either uses",
        "r(pixels)",
        ".2f",
        only="terminal",
    ),
    "n": Column("stars that both predict; 0: no survey was given", "stars", ",d", only="terminal"),
    "unseen": Column("whether these stars were in neither training set"),
    "corr_predictions": Column("correlation of their two ln parallaxes", "r(ln parallax)", ".4f"),
    "scatter": Column("half the 16-84 percentile width of the difference of ln parallax", "scatter", ".1%"),
    "offset": Column("median difference of ln parallax, first minus second"),
}

#: Columns of `surviving_pixels`, before each model's coefficients.
WAVELENGTHS = {
    "pixel": Column("place on the spectrograph's grid of pixels"),
    "name": Column("name of the pixel or other column in the survey's layout"),
    "wavelength": Column("wavelength as the survey gives it; APOGEE's: in vacuum", unit="Angstrom"),
    "n_models": Column("models that use it"),
}
#: Wavelengths that `format_wavelengths` lists.
_MAX_LISTED = 12


def compare_models(
    models: Mapping[str, FittedModel], survey: Survey | None = None, threads: int | None = None
) -> Table:
    """Compare models two by two: their coefficients and, with a survey, their predictions.

    Parameters
    ----------
    models : dict of FittedModel
        Two or more, by name, with layouts.
    survey : Survey, optional
        Adds their predictions of the same stars.
    threads : int, optional

    Returns
    -------
    astropy Table
        One row a pair; columns as in `STABILITY`.

    Raises
    ------
    BadInputError
        For fewer than two models, or models without a layout or with different magnitudes.
    """
    if len(models) < 2:
        raise BadInputError(f"{len(models)} model: it takes two to compare")
    pixels = _pixels_used(models)
    predictions = None if survey is None else _predictions(models, survey, threads)
    rows = []
    for one, two in combinations(models, 2):
        first, second = models[one], models[two]
        magnitudes = [model.coef[1 : model.layout.n_unpenalized] for model in (first, second)]
        used = [set(pixels[name]) for name in (one, two)]
        grid = np.intersect1d(first.pixel_coefficients[0], second.pixel_coefficients[0])
        union = sorted(used[0] | used[1])
        coefs = [[pixels[name].get(pixel, 0.0) for pixel in union] for name in (one, two)]
        near = [_share_near(which, used[1]) for which in (np.array(sorted(used[0])), grid)]
        rows.append(
            (
                one,
                two,
                *(float(values.sum()) for values in magnitudes),
                *(len(which) for which in used),
                len(used[0] & used[1]),
                len(used[0]) * len(used[1]) / max(grid.size, 1),
                *near,
                _correlation(*magnitudes),
                _correlation(*coefs),
                *_compare_predictions(one, two, predictions),
            )
        )
    return described_table(rows, STABILITY, {"EXACTSUM": float(MAGNITUDE_SUM)})


def magnitude_sum_note(table: Table) -> str:
    """Say what the magnitudes' coefficients in a table of `compare_models` would sum to for exact scaling."""
    return f"exact scaling with distance: magnitudes sum to {table.meta['EXACTSUM']:.4f}"


def surviving_pixels(models: Mapping[str, FittedModel]) -> Table:
    """List the pixels that at least one model uses, with each model's coefficient.

    Parameters
    ----------
    models : dict of FittedModel
        By name, with layouts.

    Returns
    -------
    astropy Table
        In order of their places: ``pixel`` (the place on the grid), ``name``, ``wavelength`` [Angstrom], ``n_models``
        that use it, then one column ``coef_<name>`` for each model.

    Examples
    --------
    >>> import numpy as np, spfast
    >>> from spfast.model.layout import FeatureLayout
    >>> from spfast.validation.stability import surviving_pixels
    >>> layout = FeatureLayout((500, 600), magnitudes=("K",))
    >>> x = np.column_stack([np.ones(4), [0.0, 1, 0, 1], [0.0, 0, 1, 1], [0.0, 1, 1, 0]])
    >>> model = spfast.fit(x, np.exp(x @ [0, -0.4, 0.3, 0]), np.full(4, 0.01), penalty=1.0, layout=layout)
    >>> surviving_pixels({"A": model})["pixel", "n_models"].as_array().tolist()
    [(500, 1)]
    """
    used = _pixels_used(models)
    pixels = np.array(sorted(set().union(*used.values())), dtype=np.int64)
    coefs = [[used[name].get(pixel, 0.0) for pixel in pixels.tolist()] for name in models]
    columns = WAVELENGTHS | {f"coef_{name}": Column(f"coefficient of ln flux in model {name}") for name in models}
    n_models = np.count_nonzero(coefs, axis=0).tolist() if pixels.size else []
    names, wavelengths = {}, {}
    for model, of in zip(models.values(), used.values(), strict=True):
        names |= zip(of, model.layout.names_of(list(of)), strict=True)
        wavelengths |= zip(of, model.layout.wavelength_of(list(of)).tolist(), strict=True)
    rows = [(p, names[p], wavelengths[p], *more) for p, *more in zip(pixels.tolist(), n_models, *coefs, strict=True)]
    return described_table(rows, columns)


def format_wavelengths(table: Table) -> str:
    """Say how many pixels of a table of `surviving_pixels` all models use, and list the first of them."""
    n_models = len(table.colnames) - len(WAVELENGTHS)
    in_all = table[table["n_models"] == n_models]
    first = in_all[:_MAX_LISTED]
    listed = ", ".join(
        name if np.isnan(w) else f"{w:.1f}" for name, w in zip(first["name"], first["wavelength"], strict=True)
    )
    more = f" and {len(in_all) - _MAX_LISTED} more" if len(in_all) > _MAX_LISTED else ""
    return (
        f"{len(table)} pixels are used by a model, {len(in_all)} by all {n_models}: {listed or 'none'}{more}"
        f"{'' if np.isnan(table['wavelength']).all() and len(table) else ' [Angstrom]'}"
    )


def _pixels_used(models):
    """The pixels that each model uses, with their coefficients (dict of dict)."""
    used = {}
    for name, model in models.items():
        if model.layout is None:
            raise BadInputError(f"model {name}: it has no layout, so its pixels are unknown")
        if model.layout.magnitudes != next(iter(models.values())).layout.magnitudes:
            raise BadInputError(f"model {name}: its magnitudes are not those of the first model")
        pixels, coef = model.pixel_coefficients
        used[name] = {pixel: c for pixel, c in zip(pixels.tolist(), coef.tolist(), strict=True) if c != 0.0}
    return used


def _share_near(pixels, others):
    """Share of pixels within `_NEAR` of one of the others (float)."""
    if not pixels.size or not others:
        return np.nan
    others = np.array(sorted(others))
    after = np.clip(np.searchsorted(others, pixels), 0, others.size - 1)
    before = np.maximum(after - 1, 0)
    return float(np.mean(np.minimum(np.abs(others[after] - pixels), np.abs(others[before] - pixels)) <= _NEAR))


def _correlation(first, second):
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return np.nan
    return float(np.corrcoef(first, second)[0, 1])


def _predictions(models, survey, threads):
    """Each model's ln parallax of all stars, and which stars it was trained on (dict of pairs)."""
    predictions = {}
    for name, model in models.items():
        model = model.for_layout(survey.layout)
        features = model_inputs(survey, model, threads).features
        ln_parallax = model.predict_ln(features, threads=threads)
        trained = model.provenance.training_stars
        seen = None if trained is None else seen_in_training(trained, survey.stars)
        predictions[name] = ln_parallax, seen
    return predictions


def _compare_predictions(one, two, predictions):
    """The measures from n to offset."""
    if predictions is None:
        return 0, False, np.nan, np.nan, np.nan
    (first, seen_first), (second, seen_second) = predictions[one], predictions[two]
    compared = np.isfinite(first) & np.isfinite(second)
    unseen = False
    if seen_first is not None and seen_second is not None:
        neither = compared & ~seen_first & ~seen_second
        unseen = np.count_nonzero(neither) >= _MIN_UNSEEN
        compared = neither if unseen else compared
    difference = first[compared] - second[compared]
    correlation = _correlation(first[compared], second[compared])
    return int(compared.sum()), bool(unseen), correlation, half_width(difference), float(np.median(difference))
