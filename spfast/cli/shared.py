"""What the commands share: how they print, the output held while it is written, the configuration that options make."""

from contextlib import ExitStack, contextmanager
from pathlib import Path

from spfast.config import load_config

__all__ = ["MOCK_CLUSTERS", "configuration", "one_line", "output", "outputs", "say"]

#: Star clusters that a mock survey has if none is named: near and far, metal-rich and metal-poor.
MOCK_CLUSTERS = ("M67", "NGC 6791", "M71", "M107", "M13", "M92")


def one_line(text):
    """Text for a terminal: what a file holds must not move the cursor or worse."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(str(text).split()))


def say(args, text):
    if not args.quiet:
        print(text, flush=True)


@contextmanager
def output(args, **options):
    """The file to write, as `outputs` holds it."""
    with outputs([Path(args.output)], args.overwrite, **options):
        yield Path(args.output)


@contextmanager
def outputs(paths, overwrite, **options):
    """Files to write: refused if one cannot be written, held so that no other process writes them meanwhile."""
    from spfast.data.tables.write import check_output
    from spfast.lock import hold

    for path in paths:
        check_output(path, overwrite, **options)
    with ExitStack() as held:
        for path in paths:
            held.enter_context(hold(path))
            check_output(path, overwrite, **options)  # another process may have just ended
        yield


def configuration(args):
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
