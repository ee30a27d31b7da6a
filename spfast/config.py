"""Every number a run depends on, in one frozen object: defaults, presets, a TOML file, then the caller's own values."""

import dataclasses
import math
import numbers
import tomllib
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from spfast.errors import BadInputError, SpfastWarning, reading
from spfast.files import check_regular

__all__ = [
    *("AUTO", "CONSTANT", "FITTED", "LINDEGREN", "RELEASE", "OWN_ZERO_POINT", "COVARIATES", "ZERO_POINT", "BEST_SNR"),
    *("GAIA_RELEASES",),
    *("MISSING_NUMBERS", "SMALLEST_PARALLAX_ERROR"),
    *(
        "Config",
        "LATER",
        "PRESETS",
        "load_config",
        "penalty_settings",
        "resolve_config",
        "split_names",
        "warn_of_zero_point",
        "zero_point_in_mas",
        "zero_point_settings",
    ),
]


#: Rules for the penalty and the zero point: the number given, one that cross-validation chooses within a model's own
#: training stars, one that is fitted with the coefficients, that of Gaia DR3 (Lindegren et al. 2021), and that of the
#: release that the parallaxes are from (`spfast.archive.releases`).
CONSTANT, AUTO, FITTED, LINDEGREN, RELEASE = "constant", "auto", "fit", "lindegren2021", "release"
#: Releases of Gaia that a table may be of.
GAIA_RELEASES = ("dr2", "dr3", "dr4")
#: Rules whose zero point is a model's own and kept with it; under the others each star has its own before any fit.
OWN_ZERO_POINT = (CONSTANT, AUTO, FITTED)
#: What a fitted zero point may be linear in besides a constant, and its unit.
COVARIATES = {"G": "mag", "BP-RP": "mag", "ecl_lat": "deg"}
#: The paper's zero point, of Gaia DR2 [mas].
ZERO_POINT = 0.0483
#: "Best" stars: raw Gaia parallax over error at least this (Hogg, Eilers & Rix 2019).
BEST_SNR = 20.0
#: What surveys write for "no value", as single precision may round them; -9999.99 and the like besides.
MISSING_NUMBERS = (-999.0, -999.9, -999.99, -999.999, -9999.0, -99999.0)
#: An error below this is none that Gaia can have [mas]: its best are near 0.01.
SMALLEST_PARALLAX_ERROR = 1e-3
#: A zero point beyond this is none that Gaia can have [mas]: its largest are near 0.1.
_LARGEST_ZERO_POINT = 1.0


def _one_of(*choices):
    """A field with few values, the first its default: a wrong one would decide on hours of work."""
    return field(default=choices[0], metadata={"choices": choices})


def _number(default, low=-math.inf, high=math.inf):
    """A field of a finite number, or of a list of them, that means nothing outside its range."""
    return field(default=default, metadata={"range": (low, high)})


def _cut(default, low=-math.inf):
    """A bound of a cut: infinity is a cut that is off."""
    return field(default=default, metadata={"range": (low, math.inf), "open": True})


def _names(*choices):
    """A field of names with commas between them, none by default."""
    return field(default="", metadata={"names": choices})


class _Section:
    """A section of the configuration: each value is checked against what stands beside its field."""

    def __post_init__(self):
        for spec in dataclasses.fields(self):
            object.__setattr__(self, spec.name, _checked(type(self), spec, getattr(self, spec.name)))

    @classmethod
    def choices(cls, key):
        """The values that a field may have (tuple of str), the default first."""
        return next(spec for spec in dataclasses.fields(cls) if spec.name == key).metadata["choices"]


@dataclass(frozen=True)
class SampleConfig(_Section):
    """Cuts that define the Parent Sample (Hogg, Eilers & Rix 2019, Sec. 4; Eq. 6, 7)."""

    logg_min: float = _cut(0.0)  # exclusive [dex]
    logg_max: float = _cut(2.2)  # inclusive [dex]
    jk_offset: float = _cut(0.4)  # Eq. 6: J-K < offset + slope (BP-RP) [mag]
    jk_slope: float = _cut(0.45)  # likewise
    hw2_min: float = _cut(-0.05)  # Eq. 7: H-W2 > this [mag]
    gaia_release: str = _one_of(AUTO, *GAIA_RELEASES)  # of the Gaia table; "auto": by what the table holds
    exclude_variable: bool = True  # Gaia phot_variable_flag == 'VARIABLE'
    missing_bands: str = _one_of("estimated", "rejected")  # magnitudes that a star lacks, from its others and spectrum
    bands_min: int = _number(4, 1, 8)  # bands that a star needs if others are estimated
    exclude_flagged: bool = False  # STARFLAG / ASPCAPFLAG bad bits: flagged in the catalog, cut only if asked


@dataclass(frozen=True)
class TrainingConfig(_Section):
    """Cuts that define the Training Set (Hogg, Eilers & Rix 2019, Eq. 8-10)."""

    parallax_error_max: float = _cut(0.1, 0.0)  # exclusive [mas]
    visibility_periods_min: int = 8  # inclusive
    astrometric_chi2_max: float = _cut(35.0)  # chi2_al / sqrt(n_good_obs_al - 5), inclusive


@dataclass(frozen=True)
class NormalizationConfig(_Section):
    """Pseudo-continuum and bad pixels."""

    continuum_file: str = ""  # pixel indices on the 8575 grid; empty: found from the survey's own spectra
    continuum_share: float = _number(0.25, 0.0, 1.0)  # of the pixels, when found from the spectra
    continuum_stars: int = _number(1000, 1, 1_000_000)  # reference stars to find them with, at most
    chebyshev_degree: int = _number(2, 0, 20)  # of each detector's pseudo-continuum
    off_continuum_variance: float = _number(9.0, 0.0)  # v in 1/(sigma^2 + v) off the continuum pixels
    weight_power: int = _number(1, 1, 2)  # 1: weights 1/variance; 2: the authors' code, which passed them as 1/sigma
    use_pixel_mask: bool = True  # honour APOGEE_PIXMASK bits 0-7 and 14 where the file has a mask
    bad_flux_error: float = _number(3.0, 1e-6, 1e6)  # sigma given to a bad pixel
    flux_error_max: float = _number(0.3, 1e-30, 1e30)  # after division, above this a pixel is bad
    grow_mask: int = _number(1, 0, 1000)  # pixels on either side


@dataclass(frozen=True)
class FeatureConfig(_Section):
    """From normalised spectra and magnitudes to the feature row (Hogg, Eilers & Rix 2019, Eq. 11)."""

    flux_min: float = _number(0.01, 1e-30, 1e30)  # normalised flux is cut to this
    flux_max: float = _number(1.2, 1e-30, 1e30)  # and to this
    flux_error_max: float = _number(0.05, 1e-30, 1e30)  # pixels with larger errors, and bad ones, are replaced
    bad_pixels: str = _one_of(
        "estimated", "one"
    )  # from the star's other pixels; or flux 1, the error cut to the maximum
    rank: int = _number(96, 0, 512)  # of the low-rank model of the spectra, at most; 0: none is made
    g_error: float = _number(0.003, 1e-6, 10.0)  # of G, BP and RP [mag] in tables that give none, as SDSS-V's summaries
    bp_error: float = _number(0.01, 1e-6, 10.0)  # likewise [mag]
    rp_error: float = _number(0.01, 1e-6, 10.0)  # likewise [mag]
    magnitude_error_factor: float = _number(1.0857362047581296, 1e-30, 1e30)  # 2.5 / ln 10; the authors' code has 1.09


@dataclass(frozen=True)
class FitConfig(_Section):
    """The objective and its solver (Hogg, Eilers & Rix 2019, Eq. 1-3)."""

    pixels: str = _one_of("low-rank", "raw")  # coordinates of the spectra and their products, or ln flux pixel by pixel
    rank: int = _number(0, 0, 512)  # coordinates; 0: by cross-validation within the model's own training stars
    products: int = _number(-1, -1, 24)  # of so many of the first coordinates; -1: by the same cross-validation
    penalty: float = _number(30.0, 0.0, 1e30)  # lambda under the rule "constant"
    penalty_rule: str = _one_of(CONSTANT, AUTO)  # "auto": by cross-validation within the model's own training stars
    zero_point: float = _number(ZERO_POINT)  # added to every Gaia parallax [mas] under the rule "constant"
    zero_point_rule: str = _one_of(RELEASE, CONSTANT, LINDEGREN, AUTO, FITTED)  # a number alone means "constant"
    zero_point_covariates: str = _names(*COVARIATES)  # under the rule "fit" it is linear in these as well
    solver: str = _one_of("prox-newton", "owlqn")
    start: str = _one_of("photometric", "burn-in")  # "burn-in": the paper's two stages
    tolerance: float = _number(1e-3, 0.0, 1.0)  # on the KKT violation, in units of lambda
    max_iterations: int = _number(0, 0, 1_000_000_000)  # 0: the solver's own default
    exact_distance_modulus: bool = False  # the magnitudes' coefficients sum to -0.2 ln 10
    intrinsic_scatter: bool = False  # weights 1/(sigma^2 + (s model)^2), s and model from stars held out
    robust: bool = False  # wrong parallaxes in a wide component of their own
    outlier_share: float = _number(0.0, 0.0, 1.0)  # of that component; 0: fitted
    outlier_width: float = _number(0.0, 0.0, 1e9)  # its standard deviation in units of the others'; 0: fitted


@dataclass(frozen=True)
class FoldConfig(_Section):
    """How stars are split into A and B."""

    split: str = _one_of("auto", "random_index", "hash")  # Gaia's, by parity; of source_id; "auto": what is there
    seed: int = 0  # enters the hash
    group: str = ""  # column of the star table whose equal values stay in one fold; empty: none


@dataclass(frozen=True)
class GalaxyConfig(_Section):
    """The Sun in the Galaxy and the map of the disc (Hogg, Eilers & Rix 2019, Figure 6)."""

    sun_distance: float = 8.122  # from the Galactic centre [kpc]
    sun_height: float = 0.025  # above the plane [kpc]
    sun_velocity_x: float = 11.1  # towards the Galactic centre [km/s]
    sun_velocity_y: float = 245.8  # along the rotation [km/s]
    sun_velocity_z: float = 7.8  # towards the north Galactic pole [km/s]
    center_ra: float = 266.4051  # of the Galactic centre [deg] (Reid & Brunthaler 2004)
    center_dec: float = -28.936175  # [deg]
    map_height: float = 0.5  # the map's stars are nearer the plane than this [kpc]
    map_angle: float = 6.0  # or than this angle seen from the Galactic centre [deg]
    map_v_z: float = 100.0  # and move across the plane by less than this [km/s]
    map_reach: float = _number(15.0, 1e-6, 1e6)  # and no farther from the Sun along x or y than this [kpc]
    map_cell: float = _number(1.0, 1e-6, 1e6)  # side of a cell [kpc]
    map_cell_stars: int = 5  # stars that a cell needs


#: The grid of penalties for as many training stars as a fold of Hogg, Eilers & Rix (2019) has, whose penalty is 30.
_PAPER_PENALTIES, _PAPER_STARS = (100.0, 50.0, 25.0, 12.5), 14_113


@dataclass(frozen=True)
class TuneConfig(_Section):
    """Cross-validation: of `spfast tune`, of the rule "auto", and for the error budget."""

    penalties: tuple = _number((), 0.0, 1e30)  # lambda; an edge that is chosen moves on; empty: `penalties_for`
    zero_points: tuple = (0.009, 0.029, 0.049, 0.069)  # [mas]; likewise
    score: str = _one_of("chi_squared", "likelihood", "scatter")  # of stars held out: as is, with scatter, the paper's
    choice: str = _one_of("minimum", "one-standard-error")
    inner_folds: int = _number(5, 2, 1000)  # within a model's training stars: for "auto" and for the error budget

    def penalties_for(self, n_stars: int) -> tuple:
        """Penalties of the grid: those given, or by default 100, 50, 25 and 12.5 for each 14,113 training stars.

        The objective is a sum over stars: lambda divided by their number says how strong a penalty is.

        Parameters
        ----------
        n_stars : int
            Training stars of the model that the penalty is chosen for.

        Examples
        --------
        >>> from spfast.config import Config
        >>> Config().tune.penalties_for(1000)
        (7.09, 3.54, 1.77, 0.886)
        """
        if self.penalties:
            return self.penalties
        return tuple(float(f"{penalty * n_stars / _PAPER_STARS:.3g}") for penalty in _PAPER_PENALTIES)


@dataclass(frozen=True)
class ErrorConfig(_Section):
    """The error of a prediction."""

    pixel_correlation: tuple = _number((), -1.0, 1.0)  # of the errors of pixels 1, 2, ... apart; empty: independent
    coefficients: str = _one_of("sandwich", "splits")  # their covariance: by formula, or from repeated inner folds
    repeats: int = _number(5, 1, 1000)  # of the inner folds, for "splits"
    offset: str = _one_of("subtracted", "counted")  # what stars held out are off by: taken off, or an error


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

    def to_dict(self) -> dict:
        """Return the configuration as nested plain dictionaries (for JSON and headers)."""
        return dataclasses.asdict(self)

    def after_survey(self) -> dict:
        """The preset and the sections that are used after a survey is built: fit, folds, tuning, errors, galaxy."""
        return {key: value for key, value in self.to_dict().items() if key in ("preset", *LATER)}

    def replace(self, **sections: dict) -> "Config":
        """Return a copy with some values changed: ``config.replace(fit={"penalty": 50.0})``.

        Raises
        ------
        BadInputError
            For a section or key that does not exist, or a value of the wrong type.
        """
        return _merge(self, sections, "configuration")


#: Sections that are used after a survey is built; a survey keeps the others.
LATER = ("fit", "folds", "tune", "errors", "galaxy")
#: What each preset changes from the default: the authors' code where it differs from the text.
PRESETS = {
    "default": {},
    "hogg2019": {
        "normalization": {"weight_power": 2, "use_pixel_mask": False},
        "sample": {"missing_bands": "rejected"},
        "features": {"magnitude_error_factor": 1.09, "bad_pixels": "one", "rank": 0},
        "fit": {"pixels": "raw", "zero_point": ZERO_POINT},
        "errors": {"offset": "counted"},
    },
}


def load_config(path: str | Path | None = None, preset: str | None = None, overrides: dict | None = None) -> Config:
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
        check_regular(path)
        with reading(path, "cannot read the configuration", "check the path"):
            text = Path(path).read_bytes()
        with reading(path, "not valid TOML", "correct the file"):
            values = tomllib.loads(text.decode("utf-8-sig"))
    file_preset = values.pop("preset", "default")
    preset = preset or file_preset
    if not isinstance(preset, str) or preset not in PRESETS:
        raise BadInputError(f"preset {preset!r}: expected one of {', '.join(PRESETS)}")
    config = _merge(Config(preset=preset), PRESETS[preset], "preset")
    config = _merge(config, values, str(path))
    return _merge(config, overrides or {}, "options")


def resolve_config(
    config: Config | None = None, penalty: float | str | None = None, zero_point: float | str | None = None
) -> Config:
    """Return the configuration with the caller's own penalty and zero point.

    Parameters
    ----------
    config : Config, optional
        The defaults if left out.
    penalty : float or str, optional
        A number or "auto".
    zero_point : float [mas], Quantity or str, optional
        A number, or the name of a rule: "auto", "fit", "lindegren2021".

    Returns
    -------
    Config

    Examples
    --------
    >>> from astropy import units
    >>> from spfast.config import resolve_config
    >>> resolve_config(zero_point=40 * units.uas).fit.zero_point
    0.04
    >>> resolve_config(penalty="auto").fit.penalty_rule
    'auto'
    """
    config = Config() if config is None else config
    given = {}
    if penalty is not None:
        given |= penalty_settings(penalty)
    if zero_point is not None:
        given |= zero_point_settings(zero_point)
        warn_of_zero_point(given.get("zero_point", 0.0))
    return config.replace(fit=given)


def penalty_settings(penalty: float | str) -> dict:
    """The settings of section ``fit`` that a number or "auto" stands for (dict)."""
    if isinstance(penalty, str):
        if penalty != AUTO:
            raise BadInputError(f"penalty {penalty!r}: expected a number or {AUTO}")
        return {"penalty_rule": AUTO}
    return {"penalty": float(penalty), "penalty_rule": CONSTANT}


def zero_point_settings(zero_point: float | str) -> dict:
    """The settings of section ``fit`` that a number [mas] or Quantity, or a rule's name, stands for (dict).

    Examples
    --------
    >>> from spfast.config import zero_point_settings
    >>> zero_point_settings("lindegren2021")
    {'zero_point_rule': 'lindegren2021'}
    """
    if isinstance(zero_point, str):
        rules = FitConfig.choices("zero_point_rule")
        if zero_point not in rules:
            raise BadInputError(f"zero point {zero_point!r}: expected mas, or one of {', '.join(rules)}")
        return {"zero_point_rule": zero_point}
    return {"zero_point": zero_point_in_mas(zero_point), "zero_point_rule": CONSTANT}


def zero_point_in_mas(value, name: str = "zero_point") -> float:
    """Return one zero point in mas; a number without a unit is taken to be.

    Parameters
    ----------
    value : float or Quantity
    name : str
        For messages.

    Returns
    -------
    float [mas]

    Raises
    ------
    BadInputError
        If it is not one finite number, or its unit is not that of an angle.

    Examples
    --------
    >>> from astropy import units
    >>> from spfast.config import zero_point_in_mas
    >>> zero_point_in_mas(48 * units.uas)
    0.048
    """
    if type(value) is float and math.isfinite(value):  # as nearly always; --help does not need astropy
        return value
    from astropy import units

    shape = (len(value),) if isinstance(value, list | tuple) else getattr(value, "shape", ())
    if shape:
        raise BadInputError(
            f"{name} has the shape {shape}, expected one number in mas; zero points of single stars are added to "
            "the parallaxes before: parallax + zero_point"
        )
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    unit = getattr(value, "unit", None)
    if not is_number and unit is None and getattr(getattr(value, "dtype", None), "kind", "") not in ("i", "u", "f"):
        raise BadInputError(f"{name} is {_short(value)}, expected one number in mas")
    try:
        number = float(units.Quantity(value, units.mas).value)
    except (TypeError, ValueError):
        raise BadInputError(f"{name}: unit {unit}, expected an angle such as mas") from None
    if not math.isfinite(number) or getattr(value, "mask", False):
        raise BadInputError(f"{name} is {_short(value)}, expected one finite number in mas")
    return number


def warn_of_zero_point(zero_point: float) -> None:
    """Warn of a zero point with the sign of a published one, or too large for mas.

    Parameters
    ----------
    zero_point : float [mas]

    Warns
    -----
    SpfastWarning
        If it is negative, or larger than any that Gaia can have.
    """
    if abs(zero_point) > _LARGEST_ZERO_POINT:
        text = f"zero point {zero_point:g} mas: Gaia's are near 0.05 mas; is it in microarcseconds?"
        warnings.warn(text, SpfastWarning, 3)
    elif zero_point < 0:
        text = (
            f"zero point {zero_point:g} mas is added to every parallax and makes it smaller; published ones of Gaia "
            f"are negative because they are subtracted: if this is one, give {-zero_point:g}"
        )
        warnings.warn(text, SpfastWarning, 3)


def _merge(config, sections, where):
    for name, values in sections.items():
        section = getattr(config, name, None)
        if not dataclasses.is_dataclass(section):
            known = ", ".join(f.name for f in dataclasses.fields(Config) if f.name != "preset")
            raise BadInputError(f"{where}: unknown section [{_short(name)[1:-1]}]; expected one of {known}")
        if not isinstance(values, dict):
            raise BadInputError(f"{where}: [{name}] is {_short(values)}, expected a table of keys and values")
        specs = {spec.name: spec for spec in dataclasses.fields(section)}
        for key in values:
            if key not in specs:
                known = ", ".join(specs)
                raise BadInputError(f"{where}: unknown key {_short(key)} in [{name}]; expected one of {known}")
        if name == "fit" and "zero_point" in values and section.zero_point_rule == RELEASE:
            values = {"zero_point_rule": CONSTANT} | values  # whoever gives a number wants it to be used
        checked = {
            key: _checked(type(section), specs[key], value, f"{where}: [{name}]") for key, value in values.items()
        }
        config = dataclasses.replace(config, **{name: dataclasses.replace(section, **checked)})
    return config


def _checked(section, spec, value, where=None):
    """A value of a section's field in its type; refused if it is not one that the field may have."""
    where, kind = f"{where or section.__name__} {spec.name}", type(spec.default)
    if kind is tuple:
        return _numbers(spec, value, where)
    if kind is float and isinstance(value, numbers.Real) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise BadInputError(f"{where} is {_short(value)}, expected a {kind.__name__}")
    choices, names = spec.metadata.get("choices"), spec.metadata.get("names")
    if choices and value not in choices:
        raise BadInputError(f"{where} is {_short(value)}, expected one of {', '.join(choices)}")
    if names and not set(split_names(value)) <= set(names):
        raise BadInputError(f"{where} is {_short(value)}, expected some of {', '.join(names)}")
    return value if kind in (str, bool) else _in_range(spec, value, where)


def _in_range(spec, value, where):
    low, high = spec.metadata.get("range", (-math.inf, math.inf))
    finite = math.isfinite(value) or ("open" in spec.metadata and math.isinf(value))
    if not (finite and low <= value <= high):
        bounds = f"at least {low:g}" if math.isinf(high) else f"{low:g} to {high:g}"
        raise BadInputError(f"{where} is {value!r}, expected {'a finite number' if math.isinf(low) else bounds}")
    return value


def _numbers(spec, value, where):
    """A grid of numbers from a list (tuple of float)."""
    if not isinstance(value, list | tuple) or not all(
        isinstance(number, numbers.Real) and not isinstance(number, bool) for number in value
    ):
        raise BadInputError(f"{where} is {_short(value)}, expected a list of numbers")
    if not value and spec.default:
        raise BadInputError(f"{where} is empty, expected a list of numbers")
    return tuple(_in_range(spec, float(number), where) for number in value)


def split_names(text: str) -> list[str]:
    """The names in a text with commas between them, each once (list of str)."""
    return list(dict.fromkeys(filter(None, (name.strip() for name in text.split(",")))))


def _short(value):
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
