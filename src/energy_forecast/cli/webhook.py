"""energy-forecast webhook."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from energy_forecast.cli.access import acting_database, reading_database
from energy_forecast.cli.console import echo, emit, minute, out, table
from energy_forecast.cli.options import Json
from energy_forecast.operations import webhooks

if TYPE_CHECKING:
    from energy_forecast.database.webhooks import Webhook

app = typer.Typer(no_args_is_help=True, help="Addresses to which `serve` sends an event for each new live forecast.")

Id = Annotated[UUID, typer.Argument(metavar="ID", help="The id of the webhook, as `webhook list` shows it.")]


@app.command()
def add(
    url: Annotated[str, typer.Argument(help="The address, with https.")],
    user: Annotated[str, typer.Option(metavar="NAME", help="The user whose cities it concerns.")],
    *,
    allow_private: Annotated[
        bool,
        typer.Option("--allow-private", help="Allow addresses that are not public, and http to this machine."),
    ] = False,
    json: Json = False,
) -> None:
    """Add a webhook, and print the secret of its signatures. It is not shown again.

    Example: energy-forecast webhook add https://example.org/energy --user anna
    """
    secret, stored = webhooks.add_webhook(acting_database(), url, user=user, allow_private=allow_private)
    if json:
        emit({"secret": secret, **_described(stored)})
    else:
        out.print(secret)
        echo(f"Webhook {stored.id} for the cities of {stored.user}. Store the secret now: it is not shown again.")


@app.command("list")
def list_(json: Json = False) -> None:
    """List all webhooks and their deliveries, without their secrets.

    Example: energy-forecast webhook list
    """
    found = webhooks.list_webhooks(reading_database())
    if json:
        emit({"webhooks": [_described(one) for one in found]})
    elif not found:
        out.print("There are no webhooks. Add one: energy-forecast webhook add URL --user NAME")
    else:
        table(
            ["id", "user", "url", "created", "last delivery", "failing since", "disabled", "reason"],
            [
                (
                    *(one.id, one.user, one.url),
                    *(
                        None if at is None else minute(at)
                        for at in (one.created_at, one.delivered_at, one.failing_since, one.disabled_at)
                    ),
                    one.reason,
                )
                for one in found
            ],
        )


@app.command()
def remove(webhook: Id, json: Json = False) -> None:
    """Remove a webhook. An event that is being sent may still arrive.

    Example: energy-forecast webhook remove 6f1c2a52-5b0e-4d53-9a55-0d6a1f2f7c11
    """
    stored = webhooks.remove_webhook(acting_database(), webhook)
    if json:
        emit(_described(stored))
    else:
        out.print(f"Removed the webhook {stored.id} to {stored.url}.")


@app.command("test")
def try_(webhook: Id, json: Json = False) -> None:
    """Send a test event, and print the status of the answer.

    Example: energy-forecast webhook test 6f1c2a52-5b0e-4d53-9a55-0d6a1f2f7c11
    """
    answer = webhooks.send_test(acting_database(), webhook)
    if json:
        emit(answer)
    else:
        out.print(f"Accepted with the status {answer.status} after {answer.seconds:.3f} s.")


def _described(webhook: Webhook) -> dict[str, Any]:
    return {name: value for name, value in asdict(webhook).items() if name != "secret"}
