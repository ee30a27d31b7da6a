"""A survey whose spectra are of low rank, and whose parallaxes follow from magnitudes and from what spectra say."""

from types import SimpleNamespace

import numpy as np
from astropy.table import Table

from spfast.config import Config
from spfast.data.estimates import read_estimates
from spfast.data.spectra.features import MAGNITUDE_COLUMNS
from spfast.data.write_survey import SurveyWriter
from spfast.model.layout import MAGNITUDES, FeatureLayout
from spfast.model.recipe import FeatureRecipe

PIXELS = tuple(range(400, 496))
RANK = 3
#: Noise of each magnitude [mag].
MAGNITUDE_ERROR = 0.02


def low_rank_stars(n_stars=300, seed=0, parallax_snr=20.0):
    """The arrays, the star table and the truth of such stars; stars of any two seeds have the same kinds of spectra."""
    rng, kinds = np.random.default_rng(seed), np.random.default_rng(99)
    layout = FeatureLayout(PIXELS)
    factors = np.zeros((RANK, len(PIXELS)))
    for factor, size in zip(factors, (0.15, 0.1, 0.06), strict=True):
        for centre in kinds.uniform(0, len(PIXELS), 12):
            factor += kinds.normal() * np.exp(-0.5 * ((np.arange(len(PIXELS)) - centre) / 1.5) ** 2)
        factor *= size / factor.std()
    colours = 0.1 * kinds.normal(size=(2, len(MAGNITUDES)))
    z = rng.normal(size=(n_stars, RANK))
    modulus = rng.uniform(8.0, 13.0, n_stars)
    absolute = -1.0 + 0.4 * z[:, 0] + 0.2 * z[:, 1] + 0.1 * (z[:, 0] ** 2 - 1.0)
    clean = (modulus + absolute)[:, None] + np.linspace(1.0, -1.5, 8) + z[:, :2] @ colours
    features = np.ones((n_stars, layout.n_features), np.float32)
    errors = np.zeros_like(features)
    features[:, 1:9], errors[:, 1:9] = clean + MAGNITUDE_ERROR * rng.normal(size=clean.shape), MAGNITUDE_ERROR
    spectra = -0.3 + z @ factors
    errors[:, 9:] = 0.03 * rng.uniform(0.5, 2.0, (n_stars, 1)) * rng.uniform(0.7, 1.4, len(PIXELS))
    features[:, 9:] = spectra + errors[:, 9:] * rng.normal(size=spectra.shape)
    bits = rng.random(spectra.shape) < 0.05
    features[:, 9:][bits], errors[:, 9:][bits] = -0.3, 0.3
    true = 10.0 ** ((10.0 - modulus) / 5.0)
    parallax_error = rng.uniform(0.5, 1.5, n_stars) / parallax_snr
    number = np.arange(n_stars)
    stars = Table(
        {
            "APOGEE_ID": [f"2M{i + 1000 * seed:08d}+{i:07d}" for i in number],
            "source_id": (number + 1 + 100_000 * seed) * 7919 * 1000003,
            "ra": rng.uniform(0, 360, n_stars),
            "dec": rng.uniform(-90, 90, n_stars),
            "parallax": true - 0.0483 + parallax_error * rng.normal(size=n_stars),
            "parallax_error": parallax_error,
            "random_index": rng.permutation(n_stars),
            "visibility_periods_used": np.full(n_stars, 12),
            "astrometric_chi2_al": np.full(n_stars, 300.0),
            "astrometric_n_good_obs_al": np.full(n_stars, 200),
            "training_set": np.ones(n_stars, bool),
            "STARFLAG": np.zeros(n_stars, dtype=np.int64),
            "ASPCAPFLAG": np.zeros(n_stars, dtype=np.int64),
            "n_bad_pixels": bits.sum(axis=1).astype(np.int32),
        }
    )
    return SimpleNamespace(
        layout=layout, features=features, errors=errors, bits=bits, stars=stars, clean=clean, true=true, z=z
    )


def write_low_rank_survey(path, made, rank=8, like=None, config=None):
    """Write them; magnitudes that are NaN in the features are missing in the table as well."""
    for column, names in enumerate(MAGNITUDE_COLUMNS.values(), start=1):
        for name, values in zip(names, (made.features, made.errors), strict=True):
            made.stars[name] = np.where(np.isnan(made.features[:, column]), np.nan, values[:, column])
    config = Config().replace(features={"rank": rank}) if config is None else config
    if like is not None:
        _, bands = read_estimates(like.path, like.layout)
        like = FeatureRecipe(like.layout, {}, {}, (), None, bands, like.low_rank[0])
    with SurveyWriter(path, made.layout, len(made.stars)) as writer:
        writer.features[:], writer.feature_errors[:] = made.features, made.errors
        writer.unmeasured[:] = np.packbits(made.bits, axis=1)
        told = {"gaia_release": "dr2"}  # its zero point is that of DR2
        return writer.finish(made.stars, None, [("rows", len(made.stars))], config, told, like, threads=1)


def low_rank_survey(path, n_stars=300, seed=0, edit=None, **options):
    """Write a survey of such stars, after ``edit(made)`` changed them."""
    made = low_rank_stars(n_stars, seed)
    if edit is not None:
        edit(made)
    return write_low_rank_survey(path, made, **options)
