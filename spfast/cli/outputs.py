"""What a command prints, and the files that it holds while it writes them."""

import argparse
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from spfast import progress
from spfast.errors import BadInputError

__all__ = ["on_given_cluster", "one_line", "output", "outputs", "result", "say"]

#: Characters of a message, at most.
_LONGEST = 600
#: Attributes of a command's arguments that name what it reads.
_INPUTS = (
    "allstar",
    "catalog",
    "clusters",
    "compare",
    "config",
    "gaia",
    "model",
    "survey",
    "truth",
    "tune",
    "wanted",
    "wise",
)


def one_line(text: object) -> str:
    """Text for a terminal: what a file holds must not move the cursor or worse, nor fill the screen."""
    text = " ".join(str(text).split())
    if len(text) > _LONGEST:  # what is wrong stands at the beginning, what to do at the end
        text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
    return _printable(text)


def _printable(text):
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def say(args: argparse.Namespace, text: str) -> None:
    """Print a line, unless the command is quiet."""
    progress.say(_printable(text), args.quiet)


def result(args: argparse.Namespace, text: str) -> None:
    """Print what was asked for, even if the command is quiet, unless it is to be printed in JSON."""
    progress.say(text, getattr(args, "json", False))


@contextmanager
def output(args: argparse.Namespace, **options) -> Iterator[Path]:
    """The one file that a command writes, as `outputs` holds it."""
    with outputs([Path(args.output)], args, **options):
        yield Path(args.output)


@contextmanager
def outputs(paths: Iterable[Path], args: argparse.Namespace, **options) -> Iterator[None]:
    """Files to write: refused if one cannot be written or is read, held so that no other process writes them meanwhile.

    Parameters
    ----------
    paths : iterable of pathlib.Path
    args : argparse.Namespace
        With ``overwrite``, whether files that exist may be replaced, and what the command reads.
    **options
        As for `spfast.data.tables.write.check_output`.

    Raises
    ------
    BadInputError
        If one of them cannot be written, is an input, or another process holds it.
    """
    from spfast.data.tables.write import check_output
    from spfast.lock import hold

    for path in paths:
        check_output(path, args.overwrite, **options)
        refuse_input(path, args)
    with ExitStack() as held:
        for path in paths:
            held.enter_context(hold(path))
            check_output(path, args.overwrite, **options)  # another process may have just ended
        yield


@contextmanager
def on_given_cluster(args: argparse.Namespace, output: str | Path | None = None) -> Iterator[None]:
    """The workers of ``--cluster`` read, if it is given; they find what is in memory here beside an output."""
    if args.cluster is None:
        yield
        return
    from spfast.reads.cluster import on_cluster

    beside = Path(args.survey if output is None else output)
    with on_cluster(args.cluster, beside.absolute().parent, args.threads):
        yield


def refuse_input(path: str | Path, args: argparse.Namespace) -> None:
    """Refuse an output that is one of the files that the command reads.

    Raises
    ------
    BadInputError
    """
    from spfast.data.survey import FILES, OPTIONAL_FILES

    given = [Path(value) for name in _INPUTS if isinstance(value := getattr(args, name, None), str)]
    for read in [*given, *(folder / name for folder in given for name in (*FILES, *OPTIONAL_FILES))]:
        if os.path.exists(path) and read.exists() and os.path.samefile(path, read):
            raise BadInputError(f"{path}: is read by this command and would be lost; choose another output")
