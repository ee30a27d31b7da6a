"""Kill a worker of a cluster at a random moment of a catalog, again and again: the bits must be those of one machine.

``python tests/cluster_runs.py --times 20 --seed 1`` (part of ``make crash``). Every fourth time two workers are killed.
"""

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from distributed import Client, LocalCluster
from low_rank_survey import low_rank_survey
from test_cluster import tables_differ

import spfast
from spfast.reads import cluster

N_WORKERS, N_STARS = 3, 2000


def main():
    """Run all of it; exit with 1 if a run differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    random.seed(args.seed)
    cluster._WORTH_SENDING = 0
    config = spfast.Config().replace(fit={"penalty": 100.0, "pixels": "raw"})
    options = {"threads_per_worker": 1, "memory_limit": 0, "dashboard_address": ":0", "silence_logs": 50}
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(n_workers=N_WORKERS, **options) as processes,
        Client(processes) as client,
    ):
        survey = low_rank_survey(Path(folder) / "survey", N_STARS)
        alone = spfast.make_catalog(survey, config=config)
        seconds = []
        for _ in range(2):  # the first time the workers load their kernels
            begin = time.monotonic()
            spfast.make_catalog(survey, config=config, cluster=client)
            seconds.append(time.monotonic() - begin)
        print(f"undisturbed: {seconds[-1]:.1f} s with {N_WORKERS} workers", flush=True)
        n_wrong = 0
        for run in range(args.times):
            with contextlib.suppress(TimeoutError):
                client.wait_for_workers(N_WORKERS, timeout=10.0)
            # The engine gives up a worker that is killed while it starts.
            processes.scale(len(processes.workers) + N_WORKERS - len(client.nthreads()))
            client.wait_for_workers(2)
            pids = random.sample(list(client.run(os.getpid).values()), 2 if run % 4 == 3 else 1)
            moment, ended = random.uniform(0.0, seconds[-1]), threading.Event()
            killer = threading.Timer(moment, _kill, (pids, ended))
            killer.start()
            begin = time.monotonic()
            differ = tables_differ(alone, spfast.make_catalog(survey, config=config, cluster=client))
            took = time.monotonic() - begin
            hit = "" if ended.is_set() else " (after its end)"
            killer.cancel()
            n_wrong += bool(differ)
            said = f"differs in {differ}" if differ else "the same bits"
            print(f"{run + 1:3d}: {len(pids)} killed after {moment:5.2f} s{hit}: {said}, {took:.1f} s", flush=True)
        left = [path.name for path in Path(folder).iterdir() if path.name != "survey"]
    print(f"{args.times - n_wrong} of {args.times} the same; left behind: {left or 'nothing'}")
    return 1 if n_wrong or left else 0


def _kill(pids, ended):
    ended.set()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # one that the engine has given up meanwhile
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
