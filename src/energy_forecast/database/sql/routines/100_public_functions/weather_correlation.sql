CREATE OR REPLACE FUNCTION weather_correlation(
    city uuid, days integer DEFAULT 30, bin numeric DEFAULT 1, until timestamptz DEFAULT now())
    RETURNS TABLE (temperature numeric, temperature_end numeric, avg_consumption numeric, sample_count bigint)
    LANGUAGE plpgsql STABLE SECURITY INVOKER
    SET search_path = pg_catalog, public, pg_temp
    SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
BEGIN
    IF (days BETWEEN 1 AND 3660) IS NOT TRUE THEN
        RAISE EXCEPTION 'days must be between 1 and 3660, not %', days USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF (bin BETWEEN 0.01 AND 50) IS NOT TRUE THEN
        RAISE EXCEPTION 'bin must be between 0.01 and 50 degrees, not %', bin USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN QUERY
    SELECT floor(h.temperature / bin) * bin, (floor(h.temperature / bin) + 1) * bin,
           avg(h.total_consumption), count(*)
    FROM public.consumption_with_temperature(city, until - make_interval(hours => 24 * days), until) h
    -- Incomplete hours are excluded
    WHERE h.minutes_known = 60 AND h.temperature IS NOT NULL
    GROUP BY floor(h.temperature / bin)
    ORDER BY floor(h.temperature / bin);
END $$;
COMMENT ON FUNCTION weather_correlation(uuid, integer, numeric, timestamptz) IS
    'Mean hourly consumption of a city, kWh, by temperature bin: from temperature up to temperature_end, degrees Celsius. Complete hours with weather only';
