"""Sizes of the unpacked pages of a Parquet file, read from the page headers before unpacking.

A file of a few kilobytes can hold pages of gigabytes, and its footer may be wrong. A decoder allocates memory by the
sizes in the page headers. Both are in Thrift's compact protocol.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_MAGIC = b"PAR1"
# The footer describes every column of every row group, some 100 bytes each
_LARGEST_FOOTER = 32 << 20
# A page header holds a few numbers, and statistics that writers cut
_HEADER_BYTES, _LARGEST_HEADER = 512, 1 << 20
_DEEPEST = 16

# Fields, by their numbers in parquet.thrift
_ROW_GROUPS, _ROWS = 4, 3
_CHUNKS = 1
_META_DATA, _PATH, _CHUNK_BYTES, _DATA_PAGE, _DICTIONARY_PAGE = 3, 3, 7, 9, 11
_UNPACKED_BYTES, _PACKED_BYTES = 2, 3

_Struct = dict[int, Any]


@dataclass(frozen=True)
class RowGroup:
    """A row group: its number of rows, and the unpacked bytes of the pages of some columns."""

    rows: int
    unpacked: int


def row_groups(path: Path, columns: Collection[str]) -> Iterator[RowGroup]:
    """Yield the row groups of a Parquet file; only the pages of these columns count.

    Raises:
        ValueError: this is not a whole Parquet file.
        OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        for group in _footer(stream).get(_ROW_GROUPS, []):
            unpacked = 0
            for chunk in group[_CHUNKS]:
                meta = chunk[_META_DATA]
                if meta[_PATH][0].decode("utf-8", "replace") in columns:
                    start = min(offset for offset in (meta.get(_DICTIONARY_PAGE), meta[_DATA_PAGE]) if offset)
                    unpacked += _unpacked(stream, start, meta[_CHUNK_BYTES])
            yield RowGroup(group[_ROWS], unpacked)


def _footer(stream: IO[bytes]) -> _Struct:
    size = stream.seek(0, 2)
    stream.seek(max(0, size - 8))
    tail = stream.read(8)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or length > size - 12:
        raise ValueError("it is cut off, or has no footer")
    if length > _LARGEST_FOOTER:
        raise ValueError(f"its footer has {length >> 20} MB")
    stream.seek(size - 8 - length)
    return _Reader(stream.read(length)).struct()


def _unpacked(stream: IO[bytes], start: int, size: int) -> int:
    """Return the total unpacked size of a column chunk's pages."""
    total, end = 0, start + size
    while start < end:
        header, length = _page_header(stream, start)
        packed = header[_PACKED_BYTES]
        if packed < 0 or header[_UNPACKED_BYTES] < 0:
            raise ValueError("a page has a negative size")
        total += header[_UNPACKED_BYTES]
        start += length + packed
    return total


def _page_header(stream: IO[bytes], start: int) -> tuple[_Struct, int]:
    wanted = _HEADER_BYTES
    while True:
        stream.seek(start)
        reader = _Reader(stream.read(wanted))
        try:
            return reader.struct(), reader.place
        except IndexError:
            if wanted >= _LARGEST_HEADER:
                raise ValueError("a page header is cut off") from None
            wanted *= 16


class _Reader:
    """Thrift's compact protocol: structs as dicts by field number. An IndexError means that the bytes have ended."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.place = 0

    def struct(self, depth: int = 0) -> _Struct:
        if depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
        fields: _Struct = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._signed()
            fields[number] = self._value(head & 15, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        match kind:
            case 1 | 2:
                return kind == 1
            case 3:
                return self._byte()
            case 4 | 5 | 6:
                return self._signed()
            case 7:
                return self._bytes(8)
            case 8:
                return self._bytes(self._unsigned())
            case 9 | 10:
                head = self._byte()
                count = self._unsigned() if head >> 4 == 15 else head >> 4
                # Booleans of a list take a byte each
                return [
                    self._byte() if head & 15 in (1, 2) else self._value(head & 15, depth + 1) for _ in range(count)
                ]
            case 12:
                return self.struct(depth + 1)
            case _:
                raise ValueError("it holds a field of an unknown type")

    def _byte(self) -> int:
        self.place += 1
        return self._data[self.place - 1]

    def _bytes(self, count: int) -> bytes:
        self.place += count
        if self.place > len(self._data):
            raise IndexError
        return self._data[self.place - count : self.place]

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("a number is too long")

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)
