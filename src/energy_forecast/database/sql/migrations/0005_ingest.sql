-- Batches of loaded rows: their counts, rejected rows, interval lengths, new partitions and faults of the data

CREATE TABLE ops.ingest_batches (
    id               UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    kind             TEXT NOT NULL,
    files            JSONB NOT NULL,
    read             BIGINT NOT NULL,
    inserted         BIGINT NOT NULL,
    corrected        BIGINT NOT NULL,
    unchanged        BIGINT NOT NULL,
    rejected         BIGINT NOT NULL,
    cells_left_empty BIGINT NOT NULL DEFAULT 0,
    reasons          JSONB NOT NULL DEFAULT '[]',
    notes            JSONB NOT NULL DEFAULT '[]',
    loaded_by        TEXT NOT NULL DEFAULT session_user,
    created_at       TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    finished_at      TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT ingest_batch_kind CHECK (kind IN ('consumption', 'weather', 'weather-forecasts', 'cities')),
    CONSTRAINT ingest_batch_cells CHECK (cells_left_empty >= 0),
    CONSTRAINT ingest_batch_adds_up CHECK (read = inserted + corrected + unchanged + rejected),
    CONSTRAINT ingest_batch_counts CHECK (inserted >= 0 AND corrected >= 0 AND unchanged >= 0 AND rejected >= 0)
);
COMMENT ON TABLE ops.ingest_batches IS
    'One row per batch, written in the transaction that stored its rows. Append-only';
COMMENT ON COLUMN ops.ingest_batches.files IS 'Name, bytes and SHA-256 of each file';
COMMENT ON COLUMN ops.ingest_batches.rejected IS
    'Number of rejected rows, including those that ops.rejected_rows does not store';
COMMENT ON COLUMN ops.ingest_batches.cells_left_empty IS
    'Number of optional cells with an implausible value, which were left empty; their rows were used';
COMMENT ON COLUMN ops.ingest_batches.reasons IS
    'Array of column, reason, count and cell_only: the number of rows (or cells) rejected for each reason, with values '
    'replaced by three dots';
COMMENT ON COLUMN ops.ingest_batches.created_at IS 'Equals created_at of the rows that the batch stored';
COMMENT ON CONSTRAINT ingest_batch_adds_up ON ops.ingest_batches IS
    'Every row that was read has one outcome';

CREATE TABLE ops.rejected_rows (
    batch_id    UUID NOT NULL REFERENCES ops.ingest_batches (id),
    file        TEXT NOT NULL,
    line        BIGINT NOT NULL,
    column_name TEXT,
    reason      TEXT NOT NULL,
    row_data    JSONB NOT NULL,
    cell_only   BOOLEAN NOT NULL DEFAULT false,
    city_id     UUID REFERENCES cities (id),
    created_at  TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now()
);
COMMENT ON TABLE ops.rejected_rows IS
    'Quarantine: rows that a batch could not use, and cells that it left empty, as read. A batch stores a limited '
    'number of them. Rows never change; retention deletes old ones';
COMMENT ON COLUMN ops.rejected_rows.line IS
    'Line of a CSV file (the header is line 1) or row of a Parquet file (from 1)';
COMMENT ON COLUMN ops.rejected_rows.column_name IS 'The faulty column; null for the whole row';
COMMENT ON COLUMN ops.rejected_rows.cell_only IS
    'True: only the cell of column_name was left empty; the row was used without it, or has an entry of its own';
COMMENT ON COLUMN ops.rejected_rows.city_id IS 'The city named in the row; null if no city has that name';

CREATE INDEX idx_rejected_rows_batch ON ops.rejected_rows (batch_id, file, line);
COMMENT ON INDEX ops.idx_rejected_rows_batch IS 'Serves the rejected rows of a batch in file order';

/* The first rows of a city may not show the interval length: a file of one row, or a few rows with gaps. They are
   stored with an estimate, which this table records until enough rows confirm the length. */
CREATE TABLE ops.provisional_intervals (
    city_id         UUID NOT NULL REFERENCES cities (id),
    kind            TEXT NOT NULL,
    first_timestamp TIMESTAMP WITH TIME ZONE NOT NULL,
    last_timestamp  TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT provisional_interval_key PRIMARY KEY (city_id, kind),
    CONSTRAINT provisional_interval_kind CHECK (kind IN ('consumption', 'weather')),
    CONSTRAINT provisional_interval_order CHECK (last_timestamp >= first_timestamp)
);
COMMENT ON TABLE ops.provisional_intervals IS
    'Cities whose interval length is based on fewer than 24 equal gaps. A batch with another length corrects '
    'interval_minutes of the values in the range; a batch with enough gaps, or whose user states the length, deletes '
    'the row';
COMMENT ON COLUMN ops.provisional_intervals.first_timestamp IS
    'START of the first interval whose length may be corrected, UTC';
COMMENT ON COLUMN ops.provisional_intervals.last_timestamp IS
    'START of the last interval whose length may be corrected, UTC';

CREATE TABLE ops.attached_months (
    table_name     TEXT NOT NULL,
    partition_name TEXT NOT NULL,
    loaded_by      NAME NOT NULL DEFAULT session_user,
    created_at     TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    CONSTRAINT attached_month_key PRIMARY KEY (partition_name, created_at)
);
COMMENT ON TABLE ops.attached_months IS
    'The months that a batch filled before attaching them, one row per month. Its triggers write the entries of '
    'audit_log that a statement on the table would have written. Append-only';
COMMENT ON COLUMN ops.attached_months.created_at IS
    'Equals created_at of the batch in ops.ingest_batches, and of its rows';

CREATE TABLE ops.begun_months (
    partition_name TEXT NOT NULL,
    transaction_id XID8 NOT NULL DEFAULT pg_current_xact_id()
);
COMMENT ON TABLE ops.begun_months IS
    'The months that open transactions are filling. Always empty after a commit, because a transaction that does not '
    'attach its months fails';

CREATE TABLE ops.quality_flags (
    city_id         UUID NOT NULL REFERENCES cities (id),
    series          TEXT NOT NULL,
    kind            TEXT NOT NULL,
    first_timestamp TIMESTAMP WITH TIME ZONE NOT NULL,
    last_timestamp  TIMESTAMP WITH TIME ZONE NOT NULL,
    hours           INTEGER NOT NULL,
    factor          DOUBLE PRECISION,
    left_out        BOOLEAN NOT NULL,
    batch_id        UUID NOT NULL REFERENCES ops.ingest_batches (id),
    created_at      TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    CONSTRAINT quality_flag_key PRIMARY KEY (city_id, series, kind, first_timestamp),
    CONSTRAINT quality_flag_series CHECK (series IN ('consumption', 'weather')),
    CONSTRAINT quality_flag_kind CHECK (kind IN (
        'gap',     -- no value, or not all intervals of an hour
        'overlap', -- overlapping intervals, which count energy twice
        'zero',    -- not positive, although the expected load is
        'spike',   -- far above the same hour of the days before, or the neighbouring hours
        'dip',     -- far below them
        'stuck',   -- a repeated value
        'unit',    -- about a thousand times the expected value, or a thousandth
        'level'    -- a lasting change of the level; the hours remain in use
    )),
    CONSTRAINT quality_flag_span CHECK (last_timestamp >= first_timestamp AND hours > 0)
);
COMMENT ON TABLE ops.quality_flags IS
    'Faults that the check after a batch found in a series of a city, for users: ranges of hours. A check replaces the '
    'flags of the range of its batch. Training and scores do not read them, but check the data known at their time';
COMMENT ON COLUMN ops.quality_flags.first_timestamp IS 'START of the first hour, UTC';
COMMENT ON COLUMN ops.quality_flags.last_timestamp IS 'START of the last hour, UTC';
COMMENT ON COLUMN ops.quality_flags.hours IS 'Number of hours; 1 for a level change, which has no end';
COMMENT ON COLUMN ops.quality_flags.factor IS 'Ratio to the expected value, for unit and level';
COMMENT ON COLUMN ops.quality_flags.left_out IS
    'Whether training and scores exclude the hours; the values are not changed';
COMMENT ON COLUMN ops.quality_flags.batch_id IS 'The batch after which the fault was found';

CREATE TABLE ops.pending_checks (
    city_id         UUID NOT NULL REFERENCES cities (id),
    series          TEXT NOT NULL,
    batch_id        UUID NOT NULL REFERENCES ops.ingest_batches (id),
    first_timestamp TIMESTAMP WITH TIME ZONE NOT NULL,
    last_timestamp  TIMESTAMP WITH TIME ZONE NOT NULL,
    created_at      TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    CONSTRAINT pending_check_key PRIMARY KEY (city_id, series, batch_id),
    CONSTRAINT pending_check_series CHECK (series IN ('consumption', 'weather')),
    CONSTRAINT pending_check_order CHECK (last_timestamp >= first_timestamp)
);
COMMENT ON TABLE ops.pending_checks IS
    'Queue of the checks for faults: the range of a city''s series that a batch changed, written in the transaction of the '
    'batch. The check deletes the row in the transaction that stores its flags, so no check is lost';
COMMENT ON COLUMN ops.pending_checks.first_timestamp IS 'START of the first changed interval, UTC';
COMMENT ON COLUMN ops.pending_checks.last_timestamp IS 'START of the last changed interval, UTC';
