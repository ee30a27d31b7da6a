"""Errors and warnings that spfast raises: one class for the user's input, named warnings for the rest."""


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
