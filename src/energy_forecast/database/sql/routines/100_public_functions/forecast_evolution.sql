/* A target is 0 to 168 hours after its issue, so the index of the key finds the vintages of a week. */
CREATE OR REPLACE FUNCTION forecast_evolution(city uuid, target timestamptz)
    RETURNS TABLE (issued_at timestamptz, recorded_at timestamptz, model text, version text, purpose text, run_id uuid,
                   predicted_consumption numeric, quantile_levels double precision[], quantiles real[])
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED
    SET search_path = pg_catalog, public, pg_temp
    SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
DECLARE
    -- The interval may have begun an hour before
    oldest timestamptz := target - interval '169 hours';
BEGIN
    IF NOT public.may_read_city(city) THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT v.issued_at, v.created_at, m.name::text, m.version::text, r.purpose, v.run_id,
           v.predicted_consumption[i.place]::numeric(12,2), r.quantile_levels,
           v.quantiles[(i.place - 1) * v.quantile_count + 1 : i.place * v.quantile_count]
    FROM public.prediction_vintages v
    JOIN public.forecast_runs r ON r.id = v.run_id
    JOIN public.models m ON m.id = v.model_id
    CROSS JOIN LATERAL (
        SELECT 1 + floor(extract(epoch FROM target - v.first_timestamp) / (60 * v.interval_minutes))::integer AS place) i
    WHERE v.city_id = city AND v.issued_at >= oldest AND v.issued_at <= target
      AND v.first_timestamp <= target AND v.last_timestamp + make_interval(mins => v.interval_minutes) > target
    ORDER BY v.issued_at, m.name, v.created_at, v.run_id;
END $$;
COMMENT ON FUNCTION forecast_evolution(uuid, timestamptz) IS
    'All forecasts of a city for the interval that contains a time, in the order of their issue, kWh: live runs, replays and backtests';
