"""Where SDSS-V's mwmStar files are: in 10,000 folders, in which a path follows from sdss_id, or in one flat folder."""

import os
import re
from functools import lru_cache

from spfast.data.spectra.unread import is_fits
from spfast.errors import BadInputError

__all__ = ["MwmStarFiles"]

#: Names of the product: version of astra, then sdss_id.
_NAME = re.compile(r"mwmStar-([^-]+)-(\d+)\.fits(\.gz)?$", re.IGNORECASE)
#: Other products of SDSS-V in folders of the same names: single visits, results.
_ALIKE = re.compile(r"mwm|astra", re.IGNORECASE)
#: How its names may end in the archive's folders, the usual first: each is looked up until one is there.
_SUFFIXES = (".fits", ".fits.gz", ".FITS", ".FITS.GZ")
_GROUP = re.compile(r"\d\d$")


class MwmStarFiles:
    """The mwmStar files below one folder.

    The science archive keeps them as ``{(sdss_id // 100) % 100:02d}/{sdss_id % 100:02d}/mwmStar-{version}-{sdss_id}``:
    these folders are not listed, but a star's path is built and looked up.

    Parameters
    ----------
    root : str
        Without links in it.

    Attributes
    ----------
    versions : set of str
        Of astra, in the names of the files.
    """

    def __init__(self, root):
        self._root, self._trees, self._flat, self.versions = root, [], {}, set()
        self._is_inside = lru_cache(None)(self._lies_inside)

    def __bool__(self):
        return bool(self.versions)

    def take_file(self, name, relative):
        """Take in a file that a scan found, if it is one (bool)."""
        found = _NAME.match(name)
        if found:
            self.versions.add(found[1])
            self._flat.setdefault((found[1], int(found[2])), []).append(relative)
        return bool(found)

    def take_tree(self, folder, names):
        """Take in the folders of the archive, if these names of folders are they.

        Parameters
        ----------
        folder : str
            Relative to the root.
        names : sequence of str
            The folders in it.

        Returns
        -------
        str or None
            An example of the files, relative to the root; then the folders of two digits need no scan.
        """
        groups = sorted(name for name in names if _GROUP.match(name))
        files = next((files for group in groups for files in self._files(os.path.join(folder, group))), [])
        example = next((path for path in files if _NAME.match(os.path.basename(path))), files[0] if files else None)
        if example is None or not _ALIKE.match(os.path.basename(example)):
            return None
        found = _NAME.match(os.path.basename(example))
        if found:
            # Files of another version would be in a tree of their own.
            self.versions.add(found[1])
            self._trees.append((found[1], folder))
        return example

    def _files(self, group):
        """Yield the FITS files of each of a group's folders of two digits that has some (list of str)."""
        for name in sorted(os.listdir(os.path.join(self._root, group))):
            folder = os.path.join(group, name)
            if _GROUP.match(name) and os.path.isdir(os.path.join(self._root, folder)):
                names = sorted(filter(is_fits, os.listdir(os.path.join(self._root, folder))))
                if names:
                    yield [os.path.join(folder, name) for name in names]

    def version(self, wanted):
        """Return the version of the files that are meant (str): the wanted one, or the only one.

        Raises
        ------
        BadInputError
            If there are several and none is the wanted one.
        """
        if wanted in self.versions or len(self.versions) == 1:
            return wanted if wanted in self.versions else next(iter(self.versions))
        raise BadInputError(
            f"{self._root}: has mwmStar files of the versions {', '.join(sorted(self.versions))}, and the summary is "
            f"of {wanted or 'none that it tells'}; give --spectra the folder of one"
        )

    def find(self, version, sdss_id):
        """Return a star's file.

        Parameters
        ----------
        version : str
        sdss_id : int

        Returns
        -------
        path : str
            Relative to the root; empty if there is none. Links that lead out of the root are not followed.
        """
        name = f"mwmStar-{version}-{sdss_id}"
        groups = os.path.join(f"{sdss_id // 100 % 100:02d}", f"{sdss_id % 100:02d}")
        paths = self._flat.get((version, sdss_id), [])
        for its, folder in self._trees:
            if its == version:
                paths = [*paths, *(os.path.join(folder, groups, name + suffix) for suffix in _SUFFIXES)]
        return next((path for path in paths if self._is_file(path)), "")

    def _is_file(self, path):
        whole = os.path.join(self._root, path)
        if not os.path.isfile(whole) or not self._is_inside(os.path.dirname(whole)):
            return False
        return not os.path.islink(whole) or self._lies_inside(whole)

    def _lies_inside(self, path):
        return os.path.commonpath([os.path.realpath(path), self._root]) == self._root
