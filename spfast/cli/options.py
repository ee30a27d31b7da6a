"""The options of every command."""

import argparse

from spfast import __version__
from spfast.cli import commands, demo
from spfast.cli.shared import MOCK_CLUSTERS
from spfast.config import COVARIATES, PRESETS, Config, TuneConfig

__all__ = ["make_parser"]

#: Data releases whose layout of files `simulate` imitates.
RELEASES = ("dr14", "dr16", "dr17", "dr19")


def make_parser():
    """The parser of the whole command line (argparse.ArgumentParser)."""
    parser = argparse.ArgumentParser(
        prog="spfast",
        description="Spectrophotometric parallaxes of red giants from APOGEE spectra and broad-band photometry.",
        epilog="See it work from nothing: spfast demo demo/",
    )
    parser.add_argument("--version", action="version", version=f"spfast {__version__}")
    subcommands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name, run, text):
        sub = subcommands.add_parser(name, help=text, description=text, allow_abbrev=False)
        common = sub.add_argument_group("common options")
        common.add_argument("--config", metavar="FILE", help="TOML file of settings; options given here win over it")
        common.add_argument("--preset", choices=PRESETS, help="settings to start from (default: default)")
        common.add_argument("--threads", type=_count, metavar="N", help="processors to use (default: all)")
        common.add_argument("--seed", type=int, metavar="S", help="seed of a mock survey and of the hash for folds")
        common.add_argument("--quiet", action="store_true", help="print results, warnings and errors only")
        common.add_argument("--debug", action="store_true", help="show the traceback of an error")
        sub.set_defaults(run=run)
        return sub

    sub = command(
        "demo", demo.run_demo, "Simulate a small survey and take it all the way to a validated catalog and its report."
    )
    sub.add_argument("out", nargs="?", default="demo", metavar="OUT", help="folder to make (default: demo)")
    sub.add_argument(
        "--stars", type=_count, default=demo.DEMO_STARS, metavar="N", help="mock stars (default: %(default)s)"
    )
    _overwrite(sub)

    sub = command("simulate", commands.run_simulate, "Make a mock survey in real file formats, and its truth.")
    sub.add_argument("out", metavar="OUT", help="folder to make")
    sub.add_argument("--stars", type=_count, default=3000, metavar="N", help="mock stars (default: %(default)s)")
    sub.add_argument("--release", choices=RELEASES, default="dr17", help="layout of the files (default: dr17)")
    sub.add_argument(
        "--spectra", choices=("apStar", "aspcapStar"), default="aspcapStar", help="kind of file (default: aspcapStar)"
    )
    sub.add_argument("--survey", action="store_true", help="write a survey folder directly, no FITS spectra: for any N")
    sub.add_argument(
        "--zero-point",
        type=float,
        default=Config().fit.zero_point,
        metavar="MAS",
        help="what Gaia's parallaxes are too small by at G = 14 [mas] (default: %(default)s)",
    )
    sub.add_argument(
        "--clusters",
        nargs="*",
        metavar="NAME",
        help="with mock members of these star clusters, labelled in the truth; without a name: "
        f"{', '.join(MOCK_CLUSTERS)} (default: none)",
    )
    sub.add_argument(
        "--zero-point-slope",
        type=float,
        default=0.0,
        metavar="SLOPE",
        help="and by more for every further magnitude [mas/mag] (default: %(default)s)",
    )
    sub.add_argument(
        "--wrong-parallaxes",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="give this share of the stars a wrong parallax: another star's, or off by 10 to 50 errors (default: 0)",
    )

    sub = command(
        "ingest", commands.run_ingest, "Read, match, cut and normalise; build a survey. An interrupted run goes on."
    )
    sub.add_argument("--allstar", required=True, metavar="FILE", help="APOGEE allStar table")
    sub.add_argument("--spectra", required=True, metavar="DIR", help="folder of apStar or aspcapStar files")
    sub.add_argument("--gaia", required=True, metavar="FILE", help="Gaia table, joined with WISE or not")
    sub.add_argument("--wise", metavar="FILE", help="WISE table, if it is not in the Gaia table")
    sub.add_argument("--like", metavar="SURVEY", help="make the features like this survey's, so that its models fit")
    sub.add_argument("-o", "--output", required=True, metavar="SURVEY", help="folder to make")

    sub = command("fit", commands.run_fit, "Fit one model to the training stars of a survey.")
    sub.add_argument("survey", metavar="SURVEY", help="survey folder")
    sub.add_argument("-o", "--output", required=True, metavar="MODEL", help="model file to write (.npz)")
    sub.add_argument("--fold", choices=("A", "B"), help="train on this fold only (default: on all training stars)")
    _fit_options(sub)
    _overwrite(sub)

    sub = command(
        "tune", commands.run_tune, "Cross-validate penalty and zero point. An interrupted run with -o goes on."
    )
    sub.add_argument("survey", metavar="SURVEY", help="survey folder")
    default = Config().tune
    for name, metavar, values in (
        ("--penalties", "L", default.penalties),
        ("--zero-points", "MAS", default.zero_points),
    ):
        text = f"grid, or one number to keep fixed (default: {' '.join(f'{value:g}' for value in values)})"
        sub.add_argument(name, type=float, nargs="+", metavar=metavar, help=text)
    sub.add_argument(
        "--folds", type=_count, default=2, metavar="K", help="folds; 2: the catalog's A and B (default: 2)"
    )
    sub.add_argument("--repeats", type=_count, default=1, metavar="R", help="splits into K folds (default: 1)")
    sub.add_argument(
        "--score", choices=TuneConfig.choices("score"), help=f"on stars held out (default: {default.score})"
    )
    sub.add_argument(
        "--choice", choices=TuneConfig.choices("choice"), help=f"which point to choose (default: {default.choice})"
    )
    _solver_options(sub)
    sub.add_argument("-o", "--output", metavar="FILE", help="table of all points: .ecsv .fits .vot .csv .parquet")
    sub.add_argument("--plot", action="store_true", help="draw score against penalty beside it: .png and .pdf")
    _overwrite(sub)

    sub = command("predict", commands.run_predict, "Apply a saved model to a survey, new stars included.")
    sub.add_argument("model", metavar="MODEL", help="model file written by spfast fit or catalog --models")
    sub.add_argument("survey", metavar="SURVEY", help="survey folder")
    _output_table(sub)
    _overwrite(sub)

    sub = command(
        "catalog", commands.run_catalog, "Fit a model to each fold, predict each star by the model that never saw it."
    )
    sub.add_argument("survey", metavar="SURVEY", help="survey folder")
    _output_table(sub)
    sub.add_argument("--models", metavar="DIR", help="also save the two models: DIR/model_A.npz and DIR/model_B.npz")
    _fit_options(sub)
    _overwrite(sub)

    sub = command(
        "rebuild", commands.run_rebuild, "Make a catalog again from its survey and its own header; compare the bytes."
    )
    sub.add_argument("catalog", metavar="CATALOG", help="table that spfast catalog wrote: .fits .ecsv .vot .parquet")
    sub.add_argument("--survey", required=True, metavar="SURVEY", help="the survey folder it was made from")
    sub.add_argument("-o", "--output", metavar="FILE", help="keep the new one here, in the same format")
    _overwrite(sub)

    sub = command(
        "validate", commands.run_validate, "Score a catalog: the paper's measures, its errors, and what else is asked."
    )
    sub.add_argument("catalog", metavar="CATALOG", help="table with the seven columns of Table 1")
    sub.add_argument("--truth", metavar="FILE", help="table with APOGEE_ID and true_parallax [mas]")
    sub.add_argument("--survey", metavar="SURVEY", help="its survey: coverage by G, H-W2 and S/N, trends of residuals")
    sub.add_argument(
        "--models",
        action="append",
        metavar="DIR|MODEL",
        help="models to compare two by two and, with --survey, to redden stars for: a folder of catalog --models or a "
        "file; may be given again",
    )
    sub.add_argument("--compare", metavar="OTHER", help="another catalog, matched by 2MASS_ID")
    sub.add_argument("--clusters", metavar="FILE", help="members: 2MASS_ID, cluster and, if known, distance [kpc]")
    sub.add_argument("--law", default="wang2019", metavar="LAW", help="extinction law: wang2019 (default) or yuan2013")
    sub.add_argument(
        "--zero-point",
        type=float,
        metavar="MAS",
        help="what Gaia_parallax has had added [mas] (default: what the catalog's header says, else 0.0483)",
    )
    sub.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="table to write the measures to: .fits .ecsv .vot .csv .parquet; the others beside it: FILE_coverage, ...",
    )
    _overwrite(sub)

    sub = command("report", commands.run_report, "Draw every figure of a catalog and write one HTML page about it.")
    sub.add_argument("catalog", metavar="CATALOG", help="table that spfast catalog wrote")
    sub.add_argument("--survey", required=True, metavar="SURVEY", help="the survey folder it was made from")
    sub.add_argument("-o", "--output", required=True, metavar="DIR", help="folder to make: report.html and figures/")
    sub.add_argument("--models", metavar="DIR", help="folder of catalog --models: coefficients, convergence, reddening")
    sub.add_argument("--truth", metavar="FILE", help="table with APOGEE_ID and true_parallax [mas]")
    sub.add_argument("--tune", metavar="FILE", help="table that spfast tune wrote")
    sub.add_argument(
        "--clusters",
        metavar="FILE",
        help="members: 2MASS_ID, cluster and, if known, distance [kpc] (default: found around twelve known clusters)",
    )
    sub.add_argument("--compare", metavar="OTHER", help="another catalog, matched by 2MASS_ID")
    sub.add_argument(
        "--images",
        choices=("inside", "beside"),
        default="inside",
        help="images in the page or next to it (default: inside)",
    )
    _overwrite(sub)

    sub = command(
        "info", commands.run_info, "Say what a survey, model or catalog is, how it was made, whether it is whole."
    )
    sub.add_argument("path", metavar="SURVEY|MODEL|CATALOG", help="folder or file")
    sub.add_argument("--verify", action="store_true", help="read every byte and compare with the stored hashes")

    command(
        "warmup", commands.run_warmup, "Compile every kernel now and keep it on disk; later commands start at once."
    )
    return parser


def _fit_options(sub):
    default = Config().fit
    sub.add_argument(
        "--penalty",
        type=_number_or_word,
        metavar="L|auto",
        help=f"L1 penalty lambda on the pixels (default: {default.penalty:g}); auto: chosen for each model by folds "
        "within its own training stars",
    )
    sub.add_argument(
        "--zero-point",
        type=_number_or_word,
        metavar="MAS|RULE",
        help=f"added to every Gaia parallax [mas] (default: {default.zero_point:g}); auto: chosen as the penalty; "
        "fit: with the coefficients, the distance modulus exact; "
        "lindegren2021: Gaia DR3's own, star by star (pip install 'spfast[zeropoint]')",
    )
    sub.add_argument(
        "--zero-point-covariates",
        nargs="+",
        choices=COVARIATES,
        metavar="NAME",
        help="with --zero-point fit: a zero point that is linear in these as well: "
        f"{', '.join(COVARIATES)} (default: none)",
    )
    _solver_options(sub)


def _solver_options(sub):
    sub.add_argument(
        "--robust",
        action="store_true",
        default=None,
        help="give wrong parallaxes a component of their own, so that they do no harm (default: all count as right)",
    )
    sub.add_argument(
        "--exact-distance-modulus",
        action="store_true",
        default=None,
        help="hold the magnitudes' coefficients to a sum of -0.2 ln 10, as distances ask (default: free)",
    )
    sub.add_argument(
        "--pixel-correlation",
        type=float,
        nargs="+",
        metavar="RHO",
        help="correlation of the errors of pixels 1, 2, ... apart, e.g. 0.4 0.1 (default: independent)",
    )
    sub.add_argument("--solver", choices=("prox-newton", "owlqn"), help="minimiser (default: prox-newton)")
    sub.add_argument(
        "--split",
        choices=("auto", "random_index", "hash"),
        help="how to split into A and B: Gaia's random_index, a hash of source_id, or what is there (default: auto)",
    )


def _output_table(sub):
    sub.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="table to write: .fits .ecsv .vot .csv .parquet"
    )


def _overwrite(sub):
    sub.add_argument("--overwrite", action="store_true", help="replace outputs that exist")


def _number_or_word(text):
    try:
        return float(text)
    except ValueError:
        return text


def _count(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected at least 1")
    return value
