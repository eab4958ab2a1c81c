"""Functions of rows are computed for parts of the rows, with the same result as for all rows."""

from __future__ import annotations

import numpy as np
import pytest

from energy_forecast.forecasting.features import matrix as matrices
from energy_forecast.forecasting.features.matrix import FeatureMatrix, in_parts


@pytest.mark.parametrize("rows", [0, 1, 1023, 1024, 1025, 2048, 2049])
@pytest.mark.parametrize("columns", [None, 3])
def test_parts_give_the_same_as_all_rows(rows: int, columns: int | None) -> None:
    """Around the borders of a part, and without rows."""
    assert matrices._PART_ROWS == 1024, "the numbers of rows above are around the borders of parts"
    values = np.arange(rows * 2, dtype=float).reshape(rows, 2)

    def function(part: FeatureMatrix) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        total = part["a"] * 3 + part["b"]
        return total if columns is None else np.stack([total * k for k in range(columns)], axis=1)

    found = in_parts(function, FeatureMatrix(("a", "b"), values))
    expected = function(FeatureMatrix(("a", "b"), values))
    assert found.shape == expected.shape
    assert np.array_equal(found, expected)
