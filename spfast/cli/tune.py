"""`spfast tune`: the cross-validated grid of penalties and zero points."""

import importlib.util
from contextlib import nullcontext

from spfast.cli.as_json import table_as_json
from spfast.cli.options import (
    TABLE_SUFFIXES,
    add_cluster_option,
    add_overwrite_option,
    add_solver_options,
    configuration,
    count,
)
from spfast.cli.outputs import on_given_cluster, one_line, output, result, say
from spfast.config import Config, TuneConfig
from spfast.errors import BadInputError

__all__ = ["COMMON", "EXAMPLES", "HELP", "options", "run"]

HELP = "Cross-validate penalty and zero point. With -o, it goes on where it stopped if it is run again."
COMMON = ("config", "threads", "seed", "json")
EXAMPLES = (
    "spfast tune survey/ -o tune.ecsv --plot",
    "spfast tune survey/ --penalties 60 30 15 --zero-points 0.0483",
    "spfast tune survey/ -o tune.ecsv --folds 5 --repeats 3",
)


def options(parser):
    default = Config().tune
    parser.add_argument("survey", metavar="SURVEY", help="survey folder")
    grids = {
        "penalties": ("L", "penalties", "100 50 25 12.5 for 14,113 training stars, in proportion for others"),
        "zero_points": ("MAS", "zero points [mas]", " ".join(f"{value:g}" for value in default.zero_points)),
    }
    for key, (metavar, what, values) in grids.items():
        text = f"grid of {what}; one number keeps it fixed (default: {values})"
        parser.add_argument(f"--{key.replace('_', '-')}", type=float, nargs="+", metavar=metavar, help=text)
    parser.add_argument(
        "--folds",
        type=count,
        default=2,
        metavar="K",
        help="number of folds; 2 are the catalog's A and B (default: %(default)s)",
    )
    parser.add_argument(
        "--repeats",
        type=count,
        default=1,
        metavar="R",
        help="how many times to split the stars into K folds (default: %(default)s)",
    )
    parser.add_argument(
        "--score",
        choices=TuneConfig.choices("score"),
        help=f"what to compare on held-out stars (default: {default.score})",
    )
    parser.add_argument(
        "--choice",
        choices=TuneConfig.choices("choice"),
        help=f"which point of the grid to choose (default: {default.choice})",
    )
    add_solver_options(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help=f"table of the grid to write: {TABLE_SUFFIXES}")
    parser.add_argument(
        "--plot", action="store_true", help="draw the score against the penalty, beside the table: .png and .pdf"
    )
    add_cluster_option(parser)
    add_overwrite_option(parser)


def run(args):
    from spfast.data.survey import open_survey
    from spfast.data.tables.write import check_output, write_table
    from spfast.training.tune import HEADER_COMMENTS, tune

    if args.plot and not args.output:
        raise BadInputError("--plot: the figure goes beside the table; name that with -o")
    if args.plot and importlib.util.find_spec("matplotlib") is None:  # before hours of work
        raise BadInputError("--plot: needs matplotlib; install it (pip install 'spfast[report]') or leave it out")
    with output(args) if args.output else nullcontext() as path:
        resume = path.with_name(f"{path.name}.points.jsonl") if path else None
        for suffix in (".png", ".pdf") if args.plot else ():
            check_output(path.with_suffix(suffix), args.overwrite, suffixes=())
        survey, config = open_survey(args.survey), configuration(args)
        with on_given_cluster(args, path):
            tuning, table = tune(
                survey,
                args.penalties,
                args.zero_points,
                config=config,
                n_folds=args.folds,
                repeats=args.repeats,
                score=args.score,
                choice=args.choice,
                resume=resume,
                threads=args.threads,
                say=lambda text: say(args, text),
                quiet=args.quiet,
            )
        if args.plot:  # before the table, at which a run that was cut off sees that nothing is left to do
            from spfast.figures.tuning import draw_tuning

            say(args, f"drew {' and '.join(str(figure) for figure in draw_tuning(table, path))}")
        if path:
            write_table(table, path, args.overwrite, HEADER_COMMENTS)
            resume.unlink()
            say(args, f"wrote {path}: {len(table):,} points")
    result(args, one_line(tuning.summary))
    return {
        "penalty": tuning.penalty,
        "zero_point_mas": tuning.zero_point,
        "summary": tuning.summary,
        "undecided": tuning.undecided,
        "grid": table_as_json(table),
    }
