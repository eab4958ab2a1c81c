"""Check rows of text: convert them to rows for the database, or reject them with a reason.

An invalid cell in a required column, or an invalid available_at, rejects the row. An implausible optional value only
leaves its cell empty.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import polars as pl

from energy_forecast.city_names import name_key, nearest_name
from energy_forecast.errors import IngestError
from energy_forecast.ingest.ambiguous_hours import AmbiguousHours
from energy_forecast.ingest.datasets import HOUR, INTERVAL, Dataset, ValueColumn
from energy_forecast.ingest.options import ReadOptions, hundredths
from energy_forecast.ingest.plausibility import PlausibilityChecks
from energy_forecast.ingest.readers.parquet import as_text
from energy_forecast.ingest.readers.source import Piece
from energy_forecast.ingest.report import Quarantine, without_values
from energy_forecast.ingest.timestamps import DISPUTED, EMPTY, REASONS, Disputed, parse_timestamps
from energy_forecast.zones import rules_version

# Plain numbers, a subset of what NUMERIC reads: no hexadecimal, underscores, NaN or infinity, and limited digits
_NUMBER = r"^[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?$"
_LONGEST_NUMBER = 60
# The end of a day. No interval begins with it: the start of the next day is written as 00:00
_MIDNIGHT = r"^\s*[0-9-]{8,10}[Tt ]24"
_LONGEST_CITED = 40
# A city column with other data would fill the memory with names
_MOST_NAMES = 1000
# To find the most similar name among thousands of cities takes milliseconds
_MOST_COMPARED = 20

_UNKNOWN, _UNEVEN, _FUTURE, _BEFORE_ISSUE, _NO_NUMBER, _OUT_OF_RANGE, _NO_INTERVAL, _NET_LOAD = range(101, 109)
_LENGTHS = [float(minutes) for minutes in range(1, HOUR + 1) if HOUR % minutes == 0]

_REASONS = REASONS | {
    _UNKNOWN: "city {value} not found; {near}add it: `add_city`, or `import_cities`",
    _UNEVEN: "{value} does not fall on a whole minute",
    _FUTURE: "{value} is in the future",
    _BEFORE_ISSUE: "{value} is before issued_at",
    _NO_NUMBER: "{value} is not a number",
    _OUT_OF_RANGE: "{value} is not {plausible}",
    _NET_LOAD: "{value} is negative; net load is not supported",
    _NO_INTERVAL: "{value} is not a number of minutes that divides the hour",
}


@dataclass
class Validator:
    """Check of the rows of one batch.

    Args:
        dataset: the dataset of the rows.
        cities: id, name and zone of every city; a row's city becomes its index in this list.
        options: how to read times and numbers.
        now: the current time of the database.
        quarantine: counts rejected rows and limits how many are kept.
        plausibility: collects facts about the values, those out of range included.
        lengths: minutes of intervals whose rows do not state them, by city number, as far as known; otherwise those
            of the options, otherwise 60. They matter only for ends of intervals and for energy given as power.
        disputed: spans of time in which the server and this program have different offsets, by zone.
    """

    dataset: Dataset
    cities: Sequence[tuple[UUID, str, str]]
    options: ReadOptions
    now: datetime
    quarantine: Quarantine
    plausibility: PlausibilityChecks
    lengths: Mapping[int, int] = field(default_factory=dict)
    disputed: Disputed = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)
    near: dict[str, str] = field(default_factory=dict)
    """The most similar city by unknown name."""
    midnights: int = 0
    """Number of timestamps written as 24:00."""

    def __post_init__(self) -> None:
        timezone = self.options.timezone
        zones = [zone if timezone == "city" else timezone for _, _, zone in self.cities]
        length = self.options.interval_minutes or HOUR
        self._known = pl.DataFrame(
            {
                "city_name": [name for _, name, _ in self.cities],
                "zone": zones,
                "minutes": [self.lengths.get(number, length) for number in range(len(self.cities))],
            },
            schema={"city_name": pl.String, "zone": pl.String, "minutes": pl.Int16},
        ).with_row_index("city_no")
        keys = Counter(name_key(name) for _, name, _ in self.cities)
        self._by_key = {name_key(name): name for _, name, _ in self.cities if keys[name_key(name)] == 1}

    def check(self, file: str, piece: Piece, ambiguous: AmbiguousHours | None) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Check a piece of a file.

        Args:
            file: the file's name.
            piece: the rows as text.
            ambiguous: holds the rows of repeated hours until the end of the file; None rejects them.

        Returns:
            The rows to stage, in the order of the COPY columns after the file's number; and the entries for the
            quarantine: line, column, reason, the row as JSON text, and whether only a cell was left empty.
        """
        rows = self._with_known_spelling(piece.rows)
        checked = rows.select("line", pl.col("city").str.strip_chars(" \t").fill_null("").alias("city_name")).join(
            self._known, on="city_name", how="left", maintain_order="left"
        )
        ends = self.options.label == "end"
        times = {
            name: self._read(rows[name], checked["zone"], ends=ends and name == "timestamp")
            for name in self.dataset.times
            if name in rows.columns
        }
        faults = {"city": _first((pl.col("city_name") == "", EMPTY), (pl.col("city_no").is_null(), _UNKNOWN))}
        for name, read in times.items():
            checked = checked.with_columns(read["instant"].alias(name), read["fault"].alias(f"{name}:read"))
            faults[name] = self._time_fault(name)
        if rows["timestamp"].dtype == pl.String:
            self.midnights += int(rows["timestamp"].str.contains(_MIDNIGHT).sum())
        if "available_at" in times:
            # Optional: an empty one is not a fault
            faults["available_at"] = pl.when(pl.col("available_at:read").ne_missing(EMPTY)).then(faults["available_at"])
        checked = _with_own_interval(rows, checked, faults)
        if ends:
            checked = checked.with_columns(pl.col("timestamp") - pl.duration(minutes=pl.col("minutes")))
        cell_faults: dict[str, pl.Expr] = {}
        for column in self.dataset.values:
            if column.name in rows.columns:
                cells = rows[column.name]
                is_text = cells.dtype == pl.String
                cells = (cells.str.strip_chars(" \t") if is_text else cells).alias(column.name)
                number = cells.cast(pl.Float64, strict=False)
                unit = self.options.units.get(column.name)
                if unit is not None:
                    number = unit.convert(number, checked["minutes"])
                checked = checked.with_columns(cells, number.alias(f"number:{column.name}"))
                (faults if column.required else cell_faults)[column.name] = _number_fault(column, is_text=is_text)
            else:
                checked = checked.with_columns(
                    pl.lit(None, pl.String).alias(column.name), pl.lit(None, pl.Float64).alias(f"number:{column.name}")
                )
        every = faults | cell_faults
        checked = checked.with_columns(fault.cast(pl.Int16).alias(f"fault:{name}") for name, fault in every.items())
        bad = checked.select(pl.any_horizontal(pl.col(f"fault:{name}").is_not_null() for name in faults)).to_series()
        if ambiguous is not None:
            waiting = ambiguous.hold(rows, times["timestamp"], checked["zone"])
            if waiting.any():
                rows, checked, bad = rows.filter(~waiting), checked.filter(~waiting), bad.filter(~waiting)
        self._note_values(file, checked)
        entries = [self._broken(piece.broken)]
        if bad.any():
            entries.append(self._refused(rows.filter(bad), checked.filter(bad), list(faults)))
            rows, checked = rows.filter(~bad), checked.filter(~bad)
        for name in cell_faults:
            checked, listed = self._without_cells(rows, checked, name)
            entries.append(listed)
        return self._staged(checked), pl.concat(entries)

    def _without_cells(self, rows: pl.DataFrame, checked: pl.DataFrame, name: str) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Leave the implausible cells of an optional column empty; return the rows and the quarantine entries."""
        strange = checked[f"fault:{name}"].is_not_null()
        if not strange.any():
            return checked, _NO_ENTRIES
        listed = self._entries(rows.filter(strange), checked.filter(strange), [name], cell_only=True)
        emptied = (pl.when(~strange).then(pl.col(column)).alias(column) for column in (name, f"number:{name}"))
        return checked.with_columns(emptied), listed

    def _with_known_spelling(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the rows with the stored spelling of city names; case and accents are ignored."""
        written = rows.select(pl.col("city").unique().drop_nulls()).join(
            self._known, left_on="city", right_on="city_name", how="anti"
        )["city"]
        spelled = {name: self._by_key.get(name_key(name.strip(" \t"))) for name in written}
        other = {name: stored for name, stored in spelled.items() if stored is not None}
        if not other:
            return rows
        return rows.with_columns(pl.col("city").replace(list(other), list(other.values())))

    def _read(self, text: pl.Series, zones: pl.Series, *, ends: bool) -> pl.DataFrame:
        read = parse_timestamps(text, zones, self.disputed, ends=ends)
        if self.disputed and (read["fault"] == DISPUTED).any():
            place = int((read["fault"] == DISPUTED).arg_true()[0])
            raise IngestError(
                f"The database server and this program (tzdata {rules_version()}) have different rules of "
                f"{zones[place]}: the local time {text[place]!r} would be shown as another one.",
                hint="Load times with an offset. To compare the rules: `zone_differences`.",
            )
        return read

    def _time_fault(self, name: str) -> pl.Expr:
        moment = pl.col(name)
        faults = [pl.col(f"{name}:read").cast(pl.Int16)]
        if name == "timestamp":
            faults.append(_first((moment != moment.dt.truncate("1m"), _UNEVEN)))
        if name == "timestamp" and "issued_at" in self.dataset.times:
            faults.append(_first((moment < pl.col("issued_at"), _BEFORE_ISSUE)))
        else:
            faults.append(_first((moment > self.now, _FUTURE)))
        return pl.coalesce(faults)

    def _staged(self, checked: pl.DataFrame) -> pl.DataFrame:
        if "available_at" in self.dataset.times and "available_at" not in checked.columns:
            checked = checked.with_columns(pl.lit(None, pl.Datetime("us", "UTC")).alias("available_at"))
        order = ("timestamp", "issued_at") if "issued_at" in self.dataset.times else ("timestamp", "available_at")
        length = (pl.col("own").alias(INTERVAL),) if self.dataset.has_intervals else ()
        values = []
        for column in self.dataset.values:
            unit = self.options.units.get(column.name)
            exactly = None if unit is None else unit.exactly(checked["minutes"])
            number = checked[f"number:{column.name}"].alias(column.name)
            values.append(hundredths(checked[column.name], number, exactly))
        return checked.select("line", "city_no", *order, *length).with_columns(values)

    def _note_values(self, file: str, checked: pl.DataFrame) -> None:
        number = pl.col(f"number:{self.dataset.values[0].name}")
        usable = number.is_finite() & pl.col("city_no").is_not_null() & pl.col("fault:timestamp").is_null()
        others = [pl.col("number:humidity").alias("humidity")] if "number:humidity" in checked.columns else []
        self.plausibility.add(
            file,
            checked.filter(usable).select(
                "line", "city_no", "timestamp", pl.col("own").alias(INTERVAL), number.alias("value"), *others
            ),
        )

    def _refused(self, rows: pl.DataFrame, checked: pl.DataFrame, faults: list[str]) -> pl.DataFrame:
        """Return the quarantine entries of rejected rows, each with its first fault in words."""
        self._count_unknown(checked)
        return self._entries(rows, checked, faults, cell_only=False)

    def _entries(
        self, rows: pl.DataFrame, checked: pl.DataFrame, faults: list[str], *, cell_only: bool
    ) -> pl.DataFrame:
        """Count the first fault of each row, and return entries with reasons for those that the quarantine keeps."""
        found = pl.coalesce(
            pl.when(pl.col(f"fault:{name}").is_not_null()).then(
                pl.struct(pl.lit(name).alias("column"), pl.col(f"fault:{name}").alias("fault"))
            )
            for name in faults
        )
        groups = (
            checked.select(found.alias("found"))
            .unnest("found")
            .with_row_index("place")
            .group_by("column", "fault")
            .agg(pl.first("place"), pl.len().alias("count"))
        )
        plausible = {column.name: self._plausible(column) for column in self.dataset.values}
        firsts = self._in_words(rows[groups["place"]], checked[groups["place"]], faults)["reason"]
        self.quarantine.add(
            (
                (column, _REASONS[fault].format_map(_Dots(plausible=plausible.get(column, ""), near="")), count, first)
                for (column, fault, _, count), first in zip(groups.iter_rows(), firsts, strict=True)
            ),
            cell_only=cell_only,
        )
        checked = self.quarantine.keep(checked)
        rows = rows.head(checked.height)
        return self._in_words(rows, checked, faults).with_columns(
            _as_json(as_text(rows).drop("line")).alias("row"), pl.lit(cell_only).alias("cell_only")
        )

    def _in_words(self, rows: pl.DataFrame, checked: pl.DataFrame, faults: list[str]) -> pl.DataFrame:
        """Return line, column and reason of the first fault of each row."""
        rows = as_text(rows)
        plausible = {column.name: self._plausible(column) for column in self.dataset.values}
        words = [
            pl.when(pl.col(f"fault:{name}").is_not_null()).then(
                pl.struct(
                    pl.lit(name).alias("column"),
                    pl.col(f"fault:{name}").alias("fault"),
                    rows[name].fill_null("").str.slice(0, _LONGEST_CITED).alias("value"),
                )
            )
            for name in faults
        ]
        meant = {name: f"did you mean {near!r}? If not, " for name, near in self.near.items()}
        first = checked.select("line", "zone", "city_name", pl.coalesce(words).alias("first")).unnest("first")
        reason = (
            pl.col("fault").replace_strict(_REASONS, return_dtype=pl.String)
            .str.replace("{zone}", pl.col("zone").fill_null(""), literal=True)
            .str.replace(
                "{plausible}",
                pl.col("column").replace_strict(plausible, default="", return_dtype=pl.String),
                literal=True,
            )
            .str.replace(
                "{near}",
                pl.col("city_name").replace_strict({"": ""} | meant, default="", return_dtype=pl.String),
                literal=True,
            )
            .str.replace("{value}", "'" + pl.col("value") + "'", literal=True)
        )  # fmt: skip
        return first.select("line", "column", _storable(reason).alias("reason"))

    def _broken(self, broken: pl.DataFrame) -> pl.DataFrame:
        """Count rows that could not be split into cells, and return those that the quarantine keeps."""
        if not broken.height:
            return _NO_ENTRIES
        counts = broken.group_by("column", "reason").len().iter_rows()
        self.quarantine.add((column, without_values(reason), count, reason) for column, reason, count in counts)
        broken = self.quarantine.keep(broken)
        return broken.select(
            "line",
            "column",
            _storable(pl.col("reason")),
            _as_json(broken.select("text")).alias("row"),
            pl.lit(value=False).alias("cell_only"),
        )

    def _plausible(self, column: ValueColumn) -> str:
        unit = self.options.units.get(column.name)
        return column.plausible if unit is None else f"{column.plausible} if read as {unit.name}"

    def _count_unknown(self, checked: pl.DataFrame) -> None:
        names = checked.filter(pl.col("fault:city") == _UNKNOWN)["city_name"].value_counts()
        for name, count in names.iter_rows():
            if name not in self.unknown and len(self.unknown) < _MOST_COMPARED:
                near = nearest_name(name, [city for _, city, _ in self.cities])
                if near is not None:
                    self.near[name] = near
            if name in self.unknown or len(self.unknown) < _MOST_NAMES:
                self.unknown[name] = self.unknown.get(name, 0) + count


_NO_ENTRIES = pl.DataFrame(
    schema={"line": pl.Int64, "column": pl.String, "reason": pl.String, "row": pl.String, "cell_only": pl.Boolean}
)


class _Dots(dict[str, str]):
    """Words for the placeholders of a reason; three dots for a value."""

    def __missing__(self, _place: str) -> str:
        return "..."


def _first(*rules: tuple[pl.Expr, int]) -> pl.Expr:
    """Return the code of the first rule that holds, or null."""
    return pl.coalesce(pl.when(rule).then(pl.lit(code, pl.Int16)) for rule, code in rules)


def _with_own_interval(rows: pl.DataFrame, checked: pl.DataFrame, faults: dict[str, pl.Expr]) -> pl.DataFrame:
    """Add `own`, the minutes of the interval that the row states, and replace `minutes` with it."""
    if INTERVAL not in rows.columns:
        return checked.with_columns(pl.lit(None, pl.Int16).alias("own"))
    text = rows[INTERVAL].cast(pl.String).str.strip_chars(" \t").fill_null("")
    number = text.cast(pl.Float64, strict=False)
    own = pl.select(pl.when(number.is_in(_LENGTHS)).then(number).cast(pl.Int16).alias("own")).to_series()
    faults[INTERVAL] = _first((pl.col("own").is_null() & (text != ""), _NO_INTERVAL))
    return checked.with_columns(own).with_columns(pl.coalesce("own", "minutes").alias("minutes"))


def _number_fault(column: ValueColumn, *, is_text: bool) -> pl.Expr:
    number = pl.col(f"number:{column.name}")
    net_load = [(number < 0, _NET_LOAD)] if column.name == "consumption_kwh" else []
    out_of_range = [*net_load, (~number.is_between(column.low, column.high), _OUT_OF_RANGE)]
    if not is_text:
        rules = [(number.is_null(), EMPTY)] if column.required else []
        return _first(*rules, (~number.is_finite(), _NO_NUMBER), *out_of_range)
    text = pl.col(column.name)
    said = text.is_not_null() & (text != "")
    strange = ~text.str.contains(_NUMBER) | (text.str.len_bytes() > _LONGEST_NUMBER) | number.is_null()
    rules = [(~said, EMPTY)] if column.required else []
    return _first(*rules, (said & strange, _NO_NUMBER), *((said & wrong, fault) for wrong, fault in out_of_range))


def _storable(text: pl.Expr) -> pl.Expr:
    """Escape NUL, which PostgreSQL's text and jsonb cannot hold."""
    return text.str.replace_all("\x00", "\\0", literal=True)


def _as_json(rows: pl.DataFrame) -> pl.Series:
    return rows.select(pl.struct(_storable(pl.all())).alias("cells"))["cells"].struct.json_encode()
