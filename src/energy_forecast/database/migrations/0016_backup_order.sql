-- Attempts and checks are ordered by insertion. Ordered by time, a row written while the clock was ahead would be the last
-- one until that time.
ALTER TABLE ops.backups ADD COLUMN serial BIGINT GENERATED ALWAYS AS IDENTITY;
COMMENT ON COLUMN ops.backups.serial IS 'The order of attempts, whatever the clock said';
ALTER TABLE ops.recovery_checks ADD COLUMN serial BIGINT GENERATED ALWAYS AS IDENTITY;
COMMENT ON COLUMN ops.recovery_checks.serial IS 'The order of checks, whatever the clock said';

DROP INDEX ops.idx_recovery_checks_kind;
-- Serves: the last drill
CREATE INDEX idx_recovery_checks_kind ON ops.recovery_checks (kind, serial);
