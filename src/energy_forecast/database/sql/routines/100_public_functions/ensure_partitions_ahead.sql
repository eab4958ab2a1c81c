CREATE OR REPLACE FUNCTION ensure_partitions_ahead(months integer DEFAULT 3)
    RETURNS integer
    LANGUAGE sql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
    -- Last month too: on its first days a month has no other values than those of the month before
    SELECT sum(public.ensure_month_partitions(parent, date_trunc('month', now(), 'UTC') - interval '1 day',
                                              now() + make_interval(months => months)))::integer
    FROM unnest(ARRAY['energy_consumption', 'weather_data', 'weather_forecasts', 'prediction_vintages']) AS parent
$$;
COMMENT ON FUNCTION ensure_partitions_ahead(integer) IS
    'Creates the missing partitions of last month, this month and the coming months; returns their number';
