"""`spfast predict`: a saved model on a survey."""

from spfast.cli.options import add_overwrite_option, add_table_option
from spfast.cli.outputs import output, say

__all__ = ["HELP", "options", "run"]

HELP = "Predict the parallax of each star of a survey with a saved model."


def options(parser):
    parser.add_argument("model", metavar="MODEL", help="model file that spfast fit or catalog --models wrote")
    parser.add_argument("survey", metavar="SURVEY", help="survey folder")
    add_table_option(parser)
    add_overwrite_option(parser)


def run(args):
    from spfast.catalog.predict import HEADER_COMMENTS, predict_survey
    from spfast.data.survey import open_survey
    from spfast.data.tables.write import write_table
    from spfast.model.fitted_model import load_model

    with output(args) as path:
        predictions = predict_survey(load_model(args.model), open_survey(args.survey), args.threads)
        write_table(predictions, path, args.overwrite, HEADER_COMMENTS)
    say(args, f"wrote {path}: {len(predictions):,} stars")
