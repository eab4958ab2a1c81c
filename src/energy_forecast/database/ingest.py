"""A load inside the database: rows are staged by COPY, checked against each other, and merged in one transaction."""

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
from energy_forecast.database.connection import Connection, Database, Role, refusal
from energy_forecast.database.known_values import KnownValues, known_values
from energy_forecast.database.named_queries import queries
from energy_forecast.database.new_months import NeedsJudging, NewMonths, months_there
from energy_forecast.database.zones import ZoneDifference, zone_differences
from energy_forecast.errors import DatabaseError

# Partitions are attached under a lock on the parent; a year at a time keeps it short
_MONTHS_AT_ONCE = 12
# The server does not see that a session waits for what another session of ours holds
_PATIENCE = "5s"
# One row of so many is looked up by its key more cheaply than by reading all that is stored
_FEW = 10


@dataclass(frozen=True)
class Target:
    """Where a kind of rows goes.

    Args:
        kind: the kind's name in the ledger.
        table: the partitioned table.
        subject: the prefix of the kind's queries.
        key: what identifies a row beside its city, in words.
        values: the value columns in the order of value_1 to value_4.
        corrects: whether a stored value may be replaced.
        adds_up: whether values are amounts, so that where intervals overlap something is counted twice.
    """

    kind: str
    table: str
    subject: str
    key: str
    values: tuple[str, ...]
    corrects: bool
    adds_up: bool = False


@dataclass(frozen=True)
class Kept:
    """How long rows are kept.

    Args:
        span: in words, such as 2 years.
        since: START of the first month, UTC, that retention would leave now.
    """

    span: str
    since: datetime


@dataclass(frozen=True)
class Spacing:
    """Rows of a city at a distance (minutes) that no interval has: the commonest if it is even, else the least."""

    city: str
    minutes: int
    is_even: bool


@dataclass(frozen=True)
class StoredLevel:
    """Stored values of a city near the first ones of a load.

    Args:
        row_count: how many.
        mean: of log10(kWh a minute), or of degrees Celsius.
    """

    row_count: int
    mean: float


@dataclass(frozen=True)
class Settled:
    """What became of the staged rows before anything stored was looked at. Counts of rows.

    Args:
        repeated: rows that say what another row of the load says.
        older: rows that an other row of the load supersedes; they become history.
        assumed: names of the cities whose interval length nothing told.
        wide: cities whose rows lie at a distance that no interval has.
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
        minutes: of their interval now.
        row_count: how many.
        first: the first timestamp, UTC.
        last: the last one.
    """

    city_no: int
    minutes: int
    row_count: int
    first: datetime
    last: datetime


@dataclass(frozen=True)
class Merged:
    """What the merge did. Counts of rows.

    Args:
        inserted: keys that were not stored.
        corrected: keys whose stored value was replaced.
        corrected_now: those of them that came without available_at, and so are known from now.
        older: rows older than what is stored or than another row of the load; kept as history.
        repeats: rows with a value that was superseded before.
        refused: column, reason without its values, and number of the rows that the database refused; and one reason
            with its values.
        examples: the first refused rows: file, line, column, reason.
        revised: stored values, not of this load, whose provisional interval was corrected.
    """

    inserted: int
    corrected: int
    corrected_now: int
    older: int
    repeats: int
    refused: tuple[tuple[str | None, str, int, str], ...]
    examples: tuple[tuple[str, int, str | None, str], ...]
    revised: tuple[RevisedIntervals, ...] = ()


@dataclass(frozen=True)
class CityRow:
    """A city as a file or the table says: degrees north and east with six places, an IANA zone, codes or None."""

    name: str
    latitude: Decimal
    longitude: Decimal
    timezone: str
    country_code: str | None
    subdivision: str | None

    def over(self, stored: CityRow) -> CityRow:
        """This city where it says something, the stored one where it does not."""
        return replace(
            self,
            name=stored.name,
            country_code=self.country_code or stored.country_code,
            # A subdivision of another country says nothing of this one
            subdivision=self.subdivision
            or (stored.subdivision if self.country_code in (None, stored.country_code) else None),
        )


class Staging:
    """One load's session: temporary tables of its own, and in the end one transaction that merges them."""

    def __init__(self, connection: Connection, target: Target) -> None:
        self._connection = connection
        self._target = target
        self._queries = queries("ingest")
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

    def clock(self) -> tuple[datetime, Kept | None]:
        """The database's clock, UTC, and how long the rows are kept; None for ever."""
        now, span, since = self._row("server_clock", table=self._target.table)
        return now.astimezone(UTC), None if since is None else Kept(span, since.astimezone(UTC))

    def cities(self) -> list[StoredCity]:
        """Every city, by name."""
        return all_cities(self._connection)

    def zone_differences(self, zones: Sequence[str]) -> list[ZoneDifference]:
        """Return how the rules of these zones differ between the server and this program."""
        return zone_differences(self._connection, zones, self.clock()[0])

    def add_files(self, names: Sequence[str]) -> None:
        """Names the files of the load; their numbers are their places, from 0."""
        self._run("add_files", names=list(names))

    def add_cities(self, cities: Sequence[tuple[UUID, str]]) -> None:
        """Names the cities (id, name) that rows may refer to; their numbers are their places, from 0."""
        self._run(
            "add_cities",
            numbers=list(range(len(cities))),
            ids=[city for city, _ in cities],
            names=[name for _, name in cities],
        )

    def copy_rows(self, data: bytes) -> None:
        """Stages rows: binary COPY in the column order of the kind's `_copy` query."""
        self._staged += self._copy(f"{self._target.subject}_copy", data)

    def copy_refused(self, data: bytes) -> None:
        """Stage refused rows and empty cells: CSV of file number, line, column, reason, the row as JSON,
        whether only a cell was left empty, and true.
        """
        self._copy("refused_copy", data)

    def tell_spans(
        self,
        cities: Sequence[tuple[int, datetime, datetime, timedelta | None, bool, bool]],
        gaps: Sequence[tuple[int, timedelta, int, int]],
        months: Sequence[datetime],
    ) -> None:
        """Says what the order of the rows staged has shown: that no time of a city repeats, and what they cover.

        Without it, `settle` finds this out by sorting them.

        Args:
            cities: number, first and last timestamp, the least time from a timestamp to its available_at, whether every
                row states its interval, and whether one of those is available before its end.
            gaps: number of the city, a distance between neighbouring rows, how often it occurs, and how often, at
                most, it occurs after one of the same length.
            months: the UTC months that the rows lie in.
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

    def tell_rest(self, read: int, months: Sequence[datetime], first: datetime | None, last: datetime | None) -> None:
        """Says, after `tell_spans`, that rows of other months, or that say what is stored, were not staged.

        Args:
            read: how many rows there were.
            months: the UTC months of the rows staged.
            first: the first timestamp of the rows staged, None when there are none; and the last.
        """
        self._is_all = False
        self._are_few = self._staged * _FEW <= read
        self._months, self._first, self._last = months, first, last

    def known(self, spans: Sequence[tuple[int, datetime, datetime]]) -> KnownValues:
        """What is stored within spans of time: number of a city, first and last timestamp. Inside `merging`, so that
        nobody else loads meanwhile."""
        self._make_views()
        return known_values(self._connection, spans, len(self._target.values))

    def new_months(self) -> NewMonths:
        """The months that can be filled beside the table; inside `merging`."""
        return NewMonths(self._connection, self._target.table, self._target.values)

    def intervals(self) -> dict[int, int]:
        """Minutes of the interval of each city with rows that do not state theirs, by its number, after `settle`."""
        return dict(self._rows("found_intervals"))

    def levels(self, cities: Sequence[tuple[int, datetime]]) -> dict[int, StoredLevel]:
        """The level of the stored values near a moment, by the number of the city."""
        if not cities:
            return {}
        self._make_views()
        name = "consumption_levels" if self._target.adds_up else "weather_levels"
        rows = self._rows(name, numbers=[city for city, _ in cities], firsts=[first for _, first in cities])
        return {city: StoredLevel(count, mean) for city, count, mean in rows}

    def settle(self, *, now: datetime, interval_minutes: int | None) -> Settled:
        """Finds each city's interval length, and sorts out rows that are too early or contradict each other.

        Args:
            now: the database's clock when the load began; nothing later could be known.
            interval_minutes: minutes of an interval when the user gave them.

        Raises:
            NeedsJudging: there is something to sort out, and not all rows were staged.
        """
        self._script("analyze_staged" if self._in_order else "index_staged")
        assumed: tuple[str, ...] = ()
        wide: tuple[Spacing, ...] = ()
        refused = 0
        if self._target.corrects:
            self._make_views()
            self._interval_given = interval_minutes is not None
            if not self._in_order:
                self._run("find_gaps")
            if interval_minutes is not None:
                self._run("give_interval", interval_minutes=interval_minutes)
            else:
                self._run("add_provisional_gaps", kind=self._target.kind)
                self._run("find_intervals", kind=self._target.kind)
                assumed = tuple(name for (name,) in self._rows("assumed_cities"))
                wide = tuple(Spacing(*row) for row in self._rows("wide_cities", adds_up=self._target.adds_up))
            refused += self._refuse_closer()
            if self._row("any_early", now=now)[0]:
                self._need_all()
                refused += self._run("refuse_early", now=now, values=list(self._target.values))
        repeated, older = (0, 0) if self._in_order else self._settle_repeated()
        if refused or not self._in_order:
            months, self._first, self._last = self._row("months")
            self._months = months or ()
        self._older = older > 0
        return Settled(repeated, older, assumed, wide)

    def _refuse_closer(self) -> int:
        mixed, overlapping = self._row("any_closer")
        refused = 0
        if mixed or overlapping:
            self._need_all()
            values = list(self._target.values)
            if mixed:
                refused += self._run("refuse_mixed", values=values)
            if overlapping:
                refused += self._run("refuse_overlapping", values=values, adds_up=self._target.adds_up)
        return refused

    def _make_views(self) -> None:
        if self._target.corrects and not self._has_views:
            self._script(f"{self._target.subject}_views")
            self._has_views = True

    def _need_all(self) -> None:
        if not self._is_all:
            raise NeedsJudging

    def _settle_repeated(self) -> tuple[int, int]:
        taken = self._run("take_repeated")
        if not taken:
            return 0, 0
        self._script("index_repeated")
        self._script("judge_repeated")
        refused = self._run("refuse_conflicts", values=list(self._target.values), key=self._target.key)
        restored = self._run("restore_same")
        before = self._row("count_staged")[0]
        older = self._run("restore_histories")
        restored += self._row("count_staged")[0] - before
        return taken - refused - restored - older, older

    def ensure_partitions(self, database: Database) -> None:
        """Makes the months that the rows need, in transactions of their own, so that their locks are short.

        Raises:
            NeedsJudging: somebody keeps them from being made, who may be waiting for this session's open transaction.
        """
        there = months_there(self._connection, self._target.table).months
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
        """One merge of a kind at a time, in one transaction.

        The lock is the session's and comes first: so the transaction begins after every earlier merge has been
        committed, and its now() is later than theirs. It ends with the session: to give it back by a statement would
        be one more that can fail, after all has been stored.
        """
        self._run("lock_kind", kind=self._target.kind)
        with self._connection.transaction():
            yield

    def merge(self) -> Merged:
        """Inserts, corrects and keeps; inside `merging`."""
        verdicts: dict[str, tuple[int, int]] = {}
        inserted = corrected = 0
        if self._first is not None:
            # Bounds of the rows let the planner leave out the other months
            bounds = {"first": self._first, "last": self._last}
            if not self._target.corrects:
                self._run("refuse_changed_forecasts", values=list(self._target.values), **bounds)
                inserted = self._run(f"{self._target.subject}_insert", **bounds)
            elif self._older or self._row("any_stored")[0]:
                if self._are_few:
                    self._row("set_joins", joins="off")
                verdicts = self._judge(bounds)
                self._run(f"{self._target.subject}_keep_older")
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
            refused=tuple(self._rows("refused_reasons")),
            examples=tuple(self._rows("refused_examples", limit=10)),
            revised=revised,
        )

    def _revise_intervals(self) -> tuple[RevisedIntervals, ...]:
        """Corrects stored intervals that were provisional, and keeps in mind which ones still are."""
        kind = self._target.kind
        revised: tuple[RevisedIntervals, ...] = ()
        if not self._interval_given:
            revised = tuple(RevisedIntervals(*row) for row in self._rows("provisional_values", kind=kind))
        for one in revised:
            self._run(f"{self._target.subject}_revise_intervals", city_no=one.city_no, first=one.first, last=one.last)
        self._run("forget_provisional", kind=kind)
        self._run("keep_provisional", kind=kind)
        return revised

    def _judge(self, bounds: Mapping[str, object]) -> dict[str, tuple[int, int]]:
        self._run("judge_differing", interval_given=self._interval_given, **bounds)
        self._run("add_older_versions")
        verdicts = {verdict: (rows, without) for verdict, rows, without in self._rows("count_differing")}
        self._run("forget_known_versions")
        return verdicts

    def zones(self) -> set[str]:
        """The names of the time zones that the server knows."""
        return {name for (name,) in self._rows("zones")}

    def attached(self, name: str) -> dict[str, int]:
        """Return how many values, models and scores belong to a city."""
        return attached(self._connection, name)

    def stored_cities(self) -> dict[str, CityRow]:
        """Every stored city by its name."""
        return {row[0]: CityRow(*row) for row in self._rows("stored_cities")}

    def insert_city(self, city: CityRow) -> bool:
        """Add a city, inside `merging`; return False if the database has the name already."""
        return self._run("insert_city", **asdict(city)) == 1

    def update_city(self, city: CityRow) -> None:
        """Corrects a city; inside `merging`."""
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
        """Write the ledger's row and the quarantine.

        Args:
            reasons: column, reason, count and cell_only of what was rejected or left empty.
            most_kept: how many rows and cells the quarantine keeps.
            counts: read, inserted, corrected, unchanged, rejected, cells_left_empty.

        Returns:
            The number of rows and cells kept.
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
        return self._run("record_refused", batch=batch, kind=self._target.kind, limit=most_kept)

    def _script(self, name: str) -> None:
        """Several statements; the driver sends them together only when they have no parameters."""
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
    """Return the stored city that is known by a name."""
    row = connection.execute(queries("ingest")["stored_city"], {"name": name}).fetchone()
    assert row is not None
    return CityRow(*row)


def attached(connection: Connection, name: str) -> dict[str, int]:
    """Return how many values, models and scores belong to a city."""
    row = connection.execute(queries("ingest")["attached"], {"name": name}).fetchone()
    assert row is not None
    return dict(zip(("values", "models", "scores"), row, strict=True))


@contextmanager
def staging(database: Database, target: Target) -> Iterator[Staging]:
    """A session for one load as the role that loads facts. Nothing is stored before `merging` has ended.

    Raises:
        DatabaseError: the server cannot be reached, or refused a statement.
    """
    connection = database.connect(autocommit=True)
    try:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(Role.INGEST)))
        connection.execute(queries("ingest")["create_staging"])
        yield Staging(connection, target)
    except psycopg.Error as error:
        raise refusal(error) from error
    finally:
        connection.close()
