"""A survey larger than memory gives the catalog that it gives in memory, to the bit, in few reads."""

import numpy as np
import pytest
from low_rank_survey import low_rank_survey

import spfast
from spfast.config import Config
from spfast.reads import reader


@pytest.mark.parametrize("pixels", ["raw", "low-rank"])
@pytest.mark.parametrize("penalty", [30.0, "auto"])
def test_a_catalog_has_the_same_bits(tmp_path, monkeypatch, pixels, penalty):
    survey = low_rank_survey(tmp_path / "survey", 200)
    config = Config().replace(fit={"pixels": pixels}, tune={"penalties": [60.0, 30.0]})
    catalogs, n_callers, read = [], [], reader.Reader._read

    def counted(self, design, jobs):
        n_callers.append(len(jobs))
        return read(self, design, jobs)

    for share in (reader._MEMORY_SHARE, 0.0):
        monkeypatch.setattr(reader, "_MEMORY_SHARE", share)
        if share == 0.0:
            monkeypatch.setattr(reader.Reader, "_read", counted)
        catalogs.append(spfast.make_catalog(survey, penalty, config=config, threads=2))
    in_memory, on_disk = catalogs
    for name in in_memory.colnames:
        assert np.asarray(in_memory[name]).tobytes() == np.asarray(on_disk[name]).tobytes(), name
    # Five fits that hold stars out, of each of two folds; coordinates of the folds are two matrices.
    assert max(n_callers) >= (10 if pixels == "raw" else 5)
