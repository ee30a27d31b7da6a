"""Gaia's XP coefficients: each format of the archive gives the same features; stars without BP are left out."""

import gzip
import json

import numpy as np
import pytest
from array_mocks import giants
from astropy.io import fits, votable
from astropy.table import Table

import spfast
from spfast.cli import main
from spfast.errors import BadInputError
from spfast.training.fold import fit_stars

COLUMNS = ("bp_coefficients", "bp_coefficient_errors", "rp_coefficients", "rp_coefficient_errors")
KINDS = ("f8", "f4", "f8", "f4")


@pytest.fixture(scope="module")
def mock():
    """Stars, their table, and for each the four arrays; the third has no BP."""
    stars, table = giants(70, 3)
    rng, theta = np.random.default_rng(5), 5040.0 / stars["teff"] - 1.12
    shapes = np.random.default_rng(6).normal(size=(3, 110)) * np.tile(np.exp(-np.arange(55) / 6.0), 2)
    clean = np.column_stack([np.ones(70), 8.0 * theta, stars["logg"] - 1.5]) @ shapes
    flux = 10 ** ((25.6873668671 - stars["G"]) / 2.5)
    errors = np.full((70, 110), 1e-3) * flux[:, None]
    values = clean * flux[:, None] + errors * rng.normal(size=clean.shape)
    rows = [[v[:55], e[:55].astype("f4"), v[55:], e[55:].astype("f4")] for v, e in zip(values, errors, strict=True)]
    rows[2][:2] = np.zeros(0), np.zeros(0, "f4")
    order = rng.permutation(70)  # the archive has an order of its own
    ids = np.asarray(table["gaia_source_id"])
    return stars, table, [(int(ids[i]), *rows[i]) for i in order], clean


def objects(arrays):
    out = np.empty(len(arrays), object)
    out[:] = arrays
    return out


def write_fits(path, records):
    columns = [fits.Column("source_id", "K", array=np.array([r[0] for r in records]))]
    for k, (name, kind) in enumerate(zip(COLUMNS, KINDS, strict=True), start=1):
        code = {"f8": "PD()", "f4": "PE()"}[kind]
        columns.append(fits.Column(name, code, array=objects([r[k] for r in records])))
    fits.BinTableHDU.from_columns(columns).writeto(path)


def write_csv(path, records):
    lines = ["source_id,solution_id," + ",".join(COLUMNS)]
    for star, *arrays in records:
        cells = ('"(' + ", ".join(repr(float(x)) for x in a) + ')"' if len(a) else "" for a in arrays)
        lines.append(f"{star},1," + ",".join(cells))
    path.write_text("\n".join(lines) + "\n")


def write_ecsv(path, records):
    lines = ["# %ECSV 1.0", "# ---", "# delimiter: ','", "source_id," + ",".join(COLUMNS)]
    for star, *arrays in records:
        cells = (json.dumps([float(x) for x in a]) if len(a) else "null" for a in arrays)
        lines.append(f"{star}," + ",".join(f'"{cell}"' for cell in cells))
    with gzip.open(path, "wt") as file:
        file.write("\n".join(lines) + "\n")


def write_votable(path, records):
    document = votable.tree.VOTableFile()
    table = votable.tree.TableElement(document)
    document.resources.append(votable.tree.Resource())
    document.resources[0].tables.append(table)
    kinds = ("double", "float", "double", "float")
    fields = [votable.tree.Field(document, name="source_id", datatype="long")]
    fields += [
        votable.tree.Field(document, name=name, datatype=kind, arraysize="*")
        for name, kind in zip(COLUMNS, kinds, strict=True)
    ]
    table.fields.extend(fields)
    table.create_arrays(len(records))
    for i, record in enumerate(records):
        table.array[i] = record
    document.to_xml(str(path))


WRITERS = {"xp.fits": write_fits, "xp.csv": write_csv, "xp.ecsv.gz": write_ecsv, "xp.xml": write_votable}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_coefficients_over_the_flux_of_g(mock, tmp_path, name):
    _, table, records, clean = mock
    WRITERS[name](tmp_path / name, records)
    survey = spfast.write_survey(tmp_path / "s", table, xp=tmp_path / name, threads=1)
    layout = survey.layout
    assert layout.names[9:11] == ["bp_00", "bp_01"]
    assert layout.names[-1] == "rp_54"
    assert {group: int(inside.sum()) for group, inside in layout.groups.items()} == {"BP": 55, "RP": 55}
    assert survey.n_stars == 69
    assert survey.rejected["detail"].tolist() == ["no BP coefficients"]
    row = {name: i for i, name in enumerate(table["obsid"].astype(str))}
    at = [row[name] for name in survey.stars["APOGEE_ID"]]
    measured = survey.features[:, 9:] * layout.scale[9:]
    assert np.abs(measured - clean[at]).max() < 6e-3
    np.testing.assert_allclose(survey.feature_errors[:, 9:] * layout.scale[9:], 1e-3, rtol=6e-4)
    assert survey.low_rank is None


def test_the_command_and_a_model_of_coefficients(mock, tmp_path, capsys):
    _, table, records, _ = mock
    write_fits(tmp_path / "xp.fits", records)
    table.write(tmp_path / "t.fits")
    words = f"ingest --xp {tmp_path}/xp.fits --table {tmp_path}/t.fits -o {tmp_path}/s --threads 1"
    assert main(words.split()) == 0
    assert "69 stars x 119 features" in capsys.readouterr().out
    model = fit_stars(spfast.open_survey(tmp_path / "s"), threads=1)
    assert model.low_rank is None
    assert model.columns_used.endswith("of 110 columns")


def test_a_file_without_these_stars_or_columns_is_refused(mock, tmp_path):
    _, table, records, _ = mock
    write_csv(tmp_path / "xp.csv", [(star + 1, *more) for star, *more in records])
    with pytest.raises(BadInputError, match=r"none of its 70 spectra can be used for the 70 stars"):
        spfast.write_survey(tmp_path / "s", table, xp=tmp_path / "xp.csv")
    Table({"source_id": [1]}).write(tmp_path / "t.csv")
    with pytest.raises(
        BadInputError, match=r"no column bp_coefficients, it has source_id; .*xp_continuous_mean_spectrum"
    ):
        spfast.write_survey(tmp_path / "s", table, xp=tmp_path / "t.csv")
    write_csv(tmp_path / "two.csv", [*records, records[0]])
    with pytest.raises(BadInputError, match=r"stands in two rows"):
        spfast.write_survey(tmp_path / "s", table, xp=tmp_path / "two.csv")
    (tmp_path / "bad.csv").write_text((tmp_path / "two.csv").read_text().replace("(", "(x"))
    with pytest.raises(BadInputError, match=r"expected numbers in \(...\) or \[...\]"):
        spfast.write_survey(tmp_path / "s", table, xp=tmp_path / "bad.csv")


def test_a_csv_file_cut_short_within_a_row_is_refused(mock, tmp_path):
    _, table, records, _ = mock
    write_csv(tmp_path / "xp.csv", records)
    text = (tmp_path / "xp.csv").read_text()
    (tmp_path / "xp.csv").write_text(text[: text.rindex(",")])  # within the last array
    with pytest.raises(BadInputError, match=r"rp_coefficient_errors has .* without an end; the file is cut short"):
        spfast.write_survey(tmp_path / "s", table, xp=tmp_path / "xp.csv")


def test_identifiers_of_a_csv_file_that_went_through_a_float_are_refused(mock, tmp_path):
    _, table, records, _ = mock
    table = table.copy()
    numbers = np.random.default_rng(8).integers(2**53, 2**55, len(table)) * 128
    table["gaia_source_id"] = numbers
    write_csv(tmp_path / "xp.csv", [(int(float(n)), *r[1:]) for n, r in zip(numbers.tolist(), records, strict=True)])
    with pytest.raises(BadInputError, match=r"xp.csv: column source_id: .* they went through a float64"):
        spfast.write_survey(tmp_path / "s", table, xp=tmp_path / "xp.csv")


def test_stars_without_an_identifier_have_no_spectrum_and_one_spectrum_is_of_one_star(mock, tmp_path):
    _, table, records, _ = mock
    table = table.copy()
    write_csv(tmp_path / "xp.csv", [(-1, *records[5][1:]), *records])
    text = (tmp_path / "xp.csv").read_text()
    (tmp_path / "xp.csv").write_text("\ufeff" + text, encoding="utf-8")  # as spreadsheets begin a file
    table["gaia_source_id"][:2] = -1
    survey = spfast.write_survey(tmp_path / "s", table, xp=tmp_path / "xp.csv", threads=1)
    assert not set(table["obsid"][:2].astype(str)) & set(survey.stars["APOGEE_ID"])
    table["gaia_source_id"][:2] = table["gaia_source_id"][3]
    with pytest.raises(BadInputError, match=r"stands in 3 rows, and XP has one spectrum of it"):
        spfast.write_survey(tmp_path / "s2", table, xp=tmp_path / "xp.csv")
