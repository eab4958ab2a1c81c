/* Creates the table of a month, which attach_month_table() attaches to its parent. Empty months created in advance and
   months filled by a load use the same two functions, so that all partitions are alike.

   LIKE and ATTACH, because CREATE TABLE ... PARTITION OF would block every reader while it waits. */
CREATE OR REPLACE FUNCTION make_month_table(parent text, into_schema text, name text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, public, pg_temp
    AS $$
BEGIN
    EXECUTE format('CREATE TABLE %I.%I (LIKE public.%I INCLUDING ALL EXCLUDING INDEXES EXCLUDING COMMENTS)',
                   into_schema, name, parent);
END $$;
COMMENT ON FUNCTION make_month_table(text, text, text) IS 'Creates the table of a month, without indexes and not attached as a partition';
