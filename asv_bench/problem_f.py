"""Measure spfast on Problem F and print the table of docs/benchmarks.rst, every row a ratio from this run.

    python asv_bench/problem_f.py                        the quick rows, about two minutes
    python asv_bench/problem_f.py --paper 300            also the paper's way, for five minutes
    python asv_bench/problem_f.py --large                also 8 x the stars: 9 GB on disk, deleted after

The survey is simulated at the first run (a minute) and kept in SPFAST_BENCH_DIR, or in a folder for temporary files.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="threads of every row, the yardsticks' too (default: 2)")
    parser.add_argument("--repeat", type=int, default=5, help="repetitions of each row, medians count (default: 5)")
    parser.add_argument("--paper", type=float, default=0.0, metavar="SECONDS", help="run the paper's way for so long")
    parser.add_argument("--large", action="store_true", help="also N = 112,904")
    parser.add_argument(
        "--rows", type=int, metavar="N", help="training stars of a fold (default: 14,113; to try it out)"
    )
    parser.add_argument("--json", metavar="FILE", help="write all samples to a file")
    parser.add_argument("--peak-of", nargs=2, metavar=("SURVEY", "N"), help=argparse.SUPPRESS)
    return parser.parse_args()


ARGS = parse()
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = str(ARGS.threads)  # before numpy is imported
# OpenBLAS's threads spin for a while after each product, on the processors that the next row in turn is measured on.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")

import numpy as np  # noqa: E402
from benchmarks import machine  # noqa: E402
from benchmarks.problem import N_FOLD, PENALTY, make_survey, open_problem  # noqa: E402
from benchmarks.yardsticks import paper_way, reads  # noqa: E402

import spfast  # noqa: E402
from spfast.kernels.team import Team, side_by_side  # noqa: E402

GRID = np.geomspace(300.0, 10.0, 10)
#: The factor of the large problem, and passes of a round of the kernels.
LARGE, KERNEL_ROUNDS = 8, 9
TOLERANCE, TIGHT = 1e-3, 3e-5


class Table:
    """Prints rows as they are measured and keeps their samples."""

    def __init__(self):
        self.rows, self.samples = [], {}
        print(f"{'what':<58} {'at most':>9} {'measured':>9}  yardstick", flush=True)

    def add(self, what, limit, measured, unit, yardstick):
        self.rows.append({"what": what, "at_most": limit, "measured": measured, "unit": unit, "yardstick": yardstick})
        mark = "" if measured <= limit else "   NOT REACHED"
        print(f"{what:<58} {limit:>7.4g} {unit} {measured:>7.3g} {unit}  {yardstick}{mark}", flush=True)


def timed(function):
    begin = time.perf_counter()
    result = function()
    return time.perf_counter() - begin, result


def interleaved(functions, repeat):
    """Time the functions in turn, so that a busy moment slows all of them: name -> list of seconds."""
    samples = {name: [] for name in functions}
    for _ in range(repeat):
        for name, function in functions.items():
            samples[name].append(timed(function)[0])
    return samples


def ratio(samples, what, yardstick):
    """Return the median of the ratios of all turns."""
    return float(np.median(np.array(samples[what]) / np.array(samples[yardstick])))


def ms(samples, name):
    return f"{1e3 * np.median(samples[name]):.1f} ms"


def kernels(table, problem, model):
    with Team(ARGS.threads) as team:
        objective = problem.objective(team)
        eta, gradient = np.empty(objective.n_rows), np.empty(objective.n_features)
        functions = {"fused": lambda: objective.smooth(model.coef, eta, gradient)} | reads(objective, model.coef)
        interleaved(functions, 1)
        samples = interleaved(functions, KERNEL_ROUNDS * ARGS.repeat)
    fastest = min(samples.keys() - {"fused"}, key=lambda name: np.median(samples[name]))
    what, yardstick = f"fused value and gradient ({ms(samples, 'fused')})", f"{fastest} ({ms(samples, fastest)})"
    table.add(what, 1.25, ratio(samples, "fused", fastest), "x", f"the fastest read of X: {yardstick}")
    table.samples |= samples
    return yardstick, float(np.median(samples[fastest]))


def fit(problem, threads=ARGS.threads, fold=0, **options):
    options = problem.arguments(fold, threads) | options
    return spfast.fit(*problem.data, penalty=PENALTY, **options)


def cold(table, problem, yardstick, read):
    tight = fit(problem, tolerance=TIGHT).result.objective
    samples = [timed(lambda: fit(problem)) for _ in range(ARGS.repeat)]
    seconds = [s for s, _ in samples]
    result, median = samples[-1][1].result, float(np.median(seconds))
    table.samples["cold"] = seconds
    what = f"cold fit ({median:.2f} s, {result.n_passes} reads, {samples[-1][1].n_nonzero} non-zero)"
    table.add(what, 70.0, median / read, "x", yardstick)
    above = (result.objective - tight) / tight
    table.add("its objective above the optimum", 1e-6, above, "x", f"objective at KKT {TIGHT:g} lambda ({tight:.4f})")
    table.add("its KKT violation", 1e-3, result.kkt_violation / PENALTY, "x", "lambda")
    return median


def path(table, problem, one_cold):
    def one_fold(fold):
        def job(threads):
            return spfast.fit_path(*problem.data, penalties=GRID, **problem.arguments(fold, threads))

        return job

    samples = []
    for _ in range(max(1, ARGS.repeat // 2)):
        seconds, paths = timed(lambda: side_by_side([one_fold(0), one_fold(1)], ARGS.threads))
        samples.append(seconds)
    table.samples["path"] = samples
    slow = [m.penalty for models in paths for m in models if not m.result.converged]
    assert not slow, f"not converged at {slow}"
    median = float(np.median(samples))
    table.add(f"path of 10, 300 to 10, both folds ({median:.1f} s)", 5.0, median / one_cold, "x", "one cold fit")
    print("  by penalty, of both folds, each with its part of the threads:")
    for models in zip(*paths, strict=True):
        text = ", ".join(
            f"{m.result.seconds:5.2f} s {m.result.n_passes:3d} reads {m.n_nonzero:5d} kept" for m in models
        )
        print(f"    lambda {models[0].penalty:5.1f}: {text}")


def zero_points(table, problem, one_cold):
    options, samples = problem.arguments(0, ARGS.threads), []
    zero_point = options.pop("zero_point")
    with spfast.Fitter(*problem.data, penalized=problem.layout.penalized, **options) as fitter:
        fitter.fit(PENALTY, zero_point=zero_point)
        for k in range(1, ARGS.repeat + 1):
            seconds, model = timed(lambda k=k: fitter.fit(PENALTY, zero_point=zero_point + 0.02 * k))
            assert model.result.converged
            samples.append(seconds)
    table.samples["zero point"] = samples
    median = float(np.median(samples))
    table.add(f"each further zero point, +0.02 mas ({median:.2f} s)", 0.25, median / one_cold, "x", "one cold fit")


def paper(table, problem, one_cold):
    print(f"  the paper's way, {ARGS.paper:g} s ...", flush=True)
    history = paper_way(problem, PENALTY, ARGS.paper)
    objective = history[-1][1]
    table.samples["paper"] = history
    whole, model = timed(lambda: fit(problem))
    result = model.result
    reached = result.history["objective"] <= objective
    ours = whole - result.seconds + result.history["seconds"][np.argmax(reached)] if reached.any() else np.inf
    optimum = result.objective
    print(f"  it ended {100 * (objective - optimum) / optimum:.2f}% above the optimum; we are there after {ours:.2f} s")
    what = f"cold fit ({one_cold:.2f} s)"
    table.add(what, 1 / 200, one_cold / ARGS.paper, "x", f"the paper's way ({ARGS.paper:g} s)")
    table.add(f"to the objective that it reached ({ours:.2f} s)", 1 / 200, ours / ARGS.paper, "x", "the same")


def peak(survey, n_train):
    """Measure the anonymous memory of a fresh process: before a cold fit, and the peak during it [MiB]."""
    call = [sys.executable, __file__, "--threads", str(ARGS.threads), "--peak-of", str(survey), str(n_train)]
    output = subprocess.run(call, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def measure_peak(survey, n_train):
    problem = open_problem(survey, n_train)
    before, most, done = machine.anonymous_memory(), [0.0], threading.Event()

    def sample():
        while not done.wait(0.002):
            most[0] = max(most[0], machine.anonymous_memory())

    sampler = threading.Thread(target=sample)
    sampler.start()
    model = fit(problem)
    done.set()
    sampler.join()
    print(json.dumps({"before": before, "peak": most[0], "converged": model.result.converged}))


def memory(table, survey, n_train):
    measured = peak(survey, n_train)
    table.samples[f"memory {n_train}"] = measured
    what = f"peak anonymous memory of a process with one fit, N = {n_train:,}"
    note = f"GiB; of them {measured['before'] / 1024:.2f} before the fit"
    table.add(what, 0.5, measured["peak"] / 1024, "GiB", note)


def large(table, one_cold):
    n_train = LARGE * N_FOLD
    survey = make_survey(n_train)
    try:
        memory(table, survey, n_train)
        problem = open_problem(survey, n_train).warm()
        samples = [timed(lambda: fit(problem))[0] for _ in range(max(1, ARGS.repeat // 2))]
        table.samples["large"] = samples
        median = float(np.median(samples))
        table.add(f"cold fit with N = {n_train:,} ({median:.1f} s)", 9.0, median / one_cold, "x", "one cold fit")
    finally:
        shutil.rmtree(survey)


def main():
    if ARGS.peak_of:
        return measure_peak(Path(ARGS.peak_of[0]), int(ARGS.peak_of[1]))
    n_train = ARGS.rows or N_FOLD
    survey = make_survey(n_train, n_folds=2)
    problem = open_problem(survey, n_train, n_folds=2).warm()
    n_features = problem.layout.n_features
    print(
        f"Problem F: N = {n_train:,}, D = {n_features:,}, float32, lambda = {PENALTY:g}, "
        f"{ARGS.threads} threads, {survey}"
    )
    for name, text in machine.describe().items():
        print(f"  {name}: {text}")
    print(f"  load of the machine before: {machine.load():.1f}")
    model = fit(problem)  # compiles the kernels, or loads them
    table = Table()
    one_cold = cold(table, problem, *kernels(table, problem, model))
    path(table, problem, one_cold)
    zero_points(table, problem, one_cold)
    memory(table, survey, n_train)
    if ARGS.large:
        large(table, one_cold)
    if ARGS.paper:
        paper(table, problem, one_cold)
    if ARGS.json:
        record = {"machine": machine.describe(), "load": machine.load(), "rows": table.rows, "samples": table.samples}
        Path(ARGS.json).write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
