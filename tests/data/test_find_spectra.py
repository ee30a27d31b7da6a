"""The scan for spectra: every release's tree, files of one name, links, folders that cannot be used."""

import os
import shutil

import pytest
from small_survey import TREES, star_ids, tree_path

from spfast.data.spectra.choose import release_of
from spfast.data.spectra.find import SpectrumFiles
from spfast.errors import BadInputError


@pytest.mark.parametrize(("release", "kind"), list(TREES))
def test_spectra_are_found_in_the_tree_of_every_release(tmp_path, release, kind):
    ids = star_ids(4)
    for i, star in enumerate(ids):
        path = tmp_path / tree_path(release, kind, star, ["apo25m", "lco25m", "apo1m", "apo25m"][i])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    files = SpectrumFiles(tmp_path)
    assert files.n_files == 4
    for i, star in enumerate(ids):
        expected = tree_path(release, kind, star, ["apo25m", "lco25m", "apo1m", "apo25m"][i])
        assert files.find(star) == expected  # by ID
        assert files.find("unknown", expected.split("/")[-1]) == expected  # by FILE
    assert files.find("2M00000000+0000000", "apStar-r5-2M00000000+0000000.fits") == ""


def test_of_several_files_of_one_star_the_one_in_its_field_and_then_aspcapstar_is_found(tmp_path):
    names = [
        "stars/4001/aspcapStar-r8-l31c.2-2M10000000+2000000.fits",
        "stars/4002/aspcapStar-r8-l31c.2-2M10000000+2000000.fits",
        "redux/4002/apStar-r8-2M10000000+2000000.fits",
        "redux/4002/apVisit-r8-2M10000000+2000000.fits",
        "redux/4002/apStar-r8-2M10000000+2000000.txt",
        "hip/apStar-r8-HIP-77.fits.gz",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    files = SpectrumFiles(tmp_path)
    star = "2M10000000+2000000"
    assert files.find(star) == names[0]
    assert files.find(star, "", ("apo25m", "4002")) == names[1]
    assert files.find(star, "apStar-r8-2M10000000+2000000.fits") == names[2]
    assert files.find("HIP-77") == names[5]
    assert files.find("x", "apStar-r8-HIP-77.fits") == names[5]


def test_neither_links_nor_names_lead_out_of_the_folder_of_spectra(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "sub").mkdir(parents=True)
    outside.mkdir()
    (outside / "apStar-x-A.fits").touch()
    (root / "sub" / "apStar-x-B.fits").touch()
    os.symlink(outside / "apStar-x-A.fits", root / "apStar-x-A.fits")
    os.symlink(outside, root / "away")
    os.symlink(root, root / "sub" / "loop")
    os.symlink(root / "sub" / "apStar-x-B.fits", root / "apStar-x-C.fits")
    files = SpectrumFiles(root)
    assert files.n_files == 2
    assert files.find("A") == ""
    assert files.find("A", "../outside/apStar-x-A.fits") == ""
    assert files.find("A", str(outside / "apStar-x-A.fits")) == ""
    assert files.find("B", "/etc/apStar-x-B.fits") == "sub/apStar-x-B.fits"
    assert files.find("C") == "apStar-x-C.fits"


@pytest.mark.parametrize("spell", [str.upper, str.lower, str.swapcase])
def test_release_counts_in_names_of_any_case(tmp_path, spell):
    names = [spell(f"apStar-{release}-2M10000000+2000000.fits") for release in ("dr16", "dr17")]
    for name in names:
        (tmp_path / name).write_text(name)
    (tmp_path / f"{names[1]}{spell('.gz')}").touch()
    files = SpectrumFiles(tmp_path)
    assert files.find("2M10000000+2000000", "apStar-dr17-2M10000000+2000000x.fits") == names[1]
    assert release_of(names[0]) == "dr16"


def test_a_folder_that_is_absent_or_holds_no_fits_file_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="no such folder"):
        SpectrumFiles(tmp_path / "none")
    with pytest.raises(BadInputError, match="no FITS file"):
        SpectrumFiles(tmp_path)


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    (tmp_path / "field").mkdir()
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("field"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(BadInputError, match=r"field: cannot be listed \(Permission denied\)"):
        SpectrumFiles(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "aspcapStar-dr17-2M10000000+2000000.FITS",
        "APSTAR-DR17-2M10000000+2000000.FITS",
        "apstar-dr17-2m10000000+2000000.fits",
        "sub/asstar-dr17-2M10000000+2000000.Fits.GZ",
        "2m10000000+2000000.fits.gz",
        "ApStar-dr17-2M10000000+2000000.fit",
    ],
)
def test_case_of_a_files_name_does_not_count(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    files = SpectrumFiles(tmp_path)
    assert files.find("2M10000000+2000000") == name
    assert files.find("2M10000000+2000001") == ""
    base = name.split("/")[-1]
    for named in (base, base.lower(), base.upper(), f"https://x/{base.swapcase()}", base.lower().removesuffix(".gz")):
        assert files.find("unknown", named) == name
    assert not files.unread


def test_spelling_that_is_asked_for_wins_over_another_case(tmp_path):
    names = ["apStar-dr17-A.fits", "apstar-dr17-a.fits", "APSTAR-DR17-A.FITS"]
    for name in names:
        (tmp_path / name).touch()
    files = SpectrumFiles(tmp_path)
    assert [files.find("unknown", name) for name in names] == names


def test_notes_that_macos_keeps_beside_a_file_are_no_spectra(tmp_path):
    (tmp_path / "._aspcapStar-dr17-A.fits").touch()
    with pytest.raises(BadInputError, match="no FITS file in this folder or below; check --spectra"):
        SpectrumFiles(tmp_path)
    (tmp_path / "apStar-dr17-A.fits").touch()
    assert SpectrumFiles(tmp_path).find("A", "._aspcapStar-dr17-A.fits") == "apStar-dr17-A.fits"


def link_out(root, outside):
    (outside / "apStar-dr17-A.fits").touch()
    for star in "AB":
        os.symlink(outside / "apStar-dr17-A.fits", root / f"apStar-dr17-{star}.fits")


def touch(*names):
    return lambda root, outside: [(root / name).touch() for name in names]


@pytest.mark.parametrize(
    ("put", "said", "advice"),
    [
        (link_out, "2 links that lead out of the folder and are not followed", "give the folder that they lead to"),
        (lambda root, outside: os.symlink(outside, root / "apogee"), "1 links that lead out", "(e.g. apogee)"),
        (
            lambda root, outside: os.symlink(root / "gone", root / "apStar-1-A.fits"),
            "1 links that lead nowhere",
            "A.fits",
        ),
        (lambda root, outside: os.symlink(root / "a.fits", root / "a.fits"), "1 links that lead nowhere", "a.fits"),
        (touch("apStar-dr17-A.fits.fz", "apStar-dr17-B.FITS.FZ"), "2 compressed files or archives", "funpack"),
        (touch("apStar-dr17-A.fits.bz2"), "1 compressed files or archives", "unpack"),
        (touch("spectra.tar.gz"), "1 compressed files or archives", "unpack"),
        (touch("apStar-A.zip", "b.tgz"), "2 compressed files or archives", "unpack"),
        (lambda root, outside: os.mkfifo(root / "apStar-1-A.fits"), "1 pipes or devices", "give files"),
    ],
)
def test_folder_without_a_readable_spectrum_says_what_it_holds_and_what_to_do(tmp_path, put, said, advice):
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    put(root, outside)
    with pytest.raises(BadInputError, match="no FITS file in this folder or below that can be read, but") as caught:
        SpectrumFiles(root)
    assert said in str(caught.value)
    assert advice in str(caught.value)
    assert "(e.g. " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_link_to_a_folder_inside_and_files_that_are_no_spectra_are_not_spoken_of(tmp_path):
    (tmp_path / "a").mkdir()
    touch("a/apStar-dr17-A.fits", "readme.txt", "table.csv", "notes.pdf")(tmp_path, None)
    os.symlink(tmp_path / "a", tmp_path / "b")
    os.symlink("/etc/hostname", tmp_path / "host")
    files = SpectrumFiles(tmp_path)
    assert files.n_files == 1
    assert not files.unread
    assert files.describe() == "spectra of 1 names (e.g. apStar-dr17-A.fits)"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mwmStar-0.6.0-1000.fits", "files of SDSS-V, of which mwmStar is read with a table that has sdss_id"),
        ("mwmVisit-0.6.0-1000.fits.gz", "of SDSS-V"),
        ("MWMSTAR-0.6.0-1000.FITS", "of SDSS-V"),
        ("astraStarASPCAP-0.6.0-7.fits", "of SDSS-V"),
        ("apVisit-dr17-7545-57671-074.fits", "single visits or tables"),
        ("apvisit-dr17-7545-57671-074.fits", "single visits or tables"),
        ("allStar-dr17-synspec_rev1.fits", "single visits or tables"),
        ("aspcapField-4321.fits", "single visits or tables"),
        ("asVisit-dr17-1.fits", "single visits or tables"),
        ("ap1D-a-00000001.fits", "single visits or tables"),
    ],
)
def test_files_of_other_kinds_are_told_by_their_names(tmp_path, name, said):
    (tmp_path / name).touch()
    files = SpectrumFiles(tmp_path)
    assert said in files.describe()
    assert ("apStar" in files.describe()) == ("SDSS-V" not in said)
    assert f"(e.g. {name})" in files.describe()


def test_star_whose_file_is_not_read_is_told_why(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    link_out(root, outside)
    touch("apStar-dr17-2M10000000+2000000.fits.fz", "apStar-dr17-C.fits", "x-2M10000001+2000000.fits.xz")(root, None)
    unread = SpectrumFiles(root).unread
    assert unread.of_star("B").startswith("apStar-dr17-B.fits is of the links that lead out")
    assert "compressed" in unread.of_star("2M10000000+2000000")
    assert "compressed" in unread.of_star("2m10000001+2000000")
    assert "compressed" in unread.of_star("?", "r8/apStar-dr17-2M10000000+2000000.fits")
    assert unread.of_star("C") is None
    assert unread.of_star("", "") is None
    shutil.rmtree(outside)
    assert SpectrumFiles(root).unread.of_star("A").startswith("apStar-dr17-A.fits is of the links that lead out")


def scan(root, **content):
    """A scanned folder with files of given names and content."""
    for name, text in content.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return SpectrumFiles(root)


R12, R17 = "aspcap/r12/l33", "aspcap/dr17/synspec_rev1"
STAR = "2M10000000+2000000"


def test_of_two_releases_under_one_root_the_one_that_allstar_names_is_taken(tmp_path):
    old, new = f"{R12}/apo25m/M67/aspcapStar-r12-{STAR}.fits", f"{R17}/apo25m/M67/aspcapStar-dr17-{STAR}.fits"
    files = scan(tmp_path, **{old: "old", new: "new"})
    where = ("apo25m", "M67")
    assert files.find(STAR, f"apStar-r12-{STAR}.fits", where) == old
    assert files.find(STAR, f"apStar-dr17-{STAR}.fits", where) == new
    for named in ("", f"{STAR}.fits", f"apStar-r14-{STAR}.fits"):
        with pytest.raises(
            BadInputError, match=r"has 2 spectrum files, .* give --spectra the folder of one release"
        ) as told:
            files.find(STAR, named, where)
        assert old in str(told.value)
        assert new in str(told.value)


def test_files_of_one_name_belong_to_their_telescope_and_field(tmp_path):
    names = [f"{R17}/{where}/aspcapStar-dr17-{STAR}.fits" for where in ("apo25m/M67", "apo25m/090+20", "lco25m/M67")]
    files = scan(tmp_path, **{name: name for name in names})
    named = f"aspcapStar-dr17-{STAR}.fits"
    for name, where in zip(names, [("apo25m", "M67"), ("apo25m", "090+20"), ("lco25m", "M67")], strict=True):
        assert files.find(STAR, named, where) == files.find(STAR, "", where) == name
    # Files of another telescope or field are other rows'.
    assert files.find(STAR, named, ("apo1m", "M67")) == ""
    assert files.find(STAR, named, ("lco25m", "090+20")) == ""
    with pytest.raises(BadInputError, match="has 3 spectrum files"):
        files.find(STAR)


def test_copies_of_one_file_are_one_file_and_a_plain_file_goes_before_its_packed_one(tmp_path):
    name = f"aspcapStar-dr17-{STAR}.fits"
    files = scan(
        tmp_path, **{f"b/{name}": "same", f"a/{name}": "same", "c/apStar-x-B.fits": "1", "c/apStar-x-B.fits.gz": "2"}
    )
    assert files.find(STAR) == f"a/{name}"
    assert files.find("B") == "c/apStar-x-B.fits"
