"""Serialisation of fitted models as a JSON header and plain arrays. Reading executes nothing of it.

Layout: the magic, the CRC-32 of the rest and its length (8 bytes each), the length of the header (8 bytes), the header,
then the arrays, each at a multiple of 8 bytes. It is not compressed: zlib made it a sixth smaller and took 15 ms to
read, most of the time of reading a model. The container of safetensors would need 30 lines less, but has no check sum.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import fields
from functools import lru_cache
from types import UnionType
from typing import Annotated, Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from energy_forecast.errors import ArtifactError

MAGIC = b"EFMODEL3"
Arrays = dict[str, NDArray[Any]]
Kind = TypeVar("Kind", bound="Stored")
_DTYPES = {"<f8", "<f4", "<i8", "<i2", "|b1"}
# The annotation of plain JSON, which is stored as it is
_JSON = "dict[str, Any]"


class Shape:
    """The shape of a stored array: `Annotated[Floats, Shape(24, None)]`. It is checked when the array is read.

    Args:
        lengths: of the dimensions; None for any length.
        finite: whether every value must be a finite number.
    """

    def __init__(self, *lengths: int | None, finite: bool = True) -> None:
        self.lengths, self.finite = lengths, finite

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Return whether an array may have this shape."""
        return len(shape) == len(self.lengths) and not [
            own for own, length in zip(shape, self.lengths, strict=True) if length not in (None, own)
        ]


class Stored:
    """A base for frozen dataclasses that can be written to bytes: arrays, plain values, and other Stored objects.

    Fields may also be tuples and dictionaries of these. A subclass is found by its name when it is read. A field that
    is not compared (`field(default=..., compare=False)`) is not stored.
    """

    _classes: ClassVar[dict[str, type[Stored]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        Stored._classes[_name_of(cls)] = cls

    def check(self) -> None:
        """Check after reading that the values fit together. Any exception means that they do not."""


def _name_of(cls: type) -> str:
    # With the module: installing a package must not change the meaning of a name
    return f"{cls.__module__}.{cls.__qualname__}"


def to_bytes(value: Stored) -> bytes:
    """Return the object as bytes without code. Equal objects give equal bytes."""
    arrays: Arrays = {}
    return pack(_encoded(value, "", arrays), arrays)


def from_bytes(kind: type[Kind], data: bytes) -> Kind:
    """Return the object of the class `kind` that `to_bytes` wrote as `data`.

    Raises:
        ArtifactError: the bytes are damaged, or were written by another version.
    """
    header, arrays = unpack(data)
    try:
        found = _decoded(header, arrays)
        if not isinstance(found, kind):
            raise TypeError(f"it is a {type(found).__name__}")
    except ArtifactError:
        raise
    except Exception as error:
        # Undamaged, but a value is missing or has another shape
        raise ArtifactError("The stored model was written by another version of this program.") from error
    return found


def _encoded(value: Any, path: str, arrays: Arrays) -> Any:
    if isinstance(value, np.ndarray):
        arrays[path] = value
        return {"array": path}
    if isinstance(value, Stored):
        header: dict[str, Any] = {"class": _name_of(type(value))}
        for one in _stored_fields(type(value)):
            own = getattr(value, one.name)
            header[one.name] = own if one.type == _JSON else _encoded(own, f"{path}/{one.name}".lstrip("/"), arrays)
        return header
    if isinstance(value, dict):
        return {name: _encoded(part, f"{path}/{name}", arrays) for name, part in value.items()}
    if isinstance(value, (tuple, list)):
        return [_encoded(part, f"{path}/{number}", arrays) for number, part in enumerate(value)]
    return value


def _decoded(value: Any, arrays: Arrays) -> Any:
    if isinstance(value, list):
        return tuple([_decoded(part, arrays) if isinstance(part, (dict, list)) else part for part in value])
    if not isinstance(value, dict):
        return value
    if value.keys() == {"array"}:
        return arrays[value["array"]]
    if "class" not in value:
        return {name: _decoded(part, arrays) for name, part in value.items()}
    cls = Stored._classes[value["class"]]
    own, hints = {}, _hints(cls)  # type: ignore[arg-type]
    for one in _stored_fields(cls):
        part = value[one.name]
        own[one.name] = part if one.type == _JSON else _decoded(part, arrays)
        if not _has_type(own[one.name], hints[one.name]):
            raise ArtifactError(f"The stored model has no usable value {one.name!r}.")
    found = cls(**own)
    found.check()
    return found


def _stored_fields(cls: type[Stored]) -> list[Any]:
    return [one for one in fields(cls) if one.compare]  # type: ignore[arg-type]


@lru_cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls, include_extras=True)


def _has_type(value: Any, hint: Any) -> bool:
    kind = get_origin(hint) or hint
    if kind is Annotated:
        array, shape = get_args(hint)
        ((dtype,),) = (get_args(part) for part in get_args(array)[1:])
        return (
            isinstance(value, np.ndarray)
            and value.dtype == dtype
            and shape.fits(value.shape)
            and (not shape.finite or bool(np.isfinite(value).all()))
        )
    if kind is UnionType:
        return any(_has_type(value, part) for part in get_args(hint))
    if kind in (bool, int, float, str):
        return type(value) is kind or (kind is float and type(value) is int)
    return isinstance(value, kind)


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
        raise ArtifactError("The bytes are not a stored model of this version of the program.")
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
        raise ArtifactError("The stored model is damaged.") from error


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)
