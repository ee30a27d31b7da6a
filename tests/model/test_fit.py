"""The fitter's door: input checks, units, models on disk and on other surveys, and the path."""

from dataclasses import replace

import numpy as np
import pytest
import reference
from astropy import units as u
from problems import small_problem

import spfast
from spfast.errors import BadInputError
from spfast.model.layout import FeatureLayout
from spfast.model.parts import Provenance, Tuned


@pytest.fixture(scope="module")
def problem():
    return small_problem(400, 40)


@pytest.fixture(scope="module")
def layout():
    return FeatureLayout(tuple(range(250, 290)))


@pytest.fixture(scope="module")
def model(problem, layout):
    return spfast.fit(*problem.arguments, 5.0, zero_point=0.05, layout=layout, metadata={"fold": "A"})


def test_quantities_are_converted(problem):
    plain = spfast.fit(*problem.arguments, 10.0, penalized=problem.penalized, zero_point=0.05)
    arcsec = spfast.fit(
        problem.design,
        (problem.parallax * u.mas).to(u.arcsec),
        (problem.error * u.mas).to(u.uas),
        10.0,
        penalized=problem.penalized,
        zero_point=50 * u.uas,
    )
    np.testing.assert_allclose(arcsec.coef, plain.coef, rtol=1e-6, atol=1e-9)
    with pytest.raises(BadInputError, match="unit mag"):
        spfast.fit(problem.design, problem.parallax * u.mag, problem.error, 10.0)


def test_zero_point_is_added_to_every_parallax(problem):
    shifted = spfast.fit(problem.design, problem.parallax + 0.05, problem.error, 10.0, penalized=problem.penalized)
    offset = spfast.fit(*problem.arguments, 10.0, penalized=problem.penalized, zero_point=0.05)
    assert shifted.coef.tobytes() == offset.coef.tobytes()
    assert offset.zero_point == 0.05


def test_mask_and_indices_are_the_same(problem):
    mask = np.arange(400) % 3 == 0
    by_mask = spfast.fit(*problem.arguments, 10.0, penalized=problem.penalized, rows=mask)
    by_index = spfast.fit(*problem.arguments, 10.0, penalized=problem.penalized, rows=np.flatnonzero(mask))
    assert by_mask.coef.tobytes() == by_index.coef.tobytes()
    assert by_mask.n_stars == mask.sum()


def test_parallaxes_of_other_rows_never_matter(problem):
    mask = np.arange(400) < 200
    poisoned = problem.parallax.copy()
    poisoned[200:] = np.nan
    clean = spfast.fit(*problem.arguments, 10.0, penalized=problem.penalized, rows=mask)
    other = spfast.fit(problem.design, poisoned, problem.error, 10.0, penalized=problem.penalized, rows=mask)
    assert clean.coef.tobytes() == other.coef.tobytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": np.zeros(5)}, "features: got shape"),
        ({"features": np.zeros((400, 49), dtype=int)}, "float32 or float64"),
        ({"features": np.zeros((49, 400)).T}, "not contiguous"),
        ({"parallax": np.zeros(3)}, "parallax: shape"),
        ({"parallax": np.full(400, np.nan)}, "parallax: 400 of the 400"),
        ({"parallax_error": np.zeros(400)}, "parallax_error: 400 of the 400"),
        ({"parallax_error": np.full(400, -1.0)}, "positive number in mas"),
        ({"parallax_error": np.full(400, 1e-200)}, "overflow"),
        ({"penalty": -1.0}, "penalty is -1"),
        ({"penalty": np.nan}, "penalty is nan"),
        ({"penalty": "30"}, "penalty is '30'"),
        ({"penalized": np.ones(5, bool)}, "penalized:"),
        ({"penalized": np.ones(49)}, "boolean mask"),
        ({"rows": np.zeros(400, bool)}, "no star is selected"),
        ({"rows": np.zeros(7, bool)}, "rows: the mask"),
        ({"rows": [400]}, "indices go from 400"),
        ({"rows": [0.5]}, "rows: got float64"),
        ({"solver": "adam"}, "solver 'adam'"),
        ({"start": "zero"}, "start 'zero'"),
        ({"start": np.zeros(3)}, "start: shape"),
        ({"layout": FeatureLayout((1, 2))}, "features: 49 columns, the layout has 11"),
        ({"exact_distance_modulus": True}, "needs a layout"),
        (
            {"exact_distance_modulus": True, "layout": FeatureLayout(tuple(range(40))), "penalized": np.ones(49, bool)},
            "expected unpenalised magnitudes",
        ),
        ({"threads": 0}, "threads is 0"),
        ({"threads": 1.5}, "threads is 1.5"),
    ],
)
def test_bad_input_is_one_clear_line(problem, change, message):
    arguments = {
        "features": problem.design,
        "parallax": problem.parallax,
        "parallax_error": problem.error,
        "penalty": 10.0,
        "penalized": problem.penalized,
    }
    with pytest.raises(BadInputError) as caught:
        spfast.fit(**(arguments | change))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nan_feature_is_named(problem):
    design = problem.design.copy()
    design[123, 45] = np.nan
    with pytest.raises(BadInputError, match="row 123, column 45 is nan"):
        spfast.fit(design, problem.parallax, problem.error, 10.0, penalized=problem.penalized)
    rows = np.arange(400) != 123
    model = spfast.fit(design, problem.parallax, problem.error, 10.0, penalized=problem.penalized, rows=rows)
    predicted = model.predict(design)
    used = model.coef[45] != 0.0
    assert np.isnan(predicted[123])
    assert np.isfinite(predicted[rows]).all() or used


def test_predictions_and_errors_match_reference(problem, model):
    errors = np.random.default_rng(0).uniform(0, 0.05, size=problem.design.shape).astype(np.float32)
    parallax = np.exp(reference.linear_predictor(problem.design, model.coef))
    np.testing.assert_allclose(model.predict(problem.design), parallax, rtol=2e-6)
    expected = parallax * reference.ln_error(errors, model.coef)
    np.testing.assert_allclose(model.predict_error(problem.design, errors), expected, rtol=1e-5)
    for features, of_others in ((problem.design[:1], errors), (problem.design, errors[:1])):
        for method in (model.predict_error, model.predict_ln_error, model.predict_stars):
            with pytest.raises(
                BadInputError, match=r"feature_errors: \d+ rows, features has \d+; give those of the same"
            ):
                method(features, of_others)
    rows = np.array([5, 17, 300])
    assert (model.predict(problem.design, rows=rows) == model.predict(problem.design)[rows]).all()
    assert model.predict(problem.design, rows=np.zeros(0, int)).size == 0
    with pytest.raises(BadInputError, match="48 columns, the model has 49"):
        model.predict(np.zeros((3, 48)))


def test_model_survives_the_disk(tmp_path, problem, model):
    path = tmp_path / "model.npz"
    model.save(path)
    back = spfast.load_model(path)
    assert back.coef.tobytes() == model.coef.tobytes()
    assert back.layout == model.layout
    assert back.metadata == {"fold": "A"}
    assert (back.penalty, back.zero_point, back.n_stars) == (5.0, 0.05, 400)
    assert back.result.history.dtype == model.result.history.dtype
    assert back.result.converged is True
    assert back.predict(problem.design).tobytes() == model.predict(problem.design).tobytes()
    assert [p.name for p in tmp_path.iterdir()] == ["model.npz"]


def test_damaged_models_are_refused(tmp_path, model):
    path = tmp_path / "model.npz"
    model.save(path)
    whole = path.read_bytes()
    for damaged in (whole[:-100], whole[: len(whole) // 2], b"", b"not a model", whole[:300] + b"x" * 50 + whole[350:]):
        path.write_bytes(damaged)
        with pytest.raises(BadInputError, match="not a whole spfast model"):
            spfast.load_model(path)
    with pytest.raises(BadInputError, match="no such model"):
        spfast.load_model(tmp_path / "absent.npz")
    with pytest.raises(BadInputError, match="cannot be written"):
        model.save(tmp_path / "no" / "folder" / "model.npz")


def test_pickles_are_never_opened(tmp_path):
    np.savez(tmp_path / "evil.npz", header=np.array([object()], dtype=object), coef=np.zeros(3), penalized=np.zeros(3))
    with pytest.raises(BadInputError, match="not a whole spfast model"):
        spfast.load_model(tmp_path / "evil.npz")


def test_models_whose_parts_do_not_fit_are_refused(tmp_path, model):
    path = tmp_path / "model.npz"
    damaged = {
        "its arrays do not fit together": {"penalized": model.penalized[1:]},
        "its layout does not fit": {"coef": model.coef[1:], "penalized": model.penalized[1:]},
        "its coefficients are float32": {"coef": model.coef.astype(np.float32)},
        "expected finite float64": {"coef": np.full_like(model.coef, np.inf)},
    }
    for message, change in damaged.items():
        replace(model, **change).save(path)
        with pytest.raises(BadInputError, match=message):
            spfast.load_model(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: replace(m, tuned=Tuned("\x1b[2Jpenalty 5")),
        lambda m: replace(m, provenance=Provenance(fold_rule="hash\x1b]0;x\x07")),
        lambda m: replace(m, result=replace(m.result, message="converged\r")),
    ],
    ids=["summary", "fold rule", "message"],
)
def test_text_that_would_move_a_terminals_cursor_is_in_no_model(tmp_path, model, change):
    with pytest.raises(BadInputError, match=r"not written \(header\..*, expected printable text\)"):
        change(model).save(tmp_path / "model.npz")


def test_what_a_model_lacks_is_said(problem, layout, model):
    errors = np.full_like(problem.design, 0.01)
    # Without an error budget the error is that from the features.
    np.testing.assert_array_equal(model.predict_ln_error(problem.design, errors), model.propagate_ln_error(errors))
    with pytest.raises(BadInputError, match="fitted without a layout"):
        replace(model, layout=None).for_layout(layout)


def test_model_moves_to_another_survey(problem, layout, model):
    wider = FeatureLayout((100, *layout.pixels, 8000))
    moved = model.for_layout(wider)
    design = np.column_stack([problem.design[:, :9], np.ones(400), problem.design[:, 9:], np.ones(400)])
    design = np.ascontiguousarray(design, dtype=np.float32)
    np.testing.assert_allclose(moved.predict(design), model.predict(problem.design), rtol=1e-6)
    used = [p for p, c in zip(layout.pixels, model.coef[9:], strict=True) if c != 0.0]
    with pytest.raises(BadInputError, match=f"first: pixel_{used[0]:04d}"):
        model.for_layout(FeatureLayout(tuple(p for p in layout.pixels if p != used[0])))
    assert model.for_layout(layout) is model


def test_path_is_the_single_fits(problem):
    grid = [5.0, 80.0, 20.0]
    path = spfast.fit_path(*problem.arguments, grid, penalized=problem.penalized, tolerance=1e-4)
    assert [m.penalty for m in path] == grid
    assert path[1].n_nonzero <= path[2].n_nonzero <= path[0].n_nonzero
    for penalty, warm in zip(grid, path, strict=True):
        cold = spfast.fit(*problem.arguments, penalty, penalized=problem.penalized, tolerance=1e-4)
        assert warm.result.converged
        np.testing.assert_allclose(warm.result.objective, cold.result.objective, rtol=1e-6)
        np.testing.assert_allclose(warm.predict(problem.design), cold.predict(problem.design), rtol=1e-3)
    with pytest.raises(BadInputError, match="penalties"):
        spfast.fit_path(*problem.arguments, [], penalized=problem.penalized)
    with pytest.raises(BadInputError, match="penalties"):
        spfast.fit_path(*problem.arguments, [3.0, -1.0], penalized=problem.penalized)


def test_fitter_ends_where_single_fits_end(problem):
    grid = [(3.0, 0.05), (1.0, 0.05), (1.0, 0.07), (0.3, 0.05), (3.0, 0.0)]
    with spfast.Fitter(*problem.arguments, penalized=problem.penalized, tolerance=1e-4) as fitter:
        together = [fitter.fit(penalty, zero_point=zero_point) for penalty, zero_point in grid]
    for point, model in zip(grid, together, strict=True):
        alone = spfast.fit(
            *problem.arguments, *point[:1], penalized=problem.penalized, zero_point=point[1], tolerance=1e-4
        )
        assert (model.penalty, model.zero_point) == point
        assert model.result.converged
        assert alone.result.converged
        np.testing.assert_allclose(model.result.objective, alone.result.objective, rtol=1e-8)
        np.testing.assert_allclose(model.predict(problem.design), alone.predict(problem.design), rtol=1e-4)


def test_fitter_has_not_to_read_the_stars_again_where_it_stands(problem):
    with spfast.Fitter(*problem.arguments, penalized=problem.penalized) as fitter:
        first = fitter.fit(1.0, zero_point=0.05)
        assert first.result.n_passes > 1
        assert fitter.fit(1.0, zero_point=0.05).result.n_passes == 0
        moved = fitter.fit(1.0, zero_point=0.06)
    assert 0 < moved.result.n_passes < first.result.n_passes


def test_fitter_gives_the_same_bits_for_any_number_of_threads(problem):
    found = []
    for threads in (1, 3):
        with spfast.Fitter(*problem.arguments, penalized=problem.penalized, threads=threads) as fitter:
            found.append(
                [fitter.fit(p, zero_point=z).coef.tobytes() for p, z in ((3.0, 0.0), (1.0, 0.05), (1.0, 0.07))]
            )
    assert found[0] == found[1]


def test_fitter_refuses_an_unknown_solver(problem):
    with pytest.raises(BadInputError, match="solver 'simplex'"):
        spfast.Fitter(*problem.arguments, solver="simplex")
