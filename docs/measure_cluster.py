"""Reads by clusters of this machine, beside those of one and two threads: seconds, and bytes on the wire.

``python docs/measure_cluster.py SURVEY --workers 1 2 --repeats 20``; all of them take turns, and the least time counts.
"""

import argparse
import contextlib
import tempfile
import time

import numpy as np

from spfast.data.survey import open_survey
from spfast.kernels.team import Team
from spfast.reads import cluster
from spfast.reads.by_path import ArrayFiles
from spfast.reads.jobs import ValueGradient, WeightedGram
from spfast.reads.reader import Reader

#: Columns of the Gram matrices, beside the unpenalised ones.
COLUMNS = {"Gram matrix of 600": 600, "Gram matrix of 1500": 1500}


def sent():
    """Bytes that this process has sent to others of its cluster since the first call (int)."""
    from distributed.comm import tcp

    if not hasattr(tcp, "n_sent"):
        tcp.n_sent, write = 0, tcp.TCP.write

        async def counted(self, *args, **options):
            n_bytes = await write(self, *args, **options)
            tcp.n_sent += n_bytes
            return n_bytes

        tcp.TCP.write = counted
    return tcp.n_sent


def jobs_of(features, rows):
    """What is measured (dict of jobs)."""
    rng, wide, n = np.random.default_rng(0), np.arange(9), features.shape[1]
    coef = np.where(np.arange(n) < wide.size, 0.01, 0.0)
    parallax, ivar = rng.normal(1.0, 0.3, rows.size), rng.uniform(1.0, 9.0, rows.size)
    jobs = {
        "8 stars": ValueGradient(rows[:8], parallax[:8], ivar[:8], coef, wide),
        "pass": ValueGradient(rows, parallax, ivar, coef, wide),
    }
    for name, size in COLUMNS.items():
        columns = np.sort(rng.choice(np.arange(wide.size, n), size, replace=False))
        explained = np.zeros((wide.size, size), np.float32)
        jobs[name] = WeightedGram(rows, ivar, wide, np.eye(wide.size), columns, explained, 0)
    return jobs


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("survey")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--stars", type=int, default=14_113, help="that take part in a read")
    parser.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args()
    features = open_survey(args.survey).features
    rows = np.sort(np.random.default_rng(1).choice(len(features), args.stars, replace=False))
    with contextlib.ExitStack() as held, tempfile.TemporaryDirectory() as folder:
        readers = {f"{n} threads": Reader(held.enter_context(Team(n))) for n in (1, 2)}
        clients = {}
        for n in args.workers:
            client = held.enter_context(cluster._client(f"local:{n}", n))
            files = held.enter_context(ArrayFiles(folder))
            readers[f"local:{n}"] = cluster.ClusterReader(held.enter_context(Team(1)), client, files)
            clients[f"local:{n}"] = client
        for name, job in jobs_of(features, rows).items():
            seconds, wire = {key: [] for key in readers}, dict.fromkeys(clients, 0)
            for repeat in range(-1, args.repeats):  # the first time kernels are loaded and pages mapped
                for key, reader in readers.items():
                    before = sum(clients[key].run(sent).values()) if key in clients else 0
                    begin = time.perf_counter()
                    reader.read(features, job)
                    took = time.perf_counter() - begin
                    if repeat >= 0:
                        seconds[key].append(took)
                        if key in clients:
                            wire[key] += (sum(clients[key].run(sent).values()) - before) / args.repeats
            text = ", ".join(f"{key} {1e3 * min(times):.0f} ms" for key, times in seconds.items())
            print(f"{name}: {text}; workers sent {', '.join(f'{n_bytes / 1e3:.0f} kB' for n_bytes in wire.values())}")


if __name__ == "__main__":
    main()
