"""Writing a survey folder: it is built under another name, and renamed once it is whole and on the disk."""

import hashlib
import json
import os
import platform
import shutil
from importlib import metadata
from pathlib import Path

import numpy as np

import spfast
from spfast.data.columns import conform_rejected, conform_stars
from spfast.data.survey import ARRAYS, FILES, SCHEMA, check_unique, open_survey
from spfast.errors import BadInputError
from spfast.files import BLANK_SEAL, check_guard, file_sha256, put_on_disk, reserve, seal, writing

__all__ = ["SurveyWriter", "clear_partial", "clear_work", "package_versions", "partial_path"]

#: Folder inside a partial survey for what its builder needs until it is whole; not part of the survey.
WORK = "work"
#: The truth of a mock survey's stars; not part of the survey either.
TRUTH = "truth.fits"


class SurveyWriter:
    """Builds a survey under ``<path>.partial`` and renames it when it is whole; a context manager.

    Leaving the ``with`` block without `finish` removes the partial folder, unless it was there before.

    Parameters
    ----------
    path : path-like
        The survey to make; must not exist.
    layout : FeatureLayout
    n_stars : int

    Attributes
    ----------
    features, feature_errors : float32 memmap, shape (n_stars, n_features)
        The caller fills them, in any order.

    Raises
    ------
    BadInputError
        If the path exists or cannot be made, or if there is no star.
    """

    def __init__(self, path, layout, n_stars):
        self.path, self.layout = Path(path), layout
        self.partial = partial_path(path)
        if self.path.exists():
            raise BadInputError(f"{self.path}: exists already; remove it or choose another output")
        if n_stars < 1:
            raise BadInputError(f"{self.path}: there is no star to write; check the cuts and the tables")
        # What was there is the caller's; what is there after our lock was taken away may be another process's.
        self._ours = not self.partial.exists()
        try:
            with writing(self.path):
                self.partial.mkdir(parents=True, exist_ok=True)
                self._map("w+", dtype=np.float32, shape=(int(n_stars), layout.n_features))
                for name in ARRAYS:
                    path = self.partial / f"{name}.npy"
                    reserve(path, path.stat().st_size)
        except BadInputError as error:
            self.__exit__(type(error), error, None)
            raise

    def _map(self, mode, **options):
        self.features, self.feature_errors = (
            np.lib.format.open_memmap(self.partial / f"{name}.npy", mode=mode, **options) for name in ARRAYS
        )

    def release(self):
        """Map the arrays anew, so that what was written no longer counts as this process's memory."""
        self.features = self.feature_errors = None
        self._map("r+")

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc, traceback):
        self.features = self.feature_errors = None
        if self.partial.exists() and self._ours:
            shutil.rmtree(self.partial)

    def finish(self, stars, rejected=None, cut_flow=(), config=None, provenance=None):
        """Write the tables and survey.json, put everything on the disk and give the folder its name.

        Parameters
        ----------
        stars : astropy Table
            One row a star, in the order of the arrays' rows. Its columns become those of `spfast.data.columns`: one
            that it lacks is filled with the missing value.
        rejected : astropy Table, optional
            Columns APOGEE_ID, row, reason, detail.
        cut_flow : list of (str, int)
            Each cut and the number of stars left after it.
        config : Config, optional
        provenance : dict, optional
            More entries for survey.json: inputs and their hashes, continuum pixels, policies.

        Returns
        -------
        Survey

        Raises
        ------
        BadInputError
            If the table and the arrays have different numbers of rows.
        """
        if len(stars) != len(self.features):
            raise BadInputError(f"{self.path}: {len(stars)} stars for {len(self.features)} feature rows")
        check_unique(stars["APOGEE_ID"], self.path)
        with writing(self.path):
            return self._finish(stars, rejected, cut_flow, config, provenance)

    def _finish(self, stars, rejected, cut_flow, config, provenance):
        shape = list(self.features.shape)
        self.features.flush()
        self.feature_errors.flush()
        self.features = self.feature_errors = None
        conform_stars(stars).write(self.partial / "stars.fits", format="fits", overwrite=True)
        rejected = conform_rejected(rejected)
        rejected_path = self.partial / "rejected.ecsv"
        rejected.write(rejected_path, format="ascii.ecsv", overwrite=True)
        hashes = {name: file_sha256(self.partial / name) for name in (*(f"{a}.npy" for a in ARRAYS), "stars.fits")}
        info = {
            "schema": SCHEMA,
            "n_stars": shape[0],
            "n_features": shape[1],
            "n_rejected": len(rejected),
            "arrays": {f"{name}.npy": {"shape": shape, "dtype": "float32", "order": "C"} for name in ARRAYS},
            "sha256": hashes | {"rejected.ecsv": file_sha256(rejected_path), "survey.json": BLANK_SEAL},
            "survey_hash": hashlib.sha256("".join(hashes.values()).encode()).hexdigest(),
            "versions": package_versions(),
            "config": None if config is None else config.to_dict(),
            "cut_flow": [[str(cut), int(n_left)] for cut, n_left in cut_flow],
            **(provenance or {}),
            "layout": self.layout.to_dict(),
        }
        with open(self.partial / "survey.json", "w", encoding="utf-8") as file:
            json.dump(info, file, indent=1)
        seal(self.partial / "survey.json")
        for name in (*FILES, "."):
            put_on_disk(self.partial / name)
        ours, self._ours = self._ours, False
        check_guard(self.path)
        self._ours = ours
        os.replace(self.partial, self.path)
        put_on_disk(self.path.parent)
        # Only now: a build that ends before the folder has its name must find all that it needs to go on.
        clear_work(self.path)
        return open_survey(self.path)


def clear_work(path):
    """Remove what the builder of a survey needed, now that it is whole."""
    shutil.rmtree(Path(path) / WORK, ignore_errors=True)


def partial_path(path):
    """Return where a survey is built before it has its name: ``<path>.partial``."""
    path = Path(path)
    return path.with_name(path.name + ".partial")


def clear_partial(path):
    """Remove an unfinished survey and say whether there was one; refuse a folder that holds anything else."""
    partial = partial_path(path)
    if not partial.exists():
        return False
    if not partial.is_dir() or not {child.name for child in partial.iterdir()} <= {WORK, TRUTH, *FILES}:
        raise BadInputError(f"{partial}: is in the way and no unfinished survey; remove it or choose another output")
    with writing(path):
        shutil.rmtree(partial)
    return True


def package_versions():
    """Return the versions of spfast, Python and the packages that compute the numbers (dict of str)."""
    versions = {"spfast": spfast.__version__, "python": platform.python_version()}
    for package in ("numpy", "numba", "scipy", "astropy"):
        versions[package] = metadata.version(package)
    return versions
