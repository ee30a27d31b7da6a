"""What the tests of the command have in common: a folder to work on, and two ways to run the command."""

import pytest
from tiny import tiny_survey

from spfast import cli
from spfast.data.tables.write import write_table


@pytest.fixture(scope="session")
def work(tmp_path_factory):
    """A folder with a survey, its truth and a catalog, not to be changed."""
    folder = tmp_path_factory.mktemp("work")
    _, truth = tiny_survey(folder / "survey")
    write_table(truth, folder / "truth.fits")
    assert cli.main(["catalog", str(folder / "survey"), "-o", str(folder / "catalog.fits"), "--penalty", "20"]) == 0
    return folder


@pytest.fixture
def run():
    """Run a command; return its exit status."""
    return lambda *words: cli.main([str(word) for word in words])


@pytest.fixture
def refused(run, capsys):
    """Run a command that must fail with one line; return the line."""

    def run_and_read(*words, code=2):
        assert run(*words) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert err.startswith("spfast: ")
        return err

    return run_and_read
