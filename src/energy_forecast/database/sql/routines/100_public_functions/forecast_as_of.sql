/* A vintage was live if a run of purpose 'live' issued it, vintage_counts() accepts it, and this database had recorded
   it by then. A replay or backtest was made later, so nobody could have used it. Without a model, the champion of the city
   at that time counts; without a champion, every model that forecast the hour has a row. A target is 0 to 168 hours after
   its issue, so other months of vintages are neither read nor planned for, because the bounds are computed first. */
CREATE OR REPLACE FUNCTION forecast_as_of(
    city uuid, as_of timestamptz, first_time timestamptz, end_time timestamptz, model_name text DEFAULT NULL)
    RETURNS TABLE ("timestamp" timestamptz, model text, version text, model_id uuid, run_id uuid, issued_at timestamptz,
                   recorded_at timestamptz, predicted_consumption numeric, confidence_lower double precision,
                   confidence_upper double precision, quantile_levels double precision[], quantiles double precision[])
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED
    SET search_path = pg_catalog, public, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    oldest timestamptz := first_time - interval '168 hours';
    newest timestamptz := least(as_of, end_time);
BEGIN
    IF NOT public.may_read_city(city) THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT DISTINCT ON (v.timestamp, m.name)
        v.timestamp, m.name::text, m.version::text, v.model_id, v.run_id, v.issued_at, v.created_at,
        v.predicted_consumption, v.quantiles[array_position(r.quantile_levels, 0.05::double precision)],
        v.quantiles[array_position(r.quantile_levels, 0.95::double precision)], r.quantile_levels, v.quantiles
    FROM public.prediction_vintages v
    JOIN public.forecast_runs r ON r.id = v.run_id
    JOIN public.models m ON m.id = v.model_id
    WHERE v.city_id = city AND v.timestamp >= first_time AND v.timestamp < end_time
      AND v.issued_at >= oldest AND v.issued_at <= newest AND v.created_at <= as_of
      AND r.purpose = 'live'
      AND public.vintage_counts(r.purpose, v.issued_at, v.timestamp, r.created_at, v.created_at) AND CASE
          WHEN model_name IS NOT NULL THEN m.name = model_name
          ELSE v.model_id = coalesce(
              (SELECT p.model_id FROM public.model_promotions p WHERE p.city_id = city AND p.during @> as_of), v.model_id)
      END
    ORDER BY v.timestamp, m.name, v.issued_at DESC, v.created_at DESC, v.run_id DESC;
END $$;
COMMENT ON FUNCTION forecast_as_of(uuid, timestamptz, timestamptz, timestamptz, text) IS
    'The forecasts of a city that were live at a time: for each target hour in [first_time, end_time) and model the latest issue, kWh, with the bounds of the 90 % interval';
