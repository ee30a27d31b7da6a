"""How many coordinates and products a fit takes: as given, as there are stars for, and as stars held out prefer."""

from dataclasses import replace

import numpy as np
import pytest
from low_rank_survey import low_rank_survey

from spfast.config import Config
from spfast.selection.sample import sample_rows
from spfast.training import columns, fold
from spfast.training.columns import choose_columns
from spfast.training.fold import FoldTraining, fit_stars


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    return low_rank_survey(tmp_path_factory.mktemp("columns") / "survey", n_stars=420)


def chosen(survey, **fit):
    config = Config().replace(fit=fit)
    training = FoldTraining(survey, config, None, 1)
    inputs, summary = choose_columns(training.inputs, training.stars, training.splits, config.fit, 0.0483)
    return inputs.layout, summary, training


def test_rank_and_products_that_are_given_are_taken_without_a_fit(survey, monkeypatch):
    monkeypatch.setattr(columns, "_score", None)
    most = survey.low_rank[0].rank
    for rank, products, expected in ((5, 2, (5, 2)), (2, 0, (2, 0)), (most + 9, 1, (most, 1)), (3, 24, (3, 3))):
        layout, summary, _ = chosen(survey, rank=rank, products=products)
        assert (layout.rank, layout.n_products) == expected
        assert summary == f"{expected[0]} of {most} coordinates, products of {expected[1]}"


def test_products_are_of_broad_coordinates_alone(survey):
    layout, _, training = chosen(survey, rank=0, products=24)
    assert training.inputs.layout.n_products == survey.low_rank[0].n_broad
    assert layout.n_products <= survey.low_rank[0].n_broad


def test_products_that_help_are_found(survey):
    # Absolute magnitudes have a term in the square of the first coordinate.
    layout, summary, _ = chosen(survey)
    assert layout.n_products >= 2
    assert "by stars held out: minus ln likelihood" in summary
    assert "for products of 0" in summary


#: How scores of five folds scatter about their mean, by 1 in the standard error of it.
SCATTER = np.sqrt(5.0) * np.array([-1.0, 0.0, 1.0, -1.0, 1.0])


def with_scores(monkeypatch, score, error=0.0):
    """Each candidate but the first that is asked for scores ``score``, with this error of the difference."""
    asked = []

    def scored(stars, *_):
        asked.append((stars.layout.rank, stars.layout.n_products))
        mean = score(*asked[-1])
        return columns._Score(mean, mean + (error if len(asked) > 1 else 0.0) * SCATTER), 0.0

    monkeypatch.setattr(columns, "_score", scored)
    return asked


def test_the_scatter_of_scores_is_that_of_a_mean_with_unit_error():
    assert SCATTER.sum() == 0.0
    assert SCATTER.std(ddof=1) / np.sqrt(SCATTER.size) == pytest.approx(1.0)


def test_as_many_products_are_taken_as_do_no_clear_harm(survey, monkeypatch):
    monkeypatch.setattr(columns, "_PRODUCTS", (0, 1, 2, 3))
    monkeypatch.setattr(columns, "_STARS_PER_COLUMN", 1)
    most = survey.low_rank[0].rank
    for scores, error, expected in (
        ((5.0, 4.0, 5.0, 5.1), 0.0, 2),
        ((5.0, 4.0, 5.0, 5.1), 0.06, 3),
        ((5.0, 4.0, 5.0, 5.1), 0.04, 2),
        ((5.0, 4.0, 3.0, 4.9), 0.0, 3),
        ((5.0, 5.1, 5.2, 5.3), 0.04, 0),
        ((5.0, 6.0, 4.0, 6.0), 0.4, 2),
    ):
        asked = with_scores(monkeypatch, lambda rank, products, scores=scores: scores[products], error)
        layout, _, _ = chosen(survey, rank=most)
        assert layout.n_products == expected
        assert asked == [(most, n) for n in (0, 3, 2, 1) if n == 0 or n >= expected]


def test_the_largest_rank_that_is_not_clearly_worse_is_taken_and_broad_coordinates_always(survey, monkeypatch):
    most, n_broad = survey.low_rank[0].rank, survey.low_rank[0].n_broad
    asked = with_scores(monkeypatch, lambda rank, products: float(rank))
    layout, _, _ = chosen(survey, products=2)
    assert layout.rank == n_broad
    assert {rank for rank, _ in asked} <= set(range(n_broad, most + 1))
    for score, error in ((-1.0, 0.0), (1.0, most)):
        with_scores(monkeypatch, lambda rank, products, score=score: score * rank, error)
        layout, _, _ = chosen(survey, products=2)
        assert layout.rank == most


def test_columns_have_stars_enough(survey, monkeypatch):
    most, n_broad = survey.low_rank[0].rank, survey.low_rank[0].n_broad
    n_stars = min(split.train.size for split in chosen(survey, rank=2, products=0)[2].splits)
    # Enough for all coordinates, and one star too few for one product.
    monkeypatch.setattr(columns, "_STARS_PER_COLUMN", n_stars / (9 + most))
    with_scores(monkeypatch, lambda rank, products: -float(rank + products))
    layout, _, _ = chosen(survey)
    assert (layout.rank, layout.n_products) == (most, 0)
    # For none: the least.
    monkeypatch.setattr(columns, "_STARS_PER_COLUMN", 10**6)
    layout, summary, _ = chosen(survey)
    assert (layout.rank, layout.n_products) == (n_broad, 0)
    assert "likelihood" not in summary


def test_features_of_fewer_columns_are_those_of_the_smaller_layout(survey):
    inputs = FoldTraining(survey, Config(), None, 1).inputs
    some = inputs.within(4, 2)
    assert some.layout == replace(inputs.layout, rank=4, n_products=2, line_weights=inputs.layout.line_weights[:4])
    magnitudes, coordinates = survey.features[:, 1:9], survey.low_rank[1].mean[:, :4]
    np.testing.assert_array_equal(some.features, some.layout.design(magnitudes, coordinates))
    assert some.features.flags.c_contiguous
    assert some.errors.coordinates.mean.shape == (420, 4)


def test_pixels_as_they_are_have_no_choice_of_columns(survey):
    training = FoldTraining(survey, Config().replace(fit={"pixels": "raw"}), None, 1)
    stars, summary = training.choose_columns(training.stars)
    assert stars is training.stars
    assert summary is None


@pytest.mark.parametrize("fit", [{"rank": 1, "products": 0}, {"rank": 2, "products": 2}, {"rank": 1, "products": 24}])
def test_very_few_columns_make_a_model(survey, fit):
    model = fit_stars(survey, Config().replace(fit=fit), "A", 1)
    assert model.layout.rank == fit["rank"]
    assert model.result.converged
    assert np.isfinite(model.predict(np.zeros((1, model.n_features), np.float32))).all()


def test_ranks_smaller_than_one_that_is_clearly_worse_are_not_tried(survey, monkeypatch):
    most = survey.low_rank[0].rank
    asked = with_scores(monkeypatch, lambda rank, products: -float(rank))
    layout, _, _ = chosen(survey, products=2)
    assert layout.rank == most
    assert len({rank for rank, _ in asked}) == 2


def test_columns_chosen_on_a_sample_of_the_stars_are_those_of_all(survey, monkeypatch):
    training = FoldTraining(survey, Config(), None, 1)
    whole, _ = training.choose_columns(training.stars)
    rows = sample_rows(survey.stars, training.stars.rows, training.stars.rows.size * 2 // 3)
    monkeypatch.setattr(fold, "sample_rows", lambda *args, **named: rows)
    asked, score = [], columns._score

    def of_sample(stars, splits, penalty, *more):
        asked.append((stars.rows.size, penalty))
        return score(stars, splits, penalty, *more)

    monkeypatch.setattr(columns, "_score", of_sample)
    some, _ = training.choose_columns(training.stars)
    assert some.layout.n_products == whole.layout.n_products
    assert some.rows.size == whole.rows.size
    # The penalty stands against a sum over stars.
    share = rows.size / training.stars.rows.size
    assert set(asked) == {(rows.size, Config().fit.penalty * share)}
