CREATE OR REPLACE FUNCTION hourly_weather_forecast_as_of(
    city uuid, as_of timestamptz, first_time timestamptz, end_time timestamptz, phase_minutes integer DEFAULT 0)
    RETURNS TABLE ("timestamp" timestamptz, temperature double precision, humidity double precision,
                   wind_speed double precision, precipitation double precision)
    LANGUAGE sql STABLE SECURITY DEFINER PARALLEL RESTRICTED
    SET search_path = pg_catalog, public, pg_temp
    AS $$
    SELECT date_bin('1 hour', f.timestamp, o.origin),
           avg(f.temperature::double precision), avg(f.humidity::double precision),
           avg(f.wind_speed::double precision), sum(f.precipitation::double precision)
    FROM public.weather_forecast_as_of(city, as_of, first_time, end_time) f,
         -- Once, and not for each row
         (SELECT timestamptz '2000-01-01 00:00:00+00' + make_interval(mins => phase_minutes) AS origin OFFSET 0) o
    GROUP BY 1
    ORDER BY 1
$$;
COMMENT ON FUNCTION hourly_weather_forecast_as_of(uuid, timestamptz, timestamptz, timestamptz, integer) IS
    'The latest weather forecast by hour that was issued by a moment';
