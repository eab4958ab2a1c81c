/* From the scores of single cities, so that a user gets the mean over their cities. A month of target hours is scored
   again as it fills up, and a backtest is scored as a whole and by lead time: of scores that contain each other, in time
   and lead time, the widest counts, and of equal ones the newest. Backtests with other assumptions have their own row. */
CREATE OR REPLACE FUNCTION model_performance(days integer DEFAULT 7, until timestamptz DEFAULT now())
    RETURNS TABLE (name text, version text, purpose text, weather text, avg_mape double precision,
                   avg_rmse double precision, avg_mae double precision, coverage_90 double precision,
                   prediction_count bigint, city_count bigint, assumptions jsonb)
    LANGUAGE plpgsql STABLE SECURITY INVOKER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    IF (days BETWEEN 1 AND 3660) IS NOT TRUE THEN
        RAISE EXCEPTION 'days must be between 1 and 3660, not %', days USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN QUERY
    WITH newest AS (
        SELECT DISTINCT ON (s.model_id, s.city_id, s.purpose, s.weather, s.assumptions, s.period_start, s.period_end,
                            s.lead_start_hours, s.lead_end_hours) s.*
        FROM public.forecast_scores s
        WHERE s.created_at >= until - make_interval(hours => 24 * days) AND s.created_at <= until
        ORDER BY s.model_id, s.city_id, s.purpose, s.weather, s.assumptions, s.period_start, s.period_end,
                 s.lead_start_hours, s.lead_end_hours, s.created_at DESC)
    SELECT m.name::text, m.version::text, n.purpose, n.weather,
           sum(n.mape * n.pair_count) / nullif(sum(n.pair_count) FILTER (WHERE n.mape IS NOT NULL), 0),
           sqrt(sum(n.rmse_kwh ^ 2 * n.pair_count) / sum(n.pair_count)),
           sum(n.mae_kwh * n.pair_count) / sum(n.pair_count),
           sum(n.coverage_90 * n.pair_count) / sum(n.pair_count),
           sum(n.pair_count), count(DISTINCT n.city_id), n.assumptions
    FROM newest n JOIN public.models m ON m.id = n.model_id
    WHERE NOT EXISTS (
        SELECT FROM newest wider
        WHERE (wider.model_id, wider.city_id, wider.purpose, wider.weather, wider.assumptions)
              = (n.model_id, n.city_id, n.purpose, n.weather, n.assumptions)
          AND wider.period_start <= n.period_start AND wider.period_end >= n.period_end
          AND wider.lead_start_hours <= n.lead_start_hours AND wider.lead_end_hours >= n.lead_end_hours
          AND wider.id <> n.id)
    GROUP BY m.name, m.version, n.purpose, n.weather, n.assumptions
    ORDER BY 5 NULLS LAST, m.name, m.version, n.assumptions;
END $$;
COMMENT ON FUNCTION model_performance(integer, timestamptz) IS
    'Model versions by their scores of the last days, best first: MAPE in percent, RMSE and MAE in kWh in an hour, each a mean over the pairs of forecast and actual. Live runs, replays, backtests, kinds of weather and assumptions are never mixed';
