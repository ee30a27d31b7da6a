"""`spfast ingest`: tables and spectra to a survey folder."""

import argparse

from spfast.cli.ingest_arrays import add_array_options, ingest_arrays, is_of_arrays
from spfast.cli.options import add_cluster_option, add_input_options, configuration, group
from spfast.cli.outputs import on_given_cluster, say
from spfast.errors import BadInputError

__all__ = ["COMMON", "EXAMPLES", "HELP", "options", "print_survey", "run", "survey_facts"]

HELP = "Build a survey from tables and spectra. Run again after an interruption, it goes on where it stopped."
COMMON = ("config", "threads", "json")
EXAMPLES = (
    "spfast ingest --allstar allStar-dr17-synspec_rev1.fits --spectra sas/dr17/ --gaia gaia.fits -o survey/",
    "spfast ingest --allstar new.fits --spectra new/ --gaia new_gaia.fits --like model.npz -o new_survey/",
    "spfast ingest --arrays flux.npy --table stars.fits --not-normalized -o survey/",
    "spfast ingest --xp XP_CONTINUOUS_RAW.fits --table gaia_2mass_wise.fits -o survey/",
)


def options(parser):
    add_input_options(group(parser, "APOGEE's files"))
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
        return print_survey(args, ingest_arrays(args))
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
    return print_survey(args, survey)


def print_survey(args: argparse.Namespace, survey) -> dict:
    """Say what a survey holds, and return it for JSON."""
    say(args, f"survey {survey.path}: {survey.n_stars:,} stars x {survey.n_features:,} features")
    return survey_facts(survey)


def survey_facts(survey) -> dict:
    """What a survey holds and how many stars its cuts have left (dict)."""
    return {
        "survey": survey.path,
        "stars": survey.n_stars,
        "features": survey.n_features,
        "training": int(survey.stars["training_set"].sum()),
        "rejected": survey.info["n_rejected"],
        "hash": survey.survey_hash,
        "cuts": [{"cut": cut, "left": n_left} for cut, n_left in survey.info["cut_flow"]],
    }
