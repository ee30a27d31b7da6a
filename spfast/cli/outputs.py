"""What a command prints, and the files that it holds while it writes them."""

import argparse
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

__all__ = ["one_line", "output", "outputs", "say"]


def one_line(text: object) -> str:
    """Text for a terminal: what a file holds must not move the cursor or worse."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(str(text).split()))


def say(args: argparse.Namespace, text: str) -> None:
    """Print a line, unless the command is quiet."""
    if not args.quiet:
        print(text, flush=True)


@contextmanager
def output(args: argparse.Namespace, **options) -> Iterator[Path]:
    """The one file that a command writes, as `outputs` holds it."""
    with outputs([Path(args.output)], args.overwrite, **options):
        yield Path(args.output)


@contextmanager
def outputs(paths: Iterable[Path], overwrite: bool, **options) -> Iterator[None]:
    """Files to write: refused if one cannot be written, held so that no other process writes them meanwhile.

    Parameters
    ----------
    paths : iterable of pathlib.Path
    overwrite : bool
        Whether files that exist may be replaced.
    **options
        As for `spfast.data.tables.write.check_output`.

    Raises
    ------
    BadInputError
        If one of them cannot be written, or another process holds it.
    """
    from spfast.data.tables.write import check_output
    from spfast.lock import hold

    for path in paths:
        check_output(path, overwrite, **options)
    with ExitStack() as held:
        for path in paths:
            held.enter_context(hold(path))
            check_output(path, overwrite, **options)  # another process may have just ended
        yield
