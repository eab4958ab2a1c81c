CREATE OR REPLACE FUNCTION hourly_load_as_of(
    city uuid, as_of timestamptz, first_time timestamptz, end_time timestamptz, phase_minutes integer DEFAULT 0)
    RETURNS TABLE ("timestamp" timestamptz, consumption_kwh double precision)
    LANGUAGE sql STABLE SECURITY DEFINER PARALLEL RESTRICTED
    SET search_path = pg_catalog, public, pg_temp
    AS $$
    SELECT date_bin('1 hour', c.timestamp, o.origin),
           sum(c.consumption_kwh)::double precision
    FROM public.consumption_as_of(city, as_of, first_time, end_time) c,
         -- Once, and not for each row
         (SELECT timestamptz '2000-01-01 00:00:00+00' + make_interval(mins => phase_minutes) AS origin OFFSET 0) o
    GROUP BY 1
    -- A part of an hour is not an hour, and hours that overlap count twice
    HAVING sum(c.interval_minutes) = 60
    ORDER BY 1
$$;
COMMENT ON FUNCTION hourly_load_as_of(uuid, timestamptz, timestamptz, timestamptz, integer) IS
    'Consumption of a city by hour, kWh, as it could be known at a moment; whole hours only';
