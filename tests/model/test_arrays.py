"""What callers hand in: units, masks, kinds of arrays and numbers that no fit can use, at every door of a fit."""

import contextlib

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.utils.masked import Masked
from problems import small_problem

import spfast
from spfast.errors import BadInputError, SpfastWarning
from spfast.model.arrays import check_design, resolve_rows, star_values
from spfast.solvers import SOLVERS

DOORS = {
    "fit": lambda x, p, e, **options: spfast.fit(x, p, e, 10.0, **options).coef,
    "robust fit": lambda x, p, e, **options: spfast.fit(x, p, e, 10.0, robust=True, **options).coef,
    "fit_path": lambda x, p, e, **options: spfast.fit_path(x, p, e, [10.0], **options)[0].coef,
    "penalty_max": lambda x, p, e, **options: np.array([spfast.penalty_max(x, p, e, **options)]),
    "fit_zero_point": lambda x, p, e, **options: spfast.fit_zero_point(x, p, e, 10.0, **options).offsets,
}
each_door = pytest.mark.parametrize("door", DOORS.values(), ids=list(DOORS))


@pytest.fixture(scope="module")
def problem():
    return small_problem(400, 30)


def options(problem, **more):
    return {"penalized": problem.penalized, "threads": 1, **more}


@each_door
@pytest.mark.parametrize("kind", ["Table", "QTable"])
def test_units_of_columns_are_those_of_quantities(problem, door, kind):
    stars = QTable({"p": (problem.parallax * u.mas).to(u.arcsec), "e": (problem.error * u.mas).to(u.uas)})
    stars = Table(stars) if kind == "Table" else stars
    plain = door(*problem.arguments, **options(problem))
    found = door(problem.design, stars["p"], stars["e"], **options(problem))
    np.testing.assert_allclose(found, plain, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "values",
    [
        Column([1.0, 2.0], unit="arcsec"),
        MaskedColumn([1.0, 2.0], unit="arcsec"),
        Column(np.array([1, 2], ">i4"), unit="arcsec"),
        Column(["1", "2"], unit="arcsec"),
        [1.0, 2.0] * u.arcsec,
        Masked([1.0, 2.0] * u.arcsec),
        np.array([1000.0, 2000.0], ">f8"),
        np.array([1000, 2000], "f2"),
        [1000, 2000],
        (1000.0, 2000.0),
        np.array([1000.0, 2000.0], dtype=object),
    ],
    ids=lambda values: type(values).__name__,
)
def test_values_of_stars_are_in_mas_whatever_holds_them(values):
    found = star_values(values, "parallax", 2)
    np.testing.assert_allclose(found, [1000.0, 2000.0])
    assert found.dtype == np.float64
    assert found.dtype.isnative
    assert type(found) is np.ndarray


def test_a_series_of_pandas_is_in_mas():
    pandas = pytest.importorskip("pandas")
    assert star_values(pandas.Series([1.0, 2.0], index=[7, 3]), "parallax", 2).tolist() == [1.0, 2.0]
    for kind in ("Int64", "Float64", "float64", "object"):
        found = star_values(pandas.Series([1, None], dtype=kind), "parallax", 2)
        np.testing.assert_array_equal(found, [1.0, np.nan])


@pytest.mark.parametrize(
    "values",
    [
        np.ma.array([1.0, 2.0], mask=[False, True]),
        np.ma.array([1, 2], mask=[False, True]),
        MaskedColumn([1, 2], mask=[False, True], unit="mas"),
        Masked([1.0, 2.0] * u.mas, mask=[False, True]),
        Masked(np.array([1.0, 2.0]), mask=[False, True]),
    ],
    ids=lambda values: type(values).__name__,
)
def test_masked_values_of_stars_are_missing(values):
    np.testing.assert_array_equal(star_values(values, "parallax", 2), [1.0, np.nan])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, 2.0] * u.mag, "unit mag, expected an angle"),
        ([1.0, 2.0] * u.dimensionless_unscaled, "expected an angle"),
        (u.Magnitude([1.0, 2.0]), "expected an angle"),
        (Column([1.0, 2.0], unit="furlong"), "unit furlong, expected an angle"),
        ([1.0, "a"], "not all are numbers"),
        ([1.0, {}], "not all are numbers"),
        ([1.0, [2.0]], "cannot be made an array"),
        ([1.0, 2.0j], "got complex128"),
        ([True, False], "got bool"),
        (np.ones((2, 1)), "shape"),
    ],
)
def test_values_that_are_no_parallaxes_are_refused(values, message):
    with pytest.raises(BadInputError, match=message) as caught:
        star_values(values, "parallax", 2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["u1", "i1", "i4", "i8", ">i8", "u8"])
def test_integers_0_and_1_for_every_star_are_a_mask(kind):
    assert resolve_rows(np.array([0, 1, 1, 0], kind), 4).tolist() == [1, 2]
    assert resolve_rows(np.ones(4, kind), 4).tolist() == [0, 1, 2, 3]
    assert resolve_rows(np.zeros(4, kind), 4).tolist() == []
    with pytest.raises(BadInputError, match="the mask has shape"):
        resolve_rows(np.array([0, 1, 1], kind), 4)
    assert resolve_rows(np.array([1, 0], kind), 2).tolist() == [1, 0]
    assert resolve_rows(np.array([0, 1], kind), 4).tolist() == [0, 1]


@each_door
def test_a_mask_of_bytes_chooses_the_stars_that_the_mask_chooses(problem, door):
    mask = np.arange(400) % 4 > 0
    plain = door(*problem.arguments, **options(problem, rows=mask))
    np.testing.assert_array_equal(door(*problem.arguments, **options(problem, rows=mask.astype("u1"))), plain)


@pytest.mark.parametrize(
    "rows", [np.ma.array([True, False, True], mask=[True, False, False]), MaskedColumn([0, 2], mask=[False, True])]
)
def test_masked_rows_are_refused(rows):
    with pytest.raises(BadInputError, match="rows: 1 values are masked"):
        resolve_rows(rows, 3)


@pytest.mark.parametrize("rows", [["a"], [[0], [1, 2]], slice(0, 2), [True, None, False], {0, 1}])
def test_rows_that_are_neither_mask_nor_indices_are_refused(rows):
    with pytest.raises(BadInputError, match="rows: "):
        resolve_rows(rows, 3)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.ones((3, 2), int), "ascontiguousarray"),
        (np.ones((3, 2), "f2"), "ascontiguousarray"),
        (np.ones((3, 2), bool), "ascontiguousarray"),
        (np.ones((3, 2), ">f4"), "ascontiguousarray"),
        (np.ones((3, 2), complex), "ascontiguousarray"),
        (np.asfortranarray(np.ones((3, 2))), "ascontiguousarray"),
        (Table({"a": [1.0], "b": [2.0]}), "a table of 2 columns"),
        (np.ones((3, 2)) * u.mag, "unit mag"),
        (np.ones((3, 2)) * u.percent, "unit %"),
        ([[1.0], [1.0, 2.0]], "cannot be made an array"),
        ([["a", "b"]], "expected a 2-D array"),
        (None, "expected a 2-D array"),
    ],
)
def test_features_of_other_kinds_are_refused_in_one_line(features, message):
    with pytest.raises(BadInputError, match=message) as caught:
        check_design(features)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_a_data_frame_is_taken_as_the_refusal_says():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.0, 2.0], "unit": [3.0, 4.0]})
    with pytest.raises(BadInputError, match=r"pass np.ascontiguousarray\("):
        check_design(frame)
    assert check_design(np.ascontiguousarray(frame)).tolist() == [[1.0, 3.0], [2.0, 4.0]]


def test_masked_features_are_missing_and_matter_in_training_stars_alone(problem):
    design = np.ma.array(problem.design, mask=np.zeros(problem.design.shape, bool))
    design[7, 20] = np.ma.masked
    assert np.isnan(check_design(design)[7, 20])
    with pytest.raises(BadInputError, match="features: row 7, column 20 is nan"):
        spfast.fit(design, problem.parallax, problem.error, 10.0, **options(problem))
    rows = np.arange(400) != 7
    found = spfast.fit(design, problem.parallax, problem.error, 10.0, **options(problem, rows=rows))
    assert found.coef.tobytes() == spfast.fit(*problem.arguments, 10.0, **options(problem, rows=rows)).coef.tobytes()
    assert np.isnan(found.predict(design)).tolist() == [row == 7 for row in range(400)]


@each_door
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", [0, 5, 20], ids=["constant", "magnitude", "pixel"])
def test_numbers_that_are_not_finite_are_named_at_every_door(problem, door, value, column):
    design = problem.design.copy()
    design[123, column] = value
    with pytest.raises(BadInputError, match=f"features: row 123, column {column} is {value}"):
        door(design, problem.parallax, problem.error, **options(problem))


@pytest.mark.parametrize("start", ["burn-in", np.zeros(39)], ids=["burn-in", "zeros"])
@pytest.mark.parametrize("column", [5, 20], ids=["magnitude", "pixel"])
def test_numbers_that_are_not_finite_are_named_before_any_start(problem, start, column):
    faint = int(np.argmin(problem.parallax / problem.error))
    design = problem.design.copy()
    design[faint, column] = np.nan
    with pytest.raises(BadInputError, match=f"features: row {faint}, column {column} is nan"):
        spfast.fit(design, problem.parallax, problem.error, 10.0, **options(problem, start=start))


@each_door
def test_magnitudes_beyond_any_are_refused(problem, door):
    design = problem.design.copy()
    design[123, 5] = 1e30
    with pytest.raises(BadInputError, match="features: row 123, column 5 is 1"):
        door(design, problem.parallax, problem.error, **options(problem))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("where", ["a column", "a number"])
def test_pixels_beyond_any_are_refused_with_the_column_and_what_to_do(problem, where, dtype, solver):
    design = problem.design.astype(dtype)
    if where == "a column":
        design[:, 20] *= 1e30
    else:
        design[5, 20] = 1e30
    text = r"features: row \d+, column 20 is .*expected finite numbers \(up to 1e\+10\); .* or rescale the column"
    with pytest.raises(BadInputError, match=text):
        spfast.fit(design, problem.parallax, problem.error, 10.0, **options(problem, solver=solver))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("columns", [[20], range(9, 39)], ids=["one", "all"])
def test_columns_of_thousands_are_fitted(problem, columns, solver):
    design = problem.design.copy()
    design[:, columns] *= 1e3
    warns = contextlib.nullcontext() if len(columns) == 1 else pytest.warns(SpfastWarning, match="divide each by its")
    with warns:
        model = spfast.fit(design, problem.parallax, problem.error, 10.0, **options(problem, solver=solver))
    assert model.result.converged


@each_door
def test_errors_far_below_all_others_are_counted_and_refused(problem, door):
    error = problem.error.copy()
    error[[5, 9]] = 1e-12, 1e-6
    with pytest.raises(
        BadInputError, match=r"parallax_error: \d of the \d+ .* below 0.0002 times the median of .* \(first: row [59]"
    ):
        door(problem.design, problem.parallax, error, **options(problem))


@pytest.mark.parametrize("robust", [None, True])
@pytest.mark.parametrize(
    "change",
    [
        lambda p: {"parallax": -np.abs(p.parallax)},
        lambda p: {"parallax": 1e30 * p.parallax},
        lambda p: {"features": np.where(np.arange(39) == 0, 0, p.design).astype("f4")},
        lambda p: {"features": np.zeros_like(p.design)},
        lambda p: {"features": (p.design * np.where(np.arange(39) < 9, 1e9, 1)).astype("f4")},
        lambda p: {"parallax_error": 1e30 * p.error},
        lambda p: {"rows": [3]},
    ],
    ids=["all negative", "huge parallaxes", "constant 0", "features 0", "large magnitudes", "huge errors", "one star"],
)
@pytest.mark.filterwarnings("ignore::spfast.errors.SpfastWarning")
def test_extremes_are_solved_or_refused(problem, change, robust):
    arguments = {"features": problem.design, "parallax": problem.parallax, "parallax_error": problem.error}
    with contextlib.suppress(BadInputError):
        model = spfast.fit(**(arguments | change(problem)), penalty=10.0, robust=robust, **options(problem))
        assert np.isfinite(model.coef).all()


@pytest.mark.parametrize(
    ("zero_point", "message"),
    [
        (np.full(400, 0.04), r"shape \(400,\), expected one number in mas; zero points of single stars"),
        ([0.04, 0.05], r"shape \(2,\)"),
        ([0.04] * u.mas, r"shape \(1,\)"),
        (0.04 * u.mag, "unit mag, expected an angle"),
        (np.nan, "expected one finite number"),
        (-np.inf, "expected one finite number"),
        (np.ma.masked, "zero_point"),
        ("0.04", "zero_point is '0.04', expected one number"),
        ("auto", "zero_point is 'auto'"),
        (None, "zero_point is None"),
        (True, "zero_point is True"),
    ],
)
def test_a_zero_point_is_one_number(problem, zero_point, message):
    with pytest.raises(BadInputError, match=message) as caught:
        spfast.fit(*problem.arguments, 10.0, zero_point=zero_point, **options(problem))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("zero_point", [50 * u.uas, np.float32(0.05), np.float64(0.05), np.array(0.05)])
def test_a_zero_point_may_have_a_unit_or_a_type_of_numpy(problem, zero_point):
    assert spfast.fit(*problem.arguments, 10.0, zero_point=zero_point, **options(problem)).zero_point == pytest.approx(
        0.05
    )
