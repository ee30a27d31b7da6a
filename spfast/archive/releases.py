"""A release is data: Gaia's schemas, tables, columns, epochs and zero points, and where SDSS's releases keep spectra.

What a release has that was only announced is marked so: an entry that is not known is None, and whoever needs it
refuses by `GaiaRelease.need`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from spfast.config import GAIA_RELEASES, LINDEGREN, ZERO_POINT
from spfast.errors import BadInputError

__all__ = [
    *("GAIA", "UNKNOWN_ZERO_POINT", "GaiaRelease", "ZeroPoint", "gaia_release"),
    *("SAS_RSYNC", "SAS_URL", "SPECTRA", "SpectroRelease", "spectro_release"),
]


@dataclass(frozen=True)
class ZeroPoint:
    """What is added to every parallax of a release.

    Attributes
    ----------
    value : float [mas] or None
        None where each star has its own.
    error : float [mas]
        The error is what the value may be wrong by for all stars of a survey together.
    source : str
    """

    value: float | None
    error: float
    source: str


@dataclass(frozen=True)
class GaiaRelease:
    """A data release of Gaia.

    Attributes
    ----------
    name, title, schema : str
        As in ``gaia_release``, in words, and in the archive.
    epoch : float
        Of positions and parallaxes [Julian year].
    zero_point : ZeroPoint or None
        One number for all stars; None if it is not known.
    relation : ZeroPoint or None
        A zero point of each star; its ``value`` is None, and ``source`` names the rule of `spfast.config`.
    columns : tuple of str or None
        Of gaia_source, that spfast reads if they are there.
    by_name : str or None
        ADQL after FROM that joins an uploaded table ``tap_upload.wanted`` of 2MASS names to gaia_source; the clean
        join: no star is lost that 2MASS has twice.
    wise : str or None
        ADQL that joins AllWISE, which many stars lack.
    solution_ids : tuple of int
        Gaia's ``solution_id`` of the release.
    own_columns : tuple of str
        Columns that tables of the release have and those of the others before it do not.
    announced : bool
        Not out when this was written: what stands here is what was announced.
    """

    name: str
    title: str
    schema: str
    epoch: float
    zero_point: ZeroPoint | None
    relation: ZeroPoint | None
    columns: tuple[str, ...] | None
    by_name: str | None
    wise: str | None
    solution_ids: tuple[int, ...] = ()
    own_columns: tuple[str, ...] = ()
    announced: bool = False

    def need(self, *names: str) -> None:
        """Refuse if one of these entries is not known.

        Raises
        ------
        BadInputError
        """
        unknown = [name for name in names if getattr(self, name) is None]
        if unknown:
            raise BadInputError(
                f"{self.title}: its {unknown[0].replace('_', ' ')} are not known to this version of spfast; "
                f"take another release ({', '.join(name for name, other in GAIA.items() if not other.announced)}) or a "
                "newer spfast"
            )


#: Columns of gaia_source that spfast reads in every release.
_COLUMNS = (
    *("source_id", "ref_epoch", "ra", "dec", "parallax", "parallax_error", "pmra", "pmdec", "random_index"),
    *(f"phot_{band}_mean_{kind}" for band in ("g", "bp", "rp") for kind in ("mag", "flux", "flux_error")),
    *("visibility_periods_used", "astrometric_chi2_al", "astrometric_n_good_obs_al", "phot_variable_flag"),
)
#: What DR3's zero point of each star depends on, and its measure of a bad solution.
_COLUMNS_DR3 = ("nu_eff_used_in_astrometry", "pseudocolour", "ecl_lat", "astrometric_params_solved", "ruwe")

GAIA = {
    "dr2": GaiaRelease(
        name="dr2",
        title="Gaia DR2",
        schema="gaiadr2",
        epoch=2015.5,
        # Published values for giants range from 0.041 to 0.054 mas (Hall et al., Khan et al., Leung & Bovy, Schoenrich
        # et al., Zinn et al., all 2019): their standard deviation is 0.005 mas.
        zero_point=ZeroPoint(ZERO_POINT, 0.005, "Hogg, Eilers & Rix 2019"),
        relation=None,
        columns=_COLUMNS,
        by_name=(
            "tap_upload.wanted AS m JOIN gaiadr2.tmass_best_neighbour AS x ON x.original_ext_source_id = m.tmass_id "
            "JOIN gaiadr2.gaia_source AS g ON g.source_id = x.source_id"
        ),
        wise=(
            "LEFT OUTER JOIN gaiadr2.allwise_best_neighbour AS a ON a.source_id = g.source_id "
            "LEFT OUTER JOIN gaiadr1.allwise_original_valid AS w ON w.allwise_oid = a.allwise_oid"
        ),
        solution_ids=(1635721458409799680,),
        own_columns=("astrometric_pseudo_colour", "best_neighbour_multiplicity"),
    ),
    "dr3": GaiaRelease(
        name="dr3",
        title="Gaia DR3",
        schema="gaiadr3",
        epoch=2016.0,
        # The median of Lindegren's relation over 8,175 mock giants with log g < 2.2 and 9 < G < 14 all over the sky
        # (docs/measure_zero_point_dr3.py). Half of their 16 to 84% range is 0.011 mas, and giants and Cepheids ask for
        # up to 0.015 mas less than the relation: the error is both in quadrature, to two digits.
        zero_point=ZeroPoint(0.029, 0.015, "median of Lindegren et al. 2021 over giants, 9 < G < 14"),
        # Comparisons with giants and Cepheids differ from it by 0 to 0.015 mas (Riess et al. 2021; Zinn 2021).
        relation=ZeroPoint(None, 0.01, LINDEGREN),
        columns=_COLUMNS + _COLUMNS_DR3,
        by_name=(
            "tap_upload.wanted AS m "
            "JOIN gaiadr3.tmass_psc_xsc_join AS j ON j.original_psc_source_id = m.tmass_id "
            "JOIN gaiadr3.tmass_psc_xsc_best_neighbour AS x ON x.clean_tmass_psc_xsc_oid = j.clean_tmass_psc_xsc_oid "
            "JOIN gaiadr3.gaia_source AS g ON g.source_id = x.source_id"
        ),
        wise=(
            "LEFT OUTER JOIN gaiadr3.allwise_best_neighbour AS a ON a.source_id = g.source_id "
            "LEFT OUTER JOIN gaiadr1.allwise_original_valid AS w ON w.allwise_oid = a.allwise_oid"
        ),
        solution_ids=(1636148068921376768, 1636042515805110273),  # DR3's and EDR3's
        own_columns=(
            *("nu_eff_used_in_astrometry", "pseudocolour", "ipd_frac_multi_peak", "has_xp_continuous"),
            *("clean_tmass_psc_xsc_oid", "xm_flag", "gaia_dr3_source_id", "gaiaedr3_source_id"),
        ),
    ),
    # Announced for 2 December 2026; schema and epoch as announced, zero point and cross-matches not known.
    "dr4": GaiaRelease(
        name="dr4",
        title="Gaia DR4",
        schema="gaiadr4",
        epoch=2017.5,
        zero_point=None,
        relation=None,
        columns=None,
        by_name=None,
        wise=None,
        announced=True,
    ),
}
#: Where a search for a zero point begins while a release's own is not known: between none and twice DR3's.
UNKNOWN_ZERO_POINT = ZeroPoint(0.03, 0.03, "a guess between none and twice Gaia DR3's")


def gaia_release(name: str) -> GaiaRelease:
    """Return a release of Gaia by its name.

    Raises
    ------
    BadInputError

    Examples
    --------
    >>> from spfast.archive.releases import gaia_release
    >>> gaia_release("dr2").zero_point.value
    0.0483
    """
    if name not in GAIA_RELEASES:
        raise BadInputError(f"Gaia release {name!r}: expected one of {', '.join(GAIA_RELEASES)}")
    return GAIA[name]


#: Where SDSS serves what stands below its root, to wget and the like, and to rsync.
SAS_URL, SAS_RSYNC = "https://data.sdss.org/sas/", "rsync://dtn.sdss.org/"


@dataclass(frozen=True)
class SpectroRelease:
    """A data release of SDSS with APOGEE spectra.

    Attributes
    ----------
    name : str
    versions : tuple of str
        Of the reduction (``apred``) or of astra, as names of files have them: they tell a table's release.
    paths : dict of str, by kind
        Below the archive's root. Fields: ``telescope``, ``place`` (LOCATION_ID, or the field's name for the 1-m
        telescope), ``field``, ``prefix`` (ap or as), ``id`` (APOGEE_ID, or the name of the 1-m's reduction),
        ``apred``, ``v_astra``, ``healpix``, ``healpix_group``, ``sdss_id``, ``sdss_id_group``, ``file``.
    gaia : str
        The release of Gaia that its table is matched with.
    """

    name: str
    versions: tuple[str, ...]
    paths: Mapping[str, str]
    gaia: str


def _before_dr16(name, apred, aspcap, results, label):
    redux = f"{name}/apogee/spectro/redux/{apred}/stars"
    paths = {
        "aspcapStar": f"{redux}/{aspcap}/{results}/{{place}}/aspcapStar-{label}-{{id}}.fits",
        "apStar": f"{redux}/{{telescope}}/{{place}}/{{prefix}}Star-{apred}-{{id}}.fits",
    }
    return SpectroRelease(name, (apred,), paths, "dr2")


def _before_dr19(name, apred, aspcap, gaia):
    spectro = f"{name}/apogee/spectro"
    paths = {
        "aspcapStar": f"{spectro}/aspcap/{apred}/{aspcap}/{{telescope}}/{{field}}/aspcapStar-{apred}-{{id}}.fits",
        "apStar": f"{spectro}/redux/{apred}/stars/{{telescope}}/{{field}}/{{prefix}}Star-{apred}-{{id}}.fits",
    }
    return SpectroRelease(name, (apred,), paths, gaia)


def _since_dr19(name, versions):
    spectro = f"{name}/spectro"
    paths = {
        "mwmStar": f"{spectro}/astra/{{v_astra}}/spectra/star/{{sdss_id_group}}/mwmStar-{{v_astra}}-{{sdss_id}}.fits",
        # Names end in the MJD of the last visit, which only the table's column "file" has.
        "apStar": f"{spectro}/apogee/redux/{{apred}}/stars/{{telescope}}/{{healpix_group}}/{{healpix}}/{{file}}",
    }
    return SpectroRelease(name, versions, paths, "dr3")


#: Templates of sdss-tree 4.1.4, by release; the first kind is the one to fetch unless another is asked for.
SPECTRA = {
    release.name: release
    for release in (
        _before_dr16("dr12", "r5", "l25_6d", "v603", "r5-v603"),
        _before_dr16("dr13", "r6", "l30e", "l30e.2", "r6-l30e.2"),
        _before_dr16("dr14", "r8", "l31c", "l31c.2", "r8-l31c.2"),
        _before_dr19("dr16", "r12", "l33", "dr2"),
        _before_dr19("dr17", "dr17", "synspec_rev1", "dr3"),
        _since_dr19("dr19", ("1.3", "1.4", "0.6.0")),
        _since_dr19("dr20", ("1.5", "0.8.0", "0.8.1")),
    )
}


def spectro_release(name: str | None, versions: Iterable[str] = (), where: str = "allStar") -> SpectroRelease:
    """Return a release of SDSS by its name, or by the versions that a table's rows name.

    Parameters
    ----------
    name : str or None
        Wins over the versions.
    versions : iterable of str
    where : str
        The table, for messages.

    Raises
    ------
    BadInputError
        If the name is unknown, or the versions are those of no release, or of several.

    Examples
    --------
    >>> from spfast.archive.releases import spectro_release
    >>> spectro_release(None, ["r12"]).name
    'dr16'
    """
    if name is not None:
        if name not in SPECTRA:
            raise BadInputError(f"release {name!r}: expected one of {', '.join(SPECTRA)}")
        return SPECTRA[name]
    versions = sorted(set(versions))
    found = [release for release in SPECTRA.values() if set(release.versions) & set(versions)]
    if len(found) != 1:
        said = f"names the versions {', '.join(versions)}" if versions else "does not say its version"
        raise BadInputError(
            f"{where}: {said}; expected those of one release: give it with --release ({', '.join(SPECTRA)})"
        )
    return found[0]
