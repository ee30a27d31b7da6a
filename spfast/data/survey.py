"""The survey folder: stars.fits, features.npy, feature_errors.npy, survey.json, rejected.ecsv."""

import hashlib
import json
import os
import platform
import re
import shutil
from importlib import metadata
from pathlib import Path, PurePosixPath

import numpy as np
from astropy.table import Table

import spfast
from spfast.config import LATER
from spfast.data.columns import STAR_COLUMNS, conform_rejected, conform_stars
from spfast.data.untrusted import check_file
from spfast.errors import BadInputError, reading
from spfast.files import BLANK_SEAL, file_sha256, is_sealed, put_on_disk, reserve, seal, writing
from spfast.model.layout import FeatureLayout

__all__ = ["Survey", "SurveyWriter", "open_survey", "package_versions", "verify_survey"]

#: Version of the folder's format; a reader refuses one that it does not know.
SCHEMA = 1

ARRAYS = ("features", "feature_errors")
#: Folder inside a partial survey for whatever its maker needs until it is whole; not part of the survey.
WORK = "work"
#: What a mock survey's stars really are; not part of the survey either.
TRUTH = "truth.fits"
_FILES = {*(f"{name}.npy" for name in ARRAYS), "stars.fits", "rejected.ecsv", "survey.json"}
#: Rows looked at together: 8 MB.
_BLOCK = 256
#: Entries of survey.json that its readers need, and their types.
_INFO = {"survey_hash": str, "n_rejected": int, "cut_flow": list, "versions": dict, "config": dict | None}
#: APOGEE's names of spectrum files: kind, then release.
_SPECTRUM_NAME = re.compile(r"(apStar|asStar|aspcapStar)-([^-]+)-")
_REBUILD = "build it again with `spfast ingest`"


class Survey:
    """A survey folder, opened for reading: nothing is in memory but the star table.

    Attributes
    ----------
    path : Path
    features, feature_errors : float32 memmap, read-only, C order, shape (n_stars, n_features)
    stars : astropy Table
        One row a star, in the order of the arrays' rows.
    layout : FeatureLayout
    info : dict
        What survey.json holds: configuration, versions, hashes, continuum pixels, cut-flow.
    """

    def __init__(self, path, info, layout, stars, features, feature_errors):
        self.path, self.info, self.layout, self.stars = path, info, layout, stars
        self.features, self.feature_errors = features, feature_errors
        self._checked = False

    @property
    def n_stars(self):
        return self.features.shape[0]

    @property
    def n_features(self):
        return self.features.shape[1]

    @property
    def survey_hash(self):
        """Identifies arrays and star table (str, sha256 in hex)."""
        return self.info["survey_hash"]

    @property
    def config(self):
        """The configuration that it was built with (dict of its sections)."""
        return {key: value for key, value in (self.info.get("config") or {}).items() if key not in LATER}

    @property
    def features_origin(self):
        """What the features were made of, beyond the configuration; kept with every model (dict).

        ``spectra``: kinds and releases as the spectra's names say them, e.g. ``["aspcapStar dr17"]``; ``continuum``: a
        hash of the continuum pixels, or None.
        """
        files = np.asarray(self.stars["FILE"]).tolist() if "FILE" in self.stars.colnames else []
        found = {_SPECTRUM_NAME.match(PurePosixPath(str(file)).name) for file in files}
        kinds = {f"{match[1].replace('asStar', 'apStar')} {match[2]}" for match in found if match}
        pixels = (self.info.get("continuum") or {}).get("pixels")
        digest = None if pixels is None else hashlib.sha256(json.dumps(pixels).encode()).hexdigest()
        return {"spectra": sorted(kinds), "continuum": digest}

    def check_values(self):
        """Refuse arrays that hold what no build writes, a number that is not finite or an error below zero; once.

        Raises
        ------
        BadInputError
            Naming the array and the first row.
        """
        for name, array, low in (("features", self.features, -np.inf), ("feature_errors", self.feature_errors, 0.0)):
            for start in range(0, 0 if self._checked else self.n_stars, _BLOCK):
                block = array[start : start + _BLOCK]
                # NaN and infinities show in the extremes, and these cost one read.
                if not (np.isfinite(block.min()) and np.isfinite(block.max()) and block.min() >= low):
                    row = start + int(np.flatnonzero(~(np.isfinite(block) & (block >= low)).all(axis=1))[0])
                    raise BadInputError(
                        f"{self.path / name}.npy: row {row} ({self.stars['APOGEE_ID'][row]}) has a value that is not "
                        f"finite{' or below 0' if low == 0 else ''}; the survey is damaged: {_REBUILD}"
                    )
        self._checked = True

    def check_length(self):
        """Refuse arrays whose files became shorter since they were opened, before what was made of them is kept.

        What a file lacks of its last page reads as zeros, without a fault.

        Raises
        ------
        BadInputError
        """
        for name, array in (("features", self.features), ("feature_errors", self.feature_errors)):
            path = self.path / f"{name}.npy"
            # One that is gone was replaced or removed: what was opened is still all there.
            if path.exists() and path.stat().st_size < array.offset + array.nbytes:
                raise BadInputError(f"{path}: became shorter while it was read; put the whole file back or {_REBUILD}")

    @property
    def rejected(self):
        """Every star that did not make it, and the first cut or fault that stopped it (astropy Table)."""
        return Table.read(self.path / "rejected.ecsv", format="ascii.ecsv")

    def __repr__(self):
        return f"<Survey {str(self.path)!r}: {self.n_stars} stars x {self.n_features} features>"


def verify_survey(path):
    """Read every byte of a survey and compare with the stored hashes.

    Parameters
    ----------
    path : path-like

    Raises
    ------
    BadInputError
        Naming the first file that changed, or is not there.
    """
    info_path = Path(path) / "survey.json"
    hashes = _read_info(info_path).get("sha256")
    if not isinstance(hashes, dict) or hashes.keys() != _FILES:
        raise BadInputError(f"{info_path}: has no hash of every file, it is damaged or of an older spfast; {_REBUILD}")
    if not is_sealed(info_path, str(hashes.pop("survey.json"))):
        raise BadInputError(f"{info_path}: changed since the survey was built; {_REBUILD}")
    for name, expected in hashes.items():
        try:
            changed = file_sha256(info_path.with_name(name)) != expected
        except OSError as error:
            raise BadInputError(f"{info_path.with_name(name)}: cannot be read ({error.strerror}); {_REBUILD}") from None
        if changed:
            raise BadInputError(f"{info_path.with_name(name)}: changed since the survey was built; {_REBUILD}")


def open_survey(path):
    """Open a survey folder.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Survey

    Raises
    ------
    BadInputError
        If the folder is not a survey, or its parts do not fit together.

    Examples
    --------
    >>> from spfast.data.survey import open_survey
    >>> open_survey("no/such/folder")
    Traceback (most recent call last):
    ...
    spfast.errors.BadInputError: no/such/folder: no such folder; expected a survey made by `spfast ingest`
    """
    path = Path(path)
    info = _read_info(path / "survey.json")
    try:
        schema, layout = info["schema"], FeatureLayout.from_dict(info["layout"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadInputError(f"{path / 'survey.json'}: damaged ({error}); {_REBUILD}") from None
    wrong = [name for name, kind in _INFO.items() if not isinstance(info.get(name), kind)]
    wrong += [] if wrong or all(_is_cut(cut) for cut in info["cut_flow"]) else ["cut_flow"]
    if wrong:
        raise BadInputError(f"{path / 'survey.json'}: damaged (no {wrong[0]} of its kind); {_REBUILD}")
    if schema != SCHEMA:
        raise BadInputError(f"{path}: survey format {str(schema)[:20]}, expected {SCHEMA}; {_REBUILD}")
    arrays = [_open_array(path / f"{name}.npy", layout) for name in ARRAYS]
    stars = _read_stars(path / "stars.fits")
    for name, n_rows in [("feature_errors.npy", len(arrays[1])), ("stars.fits", len(stars))]:
        if n_rows != len(arrays[0]):
            raise BadInputError(f"{path / name}: {n_rows} rows, features.npy has {len(arrays[0])}; {_REBUILD}")
    return Survey(path, info, layout, stars, *arrays)


def _read_info(path):
    """Read survey.json (dict)."""
    if not path.parent.is_dir():
        raise BadInputError(f"{path.parent}: no such folder; expected a survey made by `spfast ingest`")
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(info, dict):
            raise ValueError("no JSON object")
    except FileNotFoundError:
        raise BadInputError(f"{path.parent}: has no survey.json; expected a survey made by `spfast ingest`") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BadInputError(f"{path}: damaged ({error}); {_REBUILD}") from None
    return info


def _is_cut(entry):
    return isinstance(entry, list) and list(map(type, entry)) == [str, int]


def _read_stars(path):
    check_file(path)
    with reading(path, "cannot be read", _REBUILD), open(path, "rb") as file:
        stars = Table.read(file, format="fits", hdu=1, mask_invalid=False, character_as_bytes=False)
    for name, column in STAR_COLUMNS.items():
        if name not in stars.colnames:
            raise BadInputError(f"{path}: no column {name}; {_REBUILD}")
        got, kind = stars[name], "b" if column.kind == "?" else column.kind[0]
        if got.dtype.kind != kind or got.ndim != 1:
            raise BadInputError(f"{path}: column {name} is {got.dtype} {got.shape}, expected {column.kind}; {_REBUILD}")
    return stars


def _open_array(path, layout):
    with reading(path, "cannot be read", _REBUILD):
        array = np.lib.format.open_memmap(path, mode="r")  # .npy alone, and never a pickle
    if array.ndim != 2 or array.dtype != np.float32 or not array.flags.c_contiguous:
        raise BadInputError(f"{path}: {array.dtype} of shape {array.shape}, expected 2-D float32, C order; {_REBUILD}")
    if array.shape[1] != layout.n_features:
        raise BadInputError(f"{path}: {array.shape[1]} columns, the survey's layout {layout.n_features}; {_REBUILD}")
    return array


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
        To be filled by the caller, in any order.

    Raises
    ------
    BadInputError
        If the path exists, cannot be made, or there is no star.
    """

    def __init__(self, path, layout, n_stars):
        self.path, self.layout = Path(path), layout
        self.partial = partial_path(path)
        if self.path.exists():
            raise BadInputError(f"{self.path}: exists already; remove it or choose another output")
        if n_stars < 1:
            raise BadInputError(f"{self.path}: there is no star to write; check the cuts and the tables")
        self._was_there = self.partial.exists()
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
        """Map the arrays anew, so that what was written is the system's to keep and not in this process's memory."""
        self.features = self.feature_errors = None
        self._map("r+")

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc, traceback):
        self.features = self.feature_errors = None
        if self.partial.exists() and not self._was_there:
            shutil.rmtree(self.partial)

    def finish(self, stars, rejected=None, cut_flow=(), config=None, provenance=None):
        """Write the tables and survey.json, put everything on disk and give the folder its name.

        Parameters
        ----------
        stars : astropy Table
            One row a star, in the order of the arrays' rows; columns as in `spfast.data.columns`, missing ones are
            filled with their missing value.
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
        for name in (*_FILES, "."):
            put_on_disk(self.partial / name)
        os.replace(self.partial, self.path)
        put_on_disk(self.path.parent)
        # Only now: an end before the new name must find all that the build needs to go on.
        clear_work(self.path)
        return open_survey(self.path)


def clear_work(path):
    """Remove what the maker of a survey, now whole, has needed."""
    shutil.rmtree(Path(path) / WORK, ignore_errors=True)


def partial_path(path):
    """Return where a survey is built before it has its name: ``<path>.partial``, beside it."""
    path = Path(path)
    return path.with_name(path.name + ".partial")


def clear_partial(path):
    """Remove an unfinished survey and say whether there was one; refuse a folder that has anything else in it."""
    partial = partial_path(path)
    if not partial.exists():
        return False
    if not partial.is_dir() or not {child.name for child in partial.iterdir()} <= {WORK, TRUTH, *_FILES}:
        raise BadInputError(f"{partial}: is in the way and no build of ours; remove it or choose another output")
    with writing(path):
        shutil.rmtree(partial)
    return True


def package_versions():
    """Versions of spfast, of Python and of the packages that numbers come from (dict of str)."""
    versions = {"spfast": spfast.__version__, "python": platform.python_version()}
    for package in ("numpy", "numba", "scipy", "astropy"):
        versions[package] = metadata.version(package)
    return versions
