CREATE OR REPLACE FUNCTION hourly_weather_as_of(
    city uuid, as_of timestamptz, first_time timestamptz, end_time timestamptz, phase_minutes integer DEFAULT 0)
    RETURNS TABLE ("timestamp" timestamptz, temperature double precision, humidity double precision,
                   wind_speed double precision, precipitation double precision)
    LANGUAGE sql STABLE SECURITY DEFINER PARALLEL RESTRICTED
    SET search_path = pg_catalog, public, pg_temp
    AS $$
    SELECT date_bin('1 hour', w.timestamp, o.origin),
           avg(w.temperature::double precision), avg(w.humidity::double precision),
           avg(w.wind_speed::double precision), sum(w.precipitation::double precision)
    FROM public.weather_as_of(city, as_of, first_time, end_time) w,
         -- Once, and not for each row
         (SELECT timestamptz '2000-01-01 00:00:00+00' + make_interval(mins => phase_minutes) AS origin OFFSET 0) o
    GROUP BY 1
    ORDER BY 1
$$;
COMMENT ON FUNCTION hourly_weather_as_of(uuid, timestamptz, timestamptz, timestamptz, integer) IS
    'Observed weather of a city by hour (means; precipitation summed, mm) as it could be known at a moment';
