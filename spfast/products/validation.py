"""How good a catalog's parallaxes are, against Gaia's and the truth, by the measures of Hogg, Eilers & Rix (2019)."""

import numpy as np
from astropy import units
from astropy.table import Table

from spfast.errors import BadInputError
from spfast.products.tables import float_column

__all__ = ["MEASURES", "TABLE_1", "format_validation", "validate"]

#: The columns of the paper's Table 1, and all that is needed here.
TABLE_1 = (
    "2MASS_ID",
    "Gaia_parallax",
    "Gaia_parallax_err",
    "spec_parallax",
    "spec_parallax_err",
    "training_set",
    "sample",
)

#: Other spellings in use, each without case, blanks, hyphens and underscores.
_ALIASES = {
    "2MASS_ID": ("2massid", "apogeeid", "tmassid"),
    "Gaia_parallax": ("gaiaparallax",),
    "Gaia_parallax_err": ("gaiaparallaxerr", "gaiaparallaxerror"),
    "spec_parallax": ("specparallax",),
    "spec_parallax_err": ("specparallaxerr", "specparallaxerror"),
    "training_set": ("trainingset",),
    "sample": ("sample", "fold"),
    "true_parallax": ("trueparallax",),
}

#: The paper's zero point [mas], assumed where a catalog's header does not say which one it has in Gaia_parallax.
_PAPER_ZERO_POINT = 0.0483
#: "Best" stars of the training set: raw Gaia parallax over error at least this.
_BEST_SNR = 20.0
#: How tables write "yes", in lower case.
_TRUE = ("1", "1.0", "true", "t")
#: From the median absolute deviation to a Gaussian's standard deviation.
_MAD_TO_SIGMA = 1.4826

#: What each column of `validate`'s table says.
MEASURES = {
    "sample": "parent: all stars; training: those of the training set; best: training stars of raw Gaia S/N >= 20",
    "fold": "A, B, or all",
    "reference": "the parallax compared with: Gaia's (zero point included) or the simulator's truth",
    "n": "stars with both parallaxes",
    "scatter_16_84": "half the 16-84 percentile width of (spec - reference) / reference",
    "scatter_2_97": "a quarter of its 2.5-97.5 percentile width",
    "scatter_mad": "1.4826 times its median absolute deviation",
    "bias": "its median",
    "chi2_mean": "mean of (spec - reference)^2 over the sum of the squared errors",
    "chi2_median": "median of the same; 0.455 for honest Gaussian errors",
    "pull": "half the 16-84 percentile width of (spec - reference) over the difference's error; 1 for honest errors",
    "beats_gaia": "share of stars with a smaller error than Gaia's (gaia), or nearer the truth than Gaia (truth)",
}


def validate(catalog, truth=None, zero_point=None):
    """Score a catalog by the paper's measures, for parent, training and best samples, overall and by fold.

    Parameters
    ----------
    catalog : astropy Table
        The seven columns of Table 1, in any case, with hyphens, blanks or underscores; parallaxes in mas.
    truth : astropy Table, optional
        ``APOGEE_ID`` (or ``2MASS_ID``) and ``true_parallax`` [mas]: adds rows with the truth as the reference.
    zero_point : float, optional
        What ``Gaia_parallax`` has had added to it [mas], needed to choose the best sample by the raw parallax: by
        default what the catalog's header says of each fold, else the paper's 0.0483.

    Returns
    -------
    astropy Table
        One row per (reference, sample, fold) that has stars; columns as in `MEASURES`.

    Raises
    ------
    BadInputError
        If a column is missing, or no star has both parallaxes, or none is in the truth.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from spfast.products.validation import validate
    >>> from spfast.products.validation import TABLE_1
    >>> rows = [("a", 1.0, 0.04, 1.1, 0.05, 1, "A"), ("b", 2.0, 0.04, 1.8, 0.05, 1, "B")]
    >>> scores = validate(Table(rows=rows, names=TABLE_1))
    >>> scores["sample", "fold", "n"].as_array().tolist()[:3]
    [('parent', 'all', 2), ('parent', 'A', 1), ('parent', 'B', 1)]
    """
    columns = {name: _find(catalog, name, "the catalog") for name in TABLE_1}
    gaia, gaia_error, spec, spec_error = (float_column(catalog, columns[name]) for name in TABLE_1[1:5])
    usable_gaia = np.isfinite(gaia) & np.isfinite(gaia_error) & (gaia_error > 0)
    usable_spec = np.isfinite(spec) & np.isfinite(spec_error) & (spec_error >= 0)
    training = np.isin(np.char.lower(np.asarray(catalog[columns["training_set"]]).astype(np.str_)), _TRUE)
    fold = np.char.strip(np.asarray(catalog[columns["sample"]]).astype(np.str_))
    raw = gaia - _zero_points(catalog, fold, zero_point)
    with np.errstate(divide="ignore", invalid="ignore"):
        best = training & usable_gaia & (raw / gaia_error >= _BEST_SNR)
    if not np.any(usable_gaia & usable_spec):
        raise BadInputError("the catalog has no star with both a Gaia and a spectrophotometric parallax to compare")

    references = [("gaia", gaia, np.hypot(gaia_error, spec_error), usable_gaia & usable_spec, spec_error < gaia_error)]
    if truth is not None:
        true = _true_parallaxes(catalog[columns["2MASS_ID"]], truth)
        nearer = ~(np.abs(spec - true) >= np.abs(gaia - true))  # a star without a Gaia parallax counts as nearer
        references.append(("truth", true, spec_error, np.isfinite(true) & usable_spec, nearer))

    rows = []
    for name, reference, error, usable, beats in references:
        for sample, in_sample in (("parent", np.ones_like(training)), ("training", training), ("best", best)):
            for label in ("all", *sorted(set(fold.tolist()))):
                chosen = usable & in_sample & ((fold == label) | (label == "all"))
                if chosen.any():
                    scores = _measures(spec[chosen], reference[chosen], error[chosen])
                    rows.append((sample, label, name, int(chosen.sum()), *scores, float(np.mean(beats[chosen]))))
    table = Table(rows=rows, names=tuple(MEASURES))
    for name, description in MEASURES.items():
        table[name].description = description
        if table[name].dtype.kind == "f":
            table[name].unit = units.dimensionless_unscaled
    return table


def format_validation(table):
    """Lay out `validate`'s table for a terminal, with a plain sentence on how to read it (str)."""
    lines = [
        f"{'against':8s}{'sample':10s}{'fold':5s}{'stars':>8s}{'16-84':>8s}{'2.5-97.5':>10s}{'MAD':>8s}{'bias':>9s}"
        f"{'<chi2>':>9s}{'med chi2':>10s}{'pull':>7s}{'beats Gaia':>12s}"
    ]
    for row in table:
        lines.append(
            f"{row['reference']:8s}{row['sample']:10s}{row['fold']:5s}{row['n']:8d}{row['scatter_16_84']:8.1%}"
            f"{row['scatter_2_97']:10.1%}{row['scatter_mad']:8.1%}{row['bias']:+9.1%}{row['chi2_mean']:9.3g}"
            f"{row['chi2_median']:10.3f}{row['pull']:7.2f}{row['beats_gaia']:12.1%}"
        )
    told = {
        ("gaia", "best"): f"Gaia's where Gaia is best (parallax/error >= {_BEST_SNR:.0f})",
        ("truth", "parent"): "the true ones",
    }
    for row in table:
        other = told.get((row["reference"], row["sample"]))
        if other and row["fold"] == "all":
            lines.append(
                f"Spectrophotometric parallaxes against {other}: {row['n']:,} stars, off by {row['scatter_16_84']:.1%} "
                f"(one sigma), {row['bias']:+.1%} in the median; pull {row['pull']:.2f}, 1 if errors were honest."
            )
    return "\n".join(lines)


def _measures(spec, reference, error):
    """The measures from scatter_16_84 to pull (tuple of 7 floats)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        residual = (spec - reference) / reference
        pull = (spec - reference) / error
    residual, pull = residual[~np.isnan(residual)], pull[~np.isnan(pull)]
    if not residual.size or not pull.size:
        return (np.nan,) * 7
    low, p16, median, p84, high = np.percentile(residual, [2.5, 16.0, 50.0, 84.0, 97.5])
    pull_16, pull_84 = np.percentile(pull, [16.0, 84.0])
    mad = _MAD_TO_SIGMA * np.median(np.abs(residual - median))
    chi2 = pull**2
    scores = (p84 - p16) / 2, (high - low) / 4, mad, median, chi2.mean(), np.median(chi2), (pull_84 - pull_16) / 2
    return tuple(float(score) for score in scores)


def _find(table, name, what):
    """The table's own name of a column."""
    folded = {_fold_name(column): column for column in reversed(table.colnames)}
    for alias in _ALIASES[name]:
        if alias in folded:
            return folded[alias]
    raise BadInputError(f"{what} has no column {name}; it has {', '.join(table.colnames)}")


def _fold_name(name):
    return "".join(c for c in name.lower() if c not in "-_ ")


def _zero_points(catalog, fold, zero_point):
    """What each star's Gaia_parallax has had added [mas] (float64 array): ours says so for each fold."""
    if zero_point is None and "Gaia_zero_point" in catalog.colnames:
        return float_column(catalog, "Gaia_zero_point")
    values = np.full(len(fold), _PAPER_ZERO_POINT if zero_point is None else float(zero_point))
    if zero_point is None:
        # A star's Gaia_parallax carries the zero point of the model that predicts it, trained on the other fold.
        for own, other in (("A", "B"), ("B", "A")):
            stored = catalog.meta.get(f"ZEROPT_{other}")
            if stored is not None:
                values[fold == own] = float(stored)
    return values


def _true_parallaxes(names, truth):
    """The true parallax of each star [mas] (float64 array), NaN where the truth does not have it."""
    keys = _star_names(truth[_find(truth, "2MASS_ID", "the truth table")])
    values = float_column(truth, _find(truth, "true_parallax", "the truth table"))
    true = dict(zip(keys, values.tolist(), strict=True))
    matched = np.array([true.get(name, np.nan) for name in _star_names(names)])
    if not np.isfinite(matched).any():
        raise BadInputError("no star of the catalog is in the truth table; is it the truth of this survey?")
    return matched


def _star_names(column):
    """Star names without blanks: a published table writes ``2M00000317 + 5821383`` (list of str)."""
    return ["".join(str(name).split()) for name in column]
