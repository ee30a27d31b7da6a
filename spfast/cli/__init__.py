"""The command ``spfast``: parses, calls, prints; no maths."""

import argparse
import logging
import os
import sys
import traceback
import warnings
from contextlib import contextmanager, redirect_stdout

from spfast import __version__, progress
from spfast.cli import (
    catalog,
    config,
    demo,
    fit,
    info,
    ingest,
    predict,
    query,
    rebuild,
    report,
    simulate,
    tune,
    validate,
    wanted,
    warmup,
)
from spfast.cli.as_json import to_json
from spfast.cli.bus_error import bus_error_in_one_line
from spfast.cli.completion import SHELLS, PrintCompletion
from spfast.cli.log_file import LogFile
from spfast.cli.next_steps import next_steps
from spfast.cli.options import add_common_options
from spfast.cli.outputs import one_line, say
from spfast.cli.parser import Parser, overview
from spfast.cli.signals import Terminated, unwinds_when_asked_to_end
from spfast.errors import BadInputError, SpfastError, SpfastWarning
from spfast.reads.meter import METER

__all__ = ["COMMANDS", "main", "make_parser"]

#: The commands as the help groups them: a module each, named as the command, with ``HELP`` (one sentence), ``COMMON``
#: (names of `add_common_options` that matter to it), ``EXAMPLES``, ``options(parser)`` (adds what only it has) and
#: ``run(args)``, which returns what ``--json`` prints (dict). What is slow to import is imported in ``run``.
_GROUPS = {
    "to try it": (demo, simulate),
    "from files to a survey": (wanted, query, ingest),
    "from a survey to a catalog": (tune, catalog, validate, report),
    "one model, for new stars": (fit, predict),
    "others": (info, rebuild, config, warmup),
}
COMMANDS = tuple(command for group in _GROUPS.values() for command in group)

_PURPOSE = "Spectrophotometric parallaxes of red giants from APOGEE spectra and broad-band photometry."
_EXAMPLES = """\
For example:
  spfast ingest --allstar allStar.fits --spectra sas/ --gaia gaia.fits -o survey/
  spfast catalog survey/ -o catalog.fits --penalty auto --models models/
  spfast report catalog.fits --survey survey/ --models models/ -o report/
To try it without any data: spfast demo demo/
What a command does and takes: spfast COMMAND --help"""

EXIT_DONE, EXIT_OUR_FAULT, EXIT_BAD_INPUT = 0, 1, 2
#: What a shell reports for a command ended by Ctrl-C (SIGINT), by a reader that went away (SIGPIPE), or asked to end
#: (SIGTERM): 128 + signal.
EXIT_INTERRUPTED, EXIT_PIPE_CLOSED, EXIT_TERMINATED = 130, 141, 143


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    listed = overview(_GROUPS, lambda command: (_name(command), command.HELP))
    parser = Parser(prog="spfast", usage="spfast COMMAND ...", description=f"{_PURPOSE}\n{listed}", epilog=_EXAMPLES)
    parser.add_argument("--version", action="version", version=f"spfast {__version__}")
    parser.add_argument(
        "--print-completion",
        action=PrintCompletion,
        choices=SHELLS,
        metavar="SHELL",
        help=f"print a script by which {', '.join(SHELLS)} completes commands, options and files (needs pip install "
        "'spfast[completion]')",
    )
    commands = parser.add_subparsers(
        prog="spfast", dest="command", metavar="COMMAND", required=True, help=argparse.SUPPRESS
    )
    for command in COMMANDS:
        examples = "\n".join(["Examples:", *(f"  {example}" for example in command.EXAMPLES)])
        sub = commands.add_parser(_name(command), help=command.HELP, description=command.HELP, epilog=examples)
        command.options(sub)
        add_common_options(sub, command.COMMON)
        sub.shorten_usage()
        sub.set_defaults(run=command.run)
    return parser


def _name(command):
    return command.__name__.rpartition(".")[2]


def main(argv: list[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv : list of str, optional
        Without the program's name; ``sys.argv`` by default.

    Returns
    -------
    int
        0 done, 1 a fault of ours, 2 bad input, 130 interrupted, 141 nobody reads the output any more, 143 terminated.
    """
    with LogFile() as log:
        code = _main(sys.argv[1:] if argv is None else argv, log)
        log.ends(code)
    return code


def _main(words, log):
    args = argparse.Namespace(debug=False)
    try:
        args = make_parser().parse_args(words)
        log.open(args.log, words)
        with unwinds_when_asked_to_end(), bus_error_in_one_line(EXIT_BAD_INPUT), _says_warnings(args.quiet):
            _run(args)
        return EXIT_DONE
    except Terminated:
        return _complain(args, log, "terminated", EXIT_TERMINATED)
    except KeyboardInterrupt:
        return _complain(args, log, "interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        # Python flushes stdout once more at exit: give it somewhere to go (as the Python documentation advises).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE_CLOSED
    except BadInputError as error:
        return _complain(args, log, error, EXIT_BAD_INPUT)
    except SpfastError as error:
        return _complain(args, log, error, EXIT_OUR_FAULT)
    except OSError as error:
        not_ours = isinstance(error, PermissionError | FileNotFoundError | NotADirectoryError | IsADirectoryError)
        if not_ours and error.filename is not None:
            text = f"{os.fsdecode(error.filename)}: {error.strerror}; check the path and its permissions"
            return _complain(args, log, text, EXIT_BAD_INPUT)
        return _complain(args, log, error, EXIT_OUR_FAULT)
    except Exception as error:  # noqa: BLE001 (whatever it is, the user gets one line)
        what = f"{type(error).__name__}: {error}"
        return _complain(args, log, f"{what} (a fault of spfast; --debug shows where)", EXIT_OUR_FAULT)


def _run(args):
    """Run the command; print its result as JSON if that is asked for, and what comes next if not."""
    out, as_json, n_reads = sys.stdout, getattr(args, "json", False), METER.n_reads
    with redirect_stdout(sys.stderr if as_json else out):
        found = args.run(args)
        if METER.n_reads > n_reads:
            progress.say(f"the features took {METER}", args.quiet, sys.stderr)
    if as_json:
        print(to_json({"command": args.command, "spfast": __version__} | found))
    elif not args.quiet:
        for number, step in enumerate(next_steps(args, found)):
            say(args, f"{'     ' if number else 'Next:'} {step}")
    sys.stdout.flush()


@contextmanager
def _says_warnings(quiet):
    """While the block runs, warnings are lines on standard error, and so is what spfast logs."""
    logger, handler = logging.getLogger("spfast"), _Handler()
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("always", SpfastWarning)
        warnings.showwarning = _show_warning
        logger.addHandler(handler)
        logger.setLevel(logging.ERROR if quiet else level)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)


class _Handler(logging.Handler):
    """Prints what is logged as a line that does not tear a bar."""

    def emit(self, record):
        progress.say(self.format(record), stream=sys.stderr)


def _complain(args, log, message, code):
    log.add_traceback()
    if args.debug:
        traceback.print_exc()
    progress.say(f"spfast: {one_line(message)}", stream=sys.stderr)
    return code


def _show_warning(message, category, filename, lineno, file=None, line=None):
    progress.say(f"spfast: warning: {one_line(message)}", stream=sys.stderr)
