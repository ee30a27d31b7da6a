"""Catalog, cluster table and configuration, damaged and nonsensical: one line or a right answer."""

import json

import numpy as np
import pytest
from astropy.table import Table
from fuzzing import EACH_SUFFIX, HOW, SUFFIXES, command, damaged, edited, fuzz, miswritten_cards, outcome, write
from hypothesis import strategies as st

from spfast.config import Config, load_config
from spfast.data.tables.read import read_table
from spfast.data.tables.write import write_table
from spfast.validation.cluster_members import members_from_table
from spfast.validation.clusters import cluster_means
from spfast.validation.comparison import compare_catalogs
from spfast.validation.measures import validate
from spfast.validation.read_catalog import TABLE_1, read_catalog


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def catalog(folder):
    rng = np.random.default_rng(0)
    n, true = 8, np.linspace(0.1, 2.0, 8)
    values = (
        [f"2M0000000{i}+0000000" for i in range(n)],
        true + rng.normal(0, 0.02, n),
        np.full(n, 0.02),
        true * 1.1,
        true * 0.1,
        np.arange(n) % 2,
        np.where(np.arange(n) % 3, "A", "B"),
    )
    table = Table(dict(zip(TABLE_1, values, strict=True)))
    for name in TABLE_1[1:5]:
        table[name].unit = "mas"
    contents = {}
    for suffix in SUFFIXES:
        path = folder / f"whole_catalog.{suffix}"
        write_table(table, path)
        contents[suffix] = path.read_bytes()
    return table, contents


def check_catalog(path):
    """Read, describe and score; a score without a number has no star."""
    table = read_table(path)
    values = read_catalog(table)
    assert np.isfinite(values.gaia[values.has_gaia]).all()
    assert np.isfinite(values.spec[values.has_spec]).all()
    scores = validate(table)
    assert (scores["n"] > 0).all()
    return table, values


@pytest.mark.parametrize("suffix", EACH_SUFFIX)
@fuzz
def test_catalog(folder, catalog, suffix, data):
    path, (table, contents) = folder / f"catalog.{suffix}", catalog
    how, case = data.draw(HOW), None
    if how == "columns":
        case = data.draw(edited(table))
        write(case.table, path)
    else:
        change = miswritten_cards if how == "cards" and suffix == "fits" else damaged
        path.write_bytes(data.draw(change(contents[suffix])))
    answer = outcome(check_catalog, path, "column", "catalog")
    outcome(lambda path: compare_catalogs(table, read_table(path)), path, "column", "catalog")
    command("info", path)
    if answer is not None and case is not None:
        _, values = answer
        for name, array in (("gaia_parallax", values.gaia), ("spec_parallax", values.spec)):
            if name not in case.touched:
                np.testing.assert_allclose(array, np.asarray(table[TABLE_1[1 if name[0] == "g" else 3]])[case.rows])


@fuzz
def test_cluster_table(folder, catalog, data):
    suffix = data.draw(st.sampled_from(SUFFIXES))
    path, (stars, _) = folder / f"members.{suffix}", catalog
    members = Table(
        {"2MASS_ID": stars["2MASS_ID"], "cluster": ["M67"] * 4 + ["M3"] * 4, "distance": [0.9] * 4 + [10.0] * 4}
    )
    write_table(members, path, overwrite=True)
    if data.draw(HOW) == "columns":
        write(data.draw(edited(members)).table, path)
    else:
        path.write_bytes(data.draw(damaged(path.read_bytes())))

    def read(path):
        table = read_table(path)
        found = members_from_table(stars["2MASS_ID"], table)
        return cluster_means(stars, found, table if "distance" in table.colnames else None)

    means = outcome(read, path, "cluster", "column")
    if means is not None:
        assert (means["n"] > 0).all()
        for name in ("gaia", "gaia_error", "spec", "spec_error"):
            assert np.isfinite(means[name]).all()
        assert not np.isinf(means["literature"]).any()


CONFIG = "\n".join(
    f"[{section}]\n"
    + "\n".join(
        f"{key} = {json.dumps(list(value) if isinstance(value, tuple) else value)}" for key, value in values.items()
    )
    for section, values in Config().to_dict().items()
    if isinstance(values, dict)
)


@fuzz
def test_config(folder, data):
    path = folder / "config.toml"
    if data.draw(st.booleans()):
        path.write_bytes(data.draw(damaged(CONFIG.encode())))
    else:
        lines = CONFIG.splitlines()
        at = data.draw(st.integers(0, len(lines) - 1))
        value = data.draw(
            st.sampled_from(
                ("nan", "inf", "-inf", "-1", "0", "1e300", "true", "[]", "[nan]", '"x"', "{}", "1979-05-27")
            )
            | st.just("[" * 20_000)
            | st.text(max_size=10)
        )
        lines[at] = f"{lines[at].partition(' = ')[0]} = {value}"
        path.write_text("\n".join(lines), encoding="utf-8")
    config = outcome(load_config, path)
    if config is not None:
        numbers = [
            value for values in config.to_dict().values() if isinstance(values, dict) for value in values.values()
        ]
        numbers = [x for value in numbers for x in (value if isinstance(value, tuple) else (value,))]
        assert not any(np.isnan(value) for value in numbers if isinstance(value, float))
