/* Joins hours to hours: joining ten-minute rows by the hour would count each row six times. The phase is computed once:
   computed per row of weather, 30 days of ten-minute values took 65 s. One plan for all bounds, as in
   consumption_from_values(). It has no row estimates, so nested loops are disabled. */
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
    'Consumption of a city by hour, kWh, with the mean temperature of that hour, degrees Celsius; null without weather';
