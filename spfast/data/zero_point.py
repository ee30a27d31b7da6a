"""What is added to Gaia's parallaxes: one number, a fitted function of covariates, or the zero point of Gaia DR3."""

import threading
import warnings
from typing import NamedTuple

import numpy as np
from astropy.coordinates import BarycentricMeanEcliptic, SkyCoord
from astropy.table import Table

from spfast.archive.releases import GAIA, UNKNOWN_ZERO_POINT
from spfast.config import CONSTANT, COVARIATES, FITTED, LINDEGREN, RELEASE, ZERO_POINT, FitConfig
from spfast.data.columns import DR3_COLUMNS, STAR_COLUMNS
from spfast.data.gaia_release import survey_release
from spfast.data.survey import Survey
from spfast.data.tables.values import float_column
from spfast.errors import BadInputError, SpfastWarning

__all__ = [
    "ChosenZeroPoint",
    "added_to_parallax",
    "choose_zero_point",
    "ecliptic_latitude",
    "lindegren_zero_point",
    "zero_point_covariates",
]

#: Where the zero point of Gaia (E)DR3 is defined (Lindegren et al. 2021, A&A 649, A4, Appendix A): G [mag], effective
#: wavenumber of five-parameter and pseudocolour of six-parameter solutions [um-1].
_G_RANGE, _NU_EFF_RANGE, _PSEUDOCOLOUR_RANGE = (6.0, 21.0), (1.1, 1.9), (1.24, 1.72)
#: Gaia's ``astrometric_params_solved`` of five- and six-parameter solutions.
_FIVE, _SIX = 31, 95
_NEEDED = ("nu_eff_used_in_astrometry", "pseudocolour", "ecl_lat", "astrometric_params_solved")
#: Who looks for a zero point does not take the release's as known: published ones of Gaia DR2, for stars of all kinds,
#: range from 0.03 to 0.08 mas. DR2's and DR3's differ by as much, where it is not known which of them it is [mas].
_DOUBT = 0.02
#: Warning filters belong to the whole process, and folds are fitted side by side: one thread at a time changes them.
_FILTERS = threading.Lock()


class ChosenZeroPoint(NamedTuple):
    """How the zero point of a survey's parallaxes comes about, and why so.

    Attributes
    ----------
    rule : str
        "constant", "lindegren2021", "auto" or "fit".
    value : float [mas]
        What is added to all, where a search or a fit begins, or 0 where each star has its own.
    error : float [mas] or None
        What it may be wrong by for all stars together; None for a number that was given.
    reason : str
        In plain ASCII, for headers.
    """

    rule: str
    value: float
    error: float | None
    reason: str


def choose_zero_point(survey: Survey, settings: FitConfig) -> ChosenZeroPoint:
    """Choose the zero point of parallaxes by the configuration and the release that they are from.

    Parameters
    ----------
    survey : Survey
    settings : FitConfig
        Under the rule "release" the zero point is the release's. Under "auto" and "fit" a search or a fit begins with
        the release's, or with a number that is not the default.

    Returns
    -------
    ChosenZeroPoint

    Raises
    ------
    BadInputError
        If the release's zero point is not known and the rule needs it; or as `lindegren_zero_point`.

    Warns
    -----
    SpfastWarning
        If the release is unknown; if DR3's zero point of each star cannot be had; if DR2's or DR3's is used on another
        release.
    """
    rule, value, release, stars = settings.zero_point_rule, settings.zero_point, survey_release(survey), survey.stars
    title = release.title
    if rule == CONSTANT:
        if value == ZERO_POINT and release.name not in (None, "dr2"):
            _warn(
                f"zero point {value:g} mas is that of Gaia DR2, but the parallaxes are of {title} ({release.reason}); "
                f"--zero-point {RELEASE} takes that of the release"
            )
        return ChosenZeroPoint(CONSTANT, value, None, f"given; parallaxes of {title}")
    if rule == LINDEGREN:
        if release.name not in (None, "dr3"):
            _warn(
                f"zero point {LINDEGREN} is that of Gaia DR3, but the parallaxes are of {title} ({release.reason}); "
                f"--zero-point {RELEASE} takes that of the release"
            )
        return _star_by_star("given", stars)
    own = GAIA["dr2" if release.name is None else release.name].zero_point
    if rule != RELEASE:  # "auto" or "fit"
        first = own or UNKNOWN_ZERO_POINT
        is_given = value != ZERO_POINT
        where = f"{value:g} mas, given" if is_given else f"{first.value:g} mas ({first.source})"
        return ChosenZeroPoint(
            rule,
            value if is_given else first.value,
            max(first.error, _DOUBT),
            f"{rule}, from {where}; parallaxes of {title}",
        )
    if release.name is None:
        _warn(
            f"zero point {own.value:g} mas: that of Gaia DR2, for the survey does not say which release its parallaxes "
            "are from; ingest it again with --gaia-release, or give --zero-point"
        )
        return ChosenZeroPoint(CONSTANT, own.value, _DOUBT, f"{own.source}, of Gaia DR2; the release is unknown")
    if own is None:
        raise BadInputError(
            f"the parallaxes are of {title} ({release.reason}), whose zero point is not known yet; give --zero-point "
            "MAS, or --zero-point fit: it is then fitted with the coefficients"
        )
    if GAIA[release.name].relation is not None:
        try:
            return _star_by_star(f"release {title}", stars)
        except BadInputError as error:
            _warn(f"zero point {own.value:g} mas for all stars of {title} ({own.source}), not star by star: {error}")
    return ChosenZeroPoint(CONSTANT, own.value, own.error, f"release {title}: {own.source}")


def _star_by_star(why, stars):
    """DR3's zero point of each star; refused where it cannot be had."""
    lindegren_zero_point(stars)
    relation = GAIA["dr3"].relation
    return ChosenZeroPoint(LINDEGREN, 0.0, relation.error, f"{why}: {relation.source}, star by star")


def _warn(text):
    warnings.warn(text, SpfastWarning, stacklevel=3)


def added_to_parallax(stars, rule=CONSTANT, zero_point=0.0, fitted=None):
    """Return what a rule adds to each star's Gaia parallax.

    Parameters
    ----------
    stars : astropy Table
        A survey's.
    rule : str
        "constant", "lindegren2021" or "fit".
    zero_point : float [mas]
        What the rule "constant" adds to all.
    fitted : FittedZeroPoint, optional
        Needed by the rule "fit": its ``covariates``, ``pivots`` and ``offsets``.

    Returns
    -------
    added : float64 array, shape (n_stars,) [mas]
    out_of_range : bool array, shape (n_stars,), or None
        Stars outside the rule's range; None for a rule without one.

    Raises
    ------
    BadInputError
        For an unknown rule, or as `lindegren_zero_point`.
    """
    if rule == CONSTANT:
        return np.full(len(stars), float(zero_point)), None
    if rule == FITTED:
        values, _, missing = zero_point_covariates(stars, fitted.covariates, fitted.pivots)
        added = fitted.offsets[0] + values @ np.array(fitted.offsets[1:])
        return added, missing if fitted.covariates else None
    if rule == LINDEGREN:
        value, out_of_range = lindegren_zero_point(stars)
        return -value, out_of_range
    raise BadInputError(f"zero point rule {rule!r}: expected one of {CONSTANT}, {LINDEGREN} or {FITTED}")


def zero_point_covariates(stars, names, pivots=None, rows=None):
    """Return the covariates in which a fitted zero point is linear, each less its pivot.

    Parameters
    ----------
    stars : astropy Table
        A survey's. Without ``ecl_lat`` the ecliptic latitude is computed from ``ra`` and ``dec``.
    names : sequence of str
        Keys of `spfast.config.COVARIATES`.
    pivots : sequence of float, optional
        The value of each covariate that counts as zero; by default its median over ``rows``, to four digits.
    rows : int array, optional
        Stars that the medians are taken of; all by default.

    Returns
    -------
    values : float64 array, shape (n_stars, n_names)
        Zero where a star lacks the covariate.
    pivots : list of float
    missing : bool array, shape (n_stars,)
        Stars that lack one.

    Raises
    ------
    BadInputError
        For an unknown name, or a covariate that no star has.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from spfast.data.zero_point import zero_point_covariates
    >>> values, pivots, missing = zero_point_covariates(Table({"phot_g_mean_mag": [11.0, 12.0, 14.0]}), ["G"])
    >>> values[:, 0].tolist(), pivots
    ([-1.0, 0.0, 2.0], [12.0])
    """
    rows = slice(None) if rows is None else rows
    columns = []
    for name in names:
        if name not in COVARIATES:
            raise BadInputError(f"zero point covariate {name!r}: expected one of {', '.join(COVARIATES)}")
        columns.append(_covariate(stars, name))
        if not np.isfinite(columns[-1][rows]).any():
            raise BadInputError(f"zero point covariate {name}: no training star has it; leave it out")
    values = np.column_stack(columns) if columns else np.zeros((len(stars), 0))
    if pivots is None:
        pivots = [float(f"{np.nanmedian(column[rows]):.4g}") for column in columns]
    missing = ~np.isfinite(values).all(axis=1)
    return np.where(np.isfinite(values), values - np.array(pivots), 0.0), list(pivots), missing


def _covariate(stars, name):
    def column(*names):
        lacking = [each for each in names if each not in stars.colnames]
        if lacking:
            raise BadInputError(f"zero point covariate {name}: the survey has no column {lacking[0]}; leave it out")
        return [float_column(stars, each, {**STAR_COLUMNS, **DR3_COLUMNS}[each].unit) for each in names]

    if name == "G":
        return column("phot_g_mean_mag")[0]
    if name == "BP-RP":
        blue, red = column("phot_bp_mean_mag", "phot_rp_mean_mag")
        return blue - red
    if "ecl_lat" in stars.colnames:
        return column("ecl_lat")[0]
    return ecliptic_latitude(*column("ra", "dec"))


def ecliptic_latitude(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Return the ecliptic latitude of places on the sky (float64 array) [deg]; NaN where a coordinate is missing."""
    on_sky = np.isfinite(ra) & (np.abs(dec) <= 90.0)
    latitude = np.full(len(ra), np.nan)
    sky = SkyCoord(ra[on_sky], dec[on_sky], unit="deg")
    latitude[on_sky] = sky.transform_to(BarycentricMeanEcliptic()).lat.deg
    return latitude


def lindegren_zero_point(stars: Table) -> tuple[np.ndarray, np.ndarray]:
    """Return the parallax zero point of Gaia DR3 for each star (Lindegren et al. 2021, A&A 649, A4).

    A star outside the range of the relation gets the value at the nearest edge of it, a star that lacks a column the
    median of all others; ``out_of_range`` marks both. The zero point varies by 0.02 mas among giants, less than the
    error of any of their parallaxes, so leaving such a star out of a fit would cost more than it saves.

    Parameters
    ----------
    stars : astropy Table
        ``parallax``, ``phot_g_mean_mag`` and DR3's ``nu_eff_used_in_astrometry``, ``pseudocolour``, ``ecl_lat``,
        ``astrometric_params_solved``.

    Returns
    -------
    zero_point : float64 array, shape (n_stars,) [mas]
        To be subtracted from the parallax; NaN for stars without a parallax.
    out_of_range : bool array, shape (n_stars,)
        Stars that have a parallax, and are outside the range or lack a column.

    Raises
    ------
    BadInputError
        Without the package gaiadr3-zeropoint, or where no star has DR3's columns.
    """
    try:
        from zero_point import zpt
    except ImportError:
        raise BadInputError(
            "the zero point lindegren2021 needs gaiadr3-zeropoint; install it (pip install 'spfast[zeropoint]')"
        ) from None
    missing = [name for name in _NEEDED if name not in stars.colnames]
    if missing:
        raise BadInputError(
            f"the zero point lindegren2021 needs {', '.join(missing)}, which the survey lacks; ingest a Gaia DR3 table "
            "with them (`spfast query` asks for them)"
        )
    g, nu_eff, pseudocolour, latitude = (
        float_column(stars, name, {**STAR_COLUMNS, **DR3_COLUMNS}[name].unit)
        for name in ("phot_g_mean_mag", *_NEEDED[:3])
    )
    solved = np.ma.filled(np.ma.asarray(stars["astrometric_params_solved"]), -1)
    with_parallax = np.isfinite(np.ma.filled(np.ma.asarray(stars["parallax"]), np.nan))
    five, six = solved == _FIVE, solved == _SIX
    complete = with_parallax & np.isfinite(g) & np.isfinite(latitude)
    complete &= (five & np.isfinite(nu_eff)) | (six & np.isfinite(pseudocolour))
    if not complete.any():
        raise BadInputError(
            f"the zero point lindegren2021: no star has a parallax and {', '.join(_NEEDED)}; ingest a Gaia DR3 table"
        )
    colour_inside = np.where(five, _within(nu_eff, _NU_EFF_RANGE), _within(pseudocolour, _PSEUDOCOLOUR_RANGE))
    inside = _within(g, _G_RANGE) & colour_inside

    zpt.load_tables()
    value = np.full(len(stars), np.nan)
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the package warns of the edges, where we ask on purpose
        value[complete] = zpt.get_zpt(
            np.clip(g, *_G_RANGE)[complete],
            np.clip(nu_eff, *_NU_EFF_RANGE)[complete],
            np.clip(pseudocolour, *_PSEUDOCOLOUR_RANGE)[complete],
            latitude[complete],
            solved[complete],
        )
    value[with_parallax & ~complete] = np.median(value[complete])
    return value, with_parallax & ~(complete & inside)


def _within(values, bounds):
    return (values >= bounds[0]) & (values <= bounds[1])
