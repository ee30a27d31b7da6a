"""Each cut alone, at its limits, with its count and reason; the Training Set's cuts."""

import numpy as np
import pytest
from astropy.table import Table

from spfast.config import Config
from spfast.data.cuts import CutFlow, cut_apogee, cut_photometry, training_set

GOOD = {
    "LOGG": 1.5, "J": 10.0, "H": 9.3, "K": 9.2, "J_ERR": 0.02, "H_ERR": 0.02, "K_ERR": 0.02,
    "STARFLAG": 0, "ASPCAPFLAG": 0,
    "phot_g_mean_mag": 12.0, "phot_bp_mean_mag": 12.8, "phot_rp_mean_mag": 11.2, "w1mpro": 9.1, "w2mpro": 9.15,
    "phot_g_mean_mag_error": 0.001, "phot_bp_mean_mag_error": 0.001, "phot_rp_mean_mag_error": 0.001,
    "w1mpro_error": 0.02, "w2mpro_error": 0.02, "phot_variable_flag": "NOT_AVAILABLE",
    "parallax": -0.3, "parallax_error": 0.05, "visibility_periods_used": 8,
    "astrometric_chi2_al": 350.0, "astrometric_n_good_obs_al": 105,
}  # fmt: skip


#: Stars that lack a band are cut.
REJECTED = Config().replace(sample={"missing_bands": "rejected"})


def stars(**changes):
    """A good star, then one with each change."""
    rows = [GOOD] + [{**GOOD, name: value} for name, values in changes.items() for value in np.atleast_1d(values)]
    return Table(rows=rows, names=list(GOOD), dtype=["U20" if isinstance(v, str) else type(v) for v in GOOD.values()])


def left(cut, table, config=None):
    flow = CutFlow([f"s{i}" for i in range(len(table))])
    cut(table, flow, config or Config())
    return flow


@pytest.mark.parametrize(
    ("name", "bad"),
    [("STARFLAG", {0, 3, 18, 22}), ("ASPCAPFLAG", {16, 17, 23, 25, 26, 28, 31, 32, 33, 34, 35, 36, 40, 41})],
)
def test_stars_are_cut_for_the_bad_bits_of_apogee_s_flags_and_for_no_others(name, bad):
    flow = left(
        cut_apogee,
        stars(**{name: 1 << np.arange(63, dtype=np.int64)}),
        Config().replace(sample={"exclude_flagged": True}),
    )
    assert flow.rows.tolist() == [0, *(1 + bit for bit in range(63) if bit not in bad)]


def test_log_g_is_cut_above_its_lower_and_at_its_upper_limit():
    flow = left(cut_apogee, stars(LOGG=[0.0, 0.001, 2.2, 2.2001, np.nan, -9999.0]))
    assert flow.rows.tolist() == [0, 2, 3]
    assert flow.counts[:2] == [("rows in allStar", 7), ("0 < log g <= 2.2", 3)]
    rejected = flow.rejected()
    assert rejected["row"].tolist() == [1, 4, 5, 6]
    assert rejected["APOGEE_ID"].tolist() == ["s1", "s4", "s5", "s6"]
    assert rejected["detail"][1] == "LOGG = 2.2001"


def test_stars_without_2mass_photometry_are_cut():
    table = stars(K=[0.0, -5.0, np.nan], J=[-9999.0, np.nan], H_ERR=[0.0, np.nan, -1.0], J_ERR=0.5)
    flow = left(cut_apogee, table.copy(), REJECTED)
    assert flow.rows.tolist() == [0, 9]
    assert set(flow.rejected()["reason"]) == {"2MASS photometry"}
    # If bands are estimated they stay, and the other cuts say whether there are bands enough.
    flow = CutFlow([f"s{i}" for i in range(len(table))])
    kept = cut_apogee(table, flow, Config())
    assert flow.rows.tolist() == list(range(10))
    lacking = {band: np.flatnonzero(np.isnan(kept[band]) & np.isnan(kept[f"{band}_ERR"])).tolist() for band in "JHK"}
    assert lacking == {"J": [4, 5], "H": [6, 7, 8], "K": [1, 2, 3]}


def test_flags_are_cut_only_if_asked():
    table = stars(STARFLAG=[1, 2], ASPCAPFLAG=[1 << 23, 1 << 41, 1 << 5])
    assert len(left(cut_apogee, table).rows) == 6
    flow = left(cut_apogee, table, Config().replace(sample={"exclude_flagged": True}))
    assert flow.rows.tolist() == [0, 2, 5]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"phot_g_mean_mag": np.nan, "phot_bp_mean_mag": np.nan, "phot_rp_mean_mag_error": [0.0, np.nan]},
            "Gaia photometry",
        ),
        ({"w1mpro": np.nan, "w2mpro": np.nan, "w1mpro_error": [0.0, np.nan], "w2mpro_error": -1.0}, "WISE photometry"),
        ({"phot_variable_flag": "VARIABLE"}, "not variable"),
        ({"J": 10.5}, "J-K < 0.4 + 0.45 (BP-RP)"),
        ({"w2mpro": [9.36, 9.8]}, "H-W2 > -0.05"),
    ],
)
def test_each_photometric_cut_rejects_its_star_with_its_reason(changes, reason):
    flow = left(cut_photometry, stars(**changes))
    assert flow.rows.tolist() == [0]
    assert set(flow.rejected()["reason"]) == {"photometry" if reason.endswith("photometry") else reason}
    assert [name for name, _ in flow.counts[1:]] == [
        "photometry", "not variable", "J-K < 0.4 + 0.45 (BP-RP)", "H-W2 > -0.05",
    ]  # fmt: skip
    flow = left(cut_photometry, stars(**changes), REJECTED)
    assert flow.rows.tolist() == [0]
    assert set(flow.rejected()["reason"]) == {reason}
    assert [name for name, _ in flow.counts[1:]] == [
        "Gaia photometry", "WISE photometry", "not variable", "J-K < 0.4 + 0.45 (BP-RP)", "H-W2 > -0.05",
    ]  # fmt: skip


def test_stars_with_enough_bands_stay_where_stars_that_have_all_tell_the_others():
    lacking = {"phot_g_mean_mag": np.nan, "w1mpro": np.nan, "w2mpro": np.nan, "phot_bp_mean_mag": np.nan}
    three, four = {**GOOD, **lacking, "J": np.nan}, {**GOOD, **lacking}
    table = Table(rows=[three, four] + [GOOD] * 50, names=list(GOOD))
    flow = left(cut_photometry, table.copy())
    assert flow.rows.tolist() == [*range(1, 52)]
    assert flow.counts[:3] == [
        ("rows in allStar", 52), ("photometry", 51), ("of them with estimated magnitudes: 1", 51)
    ]  # fmt: skip
    assert left(cut_photometry, table[:51].copy()).rows.tolist() == [*range(2, 51)]  # too few have all
    assert left(cut_photometry, table.copy(), REJECTED).rows.tolist() == [*range(2, 52)]
    strict = Config().replace(sample={"bands_min": 5})
    assert left(cut_photometry, table, strict).rows.tolist() == [*range(2, 52)]


def test_variable_stars_stay_if_asked():
    config = Config().replace(sample={"exclude_variable": False})
    assert len(left(cut_photometry, stars(phot_variable_flag="VARIABLE"), config).rows) == 2


def test_the_first_cut_that_rejects_a_star_is_its_reason():
    table = Table(rows=[{**GOOD, "LOGG": 3.0, "K": np.nan}])
    flow = left(cut_apogee, table)
    assert flow.rejected()["reason"].tolist() == ["0 < log g <= 2.2"]
    assert flow.emptied_by() == "0 < log g <= 2.2"


def test_cuts_of_the_training_set():
    changes = {
        "parallax": [np.nan, -5.0],
        "parallax_error": [0.1, 0.0999, np.nan, 0.0],
        "visibility_periods_used": [7, 9, -1],
        "astrometric_chi2_al": [350.01, np.nan],
        "astrometric_n_good_obs_al": [104, 106, 5, -1],
    }
    expected = [
        True,
        False,
        True,
        False,
        True,
        False,
        False,
        False,
        True,
        False,
        False,
        False,
        False,
        True,
        False,
        False,
    ]
    # chi2 / sqrt(n - 5) = 35 exactly for the good star: inclusive
    assert training_set(stars(**changes), Config()).tolist() == expected


def test_stars_exactly_at_the_limits_of_the_cuts():
    """Numbers that a float holds exactly, at the limit and a step beyond."""
    config = Config().replace(sample={"jk_offset": 0.5, "jk_slope": 0.5, "hw2_min": 0.25})
    edge = {"J": 10.5, "K": 9.25, "phot_bp_mean_mag": 13.0, "phot_rp_mean_mag": 11.5, "H": 9.5, "w2mpro": 9.0}
    rows = [{**GOOD, **edge, **change} for change in ({}, {"J": 10.4375}, {"w2mpro": 9.25}, {"w2mpro": 9.1875})]
    rows = [rows[0], rows[1], {**rows[1], "w2mpro": 9.25}, {**rows[1], "w2mpro": 9.1875}]
    table = Table(rows=rows, names=list(GOOD))
    assert left(cut_photometry, table, config).rows.tolist() == [1, 3]
    errors = stars(phot_g_mean_mag_error=[10.0, 9.9375], w2mpro_error=[10.0625, 9.0])
    assert left(cut_photometry, errors).rows.tolist() == [0, 2, 4]
    twomass = stars(J=[-100.0, -99.9375, -100.5], K=[0.0, 0.0625])
    assert left(cut_apogee, twomass, REJECTED).rows.tolist() == [0, 2, 5]
    few = stars(astrometric_n_good_obs_al=[5, 6], astrometric_chi2_al=35.0)
    few["astrometric_chi2_al"] = 35.0
    few["astrometric_n_good_obs_al"][0] = 6
    assert training_set(few, Config()).tolist() == [True, False, True, True]
