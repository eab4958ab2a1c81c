/* The parts of each score as rows. security_invoker applies the policies of forecast_scores to the reading role. */
CREATE OR REPLACE VIEW forecast_scores_by_hour WITH (security_invoker) AS
SELECT s.id AS score_id, s.city_id, s.model_id, s.purpose, s.weather, s.period_start, s.period_end, s.lead_start_hours,
       s.lead_end_hours, h.day_type, h.local_hour, h.pair_count, h.mape, h.mae_kwh, h.rmse_kwh, h.bias_kwh,
       h.pinball_kwh, h.coverage_90, s.actuals_as_of, s.created_at
FROM forecast_scores s
CROSS JOIN LATERAL jsonb_to_recordset(s.by_hour) AS h (
    day_type text, local_hour smallint, pair_count integer, mape double precision, mae_kwh double precision,
    rmse_kwh double precision, bias_kwh double precision, pinball_kwh double precision,
    coverage_90 double precision);
COMMENT ON VIEW forecast_scores_by_hour IS
    'The scores of forecast_scores by weekday type (workday, saturday, sunday_or_holiday) and local hour; energies in kWh in an hour, bias as forecast minus actual';
