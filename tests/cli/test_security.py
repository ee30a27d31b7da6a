"""Input that means harm: code, paths, links, bombs. Nothing is run, followed or unpacked without end."""

import ast
import gzip
import json
import os
import pickle
import stat
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from fuzzing import SUFFIXES
from small_survey import spectra, star_ids, tables, write_aspcap_star
from tiny import tiny_survey

import spfast
from spfast.cli import main
from spfast.config import Config
from spfast.data import untrusted
from spfast.data.apogee import fits_library, spectrum_reader
from spfast.data.gaia import read_gaia
from spfast.data.spectra import workers
from spfast.data.spectra.continuum import chip_pixels
from spfast.data.spectra.find import SpectrumFiles
from spfast.data.survey import open_survey
from spfast.data.tables.read import read_table
from spfast.data.tables.write import write_table
from spfast.errors import BadInputError
from spfast.files import BLANK_SEAL, seal
from spfast.model import model_file
from spfast.model.fitted_model import load_model
from spfast.model.layout import FeatureLayout

PACKAGE = Path(spfast.__file__).parent
READERS = (read_gaia, read_table)
LIBRARIES = ["astropy"] + (["fitsio"] if fits_library() == "fitsio" else [])


# Nothing is unpickled, evaluated or handed to a shell


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_source_calls_nothing_that_runs_code(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    forbidden = {
        "eval",
        "exec",
        "compile",
        "__import__",
        "system",
        "popen",
        "execv",
        "execve",
        "spawnv",
        "literal_eval",
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            # Of joblib, which can load code, only how many processes there are.
            counts_processes = modules == {"joblib", "effective_n_jobs"}
            assert counts_processes or not modules & {"marshal", "shelve", "dill", "joblib", "yaml"}, node.lineno
            # What this process and the workers that it has started, or those of a cluster, say to each other.
            between_processes = ("serve.py", "workers.py", "by_path.py")
            assert "pickle" not in modules or path.name in between_processes, node.lineno
            # A handler of SIGBUS that runs on the spot, and advice on pages; nothing from a file goes there.
            assert "ctypes" not in modules or path.name in ("bus_error.py", "ahead.py"), node.lineno
            assert "subprocess" not in modules or path.name == "workers.py", node.lineno
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            # `re.compile` and the builtin share a name; only the second takes code.
            assert name not in forbidden or (name == "compile" and isinstance(node.func, ast.Attribute)), node.lineno
            options = {option.arg: option.value for option in node.keywords}
            assert "shell" not in options, node.lineno
            if name == "load" and getattr(getattr(node.func, "value", None), "id", "") == "np":
                assert options["allow_pickle"].value is False, node.lineno


def test_pickles_are_refused(tmp_path):
    tiny_survey(tmp_path / "s", n_stars=5)
    bomb = np.array([Bomb(tmp_path / "fired")] * 5, dtype=object)
    np.save(tmp_path / "s" / "features.npy", bomb, allow_pickle=True)
    with pytest.raises(BadInputError, match=r"features\.npy: cannot be read"):
        open_survey(tmp_path / "s")
    (tmp_path / "s" / "features.npy").write_bytes(pickle.dumps(Bomb(tmp_path / "fired")))
    with pytest.raises(BadInputError, match=r"features\.npy: cannot be read"):
        open_survey(tmp_path / "s")
    sealed(tmp_path / "m.npz", header=bomb, coef=bomb)
    with pytest.raises(BadInputError, match=r"m\.npz: not a whole spfast model .*allow_pickle=False"):
        load_model(tmp_path / "m.npz")
    assert not (tmp_path / "fired").exists()


def sealed(path, **arrays):
    """A file that is a model's but for its content."""
    np.savez(path, **arrays)
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = BLANK_SEAL.encode()
    seal(path)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "meta", ["!!python/object/apply:os.system ['touch {0}']", "!!python/object/new:os.system ['touch {0}']"]
)
def test_yaml_that_calls_python_is_refused(tmp_path, reader, meta):
    (tmp_path / "t.ecsv").write_text(
        "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a, datatype: int64}\n"
        f"# meta: {meta.format(tmp_path / 'fired')}\n# schema: astropy-2.0\na\n1\n"
    )
    with pytest.raises(BadInputError, match=r"t\.ecsv: cannot be read"):
        reader(tmp_path / "t.ecsv")
    assert not (tmp_path / "fired").exists()


def test_workers_import_nothing_from_the_current_folder(tmp_path, monkeypatch):
    """A download may hold a file called json.py."""
    (tmp_path / "json.py").write_text(f"open({str(tmp_path / 'fired')!r}, 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    layout = FeatureLayout(chip_pixels()[::4])
    worker = workers._Worker(workers.row_job(tmp_path, chip_pixels()[::4].tolist(), Config(), layout, None))
    (tmp_path / "empty.fits").touch()
    magnitudes = np.zeros((1, len(layout.magnitudes)), np.float32)
    rows = worker.make(0, ["empty.fits"], (magnitudes, magnitudes))
    worker.close()
    assert rows.failures[0].startswith("damaged or not FITS")
    assert not (tmp_path / "fired").exists()


@pytest.mark.parametrize("library", LIBRARIES)
def test_brackets_in_a_file_name_are_not_followed_by_cfitsio(tmp_path, library):
    """CFITSIO would copy the second to a file of that name, and select from the others."""
    read = spectrum_reader(library)
    for name in ("apStar-1[col x=1].fits", "x.fits(copy).fits", "x[1].fits", "a;b $(touch y) `z` |q.fits"):
        write_aspcap_star(tmp_path / name, *(array[0] for array in spectra(1)[1:]))
        before = sorted(os.listdir(tmp_path))
        assert read(tmp_path / name).normalized
        assert sorted(os.listdir(tmp_path)) == before


def test_terminal_escapes_in_a_table_are_not_printed(tmp_path, capsys):
    Table({"a\x1b[2J": [1]}, meta={"x": "\x1b]0;owned\x07"}).write(tmp_path / "t.ecsv", format="ascii.ecsv")
    assert main(["info", str(tmp_path / "t.ecsv")]) == 0
    assert main(["info", str(tmp_path / "\x1b[31mnone.fits")]) == 2
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert "owned" in out
    assert "?[31mnone.fits: no such file" in err


# Paths stay in the folder


NASTY = (
    "../../etc/passwd",
    "/etc/passwd",
    "..\\..\\x.fits",
    "apStar-dr17-A.fits\0.txt",
    "\0",
    ".",
    "..",
    "",
    "x" * 100_000,
    "../" * 5000 + "outside/apStar-dr17-B.fits",
    "file:///etc/passwd",
    "~/x.fits",
    "$HOME/x.fits",
    "apStar-*.fits",
)


@pytest.mark.parametrize("value", NASTY, ids=range(len(NASTY)))
def test_path_in_a_table_finds_no_file_outside_the_folder(tmp_path, value):
    root, outside = tmp_path / "root", tmp_path / "outside"
    for path in (root / "M67" / "apStar-dr17-A.fits", outside / "apStar-dr17-B.fits"):
        path.parent.mkdir(parents=True)
        path.touch()
    files = SpectrumFiles(root)
    for found in (
        files.find("none", value, ("M67",)),
        files.find(value, "", ("M67",)),
        files.find("A", value, (value, value)),
        files.find(value, value, (value,)),
    ):
        assert found in ("", os.path.join("M67", "apStar-dr17-A.fits"))


def test_link_out_of_the_folder_is_not_followed(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "rootbeside"
    outside.mkdir()
    (root / "in").mkdir(parents=True)
    for path in (root / "in" / "apStar-dr17-A.fits", outside / "apStar-dr17-B.fits"):
        path.touch()
    os.symlink(outside / "apStar-dr17-B.fits", root / "apStar-dr17-B.fits")
    os.symlink("../rootbeside/apStar-dr17-B.fits", root / "apStar-dr17-C.fits")
    os.symlink(root / "apStar-dr17-B.fits", root / "apStar-dr17-D.fits")  # by way of another
    os.symlink(outside, root / "folder")
    os.symlink(root / "loop.fits", root / "loop.fits")
    os.symlink("/dev/zero", root / "apStar-dr17-Z.fits")
    os.mkfifo(root / "apStar-dr17-F.fits")  # to open it would be to wait
    files = SpectrumFiles(root)
    assert files.n_files == 1
    assert [files.find(star) for star in "ABCDZF"] == [os.path.join("in", "apStar-dr17-A.fits"), "", "", "", "", ""]


# Bombs


LAUGHS = "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True))
TABLE = '<TABLE><FIELD name="a" datatype="int"/><DATA>{}</DATA></TABLE>'
ROWS = "<TABLEDATA><TR><TD>1</TD></TR></TABLEDATA>"


def votable(prologue="", data=ROWS, description=""):
    return (
        f'<?xml version="1.0"?>{prologue}<VOTABLE version="1.3"><RESOURCE><DESCRIPTION>{description}</DESCRIPTION>'
        f"{TABLE.format(data)}</RESOURCE></VOTABLE>"
    )


VOTABLES = {
    "laughs": (votable(f'<!DOCTYPE v [<!ENTITY a "aaaaaaaaaa">{LAUGHS}]>', description="&i;"), "declares the entity"),
    "external": (
        votable('<!DOCTYPE v [<!ENTITY a SYSTEM "file:///etc/passwd">]>', description="&a;"),
        "the entity 'a'",
    ),
    "parameter": (votable('<!DOCTYPE v [<!ENTITY % a SYSTEM "http://127.0.0.1:9/x"> %a;]>'), "the entity 'a'"),
    "file": (
        votable(data='<BINARY><STREAM href="file:///etc/passwd"/></BINARY>'),
        "its data from 'file:///etc/passwd'",
    ),
    "web": (votable(data='<BINARY2><STREAM\n href = "http://127.0.0.1:9/x"/></BINARY2>'), "its data from 'http:"),
    "fits": (votable(data='<FITS><STREAM href="file:///etc/passwd"/></FITS>'), "its data from 'file:"),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", VOTABLES)
def test_votable_with_entities_or_foreign_data_is_refused(tmp_path, reader, encoding, packed, name):
    text, message = VOTABLES[name]
    content, path = text.encode(encoding), tmp_path / "t.vot"
    # The magic bytes say what is packed, whatever the name.
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(BadInputError, match=rf"t\.vot: its XML .*{message}"):
        reader(path)


def test_votable_with_a_doctype_alone_is_read(tmp_path):
    (tmp_path / "t.vot").write_text(votable('<!DOCTYPE VOTABLE SYSTEM "http://us-vo.org/xml/VOTable.dtd">'))
    assert read_table(tmp_path / "t.vot")["a"].tolist() == [1]


@pytest.mark.parametrize("nested", [200_000])
def test_endlessly_nested_xml_and_json_are_refused(tmp_path, nested):
    (tmp_path / "t.vot").write_text('<?xml version="1.0"?><VOTABLE version="1.3">' + "<RESOURCE>" * nested)
    with pytest.raises(BadInputError, match=r"t\.vot: cannot be read"):
        read_table(tmp_path / "t.vot")
    tiny_survey(tmp_path / "s", n_stars=5)
    (tmp_path / "s" / "survey.json").write_text('{"schema": ' + "[" * nested)
    with pytest.raises(BadInputError, match=r"survey\.json: damaged"):
        open_survey(tmp_path / "s")


@pytest.mark.parametrize("name", ["gaia.csv.gz", "gaia.csv", "gaia.fits.gz", "gaia.vot.gz", "gaia.ecsv.gz"])
def test_table_that_unpacks_to_too_much_is_refused(tmp_path, name, monkeypatch):
    monkeypatch.setattr(untrusted, "_UNPACKED_FREE", 1 << 20)
    (tmp_path / name).write_bytes(gzip.compress(b" " * (4 << 20), compresslevel=1))
    with pytest.raises(BadInputError, match=rf"{name}: unpacks to more than \d+ MiB, 100 times its size"):
        read_gaia(tmp_path / name)


@pytest.mark.parametrize("library", LIBRARIES)
def test_spectrum_that_unpacks_to_too_much_is_refused(tmp_path, library, monkeypatch):
    monkeypatch.setattr(untrusted, "_UNPACKED_FREE", 1 << 20)
    path = tmp_path / "apStar-x.fits.gz"
    write_aspcap_star(tmp_path / "x.fits", *(array[0] for array in spectra(1)[1:]))
    whole = (tmp_path / "x.fits").read_bytes()
    path.write_bytes(gzip.compress(whole))
    assert spectrum_reader(library)(path).flux.size == 8575
    path.write_bytes(gzip.compress(whole, 1) + gzip.compress(bytes(1 << 20)) * 40)  # many members, each harmless
    with pytest.raises(BadInputError, match="unpacks to more than"):
        spectrum_reader(library)(path)


def test_limit_on_unpacking_is_far_above_real_tables(tmp_path):
    """Sixty MiB of anything, and a hundred times the file: zeros are beyond it, tables are not."""
    (tmp_path / "zeros.csv.gz").write_bytes(gzip.compress(bytes(80 << 20), compresslevel=9))
    with pytest.raises(BadInputError, match=r"unpacks to more than 7\d MiB"):
        read_gaia(tmp_path / "zeros.csv.gz")
    gaia = tables(spectra(400)[0][:400])[1]
    gaia.write(tmp_path / "gaia.csv")
    content = (tmp_path / "gaia.csv").read_bytes()
    assert len(content) < 20 * len(gzip.compress(content))


@pytest.mark.parametrize(("magic", "kind"), [(b"BZh91AY", "bzip2"), (b"\xfd7zXZ\0", "xz"), (b"PK\3\4", "zip")])
def test_packing_other_than_gzip_is_refused_by_its_first_bytes(tmp_path, magic, kind):
    for name, reader in (("t.fits", read_table), ("t.csv", read_gaia), ("apStar-x.fits", spectrum_reader())):
        (tmp_path / name).write_bytes(magic + bytes(100))
        with pytest.raises(BadInputError, match=rf"{name}: is packed with {kind}, expected a plain file or gzip"):
            reader(tmp_path / name)


def test_model_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    sealed(tmp_path / "m.npz", header=np.array(json.dumps({})), coef=np.zeros(1 << 17))
    monkeypatch.setattr(model_file, "_SIZE_MAX", 1 << 20)
    with pytest.raises(BadInputError, match="it unpacks to more than 1 MiB"):
        load_model(tmp_path / "m.npz")


@pytest.mark.parametrize(("keyword", "count"), [("NAXIS", "99999999999999"), ("TFIELDS", "1000000000")])
def test_fits_header_with_absurd_counts_is_refused(tmp_path, keyword, count):
    gaia = tables(spectra(3)[0])[1]
    gaia.write(tmp_path / "g.fits")
    content = (tmp_path / "g.fits").read_bytes()
    at = content.index(keyword.encode().ljust(8) + b"=", 2880)
    changed = content[:at] + (f"{keyword:8s}= {count:>20s}").encode() + content[at + 30 :]
    for packed in (False, True):
        (tmp_path / "g.fits").write_bytes(gzip.compress(changed) if packed else changed)
        for reader in READERS:
            with pytest.raises(BadInputError, match=rf"HDU 1 has {keyword} = {count}, expected at most 999"):
                reader(tmp_path / "g.fits")
    (tmp_path / "g.fits").write_bytes(content[:2880] + b"X".ljust(80) * 110_000)
    with pytest.raises(BadInputError, match="the header of HDU 1 has no end"):
        read_gaia(tmp_path / "g.fits")


# Outputs


def test_outputs_obey_the_umask_and_leave_nothing_in_the_temporary_folder(tmp_path, monkeypatch):
    elsewhere = tmp_path / "tmp"
    elsewhere.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    monkeypatch.setenv("TMPDIR", str(elsewhere))
    out = tmp_path / "out"
    out.mkdir()
    before = os.umask(0o077)
    try:
        tiny_survey(out / "s", n_stars=60)
        for suffix in SUFFIXES:
            write_table(Table({"a": [1.0]}), out / f"t.{suffix}")
        code = main(["fit", str(out / "s"), "-o", str(out / "m.npz"), "--threads", "1", "--quiet"])
    finally:
        os.umask(before)
    assert code == 0
    for path in out.rglob("*"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
    assert not list(elsewhere.iterdir())
    assert {path.name for path in out.iterdir()} - {"s", "m.npz"} == {f"t.{x}" for x in SUFFIXES}


def test_star_named_as_a_path_makes_no_file(tmp_path):
    """Names become neither files nor folders."""
    survey, _ = tiny_survey(tmp_path / "s", n_stars=60, edit=lambda stars: stars.__setitem__("APOGEE_ID", names()))
    catalog = spfast.make_catalog(survey, threads=1)
    write_table(catalog, tmp_path / "c.fits")
    assert sorted(os.listdir(tmp_path)) == ["c.fits", "s"]


def names():
    return [f"../../{name}" for name in star_ids(60)]
