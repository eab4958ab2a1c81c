CREATE TABLE ops.fact_baselines (
    table_name TEXT PRIMARY KEY,
    taken_by   NAME NOT NULL DEFAULT session_user,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP
);
COMMENT ON TABLE ops.fact_baselines IS
    'When the rows of a table of facts were first summed up; the entry of audit_log has the sums. From then on every change has sums of its own, and `doctor audit` compares. Append-only';

-- audit_sums_query() replaces them
DROP FUNCTION IF EXISTS audit_block_query(text, text, text, text), audit_batch_query(text);
