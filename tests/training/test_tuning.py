"""Choosing penalty and zero point: the choice, grids that grow, resuming, no say of a star in its own prediction."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from tiny import RAW, ZERO_POINT, tiny_survey

from spfast import cli
from spfast.catalog.make import make_catalog
from spfast.config import Config, load_config, resolve_config
from spfast.data.tables.read import read_table
from spfast.errors import BadInputError, SpfastWarning
from spfast.selection.grid import PointStore, choose, grow, scored_zero_point, undecided_zero_points
from spfast.selection.splits import make_splits
from spfast.training import cross_validation, fold
from spfast.training.cross_validation import Tuning
from spfast.training.fold import FoldTraining, fit_stars
from spfast.training.tune import POINT_COLUMNS, tune

AUTO = Config().replace(
    fit={"penalty_rule": "auto", "zero_point_rule": "auto"},
    tune={"penalties": [100.0, 20.0], "zero_points": [0.03, 0.06], "inner_folds": 3},
)


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    return tiny_survey(tmp_path_factory.mktemp("tuning") / "survey", n_stars=600)[0]


def point(fold, penalty, score, zero_point=0.0, n=100):
    return {
        "repeat": 0,
        "held_out": fold,
        "penalty": penalty,
        "zero_point": zero_point,
        "n_test": n,
        "chi_squared": score,
        "n_best": 0 if score is None else n,
        "scatter": score,
        "n_nonzero": 5,
    }


def test_minimum_is_weighted_by_stars_and_ties_go_to_the_larger_penalty():
    points = [point("0", 10.0, 1.0), point("1", 10.0, 2.0, n=300), point("0", 20.0, 1.6), point("1", 20.0, 1.7, n=300)]
    chosen, minimum, means = choose(points)
    assert chosen == minimum == (20.0, 0.0)
    assert means[10.0, 0.0] == pytest.approx(1.75)
    assert choose([point("0", 10.0, 1.0), point("0", 20.0, 1.0)])[0] == (20.0, 0.0)


def test_one_standard_error_takes_differences_fold_by_fold():
    # The folds differ by a lot, the penalties by little and always alike: 40 is surely worse, 20 is not.
    scores = {10.0: (1.0, 3.0, 2.0), 20.0: (1.02, 2.99, 2.0), 40.0: (1.1, 3.1, 2.1)}
    points = [point(str(fold), p, score) for p, by_fold in scores.items() for fold, score in enumerate(by_fold)]
    chosen, minimum, _ = choose(points, choice="one-standard-error")
    assert (chosen, minimum) == ((20.0, 0.0), (10.0, 0.0))


def test_folds_without_best_stars_do_not_count():
    points = [point("0", 10.0, None), point("0", 20.0, None), point("1", 10.0, 0.1), point("1", 20.0, 0.2)]
    assert choose(points, "scatter")[0] == (10.0, 0.0)
    with pytest.raises(BadInputError, match="no fold has a finite scatter"):
        choose(points[:2], "scatter")
    with pytest.raises(BadInputError, match="score 'r2'"):
        choose(points, "r2")
    with pytest.raises(BadInputError, match="choice 'best'"):
        choose(points, "scatter", "best")


def test_zero_points_that_score_as_well():
    def scored(*scores, zero_point=0.0):
        return [point(str(fold), 10.0, score, zero_point) for fold, score in enumerate(scores)]

    chosen = scored(1.0, 1.2, 1.1)
    as_good, worse = scored(1.1, 1.1, 1.2, zero_point=0.02), scored(2.0, 2.21, 2.09, zero_point=0.04)
    said = undecided_zero_points(chosen + as_good + worse, "chi_squared", 10.0, 0.0)
    assert said.startswith("zero point 0 mas: 0.02 mas scores as well within the errors (chi_squared worse by 0.033")
    assert undecided_zero_points(chosen + worse, "chi_squared", 10.0, 0.0) == ""
    # Of one fold in common nothing can be said, nor of those without a score or of another penalty.
    for others in (as_good[:1], scored(None, None, None, zero_point=0.02)):
        assert undecided_zero_points(chosen + others, "chi_squared", 10.0, 0.0) == ""
    assert undecided_zero_points(chosen + as_good, "chi_squared", 20.0, 0.0) == ""


def test_a_choice_in_one_line():
    means = {(20.0, 0.01): 1.25, (10.0, 0.0): 1.125}
    tuning = Tuning(20.0, 0.01, (20.0, 0.01), means, [], (), "chi_squared", "minimum", 6)
    line = "penalty 20, zero point 0.01 mas: minimum of held-out chi_squared, 1.25 over 6 folds"
    assert tuning.summary == line
    assert replace(tuning, minimum=(10.0, 0.0)).summary == f"{line} (minimum 1.125 at 10, 0 mas)"


def test_folds_need_training_stars(survey):
    few = np.arange(6)
    with pytest.raises(BadInputError, match=r"fold \d+ holds 0 of 6 training stars; use fewer folds"):
        make_splits(survey.stars, few, 40)
    labels = make_splits(survey.stars, np.arange(600), 2).splits
    with pytest.raises(BadInputError, match=r"fold [AB] holds [03] of 3 training stars"):
        make_splits(survey.stars, labels[0].test[:3], 2)


def test_grids_grow_by_their_own_steps():
    assert grow([10.0, 20.0, 50.0], [10.0], geometric=True) == 5.0
    assert grow([10.0, 20.0, 50.0], [50.0], geometric=True) == 125.0
    assert grow([0.01, 0.03, 0.05], [0.01], geometric=False) == -0.01
    assert grow([30.0], [30.0], geometric=True) is None


def test_table_and_choice(survey):
    tuning, table = tune(survey, [200.0, 20.0, 2.0], [0.0, -ZERO_POINT, 0.1], config=RAW, n_folds=3, repeats=2)
    assert table.colnames == list(POINT_COLUMNS)
    assert len(table) == 9 * 6 + 6 * 3 * len(tuning.notes)
    assert tuning.zero_point == -ZERO_POINT
    assert table.meta["PENALTY"] == tuning.penalty
    assert len(table.meta["FOLDHASH"].split()) == 2
    chosen = (table["penalty"] == tuning.penalty) & (table["zero_point"] == tuning.zero_point)
    assert set(zip(table["repeat"][chosen], table["held_out"][chosen], strict=True)) == {
        (repeat, str(fold)) for repeat in (0, 1) for fold in range(3)
    }
    assert np.average(table["chi_squared"][chosen], weights=table["n_test"][chosen]) == pytest.approx(
        tuning.means[tuning.penalty, tuning.zero_point]
    )
    assert np.all(table["kkt_violation"] <= 1e-3 * table["penalty"])
    np.testing.assert_array_equal(table["n_train"] + table["n_test"], 400)


def test_scores_are_those_of_stars_held_out(survey):
    training = FoldTraining(survey, RAW, threads=1).stars
    splits = make_splits(survey.stars, training.rows, 2).splits
    tuning = cross_validation.cross_validate_stars(training, splits, [20.0], [0.05])
    for split, found in zip(splits, tuning.points, strict=True):
        assert not set(split.train) & set(split.test)
        model = training.fit_part(20.0, 0.05, split.train)
        residual = training.parallax[split.test] + 0.05 - model.predict(survey.features, split.test)
        assert found["chi_squared"] == pytest.approx(np.mean((residual / training.gaia_error[split.test]) ** 2), 1e-6)
        best = (training.parallax / training.gaia_error)[split.test] >= 20
        assert found["n_best"] == best.sum()


def test_ab_folds_are_the_catalogs(survey):
    training = FoldTraining(survey, Config()).stars
    splits = make_splits(survey.stars, training.rows, 2)
    for split in splits.splits:
        other = {"A": "B", "B": "A"}[split.held_out]
        np.testing.assert_array_equal(split.train, FoldTraining(survey, Config(), other).stars.rows)
    assert "random_index" in splits.rule


def test_a_choice_on_the_edge_makes_the_grid_grow_and_says_so(survey):
    said = []
    tuning, table = tune(survey, [4000.0, 1000.0], [0.05], config=RAW, say=said.append)
    assert tuning.penalty < 1000.0
    assert said == list(tuning.notes)
    assert said[0] == "the choice lies on the edge of the penalties: 250 added"
    assert "250 added" in table.meta["GREW"]
    assert table["penalty"].min() < tuning.penalty


def test_a_grid_without_pixels_grows_downwards_and_not_for_ever(survey, monkeypatch):
    tuning, table = tune(survey, [1e6, 1e5], [0.05], config=RAW, choice="one-standard-error")
    assert tuning.penalty <= 1000.0
    assert table["penalty"].max() == 1e6
    monkeypatch.setattr(cross_validation, "_MAX_GROWTH", 1)
    with pytest.warns(SpfastWarning, match="still on the edge"):
        tune(survey, [1e6, 1e5], [0.05], config=RAW)


def test_penalties_that_no_longer_matter_do_not_make_the_grid_grow(survey, monkeypatch):
    """Of few columns all are needed: the smaller the penalty the better, by ever less."""
    score = cross_validation.score_held_out

    def ever_less(stars, split, model):
        return score(stars, split, model) | {"chi_squared": 1.0 + 1e-4 * model.penalty}

    monkeypatch.setattr(cross_validation, "score_held_out", ever_less)
    tuning, _ = tune(survey, [20.0, 10.0], [0.05], config=Config().replace(fit={"rank": 5, "products": 0}))
    assert sorted(penalty for penalty, _ in tuning.means) == [0.625, 1.25, 2.5, 5.0, 10.0, 20.0]
    assert tuning.penalty == 0.625


def test_an_interrupted_run_goes_on(survey, tmp_path, monkeypatch):
    path, fits = tmp_path / "points.jsonl", []
    fit = cross_validation.score_held_out

    def interrupted(training, split, model):
        fits.append(model.penalty)
        if len(fits) == 5:
            raise KeyboardInterrupt
        return fit(training, split, model)

    monkeypatch.setattr(cross_validation, "score_held_out", interrupted)
    arguments = {"penalties": [200.0, 40.0, 10.0], "zero_points": [0.05], "n_folds": 3, "resume": path, "threads": 1}
    with pytest.raises(KeyboardInterrupt):
        tune(survey, **arguments)
    with open(path, "a", encoding="utf-8") as file:
        file.write('{"repeat": 0, "held_out": "2", "pena')  # a line cut short by the end of the process
    fits.clear()
    monkeypatch.setattr(cross_validation, "score_held_out", lambda *args: fits.append(args[2].penalty) or fit(*args))
    said = []
    resumed, table = tune(survey, **arguments, say=said.append)
    assert any(line.endswith("4 points are there") for line in said)
    assert len(fits) == len(table) - 4
    whole, _ = tune(survey, **{**arguments, "resume": None, "threads": 3})
    assert (resumed.penalty, resumed.zero_point) == (whole.penalty, whole.zero_point)
    assert resumed.points == whole.points


def test_points_of_another_run_are_not_taken(tmp_path):
    path = tmp_path / "points.jsonl"
    PointStore(path, {"survey": "a"}).add(point("0", 10.0, 1.0), np.array([0.0, 0.1]))
    assert PointStore(path, {"survey": "a"}).n_resumed == 1
    assert PointStore(path, {"survey": "b"}).n_resumed == 0
    assert PointStore(path, {"survey": "a"}).n_resumed == 0


def test_a_point_is_kept_once_and_in_its_last_form(tmp_path):
    path = tmp_path / "points.jsonl"
    store = PointStore(path, {})
    for score in (1.0, 2.0):
        store.add(point("0", 10.0, score), np.array([0.0, score]))
    resumed = PointStore(path, {})
    assert resumed.n_resumed == 1
    for one in (store, resumed):
        assert len(one.points) == 1
        assert one.get((0, "0", 10.0, 0.0))["chi_squared"] == 2.0
        assert one.starts(0, "0")[10.0, 0.0].tolist() == [0.0, 2.0]


def test_bad_grids_and_folds(survey):
    with pytest.raises(BadInputError, match="expected positive"):
        tune(survey, [0.0, 1.0], [0.0])
    with pytest.raises(BadInputError, match="expected a list of one number or more"):
        tune(survey, [1.0], [])
    with pytest.raises(BadInputError, match=r"\[tune\] penalties is \['a'\], expected a list of numbers"):
        Config().replace(tune={"penalties": ["a"]})
    with pytest.raises(BadInputError, match=r"\[fit\] penalty_rule is 'best', expected one of constant, auto"):
        Config().replace(fit={"penalty_rule": "best"})


@pytest.mark.filterwarnings("ignore:zero point .* scores as well")
def test_auto_chooses_inside_the_training_fold(survey, tmp_path):
    catalog = make_catalog(survey, config=AUTO, threads=1)
    model = fit_stars(survey, AUTO, "A", threads=1)
    assert catalog.meta["PENALT_A"] == model.penalty
    assert catalog.meta["ZEROPT_A"] == model.zero_point
    assert catalog.meta["TUNED_A"] == model.tuned.summary
    assert len(model.tuned.grid) >= 4
    assert json.loads(catalog.meta["CONFIG"])["fit"]["penalty_rule"] == "auto"
    training = FoldTraining(survey, AUTO, "A").stars
    tuning, _ = tune(
        survey, config=AUTO, fold="A", n_folds=3, **{"penalties": [20.0, 100.0], "zero_points": [0.03, 0.06]}
    )
    assert training.rows.size == tuning.points[0]["n_train"] + tuning.points[0]["n_test"]


@pytest.mark.filterwarnings("ignore:zero point .* scores as well")
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"intrinsic_scatter": True},
        {"intrinsic_scatter": True, "robust": True, "zero_point_rule": "fit", "zero_point_covariates": "ecl_lat"},
        {"pixels": "raw"},
        {"pixels": "raw", "intrinsic_scatter": True},
    ],
    ids=lambda more: "-".join(map(str, more.values())) or "default",
)
def test_auto_does_not_let_a_poisoned_parallax_touch_its_own_prediction(survey, tmp_path, more):
    config = AUTO.replace(fit=more)
    catalog = make_catalog(survey, config=config, threads=1)
    star = int(np.flatnonzero(catalog["training_set"] == 1)[7])

    def poison(stars):
        stars["parallax"][star] += 5.0

    poisoned = make_catalog(tiny_survey(tmp_path / "survey", n_stars=600, edit=poison)[0], config=config, threads=1)
    same_fold = np.asarray(catalog["sample"] == catalog["sample"][star])
    for name in ("spec_parallax", "spec_parallax_err", "spec_parallax_err_total", "distance", "distance_16"):
        np.testing.assert_array_equal(poisoned[name][same_fold], catalog[name][same_fold])
    assert np.all(poisoned["spec_parallax"][~same_fold] != catalog["spec_parallax"][~same_fold])
    # What was chosen for the model that predicts the star: its columns, its penalty and its zero point.
    other = "B" if catalog["sample"][star] == "A" else "A"
    assert poisoned.meta[f"TUNED_{other}"] == catalog.meta[f"TUNED_{other}"]
    assert ("coordinates, products of" in catalog.meta[f"TUNED_{other}"]) == (config.fit.pixels == "low-rank")


def test_names_of_rules(survey, tmp_path):
    (tmp_path / "auto.toml").write_text('[fit]\npenalty_rule = "auto"\n[tune]\npenalties = [10, 20]\n')
    config = load_config(tmp_path / "auto.toml")
    assert config.tune.penalties == (10.0, 20.0)
    raw = make_catalog(survey, 20.0, config=config.replace(fit={"pixels": "raw"}), threads=1)
    assert raw.meta["TUNED_A"] == "given"
    columns = make_catalog(survey, 20.0, config=config, threads=1).meta["TUNED_A"]
    assert re.match(r"\d of 8 coordinates, products of \d", columns)
    assert "penalty" not in columns
    given = config.replace(fit={"rank": 5, "products": 2})
    assert make_catalog(survey, 20.0, config=given, threads=1).meta["TUNED_A"] == "5 of 8 coordinates, products of 2"
    with pytest.raises(BadInputError, match="penalty 'best'"):
        make_catalog(survey, penalty="best")
    with pytest.raises(BadInputError, match="zero point 'best'"):
        make_catalog(survey, zero_point="best")


def test_command(survey, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("spfast.progress._WORTH_A_LINE", 0.0)
    out = tmp_path / "tune.ecsv"
    assert (
        cli.main(["tune", str(survey.path), "-o", str(out), "--penalties", "100", "20", "--zero-points", "0.05"]) == 0
    )
    captured = capsys.readouterr()
    chosen, after = captured.out.splitlines()[-2:]
    assert chosen.startswith("penalty ")
    assert after.startswith(f"Next: spfast catalog {survey.path} ")
    assert "cross-validate, 2 folds: " in captured.err
    table = read_table(out)
    assert table.colnames == list(POINT_COLUMNS)
    assert [p.name for p in tmp_path.iterdir()] == ["tune.ecsv"]
    assert cli.main(["tune", str(survey.path), "-o", str(out)]) == 2
    assert "already exists" in capsys.readouterr().err
    assert cli.main(["tune", str(survey.path), "--penalties", "20", "--zero-points", "0.05", "--quiet"]) == 0
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1
    assert captured.err == ""


def test_command_catalog_auto(survey, tmp_path, capsys):
    out = tmp_path / "catalog.fits"
    settings = tmp_path / "small.toml"
    settings.write_text("[tune]\npenalties = [100.0, 20.0]\ninner_folds = 3\n")
    assert cli.main(["catalog", str(survey.path), "-o", str(out), "--penalty", "auto", "--config", str(settings)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("    chosen: ")]
    assert len(lines) == 2
    assert all(" coordinates, products of " in line and "; penalty " in line for line in lines)
    assert "minimum of held-out chi_squared" in read_table(out).meta["TUNED_B"]


def test_scores_prefer_the_mean_of_what_folds_prefer():
    def scored(*minima, zero_points=(0.0, 0.04, 0.08), curvature=40.0):
        return [
            point(str(fold), 10.0, 1.0 + curvature * (z - best) ** 2, z)
            for fold, best in enumerate(minima)
            for z in zero_points
        ]

    zero_point, error = scored_zero_point(scored(0.02, 0.05, 0.06, 0.03), "chi_squared", 10.0)
    assert zero_point == pytest.approx(0.04)
    assert error == pytest.approx(np.std([0.02, 0.05, 0.06, 0.03], ddof=1) / 2)
    for silent in (
        scored(0.02),  # one fold
        scored(0.02, 0.05, zero_points=(0.0, 0.04)),  # two zero points
        scored(0.02, 0.05, curvature=-40.0),  # no minimum
        scored(0.02, 0.05, curvature=0.0),  # no zero point better than another
    ):
        assert scored_zero_point(silent, "chi_squared", 10.0)[1] == np.inf
    assert scored_zero_point(scored(0.02, 0.05), "chi_squared", 20.0)[1] == np.inf  # of another penalty


def test_a_zero_point_that_scores_leave_open_stays_at_the_release(monkeypatch, survey):
    monkeypatch.setattr(fold, "scored_zero_point", lambda *args: (np.nan, np.inf))
    config = AUTO.replace(fit={"penalty_rule": "constant", "zero_point": 0.031})
    model = fit_stars(survey, config, "A", threads=1)
    assert (model.zero_point, model.budget.zero_point_error) == (0.031, pytest.approx(0.02))
    assert "zero point 0.0310 +- 0.0200 mas" in model.tuned.summary


@pytest.mark.parametrize("rule", ["auto", "fit"])
def test_the_error_of_the_zero_point_is_in_the_errors_of_the_catalog(survey, rule):
    config = resolve_config(RAW, penalty=20.0, zero_point=rule)
    model = fit_stars(survey, config, "A", threads=1)
    given = fit_stars(survey, resolve_config(config, zero_point=model.zero_point), "A", threads=1)
    assert given.budget.zero_point_error is None
    error = model.budget.zero_point_error
    assert 0.0 < error < 0.05
    # What the predictions would be with a zero point larger by its error.
    moved = fit_stars(survey, resolve_config(config, zero_point=model.zero_point + error), "A", threads=1)
    shift = moved.linear_predictor(survey.features) - given.linear_predictor(survey.features)
    variance = [one.predict_ln_error(survey.features, survey.feature_errors) ** 2 for one in (model, given)]
    if rule == "auto":
        np.testing.assert_allclose(np.median((variance[0] - variance[1]) / shift**2), 1.0, rtol=0.1)
    budget = model.budget
    bare = replace(model, budget=replace(budget, factor=budget.factor[:, :-1]))
    without = bare.predict_ln_error(survey.features, survey.feature_errors) ** 2
    assert np.mean(variance[0]) > np.mean(without)
    catalog = make_catalog(survey, config=config, threads=1)
    assert catalog.meta["ZPERR_A"] == error
    assert "ZPERR_A" not in make_catalog(survey, 20.0, zero_point=-ZERO_POINT, config=RAW, threads=1).meta


def test_default_penalties_go_with_the_number_of_stars_and_given_ones_do_not():
    default, given = Config().tune, Config().replace(tune={"penalties": [10.0, 20.0]}).tune
    assert default.penalties_for(14_113) == (100.0, 50.0, 25.0, 12.5)
    for n_stars in (1000, 1_000_000):
        ratios = np.array(default.penalties_for(n_stars)) / default.penalties_for(14_113)
        np.testing.assert_allclose(ratios, n_stars / 14_113, rtol=1e-2)
        assert given.penalties_for(n_stars) == (10.0, 20.0)
