"""Which spectra a survey's pixels and factors are found from."""

import numpy as np
import pytest
from small_survey import write_download

from spfast.data import survey_sample
from spfast.data.ingest import ingest
from spfast.data.survey_sample import _in_turn


@pytest.mark.parametrize("n_rows", [1, 2, 511, 512, 513, 3000])
def test_every_row_has_its_turn_once_and_the_first_are_spread_evenly(n_rows):
    rows = list(_in_turn(n_rows))
    assert sorted(rows) == list(range(n_rows))
    n_first = min(512, n_rows)
    assert rows[:n_first] == np.linspace(0, n_rows - 1, n_first).astype(int).tolist()


def test_spectra_that_cannot_be_used_give_their_place_in_the_sample_to_others(tmp_path, config, monkeypatch):
    monkeypatch.setattr(survey_sample, "N_SPECTRA", 4)
    download = write_download(tmp_path / "in", n=12)
    for file in sorted(download[1].rglob("*.fits"))[::3]:
        file.write_bytes(b"no spectrum")
    survey = ingest(*download, tmp_path / "out", config=config, quiet=True)
    assert survey.n_stars == 8
    assert survey.info["bad_pixels"]["spectra"] == 4
