"""Which release of Gaia a table is of, from what it holds: its zero point depends on it."""

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from astropy.table import Column

from spfast.archive.releases import GAIA
from spfast.config import AUTO
from spfast.data.survey import Survey
from spfast.errors import BadInputError, SpfastWarning

__all__ = ["RELEASE_CARD", "TELLING_COLUMNS", "Release", "find_release", "given_or_found", "survey_release"]

#: Columns whose values tell the release; a table may lack them.
TELLING_COLUMNS = ("ref_epoch", "solution_id", "designation", "astrometric_params_solved")
#: Entry of a table's metadata in which spfast itself writes the release.
RELEASE_CARD = "GAIAREL"
#: A query, a title or a name of Gaia's own: the release's schema and table, VizieR's table, or the name of a source.
_IN_TEXT = re.compile(
    r"gaia(?P<schema>e?dr\d)\.gaia_source|I/(?P<vizier>345/gaia2|350/gaiaedr3|355/gaiadr3)|gaia (?P<name>e?dr\d)\b",
    re.IGNORECASE,
)
_VIZIER = {"345/gaia2": "dr2", "350/gaiaedr3": "dr3", "355/gaiadr3": "dr3"}
#: ``astrometric_params_solved`` of a six-parameter solution, which there are since EDR3.
_SIX_PARAMETERS = 95
#: Epochs are told apart by less than the half year between them; a solution_id may come as a double.
_EPOCH_STEP, _SAME_ID = 0.1, 1e-9


class Release(NamedTuple):
    """A release of Gaia.

    Attributes
    ----------
    name : str or None
        A key of `spfast.archive.releases.GAIA`; None if it is unknown.
    reason : str
        What tells it.
    """

    name: str | None
    reason: str

    @property
    def title(self) -> str:
        """In words (str)."""
        return "an unknown release of Gaia" if self.name is None else GAIA[self.name].title


def find_release(
    columns: Mapping[str, Column], names: Sequence[str], meta: Mapping, where: str, given: str = AUTO
) -> Release:
    """Find the release of Gaia that a table is of.

    Parameters
    ----------
    columns : mapping of str to astropy Column
        Those of `TELLING_COLUMNS` that the table has.
    names : sequence of str
        All its columns.
    meta : mapping
        Its metadata: a FITS header, a VOTable's INFOs.
    where : str
        The table, for messages.
    given : str
        The release by the configuration, or "auto".

    Returns
    -------
    Release
        EDR3 counts as DR3. Of a table with columns that there are since DR3, and no word on its epoch, DR3.

    Raises
    ------
    BadInputError
        If its rows are of several releases.

    Warns
    -----
    SpfastWarning
        If the given release is another than the table's.

    Examples
    --------
    >>> from spfast.data.gaia_release import find_release
    >>> find_release({}, ["source_id", "parallax", "pseudocolour"], {}, "gaia.fits").name
    'dr3'
    """
    by_rows = _by_rows(columns, where)  # in any case, for it refuses a mixture
    found = _declared(meta) or by_rows or _by_meta(meta) or _by_columns(columns, names)
    return given_or_found(found or Release(None, "nothing in the table tells it"), given, where)


def given_or_found(found: Release, given: str, where: str) -> Release:
    """Return the release that was given, or the one found if that is "auto"; arguments and warning of `find_release`.

    Parameters
    ----------
    found : Release
        What the table tells.
    given, where : str
    """
    if given == AUTO:
        return found
    if found.name not in (None, given):
        text = f"{where}: gaia_release says {given}, but it is of {found.title} ({found.reason}): taken as {given}"
        warnings.warn(text, SpfastWarning, stacklevel=3)
    return Release(given, "given")


def survey_release(survey: Survey) -> Release:
    """The release of a survey's parallaxes: as survey.json says, or by the columns of one that was built before it did.

    Parameters
    ----------
    survey : Survey
    """
    info = survey.info
    if info.get("gaia_release") in GAIA:
        return Release(info["gaia_release"], str(info.get("gaia_release_reason", "as the survey says")))
    names = survey.stars.colnames
    columns = {name: survey.stars[name] for name in TELLING_COLUMNS if name in names}
    return find_release(columns, names, {}, str(survey.path))


def _declared(meta):
    name = str(meta.get(RELEASE_CARD, "")).strip().lower()
    return Release(name, f"its header says {RELEASE_CARD} = {name}") if name in GAIA else None


def _by_meta(meta):
    found = set()
    for value in meta.values():
        for text in value if isinstance(value, list) else [value]:
            found |= _in_text(text) if isinstance(text, str) else set()
    return Release(found.pop(), "its metadata name it") if len(found) == 1 else None


def _in_text(text):
    """The releases that a text names (set of str)."""
    found = set()
    for match in _IN_TEXT.finditer(text):
        vizier = match["vizier"]
        name = _VIZIER[vizier.lower()] if vizier else (match["schema"] or match["name"]).lower().removeprefix("e")
        found |= {name} & set(GAIA)
    return found


def _by_rows(columns, where):
    """What the rows say one by one; rows of several releases are refused."""
    epochs, ids = _numbers(columns, "ref_epoch"), _numbers(columns, "solution_id")
    told = {
        "ref_epoch": {name: np.abs(epochs - release.epoch) < _EPOCH_STEP for name, release in GAIA.items()},
        "solution_id": {name: _is_one_of(ids, release.solution_ids) for name, release in GAIA.items()},
        "designation": _of_names(columns, "designation"),
        "source_id": _of_names(columns, "source_id"),
    }
    found = None
    for column, rows in told.items():
        counts = {name: np.count_nonzero(fits) for name, fits in rows.items() if np.any(fits)}
        if len(counts) > 1:
            seen = " and ".join(f"{count:,} of {GAIA[name].title}" for name, count in counts.items())
            raise BadInputError(f"{where}: rows of several releases by their {column} ({seen}); give a table of one")
        for name in counts:
            reasons = {"ref_epoch": f"is {GAIA[name].epoch:g}", "solution_id": "is that of the release"}
            found = found or Release(name, f"its {column} {reasons.get(column, 'names it')}")
    return found


def _is_one_of(ids, own):
    return np.isclose(ids[:, None], np.array(own, float), rtol=_SAME_ID, atol=0.0).any(axis=1)


def _of_names(columns, name):
    """Which rows are of each release by names of sources such as "Gaia DR3 4295806720" (dict of bool array)."""
    if name not in columns or columns[name].dtype.kind not in "SUO":
        return {}
    starts, place = np.unique([str(text).rpartition(" ")[0] for text in columns[name]], return_inverse=True)
    said = [_in_text(f"{start} ") for start in starts.tolist()]
    return {release: np.array([release in each for each in said], bool)[place] for release in GAIA}


def _by_columns(columns, names):
    lower = {name.lower() for name in names}
    found = {name: [own for own in release.own_columns if own in lower] for name, release in GAIA.items()}
    found = {name: own for name, own in found.items() if own}
    if len(found) == 1:
        ((name, own),) = found.items()
        return Release(name, f"it has the column {own[0]}")
    if not found and np.any(_numbers(columns, "astrometric_params_solved") == _SIX_PARAMETERS):
        return Release("dr3", f"its astrometric_params_solved has {_SIX_PARAMETERS}")
    return None


def _numbers(columns, name):
    """The finite numbers of a column (float64 array); none if it is absent or holds other things."""
    if name not in columns:
        return np.empty(0)
    try:
        values = np.ma.filled(np.ma.asarray(columns[name]).astype(np.float64), np.nan)
    except (TypeError, ValueError):
        return np.empty(0)
    return values[np.isfinite(values)]
