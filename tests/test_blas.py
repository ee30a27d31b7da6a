"""BLAS has one thread while the package works, and a command's bytes do not depend on what it had before."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg  # noqa: F401  its BLAS is another one than numpy's
from threadpoolctl import threadpool_info, threadpool_limits
from tiny import tiny_survey

import spfast
from spfast.blas import one_blas_thread
from spfast.kernels.team import side_by_side
from spfast.model.learn_low_rank import learn_low_rank

VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def blas_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


@pytest.fixture
def two():
    """BLAS with two threads, as on a machine with two processors."""
    with threadpool_limits(2, "blas"):
        before = blas_threads()
        if 1 in before or not before:
            pytest.skip("this BLAS has no second thread")
        yield before


def test_blas_has_one_thread_inside_and_its_own_number_after(two):
    with one_blas_thread():
        assert set(blas_threads()) == {1}
        with one_blas_thread():
            pass
        assert set(blas_threads()) == {1}
    assert blas_threads() == two
    with pytest.raises(ZeroDivisionError), one_blas_thread():
        _ = 1 / 0
    assert blas_threads() == two


def test_the_last_context_to_leave_restores_blas(two):
    first, second = one_blas_thread(), one_blas_thread()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert set(blas_threads()) == {1}
    second.__exit__(None, None, None)
    assert blas_threads() == two


def test_blas_has_one_thread_in_jobs_side_by_side(two):
    assert all(set(found) == {1} for found in side_by_side([lambda threads: blas_threads()] * 2, 2))
    assert blas_threads() == two


def test_blas_has_one_thread_while_spectra_are_learned(two):
    rng, found = np.random.default_rng(0), []
    flux, errors = rng.normal(size=(2, 80, 30)).astype(np.float32)
    low_rank = learn_low_rank(flux, np.abs(errors), rank=2, say=lambda n: found.append(blas_threads()))
    assert found
    assert all(set(threads) == {1} for threads in found)
    assert low_rank is not None
    assert blas_threads() == two


def test_a_catalog_has_the_same_bytes_whatever_the_threads_as_users_run_it(tmp_path):
    survey, _ = tiny_survey(tmp_path / "survey")
    users = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    users["PYTHONPATH"] = os.pathsep.join([str(Path(spfast.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    catalogs = []
    for threads, changes in ((1, {}), (2, {}), (2, {"OPENBLAS_NUM_THREADS": "1"})):
        out = tmp_path / f"catalog{len(catalogs)}.fits"
        call = [sys.executable, "-m", "spfast", "catalog", survey.path, "-o", out, "--threads", threads, "--quiet"]
        subprocess.run([str(part) for part in call], env=users | changes, check=True)
        catalogs.append(out.read_bytes())
    assert catalogs[0] == catalogs[1] == catalogs[2]
