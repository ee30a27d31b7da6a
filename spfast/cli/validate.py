"""`spfast validate`: every check of a catalog that the given files allow, and a verdict."""

from pathlib import Path

from spfast.cli.as_json import table_as_json
from spfast.cli.options import TABLE_SUFFIXES, add_overwrite_option, number
from spfast.cli.outputs import outputs, result, say
from spfast.config import ZERO_POINT, warn_of_zero_point
from spfast.progress import Progress

__all__ = ["COMMON", "EXAMPLES", "HELP", "options", "run"]

COMMON = ("threads", "json")
EXAMPLES = (
    "spfast validate catalog.fits --survey survey/ --models models/",
    "spfast validate catalog.fits --compare old_catalog.fits -o validation.ecsv",
)
HELP = "Check a catalog against Gaia and the other files given, and say what is good and what is not."

#: Extinction laws, the default first: those of `spfast.validation.reddening`, which is slow to import.
LAWS = ("wang2019", "yuan2013")
#: Name of the table of findings among those of the checks.
_VERDICT = "verdict"


def options(parser):
    parser.add_argument("catalog", metavar="CATALOG", help="table with the seven columns of the paper's Table 1")
    parser.add_argument("--truth", metavar="FILE", help="true parallaxes: APOGEE_ID and true_parallax [mas]")
    parser.add_argument(
        "--survey", metavar="SURVEY", help="its survey: adds coverage by G, H-W2 and S/N, and trends of the residuals"
    )
    parser.add_argument(
        "--models",
        action="append",
        metavar="DIR|MODEL",
        help="a folder that catalog --models wrote, or a model file; can be given several times: adds how well the "
        "models agree and, with --survey, how reddening changes their predictions",
    )
    parser.add_argument("--compare", metavar="OTHER", help="another catalog, matched by 2MASS_ID")
    parser.add_argument(
        "--clusters", metavar="FILE", help="cluster members: 2MASS_ID, cluster and, if known, distance [kpc]"
    )
    parser.add_argument(
        "--law",
        default=LAWS[0],
        metavar="LAW",
        help=f"extinction law for the test of reddening: {' or '.join(LAWS)} (default: %(default)s)",
    )
    parser.add_argument(
        "--zero-point",
        type=number,
        metavar="MAS",
        help="zero point that was added to Gaia_parallax [mas] (default: the one in the catalog's header, else "
        f"{ZERO_POINT})",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help=f"table of the measures to write: {TABLE_SUFFIXES}; other tables go beside it: FILE_coverage, ..., "
        "FILE_verdict",
    )
    parser.add_argument("--explain", action="store_true", help="say what the head of each column means")
    add_overwrite_option(parser)


def run(args):
    from spfast.catalog.compatibility import check_catalog
    from spfast.data.survey import open_survey
    from spfast.data.tables.read import read_table
    from spfast.data.tables.write import check_output, write_table
    from spfast.validation.checks import CHECKS, check_names, format_checks, run_checks
    from spfast.validation.judge import judge
    from spfast.validation.material import load_models
    from spfast.validation.read_catalog import TABLE_1
    from spfast.validation.terminal import explain
    from spfast.validation.verdict import format_verdict, verdict_table

    if args.zero_point is not None:
        warn_of_zero_point(args.zero_point)
    if args.output:
        check_output(args.output, args.overwrite)  # before the tables are read
    catalog = read_table(args.catalog, TABLE_1)
    material = {
        "truth": read_table(args.truth, ("true_parallax",)) if args.truth else None,
        "survey": open_survey(args.survey) if args.survey else None,
        "models": load_models(args.models) if args.models else None,
        "other": read_table(args.compare, TABLE_1) if args.compare else None,
        "members": read_table(args.clusters, ("cluster", "2MASS_ID", "APOGEE_ID")) if args.clusters else None,
    }
    check_catalog(catalog, material["survey"], material["models"])
    paths = {}
    if args.output:
        path, (first, *others) = Path(args.output), [*check_names(**material), _VERDICT]
        paths = {first: path} | {name: path.with_stem(f"{path.stem}_{name}") for name in others}
    with outputs(paths.values(), args):
        with Progress("check the catalog", quiet=args.quiet, leaves_line=False):
            tables = run_checks(catalog, **material, zero_point=args.zero_point, law=args.law, threads=args.threads)
        findings = judge(catalog, tables, material["survey"], material["models"])
        result(args, f"{format_checks(tables)}\n\n{format_verdict(findings)}")
        if args.explain:
            result(args, "\n" + explain({check.title: check.columns for check in CHECKS if check.name in tables}))
        elif not args.json:
            say(args, "--explain says what the heads mean")
        tables[_VERDICT] = verdict_table(findings)
        for name, path in paths.items():
            write_table(tables[name], path, args.overwrite)
            say(args, f"wrote {path}")
    return {"catalog": args.catalog, "tables": {name: table_as_json(table) for name, table in tables.items()}}
