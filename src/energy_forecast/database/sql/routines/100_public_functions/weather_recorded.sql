/* For explanations: available_at is stated by the source, and a late value may state the end of its interval. Of the
   versions of a value recorded by `recorded_by`, the last one counts. */
CREATE OR REPLACE FUNCTION weather_recorded(
    city uuid, as_of timestamptz, recorded_by timestamptz, first_time timestamptz, end_time timestamptz)
    RETURNS TABLE ("timestamp" timestamptz, temperature numeric, humidity numeric, wind_speed numeric,
                   precipitation numeric)
    LANGUAGE sql STABLE SECURITY DEFINER PARALLEL RESTRICTED
    SET search_path = pg_catalog, public, pg_temp
    AS $$
    SELECT DISTINCT ON (v.timestamp) v.timestamp, v.temperature, v.humidity, v.wind_speed, v.precipitation
    FROM (
        SELECT c.timestamp, c.temperature, c.humidity, c.wind_speed, c.precipitation, c.available_at, c.created_at
        FROM public.weather_data c
        WHERE c.city_id = city AND c.timestamp >= first_time AND c.timestamp < end_time
        UNION ALL
        SELECT r.timestamp, r.temperature, r.humidity, r.wind_speed, r.precipitation, r.available_at, r.created_at
        FROM public.weather_data_revisions r
        WHERE r.city_id = city AND r.timestamp >= first_time AND r.timestamp < end_time
    ) v
    WHERE v.available_at <= as_of AND v.created_at <= recorded_by AND public.may_read_city(city)
    ORDER BY v.timestamp, v.available_at DESC, v.created_at DESC
$$;
COMMENT ON FUNCTION weather_recorded(uuid, timestamptz, timestamptz, timestamptz, timestamptz) IS
    'As weather_as_of, limited to values that this database had recorded by a second time';
