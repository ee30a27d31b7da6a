"""Errors and warnings that spfast raises: one class for the user's input, named warnings for the rest."""

import warnings
from contextlib import contextmanager

#: Characters of a parser's message that are repeated: some quote the whole file.
_REASON_LENGTH = 200


class SpfastError(Exception):
    """Base class of the errors that spfast raises on purpose."""


class BadInputError(SpfastError, ValueError):
    """The input cannot be used: the message says what, got, expected, and what to do.

    The command prints it as one line and exits with code 2.
    """


class SpfastWarning(UserWarning):
    """Base class of the warnings that spfast issues."""


class ConvergenceWarning(SpfastWarning):
    """A solver stopped before its tolerance; the result carries ``converged=False``."""


class MismatchWarning(SpfastWarning):
    """A catalog, a model and a survey do not belong together in all respects: the message says in which."""


class LockWarning(SpfastWarning):
    """An output cannot be locked: nothing keeps a second process from writing it at the same time."""


@contextmanager
def reading(path, failure, advice="is it whole?"):
    """Turn whatever a parser raises on a file into one line that names the file; its warnings are not the user's.

    A parser that is not ours may raise anything for bytes that nobody foresaw, memory and recursion among it. Wrap the
    parsing alone: what is done with the values afterwards must not hide here.

    Parameters
    ----------
    path : path-like
    failure : str
        What to say of the file, e.g. ``"cannot be read as an allStar table"``.
    advice : str
        What to do.

    Raises
    ------
    BadInputError

    Examples
    --------
    >>> from spfast.errors import reading
    >>> with reading("a.json", "no survey"):
    ...     raise ValueError("line 1 is empty")
    Traceback (most recent call last):
    ...
    spfast.errors.BadInputError: a.json: no survey (line 1 is empty); is it whole?
    """
    try:
        with warnings.catch_warnings():
            # Archives' headers, units and versions are seldom to the letter; a truncated file, though, is no input.
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message=".*truncated")
            yield
    except Exception as error:
        text = getattr(error, "strerror", None) or str(error)
        if isinstance(error, SpfastError) and text.startswith(str(path)):
            raise
        reason = " ".join(text.split())[:_REASON_LENGTH].rstrip(".") or type(error).__name__
        raise BadInputError(f"{path}: {failure} ({reason}); {advice}") from None
