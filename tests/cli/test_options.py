"""The options: what they make of the configuration, and that the help names what there is."""

import shlex

import pytest

from spfast import cli
from spfast.cli import options, simulate, validate
from spfast.config import Config, FitConfig, FoldConfig, resolve_config
from spfast.data.tables.read import read_table
from spfast.data.tables.write import SUFFIXES
from spfast.errors import BadInputError, SpfastWarning
from spfast.simulate.files import RELEASES
from spfast.validation.reddening import LAWS


def parsed(*words):
    return cli.make_parser().parse_args([str(word) for word in words])


def configured(*words):
    return options.configuration(parsed(*words))


FIT = ("fit", "survey", "-o", "model.npz")


@pytest.mark.parametrize(
    ("words", "section", "expected"),
    [
        (["--solver", "owlqn"], "fit", {"solver": "owlqn"}),
        (["--robust"], "fit", {"robust": True}),
        (["--exact-distance-modulus"], "fit", {"exact_distance_modulus": True}),
        (["--penalty", 50], "fit", {"penalty": 50.0, "penalty_rule": "constant"}),
        (["--penalty", "auto"], "fit", {"penalty_rule": "auto"}),
        (["--zero-point", 0.03], "fit", {"zero_point": 0.03, "zero_point_rule": "constant"}),
        (["--zero-point", "lindegren2021"], "fit", {"zero_point_rule": "lindegren2021"}),
        (
            ["--zero-point", "fit", "--zero-point-covariates", "G", "ecl_lat"],
            "fit",
            {"zero_point_rule": "fit", "zero_point_covariates": "G,ecl_lat"},
        ),
        (["--pixel-correlation", 0.4, 0.1], "errors", {"pixel_correlation": (0.4, 0.1)}),
        (["--seed", 7], "folds", {"seed": 7}),
        (["--split", "hash"], "folds", {"split": "hash"}),
        (["--split", "hash", "--seed", 7], "folds", {"split": "hash", "seed": 7}),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else None,
)
def test_option_changes_its_setting_and_no_other(words, section, expected):
    assert configured(*FIT, *words) == Config().replace(**{section: expected})


def test_options_that_are_not_given_leave_the_file_alone(tmp_path):
    text = '[fit]\nsolver = "owlqn"\nrobust = true\npenalty_rule = "auto"\n[folds]\nseed = 5\nsplit = "hash"\n'
    (tmp_path / "mine.toml").write_text(text)
    file = ("--config", tmp_path / "mine.toml")
    expected = Config().replace(
        fit={"solver": "owlqn", "robust": True, "penalty_rule": "auto"}, folds={"seed": 5, "split": "hash"}
    )
    assert configured(*FIT, *file) == expected
    assert configured(*FIT, *file, "--penalty", 4).fit.penalty_rule == "constant"


def test_settings_of_one_call_do_not_stay_for_the_next():
    parser = cli.make_parser()
    assert options.configuration(parser.parse_args([*FIT, "--robust", "--seed", "3"])).fit.robust
    assert options.configuration(parser.parse_args(FIT)) == Config()


def test_options_win_over_the_file_and_the_file_over_the_preset(work, tmp_path, run):
    (tmp_path / "mine.toml").write_text('preset = "hogg2019"\n[fit]\npenalty = 70.0\nzero_point = 0.03\n')
    out = tmp_path / "catalog.ecsv"
    options = ("--config", tmp_path / "mine.toml", "--penalty", 90, "--quiet")
    assert run("catalog", work / "survey", "-o", out, *options) == 0
    meta = read_table(out).meta
    assert (meta["PENALT_A"], meta["ZEROPT_A"]) == (90.0, 0.03)
    assert '"preset": "hogg2019"' in meta["CONFIG"]


def test_the_configuration_of_python_and_the_command_is_one():
    assert resolve_config(penalty=3) == configured(*FIT, "--penalty", 3)


def help_of(command, capsys):
    """The help of a command, without its line breaks."""
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"])
    assert caught.value.code == 0
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("command", cli.COMMANDS, ids=lambda command: command.__name__.rpartition(".")[2])
def test_help_names_the_common_options_that_matter_and_its_examples_are_commands(command, capsys):
    name = command.__name__.rpartition(".")[2]
    printed = help_of(name, capsys)
    for option in ("--config", "--threads", "--seed", "--json"):
        assert (f" {option} " in printed) == (option[2:] in command.COMMON)
    assert all(f" {option} " in printed for option in ("--quiet", "--log", "--debug"))
    for example in command.EXAMPLES:
        assert example in printed
        assert parsed(*shlex.split(example.partition(" > ")[0])[1:]).command == name


def test_help_names_every_choice_and_the_default_of_the_configuration(capsys):
    printed = help_of("catalog", capsys)
    for choices in (FitConfig.choices("solver"), FoldConfig.choices("split")):
        assert f"{{{','.join(choices)}}}" in printed
        assert f"(default: {choices[0]})" in printed
    assert f"(default: {Config().fit.penalty:g})" in printed


def test_lists_in_the_help_are_those_of_the_modules_that_it_does_not_import():
    assert options.TABLE_SUFFIXES.split() == list(SUFFIXES)
    assert tuple(LAWS) == validate.LAWS
    assert tuple(RELEASES) == simulate.RELEASES
    assert set(simulate.SPECTRA) == {kind for kinds in RELEASES.values() for kind in kinds}


@pytest.mark.parametrize("word", ["-5e-2", "-0.05", "-.05", "-5.e-2", "-5E-02"])
def test_negative_numbers_are_values_in_any_notation(word):
    with pytest.warns(SpfastWarning, match="is added to every parallax"):
        assert configured(*FIT, "--zero-point", word).fit.zero_point == -0.05
    assert parsed("simulate", "out", "--zero-point", word).zero_point == -0.05
    assert parsed("validate", "catalog.fits", "--zero-point", word).zero_point == -0.05
    assert parsed("tune", "survey", "--zero-points", word, "0.0", "1e-2").zero_points == [-0.05, 0.0, 0.01]


@pytest.mark.parametrize("word", ["nan", "inf", "1e999", "much"])
def test_zero_points_that_are_not_finite_are_refused(word, capsys):
    for command in (("simulate", "out"), ("validate", "catalog.fits")):
        with pytest.raises(SystemExit) as caught:
            parsed(*command, "--zero-point", word)
        assert caught.value.code == 2
        assert "--zero-point" in capsys.readouterr().err


def test_zero_points_with_the_sign_or_the_unit_of_a_paper_are_warned_of(tmp_path):
    (tmp_path / "mine.toml").write_text("[fit]\nzero_point = -0.0523\n")
    with pytest.warns(SpfastWarning, match="if this is one, give 0.0523"):
        configured(*FIT, "--config", tmp_path / "mine.toml")
    with pytest.warns(SpfastWarning, match="is added"):
        resolve_config(zero_point=-0.0523)
    with pytest.warns(SpfastWarning, match="is it in microarcseconds"):
        configured(*FIT, "--zero-point", "48.3")


@pytest.mark.parametrize("zero_point", [[0.04, 0.05], "0.04", float("nan")])
def test_zero_points_of_python_are_one_number_or_a_rule(zero_point):
    with pytest.raises(BadInputError, match="zero"):
        resolve_config(zero_point=zero_point)


def test_a_configuration_with_windows_byte_order_mark_is_read(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_bytes(b"\xef\xbb\xbf[fit]\r\npenalty = 7.0\r\n")
    assert configured(*FIT, "--config", path).fit.penalty == 7.0
