"""Finding each star's spectrum file under one folder, which may have any tree."""

import os
import re

from spfast.data.spectra import unread
from spfast.data.spectra.choose import TELESCOPES, choose_file
from spfast.data.spectra.mwm_files import MwmStarFiles
from spfast.data.spectra.unread import UnreadFiles, file_name, name_keys
from spfast.errors import BadInputError

__all__ = ["SpectrumFiles"]


class SpectrumFiles:
    """All spectrum files under one folder, from one scan that follows no link out of it.

    The case of letters does not count in a file's name, but the spelling that is asked for wins.

    Parameters
    ----------
    root : path-like

    Attributes
    ----------
    root : str
    n_files : int
        FITS files found.
    unread : UnreadFiles
        What else is there, and why it is not read.
    mwm : MwmStarFiles
        SDSS-V's files, which go by sdss_id.

    Raises
    ------
    BadInputError
        If the folder does not exist or holds no FITS file.
    """

    #: Kinds of combined spectra in order of preference. What matches _OTHER is none; any other name comes last.
    _KINDS = (("aspcapstar", 0), ("apstar-", 1), ("asstar-", 1))
    _OTHER = re.compile(
        r"(?i:mwm|astra|a[ps](visit|field|plate|flux|wave|[123]d)|aspcapfield|all(star|visit|plate|field))"
        r"|ap[A-Z]|as[A-Z]|all[A-Z]"
    )
    _SDSS_V = ("mwm", "astra")

    def __init__(self, root):
        if not os.path.isdir(root):
            raise BadInputError(f"{root}: no such folder of spectra; check --spectra")
        self.root = os.path.realpath(root)
        self._by_name, self._by_lower, self._by_id = {}, None, None
        self.unread = UnreadFiles()
        self.mwm = MwmStarFiles(self.root)
        self.n_files, self._telescopes = 0, set()
        pending = [""]
        while pending:
            folder = pending.pop()
            try:
                entries = sorted(os.scandir(os.path.join(self.root, folder)), key=lambda entry: entry.name)
                folders = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
                example = self.mwm.take_tree(folder, folders)
            except OSError as error:
                where = error.filename or os.path.join(root, folder)
                raise BadInputError(f"{where}: cannot be listed ({error.strerror})") from None
            if example is not None:
                self.n_files += 1
                self.unread.add(unread.SDSS_V, example)
                folders = [name for name in folders if not (len(name) == 2 and name.isdecimal())]
            pending += [os.path.join(folder, name) for name in folders]
            for entry in entries:
                relative = os.path.join(folder, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    continue
                if not entry.name.startswith("._"):  # macOS keeps notes on a file under such a name
                    self._add(entry, relative)
        if not self.n_files:
            seen = f" that can be read, but {self.unread}" if self.unread else "; check --spectra"
            raise BadInputError(f"{root}: no FITS file in this folder or below{seen}")

    def _add(self, entry, relative):
        """Take a file in, or remember why it is not read."""
        reason = self._why_unread(entry)
        if reason is not None:
            self.unread.add(reason, relative)
        # allStar's FILE may name a file of any kind.
        if unread.is_fits(entry.name) and reason in (None, unread.NOT_COMBINED, unread.SDSS_V):
            self._by_name.setdefault(entry.name, []).append(relative)
            self.mwm.take_file(entry.name, relative)
            self.n_files += 1
            self._telescopes.update(TELESCOPES.intersection(os.path.dirname(relative).split(os.sep)))

    def _why_unread(self, entry):
        """Return why an entry of a folder cannot be a star's spectrum; None if it can, or is no spectrum at all."""
        is_spectrum = unread.is_fits(entry.name)
        target = os.path.realpath(entry.path) if entry.is_symlink() else None
        is_folder = target is not None and os.path.isdir(target)  # entry.is_dir() fails for a link to itself
        if not (is_spectrum or unread.is_packed(entry.name) or is_folder):
            return None
        if target is not None:
            if os.path.commonpath([target, self.root]) != self.root:
                return unread.LEADS_OUT
            if is_folder:
                return None  # the folder that it leads to is searched anyway
            if not os.path.exists(target):
                return unread.LEADS_NOWHERE
        if not is_spectrum:
            return unread.PACKED
        if not entry.is_file():
            return unread.NO_FILE
        if self._kind(entry.name) is None:
            return unread.SDSS_V if entry.name.lower().startswith(self._SDSS_V) else unread.NOT_COMBINED
        return None

    def example_of_apogee(self):
        """Return the name of an apStar, asStar or aspcapStar file; empty if there is none (str)."""
        return next((name for name in self._by_name if self._kind(name) in (0, 1)), "")

    def describe(self):
        """Say what is in the folder: the files that can be a star's spectrum, and those that are not read (str)."""
        combined = [name for name in self._by_name if self._kind(name) is not None]
        names = [f"spectra of {len(combined):,} names (e.g. {combined[0]})"] if combined else []
        return ". ".join([*names, *([str(self.unread)] if self.unread else [])])

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
        name = file_name(file)
        candidates = self._named(name)
        if not candidates:
            if self._by_id is None:
                self._by_id = self._index_ids()
            candidates = self._by_id.get(apogee_id.upper(), ())
        return choose_file(candidates, apogee_id, name, places, self._kind, self._telescopes, self.root)

    def _named(self, name):
        """Return the files of this name, packed with gzip or not; those of another case if there is none."""
        candidates = self._by_name.get(name) or self._by_name.get(name + ".gz")
        if candidates or not name:
            return candidates
        if self._by_lower is None:
            self._by_lower = {}
            for other, paths in self._by_name.items():
                self._by_lower.setdefault(other.lower(), []).extend(paths)
        return self._by_lower.get(name.lower()) or self._by_lower.get(name.lower() + ".gz")

    def _kind(self, name):
        for prefix, order in self._KINDS:
            if name.lower().startswith(prefix):
                return order
        return None if self._OTHER.match(name) else 2

    def _index_ids(self):
        """Index combined spectra by whatever may be an ID in their names."""
        index = {}
        for name, paths in self._by_name.items():
            if self._kind(name) is None:
                continue
            for key in name_keys(name):
                index.setdefault(key, []).extend(paths)
        return index
