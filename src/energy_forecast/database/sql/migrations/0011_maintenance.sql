-- Retention, maintenance runs, and the removals

CREATE TABLE ops.retention_policies (
    table_name      TEXT PRIMARY KEY,
    keep            INTERVAL,
    thin_after      INTERVAL,
    kept_lead_hours SMALLINT,
    keep_scored     BOOLEAN NOT NULL DEFAULT true,
    by_month        BOOLEAN NOT NULL,
    note            TEXT NOT NULL,
    changed_at      TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    changed_by      NAME NOT NULL DEFAULT session_user,
    CONSTRAINT retention_policy_table CHECK (table_name IN ('energy_consumption', 'weather_data', 'weather_forecasts',
        'prediction_vintages', 'predictions', 'model_metrics', 'rejected_rows')),
    CONSTRAINT retention_policy_keep CHECK (keep >= interval '90 days' AND keep <= interval '100 years'),
    CONSTRAINT retention_policy_thinning CHECK (
        (thin_after IS NULL) = (kept_lead_hours IS NULL) AND (thin_after IS NULL OR table_name = 'weather_forecasts')
        AND thin_after >= interval '90 days' AND thin_after <= interval '100 years'
        AND kept_lead_hours BETWEEN 1 AND 384),
    CONSTRAINT retention_policy_scored CHECK (keep_scored OR table_name = 'prediction_vintages')
);
COMMENT ON TABLE ops.retention_policies IS
    'The retention of each table. `maintain retention` and cleanup_old_data() remove older rows; ops.dropped_data '
    'records the removals';
COMMENT ON COLUMN ops.retention_policies.keep IS 'Null: unlimited';
COMMENT ON COLUMN ops.retention_policies.thin_after IS
    'Age from which months lose the rows with a lead time of kept_lead_hours or more. Null: never';
COMMENT ON COLUMN ops.retention_policies.kept_lead_hours IS
    'Rows with a shorter lead time stay. A read as of a time then finds the same row as before, or none, because of '
    'two rows for an hour the later issue has the shorter lead time';
COMMENT ON COLUMN ops.retention_policies.keep_scored IS
    'Whether a month of vintages to which a stored score refers stays. Otherwise the score stays without its pairs';
COMMENT ON COLUMN ops.retention_policies.by_month IS 'Whether whole UTC months are dropped, or rows deleted';
COMMENT ON CONSTRAINT retention_policy_keep ON ops.retention_policies IS
    'A typing error must not delete a year; naive-168, the hourly view and training read up to months back';

INSERT INTO ops.retention_policies (table_name, keep, by_month, note) VALUES
    ('energy_consumption', NULL, true, 'Training reads all of it'),
    ('weather_data', NULL, true, 'Training reads all of it'),
    ('weather_forecasts', interval '2 years', true, 'Only backtests and explanations read old ones'),
    ('prediction_vintages', interval '2 years', true, 'With keep_scored, a month to which a stored score refers stays'),
    ('predictions', interval '1 year', false, 'The vintages stay longer'),
    ('model_metrics', interval '1 year', false, 'forecast_scores, its detail, stays'),
    ('rejected_rows', interval '180 days', false, 'The counts and reasons of each batch stay');

CREATE TABLE ops.maintenance_runs (
    id          UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    step        TEXT NOT NULL,
    started_at  TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
    finished_at TIMESTAMP WITH TIME ZONE,
    outcome     TEXT,
    details     JSONB NOT NULL DEFAULT '{}',
    run_by      NAME NOT NULL DEFAULT session_user,
    CONSTRAINT maintenance_run_step CHECK (step IN ('partitions', 'retention', 'checks', 'refresh', 'vacuum')),
    CONSTRAINT maintenance_run_outcome CHECK (outcome IN ('done', 'failed', 'interrupted')),
    CONSTRAINT maintenance_run_finished CHECK ((finished_at IS NULL) = (outcome IS NULL) AND finished_at >= started_at)
);
COMMENT ON TABLE ops.maintenance_runs IS
    'One row per maintenance step, inserted at its start and updated once, at its end; no other change is possible';
COMMENT ON COLUMN ops.maintenance_runs.outcome IS
    'Null while it runs. interrupted: the next run found that it had ended without an outcome';
COMMENT ON COLUMN ops.maintenance_runs.details IS 'Results as numbers, and errors';

CREATE INDEX idx_maintenance_runs_started ON ops.maintenance_runs (started_at);
COMMENT ON INDEX ops.idx_maintenance_runs_started IS 'Serves the last runs, newest first';

CREATE TABLE ops.dropped_data (
    id              UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    run_id          UUID REFERENCES ops.maintenance_runs (id),
    table_name      TEXT NOT NULL,
    partition_name  TEXT,
    range_start     TIMESTAMP WITH TIME ZONE NOT NULL,
    range_end       TIMESTAMP WITH TIME ZONE NOT NULL,
    row_count       BIGINT NOT NULL,
    byte_count      BIGINT NOT NULL,
    digest          BYTEA NOT NULL,
    keep            INTERVAL NOT NULL,
    kept_lead_hours SMALLINT,
    dropped_by      NAME NOT NULL DEFAULT session_user,
    dropped_at      TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT dropped_data_range CHECK (range_end > range_start),
    CONSTRAINT dropped_data_counts CHECK (row_count >= 0 AND byte_count >= 0),
    CONSTRAINT dropped_data_digest CHECK (octet_length(digest) = 32)
);
COMMENT ON TABLE ops.dropped_data IS
    'Removals by retention, one row per month, written in the transaction of the removal. Append-only';
COMMENT ON COLUMN ops.dropped_data.run_id IS 'The run of `maintain retention`; null for cleanup_old_data()';
COMMENT ON COLUMN ops.dropped_data.partition_name IS 'The dropped partition; null if rows were deleted';
COMMENT ON COLUMN ops.dropped_data.range_start IS
    'Start of the range of timestamps (issued_at for prediction_vintages)';
COMMENT ON COLUMN ops.dropped_data.range_end IS 'End of the range, exclusive';
COMMENT ON COLUMN ops.dropped_data.byte_count IS
    'Bytes of the partition with its indexes, or of the deleted rows alone';
COMMENT ON COLUMN ops.dropped_data.digest IS
    'SHA-256 of the SHA-256s of each city (each model for model_metrics) and UTC day, in that order; each is over the '
    'rows as text in UTC, sorted bytewise, joined by newlines';
COMMENT ON COLUMN ops.dropped_data.keep IS 'The retention period at that time; thin_after if the month was thinned';
COMMENT ON COLUMN ops.dropped_data.kept_lead_hours IS
    'For a month that was thinned: the removed rows are those with at least this lead time. Null: all rows were removed';

CREATE INDEX idx_dropped_data_range ON ops.dropped_data (table_name, range_start);
COMMENT ON INDEX ops.idx_dropped_data_range IS 'Serves the removals from a table by time';
