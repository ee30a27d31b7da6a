"""Figures: drawn for few and for many stars, clear errors where there is nothing to draw, nobody's settings changed."""

import re
from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table

matplotlib = pytest.importorskip("matplotlib")

from spfast.catalog.galaxy import map_cells  # noqa: E402
from spfast.config import Config  # noqa: E402
from spfast.errors import BadInputError  # noqa: E402
from spfast.figures import absolute, checks, compositions, errors, paper, residuals, sky  # noqa: E402
from spfast.figures.coefficients import plot_coefficients, plot_magnitude_coefficients  # noqa: E402
from spfast.figures.figure_data import FigureData, figure_table  # noqa: E402
from spfast.figures.panel import QUANTITIES  # noqa: E402
from spfast.figures.sheets import SHEETS, draw_sheet  # noqa: E402
from spfast.figures.style import draw_stars, figure_style, new_axes, save_figure  # noqa: E402
from spfast.figures.tuning import draw_tuning, plot_tuning  # noqa: E402
from spfast.model.fitted_model import FittedModel  # noqa: E402
from spfast.validation.clusters import cluster_means  # noqa: E402


def make_table(n_stars=100, seed=0):
    """A table of a disc population, its predictions unbiased with an error of 8%."""
    rng = np.random.default_rng(seed)
    true = np.exp(rng.normal(np.log(0.25), 0.6, n_stars))
    error = np.full(n_stars, 0.04)
    bp_rp = rng.uniform(1.0, 3.0, n_stars)
    names = [f"2M{i:08d}" for i in range(n_stars)]
    stars = Table(
        {
            "APOGEE_ID": names,
            "ra": rng.uniform(0, 360, n_stars),
            "dec": rng.uniform(-60, 60, n_stars),
            "glat": rng.normal(0, 10, n_stars),
            "SNR": rng.uniform(60, 600, n_stars),
            "TEFF": rng.uniform(3700, 4800, n_stars),
            "LOGG": rng.uniform(0, 2.2, n_stars),
            "FE_H": rng.normal(-0.2, 0.3, n_stars),
            "ALPHA_M": rng.normal(0.1, 0.1, n_stars),
            "VHELIO_AVG": rng.normal(0, 30, n_stars),
            "pmra": rng.normal(0, 1, n_stars),
            "pmdec": rng.normal(0, 1, n_stars),
            "phot_g_mean_mag": rng.uniform(10, 17, n_stars),
            "phot_bp_mean_mag": 13 + bp_rp,
            "phot_rp_mean_mag": np.full(n_stars, 13.0),
            "J": 0.4 + 0.4 * bp_rp,
            "K": np.zeros(n_stars),
            "H": np.full(n_stars, 0.2),
            "w2mpro": np.zeros(n_stars),
            "n_bad_pixels": rng.integers(10, 60, n_stars),
        }
    )
    catalog = Table(
        {
            "2MASS_ID": names,
            "Gaia_parallax": true + rng.normal(0, error),
            "Gaia_parallax_err": error,
            "spec_parallax": true * np.exp(rng.normal(0, 0.08, n_stars)),
            "spec_parallax_err": 0.08 * true,
            "training_set": np.ones(n_stars, int),
            "sample": np.where(np.arange(n_stars) % 2, "A", "B"),
        }
    )
    return figure_table(catalog, stars, Table({"APOGEE_ID": names, "true_parallax": true}))


GALAXY = Config().replace(
    galaxy={"map_cell": 4.0, "map_cell_stars": 1, "map_height": 5.0, "map_reach": 99.0, "map_v_z": 1e4}
)
PANELS = {
    "colours": lambda t, ax: paper.plot_colours(t, ax),
    "H-W2": lambda t, ax: paper.plot_colours(t, ax, "H-W2", "training"),
    "parallaxes": lambda t, ax: paper.plot_parallaxes(t, ax),
    "truth": lambda t, ax: paper.plot_parallaxes(t, ax, "parent", "TEFF", "truth"),
    "grey": lambda t, ax: paper.plot_parallaxes(t, ax, "parent", None),
    "precision": lambda t, ax: paper.plot_precision(t, ax),
    "map": lambda t, ax: paper.plot_map(map_cells(t, GALAXY.galaxy), ax),
    "bad pixels": lambda t, ax: residuals.plot_trend(t, ax, "n_bad_pixels"),
    "cluster": lambda t, ax: paper.plot_cluster(t, ax, "M67", np.arange(min(len(t), 9))),
    "trend": lambda t, ax: residuals.plot_trend(t, ax, "SNR"),
    "pulls": lambda t, ax: errors.plot_pulls(t, ax),
    "coverage": lambda t, ax: errors.plot_coverage(t, ax, [("parent", "truth")]),
    "errors": lambda t, ax: errors.plot_fractional_errors(t, ax, truth=True),
    "zero point": lambda t, ax: residuals.plot_zero_point(t, ax, "ecl_lat", absolute=False),
    "colour and magnitude": lambda t, ax: absolute.plot_colour_magnitude(t, ax, dereddened=True),
}
#: Panels that a single star cannot fill.
NEED_MORE = ("pulls", "coverage", "errors", "zero point")


@pytest.mark.parametrize("name", PANELS)
def test_panel_is_drawn_for_a_hundred_stars(name, tmp_path):
    figure, (ax,) = new_axes()
    PANELS[name](make_table(), ax)
    assert ax.has_data()
    assert ax.get_xlabel()
    png, pdf = save_figure(figure, tmp_path / name)
    assert png.read_bytes()[:4] == b"\x89PNG"
    assert pdf.read_bytes()[:4] == b"%PDF"


@pytest.mark.parametrize("name", PANELS)
def test_panel_is_drawn_for_one_star_or_says_what_it_lacks(name):
    _, (ax,) = new_axes()
    if name in NEED_MORE:
        with pytest.raises(BadInputError, match="1 of 1 stars have what it needs, expected at least"):
            PANELS[name](make_table(1), ax)
    else:
        PANELS[name](make_table(1), ax)
        assert ax.has_data()


@pytest.mark.parametrize("name", [n for n in PANELS if n not in ("cluster",)])
def test_panel_is_refused_where_no_star_has_the_values(name):
    table = make_table(20)
    table["spec_parallax"] = table["phot_g_mean_mag"] = table["J"] = table["w2mpro"] = np.nan
    table["BP-RP"] = np.nan
    _, (ax,) = new_axes()
    with pytest.raises(BadInputError, match=r"0 of \d+"):
        PANELS[name](table, ax)


def test_empty_catalog_and_foreign_survey_are_refused():
    table = make_table(5)
    with pytest.raises(BadInputError, match="no star"):
        figure_table(table[:0])
    with pytest.raises(BadInputError, match="belong together"):
        figure_table(table, Table({"APOGEE_ID": ["other"]}))
    with pytest.raises(BadInputError, match="needs the column SNR"):
        paper.plot_parallaxes(table["2MASS_ID", "Gaia_parallax", "spec_parallax", "training"], new_axes()[1][0])


def test_many_stars_become_cells_not_points():
    rng = np.random.default_rng(0)
    x, y, colour = rng.normal(size=(3, 30_000))
    _, (ax,) = new_axes()
    mesh = draw_stars(ax, x, y, colour, ((-3, 3), (3, -3)))
    assert not [c for c in ax.collections if isinstance(c, matplotlib.collections.PathCollection)]
    assert mesh.get_rasterized()
    shown = np.ma.compressed(mesh.get_array())
    assert abs(shown[np.isfinite(shown)].mean()) < 0.1  # the mean colour of a cell, not its sum
    assert ax.get_ylim() == (3, -3)


def test_drawing_leaves_the_users_matplotlib_settings(monkeypatch):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.setitem(matplotlib.rcParams, "font.size", 21.0)
    before = dict(matplotlib.rcParams)
    data = FigureData(make_table(60), config=GALAXY)
    for name in ("parallaxes", "pulls"):
        draw_sheet(name, data)
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []
    with figure_style():
        assert matplotlib.rcParams["font.size"] == 8.0


def test_figures_say_which_material_they_lack():
    data = FigureData(make_table(60))
    for sheet in SHEETS:
        if sheet.needs:
            with pytest.raises(BadInputError, match="needs"):
                draw_sheet(sheet, data)
        assert "Look for" in sheet.caption
        assert len(sheet.alt) > 30
    with pytest.raises(BadInputError, match="expected one of"):
        draw_sheet("nonsense", data)


def test_a_cross_validation_is_drawn_with_its_minimum():
    grid = [(p, z, f) for p in (10, 30, 90) for z in (0.0, 0.05) for f in (0, 1)]
    rows = [(p, z, np.log(p / 30) ** 2 + 100 * (z - 0.05) ** 2 + f) for p, z, f in grid]
    tune = Table(rows=rows, names=("penalty", "zero_point", "chi_squared"))
    _, (ax,) = new_axes()
    plot_tuning(tune, ax)
    assert any(r"\lambda = 30" in text.get_text() and "0.05" in text.get_text() for text in ax.get_legend().get_texts())
    with pytest.raises(BadInputError, match="no column scatter"):
        plot_tuning(tune, ax, "scatter")
    with pytest.raises(BadInputError, match="score 'seconds', expected one of chi_squared, likelihood, scatter"):
        plot_tuning(tune, ax, "seconds")


def test_the_figure_of_a_cross_validation_shows_what_its_table_chose(tmp_path):
    rows = [(p, 0.05, np.log(p / 30) ** 2 + f) for p in (10, 30, 90) for f in (0, 1)]
    tune = Table(rows=rows, names=("penalty", "zero_point", "likelihood"))
    tune.meta = {"SCORE": "likelihood", "PENALTY": 90, "ZEROPT": 0.05}
    _, (ax,) = new_axes()
    plot_tuning(tune, ax)
    assert "likelihood" in ax.get_ylabel()
    assert any(r"chosen: $\lambda = 90$" in text.get_text() for text in ax.get_legend().get_texts())
    paths = draw_tuning(tune, tmp_path / "tune.ecsv")
    assert [path.name for path in paths] == ["tune.png", "tune.pdf"]
    assert all(path.stat().st_size > 5000 for path in paths)


def test_coefficients_of_a_model_without_layout_are_refused(fitted):
    _, (ax,) = new_axes()
    bare = FittedModel(fitted.coef, fitted.penalized, 1.0, 0.0, 10, fitted.result)
    with pytest.raises(BadInputError, match="no layout"):
        plot_coefficients({"A": bare}, ax)
    plot_coefficients({"A": fitted}, ax)
    plot_magnitude_coefficients({"A": fitted}, new_axes()[1][0])
    checks.plot_convergence({"A": fitted}, new_axes()[1][0])


def test_errors_of_magnitudes_are_those_of_the_budget_and_their_sum_knows_that_they_depend_on_each_other(fitted):
    budget = fitted.budget
    factor = np.zeros((budget.columns.size, 2))
    factor[np.searchsorted(budget.columns, [1, 2])] = [[0.3, 0.0], [-0.3, 0.004]]  # G and BP, against each other
    _, (ax,) = new_axes()
    plot_magnitude_coefficients({"A": replace(fitted, budget=replace(budget, factor=factor))}, ax)
    (bars,) = ax.containers[0].lines[2]
    lengths = [segment[1, 1] - segment[0, 1] for segment in bars.get_segments()]
    np.testing.assert_allclose(lengths, [0.6, 2 * np.hypot(0.3, 0.004), *[0.0] * (len(lengths) - 2)], atol=1e-12)
    assert ax.get_legend().get_texts()[0].get_text().endswith("\N{PLUS-MINUS SIGN} 0.0040")
    _, (ax,) = new_axes()
    plot_magnitude_coefficients({"A": replace(fitted, budget=None)}, ax)
    assert "(no errors)" in ax.get_legend().get_texts()[0].get_text()


def test_zero_point_in_microarcseconds_is_found_among_far_stars():
    table = make_table(4000)
    table["Gaia_parallax"] = table["true_parallax"] + 0.02 + np.random.default_rng(1).normal(0.0, 0.04, 4000)
    _, (ax,) = new_axes()
    residuals.plot_zero_point(table, ax, "phot_g_mean_mag")
    found = re.search(r"([\d,]+) far stars\nmedian ([+\d]+) \S ([\d.]+)", ax.texts[0].get_text())
    assert int(found[1].replace(",", "")) < 4000
    assert float(found[2]) == pytest.approx(20.0, abs=4 * float(found[3]))


def test_sky_has_cells_of_equal_area_that_hold_their_stars_and_longitude_grows_to_the_left():
    cells = sky._Cells(10.0)
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(0, 360, 20_000), np.degrees(np.arcsin(rng.uniform(-1, 1, 20_000)))
    number = np.bincount(cells.find(lon, lat))
    assert np.std(number) < 1.3 * np.sqrt(number.mean())
    place = cells.find(np.array([100.0]), np.array([12.0]))[0]
    x, y = np.degrees(cells.outline(place)).T
    assert x.min() <= -100.0 <= x.max() <= x.min() + 11.0
    assert y.min() <= 12.0 <= y.max() == y.min() + 10.0


def test_survey_without_labels_has_figures_of_what_it_has():
    table = make_table(60)
    for name in ("TEFF", "LOGG", "FE_H", "ALPHA_M", "SNR"):
        table[name] = np.nan
    data = FigureData(table)
    with figure_style():
        shown = [ax.get_xlabel() for ax in compositions.draw_trends(data).axes]
        assert shown == [QUANTITIES[name][0] for name in ("phot_g_mean_mag", "BP-RP", "glat", "n_bad_pixels")]
        assert compositions.draw_colour_magnitude(data).axes
        assert compositions.draw_colours(data).axes
        assert compositions.draw_parallaxes(data).axes


def test_clusters_are_drawn_in_the_order_of_their_table_with_long_names():
    table, names = make_table(60), ["a cluster whose name is longer than a table's column", "M67", "M13"]
    table["K"] = np.linspace(8.0, 12.0, 60)
    members = {name: np.arange(10 * i, 10 * i + 4 + i) for i, name in enumerate(names)}
    data = FigureData(table, members=members, literature=Table({"cluster": names, "distance": [4.0, 0.9, 7.1]}))
    with figure_style():
        titles = [ax.get_title() for ax in compositions.draw_clusters(data).axes]
        slopes = compositions.draw_cluster_residuals(data).axes[1]
    order = [str(name) for name in cluster_means(table, members, data.literature)["cluster"]]
    assert [title[:3] for title in titles] == [name[:3] for name in order]
    assert [text.get_text()[:3] for text in slopes.get_yticklabels()] == [name[:3] for name in order]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    from tiny import tiny_survey

    from spfast.training.fold import fit_stars

    survey, _ = tiny_survey(tmp_path_factory.mktemp("figures") / "survey")
    return fit_stars(survey, Config().replace(fit={"penalty": 3.0}))
