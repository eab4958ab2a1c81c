"""The checks of `doctor` as functions that return findings, in a registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from energy_forecast import pipelines
from energy_forecast.database import Database
from energy_forecast.database.standby import standby_lag
from energy_forecast.database.zones import check_zones
from energy_forecast.errors import ConnectionLostError, DatabaseError, UnknownCityError
from energy_forecast.operations.access import access_findings
from energy_forecast.operations.audit import verify_audit, write_anchor
from energy_forecast.operations.maintenance import differing_hours
from energy_forecast.operations.places import place_findings
from energy_forecast.operations.record_checks import check_forecast_records
from energy_forecast.pipelines.isolation import Failed, attempt
from energy_forecast.progress import Progress
from energy_forecast.settings import settings


@dataclass(frozen=True)
class CheckFinding:
    """A result of a check that needs attention.

    Args:
        message: a sentence.
        remedy: a sentence; None if the message has it.
        is_warning: whether it counts as a warning instead of a problem.
    """

    message: str
    remedy: str | None = None
    is_warning: bool = False


@dataclass(frozen=True)
class CheckResult:
    """The result of one check.

    Args:
        name: the name of the check.
        state: good, warning, problem, or failed if the check could not be run.
        findings: problems first.
        error: the reason why it failed.
    """

    name: str
    state: str
    findings: list[CheckFinding] = field(default_factory=list)
    error: str | None = None


Check = Callable[[Database, Progress], list[CheckFinding]]


def run_checks(database: Database, progress: Progress) -> list[CheckResult]:
    """Run every check and return its result. A check that fails does not stop the others."""
    results: list[CheckResult] = []
    for name, check in CHECKS.items():
        progress(f"Checking {name}", len(results), len(CHECKS))
        try:
            found = attempt(f"Check {name}", partial(check, database, _named(name, progress)))
        except ConnectionLostError as error:
            # The server may be back for the next check, and the check of recovery needs no server
            found = Failed(error.message, error.hint)
        if isinstance(found, Failed):
            results.append(CheckResult(name, "failed", error=found.reason))
        else:
            findings = sorted(found, key=lambda finding: finding.is_warning)
            state = "good" if not findings else "warning" if findings[0].is_warning else "problem"
            results.append(CheckResult(name, state, findings))
    return results


def _named(name: str, progress: Progress) -> Progress:
    def report(what: str, done: int, total: int, rows: int | None = None) -> None:
        progress(f"Checking {name}: {what}", done, total, rows)

    return report


def _check_audit(database: Database, progress: Progress) -> list[CheckFinding]:
    """Check the audit log, the protection and the facts, and write an anchor if there are no findings."""
    report = verify_audit(database, settings().home, progress=progress)
    if not report.findings:
        write_anchor(database, settings().home)
    findings = [CheckFinding(f"{found.message}.", found.remedy) for found in report.findings]
    if report.omitted:
        findings.append(CheckFinding(f"{report.omitted:,} more differences.", "Run: energy-forecast doctor audit"))
    return findings


def _check_access(database: Database, progress: Progress) -> list[CheckFinding]:  # noqa: ARG001
    """Check that the login of daily commands and the users have no more rights than they need."""
    return [CheckFinding(f"{found.message}.", is_warning=found.kind == "login") for found in access_findings(database)]


def _check_cities(database: Database, progress: Progress) -> list[CheckFinding]:  # noqa: ARG001
    """Check that the countries and subdivisions of all cities are known, since others have no holidays."""
    return [
        CheckFinding(f"{found.city}: {found.problem}.", found.remedy, is_warning=True)
        for found in place_findings(database)
    ]


def _check_zones(database: Database, progress: Progress) -> list[CheckFinding]:  # noqa: ARG001
    """Check that the server and the program have the same rules of time zones."""
    return [CheckFinding(f"{found}.", "Run: energy-forecast doctor zones") for found in check_zones(database)]


def _check_records(database: Database, progress: Progress) -> list[CheckFinding]:
    """Check that stored forecasts satisfy the current rules of the database, and recompute their scores."""
    return [CheckFinding(f"{found}.", is_warning=True) for found in check_forecast_records(database)] + [
        CheckFinding(f"{found}.", f"Run: energy-forecast score explain {found.id}", is_warning=True)
        for found in pipelines.wrong_scores(database, progress=progress)
    ]


def _check_hours(database: Database, progress: Progress) -> list[CheckFinding]:  # noqa: ARG001
    """Check that hourly values are the sums of their stored values."""
    found = differing_hours(database)
    if not found:
        return []
    return [
        CheckFinding(
            f"Hours that differ from the sums of their values: {len(found):,}.", "Run: energy-forecast maintain refresh"
        )
    ]


def _check_data(database: Database, progress: Progress) -> list[CheckFinding]:
    """Check the data of every city for gaps, faults and shifted clocks."""
    findings = []
    try:
        examined = pipelines.examine_quality(database, progress=progress)
    except UnknownCityError as error:
        return [CheckFinding(error.message, error.hint, is_warning=True)]
    findings += [
        CheckFinding(f"{name} could not be examined: {why}", "Run: energy-forecast doctor data")
        for name, why in examined.failed.items()
    ]
    waiting, since = pipelines.waiting_checks(database)
    if waiting:
        cities = "1 city waits" if waiting == 1 else f"{waiting:,} cities wait"
        findings.append(
            CheckFinding(
                f"{cities} for the check of loaded data, since {since:%Y-%m-%d %H:%M} UTC.",
                "Run: energy-forecast maintain checks",
                is_warning=True,
            )
        )
    for one in examined.cities:
        findings += [
            CheckFinding(f"{found}.", "Run: energy-forecast doctor data", is_warning=True) for found in one.summed
        ]
        if one.clock.has_drifted:
            findings.append(
                CheckFinding(f"{one.city}: {one.clock}", "Run: energy-forecast doctor data", is_warning=True)
            )
    return findings


def _check_recovery(database: Database, progress: Progress) -> list[CheckFinding]:  # noqa: ARG001
    """Check the ability to recover, and that archive and backups belong to this server."""
    from energy_forecast.cli.recovery import current_status

    status = current_status()
    return [CheckFinding(risk) for risk in status.risks] + [
        CheckFinding(warning, is_warning=True) for warning in status.warnings
    ]


def _check_standby(database: Database, progress: Progress) -> list[CheckFinding]:  # noqa: ARG001
    """Check that the standby of ENERGY_FORECAST_READ_URL, if there is one, runs and is not far behind the primary."""
    url = settings().read_url
    if url is None:
        return []
    try:
        warning = standby_lag(Database(url, standby=True), database).warning
    except DatabaseError as error:
        return [CheckFinding(error.message, error.hint)]
    if warning is None:
        return []
    return [CheckFinding(warning, "See pg_stat_replication on the primary.", is_warning=True)]


CHECKS: dict[str, Check] = {
    "access": _check_access,
    "cities": _check_cities,
    "zones": _check_zones,
    "audit": _check_audit,
    "records": _check_records,
    "hours": _check_hours,
    "data": _check_data,
    "recovery": _check_recovery,
    "standby": _check_standby,
}
