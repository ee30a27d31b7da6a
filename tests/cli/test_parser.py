"""What the command line says of itself: commands in groups, what was perhaps meant, completion by a shell."""

import sys

import pytest

from spfast import cli


def ended(run, capsys, *words):
    """Run a command that the parser ends; return its exit status and both outputs."""
    with pytest.raises(SystemExit) as caught:
        run(*words)
    return caught.value.code, *capsys.readouterr()


def test_without_a_command_the_help_says_what_there_is(run, capsys):
    code, out, err = ended(run, capsys)
    assert (code, out) == (2, "")
    for command in cli.COMMANDS:
        assert f"\n  {command.__name__.rpartition('.')[2]} " in err
    assert ended(run, capsys, "--help") == (0, err, "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("validat",), "spfast: unknown command validat; did you mean validate?; see spfast --help"),
        (("frob", "--x"), "spfast: unknown command frob; see spfast --help"),
        (
            ("fit", "s", "--solvr=x"),
            "spfast fit: unknown option --solvr; did you mean --solver?; see spfast fit --help",
        ),
        (("--versoin",), "spfast: unknown option --versoin; did you mean --version?; see spfast --help"),
        (("fit", "s"), "spfast fit: the following arguments are required: -o/--output; see spfast fit --help"),
    ],
    ids=" ".join,
)
def test_misspelt_words_are_one_line_with_what_was_perhaps_meant(run, capsys, words, said):
    assert ended(run, capsys, *words) == (2, "", f"{said}\n")


def test_words_after_a_double_hyphen_and_values_with_blanks_are_no_options(run):
    parser = cli.make_parser()
    assert parser.parse_args(["info", "--", "--odd"]).path == "--odd"
    assert parser.parse_args(["info", "--odd name"]).path == "--odd name"


def test_completion_knows_commands_options_choices_and_files(run, capsys):
    pytest.importorskip("shtab")
    code, script, _ = ended(run, capsys, "--print-completion", "bash")
    assert code == 0
    files = ("validate_pos_0", "predict_pos_0", "ingest___allstar", "info_pos_0", "catalog___config", "tune__o")
    folders = ("catalog_pos_0", "predict_pos_1", "ingest___spectra", "report___models", "wanted__o")
    for kind, names in (("files", files), ("dirs", folders)):
        for name in names:
            assert f"_shtab_spfast_{name}_COMPGEN=_shtab_compgen_{kind}\n" in script
    assert "_shtab_spfast_catalog___solver_choices=(prox-newton owlqn)" in script.replace("'", "")  # shtab may quote


def test_completion_without_its_package_says_what_to_install(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert "pip install 'spfast[completion]'" in refused("--print-completion", "zsh")
