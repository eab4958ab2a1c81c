/* The text of a row depends on settings, so these are fixed. One digest per city and day, and one over those digests: the
   text of all rows would exceed the limit of one gigabyte per value. With `deleting`, exactly the deleted rows are
   digested, independent of concurrent commits. */
CREATE OR REPLACE FUNCTION ops.digest_rows(
    source text, key_column text, first_time timestamptz, end_time timestamptz, deleting boolean DEFAULT false,
    least_lead_hours integer DEFAULT NULL,
    OUT row_count bigint, OUT byte_count bigint, OUT digest bytea)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
    SET datestyle = 'ISO, YMD'
    SET intervalstyle = 'postgres'
    SET extra_float_digits = 1
    SET bytea_output = 'hex'
    AS $$
DECLARE
    in_range text := format('FROM %5$I.%1$I AS t WHERE t.%2$I >= %3$L AND t.%2$I < %4$L',
                            source, key_column, first_time, end_time,
                            CASE source WHEN 'rejected_rows' THEN 'ops' ELSE 'public' END)
                     || CASE WHEN least_lead_hours IS NULL THEN ''
                            ELSE format(' AND t.timestamp - t.issued_at >= make_interval(hours => %s)', least_lead_hours) END;
BEGIN
    EXECUTE format($statement$
        WITH chosen AS (%s)
        SELECT coalesce(sum(d.row_count), 0), coalesce(sum(d.byte_count), 0),
               sha256(coalesce(string_agg(d.digest, ''::bytea ORDER BY d.owner, d.day), ''::bytea))
        FROM (
            SELECT c.%I AS owner, date_trunc('day', c.%I, 'UTC') AS day, count(*) AS row_count,
                   sum(pg_column_size(c.*)) AS byte_count,
                   sha256(convert_to(string_agg(c::text, E'\n' ORDER BY c::text COLLATE "C"), 'UTF8')) AS digest
            FROM chosen c
            GROUP BY 1, 2) d
        $statement$,
        CASE WHEN deleting THEN 'DELETE ' || in_range || ' RETURNING t.*' ELSE 'SELECT t.* ' || in_range END,
        CASE source WHEN 'model_metrics' THEN 'model_id' WHEN 'rejected_rows' THEN 'batch_id' ELSE 'city_id' END, key_column)
    INTO row_count, byte_count, digest;
END $$;
COMMENT ON FUNCTION ops.digest_rows(text, text, timestamptz, timestamptz, boolean, integer) IS
    'Counts and digests the rows of a table in [first_time, end_time), or those with at least a lead time, for ops.dropped_data; can delete them as well';
