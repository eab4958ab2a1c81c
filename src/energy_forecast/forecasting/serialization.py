"""Serialisation of fitted models as a JSON header and plain arrays. Reading executes nothing of it.

Layout: the magic, the CRC-32 of the rest and its length (8 bytes each), the length of the header (8 bytes), the header,
then the arrays, each at a multiple of 8 bytes. It is not compressed: zlib made it a sixth smaller and took 15 ms to
read, most of the time of reading a model.
"""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from energy_forecast.errors import ArtifactError

MAGIC = b"EFMODEL2"
Arrays = dict[str, NDArray[Any]]
Value = TypeVar("Value")
_TRAIN_AGAIN = "Train the model again."
_DTYPES = {"<f8", "<f4", "<i8", "<i2", "|b1"}


def pack(header: dict[str, Any], arrays: Arrays) -> bytes:
    """Pack a JSON header and named arrays; the same content gives the same bytes."""
    index = []
    body = []
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        if array.dtype.str not in _DTYPES:
            raise ValueError(f"array {name} has type {array.dtype.str}, which is not stored")
        index.append([name, array.dtype.str, list(array.shape)])
        body.append(_padded(array.tobytes()))
    index_bytes = json.dumps({"header": header, "arrays": index}, sort_keys=True, allow_nan=False).encode()
    content = b"".join([struct.pack("<Q", len(index_bytes)), _padded(index_bytes), *body])
    return MAGIC + struct.pack("<QQ", zlib.crc32(content), len(content)) + content


def unpack(data: bytes) -> tuple[dict[str, Any], Arrays]:
    """Return the header and arrays that `pack` wrote; arrays are views of `data`. Raises ArtifactError if damaged."""
    if not data.startswith(MAGIC):
        raise ArtifactError(hint="It is not an artifact of this version; train the model again.")
    try:
        check, size = struct.unpack_from("<QQ", data, len(MAGIC))
        begin = len(MAGIC) + 16
        if size != len(data) - begin or check != zlib.crc32(memoryview(data)[begin:]):
            raise ValueError("check sum")
        (length,) = struct.unpack_from("<Q", data, begin)
        index = json.loads(data[begin + 8 : begin + 8 + length])
        position = begin + 8 + length + -length % 8
        arrays: Arrays = {}
        for name, dtype, shape in index["arrays"]:
            if dtype not in _DTYPES:
                raise ValueError(f"array of type {dtype}")
            kind = np.dtype(dtype)
            count = int(np.prod(shape, dtype=np.int64))
            arrays[name] = np.frombuffer(data, kind, count, position).reshape(shape)
            position += count * kind.itemsize + -count * kind.itemsize % 8
        if position != len(data):
            raise ValueError("length")
        return dict(index["header"]), arrays
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ArtifactError(hint="The bytes are damaged; train the model again.") from error


def stored_array(arrays: Arrays, name: str, kind: str, *shape: int | None, finite: bool = True) -> NDArray[Any]:
    """Return one array after checking type, shape and values.

    Args:
        kind: the type of its values, such as "<f8".
        shape: None for a dimension of any length.
        finite: whether every value must be a finite number.

    Raises:
        ArtifactError: it is missing, or has another type, shape or a value that is not finite.
    """
    found = arrays.get(name)
    if found is None:
        raise ArtifactError(f"The stored model has no array {name!r}.", hint=_TRAIN_AGAIN)
    if found.dtype.str != kind or found.ndim != len(shape):
        raise ArtifactError(f"The stored array {name!r} is {found.dtype.str} {list(found.shape)}.", hint=_TRAIN_AGAIN)
    if any(wanted is not None and own != wanted for own, wanted in zip(found.shape, shape, strict=True)):
        raise ArtifactError(f"The stored array {name!r} has the shape {list(found.shape)}.", hint=_TRAIN_AGAIN)
    if finite and not np.isfinite(found).all():
        raise ArtifactError(f"The stored array {name!r} has a value that is not a finite number.", hint=_TRAIN_AGAIN)
    return found


def header_value(header: Any, name: str, kind: type[Value]) -> Value:
    """Return one value of a header after checking its type. Raises ArtifactError."""
    found = header.get(name) if isinstance(header, dict) else None
    if kind is float and type(found) is int:
        found = float(found)
    if type(found) is not kind:
        raise ArtifactError(f"The stored model has no usable value {name!r}.", hint=_TRAIN_AGAIN)
    return found


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)
