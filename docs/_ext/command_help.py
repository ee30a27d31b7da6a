"""The command reference from the command itself: what ``spfast X --help`` prints, at build time."""

import os
import subprocess
import sys

from docutils import nodes
from docutils.parsers.rst import Directive


class CommandHelp(Directive):
    """``.. command-help:: ingest`` shows the help text of ``spfast ingest``."""

    optional_arguments = 1

    def run(self):
        command = [sys.executable, "-m", "spfast", *self.arguments, "--help"]
        plain = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}
        text = subprocess.run(command, env=plain, capture_output=True, text=True, check=True).stdout.rstrip()
        return [nodes.literal_block(text, text, language="text")]


def setup(app):
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True}
