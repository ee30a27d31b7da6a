"""What to add to Gaia's parallaxes: one number for all stars, or Gaia DR3's zero point star by star."""

import warnings

import numpy as np

from spfast.errors import BadInputError

__all__ = ["CONSTANT", "LINDEGREN", "ZERO_POINT_RULES", "added_to_parallax", "lindegren_zero_point"]

CONSTANT, LINDEGREN = "constant", "lindegren2021"
#: Rules by name.
ZERO_POINT_RULES = (CONSTANT, LINDEGREN)

#: Where the zero point of Gaia (E)DR3 is defined (Lindegren et al. 2021, A&A 649, A4, Appendix A): G [mag], effective
#: wavenumber of five-parameter and pseudocolour of six-parameter solutions [um-1].
_G_RANGE, _NU_EFF_RANGE, _PSEUDOCOLOUR_RANGE = (6.0, 21.0), (1.1, 1.9), (1.24, 1.72)
#: Gaia's ``astrometric_params_solved`` of five- and six-parameter solutions.
_FIVE, _SIX = 31, 95
_NEEDED = ("nu_eff_used_in_astrometry", "pseudocolour", "ecl_lat", "astrometric_params_solved")


def added_to_parallax(stars, rule=CONSTANT, zero_point=0.0):
    """Return what a rule adds to each star's Gaia parallax.

    Parameters
    ----------
    stars : astropy Table
        A survey's.
    rule : str
        One of `ZERO_POINT_RULES`.
    zero_point : float [mas]
        Added to all under the rule "constant".

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
    if rule == LINDEGREN:
        value, out_of_range = lindegren_zero_point(stars)
        return -value, out_of_range
    raise BadInputError(f"zero point rule {rule!r}: expected one of {', '.join(ZERO_POINT_RULES)}")


def lindegren_zero_point(stars):
    """Return the parallax zero point of Gaia DR3 for each star (Lindegren et al. 2021, A&A 649, A4).

    A star outside the range of the relation gets the value at the nearest edge. One that lacks a column gets the
    median of all others: the zero point varies by 0.02 mas among giants, less than the error of any of their
    parallaxes, so leaving such a star out of the fit would cost more than it saves. Both are marked.

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
        Stars with a parallax, outside the range or lacking a column.

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
            f"the zero point lindegren2021 needs {', '.join(missing)}, which the survey lacks; ingest a Gaia DR3 table"
        )
    g, nu_eff, pseudocolour, latitude = (
        np.ma.filled(np.ma.asarray(stars[name]).astype(np.float64), np.nan)
        for name in ("phot_g_mean_mag", *_NEEDED[:3])
    )
    solved = np.ma.filled(np.ma.asarray(stars["astrometric_params_solved"]), -1)
    with_parallax = np.isfinite(np.ma.filled(np.ma.asarray(stars["parallax"]), np.nan))
    five, six = solved == _FIVE, solved == _SIX
    known = with_parallax & np.isfinite(g) & np.isfinite(latitude)
    known &= (five & np.isfinite(nu_eff)) | (six & np.isfinite(pseudocolour))
    if not known.any():
        raise BadInputError(
            f"the zero point lindegren2021: no star has a parallax and {', '.join(_NEEDED)}; ingest a Gaia DR3 table"
        )
    colour_inside = np.where(five, _within(nu_eff, _NU_EFF_RANGE), _within(pseudocolour, _PSEUDOCOLOUR_RANGE))
    inside = _within(g, _G_RANGE) & colour_inside

    zpt.load_tables()
    value = np.full(len(stars), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the package warns of values at the edges, which we ask for
        value[known] = zpt.get_zpt(
            np.clip(g, *_G_RANGE)[known],
            np.clip(nu_eff, *_NU_EFF_RANGE)[known],
            np.clip(pseudocolour, *_PSEUDOCOLOUR_RANGE)[known],
            latitude[known],
            solved[known],
        )
    value[with_parallax & ~known] = np.median(value[known])
    return value, with_parallax & ~(known & inside)


def _within(values, bounds):
    return (values >= bounds[0]) & (values <= bounds[1])
