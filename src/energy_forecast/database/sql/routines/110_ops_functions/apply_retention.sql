CREATE OR REPLACE FUNCTION ops.apply_retention(
    relation text, partition_name text, first_time timestamptz, last_time timestamptz, run uuid DEFAULT NULL,
    OUT outcome text, OUT row_count bigint, OUT byte_count bigint, OUT revision_count bigint, OUT detail text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
BEGIN
    IF partition_name IS NULL THEN
        SELECT d.outcome, d.row_count, d.byte_count INTO outcome, row_count, byte_count
        FROM ops.delete_month(relation, first_time, last_time, run) d;
    ELSE
        SELECT d.outcome, d.row_count, d.byte_count, d.revision_count, d.detail
        INTO outcome, row_count, byte_count, revision_count, detail
        FROM ops.drop_month(partition_name, run) d;
    END IF;
END $$;
COMMENT ON FUNCTION ops.apply_retention(text, text, timestamptz, timestamptz, uuid) IS
    'Removes the data of one row of ops.retention_due(), in one transaction';
