"""How good a catalog's parallaxes are, against Gaia's and the truth, by the measures of Hogg, Eilers & Rix (2019)."""

import os

import numpy as np
from astropy.table import Table

from spfast.config import BEST_SNR
from spfast.data.tables.read import as_table
from spfast.errors import BadInputError
from spfast.validation.columns import Column, described_table
from spfast.validation.read_catalog import read_catalog, refuse_ratio, true_parallaxes
from spfast.validation.residuals import error_cards, errors_used
from spfast.validation.terminal import lay_out

__all__ = ["MEASURES", "format_validation", "validate"]

#: From the median absolute deviation to a Gaussian's standard deviation.
_MAD_TO_SIGMA = 1.4826

#: Columns of `validate`.
MEASURES = {
    "sample": Column(
        "parent: all stars; training: those of the training set; best: training stars of raw Gaia S/N "
        f">= {BEST_SNR:.0f}",
        "sample",
    ),
    "fold": Column("A, B, or all", "fold"),
    "reference": Column(
        "the parallax compared with: Gaia's (zero point included) or the simulator's truth", "against", leads=True
    ),
    "n": Column("number of stars with both parallaxes", "stars", ",d"),
    "scatter_16_84": Column("half the 16-84 percentile width of (spec - reference) / reference", "16-84%", ".1%"),
    "scatter_2_97": Column("a quarter of its 2.5-97.5 percentile width", "2.5-97.5%", ".1%"),
    "scatter_mad": Column("1.4826 times its median absolute deviation", "MAD", ".1%", only="terminal"),
    "bias": Column("its median", "bias", "+.1%"),
    "chi2_mean": Column(
        "mean of (spec - reference)^2 over the sum of the squared errors, the total ones where the catalog has them",
        "mean chi2",
        ".3g",
        only="terminal",
    ),
    "chi2_median": Column("median of the same; 0.455 for honest Gaussian errors", "median chi2", ".3f"),
    "pull": Column(
        "half the 16-84 percentile width of (spec - reference) over the error of the difference, as in chi2; 1 for "
        "honest errors",
        "pull",
        ".2f",
    ),
    "beats_gaia": Column(
        "share of stars with a smaller error, the same one, than Gaia's (gaia), or nearer the truth than Gaia (truth)",
        "beats Gaia",
        ".1%",
    ),
}


def validate(
    catalog: Table | str | os.PathLike,
    truth: Table | str | os.PathLike | None = None,
    zero_point: float | None = None,
) -> Table:
    """Score a catalog by the paper's measures, for parent, training and best samples, overall and by fold.

    Parameters
    ----------
    catalog : astropy Table, or path-like
        The seven columns of Table 1, in any case, with hyphens, blanks or underscores; parallaxes in mas.
    truth : astropy Table or path-like, optional
        ``APOGEE_ID`` (or ``2MASS_ID``) and ``true_parallax`` [mas]: adds rows with the truth as the reference.
    zero_point : float, optional
        The zero point that ``Gaia_parallax`` contains [mas]: the best sample is cut by the raw parallax. By default
        the catalog's own, of each star or fold, else the paper's, `spfast.config.ZERO_POINT`.

    Returns
    -------
    astropy Table
        One row for each reference, sample and fold that has stars; columns as in `MEASURES`. Errors are
        ``spec_parallax_err_total`` where the catalog has it, else ``spec_parallax_err``, and Gaia's times the factor
        in the catalog's header: ``meta["ERRCOL"]`` and ``meta["INFLAT"]``.

    Raises
    ------
    BadInputError
        If a column is missing, or no star has both parallaxes, or none is in the truth.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from spfast.validation.read_catalog import TABLE_1
    >>> from spfast.validation.measures import validate
    >>> rows = [("a", 1.0, 0.04, 1.1, 0.05, 1, "A"), ("b", 2.0, 0.04, 1.8, 0.05, 1, "B")]
    >>> scores = validate(Table(rows=rows, names=TABLE_1))
    >>> scores["sample", "fold", "n"].as_array().tolist()[:3]
    [('parent', 'all', 2), ('parent', 'A', 1), ('parent', 'B', 1)]
    """
    catalog, truth = (as_table(table) for table in (catalog, truth))
    stars = read_catalog(catalog, zero_point)
    spec, gaia, spec_error, gaia_error = stars.spec, stars.gaia, stars.total_error, stars.inflated_gaia_error
    both = stars.has_gaia & stars.has_spec
    if not both.any():
        raise BadInputError(
            "the catalog has no star with both a Gaia and a spectrophotometric parallax to compare; check its values"
        )

    references = [("gaia", gaia, np.hypot(gaia_error, spec_error), both, spec_error < gaia_error)]
    if truth is not None:
        true = true_parallaxes(stars.names, truth)
        refuse_ratio(spec, true, stars.has_spec & (true > 0) & (spec > 0), "spec_parallax", "true_parallax")
        nearer = ~(np.abs(spec - true) >= np.abs(gaia - true))  # a star without a Gaia parallax counts as nearer
        references.append(("truth", true, spec_error, np.isfinite(true) & stars.has_spec, nearer))

    rows = []
    for name, reference, error, usable, beats in references:
        for sample, in_sample in (
            ("parent", np.ones_like(stars.training)),
            ("training", stars.training),
            ("best", stars.best),
        ):
            for label in ("all", *sorted(set(stars.fold.tolist()))):
                chosen = usable & in_sample & ((stars.fold == label) | (label == "all"))
                if chosen.any():
                    scores = _measures(spec[chosen], reference[chosen], error[chosen])
                    rows.append((sample, label, name, int(chosen.sum()), *scores, float(np.mean(beats[chosen]))))
    return described_table(rows, MEASURES, error_cards(stars))


def format_validation(table: Table) -> str:
    """Lay out `validate`'s table for a terminal, and say in a sentence what the main rows mean.

    Parameters
    ----------
    table : astropy Table
        Of `validate`.

    Returns
    -------
    str
    """
    others = {
        ("gaia", "best"): f"Gaia's where Gaia is best (parallax/error >= {BEST_SNR:.0f})",
        ("truth", "parent"): "the true ones",
    }
    lines = [f"Scatter and bias: the paper's measures ({errors_used(table)})", lay_out(table, MEASURES)]
    for row in table:
        other = others.get((row["reference"], row["sample"]))
        if other and row["fold"] == "all":
            lines.append(
                f"Spectrophotometric parallaxes against {other}: {row['n']:,} stars, off by {row['scatter_16_84']:.1%} "
                f"(one sigma), {row['bias']:+.1%} in the median; pull {row['pull']:.2f} by {table.meta['ERRCOL']}."
            )
    return "\n".join(lines)


def _measures(spec, reference, error):
    """The measures from scatter_16_84 to pull (tuple of 7 floats)."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        residual = (spec - reference) / reference
        pull = (spec - reference) / error
    residual, pull = residual[np.isfinite(residual)], pull[np.isfinite(pull)]
    if not residual.size or not pull.size:
        return (np.nan,) * 7
    low, p16, median, p84, high = np.percentile(residual, [2.5, 16.0, 50.0, 84.0, 97.5])
    pull_16, pull_84 = np.percentile(pull, [16.0, 84.0])
    mad = _MAD_TO_SIGMA * np.median(np.abs(residual - median))
    chi2 = pull**2
    scores = (p84 - p16) / 2, (high - low) / 4, mad, median, chi2.mean(), np.median(chi2), (pull_84 - pull_16) / 2
    return tuple(float(score) for score in scores)
