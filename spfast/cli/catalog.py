"""`spfast catalog`: the two-fold catalog of a survey."""

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from spfast.cli.fit import print_model
from spfast.cli.options import (
    add_cluster_option,
    add_extra_columns_options,
    add_fit_options,
    add_licence_option,
    add_overwrite_option,
    add_table_option,
    configuration,
)
from spfast.cli.outputs import on_given_cluster, output, say
from spfast.config import Config
from spfast.progress import Progress

__all__ = ["COMMON", "EXAMPLES", "HELP", "model_path", "options", "run", "write_catalog"]

HELP = "Fit one model to each fold; predict each star with the model that was not trained on its fold."
COMMON = ("config", "threads", "seed", "json")
EXAMPLES = (
    "spfast catalog survey/ -o catalog.fits --penalty auto --models models/",
    "spfast catalog survey/ -o catalog.fits --preset hogg2019",
    "spfast catalog survey/ -o catalog.fits --penalty 50 --zero-point 0.029 --robust",
)


def options(parser):
    parser.add_argument("survey", metavar="SURVEY", help="survey folder")
    add_table_option(parser)
    add_extra_columns_options(parser)
    models = " and ".join(str(model_path("DIR", fold)) for fold in "AB")
    parser.add_argument("--models", metavar="DIR", help=f"save the two models as well: {models}")
    add_licence_option(parser)
    add_fit_options(parser)
    add_cluster_option(parser)
    add_overwrite_option(parser)


def run(args):
    from spfast.catalog.labels import check_extra_columns
    from spfast.data.survey import open_survey
    from spfast.data.tables.write import check_output
    from spfast.lock import hold

    check_extra_columns(args.extra_columns)
    model_paths = [model_path(args.models, fold) for fold in "AB"] if args.models else []
    with output(args) as path, ExitStack() as held:
        for saved in model_paths:
            held.enter_context(hold(saved))  # makes the folder, too
            check_output(saved, args.overwrite, suffixes=())
        survey, config = open_survey(args.survey), configuration(args)
        with on_given_cluster(args, path):
            catalog = write_catalog(args, survey, config, path, args.models, args.licence, args.extra_columns)
    return {"catalog": path, "stars": len(catalog), "header": dict(catalog.meta)}


def model_path(folder: str | Path, fold: str) -> Path:
    """The file of a fold's model in a folder of models."""
    return Path(folder) / f"model_{fold}.npz"


def write_catalog(
    args: argparse.Namespace,
    survey,
    config: Config,
    path: Path,
    model_folder: str | Path | None = None,
    licence: str | None = None,
    extra_columns: Sequence[str] = (),
):
    """Fit the models, write the catalog (and the models, if there is a folder for them), and return it."""
    from spfast.catalog.make import HEADER_COMMENTS, make_catalog
    from spfast.data.tables.write import write_table
    from spfast.training.fold import fit_folds

    models = fit_folds(survey, config, args.threads, args.quiet)
    for fold, model in models.items():
        print_model(args, model)
        if model_folder:
            saved = model_path(model_folder, fold)
            saved.parent.mkdir(parents=True, exist_ok=True)
            replace(model, licence=licence).save(saved)
    with Progress("predict each fold's stars by the other's model", quiet=args.quiet, leaves_line=False):
        catalog = make_catalog(survey, config=config, threads=args.threads, models=models, extra_columns=extra_columns)
    write_table(catalog, path, args.overwrite, HEADER_COMMENTS)
    say(args, f"wrote {path}: {len(catalog):,} stars")
    return catalog
