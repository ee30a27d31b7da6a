"""Every number a run depends on, in one frozen object: defaults, presets, a TOML file, then the caller's own values."""

import dataclasses
import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from spfast.errors import BadInputError, reading

__all__ = ["Config", "PRESETS", "load_config"]


@dataclass(frozen=True)
class SampleConfig:
    """Cuts that define the Parent Sample (Hogg, Eilers & Rix 2019, Sec. 4; Eq. 6, 7)."""

    logg_min: float = 0.0  # exclusive [dex]
    logg_max: float = 2.2  # inclusive [dex]
    jk_offset: float = 0.4  # Eq. 6: J-K < offset + slope (BP-RP) [mag]
    jk_slope: float = 0.45
    hw2_min: float = -0.05  # Eq. 7: H-W2 > this [mag]
    exclude_variable: bool = True  # Gaia phot_variable_flag == 'VARIABLE'
    exclude_flagged: bool = False  # STARFLAG / ASPCAPFLAG bad bits: flagged in the catalog, cut only if asked


@dataclass(frozen=True)
class TrainingConfig:
    """Cuts that define the Training Set (Hogg, Eilers & Rix 2019, Eq. 8-10)."""

    parallax_error_max: float = 0.1  # exclusive [mas]
    visibility_periods_min: int = 8  # inclusive
    astrometric_chi2_max: float = 35.0  # chi2_al / sqrt(n_good_obs_al - 5), inclusive


@dataclass(frozen=True)
class NormalizationConfig:
    """Pseudo-continuum and bad pixels."""

    continuum_file: str = ""  # pixel indices on the 8575 grid; empty: found from the survey's own spectra
    continuum_share: float = 0.25  # of the pixels, when found from the spectra
    continuum_stars: int = 1000  # reference stars to find them with, at most
    chebyshev_degree: int = 2
    off_continuum_variance: float = 9.0  # v in 1/(sigma^2 + v) off the continuum pixels
    weight_power: int = 1  # 1: chi-squared weights 1/variance; 2: the authors' code, which passed 1/variance as 1/sigma
    use_pixel_mask: bool = True  # honour APOGEE_PIXMASK bits 0-7 and 14 where the file has a mask
    bad_flux_error: float = 3.0  # sigma given to a bad pixel
    flux_error_max: float = 0.3  # after division, above this a pixel is bad
    grow_mask: int = 1  # pixels on either side


@dataclass(frozen=True)
class FeatureConfig:
    """From normalised spectra and magnitudes to the feature row (Hogg, Eilers & Rix 2019, Eq. 11)."""

    flux_min: float = 0.01
    flux_max: float = 1.2
    flux_error_max: float = 0.05  # pixels with larger errors, and bad ones, are replaced
    bad_pixels: str = "estimated"  # from the star's other pixels; or "one": flux 1 if bad, the error cut to the maximum
    magnitude_error_factor: float = 1.0857362047581296  # 2.5 / ln 10; the authors' code has 1.09


@dataclass(frozen=True)
class FitConfig:
    """The objective and its solver (paper Eq. 1-3)."""

    penalty: float = 30.0  # lambda under the rule "constant"
    penalty_rule: str = "constant"  # or "auto": by cross-validation within the model's own training stars
    zero_point: float = 0.0483  # added to every Gaia parallax [mas] under the rule "constant"
    zero_point_rule: str = "constant"  # "auto": as the penalty; "fit": with the coefficients; "lindegren2021": DR3's
    zero_point_covariates: str = ""  # under the rule "fit" it is linear in these as well: "G", "BP-RP", "ecl_lat"
    solver: str = "prox-newton"  # or "owlqn"
    start: str = "photometric"  # or "burn-in": the paper's two stages
    tolerance: float = 1e-3  # on the KKT violation, in units of lambda
    max_iterations: int = 0  # 0: the solver's own default
    exact_distance_modulus: bool = False  # the magnitudes' coefficients sum to -0.2 ln 10
    intrinsic_scatter: bool = False  # weights 1/(sigma^2 + (s model)^2), s and model from stars held out
    robust: bool = False  # wrong parallaxes in a wide component of their own
    outlier_share: float = 0.0  # of that component; 0: fitted
    outlier_width: float = 0.0  # its standard deviation in units of the others'; 0: fitted


@dataclass(frozen=True)
class FoldConfig:
    """How stars are split into A and B."""

    split: str = "auto"  # "random_index" (Gaia's, parity), "hash" (of source_id); "auto": the first if it is there
    seed: int = 0  # enters the hash
    group: str = ""  # column of the star table whose equal values stay in one fold; empty: none


@dataclass(frozen=True)
class GalaxyConfig:
    """The Sun in the Galaxy and the map of the disc (Hogg, Eilers & Rix 2019, Figure 6)."""

    sun_distance: float = 8.122  # from the Galactic centre [kpc]
    sun_height: float = 0.025  # above the plane [kpc]
    sun_velocity_x: float = 11.1  # towards the Galactic centre [km/s]
    sun_velocity_y: float = 245.8  # along the rotation [km/s]
    sun_velocity_z: float = 7.8  # towards the north Galactic pole [km/s]
    center_ra: float = 266.4051  # of the Galactic centre [deg] (Reid & Brunthaler 2004)
    center_dec: float = -28.936175
    map_height: float = 0.5  # the map's stars are nearer the plane than this [kpc]
    map_angle: float = 6.0  # or than this angle seen from the Galactic centre [deg]
    map_v_z: float = 100.0  # and move across the plane by less than this [km/s]
    map_reach: float = 15.0  # and no farther from the Sun along x or y than this [kpc]
    map_cell: float = 1.0  # side of a cell [kpc]
    map_cell_stars: int = 5  # stars that a cell needs


@dataclass(frozen=True)
class TuneConfig:
    """Cross-validation: of `spfast tune`, of the rule "auto", and for the error budget."""

    penalties: tuple = (100.0, 50.0, 25.0, 12.5)  # lambda; a choice on an edge makes the grid grow
    zero_points: tuple = (0.009, 0.029, 0.049, 0.069)  # [mas]; likewise
    score: str = "chi_squared"  # of stars held out; "likelihood", with intrinsic scatter; "scatter": the paper's
    choice: str = "minimum"  # or "one-standard-error"
    inner_folds: int = 5  # within a model's training stars: for "auto" and for the error budget


@dataclass(frozen=True)
class ErrorConfig:
    """The error of a prediction."""

    pixel_correlation: tuple = ()  # of the errors of pixels 1, 2, ... apart, e.g. (0.4, 0.1); empty: independent
    coefficients: str = "sandwich"  # their covariance; or "splits": the spread over repeated inner folds
    repeats: int = 5  # of the inner folds, for "splits"
    offset: str = "subtracted"  # what stars held out are off by; or "counted" as an error


@dataclass(frozen=True)
class Config:
    """The resolved configuration of a run; stored with every survey, model and catalog."""

    preset: str = "default"
    sample: SampleConfig = field(default_factory=SampleConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    normalization: NormalizationConfig = field(default_factory=NormalizationConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    folds: FoldConfig = field(default_factory=FoldConfig)
    galaxy: GalaxyConfig = field(default_factory=GalaxyConfig)
    tune: TuneConfig = field(default_factory=TuneConfig)
    errors: ErrorConfig = field(default_factory=ErrorConfig)

    def to_dict(self):
        """Return the configuration as nested plain dictionaries (for JSON and headers)."""
        return dataclasses.asdict(self)

    def replace(self, **sections):
        """Return a copy with some values changed: ``config.replace(fit={"penalty": 50.0})``.

        Raises
        ------
        BadInputError
            For a section or key that does not exist, or a value of the wrong type.
        """
        return _merge(self, sections, "configuration")


#: What each preset changes from the default: the authors' code where it differs from the text.
PRESETS = {
    "default": {},
    "hogg2019": {
        "normalization": {"weight_power": 2, "use_pixel_mask": False},
        "features": {"magnitude_error_factor": 1.09, "bad_pixels": "one"},
        "errors": {"offset": "counted"},
    },
}


#: Keys with few values, refused here since they decide on hours of work.
_CHOICES = {"bad_pixels": ("estimated", "one"), "offset": ("subtracted", "counted")}
#: Sections of cuts: infinity there is a cut that is off.
_OPEN_SECTIONS = ("sample", "training")
#: Lowest and highest value of keys that mean nothing beyond; every other number is finite besides.
_RANGES = {
    "parallax_error_max": (0.0, math.inf),
    "continuum_share": (0.0, 1.0),
    "continuum_stars": (1, 1_000_000),
    "chebyshev_degree": (0, 20),
    "off_continuum_variance": (0.0, math.inf),
    "weight_power": (1, 2),
    "bad_flux_error": (1e-6, 1e6),
    "grow_mask": (0, 1000),
    "flux_min": (1e-30, 1e30),
    "flux_max": (1e-30, 1e30),
    "flux_error_max": (1e-30, 1e30),
    "magnitude_error_factor": (1e-30, 1e30),
    "penalty": (0.0, 1e30),
    "penalties": (0.0, 1e30),
    "tolerance": (0.0, 1.0),
    "max_iterations": (0, 1_000_000_000),
    "outlier_share": (0.0, 1.0),
    "outlier_width": (0.0, 1e9),
    "inner_folds": (2, 1000),
    "pixel_correlation": (-1.0, 1.0),
    "repeats": (1, 1000),
    "map_cell": (1e-6, 1e6),
    "map_reach": (1e-6, 1e6),
}


def load_config(path=None, preset=None, overrides=None):
    """Resolve a configuration: the preset, then the TOML file, then the overrides.

    Parameters
    ----------
    path : path-like, optional
        TOML file with tables named as the sections of `Config`; it may name a ``preset``.
    preset : str, optional
        A key of `PRESETS`; wins over the file's.
    overrides : dict, optional
        ``{section: {key: value}}``.

    Returns
    -------
    Config

    Raises
    ------
    BadInputError
        For a file that cannot be read, an unknown preset, section or key, or a value of the wrong type.

    Examples
    --------
    >>> from spfast.config import load_config
    >>> load_config(preset="hogg2019", overrides={"fit": {"penalty": 50}}).fit.penalty
    50.0
    """
    values = {}
    if path is not None:
        with reading(path, "cannot read the configuration", "check the path"):
            text = Path(path).read_bytes()
        with reading(path, "not valid TOML", "correct the file"):
            values = tomllib.loads(text.decode("utf-8"))
    file_preset = values.pop("preset", "default")
    preset = preset or file_preset
    if not isinstance(preset, str) or preset not in PRESETS:
        raise BadInputError(f"preset {preset!r}: expected one of {', '.join(PRESETS)}")
    config = _merge(Config(preset=preset), PRESETS[preset], "preset")
    config = _merge(config, values, str(path))
    return _merge(config, overrides or {}, "options")


def _merge(config, sections, where):
    for name, values in sections.items():
        section = getattr(config, name, None)
        if not dataclasses.is_dataclass(section):
            known = ", ".join(f.name for f in dataclasses.fields(Config) if f.name != "preset")
            raise BadInputError(f"{where}: unknown section [{_short(name)[1:-1]}]; expected one of {known}")
        if not isinstance(values, dict):
            raise BadInputError(f"{where}: [{name}] is {_short(values)}, expected a table of keys and values")
        checked = {key: _checked(section, name, key, value, where) for key, value in values.items()}
        config = dataclasses.replace(config, **{name: dataclasses.replace(section, **checked)})
    return config


def _checked(section, name, key, value, where):
    if key not in {f.name for f in dataclasses.fields(section)}:
        known = ", ".join(f.name for f in dataclasses.fields(section))
        raise BadInputError(f"{where}: unknown key {_short(key)} in [{name}]; expected one of {known}")
    kind = type(getattr(section, key))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if kind is tuple:
        return () if value in ([], ()) and not getattr(type(section)(), key) else _numbers(name, key, value, where)
    if type(value) is not kind:
        raise BadInputError(f"{where}: [{name}] {key} is {_short(value)}, expected a {kind.__name__}")
    if value not in _CHOICES.get(key, (value,)):
        raise BadInputError(f"{where}: [{name}] {key} is {_short(value)}, expected one of {', '.join(_CHOICES[key])}")
    return value if kind in (str, bool) else _in_range(name, key, value, where)


def _in_range(name, key, value, where):
    low, high = _RANGES.get(key, (-math.inf, math.inf))
    finite = math.isfinite(value) or (name in _OPEN_SECTIONS and math.isinf(value))
    if not (finite and low <= value <= high):
        bounds = f"at least {low:g}" if math.isinf(high) else f"{low:g} to {high:g}"
        raise BadInputError(
            f"{where}: [{name}] {key} is {value!r}, expected {'a finite number' if math.isinf(low) else bounds}"
        )
    return value


def _short(value):
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _numbers(name, key, value, where):
    """A grid of numbers from a list (tuple of float)."""
    if not isinstance(value, list | tuple) or not value or not all(type(number) in (int, float) for number in value):
        raise BadInputError(f"{where}: [{name}] {key} is {_short(value)}, expected a list of numbers")
    return tuple(_in_range(name, key, float(number), where) for number in value)
