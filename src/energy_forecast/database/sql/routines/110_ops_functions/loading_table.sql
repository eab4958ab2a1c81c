/* New months are filled in separate tables, without indexes and triggers, by the transaction that finally attaches them.
   Other sessions do not see tables of an open transaction, so the tables need no protection, no locks against other loads
   and no cleanup after a killed load. The name contains the transaction id, so concurrent loads do not conflict. */
CREATE OR REPLACE FUNCTION ops.loading_table(partition_name text) RETURNS regclass
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT to_regclass(format('ops.%I', partition_name || '_' || pg_current_xact_id()::text)) $$;
COMMENT ON FUNCTION ops.loading_table(text) IS 'The table that this transaction fills for a partition, or null';
