"""The file of a model: a sealed ``.npz`` without pickle, its header checked whenever it is read or written.

So nothing that uses a model has to ask again. Entries that nobody reads, such as a caller's own notes, may be anything.
"""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from spfast.errors import BadInputError, reading
from spfast.files import BLANK_SEAL, check_regular, is_sealed, new_file, seal
from spfast.model import kinds
from spfast.model.kinds import check_entries

__all__ = ["SCHEMAS", "check_header", "check_unpacked_size", "model_hash", "read_model_file", "write_model_file"]

FORMAT = "spfast model"
#: Versions that can be read, the newest last. Files of the first two have another error budget, which is not used.
SCHEMAS = (1, 2, 3)
#: What a model file may unpack to: a hundred times one of 7,500 columns.
_SIZE_MAX = 256 << 20

#: Entries of the header; a name that ends in ? may be missing. The parts of a model check their own.
_HEADER = {
    "layout": kinds.DICTIONARY_OR_NONE,
    "budget?": kinds.DICTIONARY_OR_NONE,
    "low_rank?": kinds.DICTIONARY,
    "recipe?": kinds.DICTIONARY,
    "licence?": kinds.LINE,
    "penalty": kinds.NOT_NEGATIVE,
    "zero_point": kinds.NUMBER,
    "n_stars": kinds.COUNT,
    "result": {
        "objective": kinds.NUMBER,
        "kkt_violation": kinds.NOT_NEGATIVE,
        "tolerance": kinds.NOT_NEGATIVE,
        "converged": kinds.TRUTH,
        "n_iterations": kinds.COUNT,
        "n_passes": kinds.COUNT,
        "message": kinds.LINE,
    },
    "pixel_correlation?": kinds.NUMBERS,
    "metadata": {"zero_point_rule?": kinds.CARD},
    "notes?": kinds.DICTIONARY,
}


def check_header(header: Any) -> None:
    """Refuse the header of a model file that is not what `write_model_file` writes.

    Parameters
    ----------
    header : object
        As JSON gave it.

    Raises
    ------
    ValueError
        Naming the entry, what it is and what was expected.

    Examples
    --------
    >>> from spfast.model.model_file import check_header
    >>> check_header({"format": "spfast model", "schema": 2, "layout": None, "penalty": -1.0})
    Traceback (most recent call last):
    ...
    ValueError: header.penalty is -1.0, expected a number, 0 or larger
    """
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError("not of this format")
    if header.get("schema") not in SCHEMAS:
        raise ValueError(f"its schema is {header.get('schema')}, this spfast reads {SCHEMAS[0]} to {SCHEMAS[-1]}")
    check_entries(header, _HEADER, "header")


def check_unpacked_size(archive: zipfile.ZipFile) -> None:
    """Refuse an archive that unpacks to more than any model: a small file could fill the memory.

    Raises
    ------
    ValueError
    """
    if sum(member.file_size for member in archive.infolist()) > _SIZE_MAX:
        raise ValueError(f"it unpacks to more than {_SIZE_MAX >> 20} MiB")


def write_model_file(path: str | Path, header: dict, arrays: dict, check: Callable[[dict], Any]) -> None:
    """Write a model's header and arrays, whole or not at all.

    Parameters
    ----------
    path : path-like
    header : dict
        What JSON can hold.
    arrays : dict of array
    check : callable
        Called with the header as it will be read; raises ValueError for one that could not be.

    Raises
    ------
    BadInputError
        If it cannot be written, or could not be read again.
    """
    path = Path(path)
    text = json.dumps({"format": FORMAT, "schema": SCHEMAS[-1], **header}, sort_keys=True)
    try:
        check_header(json.loads(text))
        check(json.loads(text))
    except ValueError as error:
        raise BadInputError(f"{path}: not written ({error}); correct that entry of the model") from None
    with new_file(path) as partial:
        with open(partial, "wb") as file:
            # Bytes of UTF-8, not numpy's text of four bytes a letter; numpy gives the entries no time of their own.
            np.savez_compressed(file, header=np.frombuffer(text.encode(), np.uint8), **arrays)
        with zipfile.ZipFile(partial, "a") as archive:
            archive.comment = BLANK_SEAL.encode()
        seal(partial)


def model_hash(path: str | Path) -> str:
    """The hash that a model file holds of itself (str): the sha256 of its bytes while `BLANK_SEAL` is in its place."""
    with zipfile.ZipFile(path) as archive:
        return archive.comment.decode("ascii", "replace")


def read_model_file(path: str | Path, make: Callable[[dict, Any], Any]) -> Any:
    """Read a model file and make a model of it.

    Parameters
    ----------
    path : path-like
    make : callable
        Called with the checked header and the arrays by name; raises ValueError where they do not fit together.

    Raises
    ------
    BadInputError
        If the file is missing, damaged or not a model.
    """
    check_regular(path)
    if not Path(path).is_file():
        raise BadInputError(f"{path}: no such model file; make one with `spfast fit`")
    with reading(path, "not a whole spfast model", "make it again with `spfast fit`"), open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError("it is no .npz file")
        with zipfile.ZipFile(file) as archive:
            if not is_sealed(path, archive.comment.decode("ascii", "replace") or "none"):
                raise ValueError("it changed since it was written")
            check_unpacked_size(archive)
        file.seek(0)
        with np.load(file, allow_pickle=False) as archive:
            header = json.loads(_text(archive["header"]))
            check_header(header)
            return make(header, archive)


def _text(header):
    """The header's text; files of earlier versions hold it as numpy's text."""
    return header.tobytes().decode() if header.dtype == np.uint8 else str(header)
