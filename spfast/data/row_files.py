"""The arrays of a survey that is being built, written row after row, and what is whole of them after a stop."""

import zlib
from pathlib import Path

import numpy as np

from spfast.data.spectra.chunk import FeatureRows
from spfast.data.spectra.features import ERROR_DTYPE, rounded_errors
from spfast.errors import BadInputError
from spfast.files import put_on_disk, reserve, writing
from spfast.model.layout import FeatureLayout

__all__ = ["RowFiles", "array_formats"]


def array_formats(layout: FeatureLayout) -> dict[str, tuple[np.dtype, int]]:
    """Names of the files of a survey's arrays: the type of their values and the length of a row (dict)."""
    return {
        "features.npy": (np.dtype(np.float32), layout.n_features),
        "feature_errors.npy": (np.dtype(ERROR_DTYPE), layout.n_features),
        "unmeasured.npy": (np.dtype(np.uint8), -(-layout.n_pixels // 8)),
    }


class RowFiles:
    """Files of a survey's arrays, ``.npy``, that are written from their first row to their last; a context manager.

    They are written by seek, not through a memory map, whose pages would count as this process's memory.

    Parameters
    ----------
    folder : Path
        The files in it stay as they are if they are there already.
    layout : FeatureLayout
    n_rows : int
        For which room is reserved.

    Raises
    ------
    BadInputError
        If there is no room.

    Attributes
    ----------
    n_rows : int
        Written so far.
    """

    def __init__(self, folder, layout, n_rows):
        self._first, self.n_rows = layout.n_unpenalized, 0
        self._paths = [Path(folder) / name for name in array_formats(layout)]
        self._formats = list(array_formats(layout).values())
        self._files, self._begin = [], []
        try:
            for number, (dtype, n_columns) in enumerate(self._formats):
                path = self._paths[number]
                with writing(path):
                    path.touch()
                    if not path.is_file():
                        raise BadInputError(f"{path}: expected a file of an earlier build, or none; remove it")
                    self._files.append(open(path, "r+b", buffering=0))  # noqa: SIM115
                    self._begin.append(self._write_header(number, n_rows))
                    reserve(path, self._begin[number] + n_rows * n_columns * dtype.itemsize)
        except BaseException:
            self.close()
            raise

    def _write_header(self, number, n_rows):
        """Write a file's header, which has the same length for any number of rows; where its rows begin."""
        dtype, n_columns = self._formats[number]
        header = {"descr": dtype.str, "fortran_order": False, "shape": (n_rows, n_columns)}
        self._files[number].seek(0)
        np.lib.format.write_array_header_1_0(self._files[number], header)
        return self._files[number].tell()

    def append(self, rows: FeatureRows) -> list[int]:
        """Write the rows of a chunk behind those that are there, and return the checksum of each array's."""
        checksums = []
        for number, values in enumerate(self._arrays(rows)):
            with writing(self._paths[number]):
                self._seek(number)
                _write_all(self._files[number], values)
            checksums.append(zlib.crc32(values))
        self.n_rows += rows.good.size
        return checksums

    def take(self, n_rows: int, checksums: list[int], magnitudes: tuple[np.ndarray, np.ndarray]) -> bool:
        """Say whether the next rows are those that an earlier process wrote, and go on behind them if they are.

        Parameters
        ----------
        n_rows : int
        checksums : list of int
            From `append`.
        magnitudes : tuple of float32 array, shape (n_rows, n_magnitudes)
            Of these stars: a build that was nearly whole may have filled in those that are lacking, and they are put
            back.
        """
        arrays = [self._read(number, n_rows) for number in range(len(self._files))]
        changed = []
        for number, own in enumerate((magnitudes[0], rounded_errors(magnitudes[1]))):
            if arrays[number].shape[0] == n_rows and arrays[number][:, 1 : self._first].tobytes() != own.tobytes():
                arrays[number][:, 1 : self._first] = own
                changed.append(number)
        if [zlib.crc32(values) for values in arrays] != checksums:
            return False
        for number in changed:
            with writing(self._paths[number]):
                self._seek(number)
                _write_all(self._files[number], arrays[number])
        self.n_rows += n_rows
        return True

    def _arrays(self, rows):
        arrays = rows.features, rows.feature_errors, rows.unmeasured
        return [np.ascontiguousarray(values, dtype) for values, (dtype, _) in zip(arrays, self._formats, strict=True)]

    def _seek(self, number):
        dtype, n_columns = self._formats[number]
        self._files[number].seek(self._begin[number] + self.n_rows * n_columns * dtype.itemsize)

    def _read(self, number, n_rows):
        dtype, n_columns = self._formats[number]
        self._seek(number)
        values = np.fromfile(self._files[number], dtype, n_rows * n_columns)
        return values[: values.size // n_columns * n_columns].reshape(-1, n_columns)

    def put_on_disk(self) -> None:
        """Force what was written to the disk."""
        for path in self._paths:
            put_on_disk(path)

    def finish(self) -> None:
        """Say in the headers how many rows there are, and give back the room of those that are not."""
        for number, (dtype, n_columns) in enumerate(self._formats):
            with writing(self._paths[number]):
                self._write_header(number, self.n_rows)
                self._files[number].truncate(self._begin[number] + self.n_rows * n_columns * dtype.itemsize)

    def close(self):
        for file in self._files:
            file.close()

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc, traceback):
        self.close()


def _write_all(file, values):
    """Write an array through an unbuffered file, which may take only part of it at a time."""
    left = memoryview(values).cast("B")
    while left:
        left = left[file.write(left) :]
