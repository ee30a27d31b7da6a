"""Reddening put in by hand: how far the model's parallaxes move when stars without much dust are given some."""

import numpy as np

from spfast.data.tables.values import float_column
from spfast.errors import BadInputError
from spfast.model.layout import MAGNITUDES
from spfast.selection.star_keys import seen_in_training
from spfast.validation.residuals import described_table

__all__ = ["LAWS", "REDDENING", "reddening_test"]

#: Extinction in each band in units of A_K. wang2019: Wang & Chen (2019, ApJ 877, 116, Table 3), from red clump stars.
#: yuan2013: Yuan, Liu & Xiang (2013, MNRAS 430, 2188, Table 2) for 2MASS and WISE, Casagrande & VandenBerg (2018,
#: MNRAS 479, L102, Table 2) for Gaia, both per E(B-V).
_LAW_TABLES = {
    "wang2019": {
        "G": 0.789, "BP": 1.002, "RP": 0.589, "J": 0.243, "H": 0.131, "K": 0.078, "W1": 0.039, "W2": 0.026,
    },
    "yuan2013": {
        "G": 2.740, "BP": 3.374, "RP": 2.035, "J": 0.72, "H": 0.46, "K": 0.306, "W1": 0.18, "W2": 0.16,
    },
}  # fmt: skip
LAWS = {name: {band: a / law["K"] for band, a in law.items()} for name, law in _LAW_TABLES.items()}

#: A_K = 0.918 (H - W2 - 0.05) for giants (Majewski, Zasowski & Nidever 2011, ApJ 739, 25, Eq. 1, with WISE's W2).
_RJCE_SLOPE, _RJCE_ZERO = 0.918, 0.05
#: Stars with less than this are reddened [mag in K], up to so many.
_LOW_EXTINCTION = 0.1
_MAX_STARS = 2000
#: A_K put in [mag].
_ADDED = np.linspace(0.0, 0.5, 6)
#: ln parallax for each magnitude of distance modulus.
_LN_PER_MAGNITUDE = -0.2 * np.log(10.0)

#: Columns of `reddening_test`: unit and description.
REDDENING = {
    "model": ("", "the model"),
    "law": ("", "extinction law"),
    "n": ("", "stars of low extinction that the model was not trained on"),
    "slope": ("1 / mag", "change of ln parallax for each magnitude of A_K; 0 if the model sees through dust"),
    "spread": ("1 / mag", "standard deviation of the slope among stars"),
    "curvature": ("", "largest departure of mean ln parallax from a straight line in A_K"),
    "modulus": ("", "magnitudes of distance modulus gained for each magnitude of A_K; 1 if dust in K were ignored"),
    "at_half": ("", "fractional change of the parallax at A_K = 0.5 mag"),
}


def reddening_test(survey, models, law="wang2019", threads=None):
    """Redden stars of low extinction, predict them again, and fit a line to ln parallax against A_K.

    Only the magnitudes are reddened: what dust leaves in a spectrum (diffuse bands) is not put in. Each model is asked
    about stars that it was not trained on.

    Parameters
    ----------
    survey : Survey
    models : dict of FittedModel
        By name, as `spfast catalog --models` saved them.
    law : str or dict of float
        A key of `LAWS`, or each band's extinction in units of A_K.
    threads : int, optional

    Returns
    -------
    astropy Table
        One row a model, columns as in `REDDENING`.

    Raises
    ------
    BadInputError
        For an unknown law, or where no such star is left for a model.
    """
    law_name, per_band = _resolve_law(law)
    stars = survey.stars
    extinction = _RJCE_SLOPE * (float_column(stars, "H") - float_column(stars, "w2mpro") - _RJCE_ZERO)
    bands = [band for band in MAGNITUDES if band in survey.layout.magnitudes]
    columns = [survey.layout.names.index(band) for band in bands]
    per_a_k = np.array([per_band[band] for band in bands])
    rows = []
    for name, model in models.items():
        model = model.for_layout(survey.layout)
        chosen = extinction < _LOW_EXTINCTION
        if model.provenance.training_stars is not None:
            chosen &= ~seen_in_training(model.provenance.training_stars, stars)
        chosen = np.flatnonzero(chosen)
        if not chosen.size:
            raise BadInputError(
                f"model {name}: no star with A_K < {_LOW_EXTINCTION} mag that it was not trained on; "
                "the reddening test needs some"
            )
        chosen = chosen[:: -(-chosen.size // _MAX_STARS)]
        features = np.array(survey.features[chosen], dtype=np.float64)
        clean = features[:, columns]
        ln_parallax = np.empty((_ADDED.size, chosen.size))
        for i, a_k in enumerate(_ADDED):
            features[:, columns] = clean + a_k * per_a_k
            ln_parallax[i] = model.predict_ln(features, threads=threads)
            ln_parallax[i] -= model.predict_offset(features, threads=threads, ln_parallax=ln_parallax[i])
        slopes, starts = np.polyfit(_ADDED, ln_parallax, 1)
        curvature = np.abs((ln_parallax - starts - np.outer(_ADDED, slopes)).mean(axis=1)).max()
        slope = float(slopes.mean())
        effect = slope / _LN_PER_MAGNITUDE, float(np.expm1(0.5 * slope))
        rows.append((name, law_name, chosen.size, slope, float(slopes.std()), float(curvature), *effect))
    return described_table(rows, REDDENING)


def _resolve_law(law):
    """Its name, and each band's extinction in units of A_K."""
    if isinstance(law, str):
        if law not in LAWS:
            raise BadInputError(f"extinction law {law!r}: expected one of {', '.join(LAWS)}")
        return law, LAWS[law]
    missing = [band for band in MAGNITUDES if band not in law]
    if missing:
        raise BadInputError(f"extinction law: it lacks {', '.join(missing)}; expected every band in units of A_K")
    return "given", law
