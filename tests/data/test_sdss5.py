"""SDSS-V's mwmStar files: a row of a table in one of five HDUs, by its bytes or by astropy with the same result."""

import gzip
import warnings

import numpy as np
import pytest
from astropy.io import fits

from spfast.data import sdss5
from spfast.data.sdss5 import observatory, read_mwm_star
from spfast.errors import BadInputError
from spfast.model.layout import N_GRID

STAR = ("apo25m", "sdss5")


def pixels(seed=0):
    """Flux, ivar and flags as the files have them: NaN off the detectors, 1e-20 for a bad error, bits as floats."""
    rng = np.random.default_rng(seed)
    flux = rng.normal(800.0, 5.0, N_GRID).astype("f4")
    ivar = np.full(N_GRID, 0.04, "f4")
    flags = np.zeros(N_GRID, "f4")
    flux[:200], ivar[:200] = np.nan, 0.0
    ivar[300:310] = 1e-20
    ivar[310] = np.nan
    flags[400], flags[401], flags[402] = 1.0, 2.0**14 + 1, 2.0**23
    return flux, ivar, flags


def table(site, rows=(), extra=(), kind="E", name=None, **cards):
    """An HDU of APOGEE's spectra; each row is (telescope, release, flux, ivar, flags)."""
    columns = [
        fits.Column("spectrum_pk", "K", array=np.arange(len(rows))),
        fits.Column("release", "5A" if rows else "1A", array=np.array([row[1] for row in rows], "S")),
        fits.Column("telescope", "6A" if rows else "1A", array=np.array([row[0] for row in rows], "S")),
        fits.Column("v_rad", "E", array=np.zeros(len(rows))),
    ]
    for place, column in enumerate(("flux", "ivar", "pixel_flags"), start=2):
        values = np.array([row[place] for row in rows]) if rows else np.zeros((0, 0))
        columns.append(fits.Column(column, f"{N_GRID if rows else 0}{kind}", array=values))
    columns += extra
    header = fits.Header(
        {"EXTNAME": f"APOGEE/{site}", "OBSRVTRY": site, "INSTRMNT": "APOGEE"} if name is None else name
    )
    header.update({"CRVAL": 4.179, "CDELT": 6e-6, "CRPIX": 1} | cards)
    return fits.BinTableHDU.from_columns(columns, header=header)


def boss(site):
    hdu = table(site, name={"EXTNAME": f"BOSS/{site}", "OBSRVTRY": site, "INSTRMNT": "BOSS"})
    hdu.header["CRVAL"] = 3.5523
    return hdu


def write(path, *tables):
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(path, overwrite=True)
    return path


def mwm_star(path, apo=(), lco=(), **options):
    return write(path, boss("APO"), boss("LCO"), table("APO", apo, **options), table("LCO", lco, **options))


def is_read_plainly(path, site):
    with open(path, "rb", buffering=0) as file:
        return sdss5._find_plain(file, site) is not None


def check(spectrum, flux, ivar, flags):
    bad = ~(ivar > 1e-12)
    assert [values.dtype for values in spectrum[:3]] == [np.float32, np.float32, np.int32]
    np.testing.assert_array_equal(spectrum.flux, flux)
    np.testing.assert_array_equal(spectrum.flux_error[~bad], np.float32(5.0))
    assert np.isinf(spectrum.flux_error[bad]).all()
    assert bad[:200].all()
    assert bad[300:311].all()
    np.testing.assert_array_equal(spectrum.pixel_mask, flags.astype(int))
    assert not spectrum.normalized


@pytest.mark.parametrize("telescope", ["apo25m", "apo1m", "lco25m"])
def test_a_spectrum_is_that_of_the_telescope_whatever_else_the_file_holds(tmp_path, telescope):
    mine, other = pixels(1), pixels(2)
    both = {site: [("x", "sdss5", *other)] for site in ("apo", "lco")}
    both[observatory(telescope).lower()] = [(telescope, "sdss5", *mine)]
    path = mwm_star(tmp_path / "a.fits", **both)
    assert is_read_plainly(path, observatory(telescope))
    check(read_mwm_star(path, telescope, "sdss5"), *mine)


def test_a_packed_file_and_odd_ones_are_read_by_astropy_with_the_same_result(tmp_path):
    star = pixels()
    row = [(*STAR, *star)]
    plain = mwm_star(tmp_path / "a.fits", row)
    packed = tmp_path / "a.fits.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    heap = fits.Column("notes", "PB()", array=np.array([[1, 2]], object))
    odd = [
        packed,
        mwm_star(tmp_path / "d.fits", row, kind="D"),
        write(tmp_path / "h.fits", table("APO", row, extra=[heap])),
        write(tmp_path / "z.fits", table("APO", row, extra=[fits.Column("n", "J", array=[3], bzero=2**31)])),
    ]
    for path in (plain, *odd):
        check(read_mwm_star(path, *STAR), *star)
    assert [is_read_plainly(path, "APO") for path in odd[:3]] == [False, True, False]


def test_tables_are_known_by_name_or_by_observatory_and_instrument_and_not_by_number(tmp_path):
    star = pixels()
    nameless = table("APO", [(*STAR, *star)], name={"OBSRVTRY": "APO", "INSTRMNT": "APOGEE"})
    for path in (
        write(tmp_path / "a.fits", table("LCO"), table("APO", [(*STAR, *star)]), boss("APO")),
        write(tmp_path / "b.fits", boss("APO"), nameless, table("LCO")),
    ):
        assert is_read_plainly(path, "APO")
        check(read_mwm_star(path, *STAR), *star)


def test_of_several_rows_that_of_the_telescope_and_release_is_read(tmp_path):
    rows = [("apo1m", "sdss5", *pixels(1)), ("apo25m", "dr17", *pixels(2)), ("apo25m", "sdss5", *pixels(3))]
    path = mwm_star(tmp_path / "a.fits", rows)
    assert is_read_plainly(path, "APO")
    for telescope, release, *values in rows:
        check(read_mwm_star(path, telescope, release), *values)


def test_names_of_telescope_and_release_count_in_any_case(tmp_path):
    path = mwm_star(tmp_path / "a.fits", apo=[(*STAR, *pixels())])
    check(read_mwm_star(path, "APO25M", "SDSS5"), *pixels())


def test_flags_that_are_none_are_bad_and_files_without_flags_have_no_mask(tmp_path):
    flux, ivar, flags = pixels()
    flags[500] = np.nan
    assert read_mwm_star(mwm_star(tmp_path / "a.fits", [(*STAR, flux, ivar, flags)]), *STAR).pixel_mask[500] == 1
    hdu = table("APO", [(*STAR, flux, ivar, flags)])
    hdu.columns.del_col("pixel_flags")
    assert read_mwm_star(write(tmp_path / "b.fits", hdu), *STAR).pixel_mask is None


def test_a_header_that_promises_more_than_there_is_is_a_bad_file_and_no_lost_disk(tmp_path):
    path = mwm_star(tmp_path / "a.fits", [(*STAR, *pixels())])
    content = path.read_bytes()
    at = content.find(b"NAXIS1  =", content.find(b"EXTNAME = 'BOSS/LCO'") - 6000)
    card = b"NAXIS1  = %20d" % (1 << 58)
    path.write_bytes(
        content[:at]
        + card
        + content[at + len(card) :].replace(b"NAXIS2  =                    0", b"NAXIS2  =                    1", 1)
    )
    with pytest.raises(BadInputError, match=r"damaged or not FITS \(truncated\)") as caught:
        read_mwm_star(path, *STAR)
    # A fault of the system would stop a whole build.
    assert caught.value.__context__.errno is None


def short(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 2880 * 20])


def test_what_is_no_spectrum_of_the_row_is_refused_with_the_reason(tmp_path):
    flux, ivar, flags = star = pixels()
    row = [(*STAR, *star)]
    cases = {
        r"table APOGEE/LCO is empty": (mwm_star(tmp_path / "a.fits", row), ("lco25m", "sdss5")),
        r"holds the spectrum of sdss5 of apo25m, the summary's row is of dr17 of apo25m": (
            mwm_star(tmp_path / "b.fits", row),
            ("apo25m", "dr17"),
        ),
        r"has no table APOGEE/APO": (write(tmp_path / "c.fits", boss("APO"), table("LCO", row)), STAR),
        r"has CDELT = 1[eE]-05, expected 6e-06: another wavelength grid": (
            write(tmp_path / "d.fits", table("APO", row, CDELT=1e-5)),
            STAR,
        ),
        r"column pixel_flags has fractions": (
            mwm_star(tmp_path / "e.fits", [(*STAR, flux, ivar, flags + np.float32(0.5))]),
            STAR,
        ),
        r"damaged or not FITS": (mwm_star(tmp_path / "f.fits", row), STAR),
        r"no such file": (tmp_path / "none.fits", STAR),
        r"damaged or not FITS \(.*\); download it again": (tmp_path / "text.fits", STAR),
    }
    short(tmp_path / "f.fits")
    (tmp_path / "text.fits").write_text("<html>404</html>" * 500)
    wrong = table("APO", row)
    wrong.columns.del_col("ivar")
    cases["no column ivar"] = write(tmp_path / "g.fits", wrong), STAR
    for message, (path, which) in cases.items():
        with pytest.raises(BadInputError, match=message) as caught:
            read_mwm_star(path, *which)
        assert "\n" not in str(caught.value)


def test_damaged_bytes_raise_one_error_or_change_nothing(tmp_path):
    star = pixels()
    content = bytearray(mwm_star(tmp_path / "a.fits", [(*STAR, *star)]).read_bytes())
    rng, path, n_refused = np.random.default_rng(3), tmp_path / "b.fits", 0
    header = content.find(b"XTENSION", content.find(b"APOGEE/APO") - 8000)
    for _ in range(150):
        damaged = bytearray(content)
        at = header + int(rng.integers(0, 5760))
        damaged[at] = int(rng.integers(0, 256)) if rng.random() < 0.5 else ord(rng.choice(list("0123456789 -'EJKPQ")))
        path.write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                spectrum = read_mwm_star(path, *STAR)
            except BadInputError:
                n_refused += 1
            else:
                assert spectrum.flux.shape == (N_GRID,)
    assert 0 < n_refused < 150
