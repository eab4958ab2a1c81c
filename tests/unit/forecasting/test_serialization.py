"""Artifacts with a valid container and changed content are rejected."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from energy_forecast.errors import ArtifactError
from energy_forecast.forecasting import fit, load_model
from energy_forecast.forecasting.serialization import pack, unpack

from .conftest import BERLIN, MODELS, START, make_record

AT = START + timedelta(days=24)


@pytest.fixture(scope="module")
def artifact() -> Callable[[str], bytes]:
    """Return artifacts of small models, fitted once."""
    record, made = make_record(BERLIN, 24), dict[str, bytes]()

    def get(name: str) -> bytes:
        if name not in made:
            made[name] = fit(name, BERLIN, record.load, record.weather, at=AT).to_bytes()
        return made[name]

    return get


def changed_array(array: np.ndarray[Any, Any], how: str) -> np.ndarray[Any, Any]:
    """Return the array with another shape, type or content."""
    match how:
        case "longer":
            return np.concatenate([array, array])
        case "shorter":
            return array[:-1]
        case "flat":
            return array.reshape(-1, 1, 1, 1)
        case "type":
            return np.asarray(np.nan_to_num(array)).astype("<i8" if array.dtype.str == "<f8" else "<f8")
        case _:
            if array.dtype.kind != "f":
                return array[:-1]
            filled = array.copy()
            filled[...] = np.nan
            return filled


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("name", MODELS)
def test_rejects_changed_content(artifact: Callable[[str], bytes], name: str, data: st.DataObject) -> None:
    """Missing values and other shapes or types raise ArtifactError when read, not KeyError in a forecast."""
    header, arrays = unpack(artifact(name))
    arrays = dict(arrays)
    if data.draw(st.booleans(), label="an array"):
        # A short record has no effects of special days, and twice nothing is the same
        place = data.draw(st.sampled_from(sorted(one for one in arrays if arrays[one].size)), label="array")
        # NaN is allowed there: hours without a prediction
        ways = ["missing", "longer", "shorter", "flat", "type"]
        if not place.endswith(("recent", "tail")):
            ways.append("content")
        how = data.draw(st.sampled_from(ways), label="how")
        if how == "missing":
            del arrays[place]
        else:
            arrays[place] = changed_array(arrays[place], how)
    else:
        place = data.draw(st.sampled_from(sorted(set(header) - {"parameters"})), label="key")
        if data.draw(st.booleans(), label="missing"):
            del header[place]
        else:
            header[place] = data.draw(st.sampled_from([None, [], "x", {}]), label="value")
    with pytest.raises(ArtifactError):
        load_model(name, pack(header, arrays))


@pytest.mark.parametrize("name", MODELS)
def test_accepts_unchanged_content(artifact: Callable[[str], bytes], name: str) -> None:
    """The checks accept artifacts of this version."""
    assert load_model(name, artifact(name)).to_bytes() == artifact(name)
