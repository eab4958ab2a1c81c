"""Translate parameter names in messages to the options of the running command.

Modules below the command line name a parameter in backquotes, such as `at`. The user of the command line reads --at.
"""

from __future__ import annotations

import re
import sys
from functools import cache

import typer


def with_option_names(text: str) -> str:
    """Return a message in which each `parameter` of the running command is replaced by its option."""
    return re.sub(r"`(\w+)`", lambda found: _options().get(found[1], found[0]), text)


@cache
def _options() -> dict[str, str]:
    """Return the options of the running command by the name of their parameter."""
    # Imported here because the application imports the modules that print messages
    from energy_forecast.cli.app import app

    command = typer.main.get_command(app)
    for word in sys.argv[1:]:
        commands = getattr(command, "commands", {})
        if word not in commands:
            break
        command = commands[word]
    options = (one for one in command.params if one.param_type_name == "option")
    return {one.name: max(one.opts, key=len) for one in options if one.name is not None}
