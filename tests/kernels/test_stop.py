"""Threads end when nobody waits for their work any more: after a fault of one of them, or a signal to their caller."""

import signal
import threading
import time

import numpy as np
import pytest
from problems import small_problem

import spfast
from spfast.kernels.stop import Stopped, obey, raise_if_stopped, this_thread
from spfast.kernels.team import Team, side_by_side
from spfast.model.mixture import fit_mixture, fit_scatter
from spfast.solvers import SOLVERS
from spfast.warmup import warm_up

#: What is asked to end has this long [s]; the work itself would take minutes.
SOON = 2.0


@pytest.fixture(scope="module", autouse=True)
def _compiled():
    warm_up(threads=2)


def endless(threads):
    """A job that only the flag ends."""
    while True:
        raise_if_stopped()
        time.sleep(0.001)


def endless_fit(solver):
    """A fit that would take minutes: a tolerance that rounding never reaches, on few rows and for ever."""
    problem = small_problem(n_stars=400, n_pixels=300)
    noise = np.random.default_rng(0)

    def fit(threads):
        while True:
            parallax = problem.parallax + 0.01 * noise.normal(size=problem.parallax.size)
            options = {"penalized": problem.penalized, "threads": threads, "solver": solver, "tolerance": 0.0}
            with np.errstate(all="ignore"):
                spfast.Fitter(problem.design, parallax, problem.error, **options).fit(0.5)

    return fit


def raised_after(seconds, number, work):
    """What a signal raises out of some work, and how long after it (the exception, seconds)."""
    sent, main = [], threading.get_ident()

    def send():
        sent.append(time.monotonic())
        signal.pthread_kill(main, number)

    before = signal.signal(number, signal.default_int_handler)
    timer = threading.Timer(seconds, send)
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt) as raised:
            work()
        return raised.value, time.monotonic() - sent[0]
    finally:
        timer.cancel()
        signal.signal(number, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("n_jobs", [1, 2, 5])
def test_signal_ends_jobs_side_by_side(number, n_jobs):
    running = threading.active_count()
    _, seconds = raised_after(0.2, number, lambda: side_by_side([endless] * n_jobs, threads=2))
    assert seconds < SOON
    assert threading.active_count() <= running + 1  # the timer


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("threads", [2, 4])
def test_signal_ends_fits_side_by_side(solver, threads):
    work = [endless_fit(solver)] * 2
    _, seconds = raised_after(1.0, signal.SIGTERM, lambda: side_by_side(work, threads=threads))
    assert seconds < SOON


@pytest.mark.parametrize("threads", [1, 3])
def test_signal_leaves_no_share_to_the_threads_of_a_team(threads):
    done = []

    def kernel(first, last):
        done.append(first)
        time.sleep(0.3)

    with Team(threads) as team:
        _, seconds = raised_after(0.1, signal.SIGINT, lambda: team.run(kernel, 100))
    assert seconds < SOON
    assert len(done) <= threads


def test_signal_ends_jobs_that_jobs_have_begun():
    def begin(threads):
        return side_by_side([endless, endless], threads)

    error, seconds = raised_after(0.2, signal.SIGINT, lambda: side_by_side([begin, begin], threads=4))
    assert isinstance(error, KeyboardInterrupt)
    assert seconds < SOON


def test_fault_of_one_job_ends_the_others_and_is_raised():
    def fault(threads):
        time.sleep(0.05)
        raise ValueError("the second")

    start = time.monotonic()
    with pytest.raises(ValueError, match="the second"):
        side_by_side([endless, fault, endless], threads=3)
    assert time.monotonic() - start < SOON


def test_first_of_two_faults_is_raised():
    both = threading.Barrier(2)

    def fault(text):
        def job(threads):
            both.wait()
            raise ValueError(text)

        return job

    with pytest.raises(ValueError, match=r"one|two"):
        side_by_side([fault("one"), fault("two")], threads=2)


@pytest.mark.parametrize("threads", [1, 2])
def test_fault_of_one_share_ends_the_others(threads):
    done = []

    def kernel(first, last):
        done.append(first)
        if first == 0:
            raise ValueError("share 0")
        time.sleep(0.1)

    with Team(threads) as team, pytest.raises(ValueError, match="share 0"):
        team.run(kernel, 100)
    assert len(done) <= threads
    assert done[0] == 0


def test_jobs_give_what_they_return_in_order_whatever_ends_first():
    def job(number):
        def run(threads):
            time.sleep(0.05 * (3 - number))
            return number, threads

        return run

    assert side_by_side([job(n) for n in range(4)], threads=2) == [(n, 1) for n in range(4)]
    assert side_by_side([], threads=2) == []
    assert this_thread() is None


@pytest.mark.parametrize(
    "search",
    [
        lambda r: fit_mixture(r, np.full(50, 0.1), np.ones(50)),
        lambda r: fit_scatter(r, np.full(50, 0.1), np.ones(50)),
    ],
    ids=["mixture", "scatter"],
)
def test_searches_look_at_the_flag(search):
    residual, flag = np.random.default_rng(0).normal(0.0, 0.2, 50), threading.Event()
    try:
        obey(flag)
        search(residual)
        flag.set()
        with pytest.raises(Stopped):
            search(residual)
    finally:
        obey(None)


@pytest.mark.parametrize("n_pieces", [0, 1, 2, 7, 100])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_piece_is_done_once(n_pieces, threads):
    done = []
    with Team(threads) as team:
        team.run(lambda first, last: done.extend(range(first, last)), n_pieces)
    assert sorted(done) == list(range(n_pieces))
