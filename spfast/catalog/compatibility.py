"""Do a model, a catalog and a survey belong together? What differs is named."""

import math
import warnings
from collections.abc import Iterator, Mapping

from astropy.table import Table

from spfast import __version__
from spfast.data.survey import Survey
from spfast.errors import BadInputError, MismatchWarning
from spfast.model.fitted_model import FittedModel
from spfast.model.recipe import check_origin

__all__ = ["check_catalog", "check_model", "differences"]

#: Settings by which continuum pixels are found; the pixels themselves are compared.
_OF_CONTINUUM = ("continuum_file", "continuum_share", "continuum_stars")
#: Text formats keep so many digits of a card.
_SAME_OBJECTIVE = 1e-9


def check_model(model: FittedModel, survey: Survey) -> None:
    """Refuse a model whose features were made otherwise than a survey's.

    Parameters
    ----------
    model : FittedModel
        One of unknown provenance is taken as it is.
    survey : Survey

    Raises
    ------
    BadInputError
        If kind or release of the spectra, WISE's catalog, Gaia's release, pixel mask, normalisation or features differ;
        it names what does.

    Warns
    -----
    MismatchWarning
        If the continuum pixels differ.
    """
    theirs, ours = model.provenance.features_origin or {}, survey.features_origin
    check_origin(theirs, ours, "model: trained on", f"the survey {survey.path}")
    built = model.provenance.survey_config or {}
    config = survey.info.get("config") or {}
    for section in ("normalization", "features"):
        for key, value in (built.get(section) or {}).items():
            other = (config.get(section) or {}).get(key, value)
            if other != value and key not in (*_OF_CONTINUUM, "rank"):
                raise BadInputError(
                    f"model: its survey was built with [{section}] {key} = {value}, {survey.path} with {other}; "
                    "build the survey again with the model's"
                )
    if None not in (theirs.get("continuum"), ours["continuum"]) and theirs["continuum"] != ours["continuum"]:
        text = (
            f"{survey.path}: normalised on other continuum pixels than the model's survey, so its features differ a "
            "little; build it with `spfast ingest --like` that survey"
        )
        warnings.warn(text, MismatchWarning, stacklevel=3)


def check_catalog(
    catalog: Table, survey: Survey | None = None, models: Mapping[str, FittedModel] | None = None
) -> None:
    """Warn of a catalog made by another version of spfast, from another survey, or by other models.

    Parameters
    ----------
    catalog : astropy Table
        One that does not say is not ours, and not judged.
    survey : Survey, optional
    models : mapping of str to FittedModel, optional
        Those named ``A`` and ``B`` are taken for the catalog's.

    Warns
    -----
    MismatchWarning
    """
    for text in differences(catalog, survey, models):
        warnings.warn(text, MismatchWarning, stacklevel=3)


def differences(
    catalog: Table, survey: Survey | None = None, models: Mapping[str, FittedModel] | None = None
) -> Iterator[str]:
    """Yield in a sentence each what of a catalog is not of this version, of the survey or of the models.

    Parameters
    ----------
    catalog, survey, models
        As for `check_catalog`.
    """
    version, of_survey = catalog.meta.get("SPFVERS"), catalog.meta.get("SURVHASH")
    if version is not None and str(version) != __version__:
        yield f"the catalog was made by spfast {version}, this is {__version__}: numbers and columns may differ"
    if survey is not None and of_survey is not None and str(of_survey) != survey.survey_hash:
        yield (
            f"the catalog was made from the survey {str(of_survey)[:12]}..., {survey.path} is "
            f"{survey.survey_hash[:12]}...: stars are matched by name"
        )
    for fold, model in (models or {}).items():
        said = str(catalog.meta.get(f"OBJECT_{fold}", model.result.objective))
        if not math.isclose(_number(said), model.result.objective, rel_tol=_SAME_OBJECTIVE):
            yield (
                f"model {fold} ends at the objective {model.result.objective:.10g}, the catalog's at {said[:20]}: "
                "what is said of models is not said of those that made the catalog"
            )


def _number(text):
    try:
        return float(text)
    except ValueError:
        return math.nan
