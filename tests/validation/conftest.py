"""Fixtures of the validation's tests: a mock catalog with honest errors; a tiny survey with its two models."""

import numpy as np
import pytest
from mock_catalog import mock
from tiny import tiny_survey

from spfast.config import resolve_config
from spfast.training.fold import fit_folds


@pytest.fixture(scope="package")
def honest():
    return mock()


@pytest.fixture(scope="package")
def survey(tmp_path_factory):
    def with_colours(stars):
        rng = np.random.default_rng(5)
        stars["H"] = rng.uniform(8.0, 12.0, len(stars))
        stars["w2mpro"] = stars["H"] - rng.uniform(0.0, 0.4, len(stars))
        stars["SNR"] = rng.uniform(50.0, 500.0, len(stars))

    return tiny_survey(tmp_path_factory.mktemp("checks") / "survey", edit=with_colours)[0]


@pytest.fixture(scope="package")
def models(survey):
    return fit_folds(survey, resolve_config(penalty=5.0), threads=1)
