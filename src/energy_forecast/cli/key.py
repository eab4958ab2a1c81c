"""energy-forecast key."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from energy_forecast.cli.access import acting_database, reading_database
from energy_forecast.cli.console import echo, emit, minute, out, table
from energy_forecast.cli.options import Json, duration
from energy_forecast.operations import api_keys

if TYPE_CHECKING:
    from energy_forecast.database.api_keys import ApiKey

app = typer.Typer(no_args_is_help=True, help="Keys of the HTTP API. A request with a key has the rights of its user.")

Key = Annotated[str, typer.Argument(metavar="KEY", help="The key, or its first 12 characters.")]


@app.command()
def create(
    user: Annotated[str, typer.Argument(help="The user whose rights a request with the key has.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(metavar="SCOPE", help="read, ingest or run; may be repeated. Default: read."),
    ] = None,
    label: Annotated[str | None, typer.Option(metavar="TEXT", help="Where the key is used.")] = None,
    expires: Annotated[
        timedelta | None, typer.Option(parser=duration, metavar="SPAN", help="Time until it expires. Default: never.")
    ] = None,
    json: Json = False,
) -> None:
    """Create a key, and print it. It is not stored, so it cannot be shown again.

    Example: energy-forecast key create anna --scope read --scope ingest --expires 365d
    """
    key, stored = api_keys.create_key(acting_database(), user, scopes=scope or ["read"], label=label, expires=expires)
    if json:
        emit({"key": key, **asdict(stored)})
    else:
        out.print(key)
        echo(f"{_described(stored)}. Store it now: it cannot be shown again.")


@app.command("list")
def list_(json: Json = False) -> None:
    """List all keys without their secret part.

    Example: energy-forecast key list
    """
    keys = api_keys.list_keys(reading_database())
    if json:
        emit({"keys": keys})
    elif not keys:
        out.print("There are no keys. Create one: energy-forecast key create USER")
    else:
        table(
            ["key", "user", "scopes", "label", "created", "by", "expires", "revoked", "last use"],
            [
                (
                    *(one.prefix, one.user, ", ".join(one.scopes), one.label, minute(one.created_at), one.created_by),
                    *(None if at is None else minute(at) for at in (one.expires_at, one.revoked_at, one.last_used_at)),
                )
                for one in keys
            ],
        )


@app.command()
def revoke(key: Key, json: Json = False) -> None:
    """Revoke a key. The next request with it is refused.

    Example: energy-forecast key revoke efp_3k9x2m7q
    """
    stored = api_keys.revoke_key(acting_database(), key)
    if json:
        emit(stored)
    else:
        out.print(f"Revoked {stored.prefix} of {stored.user}.")


@app.command()
def rotate(
    key: Key,
    overlap: Annotated[
        timedelta, typer.Option(parser=duration, metavar="SPAN", help="Time in which both keys are valid. Default: 1d.")
    ] = "1d",  # type: ignore[assignment]
    json: Json = False,
) -> None:
    """Create a key with the user, scopes, label and lifetime of another one, which then expires.

    Example: energy-forecast key rotate efp_3k9x2m7q --overlap 7d
    """
    new, stored, old = api_keys.rotate_key(acting_database(), key, overlap=overlap)
    if json:
        emit({"key": new, **asdict(stored), "replaces": old})
    else:
        out.print(new)
        assert old.expires_at is not None
        echo(f"{_described(stored)}. The old key {old.prefix} expires at {minute(old.expires_at)}.")


def _described(key: ApiKey) -> str:
    until = "never expires" if key.expires_at is None else f"expires at {minute(key.expires_at)}"
    return f"Key {key.prefix} of {key.user}, scopes {', '.join(key.scopes)}, {until}"
