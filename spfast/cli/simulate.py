"""`spfast simulate`: a mock download, or a mock survey folder."""

from spfast.cli.options import configuration, count
from spfast.cli.outputs import say
from spfast.config import ZERO_POINT, zero_point_settings

__all__ = ["HELP", "MOCK_CLUSTERS", "options", "run"]

HELP = "Make a mock survey in real file formats, and its truth."

#: Star clusters that a mock survey has if none is named: near and far, metal-rich and metal-poor.
MOCK_CLUSTERS = ("M67", "NGC 6791", "M71", "M107", "M13", "M92")
#: Data releases whose layout of files is imitated, and their kinds of files: those of `spfast.simulate`, which is slow
#: to import.
RELEASES, SPECTRA = ("dr14", "dr16", "dr17", "dr19"), ("apStar", "aspcapStar")


def options(parser):
    parser.add_argument("out", metavar="OUT", help="folder to make")
    parser.add_argument("--stars", type=count, default=3000, metavar="N", help="mock stars (default: %(default)s)")
    parser.add_argument(
        "--release", choices=RELEASES, default="dr17", help="layout of the files (default: %(default)s)"
    )
    parser.add_argument("--spectra", choices=SPECTRA, default="aspcapStar", help="kind of file (default: %(default)s)")
    parser.add_argument(
        "--survey", action="store_true", help="write a survey folder directly, no FITS spectra: for any N"
    )
    parser.add_argument(
        "--zero-point",
        type=float,
        default=ZERO_POINT,
        metavar="MAS",
        help="what Gaia's parallaxes are too small by at G = 14 [mas] (default: %(default)s)",
    )
    parser.add_argument(
        "--clusters",
        nargs="*",
        metavar="NAME",
        help="with mock members of these star clusters, labelled in the truth; without a name: "
        f"{', '.join(MOCK_CLUSTERS)} (default: none)",
    )
    parser.add_argument(
        "--zero-point-slope",
        type=float,
        default=0.0,
        metavar="SLOPE",
        help="and by more for every further magnitude [mas/mag] (default: %(default)s)",
    )
    parser.add_argument(
        "--wrong-parallaxes",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="give this share of the stars a wrong parallax: another star's, or off by 10 to 50 errors (default: 0)",
    )


def run(args):
    from spfast.simulate import simulate_download, simulate_survey

    common = {"seed": args.seed, "quiet": args.quiet, "wrong_parallaxes": args.wrong_parallaxes}
    common["zero_point"] = (args.zero_point, args.zero_point_slope)
    common["clusters"] = MOCK_CLUSTERS if args.clusters == [] else args.clusters or ()
    if args.survey:
        config = configuration(args).replace(fit=zero_point_settings(args.zero_point))
        simulate_survey(args.out, args.stars, config=config, threads=args.threads, **common)
    else:
        simulate_download(args.out, args.stars, release=args.release, spectra=args.spectra, **common)
    say(args, f"wrote {args.out}: {args.stars:,} mock stars, their truth in truth.fits")
