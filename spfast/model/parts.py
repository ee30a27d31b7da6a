"""What a model keeps of how it came about: where it is from, what was chosen, and what was fitted beside coefficients.

Each part is one entry of a model file (`spfast.model.model_file`).
"""

from dataclasses import dataclass, fields

from spfast.config import CONSTANT, FITTED
from spfast.model import kinds
from spfast.model.budget import ErrorBudget
from spfast.model.extent import TrainingExtent
from spfast.model.kinds import check_entries, entry, from_entries, kinds_of, to_entries
from spfast.model.mixture import Mixture
from spfast.model.model_file import SCHEMAS

__all__ = ["FittedZeroPoint", "Provenance", "RobustFit", "ScatterWeights", "Tuned", "part_entries", "read_parts"]


@dataclass(frozen=True)
class Provenance:
    """Where a model is from. Entries are None where that is unknown, as for a model that `spfast.fit` made.

    Attributes
    ----------
    spfast_version, survey_hash : str or None
    fold : str or None
        ``"A"``, ``"B"`` or ``"all"``.
    fold_rule : str or None
        How stars are split into A and B.
    training_stars : str or None
        Short keys of the training stars (`spfast.selection.star_keys.encode_stars`).
    config, survey_config : dict or None
        Configuration of fit, folds and tuning, and that of the survey.
    features_origin : dict
        What the survey's features were made of: ``spectra`` (kinds and releases), ``continuum`` (hash of its pixels),
        ``gaia_release`` and ``wise`` (the catalogs of its magnitudes).
    inputs : dict of str or None
        The sha256 of each file that the survey was built from.
    versions : dict of str or None
        Of Python and the packages that computed the numbers.
    command : str or None
        That makes the model again from the survey and ``config``.
    """

    spfast_version: str | None = entry(kinds.CARD, default=None)
    survey_hash: str | None = entry(kinds.CARD, default=None)
    fold: str | None = entry(kinds.CARD, default=None)
    fold_rule: str | None = entry(kinds.LINE, default=None)
    training_stars: str | None = entry(kinds.TEXT, default=None, repr=False)
    config: dict | None = entry(kinds.DICTIONARY, default=None, repr=False)
    survey_config: dict | None = entry(
        {"normalization?": kinds.DICTIONARY, "features?": kinds.DICTIONARY}, default=None, repr=False
    )
    features_origin: dict | None = entry(
        {
            "spectra?": kinds.TEXTS,
            "continuum?": kinds.TEXT_OR_NONE,
            "gaia_release?": kinds.TEXT_OR_NONE,
            "wise?": kinds.TEXT_OR_NONE,
        },
        default=None,
        repr=False,
    )
    inputs: dict | None = entry(kinds.DICTIONARY, default=None, repr=False)
    versions: dict | None = entry(kinds.DICTIONARY, default=None, repr=False)
    command: str | None = entry(kinds.LINE, default=None)


@dataclass(frozen=True)
class FittedZeroPoint:
    """A zero point that was fitted with the coefficients: ``offsets[0] + (covariates - pivots) . offsets[1:]``.

    Attributes
    ----------
    covariates, units : list of str
        What it is linear in besides a constant (`spfast.config.COVARIATES`).
    pivots : list of float
        Values of the covariates at which ``offsets[0]`` is the zero point.
    offsets : list of float [mas, mas per unit of the covariate]
    covariance : list of list of float
        Of the offsets: noise, and what a misfit of the model may do.
    noise : list of list of float
        The first of the two alone.
    correction : list of float
        What has been added to ``offsets`` for scatter in the magnitudes.
    scatter : float
        Intrinsic scatter of ln parallax.
    converged : bool
    """

    covariates: list = entry(kinds.TEXTS)
    units: list = entry(kinds.TEXTS)
    pivots: list = entry(kinds.NUMBERS)
    offsets: list = entry(kinds.NUMBERS)
    covariance: list = entry(kinds.MATRIX)
    noise: list | None = entry(kinds.ANYTHING, default=None, repr=False)
    correction: list | None = entry(kinds.ANYTHING, default=None, repr=False)
    scatter: float | None = entry(kinds.ANYTHING, default=None)
    converged: bool | None = entry(kinds.ANYTHING, default=None)

    def __post_init__(self):
        n_slopes = len(self.covariates)
        for name, length in {"units": 0, "pivots": 0, "offsets": 1, "covariance": 1}.items():
            if len(getattr(self, name)) != length + n_slopes:
                raise ValueError(f"{name} has {len(getattr(self, name))} entries, expected {length + n_slopes}")


@dataclass(frozen=True)
class Tuned:
    """What cross-validation chose, or the zero point's fit found.

    Attributes
    ----------
    summary : str
        In one line.
    grid : list of dict
        ``penalty``, ``zero_point`` and mean ``score`` of each point.
    notes : list of str
        Where the grid has grown.
    inner_folds : int
    """

    summary: str = entry(kinds.LINE)
    grid: list | None = entry(kinds.ANYTHING, default=None, repr=False)
    notes: list | None = entry(kinds.ANYTHING, default=None)
    inner_folds: int | None = entry(kinds.ANYTHING, default=None)


@dataclass(frozen=True)
class RobustFit:
    """What a robust fit found (`spfast.model.robust`).

    Attributes
    ----------
    outlier_share, outlier_width, intrinsic_scatter : float
        The mixture (`spfast.model.mixture.Mixture`).
    n_outliers : int
        Training stars that are outliers more likely than not.
    n_rounds : int
        Weighted fits.
    converged : bool
        Whether they have settled.
    """

    outlier_share: float = entry(kinds.BELOW_ONE)
    outlier_width: float = entry(kinds.ABOVE_ONE)
    intrinsic_scatter: float = entry(kinds.NOT_NEGATIVE)
    n_outliers: int = entry(kinds.ANYTHING, default=0)
    n_rounds: int = entry(kinds.ANYTHING, default=0)
    converged: bool = entry(kinds.ANYTHING, default=True)

    @property
    def mixture(self) -> Mixture:
        """The two components of residuals."""
        return Mixture(float(self.outlier_share), float(self.outlier_width), float(self.intrinsic_scatter))


@dataclass(frozen=True)
class ScatterWeights:
    """The intrinsic scatter in the weights of a fit, and the pilot fit that its predictions are from.

    Attributes
    ----------
    penalty, zero_point : float [, mas]
        Of the pilot fit.
    intrinsic_scatter : float
        s, in weights ``1 / (error^2 + (s prediction)^2)``.
    """

    penalty: float = entry(kinds.NOT_NEGATIVE)
    zero_point: float = entry(kinds.NUMBER)
    intrinsic_scatter: float = entry(kinds.NOT_NEGATIVE)


#: Parts that a file keeps under a name of their own: the model's attribute and type.
_PARTS = {
    "training_extent": ("extent", TrainingExtent),
    "zero_point_fit": ("fitted_zero_point", FittedZeroPoint),
    "tuning": ("tuned", Tuned),
    "robust": ("robust", RobustFit),
    "weights": ("scatter_weights", ScatterWeights),
}


def part_entries(model) -> dict:
    """The parts of a model as the entry ``metadata`` of its file's header."""
    parts = {name: getattr(model, attribute) for name, (attribute, _) in _PARTS.items()}
    return {
        **to_entries(model.provenance),
        "zero_point_rule": model.zero_point_rule,
        **{name: to_entries(part) for name, part in parts.items() if part is not None},
    }


def read_parts(header: dict) -> dict:
    """The typed parts of a model from its file's header (dict by attribute); ValueError for one of another kind."""
    stored = header["metadata"]
    if header.get("budget") is not None and header["schema"] == SCHEMAS[-1]:
        check_entries(header["budget"], kinds_of(ErrorBudget), "header.budget")
        if header["budget"]["growth"] + header["budget"]["weak_line_growth"] > 1 + 1e-9:
            raise ValueError("header.budget: growth and weak_line_growth are more than 1 together")
    parts = {"provenance": from_entries(Provenance, stored, "header.metadata")}
    for name, (attribute, part) in _PARTS.items():
        if name in stored:
            parts[attribute] = from_entries(part, stored[name], f"header.metadata.{name}")
    rule = stored.get("zero_point_rule", CONSTANT)
    if rule == FITTED and not {"fitted_zero_point", "tuned"} <= parts.keys():
        raise ValueError("header.metadata lacks the zero_point_fit or tuning that its zero_point_rule needs")
    ours = {*_PARTS, "zero_point_rule", *(spec.name for spec in fields(Provenance))}
    notes = {name: value for name, value in stored.items() if name not in ours} | header.get("notes", {})
    return {**parts, "zero_point_rule": rule, "metadata": notes}
