"""What each column of a design matrix is: name, kind, group, unit, wavelength, and whether the penalty acts on it."""

from dataclasses import astuple, dataclass, fields, replace

import numpy as np

from spfast.errors import BadInputError
from spfast.model.apogee import CHIPS, N_GRID, grid_wavelength

__all__ = ["CONSTANT", "Columns", "FeatureLayout", "MAGNITUDE", "MAGNITUDES", "MAGNITUDE_SUM", "OTHER", "PIXEL"]

#: Sum of the magnitudes' coefficients of ln parallax if parallax scales as 10^(-0.2 magnitude).
MAGNITUDE_SUM = -0.2 * np.log(10.0)

#: The photometric features in the order of paper Eq. 11.
MAGNITUDES = ("G", "BP", "RP", "J", "H", "K", "W1", "W2")

CONSTANT, MAGNITUDE, PIXEL, OTHER = "constant", "magnitude", "pixel", "other"
_UNITS = {CONSTANT: "", MAGNITUDE: "mag", PIXEL: "ln(flux)"}
#: Places left free between the groups of a layout: pixels so far apart are on different detectors to everybody.
_BETWEEN_GROUPS = 100
#: Decimals of a wavelength in a stored layout.
_DECIMALS = 4
#: Names are keys of tables and of files; longer ones are a mistake.
_NAME_MAX = 64


@dataclass(frozen=True)
class Columns:
    """What the columns after the magnitudes are, where they are not pixels of APOGEE; one entry a column.

    Attributes
    ----------
    names : tuple of str
        Each once.
    groups : tuple of str
        Detector, camera or band; the columns of a group stand side by side.
    kinds : tuple of str
        ``pixel`` (ln flux) or ``other``.
    units : tuple of str
        Of what was measured.
    wavelengths : tuple of float or None [Angstrom]
        They increase within a group.
    scales : tuple of float
        What was measured was divided by this.
    """

    names: tuple
    groups: tuple
    kinds: tuple
    units: tuple
    wavelengths: tuple
    scales: tuple

    def __post_init__(self):
        wavelengths = (None if w is None or w != w else round(float(w), _DECIMALS) for w in self.wavelengths)
        values = {"wavelengths": tuple(wavelengths), "scales": tuple(map(float, self.scales))}
        values |= {name: tuple(map(str, getattr(self, name))) for name in ("names", "groups", "kinds", "units")}
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if len({len(value) for value in values.values()}) != 1 or not self.names:
            raise BadInputError("layout: columns need a name, a group, a kind, a unit, a wavelength and a scale each")
        for name in self.names:
            if not name.isprintable() or not 0 < len(name) <= _NAME_MAX:
                raise BadInputError(f"layout: {name[:80]!a} names a column; expected 1 to {_NAME_MAX} characters")
        starts = [i for i in range(len(self.groups)) if i == 0 or self.groups[i] != self.groups[i - 1]]
        if len(starts) != len(set(self.groups)):
            raise BadInputError(
                "layout: the columns of a group must stand side by side; put them in the order of groups"
            )
        if not set(self.kinds) <= {PIXEL, OTHER}:
            raise BadInputError(f"layout: columns are {' and '.join(sorted(set(self.kinds)))}, expected pixel or other")
        if not all(0.0 < scale < np.inf for scale in self.scales):
            raise BadInputError("layout: the scale of a column must be a number above 0")
        for first, last in zip(starts, [*starts[1:], len(self.groups)], strict=True):
            known = np.array([w for w in self.wavelengths[first:last] if w is not None])
            if known.size and not (known[0] > 0 and np.isfinite(known).all() and np.all(np.diff(known) > 0)):
                raise BadInputError(
                    f"layout: the wavelengths of group {self.groups[first]} must increase, from above 0"
                )

    def places(self):
        """Return a place for each column, increasing, with room between the groups (list of int)."""
        begins = [i > 0 and group != self.groups[i - 1] for i, group in enumerate(self.groups)]
        return (np.arange(len(begins)) + _BETWEEN_GROUPS * np.cumsum(begins)).tolist()


@dataclass(frozen=True)
class FeatureLayout:
    """The columns ``[1, magnitudes, pixels or other columns]``, e.g. those of paper Eq. 11.

    Parameters
    ----------
    pixels : tuple of int
        Places on the spectrograph's grid, strictly increasing: one column each, after the constant and the magnitudes.
    magnitudes : tuple of str
        Names of the magnitude columns.
    columns : Columns, optional
        What stands at these places; by default ln flux of APOGEE's 8575-pixel grid.
    """

    pixels: tuple
    magnitudes: tuple = MAGNITUDES
    columns: Columns | None = None

    def __post_init__(self):
        pixels = np.asarray(self.pixels, dtype=np.int64)
        object.__setattr__(self, "pixels", tuple(pixels.tolist()))
        object.__setattr__(self, "magnitudes", tuple(self.magnitudes))
        end = N_GRID if self.columns is None else 2**31
        if pixels.size and (pixels.min() < 0 or pixels.max() >= end or np.any(np.diff(pixels) <= 0)):
            raise BadInputError(f"layout: pixels must increase strictly within 0..{end - 1}")
        if self.columns is not None and len(self.columns.names) != len(self.pixels):
            raise BadInputError(f"layout: {len(self.columns.names)} columns for {len(self.pixels)} places")

    @classmethod
    def of(cls, columns, magnitudes=MAGNITUDES):
        """Return the layout of any columns, their places counted from 0.

        Parameters
        ----------
        columns : Columns
        magnitudes : tuple of str

        Examples
        --------
        >>> from spfast.model.layout import Columns, FeatureLayout
        >>> columns = Columns(("a", "b"), ("red", "red"), ("pixel", "pixel"), ("", ""), (6500.0, 6500.5), (1, 1))
        >>> FeatureLayout.of(columns, ("G",)).names
        ['constant', 'G', 'a', 'b']
        """
        layout = cls(columns.places(), magnitudes, columns)
        twice = [name for name in layout.names if layout.names.count(name) > 1] if layout._has_twice() else []
        if twice:
            raise BadInputError(f"layout: two columns are named {twice[0]!a}; give each column a name of its own")
        return layout

    def _has_twice(self):
        return len(set(self.names)) < self.n_features

    def kept(self, chosen):
        """Return the layout with some of the pixels or other columns, where ``chosen`` (bool array) says so."""
        at = np.flatnonzero(chosen)
        columns = self.columns
        if columns is not None:
            columns = Columns(*(tuple(values[i] for i in at) for values in astuple(columns)))
        return replace(self, pixels=tuple(self.pixels[i] for i in at), columns=columns)

    @property
    def n_pixels(self):
        """Columns after the magnitudes."""
        return len(self.pixels)

    @property
    def n_unpenalized(self):
        """Columns before the first pixel: the constant and the magnitudes."""
        return 1 + len(self.magnitudes)

    @property
    def n_features(self):
        """All columns."""
        return self.n_unpenalized + self.n_pixels

    @property
    def is_spectrum(self):
        """Whether all columns after the magnitudes are ln flux, so that a low-rank model of spectra describes them."""
        return self.columns is None or set(self.columns.kinds) == {PIXEL}

    @property
    def names(self):
        """Column names, e.g. ``constant, G, ..., W2, pixel_0246, ...`` (list of str)."""
        return ["constant", *self.magnitudes, *self.names_of(self.pixels)]

    @property
    def kinds(self):
        """``constant``, ``magnitude``, ``pixel`` or ``other`` for each column (list of str)."""
        kinds = [PIXEL] * self.n_pixels if self.columns is None else self.columns.kinds
        return [CONSTANT] + [MAGNITUDE] * len(self.magnitudes) + [*kinds]

    @property
    def units(self):
        """Unit of each column (list of str)."""
        units = [_UNITS[PIXEL]] * self.n_pixels if self.columns is None else self.columns.units
        return [_UNITS[CONSTANT]] + [_UNITS[MAGNITUDE]] * len(self.magnitudes) + [*units]

    @property
    def penalized(self):
        """Columns under the L1 penalty (bool array, shape (n_features,)): all after the magnitudes."""
        penalized = np.ones(self.n_features, dtype=bool)
        penalized[: self.n_unpenalized] = False
        return penalized

    @property
    def wavelength(self):
        """Wavelength of each column [Angstrom], NaN where it has none (float64 array, shape (n_features,))."""
        return np.concatenate([np.full(self.n_unpenalized, np.nan), self.wavelength_of(self.pixels)])

    @property
    def scale(self):
        """What the measured values were divided by to give each column (float64 array, shape (n_features,))."""
        scales = np.ones(self.n_pixels) if self.columns is None else np.array(self.columns.scales)
        return np.concatenate([np.ones(self.n_unpenalized), scales])

    @property
    def grid(self):
        """Place of each column on its grid, -1 where it has none (int64 array, shape (n_features,))."""
        return np.concatenate([np.full(self.n_unpenalized, -1), np.asarray(self.pixels, dtype=np.int64)])

    @property
    def groups(self):
        """Which columns each detector, camera or band has (dict of bool array, shape (n_features,)), in their order."""
        if self.columns is None:
            wavelength = self.wavelength  # NaN of the constant and the magnitudes compares false
            return {f"{low:.0f}-{high:.0f} A": (wavelength > low) & (wavelength < high) for low, high in CHIPS}
        of = np.array([""] * self.n_unpenalized + [*self.columns.groups])
        return {group: (of == group) & self.penalized for group in dict.fromkeys(self.columns.groups)}

    def wavelength_of(self, places):
        """Return the wavelength at places of the grid (float64 array [Angstrom]), NaN where there is none."""
        if self.columns is None:
            return grid_wavelength(places)
        known = dict(zip(self.pixels, self.columns.wavelengths, strict=True))
        return np.array([known.get(int(place)) for place in places], dtype=np.float64)

    def names_of(self, places):
        """Return the names of the columns at places of the grid (list of str)."""
        if self.columns is None:
            return [f"pixel_{place:04d}" for place in places]
        known = dict(zip(self.pixels, self.columns.names, strict=True))
        return [known.get(int(place), "") for place in places]

    def position_coefs(self, coef, penalized):
        """What `spfast.model.extent` projects stars on: each group's part of ln parallax, and the weakness of lines."""
        size = np.where(penalized, np.abs(coef), 0.0)
        parts = [np.where(inside, coef, 0.0) for inside in self.groups.values()]
        return [*parts, size / (size.sum() or 1.0)]

    def to_dict(self):
        """Return the layout as a JSON-able dictionary, one record a feature."""
        records = [
            {
                "name": name,
                "kind": kind,
                "wavelength": None if np.isnan(wavelength) else round(float(wavelength), _DECIMALS),
                "unit": unit,
                "penalized": kind not in (CONSTANT, MAGNITUDE),
            }
            for name, kind, wavelength, unit in zip(self.names, self.kinds, self.wavelength, self.units, strict=True)
        ]
        if self.columns is not None:
            more = zip(self.pixels, self.columns.groups, self.columns.scales, strict=True)
            for record, (place, group, scale) in zip(records[self.n_unpenalized :], more, strict=True):
                record |= {"group": group, "place": place, "scale": scale}
        return {"features": records}

    @classmethod
    def from_dict(cls, record):
        """Rebuild a layout from `to_dict`'s dictionary; records without a place are pixels of APOGEE."""
        try:
            features = record["features"]
            after = [f for f in features if f["kind"] not in (CONSTANT, MAGNITUDE)]
            magnitudes = tuple(f["name"] for f in features if f["kind"] == MAGNITUDE)
            if any("place" in f for f in after):
                layout = cls(tuple(f["place"] for f in after), magnitudes, _columns_of(after))
                if not all(type(f["place"]) is int for f in after):
                    raise TypeError
            else:
                layout = cls(tuple(int(f["name"].removeprefix("pixel_")) for f in after), magnitudes)
            names = [f["name"] for f in features]
            matches = names == layout.names and len(set(names)) == len(names) and all(type(n) is str for n in names)
            matches &= [f["kind"] for f in features] == layout.kinds
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise BadInputError("layout: the stored feature list is damaged; build the survey or model again") from None
        if not matches:
            raise BadInputError("layout: expected a constant, then magnitudes, then pixels, each once; build it again")
        return layout


def _columns_of(records):
    """The columns that a list of stored records describes."""
    keys = {"names": "name", "groups": "group", "kinds": "kind", "units": "unit"}
    values = {spec.name: [f[keys.get(spec.name, spec.name[:-1])] for f in records] for spec in fields(Columns)}
    texts = (text for name in keys for text in values[name])
    numbers = (n for n in (*values["wavelengths"], *values["scales"]) if n is not None)
    if not all(type(text) is str for text in texts) or not all(type(n) in (int, float) for n in numbers):
        raise TypeError
    return Columns(**values)
