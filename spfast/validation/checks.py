"""The registry of the checks of a catalog: what each needs, computes and shows; terminal, files and report read it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from astropy.table import Table

from spfast.config import BEST_SNR
from spfast.data.identifiers import match_names
from spfast.data.survey import Survey
from spfast.model.fitted_model import FittedModel
from spfast.validation.cluster_members import Members, listed_members, listed_names
from spfast.validation.clusters import CLUSTERS, cluster_means, star_magnitudes
from spfast.validation.columns import Column
from spfast.validation.comparison import COMPARISON, compare_catalogs, star_counts
from spfast.validation.coverage import CALIBRATION, COVERAGE, calibration, coverage, one_and_two_sigma
from spfast.validation.material import Material
from spfast.validation.measures import MEASURES, format_validation, validate
from spfast.validation.read_catalog import read_catalog
from spfast.validation.reddening import REDDENING, can_redden, reddening_test, resolve_law
from spfast.validation.residuals import errors_used
from spfast.validation.stability import (
    STABILITY,
    WAVELENGTHS,
    compare_models,
    format_wavelengths,
    magnitude_sum_note,
    surviving_pixels,
)
from spfast.validation.terminal import lay_out
from spfast.validation.trends import TRENDS, residual_trends

__all__ = ["CHECKS", "Check", "check_names", "format_checks", "run_checks"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check of a catalog, with a table as its result.

    Attributes
    ----------
    name : str
        Of the table, among the results and in the name of its file.
    title, shows : str
        A heading, and what the table shows.
    columns : dict of Column
        Of the table, in its order.
    compute : callable
        From the catalog and its `Material` to the table.
    needs : tuple of str
        Fields of `Material` without which there is nothing to check.
    n_models : int
        The fewest models that it takes.
    suits : callable, optional
        From the `Material` to whether the check means anything for it.
    note : str
        How to read the table, on the page.
    shown : callable, optional
        From the table to the rows that terminal and page show; the file has them all.
    page : str
        ``"report"``, ``"compare"`` for the page on two catalogs, or empty: not in the report.
    details : callable, optional
        From the table to a remark beside what it shows.
    text : callable, optional
        From the table to its text for a terminal, where that is not the table under its title.
    """

    name: str
    title: str
    shows: str
    columns: Mapping[str, Column]
    compute: Callable[[Table, Material], Table]
    needs: tuple[str, ...] = ()
    n_models: int = 0
    suits: Callable[[Material], bool] | None = None
    note: str = ""
    page: str = "report"
    shown: Callable[[Table], Table] = Table
    details: Callable[[Table], str] | None = None
    text: Callable[[Table], str] | None = None

    def is_possible(self, material: Material) -> bool:
        """Whether the material has what the check needs."""
        given = all(getattr(material, name) is not None for name in self.needs)
        given = given and len(material.models or ()) >= self.n_models
        return given and (self.suits is None or self.suits(material))

    def describe(self, table: Table) -> str:
        """Say what the table shows, and its details."""
        return self.shows + (f" ({self.details(table)})" if self.details is not None else "")

    def format(self, table: Table) -> str:
        """Lay out the check's table for a terminal."""
        if self.text is not None:
            return self.text(table)
        return f"{self.title}: {self.describe(table)}\n{lay_out(self.shown(table), self.columns)}"


def _check_clusters(catalog, material):
    members, names = material.members, read_catalog(catalog).names
    magnitudes = None
    if material.stars is not None:
        magnitudes = star_magnitudes(material.stars, match_names(names, material.stars["APOGEE_ID"]))
    elif not isinstance(members, Members) and not np.isfinite(star_magnitudes(catalog)).any():
        magnitudes = star_magnitudes(members, match_names(names, listed_names(members)))
    if not isinstance(members, Members):
        members = listed_members(names, members)
    return cluster_means(catalog, members.rows, members.literature, magnitudes)


#: Every check, in the order in which they are run, printed and shown.
CHECKS = (
    Check(
        name="measures",
        title="Scatter and bias",
        shows="the paper's measures",
        note=f"Best: training stars whose raw Gaia parallax is at least {BEST_SNR:.0f} times its error; there the "
        "scatter is mostly the method's. The published catalog claims better than 9%.",
        columns=MEASURES,
        compute=lambda catalog, material: validate(catalog, material.truth, material.zero_point),
        details=errors_used,
        text=format_validation,
    ),
    Check(
        name="calibration",
        title="Calibration",
        shows="share of stars within the central interval of their error",
        note="If the errors are honest, both columns agree.",
        columns=CALIBRATION,
        compute=lambda catalog, material: calibration(catalog, material.truth),
        shown=one_and_two_sigma,
        details=errors_used,
    ),
    Check(
        name="coverage",
        title="Coverage",
        shows="share of stars within their error",
        columns=COVERAGE,
        compute=lambda catalog, material: coverage(catalog, material.truth, material.stars),
        page="",
        details=errors_used,
    ),
    Check(
        name="trends",
        title="Trends",
        shows="straight lines through the fractional residuals, one quantity at a time",
        note="A slope of several times its error is a bias that depends on the quantity. Quantities depend on each "
        "other: a trend with one shows in others.",
        columns=TRENDS,
        details=errors_used,
        needs=("survey",),
        compute=lambda catalog, material: residual_trends(catalog, material.stars, material.truth),
    ),
    Check(
        name="clusters",
        title="Clusters",
        shows="mean parallaxes of the members",
        note="Nearest first. Gaia's mean is that of the parallaxes, weighted by inverse variances; the "
        "spectrophotometric one is that of ln parallax, where the errors are Gaussian. An error that "
        "all members of a cluster have in common does not average out, so the errors of the means are lower limits. "
        "The slope is that of ln parallax with K: the members are at one distance, so 0 is right.",
        columns=CLUSTERS,
        needs=("members",),
        compute=_check_clusters,
        details=lambda table: f"errors: {table.meta['ERRCOL']}",
    ),
    Check(
        name="reddening",
        title="Reddening test",
        shows="change of ln parallax when stars of low extinction are reddened and predicted again (0 is right)",
        note="The slope is for each magnitude of extinction in K. A model that sees through dust keeps its parallaxes.",
        columns=REDDENING,
        needs=("survey",),
        n_models=1,
        suits=lambda material: can_redden(material.survey, material.law),
        compute=lambda catalog, material: reddening_test(
            material.survey, material.models, material.law, material.threads
        ),
    ),
    Check(
        name="stability",
        title="Stability",
        shows="the models two by two",
        note="What two models agree on although they were trained on different stars.",
        columns=STABILITY,
        n_models=2,
        compute=lambda catalog, material: compare_models(material.models, material.survey, material.threads),
        details=magnitude_sum_note,
    ),
    Check(
        name="wavelengths",
        title="Wavelengths",
        shows="pixels that a model uses",
        columns=WAVELENGTHS,
        n_models=2,
        compute=lambda catalog, material: surviving_pixels(material.models),
        page="",
        text=format_wavelengths,
    ),
    Check(
        name="comparison",
        title="Difference by distance",
        shows="spectrophotometric parallaxes of the same stars in two catalogs",
        note="Overall and in bins of distance: 1 over the geometric mean of the two parallaxes.",
        columns=COMPARISON,
        needs=("other",),
        compute=lambda catalog, material: compare_catalogs(catalog, material.other),
        page="compare",
        details=star_counts,
    ),
)


def check_names(**material: object) -> list[str]:
    """Return the names of the tables that `run_checks` returns.

    Parameters
    ----------
    **material
        Whatever of `Material` there is.

    Returns
    -------
    list of str

    Examples
    --------
    >>> from spfast.validation.checks import check_names
    >>> check_names(truth=None)
    ['measures', 'calibration', 'coverage']
    """
    return [check.name for check in CHECKS if check.is_possible(Material(**material))]


def run_checks(
    catalog: Table,
    truth: Table | None = None,
    survey: Survey | None = None,
    models: Mapping[str, FittedModel] | None = None,
    other: Table | None = None,
    members: Table | Members | None = None,
    zero_point: float | None = None,
    law: str | Mapping[str, float] = "wang2019",
    threads: int | None = None,
) -> dict[str, Table]:
    """Run every check that the given material allows.

    Parameters
    ----------
    catalog : astropy Table
        The seven columns of Table 1.
    truth : astropy Table, optional
        ``APOGEE_ID`` and ``true_parallax`` [mas]: the parallaxes are compared with it as well.
    survey : Survey, optional
        Of the catalog: coverage by G, H-W2 and signal-to-noise, and trends.
    models : dict of FittedModel, optional
        The catalog's models by name: with the survey the reddening test, with two or more their stability.
    other : astropy Table, optional
        Another catalog to compare with.
    members : astropy Table or Members, optional
        ``2MASS_ID`` and ``cluster``, optionally ``distance`` [kpc]; or the members' rows of the catalog.
    zero_point : float, optional
        As in `validate`.
    law : str or dict
        Extinction law of the reddening test.
    threads : int, optional

    Returns
    -------
    dict of astropy Table
        By the names of `CHECKS`, for each check whose material is there.

    Raises
    ------
    BadInputError
        As each check, or if the survey's files became shorter meanwhile.
    """
    resolve_law(law)  # before any work, and where no check needs it
    material = Material(truth, survey, models, other, members, zero_point, law, threads)
    tables = {check.name: check.compute(catalog, material) for check in CHECKS if check.is_possible(material)}
    if survey is not None:
        survey.check_length()
    return tables


def format_checks(tables: Mapping[str, Table]) -> str:
    """Lay out `run_checks`' tables for a terminal."""
    return "\n\n".join(check.format(tables[check.name]) for check in CHECKS if check.name in tables)
