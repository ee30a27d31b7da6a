"""`spfast ingest`: tables and spectra to a survey folder."""

import argparse

from spfast.cli.ingest_arrays import add_array_options, ingest_arrays, is_of_arrays
from spfast.cli.options import add_cluster_option, add_input_options, configuration
from spfast.cli.outputs import on_given_cluster, say
from spfast.errors import BadInputError

__all__ = ["HELP", "options", "print_survey", "run"]

HELP = "Build a survey from tables and spectra. Run again after an interruption, it goes on where it stopped."


def options(parser):
    add_input_options(parser)
    parser.add_argument(
        "--like",
        metavar="SURVEY|MODEL",
        help="make the same features as this survey, or this model's survey, has: its models can then be used",
    )
    parser.add_argument("-o", "--output", required=True, metavar="SURVEY", help="survey folder to make")
    add_cluster_option(parser)
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
    with on_given_cluster(args, args.output):
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
