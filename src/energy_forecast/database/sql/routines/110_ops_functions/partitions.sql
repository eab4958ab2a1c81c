CREATE OR REPLACE FUNCTION ops.partitions()
    RETURNS TABLE (table_name text, partition_name text, key_column text, range_start timestamptz,
                   range_end timestamptz, city_id uuid, is_shared boolean, detach_pending boolean, byte_count bigint,
                   estimated_rows bigint)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
    AS $$
    SELECT p.relname::text, c.relname::text, a.attname::text,
           substring(b.bound FROM $re$FROM \('([^']+)'\)$re$)::timestamptz,
           substring(b.bound FROM $re$TO \('([^']+)'\)$re$)::timestamptz,
           substring(b.bound FROM $re$IN \('([^']+)'\)$re$)::uuid,
           b.bound = 'DEFAULT', i.inhdetachpending, b.byte_count,
           CASE WHEN c.reltuples >= 0 THEN c.reltuples::bigint END
    FROM pg_inherits i
    JOIN pg_class c ON c.oid = i.inhrelid AND c.relkind = 'r'
    JOIN pg_class p ON p.oid = i.inhparent AND p.relkind = 'p' AND p.relnamespace = 'public'::regnamespace
    JOIN pg_partitioned_table t ON t.partrelid = p.oid
    JOIN pg_attribute a ON a.attrelid = p.oid AND a.attnum = t.partattrs[0]
    CROSS JOIN LATERAL (SELECT pg_get_expr(c.relpartbound, c.oid), pg_total_relation_size(c.oid)) AS b(bound, byte_count)
    -- Null if another session dropped it since this query began
    WHERE b.bound IS NOT NULL AND b.byte_count IS NOT NULL
    ORDER BY p.relname, c.relname
$$;
COMMENT ON FUNCTION ops.partitions() IS
    'Every partition with its range (UTC) or city, bytes with indexes, and the planner''s estimate of rows (null: never analyzed)';
