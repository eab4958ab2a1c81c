-- A load stores a limited number of rejected rows and counts the others; retention deletes old ones
ALTER TABLE ops.rejected_rows ADD COLUMN cell_only BOOLEAN NOT NULL DEFAULT false;
COMMENT ON TABLE ops.rejected_rows IS
    'Quarantine: rows that a load could not use, and cells that it left empty, as read. A load keeps a limited number of them. Never changed; retention deletes old ones';
COMMENT ON COLUMN ops.rejected_rows.cell_only IS
    'True: only the cell of column_name was left empty; the row was used without it, or has an entry of its own';

ALTER TABLE ops.ingest_batches
    ADD COLUMN cells_left_empty BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN reasons JSONB NOT NULL DEFAULT '[]',
    ADD CONSTRAINT ingest_batch_cells CHECK (cells_left_empty >= 0);
COMMENT ON COLUMN ops.ingest_batches.rejected IS 'Rejected rows, also those that ops.rejected_rows does not keep';
COMMENT ON COLUMN ops.ingest_batches.cells_left_empty IS 'Optional cells with an implausible value, which were left empty; their rows were used';
COMMENT ON COLUMN ops.ingest_batches.reasons IS
    'Array of column, reason, count and cell_only: how many rows (or cells) were rejected for each reason, values replaced by three dots. Empty for loads before migration 0042';

ALTER TABLE ops.retention_policies DROP CONSTRAINT retention_policy_table;
ALTER TABLE ops.retention_policies ADD CONSTRAINT retention_policy_table CHECK (table_name IN (
    'energy_consumption', 'weather_data', 'weather_forecasts', 'prediction_vintages', 'predictions', 'model_metrics',
    'rejected_rows'));
INSERT INTO ops.retention_policies (table_name, keep, by_month, note) VALUES
    ('rejected_rows', interval '180 days', false, 'The counts and reasons of each load stay');
