"""All checks of a catalog that the material at hand allows, as tables by name, and as text."""

from pathlib import Path

import numpy as np

from spfast.errors import BadInputError
from spfast.model.fitted_model import load_model
from spfast.validation.clusters import cluster_means, members_from_table
from spfast.validation.comparison import compare_catalogs
from spfast.validation.coverage import calibration, coverage
from spfast.validation.measures import format_validation, validate
from spfast.validation.read_catalog import catalog_values
from spfast.validation.reddening import reddening_test
from spfast.validation.stability import compare_models, surviving_pixels
from spfast.validation.trends import residual_trends

__all__ = ["check_names", "format_checks", "load_models", "run_checks"]


def load_models(paths):
    """Load the models of one or several catalogs.

    Parameters
    ----------
    paths : list of path-like
        Folders that `spfast catalog --models` wrote, or model files.

    Returns
    -------
    dict of FittedModel
        By name: ``A`` and ``B`` for one folder, ``folder/A`` for several, a file's own name without its suffix.

    Raises
    ------
    BadInputError
        If a folder has no model, or two would have the same name.
    """
    paths = [Path(path) for path in paths]
    models = {}
    for path in paths:
        files = sorted(path.glob("model_*.npz")) if path.is_dir() else [path]
        if not files:
            raise BadInputError(f"{path}: no model_*.npz in it; expected a folder written by `spfast catalog --models`")
        for file in files:
            name = file.stem.removeprefix("model_")
            if path.is_dir() and len(paths) > 1:
                name = f"{path.name}/{name}"
            if name in models:
                raise BadInputError(f"{file}: a second model named {name}; rename its folder or file")
            models[name] = load_model(file)
    return models


def check_names(survey=None, models=None, other=None, members=None, **_):
    """The names of the tables that `run_checks` returns for this material (list of str)."""
    planned = {
        "measures": True,
        "calibration": True,
        "coverage": True,
        "trends": survey is not None,
        "reddening": survey is not None and bool(models),
        "stability": bool(models) and len(models) > 1,
        "wavelengths": bool(models) and len(models) > 1,
        "comparison": other is not None,
        "clusters": members is not None,
    }
    return [name for name, runs in planned.items() if runs]


def run_checks(
    catalog,
    truth=None,
    survey=None,
    models=None,
    other=None,
    members=None,
    zero_point=None,
    law="wang2019",
    threads=None,
):
    """Run every check that the given material allows.

    Parameters
    ----------
    catalog : astropy Table
        The seven columns of Table 1.
    truth : astropy Table, optional
        ``APOGEE_ID`` and ``true_parallax`` [mas]: everything is compared with it too.
    survey : Survey, optional
        Of the catalog: coverage by G, H-W2 and signal-to-noise, and trends.
    models : dict of FittedModel, optional
        The catalog's models by name: with the survey the reddening test, with two or more their stability.
    other : astropy Table, optional
        Another catalog to compare with.
    members : astropy Table, optional
        ``2MASS_ID`` and ``cluster``, optionally ``distance`` [kpc].
    zero_point : float, optional
        As in `validate`.
    law : str or dict
        Extinction law of the reddening test.
    threads : int, optional

    Returns
    -------
    dict of astropy Table
        Under ``measures``, ``calibration``, ``coverage`` and, where the material is there, ``trends``, ``reddening``,
        ``stability``, ``wavelengths``, ``comparison``, ``clusters``.

    Raises
    ------
    BadInputError
        As each check, or if the survey's files became shorter meanwhile.
    """
    stars = None if survey is None else survey.stars
    tables = {
        "measures": validate(catalog, truth, zero_point),
        "calibration": calibration(catalog, truth),
        "coverage": coverage(catalog, truth, stars),
    }
    if survey is not None:
        tables["trends"] = residual_trends(catalog, stars, truth)
    if models and survey is not None:
        tables["reddening"] = reddening_test(survey, models, law, threads)
    if models and len(models) > 1:
        tables["stability"] = compare_models(models, survey, threads)
        tables["wavelengths"] = surviving_pixels(models)
    if other is not None:
        tables["comparison"] = compare_catalogs(catalog, other)
    if members is not None:
        found = members_from_table(catalog_values(catalog).names, members)
        literature = members if "distance" in members.colnames else None
        tables["clusters"] = cluster_means(catalog, found, literature)
    if survey is not None:
        survey.check_length()
    return tables


def format_checks(tables):
    """Lay out `run_checks`' tables for a terminal (str)."""
    return "\n\n".join(_FORMATS[name](table) for name, table in tables.items())


def _text(title, table, columns, rows=None):
    """A titled table: each column's heading and format."""
    cells = [
        [_cell(row[name], spec) for name, (_, spec) in columns.items()] for row in (table if rows is None else rows)
    ]
    heads = [head for head, _ in columns.values()]
    widths = [max(len(text) for text in column) for column in zip(heads, *cells, strict=True)]
    left = [not spec for _, spec in columns.values()]
    lines = [
        "  ".join(
            text.ljust(width) if is_left else text.rjust(width)
            for text, width, is_left in zip(line, widths, left, strict=True)
        )
        for line in (heads, *cells)
    ]
    return "\n".join([title, *(line.rstrip() for line in lines)])


def _cell(value, spec):
    if not spec:
        return str(value)
    return "" if np.isnan(value) else f"{value:{spec}}"


def _error_name(table):
    inflation = table.meta["INFLAT"]
    return table.meta["ERRCOL"] + (f", Gaia's errors times {inflation:.2f}" if inflation != 1.0 else "")


def _format_calibration(table):
    columns = {"reference": ("against", ""), "level": ("should", ".0%"), "share": ("does", ".1%"), "n": ("stars", "d")}
    title = f"Calibration: share of stars within the central interval of their error ({_error_name(table)})"
    return _text(title, table, columns)


def _format_coverage(table):
    columns = {
        "reference": ("against", ""),
        "stars": ("stars", ""),
        "low": ("from", ".3g"),
        "high": ("to", ".3g"),
        "n": ("n", "d"),
        "within_68": ("in 68%", ".1%"),
        "within_95": ("in 95%", ".1%"),
        "error_68": ("+-", ".1%"),
        "pull": ("pull", ".2f"),
        "offset": ("offset/error", "+.2f"),
    }
    return _text(f"Coverage: share of stars within their error ({_error_name(table)})", table, columns)


def _format_trends(table):
    columns = {
        "reference": ("against", ""),
        "quantity": ("with", ""),
        "per": ("per", ""),
        "n": ("n", "d"),
        "slope": ("slope", "+.2%"),
        "slope_error": ("+-", ".2%"),
        "significance": ("sigma", "+.1f"),
        "change": ("over 10-90%", "+.1%"),
    }
    return _text("Trends of the fractional residual, one quantity at a time", table, columns)


def _format_reddening(table):
    columns = {
        "model": ("model", ""),
        "law": ("law", ""),
        "n": ("stars", "d"),
        "slope": ("slope", "+.4f"),
        "modulus": ("mag/mag", "+.3f"),
        "at_half": ("parallax at A_K 0.5", "+.1%"),
    }
    title = "Reddening put into stars of low extinction: ln parallax for each magnitude of A_K (0 is right)"
    return _text(title, table, columns)


def _format_stability(table):
    columns = {
        "first": ("first", ""),
        "second": ("second", ""),
        "sum_first": ("sum of mags", "+.4f"),
        "sum_second": ("and", "+.4f"),
        "pixels_first": ("pixels", "d"),
        "pixels_second": ("and", "d"),
        "pixels_both": ("both", "d"),
        "pixels_by_chance": ("chance", ".0f"),
        "near": ("near", ".0%"),
        "near_by_chance": ("chance", ".0%"),
        "corr_magnitudes": ("r(mags)", ".2f"),
        "corr_pixels": ("r(pixels)", ".2f"),
        "n": ("stars", "d"),
        "corr_predictions": ("r(ln plx)", ".4f"),
        "scatter": ("scatter", ".1%"),
    }
    title = (
        f"Stability: models two by two (exact scaling with distance: magnitudes sum to {table.meta['EXACTSUM']:.4f})"
    )
    return _text(title, table, columns)


def _format_wavelengths(table):
    n_models = len(table.colnames) - 3
    in_all = table[table["n_models"] == n_models]
    shown = ", ".join(f"{wavelength:.1f}" for wavelength in in_all["wavelength"][:12])
    more = f" and {len(in_all) - 12} more" if len(in_all) > 12 else ""
    return (
        f"{len(table)} pixels are used by a model, {len(in_all)} by all {n_models}: {shown or 'none'}{more} [Angstrom]"
    )


def _format_comparison(table):
    columns = {
        "stars": ("stars", ""),
        "n": ("n", "d"),
        "bias": ("ln ratio", "+.2%"),
        "bias_error": ("+-", ".2%"),
        "scatter": ("scatter", ".1%"),
        "pull": ("pull", ".2f"),
        "error_ratio": ("error ratio", ".2f"),
    }
    meta = table.meta
    title = (
        f"This catalog ({meta['N_THIS']:,} stars) against the other ({meta['N_OTHER']:,}): {meta['N_BOTH']:,} in both"
    )
    return _text(title, table, columns)


def _format_clusters(table):
    columns = {
        "cluster": ("cluster", ""),
        "n": ("stars", "d"),
        "gaia": ("Gaia", ".4f"),
        "gaia_error": ("+-", ".4f"),
        "spec": ("spec", ".4f"),
        "spec_error": ("+-", ".4f"),
        "difference": ("sigma", "+.1f"),
        "chi2": ("chi2/dof", ".2f"),
        "literature": ("literature", ".4f"),
    }
    return _text("Clusters: mean parallaxes of the members [mas]", table, columns)


_FORMATS = {
    "measures": format_validation,
    "calibration": _format_calibration,
    "coverage": _format_coverage,
    "trends": _format_trends,
    "reddening": _format_reddening,
    "stability": _format_stability,
    "wavelengths": _format_wavelengths,
    "comparison": _format_comparison,
    "clusters": _format_clusters,
}
