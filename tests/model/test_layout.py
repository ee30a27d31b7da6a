"""Layouts: they name their columns, and refuse what does not fit."""

import numpy as np
import pytest
from tiny import tiny_survey

import spfast
from spfast.errors import BadInputError
from spfast.model.layout import FeatureLayout
from spfast.training.fold import fit_stars


def test_a_layout_with_columns_or_pixels_out_of_order_is_refused():
    layout = FeatureLayout((5, 6))
    assert layout.wavelength.shape == (layout.n_features,)
    features = layout.to_dict()["features"]
    with pytest.raises(BadInputError, match="expected a constant, then magnitudes, then pixels"):
        FeatureLayout.from_dict({"features": [features[1], features[0], *features[2:]]})
    with pytest.raises(BadInputError, match="pixels must increase strictly within"):
        FeatureLayout((6, 5))


def test_a_model_is_refused_on_a_survey_that_lacks_its_pixels(tmp_path):
    survey, _ = tiny_survey(tmp_path / "s", n_stars=60)
    stars = survey.stars
    model = spfast.fit(
        survey.features,
        np.array(stars["parallax"]),
        np.array(stars["parallax_error"]),
        penalty=1.0,
        penalized=survey.layout.penalized,
        layout=survey.layout,
        threads=1,
    )
    low_rank = fit_stars(survey, threads=1)
    assert low_rank.for_layout(FeatureLayout(tuple(range(310, 400)))) is low_rank
    for layout, lacking in [
        (FeatureLayout(tuple(range(5000, 5060))), "every pixel"),
        (FeatureLayout(survey.layout.pixels, ("G", "BP", "J")), "RP"),
    ]:
        with pytest.raises(BadInputError, match=f"lacks {lacking}, which the model uses; .*same release"):
            low_rank.for_layout(layout)
    with pytest.raises(BadInputError, match=r"lacks \d+ of the \d+ columns that the model uses .*same release"):
        model.for_layout(FeatureLayout(tuple(range(5000, 5060))))
