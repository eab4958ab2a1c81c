/* If no value of the range was revised, the stored rows are the only versions, in key order. Selecting and sorting versions
   was two thirds of the time. Otherwise the last version by `as_of` counts. One plan for all bounds, as in
   consumption_from_values(). consumption_as_of() repeats it with other columns: one text for both would be dynamic SQL. */
CREATE OR REPLACE FUNCTION weather_as_of(
    city uuid, as_of timestamptz, first_time timestamptz, end_time timestamptz)
    RETURNS TABLE ("timestamp" timestamptz, temperature numeric, humidity numeric, wind_speed numeric,
                   precipitation numeric, interval_minutes smallint, available_at timestamptz)
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED
    SET search_path = pg_catalog, public, pg_temp
    SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
BEGIN
    IF NOT public.may_read_city(city) THEN
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM public.weather_data_revisions r
                   WHERE r.city_id = city AND r.timestamp >= first_time AND r.timestamp < end_time) THEN
        RETURN QUERY
        SELECT v.timestamp, v.temperature, v.humidity, v.wind_speed, v.precipitation, v.interval_minutes, v.available_at
        FROM public.weather_data v
        WHERE v.city_id = city AND v.timestamp >= first_time AND v.timestamp < end_time AND v.available_at <= as_of
        ORDER BY v.timestamp;
        RETURN;
    END IF;
    RETURN QUERY
    SELECT DISTINCT ON (v.timestamp)
        v.timestamp, v.temperature, v.humidity, v.wind_speed, v.precipitation, v.interval_minutes, v.available_at
    FROM (
        SELECT c.timestamp, c.temperature, c.humidity, c.wind_speed, c.precipitation, c.interval_minutes, c.available_at, c.created_at
        FROM public.weather_data c
        WHERE c.city_id = city AND c.timestamp >= first_time AND c.timestamp < end_time AND c.available_at <= as_of
        UNION ALL
        SELECT r.timestamp, r.temperature, r.humidity, r.wind_speed, r.precipitation, r.interval_minutes, r.available_at, r.created_at
        FROM public.weather_data_revisions r
        WHERE r.city_id = city AND r.timestamp >= first_time AND r.timestamp < end_time AND r.available_at <= as_of
    ) v
    ORDER BY v.timestamp, v.available_at DESC, v.created_at DESC;
END $$;
COMMENT ON FUNCTION weather_as_of(uuid, timestamptz, timestamptz, timestamptz) IS
    'Observed weather of a city in [first_time, end_time) as known at a time';
