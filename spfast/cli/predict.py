"""`spfast predict`: a saved model on a survey, or on new stars straight from their files."""

import os
from pathlib import Path

from spfast.cli.options import (
    add_cluster_option,
    add_extra_columns_options,
    add_input_options,
    add_overwrite_option,
    add_table_option,
    configuration,
)
from spfast.cli.outputs import on_given_cluster, outputs, say
from spfast.errors import BadInputError
from spfast.progress import Progress

__all__ = ["COMMON", "EXAMPLES", "HELP", "options", "run"]

HELP = "Predict the parallax of each star of a survey, or of new stars from their files, with a saved model."
COMMON = ("config", "threads", "json")
EXAMPLES = (
    "spfast predict model.npz --allstar new.fits --spectra new/ --gaia new_gaia.fits -o predictions.fits",
    "spfast predict model.npz new_survey/ -o predictions.fits",
)


def options(parser):
    parser.add_argument("model", metavar="MODEL", help="model file that spfast fit or catalog --models wrote")
    parser.add_argument("survey", nargs="?", metavar="SURVEY", help="survey folder; without one, give the files below")
    files = parser.add_argument_group("new stars from their files, in place of a survey; none is written")
    add_input_options(files)
    files.add_argument("--rejected", metavar="FILE", help="write the stars that were left out as well, with the reason")
    add_table_option(parser)
    add_extra_columns_options(parser)
    add_cluster_option(parser)
    add_overwrite_option(parser)


def run(args):
    from spfast.catalog.predict import HEADER_COMMENTS, predict_survey
    from spfast.data.survey import open_survey
    from spfast.data.tables.write import write_table
    from spfast.model.fitted_model import load_model

    _check_source(args)
    paths = [Path(path) for path in (args.output, args.rejected) if path is not None]
    with outputs(paths, args):
        if args.survey is not None:
            model, survey = load_model(args.model), open_survey(args.survey)
            with on_given_cluster(args, paths[0]), Progress("predict", quiet=args.quiet):
                galaxy = configuration(args).galaxy
                predictions = predict_survey(
                    model, survey, args.threads, extra_columns=args.extra_columns, galaxy=galaxy
                )
        else:
            predictions = _predict_files(args)
        write_table(predictions, paths[0], args.overwrite, HEADER_COMMENTS)
    say(args, f"wrote {paths[0]}: {len(predictions):,} stars")
    return {"predictions": paths[0], "stars": len(predictions)}


def _check_source(args):
    """Refuse a survey with files beside it, and neither."""
    needed = {"--allstar": args.allstar, "--spectra": args.spectra}
    others = {"--gaia": args.gaia, "--wise": args.wise, "--rejected": args.rejected}
    given = [name for name, value in (needed | others).items() if value]
    lacking = [name for name, value in needed.items() if not value]
    if args.survey is not None and given:
        raise BadInputError(
            f"predict: got the survey {args.survey} and {given[0]}; give a survey, or the files of stars"
        )
    if args.survey is None and lacking:
        raise BadInputError(
            f"predict: no survey and no {', '.join(lacking)}; give a survey folder after the model, or --allstar FILE "
            "--spectra DIR, and --gaia FILE unless the table has Gaia's parallaxes"
        )

    if args.rejected is not None and os.path.abspath(args.rejected) == os.path.abspath(args.output):
        raise BadInputError(f"predict: {args.output} is both -o and --rejected; give two names")


def _predict_files(args):
    from spfast.catalog.predict_files import predict_files
    from spfast.data.tables.write import write_table
    from spfast.model.fitted_model import load_model

    found = predict_files(
        load_model(args.model),
        args.allstar,
        args.spectra,
        args.gaia,
        wise=args.wise,
        config=configuration(args),
        threads=args.threads,
        quiet=args.quiet,
        extra_columns=args.extra_columns,
    )
    if args.rejected is not None:
        write_table(found.rejected, args.rejected, args.overwrite)
        say(args, f"wrote {args.rejected}: {len(found.rejected):,} stars were left out")
    return found.table
