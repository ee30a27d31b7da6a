"""The columns, flag bits and header cards of the catalog and of a prediction table, and what goes into each."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from astropy.table import Column, Table

from spfast.data.survey import Survey
from spfast.model.extent import EXTENT_SHARE
from spfast.model.layout import MAGNITUDES

__all__ = [
    "CLIPPED_SHARE",
    "COLUMNS",
    "FLAGS",
    "MASKED_SHARE",
    "OUTLIER_SIGMA",
    "build_table",
    "flag_cards",
    "pack_flags",
    "prediction_values",
    "survey_id",
    "star_values",
]


class ColumnSpec(NamedTuple):
    """One column: numpy type (``U`` text), unit, UCD and description."""

    dtype: str
    unit: str
    ucd: str
    description: str


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
    "source_id": ColumnSpec("i8", "", "meta.id", "Gaia source identifier, -1 if none"),
    "ra": ColumnSpec("f8", "deg", "pos.eq.ra;meta.main", "Right ascension"),
    "dec": ColumnSpec("f8", "deg", "pos.eq.dec;meta.main", "Declination"),
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

#: The bits of ``flags`` from bit 0 on, and what they mean.
FLAGS = {
    "no_gaia_parallax": "none from Gaia: combined_parallax is spec_parallax",
    "parallax_outlier": f"Gaia_parallax and spec_parallax differ by more than {OUTLIER_SIGMA:.0f} sigma",
    "starflag_bad": "a bad bit of APOGEE's STARFLAG is set (0, 3, 18, 22)",
    "aspcapflag_bad": "a bad bit of APOGEE's ASPCAPFLAG is set (STAR_BAD or a parameter's)",
    "many_masked_pixels": f"more than {MASKED_SHARE:.0%} of the spectrum's pixels are masked",
    "not_converged": "the model that predicts the star stopped before its tolerance",
    "seen_in_training": "the star was in the model's training set: not independent of Gaia",
    "extrapolation": f"farther out in the model's own features than {EXTENT_SHARE:.1%} of its training stars",
    "clipped_flux": f"more than {CLIPPED_SHARE:.0%} of the spectrum's pixels stand at a bound of the clipped flux",
    "starflag_warning": "a warning bit of APOGEE's STARFLAG is set (2, 4, 9-13, 16, 17, 19-21)",
    "aspcapflag_warning": "a warning bit of APOGEE's ASPCAPFLAG is set (0-14)",
    "gaia_quality": "Gaia's astrometry fails the training set's cuts on visibility periods or chi-squared",
    "zero_point_out_of_range": "outside the range of Gaia's zero point (nearest value taken) or unknown (median)",
    "strange_spectrum": f"farther from the low-rank model of spectra than {EXTENT_SHARE:.1%} of the training stars",
    **{
        f"estimated_{band}": f"{band} is missing: estimated from the other bands and the spectrum"
        for band in MAGNITUDES
    },
    "estimated_band": "another band is missing: estimated from the other bands and the spectrum",
}


def star_values(stars: Table) -> dict:
    """The columns that say which star it is (dict of arrays), from a survey's star table."""
    return {
        "2MASS_ID": np.asarray(stars["APOGEE_ID"]).astype(np.str_),
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
    """Header cards that name the bits a table uses (dict of str)."""
    return {f"FLAG{bit}": f"{name}: {text}" for bit, (name, text) in enumerate(FLAGS.items()) if name in names}


def survey_id(survey: Survey) -> Column | None:
    """The column that names the stars of a survey of arrays, in its own type; None where ``2MASS_ID`` says it all."""
    name = (survey.info.get("made_of_arrays") or {}).get("id")
    if name is None or name not in survey.stars.colnames or name in COLUMNS:
        return None
    return Column(survey.stars[name], name=name, description="Identifier of the star in its survey")


def build_table(values: dict, meta: dict, own_id: Column | None = None) -> Table:
    """Put values under the names, types, units, UCDs and descriptions of `COLUMNS`, in its order (astropy Table).

    ``own_id``, of `survey_id`, comes last.
    """
    columns = []
    for name, spec in COLUMNS.items():
        if name in values:
            data = np.asarray(values[name]).astype(np.str_ if spec.dtype == "U" else spec.dtype)
            column = Column(data, name=name, unit=spec.unit or None, description=spec.description)
            column.meta["ucd"] = spec.ucd
            columns.append(column)
    if own_id is not None:
        columns[0].description = f"Identifier of the star: the survey's {own_id.name}"
        columns.append(own_id)
    return Table(columns, meta=meta)
