"""The columns of a survey's star table."""

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from spfast.data.columns import conform_stars
from spfast.errors import BadInputError


def test_masked_values_become_the_missing_values_of_a_survey():
    stars = Table({"APOGEE_ID": MaskedColumn(["a", "b"], mask=[False, True]), "x": [1, 2]})
    stars["parallax"] = MaskedColumn([1.0, 2.0], mask=[True, False])
    stars["source_id"] = MaskedColumn([7, 8], mask=[False, True])
    table = conform_stars(stars)
    assert table["APOGEE_ID"].tolist() == ["a", ""]
    assert np.isnan(table["parallax"]).tolist() == [True, False]
    assert table["source_id"].tolist() == [7, -1]
    assert table.colnames[-1] == "x"
    with pytest.raises(BadInputError, match="column parallax: cannot be stored as f8"):
        conform_stars(Table({"parallax": ["far"]}))
