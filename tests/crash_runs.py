"""Kill the command at any moment and run it again: the bytes must be those of a run that nobody disturbed.

``make crash`` runs all of it (``python tests/crash_runs.py --times 100 --seed 1``); tests/cli/test_crash.py runs a few.

Each run is a fork of this process, in which everything is imported and compiled already, so that all moments fall into
the work itself. Moments are of three kinds: random times, uniform over an undisturbed run; file operations, counted
by an audit hook that ends the process right before one of them; lines of Python, ours and every library's, where the
process asks itself to end when it comes to one for the first time from a line that calls.
"""

import argparse
import contextlib
import faulthandler
import io
import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from spfast import cli

#: What a process does to files that can leave something half done; "open" counts for writing only.
OPERATIONS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree"}
#: Exit status of an interrupted child that was not in the command.
OUTSIDE = 99
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT
#: Runs for each hit that may end before they are disturbed; with more the fault does not reach them at all.
_MISSES = 200


def child(command, kill_at=None, limit=None, log=os.devnull, list_lines=None, end_at=None):
    """Fork a process that runs the command; return its id.

    ``kill_at``: SIGKILL it before its n-th file operation. ``limit``: no file larger than this [bytes]. ``log``: file
    for what it prints. ``list_lines``: file for the lines of Python that it comes to. ``end_at``: SIGTERM it at one.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.stdout, sys.stderr = (os.fdopen(n, "w", buffering=1, closefd=False) for n in (1, 2))
        faulthandler.enable()  # should it end by a fault, the log says where
        # A shell starts what runs in its background without Ctrl-C, and children inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if kill_at is not None:
            count_operations(kill_at)
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        if list_lines is not None or end_at is not None:
            seen = watch_lines(end_at)
        code = cli.main([str(word) for word in command])
        if list_lines is not None:
            sys.settrace(None)
            Path(list_lines).write_text(json.dumps(list(seen)))
        sys.stdout.flush()
        sys.stderr.flush()
    except KeyboardInterrupt:  # before the command began or after it had ended: the interpreter's to answer
        code = OUTSIDE
    finally:
        os._exit(code)


def count_operations(kill_at):
    """Install a hook that kills this process before its n-th file operation."""
    seen = 0

    def hook(event, arguments):
        nonlocal seen
        if event in OPERATIONS or (event == "open" and arguments[2] is not None and arguments[2] & _WRITE_FLAGS):
            seen += 1
            if seen == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def watch_lines(end_at):
    """Note each line when it is reached for the first time from a caller's line; at one, ask this process to end.

    A line is its file and number, then its caller's: what is raised there is the caller's to deal with.
    """
    seen = {}

    def watch(frame, event, argument):
        line = (frame.f_code.co_filename, frame.f_lineno)
        if frame.f_back is not None:
            line += (frame.f_back.f_code.co_filename, frame.f_back.f_lineno)
        if event in ("call", "line") and line not in seen:
            seen[line] = True
            if line == end_at:
                sys.settrace(None)
                signal_within(frame)
        return watch

    sys.settrace(watch)
    return seen


def signal_within(frame):
    """Ask this process to end as if the signal had met a frame, instead of the function that watches the frames."""
    handler = signal.getsignal(signal.SIGTERM)
    if callable(handler):
        handler(signal.SIGTERM, frame)
    else:
        signal.raise_signal(signal.SIGTERM)


def here(command):
    """Run the command in this process."""
    with contextlib.redirect_stdout(io.StringIO()):
        assert cli.main([*map(str, command), "--quiet", "--threads", "1"]) == 0


def wait(pid):
    """Wait for a child: its exit status, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run(command, **options):
    """Run the command in a child to its end."""
    return wait(child(command, **options))


def killed_after(command, seconds, how=signal.SIGKILL, **options):
    """Start the command, send it a signal after some time, and return how it ended."""
    pid = child(command, **options)
    time.sleep(seconds)
    os.kill(pid, how)
    return wait(pid)


def content(path):
    """Every file at or below a path and its bytes (dict)."""
    if path.is_file():
        return {path.name: path.read_bytes()}
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def litter(folder):
    """Files and folders that runs have left beside what was there before (list of str)."""
    return sorted(item.name for item in folder.iterdir() if item.name.startswith(".") or "partial" in item.name)


class Case:
    """One sub-command with its input, a fresh place for each output, and what an undisturbed run writes there."""

    def __init__(self, name, words, folder, output, mapped):
        self.name, self._words, self.folder, self._output = name, words, folder, output
        self.mapped = mapped  # what it reads through a memory map
        self.expected, self.seconds = None, None

    def command(self, place):
        """The command that writes into a folder (list)."""
        return [self.name, *self._words, "--threads", 1, "--quiet", "-o", place / self._output]

    def output(self, place):
        """The output in that folder (Path)."""
        return place / self._output

    def prepare(self):
        """Run it undisturbed."""
        place = self.fresh()
        start = time.monotonic()
        assert run(self.command(place), log=self.folder / "log") == 0, (self.folder / "log").read_text()
        self.seconds = time.monotonic() - start
        self.expected = content(self.output(place))
        shutil.rmtree(place)
        return self

    def fresh(self):
        """An empty folder."""
        return Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=self.folder))

    def whole_or_absent(self, place):
        """Whether the output is not there, or there to the last byte."""
        return not self.output(place).exists() or self.matches(place)

    def matches(self, place):
        """Whether the output is that of the undisturbed run; a survey's leftover work folder is no part of it."""
        found = content(self.output(place))
        return {name: data for name, data in found.items() if not name.startswith("work/")} == self.expected

    def finish(self, place):
        """Run it again to its end and compare; an output that was whole already may be refused as existing."""
        was_there = self.output(place).exists()
        code = run(self.command(place), log=place / "log")
        text = (place / "log").read_text()
        (place / "log").unlink()
        assert code == 0 or (was_there and "already exists" in text), f"{self.name}: {code}: {text}"
        assert content(self.output(place)) == self.expected, f"{self.name}: other bytes after {place}"
        left = [name for name in litter(place) if not name.endswith(".lock")]
        assert not left or was_there, f"{self.name} left {left}"
        shutil.rmtree(place)


def cases(folder, stars=150):
    """Ingest, tune and catalog of a small mock (list of Case, to be prepared)."""
    download, survey = folder / "download", folder / "survey"
    # In this process: what it has imported and compiled, every child has.
    here(["simulate", download, "--stars", stars, "--seed", 1])
    allstar = next(download.glob("allStar*.fits"))
    tables = ["--allstar", allstar, "--spectra", download, "--gaia", download / "gaia.fits"]
    here(["ingest", *tables, "-o", survey])
    here(["catalog", survey, "-o", folder / "warm.fits"])
    grid = ["--penalties", 100, 50, "--zero-points", 0.03, 0.05]
    here(["tune", survey, *grid, "-o", folder / "warm.ecsv"])
    return [
        Case("ingest", tables, folder, "survey", [allstar]),
        Case("tune", [survey, *grid], folder, "tune.ecsv", [survey / "features.npy"]),
        Case("catalog", [survey], folder, "catalog.fits", [survey / "features.npy", survey / "feature_errors.npy"]),
    ]


def random_moments(case, times, rng, how=signal.SIGKILL, codes=(-signal.SIGKILL,)):
    """Disturb runs at random times, and compare what another run makes of it; the number that were hit in time."""
    hit = missed = 0
    while hit < times:
        place = case.fresh()
        code = killed_after(case.command(place), rng.uniform(0.0, case.seconds), how, log=case.folder / "log")
        if code in (0, OUTSIDE):
            shutil.rmtree(place)
            missed += 1
            assert missed < _MISSES * times, f"{case.name}: {missed} runs ended before {how.name} reached them"
            continue
        assert code in codes, f"{case.name}: ended with {code}: {(case.folder / 'log').read_text()}"
        assert case.whole_or_absent(place), f"{case.name}: half an output under its own name in {place}"
        case.finish(place)
        hit += 1
    return hit


def every_operation(case, step=1):
    """Kill runs before their first, second, ... file operation; the number of runs that were killed."""
    for killed in itertools.count():
        number, place = 1 + killed * step, case.fresh()
        code = run(case.command(place), kill_at=number)
        if code == 0:
            shutil.rmtree(place)
            return killed
        assert code == -signal.SIGKILL
        assert case.whole_or_absent(place), f"{case.name}: half an output, killed at operation {number}"
        case.finish(place)


def lines(case, times, rng):
    """Ask runs to end at lines of Python, drawn from all that they come to; how many were hit, of which, and ran on.

    A run ends whole if its end comes sooner than a place where an interruption can be raised.
    """
    place, listed = case.fresh(), case.folder / "lines.json"
    assert run(case.command(place), list_lines=listed) == 0
    shutil.rmtree(place)
    reached = json.loads(listed.read_text())
    ran_on = 0
    for n in rng.permutation(len(reached))[:times]:
        place = case.fresh()
        code = run(case.command(place), end_at=tuple(reached[n]), log=case.folder / "log")
        text = (case.folder / "log").read_text()
        assert code in (0, 143, -signal.SIGTERM), f"{case.name}: ended with {code} at {reached[n]}: {text}"
        ran_on += code == 0
        assert case.whole_or_absent(place), f"{case.name}: half an output, asked to end at {reached[n]}"
        case.finish(place)
    return min(times, len(reached)), len(reached), ran_on


def again_and_again(case, rng, kills):
    """Kill one and the same build at random times, one after the other, then let it end."""
    place = case.fresh()
    for _ in range(kills):
        if killed_after(case.command(place), rng.uniform(0.0, case.seconds)) == 0:
            break
        assert case.whole_or_absent(place)
    case.finish(place)


def cut_short(case, times, rng):
    """Cut a file short at a random time while it is read; the number of runs that ended by it, in one line."""
    hit = missed = 0
    while hit < times:
        place, file = case.fresh(), case.mapped[rng.integers(len(case.mapped))]
        whole = file.read_bytes()
        pid = child(case.command(place), log=case.folder / "log")
        time.sleep(rng.uniform(0.0, case.seconds) * rng.random())  # tables are read at the beginning
        os.truncate(file, rng.integers(len(whole)))
        code, text = wait(pid), (case.folder / "log").read_text()
        file.write_bytes(whole)
        assert case.whole_or_absent(place), f"{case.name}: half an output under its own name in {place}"
        if code == 0:
            shutil.rmtree(place)
            missed += 1
            assert missed < _MISSES * times, f"{case.name}: {missed} runs ended before they read the missing part"
            continue
        assert code == 2, f"{case.name}: ended with {code}: {text}"
        assert text.count("\n") == 1, text
        assert file.name in text, text
        case.finish(place)
        hit += 1
    return hit


def full_disk(case, folder, sizes):
    """Run on file systems too small for it: one line, exit 1 or 2; with room it goes on. Needs root, to mount."""
    times = 0
    mount = folder / "small"
    mount.mkdir(exist_ok=True)
    for size in sizes:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(mount)], check=True)
        try:
            place = mount / "out"
            place.mkdir()
            code = run(case.command(place), log=folder / "log")
            text = (folder / "log").read_text()
            if code != 0:
                assert code in (1, 2), f"{case.name} at {size} bytes: {code} {text}"
                assert text.count("\n") == 1, text
                assert case.whole_or_absent(place)
                times += 1
            subprocess.run(["mount", "-o", "remount,size=200m", str(mount)], check=True)
            if code != 0:
                case.finish(place)
        finally:
            subprocess.run(["umount", str(mount)], check=True)
    return times


def main():
    """Run everything and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--only", default="koritlcd", help="k(ill) o(perations) r(epeated) i(nterrupt) t(erm) l(ines) c(ut) d(isk)"
    )
    parser.add_argument("--command", help="ingest, tune or catalog alone")
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    wanted = args.only
    with tempfile.TemporaryDirectory(prefix="spfast crash ", ignore_cleanup_errors=True) as folder:
        for case in cases(Path(folder)):
            if args.command not in (None, case.name):
                continue
            case.prepare()
            say(case, f"an undisturbed run takes {case.seconds:.2f} s")
            if "k" in wanted:
                say(case, f"SIGKILL at {random_moments(case, args.times, rng)} random times: nothing lost")
            if "o" in wanted:
                say(case, f"SIGKILL before each of {every_operation(case)} file operations: nothing lost")
            if "r" in wanted:
                again_and_again(case, rng, args.times // 5)
                say(case, f"SIGKILL up to {args.times // 5} times in a row in one build: nothing lost")
            if "i" in wanted:
                n = random_moments(case, args.times, rng, signal.SIGINT, (130,))
                say(case, f"Ctrl-C at {n} random times: exit 130, nothing lost")
            if "t" in wanted:
                # Before the command has its handler, the signal ends the process as it always did.
                n = random_moments(case, args.times, rng, signal.SIGTERM, (143, -signal.SIGTERM))
                say(case, f"SIGTERM at {n} random times: exit 143, nothing lost")
            if "l" in wanted:
                hit, of, ran_on = lines(case, args.times, rng)
                say(case, f"SIGTERM at {hit} of {of} lines of Python: nothing lost; {ran_on} times it ran to its end")
            if "c" in wanted:
                say(case, f"{cut_short(case, args.times, rng)} times a file cut short while it is read: nothing lost")
            if "d" in wanted and os.geteuid() == 0:
                total = sum(map(len, case.expected.values()))
                n = full_disk(case, Path(folder), [max(4096, int(total * share)) for share in rng.uniform(0, 2.2, 30)])
                say(case, f"disk full {n} times: one line, nothing lost")


def say(case, text):
    """Print a line of the table."""
    print(f"{case.name:8s} {text}", flush=True)


if __name__ == "__main__":
    main()
