"""How the features of stars are made from their spectra and magnitudes: all that new stars need for the same features.

A survey has it from its build, and a model takes it along (`spfast.data.recipe` reads it from either).
"""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from spfast.errors import BadInputError
from spfast.model import kinds
from spfast.model.band_regression import BandRegression
from spfast.model.kinds import check_entries
from spfast.model.layout import FeatureLayout
from spfast.model.low_rank import LowRankModel

__all__ = [
    "FeatureRecipe",
    "PixelFactors",
    "check_origin",
    "estimate_arrays",
    "estimate_entries",
    "estimates_from",
    "low_rank_from_file",
    "recipe_from_file",
]


@dataclass(frozen=True)
class PixelFactors:
    """What bad pixels are estimated from, on the pixels of a layout (`spfast.data.spectra.bad_pixels`).

    Attributes
    ----------
    mean, scatter : float32 array, shape (n_pixels,)
        Of ln flux.
    factors : float32 array, C order, shape (n_factors, n_pixels)
    n_spectra : int
        What they were found from.
    """

    ARRAYS: ClassVar[tuple] = ("mean", "scatter", "factors")

    mean: np.ndarray
    scatter: np.ndarray
    factors: np.ndarray
    n_spectra: int

    def check(self, n_pixels: int) -> None:
        """Refuse arrays of other pixels, or that hold numbers that no survey has.

        Raises
        ------
        ValueError
        """
        shapes = {"mean": (n_pixels,), "scatter": (n_pixels,), "factors": (len(self.factors), n_pixels)}
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.dtype != np.float32 or array.shape != shape or not np.isfinite(array).all():
                raise ValueError(f"the {name} of what its bad pixels are estimated from is damaged")
        if self.scatter.size and self.scatter.min() <= 0:
            raise ValueError("the scatter of what its bad pixels are estimated from is damaged")


@dataclass(frozen=True)
class FeatureRecipe:
    """How features are made.

    Attributes
    ----------
    layout : FeatureLayout
    config : dict
        The sections ``normalization`` and ``features`` of the configuration.
    origin : dict
        As `spfast.data.survey.Survey.features_origin`: kinds and releases of the spectra, Gaia's release.
    continuum : tuple of int
        Pixels of the continuum on the spectra's grid.
    pixel_factors : PixelFactors or None
        What bad pixels are estimated from, if they are.
    bands : BandRegression or None
        What missing magnitudes are estimated from; None: they cannot be.
    low_rank : LowRankModel or None
        Whose coordinates take part in that, and are the features of a model that is linear in them.
    """

    layout: FeatureLayout = field(repr=False)
    config: dict = field(repr=False)
    origin: dict
    continuum: tuple = field(repr=False)
    pixel_factors: PixelFactors | None = field(repr=False)
    bands: BandRegression | None = field(repr=False)
    low_rank: LowRankModel | None = field(repr=False)

    #: What a file holds besides arrays, layout and low-rank model.
    ENTRIES: ClassVar[dict] = {
        "config": {"normalization": kinds.DICTIONARY, "features": kinds.DICTIONARY},
        "origin": {
            "spectra?": kinds.TEXTS,
            "continuum?": kinds.TEXT_OR_NONE,
            "gaia_release?": kinds.TEXT_OR_NONE,
            "wise?": kinds.TEXT_OR_NONE,
        },
        "n_spectra?": kinds.COUNT,
        "bands?": kinds.DICTIONARY,
        "low_rank?": kinds.DICTIONARY,
        "layout?": kinds.DICTIONARY,
    }

    def entries(self, model) -> dict:
        """What goes into the header of a model's file (dict); what the model holds itself is not repeated."""
        entries = {"config": self.config, "origin": self.origin}
        entries |= estimate_entries(self.pixel_factors, self.bands)
        if self.layout != model.layout:
            entries["layout"] = self.layout.to_dict()
        if self.low_rank is not None:
            entries["low_rank"] = {} if self._is_of(model) else self.low_rank.entries()
        return entries

    def arrays(self, model) -> dict:
        """The arrays that go into a model's file (dict)."""
        arrays = {"continuum": np.array(self.continuum, dtype=np.int64)}
        arrays |= estimate_arrays(self.pixel_factors, self.bands)
        if self.low_rank is not None and not self._is_of(model):
            arrays |= {f"low_rank_{name}": array for name, array in self.low_rank.arrays().items()}
        return arrays

    def _is_of(self, model):
        return model.low_rank is not None and self.low_rank.is_same(model.low_rank)

    @classmethod
    def from_file(cls, entries: dict, arrays: dict, layout, low_rank: LowRankModel | None) -> "FeatureRecipe":
        """A recipe from what `entries` and `arrays` gave, and the layout and low-rank model of the model in the file.

        Raises
        ------
        KeyError, ValueError, BadInputError
            If that does not fit together.
        """
        check_entries(entries, cls.ENTRIES, "header.recipe")
        layout = FeatureLayout.from_dict(entries["layout"]) if "layout" in entries else layout
        if not isinstance(layout, FeatureLayout):
            raise ValueError("header.recipe lacks layout")
        continuum = arrays["continuum"]
        if continuum.dtype != np.int64 or continuum.ndim != 1:
            raise ValueError("its continuum pixels are damaged")
        factors, bands = estimates_from(entries, arrays, layout)
        if (entries["config"]["features"].get("bad_pixels") == "estimated") != (factors is not None):
            raise ValueError("what its bad pixels are estimated from does not fit its configuration")
        if "low_rank" not in entries:
            low_rank = None
        elif entries["low_rank"]:
            low_rank = LowRankModel.from_file(entries["low_rank"], with_prefix(arrays, "low_rank_"))
        if bands is not None and bands.rank > (0 if low_rank is None else low_rank.rank):
            raise ValueError("the regression of its magnitudes does not fit its low-rank model")
        continuum = tuple(continuum.tolist())
        return cls(layout, entries["config"], entries["origin"], continuum, factors, bands, low_rank)


def recipe_from_file(header: dict, arrays: dict, layout, low_rank: LowRankModel | None) -> FeatureRecipe | None:
    """The recipe in a model's file, given the model's layout and low-rank model; None if the file has none."""
    if "recipe" not in header:
        return None
    return FeatureRecipe.from_file(header["recipe"], with_prefix(arrays, "recipe_"), layout, low_rank)


def low_rank_from_file(header: dict, arrays: dict) -> LowRankModel | None:
    """The low-rank model in a model's file; None if the file has none."""
    if "low_rank" not in header:
        return None
    return LowRankModel.from_file(header["low_rank"], with_prefix(arrays, "low_rank_"))


def with_prefix(arrays: dict, prefix: str) -> dict:
    """The arrays whose names begin so, under the rest of their names (dict)."""
    return {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}


def estimate_entries(factors: PixelFactors | None, bands: BandRegression | None) -> dict:
    """The numbers of what bad pixels and missing magnitudes are estimated from, for a file (dict)."""
    entries = {} if factors is None else {"n_spectra": factors.n_spectra}
    return entries if bands is None else {**entries, "bands": bands.entries()}


def estimate_arrays(factors: PixelFactors | None, bands: BandRegression | None) -> dict:
    """The arrays of the same, for a file (dict)."""
    arrays = {}
    if factors is not None:
        arrays |= {f"pixel_{name}": getattr(factors, name) for name in PixelFactors.ARRAYS}
    if bands is not None:
        arrays |= {f"bands_{name}": array for name, array in bands.arrays().items()}
    return arrays


def estimates_from(
    entries: dict, arrays: dict, layout: FeatureLayout
) -> tuple[PixelFactors | None, BandRegression | None]:
    """The two from what `estimate_entries` and `estimate_arrays` gave.

    Raises
    ------
    KeyError, ValueError
        If that does not fit together, or not the layout.
    """
    factors = bands = None
    if "n_spectra" in entries:
        parts = {name: arrays[f"pixel_{name}"] for name in PixelFactors.ARRAYS}
        factors = PixelFactors(**parts, n_spectra=entries["n_spectra"])
        factors.check(layout.n_pixels)
    if "bands" in entries:
        parts = {name: arrays[f"bands_{name}"] for name in BandRegression.ARRAYS}
        bands = BandRegression.from_file(entries["bands"], parts)
        if bands.n_bands != len(layout.magnitudes):
            raise ValueError("the regression of its magnitudes does not fit its layout")
    return factors, bands


#: What is compared of the origin of features, and what stands before it in a message.
_COMPARED = {"spectra": "", "gaia_release": "Gaia ", "wise": "W1 and W2 of "}


def check_origin(known: dict, new: dict, made_of: str, what: str) -> None:
    """Refuse new stars whose spectra or magnitudes are of another kind or release than a model's or a survey's.

    Parameters
    ----------
    known, new : dict
        As `spfast.data.survey.Survey.features_origin`; what one of them does not tell is not compared.
    made_of, what : str
        The beginning of the message, and the name of the new stars in it.

    Raises
    ------
    BadInputError
        Naming what differs.

    Examples
    --------
    >>> from spfast.model.recipe import check_origin
    >>> check_origin({"gaia_release": "dr3"}, {"gaia_release": "dr2"}, "model: trained on", "new.fits")
    Traceback (most recent call last):
    ...
    spfast.errors.BadInputError: model: trained on Gaia dr3, new.fits has Gaia dr2; bring ...
    """
    for name, word in _COMPARED.items():
        ours, theirs = (_as_set(origin.get(name)) for origin in (known, new))
        if ours and theirs - ours:
            listed = [" and ".join(word + value for value in sorted(values)) for values in (ours, theirs - ours)]
            raise BadInputError(
                f"{made_of} {listed[0]}, {what} has {listed[1]}; bring the same kind and release, or train a model on "
                "those"
            )


def _as_set(value):
    return {value} - {None} if value is None or isinstance(value, str) else set(value)
