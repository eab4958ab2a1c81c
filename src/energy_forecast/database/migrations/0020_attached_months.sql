CREATE TABLE ops.attached_months (
    table_name     TEXT NOT NULL,
    partition_name TEXT NOT NULL,
    loaded_by      NAME NOT NULL DEFAULT session_user,
    created_at     TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT attached_month_key PRIMARY KEY (partition_name, created_at)
);
COMMENT ON TABLE ops.attached_months IS
    'The months that a load filled beside their table and attached, one row a month. Its triggers write the entries of audit_log that a statement on the table would have written. Append-only';
COMMENT ON COLUMN ops.attached_months.created_at IS 'Equals created_at of the load in ops.ingest_batches, and of its rows';
