"""What a command leaves besides files: JSON, a log, the configuration, and what comes next."""

import itertools
import json
import re

import numpy as np
import pytest
from astropy.table import Table

from spfast import cli
from spfast.cli.as_json import table_as_json, to_json
from spfast.cli.config import as_toml
from spfast.config import load_config
from spfast.validation.measures import MEASURES


def no_constants(name):
    raise AssertionError(f"{name} is no JSON")


@pytest.fixture
def found(run, capsys):
    """Run a command with ``--json``; return the object on standard output, and standard error."""

    def run_and_load(*words):
        assert run(*words, "--json") == 0
        out, err = capsys.readouterr()
        return json.loads(out, parse_constant=no_constants), err

    return run_and_load


def test_json_has_units_and_null_for_what_is_no_finite_number():
    table = Table({"a": [1.5, np.nan], "n": np.ma.array([3, 4], mask=[True, False])}, units={"a": "mas"})
    table["a"].description, table.meta = "how far", {"BEST": np.float32(np.inf), "OK": np.bool_(True)}
    assert json.loads(to_json(table_as_json(table)), parse_constant=no_constants) == {
        "columns": [
            {"name": "a", "unit": "mas", "description": "how far"},
            {"name": "n", "unit": "", "description": ""},
        ],
        "rows": [{"a": 1.5, "n": None}, {"a": None, "n": 4}],
        "header": {"BEST": None, "OK": True},
    }


def test_info_validate_and_tune_print_one_object_and_nothing_else(work, tmp_path, found):
    survey, catalog = work / "survey", work / "catalog.fits"
    said, err = found("info", survey)
    assert (said["command"], said["stars"], said["training"], err) == ("info", 400, 266, "")
    said, _ = found("info", catalog)
    assert said["header"]["CONFIG"]["fit"]["solver"] == "prox-newton"
    assert said["columns"][3]["unit"] == "mas"
    said, _ = found("validate", catalog, "--truth", work / "truth.fits", "-o", tmp_path / "v.ecsv")
    assert said["tables"]["measures"]["rows"][0]["n"] == 400
    grid = ("--penalties", 20, "--zero-points", 0.05, "--pixels", "raw")
    said, err = found("tune", survey, *grid)
    assert (said["penalty"], said["zero_point_mas"], len(said["grid"]["rows"])) == (20.0, 0.05, 2)
    assert "penalty 20" not in err  # the result is printed once


def test_what_comes_next_has_the_paths_of_this_run_and_works(work, tmp_path, run, capsys):
    model = tmp_path / "a model.npz"
    assert run("fit", work / "survey", "-o", model, "--pixels", "raw", "--penalty", 20) == 0
    first, second = capsys.readouterr().out.splitlines()[-2:]
    assert first == f"Next: spfast info '{model}'"
    assert second.startswith(f"      spfast predict '{model}' --allstar ")
    assert run("validate", work / "catalog.fits", "--survey", work / "survey") == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == f"Next: spfast report {work}/catalog.fits --survey {work}/survey -o {work}/report"
    assert run("validate", work / "catalog.fits", "--quiet") == 0
    assert "Next" not in capsys.readouterr().out


def test_explain_says_what_each_head_means(work, run, capsys):
    assert run("validate", work / "catalog.fits", "--explain") == 0
    said = capsys.readouterr().out
    for head, column in MEASURES.items():
        assert f" {column.description}\n" in said, head


def test_log_has_all_that_is_said_at_any_verbosity_and_how_it_ended(work, tmp_path, run, refused, capsys):
    log = tmp_path / "log.txt"
    assert run("fit", work / "survey", "-o", tmp_path / "m.npz", "--pixels", "raw", "--quiet", "--log", log) == 0
    assert capsys.readouterr() == ("", "")
    refused("info", tmp_path / "none", "--log", log)
    lines = log.read_text().splitlines()
    assert all(line[:4].isdecimal() and line[23] == "Z" for line in lines)
    said = "\n".join(line[26:] for line in lines)
    for text in (
        f"command: spfast fit {work / 'survey'} -o ",
        "versions: spfast ",
        "begin: all stars: fit\n",
        "model all: 266 stars, penalty 30",
        "exit status 0 after ",
        "command: spfast info",
        "Traceback",
        f"spfast: {tmp_path / 'none'}: no such file or folder",
        "exit status 2 after ",
    ):
        assert text in said
        said = said[said.index(text) :]  # in this order


def test_a_log_that_cannot_be_written_is_refused_before_any_work(work, tmp_path, refused):
    assert "log.txt" in refused("info", work, "--log", tmp_path / "none" / "log.txt")


@pytest.mark.parametrize("words", [(), ("--preset", "hogg2019"), ("--zero-point", "fit", "--seed", 3)], ids=str)
def test_printed_configuration_is_read_back(tmp_path, run, capsys, words):
    assert run("config", *words) == 0
    path = tmp_path / "settings.toml"
    path.write_text(capsys.readouterr().out)
    args = cli.make_parser().parse_args(["config", *map(str, words)])
    assert load_config(path) == load_config(None, args.preset, args.overrides)
    assert "zero_point = 0.0483  # added to every Gaia parallax [mas]" in path.read_text()


def test_every_setting_is_printed_with_what_it_means(run, capsys):
    assert run("config") == 0
    lines = capsys.readouterr().out.splitlines()
    settings = [(before, line) for before, line in itertools.pairwise(lines) if re.match(r"\w+ = ", line)]
    assert len(settings) > 60
    assert [line for before, line in settings if "#" not in before + line] == ['preset = "default"']


def test_infinite_bounds_and_lists_are_read_back(tmp_path):
    config = load_config(overrides={"sample": {"hw2_min": -np.inf}, "tune": {"penalties": [1, 2.5]}})
    (tmp_path / "c.toml").write_text(as_toml(config))
    assert load_config(tmp_path / "c.toml") == config
