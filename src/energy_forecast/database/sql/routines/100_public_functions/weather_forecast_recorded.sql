CREATE OR REPLACE FUNCTION weather_forecast_recorded(
    city uuid, as_of timestamptz, recorded_by timestamptz, first_time timestamptz, end_time timestamptz)
    RETURNS TABLE ("timestamp" timestamptz, temperature numeric, humidity numeric, wind_speed numeric,
                   precipitation numeric)
    LANGUAGE sql STABLE SECURITY DEFINER PARALLEL RESTRICTED
    SET search_path = pg_catalog, public, pg_temp
    AS $$
    SELECT DISTINCT ON (f.timestamp) f.timestamp, f.temperature, f.humidity, f.wind_speed, f.precipitation
    FROM public.weather_forecasts f
    WHERE f.city_id = city AND f.timestamp >= first_time AND f.timestamp < end_time AND f.issued_at <= as_of
      AND f.created_at <= recorded_by AND public.may_read_city(city)
    ORDER BY f.timestamp, f.issued_at DESC
$$;
COMMENT ON FUNCTION weather_forecast_recorded(uuid, timestamptz, timestamptz, timestamptz, timestamptz) IS
    'As weather_forecast_as_of, limited to values that this database had recorded by a second time';
