/* Months that do not exist yet are filled beside their table, without index and trigger, by the transaction that attaches
   them in the end. Nobody else sees a table of a transaction that is still open, so nothing has to be hidden, guarded
   against other loads, or cleared away after one that was killed. The name holds the transaction's number, so that loads
   beside each other never meet. */
CREATE OR REPLACE FUNCTION ops.loading_table(partition_name text) RETURNS regclass
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT to_regclass(format('ops.%I', partition_name || '_' || pg_current_xact_id()::text)) $$;
COMMENT ON FUNCTION ops.loading_table(text) IS 'The table that this transaction fills for a partition; null where there is none';
