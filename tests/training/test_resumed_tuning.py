"""A tuning that goes on gives what a new one gives, whichever setting was changed in between."""

import dataclasses

import numpy as np
import pytest
from tiny import tiny_survey

from spfast.config import LATER, Config
from spfast.training import tune as module
from spfast.training.tune import tune

#: Values of settings that a small change of the default does not give.
OTHERS = {
    "penalty": 60.0,
    "zero_point": 0.02,
    "tolerance": 1e-6,
    "max_iterations": 3,
    "outlier_share": 0.1,
    "outlier_width": 8.0,
    "seed": 7,
    "group": "GROUP",
    "inner_folds": 4,
    "repeats": 2,
    "pixel_correlation": (0.4, 0.1),
    "penalties": (40.0, 20.0),
    "zero_points": (0.02,),
    "zero_point_covariates": "G",
    "rank": 5,
    "products": 2,
}
#: Settings that go with others.
WITH = {
    "zero_point_covariates": {"fit": {"zero_point_rule": "fit"}},
    "pixel_correlation": {"fit": {"pixels": "raw"}},
}
BASES = {
    "plain": ({"fit": {}}, {}),
    "within A": ({"fit": {"intrinsic_scatter": True, "pixels": "raw"}}, {"fold": "A", "n_folds": 3}),
}
SETTINGS = [
    (section, field)
    for section in LATER
    if section != "galaxy"
    for field in dataclasses.fields(getattr(Config(), section))
]


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    def edit(stars):
        stars["parallax_error"] *= 0.3  # enough bright stars for the paper's start
        stars["GROUP"] = np.arange(len(stars)) // 3

    return tiny_survey(tmp_path_factory.mktemp("resumed") / "survey", n_stars=200, edit=edit)[0]


def other(section, field):
    """The settings of a section with another value of one of them."""
    default = getattr(getattr(Config(), section), field.name)
    if field.name in OTHERS:
        value = OTHERS[field.name]
    elif isinstance(default, bool):
        value = not default
    else:
        value = next(choice for choice in field.metadata["choices"][::-1] if choice not in (default, "fit"))
    more = WITH.get(field.name, {})
    return more | {section: {field.name: value, **more.get(section, {})}}


@pytest.mark.filterwarnings("ignore::spfast.errors.SpfastWarning")
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(("section", "field"), SETTINGS, ids=[f"{section}.{field.name}" for section, field in SETTINGS])
def test_points_of_other_settings_are_not_taken_over(survey, tmp_path, base, section, field):
    settings, options = BASES[base]
    config = Config().replace(tune={"penalties": [20.0], "zero_points": [0.05], "inner_folds": 3}).replace(**settings)
    options = options | {"threads": 1}
    tune(survey, config=config, resume=tmp_path / "points.jsonl", **options)
    changed = config.replace(**other(section, field))
    resumed, _ = tune(survey, config=changed, resume=tmp_path / "points.jsonl", **options)
    anew, _ = tune(survey, config=changed, **options)
    assert resumed.points == anew.points


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(
    "changed", [{}, {"galaxy": {"sun_distance": 8.2}}, {"errors": {"repeats": 3, "coefficients": "splits"}}]
)
def test_points_are_taken_over_with_other_threads_and_settings_that_they_do_not_depend_on(
    survey, tmp_path, base, changed
):
    settings, options = BASES[base]
    config = Config().replace(tune={"penalties": [20.0], "zero_points": [0.05], "inner_folds": 3}).replace(**settings)
    tune(survey, config=config, resume=tmp_path / "points.jsonl", threads=1, **options)
    said = []
    tune(
        survey,
        config=config.replace(**changed),
        resume=tmp_path / "points.jsonl",
        threads=2,
        say=said.append,
        **options,
    )
    assert any(line.startswith("going on from") for line in said)


@pytest.mark.parametrize("argument", [{"fold": "A"}, {"fold": "B"}, {"n_folds": 4}, {"repeats": 2}])
def test_points_of_other_arguments_are_not_taken_over(survey, tmp_path, argument):
    options = {"penalties": [20.0], "zero_points": [0.05], "n_folds": 3, "threads": 1}
    tune(survey, resume=tmp_path / "points.jsonl", **options)
    resumed, _ = tune(survey, resume=tmp_path / "points.jsonl", **options | argument)
    assert resumed.points == tune(survey, **options | argument)[0].points


def test_points_of_another_version_are_not_taken_over(survey, tmp_path, monkeypatch):
    options = {"penalties": [20.0], "zero_points": [0.05], "threads": 1, "resume": tmp_path / "points.jsonl"}
    tune(survey, **options)
    monkeypatch.setattr(module, "__version__", "0.0")
    said = []
    tune(survey, **options, say=said.append)
    assert not any(line.startswith("going on from") for line in said)
