"""What the report says in words: key numbers, and the warnings that stand at its top."""

import numpy as np

__all__ = ["card_rows", "compare_notes", "compare_numbers", "find_warnings", "key_numbers"]

#: The row of the calibration that is one sigma, and how far its share may be off.
_LEVEL, _SHARE_MAX = 0.68, 0.05
#: A bias, a share of masked pixels and a number of training stars beyond which there is a warning.
_BIAS_MAX, _MASK_SHARE, _TRAINING_MIN = 0.03, 0.05, 5000


def key_numbers(table, survey, checks):
    """What a reader asks first: (label, value, explanation) for the top of the page."""
    rows = [
        ("stars", f"{len(table):,}", f"{int(np.count_nonzero(table['training'])):,} of them in the training set"),
        ("features", f"{survey.n_features:,}", f"{survey.layout.n_pixels:,} pixels of the spectrum among them"),
    ]
    for reference, sample, label in (("gaia", "best", "scatter where Gaia is best"), ("truth", "parent", "true error")):
        for row in checks["measures"]:
            if (row["reference"], row["sample"], row["fold"]) == (reference, sample, "all"):
                what = "half the 16 to 84% width of the fractional difference"
                rows.append((label, f"{row['scatter_16_84']:.1%}", f"{what}, {row['n']:,} stars"))
    for row in checks["calibration"]:
        if np.isclose(row["level"], _LEVEL):
            other = {"gaia": "Gaia", "truth": "the truth"}[row["reference"]]
            rows.append(
                (f"within one sigma of {other}", f"{row['share']:.1%}", f"{row['level']:.1%} for honest errors")
            )
    return rows


def find_warnings(table, survey, models, checks, tune=None):
    """What a reader must know before believing anything (list of str)."""
    meta, found = table.meta, []
    if meta.get("SURVHASH") and meta["SURVHASH"] != survey.survey_hash:
        found.append("The catalog was made from another survey than the one given: its hash differs.")
    missing = int(np.count_nonzero(np.char.str_len(np.asarray(table["APOGEE_ID"]).astype(np.str_)) == 0))
    if missing:
        found.append(
            f"{missing:,} of the catalog's {len(table):,} stars are not in the survey: figures leave them out."
        )
    for fold in "AB":
        if str(meta.get(f"CONVRG_{fold}", True)).lower() in ("false", "f", "0"):
            found.append(f"Model {fold} stopped before its tolerance: its predictions are those of an unfinished fit.")
        n_train = meta.get(f"NTRAIN_{fold}")
        if n_train is not None and int(n_train) < _TRAINING_MIN:
            found.append(
                f"Model {fold} had only {int(n_train):,} training stars (the paper: 14,000): expect a larger scatter."
            )
    for fold, model in models.items():
        if model.provenance.survey_hash not in (None, survey.survey_hash):
            found.append(f"Model {fold} was fitted to another survey than the one given.")
    for row in checks["measures"]:
        if row["fold"] == "all" and row["sample"] in ("best", "parent"):
            where = f"{row['sample']} stars against {'Gaia' if row['reference'] == 'gaia' else 'the truth'}"
            if row["sample"] == "best" and abs(row["bias"]) > _BIAS_MAX:
                found.append(f"The median of {where} is off by {row['bias']:+.1%}.")
    for row in checks["calibration"]:
        if np.isclose(row["level"], _LEVEL) and abs(row["share"] - row["level"]) > _SHARE_MAX:
            small = "small" if row["share"] < row["level"] else "large"
            other = {"gaia": "Gaia's parallax", "truth": "the true parallax"}[row["reference"]]
            found.append(
                f"Errors look too {small}: {row['share']:.1%} of {row['n']:,} stars lie within one sigma of {other}, "
                f"not {row['level']:.1%}."
            )
    if "spec_parallax_err_total" not in table.colnames:
        found.append("The catalog has no total errors: what it gives comes from spectrum and magnitudes alone.")
    masked = np.asarray(table["n_bad_pixels"]) > _MASK_SHARE * survey.layout.n_pixels
    if masked.any():
        found.append(f"{int(masked.sum()):,} stars have more than {_MASK_SHARE:.0%} of their pixels masked.")
    if tune is not None and str(tune.meta.get("SURVHASH", survey.survey_hash)) != survey.survey_hash:
        found.append("The cross-validation table belongs to another survey.")
    return found


def compare_numbers(comparison):
    """What a reader of the comparison asks first: (label, value, explanation)."""
    meta, overall = comparison.meta, comparison[0]
    return [
        ("stars of this catalog", f"{meta['N_THIS']:,}", f"{meta['N_THIS'] - meta['N_BOTH']:,} not in the other"),
        ("stars of the other", f"{meta['N_OTHER']:,}", f"{meta['N_OTHER'] - meta['N_BOTH']:,} not in this one"),
        ("stars in both", f"{meta['N_BOTH']:,}", "with a parallax above zero and an error in each"),
        (
            "median difference",
            f"{overall['bias']:+.2%}".replace("-", "\N{MINUS SIGN}"),
            f"of ln parallax, \N{PLUS-MINUS SIGN} {overall['bias_error']:.2%}",
        ),
        ("scatter", f"{overall['scatter']:.1%}", "half the 16 to 84% width of the same"),
        ("in units of both errors", f"{overall['pull']:.2f}", "1 for errors that are honest and not shared"),
    ]


#: A width of the differences over the errors beyond which one of the catalogs must have too small errors.
_PULL_MAX = 1.1


def compare_notes(catalog, other, comparison):
    """What stands at the head of the comparison (list of str)."""
    hashes = [str(table.meta.get("SURVHASH", "")) for table in (catalog, other)]
    notes = []
    if hashes[0] and hashes[0] == hashes[1]:
        notes.append(
            "Both catalogs were made from the same survey: they share spectra, magnitudes and Gaia parallaxes."
        )
    if abs(comparison[0]["bias"]) > _BIAS_MAX:
        nearer = "this catalog" if comparison[0]["bias"] > 0 else "the other catalog"
        notes.append(f"{nearer.capitalize()} puts the stars nearer, by {abs(comparison[0]['bias']):.1%} in the median.")
    if comparison[0]["pull"] > _PULL_MAX:
        notes.append(
            f"The differences are {comparison[0]['pull']:.2f} times as wide as both catalogs' errors: at least one "
            "catalog's errors are too small. They are those of spectrum and magnitudes alone."
        )
    return notes


#: Header cards that have a place of their own on the page.
_SHOWN_ELSEWHERE = ("CONFIG", "SURVCONF", "FLAG", "TCOMM", "TUCD")


def card_rows(catalog):
    """The catalog's header as (keyword, value), without what the page shows elsewhere."""
    return [(key, str(value)) for key, value in catalog.meta.items() if not key.startswith(_SHOWN_ELSEWHERE)]
