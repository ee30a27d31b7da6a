"""The judge: what a catalog's tables, header and flags say is good and what is not."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from astropy.table import Table

from spfast.catalog.columns import FLAGS, RECOMMENDED_FLAGS
from spfast.catalog.compatibility import differences
from spfast.config import CONSTANT, ZERO_POINT
from spfast.data.gaia_release import RELEASE_CARD
from spfast.data.identifiers import match_names
from spfast.data.survey import Survey
from spfast.model.fitted_model import FittedModel
from spfast.model.layout import MAGNITUDE_SUM
from spfast.validation.quantities import QUANTITIES
from spfast.validation.read_catalog import CatalogArrays, read_catalog
from spfast.validation.residuals import half_width_error, median_error
from spfast.validation.verdict import BAD, GOOD, LOOK, NOT_CHECKED, Finding, Limits, sort_findings

__all__ = ["BIAS", "judge"]

SCATTER = Limits(0.10, 0.15, "the paper claims 9% for its best stars, and errors of up to 15%")
BIAS = Limits(0.03, 0.06, "a third and two thirds of one star's error of 9%: the mean of ten stars shows it, or of two")
TREND = BIAS._replace(reason=f"{BIAS.reason}; here from the quantity's 10th to its 90th percentile")
PULL = Limits(0.10, 0.20, "errors that are a tenth, a fifth too small or too large")
SHARE_68 = Limits(0.05, 0.10, f"{PULL.reason} shift the share by as much")
SHARE_95 = Limits(0.025, 0.05, SHARE_68.reason)
DUST = Limits(0.05, 0.10, "half of one star's error and all of it, at A_K = 0.5 mag, the disc at some kpc")
CLUSTER = Limits(0.05, 0.10, "literature distances of open clusters are good to 5%; 10% is one star's whole error")
CLUSTER_SLOPE = Limits(0.05, 0.10, f"a tenth and a fifth of the {MAGNITUDE_SUM:.2f} of a model blind to luminosity")
FLAGGED = Limits(0.10, 0.30, "a tenth, a third of the stars is what a cut on these flags costs")
TRAINING = Limits(5000, 500, "the paper had 14,000 for a model; a fit has about a hundred free numbers", fewest=True)
UNFINISHED = Limits(0, 0, "a fit that stopped early is not at its optimum")
#: Two models' zero points may differ by this [mas]: a tenth of the parallax at 10 kpc.
_ZERO_POINTS_APART = 0.01

#: Trends that are judged: quantity, name, and what to do about it.
_TRENDS = {
    "H-W2": ("trend with dust (H-W2)", "the model takes dust for distance or the reverse; cut on H-W2"),
    "|b|": ("trend with Galactic latitude", "dust or crowding near the plane is the likely cause; compare with H-W2"),
    "ecl. lat.": (
        "trend with ecliptic latitude",
        "Gaia's zero point varies so; use one star by star (--zero-point lindegren2021) or fit it with ecl_lat",
    ),
    "[Fe/H]": ("trend with [Fe/H]", "do not compare distances of metal-poor and metal-rich stars without a correction"),
    "log g": ("trend with log g", "luminous and faint giants are not on one scale; do not mix them in a map"),
    "G": ("trend with G", "Gaia's zero point varies so, or far stars are off; compare with log g"),
}
_REFERENCES = {"gaia": "Gaia", "truth": "the truth"}


@dataclass(frozen=True)
class _Evidence:
    catalog: Table
    arrays: CatalogArrays
    tables: Mapping[str, Table]
    survey: Survey | None
    models: Mapping[str, FittedModel]
    tune: Table | None

    def rows(self, check, **values):
        """The rows of a check's table with given values, none where the check was not run (list)."""
        return [row for row in self.tables.get(check, ()) if all(row[name] == value for name, value in values.items())]

    def cards(self, key):
        """Values of the header's cards on the two models (dict)."""
        return {fold: self.catalog.meta[f"{key}_{fold}"] for fold in "AB" if f"{key}_{fold}" in self.catalog.meta}


def judge(
    catalog: Table,
    tables: Mapping[str, Table],
    survey: Survey | None = None,
    models: Mapping[str, FittedModel] | None = None,
    tune: Table | None = None,
) -> list[Finding]:
    """Judge a catalog by the tables of its checks, its header and its flags.

    Parameters
    ----------
    catalog : astropy Table
        The seven columns of Table 1.
    tables : dict of astropy Table
        Of `run_checks`.
    survey : Survey, optional
    models : dict of FittedModel, optional
    tune : astropy Table, optional
        Of `spfast tune`.

    Returns
    -------
    list of Finding
        Worst first.

    Raises
    ------
    BadInputError
        As `read_catalog`.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.table import Table
    >>> from spfast.validation.checks import run_checks
    >>> from spfast.validation.judge import judge
    >>> rng = np.random.default_rng(0)
    >>> catalog = Table({"2MASS_ID": [str(i) for i in range(2000)], "Gaia_parallax": rng.uniform(1.0, 2.0, 2000)})
    >>> catalog["Gaia_parallax_err"], catalog["training_set"], catalog["sample"] = 0.02, 1, "A"
    >>> catalog["spec_parallax"] = catalog["Gaia_parallax"] * rng.normal(1.1, 0.08, 2000)
    >>> catalog["spec_parallax_err"] = 0.08 * catalog["spec_parallax"]
    >>> judge(catalog, run_checks(catalog))[0].value_text
    '+9.8% +- 0.2%'
    """
    evidence = _Evidence(catalog, read_catalog(catalog), tables, survey, models or {}, tune)
    return sort_findings([finding for question in _QUESTIONS for finding in question(evidence)])


def _scatter(evidence) -> Iterator[Finding]:
    for row, against, where in _main_rows(evidence):
        name, value = f"scatter against {against}", row["scatter_16_84"]
        error = half_width_error(value, row["n"])
        yield _measured(
            name, value, error, SCATTER, ".1%", where,
            good="One star's parallax is about as good as in the paper.",
            worse="One star's parallax is worse than in the paper: average stars, or train on more of them.",
        )  # fmt: skip
    if not evidence.rows("measures", reference="gaia", sample="best"):
        why = "No training star has a Gaia parallax good enough to compare with."
        yield Finding("scatter against Gaia, best stars", NOT_CHECKED, why)


def _offset(evidence) -> Iterator[Finding]:
    for row, against, where in _main_rows(evidence):
        value, error = row["bias"], median_error(row["scatter_16_84"], row["n"])
        nearer = "near" if value > 0 else "far"
        yield _measured(
            f"offset from {against}", value, error, BIAS, "+.1%", where,
            good="On the whole the distances have the right scale.",
            worse=f"Stars are put too {nearer} by about this much: check the zero point first.",
        )  # fmt: skip


def _main_rows(evidence):
    """The rows of best stars against Gaia and of all stars against the truth, each with its names."""
    for reference, sample, against in (("gaia", "best", "Gaia, best stars"), ("truth", "parent", "the truth")):
        for row in evidence.rows("measures", reference=reference, sample=sample, fold="all"):
            yield row, against, "measures"


def _errors(evidence) -> Iterator[Finding]:
    column = evidence.arrays.total_error_name
    alone = "" if column.endswith("total") else " It counts spectrum and magnitudes alone, so it is a lower limit."
    shares = (("within_68", 0.68, SHARE_68, "error_68"), ("within_95", 0.95, SHARE_95, "error_95"))
    for row in evidence.rows("coverage", stars="all"):
        against = _REFERENCES[row["reference"]]
        for name, level, limits, error in shares:
            share = row[name]
            small = "small" if share < level else "large"
            yield _measured(
                f"stars within {level:.0%} of {against}", share, row[error], limits, ".1%", "calibration",
                ideal=level,
                good=f"{column} can be used as it is.",
                worse=f"{column} is too {small} (pull {row['pull']:.2f}): scale it before use.{alone}",
            )  # fmt: skip
    for row in evidence.rows("measures", reference="gaia", sample="best", fold="all"):
        pull, small = row["pull"], "small" if row["pull"] > 1 else "large"
        yield _measured(
            "pull of the best stars", pull, half_width_error(pull, row["n"]), PULL, ".2f", "measures", ideal=1.0,
            good=f"Where Gaia's errors are smallest, {column} is right.",
            worse=f"Where Gaia's errors are smallest, {column} shows as too {small}: scale it before use.{alone}",
        )  # fmt: skip


def _dust(evidence) -> Iterator[Finding]:
    rows = evidence.rows("reddening")
    if not rows:
        why = "Give the survey and its models (--survey, --models); the survey must have H and W2."
        yield Finding("dust: reddening test", NOT_CHECKED, why)
        return
    row = max(rows, key=lambda row: abs(row["slope"]))
    farther = "far" if row["slope"] < 0 else "near"
    a_k = np.log1p(DUST.look) / max(abs(row["slope"]), np.finfo(float).tiny)
    yield _measured(
        "dust: reddening test", row["at_half"], 0.5 * row["spread"] / np.sqrt(row["n"]), DUST, "+.1%", "reddening",
        good="Dust hardly moves the parallaxes.",
        worse=f"Stars behind dust are put too {farther} (value: at A_K = 0.5 mag), by less than {DUST.look:.0%} only "
        f"up to A_K = {a_k:.2f} mag: cut there, or train on more reddened stars.",
    )  # fmt: skip


def _trends(evidence) -> Iterator[Finding]:
    if "trends" not in evidence.tables:
        why = "Trends with dust, latitude, [Fe/H], log g and G: give the survey (--survey)."
        yield Finding("trends of the residuals", NOT_CHECKED, why)
        return
    found = {row["quantity"]: row for row in evidence.tables["trends"]}  # the truth's come last, where it is
    for quantity, (name, action) in _TRENDS.items():
        if quantity not in found:
            yield Finding(name, NOT_CHECKED, "Fewer than ten stars of the survey have it.")
            continue
        row = found[quantity]
        error = row["slope_error"] * (row["high"] - row["low"]) / QUANTITIES[quantity].step
        against = _REFERENCES[row["reference"]]
        yield _measured(
            name, row["change"], error, TREND, "+.1%", "trends",
            good=f"Residuals against {against} do not depend on it by an amount that matters.",
            worse=f"Residuals against {against} change by this much over 10-90% of the stars: {action}.",
        )  # fmt: skip


def _clusters(evidence) -> Iterator[Finding]:
    rows = evidence.rows("clusters")
    if not rows:
        yield Finding("clusters", NOT_CHECKED, "No member of one is known: give a table of them (--clusters).")
        return
    offsets = []
    for row in rows:
        # Literature distances are taken as exact: below their errors CLUSTER asks nothing.
        known = np.isfinite(row["literature"])
        reference, error = (row["literature"], 0.0) if known else (row["gaia"], row["gaia_error"])
        with np.errstate(invalid="ignore", divide="ignore"):
            error = np.hypot(row["spec_error"] / row["spec"], error / reference)
            offsets.append((row["cluster"], np.log(row["spec"] / reference), error))
    yield _worst(
        "clusters: offset", offsets, CLUSTER, "+.1%", "",
        good="No cluster is off its literature distance, or Gaia's where there is none, by an amount that matters",
        worse="Distances of stars of this kind are off: look at what these clusters share, [Fe/H] first",
    )  # fmt: skip
    yield _worst(
        "clusters: slope with magnitude", [(row["cluster"], row["slope"], row["slope_error"]) for row in rows],
        CLUSTER_SLOPE, "+.3f", "1/mag",
        good="Bright and faint members come out at one distance",
        worse="Bright and faint members of one cluster come out at different distances: the model knows too little of "
        "the luminosity of such stars",
    )  # fmt: skip


def _worst(name, measured, limits, format, unit, good, worse):
    """The finding on the worst of several clusters; it names all that are as bad."""
    graded = [(limits.grade(value, error), value, error, cluster) for cluster, value, error in measured]
    verdict = next((v for v in (BAD, LOOK, GOOD) if any(v == each for each, *_ in graded)), NOT_CHECKED)
    alike = sorted((each for each in graded if each[0] == verdict), key=lambda each: -abs(np.nan_to_num(each[1])))
    _, value, error, cluster = alike[0]
    which = ", ".join(each[3] for each in alike)
    if verdict == NOT_CHECKED:
        return Finding(name, verdict, "The clusters have too few members to tell; give more.", where="clusters")
    text = f"{good} (largest: {cluster})." if verdict == GOOD else f"{worse} ({which}; largest: {cluster})."
    threshold = limits.describe(format)
    return Finding(name, verdict, text, value, error, format, unit, threshold, limits.reason, "clusters")


def _flags(evidence) -> Iterator[Finding]:
    catalog, name = evidence.catalog, "stars flagged"
    bits = {f: 1 << b for b, f in enumerate(FLAGS) if RECOMMENDED_FLAGS >> b & 1 and f"FLAG{b}" in catalog.meta}
    if "flags" not in catalog.colnames or not bits:
        yield Finding(name, NOT_CHECKED, "The catalog has no flags that its header names, as those of spfast have.")
        return
    flags = np.asarray(catalog["flags"])
    share = float(np.mean(flags & sum(bits.values()) != 0))
    shares = {flag: float(np.mean(flags & bit != 0)) for flag, bit in bits.items()}
    most = max(shares, key=shares.get)
    yield _measured(
        name, share, 0.0, FLAGGED, ".1%", "flags",
        good="Few stars carry a flag that touches their prediction: leave them out.",
        worse=f"Many stars carry a flag that touches their prediction, most of them {most} ({shares[most]:.1%}): find "
        "out why before you use them.",
    )  # fmt: skip


def _convergence(evidence) -> Iterator[Finding]:
    name = "models that stopped early"
    said = {fold: str(value).lower() not in ("false", "f", "0") for fold, value in evidence.cards("CONVRG").items()}
    converged = {fold: bool(model.result.converged) for fold, model in evidence.models.items()} | said
    if not converged:
        yield Finding(name, NOT_CHECKED, "The catalog's header does not say it: give its models (--models).")
        return
    which = " and ".join(fold for fold, done in converged.items() if not done)
    yield _measured(
        name, len(converged) - sum(converged.values()), 0.0, UNFINISHED, ".0f", _of_models(evidence),
        good="All fits reached their tolerance.",
        worse=f"Predictions of {which} are those of an unfinished fit: give it more iterations.",
    )  # fmt: skip


def _training(evidence) -> Iterator[Finding]:
    arrays, name, said = evidence.arrays, "training stars of the smaller fold", evidence.cards("NTRAIN").values()
    counted = [np.count_nonzero(arrays.training & (arrays.fold == fold)) for fold in np.unique(arrays.fold)]
    smallest = min(map(int, said or counted))
    if not said and TRAINING.grade(smallest) != GOOD:
        why = f"The header does not say it, and the catalog, with {smallest:,}, may be an excerpt: ask who made it."
        yield Finding(name, NOT_CHECKED, why)
        return
    yield _measured(
        name, smallest, 0.0, TRAINING, ",.0f", _of_models(evidence),
        good="The models had enough stars to learn from.",
        worse="The models had few stars to learn from: expect a larger scatter, and biases where stars are rare.",
    )  # fmt: skip


def _of_models(evidence):
    """Where the report shows it."""
    return "models" if evidence.models else "header"


def _zero_point(evidence) -> Iterator[Finding]:
    name, threshold = "zero point", "look if its release is unknown or the models differ, bad if it is another's"
    values = {fold: float(value) for fold, value in evidence.cards("ZEROPT").items()}
    release = str(evidence.catalog.meta.get(RELEASE_CARD, "unknown")).lower()
    if not values:
        why = "The catalog's header does not say which zero point its Gaia parallaxes contain; ask who made it."
        yield Finding(name, NOT_CHECKED, why)
        return
    rules = set(evidence.cards("ZPRULE").values())
    per_star = "Gaia_zero_point" in evidence.catalog.colnames
    value = (
        np.nanmean(np.asarray(evidence.catalog["Gaia_zero_point"], float)) if per_star else np.mean([*values.values()])
    )
    errors = [float(error) for error in evidence.cards("ZPERR").values()]
    reason = "; ".join(dict.fromkeys(str(why) for why in evidence.cards("ZPWHY").values()))
    if rules == {CONSTANT} and ZERO_POINT in values.values() and release not in ("dr2", "unknown"):
        verdict = BAD
        meaning = f"It is Gaia DR2's, but the parallaxes are of Gaia {release.upper()}: use --zero-point release."
    elif max(values.values()) - min(values.values()) > _ZERO_POINTS_APART:
        verdict = LOOK
        each = ", ".join(f"{fold}: {zero_point:.4f} mas" for fold, zero_point in values.items())
        meaning = f"The two models disagree ({each}), so the two halves are not on one scale: give one zero point."
    elif release == "unknown":
        verdict = LOOK
        meaning = "The release of Gaia is unknown, so is whether this is its zero point: ingest with --gaia-release."
    else:
        verdict, meaning = GOOD, f"It is of Gaia {release.upper()} ({reason or 'why is not said'})."
    apart = f"{_ZERO_POINTS_APART} mas is a tenth of the parallax at 10 kpc"
    error = max(errors, default=np.nan)
    yield Finding(name, verdict, meaning, float(value), error, ".4f", "mas", threshold, apart, "header")


def _belonging(evidence) -> Iterator[Finding]:
    name, threshold = "catalog, survey and models", "look at another version, bad if one is not of the others"
    if evidence.survey is None and not evidence.models:
        why = "Give the survey (--survey) and the models (--models) that the catalog was made from and by."
        yield Finding(name, NOT_CHECKED, why)
        return
    of_version = list(differences(evidence.catalog))
    texts = list(differences(evidence.catalog, evidence.survey, evidence.models))
    if evidence.survey is not None:
        missing = int(np.sum(match_names(evidence.arrays.names, evidence.survey.stars["APOGEE_ID"]) < 0))
        if missing:
            texts.append(
                f"{missing:,} of {len(evidence.catalog):,} stars are not in the survey: figures leave them out"
            )
        own = evidence.survey.survey_hash
        if evidence.tune is not None and str(evidence.tune.meta.get("SURVHASH", own)) != own:
            texts.append("the table of the cross-validation is of another survey")
        for name_of, model in evidence.models.items():
            if model.provenance.survey_hash not in (None, own):
                texts.append(f"model {name_of} was fitted to another survey")
    meaning = "; ".join(texts) or "they belong together"
    verdict = GOOD if not texts else LOOK if texts == of_version else BAD
    yield Finding(name, verdict, f"{meaning[0].upper()}{meaning[1:]}.", threshold=threshold, where="header")


def _measured(name, value, error, limits, format, where, good, worse, ideal=0.0):
    """A finding on a number, by how far it is from the ideal one."""
    value, error = float(value), float(error)
    verdict = limits.grade(value - ideal, error)
    meaning = {GOOD: good, NOT_CHECKED: "Its error is too large to tell: it takes more stars."}.get(verdict, worse)
    threshold = limits.describe(format, ideal)
    return Finding(name, verdict, meaning, value, error, format, "", threshold, limits.reason, where)


#: In the order of what a reader asks first.
_QUESTIONS = (
    _scatter,
    _offset,
    _errors,
    _dust,
    _trends,
    _clusters,
    _flags,
    _convergence,
    _training,
    _zero_point,
    _belonging,
)
