"""Releases as data: what is known of each, and what is marked as not known."""

import pytest

from spfast.archive.adql import id_source, statement, upload_source
from spfast.archive.releases import GAIA, SPECTRA, gaia_release, spectro_release
from spfast.config import GAIA_RELEASES, ZERO_POINT
from spfast.data.columns import DR3_COLUMNS
from spfast.data.gaia import _OPTIONAL, _REQUIRED, WISE_COLUMNS
from spfast.errors import BadInputError
from spfast.simulate.files import RELEASES


def test_releases_are_those_that_the_configuration_names():
    assert tuple(GAIA) == GAIA_RELEASES
    assert GAIA["dr2"].zero_point.value == ZERO_POINT
    assert [release.epoch for release in GAIA.values()] == [2015.5, 2016.0, 2017.5]
    assert {release.gaia for release in SPECTRA.values()} <= set(GAIA)
    with pytest.raises(BadInputError, match="Gaia release 'dr9': expected one of dr2, dr3, dr4"):
        gaia_release("dr9")


def test_what_dr4_has_is_not_made_up():
    dr4 = GAIA["dr4"]
    assert dr4.announced
    assert (dr4.zero_point, dr4.relation, dr4.columns, dr4.by_name, dr4.wise) == (None,) * 5
    with pytest.raises(BadInputError, match=r"Gaia DR4: its columns are not known .* another release \(dr2, dr3\)"):
        statement(dr4, id_source(dr4, [1]))


@pytest.mark.parametrize("name", ["dr2", "dr3"])
def test_a_query_asks_for_all_that_a_gaia_table_is_read_for(name):
    release = GAIA[name]
    for source in (id_source(release, [1, 2]), upload_source(release, "tmass_id")):
        asked = {column.split(".")[1] for column in statement(release, source).split(" FROM ")[0][7:].split(", ")}
        # The key comes from the list of stars where it is not asked for.
        assert set(_REQUIRED) | set(WISE_COLUMNS) <= asked
        assert set(_OPTIONAL) - asked <= ({"angular_distance"} | (set() if name == "dr3" else set(DR3_COLUMNS)))
        assert "LEFT OUTER JOIN" in statement(release, source)
    assert {"random_index", "ref_epoch"} <= set(release.columns)


def test_paths_are_those_of_the_mock_downloads():
    fields = {"telescope": "apo25m", "place": "4321", "field": "M67", "prefix": "ap", "id": "2M1"}
    for name in ("dr14", "dr16", "dr17"):
        for kind, template in SPECTRA[name].paths.items():
            mock = RELEASES[name][kind].replace("{prefix}-", "{prefix}Star-").format(**fields)
            assert template.format(**fields) == f"{name}/{mock}"


def test_a_release_of_sdss_is_told_by_the_versions_of_its_files():
    assert [
        spectro_release(None, [version]).name for version in ("r5", "r8", "dr17", "1.3", "0.6.0", "1.5", "0.8.1")
    ] == [*("dr12", "dr14", "dr17", "dr19", "dr19", "dr20", "dr20")]
    assert spectro_release("dr13", ["r8"]).name == "dr13"
    with pytest.raises(BadInputError, match=r"a.fits: names the versions r12, r8; expected those of one release"):
        spectro_release(None, ["r8", "r12"], "a.fits")
    with pytest.raises(BadInputError, match="does not say its version"):
        spectro_release(None)
    with pytest.raises(BadInputError, match="release 'dr18': expected one of dr12"):
        spectro_release("dr18")
