/* The audit triggers of bulk facts are on the parent, and a statement on a partition does not fire them. Only the owner
   and superusers can run such a statement; it is rejected. */
CREATE OR REPLACE FUNCTION guard_partition(partition regclass) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, public, pg_temp
    AS $$
BEGIN
    EXECUTE format('CREATE OR REPLACE TRIGGER through_parent BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s'
        ' FOR EACH STATEMENT EXECUTE FUNCTION public.reject_change(%L)', partition,
        'a partition is written through its table, which is audited, and never truncated');
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER through_parent', partition);
END $$;
COMMENT ON FUNCTION guard_partition(regclass) IS 'Makes a partition reject direct changes; called for every new partition';
