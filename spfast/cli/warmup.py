"""`spfast warmup`: every kernel compiled now, so that no later command waits for it."""

from spfast.cli.outputs import say
from spfast.progress import Progress

__all__ = ["COMMON", "EXAMPLES", "HELP", "options", "run"]

HELP = "Compile every kernel now and keep it on disk, so that later commands start at once."
COMMON = ("threads",)
EXAMPLES = ("spfast warmup",)


def options(parser):
    """None of its own."""


def run(args):
    from spfast.warmup import warm_up

    with Progress("run every kernel", quiet=args.quiet, leaves_line=False):
        seconds, compiling = warm_up(threads=args.threads)
    say(
        args,
        f"ran every kernel in {seconds:.1f} s; {compiling:.1f} s of that went into compiling those not yet on disk",
    )
    return {}
