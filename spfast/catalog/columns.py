"""The columns, flag bits and header cards of the catalog and of a prediction table, and what goes into each."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from astropy.table import Column, MaskedColumn, Table

from spfast.data.survey import Survey
from spfast.model.extent import EXTENT_SHARE
from spfast.model.layout import MAGNITUDES

__all__ = [
    "CLIPPED_SHARE",
    "COLUMNS",
    "FLAGS",
    "MASKED_SHARE",
    "OUTLIER_SIGMA",
    "RECOMMENDED_FLAGS",
    "TABLE_COMMENTS",
    "ColumnSpec",
    "Flag",
    "build_table",
    "flag_cards",
    "pack_flags",
    "position_cards",
    "prediction_values",
    "survey_id",
    "star_values",
]


class ColumnSpec(NamedTuple):
    """One column: numpy type (``U`` text), unit, UCD, description, and the integer that marks a missing value."""

    dtype: str
    unit: str
    ucd: str
    description: str
    missing: int | None = None


_TRIG, _SPECT = "pos.parallax.trig", "pos.parallax.spect"

#: The catalog's columns in order, the paper's Table 1 first; a prediction table has some of them.
COLUMNS = {
    "2MASS_ID": ColumnSpec("U", "", "meta.id;meta.main", "2MASS designation: the APOGEE_ID"),
    "Gaia_parallax": ColumnSpec("f8", "mas", _TRIG, "Gaia parallax, the zero point added (Gaia_zero_point)"),
    "Gaia_parallax_err": ColumnSpec("f8", "mas", f"stat.error;{_TRIG}", "Error of the Gaia parallax as published"),
    "spec_parallax": ColumnSpec(
        "f8", "mas", _SPECT, "Spectrophotometric parallax (Hogg et al. 2019, Eq. 4), ln_offset taken off"
    ),
    "spec_parallax_err": ColumnSpec(
        "f8", "mas", f"stat.error;{_SPECT}", "Its error from the errors of spectrum and magnitudes alone (Eq. 5)"
    ),
    "training_set": ColumnSpec("u1", "", "meta.code", "1: in the training set: in the model of its own fold; 0: not"),
    "sample": ColumnSpec("U", "", "meta.code", "Fold of the star, A or B; the model of the other fold predicts it"),
    "tmass_id": ColumnSpec("U", "", "meta.id", "2MASS_ID under a name that expressions and ADQL take without quotes"),
    "source_id": ColumnSpec("i8", "", "meta.id", "Gaia source identifier, missing if none", -1),
    "ra": ColumnSpec("f8", "deg", "pos.eq.ra;meta.main", "Right ascension (ICRS, epoch: POSORIG)"),
    "dec": ColumnSpec("f8", "deg", "pos.eq.dec;meta.main", "Declination (ICRS, epoch: POSORIG)"),
    "Gaia_zero_point": ColumnSpec("f8", "mas", _TRIG, "What has been added to Gaia's parallax in Gaia_parallax"),
    "ln_spec_parallax": ColumnSpec("f8", "", _SPECT, "ln(spec_parallax / mas), in which the errors are Gaussian"),
    "ln_spec_parallax_err": ColumnSpec(
        "f8", "", f"stat.error;{_SPECT}", "Its error: the total one, where there is one"
    ),
    "ln_offset": ColumnSpec(
        "f8", "", "stat.fit.residual", "Subtracted from ln parallax: what stars held out, of this kind, are off by"
    ),
    "spec_parallax_err_total": ColumnSpec(
        "f8", "mas", f"stat.error;{_SPECT}", "Error of spec_parallax: features, coefficients and intrinsic scatter"
    ),
    "combined_parallax": ColumnSpec(
        "f8", "mas", "pos.parallax", "Mean of spec_parallax and Gaia_parallax by their variances, the first if alone"
    ),
    "combined_parallax_err": ColumnSpec("f8", "mas", "stat.error;pos.parallax", "Error of combined_parallax"),
    "distance": ColumnSpec("f8", "kpc", "pos.distance", "1/spec_parallax: the median for a Gaussian ln_spec_parallax"),
    "distance_16": ColumnSpec("f8", "kpc", "pos.distance;stat.min", "16th percentile of distance, same Gaussian"),
    "distance_84": ColumnSpec("f8", "kpc", "pos.distance;stat.max", "84th percentile of distance, same Gaussian"),
    "outlier_probability": ColumnSpec(
        "f8", "", "stat.probability", "Probability that Gaia_parallax is wrong, under the mixture of a robust fit"
    ),
    "flags": ColumnSpec("i4", "", "meta.code.qual", "Warnings, one bit each (FLAG0, ...); 0: none"),
}

#: Share of a spectrum's pixels that may be masked before a flag says so: APOGEE's own spectra lack 12 to 16% of them at
#: S/N > 140 and 25 to 45% at S/N < 60, which their errors count.
MASKED_SHARE = 0.5
#: Share of a spectrum's pixels that may stand at a bound of the clipped flux before a flag says so.
CLIPPED_SHARE = 0.01
#: Difference of the two parallaxes that is flagged, in units of its error.
OUTLIER_SIGMA = 5.0


class Flag(NamedTuple):
    """One bit of ``flags``.

    Attributes
    ----------
    description : str
    touches_prediction : bool
        Whether spectrum, magnitudes or model, which the prediction is made from, are in doubt beyond what errors count.
    reason : str
        Why, or why not.
    """

    description: str
    touches_prediction: bool
    reason: str


def _estimated(what):
    reason = "held out, estimates leave scatter and pulls as they are: the error counts them"
    return Flag(f"{what} is missing: estimated from the other bands and the spectrum", False, reason)


#: The bits of ``flags`` from bit 0 on, and what they mean. Reasons with numbers: mock of 3,000 stars against its truth,
#: where stars without any flag scatter by 0.155 in ln parallax.
FLAGS = {
    "no_gaia_parallax": Flag(
        "none from Gaia: combined_parallax is spec_parallax", False, "Gaia's parallax has no part in the prediction"
    ),
    "parallax_outlier": Flag(
        f"Gaia_parallax and spec_parallax differ by more than {OUTLIER_SIGMA:.0f} sigma",
        False,
        "either of the two may be wrong, and a cut on their difference hides what Gaia could tell of the errors",
    ),
    "starflag_bad": Flag(
        "a bad bit of APOGEE's STARFLAG is set (0, 3, 18, 22)", True, "the pipeline condemns the spectrum"
    ),
    "aspcapflag_bad": Flag(
        "a bad bit of APOGEE's ASPCAPFLAG is set (STAR_BAD or a parameter's)",
        True,
        "no model spectrum fits, or log g, by which giants are told, is wrong: it may be none",
    ),
    "many_masked_pixels": Flag(
        f"more than {MASKED_SHARE:.0%} of the spectrum's pixels are masked",
        True,
        "the spectrum is estimated rather than measured; the mock's three stars scatter by 0.31",
    ),
    "not_converged": Flag(
        "the model that predicts the star stopped before its tolerance",
        True,
        "the model is not the one that was asked for",
    ),
    "seen_in_training": Flag(
        "the star was in the model's training set: not independent of Gaia",
        False,
        "the prediction is as good as others', the mock's scatter less; do not compare it with Gaia",
    ),
    "extrapolation": Flag(
        f"farther out in the model's own features than {EXTENT_SHARE:.1%} of its training stars",
        True,
        "no star like it was there to learn from; the mock's 27 stars scatter by 0.47",
    ),
    "clipped_flux": Flag(
        f"more than {CLIPPED_SHARE:.0%} of the spectrum's pixels stand at a bound of the clipped flux",
        True,
        "the pixels are no flux of a star",
    ),
    "starflag_warning": Flag(
        "a warning bit of APOGEE's STARFLAG is set (2, 4, 9-13, 16, 17, 19-21)",
        False,
        "asks for care without condemning the spectrum, whose errors count its noise",
    ),
    "aspcapflag_warning": Flag(
        "a warning bit of APOGEE's ASPCAPFLAG is set (0-14)", False, "of the labels, which the prediction does not use"
    ),
    "gaia_quality": Flag(
        "Gaia's astrometry fails the training set's cuts on visibility periods or chi-squared",
        False,
        "Gaia's parallax has no part in the prediction; the mock's 432 stars scatter by 0.158",
    ),
    "zero_point_out_of_range": Flag(
        "outside the range of Gaia's zero point (nearest value taken) or unknown (median)",
        False,
        "the zero point is of Gaia's parallax alone",
    ),
    "strange_spectrum": Flag(
        f"farther from the low-rank model of spectra than {EXTENT_SHARE:.1%} of the training stars",
        True,
        "the model does not describe the spectrum that it predicts from",
    ),
    **{f"estimated_{band}": _estimated(band) for band in MAGNITUDES},
    "estimated_band": _estimated("another band"),
}

#: The bits of the flags that touch the prediction: use the stars of ``(catalog["flags"] & RECOMMENDED_FLAGS) == 0``.
RECOMMENDED_FLAGS = sum(1 << bit for bit, flag in enumerate(FLAGS.values()) if flag.touches_prediction)

#: Comments of the header's cards of `flag_cards` and `position_cards`.
TABLE_COMMENTS = {
    "RADESYS": "of ra, dec",
    "POSORIG": "where ra, dec come from",
    "FLAGREC": "use stars of flags & FLAGREC = 0",
}


def star_values(stars: Table) -> dict:
    """The columns that say which star it is (dict of arrays), from a survey's star table."""
    names = np.asarray(stars["APOGEE_ID"]).astype(np.str_)
    return {
        "2MASS_ID": names,
        "tmass_id": names,
        "source_id": np.asarray(stars["source_id"]),
        "ra": np.asarray(stars["ra"]),
        "dec": np.asarray(stars["dec"]),
    }


def prediction_values(
    ln_parallax: np.ndarray, features_ln_error: np.ndarray, total_ln_error: np.ndarray | None = None
) -> dict:
    """The columns that follow from the predicted ln(parallax / mas) and its errors (dict of arrays).

    The error of the linear predictor is Gaussian, so percentiles of the distance are those of ln parallax.

    Parameters
    ----------
    ln_parallax, features_ln_error : float64 array, shape (n_stars,)
        The error is that of Eq. 5.
    total_ln_error : float64 array, shape (n_stars,), optional
        By the model's error budget; where it is given, the error of ln parallax and distance is this one.

    Examples
    --------
    >>> import numpy as np
    >>> from spfast.catalog.columns import prediction_values
    >>> values = prediction_values(np.log([0.5]), np.array([0.05]), np.array([0.1]))
    >>> [float(values[name][0].round(3)) for name in ("spec_parallax_err", "distance_16", "distance", "distance_84")]
    [0.025, 1.81, 2.0, 2.21]
    """
    ln_error = features_ln_error if total_ln_error is None else total_ln_error
    with np.errstate(over="ignore"):
        parallax = np.exp(ln_parallax)
        values = {
            "spec_parallax": parallax,
            "spec_parallax_err": parallax * features_ln_error,
            "ln_spec_parallax": ln_parallax,
            "ln_spec_parallax_err": ln_error,
            "distance": np.exp(-ln_parallax),
            "distance_16": np.exp(-ln_parallax - ln_error),
            "distance_84": np.exp(-ln_parallax + ln_error),
        }
        if total_ln_error is not None:
            values["spec_parallax_err_total"] = parallax * total_ln_error
    return values


def pack_flags(flags: dict, n_stars: int) -> np.ndarray:
    """Pack named bool arrays into the bits of `FLAGS` (int32 array, shape (n_stars,)).

    Examples
    --------
    >>> from spfast.catalog.columns import pack_flags
    >>> pack_flags({"no_gaia_parallax": [True, False, False], "starflag_bad": [True, True, False]}, 3).tolist()
    [5, 4, 0]
    """
    packed = np.zeros(n_stars, dtype=np.int32)
    for bit, name in enumerate(FLAGS):
        if name in flags:
            packed |= np.int32(1 << bit) * np.asarray(flags[name], dtype=np.int32)
    return packed


def flag_cards(names: Iterable[str]) -> dict:
    """Header cards: the bits to select by, and the name and meaning of each bit that a table uses (dict)."""
    used = {f"FLAG{bit}": f"{name}: {FLAGS[name].description}" for bit, name in enumerate(FLAGS) if name in names}
    return {"FLAGREC": RECOMMENDED_FLAGS, **used}


def position_cards(stars: Table, of_arrays: bool = False) -> dict:
    """Header cards that say what ``ra`` and ``dec`` are (dict of str).

    Parameters
    ----------
    stars : astropy Table
        Of a survey.
    of_arrays : bool
        Whether the survey was made of arrays, and the table of them has the positions.
    """
    if of_arrays:
        origin = "given with the arrays, taken as ICRS; epoch not known"
    elif "sdss_id" in stars.colnames:
        origin = "SDSS-V summary: of the catalog in its column lead; epoch not known"
    else:
        origin = "2MASS (allStar): each star when it was observed, 1997 to 2001"
    return {"RADESYS": "ICRS", "POSORIG": origin}


def survey_id(survey: Survey) -> Column | None:
    """The column that names the stars of a survey of arrays, in its own type; None where ``2MASS_ID`` says it all."""
    name = (survey.info.get("made_of_arrays") or {}).get("id")
    if name is None or name not in survey.stars.colnames or name in COLUMNS:
        return None
    return Column(survey.stars[name], name=name, description="Identifier of the star in its survey")


def build_table(values: dict, meta: dict, own_id: Column | None = None, specs: dict = COLUMNS) -> Table:
    """Put values under the names, types, units, UCDs and descriptions of ``specs``, in its order (astropy Table).

    ``own_id``, of `survey_id`, comes last.
    """
    columns = []
    for name, spec in specs.items():
        if name in values:
            data = np.asarray(values[name]).astype(np.str_ if spec.dtype == "U" else spec.dtype)
            column = Column(data, name=name, unit=spec.unit or None, description=spec.description)
            if spec.missing is not None:
                column = MaskedColumn(column, mask=data == spec.missing, fill_value=spec.missing)
            column.meta["ucd"] = spec.ucd
            columns.append(column)
    if own_id is not None and own_id.name not in values:
        columns[0].description = f"Identifier of the star: the survey's {own_id.name}"
        columns.append(own_id)
    return Table(columns, meta=meta)
