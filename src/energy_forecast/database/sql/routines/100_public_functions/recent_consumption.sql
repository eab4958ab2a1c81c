CREATE OR REPLACE FUNCTION recent_consumption(
    city uuid, hours integer DEFAULT 24, until timestamptz DEFAULT now())
    RETURNS TABLE (hour timestamptz, local_hour text, total_consumption numeric, peak_demand numeric,
                   minutes_known integer)
    LANGUAGE plpgsql STABLE SECURITY INVOKER
    SET search_path = pg_catalog, public, pg_temp
    SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
DECLARE
    zone text;
    phase integer;
    end_time timestamptz;
    first_time timestamptz;
BEGIN
    IF (hours BETWEEN 1 AND 87840) IS NOT TRUE THEN
        RAISE EXCEPTION 'hours must be between 1 and 87840, not %', hours USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT c.timezone INTO zone FROM public.cities c WHERE c.id = city;
    IF zone IS NULL THEN
        RETURN;
    END IF;
    phase := public.city_hour_phase(city, until);
    -- The hour that contains `until` is not over; a time at the start of an hour belongs to the hour before
    end_time := date_bin('1 hour', until - interval '1 microsecond',
                         timestamptz '2000-01-01 00:00:00+00' + make_interval(mins => phase)) + interval '1 hour';
    first_time := end_time - make_interval(hours => hours);
    RETURN QUERY
    SELECT h.hour, public.local_time(h.hour, zone), c.total_consumption, c.peak_demand, coalesce(c.minutes_known, 0)
    FROM generate_series(first_time, end_time - interval '1 hour', interval '1 hour') AS h (hour)
    LEFT JOIN public.consumption_by_hour(city, first_time, least(end_time, until), phase) c ON c.hour = h.hour
    ORDER BY h.hour;
END $$;
COMMENT ON FUNCTION recent_consumption(uuid, integer, timestamptz) IS
    'The last hours of a city up to a time, including the current hour and hours without data: kWh in the hour, peak demand in kW, and known minutes';
