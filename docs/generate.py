"""Writes docs/reference from the program itself: `make docs`. A test fails while what stands there differs.

The tables are read from the catalog of a migrated database: pass its libpq URL, or an embedded server is started in
a temporary folder.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from typer.main import get_command

from energy_forecast.cli.app import app
from energy_forecast.database import Database, Role
from energy_forecast.database.catalog import describe_tables
from energy_forecast.database.migrate import upgrade
from energy_forecast.database.protection import snapshot_lines
from energy_forecast.postgres import EmbeddedServer
from energy_forecast.settings import Settings

REFERENCE = Path(__file__).parent / "reference"
GUARDS = Path(__file__).parent.parent / "src" / "energy_forecast" / "database" / "expected_catalog.tsv"
HEADER = "<!-- Written by docs/generate.py; change the source, then run `make docs`. -->\n\n"


def commands() -> str:
    """Every command with its arguments, options and example."""
    parts = [HEADER, "# Commands\n"]
    parts.append(
        "\nTIME is ISO 8601 with an offset, such as `2026-03-01T00:00Z`. SPAN is such as `90min`, `48h` or `30d`. "
        "Results go to standard output, progress and notes to standard error. Exit status: 0 done; 1 failed, with one "
        "line that names the problem and the remedy; 2 wrong usage; 3 done in part: some cities, rows or steps could "
        "not be processed, the report names them (JSON: `failed`), and `--allow-partial` makes the status 0; 130 "
        "interrupted; 141 nobody reads standard output. A command finishes its work also if its output cannot be "
        "written; its status is 1 then. `energy-forecast --install-completion` completes "
        "commands in the shell.\n"
    )
    for path, command in _leaves("energy-forecast", get_command(app)):
        text, _, example = (command.help or "").partition("Example: ")
        parts.append(f"\n## {path}\n\n{_joined(text)}\n")
        rows = [_parameter(parameter) for parameter in command.params if parameter.name != "help"]
        if rows:
            parts.append("\n| argument or option | meaning |\n|---|---|\n" + "".join(rows))
        if example:
            parts.append(f"\n```\n{_joined(example, ' ')}\n```\n")
    return "".join(parts)


def _leaves(path: str, command: Any) -> list[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        return [(path, command)]
    # A group that does something by itself is a command too
    own = [(path, command)] if getattr(command, "invoke_without_command", False) else []
    return own + [leaf for name, child in children.items() for leaf in _leaves(f"{path} {name}", child)]


def _joined(text: str, paragraph: str = "\n\n") -> str:
    return paragraph.join(" ".join(part.split()) for part in text.strip().split("\n\n"))


def _parameter(parameter: Any) -> str:
    said = [*parameter.opts, *parameter.secondary_opts]
    names = ", ".join(f"`{name}`" for name in said) if parameter.opts[0].startswith("-") else ""
    shown = names or f"`{parameter.name.upper()}`"
    meaning = _joined(parameter.help or "", " ").replace("|", "\\|")
    metavar = getattr(parameter, "metavar", None)
    if names and metavar:
        shown += f" {metavar}".replace("|", "\\|")
    default = parameter.default
    if isinstance(default, str | int | float) and not isinstance(default, bool):
        meaning += f" Default: `{default}`."
    if parameter.required and names:
        meaning += " Needed."
    return f"| {shown} | {meaning.strip()} |\n"


def settings() -> str:
    """Every setting with its environment variable."""
    parts = [HEADER, "# Settings\n\nAll are environment variables.\n\n| variable | meaning |\n|---|---|\n"]
    parts += [
        f"| `ENERGY_FORECAST_{name.upper()}` | {field.description} |\n" for name, field in Settings.model_fields.items()
    ]
    return "".join(parts)


def tables(database: Database) -> str:
    """Every table with its columns, constraints and indexes, as the catalog has them."""
    parts = [
        HEADER,
        "# Tables\n\nTimes are `timestamptz`, UTC. Partitions are left out: "
        "they have their parent's columns, and nobody is granted anything on them.\n",
    ]
    for table in describe_tables(database):
        parts.append(f"\n## {table.name}\n\n{table.comment}.\n")
        if table.partition_key:
            parts.append(f"\nPartitioned by {table.partition_key}.\n")
        parts.append("\n| column | type | meaning |\n|---|---|---|\n")
        parts += [
            f"| `{c.name}` | {c.type}{'' if c.nullable else ', not null'} | {c.comment} |\n" for c in table.columns
        ]
        parts.append("\nConstraints and indexes:\n\n")
        parts += [f"- `{name}`: `{definition}`\n" for name, definition in table.rules]
    return "".join(parts)


def pages(database: Database) -> dict[str, str]:
    """Name and text of each page of docs/reference that is generated."""
    return {"commands.md": commands(), "settings.md": settings(), "tables.md": tables(database)}


def guards(database: Database) -> str:
    """Return the state of a database that was just made, as `doctor audit` expects it."""
    with database.transaction(Role.AUDITOR) as connection:
        return "\n".join(snapshot_lines(connection)) + "\n"


def main() -> None:
    """Writes the pages, and beside the program what `doctor audit` expects to stand."""
    folder: Path | None = None
    if len(sys.argv) > 1:
        database = Database(sys.argv[1])
        written, expected = pages(database), guards(database)
    else:
        folder = Path(tempfile.mkdtemp(prefix="ef-"))
        folder.chmod(0o711)
        server = EmbeddedServer(folder / "server")
        try:
            database = Database(server.start().url)
            upgrade(database)
            written, expected = pages(database), guards(database)
        finally:
            server.stop()
            shutil.rmtree(folder, ignore_errors=True)
    REFERENCE.mkdir(exist_ok=True)
    for name, text in written.items():
        (REFERENCE / name).write_text(text, encoding="utf-8")
    GUARDS.write_text(expected, encoding="utf-8")


if __name__ == "__main__":
    main()
