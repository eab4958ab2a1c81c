"""Staging session of a batch: rows are copied into temporary tables, judged, and merged in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from energy_forecast.database.cities import StoredCity, all_cities
from energy_forecast.database.connection import Connection, Database, Role, database_error
from energy_forecast.database.named_queries import queries
from energy_forecast.database.partition_load import NeedsJudging, PartitionLoad, existing_months
from energy_forecast.database.stored_values import StoredValues, stored_values
from energy_forecast.database.zones import ZoneDifference, zone_differences
from energy_forecast.errors import DatabaseError

# Attaching partitions locks the parent; twelve months per transaction keep the lock short
_MONTHS_AT_ONCE = 12
# The server cannot detect that one session waits for a lock of another session of the same batch
_PATIENCE = "5s"
# If at most one row in 10 was staged, looking up each key is cheaper than reading all stored rows
_FEW = 10

# The query files of a batch, in the order of its steps
_SUBJECTS = ("staging", "judging", "partition_load", "merge", "cities")


@dataclass(frozen=True)
class LoadTarget:
    """The destination of one kind of rows.

    Args:
        kind: the kind's name in the ledger.
        table: the partitioned table.
        subject: the prefix of the kind's queries.
        key: description of the columns that, with the city, identify a row.
        values: the value columns in the order of value_1 to value_4.
        corrects: whether a stored value may be replaced.
        adds_up: whether values are amounts, which overlapping intervals would count twice.
    """

    kind: str
    table: str
    subject: str
    key: str
    values: tuple[str, ...]
    corrects: bool
    adds_up: bool = False


@dataclass(frozen=True)
class Retention:
    """How long rows are retained.

    Args:
        span: the retention period as text, such as 2 years.
        since: START of the first month, UTC, that retention does not remove now.
    """

    span: str
    since: datetime


@dataclass(frozen=True)
class Spacing:
    """A distance between rows of a city (minutes) that is not a valid interval: the commonest, or else the least."""

    city: str
    minutes: int
    is_even: bool


@dataclass(frozen=True)
class StoredMean:
    """Mean of the stored values of a city near the first values of a batch.

    Args:
        row_count: number of values.
        mean: mean of log10(kWh per minute), or of degrees Celsius.
    """

    row_count: int
    mean: float


@dataclass(frozen=True)
class Judgement:
    """The result of judging the staged rows against each other. Counts of rows.

    Args:
        repeated: rows that repeat another row of the batch.
        older: rows superseded by another row of the batch; they become history.
        assumed: names of the cities whose interval length is assumed, because no data show it.
        wide: cities whose rows are at a distance that is not a valid interval.
    """

    repeated: int
    older: int
    assumed: tuple[str, ...]
    wide: tuple[Spacing, ...] = ()


@dataclass(frozen=True)
class RevisedIntervals:
    """Stored values of a city whose provisional interval was corrected.

    Args:
        city_no: the number of the city.
        minutes: the new length of their intervals.
        row_count: number of values.
        first: the first timestamp, UTC.
        last: the last timestamp, UTC.
    """

    city_no: int
    minutes: int
    row_count: int
    first: datetime
    last: datetime


@dataclass(frozen=True)
class Merged:
    """The result of a merge. Counts of rows.

    Args:
        inserted: keys that were not stored.
        corrected: keys whose stored value was replaced.
        corrected_now: corrected keys without available_at, which are available from now.
        older: rows older than the stored row or than another row of the batch; stored as history.
        repeats: rows with a value that was superseded before.
        rejected: column, reason without its values, and number of the rows that the database rejected; and one reason
            with its values.
        examples: the first rejected rows: file, line, column, reason.
        revised: stored values, not of this batch, whose provisional interval was corrected.
    """

    inserted: int
    corrected: int
    corrected_now: int
    older: int
    repeats: int
    rejected: tuple[tuple[str | None, str, int, str], ...]
    examples: tuple[tuple[str, int, str | None, str], ...]
    revised: tuple[RevisedIntervals, ...] = ()


@dataclass(frozen=True)
class CityRow:
    """A city of a file or of the table: degrees north and east with six decimals, an IANA zone, codes or None."""

    name: str
    latitude: Decimal
    longitude: Decimal
    timezone: str
    country_code: str | None
    subdivision: str | None

    def over(self, stored: CityRow) -> CityRow:
        """Return this city, with missing values taken from the stored city."""
        return replace(
            self,
            name=stored.name,
            country_code=self.country_code or stored.country_code,
            # A subdivision of another country does not apply to this one
            subdivision=self.subdivision
            or (stored.subdivision if self.country_code in (None, stored.country_code) else None),
        )


class Staging:
    """The session of one batch: temporary tables, and finally one transaction that merges them."""

    def __init__(self, connection: Connection, target: LoadTarget) -> None:
        self._connection = connection
        self._target = target
        self._queries = {name: text for subject in _SUBJECTS for name, text in queries(subject).items()}
        self._in_order = False
        self._interval_given = False
        self._older = False
        self._staged = 0
        self._is_all = True
        self._are_few = False
        self._has_views = False
        self._months: Sequence[datetime] = ()
        self._first: datetime | None = None
        self._last: datetime | None = None

    def clock(self) -> tuple[datetime, Retention | None]:
        """Return the database's clock, UTC, and the retention of the rows; None for unlimited retention."""
        now, span, since = self._row("server_clock", table=self._target.table)
        return now.astimezone(UTC), None if since is None else Retention(span, since.astimezone(UTC))

    def cities(self) -> list[StoredCity]:
        """Return every city, sorted by name."""
        return all_cities(self._connection)

    def zone_differences(self, zones: Sequence[str]) -> list[ZoneDifference]:
        """Return the differences between the rules of these zones on the server and in this program."""
        return zone_differences(self._connection, zones, self.clock()[0])

    def add_files(self, names: Sequence[str]) -> None:
        """Register the files of the batch; they are numbered by position, from 0."""
        self._run("add_files", names=list(names))

    def add_cities(self, cities: Sequence[tuple[UUID, str]]) -> None:
        """Register the cities (id, name) of the rows; they are numbered by position, from 0."""
        self._run(
            "add_cities",
            numbers=list(range(len(cities))),
            ids=[city for city, _ in cities],
            names=[name for _, name in cities],
        )

    def copy_rows(self, data: bytes) -> None:
        """Stage rows: binary COPY in the column order of the kind's `_copy` query."""
        self._staged += self._copy(f"{self._target.subject}_copy", data)

    def copy_rejected(self, data: bytes) -> None:
        """Stage rejected rows and empty cells as CSV.

        Columns: file number, line, column, reason, the row as JSON, whether only a cell was left empty, and true.
        """
        self._copy("rejected_copy", data)

    def set_coverage(
        self,
        cities: Sequence[tuple[int, datetime, datetime, timedelta | None, bool, bool]],
        gaps: Sequence[tuple[int, timedelta, int, int]],
        months: Sequence[datetime],
    ) -> None:
        """Set the time coverage of the staged rows, derived by the client from their order: no time of a city repeats.

        Without it, `judge` derives the coverage by sorting the rows.

        Args:
            cities: number, first and last timestamp, minimum of available_at minus timestamp, whether every row states
                its interval, and whether one of those is available before its end.
            gaps: number of the city, a distance between neighbouring rows, how often it occurs, and how often at most
                it occurs after a distance of the same length.
            months: the UTC months of the rows.
        """
        numbers, firsts, lasts, lags, stated, early = (
            (list(column) for column in zip(*cities, strict=True)) if cities else [[]] * 6
        )
        self._run("add_spans", numbers=numbers, firsts=firsts, lasts=lasts, lags=lags, stated=stated, early=early)
        self._run(
            "add_gaps",
            numbers=[city for city, _, _, _ in gaps],
            gaps=[gap for _, gap, _, _ in gaps],
            times=[times for _, _, times, _ in gaps],
            follows=[follows for _, _, _, follows in gaps],
        )
        self._in_order = True
        self._months = months
        self._first, self._last = min(firsts, default=None), max(lasts, default=None)

    def set_unstaged(
        self, read: int, months: Sequence[datetime], first: datetime | None, last: datetime | None
    ) -> None:
        """Declare, after `set_coverage`, that rows of other months or unchanged rows were not staged.

        Args:
            read: total number of rows.
            months: the UTC months of the staged rows.
            first: the first timestamp of the staged rows; None without staged rows.
            last: the last timestamp of the staged rows; None without staged rows.
        """
        self._is_all = False
        self._are_few = self._staged * _FEW <= read
        self._months, self._first, self._last = months, first, last

    def stored_values(self, spans: Sequence[tuple[int, datetime, datetime]]) -> StoredValues:
        """Return the stored values within time spans (number of a city, first and last timestamp).

        Call it inside `merging`, so that no other session loads meanwhile.
        """
        self._make_views()
        return stored_values(self._connection, spans, len(self._target.values))

    def partition_load(self) -> PartitionLoad:
        """Return the load into new partitions; call it inside `merging`."""
        return PartitionLoad(self._connection, self._target.table, self._target.values)

    def intervals(self) -> dict[int, int]:
        """Return, after `judge`, the interval (minutes) of each city, by number, with rows that do not state theirs."""
        return dict(self._rows("found_intervals"))

    def stored_means(self, cities: Sequence[tuple[int, datetime]]) -> dict[int, StoredMean]:
        """Return the mean of the stored values near a time, by number of the city."""
        if not cities:
            return {}
        self._make_views()
        name = "consumption_means" if self._target.adds_up else "weather_means"
        rows = self._rows(name, numbers=[city for city, _ in cities], firsts=[first for _, first in cities])
        return {city: StoredMean(count, mean) for city, count, mean in rows}

    def judge(self, *, now: datetime, interval_minutes: int | None) -> Judgement:
        """Find the interval length of each city, and reject rows that are too early or contradict each other.

        Args:
            now: the database's clock at the start of the batch; later values cannot be available.
            interval_minutes: the interval length in minutes, if the user gave it.

        Raises:
            NeedsJudging: rows must be rejected, but not all rows were staged.
        """
        self._script("analyze_staged" if self._in_order else "index_staged")
        assumed: tuple[str, ...] = ()
        wide: tuple[Spacing, ...] = ()
        rejected = 0
        if self._target.corrects:
            self._make_views()
            self._interval_given = interval_minutes is not None
            if not self._in_order:
                self._run("find_gaps")
            if interval_minutes is not None:
                self._run("set_interval", interval_minutes=interval_minutes)
            else:
                self._run("add_provisional_gaps", kind=self._target.kind)
                self._run("find_intervals", kind=self._target.kind)
                assumed = tuple(name for (name,) in self._rows("assumed_cities"))
                wide = tuple(Spacing(*row) for row in self._rows("wide_cities", adds_up=self._target.adds_up))
            rejected += self._reject_closer()
            if self._row("any_early", now=now)[0]:
                self._need_all()
                rejected += self._run("reject_early", now=now, values=list(self._target.values))
        repeated, older = (0, 0) if self._in_order else self._judge_repeated()
        if rejected or not self._in_order:
            months, self._first, self._last = self._row("months")
            self._months = months or ()
        self._older = older > 0
        return Judgement(repeated, older, assumed, wide)

    def _reject_closer(self) -> int:
        mixed, overlapping = self._row("any_closer")
        rejected = 0
        if mixed or overlapping:
            self._need_all()
            values = list(self._target.values)
            if mixed:
                rejected += self._run("reject_mixed", values=values)
            if overlapping:
                rejected += self._run("reject_overlapping", values=values, adds_up=self._target.adds_up)
        return rejected

    def _make_views(self) -> None:
        if self._target.corrects and not self._has_views:
            self._script(f"{self._target.subject}_views")
            self._has_views = True

    def _need_all(self) -> None:
        if not self._is_all:
            raise NeedsJudging

    def _judge_repeated(self) -> tuple[int, int]:
        taken = self._run("take_repeated")
        if not taken:
            return 0, 0
        self._script("index_repeated")
        self._script("judge_repeated")
        rejected = self._run("reject_conflicts", values=list(self._target.values), key=self._target.key)
        restored = self._run("restore_same")
        before = self._row("count_staged")[0]
        older = self._run("restore_histories")
        restored += self._row("count_staged")[0] - before
        return taken - rejected - restored - older, older

    def ensure_partitions(self, database: Database) -> None:
        """Create the partitions for the rows in separate transactions, so that their locks are short.

        Raises:
            NeedsJudging: another session holds a lock, and may itself wait for this session's open transaction.
        """
        there = existing_months(self._connection, self._target.table).months
        missing = [month for month in self._months if month not in there]
        for start in range(0, len(missing), _MONTHS_AT_ONCE):
            months = missing[start : start + _MONTHS_AT_ONCE]
            try:
                with database.transaction(Role.INGEST) as connection:
                    if not self._is_all:
                        connection.execute(self._queries["wait_for_locks"], {"time": _PATIENCE})
                    connection.execute(self._queries["ensure_months"], {"table": self._target.table, "months": months})
            except DatabaseError as error:
                if isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
                    raise NeedsJudging from error
                raise

    @contextmanager
    def merging(self) -> Iterator[None]:
        """Run one transaction for a merge; merges of one kind run one at a time.

        The session takes the lock first. So the transaction begins after every earlier merge has been committed, and
        its now() is later than theirs. The lock ends with the session: a statement to release it could fail after
        everything has been stored.
        """
        self._run("lock_kind", kind=self._target.kind)
        with self._connection.transaction():
            yield

    def merge(self) -> Merged:
        """Insert and correct rows, and store older versions as history; call it inside `merging`."""
        verdicts: dict[str, tuple[int, int]] = {}
        inserted = corrected = 0
        if self._first is not None:
            # Bounds of the rows let the planner skip the other months
            bounds = {"first": self._first, "last": self._last}
            if not self._target.corrects:
                self._run("reject_changed_forecasts", values=list(self._target.values), **bounds)
                inserted = self._run(f"{self._target.subject}_insert", **bounds)
            elif self._older or self._row("any_stored")[0]:
                if self._are_few:
                    self._row("set_joins", joins="off")
                verdicts = self._judge_against_stored(bounds)
                self._run(f"{self._target.subject}_store_older")
                corrected = self._run(f"{self._target.subject}_correct")
                inserted = self._row("insert_staged", kind=self._target.kind, only_new=True)[0]
            else:
                inserted = self._row("insert_staged", kind=self._target.kind, only_new=False)[0]
            if self._are_few:
                self._row("set_joins", joins="on")
        revised = self._revise_intervals() if self._target.corrects else ()
        return Merged(
            inserted=inserted,
            corrected=corrected,
            corrected_now=verdicts.get("correction", (0, 0))[1],
            older=verdicts.get("older", (0, 0))[0],
            repeats=verdicts.get("repeat", (0, 0))[0],
            rejected=tuple(self._rows("rejected_reasons")),
            examples=tuple(self._rows("rejected_examples", limit=10)),
            revised=revised,
        )

    def _revise_intervals(self) -> tuple[RevisedIntervals, ...]:
        """Correct stored intervals that were provisional, and record which ones still are."""
        kind = self._target.kind
        revised: tuple[RevisedIntervals, ...] = ()
        if not self._interval_given:
            revised = tuple(RevisedIntervals(*row) for row in self._rows("provisional_values", kind=kind))
        for one in revised:
            self._run(f"{self._target.subject}_revise_intervals", city_no=one.city_no, first=one.first, last=one.last)
        self._run("remove_provisional", kind=kind)
        self._run("record_provisional", kind=kind)
        return revised

    def _judge_against_stored(self, bounds: Mapping[str, object]) -> dict[str, tuple[int, int]]:
        self._run("judge_differing", interval_given=self._interval_given, **bounds)
        self._run("add_older_versions")
        verdicts = {verdict: (rows, without) for verdict, rows, without in self._rows("count_differing")}
        self._run("remove_stored_versions")
        return verdicts

    def zones(self) -> set[str]:
        """Return the names of the time zones that the server knows."""
        return {name for (name,) in self._rows("zones")}

    def dependent_counts(self, name: str) -> dict[str, int]:
        """Return the numbers of values, models and scores of a city."""
        return dependent_counts(self._connection, name)

    def stored_cities(self) -> dict[str, CityRow]:
        """Return every stored city by name."""
        return {row[0]: CityRow(*row) for row in self._rows("stored_cities")}

    def insert_city(self, city: CityRow) -> bool:
        """Add a city, inside `merging`; return False if the name is already in use."""
        return self._run("insert_city", **asdict(city)) == 1

    def update_city(self, city: CityRow) -> None:
        """Correct a city, inside `merging`."""
        self._run("update_city", **asdict(city))

    def record(
        self,
        *,
        batch: UUID,
        files: Sequence[Mapping[str, Any]],
        notes: Sequence[str],
        reasons: Sequence[Mapping[str, Any]],
        most_kept: int,
        **counts: int,
    ) -> int:
        """Write the ledger entry and the quarantine.

        Args:
            batch: id of the batch.
            files: description of each file.
            notes: remarks on the batch.
            reasons: column, reason, count and cell_only of the rejected rows and empty cells.
            most_kept: maximum number of rows and cells in the quarantine.
            counts: read, inserted, corrected, unchanged, rejected, cells_left_empty.

        Returns:
            The number of rows and cells stored.
        """
        self._run(
            "record_batch",
            batch=batch,
            kind=self._target.kind,
            files=Jsonb([dict(file) for file in files]),
            notes=Jsonb(list(notes)),
            reasons=Jsonb([dict(reason) for reason in reasons]),
            **counts,
        )
        if not counts["rejected"] and not counts["cells_left_empty"]:
            return 0
        return self._run("record_rejected", batch=batch, kind=self._target.kind, limit=most_kept)

    def _script(self, name: str) -> None:
        """Run several statements, which the driver sends together only without parameters."""
        self._connection.execute(self._queries[name])

    def _run(self, name: str, /, **parameters: object) -> int:
        return self._connection.execute(self._queries[name], parameters).rowcount

    def _row(self, name: str, /, **parameters: object) -> tuple[Any, ...]:
        row = self._connection.execute(self._queries[name], parameters or None).fetchone()
        if row is None:
            raise AssertionError(f"{name} returns a row")
        return tuple(row)

    def _rows(self, name: str, /, **parameters: object) -> list[tuple[Any, ...]]:
        return self._connection.execute(self._queries[name], parameters).fetchall()

    def _copy(self, name: str, data: bytes) -> int:
        with self._connection.cursor() as cursor:
            with cursor.copy(self._queries[name]) as copy:
                copy.write(data)
            return cursor.rowcount


def stored_city(connection: Connection, name: str) -> CityRow:
    """Return the stored city with a name."""
    row = connection.execute(queries("cities")["stored_city"], {"name": name}).fetchone()
    assert row is not None
    return CityRow(*row)


def dependent_counts(connection: Connection, name: str) -> dict[str, int]:
    """Return the numbers of values, models and scores of a city."""
    row = connection.execute(queries("cities")["dependent_counts"], {"name": name}).fetchone()
    assert row is not None
    return dict(zip(("values", "models", "scores"), row, strict=True))


@contextmanager
def staging(database: Database, target: LoadTarget) -> Iterator[Staging]:
    """Open a session for one load as the role that loads facts. Nothing is stored before `merging` ends.

    Raises:
        DatabaseError: the server cannot be reached, or a statement failed.
    """
    connection = database.connect(autocommit=True)
    try:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(Role.INGEST)))
        connection.execute(queries("staging")["create_staging"])
        yield Staging(connection, target)
    except psycopg.Error as error:
        raise database_error(error) from error
    finally:
        connection.close()
