"""Writing a survey folder: it is built under another name, and renamed once it is whole and on the disk."""

import hashlib
import json
import os
import platform
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import numpy as np

import spfast
from spfast.blas import one_blas_thread
from spfast.config import Config
from spfast.data.columns import conform_rejected, conform_stars
from spfast.data.estimates import pixel_factors, write_estimates
from spfast.data.low_rank_files import read_low_rank, write_low_rank
from spfast.data.missing_bands import ERROR_MAX, estimate_magnitudes
from spfast.data.row_files import array_formats
from spfast.data.spectra.features import rounded_errors
from spfast.data.survey import ARRAYS, FEW, FILES, OPTIONAL_FILES, SCHEMA, check_unique, open_survey
from spfast.errors import BadInputError
from spfast.files import BLANK_SEAL, check_guard, file_sha256, put_on_disk, reserve, seal, writing
from spfast.kernels.team import resolve_threads
from spfast.model.band_regression import BandRegression
from spfast.progress import Progress

__all__ = ["SurveyWriter", "clear_partial", "clear_work", "package_versions", "partial_path"]

#: Folder inside a partial survey for what its builder needs until it is whole; not part of the survey.
WORK = "work"
#: Stars whose magnitudes are read together.
_BLOCK = 4096
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
    has_rows : bool
        The arrays are in the partial folder already, whole (`spfast.data.row_files`).

    Attributes
    ----------
    features, feature_errors : float32 and float16 memmap, shape (n_stars, n_features)
        The caller fills them, in any order; errors by `spfast.data.spectra.features.rounded_errors`.
    unmeasured : uint8 memmap, shape (n_stars, ceil(n_pixels / 8))
        Likewise: bits of pixels whose values are estimates.

    Raises
    ------
    BadInputError
        If the path exists or cannot be made, or if there is no star.
    """

    def __init__(self, path, layout, n_stars, has_rows=False):
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
                if has_rows:
                    self._map("r+")
                    return
                self._map("w+", int(n_stars))
                for name in array_formats(layout):
                    path = self.partial / name
                    reserve(path, path.stat().st_size)
        except BadInputError as error:
            self.__exit__(type(error), error, None)
            raise

    def _map(self, mode, n_stars=None):
        """Map the arrays; new ones for a number of stars."""
        self.features, self.feature_errors, self.unmeasured = (
            np.lib.format.open_memmap(self.partial / name, mode, *((dtype, (n_stars, n)) if n_stars else ()))
            for name, (dtype, n) in array_formats(self.layout).items()
        )

    def release(self):
        """Map the arrays anew, so that what was written no longer counts as this process's memory."""
        self.features = self.feature_errors = self.unmeasured = None
        self._map("r+")

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc, traceback):
        self.features = self.feature_errors = self.unmeasured = None
        if self.partial.exists() and self._ours:
            shutil.rmtree(self.partial)

    @one_blas_thread()
    def finish(
        self,
        stars,
        rejected=None,
        cut_flow=(),
        config=None,
        provenance=None,
        like=None,
        threads=None,
        quiet=True,
        factors=None,
    ):
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
        like : FeatureRecipe, optional
            To take the low-rank model from, and what magnitudes are estimated by; these stars' own by default.
        threads : int, optional
        quiet : bool
            No progress bars.
        factors : SpectrumFactors, optional
            By which bad pixels were estimated: the survey keeps them, so that new stars can be treated alike.

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
            return self._finish(stars, rejected, cut_flow, config, provenance, like, threads, quiet, factors)

    def _finish(self, stars, rejected, cut_flow, config, provenance, like, threads, quiet, factors):
        shape = list(self.features.shape)
        for array in (self.features, self.feature_errors, self.unmeasured):
            array.flush()
        rank = (Config() if config is None else config).features.rank
        low_rank = None if like is None else like.low_rank
        if rank and (like is None or low_rank is not None):
            write_low_rank(
                self.partial, self.layout, self.features, self.feature_errors, rank, threads, quiet, low_rank
            )
        error, bands = self._estimate_magnitudes(like, quiet)
        write_estimates(self.partial, pixel_factors(factors, self.layout), bands)
        if error.any():
            stars = stars.copy()
            stars["training_set"] = np.asarray(stars["training_set"], dtype=bool) & (error <= ERROR_MAX)
            if provenance and "n_training" in provenance:
                provenance = provenance | {"n_training": int(np.sum(stars["training_set"]))}
        self.features = self.feature_errors = self.unmeasured = None
        conform_stars(stars).write(self.partial / "stars.fits", format="fits", overwrite=True)
        rejected = conform_rejected(rejected)
        rejected.write(self.partial / "rejected.ecsv", format="ascii.ecsv", overwrite=True)
        optional = [name for name in OPTIONAL_FILES if (self.partial / name).exists()]
        names = [*(f"{name}.npy" for name in ARRAYS), "stars.fits"]
        hashes = self._put_on_disk([*names, *optional, "rejected.ecsv"], threads, quiet)
        info = {
            "schema": SCHEMA,
            "n_stars": shape[0],
            "n_features": shape[1],
            "n_rejected": len(rejected),
            "arrays": {
                name: {"shape": [shape[0], length], "dtype": dtype.name, "order": "C"}
                for name, (dtype, length) in array_formats(self.layout).items()
                if name.removesuffix(".npy") in ARRAYS
            },
            "sha256": hashes | {"survey.json": BLANK_SEAL},
            "survey_hash": hashlib.sha256("".join(hashes[name] for name in names).encode()).hexdigest(),
            "versions": package_versions(),
            "config": None if config is None else config.to_dict(),
            "cut_flow": [[str(cut), int(n_left)] for cut, n_left in cut_flow],
            **(provenance or {}),
            "layout": self.layout.to_dict(),
        }
        with open(self.partial / "survey.json", "w", encoding="utf-8") as file:
            json.dump(info, file, indent=1)
        seal(self.partial / "survey.json")
        for name in ("survey.json", "."):
            put_on_disk(self.partial / name)
        ours, self._ours = self._ours, False
        check_guard(self.path)
        self._ours = ours
        os.replace(self.partial, self.path)
        put_on_disk(self.path.parent)
        # Only now: a build that ends before the folder has its name must find all that it needs to go on.
        clear_work(self.path)
        return open_survey(self.path)

    def _put_on_disk(self, names, threads, quiet):
        """Force files to the disk, and hash them meanwhile (dict of str); half the time is the processor's."""
        total, lock = sum((self.partial / name).stat().st_size for name in names), threading.Lock()
        with Progress("hash the survey's files, MB", total // 10**6, quiet) as progress:
            done = 0

            def say(n_bytes):
                nonlocal done
                with lock:
                    done += n_bytes
                    progress.advance(done // 10**6 - progress.done)

            def work(name):
                digest = file_sha256(self.partial / name, say)
                put_on_disk(self.partial / name)
                return digest

            with ThreadPoolExecutor(min(resolve_threads(threads), len(names))) as pool:
                return dict(zip(names, pool.map(work, names), strict=True))

    def _estimate_magnitudes(self, like, quiet):
        """Fill in the magnitudes that stars lack; the largest error of each star's estimates, and their regression."""
        inside, own = slice(1, self.layout.n_unpenalized), read_low_rank(self.partial, len(self.features))
        n = len(self.features)
        magnitudes, errors = np.empty((2, n, inside.stop - 1), np.float32)
        # They stand between pixels: this reads the arrays.
        with Progress("read magnitudes", n, quiet or n < FEW) as progress:
            for start in range(0, n, _BLOCK):
                rows = slice(start, min(start + _BLOCK, n))
                magnitudes[rows], errors[rows] = self.features[rows, inside], self.feature_errors[rows, inside]
                progress.advance(rows.stop - start)
        coordinates = None if own is None else own[1].mean
        if like is None:
            bands = BandRegression.of(magnitudes, coordinates)
        else:
            bands = like.bands
            if like.low_rank is None or own is None or not own[0].is_same(like.low_rank):
                coordinates = None
        error = estimate_magnitudes(magnitudes, errors, coordinates, bands)
        if error.any():
            self.features[:, inside], self.feature_errors[:, inside] = magnitudes, rounded_errors(errors)
        return error, bands


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
    if not partial.is_dir() or not {child.name for child in partial.iterdir()} <= {
        WORK,
        TRUTH,
        *FILES,
        *OPTIONAL_FILES,
    }:
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
