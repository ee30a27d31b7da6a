"""The command reference from the command itself: what ``spfast --help`` and ``spfast X --help`` print."""

import os
import subprocess
import sys

from docutils import nodes
from docutils.parsers.rst import Directive

from spfast.cli import COMMANDS


class CommandHelp(Directive):
    """``.. command-help::`` shows the help of ``spfast``, then one section with the help of each of its commands."""

    def run(self):
        names = [command.__name__.rpartition(".")[2] for command in COMMANDS]
        return [_block(_help()), *map(_section, names)]


def _help(*command):
    plain = {**os.environ, "COLUMNS": "88", "NO_COLOR": "1"}
    call = [sys.executable, "-m", "spfast", *command, "--help"]
    return subprocess.run(call, env=plain, capture_output=True, text=True, check=True).stdout.rstrip()


def _section(name):
    section = nodes.section(ids=[f"spfast-{name}"], names=[name])
    section += nodes.title("", "", nodes.literal("", f"spfast {name}"))
    section += _block(_help(name))
    return section


def _block(text):
    return nodes.literal_block(text, text, language="text")


def setup(app):
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True}
