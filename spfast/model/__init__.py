"""One fit: the feature layout, the objective, the start, the penalty path, prediction and the fitted model."""

from spfast.model.fit import fit
from spfast.model.fitted_model import FittedModel, load_model
from spfast.model.path import fit_path, penalty_max

__all__ = ["FittedModel", "fit", "fit_path", "load_model", "penalty_max"]
