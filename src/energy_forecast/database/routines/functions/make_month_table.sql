/* A month's table beside its parent, and its way into it. Those made empty ahead of time and those that a load has filled
   go through the same two functions, so that no partition differs from another.

   LIKE and ATTACH, since CREATE TABLE ... PARTITION OF would lock every reader out while it waits. */
CREATE OR REPLACE FUNCTION make_month_table(parent text, into_schema text, name text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, public, pg_temp
    AS $$
BEGIN
    EXECUTE format('CREATE TABLE %I.%I (LIKE public.%I INCLUDING ALL EXCLUDING INDEXES EXCLUDING COMMENTS)',
                   into_schema, name, parent);
END $$;
COMMENT ON FUNCTION make_month_table(text, text, text) IS 'Makes the table of a month, with no index and not yet a partition';
