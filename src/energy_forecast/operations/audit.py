"""Whether the audit log is whole, judged against an anchor that stands outside the database.

A chain alone shows that something inside it was altered. That its end was cut off, or that all of it was made anew,
shows only by comparison with what was written down elsewhere before: the anchors, in an append-only file of the state
folder.
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

# The first faults tell where to look; a rewritten chain would have one an entry
_MOST_FINDINGS = 20
_STEP = 1000
_UPGRADE = "Run: energy-forecast db upgrade."


@dataclass(frozen=True)
class Anchor:
    """A line of the anchors' file: where a chain ended at a moment.

    Args:
        event: anchor, or restored where a person said that the database was restored from a backup.
        server: the server's own number.
        database: its name.
        chain: the hash of the chain's beginning, hex.
        sequence: place of the last entry.
        hash: of the last entry, hex.
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
    """A difference from what must be there.

    Args:
        kind: of the difference.
        sequence: the place in the chain; None where it has none.
        message: a sentence without its full stop.
        remedy: a sentence; None where nothing but a comparison with a backup helps.
    """

    kind: str
    sequence: int | None
    message: str
    remedy: str | None = None


@dataclass
class AuditReport:
    """What a verification found. The log is whole when there are no findings.

    Args:
        entries: links of the chain that were verified.
        anchored: place of the last anchor that holds; None when there was none.
        findings: the differences; those of the chain first, in its order.
        omitted: how many more there are.
        notes: further facts for the reader.
    """

    entries: int = 0
    anchored: int | None = None
    findings: list[Finding] = field(default_factory=list)
    omitted: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, kind: str, sequence: int | None, message: str, remedy: str | None = None) -> None:
        """Keep a finding, unless there are many of its kind already; then count it in `omitted`."""
        if sum(finding.kind == kind for finding in self.findings) < _MOST_FINDINGS:
            self.findings.append(Finding(kind, sequence, message, remedy))
        else:
            self.omitted += 1


def anchors_file(home: Path) -> Path:
    """Where the anchors of a state folder stand."""
    return home / "audit_anchors.jsonl"


def write_anchor(database: Database, home: Path, *, restored: bool = False) -> Anchor:
    """Writes down where the chain ends now. For every occasion that leaves the machine safer than before: a
    verification, a backup, a maintenance.

    Args:
        database: whose chain.
        home: the state folder.
        restored: the database was restored from a backup, and later anchors do not bind it any more.

    Raises:
        AuditError: there is no chain, or the file cannot be written or read.
    """
    with database.transaction(Role.AUDITOR) as connection:
        head = _head(connection)
        server, name = stored.server_identity(connection)
    event = "restored" if restored else "anchor"
    anchor = Anchor(datetime.now(UTC), event, server, name, head.chain.hex(), head.sequence, head.hash.hex())
    if not restored and any(_same_end(anchor, known) for known in list(read_anchors(home))[-1:]):
        return anchor
    line = json.dumps(anchor.__dict__ | {"recorded_at": anchor.recorded_at.isoformat()}) + "\n"
    try:
        make_folder(home)
        descriptor = os.open(anchors_file(home), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            # One write of one line: two programs at once do not mix theirs
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
    """The anchors in the order in which they were written.

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
                f"{file}, line {number} is not an anchor.", hint="Somebody edited it; take it from a backup."
            ) from error


def verify_audit(
    database: Database, home: Path, *, compare_facts: bool = True, progress: Progress = silent
) -> AuditReport:
    """Verifies the whole chain, the anchors, and that the triggers which feed it stand. Memory does not grow with it.

    Args:
        database: whose log.
        home: the state folder, where the anchors are.
        compare_facts: whether to read every fact and compare it with the log: about 15 seconds for 10 million rows.
        progress: told how much is done.

    Raises:
        AuditError: the anchors' file cannot be read.
    """
    report = AuditReport()
    anchors = list(read_anchors(home))
    with database.transaction(Role.AUDITOR) as connection:
        head = stored.chain_end(connection)
        if head is None:
            report.add("no_chain", None, "The chain has no beginning: ops.audit_chain was emptied")
            return report
        binding = _binding(anchors, head, stored.server_identity(connection), report)
        _verify_links(stored.links(connection, head.sequence), head, binding, report, progress)
        _verify_end(head, binding, report)
        count, examples = stored.unchained_entries(connection)
        if count:
            report.add("unchained", None, f"{count} entries are not in the chain; the first: {examples[0]}")
        for fault in protection.faults(connection):
            report.add("guard", None, fault.message, fault.remedy)
        if not protection.ddl_is_audited(connection):
            report.notes.append(
                "Changes of the schema are not audited: only a superuser can have that, by energy-forecast db upgrade"
            )
    if compare_facts:
        _compare_facts(database, report, progress)
    else:
        report.notes.append("The facts were not compared with the log (--skip-facts)")
    return report


def _compare_facts(database: Database, report: AuditReport, progress: Progress) -> None:
    with database.transaction(Role.AUDITOR, one_snapshot=True) as connection:
        for table in facts.TABLES:
            since = facts.baseline(connection, table)
            if since is None:
                report.add("facts", None, f"Table {table} has no baseline in ops.fact_baselines", _UPGRADE)
            elif since[1]:
                report.notes.append(
                    f"Rows of {table} from before {since[0]:%Y-%m-%d %H:%MZ} are compared with their state then"
                )
        for table in facts.CONTROLLED:
            if facts.baseline(connection, table) is None:
                report.add("facts", None, f"Table {table} has no baseline in ops.fact_baselines", _UPGRADE)
        for table, key, difference in facts.changed_rows(connection):
            report.add(
                "facts",
                None,
                f"A row of {table} {difference} without an entry in the log: {key}",
                "Compare it with a backup from before the change: it went around the triggers.",
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
                "Compare these rows with a backup from before the change: they went around the triggers.",
            )


def _head(connection: Connection) -> ChainEnd:
    head = stored.chain_end(connection)
    if head is None:
        raise AuditError("The audit log's chain has no beginning.", hint="See: energy-forecast doctor audit")
    return head


def _binding(
    anchors: Sequence[Anchor], head: ChainEnd, place: tuple[str, str], report: AuditReport
) -> dict[int, Anchor]:
    """The anchors that this chain has to hold, by place in it. A restore that somebody has owned up to frees it from
    those after the place it went back to. A copy beside the original goes its own way: where this server and database
    have anchors of their own, no other's bind."""
    binding: dict[int, Anchor] = {}
    here = [anchor for anchor in anchors if (anchor.server, anchor.database) == place]
    chain = head.chain.hex()
    if here and here[-1].chain != chain:
        report.add(
            "replaced",
            None,
            f"This is another chain than the one that this database had on {here[-1].recorded_at:%Y-%m-%d %H:%MZ}: "
            "the log was made anew",
        )
    own = [anchor for anchor in here if anchor.chain == chain]
    for anchor in own or [anchor for anchor in anchors if anchor.chain == chain]:
        if anchor.event == "restored":
            binding = {sequence: kept for sequence, kept in binding.items() if sequence < anchor.sequence}
        if binding.setdefault(anchor.sequence, anchor).hash != anchor.hash:
            report.add(
                "rewritten", anchor.sequence, f"Two anchors at place {anchor.sequence} differ: the chain was rewritten"
            )
    if not binding:
        report.notes.append("There was no anchor yet: that no end was cut off before now cannot be told")
    return binding


def _verify_links(
    links: Iterable[Link], head: ChainEnd, binding: dict[int, Anchor], report: AuditReport, progress: Progress
) -> None:
    previous, expected = head.chain, 1
    if (first := binding.get(0)) is not None and first.hash == head.chain.hex():
        report.anchored = 0
    for link in links:
        if link.sequence != expected:
            missing = f"{expected}" if link.sequence == expected + 1 else f"{expected} to {link.sequence - 1}"
            report.add("removed_link", expected, f"The chain has no place {missing}: links were removed")
        elif link.previous_hash != previous:
            report.add(
                "rewritten",
                link.sequence,
                f"Place {link.sequence} does not follow the one before: rewritten up to there",
            )
        if not link.present:
            report.add(
                "removed_entry", link.sequence, f"The entry at place {link.sequence} ({link.audit_id}) was removed"
            )
        elif hashlib.sha256(link.previous_hash + link.text.encode()).digest() != link.hash:
            report.add(
                "altered",
                link.sequence,
                f"The entry at place {link.sequence} was altered: {link.action} on {link.table_name} of "
                f"{link.timestamp:%Y-%m-%d %H:%MZ} ({link.audit_id})",
            )
        if (anchor := binding.get(link.sequence)) is not None:
            if anchor.hash == link.hash.hex():
                report.anchored = link.sequence
            else:
                known = "the beginning" if report.anchored is None else f"place {report.anchored}"
                report.add(
                    "rewritten",
                    link.sequence,
                    f"Place {link.sequence} is not what was anchored on {anchor.recorded_at:%Y-%m-%d %H:%MZ}: "
                    f"the chain was rewritten after {known}",
                )
        previous, expected = link.hash, link.sequence + 1
        report.entries += 1
        if report.entries % _STEP == 0:
            progress("Verifying the audit log", report.entries, head.sequence)
    progress("Verifying the audit log", head.sequence, head.sequence)


def _verify_end(head: ChainEnd, binding: dict[int, Anchor], report: AuditReport) -> None:
    beyond = [anchor for sequence, anchor in binding.items() if sequence > head.sequence]
    if beyond:
        last = max(beyond, key=lambda anchor: anchor.sequence)
        report.add(
            "cut",
            head.sequence + 1,
            f"The chain ends at place {head.sequence}, but reached {last.sequence} on "
            f"{last.recorded_at:%Y-%m-%d %H:%MZ}: its end was cut off, or the database was restored from a backup",
        )
    elif report.anchored is not None and report.anchored < head.sequence:
        report.notes.append(f"{head.sequence - report.anchored} entries are newer than the last anchor")
