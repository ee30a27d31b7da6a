"""`spfast rebuild`: a catalog again from its survey and its own header, compared byte for byte."""

from contextlib import nullcontext

from spfast.cli.options import add_overwrite_option
from spfast.cli.outputs import output, result
from spfast.errors import BadInputError
from spfast.progress import Progress

__all__ = ["COMMON", "EXAMPLES", "HELP", "options", "run"]

HELP = "Make a catalog again from its survey and its own header, and compare the bytes."
COMMON = ("threads",)
EXAMPLES = ("spfast rebuild catalog.fits --survey survey/",)


def options(parser):
    parser.add_argument("catalog", metavar="CATALOG", help="table that spfast catalog wrote: .fits .ecsv .vot .parquet")
    parser.add_argument("--survey", required=True, metavar="SURVEY", help="survey folder that it was made from")
    parser.add_argument("-o", "--output", metavar="FILE", help="keep the new catalog here, in the same format")
    add_overwrite_option(parser)


def run(args):
    from spfast.catalog.rebuild import rebuild_catalog
    from spfast.data.survey import open_survey

    survey = open_survey(args.survey)
    again = Progress("make the catalog again", quiet=args.quiet)
    with output(args) if args.output else nullcontext() as path, again:
        differences, added = rebuild_catalog(args.catalog, survey, path, args.overwrite, args.threads)
    if differences:
        raise BadInputError(f"{args.catalog}: not what its survey and header give now: {'; '.join(differences)}")
    same = f"the same values; it is too old to have {', '.join(added)}" if added else "the same bytes"
    result(args, f"{args.catalog}: made again, {same}")
    return {"catalog": args.catalog, "same_bytes": not added, "added": list(added)}
