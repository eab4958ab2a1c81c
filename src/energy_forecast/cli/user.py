"""energy-forecast user."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from energy_forecast.cli.access import acting_database, reading_database
from energy_forecast.cli.console import counted, echo, emit, out, table
from energy_forecast.cli.options import Json
from energy_forecast.operations import users

app = typer.Typer(
    no_args_is_help=True, help="Users, each a PostgreSQL role that sees the cities granted to it and no other."
)

Name = Annotated[str, typer.Argument(help="The user's name, which is their PostgreSQL role.")]
Cities = Annotated[
    list[str] | None,
    typer.Option(
        "--city", metavar="CITY", help="A city by name, in any case; may be repeated, or several with commas."
    ),
]
Everything = Annotated[bool, typer.Option("--all", help="All cities stored now.")]


@app.command()
def add(
    name: Name,
    password: Annotated[
        bool, typer.Option("--set-password", help="Prompt for a password; from a pipe, read it as one line.")
    ] = False,
    json: Json = False,
) -> None:
    """Add a user, who sees no city yet.

    An existing role becomes a user if it has no attribute except LOGIN, no membership, and owns nothing.

    Example: energy-forecast user add anna
    """
    database = acting_database()
    is_new = users.add_user(database, name, password=_password() if password else None)
    if json:
        emit({"name": name, "new_role": is_new})
    else:
        out.print(f"Added {name}. Grant a city: energy-forecast user grant {name} --city CITY")


def _password() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise typer.BadParameter("--set-password: standard input has no password.")
    return password


@app.command()
def remove(name: Name, json: Json = False) -> None:
    """Remove a user and take every city back from them. Their PostgreSQL role stays, without rights here.

    Example: energy-forecast user remove anna
    """
    person = users.remove_user(acting_database(), name)
    if json:
        emit({"name": name, "cities": person.cities})
    else:
        out.print(f"Removed {name}, who saw {counted(len(person.cities), 'city', 'cities')}.")
        if person.cities:
            again = " ".join(f"--city {city!r}" for city in person.cities[:10])
            out.print(f"To undo: energy-forecast user add {name}; user grant {name} {again}")


@app.command()
def link(
    name: Name,
    url: Annotated[
        str, typer.Option("--url", metavar="URL", help="Address of the server of the pages.")
    ] = "http://127.0.0.1:8000",
    json: Json = False,
) -> None:
    """Print a link that signs a user in to the pages once, within ten minutes.

    Example: energy-forecast user link anna
    """
    address = f"{url.rstrip('/')}/sign-in?link={users.sign_in_link(acting_database(), name)}"
    if json:
        emit({"name": name, "url": address})
    else:
        out.print(address, soft_wrap=True)


@app.command("sign-out")
def sign_out(name: Name, json: Json = False) -> None:
    """End all sessions of a user in browsers, and their unused links. Their keys and their password stay valid.

    Example: energy-forecast user sign-out anna
    """
    ended = users.sign_out(acting_database(), name)
    if json:
        emit({"name": name, "sessions": ended})
    else:
        out.print(f"Ended {counted(ended, 'session', 'sessions')} of {name}.")


@app.command()
def grant(name: Name, city: Cities = None, everything: Everything = False, json: Json = False) -> None:
    """Let a user see cities.

    Example: energy-forecast user grant anna --city Munich --city Pune
    """
    _check(city, everything)
    granted, person = users.grant(acting_database(), name, city or [])
    if json:
        emit({"name": name, "granted": granted, "cities": person.cities})
    else:
        out.print(f"{name} sees {counted(granted, 'city', 'cities')} more, {len(person.cities)} in total.")


@app.command()
def revoke(name: Name, city: Cities = None, everything: Everything = False, json: Json = False) -> None:
    """Take cities back from a user.

    Example: energy-forecast user revoke anna --city Munich
    """
    _check(city, everything)
    revoked, person = users.revoke(acting_database(), name, city or [])
    if json:
        emit({"name": name, "revoked": revoked, "cities": person.cities})
    else:
        out.print(f"{name} sees {counted(revoked, 'city', 'cities')} less, {len(person.cities)} in total.")


def _check(cities: list[str] | None, everything: bool) -> None:
    if bool(cities) == everything:
        raise typer.BadParameter("Give cities with --city, or use --all.")


@app.command("list")
def list_(json: Json = False) -> None:
    """List the users and the cities that they see. A role that can do more than a user may is reported.

    Example: energy-forecast user list
    """
    found = users.list_users(reading_database())
    if json:
        emit(found)
    elif not found:
        out.print("No users exist yet. Add one: energy-forecast user add NAME")
    else:
        table(
            ["name", "logs in", "cities"],
            [(one.name, "yes" if one.can_log_in else "no", ", ".join(one.cities) or None) for one in found],
        )
    for one in found:
        if one.problem is not None and not json:
            echo(f"{one.name} can do more than a user may: {one.problem}.")
