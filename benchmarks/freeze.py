"""Record the behaviour of this checkout in a folder, to compare two checkouts on one machine.

After a change that must not affect behaviour the two folders are equal:

    python benchmarks/freeze.py before
    python benchmarks/freeze.py after
    diff --recursive before after

- `forecasts`: digests of the forecasts of each model, and the header and the digests of the arrays of each artifact.
  The data of the four cities is synthetic: with weather, without weather, short history, more than three years.
- `commands`: exit status and JSON of each command, on an embedded server with two cities. The commands run in the
  order of `steps`. Ids, times of the run, durations, sizes, digests, paths and versions are placeholders.
- `catalog`: the sorted catalog of a new database.

Name one or two parts after the folder to record only these. Forecasts of two machines may differ: the last bits of a
matrix product depend on the processor.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

# Its own checkout, also if another one is installed
sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import polars as pl
import psycopg
from typer.main import get_command

import synthetic
from energy_forecast.cli.app import app
from energy_forecast.forecasting import City, ForecastInput, fit, load_model, model_names
from energy_forecast.forecasting.serialization import unpack

SOURCE = Path(__file__).parents[1] / "src"
AT = datetime(2025, 6, 12, 7, 20, tzinfo=UTC)
HORIZON = 72
# Training on three years takes minutes
QUICK = ("naive-24", "naive-168", "vanilla", "linear")


@dataclass(frozen=True)
class Case:
    """A city with the length of its history, with or without weather."""

    name: str
    city: City
    days: int
    weather: bool
    models: tuple[str, ...]


def cases() -> list[Case]:
    """Return the cases to record."""
    all_models = tuple(model_names())
    berlin, pune = (
        City(name, latitude, longitude, zone, country, part)
        for name, (latitude, longitude, zone, country, part) in synthetic.CITIES.items()
    )
    return [
        Case("with-weather", berlin, 160, True, all_models),
        Case("without-weather", pune, 110, False, all_models),
        Case("short-history", berlin, 21, True, all_models),
        Case("three-years", berlin, 3 * 365 + 40, True, QUICK),
    ]


def frames(case: Case) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return load and weather of a case, up to the end of the horizon."""
    first = AT.replace(minute=0) - timedelta(days=case.days)
    times = synthetic.hours(first, AT + timedelta(hours=HORIZON + 2))
    seed = list(synthetic.CITIES).index(case.city.name)
    warmth = synthetic.temperature(times, seed)
    kwh = synthetic.load(times, warmth, case.city.timezone, seed, 50_000)
    stamp = pl.Series("timestamp", times, pl.Datetime("us", "UTC"))
    weather = pl.DataFrame(
        [
            stamp,
            pl.Series("temperature", warmth),
            pl.Series("humidity", (95 - 2 * warmth).clip(0, 100)),
            *(pl.Series(name, [None] * len(times), pl.Float64) for name in ("wind_speed", "precipitation")),
        ]
    )
    return pl.DataFrame([stamp, pl.Series("consumption_kwh", kwh)]), weather if case.weather else weather.clear()


def record_forecasts(output: Path) -> None:
    """Write a file for each case and model."""
    for case in cases():
        consumption, weather = frames(case)
        early, late = pl.col("timestamp") < AT, pl.col("timestamp") >= AT
        known = (consumption.filter(early), weather.filter(early))
        # The weather forecast ends before the horizon
        ahead = weather.filter(late).head(48)
        for name in case.models:
            artifact = fit(name, case.city, *known, at=AT).to_bytes()
            forecast = load_model(name, artifact).predict(ForecastInput(*known, ahead, AT, HORIZON))
            digest = hashlib.sha256(forecast.frame.write_json().encode())
            header, arrays = unpack(artifact)
            found = {
                "forecast": digest.hexdigest(),
                "header": header,
                "arrays": {
                    key: f"{array.dtype.str} {list(array.shape)} {hashlib.sha256(array.tobytes()).hexdigest()}"
                    for key, array in sorted(arrays.items())
                },
            }
            write_json(output / f"{case.name}.{name}.json", found)


def write_json(path: Path, document: object) -> None:
    """Write a document with sorted keys."""
    path.write_text(json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")


@dataclass(frozen=True)
class Step:
    """A command with the name of its file.

    Attributes:
        name: the words of the command, then a word that tells two steps of one command apart.
        shape: record only keys and types, for a command whose values differ from run to run.
        home: the state folder: `home`, `restored` from it by `recovery restore`, or `copied` from it as files.
    """

    name: str
    arguments: tuple[str, ...]
    shape: bool = False
    home: str = "home"


# Commands that are not run, with the reason
LEFT_OUT = {"demo": "It takes a minute, and runs the pipelines of the other commands on a real record."}


def write_files(folder: Path) -> None:
    """Write the files that the commands load: two cities, 117 days, and a file with faults."""
    synthetic.write_cities(folder / "cities.csv")
    first, last = AT.replace(minute=0) - timedelta(days=117), AT.replace(minute=0) + timedelta(hours=72)
    known_at = pl.col("timestamp").str.to_datetime(time_zone="UTC").dt.offset_by("2h").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    consumption, weather = (
        frame.with_columns(known_at.alias("available_at")) for frame in synthetic.frames(first, last)
    )
    consumption.write_csv(folder / "consumption.csv")
    weather.write_parquet(folder / "weather.parquet")
    issued = AT.replace(minute=0) - timedelta(hours=1)
    weather.filter(pl.col("timestamp").str.to_datetime(time_zone="UTC") > issued).select(
        "city", pl.lit(issued.strftime("%Y-%m-%dT%H:%M:%SZ")).alias("issued_at"), "timestamp", "temperature"
    ).write_csv(folder / "weather_forecasts.csv")
    (folder / "faulty.csv").write_text(
        "city,timestamp,consumption_kwh,available_at\n"
        "Berlin,2025-06-01T00:00:00Z,51234.5,2025-06-03T00:00:00Z\n"
        "Berlin,2025-06-01T01:00:00,50000,2025-06-03T00:00:00Z\n"
        "Atlantis,2025-06-01T02:00:00Z,50000,2025-06-03T00:00:00Z\n"
        "Berlin,2025-06-01T03:00:00Z,-5,2025-06-03T00:00:00Z\n"
        "Pune,2025-06-01T04:00:00Z,many,2025-06-03T00:00:00Z\n"
    )


def steps(folder: Path) -> list[Step]:
    """Return the commands in the order of their execution."""
    at, later = "2025-06-12T07:20Z", "2025-06-15T00:00Z"
    backtest = ("--from", "2025-05-15T00:00Z", "--to", "2025-06-08T00:00Z", "--weather", "actual")
    all_steps: list[tuple[str, str] | tuple[str, str, str]] = [
        ("db up", ""),
        ("db status", ""),
        ("db url", ""),
        ("db upgrade", ""),
        ("city add", "Pune --latitude 18.52 --longitude 73.86 --timezone Asia/Kolkata --country India"),
        ("city import", f"{folder}/cities.csv"),
        ("city list", ""),
        ("ingest weather", f"{folder}/weather.parquet"),
        ("ingest consumption", f"{folder}/consumption.csv"),
        ("ingest weather-forecasts", f"{folder}/weather_forecasts.csv"),
        ("ingest consumption", f"{folder}/faulty.csv", "faulty"),
        ("ingest rejected", ""),
        ("city show", "Berlin"),
        ("doctor data", ""),
        ("train", f"--model vanilla --model ensemble --until {at} --processes 1"),
        ("forecast", f"--at {at} --horizon 48h --processes 1"),
        ("forecast", f"--model vanilla --at {at} --city Pune --processes 1", "vanilla"),
        ("forecast explain", f"Berlin --model ensemble --at {at}"),
        ("backtest", f"--model naive-24,naive-168,vanilla --processes 1 {shlex.join(backtest)}"),
        ("backtest compare", "vanilla naive-168"),
        ("score", ""),
        ("score explain", "--city Berlin --model ensemble --purpose replay"),
        ("score certificate", "--model vanilla --purpose backtest"),
        ("score errors", "--model vanilla --purpose backtest"),
        ("model list", ""),
        ("model show", "vanilla"),
        ("model promote", "ensemble"),
        ("model promote", "vanilla --force --reason trial --city Pune", "forced"),
        ("model history", "Pune"),
        ("model rollback", "--city Pune"),
        ("model due", ""),
        ("model policy", ""),
        ("query recent", f"--city Berlin --hours 48 --until {later}"),
        ("query recent", f"--city Berlin --hours 48 --by day --until {later}", "by-day"),
        ("query weather-correlation", f"--city Berlin --until {later}"),
        ("query model-performance", ""),
        ("export consumption", f"--output {folder}/exported.csv"),
        ("export weather", f"--output {folder}/exported.parquet --as-of 2025-06-01T00:00Z"),
        ("export predictions", f"--output {folder}/predictions.csv"),
        ("partition list", ""),
        ("partition dedicate", "Pune"),
        ("partition share", "Pune"),
        ("retention list", ""),
        ("retention keep", "prediction_vintages 18mo"),
        ("user add", "freeze_reader"),
        ("user grant", "freeze_reader --city Berlin"),
        ("user list", ""),
        ("user revoke", "freeze_reader --all"),
        ("user remove", "freeze_reader"),
        ("maintain", "--dry-run", "dry-run"),
        ("maintain", ""),
        ("retention ledger", ""),
        ("doctor", ""),
        ("doctor audit", ""),
        ("doctor access", ""),
        ("doctor cities", ""),
        ("doctor zones", ""),
        ("doctor hours", ""),
        ("doctor queries", ""),
        ("backup create", ""),
        ("backup list", ""),
        ("backup verify", ""),
        ("backup restore", "latest --into restored_copy"),
        ("backup prune", "--dry-run"),
        ("recovery enable", "--restart"),
        ("recovery base", ""),
        ("recovery point", "before-the-import"),
        ("recovery status", ""),
        ("recovery drill", ""),
        ("recovery prune", "--dry-run"),
        ("recovery restore", f"--to before-the-import --into {folder}/restored"),
        ("recovery copy-back", f"energy_consumption --from {folder}/restored --city Berlin"),
        ("recovery activate", "", "restored"),
        ("db down", "", "restored"),
        ("db down", ""),
        ("recovery adopt", "", "copied"),
        ("db down", "", "copied"),
    ]
    made = []
    for command, arguments, *variant in all_steps:
        made.append(
            Step(
                "-".join([command.replace(" ", "_"), *variant]),
                (*command.split(), *shlex.split(arguments)),
                shape=command in ("doctor queries", "recovery status", "recovery prune"),
                home=variant[0] if variant in (["restored"], ["copied"]) else "home",
            )
        )
    return made


def leaves(words: tuple[str, ...], command: Any) -> Iterator[tuple[str, ...]]:
    """Yield the words of each command below this one; a group with an action of its own is a command too."""
    children = getattr(command, "commands", None)
    if children is None or getattr(command, "invoke_without_command", False):
        yield words
    for name, child in (children or {}).items():
        yield from leaves((*words, name), child)


def check_complete(planned: list[Step]) -> None:
    """Exit if a command is neither run nor left out."""
    run = {" ".join(step.arguments) + " " for step in planned}
    for words in leaves((), get_command(app)):
        name = " ".join(words)
        if name and name not in LEFT_OUT and not any(line.startswith(f"{name} ") for line in run):
            raise SystemExit(f"The command '{name}' is missing in steps and LEFT_OUT.")


class Placeholders:
    """Values of one run, replaced by placeholders."""

    _NUMBERS = re.compile(r"(^|_)(id|batch|byte|bytes|size|seconds|took|age|pid|dead_rows)(_|$)")
    _PATTERNS = (
        (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<uuid>"),
        (re.compile(r"\b[0-9a-f]{32,}\b"), "<digest>"),
        (re.compile(r"\b[0-9A-F]{1,8}/[0-9A-F]{6,8}\b"), "<position>"),
        (re.compile(r"\b[0-9A-F]{24}\b"), "<segment>"),
        (re.compile(r"\b\d{8}T\d{6}Z(-[0-9a-f]+)?"), "<name>"),
        (re.compile(r"\b\d+ days ago\b"), "<days> ago"),
        (re.compile(r"^1[5-9]\.\d+$"), "<server version>"),
        (re.compile(r"^-?\d{15,}$"), "<digest>"),
        (re.compile(r"\bdrill-[0-9a-f]{12}\b"), "<drill>"),
        (re.compile(r"\b[\d.,]+ (ms|s|min|seconds|kB|MB|GB|bytes)\b"), "<measured>"),
    )
    _TIME = re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?( ?UTC|Z|[+-]\d\d:\d\d)?")

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._since = datetime.now(UTC) - timedelta(days=1)

    def of(self, value: Any, key: str = "") -> Any:
        """Return a JSON value with placeholders."""
        if isinstance(value, dict):
            return {name: self.of(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [self.of(item, key) for item in value]
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and self._NUMBERS.search(key):
            return f"<{key}>"
        # The order of the rows in an average of SQL is not fixed
        return float(f"{value:.12g}") if isinstance(value, float) else value

    def text(self, text: str) -> str:
        """Return a text with placeholders."""
        text = text.replace(self._folder, "<folder>").replace(quote(self._folder, safe=""), "<folder>")
        text = self._TIME.sub(self._moment, text)
        for pattern, placeholder in self._PATTERNS:
            text = pattern.sub(placeholder, text)
        return text

    def _moment(self, found: re.Match[str]) -> str:
        moment = datetime.fromisoformat(found[0].replace(" UTC", "+00:00"))
        recent = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) > self._since
        return "<time of the run>" if recent else found[0]


def shape_of(value: Any) -> Any:
    """Return a JSON value with types instead of values, and lists with their distinct shapes."""
    if isinstance(value, dict):
        return {name: shape_of(item) for name, item in value.items()}
    if isinstance(value, list):
        return sorted({json.dumps(shape_of(item), sort_keys=True): shape_of(item) for item in value}.items())
    return type(value).__name__


def record_commands(output: Path, folder: Path) -> None:
    """Write a file for each step: its arguments, its exit status, and its JSON or, without one, its error."""
    planned = steps(folder)
    check_complete(planned)
    write_files(folder)
    hidden = Placeholders(folder)
    outside = {name: value for name, value in os.environ.items() if not name.startswith("ENERGY_FORECAST_")}
    for step in planned:
        home = folder / step.home
        if step.home == "copied" and not home.exists():
            subprocess.run(["cp", "--archive", folder / "home", home], check=True)
        done = subprocess.run(
            [sys.executable, "-c", "from energy_forecast.cli import main; main()", *step.arguments, "--json"],
            env=outside | {"PYTHONPATH": str(SOURCE), "ENERGY_FORECAST_HOME": str(home), "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
        )
        found: dict[str, Any] = {
            "arguments": [a.replace(f"{folder}", "<folder>") for a in step.arguments],
            "status": done.returncode,
        }
        if done.stdout:
            document = json.loads(done.stdout)
            found["json"] = shape_of(document) if step.shape else hidden.of(document)
        else:
            found["error"] = hidden.text(done.stderr)
        write_json(output / f"{step.name}.json", found)
        print(f"{done.returncode} {shlex.join(found['arguments'])}", file=sys.stderr)


# Sorted by the text of a row. Partitions are left out: their names depend on the month
CATALOG = {
    "relations": """
        SELECT c.oid::regclass, c.relkind, c.relrowsecurity, c.relforcerowsecurity, c.reloptions,
               pg_get_partkeydef(c.oid), pg_get_userbyid(c.relowner), c.relacl::text, obj_description(c.oid, 'pg_class')
        FROM pg_class c WHERE {own_class} AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')""",
    "partitions": """
        SELECT i.inhparent::regclass, pg_get_expr(c.relpartbound, c.oid), c.reloptions
        FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid
        WHERE c.relkind IN ('r', 'p') AND c.relnamespace IN (SELECT oid FROM own_schemas)""",
    "columns": """
        SELECT c.oid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
               a.attgenerated, pg_get_expr(d.adbin, d.adrelid), a.attacl::text, col_description(c.oid, a.attnum)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE {own_class} AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped""",
    "constraints": """
        SELECT k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid), k.convalidated,
               obj_description(k.oid, 'pg_constraint')
        FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid WHERE {own_class} AND k.contype <> 'n'""",
    "indexes": """
        SELECT pg_get_indexdef(c.oid), obj_description(c.oid, 'pg_class')
        FROM pg_class c WHERE {own_class} AND c.relkind IN ('i', 'I')""",
    "views": """
        SELECT c.oid::regclass, pg_get_viewdef(c.oid) FROM pg_class c WHERE {own_class} AND c.relkind IN ('v', 'm')""",
    "functions": """
        SELECT p.oid::regprocedure, pg_get_userbyid(p.proowner), p.proacl::text, obj_description(p.oid, 'pg_proc'),
               CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) END
        FROM pg_proc p WHERE p.pronamespace IN (SELECT oid FROM own_schemas)
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')""",
    "triggers": """
        SELECT pg_get_triggerdef(t.oid), t.tgenabled, obj_description(t.oid, 'pg_trigger')
        FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE {own_class} AND NOT t.tgisinternal""",
    "event_triggers": "SELECT evtname, evtevent, evtfoid::regproc, evtenabled, evttags FROM pg_event_trigger",
    "policies": """
        SELECT p.polrelid::regclass, p.polname, p.polcmd, p.polpermissive,
               (SELECT array_agg(CASE r WHEN 0 THEN 'public' ELSE pg_get_userbyid(r) END) FROM unnest(p.polroles) r),
               pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)
        FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid WHERE {own_class}""",
    "types": """
        SELECT t.oid::regtype, t.typtype, (SELECT array_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum e
               WHERE e.enumtypid = t.oid), format_type(t.typbasetype, t.typtypmod), obj_description(t.oid, 'pg_type')
        FROM pg_type t WHERE t.typnamespace IN (SELECT oid FROM own_schemas) AND t.typtype IN ('e', 'd', 'r', 'm')""",
    "schemas": """
        SELECT nspname, pg_get_userbyid(nspowner), nspacl::text, obj_description(oid, 'pg_namespace')
        FROM pg_namespace WHERE oid IN (SELECT oid FROM own_schemas)
        UNION ALL SELECT 'database', pg_get_userbyid(datdba), datacl::text, NULL
        FROM pg_database WHERE datname = current_database()""",
    "extensions": """
        SELECT extname, extnamespace::regnamespace FROM pg_extension""",
    "default_privileges": """
        SELECT pg_get_userbyid(defaclrole), defaclnamespace, defaclobjtype, defaclacl::text FROM pg_default_acl""",
    "roles": """
        SELECT r.rolname, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolbypassrls,
               r.rolconfig,
               (SELECT array_agg(m.roleid::regrole ORDER BY 1) FROM pg_auth_members m WHERE m.member = r.oid)
        FROM pg_roles r WHERE r.rolname NOT LIKE 'pg\\_%'""",
    "settings": "SELECT setdatabase <> 0, setrole::regrole, setconfig FROM pg_db_role_setting",
}
OWN_SCHEMAS = (
    "WITH own_schemas AS"
    " (SELECT oid FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema')"
)
OWN_CLASS = (
    "c.relnamespace IN (SELECT oid FROM own_schemas) AND NOT c.relispartition"
    " AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.objid = c.oid AND e.deptype = 'e')"
)


def record_catalog(output: Path, folder: Path) -> None:
    """Write a file for each kind of object of a new database."""
    from energy_forecast.database import Database
    from energy_forecast.database.migrate import upgrade
    from energy_forecast.postgres import EmbeddedServer

    server = EmbeddedServer(folder / "catalog")
    url = server.start().url
    try:
        upgrade(Database(url))
        with psycopg.connect(url) as connection:
            for kind, statement in CATALOG.items():
                text = f"{OWN_SCHEMAS} {statement.format(own_class=OWN_CLASS)}"
                rows = connection.execute(text.encode()).fetchall()
                lines = sorted("\t".join("" if one is None else str(one) for one in row) for row in rows)
                (output / f"{kind}.txt").write_text("\n".join(lines) + "\n", "utf-8")
    finally:
        server.stop()


def main() -> None:
    """Record the parts that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("output", type=Path, help="a folder that does not exist")
    parser.add_argument("parts", nargs="*", choices=[[], "forecasts", "commands", "catalog"], help="default: all")
    chosen = parser.parse_args()
    parts = chosen.parts or ["forecasts", "commands", "catalog"]
    folders = {part: chosen.output / part for part in parts}
    for folder in folders.values():
        folder.mkdir(parents=True)
    # As root, the server runs as another user, who must be able to enter the folder
    work = Path(tempfile.mkdtemp(prefix="ef-freeze-"))
    work.chmod(0o711)
    try:
        if "catalog" in parts:
            record_catalog(folders["catalog"], work)
        if "commands" in parts:
            record_commands(folders["commands"], work)
        if "forecasts" in parts:
            record_forecasts(folders["forecasts"])
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
