"""What the pages say in words: the key numbers, the report's warnings, and the notes on two catalogs."""

from collections.abc import Mapping

import numpy as np
from astropy.table import Table

from spfast.catalog.columns import MASKED_SHARE
from spfast.config import CONSTANT
from spfast.data.survey import Survey
from spfast.model.fitted_model import FittedModel
from spfast.report.tables import format_number

__all__ = ["compare_notes", "compare_numbers", "find_warnings", "key_numbers"]

#: The row of the calibration that is one sigma, and how far its share may be off.
_LEVEL, _SHARE_MAX = 0.68, 0.05
#: A bias and a number of training stars beyond which there is a warning.
_BIAS_MAX, _TRAINING_MIN = 0.03, 5000
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
    for row in _one_sigma(checks):
        other = {"gaia": "Gaia", "truth": "the truth"}[row["reference"]]
        numbers.append((f"within one sigma of {other}", f"{row['share']:.1%}", f"{row['level']:.1%} for honest errors"))
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


def find_warnings(
    table: Table,
    survey: Survey | None,
    models: Mapping[str, FittedModel],
    checks: Mapping[str, Table],
    tune: Table | None = None,
) -> list[str]:
    """Return what a reader must know before believing anything.

    Parameters
    ----------
    table : astropy Table
        Of `figure_table`, with the catalog's header.
    survey : Survey or None
    models : dict of FittedModel
    checks : dict of astropy Table
        Of `run_checks`.
    tune : astropy Table, optional
        Of `spfast tune`.

    Returns
    -------
    list of str
    """
    return [
        *_foreign_material(table, survey, models, tune),
        *_unfinished_models(table),
        *_bias_and_errors(checks),
        *_incomplete_stars(table, survey),
    ]


def _foreign_material(table, survey, models, tune):
    """Warnings of what was made from another survey."""
    if survey is None:
        return
    own = survey.survey_hash
    if table.meta.get("SURVHASH") and table.meta["SURVHASH"] != own:
        yield "The catalog was made from another survey than the one given: its hash differs."
    missing = int(np.count_nonzero(np.char.str_len(np.asarray(table["APOGEE_ID"]).astype(np.str_)) == 0))
    if missing:
        yield f"{missing:,} of the catalog's {len(table):,} stars are not in the survey: figures leave them out."
    for fold, model in models.items():
        if model.provenance.survey_hash not in (None, own):
            yield f"Model {fold} was fitted to another survey than the one given."
    if tune is not None and str(tune.meta.get("SURVHASH", own)) != own:
        yield "The cross-validation table belongs to another survey."


def _unfinished_models(table):
    """Warnings of fits that stopped early or had few stars, by the catalog's header."""
    for fold in "AB":
        if str(table.meta.get(f"CONVRG_{fold}", True)).lower() in ("false", "f", "0"):
            yield f"Model {fold} stopped before its tolerance: its predictions are those of an unfinished fit."
        n_train = table.meta.get(f"NTRAIN_{fold}")
        if n_train is not None and int(n_train) < _TRAINING_MIN:
            yield f"Model {fold} had only {int(n_train):,} training stars (the paper: 14,000): expect a larger scatter."


def _bias_and_errors(checks):
    """Warnings of a bias where Gaia is best, and of errors that are too small or too large."""
    for row in checks["measures"]:
        if row["fold"] == "all" and row["sample"] == "best" and abs(row["bias"]) > _BIAS_MAX:
            other = "Gaia" if row["reference"] == "gaia" else "the truth"
            yield f"The median of best stars against {other} is off by {row['bias']:+.1%}."
    for row in _one_sigma(checks):
        if abs(row["share"] - row["level"]) > _SHARE_MAX:
            small = "small" if row["share"] < row["level"] else "large"
            other = {"gaia": "Gaia's parallax", "truth": "the true parallax"}[row["reference"]]
            yield (
                f"Errors look too {small}: {row['share']:.1%} of {row['n']:,} stars lie within one sigma of {other}, "
                f"not {row['level']:.1%}."
            )


def _incomplete_stars(table, survey):
    """Warnings of errors and pixels that are missing."""
    if "spec_parallax_err_total" not in table.colnames:
        yield "The catalog has no total errors: those that it gives count spectrum and magnitudes alone."
    if survey is None:
        return
    masked = np.asarray(table["n_bad_pixels"]) > MASKED_SHARE * survey.layout.n_pixels
    if masked.any():
        yield f"{int(masked.sum()):,} stars have more than {MASKED_SHARE:.0%} of their pixels masked."


def _one_sigma(checks):
    """The calibration's row of one sigma for each reference."""
    return [row for row in checks["calibration"] if np.isclose(row["level"], _LEVEL)]


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
    if abs(bias) > _BIAS_MAX:
        nearer = "This catalog" if bias > 0 else "The other catalog"
        notes.append(f"{nearer} puts the stars nearer, by {abs(bias):.1%} in the median.")
    if pull > _PULL_MAX:
        notes.append(
            f"The differences are {pull:.2f} times as wide as both catalogs' errors: at least one catalog's errors are "
            "too small. They are those of spectrum and magnitudes alone."
        )
    return notes
