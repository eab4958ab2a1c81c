"""Champions: the model version that serves each city, and the backtests behind its promotion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import dict_rows, one_row, queries


@dataclass(frozen=True)
class Champion:
    """A promotion: its id, and the model version promoted."""

    id: UUID
    model_id: UUID
    name: str
    version: str


def lock_promotions(connection: Connection) -> None:
    """Wait for a running promotion, and block others until the transaction ends."""
    connection.execute(queries("champions")["lock_promotions"])


def champion_at(connection: Connection, city: UUID, at: datetime) -> Champion | None:
    """Return the champion of a city at a time, or None."""
    with connection.cursor(row_factory=class_row(Champion)) as cursor:
        return cursor.execute(queries("champions")["champion_at"], {"city": city, "at": at}).fetchone()


def champion_before(connection: Connection, city: UUID) -> Champion | None:
    """Return the champion before the present one, or None.

    After a rollback, this is the champion before the one that was restored.
    """
    with connection.cursor(row_factory=class_row(Champion)) as cursor:
        return cursor.execute(queries("champions")["champion_before"], {"city": city}).fetchone()


def add_promotion(
    connection: Connection,
    *,
    city: UUID,
    model: UUID,
    reason: str,
    evidence: Sequence[dict[str, Any]],
    forced: bool,
    returns_to: UUID | None = None,
) -> None:
    """Make a version the champion of a city from now on, and end the present one.

    Args:
        returns_to: for a rollback, the promotion whose version serves again.
    """
    parameters = {
        "city": city,
        "model": model,
        "reason": reason,
        "evidence": Jsonb(evidence),
        "is_forced": forced,
        "returns_to": returns_to,
    }
    connection.execute(queries("champions")["add_promotion"], parameters)


def promotions(connection: Connection, cities: Sequence[str], at: datetime | None) -> list[dict[str, Any]]:
    """Return the champions of cities, newest first; with `at`, only those at that time.

    `reason` is free text that may mention other cities, and `promoted_by` is a login, so a user gets None for them.
    """
    named = queries("champions")
    has_reasons = one_row(connection, named["may_read_reasons"])[0]
    query = named["promotions" if has_reasons else "promotions_without_reasons"]
    return dict_rows(connection, query, {"cities": list(cities), "at": at})


def backtest_conditions(
    connection: Connection, *, city: UUID, models: Sequence[str], weather: str | None = None
) -> list[tuple[str, dict[str, Any]]]:
    """Return weather and assumptions with which all of these models were backtested for a city, last used first.

    Args:
        weather: only this kind of weather; None for any.
    """
    parameters = {"city": city, "models": list(models)}
    rows = connection.execute(queries("champions")["backtest_conditions"], parameters).fetchall()
    return [(kind, assumptions) for kind, assumptions in rows if weather in (None, kind)]
