"""Translate parameter and function names in messages to options and commands.

Modules below the command line name a parameter or function in backquotes, such as `at`. The user of the command line
reads --at.
"""

from __future__ import annotations

import re
import sys
from functools import cache

import typer

_COMMANDS = {
    "add_city": "energy-forecast city add",
    "import_cities": "energy-forecast city import",
    "zone_differences": "energy-forecast doctor zones",
}


def with_option_names(text: str, *command: str) -> str:
    """Return a message in which each `parameter` of a command, and each `function`, is replaced.

    Args:
        text: the message.
        command: the words of the command, such as ingest and consumption. Default: the running command.
    """
    names = _COMMANDS | _options(command or tuple(sys.argv[1:]))
    return re.sub(r"`(\w+)`", lambda found: names.get(found[1], found[0]), text)


@cache
def _options(words: tuple[str, ...]) -> dict[str, str]:
    """Return the options of a command by the name of their parameter. `words` begin with its words."""
    # Imported here because the application imports the modules that print messages
    from energy_forecast.cli.app import app

    command = typer.main.get_command(app)
    for word in words:
        commands = getattr(command, "commands", {})
        if word not in commands:
            break
        command = commands[word]
    options = (one for one in command.params if one.param_type_name == "option")
    return {one.name: max(one.opts, key=len) for one in options if one.name is not None}
