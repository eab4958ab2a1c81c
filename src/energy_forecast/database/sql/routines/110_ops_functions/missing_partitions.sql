CREATE OR REPLACE FUNCTION ops.missing_partitions(months integer DEFAULT 3)
    RETURNS TABLE (table_name text, partition_name text, stands_alone boolean)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
    AS $$
    SELECT w.parent, w.name, to_regclass('public.' || w.name) IS NOT NULL
    FROM (
        SELECT parent, parent || to_char(month AT TIME ZONE 'UTC', '"_y"YYYY"m"MM') AS name
        FROM unnest(ARRAY['energy_consumption', 'weather_data', 'weather_forecasts', 'prediction_vintages']) AS parent,
             generate_series(date_trunc('month', now(), 'UTC') - interval '1 month',
                             now() + make_interval(months => months), interval '1 month') AS month) w
    WHERE NOT EXISTS (
        SELECT FROM ops.partitions() p
        WHERE p.table_name = w.parent AND p.partition_name = w.name AND NOT p.detach_pending)
    ORDER BY 1, 2
$$;
COMMENT ON FUNCTION ops.missing_partitions(integer) IS
    'The missing monthly partitions from last month on; stands_alone: the table exists but is detached, and blocks the name';
