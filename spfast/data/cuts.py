"""The cuts that define the Parent Sample and the Training Set; each is counted, each rejected star has its reason."""

import numpy as np
from astropy.table import Table

from spfast.data.columns import VARIABLE_FLAGS
from spfast.data.missing_bands import COMPLETE_MIN
from spfast.data.spectra.features import MAGNITUDE_COLUMNS
from spfast.errors import BadInputError
from spfast.progress import say

__all__ = [
    "ASPCAPFLAG_BAD",
    "BAD_BITS",
    "RESULT_FLAGS_BAD",
    "STARFLAG_BAD",
    "CutFlow",
    "cut_apogee",
    "cut_photometry",
    "example_of_training",
    "good_astrometry",
    "training_set",
    "unknown_astrometry",
]

#: APOGEE_STARFLAG bits 0, 3, 18, 22: bad pixels, very bright neighbour, RV reject, RV suspect.
STARFLAG_BAD = 4456457
#: APOGEE_ASPCAPFLAG bits 16, 17, 23, 25, 26, 28, 31-36, 40, 41: bad or missing fits of the stellar parameters.
ASPCAPFLAG_BAD = 3434204037120
#: The same of SDSS-V's result_flags (sdss/astra, ASPCAP's flag_bad): bits 0-4 no result, 6 and 8 Teff or log g at the
#: grid's edge, 21 to 27 suspicious or unphysical parameters, v sin i, v_micro, chi-squared, S/N, scatter of velocities.
RESULT_FLAGS_BAD = sum(1 << bit for bit in (*range(5), 6, 8, *range(21, 28)))
#: Bad bits of a survey's column ASPCAPFLAG, by what it holds.
BAD_BITS = {"ASPCAPFLAG": ASPCAPFLAG_BAD, "result_flags": RESULT_FLAGS_BAD}
#: The cuts of the Training Set on Gaia's astrometric solution.
_PERIODS, _CHI_SQUARED = "Eq. 9 (visibility periods)", "Eq. 10 (astrometric chi-squared)"
#: Missing magnitudes in APOGEE are -9999; the authors cut at -100.
_MAGNITUDE_MIN = -100.0
#: A magnitude with an error of ten measures nothing; a much larger error would drown those of all other stars.
_MAGNITUDE_ERROR_MAX = 10.0


class CutFlow:
    """Counts the stars left after each cut and keeps the reason why each of the others was rejected.

    Parameters
    ----------
    apogee_id : array of str, shape (n_rows,)
        One name for each row of allStar.
    first : str
        What the number of all rows stands under.
    quiet : bool
        Do not print each count as soon as it is known.

    Attributes
    ----------
    rows : int64 array
        The rows of allStar that are left.
    counts : list of (str, int)
        Each cut and the number of stars that it left.

    Examples
    --------
    >>> from spfast.data.cuts import CutFlow
    >>> flow = CutFlow(["a", "b", "c"])
    >>> kept = flow.apply("log g", [True, False, True], lambda i: f"row {i} of those left")
    >>> flow.rows.tolist(), flow.counts
    ([0, 2], [('rows in allStar', 3), ('log g', 2)])
    >>> flow.rejected()["detail"].tolist()
    ['row 1 of those left']
    """

    def __init__(self, apogee_id, first="rows in allStar", quiet=True):
        self._apogee_id, self._quiet = np.asarray(apogee_id, dtype="U"), quiet
        self.rows = np.arange(len(self._apogee_id))
        self.counts, self._rejected = [], []
        self.note(first)

    def apply(self, name, keep, detail):
        """Keep some of the stars that are left.

        Parameters
        ----------
        name : str
        keep : bool array, shape (n_left,)
        detail : callable
            ``detail(i)`` says why star ``i`` of those left so far is rejected.

        Returns
        -------
        keep : bool array
        """
        keep = np.asarray(keep, dtype=bool)
        self._rejected += [(self.rows[i], name, detail(i)) for i in np.flatnonzero(~keep)]
        self.rows = self.rows[keep]
        self.note(name)
        return keep

    def note(self, text):
        """Add a line that cuts nothing."""
        self.counts.append((text, len(self.rows)))
        say(f"{len(self.rows):>10,}  {text}", self._quiet)

    def rejected(self):
        """Return the rejected rows of allStar, in order (astropy Table: APOGEE_ID, row, reason, detail)."""
        records = sorted(self._rejected)
        rows = np.array([row for row, _, _ in records], dtype=np.int64)
        return Table(
            {
                "APOGEE_ID": self._apogee_id[rows],
                "row": rows,
                "reason": np.array([reason for _, reason, _ in records], dtype="U"),
                "detail": np.array([detail for _, _, detail in records], dtype="U"),
            }
        )

    def example(self, name):
        """Return what a cut says of one of the stars that it rejected, to follow its name; empty if there is none."""
        return next((f", e.g. {self._apogee_id[row]}: {text}" for row, cut, text in self._rejected if cut == name), "")

    def emptied_by(self):
        """Return the first cut that left no star (str), or None."""
        return next((name for name, left in self.counts if left == 0), None)


def cut_apogee(stars, flow, config):
    """Apply the cuts that need only allStar: log g and the 2MASS photometry (Hogg, Eilers & Rix 2019, Section 2).

    Parameters
    ----------
    stars : astropy Table
        The rows of allStar that are left.
    flow : CutFlow
    config : Config

    Returns
    -------
    stars : astropy Table
        Those that pass.
    """
    sample = config.sample
    logg = np.asarray(stars["LOGG"])
    stars = stars[
        flow.apply(
            f"{sample.logg_min:g} < log g <= {sample.logg_max:g}",
            (logg > sample.logg_min) & (logg <= sample.logg_max),
            _values_of(stars, "LOGG"),
        )
    ]
    for band in "JHK":
        good = (np.asarray(stars[band]) > _MAGNITUDE_MIN) & _positive(stars[f"{band}_ERR"])
        if band == "K":
            good &= np.asarray(stars["K"]) > 0.0
        _blank(stars, band, f"{band}_ERR", good)
    if sample.missing_bands == "rejected":
        stars = _cut_missing(stars, flow, "2MASS photometry", {band: f"{band}_ERR" for band in "JHK"})
    if sample.exclude_flagged:
        flags = [name for name in ("STARFLAG", "ASPCAPFLAG") if name in stars.colnames]
        if len(flags) < 2:
            raise BadInputError(
                "exclude_flagged = true needs allStar's STARFLAG and ASPCAPFLAG (or SDSS-V's spectrum_flags and "
                f"result_flags), it has {flags[0] if flags else 'neither'}; give a table with both, or leave it out"
            )
        bits = {"STARFLAG": STARFLAG_BAD, "ASPCAPFLAG": BAD_BITS[stars.meta.get("aspcapflag_bits", "ASPCAPFLAG")]}
        # -1 is a missing flag, not all bits set.
        good = np.all([(np.maximum(stars[name], 0) & bits[name]) == 0 for name in flags], axis=0)
        stars = stars[flow.apply("APOGEE flags", np.broadcast_to(good, len(stars)), _values_of(stars, *flags))]
    return stars


def cut_photometry(stars, flow, config, can_estimate=False):
    """Apply the cuts that need Gaia and WISE, and the colour cuts (Hogg, Eilers & Rix 2019, Eq. 6 and 7).

    Parameters
    ----------
    stars : astropy Table
        The stars that are left, with the columns of a survey.
    flow : CutFlow
    config : Config
    can_estimate : bool
        As in `spfast.data.parent_sample.parent_sample`.

    Returns
    -------
    stars : astropy Table
        Those that pass.
    """
    sample = config.sample
    gaia, wise = ("phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag"), ("w1mpro", "w2mpro")
    for band in (*gaia, *wise):
        error = np.asarray(stars[f"{band}_error"])
        _blank(
            stars,
            band,
            f"{band}_error",
            np.isfinite(stars[band]) & _positive(error) & (error < _MAGNITUDE_ERROR_MAX),
        )
    if sample.missing_bands == "rejected":
        for name, bands in (("Gaia photometry", gaia), ("WISE photometry", wise)):
            stars = _cut_missing(stars, flow, name, {band: f"{band}_error" for band in bands})
    else:
        stars = _cut_bands(stars, flow, sample.bands_min, can_estimate)
    if sample.exclude_variable:
        flag = np.char.upper(np.char.strip(np.asarray(stars["phot_variable_flag"], dtype="U")))
        variable, known = flag == "VARIABLE", np.isin(flag, (*VARIABLE_FLAGS, ""))  # empty where Gaia writes nothing
        if not known.all():
            first = int(np.flatnonzero(~known)[0])
            raise BadInputError(
                f"Gaia table: phot_variable_flag is {str(flag[first])[:30]!a} for {stars['APOGEE_ID'][first]}, "
                f"expected {', '.join(VARIABLE_FLAGS)}; correct it, or set exclude_variable = false"
            )
        stars = stars[flow.apply("not variable", ~variable, _values_of(stars, "phot_variable_flag"))]
    bp_rp = _difference(stars, "phot_bp_mean_mag", "phot_rp_mean_mag")
    j_k = _difference(stars, "J", "K")
    stars = stars[
        flow.apply(
            f"J-K < {sample.jk_offset:g} + {sample.jk_slope:g} (BP-RP)",
            ~(j_k >= sample.jk_offset + sample.jk_slope * bp_rp),  # one that lacks a band passes
            lambda i: f"J-K = {j_k[i]:.3f}, BP-RP = {bp_rp[i]:.3f}",
        )
    ]
    h_w2 = _difference(stars, "H", "w2mpro")
    keep = flow.apply(f"H-W2 > {sample.hw2_min:g}", ~(h_w2 <= sample.hw2_min), lambda i: f"H-W2 = {h_w2[i]:.3f}")
    return stars[keep]


def training_set(stars, config):
    """Say which stars are in the Training Set (Hogg, Eilers & Rix 2019, Eq. 8-10); none cuts on parallax itself.

    Parameters
    ----------
    stars : astropy Table
    config : Config

    Returns
    -------
    training : bool array, shape (n_stars,)
    """
    return (
        np.isfinite(stars["parallax"])
        & _positive(stars["parallax_error"])
        & (np.asarray(stars["parallax_error"]) < config.training.parallax_error_max)
        & good_astrometry(stars, config)
    )


def example_of_training(stars: Table) -> str:
    """Say what the cuts of the Training Set look at, of the first star (str)."""
    names = (
        "parallax",
        "parallax_error",
        "visibility_periods_used",
        "astrometric_chi2_al",
        "astrometric_n_good_obs_al",
    )
    return f"{stars['APOGEE_ID'][0]}: {_values_of(stars, *names)(0)}"


def good_astrometry(stars, config):
    """Say which stars pass the cuts on Gaia's astrometric solution (Hogg, Eilers & Rix 2019, Eq. 9 and 10).

    Parameters
    ----------
    stars : astropy Table
    config : Config

    Returns
    -------
    good : bool array, shape (n_stars,)
        False where Gaia gives no value, unless it gives none of any star: see `unknown_astrometry`.
    """
    cuts, unknown = config.training, unknown_astrometry(stars)
    n_obs = np.asarray(stars["astrometric_n_good_obs_al"], dtype=float)
    chi_squared = np.asarray(stars["astrometric_chi2_al"], dtype=float)
    scaled = np.full(len(stars), np.inf)
    enough = n_obs > 5
    scaled[enough] = chi_squared[enough] / np.sqrt(n_obs[enough] - 5.0)  # not sqrt(chi2 / (n - 5))
    periods = np.asarray(stars["visibility_periods_used"])
    good = np.ones(len(stars), bool)
    if _PERIODS not in unknown:
        good &= periods >= cuts.visibility_periods_min
    if _CHI_SQUARED not in unknown:
        good &= scaled <= cuts.astrometric_chi2_max
    return good


def unknown_astrometry(stars):
    """Return the cuts on the astrometric solution whose columns no star has, so that they cannot be applied.

    Parameters
    ----------
    stars : astropy Table

    Returns
    -------
    list of str
        None, one or both of the two.
    """
    known = {
        _PERIODS: np.asarray(stars["visibility_periods_used"]) >= 0,
        _CHI_SQUARED: np.isfinite(stars["astrometric_chi2_al"]) & (np.asarray(stars["astrometric_n_good_obs_al"]) >= 0),
    }
    return [name for name, has in known.items() if not has.any()]


def _blank(stars, band, error, good):
    """Make a magnitude that is none, and its error, NaN."""
    for name in (band, error):
        values = np.asarray(stars[name])
        stars[name] = np.where(good, values, values.dtype.type(np.nan))


def _cut_missing(stars, flow, name, bands):
    """Keep the stars that have these bands (dict of magnitude: error)."""
    good = np.all([np.isfinite(np.asarray(stars[band])) for band in bands], axis=0)
    return stars[flow.apply(name, good, _values_of(stars, *bands, *bands.values()))]


def _cut_bands(stars, flow, bands_min, can_estimate):
    """Keep the stars with enough bands that the others can be estimated, if there are stars that have them all."""
    columns = [value for value, _ in MAGNITUDE_COLUMNS.values()]
    n_bands = np.sum([np.isfinite(np.asarray(stars[name], dtype=np.float64)) for name in columns], axis=0)
    n_complete = int(np.count_nonzero(n_bands == len(columns)))
    enough = n_bands >= (bands_min if can_estimate or n_complete >= COMPLETE_MIN else len(columns))
    stars = stars[flow.apply("photometry", enough, _values_of(stars, *columns))]
    n_lacking = int(np.count_nonzero(n_bands[enough] < len(columns)))
    if n_lacking:
        flow.note(f"of them with estimated magnitudes: {n_lacking:,}")
    return stars


def _positive(values):
    values = np.asarray(values)
    return np.isfinite(values) & (values > 0)


def _difference(stars, blue, red):
    return np.asarray(stars[blue], dtype=float) - np.asarray(stars[red], dtype=float)


def _values_of(stars, *names):
    """Return a function that lists the values of one star, for the table of rejected stars."""
    columns = {name: np.asarray(stars[name]) for name in names}
    return lambda i: ", ".join(f"{name} = {values[i]}" for name, values in columns.items())
