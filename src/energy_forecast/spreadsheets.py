"""Protection of CSV text against formula injection: a spreadsheet runs a cell such as `=cmd|...` as a formula."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

# Including the wide and small forms that spreadsheets treat the same
_WIDE = "".join(sign for sign in map(chr, range(0xFE50, 0xFFEF)) if unicodedata.normalize("NFKC", sign) in "=+-@")
_SIGNS = f"=+@\t\r\n{_WIDE}-"
_STARTS = f"^[{_SIGNS}]"
# A number keeps its sign
_NUMBER = r"^[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$"


def guard_text(text: str) -> str:
    """Return a text that no spreadsheet runs as a formula: a text that begins like a formula gets an apostrophe."""
    return f"'{text}" if text[:1] in tuple(_SIGNS) else text


def guard_frame(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame whose texts no spreadsheet runs as formulas; numbers, also as text, keep their sign."""
    import polars as pl

    texts = [pl.col(column.name) for column in frame.iter_columns() if column.dtype == pl.String]
    return frame.with_columns(
        pl.when(text.str.contains(_STARTS) & ~text.str.contains(_NUMBER)).then(pl.lit("'") + text).otherwise(text)
        .alias(text.meta.output_name())
        for text in texts
    )  # fmt: skip
