/* The array is concatenated with an empty one below a LIMIT, so that the quantiles of a row are read once, not once for each
   value. security_invoker applies the policies of prediction_vintages to the reading role. */
CREATE OR REPLACE VIEW vintage_values WITH (security_invoker) AS
SELECT v.run_id, v.city_id, v.model_id, v.issued_at, v.interval_minutes, v.created_at,
       v.first_timestamp + (i.place - 1) * make_interval(mins => v.interval_minutes) AS timestamp,
       v.predicted_consumption[i.place] AS predicted_consumption,
       q.quantiles[(i.place - 1) * v.quantile_count + 1 : i.place * v.quantile_count] AS quantiles
FROM prediction_vintages v
CROSS JOIN LATERAL (SELECT v.quantiles || '{}'::real[] AS quantiles LIMIT 1) q -- noqa: ST05, AM09
CROSS JOIN LATERAL generate_series(1, cardinality(v.predicted_consumption)) AS i (place);
COMMENT ON VIEW vintage_values IS
    'The values of prediction_vintages as rows: kWh in the interval that starts at timestamp, with the quantiles at the levels of the run. Limit city_id and issued_at, so that other months are not read; an interval begins 0 to 168 hours after its issue';
