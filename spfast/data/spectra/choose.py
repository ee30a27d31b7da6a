"""Which spectrum file is which row's: decided by release, kind, telescope and field, never by chance."""

import filecmp
import os
import re

import numpy as np

from spfast.errors import BadInputError

__all__ = ["TELESCOPES", "choose_file", "release_of", "rows_with_own_file"]

#: APOGEE's names of spectrum files: kind, then release. Kinds that SDSS-V writes have a version there.
_NAME = re.compile(r"(?:apStar|asStar|aspcapStar)-([^-]+)-", re.IGNORECASE)
#: Folders of APOGEE's telescopes; before DR16 there is one for all.
TELESCOPES = frozenset({"apo25m", "lco25m", "apo1m"})


def release_of(name: str) -> str:
    """Return the release in a spectrum file's name in small letters, empty if it tells none.

    Examples
    --------
    >>> from spfast.data.spectra.choose import release_of
    >>> release_of("aspcapStar-r8-l31c.2-2M10000000+2000000.fits"), release_of("2M10000000+2000000.fits")
    ('r8', '')
    """
    found = _NAME.match(name)
    return found[1].lower() if found else ""


def choose_file(candidates, star, named, places, kind, telescopes, root):
    """Return the file of one row of allStar among those with the star's name.

    Parameters
    ----------
    candidates : list of str
        Relative to the root.
    star, named : str
        APOGEE_ID, and the name of the file in allStar's FILE, which may be empty.
    places : sequence of str
        The row's telescope, field and location, as far as allStar has them.
    kind : callable
        From a file's name to its rank among the kinds of spectra.
    telescopes : set of str
        Of `TELESCOPES`, those that have a folder: if several, no row gets a file from another telescope's.
    root : str
        For messages and for comparing contents.

    Returns
    -------
    path : str
        Empty if all are of another telescope or field.

    Raises
    ------
    BadInputError
        If nothing tells which of several different files it is.
    """
    left = [path for path in candidates if not _is_elsewhere(path, places, telescopes)]
    release = release_of(named)
    of_release = [path for path in left if release and release_of(os.path.basename(path)) == release]
    left = _best(of_release or left, lambda path: kind(os.path.basename(path)))
    wanted = {place for place in places if place}
    left = sorted(_best(left, lambda path: -len(wanted.intersection(path.split(os.sep)[:-1]))))
    left = [path for path in left if not path.lower().endswith(".gz") or path[: -len(".gz")] not in left]
    # Copies of one file are one file.
    for path in left[1:]:
        if not filecmp.cmp(os.path.join(root, left[0]), os.path.join(root, path), shallow=False):
            raise BadInputError(
                f"{root}: {star} has {len(left)} spectrum files, and allStar's FILE, TELESCOPE and FIELD do not tell "
                f"which is its own ({left[0]}, {path}); keep one, or give --spectra the folder of one release"
            )
    return left[0] if left else ""


def _best(paths, rank):
    ranks = [rank(path) for path in paths]
    return [path for path, its in zip(paths, ranks, strict=True) if its == min(ranks)]


def _is_elsewhere(path, places, telescopes):
    """Whether the folders above a file, telescope/field or telescope/location, are those of another row."""
    folders = path.split(os.sep)[:-1]
    places = {place for place in places if place}
    its = TELESCOPES.intersection(folders)
    if len(telescopes) > 1 and its and TELESCOPES & places and not its & places:
        return True
    if len(folders) < 2 or folders[-2] not in TELESCOPES:
        return False
    # Locations are numbers, names of fields are not.
    alike = {place for place in places - TELESCOPES if place.isdecimal() == folders[-1].isdecimal()}
    return bool(alike) and folders[-1] not in alike


def rows_with_own_file(paths, places):
    """Say which rows of allStar have a spectrum file that is not another row's.

    Parameters
    ----------
    paths : list of str
        Of each row, empty where there is none.
    places : list of tuple of str
        Of each row: telescope, field, location.

    Returns
    -------
    own : bool array, shape (n_rows,)
        Of the rows with one path True for those of which most places are folders of the path.

    Examples
    --------
    >>> from spfast.data.spectra.choose import rows_with_own_file
    >>> rows_with_own_file(["apo25m/M3/a.fits", "apo25m/M3/a.fits", ""], [("lco25m",), ("apo25m",), ()]).tolist()
    [False, True, False]
    """
    agreement = [
        len({place for place in own if place}.intersection(path.split(os.sep)[:-1]))
        for path, own in zip(paths, places, strict=True)
    ]
    best = {}
    for path, number in zip(paths, agreement, strict=True):
        best[path] = max(best.get(path, 0), number)
    return np.array([path != "" and best[path] == n for path, n in zip(paths, agreement, strict=True)], dtype=bool)
