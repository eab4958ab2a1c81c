CREATE TABLE ops.ingest_batches (
    id           UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    kind         TEXT NOT NULL,
    files        JSONB NOT NULL,
    read         BIGINT NOT NULL,
    inserted     BIGINT NOT NULL,
    corrected    BIGINT NOT NULL,
    unchanged    BIGINT NOT NULL,
    rejected     BIGINT NOT NULL,
    notes        JSONB NOT NULL DEFAULT '[]',
    loaded_by    TEXT NOT NULL DEFAULT session_user,
    created_at   TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP,
    finished_at  TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT ingest_batch_kind CHECK (kind IN ('consumption', 'weather', 'weather-forecasts', 'cities')),
    CONSTRAINT ingest_batch_adds_up CHECK (read = inserted + corrected + unchanged + rejected),
    CONSTRAINT ingest_batch_counts CHECK (inserted >= 0 AND corrected >= 0 AND unchanged >= 0 AND rejected >= 0)
);
COMMENT ON TABLE ops.ingest_batches IS
    'One row a load, written in the transaction that loaded the rows: it is there when they are. Append-only';
COMMENT ON COLUMN ops.ingest_batches.files IS 'Name, bytes and SHA-256 of each file';
COMMENT ON COLUMN ops.ingest_batches.created_at IS 'Equals created_at of the rows that the batch wrote';

CREATE TABLE ops.rejected_rows (
    batch_id    UUID NOT NULL REFERENCES ops.ingest_batches (id),
    file        TEXT NOT NULL,
    line        BIGINT NOT NULL,
    column_name TEXT,
    reason      TEXT NOT NULL,
    row_data    JSONB NOT NULL,
    created_at  TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP
);
COMMENT ON TABLE ops.rejected_rows IS
    'Rows that a load could not take, as they stood in the file. Append-only';
COMMENT ON COLUMN ops.rejected_rows.line IS 'Line of a CSV file, the header being line 1; row of a Parquet file, the first being row 1';
COMMENT ON COLUMN ops.rejected_rows.column_name IS 'The column at fault; null where it is the row as a whole';

-- Serves: the rejected rows of a batch in file order
CREATE INDEX idx_rejected_rows_batch ON ops.rejected_rows (batch_id, file, line);
