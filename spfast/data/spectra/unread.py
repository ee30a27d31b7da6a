"""What a folder of spectra holds that is not read, and why: so that nobody is told only that nothing was found."""

import os
import re
from collections import defaultdict

__all__ = ["UnreadFiles", "file_name", "name_keys"]

LEADS_OUT = "links that lead out of the folder and are not followed; give the folder that they lead to"
LEADS_NOWHERE = "links that lead nowhere; correct them"
PACKED = "compressed files or archives; unpack them (funpack for .fz)"
NO_FILE = "pipes or devices; give files"
SDSS_V = "files of SDSS-V, of which mwmStar is read with a table that has sdss_id; give astraAllStarASPCAP as --allstar"
NOT_COMBINED = "FITS files of other kinds, single visits or tables; give apStar, asStar or aspcapStar files"

#: Names of compressed spectra and of archives.
_PACKED_NAME = re.compile(r"(\.fits?)?\.(fz|bz2|xz|z|zst|zip|tar|tgz|tar\.\w+)$", re.IGNORECASE)
_SUFFIX = re.compile(r"\.fits?(\.gz)?$", re.IGNORECASE)
_TMASS_NAME = re.compile(r"[A-Z0-9]{2}\d{8}[+-]\d{7}")


class UnreadFiles:
    """Files and links, by the reason why they are not read.

    Examples
    --------
    >>> from spfast.data.spectra.unread import LEADS_OUT, UnreadFiles
    >>> unread = UnreadFiles()
    >>> unread.add(LEADS_OUT, "apStar-dr17-2M10000000+2000000.fits")
    >>> print(unread)
    1 links that lead out of the folder and are not followed; give the folder that they lead to (e.g. \
apStar-dr17-2M10000000+2000000.fits)
    """

    def __init__(self):
        self._paths, self._by_key = defaultdict(list), None

    def __bool__(self):
        return bool(self._paths)

    def __str__(self):
        return ". ".join(
            f"{len(paths):,} {reason} (e.g. {_shown(paths[0])})" for reason, paths in sorted(self._paths.items())
        )

    def passed_over(self):
        """Whether stars' spectra may be among them, which would be read if they were given in another way."""
        return not self._paths.keys().isdisjoint((LEADS_OUT, LEADS_NOWHERE, PACKED))

    def add(self, reason, path):
        """Remember one more file, by its path relative to the folder of spectra."""
        self._paths[reason].append(path)
        self._by_key = None

    def of_star(self, apogee_id, file=""):
        """Return why the file that a star seems to have is not read (str), or None if there is none.

        Parameters
        ----------
        apogee_id : str
        file : str
            allStar's FILE.
        """
        if self._by_key is None:
            self._by_key = {}
            for reason, paths in self._paths.items():
                for path in paths:
                    for key in name_keys(os.path.basename(path)):
                        self._by_key.setdefault(key, (reason, path))
        wanted = (_stem(file_name(file)).upper(), apogee_id.upper())
        reason, path = next((self._by_key[key] for key in wanted if key and key in self._by_key), (None, None))
        return None if reason is None else f"{_shown(path)} is of the {reason}"


def is_packed(name):
    """Whether a name says compressed or archive, in a form that spfast does not read."""
    return _PACKED_NAME.search(name) is not None


def is_fits(name):
    """Whether a name is that of a FITS file that spfast reads, whatever its case."""
    return _SUFFIX.search(name) is not None


def file_name(path):
    """Return the name at the end of allStar's FILE, which may be a path of any system (str)."""
    return re.split(r"[/\\]", path.strip())[-1]


def name_keys(name):
    """Return whatever may be a star's ID in a file's name: what follows a dash, or looks like 2MASS's (set of str).

    In upper case, so that the case of the file's name does not count.
    """
    stem = _stem(name).upper()
    parts = stem.split("-")
    return {*("-".join(parts[i:]) for i in range(len(parts))), *_TMASS_NAME.findall(stem)}


def _stem(name):
    return _SUFFIX.sub("", _PACKED_NAME.sub("", name))


def _shown(path):
    return path if len(path) <= 100 else f"...{path[-100:]}"
