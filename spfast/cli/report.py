"""`spfast report`: every figure of a catalog, and one HTML page about it."""

from spfast.cli.options import add_overwrite_option, configuration
from spfast.cli.outputs import say

__all__ = ["COMMON", "EXAMPLES", "HELP", "options", "run"]

HELP = "Draw every figure of a catalog and write one HTML page about it."
COMMON = ("config", "threads")
EXAMPLES = (
    "spfast report catalog.fits --survey survey/ --models models/ -o report/",
    "spfast report catalog.fits --compare old_catalog.fits -o report/ --overwrite",
)


def options(parser):
    parser.add_argument(
        "catalog", metavar="CATALOG", help="table that spfast catalog wrote, or any with its first seven columns"
    )
    parser.add_argument(
        "--survey",
        metavar="SURVEY",
        help="survey folder that it was made from; without it, what the catalog alone can tell",
    )
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder to make: report.html and figures/")
    parser.add_argument(
        "--models",
        metavar="DIR",
        help="folder that catalog --models wrote: adds coefficients, convergence and reddening",
    )
    parser.add_argument("--truth", metavar="FILE", help="true parallaxes: APOGEE_ID and true_parallax [mas]")
    parser.add_argument("--tune", metavar="FILE", help="table that spfast tune wrote: adds its grid")
    parser.add_argument(
        "--clusters",
        metavar="FILE",
        help="cluster members: 2MASS_ID, cluster and, if known, distance [kpc] (default: those found around twelve "
        "known clusters)",
    )
    parser.add_argument("--compare", metavar="OTHER", help="another catalog, matched by 2MASS_ID")
    parser.add_argument(
        "--images",
        choices=("inside", "beside"),
        default="inside",
        help="put images inside the page or beside it (default: %(default)s)",
    )
    add_overwrite_option(parser)


def run(args):
    from spfast.catalog.compatibility import check_catalog
    from spfast.data.survey import open_survey
    from spfast.data.tables.read import read_table
    from spfast.report.page import make_report
    from spfast.validation.material import load_models
    from spfast.validation.read_catalog import TABLE_1

    catalog, survey = read_table(args.catalog, TABLE_1), open_survey(args.survey) if args.survey else None
    models = load_models([args.models]) if args.models else None
    check_catalog(catalog, survey, models)
    page = make_report(
        catalog,
        survey,
        args.output,
        models=models,
        truth=read_table(args.truth, ("true_parallax",)) if args.truth else None,
        tune=read_table(args.tune) if args.tune else None,
        members=read_table(args.clusters, ("cluster", "2MASS_ID", "APOGEE_ID")) if args.clusters else None,
        other=read_table(args.compare, TABLE_1) if args.compare else None,
        images=args.images,
        config=configuration(args),
        overwrite=args.overwrite,
        threads=args.threads,
        quiet=args.quiet,
    )
    say(args, f"wrote {page}; open it in a browser")
    return {}
