/* An hour with an hour: rows of ten minutes joined to rows of ten minutes by the hour would count each six times. The
   phase is worked out once: once a row of weather, it made 30 days of ten minutes take 65 s. One plan for all bounds, as in
   consumption_from_values(): it knows no numbers of rows, so it may not compare each hour of one side with each of the other. */
CREATE OR REPLACE FUNCTION consumption_with_temperature(city uuid, first_time timestamptz, end_time timestamptz)
    RETURNS TABLE (hour timestamptz, total_consumption numeric, minutes_known integer, temperature numeric)
    LANGUAGE plpgsql STABLE SECURITY INVOKER
    SET search_path = pg_catalog, public, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_nestloop = off
    AS $$
#variable_conflict use_column
DECLARE
    phase integer := public.city_hour_phase(city, end_time);
BEGIN
    RETURN QUERY
    SELECT c.hour, c.total_consumption, c.minutes_known, w.temperature
    FROM public.consumption_by_hour(city, first_time, end_time, phase) AS c
    LEFT JOIN (
        SELECT date_bin('1 hour', d.timestamp, timestamptz '2000-01-01 00:00:00+00' + make_interval(mins => phase)) AS hour,
               avg(d.temperature) AS temperature
        FROM public.weather_data d
        WHERE d.city_id = city AND d.timestamp >= first_time - interval '1 hour' AND d.timestamp < end_time
        GROUP BY 1) AS w ON w.hour = c.hour
    ORDER BY c.hour;
END $$;
COMMENT ON FUNCTION consumption_with_temperature(uuid, timestamptz, timestamptz) IS
    'Consumption of a city by hour, kWh, beside the mean temperature of that hour, degrees Celsius; null where there is no weather';
