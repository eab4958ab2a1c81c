CREATE OR REPLACE FUNCTION weather_as_of(
    city uuid, as_of timestamptz, first_time timestamptz, end_time timestamptz)
    RETURNS TABLE ("timestamp" timestamptz, temperature numeric, humidity numeric, wind_speed numeric,
                   precipitation numeric, interval_minutes smallint, available_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER PARALLEL RESTRICTED
    SET search_path = pg_catalog, public, pg_temp
    AS $$
    SELECT DISTINCT ON (v.timestamp)
        v.timestamp, v.temperature, v.humidity, v.wind_speed, v.precipitation, v.interval_minutes, v.available_at
    FROM (
        SELECT w.timestamp, w.temperature, w.humidity, w.wind_speed, w.precipitation, w.interval_minutes,
               w.available_at, w.created_at
        FROM public.weather_data w
        WHERE w.city_id = city AND w.timestamp >= first_time AND w.timestamp < end_time AND w.available_at <= as_of
        UNION ALL
        SELECT r.timestamp, r.temperature, r.humidity, r.wind_speed, r.precipitation, r.interval_minutes,
               r.available_at, r.created_at
        FROM public.weather_data_revisions r
        WHERE r.city_id = city AND r.timestamp >= first_time AND r.timestamp < end_time AND r.available_at <= as_of
    ) v
    WHERE public.may_read_city(city)
    ORDER BY v.timestamp, v.available_at DESC, v.created_at DESC
$$;
COMMENT ON FUNCTION weather_as_of(uuid, timestamptz, timestamptz, timestamptz) IS
    'Observed weather of a city in [first_time, end_time) as it could be known at a moment';
