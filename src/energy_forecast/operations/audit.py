"""Verify the audit log against anchors that are stored outside the database.

The hash chain alone shows that an entry was altered. A removed end or a completely rewritten chain shows only in a
comparison with earlier records elsewhere: the anchors, in an append-only file of the state folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from energy_forecast.database import Connection, Database, Role, facts, protection
from energy_forecast.database import audit as stored
from energy_forecast.database.audit import ChainEnd, Link
from energy_forecast.errors import AuditError
from energy_forecast.postgres.private_files import make_folder
from energy_forecast.progress import Progress, silent

# The first findings show where to look; a rewritten chain would have one for each entry
_MOST_FINDINGS = 20
_STEP = 1000
_UPGRADE = "Run: energy-forecast db upgrade."


@dataclass(frozen=True)
class Anchor:
    """A line of the anchor file: the end of a chain at a moment.

    Args:
        event: anchor, or restored if a user declared that the database was restored from a backup.
        server: the system identifier of the server.
        database: the name of the database.
        chain: the hash of the start of the chain, hexadecimal.
        sequence: position of the last entry.
        hash: hash of the last entry, hexadecimal.
    """

    recorded_at: datetime
    event: str
    server: str
    database: str
    chain: str
    sequence: int
    hash: str


@dataclass(frozen=True)
class Finding:
    """A difference from the expected state.

    Args:
        kind: kind of the difference.
        sequence: position in the chain, or None.
        message: a sentence without its full stop.
        remedy: a sentence; None if only a comparison with a backup helps.
    """

    kind: str
    sequence: int | None
    message: str
    remedy: str | None = None


@dataclass
class AuditReport:
    """Result of a verification. The log is intact if there are no findings.

    Args:
        entries: number of verified links of the chain.
        anchored: position of the last matching anchor, or None.
        findings: the differences; those of the chain first, in order.
        omitted: number of further differences.
        notes: further information.
    """

    entries: int = 0
    anchored: int | None = None
    findings: list[Finding] = field(default_factory=list)
    omitted: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, kind: str, sequence: int | None, message: str, remedy: str | None = None) -> None:
        """Add a finding. If there are already many of its kind, count it in `omitted`."""
        if sum(finding.kind == kind for finding in self.findings) < _MOST_FINDINGS:
            self.findings.append(Finding(kind, sequence, message, remedy))
        else:
            self.omitted += 1


def anchors_file(home: Path) -> Path:
    """Return the path of the anchor file of a state folder."""
    return home / "audit_anchors.jsonl"


def write_anchor(database: Database, home: Path, *, restored: bool = False) -> Anchor:
    """Record the current end of the chain, and return the anchor. Verification, backup and maintenance call this.

    Args:
        database: the database with the chain.
        home: the state folder.
        restored: the database was restored from a backup, so later anchors no longer apply.

    Raises:
        AuditError: there is no chain, or the file cannot be written or read.
    """
    with database.transaction(Role.AUDITOR) as connection:
        end = _chain_end(connection)
        server, name = stored.server_identity(connection)
    event = "restored" if restored else "anchor"
    anchor = Anchor(datetime.now(UTC), event, server, name, end.chain.hex(), end.sequence, end.hash.hex())
    if not restored and any(_same_end(anchor, known) for known in list(read_anchors(home))[-1:]):
        return anchor
    line = json.dumps(anchor.__dict__ | {"recorded_at": anchor.recorded_at.isoformat()}) + "\n"
    try:
        make_folder(home)
        descriptor = os.open(anchors_file(home), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            # One write for one line: concurrent programs do not mix their lines
            os.write(descriptor, line.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise AuditError(f"Cannot write {anchors_file(home)}: {error.strerror or error}.") from error
    return anchor


def _same_end(one: Anchor, other: Anchor) -> bool:
    return one.__dict__ | {"recorded_at": None} == other.__dict__ | {"recorded_at": None}


def read_anchors(home: Path) -> Iterator[Anchor]:
    """Yield the anchors in the order of writing.

    Raises:
        AuditError: the file cannot be read, or a line is not an anchor.
    """
    file = anchors_file(home)
    try:
        text = file.read_text("utf-8") if file.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise AuditError(f"Cannot read {file}: {error}.") from error
    for number, line in enumerate(text.splitlines(), 1):
        try:
            facts = json.loads(line)
            moment = datetime.fromisoformat(facts.pop("recorded_at"))
            yield Anchor(moment, **facts)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise AuditError(
                f"{file}, line {number} is not an anchor.", hint="The file was edited; restore it from a backup."
            ) from error


def verify_audit(
    database: Database, home: Path, *, compare_facts: bool = True, progress: Progress = silent
) -> AuditReport:
    """Verify the whole chain, the anchors and the audit triggers. The memory does not depend on the length of the log.

    Args:
        database: the database with the log.
        home: the state folder with the anchors.
        compare_facts: compare every fact with the log, which takes about 15 seconds for 10 million rows.
        progress: receives the progress.

    Raises:
        AuditError: the anchor file cannot be read.
    """
    report = AuditReport()
    anchors = list(read_anchors(home))
    with database.transaction(Role.AUDITOR) as connection:
        end = stored.chain_end(connection)
        if end is None:
            report.add("no_chain", None, "The chain has no start: ops.audit_chain was emptied")
            return report
        binding = _binding(anchors, end, stored.server_identity(connection), report)
        _verify_links(stored.links(connection, end.sequence), end, binding, report, progress)
        _verify_end(end, binding, report)
        count, examples = stored.unchained_entries(connection)
        if count:
            report.add("unchained", None, f"{count} entries are not in the chain; the first: {examples[0]}")
        for fault in protection.faults(connection):
            report.add("guard", None, fault.message, fault.remedy)
        if not protection.ddl_is_audited(connection):
            report.notes.append(
                "Schema changes are not audited: a superuser can enable this by running energy-forecast db upgrade"
            )
    if compare_facts:
        _compare_facts(database, report, progress)
    else:
        report.notes.append("The facts were not compared with the log")
    return report


def _compare_facts(database: Database, report: AuditReport, progress: Progress) -> None:
    with database.transaction(Role.AUDITOR, one_snapshot=True) as connection:
        for table in facts.TABLES:
            since = facts.baseline(connection, table)
            if since is None:
                report.add("facts", None, f"Table {table} has no baseline in ops.fact_baselines", _UPGRADE)
            elif since[1]:
                report.notes.append(
                    f"Rows of {table} from before {since[0]:%Y-%m-%d %H:%MZ} are compared with their state at that time"
                )
        for table in facts.CONTROLLED:
            if facts.baseline(connection, table) is None:
                report.add("facts", None, f"Table {table} has no baseline in ops.fact_baselines", _UPGRADE)
        for table, key, difference in facts.changed_rows(connection):
            report.add(
                "facts",
                None,
                f"A row of {table} {difference} without an entry in the log: {key}",
                "Compare it with a backup from before the change, which bypassed the triggers.",
            )
        for found in facts.differences(connection, progress):
            report.add(
                "facts",
                None,
                f"Table {found.table} does not hold the rows that the log records for the 30 days from {found.block}: "
                f"{found.stored:,} rows instead of {found.recorded:,}"
                if found.stored != found.recorded
                else f"Table {found.table} holds other values than the log records in its {found.stored:,} rows of the "
                f"30 days from {found.block}",
                "Compare these rows with a backup from before the change, which bypassed the triggers.",
            )


def _chain_end(connection: Connection) -> ChainEnd:
    end = stored.chain_end(connection)
    if end is None:
        raise AuditError("The chain of the audit log has no start.", hint="See: energy-forecast doctor audit")
    return end


def _binding(
    anchors: Sequence[Anchor], end: ChainEnd, place: tuple[str, str], report: AuditReport
) -> dict[int, Anchor]:
    """Return the anchors that this chain must match, by position.

    A declared restore removes the anchors after the position it went back to. A copy of a database develops separately:
    if this server and database have their own anchors, those of others do not apply.
    """
    binding: dict[int, Anchor] = {}
    here = [anchor for anchor in anchors if (anchor.server, anchor.database) == place]
    chain = end.chain.hex()
    if here and here[-1].chain != chain:
        report.add(
            "replaced",
            None,
            f"This is not the chain that this database had on {here[-1].recorded_at:%Y-%m-%d %H:%MZ}: "
            "the log was created again",
        )
    own = [anchor for anchor in here if anchor.chain == chain]
    for anchor in own or [anchor for anchor in anchors if anchor.chain == chain]:
        if anchor.event == "restored":
            binding = {sequence: kept for sequence, kept in binding.items() if sequence < anchor.sequence}
        if binding.setdefault(anchor.sequence, anchor).hash != anchor.hash:
            report.add(
                "rewritten",
                anchor.sequence,
                f"Two anchors at position {anchor.sequence} differ: the chain was rewritten",
            )
    if not binding:
        report.notes.append("There was no anchor yet, so an end that was removed earlier cannot be detected")
    return binding


def _verify_links(
    links: Iterable[Link], end: ChainEnd, binding: dict[int, Anchor], report: AuditReport, progress: Progress
) -> None:
    previous, expected = end.chain, 1
    if (first := binding.get(0)) is not None and first.hash == end.chain.hex():
        report.anchored = 0
    for link in links:
        if link.sequence != expected:
            missing = f"{expected}" if link.sequence == expected + 1 else f"{expected} to {link.sequence - 1}"
            report.add("removed_link", expected, f"The chain has no position {missing}: links were removed")
        elif link.previous_hash != previous:
            report.add(
                "rewritten",
                link.sequence,
                f"Position {link.sequence} does not match the previous one: the chain was rewritten up to there",
            )
        if not link.present:
            report.add(
                "removed_entry", link.sequence, f"The entry at position {link.sequence} ({link.audit_id}) was removed"
            )
        elif hashlib.sha256(link.previous_hash + link.text.encode()).digest() != link.hash:
            report.add(
                "altered",
                link.sequence,
                f"The entry at position {link.sequence} was altered: {link.action} on {link.table_name} of "
                f"{link.timestamp:%Y-%m-%d %H:%MZ} ({link.audit_id})",
            )
        if (anchor := binding.get(link.sequence)) is not None:
            if anchor.hash == link.hash.hex():
                report.anchored = link.sequence
            else:
                known = "the start" if report.anchored is None else f"position {report.anchored}"
                report.add(
                    "rewritten",
                    link.sequence,
                    f"Position {link.sequence} differs from the anchor of {anchor.recorded_at:%Y-%m-%d %H:%MZ}: "
                    f"the chain was rewritten after {known}",
                )
        previous, expected = link.hash, link.sequence + 1
        report.entries += 1
        if report.entries % _STEP == 0:
            progress("Verifying the audit log", report.entries, end.sequence)
    progress("Verifying the audit log", end.sequence, end.sequence)


def _verify_end(end: ChainEnd, binding: dict[int, Anchor], report: AuditReport) -> None:
    beyond = [anchor for sequence, anchor in binding.items() if sequence > end.sequence]
    if beyond:
        last = max(beyond, key=lambda anchor: anchor.sequence)
        report.add(
            "cut",
            end.sequence + 1,
            f"The chain ends at position {end.sequence}, but reached {last.sequence} on "
            f"{last.recorded_at:%Y-%m-%d %H:%MZ}: its end was removed, or the database was restored from a backup",
        )
    elif report.anchored is not None and report.anchored < end.sequence:
        report.notes.append(f"{end.sequence - report.anchored} entries are newer than the last anchor")
