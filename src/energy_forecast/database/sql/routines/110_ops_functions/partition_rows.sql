/* Counts through the parent, which has a policy for the owner; a partition has none and shows no rows. */
CREATE OR REPLACE FUNCTION ops.partition_rows(exact_below bigint)
    RETURNS TABLE (table_name text, partition_name text, range_start timestamptz, range_end timestamptz, city_id uuid,
                   city text, is_shared boolean, detach_pending boolean, row_count bigint, is_exact boolean,
                   byte_count bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
    AS $$
DECLARE
    part record;
    condition text;
BEGIN
    FOR part IN SELECT p.*, c.name FROM ops.partitions() p LEFT JOIN public.cities c ON c.id = p.city_id
                ORDER BY p.table_name, p.range_start, p.is_shared DESC, c.name LOOP
        table_name := part.table_name;
        partition_name := part.partition_name;
        range_start := part.range_start;
        range_end := part.range_end;
        city_id := part.city_id;
        city := part.name;
        is_shared := part.is_shared;
        detach_pending := part.detach_pending;
        byte_count := part.byte_count;
        row_count := part.estimated_rows;
        is_exact := part.byte_count < exact_below AND NOT part.detach_pending;
        IF is_exact THEN
            condition := CASE
                WHEN part.city_id IS NOT NULL THEN format('city_id = %L', part.city_id)
                WHEN part.is_shared THEN format('city_id <> ALL (%L::uuid[])', ARRAY(
                    SELECT o.city_id FROM ops.partitions() o
                    WHERE o.table_name = part.table_name AND o.city_id IS NOT NULL))
                ELSE format('%1$I >= %2$L AND %1$I < %3$L', part.key_column, part.range_start, part.range_end) END;
            EXECUTE format('SELECT count(*) FROM public.%I WHERE %s', part.table_name, condition) INTO row_count;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;
COMMENT ON FUNCTION ops.partition_rows(bigint) IS
    'Every partition with its rows: counted if it is smaller than exact_below bytes, otherwise the planner''s estimate';
