"""`spfast ingest`: tables and spectra to a survey folder."""

import argparse

from spfast.cli.ingest_arrays import add_array_options, ingest_arrays, is_of_arrays
from spfast.cli.options import configuration, setting
from spfast.cli.outputs import say
from spfast.errors import BadInputError

__all__ = ["HELP", "options", "print_survey", "run"]

HELP = "Build a survey from tables and spectra. Run again after an interruption, it goes on where it stopped."


def options(parser):
    parser.add_argument("--allstar", metavar="FILE", help="APOGEE allStar table, or SDSS-V's summary")
    parser.add_argument("--spectra", metavar="DIR", help="folder of apStar, aspcapStar or mwmStar files")
    parser.add_argument(
        "--gaia",
        metavar="FILE",
        help="Gaia table, with or without columns of WISE; to SDSS-V's tables, which have a match with Gaia, it adds "
        "what they lack",
    )
    parser.add_argument(
        "--wise",
        metavar="FILE",
        help="WISE table, if the Gaia table has no such columns; for SDSS-V's tables AllWISE in place of unWISE",
    )
    setting(
        parser,
        "sample",
        "gaia_release",
        help="the release of Gaia that the table is of, on which the zero point depends (default: auto, by what the "
        "table holds)",
    )
    parser.add_argument(
        "--like", metavar="SURVEY", help="make the same features as this survey has, so that its models can be used"
    )
    parser.add_argument("-o", "--output", required=True, metavar="SURVEY", help="survey folder to make")
    add_array_options(parser)


def run(args):
    from spfast.data.ingest import ingest

    if is_of_arrays(args):
        print_survey(args, ingest_arrays(args))
        return
    for name in ("allstar", "spectra"):
        if getattr(args, name) is None:
            raise BadInputError(
                f"ingest: needs --{name} (or --arrays for a survey of arrays, --xp for Gaia's XP spectra)"
            )
    survey = ingest(
        args.allstar,
        args.spectra,
        args.gaia,
        args.output,
        wise=args.wise,
        like=args.like,
        config=configuration(args),
        threads=args.threads,
        quiet=args.quiet,
    )
    print_survey(args, survey)


def print_survey(args: argparse.Namespace, survey) -> None:
    """Say what a survey holds."""
    say(args, f"survey {survey.path}: {survey.n_stars:,} stars x {survey.n_features:,} features")
