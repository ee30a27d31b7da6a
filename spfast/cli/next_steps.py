"""What most people do after a command: one or two commands with the paths of this run."""

import argparse
import shlex
from pathlib import Path

__all__ = ["next_steps"]


def next_steps(args: argparse.Namespace, found: dict) -> list[str]:
    """The commands that come next.

    Parameters
    ----------
    args : argparse.Namespace
        Of the command that has ended.
    found : dict
        What it returned.

    Returns
    -------
    list of str
        None for a command that ends a chain.
    """
    steps = _STEPS.get(args.command)
    return [] if steps is None else [shlex.join(map(str, words)) for words in steps(args, found)]


def _after_simulate(args, found):
    out = Path(args.out)
    if args.survey:
        return [_catalog(args, out)]
    files = ["--allstar", found["allstar"], "--spectra", out]
    if (out / "gaia.fits").exists():
        files += ["--gaia", out / "gaia.fits"]
    return [["spfast", "ingest", *files, "-o", _beside(out, "survey")]]


def _after_wanted(args, found):
    from spfast.archive.releases import SAS_RSYNC

    out = Path(args.output)
    return [
        ["rsync", "-aLv", f"--files-from={out / 'paths.txt'}", SAS_RSYNC, "sas/"],
        ["spfast", "query", out, "-o", "gaia.fits"],
    ]


def _after_query(args, found):
    return [
        ["spfast", "ingest", "--allstar", "ALLSTAR", "--spectra", "sas/", "--gaia", args.output, "-o", "survey"]
    ] * bool(args.output)


def _after_ingest(args, found):
    if args.like is None:
        return [_catalog(args, Path(args.output))]
    model = args.like if Path(args.like).is_file() else "MODEL"
    return [["spfast", "predict", model, args.output, "-o", _beside(args.output, "predictions.fits")]]


def _after_tune(args, found):
    chosen = ["--penalty", f"{found['penalty']:g}", "--zero-point", f"{found['zero_point_mas']:g}"]
    return [_catalog(args, Path(args.survey), chosen)]


def _after_fit(args, found):
    files = ["--allstar", "NEW_ALLSTAR", "--spectra", "NEW_SPECTRA", "--gaia", "NEW_GAIA"]
    return [
        ["spfast", "info", args.output],
        ["spfast", "predict", args.output, *files, "-o", "predictions.fits"],
    ]


def _after_catalog(args, found):
    files = [args.output, "--survey", args.survey, *_given(args, "models")]
    report = ["spfast", "report", *files, "-o", _beside(args.output, "report")]
    return [["spfast", "validate", *files], report]


def _after_validate(args, found):
    given = [word for name in ("survey", "truth", "compare", "clusters") for word in _given(args, name)]
    models = [word for folder in args.models or [] if Path(folder).is_dir() for word in ("--models", folder)][:2]
    return [["spfast", "report", args.catalog, *given, *models, "-o", _beside(args.catalog, "report")]]


def _after_demo(args, found):
    return [["spfast", "info", Path(args.out) / "catalog.fits"], ["spfast", "ingest", "--help"]]


def _catalog(args, survey, chosen=("--penalty", "auto")):
    outputs = ["-o", _beside(survey, "catalog.fits"), "--models", _beside(survey, "models")]
    return ["spfast", "catalog", survey, *outputs, *chosen, *_given(args, "config"), *_given(args, "preset")]


def _given(args, name):
    """An option again, if it was given."""
    value = getattr(args, name)
    return [] if value is None else [f"--{name}", value]


def _beside(path, name):
    return Path(path).parent / name


_STEPS = {
    "demo": _after_demo,
    "simulate": _after_simulate,
    "wanted": _after_wanted,
    "query": _after_query,
    "ingest": _after_ingest,
    "tune": _after_tune,
    "fit": _after_fit,
    "catalog": _after_catalog,
    "validate": _after_validate,
}
