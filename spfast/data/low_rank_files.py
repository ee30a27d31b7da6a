"""The low-rank model in a survey folder: which pixels were not measured, the model, the coordinates of its stars."""

import json
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from spfast.errors import BadInputError, reading
from spfast.files import check_regular
from spfast.model.learn_low_rank import PASSES, SOME_SPECTRA, SPECTRA_MAX, learn_low_rank
from spfast.model.low_rank import ROOT_DTYPE, Coordinates, LowRankModel, n_triangle
from spfast.model.model_file import check_unpacked_size
from spfast.progress import Progress

__all__ = [
    *("COORDINATES", "COORDINATE_ERRORS", "LOW_RANK_FILES", "UNMEASURED"),
    *("open_unmeasured", "read_low_rank", "write_low_rank"),
]

#: Bits of the pixels that were not measured and are estimates, one row a star.
UNMEASURED = "unmeasured.npy"
#: Misfits and coordinates, and the roots of their covariances (`Coordinates`), one row a star.
COORDINATES, COORDINATE_ERRORS = "coordinates.npy", "coordinate_errors.npy"
_LOW_RANK = "low_rank.npz"
#: Files of a survey folder that it can do without.
LOW_RANK_FILES = (UNMEASURED, _LOW_RANK, COORDINATES, COORDINATE_ERRORS)
_REBUILD = "build it again with `spfast ingest`"


def write_low_rank(
    folder: Path,
    layout,
    features: np.ndarray,
    feature_errors: np.ndarray,
    rank: int,
    threads: int | None = None,
    quiet: bool = True,
    low_rank: LowRankModel | None = None,
) -> None:
    """Learn the low-rank model of a survey's spectra and write it, with the coordinates of all stars.

    There is none of columns that are no spectrum.

    Parameters
    ----------
    folder : Path
        Of the survey; it holds the bits of unmeasured pixels.
    layout : FeatureLayout
    features : float32 array, shape (n_stars, n_features)
    feature_errors : float16 or float32 array of the same shape
    rank : int
        The largest.
    threads : int, optional
    quiet : bool
    low_rank : LowRankModel, optional
        To take instead of one of these stars' own.
    """
    if not layout.is_spectrum:
        return
    first = layout.n_unpenalized
    unmeasured = open_unmeasured(folder, len(features), layout.n_pixels)
    spectra = features[:, first:], feature_errors[:, first:], unmeasured
    if low_rank is None:
        # What the passes of the two bases take at most.
        parts = zip(PASSES, (SOME_SPECTRA, SPECTRA_MAX), strict=True)
        total = 2 * sum(passes * min(most, len(features)) for passes, most in parts)
        with Progress("learn the low-rank model from spectra", total, quiet) as progress:

            def say(n_spectra):
                progress.advance(min(n_spectra, total - progress.done))

            low_rank = learn_low_rank(*spectra, pixels=layout.pixels, rank=rank, threads=threads, say=say)
            progress.advance(total - progress.done)
    if low_rank is None:
        return
    with open(folder / _LOW_RANK, "wb") as file:
        np.savez(file, header=np.array(json.dumps(low_rank.entries())), **low_rank.arrays())
    n = len(features)
    with (
        _new_array(folder / COORDINATES, (n, 1 + low_rank.rank), np.float32) as of_coordinates,
        _new_array(folder / COORDINATE_ERRORS, (n, sum(map(n_triangle, low_rank.ranks))), ROOT_DTYPE) as of_errors,
        Progress("coordinates of the spectra", n, quiet) as progress,
    ):
        for rows, found in low_rank.coordinate_blocks(*spectra, threads):
            of_coordinates.write(np.column_stack([found.misfit, found.mean]).tobytes())
            of_errors.write(np.hstack(found.roots).tobytes())
            progress.advance(rows.stop - rows.start)


@contextmanager
def _new_array(path, shape, dtype):
    """A new ``.npy`` file for an array whose rows are written one after another, as a full disk is an error then."""
    with open(path, "wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        yield file


def open_unmeasured(folder: Path, n_stars: int, n_pixels: int) -> np.ndarray | None:
    """Map the bits of unmeasured pixels (uint8 array, shape (n_stars, ceil(n_pixels / 8))); None without the file."""
    path = Path(folder) / UNMEASURED
    if not path.exists():
        return None
    check_regular(path)
    with reading(path, "cannot be read", _REBUILD):
        bits = np.lib.format.open_memmap(path, mode="r")
    if bits.dtype != np.uint8 or bits.shape != (n_stars, -(-n_pixels // 8)) or not bits.flags.c_contiguous:
        raise BadInputError(f"{path}: {bits.dtype} of shape {bits.shape}, which does not fit features.npy; {_REBUILD}")
    return bits


def read_low_rank(folder: Path, n_stars: int) -> tuple[LowRankModel, Coordinates] | None:
    """Read the model and map the coordinates of all stars; None without them.

    Raises
    ------
    BadInputError
        If they are damaged or do not fit together.
    """
    paths = [Path(folder) / name for name in (_LOW_RANK, COORDINATES, COORDINATE_ERRORS)]
    if not all(path.exists() for path in paths):
        return None
    for path in paths:
        check_regular(path)
    # numpy leaves a file open that it was given by name and cannot read.
    with (
        reading(paths[0], "damaged", _REBUILD),
        open(paths[0], "rb") as file,
        np.load(file, allow_pickle=False) as archive,
    ):
        check_unpacked_size(archive.zip)
        arrays = {name: archive[name] for name in archive.files if name != "header"}
        low_rank = LowRankModel.from_file(json.loads(str(archive["header"])), arrays)
    values = _open_rows(paths[1], (n_stars, 1 + low_rank.rank), np.float32)
    bounds = np.cumsum([n_triangle(n) for n in low_rank.ranks])
    roots = _open_rows(paths[2], (n_stars, int(bounds[-1])), ROOT_DTYPE)
    return low_rank, Coordinates(values[:, 1:], tuple(np.split(roots, bounds[:-1], axis=1)), values[:, 0])


def _open_rows(path, shape, dtype):
    with reading(path, "damaged", _REBUILD):
        array = np.lib.format.open_memmap(path, mode="r")
    if array.dtype != dtype or array.shape != shape or not array.flags.c_contiguous:
        raise BadInputError(
            f"{path}: {array.dtype} of shape {array.shape}, expected {np.dtype(dtype)} of {shape}; {_REBUILD}"
        )
    return array
