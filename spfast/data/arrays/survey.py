"""`spfast.write_survey`: a survey of any spectrograph, or of any columns, from arrays and a table of stars."""

import os
import warnings
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from spfast.blas import one_blas_thread
from spfast.config import Config
from spfast.data.arrays.read import open_arrays
from spfast.data.arrays.rows import FluxRows, ValueRows, check_flux_errors, detectors
from spfast.data.arrays.table import own_ids, star_table
from spfast.data.arrays.xp import read_xp
from spfast.data.columns import STAR_COLUMNS, conform_stars
from spfast.data.cuts import CutFlow, example_of_training, training_set
from spfast.data.estimates import spectrum_factors
from spfast.data.identifiers import match_names, unmatched
from spfast.data.missing_bands import COMPLETE_MIN
from spfast.data.recipe import config_like, read_recipe
from spfast.data.spectra.bad_pixels import N_SPECTRA, SpectrumFactors
from spfast.data.spectra.features import magnitude_columns, magnitude_features, rounded_errors
from spfast.data.survey import Survey
from spfast.data.tables.values import yes_or_no
from spfast.data.write_survey import SurveyWriter, clear_partial
from spfast.errors import BadInputError, SpfastWarning
from spfast.files import file_sha256
from spfast.kernels.team import resolve_threads
from spfast.lock import hold
from spfast.model.layout import OTHER, PIXEL, Columns, FeatureLayout
from spfast.progress import Progress, say

__all__ = ["ARRAYS", "write_survey"]

#: Entry of survey.json that says how the features were made of arrays.
ARRAYS = "made_of_arrays"
#: Fewer stars than these are hardly meant to train a model.
_ENOUGH_TO_TRAIN = 10


@one_blas_thread()
def write_survey(
    path,
    table=None,
    flux=None,
    *,
    columns=None,
    xp=None,
    error=None,
    ivar=None,
    mask=None,
    bad_bits=None,
    wavelength=None,
    names=None,
    id=None,
    source_id=None,
    magnitudes=None,
    gaia=None,
    gaia_release=None,
    training=None,
    normalized=True,
    windows=None,
    order=2,
    clip=(0.01, 3.0),
    error_max=0.3,
    like=None,
    config=None,
    threads=None,
    quiet=True,
) -> Survey:
    """Write a survey of any spectrograph from arrays, one row a star, and a table of the stars.

    Memory does not grow with the spectra: they are read twice, 256 stars at a time.

    Parameters
    ----------
    path : path-like
        The survey folder to make.
    table : astropy Table, path-like, dict of arrays, structured array or pandas DataFrame
        One row a star, in the order of the arrays' rows, or in any if their file has the same ids: an id, magnitudes
        and their errors, and what there is of ``source_id``, ``parallax`` and ``parallax_error`` [mas], ``ra``,
        ``dec``, labels. Columns have our names (`spfast.data.columns`), Gaia's own, or names that other surveys give
        them. All rows are used: cut the table, to giants for example, before. A file that holds a table as well needs
        none.
    flux : array, path-like, or dict of them, optional
        Shape (n_stars, n_pixels), in any unit. A ``.npy`` file is mapped; of a FITS file the images FLUX, ERROR or
        IVAR, MASK and WAVELENGTH are read; of Parquet (a file or a folder, HATS' too) the list columns of such names,
        of HDF5 the datasets. A dict has one array for each camera or arm, under its name; so have the others then.
    columns : like ``flux``, optional
        In place of a flux: features that are no flux, taken as they are.
    xp : path-like, optional
        In place of both: Gaia's XP continuous mean spectra, in a file of any format of the archive, matched by
        ``source_id``. The 110 coefficients, over the flux of G, are the columns.
    error, ivar : like ``flux``, optional
        One of them; names within a file if ``flux`` is one. A value with an ivar of 0, or of 1e-20, was not measured.
    mask : like ``flux``, optional
    bad_bits : int, optional
        Bits of the mask that make a pixel bad; by default any.
    wavelength : array of shape (n_pixels,), or dict of them, optional [Angstrom]
        Increasing; a gap begins another detector. The same for all stars: in vacuum or air, but in the stars' rest
        frame.
    names : sequence of str, optional
        Of the columns; by default from the wavelengths.
    id, source_id : str, optional
        Columns of the table; by default the usual names are looked for.
    magnitudes : sequence of str or dict, optional
        Bands; by default those of G, BP, RP, J, H, K, W1 and W2 that there are. A dict gives columns and errors:
        ``{"i": ("i_psf", "e_i_psf"), "G": ("phot_g_mean_mag", 0.003)}``.
    gaia : like ``table``, optional
        Gaia's table, matched by source_id.
    gaia_release : str, optional
        "dr2", "dr3" or "dr4": of the parallaxes; by default that which the table tells.
    training : str or bool array, optional
        Stars that may train a model, or the column that says so (yes or no, true or false, 1 or 0); besides the cuts of
        ``[training]``, of which those on columns that no star has are left out.
    normalized : bool
        The flux is near 1 and taken as it is. If not, each detector is divided by a polynomial through its continuum.
    windows : sequence of (float, float), optional [Angstrom]
        Where the continuum is; by default the polynomial goes through all pixels.
    order : int
        Of the polynomial.
    clip : (float, float)
        Bounds of the normalised flux, of which the logarithm is taken.
    error_max : float
        A pixel with a larger error of the normalised flux is bad. Bad pixels are estimated from the star's others.
    like : path-like or Survey, optional
        A survey of arrays, or a model file of one, from which to take all that says how features are made, so that the
        model, or models of that survey, can be used.
    config : Config, optional
    threads : int, optional
    quiet : bool

    Returns
    -------
    Survey

    Raises
    ------
    BadInputError
        If shapes do not fit, a wavelength does not increase, ids are there twice or match nothing, or no star is left.

    Examples
    --------
    >>> import numpy as np, spfast, tempfile
    >>> rng = np.random.default_rng(1)
    >>> flux = 1 - 0.1 * rng.random((30, 50))
    >>> table = {"sobject_id": np.arange(30) + 10**15, "phot_g_mean_mag": rng.uniform(9, 14, 30)}
    >>> table |= {"phot_g_mean_mag_error": np.full(30, 0.003), "parallax": rng.normal(0.5, 0.2, 30)}
    >>> table["parallax_error"] = np.full(30, 0.03)
    >>> wavelength, folder = np.linspace(4713, 4903, 50), tempfile.mkdtemp() + "/survey"
    >>> survey = spfast.write_survey(folder, table, flux, error=0.01 + 0 * flux, wavelength=wavelength)
    >>> survey.layout.names[:3]
    ['constant', 'G', 'flux_4713.000']
    """
    path, config = Path(path), Config() if config is None else config
    if path.exists():
        raise BadInputError(f"{path}: exists already; remove it or choose another output")
    threads = resolve_threads(threads)
    own = {"normalized": bool(normalized), "windows": _windows(windows), "order": order, "clip": _clip(clip)}
    own |= {"error_max": float(error_max), "kind": PIXEL if flux is not None else OTHER, "xp": xp is not None}
    recipe = None
    if like is not None:
        recipe = like.read_recipe() if isinstance(like, Survey) else read_recipe(like)[0]
        own = _taken_after(recipe, like, own)
    if own["windows"] and (own["normalized"] or own["kind"] == OTHER):
        raise BadInputError(
            "windows: are where the continuum is of flux that is not normalised; leave them out, or say that it is "
            "not: normalized=False (--not-normalized)"
        )
    if gaia_release is not None:
        config = config.replace(sample={"gaia_release": gaia_release})
    if sum(x is not None for x in (flux, columns, xp)) != 1:
        raise BadInputError("write_survey: give one of flux, columns and xp: what the features are made of")
    config = _config_of(config, own) if recipe is None else config_like(recipe, config)
    with hold(path), ExitStack() as stack:
        clear_partial(path)
        values = flux if columns is None else columns
        material = _Material.of(table, values, xp, gaia, error, ivar, mask, wavelength, bad_bits)
        stack.callback(material.close)
        factor = config.features.magnitude_error_factor
        more = factor, config.sample.gaia_release
        stars, id, bands = star_table(material.table, id, source_id, magnitudes, gaia, *more)
        if recipe is not None and bands != recipe.layout.magnitudes:
            theirs = ", ".join(recipe.layout.magnitudes)
            raise BadInputError(
                f"{like}: has the magnitudes {theirs}, these stars {', '.join(bands)}; give the same with magnitudes"
            )
        more = names, training, recipe, config, own, threads, quiet
        return _write(path, material, stars, id, bands, *more)


def _write(path, material, stars, id, bands, names, training, recipe, config, own, threads, quiet):
    """Write the survey in five steps.

    1. Match the arrays' rows to the stars, and cut stars with too few magnitudes.
    2. Read the arrays once: which stars can be used, which columns are good in any, a sample of stars.
    3. Make the layout; find what bad values are estimated from, and the scale of columns that are no flux.
    4. Read them again and write features.
    5. Finish the folder.
    """
    # 1.
    flow, n_all = CutFlow(stars["APOGEE_ID"], "rows of the table", quiet), len(stars)
    arrays, at = material.arrays_of(stars, id)
    keep = at >= 0
    if not keep.all():
        what = "XP coefficients" if own["xp"] else "arrays"
        flow.apply(what, keep, lambda i: material.why_not(stars, i))
        stars, at = stars[keep], at[keep]
    n_bands = np.sum([np.isfinite(np.asarray(stars[magnitude_columns(band)[0]])) for band in bands], axis=0)
    enough = n_bands >= _bands_needed(n_bands, len(bands), config.sample)
    keep = flow.apply(
        "photometry", enough, lambda i: f"{n_bands[i]} of the magnitudes {', '.join(bands)} with an error above 0"
    )
    stars, at = stars[keep], at[keep]
    if not len(stars):
        raise BadInputError(f"{path}: no star has {', '.join(bands)} and their errors; check the table")
    order = np.argsort(at, kind="stable")  # the arrays are read in their own order
    stars, at, flow.rows = stars[order], at[order], flow.rows[order]
    # 2.
    layout = _layout(arrays, names, bands, own)
    if recipe is not None:  # refused before a spectrum is read
        _same_columns(recipe, layout, np.isin(layout.names[layout.n_unpenalized :], recipe.layout.names))
    maker = _maker(arrays, layout, config, own, recipe)
    found = _first_pass(arrays, at, maker, own["kind"] == PIXEL, quiet)
    if not found.usable.any() or len(found.failures) == len(at):
        first = next(iter(found.failures.values()), "no value is good in any star")
        raise BadInputError(
            f"{path}: none of the {len(at):,} stars can be used (the first: {first}); check the arrays: is the "
            "error an ivar, or in another unit; is the flux normalised, as is said; does the mask mark good values?"
        )
    good = np.ones(len(at), bool)
    good[list(found.failures)] = False
    flow.apply("spectrum" if layout.is_spectrum else "columns", good, lambda i: found.failures[i])
    if own["kind"] == PIXEL:
        check_flux_errors(found.sample[1])
    # 3.
    chosen = found.usable
    if recipe is not None:
        chosen = np.isin(layout.names[layout.n_unpenalized :], recipe.layout.names)
        layout = _same_columns(recipe, layout, chosen)
    else:
        if own["kind"] == OTHER:
            maker.find_scale(*found.sample, layout.names[layout.n_unpenalized :])
            scales = tuple(maker.scale.tolist())
            layout = FeatureLayout(layout.pixels, bands, replace(layout.columns, scales=scales))
        layout = layout.kept(chosen)
    if own["kind"] == OTHER:
        maker.scale[chosen] = layout.columns.scales
    factors = _factors(found.sample, maker, layout, chosen, recipe, config, own)
    stars, at = stars[good], at[good]
    release, stars = stars.meta, conform_stars(stars)
    _warn_of_other_stars(stars, config)
    stars["training_set"] = training_set(stars, config) & _may_train(training, n_all, flow.rows, stars)
    if len(stars) >= _ENOUGH_TO_TRAIN and recipe is None and not np.any(stars["training_set"]):
        warnings.warn(
            f"none of the {len(stars):,} stars passes the cuts of the Training Set (e.g. "
            f"{example_of_training(stars)}); check the Gaia table and [training]",
            SpfastWarning,
            stacklevel=4,
        )
    # 4.
    largest = config.features.flux_error_max if own["kind"] == PIXEL else np.inf
    with SurveyWriter(path, layout, len(stars)) as writer, Progress("write features", len(stars), quiet) as progress:
        row, first = 0, layout.n_unpenalized
        for rows, values, errors in _blocks(arrays, at):
            part, part_error, measured, _ = maker.rows(values, errors)
            part, part_error, measured = (np.ascontiguousarray(x[:, chosen]) for x in (part, part_error, measured))
            block = slice(row, row + len(rows))
            stars["n_bad_pixels"][block] = np.sum(~measured, axis=1)
            measured &= part_error < largest
            writer.unmeasured[block] = np.packbits(~measured, axis=1)
            if factors is not None:
                factors.estimate(part, part_error)
            else:
                part_error[~measured] = config.features.flux_error_max
            features, feature_errors = writer.features[block], writer.feature_errors[block]
            features[:, 0], feature_errors[:, 0] = 1.0, 0.0
            features[:, 1:first], magnitude_errors = magnitude_features(stars[block], bands)
            feature_errors[:, 1:first] = rounded_errors(magnitude_errors)
            features[:, first:], feature_errors[:, first:] = part, rounded_errors(part_error)
            del features, feature_errors
            writer.release()
            row += len(rows)
            progress.advance(len(rows))
        # 5.
        pixels = [] if layout.columns is None else layout.pixels
        provenance = {
            ARRAYS: own | {"id": id, "what": _what(own)},
            "inputs": material.inputs,
            "continuum": {"pixels": [int(p) for p, on in zip(pixels, maker.continuum[chosen], strict=True) if on]},
            "pixel_mask": {"n_pixels": layout.n_pixels, "n_dropped": int(np.sum(~chosen))},
            "bad_pixels": None if factors is None else factors.to_dict(),
            "n_training": int(np.sum(stars["training_set"])),
            **{name: release[name] for name in ("gaia_release", "gaia_release_reason")},
        }
        survey = writer.finish(stars, flow.rejected(), flow.counts, config, provenance, recipe, threads, quiet, factors)
    say(f"{survey.info['n_training']:>10,}  of them in the Training Set; {survey.n_features:,} features", quiet)
    return survey


def _warn_of_other_stars(stars, config):
    """Warn of rows that are no luminous giants, as far as a surface gravity tells: every row is used."""
    with np.errstate(invalid="ignore"):
        above = int(np.count_nonzero(np.asarray(stars["LOGG"]) > config.sample.logg_max))
    if above:
        warnings.warn(
            f"{above:,} of {len(stars):,} stars have log g above {config.sample.logg_max:g} ([sample] logg_max), and "
            "every row is used: one model of unlike stars fits none of them well; leave them out of the table",
            SpfastWarning,
            stacklevel=5,
        )


class _Material:
    """The arrays, and the table of their stars."""

    def __init__(self, arrays, table, xp, inputs, own=None):
        self.arrays, self.table, self._xp, self.inputs, self._own = arrays, table, xp, inputs, own
        self._reasons = {}

    @classmethod
    def of(cls, table, flux, xp, gaia, error, ivar, mask, wavelength, bad_bits):
        paths = {"table": table, "gaia": gaia, "xp": xp, "arrays": flux}
        paths = {role: value for role, value in paths.items() if isinstance(value, str | os.PathLike)}
        inputs = {role: {"path": str(value)} for role, value in paths.items()}
        for role, value in paths.items():
            if role != "arrays" and Path(value).is_file():  # these may be terabytes
                inputs[role]["sha256"] = file_sha256(value)
        if xp is not None:
            if table is None:
                raise BadInputError("xp: needs a table of the stars too, with source_id and the magnitude G")
            return cls(None, table, xp, inputs)
        arrays, own = open_arrays(flux, error, ivar, mask, wavelength, bad_bits)
        table = own if table is None else table
        if table is None:
            raise BadInputError("table: not given, and the arrays come without one; give ids, magnitudes, parallaxes")
        return cls(arrays, table, None, inputs, None if own is table else own)

    def arrays_of(self, stars, id):
        """The arrays, and for each star its row in them, -1 where there is none.

        A file of arrays that has the ids too says itself which row is whose.
        """
        if self._xp is not None:
            arrays, at, self._reasons = read_xp(self._xp, stars)
            return arrays, at
        theirs = None if self._own is None else own_ids(self._own, id)
        if theirs is not None:
            at = match_names(stars["APOGEE_ID"], theirs)
            if not np.any(at >= 0):
                raise BadInputError(
                    f"table: none of its {len(stars):,} stars is in the table beside the arrays "
                    f"({unmatched(stars['APOGEE_ID'], theirs)}); both have a column {id}"
                )
            return self.arrays, at
        if len(stars) != self.arrays.n_stars:
            raise BadInputError(
                f"table: has {len(stars):,} rows, the arrays {self.arrays.n_stars:,}; expected one row a star in "
                "both, in the same order"
            )
        return self.arrays, np.arange(len(stars))

    def close(self):
        if self.arrays is not None:
            self.arrays.close()

    def why_not(self, stars, i):
        if self._xp is None:
            return "the arrays have no row of its id"
        return self._reasons.get(int(stars["source_id"][i]), f"its source_id is not in {self._xp}")


class _FirstPass:
    """What the first reading of the arrays found."""

    def __init__(self, n_columns):
        self.usable, self.failures, self.sample = np.zeros(n_columns, bool), {}, None


def _first_pass(arrays, at, maker, is_flux, quiet):
    found = _FirstPass(maker.n_columns)
    wanted = set(np.linspace(0, len(at) - 1, min(N_SPECTRA, len(at))).astype(int).tolist())
    sample, row = [], 0
    with Progress("read arrays", len(at), quiet) as progress:
        for rows, values, errors in _blocks(arrays, at):
            part, part_error, good, failures = maker.rows(values, errors)
            found.usable |= good.any(axis=0)
            for i, failure in enumerate(failures):
                if failure:
                    found.failures[row + i] = failure
                elif row + i in wanted:
                    sample.append((part[i], part_error[i]) if is_flux else (values[i], errors[i]))
            row += len(rows)
            progress.advance(len(rows))
    pair = zip(*sample, strict=True) if sample else ((), ())
    found.sample = [np.array(x).reshape(-1, maker.n_columns) for x in pair]
    return found


def _blocks(arrays, at):
    """Yield the arrays' rows ``at`` (increasing) as ``rows, values, errors``."""
    for start, values, errors in arrays.blocks():
        here = at[np.searchsorted(at, start) : np.searchsorted(at, start + len(values))] - start
        if here.size:
            yield here + start, values[here], errors[here]


def _windows(windows):
    if windows is None:
        return None
    try:
        pairs = [[float(low), float(high)] for low, high in windows]
    except (TypeError, ValueError):
        text = f"windows: {str(windows)[:60]}, expected pairs of wavelengths: [(5300, 5340), ...]"
        raise BadInputError(text) from None
    wrong = [pair for pair in pairs if not 0 < pair[0] < pair[1] < np.inf]
    if wrong or not pairs:
        raise BadInputError(f"windows: {wrong[0] if wrong else 'none'}, expected a lower and an upper wavelength each")
    return pairs


def _clip(clip):
    try:
        low, high = map(float, clip)
    except (TypeError, ValueError):
        low = high = np.nan
    if not 0 < low < 1 < high < np.inf:
        raise BadInputError(f"clip: {str(clip)[:60]}, expected a bound below 1 and one above: (0.01, 3.0)")
    return [low, high]


def _config_of(config, own):
    """The configuration with what a survey of arrays is made by."""
    low, high = own["clip"]
    of_features = {"flux_min": low, "flux_max": high, "flux_error_max": own["error_max"]}
    of_continuum = {"chebyshev_degree": own["order"], "flux_error_max": own["error_max"], "continuum_file": ""}
    return config.replace(features=of_features, normalization=of_continuum)


#: How features are made, in words, by kind, whether a flux was normalised and whether it is XP: models of others are
#: refused.
_WHAT = {
    (PIXEL, True, False): "flux that was normalised before",
    (PIXEL, False, False): "flux over a polynomial",
    (OTHER, None, False): "columns as they are",
    (OTHER, None, True): "Gaia XP coefficients over the flux of G",
}


def _what(own):
    return _WHAT[own["kind"], own["normalized"] if own["kind"] == PIXEL else None, own["xp"]]


def _taken_after(recipe, like, own):
    """How the features of another survey's, or of a model's survey, were made."""
    told = recipe.origin.get("spectra") or [""]
    theirs = next((key for key, what in _WHAT.items() if [what] == told), None)
    if theirs is None:
        raise BadInputError(f"{like}: is not made of arrays; give as like a survey of write_survey, or a model of one")
    kind, normalized, xp = theirs
    if (kind, xp) != (own["kind"], own["xp"]) or (normalized and not own["normalized"]):
        raise BadInputError(f"{like}: is made of {told[0]}, these arrays are {_what(own)}")
    norm, features = recipe.config["normalization"], recipe.config["features"]
    made = {"normalized": bool(normalized), "windows": None, "order": norm["chebyshev_degree"], "kind": kind, "xp": xp}
    return made | {"clip": [features["flux_min"], features["flux_max"]], "error_max": features["flux_error_max"]}


def _layout(arrays, names, bands, own):
    """The layout of all columns."""
    kind = own["kind"]
    groups, wavelengths = [], []
    for group in arrays.groups:
        wavelength, n = arrays.wavelength[group], arrays.lengths[group]
        if wavelength is None:
            groups += [group or "columns"] * n if kind == OTHER else [group or "spectrum"] * n
            wavelengths += [None] * n
            continue
        for first, last in detectors(wavelength):
            label = f"{wavelength[first]:.0f}-{wavelength[last - 1]:.0f} A"
            groups += [group if group and len(detectors(wavelength)) == 1 else label] * (last - first)
        wavelengths += wavelength.tolist()
    if names is None:
        names = getattr(arrays, "names", None) or _names(arrays, groups, wavelengths, kind)
    names = [str(name) for name in names]
    if len(names) != len(groups):
        raise BadInputError(f"names: {len(names)}, expected {len(groups)}, one for each column of the arrays")
    n = len(names)
    units = ["ln(flux)" if kind == PIXEL else ""] * n
    return FeatureLayout.of(Columns(names, groups, [kind] * n, units, wavelengths, [1.0] * n), bands)


def _names(arrays, groups, wavelengths, kind):
    """Names by the wavelength, with the arm before it where arms may overlap; numbers where there is none."""
    stem = "flux" if kind == PIXEL else "column"
    given = [group for group in arrays.groups for _ in range(arrays.lengths[group])]
    return [
        f"{group or stem}_{number:04d}" if wavelength is None else f"{group or 'flux'}_{wavelength:.3f}"
        for number, (group, wavelength) in enumerate(zip(given, wavelengths, strict=True))
    ]


def _maker(arrays, layout, config, own, recipe):
    if own["kind"] == OTHER:
        return ValueRows(layout.n_pixels)
    first, of = layout.n_unpenalized, layout.wavelength
    ranges, wavelengths, names = [], [], []
    for name, inside in layout.groups.items():
        places = np.flatnonzero(inside)
        ranges.append((int(places[0]) - first, int(places[-1]) + 1 - first))
        wavelengths.append(np.where(np.isfinite(of[places]), of[places], places))
        names.append(name)
    if own["windows"] and np.isnan(of[first:]).any():
        raise BadInputError("windows: are in wavelengths, which the arrays do not have; give wavelength")
    continuum = None
    if recipe is not None:
        theirs = recipe.layout.names_of(recipe.continuum)
        continuum = np.isin(layout.names[first:], theirs)
    return FluxRows(ranges, wavelengths, names, config, own["normalized"], own["windows"], continuum)


def _same_columns(recipe, layout, chosen):
    """The other survey's layout, if the arrays have all of its columns."""
    ours = [name for name, on in zip(layout.names[layout.n_unpenalized :], chosen, strict=True) if on]
    theirs = recipe.layout.names[recipe.layout.n_unpenalized :]
    if ours != theirs:
        missing = sorted(set(theirs).difference(ours), key=theirs.index) or theirs
        raise BadInputError(
            f"like: has {len(missing):,} columns that these arrays lack or have in another order, first {missing[0]}, "
            f"theirs {layout.names[layout.n_unpenalized]}; give spectra on its wavelengths [Angstrom]"
        )
    return recipe.layout


def _factors(sample, maker, layout, chosen, recipe, config, own):
    """What bad values are estimated from; None under bad_pixels = "one"."""
    if config.features.bad_pixels != "estimated" and own["kind"] == PIXEL:
        return None
    largest = config.features.flux_error_max if own["kind"] == PIXEL else float(np.finfo(np.float32).max)
    if recipe is not None:
        return spectrum_factors(recipe.pixel_factors, layout, largest)
    values, errors = sample
    if own["kind"] == OTHER:
        values, errors, *_ = maker.rows(values, errors)
    return SpectrumFactors.of(values[:, chosen].astype(np.float32), errors[:, chosen].astype(np.float32), largest)


def _bands_needed(n_bands, n, sample):
    """Magnitudes that a star needs, the others being estimated from stars that have them all."""
    complete = int(np.count_nonzero(n_bands == n))
    return min(sample.bands_min, n) if sample.missing_bands == "estimated" and complete >= COMPLETE_MIN else n


def _may_train(training, n_all, rows, stars):
    """The caller's own choice of the training set, of the stars left."""
    if training is None:
        return True
    if isinstance(training, str):
        if training not in stars.colnames:
            raise BadInputError(f"training: the table has no column {training}")
        if training in STAR_COLUMNS:
            raise BadInputError(f"training: {training} is a survey's own column; rename that of the table")
        return yes_or_no(stars[training], f"training: column {training}")
    training = np.asarray(training)
    if training.dtype != bool or training.shape != (n_all,):
        raise BadInputError(f"training: {training.dtype} {training.shape}, expected a bool for each row of the table")
    return training[rows]
