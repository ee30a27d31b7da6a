"""What the pages say in words: the key numbers, and the notes on two catalogs."""

from collections.abc import Mapping

import numpy as np
from astropy.table import Table

from spfast.config import CONSTANT
from spfast.data.survey import Survey
from spfast.report.tables import format_number
from spfast.validation.judge import BIAS

__all__ = ["compare_notes", "compare_numbers", "key_numbers"]

#: A width of the differences over the errors beyond which one of two catalogs must have too small errors.
_PULL_MAX = 1.1


def key_numbers(table: Table, survey: Survey | None, checks: Mapping[str, Table]) -> list[tuple[str, str, str]]:
    """Return what a reader asks first: label, value and explanation of the numbers at the top of the report.

    Parameters
    ----------
    table : astropy Table
        Of `figure_table`.
    survey : Survey or None
    checks : dict of astropy Table
        Of `run_checks`.

    Returns
    -------
    list of (str, str, str)
    """
    numbers = [
        ("stars", f"{len(table):,}", f"{int(np.count_nonzero(table['training'])):,} of them in the training set"),
    ]
    if survey is not None:
        what = "pixels of the spectrum" if survey.layout.is_spectrum else "columns that are no flux"
        pixels = f"{survey.layout.n_pixels:,} {what} among them"
        numbers.append(("features", f"{survey.n_features:,}", pixels))
    numbers += _zero_points(table)
    for reference, sample, label in (("gaia", "best", "scatter where Gaia is best"), ("truth", "parent", "true error")):
        for row in checks["measures"]:
            if (row["reference"], row["sample"], row["fold"]) == (reference, sample, "all"):
                what = "half the 16 to 84% width of the fractional difference"
                numbers.append((label, f"{row['scatter_16_84']:.1%}", f"{what}, {row['n']:,} stars"))
    return numbers


def _zero_points(table):
    """What was added to Gaia's parallaxes and why, by the catalog's header."""
    values = {fold: table.meta.get(f"ZEROPT_{fold}") for fold in "AB"}
    if None in values.values():
        return []
    rules = {str(table.meta.get(f"ZPRULE_{fold}", CONSTANT)) for fold in "AB"}
    each = dict.fromkeys(f"{float(value):.4f}" for value in values.values())
    text = f"{' and '.join(each)} mas" if rules == {CONSTANT} else "star by star"
    reasons = dict.fromkeys(str(table.meta.get(f"ZPWHY_{fold}", "unknown why")) for fold in "AB")
    return [("added to Gaia parallaxes", text, "; ".join(reasons))]


def compare_numbers(comparison: Table) -> list[tuple[str, str, str]]:
    """Return what a reader of the page on two catalogs asks first: label, value and explanation.

    Parameters
    ----------
    comparison : astropy Table
        Of `compare_catalogs`.

    Returns
    -------
    list of (str, str, str)
    """
    meta, overall = comparison.meta, comparison[0]
    return [
        ("stars of this catalog", f"{meta['N_THIS']:,}", f"{meta['N_THIS'] - meta['N_BOTH']:,} not in the other"),
        ("stars of the other", f"{meta['N_OTHER']:,}", f"{meta['N_OTHER'] - meta['N_BOTH']:,} not in this one"),
        ("stars in both", f"{meta['N_BOTH']:,}", "with a parallax above zero and an error in each"),
        (
            "median difference",
            format_number(overall["bias"], "+.2%"),
            f"of ln parallax, \N{PLUS-MINUS SIGN} {overall['bias_error']:.2%}",
        ),
        ("scatter", f"{overall['scatter']:.1%}", "half the 16 to 84% width of the same"),
        (
            "in units of both errors",
            f"{overall['pull']:.2f}",
            "1 for honest errors that the catalogs do not have in common",
        ),
    ]


def compare_notes(catalog: Table, other: Table, comparison: Table) -> list[str]:
    """Return what a reader must know before comparing two catalogs.

    Parameters
    ----------
    catalog, other : astropy Table
    comparison : astropy Table
        Of `compare_catalogs`.

    Returns
    -------
    list of str
    """
    hashes = [str(table.meta.get("SURVHASH", "")) for table in (catalog, other)]
    bias, pull = comparison[0]["bias"], comparison[0]["pull"]
    notes = []
    if hashes[0] and hashes[0] == hashes[1]:
        notes.append(
            "Both catalogs were made from the same survey: they share spectra, magnitudes and Gaia parallaxes."
        )
    if abs(bias) > BIAS.look:
        nearer = "This catalog" if bias > 0 else "The other catalog"
        notes.append(f"{nearer} puts the stars nearer, by {abs(bias):.1%} in the median.")
    if pull > _PULL_MAX:
        notes.append(
            f"The differences are {pull:.2f} times as wide as both catalogs' errors: at least one catalog's errors are "
            "too small. They are those of spectrum and magnitudes alone."
        )
    return notes
