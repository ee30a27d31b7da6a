"""Objective against time on Problem F: ours, the paper's way, and the solvers a user would try; a JSON and a plot.

    /tmp/peers/bin/python asv_bench/curves.py --limit 120 --json curves.json --plot docs/images/benchmark_curves.svg
    python asv_bench/curves.py --draw curves.json --plot docs/images/benchmark_curves.svg      only the plot again

asv_bench/requirements-peers.txt says how to make /tmp/peers. A method whose package is missing is left out.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

MODULES = {"scikit-learn": "sklearn"}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=float, default=120.0, metavar="SECONDS", help="of each method (default: 120)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, metavar="N", help="training stars (default: 14,113; to try it out)")
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="only these")
    parser.add_argument("--json", metavar="FILE", help="write the curves; those of methods not run now are kept")
    parser.add_argument("--draw", metavar="FILE", help="read curves instead of running")
    parser.add_argument("--plot", metavar="FILE", help="draw the plot (needs matplotlib)")
    parser.add_argument("--one", metavar="NAME", help=argparse.SUPPRESS)
    return parser.parse_args()


def run_one(args):
    """Run one method in this process; its points go to standard output, one a line."""
    from benchmarks.peers import METHODS, Run
    from benchmarks.problem import N_FOLD, make_survey, open_problem

    n_train = args.rows or N_FOLD
    problem = open_problem(make_survey(n_train, n_folds=2), n_train, n_folds=2).warm()
    warnings.simplefilter("ignore")  # that a method is stopped early is the point here
    METHODS[args.one][3](Run(problem, args.threads, args.limit))


def run_all(args):
    from benchmarks.machine import describe, load
    from benchmarks.peers import METHODS

    record = {"curves": {}}
    if args.json and Path(args.json).exists():
        record = json.loads(Path(args.json).read_text())
    packages = sorted({"numpy", "numba", *(method[2] for method in METHODS.values())})
    record |= {"machine": describe(packages), "limit": args.limit, "threads": args.threads}
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, str(args.threads))
    for name in args.methods or METHODS:
        label, settings, package, _ = METHODS[name]
        if importlib.util.find_spec(MODULES.get(package, package)) is None:
            print(f"{label}: {package} is not installed, left out (asv_bench/requirements-peers.txt)")
            continue
        call = [sys.executable, __file__, "--one", name, "--limit", str(args.limit), "--threads", str(args.threads)]
        call += ["--rows", str(args.rows)] if args.rows else []
        done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
        points = [[float(x) for x in line.split()] for line in done.stdout.splitlines()]
        points = [point for point in points if point[0] <= args.limit] or points[:1]
        if done.returncode or not points:
            print(f"{label}: failed: {done.stderr.strip().splitlines()[-1:]}")
            continue
        record["curves"][name] = {"label": label, "settings": settings, "load": load(), "points": points}
        print(f"{label}: {len(points)} points, {points[-1][1]:.3f} after {points[-1][0]:.2f} s", flush=True)
        if args.json:
            Path(args.json).write_text(json.dumps(record, indent=1))
    return record


#: Okabe & Ito's colours, told apart with any colour vision; with a marker each, also in grey.
STYLE = {
    "prox-newton": ("#D55E00", "o"),
    "owlqn": ("#0072B2", "s"),
    "paper": ("#000000", "^"),
    "split": ("#999999", "v"),
    "skglm": ("#009E73", "D"),
    "adelie": ("#CC79A7", "P"),
    "celer": ("#56B4E9", "X"),
    "sklearn": ("#E69F00", "*"),
}
#: Below this a relative distance from the best objective is rounding.
FLOOR = 1e-10


def draw(record, path):
    """Draw relative objective above the best seen against seconds, both logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np

    plt.rcParams.update({"font.size": 10, "svg.fonttype": "none", "svg.hashsalt": "spfast"})
    best = min(value for curve in record["curves"].values() for _, value in curve["points"])
    figure, axes = plt.subplots(figsize=(8.0, 5.0), layout="constrained")
    for name, (colour, marker) in STYLE.items():
        if name not in record["curves"]:
            continue
        curve = record["curves"][name]
        seconds, values = np.array(curve["points"]).T
        lowest = np.minimum.accumulate(values)
        above = np.maximum((lowest - best) / best, FLOOR)
        every = max(1, len(seconds) // 12)
        axes.plot(
            np.maximum(seconds, 1e-2),
            above,
            color=colour,
            marker=marker,
            markevery=every,
            markersize=6,
            lw=1.6,
            label=curve["label"],
            drawstyle="steps-post",
        )
    axes.set(xscale="log", yscale="log", xlabel="wall time [s]", ylabel="objective above the best, relative")
    axes.set_ylim(FLOOR / 2, 30)
    axes.axhline(1e-6, color="0.7", lw=0.8, zorder=0)
    axes.grid(color="0.92", zorder=0)
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.savefig(path, metadata={"Date": None} if str(path).endswith(".svg") else None, dpi=150)


def main():
    args = parse()
    if args.one:
        return run_one(args)
    record = json.loads(Path(args.draw).read_text()) if args.draw else run_all(args)
    if args.plot:
        draw(record, args.plot)


if __name__ == "__main__":
    main()
