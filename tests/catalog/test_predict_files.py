"""A model is one file: new stars from their files have the numbers of a survey, its own stars those of the catalog."""

import json
from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table
from forged_model import forge, parts_of
from small_survey import write_download

import spfast
from spfast import cli
from spfast.catalog.predict_files import predict_files
from spfast.config import load_config
from spfast.data import stream
from spfast.data.ingest import ingest
from spfast.data.recipe import check_new_stars, read_recipe
from spfast.data.spectra import workers
from spfast.errors import BadInputError, SpfastWarning
from spfast.model.band_regression import BandRegression
from spfast.training.fold import fit_stars

pytestmark = pytest.mark.filterwarnings("ignore::spfast.ConvergenceWarning")

N_NEW = 40


def same_table(one, two):
    assert one.colnames == two.colnames
    for name in one.colnames:
        np.testing.assert_array_equal(np.asarray(one[name]), np.asarray(two[name]), err_msg=name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A download and its survey; new stars, some without W2, one with a damaged spectrum, one without any."""
    folder = tmp_path_factory.mktemp("one_file")
    (folder / "pixels.txt").write_text("\n".join(map(str, range(0, 8575, 3))))
    for name, n, seed in (("in", 150, 0), ("new", N_NEW, 1)):
        (folder / name).mkdir()
        write_download(folder / name, n=n, seed=seed)
    files = sorted((folder / "new" / "spectra").rglob("*.fits"))
    files[3].write_bytes(files[3].read_bytes()[:20000])
    files[5].unlink()
    gaia = Table.read(folder / "new" / "gaia.fits")
    gaia["w2mpro_error"][20:24] = np.nan
    gaia.write(folder / "new" / "gaia.fits", overwrite=True)
    ingest(*inputs(folder / "in"), folder / "survey", config=configuration(folder), threads=1, quiet=True)
    return folder


def inputs(folder):
    return folder / "allStar.fits", folder / "spectra", folder / "gaia.fits"


def configuration(folder, pixels="low-rank"):
    continuum = str(folder / "pixels.txt")
    fit = {"pixels": pixels, "rank": 4, "products": 2} if pixels == "low-rank" else {"pixels": pixels}
    sections = {"normalization": {"continuum_file": continuum}, "features": {"rank": 8}, "fit": fit}
    return load_config(overrides=sections | {"sample": {"gaia_release": "dr2"}})


@pytest.fixture(scope="module")
def models(folder):
    """A model of each kind, as its file gives it back."""
    for kind in ("low-rank", "raw"):
        fit_stars(spfast.open_survey(folder / "survey"), configuration(folder, kind), threads=1).save(
            folder / f"{kind}.npz"
        )
    return {kind: spfast.load_model(folder / f"{kind}.npz") for kind in ("low-rank", "raw")}


@pytest.fixture(scope="module")
def like(folder, models):
    """Surveys of the new stars, made like the survey and like each model's file."""
    for name, of in (("survey", "survey"), ("low-rank", "low-rank.npz"), ("raw", "raw.npz")):
        ingest(*inputs(folder / "new"), folder / f"like_{name}", like=folder / of, threads=1, quiet=True)
    return {name: spfast.open_survey(folder / f"like_{name}") for name in ("survey", "low-rank", "raw")}


def test_a_survey_made_like_a_model_is_one_made_like_its_survey(like):
    for name in ("low-rank", "raw"):
        assert like[name].survey_hash == like["survey"].survey_hash
        assert like[name].info["sha256"]["estimates.npz"] == like["survey"].info["sha256"]["estimates.npz"]


@pytest.mark.parametrize(("kind", "threads"), [("low-rank", 2), ("low-rank", 1), ("raw", 1)])
def test_new_stars_have_the_numbers_of_a_survey_to_the_bit(folder, models, like, kind, threads, monkeypatch):
    monkeypatch.setattr(workers, "CHUNK", 8)
    monkeypatch.setattr(workers, "_CHUNKS_PER_PROCESS", 2)
    monkeypatch.setattr(stream, "_BATCH", 12)
    found = predict_files(models[kind], *inputs(folder / "new"), threads=threads, quiet=True)
    survey = like["survey"]
    expected = spfast.predict_survey(models[kind], survey, threads=1)
    same_table(found.table, expected)
    same_table(found.rejected, survey.rejected)
    assert [list(cut) for cut in found.cut_flow] == survey.info["cut_flow"]
    assert sorted(found.rejected["reason"]) == ["spectrum file", "spectrum readable"]
    assert len(found.table) == N_NEW - 2
    estimated = np.asarray(found.table["flags"]) & (1 << list(spfast.catalog.columns.FLAGS).index("estimated_W2"))
    assert np.count_nonzero(estimated) == np.count_nonzero(np.isnan(survey.stars["w2mpro"])) > 1
    assert found.table.meta["MODHASH"] == models[kind].file_hash


@pytest.mark.parametrize("kind", ["low-rank", "raw"])
def test_the_surveys_own_stars_have_the_numbers_of_the_catalog_to_the_bit(folder, kind):
    models = spfast.training.fold.fit_folds(folder / "survey", configuration(folder, kind), 1)
    catalog = spfast.make_catalog(folder / "survey", config=configuration(folder, kind), models=models, threads=1)
    for fold, other in (("A", "B"), ("B", "A")):
        models[other].save(folder / "other.npz")
        table = predict_files(folder / "other.npz", *inputs(folder / "in"), threads=1, quiet=True).table
        own = np.asarray(catalog["sample"] == fold)
        for name in ("spec_parallax", "spec_parallax_err", "spec_parallax_err_total", "ln_offset", "distance_84"):
            np.testing.assert_array_equal(table[name][own], catalog[name][own])


def test_the_same_survey_and_configuration_give_the_same_bytes(folder, models, tmp_path):
    config = configuration(folder)
    again = ingest(*inputs(folder / "in"), tmp_path / "again", config=config, threads=2, quiet=True)
    fit_stars(again, config, threads=2).save(tmp_path / "model.npz")
    assert (tmp_path / "model.npz").read_bytes() == (folder / "low-rank.npz").read_bytes()
    models["low-rank"].save(tmp_path / "copy.npz")
    assert (tmp_path / "copy.npz").read_bytes() == (folder / "low-rank.npz").read_bytes()
    assert (tmp_path / "copy.npz").stat().st_size < 4e6


def test_spectra_or_gaia_of_another_release_are_refused(folder, models, tmp_path):
    write_download(tmp_path, n=3, kind="apStar")
    with pytest.raises(BadInputError, match=r"trained on aspcapStar dr17, .*allStar\.fits has apStar dr17"):
        predict_files(models["raw"], *inputs(tmp_path), quiet=True)
    for like in ("survey", "raw.npz"):
        with pytest.raises(BadInputError, match=f"{like}: made of aspcapStar dr17, .* has apStar dr17"):
            ingest(*inputs(tmp_path), tmp_path / "out", like=folder / like, quiet=True)
    assert not (tmp_path / "out").exists()
    recipe, _ = read_recipe(folder / "raw.npz")
    recipe = replace(recipe, origin={**recipe.origin, "gaia_release": "dr3"})
    stars = Table({"FILE": ["aspcapStar-dr17-2M1.fits"]}, meta={"gaia_release": "dr2"})
    with pytest.raises(BadInputError, match="made of Gaia dr3, new has Gaia dr2"):
        check_new_stars(recipe, stars, "made of", "new")
    stars.meta["gaia_release"] = None  # unknown
    check_new_stars(recipe, stars, "made of", "new")


def test_a_model_that_does_not_say_how_features_are_made_is_refused(folder, models, tmp_path):
    bare = replace(models["raw"], recipe=None)
    with pytest.raises(BadInputError, match="does not say how its features were made"):
        predict_files(bare, *inputs(folder / "new"), quiet=True)
    bare.save(tmp_path / "bare.npz")
    with pytest.raises(BadInputError, match=r"bare\.npz: the model does not say how its features were made"):
        ingest(*inputs(folder / "new"), tmp_path / "out", like=tmp_path / "bare.npz", quiet=True)


DAMAGE = {
    "no continuum": ("recipe_continuum", lambda array: None),
    "continuum of floats": ("recipe_continuum", lambda array: array.astype(float)),
    "factors of other pixels": ("recipe_pixel_factors", lambda array: array[:, 1:]),
    "a scatter of 0": ("recipe_pixel_scatter", lambda array: 0.0 * array),
    "a mean that is none": ("recipe_pixel_mean", lambda array: np.nan * array),
    "bands of other shape": ("recipe_bands_mean", lambda array: array[1:]),
    "a covariance that is none": ("recipe_bands_covariance", lambda array: -array),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_recipe_is_refused(folder, models, tmp_path, damage):
    parts, (name, change) = parts_of(folder / "raw.npz"), DAMAGE[damage]
    changed = change(parts.pop(name))
    forge(tmp_path / "model.npz", parts | ({} if changed is None else {name: changed}))
    with pytest.raises(BadInputError, match="not a whole spfast model"):
        spfast.load_model(tmp_path / "model.npz")


@pytest.mark.parametrize(
    "entry",
    [
        {"config": {}},
        {"config": {"normalization": {}, "features": {"bad_pixels": "one"}}},
        {"origin": 3},
        {"bands": {"n_bands": 7, "n_stars": 9}},
        {"low_rank": {"n_broad": 1}},
    ],
)
def test_a_damaged_entry_of_a_recipe_is_refused(folder, models, tmp_path, entry):
    parts = parts_of(folder / "raw.npz")
    header = json.loads(str(parts["header"]))
    header["recipe"] |= entry
    forge(tmp_path / "model.npz", parts | {"header": np.array(json.dumps(header))})
    with pytest.raises(BadInputError, match="not a whole spfast model"):
        spfast.load_model(tmp_path / "model.npz")


def test_a_recipe_that_cannot_be_followed_is_refused_before_a_spectrum_is_read(folder, models):
    recipe = models["raw"].recipe
    other = {**recipe.config, "normalization": {"chebyshev_degree": 2, "speed": 1}}
    for changed, message in (
        ({"continuum": (1, 2)}, "0 continuum pixels on the chip"),
        ({"config": other}, r"unknown key .speed. in .normalization.*; was it made by a newer spfast\?"),
    ):
        model = replace(models["raw"], recipe=replace(recipe, **changed))
        with pytest.raises(BadInputError, match=message):
            predict_files(model, *inputs(folder / "new"), quiet=True)


def test_what_missing_magnitudes_are_estimated_from_gives_a_star_the_same_bits_in_any_company(like):
    bands = like["survey"].recipe.bands
    assert bands.n_bands == 8
    rng = np.random.default_rng(0)
    magnitudes = np.float32(10.0 + rng.normal(size=(50, 8)))
    coordinates = np.float32(rng.normal(size=(50, 16)))
    magnitudes[:40, 2] = magnitudes[10:30, 5] = np.nan
    whole, errors = magnitudes.copy(), np.full_like(magnitudes, 0.02)
    bands.estimate(whole, errors, coordinates)
    assert np.isfinite(whole).all()
    for row in (0, 12, 39, 45):
        alone, error = magnitudes[row : row + 1].copy(), np.full((1, 8), 0.02, np.float32)
        bands.estimate(alone, error, coordinates[row : row + 1])
        np.testing.assert_array_equal(alone[0], whole[row])
        np.testing.assert_array_equal(error[0], errors[row])


def test_no_regression_of_magnitudes_without_bands_or_with_few_stars():
    assert BandRegression.of(np.ones((30, 0), np.float32)) is None
    assert BandRegression.of(np.ones((23, 8), np.float32)) is None
    # Magnitudes that do not differ tell nothing, and nothing fails.
    found, errors = np.full((1, 8), np.nan, np.float32), np.full((1, 8), np.nan, np.float32)
    found[:, :4] = errors[:, :4] = 1.0
    BandRegression.of(np.ones((24, 8), np.float32)).estimate(found, errors)
    np.testing.assert_array_equal(found, 1.0)


def words(folder):
    allstar, spectra, gaia = inputs(folder)
    return ["--allstar", str(allstar), "--spectra", str(spectra), "--gaia", str(gaia)]


def test_the_command_predicts_from_files_and_lists_the_rejected(folder, models, like, tmp_path, capsys):
    out, rejected = tmp_path / "new.fits", tmp_path / "rejected.ecsv"
    command = ["predict", str(folder / "raw.npz"), *words(folder / "new"), "-o", str(out)]
    assert cli.main([*command, "--rejected", str(rejected), "--threads", "1"]) == 0
    assert "spectrum readable" in capsys.readouterr().out
    assert cli.main(["predict", str(folder / "raw.npz"), str(like["raw"].path), "-o", str(tmp_path / "old.fits")]) == 0
    same_table(Table.read(out), Table.read(tmp_path / "old.fits"))
    same_table(Table.read(rejected), like["raw"].rejected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.fits", "old.fits", "rejected.ecsv"]
    assert cli.main(command) == 2
    assert "already exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "no survey and no --allstar, --spectra; give a survey folder"),
        (["--allstar", "a.fits", "--gaia", "g.fits"], "no survey and no --spectra; give"),
        (["survey", "--allstar", "a.fits"], "got the survey survey and --allstar; give"),
        (["survey", "--rejected", "r.ecsv"], "got the survey survey and --rejected; give"),
        (["--allstar", "a", "--spectra", "b", "--gaia", "c", "--rejected", "out.fits"], "is both -o and --rejected"),
    ],
)
def test_a_survey_or_files_are_needed_and_not_both(given, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["predict", "model.npz", *given, "-o", "out.fits"]) == 2
    assert message in capsys.readouterr().err


def test_files_of_which_no_spectrum_can_be_used_are_refused(models, tmp_path):
    write_download(tmp_path, n=3)
    for path in (tmp_path / "spectra").rglob("*.fits"):
        path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(BadInputError, match=r"none of the 3 spectra can be used \(e\.g\. .*check --spectra"):
        predict_files(models["raw"], *inputs(tmp_path), quiet=True)


def test_info_shows_and_verifies_what_a_published_model_needs(folder, tmp_path, capsys):
    path = tmp_path / "model.npz"
    command = ["fit", str(folder / "survey"), "-o", str(path), "--pixels", "raw", "--quiet", "--threads", "1"]
    assert cli.main([*command, "--licence", "CC-BY-4.0"]) == 0
    assert cli.main(["info", str(path)]) == 0
    said = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if len(line.split()) > 1)
    assert said["hash"] == spfast.load_model(path).file_hash
    assert said["licence"] == "CC-BY-4.0"
    assert "from their files, aspcapStar dr17" in said["new"]
    assert said["made"] == "by       spfast fit SURVEY"
    assert said["input"].startswith(("allstar", "gaia", "continuum"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert cli.main(["info", str(path)]) == 2
    assert "changed since it was written" in capsys.readouterr().err


def test_a_model_of_the_survey_without_error_budget_still_streams_with_a_warning(folder, models):
    with pytest.warns(SpfastWarning, match="without error budget"):
        found = predict_files(replace(models["raw"], budget=None), *inputs(folder / "new"), threads=1, quiet=True)
    assert "spec_parallax_err_total" not in found.table.colnames
