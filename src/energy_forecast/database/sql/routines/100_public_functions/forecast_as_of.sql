/* A vintage was live if a run of purpose 'live' issued it, scorable_from() accepts it, and this database had recorded
   it by then. A replay or backtest was made later, so nobody could have used it. Without a model, the champion of the city
   at that time counts; without a champion, every model that forecast the hour has a row. A target is 0 to 168 hours after
   its issue, so other months of vintages are neither read nor planned for, because the bounds are computed first. */
CREATE OR REPLACE FUNCTION forecast_as_of(
    city uuid, as_of timestamptz, first_time timestamptz, end_time timestamptz, model_name text DEFAULT NULL)
    RETURNS TABLE ("timestamp" timestamptz, model text, version text, model_id uuid, run_id uuid, issued_at timestamptz,
                   recorded_at timestamptz, predicted_consumption numeric, confidence_lower double precision,
                   confidence_upper double precision, quantile_levels double precision[], quantiles real[])
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED
    SET search_path = pg_catalog, public, pg_temp
    SET plan_cache_mode = force_generic_plan
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
    SELECT w.timestamp, w.model, w.version, w.model_id, w.run_id, w.issued_at, w.created_at, w.predicted::numeric(12,2),
           w.quantiles[w.place + array_position(w.quantile_levels, 0.05::double precision)]::double precision,
           w.quantiles[w.place + array_position(w.quantile_levels, 0.95::double precision)]::double precision,
           w.quantile_levels, w.quantiles[w.place + 1 : w.place + w.quantile_count]
    FROM (
        -- The quantiles of these rows are read only for the forecasts that remain
        SELECT DISTINCT ON (v.first_timestamp + (i.place - 1) * make_interval(mins => v.interval_minutes), m.name)
            v.first_timestamp + (i.place - 1) * make_interval(mins => v.interval_minutes) AS timestamp,
            m.name::text AS model, m.version::text AS version, v.model_id, v.run_id, v.issued_at, v.created_at,
            v.predicted_consumption[i.place] AS predicted, r.quantile_levels, v.quantiles, v.quantile_count,
            (i.place - 1) * v.quantile_count AS place
        FROM public.prediction_vintages v
        JOIN public.forecast_runs r ON r.id = v.run_id
        JOIN public.models m ON m.id = v.model_id
        CROSS JOIN LATERAL generate_series(
            1 + ceil(extract(epoch FROM greatest(first_time, v.first_timestamp, public.scorable_from(
                r.purpose, v.issued_at, r.created_at, v.created_at)) - v.first_timestamp) / 60 / v.interval_minutes)::integer,
            ceil(extract(epoch FROM least(end_time, v.last_timestamp + make_interval(mins => v.interval_minutes))
                 - v.first_timestamp) / 60 / v.interval_minutes)::integer) AS i (place)
        WHERE v.city_id = city AND v.issued_at >= oldest AND v.issued_at <= newest AND v.created_at <= as_of
          AND v.first_timestamp < end_time AND v.last_timestamp >= first_time
          AND r.purpose = 'live' AND public.scorable_from(r.purpose, v.issued_at, r.created_at, v.created_at) IS NOT NULL
          AND CASE
              WHEN model_name IS NOT NULL THEN m.name = model_name
              ELSE v.model_id = coalesce(
                  (SELECT p.model_id FROM public.model_promotions p WHERE p.city_id = city AND p.during @> as_of), v.model_id)
          END
        ORDER BY 1, m.name, v.issued_at DESC, v.created_at DESC, v.run_id DESC) w
    ORDER BY w.timestamp, w.model;
END $$;
COMMENT ON FUNCTION forecast_as_of(uuid, timestamptz, timestamptz, timestamptz, text) IS
    'The forecasts of a city that were live at a time: for each target interval that starts in [first_time, end_time) and model the latest issue, kWh, with the bounds of the 90 % interval';
