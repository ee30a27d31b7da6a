"""The survey folder, opened and checked: arrays of features and their errors, star table, survey.json."""

import hashlib
import json
import os
import re
from mmap import mmap
from pathlib import Path, PurePosixPath

import numpy as np
from astropy.table import Table

from spfast.config import LATER, Config
from spfast.data.columns import STAR_COLUMNS
from spfast.data.estimates import ESTIMATES, read_estimates
from spfast.data.low_rank_files import (
    COORDINATE_ERRORS,
    COORDINATES,
    LOW_RANK_FILES,
    UNMEASURED,
    open_unmeasured,
    read_low_rank,
)
from spfast.data.spectra.continuum import check_continuum_pixels
from spfast.data.spectra.features import ERROR_DTYPE
from spfast.data.untrusted import check_file
from spfast.errors import BadInputError, reading
from spfast.files import check_regular, file_sha256, is_sealed
from spfast.kernels.team import Team
from spfast.model.layout import FeatureLayout
from spfast.model.low_rank import Coordinates, LowRankModel
from spfast.model.recipe import FeatureRecipe
from spfast.progress import Progress

__all__ = ["Survey", "as_survey", "open_survey", "spectrum_kinds", "verify_survey"]

#: Version of the folder's format; a reader refuses any other.
SCHEMA = 1

#: The two arrays, each in a file of its name, and what they may be; earlier versions wrote errors in float32.
_DTYPES = {"features": (np.float32,), "feature_errors": (ERROR_DTYPE, np.float32)}
ARRAYS = tuple(_DTYPES)
#: The five files of the folder.
FILES = {*(f"{name}.npy" for name in ARRAYS), "stars.fits", "rejected.ecsv", "survey.json"}
#: Files that it can do without.
OPTIONAL_FILES = (*LOW_RANK_FILES, ESTIMATES)
#: In place of parts that are read when they are first asked for; no part is a text.
_UNREAD = "unread"
#: Fewer stars than these are read in seconds, without a bar.
FEW = 100_000
#: Rows of which the constant is looked at when a survey is opened; each costs a page of the disk.
_CHECKED_ROWS = 256
#: Stars whose features are checked at a time, 8 MB, and how often before the bar moves.
_BLOCK, _PIECES = 256, 32
#: Entries of survey.json that readers need, and their types.
_INFO = {"survey_hash": str, "n_rejected": int, "cut_flow": list, "versions": dict, "config": dict | None}
#: Names of spectrum files: kind, then release, or version of astra. The south's asStar is the same kind.
_KINDS = {"apstar": "apStar", "asstar": "apStar", "aspcapstar": "aspcapStar", "mwmstar": "mwmStar"}
_SPECTRUM_NAME = re.compile(r"(apStar|asStar|aspcapStar|mwmStar)-([^-]+)-", re.IGNORECASE)
_REBUILD = "build it again with `spfast ingest`"


class Survey:
    """A survey folder, opened for reading; only the star table is in memory.

    Attributes
    ----------
    path : Path
    features, feature_errors : float32 and float16 memmap, read-only, C order, shape (n_stars, n_features)
        A survey that is pickled takes their file's place along, not their values: a worker maps them there. Surveys of
        earlier versions have errors in float32.
    stars : astropy Table
        One row a star, in the order of the arrays' rows.
    layout : FeatureLayout
    info : dict
        What survey.json holds: configuration, versions, hashes, continuum pixels, cut-flow.
    """

    def __init__(
        self,
        path: Path,
        info: dict,
        layout: FeatureLayout,
        stars: Table,
        features: np.ndarray,
        feature_errors: np.ndarray,
    ):
        self.path, self.info, self.layout, self.stars = path, info, layout, stars
        self.features, self.feature_errors = features, feature_errors
        self._checked, self._magnitudes, self._low_rank, self._unmeasured = False, None, _UNREAD, _UNREAD

    @classmethod
    def of_arrays(
        cls,
        path: Path,
        config: Config,
        layout: FeatureLayout,
        stars: Table,
        arrays: tuple[np.ndarray, np.ndarray, np.ndarray],
        low_rank: tuple[LowRankModel, Coordinates] | None,
    ) -> "Survey":
        """Stars in memory, as a survey: some of those whose features are made and used once.

        Parameters
        ----------
        path : Path
            Where they are from, for messages.
        config : Config
        layout : FeatureLayout
        stars : astropy Table
        arrays : tuple of arrays
            ``features``, ``feature_errors`` and ``unmeasured``.
        low_rank : tuple or None
            As the attribute.
        """
        survey = cls(path, {"config": config.to_dict()}, layout, stars, *arrays[:2])
        survey._unmeasured, survey._low_rank = arrays[2], low_rank
        return survey

    @property
    def magnitudes(self) -> tuple[np.ndarray, np.ndarray]:
        """Magnitudes as features, and their errors (two float32 arrays, shape (n_stars, n_magnitudes) [mag]).

        They stand between pixels: to find them takes a read of the arrays, which `check_values` makes anyway.
        """
        if self._magnitudes is None:
            inside = slice(1, self.layout.n_unpenalized)
            parts = np.empty((2, self.n_stars, inside.stop - 1), np.float32)
            for part, array in zip(parts, (self.features, self.feature_errors), strict=True):
                for start in range(0, self.n_stars, _BLOCK):
                    part[start : start + _BLOCK] = array[start : start + _BLOCK, inside]
            self._magnitudes = tuple(parts)
        return self._magnitudes

    @property
    def unmeasured(self) -> np.ndarray | None:
        """Bits of the pixels that were not measured (uint8 memmap, shape (n_stars, ceil(n_pixels / 8))), if known."""
        if isinstance(self._unmeasured, str):
            whole = _is_whole_map(self.features, "features.npy")
            self._unmeasured = open_unmeasured(self.path, self.n_stars, self.layout.n_pixels) if whole else None
        return self._unmeasured

    @property
    def low_rank(self) -> tuple[LowRankModel, Coordinates] | None:
        """The low-rank model of the spectra and its coordinates of all stars, if the folder has them."""
        if isinstance(self._low_rank, str):
            whole = _is_whole_map(self.features, "features.npy")
            self._low_rank = read_low_rank(self.path, self.n_stars) if whole else None
        return self._low_rank

    def keep_low_rank(self, found: tuple[LowRankModel, Coordinates] | None) -> None:
        """Keep, as long as the survey is open, the low-rank model of a folder that has none."""
        self._low_rank = found

    def __getstate__(self):
        """Return what a worker process gets: of arrays and survey.json only their place, where it opens them again."""
        state = self.__dict__ | {"_magnitudes": None, "_low_rank": _UNREAD, "_unmeasured": _UNREAD}
        for name in ARRAYS:
            if _is_whole_map(state[name], f"{name}.npy"):
                # From the map, since the working folder may have changed since it was opened by a relative path.
                state["path"] = Path(state[name].filename).parent
                state[name] = state["info"] = None
        return state | {"survey_hash": self.survey_hash}

    def __setstate__(self, state):
        survey_hash = state.pop("survey_hash")
        self.__dict__.update(state)
        if self.info is None:
            self.info = _read_info(self.path / "survey.json")
            if self.info.get("survey_hash") != survey_hash:
                raise BadInputError(f"{self.path}: holds another survey than when this one was opened; open it again")
        for name in ARRAYS:
            if state[name] is None:
                setattr(self, name, _open_array(self.path, name, self.layout))

    @property
    def n_stars(self) -> int:
        return self.features.shape[0]

    @property
    def n_features(self) -> int:
        return self.features.shape[1]

    @property
    def survey_hash(self) -> str:
        """What identifies the arrays and the star table: a sha256 in hex (str)."""
        return self.info["survey_hash"]

    @property
    def config(self) -> dict:
        """The configuration that it was built with (dict of its sections)."""
        return {key: value for key, value in (self.info.get("config") or {}).items() if key not in LATER}

    @property
    def features_origin(self) -> dict:
        """What the features were made of, beyond the configuration; kept with every model (dict).

        ``spectra`` (list of str) has kind and release of the spectra as their names tell them, e.g. ``aspcapStar
        dr17`` or ``mwmStar 0.6.0``, or what arrays they are; ``wise`` (str or None) is the survey of W1 and W2,
        ``AllWISE`` or ``unWISE``; ``continuum`` (str or None) is a hash of the continuum pixels; ``gaia_release`` (str
        or None).
        """
        arrays = self.info.get("made_of_arrays")
        kinds = [str(arrays.get("what"))] if isinstance(arrays, dict) else spectrum_kinds(self.stars)
        pixels = (self.info.get("continuum") or {}).get("pixels")
        digest = None if pixels is None else hashlib.sha256(json.dumps(pixels).encode()).hexdigest()
        return {
            "spectra": kinds,
            "continuum": digest,
            **{name: self.info.get(name) for name in ("gaia_release", "wise")},
        }

    @property
    def input_hashes(self) -> dict:
        """The sha256 of each file that it was built from, by what the file is (dict of str)."""
        inputs = self.info.get("inputs")
        entries = inputs.items() if isinstance(inputs, dict) else ()
        return {role: str(of["sha256"]) for role, of in entries if isinstance(of, dict) and "sha256" in of}

    @property
    def recipe(self) -> FeatureRecipe | None:
        """How its features were made, so that those of new stars can be made alike; None if it does not say.

        Surveys have it that were made from spectra; others, and those of older versions, lack parts of it.
        """
        found = self._find_recipe()
        return found if isinstance(found, FeatureRecipe) else None

    def read_recipe(self) -> FeatureRecipe:
        """As `recipe`.

        Raises
        ------
        BadInputError
            If it does not say, or what it says cannot be used.
        """
        found = self._find_recipe()
        if not isinstance(found, FeatureRecipe):
            raise BadInputError(found)
        return found

    def _find_recipe(self):
        """The recipe, or a line that says why there is none."""
        unknown = (
            f"{self.path}: does not say how its features were made from spectra; give a survey that this version of "
            "`spfast ingest` made, or a model that was fitted to one"
        )
        try:
            built, pixels = self.info["config"], self.info["continuum"]["pixels"]
            # The survey holds the pixels themselves: the file that they came from is not needed again.
            config = Config().replace(**{name: built[name] for name in ("normalization", "features")})
            config = config.replace(normalization={"continuum_file": ""})
            if self.layout.columns is None:  # of arrays they are places on a grid of their own
                degree = config.normalization.chebyshev_degree
                pixels = check_continuum_pixels(pixels, degree, f"{self.path}: survey.json")
        except BadInputError as error:
            return str(error)
        except (KeyError, TypeError, ValueError):
            return unknown
        factors, bands = read_estimates(self.path, self.layout)
        if factors is None and config.features.bad_pixels == "estimated":
            return unknown
        return FeatureRecipe(
            layout=self.layout,
            config={name: config.to_dict()[name] for name in ("normalization", "features")},
            origin=self.features_origin,
            continuum=tuple(int(pixel) for pixel in pixels),
            pixel_factors=factors,
            bands=bands,
            low_rank=None if self.low_rank is None else self.low_rank[0],
        )

    def check_values(self, threads: int | None = None, quiet: bool = True) -> None:
        """Refuse arrays with numbers that no build writes: not finite, or an error below zero. The check is made once.

        Parameters
        ----------
        threads : int, optional
        quiet : bool
            No progress bar.

        Raises
        ------
        BadInputError
            It names the array and such a row.
        """
        if self._checked:
            return
        arrays = [("features", self.features, -np.inf), ("feature_errors", self.feature_errors, 0.0)]
        if self.low_rank is not None:
            _, found = self.low_rank
            arrays += [("coordinates", found.mean, -np.inf), ("coordinates", found.misfit[:, None], 0.0)]
            arrays += [("coordinate_errors", roots, -np.inf) for roots in found.roots]
        arrays = [(name, array, low) for name, array, low in arrays if array.shape[1]]
        inside = slice(1, self.layout.n_unpenalized)
        magnitudes = {name: np.empty((self.n_stars, inside.stop - 1), np.float32) for name in ARRAYS}

        def look(first, last):
            for piece in range(first, last):
                rows = slice(piece * _BLOCK, (piece + 1) * _BLOCK)
                for name, array, low in arrays:
                    block = np.asarray(array[rows], dtype=np.float32)
                    least, largest = block.min(), block.max()
                    # NaN and infinities show in the extremes.
                    if not (np.isfinite(least) and np.isfinite(largest) and least >= low):
                        self._refuse(name, block, low, rows.start)
                    if name in ARRAYS:
                        magnitudes[name][rows] = block[:, inside]
                self.check_constant(rows)

        n_pieces = -(-self.n_stars // _BLOCK)
        with (
            Team(threads) as team,
            Progress("check the features", self.n_stars, quiet or self.n_stars < FEW) as progress,
        ):
            for begin in range(0, n_pieces, _PIECES):
                end = min(begin + _PIECES, n_pieces)
                team.run(lambda first, last, begin=begin: look(begin + first, begin + last), end - begin)
                progress.advance(min(end * _BLOCK, self.n_stars) - begin * _BLOCK)
        self._checked, self._magnitudes = True, tuple(magnitudes.values())

    def _refuse(self, name, block, low, start):
        row = start + int(np.flatnonzero(~(np.isfinite(block) & (block >= low)).all(axis=1))[0])
        raise BadInputError(
            f"{self.path / name}.npy: row {row} ({self.stars['APOGEE_ID'][row]}) has a value that is not finite"
            f"{' or below 0' if low == 0 else ''}; the survey is damaged: {_REBUILD}"
        )

    def check_constant(self, rows: slice | np.ndarray) -> None:
        """Refuse arrays whose first column is not the constant 1 without an error, in the rows given.

        Raises
        ------
        BadInputError
        """
        for name, array, expected in (("features", self.features, 1), ("feature_errors", self.feature_errors, 0)):
            wrong = np.flatnonzero(array[rows, 0] != expected)
            if wrong.size:
                row = np.arange(self.n_stars)[rows][wrong[0]]
                raise BadInputError(
                    f"{self.path / name}.npy: row {row} ({self.stars['APOGEE_ID'][row]}) begins with "
                    f"{array[row, 0]:.3g}, expected {expected}, as in every row; the survey is damaged: {_REBUILD}"
                )

    def check_length(self) -> None:
        """Refuse arrays whose files became shorter after they were opened; call it before a result is kept.

        What a file lacks of its last page reads as zeros, without a fault.

        Raises
        ------
        BadInputError
        """
        arrays = {f"{name}.npy": getattr(self, name) for name in ARRAYS}
        if isinstance(self._unmeasured, np.memmap):
            arrays[UNMEASURED] = self._unmeasured
        if isinstance(self._low_rank, tuple):
            arrays[COORDINATES], arrays[COORDINATE_ERRORS] = self._low_rank[1].mean, self._low_rank[1].roots[-1]
        for name, array in arrays.items():
            path = self.path / name
            # A file that is gone was replaced or removed: what was opened is still whole.
            if path.exists() and path.stat().st_size < _end_of_map(array):
                raise BadInputError(f"{path}: became shorter while it was read; put the whole file back or {_REBUILD}")

    @property
    def rejected(self) -> Table:
        """Every star that is not in the survey, and the first cut or fault that stopped it (astropy Table)."""
        return Table.read(self.path / "rejected.ecsv", format="ascii.ecsv")

    def __repr__(self):
        return f"<Survey {str(self.path)!r}: {self.n_stars} stars x {self.n_features} features>"


def spectrum_kinds(stars: Table) -> list[str]:
    """Kind and release of stars' spectra as the names of their files tell them, e.g. ``aspcapStar dr17``."""
    files = np.asarray(stars["FILE"]).tolist() if "FILE" in stars.colnames else []
    names = {_SPECTRUM_NAME.match(PurePosixPath(str(file)).name) for file in files}
    return sorted({f"{_KINDS[name[1].lower()]} {name[2].lower()}" for name in names if name})


def _end_of_map(array):
    """Where an array, or the file's array that it is a part of, ends in its file; 0 if it is in no file."""
    while isinstance(array, np.memmap) and isinstance(array.base, np.memmap):
        array = array.base
    return array.offset + array.nbytes if isinstance(array, np.memmap) else 0


def verify_survey(path: str | os.PathLike, quiet: bool = True) -> None:
    """Read every byte of a survey and compare it with the stored hashes.

    Parameters
    ----------
    path : path-like
    quiet : bool
        No progress bar.

    Raises
    ------
    BadInputError
        It names the first file that changed or is missing.
    """
    info_path = Path(path) / "survey.json"
    hashes = _read_info(info_path).get("sha256")
    if not isinstance(hashes, dict) or hashes.keys() - set(OPTIONAL_FILES) != FILES:
        raise BadInputError(f"{info_path}: has no hash of every file, it is damaged or of an older spfast; {_REBUILD}")
    if not is_sealed(info_path, str(hashes.pop("survey.json"))):
        raise BadInputError(f"{info_path}: changed since the survey was built; {_REBUILD}")
    with Progress("verify files", len(hashes), quiet) as progress:
        for name, expected in hashes.items():
            file = info_path.with_name(name)
            try:
                changed = file_sha256(file) != expected
            except OSError as error:
                raise BadInputError(f"{file}: cannot be read ({error.strerror}); {_REBUILD}") from None
            if changed:
                raise BadInputError(f"{file}: changed since the survey was built; {_REBUILD}")
            progress.advance()


def open_survey(path: str | os.PathLike) -> Survey:
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
        raise BadInputError(
            f"{path / 'survey.json'}: damaged (its {wrong[0]} is missing or of another type); {_REBUILD}"
        )
    if schema != SCHEMA:
        raise BadInputError(f"{path}: survey format {str(schema)[:20]}, expected {SCHEMA}; {_REBUILD}")
    arrays = [_open_array(path, name, layout) for name in ARRAYS]
    stars = _read_stars(path / "stars.fits", info)
    for name, n_rows in [("feature_errors.npy", len(arrays[1])), ("stars.fits", len(stars))]:
        if n_rows != len(arrays[0]):
            raise BadInputError(f"{path / name}: {n_rows} rows, features.npy has {len(arrays[0])}; {_REBUILD}")
    survey = Survey(path, info, layout, stars, *arrays)
    survey.check_constant(np.linspace(0, survey.n_stars - 1, min(_CHECKED_ROWS, survey.n_stars)).astype(int))
    return survey


def as_survey(survey: Survey | str | os.PathLike) -> Survey:
    """A survey, opened if it is given by its path.

    Raises
    ------
    BadInputError
        For anything else, or as `open_survey`.

    Examples
    --------
    >>> from spfast.data.survey import as_survey
    >>> as_survey([1.0, 2.0])
    Traceback (most recent call last):
    ...
    spfast.errors.BadInputError: survey: got list, expected a survey or its path; ...
    """
    if isinstance(survey, Survey):
        return survey
    if isinstance(survey, str | os.PathLike):
        return open_survey(survey)
    raise BadInputError(
        f"survey: got {type(survey).__name__}, expected a survey or its path; for arrays there are spfast.fit and "
        "spfast.cross_validate"
    )


def _read_info(path):
    """Read survey.json (dict)."""
    if not path.parent.is_dir():
        raise BadInputError(f"{path.parent}: no such folder; expected a survey made by `spfast ingest`")
    check_regular(path)
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


def _read_stars(path, info):
    """Read the star table; refuse one that changed since the survey was built, or with one star twice."""
    check_file(path)
    with reading(path, "cannot be read", _REBUILD), open(path, "rb") as file:
        stars = Table.read(file, format="fits", hdu=1, mask_invalid=False, character_as_bytes=False)
    for name, column in STAR_COLUMNS.items():
        if name not in stars.colnames:
            raise BadInputError(f"{path}: no column {name}; {_REBUILD}")
        got, kind = stars[name], "b" if column.kind == "?" else column.kind[0]
        if got.dtype.kind != kind or got.ndim != 1:
            raise BadInputError(f"{path}: column {name} is {got.dtype} {got.shape}, expected {column.kind}; {_REBUILD}")
    hashes = info.get("sha256")
    if isinstance(hashes, dict) and file_sha256(path) != hashes.get("stars.fits"):
        raise BadInputError(f"{path}: changed since the survey was built; {_REBUILD}")
    check_unique(stars["APOGEE_ID"], path)
    return stars


def check_unique(apogee_id, path) -> None:
    """Refuse a survey's star table in which a star is there twice or has no name.

    Raises
    ------
    BadInputError
    """
    names, counts = np.unique(np.asarray(apogee_id), return_counts=True)
    wrong = names[(counts > 1) | (names == "")]
    if wrong.size:
        raise BadInputError(
            f"{path}: {wrong.size} APOGEE_ID stand for several stars or are empty, first {str(wrong[0])!r}, expected "
            f"one row a star; {_REBUILD}"
        )


def _is_whole_map(array, name):
    """Whether an array is the map of a whole file of this name: not rows of it, nor what a caller put in its place."""
    return isinstance(array, np.memmap) and isinstance(array.base, mmap) and Path(array.filename).name == name


def _open_array(folder, name, layout):
    path = folder / f"{name}.npy"
    check_regular(path)
    with reading(path, "cannot be read", _REBUILD):
        array = np.lib.format.open_memmap(path, mode="r")  # .npy alone, and never a pickle
    if array.ndim != 2 or array.dtype not in _DTYPES[name] or not array.flags.c_contiguous:
        expected = np.dtype(_DTYPES[name][0]).name
        raise BadInputError(
            f"{path}: {array.dtype} of shape {array.shape}, expected 2-D {expected}, C order; {_REBUILD}"
        )
    if array.shape[1] != layout.n_features:
        raise BadInputError(f"{path}: {array.shape[1]} columns, the survey's layout {layout.n_features}; {_REBUILD}")
    return array
