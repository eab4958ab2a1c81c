CREATE TABLE ops.begun_months (
    partition_name TEXT NOT NULL,
    transaction_id XID8 NOT NULL DEFAULT pg_current_xact_id()
);
COMMENT ON TABLE ops.begun_months IS
    'The months that open transactions fill beside their table. Always empty: what was begun and is not attached when its transaction commits makes it fail';
