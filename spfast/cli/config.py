"""`spfast config`: the whole configuration of a run as TOML, which `--config` reads back."""

import dataclasses
import inspect
import json
import math
import re
import textwrap

from spfast.cli.options import add_fit_options, configuration
from spfast.cli.outputs import result
from spfast.config import Config

__all__ = ["COMMON", "EXAMPLES", "HELP", "as_toml", "options", "run"]

HELP = "Print every setting with its value, unit and meaning, as a file that --config reads."
COMMON = ("config", "seed")
EXAMPLES = (
    "spfast config > mine.toml",
    "spfast config --preset hogg2019",
    "spfast config --config mine.toml --penalty auto",
)

#: Characters of a line; a longer comment stands above its key.
_WIDTH = 100


def options(parser):
    add_fit_options(parser)


def run(args):
    result(args, as_toml(configuration(args)))
    return {}


def as_toml(config: Config, width: int = _WIDTH) -> str:
    """Return a configuration as TOML, each key with the comment that it has in `spfast.config`.

    Parameters
    ----------
    config : Config
    width : int
        Characters of a line, at most, except for long values.

    Returns
    -------
    str

    Examples
    --------
    >>> import tomllib
    >>> from spfast.cli.config import as_toml
    >>> from spfast.config import Config
    >>> tomllib.loads(as_toml(Config()))["fit"]["penalty"]
    30.0
    """
    sections = [field.name for field in dataclasses.fields(config) if field.name != "preset"]
    parts = [
        "# Every setting; --config takes this file, and one with some of them.",
        f"preset = {json.dumps(config.preset)}",
    ]
    return "\n\n".join([*parts, *(_section(name, getattr(config, name), width) for name in sections)])


def _section(name, values, width):
    comments, purpose = _comments(type(values)), inspect.getdoc(type(values)).splitlines()[0]
    lines = [_line(field, getattr(values, field.name), comments, width) for field in dataclasses.fields(values)]
    return "\n".join([f"# {purpose}", f"[{name}]", *lines])


def _comments(section):
    """The comment of each field of a section in the code (dict of str)."""
    comments, field = {}, None
    for line in inspect.getsource(section).splitlines():
        begins = re.match(r"    (\w+): \w+ = ", line)
        field = begins[1] if begins else field
        comment = re.search(r"  # (.*)$", line)
        if comment:
            comments[field] = comment[1]
    return comments


def _line(field, value, comments, width):
    choices = field.metadata.get("choices")
    comment = "; ".join(filter(None, [comments.get(field.name), choices and f"one of: {', '.join(choices)}"]))
    line = f"{field.name} = {_value(value)}"
    if not comment:
        return line
    beside = f"{line}  # {comment}"
    above = textwrap.fill(comment, width, initial_indent="# ", subsequent_indent="# ")
    return beside if len(beside) <= width else f"{above}\n{line}"


def _value(value):
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # inf, as TOML writes it too
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False)
