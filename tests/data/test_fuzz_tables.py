"""allStar and Gaia tables, damaged and nonsensical: one line or a right answer, never anything else."""

import numpy as np
import pytest
from fuzzing import EACH_SUFFIX, HOW, SUFFIXES, damaged, edited, fuzz, miswritten_cards, outcome, write
from small_survey import spectra, tables

from spfast.data.allstar import read_allstar
from spfast.data.gaia import read_gaia

N_STARS = 6
ALLSTAR, GAIA = tables(spectra(N_STARS)[0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def check_types(table):
    """What every answer keeps: plain columns of one value a row, missing numbers NaN and never infinite."""
    for name in table.colnames:
        values = np.asarray(table[name])
        assert values.ndim == 1
        assert values.dtype.kind in "Ufi"
        assert values.dtype.isnative
        if values.dtype.kind == "f":
            assert not np.isinf(values).any()


@pytest.fixture(scope="module")
def allstar(folder):
    path = folder / "whole_allstar.fits"
    ALLSTAR.write(path)
    return path.read_bytes(), read_allstar(path)


@fuzz
def test_allstar(folder, allstar, data):
    path, (content, whole) = folder / "allStar.fits", allstar
    how = data.draw(HOW)
    if how == "columns":
        case = data.draw(edited(ALLSTAR))
        write(case.table, path)
        result = outcome(read_allstar, path)
        if result is not None:
            case.check(result, whole)
    else:
        path.write_bytes(data.draw((damaged if how == "bytes" else miswritten_cards)(content)))
        result = outcome(read_allstar, path)
    if result is not None:
        check_types(result)


@pytest.fixture(scope="module")
def gaia(folder):
    whole = {}
    for suffix in SUFFIXES:
        path = folder / f"whole.{suffix}"
        write(GAIA, path)
        whole[suffix] = path.read_bytes(), read_gaia(path)
    return whole


@pytest.mark.parametrize("suffix", EACH_SUFFIX)
@fuzz
def test_gaia(folder, gaia, suffix, data):
    path, (content, whole) = folder / f"gaia.{suffix}", gaia[suffix]
    how = data.draw(HOW)
    if how == "columns":
        case = data.draw(edited(GAIA))
        write(case.table, path)
        result = outcome(read_gaia, path)
        if result is not None:
            case.check(result, whole)
    else:
        path.write_bytes(data.draw((miswritten_cards if how == "cards" and suffix == "fits" else damaged)(content)))
        result = outcome(read_gaia, path)
    if result is not None:
        check_types(result)
