"""`spfast ingest --arrays` and `--xp`: the options of a survey of arrays, and what runs them."""

import argparse

from spfast.cli.options import configuration, number
from spfast.errors import BadInputError

__all__ = ["add_array_options", "ingest_arrays", "is_of_arrays"]

#: Options that belong to arrays, and mean nothing without them.
_ONLY = (
    *("table", "id", "source_id", "magnitudes", "columns", "error", "ivar", "mask", "bad_bits", "wavelength"),
    *("not_normalized", "windows", "order", "clip", "error_max", "training"),
)


def add_array_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to those of ingest."""
    group = parser.add_argument_group("arrays of any spectrograph, in place of --allstar and --spectra")
    group.add_argument(
        "--arrays",
        metavar="FILE",
        help="flux, one row a star: .npy (with *error.npy or *ivar.npy, *mask.npy, *wavelength.npy beside *flux.npy), "
        "a FITS file with images FLUX, ERROR or IVAR, MASK, WAVELENGTH, Parquet list columns (a file or a folder, HATS "
        "too), or HDF5",
    )
    group.add_argument("--xp", metavar="FILE", help="Gaia's XP continuous mean spectra (FITS, VOTable, ECSV, CSV)")
    group.add_argument(
        "--table",
        metavar="FILE",
        help="the stars, in the order of the arrays' rows (in any if FILE has their ids); default: in FILE",
    )
    group.add_argument("--id", metavar="NAME", help="column of the table that names the stars (default: as usual)")
    group.add_argument("--source-id", metavar="NAME", help="column of Gaia's source_id (default: as usual)")
    group.add_argument(
        "--magnitudes",
        nargs="+",
        metavar="BAND",
        help="bands to use (default: those of G BP RP J H K W1 W2 that there are); BAND=COLUMN,ERROR names the "
        "columns, or gives the error as a number [mag]",
    )
    group.add_argument("--columns", action="store_true", help="the arrays are no flux: take them as they are")
    for name in ("error", "ivar", "mask", "wavelength"):
        group.add_argument(f"--{name}", metavar="NAME", help=f"the {name}: a .npy file, or its name within FILE")
    group.add_argument("--bad-bits", type=_bits, metavar="N", help="bits of the mask that are bad (default: any)")
    group.add_argument(
        "--not-normalized",
        action="store_true",
        help="divide the flux of each detector by a polynomial (default: it is 1)",
    )
    group.add_argument(
        "--windows",
        nargs="+",
        type=_window,
        metavar="LOW-HIGH",
        help="wavelengths of the continuum, through which the polynomial goes [Angstrom] (default: everywhere)",
    )
    group.add_argument("--order", type=int, metavar="N", help="order of the polynomial (default: 2)")
    group.add_argument(
        "--clip", nargs=2, type=number, metavar=("LOW", "HIGH"), help="bounds of normalised flux (default: 0.01 3)"
    )
    group.add_argument(
        "--error-max",
        type=number,
        metavar="X",
        help="a pixel with a larger error of normalised flux is bad (default: 0.3)",
    )
    group.add_argument("--training", metavar="NAME", help="column of the table: stars that may train (default: all)")


def is_of_arrays(args: argparse.Namespace) -> bool:
    """Whether the survey is to be made of arrays; options of the other kind are refused."""
    of_arrays = bool(args.arrays or args.xp)
    foreign = ("allstar", "spectra", "wise") if of_arrays else _ONLY
    given = [name for name in foreign if getattr(args, name, None) not in (None, False)]
    if given:
        option = "--" + given[0].replace("_", "-")
        needs = "is for APOGEE's files, not for arrays" if of_arrays else "needs --arrays or --xp"
        raise BadInputError(f"{option}: {needs}; leave it out")
    return of_arrays


def ingest_arrays(args: argparse.Namespace):
    """Make the survey and return it."""
    from spfast.data.arrays.survey import write_survey

    named = ("id", "source_id", "error", "ivar", "mask", "bad_bits", "wavelength", "windows", "order", "clip")
    given = {name: getattr(args, name) for name in (*named, "error_max", "training", "gaia", "like")}
    given["columns" if args.columns else "flux"] = args.arrays
    if args.magnitudes:
        bands = [_band(text) for text in args.magnitudes]
        given["magnitudes"] = dict(bands)
        if len(given["magnitudes"]) < len(bands):
            raise BadInputError("--magnitudes: names a band twice; leave one")
    return write_survey(
        args.output,
        args.table,
        xp=args.xp,
        normalized=not args.not_normalized,
        config=configuration(args),
        threads=args.threads,
        quiet=args.quiet,
        **{name: value for name, value in given.items() if value is not None},
    )


def _band(text):
    band, _, source = text.partition("=")
    column, _, error = source.partition(",")
    try:
        error = float(error)
    except ValueError:
        error = error or None
    return band, tuple(part for part in (column or None, error) if part is not None) or None


def _window(text):
    low, _, high = text.partition("-")
    try:
        return float(low), float(high)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: expected LOW-HIGH, e.g. 5300-5340") from None


def _bits(text):
    try:
        return int(text, 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number, e.g. 4 or 0x10") from None
