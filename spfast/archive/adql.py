"""The query of Gaia's archive in ADQL: what spfast reads of each star, with AllWISE where there is any."""

from collections.abc import Iterable

from spfast.archive.releases import GaiaRelease
from spfast.data.gaia import WISE_COLUMNS

__all__ = ["UPLOAD", "columns", "id_source", "statement", "upload_source"]

#: The name under which identifiers are uploaded.
UPLOAD = "wanted"


def statement(release: GaiaRelease, source: str) -> str:
    """Return the statement that asks for all columns of the stars of a source.

    Parameters
    ----------
    release : GaiaRelease
    source : str
        Of `id_source` or `upload_source`.

    Returns
    -------
    str

    Raises
    ------
    BadInputError
        If the release's columns or tables are not known.

    Examples
    --------
    >>> from spfast.archive.adql import id_source, statement
    >>> from spfast.archive.releases import GAIA
    >>> dr3 = GAIA["dr3"]
    >>> statement(dr3, id_source(dr3, [42]))[-37:]
    'allwise_oid WHERE g.source_id IN (42)'
    """
    tables, _, condition = source.partition(" WHERE ")
    where = f" WHERE {condition}" if condition else ""
    return f"SELECT {', '.join(columns(release, source))} FROM {tables} {release.wise}{where}"


def columns(release: GaiaRelease, source: str) -> list[str]:
    """What `statement` selects, each with its table before it (list of str)."""
    release.need("columns", "wise")
    selected = [f"g.{name}" for name in release.columns] + [f"w.{name}" for name in WISE_COLUMNS]
    return ["m.tmass_id", "x.angular_distance", *selected] if "m.tmass_id" in source else selected


def id_source(release: GaiaRelease, source_ids: Iterable[int]) -> str:
    """What follows FROM for stars of these numbers: no upload and no login, and the archive has an index for it."""
    ids = ", ".join(str(int(number)) for number in source_ids)
    return f"{release.schema}.gaia_source AS g WHERE g.source_id IN ({ids})"


def upload_source(release: GaiaRelease, by: str) -> str:
    """What follows FROM for an uploaded table of ``source_id``, or of ``tmass_id`` by the clean join."""
    if by == "source_id":
        return f"tap_upload.{UPLOAD} AS m JOIN {release.schema}.gaia_source AS g ON g.source_id = m.source_id"
    release.need("by_name")
    return release.by_name
