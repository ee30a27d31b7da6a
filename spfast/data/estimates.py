"""The file of a survey folder that holds what bad pixels and missing magnitudes are estimated from."""

import json
from pathlib import Path

import numpy as np

from spfast.data.spectra.bad_pixels import SpectrumFactors
from spfast.data.spectra.continuum import chip_pixels
from spfast.errors import reading
from spfast.files import check_regular
from spfast.model.band_regression import BandRegression
from spfast.model.layout import FeatureLayout
from spfast.model.model_file import check_unpacked_size
from spfast.model.recipe import PixelFactors, estimate_arrays, estimate_entries, estimates_from

__all__ = ["ESTIMATES", "pixel_factors", "read_estimates", "spectrum_factors", "write_estimates"]

ESTIMATES = "estimates.npz"


def pixel_factors(factors: SpectrumFactors | None, layout: FeatureLayout) -> PixelFactors | None:
    """What bad pixels are estimated from, on the pixels of a layout alone: the others were bad in every star."""
    if factors is None:
        return None
    columns = _columns(layout)[0]
    parts = (np.ascontiguousarray(values[..., columns]) for values in (factors.mean, factors.scatter, factors.factors))
    return PixelFactors(*parts, factors.n_spectra)


def spectrum_factors(stored: PixelFactors | None, layout: FeatureLayout, error_max: float) -> SpectrumFactors | None:
    """The same on all pixels of the chips (of arrays: on the layout's), ready to estimate."""
    if stored is None:
        return None
    columns, n_pixels = _columns(layout)
    unknown = SpectrumFactors.unknown(n_pixels, len(stored.factors), error_max, stored.n_spectra)
    for name in PixelFactors.ARRAYS:
        getattr(unknown, name)[..., columns] = getattr(stored, name)
    return unknown


def _columns(layout):
    """Where a layout's columns are among those that bad ones are estimated from, and their number.

    Of APOGEE those are all pixels of the chips, of arrays the layout's own.
    """
    if layout.columns is not None:
        return np.arange(layout.n_pixels), layout.n_pixels
    return np.searchsorted(chip_pixels(), layout.pixels), chip_pixels().size


def write_estimates(folder: Path, factors: PixelFactors | None, bands: BandRegression | None) -> None:
    """Write them; either may be None."""
    header = json.dumps(estimate_entries(factors, bands))
    with open(Path(folder) / ESTIMATES, "wb") as file:
        np.savez(file, header=np.array(header), **estimate_arrays(factors, bands))


def read_estimates(folder: Path, layout: FeatureLayout) -> tuple[PixelFactors | None, BandRegression | None]:
    """Read them; neither without the file.

    Raises
    ------
    BadInputError
        If it is damaged or does not fit the layout.
    """
    path = Path(folder) / ESTIMATES
    if not path.exists():
        return None, None
    check_regular(path)
    with (
        reading(path, "damaged", "build it again with `spfast ingest`"),
        open(path, "rb") as file,
        np.load(file, allow_pickle=False) as archive,
    ):
        check_unpacked_size(archive.zip)
        return estimates_from(json.loads(str(archive["header"])), archive, layout)
