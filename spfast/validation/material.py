"""What a catalog is checked with: truth, survey, models, another catalog, members of clusters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from astropy.table import Table

from spfast.data.survey import Survey
from spfast.errors import BadInputError
from spfast.model.fitted_model import FittedModel, load_model
from spfast.validation.cluster_members import Members

__all__ = ["Material", "load_models"]


@dataclass(frozen=True)
class Material:
    """All that a catalog is checked with, and how; `run_checks` explains each."""

    truth: Table | None = None
    survey: Survey | None = None
    models: Mapping[str, FittedModel] | None = None
    other: Table | None = None
    members: Table | Members | None = None
    zero_point: float | None = None
    law: str | Mapping[str, float] = "wang2019"
    threads: int | None = None

    @property
    def stars(self) -> Table | None:
        """The survey's star table."""
        return None if self.survey is None else self.survey.stars


def load_models(paths: Sequence[str | PathLike]) -> dict[str, FittedModel]:
    """Load the models of one or several catalogs.

    Parameters
    ----------
    paths : list of path-like
        Folders that `spfast catalog --models` wrote, or model files.

    Returns
    -------
    dict of FittedModel
        By name: ``A`` and ``B`` for one folder, ``folder/A`` for several, a file's own name without its suffix.

    Raises
    ------
    BadInputError
        If a folder has no model, or two would have the same name.
    """
    paths = [Path(path) for path in paths]
    models = {}
    for path in paths:
        files = sorted(path.glob("model_*.npz")) if path.is_dir() else [path]
        if not files:
            raise BadInputError(f"{path}: no model_*.npz in it; expected a folder written by `spfast catalog --models`")
        for file in files:
            name = file.stem.removeprefix("model_")
            if path.is_dir() and len(paths) > 1:
                name = f"{path.name}/{name}"
            if name in models:
                raise BadInputError(f"{file}: a second model named {name}; rename its folder or file")
            models[name] = load_model(file)
    return models
