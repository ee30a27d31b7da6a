"""The options that several commands have, and the configuration that they make."""

import argparse

from spfast.config import COVARIATES, PRESETS, Config, load_config

__all__ = [
    "add_common_options",
    "add_fit_options",
    "add_overwrite_option",
    "add_solver_options",
    "add_table_option",
    "configuration",
    "count",
]


def add_common_options(parser):
    """The options that every command has."""
    common = parser.add_argument_group("common options")
    common.add_argument("--config", metavar="FILE", help="TOML file of settings; options given here win over it")
    common.add_argument("--preset", choices=PRESETS, help="settings to start from (default: default)")
    common.add_argument("--threads", type=count, metavar="N", help="processors to use (default: all)")
    common.add_argument("--seed", type=int, metavar="S", help="seed of a mock survey and of the hash for folds")
    common.add_argument("--quiet", action="store_true", help="print results, warnings and errors only")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")


def add_fit_options(parser):
    """The options of a fit: penalty, zero point, and those of `add_solver_options`."""
    default = Config().fit
    parser.add_argument(
        "--penalty",
        type=_number_or_word,
        metavar="L|auto",
        help=f"L1 penalty lambda on the pixels (default: {default.penalty:g}); auto: chosen for each model by folds "
        "within its own training stars",
    )
    parser.add_argument(
        "--zero-point",
        type=_number_or_word,
        metavar="MAS|RULE",
        help=f"added to every Gaia parallax [mas] (default: {default.zero_point:g}); auto: chosen as the penalty; "
        "fit: with the coefficients, the distance modulus exact; "
        "lindegren2021: Gaia DR3's own, star by star (pip install 'spfast[zeropoint]')",
    )
    parser.add_argument(
        "--zero-point-covariates",
        nargs="+",
        choices=COVARIATES,
        metavar="NAME",
        help="with --zero-point fit: a zero point that is linear in these as well: "
        f"{', '.join(COVARIATES)} (default: none)",
    )
    add_solver_options(parser)


def add_solver_options(parser):
    """The options that a fit and a grid of fits have in common."""
    parser.add_argument(
        "--robust",
        action="store_true",
        default=None,
        help="give wrong parallaxes a component of their own, so that they do no harm (default: all count as right)",
    )
    parser.add_argument(
        "--exact-distance-modulus",
        action="store_true",
        default=None,
        help="hold the magnitudes' coefficients to a sum of -0.2 ln 10, as distances ask (default: free)",
    )
    parser.add_argument(
        "--pixel-correlation",
        type=float,
        nargs="+",
        metavar="RHO",
        help="correlation of the errors of pixels 1, 2, ... apart, e.g. 0.4 0.1 (default: independent)",
    )
    parser.add_argument("--solver", choices=("prox-newton", "owlqn"), help="minimiser (default: prox-newton)")
    parser.add_argument(
        "--split",
        choices=("auto", "random_index", "hash"),
        help="how to split into A and B: Gaia's random_index, a hash of source_id, or what is there (default: auto)",
    )


def add_table_option(parser):
    """The table that a command must write."""
    parser.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="table to write: .fits .ecsv .vot .csv .parquet"
    )


def add_overwrite_option(parser):
    """Whether outputs may be replaced."""
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that exist")


def count(text: str) -> int:
    """A number of things, at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected at least 1")
    return value


def _number_or_word(text):
    try:
        return float(text)
    except ValueError:
        return text


def configuration(args) -> Config:
    """The configuration: the preset, the file over it, the options over both."""
    given = {
        "fit": {"solver": "solver", "exact_distance_modulus": "exact_distance_modulus", "robust": "robust"},
        "folds": {"seed": "seed", "split": "split"},
        "errors": {"pixel_correlation": "pixel_correlation"},
    }
    overrides = {
        section: {key: getattr(args, option) for key, option in keys.items() if getattr(args, option, None) is not None}
        for section, keys in given.items()
    }
    if getattr(args, "penalty", None) is not None:
        from spfast.config import penalty_settings

        overrides["fit"] |= penalty_settings(args.penalty)
    if getattr(args, "zero_point", None) is not None:
        from spfast.config import zero_point_settings

        overrides["fit"] |= zero_point_settings(args.zero_point)
    if getattr(args, "zero_point_covariates", None) is not None:
        overrides["fit"] |= {"zero_point_covariates": ",".join(args.zero_point_covariates)}
    return load_config(args.config, args.preset, overrides)
