"""The parser of the command line: errors in one line that say what was perhaps meant, and help that is short."""

import argparse
import difflib
import re
import sys
import textwrap
from collections.abc import Iterable

from spfast.cli.outputs import one_line

__all__ = ["Parser", "overview"]

#: What is a value and no option although it begins with a hyphen; argparse before Python 3.14 does not know -5e-2.
_NEGATIVE_NUMBER = re.compile(r"-(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$", re.IGNORECASE)
#: A line of `overview`: a name and what it does.
_ENTRY = re.compile(r"  \w+  +")
_NAME_WIDTH = 10


class _HelpFormatter(argparse.HelpFormatter):
    """Wraps the text before and after the options line by line; what is indented are examples, and stays as it is."""

    def _fill_text(self, text, width, indent):
        return "\n".join(self._filled(line, width) for line in text.splitlines())

    @staticmethod
    def _filled(line, width):
        if line.startswith(" ") and not _ENTRY.match(line):
            return line
        return textwrap.fill(line, width, subsequent_indent=" " * (_NAME_WIDTH + 4) if line.startswith(" ") else "")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, with the nearest name for one that is unknown."""

    def __init__(self, **options):
        super().__init__(formatter_class=_HelpFormatter, allow_abbrev=False, **options)
        self._negative_number_matcher = _NEGATIVE_NUMBER

    def error(self, message):
        self.exit(2, f"{self.prog}: {one_line(message)}; see {self.prog} --help\n")

    def parse_known_args(self, args=None, namespace=None):
        words = sys.argv[1:] if args is None else list(args)
        if not words and self._subparsers is not None:
            self.exit(2, self.format_help())
        self._refuse_unknown_options(words)  # before argparse complains of what a misspelt option was meant to give
        return super().parse_known_args(words, namespace)

    def _refuse_unknown_options(self, words):
        for word in words:
            if word == "--" or (self._subparsers is not None and not word.startswith("-")):
                return  # arguments alone, or those of a command
            name = word.partition("=")[0]
            known = self._option_string_actions
            if name.startswith("--") and " " not in name and name not in known:
                self.error(f"unknown option {name}{_perhaps_meant(name, known)}")

    def _check_value(self, action, value):
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:
            self.error(f"unknown command {value}{_perhaps_meant(value, action.choices)}")
        super()._check_value(action, value)

    def shorten_usage(self) -> None:
        """Let the usage name what must be given, and of the rest only that it is there; to be called at last."""
        needed = [action for action in self._actions if action.required or not action.option_strings]
        self.usage = " ".join([self.prog.replace("%", "%%"), *map(_usage_of, needed), "[options]"])


def _usage_of(action):
    if action.option_strings:
        return f"{action.option_strings[0]} {action.metavar}"
    return f"[{action.metavar}]" if action.nargs == "?" else str(action.metavar)


def _perhaps_meant(name, known):
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def overview(groups: dict[str, Iterable], names_and_texts) -> str:
    """List commands in groups, a line each, as the help shows it.

    Parameters
    ----------
    groups : dict
        A list of commands under each title.
    names_and_texts : callable
        From a command to its name and its one line.

    Returns
    -------
    str
    """
    lines = []
    for title, commands in groups.items():
        lines += ["", f"{title}:"]
        lines += [f"  {name:{_NAME_WIDTH}}  {text}" for name, text in map(names_and_texts, commands)]
    return "\n".join(lines)
