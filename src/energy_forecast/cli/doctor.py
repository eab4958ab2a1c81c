"""energy-forecast doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from energy_forecast.cli.access import open_database
from energy_forecast.cli.console import (
    counted,
    echo,
    echo_failures,
    emit,
    failures,
    minute,
    out,
    progress,
    require_parts,
    table,
)
from energy_forecast.cli.option_names import with_option_names
from energy_forecast.cli.options import AllowPartial, Cities, Json
from energy_forecast.database.query_stats import SortKey, costliest_statements
from energy_forecast.database.zones import check_zones
from energy_forecast.errors import AuditError, EnergyForecastError, PartialResultError, ZoneError
from energy_forecast.operations.access import access_findings
from energy_forecast.operations.audit import verify_audit, write_anchor
from energy_forecast.operations.maintenance import differing_hours
from energy_forecast.operations.places import place_findings
from energy_forecast.settings import settings
from energy_forecast.zones import rules_version

if TYPE_CHECKING:
    from energy_forecast.pipelines import QualityReport

app = typer.Typer()

_WIDEST = 110
# Findings of a check in the summary
_MOST_SHOWN = 5


@app.callback(invoke_without_command=True)
def doctor(context: typer.Context, json: Json = False) -> None:
    """Run all checks and show their states with remedies. A check that fails does not stop the others.

    Exit status 0 if there are no problems (warnings do not change it), 1 if there are, 3 if a check could not be run.

    Example: energy-forecast doctor
    """
    if context.invoked_subcommand is not None:
        return
    # Imported here: other commands do not need it
    from energy_forecast.cli.checks import run_checks

    database = open_database()
    with progress() as report_progress:
        results = run_checks(database, report_progress)
    if json:
        emit({"checks": results})
    else:
        rows = []
        for result in results:
            lines = [f"{found.message} {found.remedy or ''}".strip() for found in result.findings]
            shown = lines[:_MOST_SHOWN] + ([f"{len(lines) - _MOST_SHOWN:,} more."] if len(lines) > _MOST_SHOWN else [])
            rows += [
                (result.name if not number else "", result.state if not number else "", text)
                for number, text in enumerate(
                    map(with_option_names, [result.error] if result.error else shown or ["-"])
                )
            ]
        table(["check", "state", "finding and remedy"], rows)
    problems = [result.name for result in results if result.state == "problem"]
    failed = [result.name for result in results if result.state == "failed"]
    if problems:
        raise EnergyForecastError(f"{counted(len(problems), 'check')} found problems: {', '.join(problems)}.")
    if failed:
        raise PartialResultError(f"{counted(len(failed), 'check')} could not be run: {', '.join(failed)}.")


@app.command()
def audit(
    restored: Annotated[
        bool,
        typer.Option(
            "--restored",
            help="The database was restored from a backup on purpose: record this, and continue from here.",
        ),
    ] = False,
    skip_facts: Annotated[
        bool,
        typer.Option("--skip-facts", help="Do not read every fact to compare it with the log (15 s for 10 million)."),
    ] = False,
    json: Json = False,
) -> None:
    """Verify the audit log: every link of its chain, and its end against the last anchor.

    The objects that protection depends on are compared with a new database, and the stored facts with the log.
    The anchors are in audit_anchors.jsonl of the state folder; a complete log gets a new one. Keep copies of that file
    in a place that nobody with write access to the database can change.

    Example: energy-forecast doctor audit
    """
    database = open_database()
    home = settings().home
    if restored:
        write_anchor(database, home, restored=True)
    with progress() as report_progress:
        report = verify_audit(database, home, compare_facts=not skip_facts, progress=report_progress)
    if not report.findings:
        anchor = write_anchor(database, home)
    if json:
        emit({"intact": not report.findings, "anchor": None if report.findings else anchor, **report.__dict__})
    for note in report.notes if not json else ():
        echo(f"  Note: {note}.")
    if report.findings:
        for finding in report.findings if not json else ():
            echo(f"  {finding.message}. {finding.remedy or ''}".rstrip())
        if report.omitted and not json:
            echo(f"  {report.omitted:,} more. --json lists the first of each kind.")
        kinds = {finding.kind for finding in report.findings}
        raise AuditError(
            f"The audit log is not intact: {counted(len(report.findings) + report.omitted, 'difference')}.",
            hint="If the database was restored from a backup on purpose: energy-forecast doctor audit --restored"
            if kinds <= {"cut", "replaced", "rewritten"}
            else None,
        )
    if not json:
        out.print(f"The audit log is intact: {report.entries:,} entries, anchored at number {anchor.sequence:,}.")


@app.command()
def access(json: Json = False) -> None:
    """Examine whether the login of daily commands or a user has more rights than they should. Nothing is written.

    The exit status is 1 if there is a finding.

    Example: energy-forecast doctor access
    """
    found = access_findings(open_database())
    if json:
        emit({"findings": found})
    else:
        for finding in found:
            out.print(f"{finding.message}.")
    if found:
        raise EnergyForecastError(f"{counted(len(found), 'finding')}: rights are wider than they should be.")
    if not json:
        out.print("The login and the users have no more rights than they need.")


@app.command()
def data(city: Cities = None, allow_partial: AllowPartial = False, json: Json = False) -> None:
    """Examine the data of cities: gaps, faults that training and scores leave out, and new levels.

    Also examine whether the clock of the weather has shifted against the load's over the years, and whether the
    timestamps of the load are wrong by three hours or more. Nothing is written.

    Example: energy-forecast doctor data --city Munich
    """
    # Imported here: it imports the frame library, which `--help` does not need
    from energy_forecast import pipelines

    with progress() as report_progress:
        examined = pipelines.examine_quality(open_database(), cities=city or (), progress=report_progress)
    if json:
        emit(
            {
                "cities": [
                    {
                        "city": one.city,
                        "load_hours": one.load_hours,
                        "weather_hours": one.weather_hours,
                        "quality": one.summed,
                        "findings": one.findings,
                        "weather_clock": {
                            "drift_hours": one.clock.timestamp_drift,
                            "drifts": one.clock.has_drifted,
                            "weather_by_year": one.clock.weather,
                            "load_by_year": one.clock.load,
                        },
                        "load_clock": {"shift_hours": one.load_clock.shift, **vars(one.load_clock)},
                    }
                    for one in examined.cities
                ],
                "failed": failures(examined.failed),
            }
        )
    else:
        _print_data(examined)
    require_parts(len(examined.cities), list(examined.failed.values()), "examined", allow_partial=allow_partial)


def _print_data(examined: QualityReport) -> None:
    echo_failures("Not examined", examined.failed)
    if not examined.cities:
        return
    table(
        ["city", "hours of load", "of weather", "gaps", "left out", "weather's clock"],
        [
            (
                one.city,
                f"{one.load_hours:,}",
                f"{one.weather_hours:,}",
                f"{sum(f.hours for f in one.findings if f.kind == 'gap' and f.series == 'consumption'):,}",
                f"{sum(f.hours for f in one.findings if f.left_out):,}",
                f"{one.clock.timestamp_drift:+.1f} h" if one.clock.weather else None,
            )
            for one in examined.cities
        ],
    )
    for one in examined.cities:
        for warned in one.summed:
            echo(f"  {warned}")
        if one.clock.has_drifted:
            echo(f"  {one.city}: {one.clock}")
        if one.load_clock.shift is not None:
            echo(f"  {one.city}: {one.load_clock}.")


@app.command()
def cities(json: Json = False) -> None:
    """List the cities with an unknown country or subdivision, which have no public holidays.

    The exit status is 1 if there are any. To correct them, import them with valid codes.

    Example: energy-forecast doctor cities
    """
    found = place_findings(open_database())
    if json:
        emit({"findings": found})
    else:
        for finding in found:
            echo(f"  {finding}")
    if found:
        raise EnergyForecastError(
            f"{counted(len(found), 'city has', 'cities have')} an unknown country or subdivision.",
            hint="Correct them in a file and run: energy-forecast city import",
        )
    if not json:
        out.print("The countries and subdivisions of all cities are known.")


@app.command()
def zones(json: Json = False) -> None:
    """Compare the time zone rules of the server with those of this program, for the zones of all cities since 1970.

    The exit status is 1 if they differ: SQL and the program then show different local times, and affected local times
    in files are refused.

    Example: energy-forecast doctor zones
    """
    found = check_zones(open_database())
    if json:
        emit({"rules": rules_version(), "differences": found})
    elif found:
        for difference in found:
            echo(f"  {difference}")
    if found:
        raise ZoneError(
            f"The server and this program (tzdata {rules_version()}) have different rules for "
            f"{counted(len({difference.zone for difference in found}), 'time zone')}.",
            hint=zones_remedy(embedded=settings().database_url is None),
        )
    if not json:
        out.print(f"The time zone rules agree (tzdata {rules_version()}).")


def zones_remedy(*, embedded: bool) -> str:
    """Return how to make the rules agree."""
    if embedded:
        return "The server was started before tzdata was updated. Run: energy-forecast db down"
    return (
        "Update the time zone data of the server (package tzdata of its system, or PostgreSQL itself) if it is older, "
        "otherwise run: pip install --upgrade tzdata"
    )


@app.command()
def hours(json: Json = False) -> None:
    """Compare the hourly values of the last 30 days with the sums of the stored values. Nothing is written.

    The exit status is 1 if they differ; `maintain refresh` then computes those hours again.

    Example: energy-forecast doctor hours
    """
    found = differing_hours(open_database())
    if json:
        emit({"differences": found})
    elif found:
        table(
            ["city", "hour", "kWh shown", "kWh of values", "minutes shown", "of values"],
            [
                (
                    *(each["city"], minute(each["hour"]), each["shown_consumption"], each["true_consumption"]),
                    *(each["shown_minutes"], each["true_minutes"]),
                )
                for each in found[:20]
            ],
        )
    if found:
        raise EnergyForecastError(
            f"Hours that differ from the sums of their values: {len(found):,}.",
            hint="Run: energy-forecast maintain refresh",
        )
    if not json:
        out.print("The hours of the last 30 days equal the sums of their values.")


@app.command()
def queries(
    by: Annotated[
        SortKey,
        typer.Option(help="Order by total time, time per call, calls, rows or blocks read."),
    ] = SortKey.TOTAL,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Number of statements.")] = 10,
    json: Json = False,
) -> None:
    """Show the most expensive statements of this database since the last reset of the counts.

    Values are shown as $1. Statements in which PostgreSQL keeps the values, such as COPY and CREATE, are left out.

    `--json` has the full statements and their roles. To reset the counts, as a superuser in psql: SELECT
    ext.pg_stat_statements_reset().

    Example: energy-forecast doctor queries --by mean --limit 5
    """
    costs = costliest_statements(open_database(), by=by, limit=limit)
    if json:
        emit({"by": by, "statements": costs.statements})
        return
    table(
        ["total s", "share", "calls", "mean ms", "max ms", "rows", "blocks read", "statement"],
        [
            (
                f"{cost.total_ms / 1000:,.2f}",
                "-" if cost.share is None else f"{cost.share:.0%}",
                f"{cost.calls:,}",
                f"{cost.mean_ms:,.2f}",
                f"{cost.max_ms:,.2f}",
                f"{cost.row_count:,}",
                f"{cost.blocks_read:,}",
                cost.query if len(cost.query) <= _WIDEST else f"{cost.query[: _WIDEST - 1]}…",
            )
            for cost in costs.statements
        ],
    )
    if not costs.complete:
        echo(
            "  The text of other roles' statements is hidden. Let a superuser run: GRANT pg_read_all_stats TO "
            "energy_forecast_operator"
        )
