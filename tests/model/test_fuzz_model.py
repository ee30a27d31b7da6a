"""A model, damaged, and forged with its seal made right again: one line or a right answer from all that read models."""

import contextlib
import json
from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table
from forged_model import forge, parts_of
from fuzzing import NUMBERS, changed_json, command, damaged, fuzz, outcome
from hypothesis import strategies as st
from tiny import tiny_survey

from spfast.catalog.columns import FLAGS
from spfast.catalog.make import make_catalog
from spfast.catalog.predict import predict_survey
from spfast.config import Config
from spfast.data.survey import open_survey
from spfast.data.tables.write import write_table
from spfast.errors import BadInputError
from spfast.figures.checks import plot_convergence
from spfast.model.fitted_model import load_model
from spfast.model.parts import Provenance
from spfast.report import page
from spfast.training.fold import fit_folds

#: A model with everything a header can have: tuned, robust, a fitted zero point, the scatter in its weights.
EVERYTHING = {
    "fit": {
        "penalty_rule": "auto",
        "zero_point_rule": "fit",
        "zero_point_covariates": "ecl_lat",
        "robust": True,
        "intrinsic_scatter": True,
    },
    "tune": {"penalties": (10.0, 30.0)},
}
#: Of pixels as they are, and of a low-rank model; the first with the one more thing that it can have.
KINDS = {
    "raw": {"fit": {"pixels": "raw"}, "errors": {"pixel_correlation": (0.4, 0.1)}},
    "low-rank": {"fit": {"pixels": "low-rank"}},
}
#: Of the header, whose other parts are mostly the layout.
_INSIDE = [
    ("metadata",),
    ("metadata", "training_extent"),
    ("metadata", "zero_point_fit"),
    ("metadata", "robust"),
    ("metadata", "tuning"),
    ("metadata", "weights"),
    ("metadata", "features_origin"),
    ("metadata", "survey_config"),
    ("budget",),
    ("result",),
    ("low_rank",),
    ("layout",),
]


def _with_dust(stars):
    stars["H"], stars["w2mpro"] = np.full(len(stars), 10.0), np.full(len(stars), 9.9)


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folder(tmp_path_factory, kind):
    """A survey, its catalog and the two models."""
    folder = tmp_path_factory.mktemp("fuzz")
    survey, _ = tiny_survey(folder / "survey", n_stars=150, edit=_with_dust)
    config = Config().replace(**EVERYTHING).replace(**KINDS[kind])
    models = fit_folds(survey, config, 1)
    write_table(make_catalog(survey, config=config, models=models, threads=1), folder / "catalog.fits")
    (folder / "models").mkdir()
    for fold, model in models.items():
        model.save(folder / f"model_{fold}.npz")
        model.save(folder / "models" / f"model_{fold}.npz")
    return folder


@pytest.fixture(scope="module", autouse=True)
def _figures_of_models():
    """A report draws what it draws of models, and no more: others take their time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "SHEETS", [sheet for sheet in page.SHEETS if sheet.needs == "models"])
        yield


@fuzz
def test_model(folder, data):
    path, model = folder / "model.npz", (folder / "model_A.npz").read_bytes()
    path.write_bytes(data.draw(damaged(model)))
    read = outcome(load_model, path)
    # Every byte of a model is sealed.
    assert read is None or path.read_bytes() == model
    assert command("info", path) == (2 if read is None else 0)


@fuzz
def test_model_that_was_written_wrong(folder, data):
    path, parts = folder / "models" / "model_A.npz", parts_of(folder / "model_A.npz")
    arrays = sorted(set(parts) - {"header"})
    for _ in range(data.draw(st.sampled_from((1, 1, 1, 2)))):
        name = data.draw(st.sampled_from(["header"] * 3 * len(arrays) + arrays))
        if name not in parts:
            continue
        if name == "header":
            text = str(parts[name])
            inside = [place for place in _INSIDE if place[0] in json.loads(text)]
            parts[name] = np.array(data.draw(changed_json(text, inside)))
            break
        how = data.draw(st.sampled_from(("lose", "shape", "value", "value")))
        if how == "lose":
            del parts[name]
        elif how == "shape":
            parts[name] = np.resize(parts[name], data.draw(st.sampled_from(((0,), (), (3,), (2, 2), (69,), (1, 69)))))
        elif parts[name].size:
            with np.errstate(all="ignore"), contextlib.suppress(ValueError, OverflowError):
                parts[name].flat[data.draw(st.integers(0, parts[name].size - 1))] = data.draw(st.sampled_from(NUMBERS))
    forge(path, parts)
    check_commands(folder, path, compare=data.draw(st.integers(0, 39)) == 0)


def check_commands(folder, path, compare):
    """What the commands make of a model: all of them refuse it, or none fails; ``compare`` for those that take long."""
    read = outcome(load_model, path)
    assert command("info", path) == (2 if read is None else 0)
    out, survey, catalog = folder / "out.fits", folder / "survey", folder / "catalog.fits"
    code = command("predict", path, survey, "-o", out, "--overwrite", "--threads", 1)
    if read is None:
        assert code == 2
    if code == 0:
        table = Table.read(out)
        numbers = np.stack([np.asarray(table[name]) for name in table.colnames if table[name].dtype.kind == "f"])
        assert np.isfinite(numbers[:, np.asarray(table["flags"]) == 0]).all()
    models = ["--models", folder / "models", "--survey", survey]
    if compare:
        code = command("validate", catalog, *models, "--threads", 1)
        assert code == 2 or read is not None
        code = command("report", catalog, *models, "-o", folder / "report", "--overwrite", "--quiet", "--threads", 1)
        assert code == 2 or read is not None


FORGERIES = {
    ("schema",): 4,
    ("penalty",): float("nan"),
    ("n_stars",): -1,
    ("layout", "features"): [{"name": ["G"], "kind": "magnitude"}],
    ("pixel_correlation",): [0.9, -0.9],
    ("result", "converged"): "yes",
    ("budget", "growth"): 7.0,
    ("budget", "subtracted"): 1,
    ("metadata",): [],
    ("metadata", "config"): [1],
    ("metadata", "fold"): "A\n",
    ("metadata", "robust"): [0.1, 5.0],
    ("metadata", "training_extent", "inverse_covariance"): [[1.0]],
    ("metadata", "training_extent", "fitted_inverse"): [[-1.0, 0, 0], [0, 1, 0], [0, 0, 1]],
    ("metadata", "training_extent", "line_scale"): -1.0,
    ("metadata", "training_stars"): 7,
    ("metadata", "tuning"): "penalty 30",
    ("metadata", "weights", "intrinsic_scatter"): None,
    ("metadata", "zero_point_fit", "offsets"): [0.05],
    ("metadata", "zero_point_fit"): None,
    ("layout", "line_weights"): [0.1],
    ("layout", "rank"): -1,
    ("low_rank", "broad", "inflation"): 0.0,
    ("low_rank", "n_broad"): 4.0,
}
#: Those of one kind of model alone.
OF_KIND = {("layout", "features"): "raw", ("layout", "rank"): "low-rank", ("layout", "line_weights"): "low-rank"}
OF_KIND |= {place: "low-rank" for place in FORGERIES if place[0] == "low_rank"}


@pytest.mark.parametrize("place", FORGERIES, ids=".".join)
def test_nonsense_in_a_header(folder, kind, place):
    if OF_KIND.get(place, kind) != kind:
        pytest.skip(f"no {'.'.join(place)} in a model of this kind")
    path, parts = folder / "models" / "model_A.npz", parts_of(folder / "model_A.npz")
    header = json.loads(str(parts["header"]))
    inner = header
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = FORGERIES[place]
    parts["header"] = np.array(json.dumps(header))
    forge(path, parts)
    with pytest.raises(BadInputError, match=r"model_A.npz: not a whole spfast model \(.*\); make it again") as caught:
        load_model(path)
    assert place == ("schema",) or any(name.split("_")[0] in str(caught.value) for name in place[-2:])
    survey, models = folder / "survey", ["--models", folder / "models"]
    assert command("info", path) == 2
    assert command("predict", path, survey, "-o", folder / "none.fits") == 2
    assert command("validate", folder / "catalog.fits", *models) == 2
    assert command("report", folder / "catalog.fits", *models, "--survey", survey, "-o", folder / "none") == 2


def test_a_model_that_could_not_be_read_again_is_not_saved(folder):
    model = replace(load_model(folder / "model_A.npz"), provenance=Provenance(fold=3))
    with pytest.raises(BadInputError, match=r"none.npz: not written \(header.metadata.fold is 3, expected printable"):
        model.save(folder / "none.npz")
    assert not (folder / "none.npz").exists()


def test_numbers_that_overflow_are_flagged(folder):
    parts = parts_of(folder / "model_A.npz")
    parts["budget_factor"][0, 0] = 1e9
    forge(folder / "wild.npz", parts)
    table = predict_survey(load_model(folder / "wild.npz"), open_survey(folder / "survey"))
    wild = ~np.isfinite(table["distance_84"])
    assert wild.any()
    assert (np.asarray(table["flags"])[wild] & 1 << list(FLAGS).index("extrapolation") > 0).all()


@pytest.mark.parametrize("what", ["objective", "kkt_violation"])
@pytest.mark.parametrize("number", [1e-300, 1e300])
def test_convergence_beyond_a_logarithmic_axis(folder, what, number):
    model = load_model(folder / "model_A.npz")
    model.result.history[what][0] = number
    figure = pytest.importorskip("matplotlib.figure").Figure()
    plot_convergence({"A": model}, figure.add_subplot(), what)
    (axes,) = figure.axes
    shown = np.concatenate([line.get_ydata() for line in axes.lines])
    assert ((shown > 1e-100) & (shown < 1e100)).all()


@pytest.mark.parametrize("what", ["objective", "kkt_violation"])
def test_convergence_of_a_model_without_penalty_or_misfit(folder, what):
    model = load_model(folder / "model_A.npz")
    model.result.history["objective"] = 0.0
    figure = pytest.importorskip("matplotlib.figure").Figure()
    plot_convergence({"A": replace(model, penalty=0.0)}, figure.add_subplot(), what)
    (axes,) = figure.axes
    assert all(np.isfinite(line.get_ydata()).all() for line in axes.lines)
