"""Finding each star's spectrum file under one folder, which may have any tree."""

import os
import re

from spfast.data.spectra.choose import TELESCOPES, choose_file
from spfast.errors import BadInputError

__all__ = ["SpectrumFiles"]


class SpectrumFiles:
    """All spectrum files under one folder, from one scan that follows no link out of it.

    Parameters
    ----------
    root : path-like

    Attributes
    ----------
    root : str
    n_files : int
        FITS files found.

    Raises
    ------
    BadInputError
        If the folder does not exist or holds no FITS file.
    """

    #: Kinds of combined spectra in order of preference. What matches _OTHER is none; any other name comes last.
    _KINDS = (("aspcapStar", 0), ("apStar-", 1), ("asStar-", 1))
    _OTHER = re.compile(r"(mwm|ap1D|ap2D|ap3D|ap[A-Z]|as[A-Z]|as1D|all[A-Z])")

    def __init__(self, root):
        if not os.path.isdir(root):
            raise BadInputError(f"{root}: no such folder of spectra; check --spectra")
        self.root = os.path.realpath(root)
        self._by_name, self._by_id = {}, None
        self.n_files, self._telescopes = 0, set()
        pending = [""]
        while pending:
            folder = pending.pop()
            try:
                entries = sorted(os.scandir(os.path.join(self.root, folder)), key=lambda entry: entry.name)
            except OSError as error:
                raise BadInputError(f"{os.path.join(root, folder)}: cannot be listed ({error.strerror})") from None
            for entry in entries:
                relative = os.path.join(folder, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(relative)
                elif entry.name.endswith((".fits", ".fits.gz")) and self._inside(entry):
                    self._by_name.setdefault(entry.name, []).append(relative)
                    self.n_files += 1
                    self._telescopes.update(TELESCOPES.intersection(folder.split(os.sep)))
        if not self.n_files:
            raise BadInputError(f"{root}: no FITS file in this folder or below; check --spectra")

    def _inside(self, entry):
        if not entry.is_symlink():
            return entry.is_file()
        target = os.path.realpath(entry.path)
        return os.path.isfile(target) and os.path.commonpath([target, self.root]) == self.root

    def find(self, apogee_id, file="", places=()):
        """Return a star's file: the one that allStar names if it exists, else one with the star's ID in its name.

        Parameters
        ----------
        apogee_id : str
        file : str
            allStar's FILE. Only the name counts, not the folders before it, so that it cannot lead out of the root.
        places : tuple of str
            The row's telescope, field and location: names of folders above the right file.

        Returns
        -------
        path : str
            Relative to the root; empty if there is none.

        Raises
        ------
        BadInputError
            If a star has several files and nothing tells which is the row's.
        """
        name = re.split(r"[/\\]", file.strip())[-1]
        candidates = self._by_name.get(name) or self._by_name.get(name + ".gz")
        if not candidates:
            if self._by_id is None:
                self._by_id = self._index_ids()
            candidates = self._by_id.get(apogee_id, ())
        return choose_file(candidates, apogee_id, name, places, self._kind, self._telescopes, self.root)

    def _kind(self, name):
        for prefix, order in self._KINDS:
            if name.startswith(prefix):
                return order
        return None if self._OTHER.match(name) else 2

    def _index_ids(self):
        """Index combined spectra by whatever may be an ID in a name: what follows a dash, or looks like 2MASS's."""
        index = {}
        for name, paths in self._by_name.items():
            if self._kind(name) is None:
                continue
            stem = name.removesuffix(".gz").removesuffix(".fits")
            parts = stem.split("-")
            keys = {"-".join(parts[i:]) for i in range(len(parts))}
            keys.update(re.findall(r"[A-Z0-9]{2}\d{8}[+-]\d{7}", stem))
            for key in keys:
                index.setdefault(key, []).extend(paths)
        return index
