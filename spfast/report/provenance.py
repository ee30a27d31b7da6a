"""Where a catalog comes from: its header, the configuration of the run, the hashes of its inputs, the versions."""

import json
import platform
from importlib import metadata

from astropy.table import Table

from spfast import __version__
from spfast.config import Config
from spfast.data.survey import Survey

__all__ = ["header_cards", "input_hashes", "package_versions", "run_configuration"]

#: Header cards that have a place of their own on the page.
_SHOWN_ELSEWHERE = ("CONFIG", "SURVCONF", "FLAG", "TCOMM", "TUCD")
_PACKAGES = ("numpy", "numba", "scipy", "astropy", "matplotlib", "jinja2")


def header_cards(catalog: Table) -> list[tuple[str, str]]:
    """Return keyword and value of the catalog's header, without what the page shows elsewhere."""
    return [(key, str(value)) for key, value in catalog.meta.items() if not key.startswith(_SHOWN_ELSEWHERE)]


def run_configuration(catalog: Table, survey: Survey | None, config: Config) -> list[tuple[str, str, str]]:
    """Return section, key and value of what the survey, the fit and the map of the Galaxy were made with.

    Parameters
    ----------
    catalog : astropy Table
        Its header has the configuration of the fit.
    survey : Survey or None
        Its sections stand in the survey's own file.
    config : Config
        The report's; its section ``galaxy`` counts.

    Returns
    -------
    list of (str, str, str)
    """
    fit = json.loads(catalog.meta.get("CONFIG") or "{}")
    merged = {}
    built = {} if survey is None else survey.info.get("config") or {}
    for sections in (built, fit, {"galaxy": config.to_dict()["galaxy"]}):
        merged |= {name: values for name, values in sections.items() if isinstance(values, dict)}
    return [(section, key, str(value)) for section, values in merged.items() for key, value in values.items()]


def input_hashes(survey: Survey) -> list[tuple[str, str]]:
    """Return name and SHA-256 of the survey, its arrays and the files that it was made from."""
    hashes = [("survey", survey.survey_hash), *survey.info.get("sha256", {}).items()]
    for name, source in (survey.info.get("inputs") or {}).items():
        if "sha256" in source:
            hashes.append((f"{name}: {source.get('path', '')}", source["sha256"]))
    return hashes


def package_versions() -> list[tuple[str, str]]:
    """Return name and version of what makes the report."""
    packages = [(package, metadata.version(package)) for package in _PACKAGES]
    return [("spfast", __version__), ("python", platform.python_version()), *packages]
