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
from energy_forecast.database.named_queries import dict_rows, one_row, queries
from energy_forecast.errors import ArtifactError


@dataclass(frozen=True)
class Version:
    """A model version. Its training used no data that became available after `trained_until`."""

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
    """The result of a training for one city."""

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
    """Add a version with its artifacts, and update which versions of the name are active."""
    statements = queries("models")
    connection.execute(statements["lock_versions"])
    row = one_row(connection, statements["next_version"], {"name": name})
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
    """Add the artifacts of further cities to a version."""
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
    """Set which versions of a name are active: champions, and the newest version of each city."""
    connection.execute(queries("models")["update_active"], {"name": name})


def version_for(connection: Connection, *, name: str, version: str | None, city: UUID) -> Version | None:
    """Return a version that was trained for a city (None: the newest), or None."""
    with connection.cursor(row_factory=class_row(Version)) as cursor:
        return cursor.execute(
            queries("models")["version_for"], {"name": name, "version": version, "city": city}
        ).fetchone()


def trained_identically(
    connection: Connection, *, name: str, city: UUID, training_digest: bytes, at: datetime
) -> StoredArtifact | None:
    """Return the version trained by `at` from identical data and parameters, or None.

    Raises:
        ArtifactError: the stored bytes do not match their SHA-256.
    """
    parameters = {"name": name, "city": city, "training_digest": training_digest, "at": at}
    return _whole(connection, "trained_identically", parameters)


def newest_artifact(
    connection: Connection, *, name: str, city: UUID, at: datetime, older: int = 0
) -> StoredArtifact | None:
    """Return the newest version for a city whose training data end by `at`; with `older`, the `older`-th before it.

    Raises:
        ArtifactError: the stored bytes do not match their SHA-256.
    """
    return _whole(connection, "newest_artifact", {"name": name, "city": city, "at": at, "older": older})


def artifact_of(connection: Connection, *, model: UUID, city: UUID) -> StoredArtifact | None:
    """Return the artifact of a version for a city.

    Raises:
        ArtifactError: the stored bytes do not match their SHA-256.
    """
    return _whole(connection, "artifact", {"model": model, "city": city})


def _whole(connection: Connection, query: str, parameters: dict[str, Any]) -> StoredArtifact | None:
    # In text format, each byte of the artifact would be transferred as two
    with connection.cursor(binary=True, row_factory=class_row(StoredArtifact)) as cursor:
        found = cursor.execute(queries("models")[query], parameters).fetchone()
    if found is not None and hashlib.sha256(found.artifact).digest() != found.sha256:
        raise ArtifactError(
            f"The artifact of {found.name} version {found.version} does not match its SHA-256.",
            hint="Restore it from a backup, or train a new version.",
        )
    return found


def list_models(connection: Connection) -> list[dict[str, Any]]:
    """Return every version with its cities and its last evaluation."""
    return dict_rows(connection, queries("models")["list_models"])


def show_model(connection: Connection, *, name: str, version: str | None) -> list[dict[str, Any]]:
    """Return the versions of a model, newest first, with all of their columns except the artifact."""
    return dict_rows(connection, queries("models")["show_model"], {"name": name, "version": version})


def retraining_policies(connection: Connection) -> list[dict[str, Any]]:
    """Return the thresholds that trigger retraining of a city, one row per reason."""
    return dict_rows(connection, queries("models")["retraining_policies"])


def set_retraining_policy(connection: Connection, reason: str, threshold: float | None) -> dict[str, Any] | None:
    """Change the threshold of a reason and return the policy; None if the reason does not exist."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            queries("models")["set_retraining_policy"], {"reason": reason, "threshold": threshold}
        ).fetchone()


def version_names(connection: Connection) -> dict[UUID, tuple[str, str]]:
    """Return the name and version number of every model version."""
    return {id: (name, version) for id, name, version in connection.execute(queries("models")["version_names"])}
