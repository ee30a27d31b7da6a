"""The scan for spectra: every release's tree, files of one name, links, folders that cannot be used."""

import os

import pytest
from small_survey import TREES, star_ids, tree_path

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
