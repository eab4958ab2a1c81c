CREATE OR REPLACE FUNCTION ops.hourly_differences()
    RETURNS TABLE (city_id uuid, hour timestamptz, shown_consumption numeric, true_consumption numeric,
                   shown_peak numeric, true_peak numeric, shown_minutes integer, true_minutes integer)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    -- In another zone the view's 30 days would be an hour longer or shorter across a clock change
    SET timezone = 'UTC'
    AS $$
    SELECT coalesce(s.city_id, t.city_id), coalesce(s.hour, t.hour), s.total_consumption, t.total_consumption,
           s.peak_demand, t.peak_demand, s.covered_minutes, t.covered_minutes
    FROM public.city_hourly_consumption s
    FULL JOIN ops.consumption_by_hour() t ON t.city_id = s.city_id AND t.hour = s.hour
    WHERE (s.total_consumption, s.peak_demand, s.covered_minutes)
        IS DISTINCT FROM (t.total_consumption, t.peak_demand, t.covered_minutes)
    ORDER BY 1, 2
$$;
COMMENT ON FUNCTION ops.hourly_differences() IS
    'The hours of which users see other values than the facts, kWh and kW; no row if they are equal';
