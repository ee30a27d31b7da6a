"""The command ``spfast``: parses, calls, prints; no maths."""

import argparse
import logging
import os
import sys
import traceback
import warnings

from spfast import __version__
from spfast.cli import (
    catalog,
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
from spfast.cli.bus_error import bus_error_in_one_line
from spfast.cli.options import NEGATIVE_NUMBER, add_common_options
from spfast.cli.outputs import one_line
from spfast.cli.signals import Terminated, unwinds_when_asked_to_end
from spfast.errors import BadInputError, SpfastError, SpfastWarning
from spfast.reads.meter import METER

__all__ = ["COMMANDS", "main", "make_parser"]

#: The commands in the order of the help: a module each, named as the command, with ``HELP`` (one sentence),
#: ``options(parser)`` (adds what only it has) and ``run(args)``. What is slow to import is imported in ``run``.
COMMANDS = (demo, simulate, wanted, query, ingest, fit, tune, predict, catalog, rebuild, validate, report, info, warmup)

EXIT_DONE, EXIT_OUR_FAULT, EXIT_BAD_INPUT = 0, 1, 2
#: What a shell reports for a command ended by Ctrl-C (SIGINT), by a reader that went away (SIGPIPE), or asked to end
#: (SIGTERM): 128 + signal.
EXIT_INTERRUPTED, EXIT_PIPE_CLOSED, EXIT_TERMINATED = 130, 141, 143


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="spfast",
        description="Spectrophotometric parallaxes of red giants from APOGEE spectra and broad-band photometry.",
        epilog="To try it without any data: spfast demo demo/",
    )
    parser.add_argument("--version", action="version", version=f"spfast {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        name = command.__name__.rpartition(".")[2]
        sub = commands.add_parser(name, help=command.HELP, description=command.HELP, allow_abbrev=False)
        sub._negative_number_matcher = NEGATIVE_NUMBER
        add_common_options(sub)
        command.options(sub)
        sub.set_defaults(run=command.run)
    return parser


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
    args = argparse.Namespace(debug=False)
    try:
        args = make_parser().parse_args(argv)
        with unwinds_when_asked_to_end(), bus_error_in_one_line(EXIT_BAD_INPUT), warnings.catch_warnings():
            if args.quiet:
                logging.getLogger("spfast").setLevel(logging.ERROR)
            warnings.simplefilter("always", SpfastWarning)
            warnings.showwarning = _show_warning
            n_reads = METER.n_reads
            args.run(args)
            if METER.n_reads > n_reads and not args.quiet:
                print(f"the features took {METER}", file=sys.stderr)
            sys.stdout.flush()
        return EXIT_DONE
    except Terminated:
        return _complain(args, "terminated", EXIT_TERMINATED)
    except KeyboardInterrupt:
        return _complain(args, "interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        # Python flushes stdout once more at exit: give it somewhere to go (as the Python documentation advises).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE_CLOSED
    except BadInputError as error:
        return _complain(args, error, EXIT_BAD_INPUT)
    except SpfastError as error:
        return _complain(args, error, EXIT_OUR_FAULT)
    except OSError as error:
        not_ours = isinstance(error, PermissionError | FileNotFoundError | NotADirectoryError | IsADirectoryError)
        if not_ours and error.filename is not None:
            text = f"{os.fsdecode(error.filename)}: {error.strerror}; check the path and its permissions"
            return _complain(args, text, EXIT_BAD_INPUT)
        return _complain(args, error, EXIT_OUR_FAULT)
    except Exception as error:  # noqa: BLE001 (whatever it is, the user gets one line)
        what = f"{type(error).__name__}: {error}"
        return _complain(args, f"{what} (a fault of spfast; --debug shows where)", EXIT_OUR_FAULT)


def _complain(args, message, code):
    if args.debug:
        traceback.print_exc()
    print("spfast:", one_line(message), file=sys.stderr)
    return code


def _show_warning(message, category, filename, lineno, file=None, line=None):
    print("spfast: warning:", one_line(message), file=sys.stderr)
