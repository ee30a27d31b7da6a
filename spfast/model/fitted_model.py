"""A fitted model: its coefficients, what they belong to, predictions, and one file without pickle."""

from dataclasses import asdict, dataclass, field, fields, replace
from os import PathLike
from pathlib import Path

import numpy as np

from spfast.config import CONSTANT
from spfast.errors import BadInputError
from spfast.model.budget import ErrorBudget, dust_colour
from spfast.model.coordinates import CoordinateErrors, CoordinateLayout, layout_from
from spfast.model.extent import Position, TrainingExtent, position
from spfast.model.kinds import LARGEST, to_entries
from spfast.model.layout import FeatureLayout
from spfast.model.low_rank import LowRankModel
from spfast.model.model_file import SCHEMAS, model_hash, read_model_file, write_model_file
from spfast.model.parts import (
    FittedZeroPoint,
    Provenance,
    RobustFit,
    ScatterWeights,
    Tuned,
    part_entries,
    read_parts,
)
from spfast.model.predict import Neighbours, StarPredictions, linear_predictor, ln_error
from spfast.model.recipe import FeatureRecipe, low_rank_from_file, recipe_from_file
from spfast.solvers.base import HISTORY_DTYPE, SolverResult

__all__ = ["FittedModel", "as_model", "load_model"]


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
    layout : FeatureLayout, CoordinateLayout or None
        What the columns are, if the caller said so.
    low_rank : LowRankModel or None
        From which the coordinates of a `CoordinateLayout` come.
    metadata : dict
        Notes of the caller's: anything JSON can hold, saved with the model. spfast itself looks at none.
    budget : ErrorBudget or None
        What the total error of a prediction is made of, if it was measured.
    pixel_correlation : tuple of float
        Correlation of the errors of pixels 1, 2, ... apart; empty: independent.
    extent : TrainingExtent or None
        Where the training stars lie in the model's own features.
    provenance : Provenance
        Survey, fold, training stars, configuration.
    zero_point_rule : str
        By which the training parallaxes had their zero point added (`spfast.config`).
    fitted_zero_point : FittedZeroPoint or None
        Under the rule "fit".
    robust : RobustFit or None
        What a robust fit found.
    scatter_weights : ScatterWeights or None
        The intrinsic scatter in the weights, if it is in them.
    tuned : Tuned or None
        How penalty and zero point were chosen, if they were not given.
    recipe : FeatureRecipe or None
        How the features of its survey were made, so that those of new stars can be made from their files.
    licence : str or None
        Under which the model may be used, if whoever made it says so: one line, such as ``CC-BY-4.0``.
    file_hash : str or None
        What the file that it was loaded from holds as its own sha256.
    """

    coef: np.ndarray = field(repr=False)
    penalized: np.ndarray = field(repr=False)
    penalty: float
    zero_point: float
    n_stars: int
    result: SolverResult = field(repr=False)
    layout: FeatureLayout | CoordinateLayout | None = field(default=None, repr=False)
    low_rank: LowRankModel | None = field(default=None, repr=False)
    metadata: dict = field(default_factory=dict, repr=False)
    budget: ErrorBudget | None = field(default=None, repr=False)
    pixel_correlation: tuple = ()
    extent: TrainingExtent | None = field(default=None, repr=False)
    provenance: Provenance = field(default_factory=Provenance, repr=False)
    zero_point_rule: str = CONSTANT
    fitted_zero_point: FittedZeroPoint | None = field(default=None, repr=False)
    robust: RobustFit | None = field(default=None, repr=False)
    scatter_weights: ScatterWeights | None = field(default=None, repr=False)
    tuned: Tuned | None = field(default=None, repr=False)
    recipe: FeatureRecipe | None = field(default=None, repr=False)
    licence: str | None = None
    file_hash: str | None = field(default=None, repr=False, compare=False)

    @property
    def neighbours(self) -> Neighbours | None:
        """Which features' errors are correlated."""
        if not self.pixel_correlation:
            return None
        if self.layout is None:
            raise BadInputError("pixel_correlation: needs a layout that says which columns are neighbouring pixels")
        return Neighbours(self.layout.grid, self.pixel_correlation)

    @property
    def n_features(self) -> int:
        """Columns of the design matrix."""
        return self.coef.size

    @property
    def n_nonzero(self) -> int:
        """Penalised columns with a coefficient other than zero."""
        return int(np.count_nonzero(self.coef[self.penalized]))

    @property
    def pixel_coefficients(self) -> tuple[np.ndarray, np.ndarray]:
        """What each pixel's ln flux adds to ln parallax: the pixels' places on the grid, and the coefficients.

        Those of a low-rank model are for its average star: of all with the same coordinates, the smallest.

        Raises
        ------
        BadInputError
            If the model has no layout.
        """
        if self.layout is None:
            raise BadInputError("model: it has no layout, so its coefficients belong to no pixel")
        if self.low_rank is None:
            return np.asarray(self.layout.pixels, dtype=np.int64), self.coef[self.layout.n_unpenalized :]
        slope = self.layout.gradient(self.coef, np.zeros((1, self.layout.rank)))[0]
        return self.low_rank.pixels, self.low_rank.pixel_coefficients(slope)

    @property
    def columns_used(self) -> str:
        """How many of its penalised columns the model uses, in words (str)."""
        if self.low_rank is None:
            what = "columns" if self.layout is not None and not self.layout.is_spectrum else "pixels"
            return f"{self.n_nonzero:,} of {int(self.penalized.sum()):,} {what}"
        products = int(np.count_nonzero(self.coef[self.layout.n_unpenalized + self.layout.rank :]))
        return f"{self.n_nonzero - products} coordinates and {products} of their products"

    def linear_predictor(
        self, features: np.ndarray, rows: np.ndarray | None = None, threads: int | None = None
    ) -> np.ndarray:
        """The bare ``features @ coef`` (Eq. 4): what `predict_ln` is before `predict_offset` is subtracted.

        Parameters
        ----------
        features, rows, threads
            As in `predict`.

        Returns
        -------
        ln_parallax : float64 array, shape (n_rows,) [ln mas]
        """
        if self.low_rank is not None and np.ndim(features) == 2 and np.shape(features)[1] != self.n_features:
            raise BadInputError(
                f"features: {np.shape(features)[1]} columns, the model has {self.n_features}: magnitudes and "
                "coordinates of spectra; spfast.predict_survey and spfast.predict_files make them"
            )
        return linear_predictor(features, self.coef, rows, threads)

    def predict_offset(
        self,
        features: np.ndarray,
        rows: np.ndarray | None = None,
        threads: int | None = None,
        ln_parallax: np.ndarray | None = None,
    ) -> np.ndarray:
        """What is subtracted from the linear predictor of stars that the model did not see, by its error budget.

        Stars held out of the training set, of the same colour and the same predicted parallax, were off by so much.

        Parameters
        ----------
        features, rows, threads
            As in `predict`.
        ln_parallax : float64 array, shape (n_rows,), optional
            What `linear_predictor` returns, if the caller has it.

        Returns
        -------
        offset : float64 array, shape (n_rows,)
            The catalog's ``ln_offset``: 0 without an error budget, or with one that counts the offset as an error.
        """
        ln_parallax = self.linear_predictor(features, rows, threads) if ln_parallax is None else ln_parallax
        if self.budget is None or not self.budget.subtracted:
            return np.zeros_like(ln_parallax)
        return self.budget.ln_offset(dust_colour(self.layout, features, rows), ln_parallax)

    def predict_ln(
        self, features: np.ndarray, rows: np.ndarray | None = None, threads: int | None = None
    ) -> np.ndarray:
        """Predict ln of the parallax, where the likelihood is Gaussian: the catalog's ``ln_spec_parallax``.

        Parameters
        ----------
        features, rows, threads
            As in `predict`.

        Returns
        -------
        ln_parallax : float64 array, shape (n_rows,) [ln mas]
        """
        ln_parallax = self.linear_predictor(features, rows, threads)
        return ln_parallax - self.predict_offset(features, rows, threads, ln_parallax)

    def predict(self, features: np.ndarray, rows: np.ndarray | None = None, threads: int | None = None) -> np.ndarray:
        """Predict parallaxes: the catalog's ``spec_parallax``, to the bit.

        That is ``exp(features @ coef)`` (Eq. 4) for a model of `spfast.fit`. One of ``spfast fit`` or ``spfast
        catalog`` has an error budget, whose offset is taken off (`predict_offset`).

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

    def propagate_ln_error(
        self, feature_errors: np.ndarray | CoordinateErrors, rows: np.ndarray | None = None, threads: int | None = None
    ) -> np.ndarray:
        """Propagate feature errors into ln parallax (Eq. 5 without its leading factor).

        It is the part of the error that spectrum and magnitudes make: times the parallax, the catalog's
        ``spec_parallax_err``. Neighbouring pixels count as correlated if the model has a ``pixel_correlation``.

        Parameters
        ----------
        feature_errors : float16, float32 or float64 array, C order, shape (n_stars, n_features), or CoordinateErrors
        rows, threads
            As in `predict`.

        Returns
        -------
        ln_error : float64 array, shape (n_rows,) [ln mas]
        """
        return ln_error(feature_errors, self.coef, rows, threads, self.neighbours)

    def position(self, features: np.ndarray, rows: np.ndarray | None = None, threads: int | None = None) -> Position:
        """Find where stars are in the model's own features; needs a layout."""
        return position(self.coef, self.penalized, self.layout, features, rows, threads)

    def predict_ln_error(
        self,
        features: np.ndarray,
        feature_errors: np.ndarray | CoordinateErrors,
        rows: np.ndarray | None = None,
        threads: int | None = None,
    ) -> np.ndarray:
        """Predict the error of ln parallax of stars that the model did not see: the catalog's ``ln_spec_parallax_err``.

        Parameters
        ----------
        features : float32 or float64 array, C order, shape (n_stars, n_features)
        feature_errors : float16, float32 or float64 array of the same shape, or CoordinateErrors
        rows, threads
            As in `predict`.

        Returns
        -------
        ln_error : float64 array, shape (n_rows,) [ln mas]
            The total error by the model's error budget; without one, from the features alone (`propagate_ln_error`).
        """
        _same_stars(features, feature_errors)
        if self.budget is None:
            return self.propagate_ln_error(feature_errors, rows, threads)
        return self.predict_stars(features, feature_errors, rows, threads).total_ln_error

    def predict_stars(
        self,
        features: np.ndarray,
        feature_errors: np.ndarray | CoordinateErrors,
        rows: np.ndarray | None = None,
        threads: int | None = None,
    ) -> StarPredictions:
        """All that the model says of stars: parallax, offset, errors, and whether it should be trusted on them.

        Parameters
        ----------
        features : float32 or float64 array, C order, shape (n_stars, n_features)
        feature_errors : float16, float32 or float64 array of the same shape, or CoordinateErrors
        rows, threads
            As in `predict`.

        Returns
        -------
        StarPredictions
        """
        _same_stars(features, feature_errors)
        ln_parallax = self.linear_predictor(features, rows, threads)
        from_features = self.propagate_ln_error(feature_errors, rows, threads)
        where = None if self.extent is None else self.position(features, rows, threads)
        total, offset = None, np.zeros_like(ln_parallax)
        if self.budget is not None:
            unlikeness = np.ones((ln_parallax.size, 2)) if where is None else self.extent.unlikeness(where)
            errors = (ln_parallax, from_features)
            total = self.budget.ln_error(self, features, feature_errors, unlikeness, rows, threads, errors)
            offset = self.predict_offset(features, rows, threads, ln_parallax)
        outside = None if where is None else self.extent.excludes(where)
        return StarPredictions(ln_parallax, offset, from_features, total, outside)

    def predict_error(
        self,
        features: np.ndarray,
        feature_errors: np.ndarray | CoordinateErrors,
        rows: np.ndarray | None = None,
        threads: int | None = None,
    ) -> np.ndarray:
        """Predict the errors of `predict`: the catalog's ``spec_parallax_err_total``, to the bit.

        Parameters
        ----------
        features : float32 or float64 array, C order, shape (n_stars, n_features)
        feature_errors : float16, float32 or float64 array of the same shape, or CoordinateErrors
        rows, threads
            As in `predict`.

        Returns
        -------
        error : float64 array, shape (n_rows,) [mas]
            The total error by the model's error budget. A model without one, as `spfast.fit` makes it, knows the part
            from the features alone (Eq. 5), the catalog's ``spec_parallax_err``.
        """
        ln_error = self.predict_ln_error(features, feature_errors, rows, threads)
        return self.predict(features, rows, threads) * ln_error

    def for_layout(self, layout: FeatureLayout) -> "FittedModel":
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
        if self.low_rank is not None:
            self._check_low_rank(layout)
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

    def _check_low_rank(self, layout):
        """Refuse a layout that lacks a magnitude, or all of the pixels; single pixels count as not measured."""
        common = np.intersect1d(self.low_rank.pixels, layout.pixels)
        ours, theirs = (one.names_of(common) for one in (self.layout, layout))
        if ours != theirs:
            first = next(i for i, (one, other) in enumerate(zip(ours, theirs, strict=True)) if one != other)
            raise BadInputError(
                f"model: the survey is of another spectrograph, its pixels have other names (first: {theirs[first]}, "
                f"the model's {ours[first]}); give spectra of the model's kind, on its wavelengths"
            )
        lacking = [name for name in self.layout.magnitudes if name not in layout.magnitudes]
        lacking = lacking or ([] if np.isin(self.low_rank.pixels, layout.pixels).any() else ["every pixel"])
        if lacking:
            raise BadInputError(
                f"model: the survey lacks {lacking[0]}, which the model uses; ingest it with the same release and "
                "pixels"
            )

    def save(self, path: str | Path) -> None:
        """Write the model to one file (numpy's ``.npz``, no pickle), whole or not at all.

        Parameters
        ----------
        path : path-like

        Raises
        ------
        BadInputError
            If it cannot be written, or holds something that could not be read again.
        """
        # The same model gives the same bytes: no time is in them, neither of day nor of work.
        history = self.result.history.copy()
        history["seconds"] = 0.0
        header = {
            "penalty": self.penalty,
            "zero_point": self.zero_point,
            "n_stars": self.n_stars,
            "result": {k: v for k, v in asdict(self.result).items() if k not in ("coef", "history", "seconds")},
            "layout": None if self.layout is None else self.layout.to_dict(),
            "metadata": part_entries(self),
            "notes": self.metadata,
            "pixel_correlation": list(self.pixel_correlation),
            "budget": None if self.budget is None else to_entries(self.budget),
        }
        arrays = {"coef": self.coef, "penalized": self.penalized, "history": history}
        if self.budget is not None:
            arrays |= {f"budget_{name}": getattr(self.budget, name) for name in ErrorBudget.ARRAYS}
        if self.low_rank is not None:
            header["low_rank"] = self.low_rank.entries()
            arrays |= {f"low_rank_{name}": array for name, array in self.low_rank.arrays().items()}
        if self.recipe is not None:
            header["recipe"] = self.recipe.entries(self)
            arrays |= {f"recipe_{name}": array for name, array in self.recipe.arrays(self).items()}
        if self.licence is not None:
            header["licence"] = self.licence
        write_model_file(path, header, arrays, check=read_parts)

    @classmethod
    def load(cls, path: str | Path) -> "FittedModel":
        """Read a model that `save` wrote.

        Raises
        ------
        BadInputError
            If the file is missing, damaged or not a model.
        """
        return replace(read_model_file(path, cls._from_file), file_hash=model_hash(path))

    @classmethod
    def _from_file(cls, header, arrays):
        """A model from what its file holds, the header checked; ValueError if that does not fit together."""
        coef, penalized, history = (arrays[name] for name in ("coef", "penalized", "history"))
        if coef.ndim != 1 or coef.dtype != np.float64 or not np.all(np.abs(coef) <= LARGEST):
            raise ValueError(f"its coefficients are {coef.dtype} of shape {coef.shape}, expected finite float64")
        if penalized.shape != coef.shape or penalized.dtype != bool:
            raise ValueError("its arrays do not fit together")
        if history.ndim != 1 or history.dtype != HISTORY_DTYPE:
            raise ValueError("its arrays do not fit together")
        if not all(np.isfinite(history[name]).all() for name in HISTORY_DTYPE.names):
            raise ValueError("its history is not finite")
        layout = None if header["layout"] is None else layout_from(header["layout"])
        if layout is not None and layout.n_features != coef.size:
            raise ValueError("its layout does not fit its coefficients")
        low_rank = low_rank_from_file(header, arrays)
        if (low_rank is not None) != isinstance(layout, CoordinateLayout) or (
            low_rank is not None and layout.rank > low_rank.rank
        ):
            raise ValueError("its layout does not fit its low-rank model")
        budget, numbers = None, header.get("budget")
        if numbers is not None and header["schema"] == SCHEMAS[-1]:  # older ones had another, which is not used
            numbers = {spec.name: numbers[spec.name] for spec in fields(ErrorBudget) if spec.name in numbers}
            budget = ErrorBudget(**numbers, **{name: arrays[f"budget_{name}"] for name in ErrorBudget.ARRAYS})
            budget.check(coef.size)
        scalars = {
            spec.name: header["result"][spec.name] for spec in fields(SolverResult) if spec.name in header["result"]
        }
        model = cls(
            coef,
            penalized,
            float(header["penalty"]),
            float(header["zero_point"]),
            header["n_stars"],
            SolverResult(coef=coef, history=history, **{"seconds": 0.0, **scalars}),
            layout,
            low_rank=low_rank,
            budget=budget,
            pixel_correlation=tuple(float(rho) for rho in header.get("pixel_correlation", ())),
            recipe=recipe_from_file(header, arrays, layout, low_rank),
            licence=header.get("licence"),
            **read_parts(header),
        )
        _ = model.neighbours  # raises for correlations that no noise has
        return model


def _same_stars(features, feature_errors):
    """Refuse errors of other stars than the features: one row would count for all."""
    n_errors = len(getattr(feature_errors, "magnitude_errors", feature_errors))
    if n_errors != len(features):
        raise BadInputError(
            f"feature_errors: {n_errors} rows, features has {len(features)}; give those of the same stars"
        )


def load_model(path: str | Path) -> FittedModel:
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


def as_model(model: FittedModel | str | PathLike) -> FittedModel:
    """A model, loaded if it is given by its path.

    Raises
    ------
    BadInputError
        For anything else, or as `load_model`.
    """
    if isinstance(model, FittedModel):
        return model
    if isinstance(model, str | PathLike):
        return load_model(model)
    raise BadInputError(f"model: got {type(model).__name__}, expected a fitted model or the path of its file")
