-- Loads over HTTP

CREATE TABLE ops.http_loads (
    batch_id        UUID PRIMARY KEY REFERENCES ops.ingest_batches (id),
    user_name       NAME NOT NULL,
    key_prefix      TEXT NOT NULL,
    request_id      TEXT NOT NULL,
    idempotency_key TEXT,
    request_sha256  BYTEA NOT NULL,
    report          JSONB NOT NULL,
    created_at      TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    CONSTRAINT http_load_once UNIQUE (user_name, idempotency_key),
    CONSTRAINT http_load_form CHECK (octet_length(request_sha256) = 32 AND idempotency_key ~ '^[!-~]{1,255}$')
);
COMMENT ON TABLE ops.http_loads IS
    'One row per batch that a user loaded over HTTP, written in its transaction: the person behind the audited changes. Append-only';
COMMENT ON COLUMN ops.http_loads.user_name IS 'The user of the key. Only they and the platform''s roles see the row';
COMMENT ON COLUMN ops.http_loads.idempotency_key IS
    'Chosen by the user: a second request with the same key and content gets the stored report and loads nothing';
COMMENT ON COLUMN ops.http_loads.request_sha256 IS 'SHA-256 of the dataset, the options and the body';
COMMENT ON COLUMN ops.http_loads.report IS 'The answer: counts, notes, reasons, and the first rejected rows';

CREATE INDEX idx_http_loads_user ON ops.http_loads (user_name, created_at DESC, batch_id);
COMMENT ON INDEX ops.idx_http_loads_user IS 'Serves the loads of a user, newest first';
