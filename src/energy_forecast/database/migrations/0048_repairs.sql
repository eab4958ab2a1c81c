CREATE TABLE ops.repairs (
    id          UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    fault       TEXT NOT NULL,
    repaired_by NAME NOT NULL DEFAULT session_user,
    created_at  TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP
);
COMMENT ON TABLE ops.repairs IS
    'Differences from the expected protection that `db upgrade` ended: one row a fault, with an entry in audit_log, since changes of roles have no other. Append-only';
COMMENT ON COLUMN ops.repairs.fault IS 'The object and the difference, as `doctor audit` reports it';
