"""`spfast fit`: one model from a survey's training stars."""

import argparse
from dataclasses import replace

from spfast.cli.options import (
    add_cluster_option,
    add_fit_options,
    add_licence_option,
    add_overwrite_option,
    configuration,
)
from spfast.cli.outputs import on_given_cluster, output, say
from spfast.config import CONSTANT, Config

__all__ = ["COMMON", "EXAMPLES", "HELP", "model_facts", "options", "print_model", "run"]

HELP = "Fit one model to the training stars of a survey."
COMMON = ("config", "threads", "seed", "json")
EXAMPLES = (
    "spfast fit survey/ -o model.npz --penalty auto",
    "spfast fit survey/ -o model_A.npz --fold A --penalty 20 --zero-point 0.0483",
)

#: A sum over fewer training stars than these wants a smaller penalty than the paper's.
FEW_STARS = 7000


def options(parser):
    parser.add_argument("survey", metavar="SURVEY", help="survey folder")
    parser.add_argument("-o", "--output", required=True, metavar="MODEL", help="model file to write (.npz)")
    parser.add_argument("--fold", choices=("A", "B"), help="train on this fold only (default: on all training stars)")
    add_licence_option(parser)
    add_fit_options(parser)
    add_cluster_option(parser)
    add_overwrite_option(parser)


def run(args):
    from spfast.data.survey import open_survey
    from spfast.training.fold import fit_stars

    with output(args, suffixes=(".npz",)) as path:
        survey, config = open_survey(args.survey), configuration(args)
        with on_given_cluster(args, path):
            model = fit_stars(survey, config, args.fold, args.threads, args.quiet)
        replace(model, licence=args.licence).save(path)
    found = print_model(args, model)
    say(args, f"wrote {path}")
    return {"model": path, **found}


def print_model(args: argparse.Namespace, model) -> dict:
    """Say how a fit went, and what was chosen for it; return it for JSON."""
    result = model.result
    say(
        args,
        f"  model {model.provenance.fold}: {model.n_stars:,} stars, penalty {model.penalty_text}: "
        f"{model.columns_used} used, objective {result.objective:.8g}, "
        f"KKT violation {result.kkt_violation:.2g}, {result.n_passes} passes in {result.seconds:.1f} s",
    )
    zero_point = f"{model.zero_point:.4f} mas" if model.zero_point_rule == CONSTANT else "star by star"
    say(args, f"    zero point {zero_point} ({model.provenance.zero_point_reason})")
    if model.tuned is not None:
        say(args, f"    chosen: {model.tuned.summary}")
    elif model.penalty == Config().fit.penalty and model.n_stars < FEW_STARS:
        say(args, f"    this is the paper's penalty, for 14,000 stars; --penalty auto finds one for {model.n_stars:,}")
    if model.robust is not None:
        robust = model.robust
        say(
            args,
            f"    robust: {robust.n_outliers:,} outliers, share {robust.outlier_share:.2%}, width "
            f"{robust.outlier_width:.1f}; scatter {robust.intrinsic_scatter:.1%}; {robust.n_rounds} rounds",
        )
    return model_facts(model)


def model_facts(model) -> dict:
    """What a model was trained on, what was chosen for it, and how its fit went (dict)."""
    result = model.result
    return {
        "fold": model.provenance.fold,
        "stars": model.n_stars,
        "penalty": model.penalty,
        "zero_point_rule": model.zero_point_rule,
        "zero_point_mas": model.zero_point,
        "zero_point_reason": model.provenance.zero_point_reason,
        "chosen": None if model.tuned is None else model.tuned.summary,
        "coefficients": model.n_features,
        "nonzero": model.n_nonzero,
        "objective": result.objective,
        "kkt_violation": result.kkt_violation,
        "converged": result.converged,
        "passes": result.n_passes,
    }
