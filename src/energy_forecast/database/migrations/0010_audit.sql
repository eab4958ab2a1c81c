CREATE TABLE audit_log (
    id                UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    table_name        TEXT NOT NULL,
    action            TEXT NOT NULL,
    old_data          JSONB,
    new_data          JSONB,
    user_name         TEXT NOT NULL,
    timestamp         TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP,
    session_user_name TEXT NOT NULL DEFAULT session_user,
    transaction_id    XID8 NOT NULL DEFAULT pg_current_xact_id(),
    city_ids          UUID[] NOT NULL DEFAULT '{}',
    number            BIGINT GENERATED ALWAYS AS IDENTITY,
    CONSTRAINT audit_log_action CHECK (action IN ('INSERT', 'UPDATE', 'DELETE', 'DDL', 'DROP'))
);
COMMENT ON TABLE audit_log IS
    'What was changed, by whom. Controlled tables have an entry a row, bulk facts an entry a statement with counts and a digest, changes of the schema an entry an object. Written by triggers only; append-only; ops.audit_chain holds it together';
COMMENT ON COLUMN audit_log.table_name IS 'The table; with its schema where that is not public. Of a change of the schema: the object';
COMMENT ON COLUMN audit_log.action IS 'INSERT, UPDATE or DELETE of rows; DDL and DROP of objects';
COMMENT ON COLUMN audit_log.old_data IS 'The row before; of a bulk DELETE: rows, first, last, cities, digest';
COMMENT ON COLUMN audit_log.new_data IS 'The row after, without an artifact''s bytes; of a bulk INSERT or UPDATE: rows, first, last, cities, digest';
COMMENT ON COLUMN audit_log.user_name IS 'The role that the caller had taken, or the login where none was taken';
COMMENT ON COLUMN audit_log.timestamp IS 'When the transaction began; equals created_at of the rows that it wrote';
COMMENT ON COLUMN audit_log.session_user_name IS 'The login';
COMMENT ON COLUMN audit_log.transaction_id IS 'The transaction; entries of one belong together';
COMMENT ON COLUMN audit_log.city_ids IS 'The cities that the change concerns; empty where it concerns none in particular';
COMMENT ON COLUMN audit_log.number IS 'Order of writing inside a transaction. Has gaps: a transaction that was rolled back took its numbers with it';

-- Serves: the entries of a transaction, when it is chained
CREATE INDEX idx_audit_log_transaction ON audit_log (transaction_id);
-- Serves: the changes of a table in a time range
CREATE INDEX idx_audit_log_table_time ON audit_log (table_name, timestamp);

CREATE TABLE ops.audit_chain (
    sequence      BIGINT PRIMARY KEY,
    audit_id      UUID UNIQUE,
    previous_hash BYTEA UNIQUE,
    hash          BYTEA NOT NULL UNIQUE,
    CONSTRAINT audit_chain_beginning CHECK (
        (sequence = 0) = (audit_id IS NULL) AND (sequence = 0) = (previous_hash IS NULL) AND sequence >= 0)
);
COMMENT ON TABLE ops.audit_chain IS
    'The entries of audit_log in the order of their commits, each bound to the one before by SHA-256. Append-only. See docs/decisions/audit.md';
COMMENT ON COLUMN ops.audit_chain.sequence IS 'Place in the chain, without gaps; 0 is the beginning, whose hash is random and tells this chain from others';
COMMENT ON COLUMN ops.audit_chain.hash IS 'SHA-256 of the previous hash and the entry''s text';

INSERT INTO ops.audit_chain (sequence, hash) VALUES (0, sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())));
