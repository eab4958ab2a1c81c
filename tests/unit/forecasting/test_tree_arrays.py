"""Tree arrays predict the same as XGBoost."""

from __future__ import annotations

import numpy as np
import pytest
import xgboost

from energy_forecast.forecasting.models.tree_arrays import TreeArrays
from energy_forecast.forecasting.serialization import from_bytes, to_bytes


@pytest.mark.parametrize("holes", [False, True], ids=["all known", "some unknown"])
def test_tree_arrays_equal_xgboost(holes: bool) -> None:
    """Includes trees that end early, unknown values, and values equal to a threshold."""
    draw = np.random.default_rng(7)
    inputs = draw.normal(size=(3000, 6)).round(1).astype(np.float32)
    target = np.sin(inputs[:, 0]) + (inputs[:, 1] > 0.3) * inputs[:, 2]
    if holes:
        inputs[draw.random(inputs.shape) < 0.1] = np.nan
    data = xgboost.QuantileDMatrix(inputs, label=target)
    settings = {"base_score": 0.0, "max_depth": 5, "eta": 0.2, "min_child_weight": 120, "nthread": 1, "seed": 1}
    trained = TreeArrays.from_booster(xgboost.train(settings, data, 30))
    back = from_bytes(TreeArrays, to_bytes(trained))
    assert (np.diff(np.sort(trained.leaves, axis=1)) == 0).any(), "no tree ended early, so that was not tried"
    np.testing.assert_array_equal(back.predict(inputs), trained.predict(inputs))
