"""What the spectra of a survey have in common, found from some of them: continuum pixels, pixels in use, factors."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.table import Table

from spfast.config import Config
from spfast.data.apogee import spectrum_reader
from spfast.data.sdss5 import read_mwm_star, spectra_to_read
from spfast.data.spectra.bad_pixels import N_SPECTRA, SpectrumFactors
from spfast.data.spectra.chunk import ChunkNormalizer
from spfast.data.spectra.continuum import chip_pixels, find_continuum_pixels, rough_normalize
from spfast.data.spectra.features import PIXMASK_BAD
from spfast.errors import BadInputError
from spfast.model.layout import FeatureLayout
from spfast.progress import Progress

__all__ = ["SurveySample", "find_continuum", "sample_spectra"]


class SurveySample(NamedTuple):
    """What a sample of a survey's spectra says.

    Attributes
    ----------
    layout : FeatureLayout
        Of the pixels that are good in at least one of them.
    factors : SpectrumFactors or None
        What bad pixels are estimated from; None if none is.
    """

    layout: FeatureLayout
    factors: SpectrumFactors | None


def sample_spectra(
    stars: Table, spectra: str | os.PathLike, continuum: list[int], config: Config, quiet: bool = True
) -> SurveySample:
    """Find pixels in use and factors from up to 512 spectra, spread evenly over the stars.

    In place of spectra that cannot be used others are taken. So rows of features can be written as they are read,
    without another look at all of them: a pixel that is good in less than one spectrum of several hundred is an
    estimate everywhere else, and worth nothing.

    Parameters
    ----------
    stars : astropy Table
        From `spfast.data.parent_sample.parent_sample`.
    spectra : path-like
        Folder of their spectra.
    continuum : list of int
        Continuum pixels.
    config : Config
    quiet : bool

    Returns
    -------
    SurveySample

    Raises
    ------
    BadInputError
        If no spectrum can be used.
    """
    sections = {name: config.to_dict()[name] for name in ("normalization", "features")}
    normalizer, paths = ChunkNormalizer(os.path.realpath(spectra), continuum, sections), spectra_to_read(stars)
    found, example = {}, ""
    with Progress("find the pixels in use by a sample of spectra", min(N_SPECTRA, len(stars)), quiet) as progress:
        for row in _in_turn(len(stars)):
            chunk = normalizer.normalize([paths[row]])
            if chunk.good.size:
                found[row] = chunk
                progress.advance(1)
            elif not example:
                example = f"{stars['FILE'][row]}: {chunk.failures[0]}"
            if len(found) == N_SPECTRA:
                break
        if not found:
            raise BadInputError(
                f"{spectra}: none of the {len(stars)} spectra can be used (e.g. {example}); check --spectra"
            )
        chunks = [found[row] for row in sorted(found)]
        layout = FeatureLayout(chip_pixels()[np.any([chunk.usable[0] for chunk in chunks], axis=0)])
        if config.features.bad_pixels != "estimated":
            return SurveySample(layout, None)
        ln_flux, ln_flux_error = (np.concatenate([chunk[part] for chunk in chunks]) for part in (1, 2))
        factors = SpectrumFactors.of(ln_flux, ln_flux_error, config.features.flux_error_max)
        return SurveySample(layout, factors)


def _in_turn(n_rows: int) -> Iterator[int]:
    """Rows that are spread evenly, as many as the sample takes, then those between them, in steps that grow finer."""
    n_steps, seen = min(N_SPECTRA, n_rows), set()
    while len(seen) < n_rows:
        for row in np.linspace(0, n_rows - 1, n_steps).astype(int).tolist():
            if row not in seen:
                seen.add(row)
                yield row
        n_steps = min(2 * n_steps, n_rows)


def find_continuum(stars: Table, spectra: str | os.PathLike, config: Config, quiet: bool = True) -> np.ndarray:
    """Find the continuum pixels from reference stars: the better half by SNR, spread evenly over log g.

    Parameters
    ----------
    stars : astropy Table
        From `spfast.data.parent_sample.parent_sample`.
    spectra : path-like
        Folder of their spectra.
    config : Config
    quiet : bool

    Returns
    -------
    int array
        Grid indices.

    Raises
    ------
    BadInputError
        If the spectra tell of too few.
    """
    norm = config.normalization
    names = ("TEFF", "LOGG", "FE_H")
    none = np.full(len(stars), np.nan)
    columns = [np.asarray(stars[name], dtype=float) if name in stars.colnames else none for name in names]
    labels = np.column_stack(columns)
    rows = labelled = np.flatnonzero(np.isfinite(labels).all(axis=1))
    snr = np.nan_to_num(np.asarray(stars["SNR"], dtype=float))
    rows = rows[np.argsort(-snr[rows], kind="stable")][: max(len(rows) // 2, norm.continuum_stars)]
    rows = rows[np.argsort(labels[rows, 1], kind="stable")]
    rows = rows[np.linspace(0, len(rows) - 1, min(norm.continuum_stars, len(rows))).astype(int)]
    read, paths = spectrum_reader(), spectra_to_read(stars)
    flux, kept, unreadable = np.empty((len(rows), chip_pixels().size), np.float32), [], []
    with Progress("find continuum pixels", len(rows), quiet) as progress:
        for row in rows:
            path, *which = [paths[row]] if isinstance(paths[row], str) else paths[row]
            path = Path(spectra, path)
            try:
                spectrum = read_mwm_star(path, *which) if which else read(path)
            except BadInputError as error:
                # It is rejected, with this reason, when all spectra are normalised.
                unreadable.append(f"{stars['FILE'][row]}: {str(error).removeprefix(f'{path}: ')}")
                continue
            mask = spectrum.pixel_mask if norm.use_pixel_mask else None
            parts = spectrum.flux, spectrum.flux_error, mask, spectrum.normalized
            flux[len(kept)] = rough_normalize(*parts, PIXMASK_BAD)
            kept.append(row)
            progress.advance()
        seen = f"{len(rows):,} of {len(stars):,} stars were tried"
        if len(labelled) < len(stars):
            lacking = [name for name, values in zip(names, labels.T, strict=True) if not np.isfinite(values).all()]
            seen += f", {len(stars) - len(labelled):,} have no {' or '.join(lacking)}"
        if unreadable:
            seen += f", {len(unreadable):,} files cannot be used, e.g. {unreadable[0]}"
        flux, labels = flux[: len(kept)], labels[kept]
        return find_continuum_pixels(flux, labels, norm.chebyshev_degree, norm.continuum_share, seen)
