"""A fitted model as bytes: a header in JSON and plain arrays. Nothing in it is executed when it is read.

Layout: the magic, the CRC-32 of what follows and its length (8 bytes each), 8 bytes length of the header, the header,
arrays one after the other, each at a multiple of 8 bytes. Not compressed: zlib made it a sixth smaller and took 15 ms
to read, most of what reading a model took.
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
Fact = TypeVar("Fact")
_AGAIN = "Train the model again."
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
    head = json.dumps({"header": header, "arrays": index}, sort_keys=True, allow_nan=False).encode()
    content = b"".join([struct.pack("<Q", len(head)), _padded(head), *body])
    return MAGIC + struct.pack("<QQ", zlib.crc32(content), len(content)) + content


def unpack(data: bytes) -> tuple[dict[str, Any], Arrays]:
    """Read what `pack` wrote; the arrays are views of it. Raises ArtifactError where it is damaged."""
    if not data.startswith(MAGIC):
        raise ArtifactError(hint="It does not begin as this version's models do; train the model again.")
    try:
        check, size = struct.unpack_from("<QQ", data, len(MAGIC))
        begin = len(MAGIC) + 16
        if size != len(data) - begin or check != zlib.crc32(memoryview(data)[begin:]):
            raise ValueError("check sum")
        (length,) = struct.unpack_from("<Q", data, begin)
        head = json.loads(data[begin + 8 : begin + 8 + length])
        position = begin + 8 + length + -length % 8
        arrays: Arrays = {}
        for name, dtype, shape in head["arrays"]:
            if dtype not in _DTYPES:
                raise ValueError(f"array of type {dtype}")
            kind = np.dtype(dtype)
            count = int(np.prod(shape, dtype=np.int64))
            arrays[name] = np.frombuffer(data, kind, count, position).reshape(shape)
            position += count * kind.itemsize + -count * kind.itemsize % 8
        if position != len(data):
            raise ValueError("length")
        return dict(head["header"]), arrays
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ArtifactError(hint="The bytes are damaged; train the model again.") from error


def stored_array(arrays: Arrays, name: str, kind: str, *shape: int | None, finite: bool = True) -> NDArray[Any]:
    """Return one array after a check of its content.

    Args:
        kind: the type of its values, such as "<f8".
        shape: None for a dimension of any length.
        finite: whether every value has to be a finite number.

    Raises:
        ArtifactError: it is missing, or has another type, shape or content.
    """
    found = arrays.get(name)
    if found is None:
        raise ArtifactError(f"The stored model has no array {name!r}.", hint=_AGAIN)
    if found.dtype.str != kind or found.ndim != len(shape):
        raise ArtifactError(f"The stored array {name!r} is {found.dtype.str} {list(found.shape)}.", hint=_AGAIN)
    if any(wanted is not None and own != wanted for own, wanted in zip(found.shape, shape, strict=True)):
        raise ArtifactError(f"The stored array {name!r} has the shape {list(found.shape)}.", hint=_AGAIN)
    if finite and not np.isfinite(found).all():
        raise ArtifactError(f"The stored array {name!r} holds a value that is no number.", hint=_AGAIN)
    return found


def fact(header: Any, name: str, kind: type[Fact]) -> Fact:
    """Return one value of a header after a check of its type. Raises ArtifactError."""
    found = header.get(name) if isinstance(header, dict) else None
    if kind is float and type(found) is int:
        found = float(found)
    if type(found) is not kind:
        raise ArtifactError(f"The stored model has no usable value {name!r}.", hint=_AGAIN)
    return found


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)
