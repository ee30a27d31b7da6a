"""What the header of a model file holds: the kind of every entry that spfast reads, checked when the file is loaded.

So nothing that uses a model has to ask again. Entries that nobody reads, such as a caller's own ``metadata``, may be
anything.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

__all__ = ["FORMAT", "LARGEST", "SCHEMAS", "check_header"]

FORMAT = "spfast model"
#: Versions that can be read, the newest last. Files of the first have another error budget, which is not used.
SCHEMAS = (1, 2, 3)
#: No number of a model is as large as this: products of two of them and a survey's features stay finite.
LARGEST = 1e30
#: Detector chips of APOGEE: coordinates of a training extent besides the magnitudes.
_N_CHIPS = 3
#: Zero point rule under which a model has its own (`spfast.config.FITTED`).
_FITTED = "fit"
#: Characters of a wrong value that are shown.
_SHOWN = 60


class _Kind(NamedTuple):
    """What an entry must be: in words, and as a test."""

    expected: str
    fits: Callable


def _between(low, high, expected):
    # Written so that NaN is refused; True and False are no numbers.
    return _Kind(expected, lambda value: type(value) in (int, float) and low <= value <= high)


def _list_of(kind, expected):
    return _Kind(expected, lambda value: isinstance(value, list) and all(map(kind.fits, value)))


def _is_matrix(value):
    return isinstance(value, list) and all(_NUMBERS.fits(row) and len(row) == len(value) for row in value)


def _is_inverse_covariance(value):
    """Whether no square of a distance can be negative by it."""
    if not _is_matrix(value) or not value:
        return False
    matrix = np.array(value, dtype=np.float64)
    eigenvalues = np.linalg.eigvalsh(matrix)
    small = 1e-6 * np.abs(eigenvalues).max()
    return np.abs(matrix - matrix.T).max() <= small and eigenvalues[0] >= -small


_NUMBER = _between(-LARGEST, LARGEST, "a number")
_NOT_NEGATIVE = _between(0, LARGEST, "a number, 0 or larger")
_POSITIVE = _between(1 / LARGEST, LARGEST, "a number larger than 0")
_SHARE = _between(0, 1 + 1e-9, "a number from 0 to 1")
_COUNT = _Kind("a whole number, 0 or larger", lambda value: type(value) is int and 0 <= value < 1 << 63)
_TRUTH = _Kind("true or false", lambda value: type(value) is bool)
_TEXT = _Kind("text", lambda value: type(value) is str)
#: What goes into cards of a FITS header.
_CARD = _Kind("printable ASCII text", lambda value: type(value) is str and value.isascii() and value.isprintable())
_DICTIONARY_OR_NONE = _Kind("a dictionary or null", lambda value: value is None or type(value) is dict)
_TEXT_OR_NONE = _Kind("text or null", lambda value: value is None or type(value) is str)
_TEXTS = _list_of(_TEXT, "a list of text")
_NUMBERS = _list_of(_NUMBER, "a list of numbers")
_MATRIX = _Kind("a square matrix of numbers", _is_matrix)
_INVERSE_COVARIANCE = _Kind("a symmetric matrix without negative eigenvalues", _is_inverse_covariance)

#: Entries of the header; a name that ends in ? may be missing, ``{}`` is any dictionary.
_HEADER = {
    "layout": _DICTIONARY_OR_NONE,
    "budget?": _DICTIONARY_OR_NONE,
    "penalty": _NOT_NEGATIVE,
    "zero_point": _NUMBER,
    "n_stars": _COUNT,
    "result": {
        "objective": _NUMBER,
        "kkt_violation": _NOT_NEGATIVE,
        "tolerance": _NOT_NEGATIVE,
        "converged": _TRUTH,
        "n_iterations": _COUNT,
        "n_passes": _COUNT,
        "seconds": _NOT_NEGATIVE,
        "message": _TEXT,
    },
    "pixel_correlation?": _NUMBERS,
    "metadata": {
        "spfast_version?": _CARD,
        "survey_hash?": _CARD,
        "fold?": _CARD,
        "fold_rule?": _TEXT,
        "training_stars?": _TEXT,
        "zero_point_rule?": _CARD,
        "zero_point_fit?": {
            "covariates": _TEXTS,
            "units": _TEXTS,
            "pivots": _NUMBERS,
            "offsets": _NUMBERS,
            "covariance": _MATRIX,
        },
        "tuning?": {"summary": _TEXT},
        "robust?": {
            "outlier_share": _between(0, 1 - 1e-9, "a number from 0 to below 1"),
            "outlier_width": _between(1 + 1e-9, LARGEST, "a number larger than 1"),
            "intrinsic_scatter": _NOT_NEGATIVE,
        },
        "weights?": {"penalty": _NOT_NEGATIVE, "zero_point": _NUMBER, "intrinsic_scatter": _NOT_NEGATIVE},
        "training_extent?": {
            "centre": _NUMBERS,
            "inverse_covariance": _INVERSE_COVARIANCE,
            "limit": _NOT_NEGATIVE,
            "fitted_centre?": _NUMBERS,
            "fitted_inverse?": _INVERSE_COVARIANCE,
            "line_centre?": _NUMBER,
            "line_scale?": _NOT_NEGATIVE,
        },
        "features_origin?": {"spectra?": _TEXTS, "continuum?": _TEXT_OR_NONE},
        "config?": {},
        "survey_config?": {"normalization?": {}, "features?": {}},
    },
}
_BUDGET = {
    "intrinsic_scatter": _NOT_NEGATIVE,
    "growth": _SHARE,
    "weak_line_growth": _SHARE,
    "gaia_inflation": _POSITIVE,
    "outlier_share": _SHARE,
    "n_held_out": _COUNT,
    "subtracted": _TRUTH,
}


def check_header(header):
    """Refuse the header of a model file that is not what `FittedModel.save` writes.

    Parameters
    ----------
    header : object
        As JSON gave it.

    Raises
    ------
    ValueError
        Naming the entry, what it is and what was expected.

    Examples
    --------
    >>> from spfast.model.header import check_header
    >>> check_header({"format": "spfast model", "schema": 2, "layout": None, "penalty": -1.0})
    Traceback (most recent call last):
    ...
    ValueError: header.penalty is -1.0, expected a number, 0 or larger
    """
    if not isinstance(header, dict) or header.get("format") != FORMAT or header.get("schema") not in SCHEMAS:
        raise ValueError("not of this format")
    _check(header, _HEADER, "header")
    if header.get("budget") is not None and header["schema"] == SCHEMAS[-1]:
        _check(header["budget"], _BUDGET, "header.budget")
        if header["budget"]["growth"] + header["budget"]["weak_line_growth"] > 1 + 1e-9:
            raise ValueError("header.budget: growth and weak_line_growth are more than 1 together")
    _check_lengths(header["metadata"])


def _check(value, kind, place):
    if isinstance(kind, _Kind):
        if not kind.fits(value):
            raise ValueError(f"{place} is {_shown(value)}, expected {kind.expected}")
        return
    if not isinstance(value, dict):
        raise ValueError(f"{place} is {_shown(value)}, expected a dictionary")
    for entry, inner in kind.items():
        name = entry.removesuffix("?")
        if name in value:
            _check(value[name], inner, f"{place}.{name}")
        elif name == entry:
            raise ValueError(f"{place} lacks {name}")


def _shown(value):
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _check_lengths(metadata):
    """What each entry alone cannot tell."""
    fitted, extent = metadata.get("zero_point_fit"), metadata.get("training_extent")
    if metadata.get("zero_point_rule") == _FITTED and (fitted is None or "tuning" not in metadata):
        raise ValueError("header.metadata lacks the zero_point_fit or tuning that its zero_point_rule needs")
    if fitted is not None:
        n_slopes = len(fitted["covariates"])
        lengths = {"units": n_slopes, "pivots": n_slopes, "offsets": 1 + n_slopes, "covariance": 1 + n_slopes}
        _check_each(fitted, lengths, "header.metadata.zero_point_fit")
    if extent is not None:
        lengths = {"inverse_covariance": len(extent["centre"])}
        if "fitted_inverse" in extent:
            lengths |= {"fitted_centre": _N_CHIPS, "fitted_inverse": _N_CHIPS}
        if extent.get("line_scale"):
            _check(extent, {"line_centre": _NUMBER}, "header.metadata.training_extent")
        _check_each(extent, lengths, "header.metadata.training_extent")


def _check_each(values, lengths, place):
    for name, length in lengths.items():
        if len(values.get(name, ())) != length:
            raise ValueError(f"{place}.{name} has {len(values.get(name, ()))} entries, expected {length}")
