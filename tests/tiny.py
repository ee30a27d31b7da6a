"""A survey folder small enough to fit in a blink, and the truth it was drawn from.

Its pixels vary each for itself and its parallaxes follow eight of them: a model of pixels as they are finds the truth,
one of a few coordinates cannot. What a test claims of pixels, or of good predictions, it claims of `RAW`.
"""

import numpy as np
from astropy.table import Table

from spfast.config import Config
from spfast.data.spectra.features import MAGNITUDE_COLUMNS
from spfast.data.write_survey import SurveyWriter
from spfast.model.layout import MAGNITUDES, FeatureLayout

N_PIXELS = 60
#: Pixels as they are; the default is a low-rank model.
RAW = Config().replace(fit={"pixels": "raw"})
#: Of the low-rank model: a small one is learned in no time.
RANK = 4
#: Added to the true parallaxes, as by Gaia [mas].
ZERO_POINT = -0.0483


def tiny_survey(path, n_stars=400, seed=3, edit=None, gaia_release="dr2"):
    """Write a survey of ``n_stars`` x (1 + 8 + 60) features whose parallaxes follow the model exactly, plus noise.

    ``edit(stars)`` may change the star table before it is written. Returns the survey and its truth table.
    """
    rng = np.random.default_rng(seed)
    layout = FeatureLayout(tuple(range(300, 300 + N_PIXELS)))
    n_magnitudes = len(MAGNITUDES)
    features = np.zeros((n_stars, layout.n_features), dtype=np.float32)
    features[:, 0] = 1.0
    colours = rng.normal(0.0, 0.3, (n_stars, n_magnitudes))
    features[:, 1 : 1 + n_magnitudes] = rng.uniform(8.0, 14.0, (n_stars, 1)) + colours
    features[:, 1 + n_magnitudes :] = -np.abs(rng.normal(0.0, 0.15, (n_stars, N_PIXELS)))
    coef = np.zeros(layout.n_features)
    coef[0] = 5.2
    coef[1 : 1 + n_magnitudes] = -0.4605 / n_magnitudes
    coef[1 + n_magnitudes : 1 + n_magnitudes + 8] = 0.4
    true = np.exp(features.astype(np.float64) @ coef)
    errors = np.full_like(features, 0.02)
    errors[:, 0] = 0.0

    parallax_error = rng.uniform(0.03, 0.1, n_stars)
    number = np.arange(n_stars)
    stars = Table(
        {
            "APOGEE_ID": [f"2M{i:08d}+{i:07d}" for i in number],
            "source_id": (number + 1) * 7919 * 1000003,
            "ra": rng.uniform(0, 360, n_stars),
            "dec": rng.uniform(-90, 90, n_stars),
            "parallax": true + ZERO_POINT + rng.normal(0.0, parallax_error),
            "parallax_error": parallax_error,
            "random_index": rng.permutation(n_stars),
            "visibility_periods_used": np.full(n_stars, 12),
            "astrometric_chi2_al": np.full(n_stars, 300.0),
            "astrometric_n_good_obs_al": np.full(n_stars, 200),
            "training_set": number % 3 > 0,
            "STARFLAG": np.zeros(n_stars, dtype=np.int64),
            "ASPCAPFLAG": np.zeros(n_stars, dtype=np.int64),
            "n_bad_pixels": np.zeros(n_stars, dtype=np.int32),
            **{column: features[:, 1 + MAGNITUDES.index(band)] for band, (column, _) in MAGNITUDE_COLUMNS.items()},
        }
    )
    if edit is not None:
        edit(stars)
    config = Config().replace(features={"rank": RANK})
    with SurveyWriter(path, layout, n_stars) as writer:
        writer.features[:], writer.feature_errors[:] = features, errors
        told = {"gaia_release": gaia_release}  # the zero point is that of DR2
        survey = writer.finish(stars, cut_flow=[("rows of allStar", n_stars)], config=config, provenance=told)
    return survey, Table({"APOGEE_ID": stars["APOGEE_ID"], "true_parallax": true})
