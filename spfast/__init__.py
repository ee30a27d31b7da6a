"""Spectrophotometric parallaxes of red giants from APOGEE spectra and Gaia, 2MASS and WISE photometry."""

import importlib
from importlib.util import find_spec

__version__ = "0.2.0"

#: Public names and where they live: a module is imported when its name is first used, so that this import is instant.
_PUBLIC = {
    "open_survey": "spfast.data.survey",
    "write_survey": "spfast.data.arrays.survey",
    "fit": "spfast.model.fit",
    "Fitter": "spfast.model.fit",
    "fit_path": "spfast.model.path",
    "fit_zero_point": "spfast.training.zero_point",
    "penalty_max": "spfast.model.path",
    "FitOptions": "spfast.model.options",
    "ProxNewton": "spfast.solvers",
    "OWLQN": "spfast.solvers",
    "RobustSettings": "spfast.model.robust",
    "FittedModel": "spfast.model.fitted_model",
    "load_model": "spfast.model.fitted_model",
    "make_catalog": "spfast.catalog.make",
    "RECOMMENDED_FLAGS": "spfast.catalog.columns",
    "predict_survey": "spfast.catalog.predict",
    "predict_files": "spfast.catalog.predict_files",
    "tune": "spfast.training.tune",
    "on_cluster": "spfast.reads.cluster",
    "cross_validate": "spfast.training.bare_arrays",
    "validate": "spfast.validation.measures",
    "ExpLinearRegressor": "spfast.model.estimator",
    "Config": "spfast.config",
    "load_config": "spfast.config",
    "SpfastError": "spfast.errors",
    "BadInputError": "spfast.errors",
    "SpfastWarning": "spfast.errors",
    "ConvergenceWarning": "spfast.errors",
}

# Listed only where it can be imported, so that `from spfast import *` and help(spfast) do without scikit-learn.
__all__ = ["__version__", *(name for name in _PUBLIC if name != "ExpLinearRegressor" or find_spec("sklearn"))]


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'spfast' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
