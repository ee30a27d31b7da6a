"""Errors and warnings of spfast: one error class for bad input, and warnings by name."""

import warnings
from contextlib import contextmanager

#: A parser's message is cut to this many characters: some quote the whole file.
_REASON_LENGTH = 200


class SpfastError(Exception):
    """Base class of the errors that spfast raises on purpose."""


class BadInputError(SpfastError, ValueError):
    """The input cannot be used. The message says what is wrong, what was expected and what to do.

    The command prints it as one line and exits with code 2.
    """


class SpfastWarning(UserWarning):
    """Base class of the warnings that spfast issues."""


class ConvergenceWarning(SpfastWarning):
    """A solver stopped before it reached its tolerance; the result has ``converged=False``."""


class MismatchWarning(SpfastWarning):
    """A catalog, a model and a survey do not fully belong together; the message says in what they differ."""


class LockWarning(SpfastWarning):
    """An output cannot be locked, so nothing keeps a second process from writing it at the same time."""


@contextmanager
def reading(path, failure, advice="is it whole?"):
    """Turn whatever a parser raises on a file into one line that names the file, and silence its warnings.

    Other people's parsers may raise anything for bytes that nobody foresaw, even MemoryError and RecursionError. Wrap
    only the parsing: a fault in what is done with the values afterwards must not hide here.

    Parameters
    ----------
    path : path-like
    failure : str
        What to say about the file, e.g. ``"cannot be read as an allStar table"``.
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
            # Archives seldom keep to the letter of a standard, and warnings of that help nobody; truncation matters.
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message=".*truncated")
            warnings.filterwarnings("always", category=SpfastWarning)
            yield
    except Exception as error:
        text = getattr(error, "strerror", None) or str(error)
        if isinstance(error, SpfastError) and text.startswith(str(path)):
            raise
        reason = " ".join(text.split())[:_REASON_LENGTH].rstrip(".") or type(error).__name__
        raise BadInputError(f"{path}: {failure} ({reason}); {advice}") from None
