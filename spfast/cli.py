"""The command ``spfast``: parses, calls, prints; no maths."""

import argparse
import importlib.util
import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from contextlib import contextmanager, nullcontext
from pathlib import Path

from spfast import __version__
from spfast.config import PRESETS, Config, load_config
from spfast.errors import BadInputError, SpfastError, SpfastWarning

EXIT_DONE, EXIT_OUR_FAULT, EXIT_BAD_INPUT = 0, 1, 2
#: What a shell reports for a command ended by Ctrl-C (SIGINT), by a reader that went away (SIGPIPE), or asked to end
#: (SIGTERM): 128 + signal.
EXIT_INTERRUPTED, EXIT_PIPE_CLOSED, EXIT_TERMINATED = 130, 141, 143

#: Data releases whose layout of files `simulate` imitates.
RELEASES = ("dr14", "dr16", "dr17", "dr19")

#: What `tune` compares, and how it chooses (as in spfast.selection.choice, which is too slow to import for --help).
SCORES, CHOICES = ("chi_squared", "likelihood", "scatter"), ("minimum", "one-standard-error")

#: What a fitted zero point may depend on (as in spfast.data.zero_point).
ZERO_POINT_COVARIATES = ("G", "BP-RP", "ecl_lat")

#: Star clusters that a mock survey has if none is named: near and far, metal-rich and metal-poor.
MOCK_CLUSTERS = ("M67", "NGC 6791", "M71", "M107", "M13", "M92")

#: Stars of the demo: enough that a model means something, few enough for two minutes; and its grid of penalties.
DEMO_STARS, DEMO_PENALTIES = 3000, (10.0, 30.0, 100.0)
#: A demo of fewer stars has no star clusters: there would be little else.
DEMO_CLUSTERS_FROM = 1000


def main(argv=None):
    """Run the command.

    Parameters
    ----------
    argv : list of str, optional
        Without the program's name; ``sys.argv`` by default.

    Returns
    -------
    int
        0 done, 1 a fault of ours, 2 bad input, 130 interrupted, 141 nobody reads the output any more, 143 terminated.
    """
    args = argparse.Namespace(debug=False)
    try:
        args = _parser().parse_args(argv)
        with _ends_when_asked(), warnings.catch_warnings():
            if args.quiet:
                logging.getLogger("spfast").setLevel(logging.ERROR)
            warnings.simplefilter("always", SpfastWarning)
            warnings.showwarning = _show_warning
            args.run(args)
            sys.stdout.flush()
        return EXIT_DONE
    except _Terminated:
        return _complain(args, "terminated", EXIT_TERMINATED)
    except KeyboardInterrupt:
        return _complain(args, "interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        # Python flushes stdout once more at exit: give it somewhere to go (as the Python documentation advises).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE_CLOSED
    except BadInputError as error:
        return _complain(args, error, EXIT_BAD_INPUT)
    except SpfastError as error:
        return _complain(args, error, EXIT_OUR_FAULT)
    except OSError as error:
        not_ours = isinstance(error, PermissionError | FileNotFoundError | NotADirectoryError | IsADirectoryError)
        if not_ours and error.filename is not None:
            text = f"{os.fsdecode(error.filename)}: {error.strerror}; check the path and its rights"
            return _complain(args, text, EXIT_BAD_INPUT)
        return _complain(args, error, EXIT_OUR_FAULT)
    except Exception as error:  # noqa: BLE001 (whatever it is, the user gets one line)
        what = f"{type(error).__name__}: {error}"
        return _complain(args, f"{what} (a fault of spfast; --debug shows where)", EXIT_OUR_FAULT)


class _Terminated(KeyboardInterrupt):
    """The process was asked to end: it ends as by Ctrl-C, in order."""


@contextmanager
def _ends_when_asked():
    """Let SIGTERM unwind the program, so that what is begun is put away, instead of ending it on the spot."""

    def terminate(number, frame):
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _output(args, **options):
    """The file to write: refused if it cannot be written, held so that no other process writes it meanwhile."""
    from spfast.lock import hold
    from spfast.products.tables import check_output

    path = check_output(args.output, args.overwrite, **options)
    with hold(path):
        yield check_output(path, args.overwrite, **options)


def _complain(args, message, code):
    if args.debug:
        traceback.print_exc()
    print("spfast:", _one_line(message), file=sys.stderr)
    return code


def _show_warning(message, category, filename, lineno, file=None, line=None):
    print("spfast: warning:", _one_line(message), file=sys.stderr)


def _one_line(text):
    """Text for a terminal: what a file holds must not move the cursor or worse."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(str(text).split()))


def _say(args, text):
    if not args.quiet:
        print(text, flush=True)


def _config(args):
    """The configuration: the preset, the file over it, the options over both."""
    given = {
        "fit": {"solver": "solver", "exact_distance_modulus": "exact_distance_modulus", "robust": "robust"},
        "folds": {"seed": "seed", "split": "split"},
        "errors": {"pixel_correlation": "pixel_correlation"},
    }
    overrides = {
        section: {key: getattr(args, option) for key, option in keys.items() if getattr(args, option, None) is not None}
        for section, keys in given.items()
    }
    if getattr(args, "penalty", None) is not None:
        from spfast.products.fitting import penalty_settings

        overrides["fit"] |= penalty_settings(args.penalty)
    if getattr(args, "zero_point", None) is not None:
        from spfast.products.fitting import zero_point_settings

        overrides["fit"] |= zero_point_settings(args.zero_point)
    if getattr(args, "zero_point_covariates", None) is not None:
        overrides["fit"] |= {"zero_point_covariates": ",".join(args.zero_point_covariates)}
    return load_config(args.config, args.preset, overrides)


def run_demo(args):
    """Simulate, ingest, tune, fit, predict, validate and report on a small survey."""
    from spfast.data.ingest import ingest
    from spfast.products.tables import read_table, write_table
    from spfast.products.tune import HEADER_COMMENTS, tune
    from spfast.simulate import simulate_download

    out, config = Path(args.out), _config(args)
    download, survey_path, catalog_path = out / "download", out / "survey", out / "catalog.fits"
    tune_path, models_path, scores_path, report_path = (
        out / name for name in ("tune.ecsv", "models", "validation.ecsv", "report")
    )
    results = [download, survey_path, tune_path, catalog_path, models_path, scores_path, report_path]
    _clear_demo(results, args.overwrite)
    clusters = MOCK_CLUSTERS if args.stars >= DEMO_CLUSTERS_FROM else ()
    out.mkdir(parents=True, exist_ok=True)
    _say(args, f"1. A mock download of {args.stars:,} stars in the formats of APOGEE DR17 and Gaia: {download}")
    simulate_download(download, args.stars, seed=args.seed or 0, quiet=args.quiet, clusters=clusters)
    allstar = next(download.glob("allStar-*.fits"))
    _say(args, f"2. Read, match, cut and normalise: {survey_path}")
    survey = ingest(
        allstar, download, download / "gaia.fits", survey_path, config=config, threads=args.threads, quiet=args.quiet
    )
    _print_survey(args, survey)
    _say(args, f"3. Cross-validate the penalty: {tune_path}")
    tuning, points = tune(
        survey, DEMO_PENALTIES, [config.fit.zero_point], config, threads=args.threads, quiet=args.quiet
    )
    write_table(points, tune_path, args.overwrite, HEADER_COMMENTS)
    _say(args, f"  {tuning.summary}; the catalog keeps the paper's {config.fit.penalty:g}")
    _say(args, f"4. Fit one model to each fold and predict the other fold: {catalog_path}")
    catalog = _make_catalog(args, survey, config, catalog_path, models_path)
    truth = read_table(download / "truth.fits")
    _say(args, f"5. Compare with Gaia, and with the truth that only a simulation knows: {scores_path}")
    _validate(args, catalog, truth, scores_path)
    _demo_report(args, config, catalog, survey, report_path, models_path, truth, points)
    _say(
        args,
        f"That was with {survey.n_stars:,} stars, the paper had 44,784: the more to train on, the less scatter.\n"
        f"Next: spfast info {catalog_path}; then your own files: spfast ingest --help",
    )


def _demo_report(args, config, catalog, survey, path, models_path, truth, points):
    from spfast.products.checks import load_models
    from spfast.products.report import make_report

    missing = [name for name in ("matplotlib", "jinja2") if importlib.util.find_spec(name) is None]
    if missing:
        _say(args, f"6. No report page: it needs {' and '.join(missing)} (pip install 'spfast[report]')")
        return
    _say(args, f"6. Draw every figure and write one page to look at: {path / 'report.html'}")
    make_report(
        catalog,
        survey,
        path,
        models=load_models([models_path]),
        truth=truth,
        tune=points,
        config=config,
        threads=args.threads,
        quiet=args.quiet,
    )


def _clear_demo(paths, overwrite):
    existing = [path for path in paths if path.exists()]
    if existing and not overwrite:
        raise BadInputError(f"{existing[0]}: already exists; give another folder or --overwrite")
    import shutil

    for path in existing:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def run_simulate(args):
    """A mock download, or a mock survey folder."""
    from spfast.simulate import simulate_download, simulate_survey

    common = {"seed": args.seed or 0, "quiet": args.quiet, "wrong_parallaxes": args.wrong_parallaxes}
    common["zero_point"] = (args.zero_point, args.zero_point_slope)
    common["clusters"] = MOCK_CLUSTERS if args.clusters == [] else args.clusters or ()
    if args.survey:
        simulate_survey(args.out, args.stars, config=_config(args), threads=args.threads, **common)
    else:
        simulate_download(args.out, args.stars, release=args.release, spectra=args.spectra, **common)
    _say(args, f"wrote {args.out}: {args.stars:,} mock stars, their truth in truth.fits")


def run_ingest(args):
    """Tables and spectra to a survey folder."""
    from spfast.data.ingest import ingest

    survey = ingest(
        args.allstar,
        args.spectra,
        args.gaia,
        args.output,
        wise=args.wise,
        config=_config(args),
        threads=args.threads,
        quiet=args.quiet,
    )
    _print_survey(args, survey)


def _print_survey(args, survey):
    _say(args, f"survey {survey.path}: {survey.n_stars:,} stars x {survey.n_features:,} features")


def run_fit(args):
    """One model from a survey's training stars."""
    from spfast.data.survey import open_survey
    from spfast.products.catalog import fit_stars

    with _output(args, suffixes=(".npz",)) as path:
        model = fit_stars(open_survey(args.survey), _config(args), args.fold, args.threads, args.quiet)
        model.save(path)
    _print_model(args, model)
    _say(args, f"wrote {path}")


def _print_model(args, model):
    result = model.result
    _say(
        args,
        f"  model {model.metadata['fold']}: {model.n_stars:,} stars, penalty {model.penalty:g}: "
        f"{model.n_nonzero:,} of {int(model.penalized.sum()):,} pixels used, objective {result.objective:.8g}, "
        f"KKT violation {result.kkt_violation:.2g}, {result.n_passes} passes in {result.seconds:.1f} s",
    )
    if "tuning" in model.metadata:
        _say(args, f"    chosen: {model.metadata['tuning']['summary']}")
    if "robust" in model.metadata:
        noted = model.metadata["robust"]
        _say(
            args,
            f"    robust: {noted['n_outliers']:,} outliers, share {noted['outlier_share']:.2%}, width "
            f"{noted['outlier_width']:.1f}; scatter {noted['intrinsic_scatter']:.1%}; {noted['n_rounds']} rounds",
        )


def run_tune(args):
    """The cross-validated grid of penalties and zero points."""
    from spfast.data.survey import open_survey
    from spfast.products.tables import write_table
    from spfast.products.tune import HEADER_COMMENTS, tune

    with _output(args) if args.output else nullcontext() as path:
        resume = path.with_name(f"{path.name}.points.jsonl") if path else None
        tuning, table = tune(
            open_survey(args.survey),
            args.penalties,
            args.zero_points,
            _config(args),
            args.folds,
            args.repeats,
            args.score,
            args.choice,
            resume=resume,
            threads=args.threads,
            say=lambda text: _say(args, text),
            quiet=args.quiet,
        )
        if path:
            write_table(table, path, args.overwrite, HEADER_COMMENTS)
            resume.unlink()
            _say(args, f"wrote {path}: {len(table):,} points")
    print(tuning.summary)


def run_predict(args):
    """A saved model on a survey."""
    from spfast.data.survey import open_survey
    from spfast.model.result import load_model
    from spfast.products.predictions import HEADER_COMMENTS, predict_survey
    from spfast.products.tables import write_table

    with _output(args) as path:
        predictions = predict_survey(load_model(args.model), open_survey(args.survey), args.threads)
        write_table(predictions, path, args.overwrite, HEADER_COMMENTS)
    _say(args, f"wrote {path}: {len(predictions):,} stars")


def run_catalog(args):
    """The two-fold catalog of a survey."""
    from spfast.data.survey import open_survey
    from spfast.products.tables import check_output

    with _output(args) as path:
        folder = Path(args.models) if args.models else None
        if folder and folder.exists():
            for fold in "AB":
                check_output(_model_path(folder, fold), args.overwrite, suffixes=())
        _make_catalog(args, open_survey(args.survey), _config(args), path, folder)


def _model_path(folder, fold):
    return folder / f"model_{fold}.npz"


def _make_catalog(args, survey, config, path, model_folder=None):
    from spfast.products.catalog import HEADER_COMMENTS, fit_folds, make_catalog
    from spfast.products.tables import write_table

    models = fit_folds(survey, config, args.threads, args.quiet)
    for fold, model in models.items():
        _print_model(args, model)
        if model_folder:
            model_folder.mkdir(parents=True, exist_ok=True)
            model.save(_model_path(model_folder, fold))
    catalog = make_catalog(survey, config=config, threads=args.threads, models=models)
    write_table(catalog, path, args.overwrite, HEADER_COMMENTS)
    _say(args, f"wrote {path}: {len(catalog):,} stars")
    return catalog


def run_rebuild(args):
    """A catalog again from its survey and its own header, compared byte for byte."""
    from spfast.data.survey import open_survey
    from spfast.products.rebuild import rebuild_catalog

    survey = open_survey(args.survey)
    with _output(args) if args.output else nullcontext() as path:
        found = rebuild_catalog(args.catalog, survey, path, args.overwrite, args.threads)
    if found:
        raise BadInputError(f"{args.catalog}: not what its survey and header give now: {'; '.join(found)}")
    print(f"{args.catalog}: made again, the same bytes")


def run_validate(args):
    """Every check of a catalog that the given files allow; each table after the first beside it, under its own name."""
    from spfast.data.survey import open_survey
    from spfast.products.checks import check_names, format_checks, load_models, run_checks
    from spfast.products.compatibility import check_catalog
    from spfast.products.tables import check_output, read_table, write_table

    path = check_output(args.output, args.overwrite) if args.output else None
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
    if path is not None:
        names = check_names(**material)
        paths = {name: path if name == names[0] else path.with_stem(f"{path.stem}_{name}") for name in names}
        for output in paths.values():
            check_output(output, args.overwrite)
    tables = run_checks(catalog, **material, zero_point=args.zero_point, law=args.law, threads=args.threads)
    print(format_checks(tables))
    for name, output in paths.items():
        write_table(tables[name], output, args.overwrite)
        _say(args, f"wrote {output}")


def _validate(args, catalog, truth, path):
    from spfast.products.tables import write_table
    from spfast.products.validation import format_validation, validate

    scores = validate(catalog, truth)
    print(format_validation(scores))
    write_table(scores, path, args.overwrite)
    _say(args, f"wrote {path}")


def run_report(args):
    """The HTML report of a catalog."""
    from spfast.data.survey import open_survey
    from spfast.products.checks import load_models
    from spfast.products.compatibility import check_catalog
    from spfast.products.report import make_report
    from spfast.products.tables import read_table

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
        config=_config(args),
        overwrite=args.overwrite,
        threads=args.threads,
        quiet=args.quiet,
    )
    _say(args, f"wrote {page}")


def run_warmup(args):
    """Compile every kernel now, so that no later command waits for it."""
    from spfast.warmup import warm_up

    seconds, compiling = warm_up(threads=args.threads)
    _say(
        args,
        f"ran every kernel in {seconds:.1f} s, {compiling:.1f} s of them compiling what was not on disk yet",
    )


def run_info(args):
    """What a file or folder of ours is."""
    from spfast.products.info import describe

    for what, value in describe(args.path, args.verify):
        print(f"{_one_line(what):14s}{value if value.isprintable() else _one_line(value)}")


def _parser():
    parser = argparse.ArgumentParser(
        prog="spfast",
        description="Spectrophotometric parallaxes of red giants from APOGEE spectra and broad-band photometry.",
        epilog="See it work from nothing: spfast demo demo/",
    )
    parser.add_argument("--version", action="version", version=f"spfast {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name, run, text):
        sub = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        common = sub.add_argument_group("common options")
        common.add_argument("--config", metavar="FILE", help="TOML file of settings; options given here win over it")
        common.add_argument("--preset", choices=PRESETS, help="settings to start from (default: default)")
        common.add_argument("--threads", type=_count, metavar="N", help="processors to use (default: all)")
        common.add_argument("--seed", type=int, metavar="S", help="seed of a mock survey and of the hash for folds")
        common.add_argument("--quiet", action="store_true", help="print results, warnings and errors only")
        common.add_argument("--debug", action="store_true", help="show the traceback of an error")
        sub.set_defaults(run=run)
        return sub

    sub = command(
        "demo", run_demo, "Simulate a small survey and take it all the way to a validated catalog and its report."
    )
    sub.add_argument("out", nargs="?", default="demo", metavar="OUT", help="folder to make (default: demo)")
    sub.add_argument("--stars", type=_count, default=DEMO_STARS, metavar="N", help="mock stars (default: %(default)s)")
    _overwrite(sub)

    sub = command("simulate", run_simulate, "Make a mock survey in real file formats, and its truth.")
    sub.add_argument("out", metavar="OUT", help="folder to make")
    sub.add_argument("--stars", type=_count, default=3000, metavar="N", help="mock stars (default: %(default)s)")
    sub.add_argument("--release", choices=RELEASES, default="dr17", help="layout of the files (default: dr17)")
    sub.add_argument(
        "--spectra", choices=("apStar", "aspcapStar"), default="aspcapStar", help="kind of file (default: aspcapStar)"
    )
    sub.add_argument("--survey", action="store_true", help="write a survey folder directly, no FITS spectra: for any N")
    sub.add_argument(
        "--zero-point",
        type=float,
        default=Config().fit.zero_point,
        metavar="MAS",
        help="what Gaia's parallaxes are too small by at G = 14 [mas] (default: %(default)s)",
    )
    sub.add_argument(
        "--clusters",
        nargs="*",
        metavar="NAME",
        help="with mock members of these star clusters, labelled in the truth; without a name: "
        f"{', '.join(MOCK_CLUSTERS)} (default: none)",
    )
    sub.add_argument(
        "--zero-point-slope",
        type=float,
        default=0.0,
        metavar="SLOPE",
        help="and by more for every further magnitude [mas/mag] (default: %(default)s)",
    )
    sub.add_argument(
        "--wrong-parallaxes",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="give this share of the stars a wrong parallax: another star's, or off by 10 to 50 errors (default: 0)",
    )

    sub = command("ingest", run_ingest, "Read, match, cut and normalise; build a survey. An interrupted run goes on.")
    sub.add_argument("--allstar", required=True, metavar="FILE", help="APOGEE allStar table")
    sub.add_argument("--spectra", required=True, metavar="DIR", help="folder of apStar or aspcapStar files")
    sub.add_argument("--gaia", required=True, metavar="FILE", help="Gaia table, joined with WISE or not")
    sub.add_argument("--wise", metavar="FILE", help="WISE table, if it is not in the Gaia table")
    sub.add_argument("-o", "--output", required=True, metavar="SURVEY", help="folder to make")

    sub = command("fit", run_fit, "Fit one model to the training stars of a survey.")
    sub.add_argument("survey", metavar="SURVEY", help="survey folder")
    sub.add_argument("-o", "--output", required=True, metavar="MODEL", help="model file to write (.npz)")
    sub.add_argument("--fold", choices=("A", "B"), help="train on this fold only (default: on all training stars)")
    _fit_options(sub)
    _overwrite(sub)

    sub = command("tune", run_tune, "Cross-validate penalty and zero point. An interrupted run with -o goes on.")
    sub.add_argument("survey", metavar="SURVEY", help="survey folder")
    default = Config().tune
    for name, metavar, values in (
        ("--penalties", "L", default.penalties),
        ("--zero-points", "MAS", default.zero_points),
    ):
        text = f"grid, or one number to keep fixed (default: {' '.join(f'{value:g}' for value in values)})"
        sub.add_argument(name, type=float, nargs="+", metavar=metavar, help=text)
    sub.add_argument(
        "--folds", type=_count, default=2, metavar="K", help="folds; 2: the catalog's A and B (default: 2)"
    )
    sub.add_argument("--repeats", type=_count, default=1, metavar="R", help="splits into K folds (default: 1)")
    sub.add_argument("--score", choices=SCORES, help=f"on stars held out (default: {default.score})")
    sub.add_argument("--choice", choices=CHOICES, help=f"which point to choose (default: {default.choice})")
    _solver_options(sub)
    sub.add_argument("-o", "--output", metavar="FILE", help="table of all points: .ecsv .fits .vot .csv .parquet")
    _overwrite(sub)

    sub = command("predict", run_predict, "Apply a saved model to a survey, new stars included.")
    sub.add_argument("model", metavar="MODEL", help="model file written by spfast fit or catalog --models")
    sub.add_argument("survey", metavar="SURVEY", help="survey folder")
    _output_table(sub)
    _overwrite(sub)

    sub = command("catalog", run_catalog, "Fit a model to each fold, predict each star by the model that never saw it.")
    sub.add_argument("survey", metavar="SURVEY", help="survey folder")
    _output_table(sub)
    sub.add_argument("--models", metavar="DIR", help="also save the two models: DIR/model_A.npz and DIR/model_B.npz")
    _fit_options(sub)
    _overwrite(sub)

    sub = command("rebuild", run_rebuild, "Make a catalog again from its survey and its own header; compare the bytes.")
    sub.add_argument("catalog", metavar="CATALOG", help="table that spfast catalog wrote: .fits .ecsv .vot .parquet")
    sub.add_argument("--survey", required=True, metavar="SURVEY", help="the survey folder it was made from")
    sub.add_argument("-o", "--output", metavar="FILE", help="keep the new one here, in the same format")
    _overwrite(sub)

    sub = command(
        "validate", run_validate, "Score a catalog: the paper's measures, its errors, and what else is asked."
    )
    sub.add_argument("catalog", metavar="CATALOG", help="table with the seven columns of Table 1")
    sub.add_argument("--truth", metavar="FILE", help="table with APOGEE_ID and true_parallax [mas]")
    sub.add_argument("--survey", metavar="SURVEY", help="its survey: coverage by G, H-W2 and S/N, trends of residuals")
    sub.add_argument(
        "--models",
        action="append",
        metavar="DIR|MODEL",
        help="models to compare two by two and, with --survey, to redden stars for: a folder of catalog --models or a "
        "file; may be given again",
    )
    sub.add_argument("--compare", metavar="OTHER", help="another catalog, matched by 2MASS_ID")
    sub.add_argument("--clusters", metavar="FILE", help="members: 2MASS_ID, cluster and, if known, distance [kpc]")
    sub.add_argument("--law", default="wang2019", metavar="LAW", help="extinction law: wang2019 (default) or yuan2013")
    sub.add_argument(
        "--zero-point",
        type=float,
        metavar="MAS",
        help="what Gaia_parallax has had added [mas] (default: what the catalog's header says, else 0.0483)",
    )
    sub.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="table to write the measures to: .fits .ecsv .vot .csv .parquet; the others beside it: FILE_coverage, ...",
    )
    _overwrite(sub)

    sub = command("report", run_report, "Draw every figure of a catalog and write one HTML page about it.")
    sub.add_argument("catalog", metavar="CATALOG", help="table that spfast catalog wrote")
    sub.add_argument("--survey", required=True, metavar="SURVEY", help="the survey folder it was made from")
    sub.add_argument("-o", "--output", required=True, metavar="DIR", help="folder to make: report.html and figures/")
    sub.add_argument("--models", metavar="DIR", help="folder of catalog --models: coefficients, convergence, reddening")
    sub.add_argument("--truth", metavar="FILE", help="table with APOGEE_ID and true_parallax [mas]")
    sub.add_argument("--tune", metavar="FILE", help="table that spfast tune wrote")
    sub.add_argument(
        "--clusters",
        metavar="FILE",
        help="members: 2MASS_ID, cluster and, if known, distance [kpc] (default: found around twelve known clusters)",
    )
    sub.add_argument("--compare", metavar="OTHER", help="another catalog, matched by 2MASS_ID")
    sub.add_argument(
        "--images",
        choices=("inside", "beside"),
        default="inside",
        help="images in the page or next to it (default: inside)",
    )
    _overwrite(sub)

    sub = command("info", run_info, "Say what a survey, model or catalog is, how it was made, whether it is whole.")
    sub.add_argument("path", metavar="SURVEY|MODEL|CATALOG", help="folder or file")
    sub.add_argument("--verify", action="store_true", help="read every byte and compare with the stored hashes")

    command("warmup", run_warmup, "Compile every kernel now and keep it on disk; later commands start at once.")
    return parser


def _fit_options(sub):
    default = Config().fit
    sub.add_argument(
        "--penalty",
        type=_number_or_word,
        metavar="L|auto",
        help=f"L1 penalty lambda on the pixels (default: {default.penalty:g}); auto: chosen for each model by folds "
        "within its own training stars",
    )
    sub.add_argument(
        "--zero-point",
        type=_number_or_word,
        metavar="MAS|RULE",
        help=f"added to every Gaia parallax [mas] (default: {default.zero_point:g}); auto: chosen as the penalty; "
        "fit: with the coefficients, the distance modulus exact; "
        "lindegren2021: Gaia DR3's own, star by star (pip install 'spfast[zeropoint]')",
    )
    sub.add_argument(
        "--robust",
        action="store_true",
        default=None,
        help="give wrong parallaxes a component of their own, so that they do no harm (default: all count as right)",
    )
    sub.add_argument(
        "--zero-point-covariates",
        nargs="+",
        choices=ZERO_POINT_COVARIATES,
        metavar="NAME",
        help="with --zero-point fit: a zero point that is linear in these as well: "
        f"{', '.join(ZERO_POINT_COVARIATES)} (default: none)",
    )
    _solver_options(sub)


def _solver_options(sub):
    sub.add_argument(
        "--exact-distance-modulus",
        action="store_true",
        default=None,
        help="hold the magnitudes' coefficients to a sum of -0.2 ln 10, as distances ask (default: free)",
    )
    sub.add_argument(
        "--pixel-correlation",
        type=float,
        nargs="+",
        metavar="RHO",
        help="correlation of the errors of pixels 1, 2, ... apart, e.g. 0.4 0.1 (default: independent)",
    )
    sub.add_argument("--solver", choices=("prox-newton", "owlqn"), help="minimiser (default: prox-newton)")
    sub.add_argument(
        "--split",
        choices=("auto", "random_index", "hash"),
        help="how to split into A and B: Gaia's random_index, a hash of source_id, or what is there (default: auto)",
    )


def _output_table(sub):
    sub.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="table to write: .fits .ecsv .vot .csv .parquet"
    )


def _overwrite(sub):
    sub.add_argument("--overwrite", action="store_true", help="replace outputs that exist")


def _number_or_word(text):
    try:
        return float(text)
    except ValueError:
        return text


def _count(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected at least 1")
    return value
