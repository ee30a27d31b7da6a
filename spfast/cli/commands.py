"""What each command does: opens what it is given, calls, writes and says what came out."""

import importlib.util
from contextlib import ExitStack, nullcontext
from pathlib import Path

from spfast.cli.shared import MOCK_CLUSTERS, configuration, one_line, output, outputs, say
from spfast.config import Config
from spfast.errors import BadInputError

__all__ = [
    "print_model",
    "print_survey",
    "run_catalog",
    "run_fit",
    "run_info",
    "run_ingest",
    "run_predict",
    "run_rebuild",
    "run_report",
    "run_simulate",
    "run_tune",
    "run_validate",
    "run_warmup",
    "write_catalog",
]

#: A sum over fewer training stars than these wants a smaller penalty than the paper's.
FEW_STARS = 7000


def run_simulate(args):
    """A mock download, or a mock survey folder."""
    from spfast.simulate import simulate_download, simulate_survey

    common = {"seed": args.seed or 0, "quiet": args.quiet, "wrong_parallaxes": args.wrong_parallaxes}
    common["zero_point"] = (args.zero_point, args.zero_point_slope)
    common["clusters"] = MOCK_CLUSTERS if args.clusters == [] else args.clusters or ()
    if args.survey:
        simulate_survey(args.out, args.stars, config=configuration(args), threads=args.threads, **common)
    else:
        simulate_download(args.out, args.stars, release=args.release, spectra=args.spectra, **common)
    say(args, f"wrote {args.out}: {args.stars:,} mock stars, their truth in truth.fits")


def run_ingest(args):
    """Tables and spectra to a survey folder."""
    from spfast.data.ingest import ingest

    survey = ingest(
        args.allstar,
        args.spectra,
        args.gaia,
        args.output,
        wise=args.wise,
        like=args.like,
        config=configuration(args),
        threads=args.threads,
        quiet=args.quiet,
    )
    print_survey(args, survey)


def print_survey(args, survey):
    say(args, f"survey {survey.path}: {survey.n_stars:,} stars x {survey.n_features:,} features")


def run_fit(args):
    """One model from a survey's training stars."""
    from spfast.data.survey import open_survey
    from spfast.training.fold import fit_stars

    with output(args, suffixes=(".npz",)) as path:
        model = fit_stars(open_survey(args.survey), configuration(args), args.fold, args.threads, args.quiet)
        model.save(path)
    print_model(args, model)
    say(args, f"wrote {path}")


def print_model(args, model):
    result = model.result
    say(
        args,
        f"  model {model.provenance.fold}: {model.n_stars:,} stars, penalty {model.penalty:g}: "
        f"{model.n_nonzero:,} of {int(model.penalized.sum()):,} pixels used, objective {result.objective:.8g}, "
        f"KKT violation {result.kkt_violation:.2g}, {result.n_passes} passes in {result.seconds:.1f} s",
    )
    if model.tuned is not None:
        say(args, f"    chosen: {model.tuned.summary}")
    elif model.penalty == Config().fit.penalty and model.n_stars < FEW_STARS:
        say(args, f"    the paper's penalty, for 14,000 stars; --penalty auto looks for that of {model.n_stars:,}")
    if model.robust is not None:
        robust = model.robust
        say(
            args,
            f"    robust: {robust.n_outliers:,} outliers, share {robust.outlier_share:.2%}, width "
            f"{robust.outlier_width:.1f}; scatter {robust.intrinsic_scatter:.1%}; {robust.n_rounds} rounds",
        )


def run_tune(args):
    """The cross-validated grid of penalties and zero points."""
    from spfast.data.survey import open_survey
    from spfast.data.tables.write import check_output, write_table
    from spfast.training.tune import HEADER_COMMENTS, tune

    if args.plot and not args.output:
        raise BadInputError("--plot: draws beside the table; name it with -o")
    if args.plot and importlib.util.find_spec("matplotlib") is None:  # before hours of work
        raise BadInputError("--plot: needs matplotlib; install it (pip install 'spfast[report]') or leave it out")
    with output(args) if args.output else nullcontext() as path:
        resume = path.with_name(f"{path.name}.points.jsonl") if path else None
        for suffix in (".png", ".pdf") if args.plot else ():
            check_output(path.with_suffix(suffix), args.overwrite, suffixes=())
        tuning, table = tune(
            open_survey(args.survey),
            args.penalties,
            args.zero_points,
            configuration(args),
            args.folds,
            args.repeats,
            args.score,
            args.choice,
            resume=resume,
            threads=args.threads,
            say=lambda text: say(args, text),
            quiet=args.quiet,
        )
        if args.plot:  # before the table, at which a run that was cut off sees that nothing is left to do
            from spfast.figures.tuning import draw_tuning

            say(args, f"drew {' and '.join(str(figure) for figure in draw_tuning(table, path))}")
        if path:
            write_table(table, path, args.overwrite, HEADER_COMMENTS)
            resume.unlink()
            say(args, f"wrote {path}: {len(table):,} points")
    print(tuning.summary)


def run_predict(args):
    """A saved model on a survey."""
    from spfast.catalog.predict import HEADER_COMMENTS, predict_survey
    from spfast.data.survey import open_survey
    from spfast.data.tables.write import write_table
    from spfast.model.fitted_model import load_model

    with output(args) as path:
        predictions = predict_survey(load_model(args.model), open_survey(args.survey), args.threads)
        write_table(predictions, path, args.overwrite, HEADER_COMMENTS)
    say(args, f"wrote {path}: {len(predictions):,} stars")


def run_catalog(args):
    """The two-fold catalog of a survey."""
    from spfast.data.survey import open_survey
    from spfast.data.tables.write import check_output
    from spfast.lock import hold

    folder = Path(args.models) if args.models else None
    with output(args) as path, ExitStack() as held:
        for fold in "AB" if folder else ():
            held.enter_context(hold(_model_path(folder, fold)))  # makes the folder, too
            check_output(_model_path(folder, fold), args.overwrite, suffixes=())
        write_catalog(args, open_survey(args.survey), configuration(args), path, folder)


def _model_path(folder, fold):
    return folder / f"model_{fold}.npz"


def write_catalog(args, survey, config, path, model_folder=None):
    from spfast.catalog.make import HEADER_COMMENTS, make_catalog
    from spfast.data.tables.write import write_table
    from spfast.training.fold import fit_folds

    models = fit_folds(survey, config, args.threads, args.quiet)
    for fold, model in models.items():
        print_model(args, model)
        if model_folder:
            model_folder.mkdir(parents=True, exist_ok=True)
            model.save(_model_path(model_folder, fold))
    catalog = make_catalog(survey, config=config, threads=args.threads, models=models)
    write_table(catalog, path, args.overwrite, HEADER_COMMENTS)
    say(args, f"wrote {path}: {len(catalog):,} stars")
    return catalog


def run_rebuild(args):
    """A catalog again from its survey and its own header, compared byte for byte."""
    from spfast.catalog.rebuild import rebuild_catalog
    from spfast.data.survey import open_survey

    survey = open_survey(args.survey)
    with output(args) if args.output else nullcontext() as path:
        found = rebuild_catalog(args.catalog, survey, path, args.overwrite, args.threads)
    if found:
        raise BadInputError(f"{args.catalog}: not what its survey and header give now: {'; '.join(found)}")
    print(f"{args.catalog}: made again, the same bytes")


def run_validate(args):
    """Every check of a catalog that the given files allow; each table after the first beside it, under its own name."""
    from spfast.catalog.compatibility import check_catalog
    from spfast.data.survey import open_survey
    from spfast.data.tables.read import read_table
    from spfast.data.tables.write import check_output, write_table
    from spfast.validation.checks import check_names, format_checks, load_models, run_checks

    if args.output:
        check_output(args.output, args.overwrite)  # before the tables are read
    catalog = read_table(args.catalog)
    material = {
        "truth": read_table(args.truth) if args.truth else None,
        "survey": open_survey(args.survey) if args.survey else None,
        "models": load_models(args.models) if args.models else None,
        "other": read_table(args.compare) if args.compare else None,
        "members": read_table(args.clusters) if args.clusters else None,
    }
    check_catalog(catalog, material["survey"])
    paths = {}
    if args.output:
        path, (first, *others) = Path(args.output), check_names(**material)
        paths = {first: path} | {name: path.with_stem(f"{path.stem}_{name}") for name in others}
    with outputs(paths.values(), args.overwrite):
        tables = run_checks(catalog, **material, zero_point=args.zero_point, law=args.law, threads=args.threads)
        print(format_checks(tables))
        for name, path in paths.items():
            write_table(tables[name], path, args.overwrite)
            say(args, f"wrote {path}")


def run_report(args):
    """The HTML report of a catalog."""
    from spfast.catalog.compatibility import check_catalog
    from spfast.data.survey import open_survey
    from spfast.data.tables.read import read_table
    from spfast.report.page import make_report
    from spfast.validation.checks import load_models

    catalog, survey = read_table(args.catalog), open_survey(args.survey)
    check_catalog(catalog, survey)
    page = make_report(
        catalog,
        survey,
        args.output,
        models=load_models([args.models]) if args.models else None,
        truth=read_table(args.truth) if args.truth else None,
        tune=read_table(args.tune) if args.tune else None,
        members=read_table(args.clusters) if args.clusters else None,
        other=read_table(args.compare) if args.compare else None,
        images=args.images,
        config=configuration(args),
        overwrite=args.overwrite,
        threads=args.threads,
        quiet=args.quiet,
    )
    say(args, f"wrote {page}")


def run_warmup(args):
    """Compile every kernel now, so that no later command waits for it."""
    from spfast.warmup import warm_up

    seconds, compiling = warm_up(threads=args.threads)
    say(
        args,
        f"ran every kernel in {seconds:.1f} s, {compiling:.1f} s of them compiling what was not on disk yet",
    )


def run_info(args):
    """What a file or folder of ours is."""
    from spfast.cli.info import describe

    for what, value in describe(args.path, args.verify):
        print(f"{one_line(what):14s}{value if value.isprintable() else one_line(value)}")
