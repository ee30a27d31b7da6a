"""The options that several commands have, and the configuration that they make."""

import argparse
import dataclasses
import math
from collections.abc import Callable, Collection

from spfast.config import (
    AUTO,
    CONSTANT,
    COVARIATES,
    PRESETS,
    Config,
    load_config,
    penalty_settings,
    warn_of_zero_point,
    zero_point_settings,
)

__all__ = [
    "TABLE_SUFFIXES",
    "add_cluster_option",
    "add_common_options",
    "add_extra_columns_options",
    "add_fit_options",
    "add_input_options",
    "add_licence_option",
    "add_overwrite_option",
    "add_solver_options",
    "add_table_option",
    "configuration",
    "count",
    "group",
    "number",
    "setting",
]

_FIT = "the fit"
#: Tables that can be written, as the help says it: those of `spfast.data.tables.write`, which is slow to import.
TABLE_SUFFIXES = ".fits .ecsv .vot .csv .parquet"


def setting(
    parser: argparse.ArgumentParser,
    section: str,
    key: str,
    *,
    help: str,
    overrides_from: Callable[[object], dict] | None = None,
    **options,
) -> None:
    """Add the option of one setting: ``--key-of-the-field``, of the type and with the choices of its field.

    If it is given, `configuration` finds it in ``args.overrides``. ``%(default)s`` in the help is the value that the
    setting has without preset and file.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    section, key : str
        Section of `spfast.config.Config`, and field of that section.
    help : str
    overrides_from : callable, optional
        From the option's value, the keys and values of the section that it stands for; the field alone by default.
    **options
        For ``add_argument``, in place of those that follow from the field.
    """
    values = getattr(Config(), section)
    field = next(field for field in dataclasses.fields(values) if field.name == key)
    if isinstance(field.default, bool):
        options = {"nargs": 0, "const": True} | options
    elif isinstance(field.default, tuple):
        options = {"nargs": "+", "type": float} | options
    else:
        options = {"type": type(field.default), "choices": field.metadata.get("choices")} | options
    parser.add_argument(
        f"--{key.replace('_', '-')}",
        action=_Setting,
        section=section,
        overrides_from=overrides_from or (lambda value: {key: value}),
        default=field.default,
        help=help,
        **options,
    )


class _Setting(argparse.Action):
    """Keeps what was given in ``args.overrides[section]``, besides where any option's value is kept."""

    def __init__(self, *words, section, overrides_from, **options):
        super().__init__(*words, **options)
        self._section, self._overrides_from = section, overrides_from

    def __call__(self, parser, namespace, value, option_string=None):
        value = self.const if self.nargs == 0 else value
        setattr(namespace, self.dest, value)
        given = namespace.overrides.get(self._section, {}) | self._overrides_from(value)
        namespace.overrides = namespace.overrides | {self._section: given}


def configuration(args: argparse.Namespace) -> Config:
    """The configuration: the preset, the file over it, the options over both."""
    config = load_config(args.config, args.preset, args.overrides)
    if config.fit.zero_point_rule == CONSTANT:
        warn_of_zero_point(config.fit.zero_point)
    return config


def group(parser: argparse.ArgumentParser, title: str) -> argparse.ArgumentParser:
    """The group of options under a title of the help, made when it is first asked for."""
    there = next((group for group in parser._action_groups if group.title == title), None)
    return parser.add_argument_group(title) if there is None else there


def add_common_options(parser: argparse.ArgumentParser, names: Collection[str]) -> None:
    """The options that every command has, and of those that many have the ones that matter to this one.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    names : collection of str
        Some of "config" (with ``--preset``), "threads", "seed" and "json".
    """
    parser.set_defaults(overrides={})
    common = group(parser, "common options")
    if "config" in names:
        common.add_argument(
            "--config", metavar="FILE", help="TOML file of settings, as spfast config prints it; options win over it"
        )
        common.add_argument("--preset", choices=PRESETS, help="named settings to start from (default: default)")
    if "threads" in names:
        common.add_argument(
            "--threads", type=count, metavar="N", help="number of threads (default: one for each processor)"
        )
    if "seed" in names:
        setting(
            common,
            "folds",
            "seed",
            metavar="S",
            help="seed of a simulation, and of the hash that splits stars into folds (default: %(default)s)",
        )
    if "json" in names:
        common.add_argument(
            "--json", action="store_true", help="print the result as JSON, and all else on standard error"
        )
    common.add_argument("--quiet", action="store_true", help="print only results, warnings and errors")
    common.add_argument("--log", metavar="FILE", help="append all that is said, quiet or not, with the time")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")


def add_extra_columns_options(parser: argparse.ArgumentParser) -> None:
    """The options of a table of predictions with more columns than usual: ``args.extra_columns``."""
    options = {"dest": "extra_columns", "action": "append_const", "default": []}
    parser.add_argument(
        "--with-labels",
        const="labels",
        help="add the survey's magnitudes, BP-RP, stellar labels and S/N, as far as it has them, and Galactocentric x, "
        "y, z with their percentiles",
        **options,
    )
    parser.add_argument(
        "--healpix",
        const="healpix",
        help="add _healpix_29, by which LSDB and HATS find stars (needs pip install 'spfast[healpix]')",
        **options,
    )


def add_fit_options(parser: argparse.ArgumentParser) -> None:
    """The options of a fit: penalty, zero point, and those of `add_solver_options`."""
    fit = group(parser, _FIT)
    setting(
        fit,
        "fit",
        "penalty",
        overrides_from=penalty_settings,
        type=_number_or_word,
        metavar="L|auto",
        help="L1 penalty lambda on the pixels' coefficients (default: %(default)g), the paper's for 14,000 training "
        "stars. Chi-squared is a sum over stars, so that lambda / N says how strong it is. auto: chosen for each model "
        "by cross-validation within its own training stars",
    )
    setting(
        fit,
        "fit",
        "zero_point",
        overrides_from=zero_point_settings,
        type=_number_or_word,
        metavar="MAS|RULE",
        help="added to every Gaia parallax [mas]; release (default): that of the release that the parallaxes are from; "
        "auto: chosen like the penalty; fit: fitted with the coefficients, which implies --exact-distance-modulus; "
        "lindegren2021: that of Gaia DR3, star by star (needs pip install 'spfast[zeropoint]')",
    )
    setting(
        fit,
        "fit",
        "zero_point_covariates",
        overrides_from=lambda names: {"zero_point_covariates": ",".join(names)},
        nargs="+",
        choices=COVARIATES,
        metavar="NAME",
        help="with --zero-point fit: let the zero point depend linearly on some of %(choices)s (default: none)",
    )
    add_solver_options(parser)


def _number_or_auto(least: int, auto: int) -> Callable[[str], int]:
    """The type of an option: a whole number, or "auto", for which the setting has a number of its own."""

    def parse(text):
        if text.strip().lower() == AUTO:
            return auto
        if not text.strip().isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text}: expected a whole number, {least} or larger, or {AUTO}")
        return int(text)

    return parse


def add_solver_options(parser: argparse.ArgumentParser) -> None:
    """The options that a fit and a grid of fits have in common."""
    fit = group(parser, _FIT)
    setting(
        fit,
        "fit",
        "pixels",
        help="what a spectrum is to the model: the coordinates of a low-rank model of all spectra, or each pixel's raw "
        "ln flux (default: %(default)s)",
    )
    setting(
        fit,
        "fit",
        "rank",
        type=_number_or_auto(1, auto=0),
        metavar="N|auto",
        help="how many coordinates (default: auto, by cross-validation within the model's own training stars)",
    )
    setting(
        fit,
        "fit",
        "products",
        type=_number_or_auto(0, auto=-1),
        metavar="N|auto",
        help="take products of the first N coordinates of a spectrum as well: squares of N, cubes of half of them "
        "(default: auto, by cross-validation within the model's own training stars)",
    )
    setting(
        fit,
        "fit",
        "robust",
        help="allow for outliers, stars with a wrong parallax, by a component of their own (default: no outliers)",
    )
    setting(
        fit,
        "fit",
        "exact_distance_modulus",
        help="make the magnitudes' coefficients add up to -0.2 ln 10, as the distance modulus demands (default: free)",
    )
    setting(
        fit,
        "errors",
        "pixel_correlation",
        metavar="RHO",
        help="with --pixels raw: correlation of the errors of pixels 1, 2, ... apart, e.g. 0.4 0.1 (default: none)",
    )
    setting(fit, "fit", "solver", help="minimiser to use (default: %(default)s)")
    setting(
        fit,
        "folds",
        "split",
        help="how stars are split into A and B: by the parity of Gaia's random_index, by a hash of source_id, or "
        "(auto) by random_index where most stars have one (default: %(default)s)",
    )


def add_input_options(parser: argparse.ArgumentParser) -> None:
    """The tables and spectra that stars come from."""
    parser.add_argument("--allstar", metavar="FILE", help="APOGEE allStar table, or SDSS-V's summary")
    parser.add_argument("--spectra", metavar="DIR", help="folder of apStar, aspcapStar or mwmStar files")
    parser.add_argument(
        "--gaia",
        metavar="FILE",
        help="Gaia table, with or without columns of WISE; to SDSS-V's tables, which have a match with Gaia, it adds "
        "what they lack",
    )
    parser.add_argument(
        "--wise",
        metavar="FILE",
        help="WISE table, if the Gaia table has no such columns; for SDSS-V's tables AllWISE in place of unWISE",
    )
    setting(
        parser,
        "sample",
        "gaia_release",
        help="the release of Gaia that the table is of, on which the zero point depends (default: auto, by what the "
        "table holds)",
    )


def add_licence_option(parser: argparse.ArgumentParser) -> None:
    """What a model file says of its licence."""
    parser.add_argument(
        "--licence",
        type=_line,
        metavar="TEXT",
        help="what the model file says of its licence, e.g. CC-BY-4.0 (default: nothing)",
    )


def _line(text):
    """The type of an option: text that a header can hold."""
    if not text.strip() or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!a}: expected one line of printable text")
    return text


def add_table_option(parser: argparse.ArgumentParser) -> None:
    """The table that a command must write."""
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help=f"table to write: {TABLE_SUFFIXES}")


def add_cluster_option(parser: argparse.ArgumentParser) -> None:
    """Who reads the features."""
    group(parser, "where it runs").add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="let the workers of a dask cluster do it: the address of its scheduler, its scheduler file, or local:N "
        "for N processes of this machine (needs pip install 'spfast[dask]'; default: this process alone)",
    )


def add_overwrite_option(parser: argparse.ArgumentParser) -> None:
    """Whether outputs may be replaced."""
    parser.add_argument("--overwrite", action="store_true", help="replace existing outputs")


def count(text: str) -> int:
    """A number of things, at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected at least 1")
    return value


def number(text: str) -> float:
    """A finite number."""
    value = float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text}: expected a finite number")
    return value


def _number_or_word(text):
    try:
        return float(text)
    except ValueError:
        return text
