"""`spfast wanted`: the giants of an allStar table, as lists of their spectra, of their identifiers, and as a query."""

import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.table import Table

from spfast.archive.adql import statement, upload_source
from spfast.archive.releases import SAS_URL, SpectroRelease, gaia_release, spectro_release
from spfast.config import Config
from spfast.data.allstar import astra_version, refuse_boss, with_prefix
from spfast.data.cuts import CutFlow, cut_apogee
from spfast.data.gaia_release import RELEASE_CARD
from spfast.data.identifiers import sdss_ids, source_ids, tmass_key
from spfast.data.match import best_allstar_rows
from spfast.data.tables.names import no_column
from spfast.data.tables.read import read_columns_and_meta
from spfast.data.tables.values import column_values, star_column
from spfast.data.tables.write import write_table
from spfast.errors import BadInputError
from spfast.files import new_folder
from spfast.progress import Progress

__all__ = ["STARS", "Wanted", "find_wanted", "write_wanted"]

#: Our name of each column and what releases call it, in any case. Log g is ASPCAP's, or Doppler's where there is none.
_COLUMNS = {
    "APOGEE_ID": ("APOGEE_ID", "SDSS4_APOGEE_ID"),
    "OBJ": ("OBJ",),
    "LOGG": ("LOGG", "RV_LOGG"),
    "SNR": ("SNR",),
    "TELESCOPE": ("TELESCOPE",),
    "FIELD": ("FIELD",),
    "LOCATION_ID": ("LOCATION_ID",),
    "FILE": ("FILE",),
    "sdss_id": ("SDSS_ID",),
    "release": ("RELEASE",),
    "v_astra": ("V_ASTRA",),
    "apred": ("APRED_VERS", "APRED"),
    "healpix": ("HEALPIX",),
    **{band: (band, f"{band}_MAG", f"{band}MAG") for band in "JHK"},
    **{f"{band}_ERR": (f"{band}_ERR", f"E_{band}_MAG", f"{band}ERR") for band in "JHK"},
}
#: Columns of Gaia's identifiers, by the release that they are of.
_SOURCE_IDS = {
    "dr2": ("GAIA_DR2_SOURCE_ID", "GAIA_SOURCE_ID"),
    "dr3": ("GAIA_DR3_SOURCE_ID", "GAIAEDR3_SOURCE_ID", "GAIA_SOURCEID"),
}
_NEEDED = ("LOGG", "SNR", "J", "J_ERR", "H", "H_ERR", "K", "K_ERR")
#: apStar-r12-2M00000002+7417074.fits: the version, and what the files of the star are called by.
_FILE_NAME = re.compile(r"(?:ap|as|aspcap)Star-(?P<version>[^-]+)-(?P<id>.+?)\.fits(?:\.gz)?$", re.IGNORECASE)
#: astraAllStarASPCAP-0.6.0.fits.gz
_SUMMARY_NAME = re.compile(r"^(?:astra|mwm)All\w+-(?P<version>\d+\.\d+\.\d+)\.fits", re.IGNORECASE)
#: What a part of a path may be made of: nothing that leads out of the root, nor anything that a shell would run.
_PART = re.compile(r"[\w+.-]*[\w+-][\w+.-]*", re.ASCII)
#: Columns of that table.
_KEPT = ("APOGEE_ID", "tmass_id", "source_id", "sdss_id", "path")
#: The table of the folder that `spfast query` reads.
STARS = "stars.fits"


class Wanted(NamedTuple):
    """What to fetch.

    Attributes
    ----------
    stars : astropy Table
        One row a spectrum: ``APOGEE_ID``, ``tmass_id``, ``source_id`` (-1 if none), ``sdss_id`` where the table has it,
        ``path`` below the archive's root. Its metadata name both releases.
    flow : CutFlow
        The cuts.
    release : SpectroRelease
    kind : str
        Of files.
    """

    stars: Table
    flow: CutFlow
    release: SpectroRelease
    kind: str


def find_wanted(
    allstar: str | os.PathLike,
    *,
    release: str | None = None,
    spectra: str | None = None,
    gaia: str | None = None,
    every_star: bool = False,
    config: Config | None = None,
    quiet: bool = True,
) -> Wanted:
    """Find the spectra and identifiers of an allStar table's giants; nothing is asked of any server.

    Parameters
    ----------
    allstar : path-like
        allStar of DR12 to DR17, astraAllStarASPCAP, or allStar-{apred}-{telescope} since DR19.
    release : str, optional
        Of SDSS; by default the one whose versions the table names.
    spectra : str, optional
        Kind of files; by default the release's first that the table can name.
    gaia : str, optional
        Release of Gaia; by default the one that the release of SDSS is matched with.
    every_star : bool
        Also those that do not pass the cuts on log g and 2MASS photometry.
    config : Config, optional
        Its section ``sample`` is used.
    quiet : bool
        Do not say what is going on, nor how many stars are left after each cut.

    Returns
    -------
    Wanted

    Raises
    ------
    BadInputError
        If the table cannot be used, does not tell its release, or no star is left.
    """
    config = Config() if config is None else config
    aliases = _COLUMNS | {f"source_id {name}": names for name, names in _SOURCE_IDS.items()}
    with Progress("read allStar", quiet=quiet):
        columns, names, meta = read_columns_and_meta(allstar, aliases)
    where = str(allstar)
    for ours in _NEEDED:
        if ours not in columns:
            raise no_column(where, ours, _COLUMNS[ours], names)
    rows = _Rows(columns, where)
    if not rows.n_rows:
        raise BadInputError(f"{where}: the table has no rows, expected one for each star; download it again")
    refuse_boss(meta, where)
    found = spectro_release(release, rows.versions(meta), where)
    kind = _kind(found, rows, spectra, where)
    gaia = gaia_release(found.gaia if gaia is None else gaia)
    stars = rows.stars(gaia.name)
    flow = CutFlow(stars["APOGEE_ID"], quiet=quiet)
    # The row whose labels `spfast ingest` will look at.
    stars = stars[flow.apply("one row a star", best_allstar_rows(stars), lambda i: "another row is better")]
    if not every_star:
        stars = cut_apogee(stars, flow, config.replace(sample={"exclude_flagged": False}))
    stars["path"], why = rows.paths(found, kind, rows.astra_version(meta), flow.rows)
    stars = stars[flow.apply("path of a spectrum", stars["path"] != "", lambda i: why[i])]
    if not len(stars):
        counts = ", ".join(f"{name}: {left:,}" for name, left in flow.counts)
        cut = flow.emptied_by()
        raise BadInputError(
            f"{where}: no star is wanted after the cut {cut!r}{flow.example(cut)} ({counts}); check the table and "
            "[sample]"
        )
    stars.keep_columns([name for name in stars.colnames if name in _KEPT])
    stars.meta = {"PRODUCT": "spfast wanted", "SDSSREL": found.name, RELEASE_CARD: gaia.name}
    return Wanted(stars, flow, found, kind)


def write_wanted(wanted: Wanted, out: str | os.PathLike) -> None:
    """Write the lists into a folder.

    Parameters
    ----------
    wanted : Wanted
    out : path-like
        It will hold ``paths.txt`` (below the archive's root, for rsync), ``urls.txt`` (for wget), ``stars.fits``
        (identifiers, for `spfast query`) and ``query.adql`` (for the archive's own page, with the identifiers uploaded
        as ``wanted``).

    Raises
    ------
    BadInputError
        If it cannot be written.
    """
    stars, gaia = wanted.stars, gaia_release(wanted.stars.meta[RELEASE_CARD])
    with new_folder(out) as partial:
        paths = sorted(set(stars["path"]))
        Path(partial, "paths.txt").write_text("".join(f"{path}\n" for path in paths), encoding="ascii")
        Path(partial, "urls.txt").write_text("".join(f"{SAS_URL}{path}\n" for path in paths), encoding="ascii")
        write_table(stars, Path(partial, STARS))
        by = "source_id" if np.any(stars["source_id"] > 0) else "tmass_id"
        Path(partial, "query.adql").write_text(f"{statement(gaia, upload_source(gaia, by))}\n", encoding="ascii")


class _Rows:
    """The rows of an allStar table, of any release."""

    def __init__(self, columns: Mapping, where: str):
        self._columns, self._where = columns, where
        self.n_rows = len(next(iter(columns.values())))

    def has(self, name):
        return name in self._columns

    def text(self, name):
        """A column as text, "" where the table lacks it (str array)."""
        if name not in self._columns:
            return np.full(self.n_rows, "", dtype="U1")
        column = self._columns[name]
        return np.char.strip(column_values(column, "U", f"{self._where}: column {column.name}").astype("U"))

    def whole(self, name):
        """A column of whole numbers, -1 where the table lacks it (int64 array)."""
        if name not in self._columns:
            return np.full(self.n_rows, -1, dtype=np.int64)
        column = self._columns[name]
        return column_values(column, "i8", f"{self._where}: column {column.name}")

    def versions(self, meta):
        """The versions that the rows name (set of str)."""
        astra = self.astra_version(meta)
        if astra:
            return {astra}
        if self.has("FILE"):
            found = {match["version"] for match in map(_FILE_NAME.search, np.unique(self.text("FILE"))) if match}
            if found:
                return found
        return set(np.unique(self.text("apred"))) - {""}

    def astra_version(self, meta):
        """The version of astra that made the table, of which its mwmStar files are, or ""."""
        named = _SUMMARY_NAME.match(os.path.basename(self._where))
        if named:
            return named["version"]
        counts = Counter(self.text("v_astra").tolist()) if self.has("v_astra") else {}
        return astra_version(max(counts, key=counts.get) if counts else str(meta.get("V_ASTRA", "")).strip())

    def stars(self, gaia):
        """Identifiers and what the cuts look at (astropy Table)."""
        table = Table()
        name, other = self.text("APOGEE_ID"), self.text("OBJ")
        table["APOGEE_ID"] = self._names = with_prefix(np.where(name == "", other, name))
        table["tmass_id"] = tmass_key(table["APOGEE_ID"])
        column = self._columns.get(f"source_id {gaia}")
        ids = np.full(self.n_rows, -1, dtype=np.int64)
        if column is not None:
            ids = source_ids(column, f"{self._where}: column {column.name}")
        table["source_id"] = np.where(ids > 0, ids, -1)
        if self.has("sdss_id"):
            table["sdss_id"] = sdss_ids(self._columns["sdss_id"], f"{self._where}: column sdss_id")
            table.update({name: self.text(name) for name in ("TELESCOPE", "release") if self.has(name)})
        for ours in _NEEDED:
            table[ours] = star_column(self._columns[ours], ours, f"{self._where}: column {self._columns[ours].name}")
        return table

    def paths(self, release, kind, astra_version, chosen):
        """Files of some rows below the archive's root (str array), "" where the table names none, and why (list)."""
        template = release.paths[kind]
        columns = [self._names[chosen].tolist()]
        columns += [self.text(name)[chosen].tolist() for name in ("FILE", "TELESCOPE", "FIELD", "apred")]
        columns += [self.whole(name)[chosen].tolist() for name in ("LOCATION_ID", "sdss_id", "healpix")]
        paths, why = [], []
        for star, file, telescope, field, apred, location, sdss_id, healpix in zip(*columns, strict=True):
            named = _FILE_NAME.search(file)
            telescope = telescope.lower()
            if not self.has("TELESCOPE"):  # before DR13
                telescope = "apo1m" if location == 1 else "apo25m"
            parts = {
                "telescope": telescope,
                "field": field,
                "place": field if location == 1 else str(location) if location > 0 else "",
                "prefix": "as" if telescope == "lco25m" else "ap",
                "id": named["id"] if named else star,
                "file": os.path.basename(file) if named else "",
                "apred": apred or (named["version"] if named else ""),
                "v_astra": astra_version,
                "sdss_id": str(sdss_id) if sdss_id > 0 else "",
                "healpix": str(healpix) if healpix >= 0 else "",
            }
            bad = [n for n, value in parts.items() if f"{{{n}}}" in template and not _PART.fullmatch(value)]
            # Since DR19 the 1-m telescope's files are in other folders.
            lost = "{healpix}" in template and telescope == "apo1m"
            groups = {
                "sdss_id_group": f"{sdss_id // 100 % 100:02d}/{sdss_id % 100:02d}",
                "healpix_group": str(healpix // 1000),
            }
            paths.append("" if lost or bad else template.format_map(parts | groups))
            said = ", ".join(f"{name} {parts[name]!a}" for name in bad)
            why.append(f"no part of a path: its {said}" if bad else "a file of the 1-m telescope" if lost else "")
        return np.array(paths, dtype="U"), why


def _kind(release, rows, spectra, where):
    """The kind of files: what was asked for, or the first that the table can name."""
    kinds = list(release.paths)
    if "mwmStar" in kinds:  # a table of astra's names one, that of one telescope's reductions the other
        kinds = ["apStar"] if rows.has("FILE") else ["mwmStar"] if rows.has("sdss_id") else []
    if spectra is None and kinds:
        return kinds[0]
    if spectra not in kinds:
        raise BadInputError(
            f"{where}: spectra {spectra or 'of any kind'} cannot be named from this table of {release.name}; expected "
            f"{' or '.join(kinds) or 'a column sdss_id or FILE'}"
        )
    return spectra
