"""Model versions and their artifacts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from energy_forecast.database.connection import Connection
from energy_forecast.database.named_queries import queries
from energy_forecast.errors import ArtifactError


@dataclass(frozen=True)
class Version:
    """A version of a model. It learned from nothing that became available after `trained_until`."""

    id: UUID
    name: str
    version: str
    trained_until: datetime


@dataclass(frozen=True)
class StoredArtifact(Version):
    """A version's fitted parameters for one city."""

    artifact: bytes
    sha256: bytes
    training_facts: dict[str, Any]


@dataclass(frozen=True)
class NewArtifact:
    """What a training leaves for one city."""

    city_id: UUID
    artifact: bytes
    training_digest: bytes
    training_facts: dict[str, Any]


def add_version(
    connection: Connection,
    *,
    name: str,
    kind: str,
    parameters: dict[str, Any],
    trained_until: datetime,
    artifacts: Sequence[NewArtifact],
) -> Version:
    """Adds a version with its artifacts, and settles which versions of the name are active."""
    statements = queries("models")
    connection.execute(statements["lock_versions"])
    row = connection.execute(statements["next_version"], {"name": name}).fetchone()
    assert row is not None
    version = Version(uuid4(), name, str(row[0]), trained_until)
    connection.execute(
        statements["add_model"],
        {
            "id": version.id,
            "name": name,
            "type": kind,
            "parameters": Jsonb(parameters),
            "version": version.version,
            "trained_until": trained_until,
        },
    )
    add_artifacts(connection, version.id, artifacts)
    update_active(connection, name)
    return version


def add_artifacts(connection: Connection, model: UUID, artifacts: Sequence[NewArtifact]) -> None:
    """Adds what a training left for further cities to its version."""
    for item in artifacts:
        connection.execute(
            queries("models")["add_artifact"],
            {
                "model": model,
                "city": item.city_id,
                "artifact": item.artifact,
                "sha256": hashlib.sha256(item.artifact).digest(),
                "training_digest": item.training_digest,
                "training_facts": Jsonb(item.training_facts),
            },
        )


def update_active(connection: Connection, name: str) -> None:
    """Marks which versions of a name are active: champions, and the newest of a city."""
    connection.execute(queries("models")["update_active"], {"name": name})


def version_for(connection: Connection, *, name: str, version: str | None, city: UUID) -> Version | None:
    """A version that was trained for a city; the newest when None is named."""
    with connection.cursor(row_factory=class_row(Version)) as cursor:
        return cursor.execute(
            queries("models")["version_for"], {"name": name, "version": version, "city": city}
        ).fetchone()


def trained_identically(
    connection: Connection, *, name: str, city: UUID, training_digest: bytes, at: datetime
) -> StoredArtifact | None:
    """The version that was trained from just the same by `at`, if there is one.

    Raises:
        ArtifactError: the stored bytes are not those that were written.
    """
    parameters = {"name": name, "city": city, "training_digest": training_digest, "at": at}
    return _whole(connection, "trained_identically", parameters)


def newest_artifact(
    connection: Connection, *, name: str, city: UUID, at: datetime, older: int = 0
) -> StoredArtifact | None:
    """The newest version for a city that had learned nothing from after `at`; with `older` the so many-th before it.

    Raises:
        ArtifactError: the stored bytes are not those that were written.
    """
    return _whole(connection, "newest_artifact", {"name": name, "city": city, "at": at, "older": older})


def artifact_of(connection: Connection, *, model: UUID, city: UUID) -> StoredArtifact | None:
    """One version's artifact for one city.

    Raises:
        ArtifactError: the stored bytes are not those that were written.
    """
    return _whole(connection, "artifact", {"model": model, "city": city})


def _whole(connection: Connection, query: str, parameters: dict[str, Any]) -> StoredArtifact | None:
    # As text, each byte of the artifact would be two, written by the server and read by us
    with connection.cursor(binary=True, row_factory=class_row(StoredArtifact)) as cursor:
        found = cursor.execute(queries("models")[query], parameters).fetchone()
    if found is not None and hashlib.sha256(found.artifact).digest() != found.sha256:
        raise ArtifactError(
            f"The artifact of {found.name} version {found.version} does not match its SHA-256.",
            hint="Restore it from a backup, or train a new version.",
        )
    return found


def list_models(connection: Connection) -> list[dict[str, Any]]:
    """Every version with its cities and its last evaluation."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(queries("models")["list_models"]).fetchall()


def show_model(connection: Connection, *, name: str, version: str | None) -> list[dict[str, Any]]:
    """The versions of a model, newest first, with everything that is known of each but the artifact."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(queries("models")["show_model"], {"name": name, "version": version}).fetchall()


def retraining_policies(connection: Connection) -> list[dict[str, Any]]:
    """When a city is to be learnt anew, a row a reason."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(queries("models")["retraining_policies"]).fetchall()


def set_retraining_policy(connection: Connection, reason: str, threshold: float | None) -> dict[str, Any] | None:
    """Changes the threshold of a reason; None when there is no such reason."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            queries("models")["set_retraining_policy"], {"reason": reason, "threshold": threshold}
        ).fetchone()
