"""`spfast wanted`: an allStar table to the lists of what to fetch."""

from pathlib import Path

from spfast.cli.options import add_overwrite_option, configuration
from spfast.cli.outputs import say
from spfast.config import GAIA_RELEASES
from spfast.errors import BadInputError
from spfast.files import clear_leftovers
from spfast.lock import hold

__all__ = ["COMMON", "EXAMPLES", "HELP", "options", "run"]

HELP = "List the spectra and the identifiers of an allStar table's giants, to fetch them. Asks no server."
COMMON = ("config", "json")
EXAMPLES = ("spfast wanted allStar-dr17-synspec_rev1.fits -o wanted/",)


def options(parser):
    parser.add_argument("allstar", metavar="ALLSTAR", help="allStar of DR12 to DR20, or SDSS-V's astraAllStarASPCAP")
    parser.add_argument("-o", "--output", default="wanted", metavar="FOLDER", help="to make (default: %(default)s)")
    parser.add_argument(
        "--release",
        metavar="DR",
        help="release of SDSS, dr12 to dr20 (default: the one whose versions the table names)",
    )
    parser.add_argument(
        "--spectra",
        choices=("aspcapStar", "apStar", "mwmStar"),
        help="kind of files (default: aspcapStar before DR19, then mwmStar, or apStar if the table names those)",
    )
    parser.add_argument(
        "--gaia-release",
        choices=GAIA_RELEASES,
        help="release of Gaia to ask for (default: the one that the release of SDSS is matched with)",
    )
    parser.add_argument("--all", action="store_true", help="also stars that do not pass the cuts on log g and 2MASS")
    add_overwrite_option(parser)


def run(args):
    from spfast.archive.wanted import find_wanted, write_wanted

    out = Path(args.output)
    with hold(out):
        if out.exists() and not args.overwrite:
            raise BadInputError(f"{out}: already exists; give another name or --overwrite")
        clear_leftovers(out)
        wanted = find_wanted(
            args.allstar,
            release=args.release,
            spectra=args.spectra,
            gaia=args.gaia_release,
            every_star=args.all,
            config=configuration(args),
            quiet=args.quiet,
        )
        write_wanted(wanted, out)
    stars = wanted.stars
    n_known = int((stars["source_id"] > 0).sum())
    say(
        args,
        f"wrote {out}: {len(stars):,} spectra, {wanted.kind} of {wanted.release.name}; {n_known:,} stars have a "
        f"source_id of Gaia {stars.meta['GAIAREL'].upper()}\n"
        f"without rsync: wget -x -nH --cut-dirs=1 -nc -P sas/ -i {out}/urls.txt",
    )
    return {
        "wanted": out,
        "spectra": len(stars),
        "kind": wanted.kind,
        "release": wanted.release.name,
        "gaia_release": stars.meta["GAIAREL"],
        "with_source_id": n_known,
        "cuts": [{"cut": cut, "left": n_left} for cut, n_left in wanted.flow.counts],
    }
