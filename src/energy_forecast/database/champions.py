"""Champions: which model version serves a city, and the backtests that say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import queries


@dataclass(frozen=True)
class Champion:
    """A promotion: its id, and the version that it made champion."""

    id: UUID
    model_id: UUID
    name: str
    version: str


def lock_promotions(connection: Connection) -> None:
    """Waits for a promotion under way."""
    connection.execute(queries("champions")["lock_promotions"])


def champion_at(connection: Connection, city: UUID, at: datetime) -> Champion | None:
    """The champion of a city at a moment."""
    with connection.cursor(row_factory=class_row(Champion)) as cursor:
        return cursor.execute(queries("champions")["champion_at"], {"city": city, "at": at}).fetchone()


def champion_before(connection: Connection, city: UUID) -> Champion | None:
    """The champion of a city before the present one; before the one to which it led back, where it did."""
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
    """Makes a version the champion of a city from now on; the one before ends.

    Args:
        returns_to: of a way back, the promotion whose version serves again.
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
    """The champions of cities through time, newest first; with a moment, those of then."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(queries("champions")["promotions"], {"cities": list(cities), "at": at}).fetchall()


def backtest_weathers(connection: Connection, *, city: UUID, models: Sequence[str]) -> list[str]:
    """The weathers with which all of these models were backtested for a city, the one used last first."""
    rows = connection.execute(
        queries("champions")["backtest_weathers"], {"city": city, "models": list(models)}
    ).fetchall()
    return [weather for (weather,) in rows]
