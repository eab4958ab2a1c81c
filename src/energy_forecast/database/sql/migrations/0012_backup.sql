-- Backups, restore points, recovery checks, and the sources of a restored database

CREATE TABLE ops.backups (
    id             UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    kind           TEXT NOT NULL,
    name           TEXT NOT NULL,
    folder         TEXT NOT NULL,
    status         TEXT NOT NULL,
    reason         TEXT,
    bytes          BIGINT,
    sha256         TEXT,
    server_version TEXT NOT NULL,
    tables         JSONB,
    details        JSONB NOT NULL DEFAULT '{}',
    started_at     TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at    TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
    made_by        TEXT NOT NULL DEFAULT session_user,
    serial         BIGINT GENERATED ALWAYS AS IDENTITY,
    CONSTRAINT backup_kind CHECK (kind IN ('logical', 'full', 'incremental')),
    CONSTRAINT backup_status CHECK (status IN ('verified', 'failed')),
    CONSTRAINT backup_reason CHECK ((status = 'failed') = (reason IS NOT NULL)),
    CONSTRAINT backup_sha256_form CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    CONSTRAINT backup_verified_whole CHECK (status = 'failed' OR (bytes > 0 AND sha256 IS NOT NULL))
);
COMMENT ON TABLE ops.backups IS
    'One row per backup attempt, written at its end: verified by a full read, or failed with a reason. The backup '
    'files have the same record, which outlives this database. Append-only';
COMMENT ON COLUMN ops.backups.kind IS 'logical: a dump. full, incremental: a base backup for point-in-time recovery';
COMMENT ON COLUMN ops.backups.name IS 'The file or folder; its number shows the order, independent of the clock';
COMMENT ON COLUMN ops.backups.status IS
    'verified: read completely after it was written. failed: the backup does not exist';
COMMENT ON COLUMN ops.backups.sha256 IS
    'SHA-256 of the dump, or of the manifest of a base backup, in hexadecimal digits';
COMMENT ON COLUMN ops.backups.tables IS 'Row count and digest of each table in the dumped snapshot';
COMMENT ON COLUMN ops.backups.details IS 'For a base backup: start and end of its WAL, its timeline, its parent';
COMMENT ON COLUMN ops.backups.serial IS 'Order of the attempts, independent of the clock';

CREATE TABLE ops.restore_points (
    name       TEXT PRIMARY KEY,
    label      TEXT NOT NULL UNIQUE,
    lsn        PG_LSN NOT NULL,
    timeline   INTEGER NOT NULL,
    tables     JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    made_by    TEXT NOT NULL DEFAULT session_user,
    CONSTRAINT restore_point_name CHECK (name ~ '^[A-Za-z][A-Za-z0-9_.-]{0,39}$')
);
COMMENT ON TABLE ops.restore_points IS
    'Recovery targets, with the row count and digest of each table at that time. The archive has the same record. '
    'Append-only';
COMMENT ON COLUMN ops.restore_points.label IS
    'The name in the WAL: the name and a random suffix, because recovery would stop at the first of two equal names';
COMMENT ON COLUMN ops.restore_points.tables IS 'Row count and digest of each table, read while no writer was active';

CREATE TABLE ops.recovery_checks (
    id          UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    kind        TEXT NOT NULL,
    subject     TEXT NOT NULL,
    passed      BOOLEAN NOT NULL,
    reason      TEXT,
    details     JSONB NOT NULL DEFAULT '{}',
    started_at  TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
    checked_by  TEXT NOT NULL DEFAULT session_user,
    serial      BIGINT GENERATED ALWAYS AS IDENTITY,
    CONSTRAINT recovery_check_kind CHECK (kind IN ('verify', 'drill', 'prune', 'copy-back')),
    CONSTRAINT recovery_check_reason CHECK (passed OR reason IS NOT NULL)
);
COMMENT ON TABLE ops.recovery_checks IS
    'One row per drill, verification of an earlier backup, removal of old backups, or copy of rows from a restored '
    'database. Append-only';
COMMENT ON COLUMN ops.recovery_checks.subject IS 'The backup that was checked or removed';
COMMENT ON COLUMN ops.recovery_checks.details IS
    'For a drill: duration of the recovery (RTO) and work that a loss would have cost (RPO), in seconds';
COMMENT ON COLUMN ops.recovery_checks.serial IS 'Order of the checks, independent of the clock';

CREATE INDEX idx_recovery_checks_kind ON ops.recovery_checks (kind, serial);
COMMENT ON INDEX ops.idx_recovery_checks_kind IS 'Serves the last drill';

CREATE TABLE ops.restored_copies (
    id           UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    source       TEXT NOT NULL,
    target       TEXT NOT NULL,
    restored_at  TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
    activated_at TIMESTAMP WITH TIME ZONE,
    activated_by TEXT,
    CONSTRAINT restored_copy_activation CHECK ((activated_at IS NULL) = (activated_by IS NULL))
);
COMMENT ON TABLE ops.restored_copies IS
    'The sources of a restored database. While a row has no activated_at, the database is a copy that runs no jobs, '
    'and serves and sends nothing; see is_restored_copy()';
COMMENT ON COLUMN ops.restored_copies.target IS 'The time or snapshot of the restore';
