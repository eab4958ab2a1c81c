CREATE OR REPLACE FUNCTION ensure_partitions_ahead(months integer DEFAULT 3)
    RETURNS integer
    LANGUAGE sql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
    SELECT sum(public.ensure_month_partitions(parent, now(), now() + make_interval(months => months)))::integer
    FROM unnest(ARRAY['energy_consumption', 'weather_data', 'weather_forecasts', 'prediction_vintages']) AS parent
$$;
COMMENT ON FUNCTION ensure_partitions_ahead(integer) IS
    'Creates the missing partitions of this month and the coming months; returns their number';
