"""Layouts: they name their columns, and refuse what does not fit."""

import json

import numpy as np
import pytest
from tiny import tiny_survey

import spfast
from spfast.errors import BadInputError
from spfast.model.layout import Columns, FeatureLayout
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


def columns(**changes):
    values = {
        "names": ("a", "b", "c"),
        "groups": ("blue", "blue", "red"),
        "kinds": ("pixel", "pixel", "other"),
        "units": ("ln(flux)", "ln(flux)", "mm"),
        "wavelengths": (4000.0, 4000.5, None),
        "scales": (1.0, 1.0, 0.25),
    }
    return Columns(**(values | changes))


def test_a_layout_of_any_columns_says_what_each_is_and_comes_back_from_a_file():
    layout = FeatureLayout.of(columns(), ("G", "i"))
    assert layout.names == ["constant", "G", "i", "a", "b", "c"]
    assert layout.kinds == ["constant", "magnitude", "magnitude", "pixel", "pixel", "other"]
    assert layout.units[-2:] == ["ln(flux)", "mm"]
    np.testing.assert_array_equal(layout.wavelength, [np.nan] * 3 + [4000.0, 4000.5, np.nan])
    assert layout.scale.tolist() == [1, 1, 1, 1, 1, 0.25]
    groups = {name: np.flatnonzero(inside).tolist() for name, inside in layout.groups.items()}
    assert groups == {"blue": [3, 4], "red": [5]}
    assert not layout.is_spectrum
    assert layout.kept([True, True, False]).is_spectrum
    record = json.loads(json.dumps(layout.to_dict()))
    assert FeatureLayout.from_dict(record) == layout
    parts = layout.position_coefs(np.arange(6.0), layout.penalized)
    assert [part.tolist() for part in parts[:-1]] == [[0, 0, 0, 3, 4, 0], [0, 0, 0, 0, 0, 5]]


def test_apogee_is_the_layout_without_columns_and_its_record_is_that_of_older_files():
    layout = FeatureLayout((300, 5000))
    record = layout.to_dict()["features"][-1]
    assert record == {
        "name": "pixel_5000", "kind": "pixel", "wavelength": 16180.8004, "unit": "ln(flux)", "penalized": True
    }  # fmt: skip
    assert FeatureLayout.from_dict(layout.to_dict()) == layout
    assert list(layout.groups) == ["15150-15800 A", "15890-16430 A", "16490-16950 A"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"names": ("a", "a", "c")}, "two columns are named 'a'"),
        ({"names": ("a", "G", "c")}, "two columns are named 'G'"),
        ({"groups": ("blue", "red", "blue")}, "side by side"),
        ({"kinds": ("pixel", "pixel", "line")}, "expected pixel or other"),
        ({"wavelengths": (4000.5, 4000.0, None)}, "of group blue must increase"),
        ({"scales": (1.0, 1.0, 0.0)}, "a number above 0"),
        ({"units": ("", "")}, "a name, a group"),
    ],
)
def test_columns_that_cannot_be_are_refused(changes, text):
    with pytest.raises(BadInputError, match=text):
        FeatureLayout.of(columns(**changes), ("G",))


@pytest.mark.parametrize("key", ["name", "group", "place", "wavelength", "scale", "kind", "unit"])
def test_a_damaged_record_of_columns_is_refused(key):
    for value in (None, [], "x", -1):
        record = FeatureLayout.of(columns(), ("G",)).to_dict()
        if (key, value) == ("wavelength", None) or type(record["features"][3][key]) is type(value) is str:
            continue
        record["features"][3][key] = value
        with pytest.raises(BadInputError, match="layout: "):
            FeatureLayout.from_dict(record)
