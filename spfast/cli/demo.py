"""`spfast demo`: a small survey from nothing to a validated catalog and its report."""

import importlib.util
from pathlib import Path

from spfast.cli.catalog import write_catalog
from spfast.cli.ingest import print_survey
from spfast.cli.options import add_overwrite_option, configuration, count
from spfast.cli.outputs import result, say
from spfast.cli.simulate import MOCK_CLUSTERS
from spfast.errors import BadInputError
from spfast.files import clear_leftovers
from spfast.lock import hold

__all__ = ["COMMON", "EXAMPLES", "HELP", "options", "run"]

HELP = "Simulate a small survey, then make its catalog, validate it and write a report about it."
COMMON = ("config", "threads", "seed")
EXAMPLES = ("spfast demo demo/", "spfast demo demo/ --stars 1000 --overwrite")

#: Stars of the demo: enough that a model means something, few enough for two minutes.
DEMO_STARS = 3000
#: A demo of fewer stars has no star clusters: there would be little else.
DEMO_CLUSTERS_FROM = 1000


def options(parser):
    parser.add_argument("out", nargs="?", default="demo", metavar="OUT", help="folder to make (default: %(default)s)")
    parser.add_argument(
        "--stars", type=count, default=DEMO_STARS, metavar="N", help="number of mock stars (default: %(default)s)"
    )
    add_overwrite_option(parser)


def run(args):
    with hold(args.out):
        return _run_demo(args)


def _run_demo(args):
    from spfast.config import AUTO, penalty_settings
    from spfast.data.ingest import ingest
    from spfast.data.tables.read import read_table
    from spfast.data.tables.write import write_table
    from spfast.simulate import simulate_download
    from spfast.training.tune import HEADER_COMMENTS, tune

    out, config = Path(args.out), configuration(args)
    if not (args.config or args.preset):
        config = config.replace(fit=penalty_settings(AUTO))  # the paper's 30 is for twenty times as many stars
    download, survey_path, catalog_path = out / "download", out / "survey", out / "catalog.fits"
    tune_path, models_path, scores_path, report_path = (
        out / name for name in ("tune.ecsv", "models", "validation.ecsv", "report")
    )
    results = [download, survey_path, tune_path, catalog_path, models_path, scores_path, report_path]
    _clear_demo(results, args.overwrite)
    clusters = MOCK_CLUSTERS if args.stars >= DEMO_CLUSTERS_FROM else ()
    out.mkdir(parents=True, exist_ok=True)
    for path in results:
        clear_leftovers(path)
    say(args, f"1. A mock download of {args.stars:,} stars in the formats of APOGEE DR17 and Gaia: {download}")
    simulate_download(download, args.stars, seed=args.seed, quiet=args.quiet, clusters=clusters)
    allstar = next(download.glob("allStar-*.fits"))
    say(args, f"2. Read, match, cut and normalise: {survey_path}")
    survey = ingest(
        allstar, download, download / "gaia.fits", survey_path, config=config, threads=args.threads, quiet=args.quiet
    )
    print_survey(args, survey)
    say(args, f"3. Cross-validate the penalty: {tune_path}")
    tuning, grid = tune(
        survey, zero_points=[config.fit.zero_point], config=config, threads=args.threads, quiet=args.quiet
    )
    write_table(grid, tune_path, args.overwrite, HEADER_COMMENTS)
    say(args, f"  {tuning.summary}")
    chosen = ", its penalty by cross-validation within its own stars" if config.fit.penalty_rule == AUTO else ""
    say(args, f"4. Fit one model to each fold{chosen}, and predict the other fold: {catalog_path}")
    catalog = write_catalog(args, survey, config, catalog_path, models_path)
    truth = read_table(download / "truth.fits")
    say(args, f"5. Compare with Gaia, and with the truth that only a simulation knows: {scores_path}")
    _validate(args, catalog, truth, scores_path)
    _demo_report(args, config, catalog, survey, report_path, models_path, truth, grid)
    say(
        args,
        f"These were {survey.n_stars:,} stars; the paper had 44,784. More stars to train on give less scatter.",
    )
    return {}


def _demo_report(args, config, catalog, survey, path, models_path, truth, grid):
    from spfast.report.page import make_report
    from spfast.validation.material import load_models

    missing = [name for name in ("matplotlib", "jinja2") if importlib.util.find_spec(name) is None]
    if missing:
        say(args, f"6. No report page: it needs {' and '.join(missing)} (pip install 'spfast[report]')")
        return
    say(args, f"6. Draw every figure and write one page about the catalog: {path / 'report.html'}")
    make_report(
        catalog,
        survey,
        path,
        models=load_models([models_path]),
        truth=truth,
        tune=grid,
        config=config,
        threads=args.threads,
        quiet=args.quiet,
    )


def _clear_demo(paths, overwrite):
    existing = [path for path in paths if path.exists()]
    if existing and not overwrite:
        raise BadInputError(f"{existing[0]}: already exists; give another folder or --overwrite")
    import shutil

    for path in existing:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _validate(args, catalog, truth, path):
    from spfast.data.tables.write import write_table
    from spfast.validation.coverage import coverage
    from spfast.validation.measures import format_validation, validate

    scores = validate(catalog, truth)
    result(args, format_validation(scores))
    total = next(row for row in coverage(catalog, truth) if row["reference"] == "truth" and row["stars"] == "all")
    result(
        args,
        f"With spec_parallax_err_total {total['within_68']:.0%} and {total['within_95']:.0%} of the true parallaxes "
        f"lie within the 68% and 95% ranges; pull {total['pull']:.2f}.",
    )
    write_table(scores, path, args.overwrite)
    say(args, f"wrote {path}")
