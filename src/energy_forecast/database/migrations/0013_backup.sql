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
    CONSTRAINT backup_kind CHECK (kind IN ('logical', 'full', 'incremental')),
    CONSTRAINT backup_status CHECK (status IN ('verified', 'failed')),
    CONSTRAINT backup_reason CHECK ((status = 'failed') = (reason IS NOT NULL)),
    CONSTRAINT backup_sha256_form CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    CONSTRAINT backup_verified_whole CHECK (status = 'failed' OR (bytes > 0 AND sha256 IS NOT NULL))
);
COMMENT ON TABLE ops.backups IS
    'One row an attempt to back up, written when it ended: verified by a full read, or failed and why. The same stands beside the files, which outlive this database. Append-only';
COMMENT ON COLUMN ops.backups.kind IS 'logical: a dump. full, incremental: a base backup for recovery to a moment';
COMMENT ON COLUMN ops.backups.name IS 'The file or folder; the number in it tells the order, whatever the clock said';
COMMENT ON COLUMN ops.backups.status IS 'verified: read whole after it was written. failed: there is no such backup';
COMMENT ON COLUMN ops.backups.sha256 IS 'SHA-256 of the dump, or of the manifest of a base backup, in hexadecimal digits';
COMMENT ON COLUMN ops.backups.tables IS 'Rows and digest of each table in the snapshot that was dumped';
COMMENT ON COLUMN ops.backups.details IS 'For a base backup: where its WAL begins and ends, its timeline, its parent';

CREATE TABLE ops.restore_points (
    name       TEXT PRIMARY KEY,
    label      TEXT NOT NULL UNIQUE,
    lsn        PG_LSN NOT NULL,
    timeline   INTEGER NOT NULL,
    tables     JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP,
    made_by    TEXT NOT NULL DEFAULT session_user,
    CONSTRAINT restore_point_name CHECK (name ~ '^[A-Za-z][A-Za-z0-9_.-]{0,39}$')
);
COMMENT ON TABLE ops.restore_points IS
    'Moments to recover to, with what stood in each table at that moment. The same stands beside the archive. Append-only';
COMMENT ON COLUMN ops.restore_points.label IS 'The name in the WAL: the name and a random ending, since recovery would stop at the first of two equal ones';
COMMENT ON COLUMN ops.restore_points.tables IS 'Rows and digest of each table, no writer being at work in that moment';

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
    CONSTRAINT recovery_check_kind CHECK (kind IN ('verify', 'drill', 'prune', 'copy-back')),
    CONSTRAINT recovery_check_reason CHECK (passed OR reason IS NOT NULL)
);
COMMENT ON TABLE ops.recovery_checks IS
    'One row a drill, a verification of an earlier backup, a removal of old ones, or rows taken back from a copy. Append-only';
COMMENT ON COLUMN ops.recovery_checks.subject IS 'The backup that was checked or removed';
COMMENT ON COLUMN ops.recovery_checks.details IS 'For a drill: seconds that recovery took (RTO) and seconds of work that a loss would have cost (RPO)';

-- Serves: the last drill
CREATE INDEX idx_recovery_checks_kind ON ops.recovery_checks (kind, finished_at);

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
    'What this database was restored from. While a row has no activated_at it is a copy: it runs no jobs, serves and sends nothing; see is_restored_copy()';
COMMENT ON COLUMN ops.restored_copies.target IS 'The moment or snapshot that it was restored to';
