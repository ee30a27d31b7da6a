"""`spfast --print-completion SHELL`: a script by which a shell completes commands, options, their values and files."""

import argparse

from spfast.errors import BadInputError

__all__ = ["SHELLS", "PrintCompletion"]

SHELLS = ("bash", "zsh", "tcsh")
#: Metavars of files and of folders; whatever else an option takes is no path.
_FILES = frozenset(("FILE", "MODEL", "CATALOG", "ALLSTAR", "OTHER", "SURVEY|MODEL", "SURVEY|MODEL|TABLE", "WANTED"))
_FILES_OR_FOLDERS = _FILES | {"DIR|MODEL"}
_FOLDERS = frozenset(("SURVEY", "DIR", "FOLDER", "OUT"))


class PrintCompletion(argparse.Action):
    """Prints the script and ends."""

    def __call__(self, parser, namespace, shell, option_string=None):
        try:
            import shtab
        except ImportError:
            raise BadInputError(f"{option_string} needs shtab; install it: pip install 'spfast[completion]'") from None
        commands = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
        commands.help = None  # shtab passes over what the help hides
        for command in commands.choices.values():
            for action in command._actions:
                if action.metavar in _FILES_OR_FOLDERS:
                    action.complete = shtab.FILE
                elif action.metavar in _FOLDERS:
                    action.complete = shtab.DIRECTORY
        print(shtab.complete(parser, shell))
        parser.exit()
