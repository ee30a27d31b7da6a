"""`spfast simulate`: a mock download, or a mock survey folder."""

from pathlib import Path

from spfast.cli.options import configuration, count, number
from spfast.cli.outputs import say
from spfast.config import LINDEGREN, ZERO_POINT, warn_of_zero_point, zero_point_settings
from spfast.errors import BadInputError

__all__ = ["COMMON", "EXAMPLES", "HELP", "MOCK_CLUSTERS", "options", "run"]

HELP = "Make a mock survey in the file formats of a real one, with a table of its true values."
COMMON = ("config", "threads", "seed")
EXAMPLES = (
    "spfast simulate download/ --stars 3000 --seed 1 --clusters",
    "spfast simulate survey/ --survey --stars 100000",
)

#: Star clusters that a mock survey has if none is named: near and far, metal-rich and metal-poor.
MOCK_CLUSTERS = ("M67", "NGC 6791", "M71", "M107", "M13", "M92")
#: Data releases whose layout of files is imitated, and their kinds of files: those of `spfast.simulate`, which is slow
#: to import.
RELEASES, SPECTRA = ("dr14", "dr16", "dr17", "dr19", "dr20"), ("apStar", "aspcapStar", "mwmStar")
NOISE, WISE = ("real", "ideal"), ("allwise", "unwise")


def options(parser):
    parser.add_argument("out", metavar="OUT", help="folder to make")
    parser.add_argument(
        "--stars", type=count, default=3000, metavar="N", help="number of mock stars (default: %(default)s)"
    )
    parser.add_argument(
        "--release",
        choices=RELEASES,
        default="dr17",
        help="data release whose files are imitated (default: %(default)s)",
    )
    parser.add_argument(
        "--spectra", choices=SPECTRA, help="kind of spectrum files (default: aspcapStar, since dr19 mwmStar)"
    )
    parser.add_argument(
        "--survey",
        action="store_true",
        help="write a survey folder directly, without FITS spectra; suits any number of stars",
    )
    parser.add_argument(
        "--noise",
        choices=NOISE,
        default="real",
        help="real: lines, noise, bad pixels and sky as in the releases' files; ideal: easier spectra, and white noise "
        "of the size that the errors say (default: %(default)s)",
    )
    parser.add_argument("--wise", choices=WISE, default="allwise", help="survey of W1 and W2 (default: %(default)s)")
    parser.add_argument(
        "--zero-point",
        type=_number_or_lindegren,
        metavar=f"MAS|{LINDEGREN}",
        help="by how much Gaia's parallaxes are too small at G = 14 [mas] (default: that of DR2, "
        f"{ZERO_POINT}, and of DR3 since dr19); "
        f"{LINDEGREN}: by what they are in Gaia DR3, star by star (needs pip install 'spfast[zeropoint]')",
    )
    parser.add_argument(
        "--clusters",
        nargs="*",
        metavar="NAME",
        help="add mock members of these star clusters, named in truth.fits; without NAME, of "
        f"{', '.join(MOCK_CLUSTERS)} (default: none)",
    )
    parser.add_argument(
        "--zero-point-slope",
        type=number,
        default=0.0,
        metavar="SLOPE",
        help="and by how much more for each fainter magnitude [mas/mag] (default: %(default)g)",
    )
    parser.add_argument(
        "--wrong-parallaxes",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of the stars that get a wrong parallax: another star's, or one that is off by 10 to 50 times its "
        "error (default: %(default)g)",
    )


def _number_or_lindegren(text):
    return text if text == LINDEGREN else number(text)


def run(args):
    from spfast.simulate import simulate_download, simulate_survey

    common = {"seed": args.seed, "quiet": args.quiet, "wrong_parallaxes": args.wrong_parallaxes}
    common |= {"noise": args.noise, "wise": args.wise}
    zero_point = args.zero_point
    if zero_point is None and (args.survey or args.zero_point_slope):
        zero_point = ZERO_POINT
    if zero_point == LINDEGREN:
        if args.zero_point_slope:
            raise BadInputError(f"--zero-point {LINDEGREN} has a slope of its own; leave out --zero-point-slope")
        common["zero_point"] = LINDEGREN
    elif zero_point is not None:
        warn_of_zero_point(zero_point)
        common["zero_point"] = (zero_point, args.zero_point_slope)
    common["clusters"] = MOCK_CLUSTERS if args.clusters == [] else args.clusters or ()
    if args.survey:
        # The survey's configuration names the zero point that its parallaxes were made with.
        config = configuration(args).replace(fit=zero_point_settings(zero_point))
        simulate_survey(args.out, args.stars, config=config, threads=args.threads, **common)
    else:
        simulate_download(args.out, args.stars, release=args.release, spectra=args.spectra, **common)
    say(args, f"wrote {args.out}: {args.stars:,} mock stars, their true values in truth.fits")
    out = Path(args.out)
    tables = [*out.rglob("astraAllStarASPCAP*"), *out.glob("allStar-*.fits"), None]  # SDSS-V's summary before others
    return {"allstar": tables[0]}
