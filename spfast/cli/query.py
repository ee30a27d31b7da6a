"""`spfast query`: identifiers to the table of Gaia and WISE, from Gaia's archive."""

from spfast.cli.options import TABLE_SUFFIXES, add_overwrite_option, count
from spfast.cli.outputs import output, result, say
from spfast.config import GAIA_RELEASES
from spfast.errors import BadInputError

__all__ = ["COMMON", "EXAMPLES", "CHUNK", "HELP", "options", "run"]

HELP = "Ask Gaia's archive for the stars of `spfast wanted`. Run again after an interruption, it goes on."
COMMON = ("json",)
EXAMPLES = ("spfast query wanted/ -o gaia.fits", "spfast query wanted/ --print > query.adql")

#: Stars of a chunk: that of `spfast.archive.query`, which is slow to import.
CHUNK = 1000


def options(parser):
    parser.add_argument(
        "wanted", metavar="WANTED", help="folder of spfast wanted, or a table with source_id, tmass_id or APOGEE_ID"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help=f"table to write: {TABLE_SUFFIXES}")
    parser.add_argument(
        "--release", choices=GAIA_RELEASES, help="release of Gaia to ask for (default: the one that WANTED names)"
    )
    parser.add_argument(
        "--by",
        choices=("source_id", "tmass_id"),
        help="ask by Gaia's numbers, or by 2MASS names, which are uploaded (default: source_id where there are any)",
    )
    parser.add_argument("--server", metavar="URL", help="TAP server with the archive's tables (default: ESA's)")
    parser.add_argument(
        "--chunk", type=count, default=CHUNK, metavar="N", help="stars to ask for at a time (default: %(default)s)"
    )
    parser.add_argument("--print", action="store_true", help="print the ADQL of each chunk and ask nobody")
    add_overwrite_option(parser)


def run(args):
    from spfast.archive.query import SERVER, query_archive, read_wanted, statements

    asked = read_wanted(args.wanted, args.release, args.by)
    if args.print:
        queries = list(dict.fromkeys(statements(asked, args.chunk)))
        result(args, "\n".join(f"{adql};" for adql in queries))
        return {"adql": queries}
    if not args.output:
        raise BadInputError("-o: name the table to write, or give --print")
    server = args.server or SERVER
    with output(args) as path:
        say(args, f"asking {server} for {asked.keys.size:,} stars of {asked.release.title} by {asked.by}")
        table = query_archive(
            asked,
            path,
            server=server,
            size=args.chunk,
            overwrite=args.overwrite,
            quiet=args.quiet,
            say=lambda text: say(args, text),
        )
    say(args, f"wrote {path}: {len(table):,} rows of {asked.release.title}")
    return {"table": path, "rows": len(table), "asked": asked.keys.size, "release": asked.release.title, "by": asked.by}
