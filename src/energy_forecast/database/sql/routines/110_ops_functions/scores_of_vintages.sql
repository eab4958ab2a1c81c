CREATE OR REPLACE FUNCTION ops.scores_of_vintages(first_time timestamptz, end_time timestamptz)
    RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
    SELECT count(*)
    FROM public.forecast_scores s
    -- The longest lead time is a week
    WHERE s.period_end > first_time AND s.period_start < end_time + interval '168 hours'
      AND EXISTS (
        SELECT FROM public.prediction_vintages v JOIN public.forecast_runs r ON r.id = v.run_id
        WHERE v.city_id = s.city_id AND v.model_id = s.model_id
          AND v.issued_at >= first_time AND v.issued_at < end_time
          -- By the range of its intervals; a month that a score may refer to stays
          AND v.last_timestamp >= s.period_start AND v.first_timestamp < s.period_end
          AND v.last_timestamp - v.issued_at >= make_interval(hours => s.lead_start_hours)
          AND v.first_timestamp - v.issued_at < make_interval(hours => s.lead_end_hours)
          AND r.purpose = s.purpose AND r.weather = s.weather)
$$;
COMMENT ON FUNCTION ops.scores_of_vintages(timestamptz, timestamptz) IS
    'The number of stored scores that refer to a vintage issued in [first_time, end_time)';
