"""A fitted model: its coefficients, what they belong to, predictions, and one file without pickle."""

import json
import zipfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from spfast.errors import BadInputError, reading
from spfast.files import BLANK_SEAL, is_sealed, new_file, seal
from spfast.model.budget import ErrorBudget, dust_colour
from spfast.model.header import FORMAT, LARGEST, SCHEMAS, check_header
from spfast.model.layout import FeatureLayout
from spfast.model.predict import Neighbours, linear_predictor, ln_error
from spfast.solvers.base import HISTORY_DTYPE, SolverResult

__all__ = ["FittedModel", "load_model"]

#: What a model file may unpack to: a hundred times one of 7,500 columns.
_SIZE_MAX = 256 << 20


@dataclass(frozen=True)
class FittedModel:
    """Coefficients of ``parallax = exp(features @ coef)`` (Hogg, Eilers & Rix 2019, Eq. 4) and how they were found.

    Attributes
    ----------
    coef : float64 array, shape (n_features,)
        Exact zeros off the support.
    penalized : bool array, shape (n_features,)
    penalty : float
        lambda.
    zero_point : float [mas]
        Added to every training parallax.
    n_stars : int
        Training stars.
    result : SolverResult
    layout : FeatureLayout or None
        What the columns are, if the caller said so.
    metadata : dict
        Anything JSON can hold; saved with the model. Under the names of `spfast.model.header`, only what is said there.
    budget : ErrorBudget or None
        What the total error of a prediction is made of, if it was measured.
    pixel_correlation : tuple of float
        Correlation of the errors of pixels 1, 2, ... apart; empty: independent.
    """

    coef: np.ndarray = field(repr=False)
    penalized: np.ndarray = field(repr=False)
    penalty: float
    zero_point: float
    n_stars: int
    result: SolverResult = field(repr=False)
    layout: FeatureLayout | None = field(default=None, repr=False)
    metadata: dict = field(default_factory=dict, repr=False)
    budget: ErrorBudget | None = field(default=None, repr=False)
    pixel_correlation: tuple = ()

    @property
    def neighbours(self):
        """Which features' errors are correlated (Neighbours, or None)."""
        if not self.pixel_correlation:
            return None
        if self.layout is None:
            raise BadInputError("pixel_correlation: needs a layout that says which columns are neighbouring pixels")
        return Neighbours(self.layout.grid, self.pixel_correlation)

    @property
    def n_features(self):
        """Columns of the design matrix."""
        return self.coef.size

    @property
    def n_nonzero(self):
        """Penalised columns with a coefficient other than zero."""
        return int(np.count_nonzero(self.coef[self.penalized]))

    def predict_ln(self, features, rows=None, threads=None):
        """Predict ln of the parallax, where the likelihood is Gaussian.

        Parameters
        ----------
        features, rows, threads
            As in `predict`.

        Returns
        -------
        ln_parallax : float64 array, shape (n_rows,) [ln mas]
        """
        return linear_predictor(features, self.coef, rows, threads)

    def predict_offset(self, features, rows=None, threads=None, ln_parallax=None):
        """What is subtracted from the predicted ln parallax of stars that the model did not see, by its error budget.

        Stars held out of the training set, of the same colour and the same predicted parallax, were off by so much.

        Parameters
        ----------
        features, rows, threads
            As in `predict`.
        ln_parallax : float64 array, shape (n_rows,), optional
            What `predict_ln` returns, if it is known already.

        Returns
        -------
        offset : float64 array, shape (n_rows,)
            0 without an error budget, or with one that counts the offset as an error.
        """
        ln_parallax = self.predict_ln(features, rows, threads) if ln_parallax is None else ln_parallax
        if self.budget is None or not self.budget.subtracted:
            return np.zeros_like(ln_parallax)
        return self.budget.ln_offset(dust_colour(self.layout, features, rows), ln_parallax)

    def predict(self, features, rows=None, threads=None):
        """Predict parallaxes (Eq. 4).

        Parameters
        ----------
        features : float32 or float64 array, C order, shape (n_stars, n_features)
        rows : bool mask or int array, optional
            All rows by default.
        threads : int, optional
            All processors by default.

        Returns
        -------
        parallax : float64 array, shape (n_rows,) [mas]
            NaN where a feature is NaN.

        Raises
        ------
        BadInputError
            If the matrix has other columns than the model.
        """
        with np.errstate(over="ignore"):
            return np.exp(self.predict_ln(features, rows, threads))

    def predict_ln_error(self, feature_errors, rows=None, threads=None):
        """Propagate feature errors into ln parallax (Eq. 5 without its leading factor).

        Neighbouring pixels count as correlated if the model has a ``pixel_correlation``.

        Parameters
        ----------
        feature_errors : float32 or float64 array, C order, shape (n_stars, n_features)
        rows, threads
            As in `predict`.

        Returns
        -------
        ln_error : float64 array, shape (n_rows,) [ln mas]
        """
        return ln_error(feature_errors, self.coef, rows, threads, self.neighbours)

    def predict_total_ln_error(self, features, feature_errors, unlikeness, rows=None, threads=None, known=None):
        """Total error of ln parallax of stars that the model did not see, by its error budget.

        Parameters
        ----------
        features, feature_errors : float32 or float64 array, C order, shape (n_stars, n_features)
        unlikeness : float64 array, shape (n_rows, 2)
            How unlike the training stars each star is (`spfast.catalog.flags.spectral_unlikeness`).
        rows, threads
            As in `predict`.
        known : tuple of two float64 array, shape (n_rows,), optional
            What `predict_ln` and `predict_ln_error` return, if it is known already.

        Returns
        -------
        ln_error : float64 array, shape (n_rows,) [ln mas]
            After `predict_offset` has been subtracted.

        Raises
        ------
        BadInputError
            If the model has no error budget.
        """
        if self.budget is None:
            raise BadInputError("model: it has no error budget; fit it again with `spfast fit`")
        return self.budget.ln_error(self, features, feature_errors, unlikeness, rows, threads, known)

    def predict_error(self, features, feature_errors, rows=None, threads=None):
        """Propagate independent feature errors into the predicted parallax (Eq. 5).

        Parameters
        ----------
        features, feature_errors : float32 or float64 array, C order, shape (n_stars, n_features)
        rows, threads
            As in `predict`.

        Returns
        -------
        error : float64 array, shape (n_rows,) [mas]
        """
        return self.predict(features, rows, threads) * self.predict_ln_error(feature_errors, rows, threads)

    def for_layout(self, layout):
        """Return the model with its coefficients arranged for another survey's columns.

        Parameters
        ----------
        layout : FeatureLayout

        Returns
        -------
        FittedModel
            The same object if the columns are the same.

        Raises
        ------
        BadInputError
            If the model has no layout, or the survey lacks a column with a non-zero coefficient.
        """
        if self.layout is None:
            raise BadInputError(
                "model: it was fitted without a layout, so its columns cannot be found in another survey"
            )
        if layout == self.layout:
            return self
        position = {name: j for j, name in enumerate(layout.names)}
        names = self.layout.names
        used = [(name, c) for name, c in zip(names, self.coef, strict=True) if c != 0.0]
        missing = [name for name, _ in used if name not in position]
        if missing:
            raise BadInputError(
                f"model: the survey lacks {len(missing)} of the {len(used)} columns that the model uses "
                f"(first: {missing[0]}); ingest it with the same release and pixels"
            )
        coef = np.zeros(layout.n_features)
        for name, c in used:
            coef[position[name]] = c
        budget = self.budget
        if budget is not None:
            there = np.array([names[j] in position for j in budget.columns])  # a coefficient of 0 may lack its column
            columns = np.array([position[names[j]] for j in budget.columns[there]], dtype=np.int64)
            budget = replace(budget, columns=columns, factor=budget.factor[there])
        return replace(self, coef=coef, penalized=layout.penalized, layout=layout, budget=budget)

    def save(self, path):
        """Write the model to one file (numpy's ``.npz``, no pickle), whole or not at all.

        Parameters
        ----------
        path : path-like

        Raises
        ------
        BadInputError
            If it cannot be written, or holds something under a name of ours that could not be read again.
        """
        path = Path(path)
        scalars = {k: v for k, v in asdict(self.result).items() if k not in ("coef", "history")}
        header = {
            "format": FORMAT,
            "schema": SCHEMAS[-1],
            "penalty": self.penalty,
            "zero_point": self.zero_point,
            "n_stars": self.n_stars,
            "result": scalars,
            "layout": None if self.layout is None else self.layout.to_dict(),
            "metadata": self.metadata,
            "pixel_correlation": list(self.pixel_correlation),
            "budget": None if self.budget is None else self.budget.to_dict(),
        }
        text = json.dumps(header, sort_keys=True)
        try:
            check_header(json.loads(text))
        except ValueError as error:
            raise BadInputError(f"{path}: not written ({error}); rename that entry of the model") from None
        arrays = {} if self.budget is None else {name: getattr(self.budget, name) for name in ErrorBudget.ARRAYS}
        with new_file(path) as partial:
            with open(partial, "wb") as file:
                np.savez(
                    file,
                    header=np.array(text),
                    coef=self.coef,
                    penalized=self.penalized,
                    history=self.result.history,
                    **{f"budget_{name}": array for name, array in arrays.items()},
                )
            with zipfile.ZipFile(partial, "a") as archive:
                archive.comment = BLANK_SEAL.encode()
            seal(partial)

    @classmethod
    def load(cls, path):
        """Read a model that `save` wrote.

        Raises
        ------
        BadInputError
            If the file is missing, damaged or not a model.
        """
        if not Path(path).is_file():
            raise BadInputError(f"{path}: no such model file; make one with `spfast fit`")
        with reading(path, "not a whole spfast model", "make it again with `spfast fit`"), open(path, "rb") as file:
            if not zipfile.is_zipfile(file):
                raise ValueError("it is no .npz file")
            with zipfile.ZipFile(file) as archive:
                if not is_sealed(path, archive.comment.decode("ascii", "replace") or "none"):
                    raise ValueError("it changed since it was written")
                if sum(member.file_size for member in archive.infolist()) > _SIZE_MAX:
                    raise ValueError(f"it unpacks to more than {_SIZE_MAX >> 20} MiB")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                header = json.loads(str(archive["header"]))
                check_header(header)
                coef, penalized, history = archive["coef"], archive["penalized"], archive["history"]
                numbers, budget = header.get("budget"), None
                if numbers is not None and header["schema"] == SCHEMAS[-1]:
                    arrays = {name: archive[f"budget_{name}"] for name in ErrorBudget.ARRAYS}
                    budget = ErrorBudget(**numbers, **arrays)
            return cls._from_parts(header, coef, penalized, history, budget)

    @classmethod
    def _from_parts(cls, header, coef, penalized, history, budget):
        """A model from what its file holds, the header checked; ValueError if that does not fit together."""
        if coef.ndim != 1 or coef.dtype != np.float64 or not np.all(np.abs(coef) <= LARGEST):
            raise ValueError(f"its coefficients are {coef.dtype} of shape {coef.shape}, expected finite float64")
        if penalized.shape != coef.shape or penalized.dtype != bool:
            raise ValueError("its arrays do not fit together")
        if history.ndim != 1 or history.dtype != HISTORY_DTYPE:
            raise ValueError("its arrays do not fit together")
        if not all(np.isfinite(history[name]).all() for name in HISTORY_DTYPE.names):
            raise ValueError("its history is not finite")
        layout = None if header["layout"] is None else FeatureLayout.from_dict(header["layout"])
        if layout is not None and layout.n_features != coef.size:
            raise ValueError("its layout does not fit its coefficients")
        if budget is not None:
            budget.check(coef.size)
        model = cls(
            coef,
            penalized,
            float(header["penalty"]),
            float(header["zero_point"]),
            header["n_stars"],
            SolverResult(coef=coef, history=history, **header["result"]),
            layout,
            header["metadata"],
            budget,
            tuple(float(rho) for rho in header.get("pixel_correlation", ())),
        )
        _ = model.neighbours  # raises for correlations that no noise has
        return model


def load_model(path):
    """Read a model file that `FittedModel.save` or ``spfast fit`` wrote.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    FittedModel

    Raises
    ------
    BadInputError
        If the file is missing, damaged or not a model.

    Examples
    --------
    >>> import spfast
    >>> spfast.load_model("absent.npz")
    Traceback (most recent call last):
    ...
    spfast.errors.BadInputError: absent.npz: no such model file; make one with `spfast fit`
    """
    return FittedModel.load(path)
