-- The audit log, its hash chain, and what the audit compares with it

CREATE TABLE audit_log (
    id                UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    table_name        TEXT NOT NULL,
    action            TEXT NOT NULL,
    old_data          JSONB,
    new_data          JSONB,
    user_name         TEXT NOT NULL,
    timestamp         TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    session_user_name TEXT NOT NULL DEFAULT session_user,
    transaction_id    XID8 NOT NULL DEFAULT pg_current_xact_id(),
    city_ids          UUID[] NOT NULL DEFAULT '{}',
    number            BIGINT GENERATED ALWAYS AS IDENTITY,
    CONSTRAINT audit_log_action CHECK (action IN ('INSERT', 'UPDATE', 'DELETE', 'DDL', 'DROP'))
);
COMMENT ON TABLE audit_log IS
    'Changes and their authors. One entry per row of controlled tables, one per statement on bulk facts with counts '
    'and checksums, one per object for schema changes. Written only by triggers; append-only; ops.audit_chain links '
    'the entries';
COMMENT ON COLUMN audit_log.table_name IS
    'The table, with its schema unless it is public; for a schema change the object';
COMMENT ON COLUMN audit_log.action IS 'INSERT, UPDATE or DELETE of rows; DDL and DROP of objects';
COMMENT ON COLUMN audit_log.old_data IS 'The row before; for a bulk UPDATE or DELETE: rows, first, last, cities, sums';
COMMENT ON COLUMN audit_log.new_data IS
    'The row after, without the bytes of an artifact; for a bulk INSERT or UPDATE: rows, first, last, cities, sums';
COMMENT ON COLUMN audit_log.user_name IS 'The role taken by SET ROLE, otherwise the login';
COMMENT ON COLUMN audit_log.timestamp IS 'Start of the transaction; equals created_at of the rows that it wrote';
COMMENT ON COLUMN audit_log.session_user_name IS 'The login';
COMMENT ON COLUMN audit_log.transaction_id IS 'The transaction; its entries belong together';
COMMENT ON COLUMN audit_log.city_ids IS 'The cities that the change concerns; empty if it concerns no particular city';
COMMENT ON COLUMN audit_log.number IS
    'Order of writing inside a transaction. It has gaps, because rolled-back transactions used numbers';

CREATE INDEX idx_audit_log_transaction ON audit_log (transaction_id);
COMMENT ON INDEX idx_audit_log_transaction IS 'Serves the entries of a transaction, when it is chained';

CREATE INDEX idx_audit_log_table_time ON audit_log (table_name, timestamp);
COMMENT ON INDEX idx_audit_log_table_time IS 'Serves the changes of a table in a time range';

CREATE TABLE ops.audit_chain (
    sequence      BIGINT PRIMARY KEY,
    audit_id      UUID UNIQUE,
    previous_hash BYTEA UNIQUE,
    hash          BYTEA NOT NULL UNIQUE,
    CONSTRAINT audit_chain_beginning CHECK (
        (sequence = 0) = (audit_id IS NULL) AND (sequence = 0) = (previous_hash IS NULL) AND sequence >= 0)
);
COMMENT ON TABLE ops.audit_chain IS
    'The entries of audit_log in commit order, each linked to the previous one by SHA-256. Append-only. See '
    'docs/decisions/audit.md';
COMMENT ON COLUMN ops.audit_chain.sequence IS
    'Position in the chain, without gaps; 0 is the first link, whose random hash identifies the chain';
COMMENT ON COLUMN ops.audit_chain.hash IS 'SHA-256 of the previous hash and the text of the entry';

INSERT INTO ops.audit_chain (sequence, hash)
VALUES (0, sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())));

CREATE TABLE ops.fact_baselines (
    table_name TEXT PRIMARY KEY,
    taken_by   NAME NOT NULL DEFAULT session_user,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now()
);
COMMENT ON TABLE ops.fact_baselines IS
    'When the rows of a table were first summed; the entry of audit_log has the checksums. Since then every change has '
    'checksums, which `doctor audit` compares. Append-only';

CREATE TABLE ops.repairs (
    id          UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    fault       TEXT NOT NULL,
    repaired_by NAME NOT NULL DEFAULT session_user,
    created_at  TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now()
);
COMMENT ON TABLE ops.repairs IS
    'Differences from the expected catalog that `db upgrade` repaired: one row per fault, with an entry in audit_log, '
    'because changes of roles have no other entry. Append-only';
COMMENT ON COLUMN ops.repairs.fault IS 'The object and the difference, as `doctor audit` reports it';
