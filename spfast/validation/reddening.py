"""The reddening test: how far a model's parallaxes move when stars with little dust are given more."""

from collections.abc import Mapping

import numpy as np
from astropy.table import Table

from spfast.data.survey import Survey
from spfast.data.tables.values import float_column
from spfast.errors import BadInputError
from spfast.model.fitted_model import FittedModel
from spfast.model.layout import MAGNITUDE_SUM, MAGNITUDES
from spfast.selection.star_keys import seen_in_training
from spfast.training.inputs import model_inputs
from spfast.validation.columns import Column, described_table

__all__ = ["LAWS", "REDDENING", "can_redden", "extinction_in_k", "reddening_test", "resolve_law"]

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

#: Columns of `reddening_test`.
REDDENING = {
    "model": Column("the model", "model"),
    "law": Column("extinction law", "law"),
    "n": Column("stars of low extinction that the model was not trained on", "stars", ",d"),
    "slope": Column(
        "change of ln parallax for each magnitude of A_K; 0 if the model sees through dust", "slope", "+.4f", "1 / mag"
    ),
    "spread": Column("standard deviation of the slope among stars", unit="1 / mag"),
    "curvature": Column("largest departure of mean ln parallax from a straight line in A_K"),
    "modulus": Column(
        "magnitudes of distance modulus gained for each magnitude of A_K; 1 if dust in K were ignored",
        "mag/mag",
        "+.3f",
    ),
    "at_half": Column("fractional change of the parallax at A_K = 0.5 mag", "parallax at A_K = 0.5", "+.1%"),
}


def reddening_test(
    survey: Survey,
    models: Mapping[str, FittedModel],
    law: str | Mapping[str, float] = "wang2019",
    threads: int | None = None,
) -> Table:
    """Redden stars of low extinction, predict them again, and fit a line to ln parallax against A_K.

    Only the magnitudes are reddened, not the spectrum, in which dust leaves diffuse bands. Each model predicts stars
    that it was not trained on.

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
        One row a model; columns as in `REDDENING`.

    Raises
    ------
    BadInputError
        For an unknown law, or if no star of low extinction is left for a model.
    """
    law_name, per_band = resolve_law(law)
    stars = survey.stars
    extinction = extinction_in_k(float_column(stars, "H"), float_column(stars, "w2mpro"))
    bands = list(survey.layout.magnitudes)
    unknown = [band for band in bands if band not in per_band]
    if unknown:
        raise BadInputError(f"reddening test: the law {law_name} lacks the band {unknown[0]}; give the law with it")
    columns = [1 + survey.layout.magnitudes.index(band) for band in bands]
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
        features = np.array(model_inputs(survey, model, threads, chosen).features, dtype=np.float64)
        clean = features[:, columns]
        ln_parallax = np.empty((_ADDED.size, chosen.size))
        for i, a_k in enumerate(_ADDED):
            features[:, columns] = clean + a_k * per_a_k
            ln_parallax[i] = model.predict_ln(features, threads=threads)
        slopes, starts = np.polyfit(_ADDED, ln_parallax, 1)
        curvature = np.abs((ln_parallax - starts - np.outer(_ADDED, slopes)).mean(axis=1)).max()
        slope = float(slopes.mean())
        # ln parallax changes by MAGNITUDE_SUM for each magnitude of distance modulus.
        effect = slope / MAGNITUDE_SUM, float(np.expm1(0.5 * slope))
        rows.append((name, law_name, chosen.size, slope, float(slopes.std()), float(curvature), *effect))
    return described_table(rows, REDDENING)


def can_redden(survey: Survey, law: str | Mapping[str, float] = "wang2019") -> bool:
    """Whether a survey has what the test needs: H and W2 of its stars, and no band that the law lacks."""
    bands = survey.layout.magnitudes
    return {"H", "W2"} <= set(bands) and set(bands) <= set(resolve_law(law)[1])


def extinction_in_k(h: np.ndarray, w2: np.ndarray) -> np.ndarray:
    """Return the extinction in K of giants by their colour H - W2; noise can make it negative.

    Parameters
    ----------
    h, w2 : float array, shape (n_stars,) [mag]

    Returns
    -------
    float array, shape (n_stars,) [mag]
    """
    return _RJCE_SLOPE * (h - w2 - _RJCE_ZERO)


def resolve_law(law):
    """Return an extinction law's name, and its extinction in each band in units of that in K (dict).

    Raises
    ------
    BadInputError
        If the name is unknown, or a band is missing.
    """
    if isinstance(law, str):
        if law not in LAWS:
            raise BadInputError(f"extinction law {law!r}: expected one of {', '.join(LAWS)}")
        return law, LAWS[law]
    missing = [band for band in MAGNITUDES if band not in law]
    if missing:
        raise BadInputError(f"extinction law: it lacks {', '.join(missing)}; expected every band in units of A_K")
    return "given", law
