CREATE OR REPLACE FUNCTION weather_forecast_as_of(
    city uuid, as_of timestamptz, first_time timestamptz, end_time timestamptz)
    RETURNS TABLE ("timestamp" timestamptz, issued_at timestamptz, temperature numeric, humidity numeric,
                   wind_speed numeric, precipitation numeric)
    LANGUAGE sql STABLE SECURITY DEFINER PARALLEL RESTRICTED
    SET search_path = pg_catalog, public, pg_temp
    AS $$
    SELECT DISTINCT ON (f.timestamp)
        f.timestamp, f.issued_at, f.temperature, f.humidity, f.wind_speed, f.precipitation
    FROM public.weather_forecasts f
    WHERE f.city_id = city AND f.timestamp >= first_time AND f.timestamp < end_time AND f.issued_at <= as_of
      AND public.may_read_city(city)
    ORDER BY f.timestamp, f.issued_at DESC
$$;
COMMENT ON FUNCTION weather_forecast_as_of(uuid, timestamptz, timestamptz, timestamptz) IS
    'The latest weather forecast for each hour in [first_time, end_time) that was issued by a time; no row if its lead time was removed (kept_lead_hours of ops.dropped_data)';
